//! Where the database is: a private cluster in the data directory, or the addresses that the settings give.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Settings;
use crate::database::{Addresses, administration};
use crate::identity::KeySource;
use crate::postgres::{Cluster, Durability};

/// The name of the database in a private cluster.
const DATABASE: &str = "trellis";

/// The database of this process, started where it is private.
pub struct Deployment {
    /// Where it is.
    pub addresses: Addresses,
    cluster: Option<Cluster>,
}

impl Deployment {
    /// Finds the database, or starts it.
    ///
    /// # Errors
    /// The private cluster cannot be started; the error says what to do.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        if let Some(primary) = &settings.database_url {
            let addresses = Addresses { primary: primary.clone(), replicas: settings.replica_urls.clone() };
            return Ok(Self { addresses, cluster: None });
        }
        let cluster = acquire(settings, Durability::Kept).await?;
        administration::ensure_database(&cluster.primary_url("postgres"), DATABASE).await?;
        let addresses =
            Addresses { primary: cluster.primary_url(DATABASE), replicas: vec![cluster.replica_url(DATABASE)] };
        Ok(Self { addresses, cluster: Some(cluster) })
    }

    /// Whether the database is private to this data directory.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.cluster.is_some()
    }

    /// Stops the private primary, does something with its directory, and starts it again; blocks meanwhile. Where the
    /// database is not private, or another process uses it too, nothing is done: `false`.
    ///
    /// # Errors
    /// The work failed, or the primary did not stop or start.
    pub fn with_primary_at_rest(&mut self, work: impl FnOnce(&Path) -> std::io::Result<()>) -> anyhow::Result<bool> {
        match &mut self.cluster {
            Some(cluster) => Ok(cluster.with_primary_at_rest(work)?),
            None => Ok(false),
        }
    }

    /// Lets go of the database. A private one that nobody else uses stops, the replica first.
    ///
    /// # Errors
    /// A server did not stop.
    pub async fn close(self) -> anyhow::Result<()> {
        if let Some(cluster) = self.cluster {
            tokio::task::spawn_blocking(move || cluster.release()).await??;
        }
        Ok(())
    }
}

/// Starts the private cluster of the data directory, or shares the one that runs.
///
/// # Errors
/// As [`Cluster::acquire`].
pub async fn acquire(settings: &Settings, durability: Durability) -> anyhow::Result<Cluster> {
    let (data_dir, bin) = (settings.data_dir.clone(), settings.postgres_bin.clone());
    Ok(tokio::task::spawn_blocking(move || Cluster::acquire_using(bin.as_deref(), &data_dir, durability)).await??)
}

/// What checks bearer tokens.
#[must_use]
pub fn key_source(settings: &Settings, secret: &str) -> KeySource {
    match &settings.jwt_key_file {
        Some(path) => KeySource::File(path.clone()),
        None => KeySource::Secret(secret.to_owned()),
    }
}

/// The secret: the setting's, or in the private mode one that is made once and kept.
///
/// # Errors
/// There is none, or its file cannot be read or made.
pub fn secret(settings: &Settings, deployment: &Deployment) -> anyhow::Result<String> {
    match (&settings.jwt_secret, &deployment.cluster) {
        (Some(secret), _) => Ok(secret.clone()),
        (None, None) => {
            check_secret(settings)?;
            Ok(String::new())
        }
        (None, Some(cluster)) => {
            let path = cluster.directory().join("secret");
            kept_secret(&path).with_context(|| format!("the secret in {} cannot be read or made", path.display()))
        }
    }
}

/// Says whether a secret is missing before anything is started.
///
/// # Errors
/// The database is not private, and there is no secret.
pub fn check_secret(settings: &Settings) -> anyhow::Result<()> {
    anyhow::ensure!(
        settings.database_url.is_none() || settings.jwt_secret.is_some(),
        "with DATABASE_URL, set TRELLIS_JWT_SECRET too: 32 bytes or more, as `openssl rand -base64 32` prints"
    );
    Ok(())
}

fn kept_secret(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let secret = URL_SAFE_NO_PAD.encode(random);
        // Written whole under another name, then linked: of two processes the first one wins, and nobody reads half.
        let draft = path.with_extension(std::process::id().to_string());
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?
            .write_all(secret.as_bytes())?;
        let linked = std::fs::hard_link(&draft, path);
        std::fs::remove_file(&draft)?;
        if let Err(error) = linked
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error.into());
        }
    }
    let secret = std::fs::read_to_string(path)?;
    anyhow::ensure!(secret.len() >= 32, "it has fewer than 32 bytes: delete it, and a new one is made");
    Ok(secret)
}

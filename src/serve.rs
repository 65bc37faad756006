//! Serves until it is told to stop, and leaves nothing half done.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::config::{MigrateAction, Settings};
use crate::database::{self, Database};
use crate::deployment::{self, Deployment};
use crate::guard::Introspection;
use crate::http::{self, App};
use crate::identity::{Signer, Verifier};
use crate::metrics::Metrics;
use crate::signals::Signals;
use crate::{migrate, schema, seed, token};

/// How long requests that are under way may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(15);

/// How long the token is good that the private mode prints, in hours.
const GUEST_TOKEN_HOURS: u32 = 24 * 30;

/// As whom a person tries a private server.
struct Guest {
    email: String,
    token: String,
}

impl Guest {
    async fn find(primary: &str, signer: &Signer) -> anyhow::Result<Option<Self>> {
        let Some(email) = seed::owner(primary).await? else { return Ok(None) };
        let token = token::mint(primary, signer, &email, GUEST_TOKEN_HOURS).await?;
        Ok(Some(Self { email, token }))
    }
}

/// Serves until SIGINT or SIGTERM; then the listener closes first, the pools next, a private cluster last.
///
/// # Errors
/// The address is taken, the database cannot be reached, or a setting is missing; the error says what to do.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    // Before a cluster is started: a signal that comes during the start is remembered, and stops it in order.
    let signals = Signals::listen()?;
    // Before the database: a taken address or a missing secret should not start a cluster first.
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", settings.listen))?;
    deployment::check_secret(&settings)?;
    let deployment = Deployment::open(&settings).await?;
    let served = serve(&settings, &deployment, listener, signals).await;
    let closed = deployment.close().await;
    served.and(closed)
}

async fn serve(
    settings: &Settings,
    deployment: &Deployment,
    listener: TcpListener,
    signals: Signals,
) -> anyhow::Result<()> {
    let primary = &deployment.addresses.primary;
    database::inspect_primary(&deployment.addresses, &settings.pools).await?;
    if deployment.is_private() || settings.migrate {
        migrate::run(primary, MigrateAction::Up, |line| tracing::info!("{line}")).await?;
    } else {
        let pending = migrate::pending(primary).await?;
        if pending > 0 {
            tracing::warn!("{pending} migrations are pending: run `trellis migrate up`, or start with --migrate");
        }
    }
    if deployment.is_private() && seed::demo::run(primary).await? {
        tracing::info!("filled the empty database with the demo");
    }
    let secret = deployment::secret(settings, deployment)?;
    let source = deployment::key_source(settings, &secret);
    let verifier = Verifier::new(&source, settings.jwt_issuer.clone(), settings.jwt_audience.clone())?;
    let signer = Signer::new(&secret);
    let guest = if deployment.is_private() && settings.jwt_key_file.is_none() {
        Guest::find(primary, &signer).await?
    } else {
        None
    };
    let metrics = Metrics::default();
    let database = Arc::new(Database::connect(&deployment.addresses, &settings.pools, &secret, &metrics).await?);
    if deployment.addresses.replicas.is_empty() {
        tracing::warn!(
            "no replica is configured (REPLICA_URLS): reports read the primary, through a read-only session"
        );
    }
    let address = listener.local_addr()?;
    if let Some(guest) = &guest {
        greet(address, guest)?;
    }
    let introspection = settings.introspection.unwrap_or(deployment.is_private());
    let introspection = if introspection { Introspection::On } else { Introspection::Off };
    let guard = Arc::new(schema::guard(&settings.limits, introspection)?);
    let app = Arc::new(App {
        schema: schema::build(&guard),
        database: Arc::clone(&database),
        metrics,
        verifier,
        guard,
        http: settings.http.clone(),
        debug_sql: settings.debug_sql.unwrap_or(deployment.is_private()),
        page_token: guest.map(|guest| guest.token),
    });
    tracing::info!(%address, "serving");
    let purge = tokio::spawn(purge_hourly(Arc::downgrade(&database)));
    until_stopped(listener, app, signals).await?;
    purge.abort();
    // It may hold the database for the moment of a statement.
    let _ = purge.await;
    tracing::info!("closing the database connections");
    if let Some(database) = Arc::into_inner(database) {
        database.close().await;
    } else {
        tracing::warn!("requests were cut off at the end of the drain");
    }
    Ok(())
}

/// Removes idempotency keys that have done their time, for as long as there is a database.
async fn purge_hourly(database: Weak<Database>) {
    let mut hours = tokio::time::interval(Duration::from_hours(1));
    loop {
        hours.tick().await;
        let Some(database) = database.upgrade() else { return };
        if let Err(error) = database.purge_idempotency_keys().await {
            tracing::warn!(cause = ?error.cause(), "idempotency keys could not be removed; they are tried again in an hour");
        }
    }
}

/// Answers requests until a signal comes, and for a while those that are under way.
async fn until_stopped(listener: TcpListener, app: Arc<App>, mut signals: Signals) -> anyhow::Result<()> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut told = stopped.clone();
    let server = tokio::spawn(http::serve(listener, app, async move {
        let _ = told.wait_for(|stop| *stop).await;
    }));
    let name = signals.received().await;
    tracing::info!("{name}: stopping; requests under way may finish");
    stop.send_replace(true);
    let abort = server.abort_handle();
    tokio::select! {
        ended = server => ended?,
        () = tokio::time::sleep(DRAIN) => abort.abort(),
        name = signals.received() => {
            tracing::warn!("a second signal, {name}: not waiting for requests any more");
            abort.abort();
        }
    }
    Ok(())
}

/// Tells a person in a terminal where everything is.
fn greet(address: SocketAddr, Guest { email, token }: &Guest) -> std::io::Result<()> {
    let url = format!("http://{address}");
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\n\
         Trellis is ready.\n\n\
         \x20 page     {url}/\n\
         \x20 API      {url}/graphql\n\
         \x20 schema   {url}/schema.graphql\n\
         \x20 user     {email} (another one: trellis token --email ADDRESS)\n\
         \x20 token    {token}\n\n\
         Try:\n\n\
         curl -s {url}/graphql -H 'Content-Type: application/json' -H 'Authorization: Bearer {token}' \\\n\
         \x20 -d '{{\"query\":\"{{ viewer {{ name }} workspaces(first: 3) {{ nodes {{ name report {{ totals {{ total open overdue }} }} }} }} }}\"}}'\n\n\
         Ctrl-C stops the server and its PostgreSQL; the data stays."
    )?;
    out.flush()
}

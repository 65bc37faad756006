//! Serves until it is told to stop, and leaves nothing half done.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{MigrateAction, Settings};
use crate::database::{self, Database};
use crate::deployment::{self, Deployment};
use crate::guard::{Guard, Introspection};
use crate::http::{self, Admission, App, Shutdown};
use crate::identity::{Signer, Verifier};
use crate::metrics::Metrics;
use crate::rate_limit::RateLimiter;
use crate::signals::Signals;
use crate::telemetry::Traces;
use crate::trusted_documents::TrustedDocuments;
use crate::{migrate, schema, seed, token};

/// How long the connections to the database may take to close at least, also where requests took the whole drain.
const CLOSING: Duration = Duration::from_secs(1);

/// How long the database may take for a look at the start.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the token is good that the private mode prints, in hours.
const GUEST_TOKEN_HOURS: u32 = 24 * 30;

/// As whom a person tries a private server.
struct Guest {
    email: String,
    token: String,
}

impl Guest {
    async fn find(primary: &str, signer: &Signer) -> anyhow::Result<Option<Self>> {
        let Some(email) = soon(seed::owner(primary)).await? else { return Ok(None) };
        let token = soon(token::mint(primary, signer, &email, GUEST_TOKEN_HOURS)).await?;
        Ok(Some(Self { email, token }))
    }
}

/// What needs no database. A taken address, a missing secret or a faulty manifest should not start a cluster first.
struct Prepared {
    listener: TcpListener,
    guard: Arc<Guard>,
    trusted_documents: TrustedDocuments,
}

impl Prepared {
    async fn new(settings: &Settings) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}; choose another address with --listen", settings.listen))?;
        deployment::check_secret(settings)?;
        let is_private = settings.database_url.is_none();
        let introspection =
            if settings.introspection.unwrap_or(is_private) { Introspection::On } else { Introspection::Off };
        let guard = Arc::new(schema::guard(&settings.limits, introspection)?);
        let trusted_documents = match &settings.http.documents {
            Some(path) => TrustedDocuments::read(path, settings.http.trusted_documents, &guard).await?,
            None => TrustedDocuments::default(),
        };
        Ok(Self { listener, guard, trusted_documents })
    }
}

/// Serves until SIGINT or SIGTERM; then the listener closes first, the pools next, a private cluster last.
///
/// # Errors
/// The address is taken, the database cannot be reached, or a setting is missing; the error says what to do.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    // Before a cluster is started: a signal that comes during the start is remembered, and stops it in order.
    let signals = Signals::listen()?;
    let prepared = Prepared::new(&settings).await?;
    let deployment = Deployment::open(&settings).await?;
    let served = serve(&settings, &deployment, prepared, signals).await;
    let closed = deployment.close().await;
    served.and(closed)
}

async fn serve(
    settings: &Settings,
    deployment: &Deployment,
    prepared: Prepared,
    signals: Signals,
) -> anyhow::Result<()> {
    let Prepared { listener, guard, trusted_documents } = prepared;
    let addresses = deployment.addresses.clone().resolved().await?;
    let primary = &addresses.primary;
    database::inspect_primary(&addresses, &settings.pools).await?;
    if deployment.is_private() || settings.migrate {
        migrate::run(primary, MigrateAction::Up, |line| tracing::info!("{line}")).await?;
    } else {
        let pending = soon(migrate::pending(primary)).await?;
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
    let mut metrics = Metrics::default();
    metrics.trust(trusted_documents.operation_names());
    let database = Arc::new(Database::connect(&addresses, &settings.pools, &secret, &metrics).await?);
    if addresses.replicas.is_empty() {
        tracing::warn!(
            "no replica is configured (REPLICA_URLS): reports read the primary, through a read-only session"
        );
    }
    let address = listener.local_addr()?;
    if let Some(guest) = &guest {
        greet(address, guest)?;
    }
    let app = Arc::new(App {
        schema: schema::build(&guard),
        database: Arc::clone(&database),
        trusted_documents,
        rate_limiter: RateLimiter::new(&settings.http, &settings.limits),
        admission: Admission::new(&settings.http, &database, &metrics),
        metrics,
        verifier,
        guard,
        http: settings.http.clone(),
        debug_sql: settings.debug_sql.unwrap_or(deployment.is_private()),
        page_token: guest.map(|guest| guest.token),
        traces: Traces::start(&settings.telemetry)?,
        shutdown: Shutdown::default(),
    });
    tracing::info!(%address, "serving");
    until_stopped(listener, app, database, signals).await
}

/// What the database answers soon: PostgreSQL's own timeouts do not come where it stands still.
fn soon<T>(answer: impl Future<Output = anyhow::Result<T>>) -> impl Future<Output = anyhow::Result<T>> {
    // It is large, and rare.
    let answer = tokio::time::timeout(PATIENCE, Box::pin(answer));
    let late = || format!("the primary does not answer within {} s; check DATABASE_URL", PATIENCE.as_secs());
    async move { answer.await.with_context(late)? }
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

/// Answers requests until a signal comes, and for a while those that are under way. A second signal ends the wait.
async fn until_stopped(
    listener: TcpListener,
    app: Arc<App>,
    database: Arc<Database>,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let (shutdown, settings, traces) = (app.shutdown.clone(), app.http.clone(), app.traces.clone());
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let server = tokio::spawn(http::serve(listener, app, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    let purge = tokio::spawn(purge_hourly(Arc::downgrade(&database)));
    let signal = signals.received().await;
    shutdown.announce();
    // A person at a terminal has no balancer that must notice.
    let grace_ms = if signal == Signal::SIGTERM { settings.shutdown_grace_ms } else { 0 };
    tracing::info!(grace_ms, "{signal}: stopping; requests under way may finish");
    let drained = async {
        tokio::time::sleep(Duration::from_millis(grace_ms)).await;
        purge.abort();
        // It may hold the database for the moment of a statement.
        let _ = purge.await;
        stop.send_replace(true);
        let drained = drain(server, database, Instant::now() + Duration::from_millis(settings.drain_timeout_ms)).await;
        if let Some(traces) = traces {
            traces.close().await;
        }
        drained
    };
    tokio::select! {
        drained = drained => drained,
        signal = signals.received() => anyhow::bail!("{signal}: a second signal: what was under way was cut off"),
    }
}

/// Waits until every request has been answered, then until every write that outlived its request has ended, and closes
/// the pools.
async fn drain(mut server: JoinHandle<()>, database: Arc<Database>, deadline: Instant) -> anyhow::Result<()> {
    let cut_off = "were cut off when TRELLIS_DRAIN_TIMEOUT_MS was over";
    let Ok(ended) = tokio::time::timeout_at(deadline, &mut server).await else {
        server.abort();
        anyhow::bail!("requests {cut_off}");
    };
    ended?;
    tracing::info!("closing the database connections");
    let database = Arc::into_inner(database).context("something still uses the database")?;
    let deadline = deadline.max(Instant::now() + CLOSING);
    tokio::time::timeout_at(deadline, database.close()).await.map_err(|_| anyhow::anyhow!("writes {cut_off}"))
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

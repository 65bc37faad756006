//! A server of its own for each test, on a database of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use sea_orm::DatabaseConnection;
use serde_json::{Value, json};
use trellis::database::{Addresses, Database, administration};
use trellis::guard::Introspection;
use trellis::http::{self, Admission, App, Shutdown};
use trellis::identity::{KeySource, Signer, Verifier};
use trellis::metrics::Metrics;
use trellis::rate_limit::RateLimiter;
use trellis::schema;
use trellis::telemetry::Traces;
use trellis::trusted_documents::TrustedDocuments;
use uuid::Uuid;

use crate::pooler;

pub use crate::cluster::{PATIENT, TEMPLATE, cluster, new_addresses, new_path, one, settings};

pub const SECRET: &str = "a secret of the tests, of 32 bytes or more";

/// A file that goes with its test.
pub struct TestFile(PathBuf);

impl TestFile {
    pub fn new(stem: &str, text: &str) -> Self {
        let path = new_path(stem);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running server and its database.
pub struct World {
    pub address: SocketAddr,
    /// The primary, for fixtures and for looking behind the server's back.
    pub sql: DatabaseConnection,
    /// The replica, likewise.
    pub replica_sql: DatabaseConnection,
    pub addresses: Addresses,
    pub signer: Signer,
    client: reqwest::Client,
    /// The replicas of which the server was told; not each of them has to be there.
    told_replicas: Vec<String>,
}

impl World {
    /// A server with the default settings and a replica.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A server with settings as on the command line.
    pub async fn with(words: &[&str]) -> Self {
        Self::changed(words, |_| {}).await
    }

    /// A server with settings and with something in it changed.
    pub async fn changed(words: &[&str], change: impl FnOnce(&mut App)) -> Self {
        let addresses = new_addresses().await;
        let told = pooler::told(&addresses).await;
        Self::serve(addresses, told, words, change).await
    }

    /// A server that knows no replica.
    pub async fn without_replica() -> Self {
        Self::alone(&[]).await
    }

    /// A server with settings that knows no replica.
    pub async fn alone(words: &[&str]) -> Self {
        let real = new_addresses().await;
        let known = Addresses { replicas: Vec::new(), ..pooler::told(&real).await };
        Self::on(real, known, words).await
    }

    /// A server that is told other addresses than the `real` ones that the tests use.
    pub async fn on(real: Addresses, told: Addresses, words: &[&str]) -> Self {
        Self::serve(real, told, words, |_| {}).await
    }

    async fn serve(real: Addresses, told: Addresses, words: &[&str], change: impl FnOnce(&mut App)) -> Self {
        let sql = administration::connect(&real.primary).await.unwrap();
        let replica_sql =
            eventually("the replica has the database", || administration::connect(&real.replicas[0])).await;
        let settings = settings(words);
        let metrics = Metrics::default();
        let database = Arc::new(Database::connect(&told, &settings.pools, SECRET, &metrics).await.unwrap());
        let signer = Signer::new(SECRET);
        let source = match &settings.jwt_key_file {
            Some(path) => KeySource::File(path.clone()),
            None => KeySource::Secret(SECRET.to_owned()),
        };
        let verifier = Verifier::new(&source, settings.jwt_issuer.clone(), settings.jwt_audience.clone()).unwrap();
        let introspection = if settings.introspection.unwrap_or(true) { Introspection::On } else { Introspection::Off };
        let guard = Arc::new(schema::guard(&settings.limits, introspection).unwrap());
        let trusted_documents = match &settings.http.documents {
            Some(path) => TrustedDocuments::read(path, settings.http.trusted_documents, &guard).await.unwrap(),
            None => TrustedDocuments::default(),
        };
        let mut app = App {
            schema: schema::build(&guard),
            trusted_documents,
            rate_limiter: RateLimiter::new(&settings.http, &settings.limits),
            admission: Admission::new(&settings.http, &database, &metrics),
            database,
            metrics,
            verifier,
            guard,
            http: settings.http,
            debug_sql: settings.debug_sql.unwrap_or(true),
            page_token: None,
            traces: Traces::start(&settings.telemetry).unwrap(),
            shutdown: Shutdown::default(),
        };
        change(&mut app);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener, Arc::new(app), std::future::pending()));
        // The newer media type tells by its status whether a document was run.
        let accept = HeaderValue::from_static("application/graphql-response+json");
        let client =
            reqwest::Client::builder().default_headers(HeaderMap::from_iter([(ACCEPT, accept)])).build().unwrap();
        Self { address, sql, replica_sql, addresses: real, signer, client, told_replicas: told.replicas }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.client
    }

    /// A token for a user.
    pub fn token(&self, user: Uuid) -> String {
        self.signer.mint(user, 1).unwrap()
    }

    /// Runs a document as a user, and shows its statements.
    pub async fn ask(&self, user: Uuid, document: &str, variables: Value) -> Answer {
        let body = json!({ "query": document, "variables": variables });
        let request = self.client.post(self.url("/graphql")).bearer_auth(self.token(user)).header("x-debug", "sql");
        Answer::of(request.json(&body).send().await.unwrap()).await
    }

    /// Runs a document as nobody.
    pub async fn ask_anonymously(&self, document: &str) -> Answer {
        let request = self.client.post(self.url("/graphql")).json(&json!({ "query": document }));
        Answer::of(request.send().await.unwrap()).await
    }

    /// What the server says of itself and of its database servers.
    pub async fn readiness(&self) -> Value {
        self.client.get(self.url("/readyz")).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until the replica has everything that the primary has, and the server counts on it, where it knows one.
    pub async fn replicated(&self) {
        let position = "SELECT pg_current_wal_flush_lsn()::text";
        let position: String = one(&self.sql, position).await.try_get_by_index(0).unwrap();
        let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn");
        eventually("the replica catches up", || async {
            let caught_up: bool = one(&self.replica_sql, &caught_up).await.try_get_by_index(0).unwrap();
            caught_up.then_some(()).ok_or("it has not yet")
        })
        .await;
        let connected = join_all(self.told_replicas.iter().map(|url| administration::connect(url))).await;
        if connected.iter().any(Result::is_ok) {
            eventually("the server counts on a replica", || async {
                let ready = self.readiness().await;
                let is_known = ready["replicas"].as_array().unwrap().iter().any(|replica| replica["lagMs"].is_u64());
                if is_known { Ok(()) } else { Err(ready) }
            })
            .await;
        }
    }

    /// Ends the server's connections to one database server: a session hands its statistics over when it ends.
    pub async fn flush_statistics(&self, connection: &DatabaseConnection) {
        let sessions = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                        AND application_name LIKE 'trellis %'";
        one(connection, &format!("SELECT count(pg_terminate_backend(pid, 10000)) {sessions}")).await;
    }
}

/// Asks again and again until the answer is good, for thirty seconds at most: a busy machine is no failure.
pub async fn eventually<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(what: &str, ask: impl Fn() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if Instant::now() > deadline => panic!("not within thirty seconds: {what}: {error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(3)).await,
        }
    }
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    /// As it came over the wire.
    pub text: String,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, headers, body, text }
    }

    /// The data, where there were no errors.
    pub fn data(&self) -> &Value {
        assert!(self.body.get("errors").is_none(), "errors: {}", self.text);
        &self.body["data"]
    }

    /// The codes of the errors.
    pub fn codes(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error["extensions"]["code"].as_str().expect("every error has a code")).collect()
    }

    /// The names of the statements, sorted.
    pub fn statements(&self) -> Vec<&str> {
        let statements = self.body["extensions"]["sql"]["statements"].as_array().expect("X-Debug: sql is answered");
        let mut names: Vec<&str> = statements.iter().map(|statement| statement["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// How many statements a server ran: `primary` or `replica`.
    pub fn statements_on(&self, target: &str) -> u64 {
        self.body["extensions"]["sql"][target].as_u64().expect("X-Debug: sql is answered")
    }
}

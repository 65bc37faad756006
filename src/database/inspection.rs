//! What a server is asked before its door opens: whether it has room, and whether a session stays a session.
//!
//! A pooler that hands a client another server connection for each transaction loses what the client's session holds:
//! read-only, the timeouts, and the prepared statements, whose names then mean other clients' statements. Behind
//! PgBouncer 1.18 in transaction mode, calls returned other clients' rows, without an error.

use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sea_orm::sqlx::{self, ConnectOptions, Connection, Row};
use sea_orm::{DbErr, RuntimeErr};

use super::NamedStatement;
use super::administration::{parse_address, without_float_digits};
use super::pools::{Arithmetic, Capacity, Load, Pool, Pools, Verdict};

/// How long a server may take for all of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often two sessions are asked who serves them; once is enough where nobody else uses the pooler.
const ROUNDS: usize = 4;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database does not answer, or not as it should.
    #[error("the primary does not answer; check DATABASE_URL")]
    Unreachable(#[from] DbErr),
    /// It answers, and must not be used as it is; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

impl From<sqlx::Error> for StartError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unreachable(DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    }
}

/// Asks a server over two connections.
#[derive(Debug)]
pub struct Inspection {
    door: String,
    options: PgConnectOptions,
    load: Load,
}

impl Inspection {
    /// What follows where a pooler swaps server connections.
    pub const SWAPPING: &str = "prepared statements can return other clients' rows, and read-only sessions and \
                                timeouts do not hold";
    /// What to do about it.
    pub const SESSION_MODE: &str =
        "use the pooler's session mode (PgBouncer: pool_mode = session), or connect to PostgreSQL directly";

    /// Of the server behind a door.
    ///
    /// # Errors
    /// The address is not a PostgreSQL URL.
    pub fn new(address: &str, pool: &Pool, pools: &Pools) -> Result<Self, DbErr> {
        let options = without_float_digits(parse_address(address)?).application_name("trellis inspection");
        Ok(Self { door: pool.door.clone(), options, load: pools.load(pool) })
    }

    /// The connections that the server is asked for, against those that it has.
    ///
    /// # Errors
    /// `Refused` where the sessions do not hold, else `Unreachable`.
    pub async fn run(&self) -> Result<Arithmetic, StartError> {
        let looked = tokio::time::timeout(PATIENCE, self.look()).await;
        let seconds = PATIENCE.as_secs();
        looked.unwrap_or_else(|_| {
            let message =
                format!("two connections were not both served within {seconds} s; a pooler's pool may be too small");
            Err(StartError::Unreachable(DbErr::Custom(message)))
        })
    }

    /// Runs it, tells the arithmetic in the log, and refuses a server that has no room.
    ///
    /// # Errors
    /// `Refused` where the server must not be used as it is, else `Unreachable`.
    pub(super) async fn pass(&self) -> Result<(), StartError> {
        let arithmetic = self.run().await?;
        let door = &self.door;
        match arithmetic.verdict() {
            Verdict::Fits => tracing::info!(door, "connections: {arithmetic}"),
            Verdict::OverBudget => tracing::warn!(door, "connections: {arithmetic}"),
            Verdict::NoRoom => {
                return Err(StartError::Refused(format!("connections of the door {door}: {arithmetic}")));
            }
        }
        Ok(())
    }

    async fn look(&self) -> Result<Arithmetic, StartError> {
        let (mut first, mut second) = (self.options.connect().await?, self.options.connect().await?);
        let (of_first, of_second) = (process(&mut first).await?, process(&mut second).await?);
        let mut are_sessions = of_first != of_second;
        // A pooler gives the connection that was used last or least recently. Two sessions that are asked in turn show
        // the former, one that is asked twice in a row the latter.
        for _ in 0..ROUNDS {
            for _ in 0..2 {
                are_sessions &= process(&mut first).await? == of_first;
            }
            for _ in 0..2 {
                are_sessions &= process(&mut second).await? == of_second;
            }
        }
        if !are_sessions {
            return Err(StartError::Refused(format!(
                "a pooler in front of the server of the door {} swaps server connections between transactions: \
                 {}; {}",
                self.door,
                Self::SWAPPING,
                Self::SESSION_MODE
            )));
        }
        let capacity = capacity(&mut first).await?;
        first.close().await?;
        second.close().await?;
        Ok(Arithmetic { load: self.load.clone(), capacity })
    }
}

/// The server's process that serves a session. Asked without a prepared statement, since those may not work; and before
/// the session is given any setting, since with such a pooler another client would get it.
async fn process(session: &mut PgConnection) -> Result<i32, sqlx::Error> {
    row(session, &session_process()).await?.try_get(0)
}

async fn row(session: &mut PgConnection, statement: &NamedStatement) -> Result<PgRow, sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.sql())).fetch_one(session).await
}

/// Asks which process of the server serves the session.
pub(super) fn session_process() -> NamedStatement {
    NamedStatement::new("session_process", "SELECT pg_backend_pid()", [])
}

/// Asks how many connections the server takes, how many it keeps for others, and how many it takes from us.
pub(super) fn server_capacity() -> NamedStatement {
    let sql = "SELECT current_setting('max_connections')::int8, \
               current_setting('superuser_reserved_connections')::int8 \
                 + coalesce(current_setting('reserved_connections', true)::int8, 0), \
               CASE WHEN NOT r.rolsuper THEN least(nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1)) END::int8 \
               FROM pg_roles r, pg_database d WHERE r.rolname = session_user AND d.datname = current_database()";
    NamedStatement::new("server_capacity", sql, [])
}

async fn capacity(session: &mut PgConnection) -> Result<Capacity, sqlx::Error> {
    let row = row(session, &server_capacity()).await?;
    let number = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(Capacity {
        max_connections: number(row.try_get(0)?),
        reserved: number(row.try_get(1)?),
        limit: row.try_get::<Option<i64>, _>(2)?.map(number),
    })
}

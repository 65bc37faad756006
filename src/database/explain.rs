//! The plan of a statement that a request sends, from the server that runs it, in a session like the request's.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sea_orm::DbErr;
use sea_orm::sqlx::Row;

use super::connections::Connection;
use super::literal::{literal, type_of};
use super::{Database, Door, Meter, NamedStatement, Target};

/// A statement with its values, and the door that it goes through.
#[derive(Clone, Debug)]
pub struct Sent {
    pub(super) door: String,
    pub(super) target: Target,
    pub(super) statement: NamedStatement,
}

/// Which of a prepared statement's two plans is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planning {
    /// For the values at hand, as the first five executions of a prepared statement are planned.
    Custom,
    /// For any values, as a prepared statement may be planned from its sixth execution on.
    Generic,
}

/// How long a statement may take that is being explained. Longer than a request's, since measuring costs time and one
/// that is too slow is the one to look at.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);

impl Sent {
    /// The name of the door.
    #[must_use]
    pub fn door(&self) -> &str {
        &self.door
    }

    /// The kind of server behind it.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// The statement.
    #[must_use]
    pub fn statement(&self) -> &NamedStatement {
        &self.statement
    }

    /// The values as SQL literals.
    ///
    /// # Errors
    /// A value has no SQL text.
    pub fn literals(&self) -> Result<Vec<String>, DbErr> {
        self.statement.values().iter().map(literal).collect()
    }
}

impl Database {
    /// Runs a statement through its door, and gives its plan with what was measured, as
    /// `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)` says it. What the statement writes is rolled back.
    ///
    /// # Errors
    /// The server does not answer, the statement fails, or takes longer than a minute.
    pub async fn explain(&self, sent: &Sent, planning: Planning) -> Result<String, DbErr> {
        let door = self.door(&sent.door).ok_or_else(|| DbErr::Custom(format!("there is no door {}", sent.door)))?;
        let mut connection = door.acquire(&Meter::default()).await?;
        connection.begin("BEGIN").await?;
        let explained = explain(&mut connection, sent, planning).await;
        connection.rollback().await?;
        explained
    }

    fn door(&self, name: &str) -> Option<&Door> {
        let doors = self.servers.all.iter().flat_map(|server| [server.writes.as_ref(), server.reads.as_ref()]);
        doors.into_iter().find(|door| door.name() == name)
    }
}

/// PREPARE and EXECUTE, since EXPLAIN with bound values always plans for these values.
async fn explain(connection: &mut Connection, sent: &Sent, planning: Planning) -> Result<String, DbErr> {
    // A session keeps prepared statements, also when the transaction is rolled back.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("explained_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mode = match planning {
        Planning::Custom => "force_custom_plan",
        Planning::Generic => "force_generic_plan",
    };
    let timeout_ms = STATEMENT_TIMEOUT.as_millis();
    let settings = format!("SET LOCAL plan_cache_mode = {mode}; SET LOCAL statement_timeout = {timeout_ms}");
    let types = sent.statement.values().iter().map(type_of).collect::<Result<Vec<_>, _>>()?;
    let list = |items: &[String]| if items.is_empty() { String::new() } else { format!(" ({})", items.join(", ")) };
    let prepare = format!("PREPARE {name}{} AS {}", list(&types), sent.statement.sql());
    let explain =
        format!("EXPLAIN (ANALYZE, BUFFERS, SETTINGS, FORMAT JSON) EXECUTE {name}{}", list(&sent.literals()?));
    let deadline = STATEMENT_TIMEOUT + Duration::from_secs(1);
    connection.simple(settings, deadline).await?;
    connection.simple(prepare, deadline).await?;
    let rows = connection.simple(explain, deadline).await?;
    connection.simple(format!("DEALLOCATE {name}"), deadline).await?;
    let row = rows.first().ok_or_else(|| DbErr::RecordNotFound("EXPLAIN answered nothing".to_owned()))?;
    // The column is of the type json, which is text on the wire too.
    row.try_get_unchecked::<String, _>(0).map_err(|error| DbErr::Type(error.to_string()))
}

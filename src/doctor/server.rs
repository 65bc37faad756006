//! One server under examination: asks it, and makes a finding of what it cannot or may not answer.

use std::time::Duration;

use sea_orm::{DatabaseConnection, DbErr, FromQueryResult};

use super::finding::{Check, Finding, Judgement};
use crate::database::{Target, administration};

/// How long a question may take altogether. A server that is frozen cannot end it by itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// PostgreSQL's code for "permission denied".
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A server that answers.
pub(super) struct Server {
    pub name: String,
    pub target: Target,
    pub connection: DatabaseConnection,
    pub identity: Identity,
}

/// What a server says of itself.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Identity {
    /// As `server_version_num`: 150018 is 15.18.
    pub version_number: i32,
    pub version: String,
    pub role: String,
    pub database: String,
    pub in_recovery: bool,
    pub system_identifier: i64,
}

const IDENTITY: &str = "
SELECT current_setting('server_version_num')::int AS version_number,
       split_part(current_setting('server_version'), ' ', 1) AS version,
       current_user::text AS role, current_database()::text AS database,
       pg_is_in_recovery() AS in_recovery, system_identifier
FROM pg_control_system()";

impl Server {
    pub async fn connect(name: String, target: Target, address: &str) -> Result<Self, DbErr> {
        let connection = administration::connect(address).await?;
        let identity = ask(&connection, IDENTITY).await?.into_iter().next();
        let identity = identity.ok_or_else(|| DbErr::RecordNotFound("the server says nothing of itself".to_owned()))?;
        Ok(Self { name, target, connection, identity })
    }

    /// Asks something.
    pub async fn ask<T: FromQueryResult>(&self, sql: &str) -> Result<Vec<T>, DbErr> {
        ask(&self.connection, sql).await
    }

    /// Asks something, and judges the answer.
    pub async fn check<T: FromQueryResult>(
        &self,
        check: Check,
        sql: &str,
        judge: impl FnOnce(&[T]) -> Judgement,
    ) -> Finding {
        self.judge(check, self.ask(sql).await.as_deref(), judge)
    }

    /// Judges an answer.
    pub fn judge<T>(&self, check: Check, answer: Result<T, &DbErr>, judge: impl FnOnce(T) -> Judgement) -> Finding {
        match answer {
            Ok(answer) => judge(answer).of(&self.name, check),
            Err(error) => self.cannot_tell(error).of(&self.name, check),
        }
    }

    fn cannot_tell(&self, error: &DbErr) -> Judgement {
        let found = format!("cannot tell: {error}");
        let refused = matches!(error, DbErr::Query(sea_orm::RuntimeErr::SqlxError(error))
            if error.as_database_error().and_then(sea_orm::sqlx::error::DatabaseError::code).is_some_and(|code| code == INSUFFICIENT_PRIVILEGE));
        if refused { self.hidden(found) } else { Judgement::warn(found, "the question got no answer") }
    }

    /// What to say where the role may not see what it asked for.
    pub fn hidden(&self, found: impl Into<String>) -> Judgement {
        Judgement::warn(found, "PostgreSQL shows this to members of pg_monitor only")
            .remedy(format!("as a superuser: GRANT pg_monitor TO \"{}\";", self.identity.role))
    }
}

async fn ask<T: FromQueryResult>(connection: &DatabaseConnection, sql: &str) -> Result<Vec<T>, DbErr> {
    match tokio::time::timeout(PATIENCE, administration::ask(connection, sql)).await {
        Ok(answer) => answer,
        Err(_) => Err(DbErr::Custom(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

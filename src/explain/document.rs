//! The document to explain: read, run as the server would run it, and rolled back where it writes.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use async_graphql::{ServerError, Variables};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Asked, Options};
use crate::clock;
use crate::config::Limits;
use crate::database::{Database, Meter, Needs};
use crate::error::Error;
use crate::guard::{Guard, Introspection};
use crate::http::execution::{self, Checked, Received};
use crate::http::response::{Refused, finish};
use crate::{schema, token};

/// A document with its variables, and who sends it.
#[derive(Debug)]
pub struct Document {
    request: Received,
    /// The user's e-mail address, where one was named.
    user: Option<String>,
}

impl Document {
    /// Reads the files that the options name.
    pub(super) fn read(query: &Path, options: &Options) -> anyhow::Result<Self> {
        let mut request = Received::from(execution::Document::Text(read(query, "the document")?));
        if let Some(path) = &options.variables {
            let variables = read(path, "the variables")?;
            let variables: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&variables).with_context(|| {
                    format!("the variables in {} are not a JSON object such as {{\"first\": 10}}", path.display())
                })?;
            request.variables = Variables::from_json(variables.into());
        }
        request.operation_name.clone_from(&options.operation);
        Ok(Self { request, user: options.user.clone() })
    }

    /// Runs it, and gives the statements that it took, and the errors that the server would send.
    pub(super) async fn run(
        self,
        connection: &DatabaseConnection,
        database: &Database,
        limits: &Limits,
    ) -> anyhow::Result<Asked> {
        let user = user(connection, self.user).await?;
        let meter = Meter::recording();
        let guard = Arc::new(schema::guard(limits, Introspection::On)?);
        let errors = execute(self.request, database, &guard, user.id, &meter).await;
        let sent = meter.executed().into_iter().filter_map(|executed| executed.sent);
        Ok(Asked { user: user.email, statements: sent.map(|sent| (None, *sent)).collect(), errors })
    }
}

async fn execute(
    request: Received,
    database: &Database,
    guard: &Arc<Guard>,
    viewer: Uuid,
    meter: &Meter,
) -> Vec<ServerError> {
    let request_id = clock::new_id().to_string();
    let Checked { request, operation, .. } = match execution::check(request, guard) {
        Ok(checked) => checked,
        Err(error) => return vec![Refused::from(error).into_error(&request_id)],
    };
    let route = match database.route(operation, meter, Needs::default()).await {
        Ok(route) => route.without_effect(),
        Err(error) => return vec![Refused::from(error).into_error(&request_id)],
    };
    let schema = schema::build(guard);
    let limits = guard.limits();
    match timeout(limits.request_timeout(), execution::run(&schema, request, Some(viewer), route, limits)).await {
        Ok(mut answer) => {
            finish(&mut answer, &request_id);
            answer.errors
        }
        Err(_) => vec![Refused::from(Error::Timeout).into_error(&request_id)],
    }
}

fn read(path: &Path, what: &str) -> anyhow::Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path).with_context(|| format!("{what} in {} cannot be read", path.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).with_context(|| format!("{what} cannot be read from standard input"))?;
    Ok(text)
}

/// The user who asks.
struct User {
    id: Uuid,
    email: String,
}

const FIRST_OWNER: &str = "\
    SELECT u.id, u.email FROM workspaces w \
    JOIN members m ON m.workspace_id = w.id AND m.role = 'owner' AND m.deleted_at IS NULL \
    JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL \
    WHERE w.deleted_at IS NULL ORDER BY w.created_at, w.id, m.joined_at, m.id LIMIT 1";

/// The live user with an e-mail address, or an owner of the oldest workspace.
async fn user(connection: &DatabaseConnection, email: Option<String>) -> anyhow::Result<User> {
    if let Some(email) = email {
        return Ok(User { id: token::user(connection, &email).await?, email });
    }
    let statement = Statement::from_string(DbBackend::Postgres, FIRST_OWNER);
    let row = connection.query_one_raw(statement).await.context("run `trellis migrate up` first")?;
    let row = row.context("nobody owns a workspace: run `trellis seed`, or name a user with --as")?;
    Ok(User { id: row.try_get_by_index(0)?, email: row.try_get_by_index(1)? })
}

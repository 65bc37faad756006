//! A database of a run's own. It is dropped at the end of the run, or by the next one where the run was killed.

use anyhow::Context;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use crate::database::administration;
use crate::signals::Signals;

/// The name: when it was made, in seconds of Unix time, and by which process.
const NAME: &str = "SELECT format('trellis_scratch_%s_%s', extract(epoch FROM now())::bigint, $1::text)";

/// Databases of earlier runs. One that is at work has a session, and one that begins gets it within a minute.
const LEFT_OVER: &str = "
SELECT datname::text FROM pg_database AS d
WHERE CASE WHEN datname ~ '^trellis_scratch_[0-9]{1,12}_[0-9]+$'
    THEN split_part(datname::text, '_', 3)::bigint < extract(epoch FROM now()) - 60 ELSE false END
  AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datid = d.oid AND a.backend_type = 'client backend')";

/// Works in a new, empty database on the same server as another one; it is dropped however the work ends.
///
/// # Errors
/// The server does not answer or lets no database be made, a signal came, or the work failed.
pub async fn with<T>(
    beside: &str,
    signals: &mut Signals,
    work: impl AsyncFnOnce(&str) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let scratch = Scratch::new(beside).await?;
    let worked = tokio::select! {
        biased;
        name = signals.received() => Err(anyhow::anyhow!("{name}: interrupted; nothing of it stays")),
        worked = work(&scratch.address) => worked,
    };
    let removed = scratch.remove().await;
    let worked = worked?;
    removed?;
    Ok(worked)
}

struct Scratch {
    address: String,
    name: String,
    /// Where the other database is.
    beside: String,
    /// Open for as long as the run, so that no other run takes the database for a left-over.
    session: DatabaseConnection,
}

impl Scratch {
    async fn new(beside: &str) -> anyhow::Result<Self> {
        let connection = administration::connect(beside).await.context("the database cannot be reached")?;
        drop_left_over(&connection).await?;
        let find = Statement::from_sql_and_values(DbBackend::Postgres, NAME, [std::process::id().to_string().into()]);
        let row = connection.query_one_raw(find).await?.context("the server gives no name")?;
        let name: String = row.try_get_by_index(0)?;
        let made = connection.execute_unprepared(&format!("CREATE DATABASE {name}")).await;
        made.context("no scratch database can be made; the role needs it: ALTER ROLE … CREATEDB")?;
        let address = with_database(beside, &name);
        let session = match enter(&address, &name).await {
            Ok(session) => session,
            Err(error) => {
                connection.execute_unprepared(&format!("DROP DATABASE {name}")).await?;
                return Err(error);
            }
        };
        connection.close().await?;
        Ok(Self { address, name, beside: beside.to_owned(), session })
    }

    /// Drops it, whoever still uses it.
    async fn remove(self) -> anyhow::Result<()> {
        let dropped = async {
            self.session.close().await?;
            let connection = administration::connect(&self.beside).await?;
            connection.execute_unprepared(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).await?;
            connection.close().await
        };
        dropped
            .await
            .with_context(|| format!("the scratch database {} is still there; the next run drops it", self.name))
    }
}

async fn drop_left_over(connection: &DatabaseConnection) -> anyhow::Result<()> {
    for row in connection.query_all_raw(Statement::from_string(DbBackend::Postgres, LEFT_OVER)).await? {
        let name: String = row.try_get_by_index(0)?;
        // Another role's may stay.
        match connection.execute_unprepared(&format!("DROP DATABASE \"{name}\"")).await {
            Ok(_) => tracing::info!(database = name, "dropped what a killed run had left"),
            Err(error) => tracing::warn!(database = name, %error, "what a killed run has left cannot be dropped"),
        }
    }
    Ok(())
}

/// Opens a session, and sees to it that it is not in a database that somebody keeps: all that the run does, it does there.
async fn enter(address: &str, name: &str) -> anyhow::Result<DatabaseConnection> {
    let session = administration::connect(address).await.context("the scratch database cannot be reached")?;
    let find = Statement::from_string(DbBackend::Postgres, "SELECT current_database()::text");
    let row = session.query_one_raw(find).await?.context("the server names no database")?;
    let found: String = row.try_get_by_index(0)?;
    anyhow::ensure!(
        found == name,
        "the address leads to the database {found}, whatever database it names, and nothing may happen there: set \
         DATABASE_URL to one of the form postgres://user@host:5432/database of the server itself"
    );
    Ok(session)
}

/// The same address with another database: of several that an address names, the last one counts.
fn with_database(address: &str, name: &str) -> String {
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}dbname={name}")
}

//! Mints a token for a user who is in the database.

use anyhow::Context;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::database::{NamedStatement, administration};
use crate::identity::Signer;

/// A token for the live user with an e-mail address, whatever the case of its letters.
///
/// # Errors
/// There is no such user, or the database cannot be reached.
pub async fn mint(address: &str, signer: &Signer, email: &str, hours: u32) -> anyhow::Result<String> {
    let connection = administration::connect(address).await.context("the database cannot be reached")?;
    let id = user(&connection, email).await?;
    connection.close().await?;
    Ok(signer.mint(id, hours)?)
}

/// The id of the live user with an e-mail address.
///
/// # Errors
/// There is no such user, or the database has no schema yet.
pub async fn user(connection: &impl ConnectionTrait, email: &str) -> anyhow::Result<Uuid> {
    let row = connection.query_one_raw(user_by_email(email).into()).await.context("run `trellis migrate up` first")?;
    let row = row.with_context(|| format!("no user has the address {email}"))?;
    Ok(row.try_get_by_index(0)?)
}

/// Finds the live user with an e-mail address, whatever the case of its letters.
#[must_use]
pub fn user_by_email(email: &str) -> NamedStatement {
    let sql = "SELECT id FROM users WHERE lower(email) = lower($1) AND deleted_at IS NULL";
    NamedStatement::new("user_by_email", sql, [email.into()])
}

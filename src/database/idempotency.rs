//! A write that is sent twice is done once: the first answer is kept for 24 hours, for each caller and key.
//!
//! The key is claimed in the transaction of the write. A second claim at the same time waits for the first transaction
//! to end; a claim of a transaction that was rolled back never was.

use std::sync::Arc;

use sea_orm::DbErr;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Command, NamedStatement, Transaction};
use crate::clock;
use crate::error::{Error, Failure, UserError, UserErrorCode};

/// The longest key, in characters.
const KEY_CHARACTERS: usize = 255;

/// How many keys one statement removes: well within the time that it has.
pub(super) const PURGED_AT_ONCE: usize = 1_000;

/// A caller's name for a write.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The caller.
    pub viewer: Uuid,
    /// The name, which the caller chose.
    pub key: String,
}

/// Whose turn it is.
pub(super) enum Claim<T> {
    /// The write has been done, with this outcome.
    Done(T),
    /// The write is to be done.
    Mine(Claimed),
}

/// A key that the present transaction has claimed.
pub(super) struct Claimed(Uuid);

impl IdempotencyKey {
    /// What is wrong with the key itself.
    pub(super) fn fault(&self) -> Option<UserError> {
        let length = self.key.chars().count();
        let is_good = (1..=KEY_CHARACTERS).contains(&length) && !self.key.contains('\0');
        (!is_good).then(|| {
            let message = format!("Must have 1 to {KEY_CHARACTERS} characters, and no NUL among them.");
            UserError::of("idempotencyKey", UserErrorCode::Invalid, message)
        })
    }

    /// Claims the key for a command, or finds what the command did before.
    pub(super) async fn claim<C: Command>(
        &self,
        command: &C,
        transaction: &Transaction,
    ) -> Result<Claim<C::Output>, Failure<C::Output>> {
        let fingerprint = fingerprint(C::NAME, command)?;
        let id = clock::new_id();
        let claimed = transaction.rows(claim(id, self, fingerprint.clone())).await?;
        if !claimed.is_empty() {
            return Ok(Claim::Mine(Claimed(id)));
        }
        let rows = transaction.rows(answer(self, fingerprint)).await?;
        // No row: the token has outlived its user.
        let row = rows.first().ok_or(Error::Unauthenticated)?;
        if !row.try_get_by_index::<bool>(0).map_err(Error::from)? {
            let message = "This key was used for another input. Use a new key for a new write.";
            return Err(UserError::of("idempotencyKey", UserErrorCode::IdempotencyMismatch, message).into());
        }
        let response: String = row.try_get_by_index(1).map_err(Error::from)?;
        Ok(Claim::Done(serde_json::from_str(&response).map_err(|error| unreadable(&error))?))
    }
}

impl Claimed {
    /// Keeps what the write did.
    pub(super) async fn keep<T: Serialize>(&self, output: &T, transaction: &Transaction) -> Result<(), Failure<T>> {
        let response = serde_json::to_string(output).map_err(|error| unreadable(&error))?;
        transaction.rows(keep(self.0, response)).await?;
        Ok(())
    }
}

/// What tells one input from another: a hash, because an input may be long.
fn fingerprint(name: &str, command: &impl Serialize) -> Result<Vec<u8>, Error> {
    let input = serde_json::to_vec(&(name, command)).map_err(|error| unreadable(&error))?;
    Ok(Sha256::digest(input).to_vec())
}

fn unreadable(error: &serde_json::Error) -> Error {
    Error::Internal(Arc::new(DbErr::Json(error.to_string())))
}

/// Claims a key that nobody has claimed within 24 hours, under a new `id`.
fn claim(id: Uuid, IdempotencyKey { viewer, key }: &IdempotencyKey, fingerprint: Vec<u8>) -> NamedStatement {
    let sql = "INSERT INTO idempotency_keys AS k (id, user_id, key, fingerprint) \
               SELECT $1, u.id, $3, $4 FROM users u WHERE u.id = $2 AND u.deleted_at IS NULL \
               ON CONFLICT (user_id, key) WHERE deleted_at IS NULL DO UPDATE \
               SET id = $1, fingerprint = $4, response = NULL, created_at = now(), updated_at = now() \
               WHERE k.created_at < now() - interval '24 hours' RETURNING k.id";
    NamedStatement::new("idempotency_claim", sql, [id.into(), (*viewer).into(), key.clone().into(), fingerprint.into()])
}

/// Finds what was written under a key, and whether for the same input.
fn answer(IdempotencyKey { viewer, key }: &IdempotencyKey, fingerprint: Vec<u8>) -> NamedStatement {
    let sql = "SELECT k.fingerprint = $3, k.response FROM idempotency_keys k \
               JOIN users u ON u.id = k.user_id AND u.deleted_at IS NULL \
               WHERE k.user_id = $1 AND k.key = $2 AND k.deleted_at IS NULL";
    NamedStatement::new("idempotency_answer", sql, [(*viewer).into(), key.clone().into(), fingerprint.into()])
}

/// Keeps what was written under the claim `id`.
fn keep(id: Uuid, response: String) -> NamedStatement {
    let sql = "UPDATE idempotency_keys SET response = $2 WHERE id = $1";
    NamedStatement::new("idempotency_keep", sql, [id.into(), response.into()])
}

/// Removes keys that are older than 25 hours, of which there may be any number: a few of them. Those that are being claimed
/// anew stay, and nobody waits for them. The hour is for a claim that found a key in its last moment, and then reads what
/// was written under it.
pub(super) fn purge() -> NamedStatement {
    let sql = format!(
        "DELETE FROM idempotency_keys WHERE id = ANY(ARRAY(SELECT id FROM idempotency_keys \
         WHERE created_at < now() - interval '25 hours' AND deleted_at IS NULL \
         LIMIT {PURGED_AT_ONCE} FOR UPDATE SKIP LOCKED)) RETURNING id"
    );
    NamedStatement::new("idempotency_purge", sql, [])
}

/// Every statement of this file, as a caller would send it.
pub(super) fn statements(viewer: Uuid) -> [NamedStatement; 4] {
    let id = clock::new_id();
    let key = IdempotencyKey { viewer, key: id.to_string() };
    [claim(id, &key, vec![0; 32]), answer(&key, vec![0; 32]), keep(id, "{}".to_owned()), purge()]
}

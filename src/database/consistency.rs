//! Proof of a write: a position of the primary's log, sealed so that a client can carry it and cannot make one up.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sea_orm::{DbErr, QueryResult};
use sha2::Sha256;

use super::NamedStatement;
use crate::error::Error;

const VERSION: u8 = 1;
/// How much of the seal a token carries: enough that guessing one takes 2^96 tries.
const SEAL_BYTES: usize = 12;

/// A place in the log of one cluster. Everything that was committed before it has been read by whoever has replayed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The cluster: another cluster's positions mean nothing.
    pub system: i64,
    /// The history of the cluster: a promotion begins a new one.
    pub timeline: i32,
    /// Bytes since the beginning of the log.
    pub bytes: i64,
}

/// Makes and opens tokens.
#[derive(Clone)]
pub struct Sealer(Hmac<Sha256>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer whose key follows from the server's secret. It differs from the key that signs bearer tokens.
    ///
    /// # Errors
    /// HMAC takes no such key, which it says of none.
    pub fn new(secret: &str) -> Result<Self, DbErr> {
        let invalid = |error: hmac::digest::InvalidLength| DbErr::Custom(error.to_string());
        let mut derive = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(invalid)?;
        derive.update(b"trellis consistency token");
        Ok(Self(Hmac::new_from_slice(&derive.finalize().into_bytes()).map_err(invalid)?))
    }

    /// A position as a token.
    #[must_use]
    pub fn seal(&self, position: LogPosition) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(position.system.to_be_bytes());
        bytes.extend(position.timeline.to_be_bytes());
        bytes.extend(position.bytes.to_be_bytes());
        let seal = self.0.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend(seal.iter().take(SEAL_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position in a token.
    ///
    /// # Errors
    /// `BadConsistencyToken` where no server with this secret made it.
    pub fn open(&self, token: &str) -> Result<LogPosition, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::BadConsistencyToken)?;
        let (body, seal) = bytes.split_last_chunk::<SEAL_BYTES>().ok_or(Error::BadConsistencyToken)?;
        let whole = self.0.clone().chain_update(body);
        whole.verify_truncated_left(seal).map_err(|_| Error::BadConsistencyToken)?;
        read(body).ok_or(Error::BadConsistencyToken)
    }
}

fn read(body: &[u8]) -> Option<LogPosition> {
    let rest = body.strip_prefix(&[VERSION])?;
    let (system, rest) = rest.split_first_chunk::<8>()?;
    let (timeline, bytes) = rest.split_first_chunk::<4>()?;
    Some(LogPosition {
        system: i64::from_be_bytes(*system),
        timeline: i32::from_be_bytes(*timeline),
        bytes: i64::from_be_bytes(bytes.try_into().ok()?),
    })
}

impl LogPosition {
    /// Asks the primary how far its log is safe. The position of the last insertion can be unreachable for a replica.
    pub(super) const QUESTION: &str = "SELECT c.system_identifier, ('x' || left(pg_walfile_name(p.lsn), 8))::bit(32)::int, \
         (p.lsn - '0/0'::pg_lsn)::bigint FROM pg_control_system() c, (SELECT pg_current_wal_flush_lsn() AS lsn) p";

    pub(super) fn decode(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            system: row.try_get_by_index(0)?,
            timeline: row.try_get_by_index(1)?,
            bytes: row.try_get_by_index(2)?,
        })
    }
}

/// The timelines from which a timeline came, each with where it was left.
#[derive(Clone, Debug)]
pub(super) struct History {
    timeline: i32,
    /// None where it cannot be told.
    left: Option<Vec<(i32, i64)>>,
}

impl History {
    /// Asks the primary for the history of its timeline; the first one has none.
    pub(super) fn of(timeline: i32) -> NamedStatement {
        let sql =
            "SELECT pg_read_file('pg_wal/' || upper(lpad(to_hex($1::int), 8, '0')) || '.history', 0, 1048576, true)";
        NamedStatement::new("timeline_history", sql, [timeline.into()])
    }

    /// Reads the file that PostgreSQL writes at a promotion: a line for each timeline before, with where it was left.
    pub(super) fn read(timeline: i32, text: Option<&str>) -> Self {
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let (timeline, position) = (words.next()?.parse().ok()?, words.next()?);
            let (high, low) = position.split_once('/')?;
            let part = |text| i64::from_str_radix(text, 16).ok();
            Some((timeline, (part(high)? << 32) | part(low)?))
        };
        Self { timeline, left: text.map(|text| text.lines().filter_map(line).collect()) }
    }

    /// Whether what was proven by a position of an older timeline is not in this one.
    pub(super) fn has_lost(&self, proof: LogPosition) -> bool {
        let left = |left: &Vec<(i32, i64)>| match left.iter().find(|(timeline, _)| *timeline == proof.timeline) {
            Some((_, position)) => proof.bytes > *position,
            // It came from elsewhere.
            None => true,
        };
        proof.timeline < self.timeline && self.left.as_ref().is_some_and(left)
    }
}

//! Cursors: a position in one order of one list, as a text that a client carries and need not understand.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Datelike;
use uuid::Uuid;

use super::scalar::Cursor;
use crate::error::Error;
use crate::loaders::page::{Position, SortValue};

const VERSION: u8 = 1;

/// How long a cursor may be, in bytes. Names, the longest values in one, have 200 characters, of up to 4 bytes each. A forged
/// one is copied for every list that it is used for.
const MAX_BYTES: usize = 2_000;

/// The cursor of a position in an order: version, a hash of the order's name, the kind of the value, the id, the value, a
/// checksum.
#[must_use]
pub fn encode(position: &Position, order: &str) -> Cursor {
    let (kind, value) = match &position.value {
        SortValue::Nothing => (0, Vec::new()),
        SortValue::Null => (1, Vec::new()),
        SortValue::Time(time) => (2, time.timestamp_micros().to_be_bytes().to_vec()),
        SortValue::Text(text) => (3, text.as_bytes().to_vec()),
    };
    let mut bytes = vec![VERSION];
    bytes.extend(crc32fast::hash(order.as_bytes()).to_be_bytes());
    bytes.push(kind);
    bytes.extend(position.id.as_bytes());
    bytes.extend(value);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    Cursor(URL_SAFE_NO_PAD.encode(bytes))
}

/// The position that a cursor names in an order.
///
/// # Errors
/// `InvalidCursor` where it is damaged, or belongs to another order.
pub fn decode(Cursor(text): &Cursor, order: &str) -> Result<Position, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::InvalidCursor);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::InvalidCursor)?;
    read(&bytes, order).ok_or(Error::InvalidCursor)
}

fn read(bytes: &[u8], order: &str) -> Option<Position> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    let rest = body.strip_prefix(&[VERSION])?;
    let rest = rest.strip_prefix(&crc32fast::hash(order.as_bytes()).to_be_bytes())?;
    let (&kind, rest) = rest.split_first()?;
    let (id, value) = rest.split_first_chunk::<16>()?;
    if crc32fast::hash(body).to_be_bytes() != *checksum {
        return None;
    }
    let value = match (kind, value) {
        (0, []) => SortValue::Nothing,
        (1, []) => SortValue::Null,
        (2, micros) => {
            SortValue::Time(chrono::DateTime::from_timestamp_micros(i64::from_be_bytes(micros.try_into().ok()?))?)
        }
        (3, text) => SortValue::Text(String::from_utf8(text.to_vec()).ok()?),
        _ => return None,
    };
    is_of_order(&value, order).then(|| Position { value, id: Uuid::from_bytes(*id) })
}

/// Whether a value can be one of the column that an order is by. The checksum tells damage, not forgery, and a value of
/// another type, or one that PostgreSQL cannot hold, would fail its statement.
fn is_of_order(value: &SortValue, order: &str) -> bool {
    let column = order.split('.').nth(1).unwrap_or_default();
    match value {
        SortValue::Nothing => column.ends_with("id"),
        SortValue::Null => column == "due_date",
        SortValue::Time(time) => ["created_at", "due_date"].contains(&column) && (1..=9999).contains(&time.year()),
        SortValue::Text(text) => column == "name" && !text.contains('\0'),
    }
}

//! Rows for `COPY … FROM STDIN (FORMAT binary)`, the cheapest way into a table. It knows no noun.

use chrono::{DateTime, Utc};
use sea_orm::sqlx::{self, PgConnection};
use uuid::Uuid;

/// A value as the binary format writes it: its length, or -1 for NULL, then its bytes.
pub trait Field {
    /// Appends it.
    fn write(&self, bytes: &mut Vec<u8>);
}

impl Field for Uuid {
    fn write(&self, bytes: &mut Vec<u8>) {
        write(self.as_bytes(), bytes);
    }
}

impl Field for str {
    fn write(&self, bytes: &mut Vec<u8>) {
        write(self.as_bytes(), bytes);
    }
}

impl Field for String {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.as_str().write(bytes);
    }
}

/// Microseconds since the year 2000.
impl Field for DateTime<Utc> {
    fn write(&self, bytes: &mut Vec<u8>) {
        write(&(self.timestamp_micros() - EPOCH_US).to_be_bytes(), bytes);
    }
}

impl<T: Field> Field for Option<T> {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(bytes),
            None => bytes.extend_from_slice(&NULL),
        }
    }
}

impl<T: Field + ?Sized> Field for &T {
    fn write(&self, bytes: &mut Vec<u8>) {
        (**self).write(bytes);
    }
}

/// Rows of one table, ready to be sent.
pub struct Rows {
    table: &'static str,
    columns: &'static [&'static str],
    bytes: Vec<u8>,
}

impl Rows {
    /// None yet.
    #[must_use]
    pub fn new(table: &'static str, columns: &'static [&'static str]) -> Self {
        Self { table, columns, bytes: HEADER.to_vec() }
    }

    /// Appends a row: a value for each column, in their order. PostgreSQL refuses another number of them.
    pub fn push(&mut self, row: &[&dyn Field]) {
        let count = i16::try_from(row.len()).unwrap_or(i16::MAX);
        self.bytes.extend_from_slice(&count.to_be_bytes());
        for field in row {
            field.write(&mut self.bytes);
        }
    }

    /// Sends them all, and says how many there were.
    ///
    /// # Errors
    /// The server does not answer, or refuses a row; none of them is written then.
    pub async fn copy(mut self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        self.bytes.extend_from_slice(&TRAILER);
        let columns = self.columns.join(", ");
        let statement = format!("COPY {} ({columns}) FROM STDIN (FORMAT binary)", self.table);
        let mut copy = connection.copy_in_raw(&statement).await?;
        copy.send(self.bytes).await?;
        copy.finish().await
    }
}

fn write(value: &[u8], bytes: &mut Vec<u8>) {
    // PostgreSQL takes no value of more than 1 GB.
    let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}

/// <https://www.postgresql.org/docs/current/sql-copy.html>: the signature, no flags, no extension.
const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
const NULL: [u8; 4] = (-1_i32).to_be_bytes();
/// PostgreSQL's epoch, 2000-01-01, in microseconds of Unix time.
const EPOCH_US: i64 = 946_684_800_000_000;

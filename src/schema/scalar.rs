//! The scalars of the contract, and ids.

use async_graphql::{ID, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{Datelike, SecondsFormat, SubsecRound, Utc};
use uuid::Uuid;

use crate::error::Error;

/// An instant to the microsecond, in the years 1 to 9999.
#[derive(Clone, Copy, Debug)]
pub struct DateTime(pub chrono::DateTime<Utc>);

/// An instant: RFC 3339 in UTC with microseconds and Z, as in `2026-01-31T09:30:00.000000Z`. Any offset is accepted
/// as input, in the years 1 to 9999; what is finer than a microsecond is dropped.
#[Scalar(name = "DateTime", specified_by_url = "https://scalars.graphql.org/chillicream/date-time.html")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        instant(text).map(Self).ok_or_else(|| InputValueError::expected_type(value))
    }

    // Before anything is executed: a fault that a resolver finds makes the whole answer null.
    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(text) if instant(text).is_some())
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

fn instant(text: &str) -> Option<chrono::DateTime<Utc>> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc).trunc_subsecs(6);
    (1..=9999).contains(&parsed.year()).then_some(parsed)
}

impl From<chrono::DateTime<Utc>> for DateTime {
    fn from(instant: chrono::DateTime<Utc>) -> Self {
        Self(instant)
    }
}

/// A cursor as the client sent it, or is to get it.
#[derive(Clone, Debug)]
pub struct Cursor(pub String);

/// An opaque position in one ordering of one connection. It stays good when the row that it was made from is deleted.
#[Scalar(name = "Cursor")]
impl ScalarType for Cursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A UUID, where a client's schema names that scalar; ids are of type `ID`.
#[derive(Clone, Copy, Debug)]
pub struct UuidText(pub Uuid);

/// A UUID, as in `01a0345f-12ad-7541-8788-f04851249340`: the form of every id.
#[Scalar(name = "UUID", specified_by_url = "https://tools.ietf.org/html/rfc4122")]
impl ScalarType for UuidText {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => {
                Uuid::try_parse(text).map(Self).map_err(|_| InputValueError::custom("must be a UUID"))
            }
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A consistency token as the client gets it.
#[derive(Clone, Debug)]
pub struct ConsistencyToken(pub String);

/// An opaque proof of a write. Send it back in the header `X-Consistency-Token`, and what you read is at least as new
/// as that write, from whichever server it comes.
#[Scalar(name = "ConsistencyToken")]
impl ScalarType for ConsistencyToken {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// The id of a row, as clients see it.
#[must_use]
pub fn id(id: Uuid) -> ID {
    ID(id.to_string())
}

/// The UUID in the argument `name`.
///
/// # Errors
/// `BadUserInput` where the text is not a UUID.
pub fn uuid(id: &ID, name: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(id)
        .map_err(|_| Error::BadUserInput(format!("The argument {name} is not an id: it must be a UUID.")))
}

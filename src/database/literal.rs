//! A bound value as SQL text, for statements that are prepared by hand.

use sea_orm::sea_query::{ArrayType, OptionEnum};
use sea_orm::{DbErr, Value};

/// The type as which a value is bound, in PostgreSQL's words.
///
/// # Errors
/// No statement of ours binds such a value.
pub(super) fn type_of(value: &Value) -> Result<String, DbErr> {
    let kind = value.array_type();
    let name = match &kind {
        ArrayType::Bool => "bool",
        ArrayType::SmallInt => "int2",
        ArrayType::Int => "int4",
        ArrayType::BigInt => "int8",
        ArrayType::Float => "float4",
        ArrayType::Double => "float8",
        ArrayType::String | ArrayType::Enum(_) => "text",
        ArrayType::Bytes => "bytea",
        ArrayType::ChronoDate => "date",
        ArrayType::ChronoDateTimeUtc => "timestamptz",
        ArrayType::Uuid => "uuid",
        _ => return Err(DbErr::Type(format!("a value of the kind {kind:?} has no SQL text here"))),
    };
    Ok(if matches!(value, Value::Array(..)) { format!("{name}[]") } else { name.to_owned() })
}

/// A value as a quoted literal, which takes on the type of its place.
///
/// # Errors
/// As [`type_of`].
pub(super) fn literal(value: &Value) -> Result<String, DbErr> {
    Ok(match text(value)? {
        Some(text) => format!("'{}'", text.replace('\'', "''")),
        None => "NULL".to_owned(),
    })
}

/// What PostgreSQL's input function of the value's type reads; none for null.
fn text(value: &Value) -> Result<Option<String>, DbErr> {
    Ok(match value {
        Value::Bool(value) => value.map(|value| value.to_string()),
        Value::SmallInt(value) => value.map(|value| value.to_string()),
        Value::Int(value) => value.map(|value| value.to_string()),
        Value::BigInt(value) => value.map(|value| value.to_string()),
        Value::Float(value) => value.map(|value| value.to_string()),
        Value::Double(value) => value.map(|value| value.to_string()),
        Value::String(value) => value.clone(),
        Value::Enum(OptionEnum::Some(value)) => Some(value.value.to_string()),
        Value::Enum(OptionEnum::None(_)) => None,
        Value::Bytes(value) => value.as_ref().map(|bytes| {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            format!("\\x{}", digits.collect::<String>())
        }),
        Value::ChronoDate(value) => value.map(|value| value.to_string()),
        // PostgreSQL keeps microseconds, and the driver cuts off what is finer; text would be rounded.
        Value::ChronoDateTimeUtc(value) => value.map(|value| value.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()),
        Value::Uuid(value) => value.map(|value| value.to_string()),
        Value::Array(_, values) => values.as_deref().map(|values| array(values)).transpose()?,
        other => return Err(DbErr::Type(format!("the value {other:?} has no SQL text here"))),
    })
}

fn array(values: &[Value]) -> Result<String, DbErr> {
    let mut elements = Vec::with_capacity(values.len());
    for value in values {
        elements.push(match text(value)? {
            Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            None => "NULL".to_owned(),
        });
    }
    Ok(format!("{{{}}}", elements.join(",")))
}

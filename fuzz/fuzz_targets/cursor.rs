//! Cursors: what is encoded decodes to the same, what decodes encodes to the same, and only in the order that it is of.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use trellis::loaders::page::{Position, SortValue};
use trellis::schema::cursor::{decode, encode};
use trellis::schema::scalar::Cursor;
use uuid::Uuid;

/// One for each kind of value.
const ORDERS: [&str; 4] = ["tasks.created_at.asc", "tasks.due_date.asc", "projects.name.asc", "members.user_id.asc"];

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        check_text(text);
    }
    // A fuzzer does not find checksums.
    let sealed = [bytes, &crc32fast::hash(bytes).to_be_bytes()].concat();
    check_text(&URL_SAFE_NO_PAD.encode(sealed));
    if let Some((id, rest)) = bytes.split_first_chunk() {
        check_position(Uuid::from_bytes(*id), rest);
    }
});

fn check_text(text: &str) {
    let read = ORDERS.map(|order| decode(&Cursor(text.to_owned()), order).ok());
    assert!(read.iter().flatten().count() <= 1, "{text} is good in two orders");
    for (position, order) in read.iter().zip(ORDERS) {
        if let Some(position) = position {
            assert_eq!(encode(position, order).0, text);
        }
    }
}

fn check_position(id: Uuid, rest: &[u8]) {
    let time = rest.first_chunk().and_then(|micros| DateTime::from_timestamp_micros(i64::from_be_bytes(*micros)));
    let text = str::from_utf8(rest).map(|text| SortValue::Text(text.to_owned())).ok();
    let values = [SortValue::Nothing, SortValue::Null].into_iter().chain(time.map(SortValue::Time)).chain(text);
    for position in values.map(|value| Position { value, id }) {
        for order in ORDERS {
            if let Ok(read) = decode(&encode(&position, order), order) {
                assert_eq!(read, position);
            }
        }
    }
}

//! Ids: whatever form of one is taken, it is the UUID of those digits, and its canonical form is taken as the same.
#![no_main]

use async_graphql::ID;
use libfuzzer_sys::fuzz_target;
use trellis::schema::scalar::{id, uuid};

fuzz_target!(|text: &str| {
    let Ok(read) = uuid(&ID(text.to_owned()), "id") else { return };
    let canonical = id(read);
    assert_eq!(uuid(&canonical, "id").ok(), Some(read));
    let digits = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.trim_start_matches("urn:uuid:").chars().filter(char::is_ascii_hexdigit).collect::<String>()
    };
    assert_eq!(digits(text), digits(&canonical));
    assert_eq!(digits(text).len(), 32);
});

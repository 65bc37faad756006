//! Consistency tokens: what is sealed opens to the same, what opens seals to the same, and damage is seen.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trellis::database::{LogPosition, Sealer};

static SEALER: LazyLock<Sealer> =
    LazyLock::new(|| Sealer::new("the secret that the tokens in the corpus are sealed with").expect("a key"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(position) = SEALER.open(text)
    {
        assert_eq!(SEALER.seal(position), text);
    }
    let Some((system, rest)) = bytes.split_first_chunk() else { return };
    let Some((timeline, rest)) = rest.split_first_chunk() else { return };
    let Some((log, damage)) = rest.split_first_chunk() else { return };
    let position = LogPosition {
        system: i64::from_be_bytes(*system),
        timeline: i32::from_be_bytes(*timeline),
        bytes: i64::from_be_bytes(*log),
    };
    let token = SEALER.seal(position);
    assert_eq!(SEALER.open(&token).ok(), Some(position));
    if let [at, becomes, ..] = damage {
        let mut damaged = token.clone().into_bytes();
        let at = usize::from(*at) % damaged.len();
        damaged[at] = becomes % 128;
        let damaged = String::from_utf8(damaged).expect("ASCII");
        assert!(damaged == token || SEALER.open(&damaged).is_err(), "{damaged} opens as {token}");
    }
});

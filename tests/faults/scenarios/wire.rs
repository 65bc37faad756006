//! The network between Trellis and a server breaks, while both are well.

use std::time::Duration;

use super::primary::{DOWN, SILENT, reads_go_on};
use super::{INVISIBLE, NOTHING};
use crate::proxy::{Mode, Way};
use crate::scenario::{Promise, Scenario};
use crate::stage::Length;

/// All is answered, and takes its time.
const SLOW: Promise =
    Promise { write_within: Duration::from_secs(5), read_within: Duration::from_secs(5), ..INVISIBLE };

/// The wire to the primary behaves in a way.
fn primary(name: &'static str, about: &'static str, promise: Promise, mode: Mode) -> Scenario {
    let lasts = if is_silent(&mode) { |length: Length| length.silence } else { NOTHING.lasts };
    Scenario { name, about, promise, lasts, wire: Some((0, mode)), ..NOTHING }
}

/// The wire to the primary behaves as if that were away.
fn away(name: &'static str, about: &'static str, mode: Mode) -> Scenario {
    Scenario { strike: |stage| Box::pin(async { reads_go_on(stage).await }), ..primary(name, about, DOWN, mode) }
}

/// The wire to one replica of two behaves in a way. Clients see nothing of it.
fn replica(name: &'static str, about: &'static str, mode: Mode) -> Scenario {
    let lasts = if is_silent(&mode) { |length: Length| length.silence / 2 } else { NOTHING.lasts };
    Scenario { name, about, lasts, wire: Some((1, mode)), ..NOTHING }
}

fn is_silent(mode: &Mode) -> bool {
    matches!(mode, Mode::Silence(_))
}

/// The wire to the primary breaks in the middle of each COMMIT that goes along.
fn commit(name: &'static str, about: &'static str, way: Way) -> Scenario {
    primary(name, about, DOWN, Mode::CutWithin(way, b"COMMIT"))
}

pub fn scenarios() -> Vec<Scenario> {
    let after = Mode::CutAfter;
    vec![
        away("primary-refuses", "nobody listens at the primary's address", Mode::Refuse),
        away("primary-resets", "every connection to the primary is reset", Mode::Reset),
        primary("primary-silent", "no byte to the primary or from it", SILENT, Mode::Silence(Way::Both)),
        primary("primary-deaf", "no byte to the primary", SILENT, Mode::Silence(Way::ToServer)),
        primary("primary-mute", "no byte from the primary", SILENT, Mode::Silence(Way::ToClient)),
        primary("primary-far", "20 ms on each way to the primary", SLOW, Mode::Delay(Duration::from_millis(20))),
        primary("primary-narrow", "20 kB/s for each connection to the primary", SLOW, Mode::Throttle(20_000)),
        primary("primary-cut", "each connection to the primary is reset after 5,000 bytes from it", DOWN, after(5_000)),
        commit("commit-unsent", "reset in the middle of COMMIT on its way to the primary", Way::ToServer),
        commit("commit-unanswered", "reset in the middle of the answer to COMMIT", Way::ToClient),
        replica("replica-refuses", "nobody listens at the address of one replica of two", Mode::Refuse),
        replica("replica-silent", "no byte to one replica of two or from it", Mode::Silence(Way::Both)),
        replica("replica-deaf", "no byte to one replica of two", Mode::Silence(Way::ToServer)),
        replica("replica-mute", "no byte from one replica of two", Mode::Silence(Way::ToClient)),
        replica(
            "replica-cut",
            "each connection to one replica of two is reset after 2,000 bytes from it",
            after(2_000),
        ),
    ]
}

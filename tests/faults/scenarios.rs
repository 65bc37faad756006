//! Every fault, in the order in which they are played.

mod database;
mod instances;
mod primary;
mod process;
mod promotion;
mod replica;
mod wire;

use std::time::Duration;

use crate::scenario::{Promise, Scenario};

/// Nothing is to be seen of the fault. Times are beyond what the same requests took at worst before it.
const INVISIBLE: Promise = Promise {
    writes: &[],
    reads: &[],
    write_within: Duration::from_millis(150),
    read_within: Duration::from_millis(150),
    recovers_within: Duration::from_secs(2),
    loses_the_last: false,
};

/// A fault that is not one yet.
const NOTHING: Scenario = Scenario {
    name: "",
    about: "",
    words: &[],
    updates: false,
    promise: INVISIBLE,
    prepare: |_| Box::pin(async { Ok(None) }),
    wire: None,
    lasts: |length| length.fault,
    strike: |_| Box::pin(async { Ok(()) }),
    heal: |_| Box::pin(async { Ok(()) }),
    spends_cluster: false,
};

pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(primary::scenarios());
    all.extend(replica::scenarios());
    all.extend(wire::scenarios());
    all.extend(process::scenarios());
    all.extend(instances::scenarios());
    all.extend(database::scenarios());
    all.extend(promotion::scenarios());
    all
}

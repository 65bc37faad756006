//! Chance that is the same on every machine and with every version of every library: xoshiro256++, and integers only.

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use uuid::{Builder, Uuid};

/// A stream of random draws. What `rand` itself makes of a generator's bits may change between its versions, so that
/// this draws from the bits alone.
pub(super) struct Chance(Xoshiro256PlusPlus);

impl Chance {
    pub fn new(seed: [u8; 32]) -> Self {
        Self(Xoshiro256PlusPlus::from_seed(seed))
    }

    /// A number below a bound. The bias is one in 2^64 / bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        scale(self.0.next_u64(), bound)
    }

    /// True as often as `share` of a hundred.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let length = u64::try_from(list.len()).unwrap_or(u64::MAX);
        list[usize::try_from(self.below(length)).unwrap_or_default()]
    }

    /// How many there are of something of which there are `mean` on average: none often, many now and then (geometric).
    pub fn count(&mut self, mean: u64) -> u64 {
        let mut count = 0;
        while self.below(mean + 1) < mean {
            count += 1;
        }
        count
    }

    /// An instant from one to before another, as likely early as late.
    pub fn moment(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
        from + TimeDelta::microseconds(i64::try_from(self.below(micros(from, to))).unwrap_or_default())
    }

    /// Likewise, but rather early: half of them are in the first fifth.
    pub fn soon(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
        self.moment(from, to).min(self.moment(from, to)).min(self.moment(from, to))
    }

    /// The instant of the row with this number, of rows that are spread evenly over a time: one somewhere in each of
    /// `count` equal parts, so that numbers are in the order of time.
    pub fn spread(&mut self, [from, to]: [DateTime<Utc>; 2], number: u64, count: u64) -> DateTime<Utc> {
        let part = |number: u64| {
            let at = u128::from(micros(from, to)) * u128::from(number) / u128::from(count.max(1));
            from + TimeDelta::microseconds(i64::try_from(at).unwrap_or_default())
        };
        self.moment(part(number), part(number + 1))
    }

    /// A UUID v7 of an instant.
    pub fn id(&mut self, at: DateTime<Utc>) -> Uuid {
        let mut random = [0; 10];
        self.0.fill_bytes(&mut random);
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// Brings 64 random bits below a bound: the upper half of their product.
fn scale(bits: u64, bound: u64) -> u64 {
    u64::try_from((u128::from(bits) * u128::from(bound)) >> 64).unwrap_or_default()
}

fn micros(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    (to - from).num_microseconds().and_then(|micros| u64::try_from(micros).ok()).unwrap_or_default()
}

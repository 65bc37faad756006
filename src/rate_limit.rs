//! How much a caller may ask for in a while: a bucket of points for each, which fills at a steady rate. A request costs as
//! many as its complexity.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter as Buckets};
use uuid::Uuid;

use crate::config::{HttpSettings, Limits};
use crate::error::Error;

/// Whose points a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The user whom a token speaks for.
    User(Uuid),
    /// Nobody in particular, at this address. The lower half of an IPv6 address is for its holder to choose, and is zero.
    Address(IpAddr),
}

impl Caller {
    /// The user, where there is one.
    #[must_use]
    pub fn new(user: Option<Uuid>, address: IpAddr) -> Self {
        match (user, address) {
            (Some(user), _) => Self::User(user),
            (None, IpAddr::V4(_)) => Self::Address(address),
            (None, IpAddr::V6(v6)) => {
                let network = v6.to_bits() >> 64 << 64;
                Self::Address(v6.to_ipv4_mapped().map_or(Ipv6Addr::from_bits(network).into(), IpAddr::V4))
            }
        }
    }
}

/// What a caller may still ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Points in a full bucket.
    pub limit: u32,
    /// Points that come back each second.
    pub per_second: u32,
    /// Points that are left.
    pub remaining: u32,
    /// What this request has cost until now.
    pub cost: u32,
}

impl Allowance {
    /// How long it takes until so many points have come, in whole seconds.
    fn seconds(self, points: u32) -> u32 {
        points.div_ceil(self.per_second)
    }

    /// How many seconds it takes to fill an empty bucket.
    #[must_use]
    pub fn window(self) -> u32 {
        self.seconds(self.limit)
    }

    /// In how many seconds the bucket is full again.
    #[must_use]
    pub fn reset(self) -> u32 {
        self.seconds(self.limit.saturating_sub(self.remaining))
    }
}

/// A caller has not as many points as a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// What the request costs, as far as that is known.
    pub cost: u32,
    /// Points in a full bucket.
    pub limit: u32,
    /// In how many seconds there will be enough.
    pub retry_after: u64,
}

impl From<Exhausted> for Error {
    fn from(Exhausted { cost, limit, retry_after }: Exhausted) -> Self {
        Self::RateLimited { cost, limit, retry_after }
    }
}

/// The buckets of all callers. One that is full is as good as one that is not there, and is forgotten.
#[derive(Debug)]
pub struct RateLimiter {
    buckets: Buckets<Caller, HashMapStateStore<Caller>, DefaultClock, StateInformationMiddleware>,
    full: Allowance,
    forgot: Mutex<Instant>,
}

impl RateLimiter {
    /// What keeps the rate of the settings; none where they set none.
    #[must_use]
    pub fn new(settings: &HttpSettings, limits: &Limits) -> Option<Self> {
        let rate = NonZeroU32::new(settings.rate_limit)?;
        let burst = NonZeroU32::new(settings.rate_limit_burst(limits))?;
        let full = Allowance { limit: burst.get(), per_second: rate.get(), remaining: burst.get(), cost: 0 };
        let buckets = Buckets::hashmap(Quota::per_second(rate).allow_burst(burst)).with_middleware();
        Some(Self { buckets, full, forgot: Mutex::new(Instant::now()) })
    }

    /// Takes points from a caller's bucket, `before` being what this request has cost already.
    ///
    /// # Errors
    /// There are not as many. None is taken then.
    pub fn charge(&self, caller: Caller, points: u64, before: Option<Allowance>) -> Result<Allowance, Exhausted> {
        self.forget();
        let points = u32::try_from(points).unwrap_or(u32::MAX);
        let before = before.unwrap_or(self.full);
        let Some(asked) = NonZeroU32::new(points) else { return Ok(before) };
        let cost = before.cost.saturating_add(points);
        let retry_after = match self.buckets.check_key_n(&caller, asked) {
            Ok(Ok(left)) => {
                return Ok(Allowance { remaining: left.remaining_burst_capacity(), cost, ..self.full });
            }
            Ok(Err(not_yet)) => not_yet.wait_time_from(DefaultClock::default().now()).as_secs() + 1,
            // Not with settings that were checked: a full bucket is worth the dearest request that the guard lets through.
            Err(_) => self.full.window().into(),
        };
        Err(Exhausted { cost, limit: self.full.limit, retry_after })
    }

    /// What is told of a bucket that had too little in it: how little is not known.
    #[must_use]
    pub fn exhausted(&self) -> Allowance {
        Allowance { remaining: 0, ..self.full }
    }

    /// How many callers have a bucket that is not full.
    pub fn callers(&self) -> usize {
        self.forget();
        self.buckets.len()
    }

    /// Forgets the full buckets, once a second at most.
    fn forget(&self) {
        let mut forgot = self.forgot.lock().unwrap_or_else(PoisonError::into_inner);
        if forgot.elapsed() < Duration::from_secs(1) {
            return;
        }
        *forgot = Instant::now();
        drop(forgot);
        self.buckets.retain_recent();
        self.buckets.shrink_to_fit();
    }
}

//! The line in front of places that are few, as the connections of a door are: nobody takes more than a share of them, and
//! whoever has the fewest comes next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::tenants::{Claim, Tenant};

/// Places, and those who wait for one.
#[derive(Debug)]
pub struct Line {
    max: u32,
    state: Mutex<State>,
    returned: Notify,
}

#[derive(Debug)]
struct State {
    free: u32,
    accounts: Accounts,
    /// Those who wait, in the order of arrival. As long as a place is free none of them may have it.
    waiting: VecDeque<Waiter>,
    arrived: u64,
    turns: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    standing: Standing,
    place: oneshot::Sender<Place>,
}

/// A place. It is given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    line: Arc<Line>,
    standing: Standing,
}

/// What there is none left of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Places.
    All,
    /// Places that the claim allows.
    Share,
}

/// Somebody in the line, who leaves it when this is dropped.
struct Turn<'a> {
    line: &'a Line,
    number: u64,
}

/// The accounts of all tenants who have places or wait for one. Who comes next is found by looking at everybody who waits,
/// which is quick because each knows where the accounts of their tenants are.
#[derive(Debug, Default)]
struct Accounts {
    all: Vec<Account>,
    by_tenant: HashMap<Tenant, usize>,
    unused: Vec<usize>,
}

#[derive(Debug)]
struct Account {
    tenant: Tenant,
    /// Places that the tenant has.
    held: u32,
    /// The turn in which the tenant last came next.
    served: u64,
    /// Places and waiters that count here.
    users: u32,
}

/// A claim, as the accounts see it.
#[derive(Debug)]
struct Standing {
    /// Where the accounts of its tenants are, the caller's first.
    accounts: Box<[usize]>,
    /// How many places each of them may have.
    most: u32,
}

impl Line {
    /// So many places, all of them free.
    #[must_use]
    pub fn new(max: u32) -> Self {
        let (accounts, waiting) = (Accounts::default(), VecDeque::new());
        let state = State { free: max, accounts, waiting, arrived: 0, turns: 0, is_closed: false };
        Self { max, state: Mutex::new(state), returned: Notify::new() }
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> u32 {
        self.max - self.state().free
    }

    /// Waits for a place; none where the line is closed. Who stops waiting loses nobody a place.
    pub(super) async fn wait(self: &Arc<Self>, claim: &Claim) -> Option<Place> {
        let (turn, place) = {
            let mut state = self.state();
            if state.is_closed {
                return None;
            }
            let standing = state.accounts.open(claim, self.max);
            if state.take(&standing) {
                drop(state);
                return Some(self.place(standing));
            }
            let (sender, place) = oneshot::channel();
            let number = state.arrived;
            state.arrived += 1;
            state.waiting.push_back(Waiter { number, standing, place: sender });
            (Turn { line: self, number }, place)
        };
        let place = place.await.ok();
        drop(turn);
        place
    }

    /// A place, where one is free that the claim allows.
    ///
    /// # Errors
    /// Why there is none.
    pub fn enter(self: &Arc<Self>, claim: &Claim) -> Result<Place, Taken> {
        let mut state = self.state();
        let standing = state.accounts.open(claim, self.max);
        if state.take(&standing) {
            drop(state);
            return Ok(self.place(standing));
        }
        state.accounts.close(&standing);
        Err(if self.is_share(&state, claim) { Taken::Share } else { Taken::All })
    }

    /// Whether a claim's tenants have as many places as they may have, and others could have more.
    pub(super) fn is_share_taken(&self, claim: &Claim) -> bool {
        self.is_share(&self.state(), claim)
    }

    fn is_share(&self, state: &State, claim: &Claim) -> bool {
        let most = claim.most(self.max);
        most < self.max && claim.tenants().iter().any(|tenant| state.accounts.held_by(tenant) >= most)
    }

    /// Gives no more places, sends those away who wait, and waits until all places are back.
    pub(super) async fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
        loop {
            let returned = self.returned.notified();
            if self.taken() == 0 {
                return;
            }
            returned.await;
        }
    }

    fn place(self: &Arc<Self>, standing: Standing) -> Place {
        Place { line: Arc::clone(self), standing }
    }

    fn give_back(self: &Arc<Self>, standing: &Standing) {
        let mut next = Vec::new();
        let mut state = self.state();
        state.give_back(standing);
        while let Some(waiter) = state.next() {
            next.push(waiter);
        }
        let is_closed = state.is_closed;
        drop(state);
        for Waiter { standing, place, .. } in next {
            // Where nobody waits any more the place comes back by itself, and goes to the next.
            let _ = place.send(self.place(standing));
        }
        if is_closed {
            self.returned.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a place, where one is free that is allowed.
    fn take(&mut self, standing: &Standing) -> bool {
        let is_allowed = self.free > 0 && self.accounts.most_held(standing) < standing.most;
        if is_allowed {
            self.free -= 1;
            self.accounts.of(standing, |account| account.held += 1);
        }
        is_allowed
    }

    fn give_back(&mut self, standing: &Standing) {
        self.free += 1;
        self.accounts.of(standing, |account| account.held -= 1);
        self.accounts.close(standing);
    }

    /// Takes a free place for the one who comes next: whose tenants have the fewest places, then whose have not come next
    /// for the longest time, then the caller likewise, then who came first.
    fn next(&mut self) -> Option<Waiter> {
        if self.free == 0 {
            return None;
        }
        let ranks = self.waiting.iter().map(|waiter| (self.accounts.rank(&waiter.standing), waiter.standing.most));
        let allowed = ranks.enumerate().filter(|(_, ((held, ..), most))| held < most);
        let (index, _) = allowed.min_by_key(|(_, (rank, _))| *rank)?;
        let waiter = self.waiting.remove(index)?;
        self.take(&waiter.standing);
        self.turns += 1;
        let turn = self.turns;
        self.accounts.of(&waiter.standing, |account| account.served = turn);
        Some(waiter)
    }
}

impl Accounts {
    /// Finds or makes the accounts of a claim.
    fn open(&mut self, claim: &Claim, max: u32) -> Standing {
        let accounts = claim.tenants().iter().map(|tenant| {
            let index = *self.by_tenant.entry(*tenant).or_insert_with(|| {
                let account = Account { tenant: *tenant, held: 0, served: 0, users: 0 };
                if let Some(index) = self.unused.pop() {
                    self.all[index] = account;
                    index
                } else {
                    self.all.push(account);
                    self.all.len() - 1
                }
            });
            self.all[index].users += 1;
            index
        });
        Standing { accounts: accounts.collect(), most: claim.most(max) }
    }

    /// Forgets those accounts of a claim that nobody else uses.
    fn close(&mut self, standing: &Standing) {
        for &index in &standing.accounts {
            let account = &mut self.all[index];
            account.users -= 1;
            if account.users == 0 {
                self.by_tenant.remove(&account.tenant);
                self.unused.push(index);
            }
        }
    }

    fn of(&mut self, standing: &Standing, change: impl Fn(&mut Account)) {
        for &index in &standing.accounts {
            change(&mut self.all[index]);
        }
    }

    /// How many places the one has of a claim's tenants that has the most.
    fn most_held(&self, standing: &Standing) -> u32 {
        standing.accounts.iter().map(|&index| self.all[index].held).max().unwrap_or_default()
    }

    /// The places of the tenant that has the most, the last turn of one of them, and that of the caller.
    fn rank(&self, standing: &Standing) -> (u32, u64, u64) {
        let served = || standing.accounts.iter().map(|&index| self.all[index].served);
        (self.most_held(standing), served().max().unwrap_or_default(), served().next().unwrap_or_default())
    }

    fn held_by(&self, tenant: &Tenant) -> u32 {
        self.by_tenant.get(tenant).map_or(0, |&index| self.all[index].held)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.give_back(&self.standing);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.line.state();
        // They stand in the order of their numbers; who came next is not among them any more.
        if let Ok(index) = state.waiting.binary_search_by_key(&self.number, |waiter| waiter.number)
            && let Some(waiter) = state.waiting.remove(index)
        {
            state.accounts.close(&waiter.standing);
        }
    }
}

//! For whom a request works: what it takes counts for its caller, and for the workspaces that it is about.
//!
//! Nothing that a caller says is believed. A request is about the workspaces whose rows it has been shown by their ids;
//! until there are any, about those that its caller's last request was about. Callers of whom nothing is known yet count
//! together, as if they were of one workspace.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sea_orm::sqlx::postgres::PgRow;
use sea_orm::sqlx::{Column as _, Row as _};
use uuid::Uuid;

/// The last column of rows that tell which workspace they are of.
pub const TENANT: &str = "tenant";

/// For how many workspaces a request counts at most: each is looked up whenever a place is taken.
const MOST_WORKSPACES: usize = 16;

/// How many callers are remembered at least, and half of how many at most.
const CALLERS: usize = 10_000;

/// For whom a place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tenant {
    /// A caller.
    User(Uuid),
    /// All who ask about a workspace.
    Workspace(Uuid),
    /// All of whom no workspace is known.
    Unknown,
}

/// For whom a place is asked for, and how many they may have.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The caller first, where there is one.
    tenants: Arc<[Tenant]>,
    /// How many percent of the places each of them may have.
    share: u32,
}

impl Default for Claim {
    /// Work of the server's own.
    fn default() -> Self {
        Self { tenants: Arc::default(), share: 100 }
    }
}

impl Claim {
    pub(super) fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    /// How many of `max` places each of its tenants may have: one at least, and less than all.
    pub(super) fn most(&self, max: u32) -> u32 {
        if self.share >= 100 {
            return max;
        }
        let most = u64::from(max) * u64::from(self.share);
        u32::try_from(most.div_ceil(100)).unwrap_or(max).min(max.saturating_sub(1)).max(1)
    }
}

/// What is known of callers.
#[derive(Debug)]
pub struct Tenants {
    share: u32,
    /// More than one workspace has been seen. Until then there is nobody to leave anything to.
    are_several: AtomicBool,
    known: Mutex<Known>,
}

/// The workspaces that each caller's last request was about. When there are many callers, those are forgotten that have
/// not come for the longest time.
#[derive(Debug, Default)]
struct Known {
    first: Option<Uuid>,
    recent: HashMap<Uuid, Arc<[Uuid]>>,
    older: HashMap<Uuid, Arc<[Uuid]>>,
}

impl Known {
    fn remember(&mut self, user: Uuid, workspaces: Arc<[Uuid]>) {
        if self.recent.len() >= CALLERS {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(user, workspaces);
    }

    fn recall(&mut self, user: Uuid) -> Arc<[Uuid]> {
        if let Some(workspaces) = self.older.remove(&user) {
            self.remember(user, workspaces);
        }
        self.recent.get(&user).map(Arc::clone).unwrap_or_default()
    }
}

impl Tenants {
    /// Each may have so many percent of the places.
    pub(super) fn new(share: u32) -> Self {
        Self { share, are_several: AtomicBool::new(false), known: Mutex::default() }
    }

    /// A request of `user`, who may be nobody.
    pub(super) fn borrower(self: &Arc<Self>, user: Option<Uuid>) -> Borrower {
        let workspaces = user.map(|user| self.known().recall(user)).unwrap_or_default();
        let tenants = tenants(user, &workspaces);
        let about = About { workspaces, are_shown: false, tenants };
        Borrower { all: Arc::clone(self), user, about: Mutex::new(about) }
    }

    fn remember(&self, user: Uuid, workspaces: &Arc<[Uuid]>) {
        let mut known = self.known();
        let first = *known.first.get_or_insert_with(|| workspaces.first().copied().unwrap_or_default());
        if workspaces.iter().any(|workspace| *workspace != first) {
            self.are_several.store(true, Ordering::Relaxed);
        }
        known.remember(user, Arc::clone(workspaces));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tenants(user: Option<Uuid>, workspaces: &[Uuid]) -> Arc<[Tenant]> {
    let workspaces_or_none = workspaces.iter().copied().map(Tenant::Workspace);
    let unknown = workspaces.is_empty().then_some(Tenant::Unknown);
    user.map(Tenant::User).into_iter().chain(workspaces_or_none).chain(unknown).collect()
}

/// One request, as those see it who share out places.
#[derive(Debug)]
pub struct Borrower {
    all: Arc<Tenants>,
    user: Option<Uuid>,
    about: Mutex<About>,
}

#[derive(Debug)]
struct About {
    workspaces: Arc<[Uuid]>,
    /// They are of rows that this request has been shown.
    are_shown: bool,
    tenants: Arc<[Tenant]>,
}

impl Borrower {
    /// For whom it asks now.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let share = if self.all.are_several.load(Ordering::Relaxed) { self.all.share } else { 100 };
        Claim { tenants: Arc::clone(&self.about().tenants), share }
    }

    /// It has been shown rows, which may tell which workspaces they are of.
    pub(super) fn shown(&self, rows: &[PgRow]) {
        let Some(column) = rows.first().and_then(|row| row.columns().last()) else { return };
        if column.name() != TENANT {
            return;
        }
        let mut workspaces: Vec<Uuid> = Vec::new();
        for row in rows {
            let workspace = row.try_get::<Option<Uuid>, _>(column.ordinal()).ok().flatten();
            if let Some(workspace) = workspace.filter(|workspace| !workspaces.contains(workspace)) {
                workspaces.push(workspace);
                if workspaces.len() == MOST_WORKSPACES {
                    break;
                }
            }
        }
        self.is_about(&workspaces);
    }

    fn is_about(&self, workspaces: &[Uuid]) {
        let Some(user) = self.user else { return };
        let mut about = self.about();
        let shown: &[Uuid] = if about.are_shown { &about.workspaces } else { &[] };
        let new = workspaces.iter().filter(|workspace| !shown.contains(workspace));
        let all: Arc<[Uuid]> = shown.iter().chain(new).copied().take(MOST_WORKSPACES).collect();
        if all.is_empty() {
            return;
        }
        about.are_shown = true;
        if all != about.workspaces {
            about.tenants = tenants(Some(user), &all);
            about.workspaces = Arc::clone(&all);
            drop(about);
            self.all.remember(user, &all);
        }
    }

    fn about(&self) -> MutexGuard<'_, About> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

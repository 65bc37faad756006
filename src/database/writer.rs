//! Writes through the primary, and what proves them. Only a mutation's route holds one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use sea_orm::DbErr;

use super::servers::Servers;
use super::{LogPosition, Meter, Sealer};
use crate::error::Error;
use crate::metrics::PanicMetrics;

/// Writes through the primary. Only a mutation's route holds one.
#[derive(Clone, Debug)]
pub struct Writer {
    pub(super) servers: Arc<Servers>,
    pub(super) meter: Meter,
    pub(super) sealer: Sealer,
    pub(super) effect: Effect,
    pub(super) panics: PanicMetrics,
    /// How far the log was behind the last commit.
    pub(super) reached: Arc<std::sync::Mutex<Option<LogPosition>>>,
    /// Whether something was committed, or may have been, also where it is not known how far the log was then.
    pub(super) has_written: Arc<AtomicBool>,
    /// Whether a command was begun. It goes on where its request is given up.
    pub(super) has_begun: Arc<AtomicBool>,
}

/// What becomes of what a writer has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is committed.
    Lasting,
    /// It is rolled back.
    Discarded,
}

impl Writer {
    /// Proof of everything that this writer has committed until now; none where there is nothing, or where the
    /// primary acknowledged it and did not say more.
    #[must_use]
    pub fn consistency_token(&self) -> Option<String> {
        self.reached().map(|position| self.sealer.seal(position))
    }

    /// Why a request has no answer that was given up before it had one: what it began to write goes on.
    #[must_use]
    pub fn given_up(&self) -> Error {
        if self.has_begun.load(Ordering::Relaxed) {
            Error::OutcomeUnknown(Arc::new(DbErr::Custom("the request's deadline came first".to_owned())))
        } else {
            Error::Timeout
        }
    }

    /// How far the log was behind the last commit.
    pub(super) fn reached(&self) -> Option<LogPosition> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How many runs of one command are computed at the same time: recorded with each run, because it affects its times.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// How many other runs of the same command are computed at the same time.
#[derive(Debug, Default)]
pub struct ConcurrentRuns {
    now: AtomicUsize,
    /// The largest number since [`ConcurrentRuns::begin`].
    most: AtomicUsize,
}

impl ConcurrentRuns {
    /// Sets the number from now on.
    pub fn set(&self, others: usize) {
        self.now.store(others, Ordering::Relaxed);
        self.most.fetch_max(others, Ordering::Relaxed);
    }

    /// Starts a new count of the largest number.
    pub(super) fn begin(&self) {
        self.most.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The largest number since [`ConcurrentRuns::begin`].
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

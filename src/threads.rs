//! Which threads a piece of work runs on: a share of its own, so that pieces side by side do not fight over cores, or else
//! the pool that all of the process share.

use std::cell::RefCell;
use std::sync::Arc;

use rayon::{Scope, ThreadPool, ThreadPoolBuilder};

use crate::error::{Context, Result};

thread_local! {
    /// The share that the work of this thread has.
    static SHARE: RefCell<Option<Arc<ThreadPool>>> = const { RefCell::new(None) };
}

/// Runs `work` on so many threads of its own: what it hands to rayon stays on them.
///
/// # Errors
/// When the system has no more threads, and those of `work`.
pub fn share<R: Send>(threads: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let built = ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = Arc::new(built.context(format!("cannot start {threads} threads"))?);
    pool.install(|| {
        SHARE.set(Some(pool.clone()));
        work()
    })
}

/// The threads that this thread's work runs on, to be used from another thread.
#[derive(Clone, Debug)]
pub struct Threads(Option<Arc<ThreadPool>>);

impl Threads {
    /// Those of the calling thread.
    pub fn current() -> Self {
        Self(SHARE.with_borrow(Clone::clone))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads())
    }

    /// A scope whose jobs run on these threads; the calling thread waits for them.
    pub fn scope<'scope, R>(&self, run: impl FnOnce(&Scope<'scope>) -> R) -> R {
        match &self.0 {
            Some(pool) => pool.in_place_scope(run),
            None => rayon::in_place_scope(run),
        }
    }
}

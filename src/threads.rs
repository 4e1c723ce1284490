//! The threads that a piece of work runs on: a pool of its own, so that parallel pieces do not compete for cores, or
//! else the global pool of the process.

use std::cell::RefCell;
use std::sync::Arc;

use rayon::{Scope, ThreadPool, ThreadPoolBuilder};

use crate::error::{Context, Result};

thread_local! {
    /// The pool of the work on this thread; `None` if it uses the global pool.
    static SHARE: RefCell<Option<Arc<ThreadPool>>> = const { RefCell::new(None) };
}

/// Runs `work` on a new pool of `threads` threads. The jobs that it gives to rayon run on this pool.
///
/// # Errors
/// When the threads cannot be started, and the errors of `work`.
pub fn share<R: Send>(threads: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let built =
        ThreadPoolBuilder::new().num_threads(threads).build().context(format!("cannot start {threads} threads"));
    let pool = Arc::new(built.map_err(|error| error.hint("ask for fewer: `--threads 1 --jobs 1`"))?);
    pool.install(|| {
        SHARE.set(Some(pool.clone()));
        let _end = End;
        work()
    })
}

/// Removes the pool from its thread at the end, also after a panic: threads that hold their own pool would never end.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        SHARE.set(None);
    }
}

/// The threads that the work of this thread runs on, for use from another thread.
#[derive(Clone, Debug)]
pub struct Threads(Option<Arc<ThreadPool>>);

impl Threads {
    /// The threads of the calling thread.
    pub fn current() -> Self {
        Self(SHARE.with_borrow(Clone::clone))
    }

    /// The number of threads.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_its_threads_and_they_end_with_it() {
        let mut pool = std::sync::Weak::new();
        let counts = share(3, || {
            pool = Arc::downgrade(Threads::current().0.as_ref().expect("a share"));
            let here = Threads::current();
            // A thread outside of the pool gives its jobs to the pool.
            let other = std::thread::spawn(move || {
                here.scope(|scope| scope.spawn(|_| assert_eq!(rayon::current_num_threads(), 3)));
                here.count()
            });
            Ok((rayon::current_num_threads(), other.join().expect("no panic")))
        });
        assert_eq!(counts.unwrap(), (3, 3));
        assert!(pool.upgrade().is_none(), "the pool is gone");
        let panics = || share(1, || -> Result<()> { panic!("no work") });
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(Threads::current().0.is_none());
    }
}

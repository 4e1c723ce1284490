//! Ctrl-C as a question that long work asks now and then, so that it stops where it can go on later.

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// Whether the user asked to stop. Clones share the answer.
#[derive(Clone, Debug)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// The whole that this is part of.
    whole: Option<Arc<AtomicBool>>,
}

impl Interrupt {
    /// Listens for Ctrl-C from now on. A second Ctrl-C ends the process at once with exit code 130; what is on disk is
    /// then what a kill would leave, and resumes as well. Once per process.
    pub fn install() -> Result<Self> {
        let interrupt = Self::never();
        let asked = interrupt.clone();
        let on_signal = move || {
            if asked.requested() {
                std::process::exit(130);
            }
            asked.request();
            eprintln!("stopping at the next safe point; press Ctrl-C again to stop at once");
        };
        ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C")?;
        Ok(interrupt)
    }

    /// One that no signal sets; [`Interrupt::request`] still does.
    pub fn never() -> Self {
        Self { asked: Arc::default(), whole: None }
    }

    /// One for a part of the work: it is asked to stop with the whole, or by itself.
    pub fn part(&self) -> Self {
        Self { asked: Arc::default(), whole: Some(self.asked.clone()) }
    }

    /// Asks to stop.
    pub fn request(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub fn requested(&self) -> bool {
        let asked = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        asked(&self.asked) || self.whole.as_ref().is_some_and(asked)
    }

    /// An interruption as an error, for `?` at each safe point.
    pub fn check(&self) -> Result<()> {
        if self.requested() {
            return Err(Error::interrupted("interrupted").hint("run the same command to go on"));
        }
        Ok(())
    }
}

//! Ctrl-C as a question that long work asks now and then, so that it stops where it can go on later.

use crate::console;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;
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
    /// Listens from now on for the signals that ask a program to end: Ctrl-C, SIGTERM, and SIGHUP, which comes when its
    /// terminal goes away. One that was ignored when the program started, as `nohup` and a shell's `&` have it, stays
    /// ignored. A second one ends the process at once with exit code 130; what is on disk is then what a kill would leave,
    /// and resumes as well. Once per process.
    pub fn install() -> Result<Self> {
        let interrupt = Self::never();
        let listened_for: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !ignored(signal)).collect();
        let mut signals = Signals::new(&listened_for).context("cannot listen for signals")?;
        let asked = interrupt.clone();
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if asked.requested() {
                    std::process::exit(130);
                }
                asked.request();
                console::talk(format_args!("stopping at the next safe point; press Ctrl-C again to stop at once"));
            }
        });
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

/// Whether the process was started with this signal ignored: Linux says so; elsewhere none is taken to be.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status, signal)
}

fn ignored_in(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        // That of a program under nohup, with the broken pipe that Rust's programs ignore.
        let status =
            "Name:\tsempair\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004400\n";
        assert_eq!([SIGHUP, SIGINT, SIGTERM].map(|signal| ignored_in(status, signal)), [true, false, false]);
        assert!(!ignored_in("", SIGHUP));
    }
}

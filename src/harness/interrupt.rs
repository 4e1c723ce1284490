//! Handles Ctrl-C: long work checks now and then whether to stop, and stops where it can resume later.

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
    /// The whole work that this is a part of.
    whole: Option<Arc<AtomicBool>>,
}

impl Interrupt {
    /// Starts to listen for the signals that ask a program to end: Ctrl-C (SIGINT), SIGTERM, and SIGHUP, which comes
    /// when its terminal goes away. A signal that was ignored when the program started, as with `nohup` or the `&` of
    /// a shell, stays ignored. A second signal ends the process at once with exit code 130; the files on disk are
    /// then as after a kill, and the work can resume as well. Call it once per process.
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

    /// Makes an interrupt that no signal sets; [`Interrupt::request`] still does.
    pub fn never() -> Self {
        Self { asked: Arc::default(), whole: None }
    }

    /// Makes an interrupt for a part of the work: it is asked to stop together with the whole, or separately.
    pub fn part(&self) -> Self {
        Self { asked: Arc::default(), whole: Some(self.asked.clone()) }
    }

    /// Asks to stop.
    pub fn request(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether this work, or the whole that it is a part of, was asked to stop.
    pub fn requested(&self) -> bool {
        let asked = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        asked(&self.asked) || self.whole.as_ref().is_some_and(asked)
    }

    /// Returns an interruption as an error, for `?` at each safe point.
    pub fn check(&self) -> Result<()> {
        if self.requested() {
            return Err(Error::interrupted("interrupted").hint("run the same command to go on"));
        }
        Ok(())
    }
}

/// Whether the process was started with this signal ignored. Linux reports this; elsewhere it is taken as false.
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
        // The mask of a program under nohup, including the broken pipe signal, which Rust programs ignore.
        let status =
            "Name:\tsempair\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004400\n";
        assert_eq!([SIGHUP, SIGINT, SIGTERM].map(|signal| ignored_in(status, signal)), [true, false, false]);
        assert!(!ignored_in("", SIGHUP));
    }
}

//! Measures how kinds of work speed up with threads. Every core is busy during the measurement, as in real runs. The
//! results are kept for this machine in the folder of the cache.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::files;
use crate::harness::cache::Cache;
use crate::harness::experiment::Cell;
use crate::harness::load::Load;
use crate::harness::progress::Progress;
use crate::harness::provenance::{self, Compute, Host};
use crate::threads;

/// The file in the cache's folder.
const FILE: &str = "scaling.json";

/// The assumed serial part of work that was not measured. Stages without a load are short.
const UNMEASURED: f64 = 0.05;

/// How often each number of threads is measured. The numbers take turns, so that a short disturbance by another
/// program does little harm.
const ROUNDS: usize = 5;

/// The time of each measurement.
const SPAN: Duration = Duration::from_millis(150);

/// The measurements of a kind of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The part of the work that more threads do not shorten.
    pub serial: f64,
    /// Pieces per second of the whole machine, by the number of threads of each piece.
    pub rates: BTreeMap<usize, f64>,
}

/// The known measurements.
#[derive(Debug)]
pub struct Scaling {
    path: PathBuf,
    machine: String,
    /// By machine and kind of work.
    known: Mutex<BTreeMap<String, BTreeMap<String, Measured>>>,
}

impl Scaling {
    /// Reads the measurements that are kept in `folder`, the folder of the cache. If the file cannot be read,
    /// everything is measured again.
    pub fn open(folder: &Path, host: &Host, compute: &Compute) -> Self {
        let path = folder.join(FILE);
        let known = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let machine = format!("{}, {} cores, {}, {}", host.cpu, host.cores, compute.isa, compute.precision);
        Self { path, machine, known: Mutex::new(known) }
    }

    /// The measurements of a kind of work on this machine.
    pub fn of(&self, name: &str) -> Option<Measured> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&self.machine)?.get(name).cloned()
    }

    /// The part of such work that more threads do not shorten.
    pub fn serial(&self, load: Option<&Load>) -> f64 {
        load.and_then(|load| self.of(&load.name)).map_or(UNMEASURED, |measured| measured.serial)
    }

    /// Measures the kinds of work of these cells that were not measured yet, on up to `threads` threads. Stages that
    /// are in the cache are left out.
    ///
    /// # Errors
    /// As [`Scaling::measure`].
    pub fn look_at<'c>(
        &self,
        cells: impl Iterator<Item = &'c Cell>,
        cache: &Cache,
        threads: usize,
        progress: &Progress,
    ) -> Result<()> {
        for stage in cells.flat_map(Cell::stages) {
            let Some(load) = &stage.description.cost.load else { continue };
            if self.of(&load.name).is_none() && !cache.has(stage.name(), stage.key()) {
                self.measure(load, threads)?;
                let percent = 100.0 * self.serial(Some(load));
                progress.line(&format!(
                    "timed a step on 1 to {threads} threads: {percent:.1} % of it is serial ({})",
                    load.name
                ));
            }
        }
        Ok(())
    }

    /// Measures a kind of work on up to `threads` threads, and keeps the result.
    ///
    /// # Errors
    /// When the work cannot be prepared, a thread cannot be started, or the file cannot be written.
    pub fn measure(&self, load: &Load, threads: usize) -> Result<()> {
        let doubled = std::iter::successors(Some(1), |&count| Some(2 * count));
        let counts = doubled.take_while(|&count| count < threads).chain([threads]);
        let counts: Vec<usize> = counts.collect();
        let room = provenance::free_memory().map_or(threads, |free| (free / 2 / load.memory.max(1)) as usize);
        let mut rates = BTreeMap::new();
        for _ in 0..ROUNDS {
            for &count in &counts {
                let copies = (threads / count).clamp(1, room.max(1));
                let rate = rate(load, count, copies).map_err(|error| error.context(format!("timing {}", load.name)))?;
                let best: &mut f64 = rates.entry(count).or_default();
                *best = best.max(rate / copies as f64 * (threads as f64 / count as f64));
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_machine = known.entry(self.machine.clone()).or_default();
        of_machine.insert(load.name.clone(), Measured { serial: serial(&rates), rates });
        files::write_whole(&self.path, &serde_json::to_vec_pretty(&*known).context("the measured times")?)
    }
}

/// Fits Amdahl's law by least squares, through the rate on one thread: a piece on `t` threads takes
/// `1 + serial (t - 1)` times as much thread time as on one.
fn serial(rates: &BTreeMap<usize, f64>) -> f64 {
    let one = rates.get(&1).copied().unwrap_or(f64::NAN);
    let (mut above, mut below) = (0.0, 0.0);
    for (&threads, rate) in rates {
        let more = threads as f64 - 1.0;
        (above, below) = (above + (one / rate - 1.0) * more, below + more * more);
    }
    let serial = above / below;
    if serial.is_finite() { serial.clamp(0.0, 1.0) } else { UNMEASURED }
}

/// Pieces per second of `copies` copies in parallel, each on `count` threads.
fn rate(load: &Load, count: usize, copies: usize) -> Result<f64> {
    let copy = || {
        threads::share(count, || {
            let mut piece = (load.prepare)()?;
            piece();
            let (start, mut done) = (Instant::now(), 0);
            while done == 0 || start.elapsed() < SPAN {
                piece();
                done += 1;
            }
            Ok(f64::from(done) / start.elapsed().as_secs_f64())
        })
    };
    std::thread::scope(|scope| {
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, copy).context("cannot start a thread");
        let started: Vec<_> = (0..copies).map(spawn).collect();
        let join = |thread: Result<ScopedJoinHandle<'_, Result<f64>>>| {
            thread?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        started.into_iter().map(join).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amdahls_law_is_found_again() {
        let rates = |serial: f64| [1, 2, 4, 8].map(|t| (t, 10.0 / (1.0 + serial * (t as f64 - 1.0)))).into();
        for part in [0.0, 0.05, 0.5] {
            assert!((serial(&rates(part)) - part).abs() < 1e-12);
        }
        assert_eq!(serial(&[(1, 10.0), (2, 11.0)].into()), 0.0, "the serial part is never negative");
        assert_eq!(serial(&[(1, 10.0)].into()), UNMEASURED, "one core shows nothing");
    }
}

//! The energy that processors and memory take, where the machine tells it: Linux counts it in files
//! (<https://docs.kernel.org/power/powercap/powercap.html>), which on many systems only root may read.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// The folder of the counters on Linux.
pub const POWERCAP: &str = "/sys/class/powercap";

/// The time between two readings. A counter starts again at 0 after its range, at 200 W after about 20 minutes.
const TICK: Duration = Duration::from_secs(10);

/// Adds up what the counters of the machine count. Other programs on the machine are counted, too; GPUs are not.
#[derive(Clone, Debug, Default)]
pub struct Meter(Option<Arc<Mutex<Counters>>>);

/// The counters, and what they have counted so far.
#[derive(Debug)]
struct Counters {
    counters: Vec<Counter>,
    /// In microjoules.
    total: u64,
    /// Whether a counter could no longer be read: then the total is unknown.
    is_broken: bool,
}

#[derive(Debug)]
struct Counter {
    file: PathBuf,
    /// The value after which it starts again at 0, in microjoules.
    range: u64,
    /// The last reading, in microjoules.
    last: u64,
}

impl Meter {
    /// A meter of the counters in this folder. It counts nothing if there are none, or if one cannot be read: a part of the
    /// energy would look like all of it.
    pub fn open(root: &Path) -> Self {
        let Some(counters) = zones(root).iter().map(|zone| Counter::open(zone)).collect::<Option<Vec<_>>>() else {
            return Self(None);
        };
        if counters.is_empty() {
            return Self(None);
        }
        let counters = Arc::new(Mutex::new(Counters { counters, total: 0, is_broken: false }));
        let of_thread = Arc::downgrade(&counters);
        std::thread::spawn(move || {
            // The counters were read when they were opened.
            loop {
                std::thread::sleep(TICK);
                let Some(counters) = of_thread.upgrade() else { break };
                counters.lock().unwrap_or_else(PoisonError::into_inner).read();
            }
        });
        Self(Some(counters))
    }

    /// The energy since the meter was opened, in joules; `None` if the machine does not tell it. While the process is
    /// stopped for longer than a counter's range, some of it is missed.
    pub fn joules(&self) -> Option<f64> {
        let mut counters = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        counters.read();
        (!counters.is_broken).then_some(counters.total as f64 / 1e6)
    }
}

/// The part of the machine's energy that is a run's, in joules, to a tenth: all of it if the run was alone, else by its
/// share of the threads of the command. So the runs of a command that ran side by side have together what the machine
/// took, as far as they kept all threads busy.
pub fn of_run(joules: f64, beside: usize, (threads, all): (usize, usize)) -> f64 {
    let share = if beside > 0 && (1..all).contains(&threads) { threads as f64 / all as f64 } else { 1.0 };
    (joules * share * 10.0).round() / 10.0
}

/// The folders of the counters that together count everything once: processors, and memory, which lies within a processor
/// by its path but not by its count. The counter of the whole platform contains those of the processors.
fn zones(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let is_zone = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let what = std::fs::read_to_string(path.join("name")).unwrap_or_default();
        name.starts_with("intel-rapl:") && (what.starts_with("package-") || what.trim_end() == "dram")
    };
    let mut zones: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_zone).collect();
    zones.sort();
    zones
}

impl Counter {
    fn open(zone: &Path) -> Option<Self> {
        let file = zone.join("energy_uj");
        let (range, last) = (number(&zone.join("max_energy_range_uj"))?, number(&file)?);
        (last <= range).then_some(Self { file, range, last })
    }

    /// What was counted since the last reading, in microjoules.
    fn since(&mut self) -> Option<u64> {
        let now = number(&self.file).filter(|now| *now <= self.range)?;
        let since = if now >= self.last { now - self.last } else { now + (self.range - self.last) };
        self.last = now;
        Some(since)
    }
}

impl Counters {
    fn read(&mut self) {
        match self.counters.iter_mut().map(Counter::since).sum::<Option<u64>>() {
            Some(since) => self.total += since,
            None => self.is_broken = true,
        }
    }
}

/// The number in a file of one line.
fn number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(tempfile::TempDir);

    impl Fake {
        fn zone(&self, zone: &str, name: &str, energy: &str, range: &str) {
            let folder = self.0.path().join(zone);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, text) in [("name", name), ("energy_uj", energy), ("max_energy_range_uj", range)] {
                std::fs::write(folder.join(file), format!("{text}\n")).unwrap();
            }
        }

        fn meter(&self) -> Meter {
            Meter::open(self.0.path())
        }
    }

    fn fake() -> Fake {
        Fake(tempfile::tempdir().unwrap())
    }

    #[test]
    fn counters_are_added_once_and_across_their_range() {
        let fake = fake();
        fake.zone("intel-rapl:0", "package-0", "9000000", "10000000");
        fake.zone("intel-rapl:1", "package-1", "1000000", "10000000");
        fake.zone("intel-rapl:0:1", "dram", "0", "10000000");
        // Parts of a processor, the platform, and a second way to read a processor.
        fake.zone("intel-rapl:0:0", "core", "5", "10000000");
        fake.zone("intel-rapl:2", "psys", "5", "10000000");
        fake.zone("intel-rapl-mmio:0", "package-0", "5", "10000000");
        let meter = fake.meter();
        assert_eq!(meter.joules(), Some(0.0));
        fake.zone("intel-rapl:0", "package-0", "2000000", "10000000"); // 1 J to its range, and 2 J
        fake.zone("intel-rapl:1", "package-1", "1500000", "10000000");
        fake.zone("intel-rapl:0:1", "dram", "250000", "10000000");
        fake.zone("intel-rapl:2", "psys", "7000000", "10000000");
        assert_eq!([meter.joules(), meter.joules()], [Some(3.75); 2]);
        fake.zone("intel-rapl:0", "package-0", "1999999", "10000000");
        assert_eq!(meter.joules(), Some(13.749999), "nearly a whole range");
    }

    #[test]
    fn a_machine_that_does_not_tell_all_tells_nothing() {
        assert_eq!(fake().meter().joules(), None);
        assert_eq!(Meter::open(Path::new("/nowhere")).joules(), None);
        for (energy, range) in [("x", "100"), ("", "100"), ("-1", "100"), ("5", "x"), ("5", "4"), ("5", "")] {
            let fake = fake();
            fake.zone("intel-rapl:0", "package-0", "5", "100");
            fake.zone("intel-rapl:1", "package-1", energy, range);
            assert_eq!(fake.meter().joules(), None, "{energy:?} of {range:?}");
        }
        // A counter that cannot be read, as a folder cannot, or no longer.
        let fake = fake();
        fake.zone("intel-rapl:0", "package-0", "5", "100");
        let meter = fake.meter();
        let file = fake.0.path().join("intel-rapl:0/energy_uj");
        for garbage in ["101", "9e9", "18446744073709551616"] {
            let meter = fake.meter();
            std::fs::write(&file, garbage).unwrap();
            assert_eq!(meter.joules(), None, "{garbage}");
            std::fs::write(&file, "5").unwrap();
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(meter.joules(), None);
        std::fs::write(&file, "6").unwrap();
        assert_eq!(meter.joules(), None, "what was counted in between is unknown");
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(fake.meter().joules(), None);
    }

    #[test]
    fn runs_side_by_side_share_what_the_machine_took() {
        assert_eq!(of_run(10.04, 0, (2, 8)), 10.0, "alone");
        assert_eq!([of_run(10.0, 3, (2, 8)), of_run(10.0, 3, (6, 8))], [2.5, 7.5]);
        assert_eq!([of_run(10.0, 3, (8, 8)), of_run(10.0, 3, (0, 8)), of_run(10.0, 1, (1, 0))], [10.0; 3]);
    }
}

//! Time at work. While a process is stopped (Ctrl-Z, SIGSTOP, a frozen container) nothing is computed, and what a stage
//! took must not grow by it.

use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);
/// A longer time between two looks is a pause: even a busy machine does not keep a thread waiting for so long.
const PAUSE: Duration = Duration::from_secs(2);

/// Measures the time since its start, without pauses of the process.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    pub fn start() -> Self {
        Self(at_work())
    }

    pub fn seconds(self) -> f64 {
        (at_work() - self.0).as_secs_f64()
    }
}

/// The process's time at work since this was first asked.
fn at_work() -> Duration {
    static CLOCK: LazyLock<Mutex<Clock>> = LazyLock::new(|| {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(TICK);
                at_work();
            }
        });
        Mutex::new(Clock { origin: Instant::now(), last: Duration::ZERO, paused: Duration::ZERO })
    });
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let now = clock.origin.elapsed();
    clock.look(now)
}

#[derive(Debug)]
struct Clock {
    origin: Instant,
    /// When it was last looked at, since the origin.
    last: Duration,
    paused: Duration,
}

impl Clock {
    /// The time at work until `now`, since the origin.
    fn look(&mut self, now: Duration) -> Duration {
        let since = now.saturating_sub(self.last);
        if since > PAUSE {
            self.paused += since - TICK;
        }
        self.last = self.last.max(now);
        self.last - self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_left_out_but_for_a_tick() {
        let mut clock = Clock { origin: Instant::now(), last: Duration::ZERO, paused: Duration::ZERO };
        let looks = [100, 200, 1_900, 61_900, 62_000].map(|now| clock.look(Duration::from_millis(now)).as_millis());
        assert_eq!(looks, [100, 200, 1_900, 2_000, 2_100]);
    }
}

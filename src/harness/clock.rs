//! Working time and the time of day. While a process is stopped (Ctrl-Z, SIGSTOP, a frozen container), nothing is
//! computed, and the time of a stage must not grow. The time of day is checked, because the clock may be wrong.

use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use chrono::DateTime;
use chrono::Datelike;
use chrono::SecondsFormat;
use chrono::Utc;

use crate::error::Error;
use crate::error::Result;

/// The time between two readings of the clock.
const TICK: Duration = Duration::from_millis(100);
/// A longer time between two readings is a pause: even a busy machine does not keep a thread waiting that long.
const PAUSE: Duration = Duration::from_secs(2);

/// The last year that records and their ids can hold.
const LAST_YEAR: i32 = 9999;

/// The time of day, in UTC.
///
/// # Errors
/// When the clock shows an impossible time: before 1970, or after the last year with four digits.
pub fn utc() -> Result<DateTime<Utc>> {
    #[expect(clippy::disallowed_methods, reason = "a record says when its run was")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let wrong = |says: String| {
        Error::new(format!("this machine's clock says {says}, so a run cannot be dated"))
            .hint("set the clock, then run the same command again; `date` shows what it says")
    };
    let since = now.map_err(|_| wrong("a time before 1970".into()))?;
    let time = i64::try_from(since.as_millis()).ok().and_then(DateTime::from_timestamp_millis);
    time.filter(|time| time.year() <= LAST_YEAR).ok_or_else(|| wrong(format!("a time after the year {LAST_YEAR}")))
}

/// The time, as text, at which a run ended that began at `started` and took `seconds`. If the clock was set back in
/// between and now shows a time before the start, the end is the start plus the measured time.
pub fn end(started: &str, seconds: f64) -> String {
    let Ok(start) = DateTime::parse_from_rfc3339(started).map(|start| start.to_utc()) else { return started.into() };
    let now = utc().ok().filter(|now| *now >= start);
    let measured = || start.checked_add_signed(chrono::Duration::milliseconds((seconds * 1e3) as i64)).unwrap_or(start);
    text(now.unwrap_or_else(measured))
}

/// A time as records have it, such as `2026-03-01T12:00:00.000Z`.
pub fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Measures the time since its start, without pauses of the process.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    /// Makes a stopwatch that starts now.
    pub fn start() -> Self {
        Self(at_work())
    }

    /// The seconds since the start, without pauses of the process.
    pub fn seconds(self) -> f64 {
        (at_work() - self.0).as_secs_f64()
    }
}

/// The working time of the process since the first call.
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
    /// The last reading, since the origin.
    last: Duration,
    paused: Duration,
}

impl Clock {
    /// The working time until `now`, since the origin.
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

//! The learning rate over a run: a linear warm-up, then half a cosine (Loshchilov & Hutter 2017,
//! <https://arxiv.org/abs/1608.03983>, without restarts).

use serde::{Deserialize, Serialize};

/// The schedule's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSettings {
    /// Part of all steps that rises linearly to the peak.
    pub warmup: f64,
    /// The last rate as a part of the peak.
    pub floor: f64,
}

/// The schedule of one run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    peak: f64,
    floor: f64,
    warmup: usize,
    total: usize,
}

impl Schedule {
    /// A schedule over `total` steps with the given peak.
    pub fn new(settings: &ScheduleSettings, peak: f64, total: usize) -> Self {
        let warmup = (settings.warmup.clamp(0.0, 1.0) * total as f64).round() as usize;
        Self { peak, floor: peak * settings.floor, warmup, total }
    }

    /// The rate of step `step`, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let progress = (step - self.warmup) as f64 / (self.total - self.warmup).max(1) as f64;
        self.floor + (self.peak - self.floor) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_the_peak_and_falls_to_the_floor() {
        let schedule = Schedule::new(&ScheduleSettings { warmup: 0.1, floor: 0.01 }, 2.0, 100);
        let rates: Vec<f64> = (0..100).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates[0], 0.2);
        assert_eq!((rates[9], rates[10]), (2.0, 2.0));
        assert!((rates[55] - 1.01).abs() < 1e-12, "{}", rates[55]); // half way down
        assert!(rates[10..].is_sorted_by(|a, b| a >= b));
        assert!(rates[99] < 0.03);
    }
}

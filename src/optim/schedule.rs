//! Values that change over a run. The learning rate: a linear warm-up, then half a cosine (Loshchilov & Hutter 2017,
//! <https://arxiv.org/abs/1608.03983>, without restarts), or, for detectors, drops. Other values: half a cosine.

use serde::{Deserialize, Serialize};

use crate::error::Result;

use super::within;

/// The schedule's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSettings {
    /// The fraction of all steps in which the rate rises linearly to the peak.
    pub warmup: f64,
    /// The last rate as a fraction of the peak.
    pub floor: f64,
}

impl ScheduleSettings {
    /// Rejects values that make no sense for a run. `key` is the table's name in the configuration.
    ///
    /// # Errors
    /// When a value is out of range; the error names the key, its value and the range.
    pub fn validate(&self, key: &str) -> Result<()> {
        within(key, "warmup", self.warmup as f32, 0.0..=1.0)?;
        within(key, "floor", self.floor as f32, 0.0..=1.0)
    }
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

    /// The highest rate.
    pub fn peak(&self) -> f64 {
        self.peak
    }

    /// The rate of step `step`, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let progress = (step - self.warmup) as f64 / (self.total - self.warmup).max(1) as f64;
        cosine(self.peak, self.floor, progress)
    }
}

/// Half a cosine from one value to another: the momentum of a target network from tau_0 to 1 (Grill et al. 2020,
/// <https://arxiv.org/abs/2006.07733>), or DINO's weight decay from 0.04 to 0.4 (Caron et al. 2021,
/// <https://arxiv.org/abs/2104.14294>).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// The value of the first step.
    pub from: f64,
    /// The value that the step after the last would have.
    pub to: f64,
    /// Steps of the run.
    pub total: usize,
}

impl Cosine {
    /// The value of step `step`, counted from 0: to - (to - from) (cos(pi step / total) + 1) / 2.
    pub fn at(&self, step: usize) -> f64 {
        cosine(self.from, self.to, step as f64 / self.total.max(1) as f64)
    }
}

/// A learning rate that is constant between drops, after a linear warm-up: the schedule of detectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Drops {
    /// The rate after the warm-up.
    pub peak: f64,
    /// Steps of the warm-up.
    pub warmup: usize,
    /// The rate of the first step as a fraction of the peak.
    pub from: f64,
    /// The steps from which on the rate is a tenth of that before, in order.
    pub at: Vec<usize>,
}

impl Drops {
    /// The rate of step `step`, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        let progress = if step < self.warmup { step as f64 / self.warmup as f64 } else { 1.0 };
        let drops = self.at.iter().filter(|&&at| at <= step).count();
        self.peak * (self.from * (1.0 - progress) + progress) * 0.1f64.powi(drops as i32)
    }
}

fn cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress))
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

    // `WarmupParamScheduler` of a `MultiStepParamScheduler` (fvcore), with the settings of MoCo and of VISSL for detection.
    #[test]
    fn drops_follow_a_warm_up() {
        let at = vec![18_000, 22_000];
        let moco = Drops { peak: 0.02, warmup: 100, from: 0.001, at: at.clone() };
        let vissl = Drops { peak: 0.1, warmup: 1000, from: 0.3333, at };
        for (step, of_moco, of_vissl) in [
            (0, 2e-5, 0.03333),
            (1, 0.000_219_8, 0.033_396_67),
            (50, 0.010_01, 0.036_663_5),
            (99, 0.019_800_2, 0.039_930_33),
            (100, 0.02, 0.039_997),
            (999, 0.02, 0.099_933_33),
            (1000, 0.02, 0.1),
            (17_999, 0.02, 0.1),
            (18_000, 0.002, 0.01),
            (21_999, 0.002, 0.01),
            (22_000, 0.0002, 0.001),
            (23_999, 0.0002, 0.001),
        ] {
            assert!((moco.rate(step) - of_moco).abs() < 1e-12, "{step}: {}", moco.rate(step));
            assert!((vissl.rate(step) - of_vissl).abs() < 1e-12, "{step}: {}", vissl.rate(step));
        }
        assert_eq!(Drops { peak: 1.0, warmup: 0, from: 0.0, at: vec![] }.rate(0), 1.0);
    }

    // BYOL's tau at t = 0, T/3, T/2 and T from 0.99, by hand: 1 - 0.01 (cos(pi t / T) + 1) / 2.
    #[test]
    fn a_cosine_goes_from_one_value_to_the_other() {
        let tau = Cosine { from: 0.99, to: 1.0, total: 300 };
        for (step, expected) in [(0, 0.99), (100, 0.9925), (150, 0.995), (300, 1.0)] {
            assert!((tau.at(step) - expected).abs() < 1e-15, "{step}: {}", tau.at(step));
        }
        let decay = Cosine { from: 0.04, to: 0.4, total: 10 };
        assert!((0..=10).map(|step| decay.at(step)).is_sorted());
        assert!((decay.at(5) - 0.22).abs() < 1e-15);
    }
}

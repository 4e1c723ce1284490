//! Scales: where values lie, and the round values beside which a reader finds them.

use crate::report::text;

/// Values `low..high` on positions `start..end`, with round ticks.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub ticks: Vec<f64>,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    digits: usize,
}

impl Scale {
    /// A scale of exactly this range, with about `wanted` ticks in it. A range of no width is widened.
    pub fn of((low, high): (f64, f64), (start, end): (f64, f64), wanted: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let step = step(high - low, wanted);
        let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
        let ticks = (0..=(last - first).max(0.0) as usize).map(|i| (first + i as f64) * step).collect();
        Self { ticks, low, high, start, end, digits: digits(step) }
    }

    /// A scale whose ends are ticks.
    pub fn rounded((low, high): (f64, f64), places: (f64, f64), wanted: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let step = step(high - low, wanted);
        Self::of(((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step), places, wanted)
    }

    /// Where a value lies.
    pub fn at(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    /// Whether a value lies within.
    pub fn has(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// A tick's label.
    pub fn label(&self, tick: f64) -> String {
        text::fixed(tick, self.digits)
    }
}

/// A round step that cuts a width into about so many.
fn step(width: f64, wanted: usize) -> f64 {
    let rough = width / wanted.max(1) as f64;
    let power = 10.0_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(rough)
}

fn digits(step: f64) -> usize {
    (-step.log10().floor()).clamp(0.0, 6.0) as usize
}

/// Least and greatest of some values.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold(None, |range, v| Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// Pushes places apart that are nearer than `step`, within `low..=high`, keeping their order.
pub(super) fn apart(places: &mut [f64], step: f64, (low, high): (f64, f64)) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|&a, &b| places[a].total_cmp(&places[b]).then(a.cmp(&b)));
    let mut free = low;
    for &i in &order {
        places[i] = places[i].max(free);
        free = places[i] + step;
    }
    let mut free = high;
    for &i in order.iter().rev() {
        places[i] = places[i].min(free);
        free = places[i] - step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_on_round_ticks() {
        let scale = Scale::rounded((0.0, 83.6), (100.0, 400.0), 5);
        assert_eq!(scale.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!((scale.at(0.0), scale.at(50.0), scale.at(100.0)), (100.0, 250.0, 400.0));
        let small = Scale::rounded((4.93, 5.02), (0.0, 1.0), 4);
        assert_eq!(small.ticks.iter().map(|t| small.label(*t)).collect::<Vec<_>>(), ["4.90", "4.95", "5.00", "5.05"]);
        assert_eq!(Scale::rounded((3.0, 3.0), (0.0, 1.0), 4).ticks, [2.5, 3.0, 3.5]);
        assert_eq!(Scale::of((31.0, 49.0), (0.0, 1.0), 4).ticks, [35.0, 40.0, 45.0]);
    }

    #[test]
    fn labels_do_not_overlap() {
        let mut places = [50.0, 52.0, 10.0, 51.0];
        apart(&mut places, 10.0, (0.0, 70.0));
        assert_eq!(places, [50.0, 70.0, 10.0, 60.0]);
    }
}

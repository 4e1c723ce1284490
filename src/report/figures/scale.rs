//! Scales: the positions of values, and the round values (ticks) that label an axis.

use crate::report::text;

/// Values `low..high` on positions `start..end`, with round ticks.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub ticks: Vec<f64>,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// A scale of exactly this range, with about `wanted` ticks in it. A range of zero width is widened.
    pub fn of(range: (f64, f64), (start, end): (f64, f64), wanted: usize) -> Self {
        let (low, high) = widened(range);
        Self { ticks: ticks(range, wanted), low, high, start, end }
    }

    /// The position of a value.
    pub fn at(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    /// Whether a value lies within the range.
    pub fn has(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Widens a range of zero width.
pub(super) fn widened((low, high): (f64, f64)) -> (f64, f64) {
    if high > low { (low, high) } else { (low - 0.5, low + 0.5) }
}

/// About `wanted` round values in a range, ends included. A range of zero width is widened.
pub(super) fn ticks(range: (f64, f64), wanted: usize) -> Vec<f64> {
    let (low, high) = widened(range);
    let step = step(high - low, wanted);
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    (0..=(last - first).max(0.0) as usize).map(|i| (first + i as f64) * step).collect()
}

/// Extends a range to round values, with about `wanted` steps between them.
pub(super) fn rounded(range: (f64, f64), wanted: usize) -> (f64, f64) {
    let (low, high) = widened(range);
    let step = step(high - low, wanted);
    ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step)
}

/// A round step that divides a width into about `wanted` parts.
fn step(width: f64, wanted: usize) -> f64 {
    let rough = width / wanted.max(1) as f64;
    let power = 10.0_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(rough)
}

/// A label for each tick, with enough decimals to tell the ticks apart.
pub(super) fn labels(ticks: &[f64]) -> Vec<String> {
    let step = if let [first, second, ..] = ticks { second - first } else { 1.0 };
    let digits = (-(step * 1.001).log10().floor()).clamp(0.0, 6.0) as usize;
    ticks.iter().map(|tick| text::fixed(*tick, digits)).collect()
}

/// The smallest and the largest of the finite values; `None` if there are none.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold(None, |range, v| Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// Moves positions apart that are closer than `step`, within `low..=high`, keeping their order.
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
    fn ticks_are_round() {
        let range = rounded((0.0, 83.6), 5);
        let scale = Scale::of(range, (100.0, 400.0), 5);
        assert_eq!(scale.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!((scale.at(0.0), scale.at(50.0), scale.at(100.0)), (100.0, 250.0, 400.0));
        let small = ticks(rounded((4.93, 5.02), 4), 4);
        assert_eq!(labels(&small), ["4.90", "4.95", "5.00", "5.05"]);
        assert_eq!(ticks(rounded((3.0, 3.0), 4), 4), [2.5, 3.0, 3.5]);
        assert_eq!(labels(&ticks((31.0, 49.0), 4)), ["35", "40", "45"]);
        assert_eq!(ticks((1.0, 1.0), 4), [0.5, 1.0, 1.5], "a single point");
    }

    #[test]
    fn labels_do_not_overlap() {
        let mut places = [50.0, 52.0, 10.0, 51.0];
        apart(&mut places, 10.0, (0.0, 70.0));
        assert_eq!(places, [50.0, 70.0, 10.0, 60.0]);
    }
}

//! What runs recorded during training: curves by row and seed, their means, and the rank of the features.

use crate::harness::experiment::Row;
use crate::harness::outcome::Curve;
use crate::report::facts::Health;
use crate::report::select;
use crate::report::select::Selection;

/// The curve that shows a collapse.
pub(super) const RANK: &str = "effective rank of features";
/// The rank of the features fell if it ends below this fraction of its first value.
const FELL: f64 = 0.8;

/// The names of the curves of a table, sorted.
pub(super) fn names<'a>(selection: &Selection<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> =
        selection.records.iter().flat_map(|r| r.curves.iter().map(|c| c.name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// One curve per seed: runs on different columns share their pretraining, so the first column's curve is enough.
pub(super) fn of_seeds<'a>(selection: &Selection<'a>, row: &Row, name: &str) -> Vec<&'a Curve> {
    let mut curves: Vec<(u64, &Curve)> = Vec::new();
    for record in selection.records.iter().filter(|r| r.row == *row) {
        if let Some(curve) = record.curves.iter().find(|c| c.name == name && !c.y.is_empty())
            && !curves.iter().any(|(seed, _)| *seed == record.seed)
        {
            curves.push((record.seed, curve));
        }
    }
    curves.sort_by_key(|(seed, _)| *seed);
    curves.into_iter().map(|(_, curve)| curve).collect()
}

/// The mean over seeds at the x values that all seeds share. It ends where a seed stopped early.
pub(super) fn mean(curves: &[&Curve]) -> Vec<(f64, f64)> {
    let Some(first) = curves.first() else { return Vec::new() };
    let shared = first.x.iter().enumerate().take_while(|(i, x)| curves.iter().all(|c| c.x.get(*i) == Some(x)));
    let value = |(i, x): (usize, &f64)| {
        let sum: f64 = curves.iter().map(|c| c.y.get(i).copied().unwrap_or(f64::NAN)).sum();
        (*x, sum / curves.len() as f64)
    };
    shared.map(value).filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

/// The points of a curve with finite coordinates.
pub(super) fn finite(curve: &Curve) -> Vec<(f64, f64)> {
    curve.x.iter().copied().zip(curve.y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

/// The effective rank of the features of each row, at its first and its last epoch.
pub(super) fn health(selection: &Selection) -> Vec<Health> {
    let of_row = |(row, _): (&Row, bool)| {
        let mean = mean(&of_seeds(selection, row, RANK));
        let (first, last) = (mean.first()?.1, mean.last()?.1);
        Some(Health { row: row.clone(), rank_first: first, rank_last: last, fell: last < FELL * first })
    };
    select::rows(selection.table).filter_map(of_row).collect()
}

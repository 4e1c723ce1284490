//! Resampling of positions that were learned on one grid to another grid.

/// The matrix (to, from) that resamples a grid of `from` (rows, columns) to one of `to`, both row-major. Bicubic (Keys
/// 1981, a = -0.75): the outer edges of the corner cells are aligned, there is no smoothing if the grid becomes smaller,
/// and the values at the edge continue beyond it. This is PyTorch's `interpolate(size=to, mode="bicubic",
/// align_corners=False, antialias=False)`. timm's `resample_abs_pos_embed` with `antialias=False` does the same. So do
/// DINO's transformers, except that their code adds 0.1 to `to` against rounding.
pub(super) fn bicubic(from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let line = |from, to| -> Vec<Vec<f64>> { (0..to).map(|target| weights(from, to, target)).collect() };
    let (rows, columns) = (line(from.0, to.0), line(from.1, to.1));
    let pairs = rows.iter().flat_map(|y| columns.iter().map(move |x| (y, x)));
    pairs.flat_map(|(y, x)| y.iter().flat_map(move |y| x.iter().map(move |x| (y * x) as f32))).collect()
}

/// The weight of each of `from` points on a line in point `target` of `to`.
fn weights(from: usize, to: usize, target: usize) -> Vec<f64> {
    let mut weights = vec![0.0; from];
    let source = (target as f64 + 0.5) * from as f64 / to as f64 - 0.5;
    for tap in [-1.0, 0.0, 1.0, 2.0] {
        let place = source.floor() + tap;
        weights[place.clamp(0.0, (from - 1) as f64) as usize] += cubic((source - place).abs());
    }
    weights
}

/// Keys' kernel at a distance of up to 2.
fn cubic(distance: f64) -> f64 {
    const A: f64 = -0.75;
    if distance <= 1.0 {
        ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
    } else {
        A * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
    }
}

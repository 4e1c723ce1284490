//! Positions that were learned on one grid, for another.

/// The matrix (to², from²) that makes of a square grid of side `from` one of side `to`, both row by row: bicubic (Keys
/// 1981, a = -0.75) with the corners' outer edges on each other, no smoothing where the grid becomes smaller, and the
/// edge's values beyond the edge. It is PyTorch's `interpolate(size=(to, to), mode="bicubic", align_corners=False,
/// antialias=False)`; so do DINO's transformers, but for the 0.1 that its code adds to `to` against rounding, and timm's
/// `resample_abs_pos_embed` with `antialias=False`.
pub(super) fn bicubic(from: usize, to: usize) -> Vec<f32> {
    let line: Vec<Vec<f64>> = (0..to).map(|target| weights(from, to, target)).collect();
    let pairs = line.iter().flat_map(|y| line.iter().map(move |x| (y, x)));
    pairs.flat_map(|(y, x)| y.iter().flat_map(move |y| x.iter().map(move |x| (y * x) as f32))).collect()
}

/// What each of `from` places on a line gives to place `target` of `to`.
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

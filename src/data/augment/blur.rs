//! Gaussian blur, separable, with reflected borders; torchvision's `gaussian_blur`.

/// A Gaussian kernel. It reuses its memory for the weights and one row.
#[derive(Debug, Default)]
pub struct Gaussian {
    /// The weight at distance 0, 1, .. from the centre.
    weights: Vec<f32>,
    row: Vec<f32>,
}

impl Gaussian {
    /// Sets the standard deviation and the odd width, in pixels. The weights are exp(-d^2 / 2 sigma^2), normalised so
    /// that their sum is 1.
    ///
    /// # Panics
    /// When the width is even or sigma is not above 0.
    pub fn set(&mut self, sigma: f32, width: usize) {
        assert!(width % 2 == 1 && sigma > 0.0, "a Gaussian of width {width} and sigma {sigma}");
        let weight = |distance: usize| libm::exp(-0.5 * (distance as f64 / f64::from(sigma)).powi(2));
        let sum = 1.0 + 2.0 * (1..=width / 2).map(weight).sum::<f64>();
        self.weights.clear();
        self.weights.extend((0..=width / 2).map(|distance| (weight(distance) / sum) as f32));
    }

    /// Writes the blurred planes (3, size, size) into `out`.
    ///
    /// # Panics
    /// When a slice does not have the right length.
    pub fn blur(&mut self, planes: &[f32], size: usize, out: &mut [f32]) {
        assert_eq!(planes.len(), 3 * size * size, "three planes of {size}x{size}");
        assert_eq!(out.len(), planes.len(), "blurred planes");
        let reach = self.weights.len() - 1;
        self.row.resize(size + 2 * reach, 0.0);
        for (plane, out) in planes.chunks_exact(size * size).zip(out.chunks_exact_mut(size * size)) {
            let line = |y: isize| &plane[reflect(y, size) * size..][..size];
            for (y, out) in out.chunks_exact_mut(size).enumerate() {
                let row = &mut self.row[reach..][..size];
                mix(&self.weights, |d| (line(y as isize - d as isize), line(y as isize + d as isize)), row);
                pad(&mut self.row, reach);
                mix(&self.weights, |d| (&self.row[reach - d..][..size], &self.row[reach + d..][..size]), out);
            }
        }
    }
}

/// out = w_0 a_0 + sum over d > 0 of w_d (a_d + b_d), where `pair(d)` is (a_d, b_d).
fn mix<'a>(weights: &[f32], pair: impl Fn(usize) -> (&'a [f32], &'a [f32]), out: &mut [f32]) {
    out.iter_mut().zip(pair(0).0).for_each(|(sum, a)| *sum = weights[0] * a);
    for (d, weight) in weights.iter().enumerate().skip(1) {
        let (a, b) = pair(d);
        out.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += weight * (a + b));
    }
}

/// Fills `reach` values on either side of a row by reflection.
fn pad(row: &mut [f32], reach: usize) {
    let size = row.len() - 2 * reach;
    for d in 1..=reach {
        row[reach - d] = row[reach + reflect(-(d as isize), size)];
        row[reach + size - 1 + d] = row[reach + reflect((size - 1 + d) as isize, size)];
    }
}

/// Maps any position into 0..size by reflection at the centres of the border pixels.
fn reflect(position: isize, size: usize) -> usize {
    if size == 1 {
        return 0;
    }
    let last = size as isize - 1;
    let folded = position.rem_euclid(2 * last);
    (if folded > last { 2 * last - folded } else { folded }) as usize
}

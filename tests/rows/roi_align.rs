//! ROIAlign against its definition in f64, and against torchvision.

use half::bf16;
use proptest::prelude::*;
use sempair::kernels::cpu::Element;
use sempair::kernels::cpu::roi_align;
use sempair::kernels::shapes::{Region, RoiShape};
use sempair::rng::Key;

use super::{EPS, assert_near, bits, numbers, on_each_set, same_bits_on_any_threads, wide};

/// Regions inside and outside of images of (height, width) pixels, some of them empty.
fn regions(count: usize, batch: usize, (height, width): (f32, f32)) -> Vec<Region> {
    let mut stream = Key::root(3).split("regions").stream();
    let mut region = |index| {
        let (x, y) = (stream.range(-0.3, 1.1) * width, stream.range(-0.3, 1.1) * height);
        let (w, h) = (stream.range(0.0, 1.2) * width, stream.range(0.0, 1.2) * height);
        let w = if index % 7 == 6 { 0.0 } else { w };
        Region { image: (7 * index + 3) % batch, edges: [x, y, x + w, y + h] }
    };
    (0..count).map(&mut region).collect()
}

/// The definition, sample by sample: calls `each(x_at, y_at, weight)` with the weight of an element of x in one of y.
/// Coordinates are in f32, as in the kernel, because they decide the number of samples.
fn for_each_weight(shape: &RoiShape, regions: &[Region], mut each: impl FnMut(usize, usize, f64)) {
    let &RoiShape { batch, height, width, channels, side, scale, samples } = shape;
    for (r, region) in regions.iter().enumerate() {
        let [left, top, right, bottom] = region.edges.map(|edge| edge * scale - 0.5);
        let (bin_w, bin_h) = ((right - left) / side as f32, (bottom - top) / side as f32);
        let count = |bin: f32| if samples > 0 { samples } else { bin.ceil() as usize };
        let (across, down) = (count(bin_w), count(bin_h));
        for (bin, sample) in (0..side * side).flat_map(|bin| (0..across * down).map(move |sample| (bin, sample))) {
            let place =
                |start, p: usize, bin, i: usize, n: usize| start + p as f32 * bin + (i as f32 + 0.5) * bin / n as f32;
            let y = place(top, bin / side, bin_h, sample / across, down);
            let x = place(left, bin % side, bin_w, sample % across, across);
            if y < -1.0 || y > height as f32 || x < -1.0 || x > width as f32 {
                continue;
            }
            let (y, x) =
                (f64::from(y.max(0.0)).min(height as f64 - 1.0), f64::from(x.max(0.0)).min(width as f64 - 1.0));
            for (iy, ix) in (0..height).flat_map(|iy| (0..width).map(move |ix| (iy, ix))) {
                let weight = (1.0 - (y - iy as f64).abs()).max(0.0) * (1.0 - (x - ix as f64).abs()).max(0.0);
                for c in (0..channels).filter(|_| weight > 0.0) {
                    let x_at = ((iy * width + ix) * batch + region.image) * channels + c;
                    each(x_at, (bin * regions.len() + r) * channels + c, weight / (across * down) as f64);
                }
            }
        }
    }
}

fn aligned<E: Element>(x: &[E], dy: &[E], regions: &[Region], shape: &RoiShape) -> [Vec<E>; 2] {
    let blank = E::from_f32(f32::NAN);
    let (mut y, mut dx) = (vec![blank; dy.len()], vec![blank; x.len()]);
    roi_align::forward(&mut y, x, regions, shape);
    roi_align::backward(&mut dx, dy, regions, shape);
    [y, dx]
}

fn assert_aligned<E: Element>(shape: &RoiShape, count: usize) {
    let pixels = |side: usize| side as f32 / shape.scale;
    let regions = regions(count, shape.batch, (pixels(shape.height), pixels(shape.width)));
    let x: Vec<E> = numbers(shape.input_len(), 1);
    let dy: Vec<E> = numbers(shape.output_len(count), 2);
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    let (wide_x, wide_dy) = (wide(&x), wide(&dy));
    for_each_weight(shape, &regions, |x_at, y_at, weight| {
        y[y_at] += weight * wide_x[x_at];
        dx[x_at] += weight * wide_dy[y_at];
    });
    on_each_set(|set| {
        let what = format!("{shape:?} with {count} regions in {} on {set}", E::NAME);
        let [fast_y, fast_dx] = aligned(&x, &dy, &regions, shape);
        // A coordinate of tens of positions has an error of some 1e-6, and so have its weights.
        assert_near(&fast_y, &y, 100.0 * EPS, &what);
        assert_near(&fast_dx, &dx, 100.0 * EPS * (1 + count) as f64, &what);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn roi_align_agrees_with_its_definition(
        (batch, height, width, channels) in (1..4usize, 1..12usize, 1..12usize, 1..70usize),
        (side, stride, samples, count) in (1..5usize, 1..5usize, 0..3usize, 0..9usize),
    ) {
        let shape = RoiShape { batch, height, width, channels, side, scale: 1.0 / (4 * stride) as f32, samples };
        assert_aligned::<f32>(&shape, count);
        assert_aligned::<bf16>(&shape, count);
    }
}

#[test]
fn roi_align_has_the_same_bits_on_any_number_of_threads() {
    let shape = RoiShape { batch: 3, height: 9, width: 14, channels: 150, side: 4, scale: 0.25, samples: 0 };
    let regions = regions(20, 3, (36.0, 56.0));
    same_bits_on_any_threads(|| {
        let (x, dy) = (numbers::<f32>(shape.input_len(), 1), numbers(shape.output_len(20), 2));
        aligned(&x, &dy, &regions, &shape).map(|values| bits(&values)).into()
    });
}

#[test]
#[should_panic(expected = "roi_align::forward")]
fn a_region_of_no_image_is_refused() {
    let shape = RoiShape { batch: 1, height: 2, width: 2, channels: 1, side: 1, scale: 1.0, samples: 0 };
    let region = Region { image: 1, edges: [0.0, 0.0, 1.0, 1.0] };
    roi_align::forward(&mut [0.0f32], &[0.0; 4], &[region], &shape);
}

/// Eight regions of two images of 80x96 pixels, with two channels: inside, with fractions, beyond the border, whole,
/// smaller than a bin, at the last row and column, outside, empty.
const REGIONS: [Region; 8] = [
    Region { image: 0, edges: [8.0, 6.0, 40.0, 30.0] },
    Region { image: 1, edges: [10.3, 5.7, 33.9, 41.2] },
    Region { image: 0, edges: [-20.0, -9.0, 30.0, 90.0] },
    Region { image: 1, edges: [0.0, 0.0, 96.0, 80.0] },
    Region { image: 0, edges: [50.0, 40.0, 51.5, 42.0] },
    Region { image: 1, edges: [80.0, 64.0, 96.0, 80.0] },
    Region { image: 0, edges: [200.0, 200.0, 240.0, 240.0] },
    Region { image: 0, edges: [20.0, 20.0, 20.0, 20.0] },
];

/// (A, C, B) from (A, B, C): the last axis before the middle one, as often as needed to change memory layouts.
fn reordered(values: &[f64], (a, b, c): (usize, usize, usize)) -> Vec<f64> {
    let at = move |i, k, j| values[(i * b + j) * c + k];
    (0..a).flat_map(|i| (0..c).flat_map(move |k| (0..b).map(move |j| (i, k, j)))).map(|(i, k, j)| at(i, k, j)).collect()
}

fn rounded(x: f64) -> f64 {
    (1000.0 * x).round() / 1000.0
}

/// `torchvision.ops.roi_align(x, rois, size, scale, 0, aligned=True)` of torchvision 0.29.2 in f64 and its gradient, for
/// x[n, c, i, j] = sin(1.3 n + 2.1 c + 0.7 i + 0.3 j j), rounded to 3 digits, of shape (2, 2, 5, 6).
#[test]
fn roi_align_agrees_with_torchvision() {
    let (batch, channels, height, width) = (2, 2, 5, 6);
    let value = |at: usize| {
        let [n, c, i, j] = [at / 60, at / 30 % 2, at / 6 % 5, at % 6].map(|index| index as f64);
        rounded((1.3 * n + 2.1 * c + 0.7 * i + 0.3 * j * j).sin())
    };
    // (N, C, H W) as (H W, N C), and (R, C, P P) as (P P, R C).
    let maps = |values: &[f64]| reordered(values, (1, 4, 30));
    let f32s = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect::<Vec<_>>();
    let x = f32s(maps(&(0..120).map(value).collect::<Vec<_>>()));
    for (side, scale, dx) in [(2, 1.0 / 16.0, &DX2), (7, 1.0 / 8.0, &DX7)] {
        let shape = RoiShape { batch, height, width, channels, side, scale, samples: 0 };
        let gradient = |k: usize| if side == 2 { rounded((0.9 * k as f64).cos()) } else { (0.1 * k as f64).cos() };
        let dy: Vec<f64> = (0..shape.output_len(8)).map(gradient).collect();
        let dy = f32s(reordered(&dy, (1, 16, side * side)));
        on_each_set(|set| {
            let [y, dx_here] = aligned(&x, &dy, &REGIONS, &shape);
            assert_near(&dx_here, &maps(dx), 2e-5, set);
            if side == 2 {
                assert_near(&y, &reordered(&Y2, (1, 16, 4)), 2e-6, set);
            }
        });
    }
}

/// Two bins a side, (R, C, 2, 2).
#[rustfmt::skip]
const Y2: [f64; 64] = [
    0.296625, 0.683875, 0.7425, 0.8935, 0.623875, 0.1045, 0.1885, -0.3575,
    0.917937949, 0.753822656, 0.541872676, 0.226958984, -0.597887109, -0.75941875, -0.924891953, -0.839920703,
    0.18595752, 0.500555847, 0.298063477, 0.467741852, 0.246293945, 0.3533396, -0.427743652, -0.866202057,
    0.555074074, -0.159157407, -0.599907407, -0.04137963, -0.727175926, 0.021990741, -0.098759259, 0.16587037,
    -0.360027344, -0.421832031, -0.382050781, -0.442402344, -0.389494629, -0.345874512, -0.357718262, -0.31282666,
    -0.49675, -0.866, -0.492, -0.823, 0.352875, 0.7845, 0.4295, 0.906,
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
];

/// The gradient of the maps for dy = cos(0.9 k), rounded to 3 digits, (N, C, H, W).
#[rustfmt::skip]
const DX2: [f64; 120] = [
    0.119602051, 0.331460449, 0.23325, 0.0, 0.0, 0.0, -0.154999817, -0.543195496,
    -0.37425, 0.0, 0.0, 0.0, -0.155657959, -0.103205811, 0.155864502, 0.389104248,
    0.0, 0.0, -0.161756287, -0.033336975, 0.040143311, 0.085887939, 0.0, 0.0,
    -0.276437988, -0.056972168, 0.0, 0.0, 0.0, 0.0, 0.037295654, -0.114287842,
    -0.079125, 0.0, 0.0, 0.0, 0.448979523, 0.875367157, 0.473625, 0.0,
    0.0, 0.0, 0.144523529, 0.071731842, -0.437124756, -0.949468994, 0.0, 0.0,
    0.056264771, -0.05169104, -0.052179932, -0.108226318, 0.0, 0.0, 0.096155273, -0.088338867,
    0.0, 0.0, 0.0, 0.0, 0.046264792, -0.052579896, -0.164266146, -0.12125,
    -0.12125, -0.12125, -0.211011118, -0.610722954, -0.251455512, -0.113166667, -0.113166667, -0.113166667,
    -0.301401359, -0.660169836, -0.185963527, -0.012962963, -0.012962963, -0.012962963, -0.02087037, -0.02087037,
    -0.02087037, 0.087240741, 0.079240741, 0.237490741, -0.022361111, -0.022361111, -0.022361111, 0.093472222,
    0.318222222, 1.830472222, 0.082900525, 0.366327947, 0.234039236, 0.078888889, 0.078888889, 0.078888889,
    0.324119765, 0.747883085, 0.267295761, 0.07362963, 0.07362963, 0.07362963, 0.299157951, 0.544342208,
    0.123155744, -0.023527778, -0.023527778, -0.023527778, -0.037851852, -0.037851852, -0.037851852, -0.120685185,
    -0.140935185, -0.417185185, -0.040555556, -0.040555556, -0.040555556, -0.129305556, -0.402055556, -1.765805556,
];

/// The same with seven bins a side, twice the scale, and dy = cos(0.1 k).
#[rustfmt::skip]
const DX7: [f64; 120] = [
    0.591563125, 1.095969238, 1.129846312, 0.980759158, 0.735821036, 0.100886715, 0.111846808, 1.402587757,
    1.201992683, 0.670387122, 0.314609503, 0.024348511, -0.815160411, -2.675445658, -3.385368793, -3.49037396,
    -2.732819316, -0.392527487, -1.027736245, -2.28362334, -2.30058996, -1.729706649, -0.77166768, -0.09370045,
    -1.102090395, -0.735260751, -0.685215573, -0.478301375, 0.001884792, -9.254871204, 1.276377851, 1.123250206,
    1.290504701, 1.238145977, 0.697051821, 0.104232191, 1.346662484, 3.123990992, 3.703309733, 3.636673408,
    2.76243904, 0.39324379, 0.911118402, 1.483961193, 1.127532162, 0.412108917, -0.249030004, -0.056067227,
    0.294805028, -1.611924356, -2.285822361, -2.570548343, -2.318398239, -0.333902682, -0.023716594, -0.168489297,
    -0.250690276, -0.235642678, -0.052156573, -10.364031938, -0.187510913, -0.906561004, -1.02283298, -0.837078627,
    -0.269874665, -0.121873559, -0.021539546, -1.377586407, -1.264034316, -0.537919208, -0.005096918, 0.156216772,
    0.170148587, 1.205584036, 2.089148724, 2.639220388, 0.960151962, 0.518727298, 0.321255703, 2.900572197,
    3.687133477, 3.441793798, 1.136894797, 0.674046659, 0.71248042, 1.786858462, 1.47833769, 0.627513681,
    0.532416446, 1.254676982, -0.419821328, -0.867664714, -1.183771391, -1.33575417, -0.678332026, -0.790045352,
    -0.365965475, -2.590030893, -3.514305026, -3.585106905, -1.211530995, -0.609794334, -0.3908026, -2.28907795,
    -2.506303514, -1.908871362, -0.65688053, -0.550542017, -0.161669944, 0.416363969, 1.244438965, 1.943351153,
    0.560459397, -0.097851915, 0.11169622, 2.879949715, 3.92027111, 3.885511807, 1.211283002, 0.557116518,
];

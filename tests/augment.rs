//! Augmentation against torchvision's float arithmetic, its draws against their distributions, and batches.
//!
//! The reference values were computed with torch 2.15 and torchvision 0.29 after this preparation:
//! ```python
//! import torch, torchvision.transforms.v2.functional as F
//! from torchvision.transforms.v2 import InterpolationMode as I
//! i = torch.arange(75)
//! x = ((i * i * 31 + i * 47) % 256).reshape(5, 5, 3).permute(2, 0, 1).float() / 255
//! y = x[:, :2, :2]
//! show = lambda z: print([round(v, 6) for v in z.flatten().tolist()])
//! ```
//! Tolerances: the references are rounded to 5e-7; values lie in [0, 1] and a result is a sum of at most 25 products,
//! each rounded to 6e-8, so 5e-6 is enough for all operations except hue. Hue divides by the range of a pixel, which
//! magnifies the rounding of its differences by at most 1 / 0.1 here, so its tolerance is 1e-5.

use std::sync::Arc;

use proptest::prelude::*;
use rayon::prelude::*;
use sempair::data::augment;
use sempair::data::augment::Adjustment;
use sempair::data::augment::Augmentation;
use sempair::data::augment::Blur;
use sempair::data::augment::Crop;
use sempair::data::augment::Draw;
use sempair::data::augment::Gaussian;
use sempair::data::augment::Jitter;
use sempair::data::augment::Normalization;
use sempair::data::augment::Pipeline;
use sempair::data::augment::Resampler;
use sempair::data::augment::Rotation;
use sempair::data::augment::Small;
use sempair::data::augment::Solarize;
use sempair::data::augment::Views;
use sempair::data::augment::Window;
use sempair::data::batches::Batch;
use sempair::data::batches::Batches;
use sempair::data::batches::Source;
use sempair::data::image_set::ImageSet;
use sempair::rng::Key;

const PRODUCTS: f32 = 5e-6;
const QUOTIENTS: f32 = 1e-5;

/// `x` of the module comment as bytes (5, 5, 3).
fn image() -> Vec<u8> {
    (0..75u32).map(|i| (i * i * 31 + i * 47) as u8).collect()
}

/// `x[:, :size, :size]` of the module comment.
fn planes(size: usize) -> Vec<f32> {
    let image = image();
    let value = |i: usize| image[3 * (i / size % size * 5 + i % size) + i / (size * size)];
    (0..3 * size * size).map(|i| f32::from(value(i)) / 255.0).collect()
}

#[track_caller]
fn assert_close(ours: &[f32], reference: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), reference.len());
    for (i, (a, b)) in ours.iter().zip(reference).enumerate() {
        assert!((a - b).abs() <= tolerance, "at {i}: {a} and {b}\nours: {ours:?}");
    }
}

/// Checks a colour operation on `y` of the module comment.
#[track_caller]
fn check_colour(operation: impl Fn(&mut [f32]), reference: [f32; 12], tolerance: f32) {
    let mut y = planes(2);
    operation(&mut y);
    assert_close(&y, &reference, tolerance);
}

fn resample(window: Window, flip: bool, size: usize) -> Vec<f32> {
    let mut out = vec![0.0; 3 * size * size];
    Resampler::default().resample(&image(), 5, window, flip, size, &mut out);
    out
}

// show(F.resized_crop(x, 1, 0, 3, 4, [4, 4], I.BILINEAR, antialias=True))
#[test]
fn crop_and_enlarge_matches_torchvision() {
    let window = Window { top: 1, left: 0, height: 3, width: 4 };
    let reference = [
        0.0, 0.541176, 0.258824, 0.156863, 0.308824, 0.786274, 0.440196, 0.27451, 0.488235, 0.889216, 0.466667,
        0.22451, 0.478431, 0.815686, 0.329412, 0.023529, 0.941176, 0.203922, 0.65098, 0.27451, 0.392157, 0.218627,
        0.601961, 0.161765, 0.295098, 0.421569, 0.728431, 0.211765, 0.682353, 0.745098, 0.988235, 0.407843, 0.117647,
        0.109804, 0.282353, 0.635294, 0.593137, 0.521569, 0.630392, 0.292157, 0.596078, 0.82451, 0.856863, 0.065686,
        0.12549, 0.917647, 0.886275, 0.031373,
    ];
    assert_close(&resample(window, false, 4), &reference, PRODUCTS);
    let mirrored: Vec<f32> = reference.chunks(4).flat_map(|row| row.iter().rev().copied()).collect();
    assert_close(&resample(window, true, 4), &mirrored, PRODUCTS);
}

// show(F.resized_crop(x, 0, 0, 5, 4, [2, 2], I.BILINEAR, antialias=True))
#[test]
fn crop_and_shrink_matches_torchvision() {
    let reference = [
        0.402954, 0.389509, 0.598829, 0.356201, 0.46356, 0.468551, 0.632748, 0.565011, 0.526101, 0.471301, 0.642526,
        0.495442,
    ];
    assert_close(&resample(Window { top: 0, left: 0, height: 5, width: 4 }, false, 2), &reference, PRODUCTS);
}

#[test]
fn resampling_at_the_same_size_changes_nothing() {
    assert_close(&resample(Window::all(5), false, 5), &planes(5), f32::EPSILON);
}

// show(F.adjust_brightness(y, 1.3)); show(F.adjust_contrast(y, 1.4)); show(F.adjust_saturation(y, 0.6))
#[test]
fn brightness_contrast_and_saturation_match_torchvision() {
    check_colour(
        |y| augment::brightness(y, 1.3),
        [0.0, 0.836078, 0.0, 0.703529, 0.397647, 0.876863, 1.0, 0.265098, 1.0, 1.0, 0.152941, 0.142745],
        PRODUCTS,
    );
    check_colour(
        |y| augment::contrast(y, 1.4),
        [0.0, 0.717069, 0.0, 0.574324, 0.244912, 0.760991, 1.0, 0.102167, 1.0, 1.0, 0.0, 0.0],
        PRODUCTS,
    );
    check_colour(
        |y| augment::saturation(y, 0.6),
        [
            0.110805, 0.664426, 0.226353, 0.442297, 0.294334, 0.68325, 0.791059, 0.239944, 0.623746, 0.847956,
            0.296941, 0.183473,
        ],
        PRODUCTS,
    );
}

// show(F.adjust_hue(y, 0.1)); show(F.adjust_hue(y, -0.4))
#[test]
fn hue_matches_torchvision() {
    check_colour(
        |y| augment::hue(y, 0.1),
        [0.20706, 0.795294, 0.0, 0.541176, 0.0, 0.643137, 0.941176, 0.462745, 0.854902, 0.94902, 0.682353, 0.109804],
        QUOTIENTS,
    );
    check_colour(
        |y| augment::hue(y, -0.4),
        [0.647843, 0.796863, 0.941176, 0.109804, 0.854902, 0.94902, 0.0, 0.188235, 0.0, 0.643137, 0.258823, 0.541176],
        QUOTIENTS,
    );
}

#[test]
fn gray_has_no_hue_and_a_full_turn_is_none() {
    let mut gray = vec![0.3; 12];
    augment::hue(&mut gray, 0.37);
    assert_close(&gray, &[0.3; 12], QUOTIENTS);
    let mut there_and_back = planes(5);
    augment::hue(&mut there_and_back, 0.5);
    augment::hue(&mut there_and_back, 0.5);
    // Two turns, and pixels whose channels differ by 1 / 255 only: the rounding is magnified 255-fold.
    assert_close(&there_and_back, &planes(5), 2.0 * 255.0 * f32::EPSILON);
}

// show(F.rgb_to_grayscale(y, 3)); show(F.solarize(y, 0.5))
#[test]
fn grayscale_and_solarize_match_torchvision() {
    let gray = [0.277012, 0.696359, 0.565882, 0.293977];
    check_colour(augment::grayscale, std::array::from_fn(|i| gray[i % 4]), PRODUCTS);
    check_colour(
        |y| augment::solarize(y, 0.5),
        [0.0, 0.356863, 0.0, 0.458824, 0.305882, 0.32549, 0.058824, 0.203922, 0.145098, 0.05098, 0.117647, 0.109804],
        PRODUCTS,
    );
}

// show(F.normalize(y, [.485, .456, .406], [.229, .224, .225]))
#[test]
fn normalize_matches_torchvision() {
    let normalization = Normalization { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    let mut out = [0.0; 12];
    augment::normalize(&planes(2), &normalization, &mut out);
    let reference = [
        -2.117904, 0.690556, -2.117904, 0.245312, -0.670168, 0.97549, 2.165966, -1.12535, 1.99512, 2.413421, -1.281569,
        -1.316427,
    ];
    let by_plane: Vec<f32> = (0..12).map(|i| out[3 * (i % 4) + i / 4]).collect();
    assert_close(&by_plane, &reference, PRODUCTS);
}

#[track_caller]
fn check_blur(sigma: f32, width: usize, reference: [f32; 27]) {
    let mut out = [0.0; 27];
    let mut gaussian = Gaussian::default();
    gaussian.set(sigma, width);
    gaussian.blur(&planes(3), 3, &mut out);
    assert_close(&out, &reference, PRODUCTS);
}

// z = x[:, :3, :3]; show(F.gaussian_blur(z, [3, 3], [0.8, 0.8])); show(F.gaussian_blur(z, [5, 5], [1.7, 1.7]))
#[test]
fn blur_matches_torchvision() {
    check_blur(
        0.8,
        3,
        [
            0.284117, 0.397582, 0.474794, 0.376767, 0.462449, 0.511876, 0.491171, 0.549068, 0.570712, 0.533081,
            0.482124, 0.437163, 0.456374, 0.43303, 0.430136, 0.355279, 0.374001, 0.42179, 0.524195, 0.46575, 0.392176,
            0.471921, 0.453597, 0.432652, 0.485596, 0.49683, 0.516006,
        ],
    );
    check_blur(
        1.7,
        5,
        [
            0.451777, 0.487383, 0.451699, 0.430347, 0.465952, 0.430269, 0.45169, 0.487295, 0.451612, 0.437589,
            0.421735, 0.437594, 0.451632, 0.430149, 0.45165, 0.437641, 0.421801, 0.437647, 0.491654, 0.49566, 0.491687,
            0.438612, 0.440736, 0.438631, 0.491627, 0.495645, 0.491659,
        ],
    );
}

// show(F.rotate(x[:, :3, :3], 20.0, I.BILINEAR)); show(F.rotate(x[:, :4, :4], -75.0, I.BILINEAR)[:1])
#[test]
fn rotation_matches_torchvision() {
    let mut out = [0.0; 27];
    augment::rotate(&planes(3), 3, 20.0, &mut out);
    let reference = [
        0.185858, 0.573188, 0.273453, 0.03474, 0.541176, 0.377207, 0.212125, 0.75736, 0.505415, 0.32624, 0.509148,
        0.282402, 0.702241, 0.203922, 0.599297, 0.298924, 0.188303, 0.311526, 0.641264, 0.667539, 0.175874, 0.371433,
        0.109804, 0.464508, 0.411109, 0.764348, 0.582399,
    ];
    assert_close(&out, &reference, PRODUCTS);
    let mut out = [0.0; 48];
    augment::rotate(&planes(4), 4, -75.0, &mut out);
    let reference = [
        0.321712, 0.270859, 0.104526, 0.187301, 0.704906, 0.82487, 0.512962, 0.525398, 0.485259, 0.582301, 0.288186,
        0.419101, 0.10468, 0.269379, 0.214893, 0.217663,
    ];
    assert_close(&out[..16], &reference, PRODUCTS);
}

/// Every operation with probability 0.5, or 0.8 for jitter.
fn everything() -> Augmentation {
    Augmentation {
        crop: Crop { enabled: true, scale: [0.2, 1.0], ratio: [0.75, 4.0 / 3.0] },
        flip: 0.5,
        rotation: Rotation { probability: 0.5, degrees: 30.0 },
        jitter: Jitter { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1 },
        grayscale: 0.5,
        blur: Blur { probability: 0.5, sigma: [0.1, 2.0], kernel: 0 },
        solarize: Solarize { probability: 0.5, threshold: 0.5 },
    }
}

fn normalization() -> Normalization {
    Normalization { mean: [0.4, 0.5, 0.6], std: [0.2, 0.25, 0.3] }
}

fn pipeline(size: usize) -> Pipeline {
    Pipeline::new(Views { first: everything(), second: everything() }, normalization(), size)
}

fn draws(augmentation: &Augmentation, count: u64) -> Vec<Draw> {
    (0..count).map(|i| augmentation.draw(64, Key::root(7).at(i))).collect()
}

#[test]
fn switching_an_operation_off_moves_no_other_draw() {
    let (all, none) = (everything(), Augmentation::none());
    let (without_crop, without_jitter) = (
        Augmentation { crop: none.crop.clone(), ..all.clone() },
        Augmentation { jitter: none.jitter.clone(), ..all.clone() },
    );
    let without_blur = Augmentation { blur: none.blur.clone(), ..all.clone() };
    let mut without_hue = all.clone();
    without_hue.jitter.hue = 0.0;
    for i in 0..200 {
        let draw = |a: &Augmentation| a.draw(64, Key::root(7).at(i));
        let full = draw(&all);
        assert_eq!(draw(&without_crop), Draw { window: Window::all(64), ..full.clone() });
        assert_eq!(draw(&without_jitter), Draw { jitter: [None; 4], ..full.clone() });
        assert_eq!(draw(&without_blur), Draw { blur: None, ..full.clone() });
        let no_hue = full.jitter.map(|a| a.filter(|a| !matches!(a, Adjustment::Hue(_))));
        assert_eq!(draw(&without_hue), Draw { jitter: no_hue, ..full });
    }
}

/// `hits` of `n` draws lie within four standard deviations of probability `p`.
#[track_caller]
fn assert_frequency(hits: usize, n: usize, p: f64) {
    let deviation = (n as f64 * p * (1.0 - p)).sqrt();
    assert!((hits as f64 - n as f64 * p).abs() <= 4.0 * deviation, "{hits} of {n}, expected {p}");
}

#[test]
fn draws_follow_their_distributions() {
    let n = 20_000;
    let draws = draws(&everything(), n as u64);
    let count = |hit: &dyn Fn(&Draw) -> bool| draws.iter().filter(|draw| hit(draw)).count();
    assert_frequency(count(&|d| d.flip), n, 0.5);
    assert_frequency(count(&|d| d.grayscale), n, 0.5);
    assert_frequency(count(&|d| d.solarize.is_some()), n, 0.5);
    assert_frequency(count(&|d| d.rotation.is_some_and(|degrees| degrees < -15.0)), n, 0.125);
    assert_frequency(count(&|d| d.blur.is_some_and(|(sigma, _)| sigma < 1.05)), n, 0.25);
    assert_frequency(count(&|d| d.jitter.iter().all(Option::is_none)), n, 0.2);
    // Each adjustment comes first equally often; a brightness factor is uniform in [0.6, 1.4].
    assert_frequency(count(&|d| matches!(d.jitter[0], Some(Adjustment::Hue(_)))), n, 0.2);
    let dim = |d: &Draw| d.jitter.iter().flatten().any(|a| matches!(a, Adjustment::Brightness(f) if *f < 0.8));
    assert_frequency(count(&dim), n, 0.2);
    assert!(draws.iter().flat_map(|d| d.jitter).flatten().all(|a| match a {
        Adjustment::Brightness(f) | Adjustment::Contrast(f) => (0.6..=1.4).contains(&f),
        Adjustment::Saturation(f) => (0.8..=1.2).contains(&f),
        Adjustment::Hue(shift) => shift.abs() <= 0.1,
    }));
}

// torch.manual_seed(0); g = v2.RandomResizedCrop(64, scale=(0.2, 1)); p = [g.make_params([torch.zeros(3, 64, 64)])
// for _ in range(200_000)]; shares of width < 40, height == 64, left == 0 -> 0.273535, 0.02003, 0.10255
#[test]
fn crops_follow_torchvision() {
    let n = 20_000;
    let windows: Vec<Window> = draws(&everything(), n as u64).iter().map(|draw| draw.window).collect();
    let count = |hit: &dyn Fn(&Window) -> bool| windows.iter().filter(|window| hit(window)).count();
    assert_frequency(count(&|w| w.width < 40), n, 0.273535);
    assert_frequency(count(&|w| w.height == 64), n, 0.02003);
    assert_frequency(count(&|w| w.left == 0), n, 0.10255);
    let ratio = |w: &Window| w.width as f32 / w.height as f32;
    assert!(windows.iter().all(|w| (0.7..1.4).contains(&ratio(w)) && w.left + w.width <= 64 && w.top + w.height <= 64));
}

// A ratio that never fits falls back to the centre: torchvision gives (24, 0, 16, 64) for ratio (4, 4), scale (1, 1).
#[test]
fn a_crop_that_never_fits_is_the_centre() {
    let crop = Crop { enabled: true, scale: [1.0, 1.0], ratio: [4.0, 4.0] };
    let window = Window::random(64, &crop, &mut Key::root(1).stream());
    assert_eq!(window, Window { top: 24, left: 0, height: 16, width: 64 });
}

#[test]
fn views_do_not_depend_on_threads_or_order() {
    let pipeline = pipeline(32);
    let source: Vec<u8> = (0..3 * 48 * 48u32).map(|i| (i * i / 7) as u8).collect();
    let view = |i: usize| {
        let mut out = vec![0.0; 3 * 32 * 32];
        pipeline.view(&source, 48, i % 2, Key::root(3).at(i as u64), &mut out);
        out
    };
    let on = |threads: usize| -> Vec<Vec<f32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (0..40).into_par_iter().map(view).collect())
    };
    let backwards: Vec<_> = (0..40).rev().map(view).collect();
    assert_eq!(on(1), on(3));
    assert!(on(1).iter().eq(backwards.iter().rev()));
}

#[test]
fn a_plain_view_is_the_view_without_augmentation() {
    let views = Views { first: Augmentation::none(), second: everything() };
    let (mut plain, mut view) = ([0.0; 27], [0.0; 27]);
    augment::plain(&image(), 5, 3, &normalization(), &mut plain);
    Pipeline::new(views, normalization(), 3).view(&image(), 5, 0, Key::root(1), &mut view);
    assert_eq!(plain, view);
}

#[test]
fn impossible_values_are_named() {
    let mut views = Views { first: everything(), second: everything() };
    assert!(views.validate("pretrain.views").is_ok());
    views.second.jitter.hue = 0.7;
    let error = views.validate("pretrain.views").unwrap_err();
    assert_eq!(error.hint_text().map(|hint| hint.split(' ').nth(1)), Some(Some("config")));
    assert_eq!(error.what(), "`pretrain.views.second.jitter.hue` must be from 0 to 0.5, not 0.7");
    views.second.jitter.hue = f32::NAN;
    assert!(views.validate("pretrain.views").is_err());
    let scale = Augmentation { crop: Crop { scale: [0.5, 0.2], ..everything().crop }, ..everything() };
    let error = scale.validate("first").unwrap_err();
    assert_eq!(error.what(), "`first.crop.scale` must be two ascending values, above 0 and at most 1, not [0.5, 0.2]");
    let blur = Augmentation { blur: Blur { kernel: 4, ..everything().blur }, ..everything() };
    let error = blur.validate("first").unwrap_err();
    assert_eq!(error.what(), "`first.blur.kernel` must be odd, or 0 for 10 % of the view's size, not 4");
    let flat = Normalization { std: [0.2, 0.0, 0.2], ..normalization() };
    assert!(flat.validate("data").unwrap_err().to_string().contains("`data.std`"));
}

#[test]
fn configuration_survives_json_and_refuses_unknown_keys() {
    let json = serde_json::to_string(&everything()).unwrap();
    assert_eq!(serde_json::from_str::<Augmentation>(&json).unwrap(), everything());
    assert!(serde_json::from_str::<Augmentation>(&json.replace("grayscale", "greyscale")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_sizes_give_finite_views(source in 1usize..100, size in 1usize..70, kernel in 0usize..9, seed: u64) {
        let mut augmentation = everything();
        augmentation.blur = Blur { kernel: if kernel == 0 { 0 } else { 2 * kernel + 1 }, ..augmentation.blur };
        let pipeline =
            Pipeline::new(Views { first: augmentation.clone(), second: augmentation }, normalization(), size);
        let pixels = vec![200; 3 * source * source];
        let mut out = vec![f32::NAN; 3 * size * size];
        pipeline.view(&pixels, source, 0, Key::root(seed), &mut out);
        // x in [0, 1], so (x - mean) / std lies in [-0.6 / 0.2, 0.6 / 0.2]; rounding may exceed this slightly.
        prop_assert!(out.iter().all(|x| x.abs() < 3.001));
        out.fill(f32::NAN);
        augment::plain(&pixels, source, size, &normalization(), &mut out);
        for (i, x) in out.iter().enumerate() {
            let expected = (200.0 / 255.0 - normalization().mean[i % 3]) / normalization().std[i % 3];
            prop_assert!((x - expected).abs() < 1e-5, "{x} and {expected}");
        }
    }
}

/// Batches of four from 23 pairs over 23 images: augmented pairs (i, i) for shift 0, pairs with the next image for
/// shift 1.
fn batches(shift: u32, pipeline: Pipeline) -> Batches {
    let count = 23u32;
    let pixels = (0..count * 75).map(|i| (i * i / 5 + i) as u8).collect();
    let labels = (0..count).map(|i| i % 2).collect();
    let set = ImageSet::new("toy/train", 5, vec!["a".into(), "b".into()], labels, pixels);
    let pairs = (0..count).map(|i| (i, (i + shift) % count)).collect();
    Batches::new(Arc::new(Source { set, seconds: None, pairs }), Arc::new(pipeline), 4, 11).unwrap()
}

/// A pipeline whose views are the resized images, without augmentation.
fn plainly(size: usize, small: Small) -> Pipeline {
    let views = Views { first: Augmentation::none(), second: Augmentation::none() };
    Pipeline::new(views, normalization(), size).with_small(small)
}

fn resized(image: &[u8], source: usize, size: usize) -> Vec<f32> {
    let mut out = vec![0.0; 3 * size * size];
    augment::plain(image, source, size, &normalization(), &mut out);
    out
}

#[test]
fn a_jigsaw_is_the_second_image_in_nine_shuffled_cells() {
    let pipeline = plainly(4, Small::Jigsaw); // cells of 2x2, so an image of 6x6 is cut without resizing
    let images: [Vec<u8>; 2] = [7, 11].map(|step| (0..108u32).map(|i| (i * step % 251) as u8).collect());
    let whole = resized(&images[1], 6, 6);
    let tile = |cell: usize| -> Vec<f32> {
        let (top, left) = (cell / 3 * 2, cell % 3 * 2);
        (0..2).flat_map(|y| whole[3 * ((top + y) * 6 + left)..][..6].to_vec()).collect()
    };
    let order_of = |seed: u64| -> Vec<usize> {
        let mut out = vec![f32::NAN; pipeline.small_floats()];
        pipeline.small([&images[0], &images[1]], 6, 0, Key::root(seed), &mut out);
        out.chunks(12).map(|cell| (0..9).find(|&of| tile(of) == cell).expect("a cell of the image")).collect()
    };
    let orders: Vec<Vec<usize>> = (0..8).map(order_of).collect();
    for order in &orders {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..9).collect::<Vec<_>>());
    }
    assert!(orders.iter().any(|order| *order != orders[0]));
}

#[test]
fn small_crops_come_in_turn_of_both_images_and_view_by_view() {
    let pipeline = plainly(6, Small::Random { count: 3, scale: [0.1, 0.5] });
    let batches = batches(1, pipeline.clone());
    let batch = batches.epoch(0, 0).next().unwrap();
    let floats = pipeline.small_floats();
    assert_eq!((floats, batch.crops.len()), (3 * 3 * 3, 3 * 4 * 3 * 3 * 3));
    let image = |index: u32| (index * 75..(index + 1) * 75).map(|i| (i * i / 5 + i) as u8).collect::<Vec<u8>>();
    for (at, crop) in batch.crops.chunks(floats).enumerate() {
        let (view, pair) = (at / 4, batch.chosen[at % 4]);
        let of = if view % 2 == 0 { pair } else { (pair + 1) % 23 };
        assert_eq!(crop, resized(&image(of), 5, 3), "view {view} of pair {pair}");
    }
    assert_eq!(batches.epoch(0, 0).next().unwrap(), batch);
}

#[test]
fn resuming_at_a_step_gives_the_same_batches() {
    let batches = batches(1, pipeline(6));
    let whole: Vec<Batch> = batches.epoch(2, 0).collect();
    assert_eq!(whole.len(), 5);
    assert_eq!(batches.steps_per_epoch(), 5);
    assert!(whole.iter().enumerate().all(|(step, batch)| batch.step_in_epoch == step && batch.pairs == 4));
    assert_eq!(batches.epoch(2, 3).collect::<Vec<_>>(), whole[3..]);
    assert_eq!(batches.epoch(2, 5).count(), 0);
    assert_ne!(batches.epoch(3, 0).next().unwrap().views, whole[0].views);
}

#[test]
fn an_epoch_shows_no_pair_twice_and_an_augmented_pair_is_one_image_seen_twice() {
    // Without augmentation and resizing, a view equals its image.
    let names = |shift: u32| -> Vec<(Vec<f32>, Vec<f32>)> {
        let plain = Views { first: Augmentation::none(), second: Augmentation::none() };
        let batches = batches(shift, Pipeline::new(plain, normalization(), 5));
        let pair = |batch: &Batch, i: usize| {
            (batch.views[75 * i..][..75].to_vec(), batch.views[75 * (batch.pairs + i)..][..75].to_vec())
        };
        batches.epoch(0, 0).flat_map(|batch| (0..4).map(move |i| pair(&batch, i)).collect::<Vec<_>>()).collect()
    };
    let augmented = names(0);
    assert!(augmented.iter().all(|(first, second)| first == second));
    assert!(names(1).iter().all(|(first, second)| first != second));
    for (i, a) in augmented.iter().enumerate() {
        assert!(augmented[..i].iter().all(|b| a.0 != b.0));
    }
    for batch in batches(0, pipeline(6)).epoch(0, 0) {
        let (first, second) = batch.views.split_at(4 * 108);
        assert!(first.chunks(108).zip(second.chunks(108)).all(|(a, b)| a != b));
    }
}

#[test]
fn too_few_pairs_are_an_error_with_the_numbers() {
    let set = ImageSet::new("toy/train", 1, vec!["a".into()], vec![0], vec![0; 3]);
    let make = |pairs: Vec<(u32, u32)>, batch| {
        let source = Arc::new(Source { set: set.clone(), seconds: None, pairs });
        Batches::new(source, Arc::new(pipeline(1)), batch, 0).map(drop).unwrap_err().to_string()
    };
    let message = make(vec![(0, 0); 3], 4);
    assert_eq!(message, "toy/train has 3 pairs, and a batch is 4 pairs\n\nhint: set the batch to at most 3 pairs");
    assert_eq!(make(vec![(0, 1)], 1), "toy/train has 1 images, and a pair is (0, 1)");
}

#[test]
fn an_epoch_that_is_dropped_early_ends_its_thread() {
    let batches = batches(0, pipeline(6));
    drop(batches.epoch(0, 0));
    let mut epoch = batches.epoch(0, 0);
    assert!(epoch.next().is_some());
    assert!(epoch.waited() > 0.0);
    drop(epoch); // returns only when the thread has ended
    // This also works on a worker of the pool that makes the batches, even if it is the only worker.
    rayon::scope(|scope| scope.spawn(|_| assert_eq!(batches.epoch(0, 0).take(2).count(), 2)));
}

#[test]
fn buffers_that_were_given_back_change_nothing() {
    let batches = batches(1, pipeline(6));
    let fresh: Vec<Batch> = batches.epoch(1, 0).collect();
    let mut epoch = batches.epoch(1, 0);
    for expected in fresh {
        let batch = epoch.next().unwrap();
        assert_eq!(batch, expected);
        epoch.give_back(batch);
    }
    assert!(epoch.next().is_none());
}

#[test]
fn throughput_counts_each_round() {
    let rounds = augment::throughput(8, 3);
    assert_eq!(rounds.len(), 3);
    assert!(rounds.iter().all(|&views| views > 0.0 && views.is_finite()));
}

#[test]
fn a_stored_image_is_the_view_as_bytes() {
    let by = Augmentation { grayscale: 1.0, flip: 1.0, ..Augmentation::none() };
    let pixels: Vec<u8> = (0..75).map(|i| (i * i / 5 + i) as u8).collect();
    let identity = Normalization { mean: [0.0; 3], std: [1.0; 3] };
    let pipeline = Pipeline::new(Views { first: by.clone(), second: by.clone() }, identity, 5);
    let (mut view, mut bytes) = (vec![0.0; 75], vec![0; 75]);
    pipeline.view(&pixels, 5, 0, Key::root(3), &mut view);
    augment::transformed(&pixels, 5, &by, Key::root(3), &mut bytes);
    for (byte, value) in bytes.iter().zip(&view) {
        assert!((f32::from(*byte) - 255.0 * value).abs() <= 0.5, "{byte} for {value}");
    }
    assert_ne!(bytes, pixels);
}

#[test]
fn second_images_may_come_from_a_set_of_their_own() {
    let set = |step: u8, size: usize| {
        let pixels = (0..4 * size * size * 3).map(|i| (i as u8).wrapping_mul(step)).collect();
        ImageSet::new("toy/train", size, vec!["a".into()], vec![0; 4], pixels)
    };
    let batches = |seconds: Option<ImageSet>, pairs: Vec<(u32, u32)>| {
        let source = Source { set: set(3, 5), seconds, pairs };
        Batches::new(Arc::new(source), Arc::new(plainly(5, Small::None)), 2, 7)
    };
    let (own, pairs) = (set(7, 5), vec![(3, 0), (1, 1)]);
    let batch = batches(Some(own.clone()), pairs.clone()).unwrap().epoch(0, 0).next().unwrap();
    let views: Vec<&[f32]> = batch.views.chunks(75).collect();
    for (place, &pair) in batch.chosen.iter().enumerate() {
        let (first, second) = pairs[pair as usize];
        assert_eq!(views[place], resized(set(3, 5).image(first as usize), 5, 5));
        assert_eq!(views[2 + place], resized(own.image(second as usize), 5, 5));
    }
    assert!(batches(Some(own), vec![(0, 4), (1, 1)]).is_err(), "there is no fifth image");
    assert!(batches(Some(set(7, 6)), pairs).unwrap_err().what().contains("5x5 pixels, and second ones 6x6"));
}

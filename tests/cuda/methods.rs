//! Every method of the device on the simulated GPU against the CPU in f32, which `kernels` and `rows` hold against the
//! plain definitions: over random shapes, in both formats, in the order of threads that the environment asks for.

use half::bf16;
use proptest::prelude::*;
use sempair::rng::Key;
use sempair::tensor::{
    AttentionShape, ConvShape, Cpu, Device, EmbeddingSlots, LayerNormOptions, Layout, NormOptions, Norms, PoolShape,
    Precision, Region, RoiShape, Slot, Update,
};

use super::gpu;

/// Operations whose results are compared: each a name, the values, and the size of a rounding error in f32.
type Results = Vec<(&'static str, Vec<f32>, f64)>;

/// Something to compute on any device.
trait Case: std::fmt::Debug {
    fn run<D: Device>(&self, device: &D) -> Results;
    /// How often a result is rounded to the format of activations on its way, at its largest.
    const ROUNDINGS: f64 = 1.0;
}

const EPS: f64 = f32::EPSILON as f64;

/// `len` numbers in [-1, 1) that both formats can hold, different for each `seed`.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut stream = Key::root(seed).split("cuda").stream();
    (0..len).map(|_| bf16::from_f32(stream.range(-1.0, 1.0)).to_f32()).collect()
}

/// Parameters of `len` numbers in an arena, at a place that is not aligned.
fn parameters(len: usize, seed: u64) -> (Vec<f32>, Slot) {
    let start = 5;
    (numbers(start + len + 3, seed), Slot { start, len })
}

/// The part of an arena at a slot.
fn at<D: Device>(device: &D, arena: &D::Arena, slot: Slot) -> Vec<f32> {
    device.host(arena)[slot.start..][..slot.len].to_vec()
}

/// Asserts that both formats of the GPU give the CPU's results, twice with the same bits.
fn assert_like_cpu<C: Case>(case: &C) {
    let expected = case.run(&Cpu { precision: Precision::F32 });
    for precision in [Precision::F32, Precision::Bf16] {
        let Some(device) = gpu(precision) else { return };
        let results = case.run(&device);
        let bits = |results: &Results| results.iter().flat_map(|r| r.1.iter().map(|x| x.to_bits())).collect::<Vec<_>>();
        assert!(bits(&results) == bits(&case.run(&device)), "{case:?} in {}: other bits again", precision.name());
        let unit = if precision == Precision::Bf16 { C::ROUNDINGS / 256.0 } else { EPS };
        for ((name, ours, noise), (_, cpu, _)) in results.iter().zip(&expected) {
            assert_eq!(ours.len(), cpu.len(), "{name} of {case:?}");
            let largest = cpu.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
            for (place, (&ours, &cpu)) in ours.iter().zip(cpu).enumerate() {
                let (ours, cpu) = (f64::from(ours), f64::from(cpu));
                // One rounding is relative to the result, those before it to the largest terms.
                let tolerance = noise + unit * cpu.abs() + if C::ROUNDINGS > 1.0 { unit * largest } else { 0.0 };
                assert!(
                    (ours - cpu).abs() <= tolerance,
                    "{name}[{place}] is {ours}, on the CPU {cpu}, tolerance {tolerance}: {case:?} in {}",
                    precision.name()
                );
            }
        }
    }
}

#[derive(Debug)]
struct Convolution(ConvShape);

impl Case for Convolution {
    fn run<D: Device>(&self, device: &D) -> Results {
        let Self(shape) = self;
        let ((values, w), bias) = (parameters(shape.weight_len() + shape.out_channels, 1), shape.out_channels);
        let bias = Slot { start: w.start + w.len - bias, len: bias };
        let w = Slot { len: shape.weight_len(), ..w };
        let (values, mut gradients) = (device.arena(values.clone()), device.arena(vec![1.0; values.len()]));
        let [x, onto] = [2, 3].map(|seed| device.upload(&numbers(shape.input_len(), seed)));
        let dy = device.upload(&numbers(shape.output_len(), 4));
        let taps = shape.kernel * shape.kernel;
        let terms = |count: usize| 4.0 * EPS * (count + 2) as f64;
        let y = device.conv2d(shape, &x, &values, w, None);
        let biased = device.conv2d(shape, &x, &values, w, Some(bias));
        let dx = device.conv2d_input(shape, &dy, &values, w, None);
        let added = device.conv2d_input(shape, &dy, &values, w, Some(&onto));
        device.conv2d_weight(shape, &x, &dy, &mut gradients, w, Some(bias));
        let rows = shape.batch * shape.out_height() * shape.out_width();
        vec![
            ("y", device.download(&y), terms(taps * shape.in_channels)),
            ("y with bias", device.download(&biased), terms(taps * shape.in_channels)),
            ("dx", device.download(&dx), terms(taps * shape.out_channels)),
            ("dx onto", device.download(&added), terms(taps * shape.out_channels)),
            ("dw", at(device, &gradients, w), terms(rows)),
            ("dbias", at(device, &gradients, bias), terms(rows)),
        ]
    }

    // The input gradient of images passes through the windows' gradients.
    const ROUNDINGS: f64 = 4.0;
}

#[derive(Debug)]
struct LinearMap {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

impl Case for LinearMap {
    fn run<D: Device>(&self, device: &D) -> Results {
        let &Self { rows, inputs, outputs } = self;
        let (values, all) = parameters(inputs * outputs + outputs, 1);
        let w = Slot { len: inputs * outputs, ..all };
        let bias = Slot { start: w.start + w.len, len: outputs };
        let (values, mut gradients) = (device.arena(values.clone()), device.arena(vec![1.0; values.len()]));
        let [x, onto_x] = [2, 3].map(|seed| device.upload(&numbers(rows * inputs, seed)));
        let [dy, onto_y] = [4, 5].map(|seed| device.upload(&numbers(rows * outputs, seed)));
        let terms = |count: usize| 4.0 * EPS * (count + 2) as f64;
        let y = device.linear(&x, &values, w, None, None, outputs);
        let added = device.linear(&x, &values, w, Some(bias), Some(&onto_y), outputs);
        let dx = device.linear_input(&dy, &values, w, None, outputs);
        let onto = device.linear_input(&dy, &values, w, Some(&onto_x), outputs);
        device.linear_weight(&x, &dy, &mut gradients, w, Some(bias), outputs);
        vec![
            ("y", device.download(&y), terms(inputs)),
            ("y onto", device.download(&added), terms(inputs)),
            ("dx", device.download(&dx), terms(outputs)),
            ("dx onto", device.download(&onto), terms(outputs)),
            ("dw", at(device, &gradients, w), terms(rows)),
            ("dbias", at(device, &gradients, bias), terms(rows)),
        ]
    }
}

#[derive(Debug)]
struct BatchNorm {
    rows: usize,
    channels: usize,
    rectify: bool,
    affine: bool,
    norms: Norms,
}

impl Case for BatchNorm {
    fn run<D: Device>(&self, device: &D) -> Results {
        let &Self { rows, channels, rectify, affine, norms } = self;
        let (values, slot) = parameters(2 * channels, 1);
        let running = Slot { start: 3, len: 2 * channels };
        let norm =
            NormOptions { affine: affine.then_some(slot), running, rectify, epsilon: 1e-2, momentum: 0.1, norms };
        let moments: Vec<f32> = numbers(running.start + running.len, 2).iter().map(|x| x.abs()).collect();
        let (values, mut statistics) = (device.arena(values.clone()), device.arena(moments));
        let mut gradients = device.arena(vec![1.0; slot.start + slot.len]);
        let [x, dy, shortcut] = [3, 4, 5].map(|seed| device.upload(&numbers(rows * channels, seed)));
        let evaluated = device.batch_norm_running(&norm, &x, Some(&shortcut), &values, &statistics);
        let (y, of_x) = device.batch_norm(&norm, &x, None, &values, &mut statistics);
        let dx = device.batch_norm_backward(&norm, &dy, &x, &of_x, &values, &mut gradients);
        let (joined, of_x) = device.batch_norm(&norm, &x, Some(&shortcut), &values, &mut statistics);
        let (dx_joined, dz) =
            device.batch_norm_shortcut_backward(&norm, &dy, &x, &joined, &of_x, &values, &mut gradients);
        let noise = 256.0 * EPS * (1.0 + (rows as f64).sqrt());
        // The constant in `inv_std` bounds it by 10; a few rows may have hardly any variance.
        vec![
            ("evaluated", device.download(&evaluated), noise),
            ("y", device.download(&y), noise),
            ("running moments", at(device, &statistics, running), noise),
            ("dx", device.download(&dx), 10.0 * noise),
            ("y joined", device.download(&joined), noise),
            ("dx joined", device.download(&dx_joined), 10.0 * noise),
            ("dz", device.download(&dz), 0.0),
            ("gradients", at(device, &gradients, slot), 10.0 * noise),
        ]
    }
}

#[derive(Debug)]
struct LayerNorm {
    rows: usize,
    channels: usize,
}

impl Case for LayerNorm {
    fn run<D: Device>(&self, device: &D) -> Results {
        let &Self { rows, channels } = self;
        let (values, slot) = parameters(2 * channels, 1);
        let (gamma, beta) = (Slot { len: channels, ..slot }, Slot { start: slot.start + channels, len: channels });
        let norm = LayerNormOptions { gamma, beta, epsilon: 1e-2 };
        let (values, mut gradients) = (device.arena(values.clone()), device.arena(vec![1.0; values.len()]));
        let [x, dy, onto] = [2, 3, 4].map(|seed| device.upload(&numbers(rows * channels, seed)));
        let (y, moments) = device.layer_norm(&norm, &x, &values);
        let dx = device.layer_norm_backward(&norm, &dy, &x, &moments, None, &values, &mut gradients);
        let added = device.layer_norm_backward(&norm, &dy, &x, &moments, Some(&onto), &values, &mut gradients);
        let noise = 256.0 * EPS * (1.0 + (rows.max(channels) as f64).sqrt());
        vec![
            ("y", device.download(&y), noise),
            ("dx", device.download(&dx), 10.0 * noise),
            ("dx onto", device.download(&added), 10.0 * noise),
            ("gradients", at(device, &gradients, slot), 10.0 * noise),
        ]
    }
}

#[derive(Debug)]
struct UnitRows {
    rows: usize,
    columns: usize,
}

impl Case for UnitRows {
    fn run<D: Device>(&self, device: &D) -> Results {
        let &Self { rows, columns } = self;
        let (mut weights, w) = parameters(rows * columns, 1);
        let mut x = numbers(rows * columns, 2);
        // A row of zeros has no direction.
        x[..columns].fill(0.0);
        weights[w.start..][..columns].fill(0.0);
        let (values, mut gradients) = (device.arena(weights.clone()), device.arena(vec![1.0; weights.len()]));
        let mut dy = numbers(rows * columns, 3);
        dy[..columns].fill(0.0);
        let dunit = device.arena(dy.clone());
        let (x, dy) = (device.upload(&x), device.upload(&dy));
        let (y, dx) = (device.unit_rows(&x, columns), device.unit_rows_backward(&dy, &x, columns));
        let unit = device.unit_weight(&values, w, columns);
        device.unit_weight_backward(&dunit, &values, &mut gradients, w, columns);
        // A row may be short, and then its gradient is large.
        vec![
            ("y", device.download(&y), 64.0 * EPS),
            ("dx", device.download(&dx), 1e-4),
            ("unit weight", device.host(&unit), 64.0 * EPS),
            ("dw", at(device, &gradients, w), 1e-4),
        ]
    }
}

#[derive(Debug)]
struct Attention(AttentionShape);

impl Case for Attention {
    fn run<D: Device>(&self, device: &D) -> Results {
        let Self(shape) = self;
        let (qkv, dy) = (numbers(3 * shape.output_len(), 1), numbers(shape.output_len(), 2));
        let (qkv, dy) = (device.upload(&qkv), device.upload(&dy));
        let (y, probabilities) = device.attention(shape, &qkv);
        let dqkv = device.attention_backward(shape, &dy, &qkv, &probabilities);
        let noise = 8.0 * EPS * (shape.width + shape.tokens + 64) as f64;
        vec![("y", device.download(&y), noise), ("dqkv", device.download(&dqkv), noise * (shape.width as f64).sqrt())]
    }

    // Probabilities and their gradients are rounded before they are multiplied.
    const ROUNDINGS: f64 = 4.0;
}

#[derive(Debug)]
struct Embedding {
    side: usize,
    from: Option<usize>,
    images: usize,
    channels: usize,
}

impl Case for Embedding {
    fn run<D: Device>(&self, device: &D) -> Results {
        let &Self { side, from, images, channels } = self;
        let (patches, learned) = (side * side, from.unwrap_or(side).pow(2));
        let (values, all) = parameters((3 + learned) * channels, 1);
        let part = |first: usize, len: usize| Slot { start: all.start + first * channels, len: len * channels };
        let slots = EmbeddingSlots { class: part(0, 1), bias: part(1, 1), positions: part(2, 1 + learned) };
        let (values, mut gradients) = (device.arena(values.clone()), device.arena(vec![1.0; values.len()]));
        let resampling = from.map(|_| device.arena(numbers(patches * learned, 2)));
        let x = device.upload(&numbers(patches * images * channels, 3));
        let dy = device.upload(&numbers((1 + patches) * images * channels, 4));
        let y = device.embed_patches(&slots, &x, &values, resampling.as_ref());
        let dx = device.embed_patches_backward(&slots, &dy, &mut gradients, resampling.as_ref());
        let noise = 16.0 * EPS * (images * patches + learned) as f64;
        vec![
            ("y", device.download(&y), noise),
            ("dx", device.download(&dx), 0.0),
            ("gradients", at(device, &gradients, all), noise),
        ]
    }
}

#[derive(Debug)]
struct Elementwise {
    tokens: usize,
    images: usize,
    channels: usize,
}

impl Case for Elementwise {
    fn run<D: Device>(&self, device: &D) -> Results {
        let &Self { tokens, images, channels } = self;
        let len = tokens * images * channels;
        let wide: Vec<f32> = numbers(len, 1).iter().map(|x| bf16::from_f32(6.0 * x).to_f32()).collect();
        let [a, b] = [2, 3].map(|seed| device.upload(&numbers(len, seed)));
        let (x, scales) = (device.upload(&wide), numbers(images, 4));
        let y = device.relu(&x);
        let down = |buffer: &D::Buffer| device.download(buffer);
        vec![
            ("relu", down(&y), 0.0),
            ("relu backward", down(&device.relu_backward(&a, &y)), 0.0),
            ("gelu", down(&device.gelu(&x)), 8.0 * EPS),
            ("gelu backward", down(&device.gelu_backward(&a, &x)), 8.0 * EPS),
            ("add", down(&device.add(&a, &b)), EPS),
            ("scale images", down(&device.scale_images(&a, &scales, None, channels)), EPS),
            ("scale images onto", down(&device.scale_images(&a, &scales, Some(&b), channels)), EPS),
            ("slice", down(&device.slice(&a, len / 3..len)), 0.0),
            ("concat", down(&device.concat(&a, &device.slice(&b, 0..len / 2))), 0.0),
            ("first backward", down(&device.first_backward(&a, len + 11)), 0.0),
        ]
    }
}

#[derive(Debug)]
struct Pooling(PoolShape);

impl Case for Pooling {
    fn run<D: Device>(&self, device: &D) -> Results {
        let Self(shape) = self;
        // Few different values, so that ties are common.
        let x: Vec<f32> = numbers(shape.input_len(), 1).iter().map(|x| (3.0 * x).round()).collect();
        let (x, dy) = (device.upload(&x), device.upload(&numbers(shape.output_len(), 2)));
        let (y, places) = device.max_pool(shape, &x);
        let dx = device.max_pool_backward(shape, &dy, &places);
        let pixels = shape.height * shape.width;
        let means = device.average_pool(&x, shape.batch, shape.channels);
        let spread = device.average_pool_backward(&means, pixels, shape.batch, shape.channels);
        vec![
            ("maxima", device.download(&y), 0.0),
            ("dx of maxima", device.download(&dx), 16.0 * EPS),
            ("means", device.download(&means), EPS * pixels as f64),
            ("dx of means", device.download(&spread), EPS * pixels as f64),
        ]
    }

    // The gradient of the means starts from the rounded means.
    const ROUNDINGS: f64 = 2.0;
}

#[derive(Debug)]
struct Regions {
    shape: RoiShape,
    regions: usize,
}

impl Case for Regions {
    fn run<D: Device>(&self, device: &D) -> Results {
        let Self { shape, regions } = self;
        let mut stream = Key::root(3).split("regions").stream();
        let (width, height) = (shape.width as f32 / shape.scale, shape.height as f32 / shape.scale);
        let regions: Vec<Region> = (0..*regions)
            .map(|index| {
                let (x, y) = (stream.range(-0.3, 1.1) * width, stream.range(-0.3, 1.1) * height);
                let (w, h) = (stream.range(0.0, 1.2) * width, stream.range(0.0, 1.2) * height);
                let w = if index % 5 == 4 { 0.0 } else { w };
                Region { image: (7 * index + 3) % shape.batch, edges: [x, y, x + w, y + h] }
            })
            .collect();
        let x = device.upload(&numbers(shape.input_len(), 1));
        let dy = device.upload(&numbers(shape.output_len(regions.len()), 2));
        let y = device.roi_align(shape, &x, &regions);
        let dx = device.roi_align_backward(shape, &dy, &regions);
        // Coordinates far from zero have large units, which weights inherit.
        vec![("y", device.download(&y), 1e-4), ("dx", device.download(&dx), 1e-3)]
    }
}

#[derive(Debug)]
struct Step {
    lens: Vec<usize>,
    updates: Vec<Update>,
    arenas: usize,
}

impl Case for Step {
    fn run<D: Device>(&self, device: &D) -> Results {
        let (mut slots, mut start) = (Vec::new(), 5);
        for &len in &self.lens {
            slots.push(Slot { start, len });
            start += len + 2;
        }
        let all = Slot { start: 0, len: start };
        let arena = |seed| device.arena(numbers(start, seed));
        let positive = |seed| device.arena(numbers(start, seed).iter().map(|x| x.abs()).collect());
        let (mut values, mut gradients, mut target) = (arena(1), arena(2), arena(3));
        let mut state: Vec<D::Arena> = [arena(4), positive(5)].into_iter().take(self.arenas).collect();
        device.clip(&slots, &mut gradients, 2.0);
        let updates: Vec<(Slot, Update)> = slots.iter().copied().zip(self.updates.iter().copied()).collect();
        for _ in 0..2 {
            device.update(&updates, &mut values, &gradients, &mut state.iter_mut().collect::<Vec<_>>());
        }
        device.average(slots[0], &mut target, &values, 0.99);
        let rest = Slot { start: slots[0].start + slots[0].len, len: 3 };
        device.write(&mut target, rest, &device.arena(vec![0.5, 0.25, 0.125]));
        device.clear(&mut gradients, slots[0]);
        let mut results = vec![
            ("values", at(device, &values, all), 16.0 * EPS),
            ("clipped gradients", at(device, &gradients, all), 4.0 * EPS),
            ("target", at(device, &target, all), 4.0 * EPS),
        ];
        results.extend(state.iter().map(|state| ("state", at(device, state, all), 16.0 * EPS)));
        results
    }
}

/// A kernel, a stride and a padding.
fn windows() -> impl Strategy<Value = (usize, usize, usize)> {
    prop_oneof![Just((1, 1, 0)), Just((1, 2, 0)), Just((3, 1, 1)), Just((3, 2, 1)), Just((2, 2, 0)), Just((7, 2, 3))]
}

fn convolutions() -> impl Strategy<Value = ConvShape> {
    let sizes = (1..20usize, 3..8usize, 3..8usize, 1..24usize, 1..24usize);
    (prop_oneof![Just(Layout::Images), Just(Layout::Maps)], sizes, windows(), any::<bool>()).prop_map(
        |(layout, (batch, height, width, i, o), (kernel, stride, padding), aligned)| {
            // Multiples of eight run on tensor cores.
            let [in_channels, out_channels] = if aligned { [8 * i.div_ceil(8), 8 * o.div_ceil(8)] } else { [i, o] };
            ConvShape { layout, batch, height, width, in_channels, out_channels, kernel, stride, padding }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_are_like_the_cpu_s(shape in convolutions()) {
        assert_like_cpu(&Convolution(shape));
    }

    #[test]
    fn linear_maps_are_like_the_cpu_s(rows in 1..150usize, inputs in 1..40usize, outputs in 1..150usize, aligned: bool) {
        let [inputs, outputs] = if aligned { [8 * inputs.div_ceil(8), 8 * outputs.div_ceil(8)] } else { [inputs, outputs] };
        assert_like_cpu(&LinearMap { rows, inputs, outputs });
    }

    #[test]
    fn batch_norms_are_like_the_cpu_s(
        rows in 2..300usize,
        channels in 1..70usize,
        rectify: bool,
        affine: bool,
        norms in prop_oneof![Just(Norms::Trained), Just(Norms::FrozenMoments), Just(Norms::Frozen)],
    ) {
        assert_like_cpu(&BatchNorm { rows, channels, rectify, affine, norms });
    }

    #[test]
    fn layer_norms_are_like_the_cpu_s(rows in 1..100usize, channels in 2..70usize) {
        assert_like_cpu(&LayerNorm { rows, channels });
    }

    #[test]
    fn unit_rows_are_like_the_cpu_s(rows in 1..20usize, columns in 2..90usize) {
        assert_like_cpu(&UnitRows { rows, columns });
    }

    #[test]
    fn attention_is_like_the_cpu_s(tokens in 1..20usize, batch in 1..3usize, heads in 1..3usize, width in 1..12usize) {
        assert_like_cpu(&Attention(AttentionShape { tokens, batch, heads, width }));
    }

    #[test]
    fn embedded_patches_are_like_the_cpu_s(side in 1..5usize, from in proptest::option::of(1..4usize), images in 1..6usize, channels in 1..40usize) {
        assert_like_cpu(&Embedding { side, from, images, channels });
    }

    #[test]
    fn elementwise_operations_are_like_the_cpu_s(tokens in 1..5usize, images in 1..6usize, channels in 1..60usize) {
        assert_like_cpu(&Elementwise { tokens, images, channels });
    }

    #[test]
    fn pooling_is_like_the_cpu_s(batch in 1..4usize, height in 3..10usize, width in 3..10usize, channels in 1..9usize, kernel in 2..4usize, stride in 1..4usize) {
        assert_like_cpu(&Pooling(PoolShape { batch, height, width, channels, kernel, stride, padding: kernel / 2 }));
    }

    #[test]
    fn regions_are_like_the_cpu_s(batch in 1..3usize, height in 2..9usize, width in 2..9usize, channels in 1..40usize, samples in 0..3usize, regions in 1..7usize) {
        let shape = RoiShape { batch, height, width, channels, side: 3, scale: 0.25, samples };
        assert_like_cpu(&Regions { shape, regions });
    }
}

#[test]
fn convolutions_of_networks_are_like_the_cpu_s() {
    let shape = |batch, size, in_channels, out_channels, kernel, stride| ConvShape {
        layout: if in_channels == 3 { Layout::Images } else { Layout::Maps },
        batch,
        height: size,
        width: size,
        in_channels,
        out_channels,
        kernel,
        stride,
        padding: kernel / 2,
    };
    assert_like_cpu(&Convolution(shape(5, 8, 3, 16, 7, 2))); // a stem
    assert_like_cpu(&Convolution(shape(130, 3, 8, 136, 3, 1))); // several tiles of rows and of columns
    assert_like_cpu(&Convolution(shape(40, 4, 72, 64, 1, 1))); // one segment; sums over rows in several pieces
    assert_like_cpu(&Convolution(shape(3, 5, 64, 32, 1, 2))); // a projection that skips positions
}

#[test]
fn attention_of_transformers_is_like_the_cpu_s() {
    // Whole tiles of eight channels; one token more than a tile has.
    assert_like_cpu(&Attention(AttentionShape { tokens: 17, batch: 2, heads: 3, width: 32 }));
    assert_like_cpu(&Attention(AttentionShape { tokens: 65, batch: 1, heads: 2, width: 64 }));
}

#[test]
fn steps_of_optimisers_are_like_the_cpu_s() {
    let lens = vec![1, 300, 9000, 17];
    let sgd = |trust, nesterov| Update::Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov, trust };
    let updates = vec![sgd(None, false), sgd(Some(0.02), true), sgd(Some(0.001), false), sgd(None, true)];
    assert_like_cpu(&Step { lens: lens.clone(), updates, arenas: 1 });
    let adamw = |weight_decay, step| Update::AdamW {
        learning_rate: 0.1,
        betas: (0.9, 0.99),
        epsilon: 1e-4,
        weight_decay,
        step,
    };
    let updates = vec![adamw(0.0, 1), adamw(0.1, 3), adamw(0.1, 3), adamw(0.0, 2)];
    assert_like_cpu(&Step { lens, updates, arenas: 2 });
}

#[test]
fn numbers_between_two_of_bf16_are_rounded_to_even() {
    let Some(device) = gpu(Precision::Bf16) else { return };
    // 1 + 2^-8 lies between 1 and 1 + 2^-7; nine numbers are one for each place of a vector, and one after it.
    let (a, b) = ([1.0, 1.0078125, -1.0, -1.0078125, 1.0, 2.0, 1.0, 1.0, 1.0078125], 0.00390625);
    let b = [b, b, -b, -b, 0.002, 2.0 * b, 0.006, -b, b];
    let sums = device.download(&device.add(&device.upload(&a), &device.upload(&b)));
    let rounded = |(a, b): (&f32, &f32)| bf16::from_f32(a + bf16::from_f32(*b).to_f32()).to_f32();
    assert_eq!(sums, a.iter().zip(&b).map(rounded).collect::<Vec<_>>());
    assert_eq!(sums[..2], [1.0, 1.015625]);
}

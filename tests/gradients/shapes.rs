//! Maps that are not square, sides known at run time, frozen normalisation, and the maps of regions.

use sempair::models::{Encoder, ImageNetStem, ModelSpec, Pixels, ResNetSmall, SmallStem, Stem, open};
use sempair::nn::{
    BatchNorm, BatchNormRelu, Block, Conv2d, GlobalAveragePool, Identity, Layer, MaxPool, Parameters, RoiAlign,
};
use sempair::rng::Key;
use sempair::tensor::{Const, Cpu, Images, Maps, Norms, Region, Tensor};

use super::{F32, SmallVit, built, check, check_bf16, check_with, dot, images, maps, normals};

fn sized<const C: usize>(batch: usize, height: usize, width: usize) -> Maps<C, usize> {
    (batch, Const, height, width)
}

#[test]
fn maps_that_are_not_square_agree_with_finite_differences() {
    let constant: Maps<4, Const<7>, Const<4>> = (3, Const, Const, Const);
    check::<Conv2d<4, 6, 3, 2>, _>(constant, 1e-3);
    check::<MaxPool, _>(constant, 1e-2);
    check::<Conv2d<4, 6, 3, 2>, _>(sized::<4>(3, 4, 9), 1e-3);
    check::<Conv2d<32, 32, 3, 1>, _>(sized::<32>(9, 11, 14), 2e-3); // by Winograd's method
    check::<BatchNormRelu<5>, _>(sized::<5>(4, 2, 5), 1e-2);
    check::<MaxPool, _>(sized::<3>(2, 5, 8), 1e-2);
    check::<GlobalAveragePool, _>(sized::<4>(3, 2, 5), 1e-3);
    let wide: Images<Const<16>, Const<24>> = (3, Const, Const, Const);
    check::<ResNetSmall<ImageNetStem<32>>, _>(wide, 2e-2);
    let patches: Images<usize> = (3, 8, 12, Const);
    check::<SmallVit, _>(patches, 6e-3);
}

#[test]
fn convolutions_with_bias_agree_with_finite_differences() {
    check::<Conv2d<4, 6, 3, 2, true>, _>(maps::<4, 7>(3), 1e-3);
    check::<Conv2d<17, 33, 1, 1, true>, _>(sized::<17>(2, 4, 3), 1e-3);
    check::<Conv2d<32, 32, 3, 1, true>, _>(sized::<32>(9, 11, 14), 2e-3); // by Winograd's method
    check_bf16::<Conv2d<4, 6, 3, 2, true>, _>(maps::<4, 7>(3), 1e-2);
    check_bf16::<Conv2d<32, 32, 3, 1, true>, _>(sized::<32>(9, 11, 14), 1e-2);
    let (_, p) = built::<Conv2d<4, 6, 3, 2, true>>(&F32, &mut Key::root(0).stream());
    let names: Vec<&str> = p.layout.entries.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["conv1.weight", "conv1.bias"]);
}

#[test]
fn sides_known_at_run_time_change_no_bits() {
    let mut stream = Key::root(1).stream();
    let pixels = normals(&mut stream, 3 * 16 * 16 * 3);
    let constant = Tensor::upload(&F32, images::<16>(3), &pixels);
    let at_run_time: Images<usize> = (3, 16, 16, Const);
    let at_run_time = Tensor::upload(&F32, at_run_time, &pixels);
    let (network, mut p) = built::<ResNetSmall<SmallStem<32, 2>>>(&F32, &mut stream);
    let mut q = p.clone();
    let (y, saved) = network.forward(constant.clone(), &mut p);
    let (z, also_saved) = network.forward(at_run_time.clone(), &mut q);
    assert_eq!(y.download(), z.download());
    let dx = network.backward(saved, y.clone(), &mut p).download();
    assert_eq!(dx, network.backward(also_saved, y, &mut q).download());
    assert_eq!((p.gradients, p.statistics), (q.gradients, q.statistics));
    let (vit, p) = built::<SmallVit>(&F32, &mut stream);
    assert_eq!(vit.infer(constant, &p).download(), vit.infer(at_run_time, &p).download());
}

/// Freezes the normalisations, with running moments that are not those of the batch.
fn freeze(norms: Norms) -> impl FnOnce(&mut Parameters<Cpu>) {
    move |p| {
        let mut stream = Key::root(2).stream();
        for entry in p.layout.entries.iter().filter(|entry| entry.name.contains("running")) {
            let (low, high) = if entry.name.contains("mean") { (-0.2, 0.2) } else { (0.5, 1.5) };
            p.statistics[entry.slot.start..][..entry.slot.len].fill_with(|| stream.range(low, high));
        }
        p.norms = norms;
    }
}

#[test]
fn frozen_normalisations_agree_with_finite_differences() {
    type Joined = Block<Conv2d<4, 4, 3, 1>, Identity, 4>;
    check_with::<BatchNorm<5>, _>(maps::<5, 3>(4), 1e-3, 8, freeze(Norms::FrozenMoments));
    check_with::<BatchNormRelu<5>, _>(maps::<5, 3>(4), 1e-2, 8, freeze(Norms::FrozenMoments));
    check_with::<Joined, _>(maps::<4, 6>(2), 1e-2, 8, freeze(Norms::FrozenMoments));
    check_with::<ResNetSmall<SmallStem<32, 2>>, _>(images::<16>(4), 2e-2, 8, freeze(Norms::FrozenMoments));
}

/// A frozen network trains as it evaluates, its running moments do not move, and with [`Norms::Frozen`] scales and shifts
/// have no gradient, while all other gradients are the same.
#[test]
fn frozen_normalisations_stay_as_they_are() {
    let mut stream = Key::root(3).stream();
    let (network, mut p) = built::<ResNetSmall<SmallStem<32, 2>>>(&F32, &mut stream);
    let x = Tensor::upload(&F32, images::<16>(4), &normals(&mut stream, 4 * 16 * 16 * 3));
    let gradients = |norms: Norms, p: &mut Parameters<Cpu>| {
        freeze(norms)(p);
        p.clear_gradients();
        let before = p.statistics.clone();
        let (y, saved) = network.forward(x.clone(), p);
        assert_eq!(y.download(), network.infer(x.clone(), p).download());
        network.backward_parameters(saved, y, p);
        assert_eq!(p.statistics, before);
        p.gradients.clone()
    };
    let (moments, all) = (gradients(Norms::FrozenMoments, &mut p), gradients(Norms::Frozen, &mut p));
    let mut norms = 0;
    for entry in p.layout.entries.iter().filter(|entry| !entry.name.contains("running")) {
        let [moments, all] = [&moments, &all].map(|g| &g[entry.slot.start..][..entry.slot.len]);
        if entry.shape.len() == 1 {
            norms += 1;
            assert!(all.iter().all(|g| *g == 0.0) && moments.iter().any(|g| *g != 0.0), "{}", entry.name);
        } else {
            assert_eq!(all, moments, "{}", entry.name);
        }
    }
    assert_eq!(norms, 2 * 9);
}

#[test]
fn encoders_take_images_that_are_not_square() {
    let pixels = normals(&mut Key::root(4).stream(), 2 * 16 * 24 * 3);
    let images = Pixels { values: &pixels, height: 16, width: 24 };
    let resnet = ModelSpec { encoder: Encoder::ResnetSmall, stem: Stem::Half, image: 32, drop_path: 0.0 };
    for spec in [resnet, ModelSpec { encoder: Encoder::VitMini, stem: Stem::Patch8, ..resnet }] {
        let backbone = open(&spec, &F32, Key::root(5)).unwrap();
        let features = backbone.encoder().infer(images, &backbone.parameters());
        assert_eq!(features.shape(), (2, backbone.encoder().width()));
        assert!(features.download().iter().all(|feature| feature.is_finite()));
    }
}

/// The maps of regions are linear in the maps of images, so <y(x), dy> = <x, dx(dy)>.
#[test]
fn the_gradient_of_regions_is_the_transpose_of_their_maps() {
    let mut stream = Key::root(4).stream();
    let align = RoiAlign { side: 3, stride: 4, samples: 0 };
    let shape = sized::<5>(2, 6, 9);
    let region = |image, edges| Region { image, edges };
    let regions =
        [region(1, [3.0, 2.0, 30.5, 17.0]), region(0, [-4.0, 6.0, 12.0, 40.0]), region(1, [8.0, 8.0, 12.0, 12.0])];
    let x = normals(&mut stream, 2 * 5 * 6 * 9);
    let y = align.forward(&Tensor::upload(&F32, shape, &x), &regions);
    assert_eq!(y.shape(), (3, Const, 3, 3));
    let dy = normals(&mut stream, 3 * 5 * 9);
    let dx = align.backward(shape, &Tensor::upload(&F32, y.shape(), &dy), &regions);
    let (forward, backward) = (dot(&y.download(), &dy), dot(&x, &dx.download()));
    assert!((forward - backward).abs() < 1e-4 * forward.abs().max(1.0), "{forward} is not {backward}");
}

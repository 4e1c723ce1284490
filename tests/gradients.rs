//! Gradients of every layer, of whole networks and of the losses: against finite differences, dfdx in f64, and PyTorch.

mod detector; // both stages, and which parameters learn
mod heads; // the layers of the methods' heads
mod optimizers; // against PyTorch, and the parameters that each leaves unchanged
mod shapes; // maps that are not square, sizes known at run time, and the maps of regions
mod vit; // stochastic depth, and images with another side

use dfdx::prelude::{AsArray, Backward, Cpu as DfdxCpu, Dtype, Tensor as DfdxTensor, Trace};
use dfdx::tensor::TensorFromVec;
use sempair::methods::{Method, MethodBatch, Size, Start, StepInfo, nt_xent, nt_xent_in_closed_form, simclr};
use sempair::models::{BasicBlock, Bottleneck, Encoder, ImageNetStem, ModelSpec, ResNetSmall, SmallStem, Stem, Vit};
use sempair::nn::{
    Attention, BatchNorm, BatchNormRelu, Block, Build, Builder, Conv2d, Gelu, GlobalAveragePool, Identity, Layer,
    LayerNorm, Linear, MaxPool, Parameters, PixelConv2d, Relu, TransformerBlock,
};
use sempair::optim::{Optimizer, ParamOverrides, Recipe, Rule, StepRates};
use sempair::rng::{Key, Stream};
use sempair::tensor::{Const, Cpu, Images, Maps, Precision, Shape, Tensor, Vectors};

const F32: Cpu = Cpu { precision: Precision::F32 };
const BF16: Cpu = Cpu { precision: Precision::Bf16 };

fn normals(stream: &mut Stream, len: usize) -> Vec<f32> {
    (0..len).map(|_| stream.normal()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn moved(x: &[f32], direction: &[f32], h: f32) -> Vec<f32> {
    x.iter().zip(direction).map(|(x, d)| x + h * d).collect()
}

/// A layer whose parameters are moved from their initial values, so that scales differ from 1 and shifts from 0. A
/// transformer's positions are for images of 8x8 pixels.
fn built<L: Build>(device: &Cpu, stream: &mut Stream) -> (L, Parameters<Cpu>) {
    built_for(8, device, stream)
}

/// Same as [`built`], for images of another side.
fn built_for<L: Build>(side: usize, device: &Cpu, stream: &mut Stream) -> (L, Parameters<Cpu>) {
    let key = Key::root(7);
    let mut builder = Builder::new(&key);
    builder.set_images(side, side);
    let layer = L::build(&mut builder);
    let mut parameters = builder.finish(device);
    parameters.values.iter_mut().for_each(|value| *value += 0.1 * stream.normal());
    (layer, parameters)
}

/// For L = sum(y * weight), compares the derivatives along random directions of input and parameters by `backward`
/// and by central differences. Directions are scaled to length 1, so a step of `h` changes L by about `h`. The
/// difference of two sums in f32 is then accurate to a few 1e-4 of the gradient's length, including kinks and
/// curvature.
fn check<L, S>(shape: S, tolerance: f64)
where
    L: Build + Layer<Cpu, S>,
    S: Shape,
{
    check_with::<L, S>(shape, tolerance, 8, |_| {});
}

/// Same as [`check`], for a network for images of another side, and after `change` of the parameters.
fn check_with<L, S>(shape: S, tolerance: f64, side: usize, change: impl FnOnce(&mut Parameters<Cpu>))
where
    L: Build + Layer<Cpu, S>,
    S: Shape,
{
    let mut stream = Key::root(7).split("check").stream();
    let (layer, mut parameters) = built_for::<L>(side, &F32, &mut stream);
    change(&mut parameters);
    let x = normals(&mut stream, shape.num_elements());
    let run = |x: &[f32], p: &mut Parameters<Cpu>| layer.forward(Tensor::upload(&F32, shape, x), p);
    let (y, saved) = run(&x, &mut parameters);
    let weight = normals(&mut stream, y.shape().num_elements());
    let dy = Tensor::upload(&F32, y.shape(), &weight);
    let dx = layer.backward(saved, dy.clone(), &mut parameters).download();
    let gradients = parameters.gradients.clone();

    // `backward_onto` adds the input's gradient to another gradient.
    let onto = normals(&mut stream, x.len());
    let (_, saved) = run(&x, &mut parameters.clone());
    let sum = layer.backward_onto(saved, dy.clone(), Tensor::upload(&F32, shape, &onto), &mut parameters.clone());
    for (sum, (dx, onto)) in sum.download().iter().zip(dx.iter().zip(&onto)) {
        assert!((sum - dx - onto).abs() <= 1e-5 * (1.0 + dx.abs()), "{sum} is not {dx} + {onto}");
    }

    // Parameter gradients accumulate: a second backward pass doubles them, even without the input's gradient.
    let (_, saved) = run(&x, &mut parameters);
    layer.backward_parameters(saved, dy, &mut parameters);
    for (twice, once) in parameters.gradients.iter().zip(&gradients) {
        assert!((twice - 2.0 * once).abs() <= 1e-4 * (1.0 + once.abs()), "{twice} is not twice {once}");
    }

    let h = 1e-2;
    for _ in 0..4 {
        let length = |v: &[f32]| dot(v, v).sqrt();
        let mut direction = normals(&mut stream, x.len());
        let norm = length(&direction) as f32;
        direction.iter_mut().for_each(|d| *d /= norm);
        let at = |x: &[f32], p: &mut Parameters<Cpu>| dot(&run(x, p).0.download(), &weight);
        let up = at(&moved(&x, &direction, h), &mut parameters);
        let down = at(&moved(&x, &direction, -h), &mut parameters);
        let (numeric, exact) = ((up - down) / f64::from(2.0 * h), dot(&dx, &direction));
        assert!((numeric - exact).abs() < tolerance * (1.0 + length(&dx)), "input: {numeric} by differences, {exact}");

        if gradients.is_empty() {
            continue;
        }
        let mut direction = normals(&mut stream, gradients.len());
        let norm = length(&direction) as f32;
        direction.iter_mut().for_each(|d| *d /= norm);
        let mut shifted = parameters.clone();
        shifted.values = moved(&parameters.values, &direction, h);
        let up = at(&x, &mut shifted);
        shifted.values = moved(&parameters.values, &direction, -h);
        let down = at(&x, &mut shifted);
        let (numeric, exact) = ((up - down) / f64::from(2.0 * h), dot(&gradients, &direction));
        let bound = tolerance * (1.0 + length(&gradients));
        assert!((numeric - exact).abs() < bound, "parameters: {numeric} by differences, {exact}");
    }
}

/// In bf16 the result and all gradients agree with those in f32: the length of the difference is at most `tolerance`
/// of the length. A number has 8 bits, so each rounding changes it by up to 1 / 512 of its value. The inputs are
/// rounded for both, so that a layer's own ReLU or maximum decides the same way.
fn check_bf16<L, S>(shape: S, tolerance: f64)
where
    L: Build + Layer<Cpu, S>,
    S: Shape,
{
    check_bf16_for::<L, S>(8, shape, tolerance);
}

/// Same as [`check_bf16`], for a network for images of another side.
fn check_bf16_for<L, S>(side: usize, shape: S, tolerance: f64)
where
    L: Build + Layer<Cpu, S>,
    S: Shape,
{
    fn rounded<S: Shape>(device: &Cpu, shape: S, stream: &mut Stream) -> Tensor<S, Cpu> {
        let values = normals(stream, shape.num_elements());
        Tensor::upload(device, shape, &Tensor::upload(&BF16, shape, &values).download())
    }
    let run = |device: Cpu| {
        let mut stream = Key::root(8).split("bf16").stream();
        let (layer, mut parameters) = built_for::<L>(side, &device, &mut stream);
        let x = rounded(&device, shape, &mut stream);
        let (y, saved) = layer.forward(x.clone(), &mut parameters);
        let dx = layer.backward(saved, rounded(&device, y.shape(), &mut stream), &mut parameters).download();
        let evaluated = layer.infer(x, &parameters).download();
        [y.download(), dx, parameters.gradients, evaluated]
    };
    for (what, (rounded, exact)) in
        ["result", "input", "parameters", "evaluation"].iter().zip(run(BF16).iter().zip(&run(F32)))
    {
        let difference = moved(rounded, exact, -1.0);
        let (error, length) = (dot(&difference, &difference).sqrt(), dot(exact, exact).sqrt());
        assert!(error <= tolerance * length, "{what}: {error:.3e} of {length:.3e}");
    }
}

fn images<const S: usize>(batch: usize) -> Images<Const<S>> {
    (batch, Const, Const, Const)
}

fn maps<const C: usize, const S: usize>(batch: usize) -> Maps<C, Const<S>> {
    (batch, Const, Const, Const)
}

fn vectors<const C: usize>(batch: usize) -> Vectors<C> {
    (batch, Const)
}

#[test]
fn convolutions() {
    check::<PixelConv2d<5, 3, 1>, _>(images::<7>(2), 1e-3);
    check::<PixelConv2d<8, 7, 2>, _>(images::<16>(2), 1e-3);
    check::<Conv2d<3, 5, 3, 1>, _>(maps::<3, 7>(2), 1e-3);
    check::<Conv2d<4, 6, 3, 2>, _>(maps::<4, 7>(3), 1e-3);
    check::<Conv2d<16, 32, 1, 1>, _>(maps::<16, 4>(2), 1e-3);
    check::<Conv2d<17, 33, 1, 2>, _>(maps::<17, 4>(2), 1e-3);
    check::<Conv2d<32, 32, 3, 1>, _>(maps::<32, 2>(5), 1e-3);
}

#[test]
fn linear_and_normalisation() {
    check::<Linear<13, 7>, _>(vectors::<13>(5), 1e-3);
    check::<BatchNorm<6>, _>(vectors::<6>(9), 2e-3);
    check::<BatchNorm<5>, _>(maps::<5, 3>(4), 2e-3);
    check::<BatchNormRelu<6>, _>(vectors::<6>(9), 1e-2);
    check::<BatchNormRelu<5>, _>(maps::<5, 3>(4), 1e-2);
}

#[test]
fn activations_and_pooling() {
    // A step of 0.01 along a unit direction crosses few of the kinks.
    check::<Relu, _>(vectors::<40>(8), 1e-2);
    check::<MaxPool, _>(maps::<3, 7>(2), 1e-2);
    check::<GlobalAveragePool, _>(maps::<4, 3>(3), 1e-3);
    check::<Identity, _>(vectors::<3>(2), 1e-3);
}

#[test]
fn blocks_and_networks() {
    check::<Block<Conv2d<4, 4, 3, 1>, Identity, 4>, _>(maps::<4, 6>(2), 1e-2);
    check::<Block<Conv2d<4, 6, 3, 2>, (Conv2d<4, 6, 1, 2>, BatchNorm<6>), 6>, _>(maps::<4, 6>(2), 1e-2);
    check::<BasicBlock<8>, _>(maps::<8, 4>(4), 1e-2);
    check::<Bottleneck<4, 16>, _>(maps::<16, 4>(4), 1e-2);
    check::<ImageNetStem<8>, _>(images::<16>(4), 2e-2);
    check::<ResNetSmall<SmallStem<32, 2>>, _>(images::<16>(4), 2e-2);
}

#[test]
fn layers_in_bf16_agree_with_f32() {
    check_bf16::<PixelConv2d<8, 3, 2>, _>(images::<16>(2), 1e-2);
    check_bf16::<Conv2d<16, 32, 1, 2>, _>(maps::<16, 4>(2), 1e-2);
    check_bf16::<Conv2d<32, 32, 3, 1>, _>(maps::<32, 4>(3), 1e-2);
    check_bf16::<Linear<33, 17>, _>(vectors::<33>(9), 1e-2);
    check_bf16::<BatchNorm<6>, _>(maps::<6, 4>(8), 1e-2);
    check_bf16::<BatchNormRelu<6>, _>(vectors::<6>(64), 2e-2);
    check_bf16::<Relu, _>(vectors::<40>(8), 1e-2);
    check_bf16::<MaxPool, _>(maps::<3, 7>(2), 1e-2);
    check_bf16::<GlobalAveragePool, _>(maps::<4, 3>(3), 1e-2);
    // Here a convolution's rounding comes before the ReLU and changes a few of its decisions.
    check_bf16::<Block<Conv2d<8, 8, 3, 1>, Identity, 8>, _>(maps::<8, 6>(4), 6e-2);
}

/// Maps are stored position by position, images one after the other. A convolution of the same pixels gives the same
/// result in both layouts, and the result of one image of a batch does not depend on the others.
#[test]
fn layouts_keep_images_apart() {
    const SIDE: usize = 16;
    const BATCH: usize = 3;
    let mut stream = Key::root(9).stream();
    let (first, p) = built::<PixelConv2d<8, 7, 2>>(&F32, &mut stream);
    let (conv, q) = built::<Conv2d<3, 8, 7, 2>>(&F32, &mut Key::root(9).stream());
    assert_eq!(p.values, q.values);
    let pixels = normals(&mut stream, BATCH * SIDE * SIDE * 3);
    let positions = (0..SIDE * SIDE).flat_map(|position| (0..BATCH).map(move |n| n * SIDE * SIDE + position));
    let as_maps: Vec<f32> = positions.flat_map(|pixel| pixels[3 * pixel..][..3].to_vec()).collect();
    let y = first.infer(Tensor::upload(&F32, images::<SIDE>(BATCH), &pixels), &p).download();
    let expected = conv.infer(Tensor::upload(&F32, maps::<3, SIDE>(BATCH), &as_maps), &q).download();
    assert_eq!(y, expected);

    let (network, p) = built::<ResNetSmall<ImageNetStem<32>>>(&F32, &mut stream);
    let features =
        |pixels: &[f32], batch| network.infer(Tensor::upload(&F32, images::<SIDE>(batch), pixels), &p).download();
    let apart: Vec<f32> = pixels.chunks(SIDE * SIDE * 3).flat_map(|image| features(image, 1)).collect();
    for (together, apart) in features(&pixels, BATCH).iter().zip(&apart) {
        assert!((together - apart).abs() <= 1e-4 * (1.0 + apart.abs()), "{together} in a batch, {apart} alone");
    }
}

/// A transformer for 8x8 pixels in patches of 4x4.
type SmallVit = Vit<4, 12, 3, 20, 2>;

#[test]
fn transformers() {
    let tokens = (3, Const::<5>, Const::<12>);
    check::<LayerNorm<12>, _>(tokens, 2e-3);
    check::<Gelu, _>(tokens, 2e-3);
    check::<Linear<12, 7>, _>(tokens, 2e-3);
    check::<Attention<12, 3>, _>(tokens, 2e-3);
    check::<TransformerBlock<12, 3, 20>, _>(tokens, 4e-3);
    check::<SmallVit, _>(images::<8>(3), 6e-3);
    check_bf16::<TransformerBlock<12, 3, 20>, _>(tokens, 4e-2);
}

/// The features of a vision transformer whose weights are computed from their names, against timm's:
/// ```python
/// import timm, torch
/// net = timm.models.vision_transformer.VisionTransformer(
///     img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2, num_classes=0).double().eval()
/// for name, p in net.named_parameters():
///     i = torch.arange(p.numel(), dtype=torch.float64)
///     values = 0.2 * torch.sin(0.7 * i + sum(name.encode()))
///     p.data = (values + (1 if "norm" in name and "weight" in name else 0)).reshape(p.shape)
/// x = torch.sin(0.3 * torch.arange(2 * 3 * 32 * 32, dtype=torch.float64)).reshape(2, 32, 32, 3)
/// print(net(x.permute(0, 3, 1, 2))[:, ::4])
/// ```
#[test]
fn a_vision_transformer_agrees_with_timm() {
    let expected = [
        [-0.653707, 0.694387, -0.550193, -0.0738, -0.91244, 2.315516],
        [-0.655599, 0.697053, -0.549828, -0.078048, -0.90757, 2.31253],
    ];
    let (network, mut p) = built_for::<Vit<8, 24, 3, 48, 2>>(32, &F32, &mut Key::root(0).stream());
    for entry in p.layout.entries.clone() {
        let start = entry.name.bytes().map(f64::from).sum::<f64>();
        let scale = if entry.name.contains("norm") && entry.name.contains("weight") { 1.0 } else { 0.0 };
        let value = |i: usize| (scale + 0.2 * (0.7 * i as f64 + start).sin()) as f32;
        for at in 0..entry.slot.len {
            // A kernel is (O, I, K, K) by its shape and (O, K, K, I) in memory.
            let logical = match entry.shape[..] {
                [_, inputs, height, width] => {
                    let (pixel, input) = (at / inputs % (height * width), at % inputs);
                    (at / (inputs * height * width) * inputs + input) * height * width + pixel
                }
                _ => at,
            };
            p.values[entry.slot.start + at] = value(logical);
        }
    }
    let pixels: Vec<f32> = (0..2 * 3 * 32 * 32).map(|i| (0.3 * f64::from(i)).sin() as f32).collect();
    let features = network.infer(Tensor::upload(&F32, images::<32>(2), &pixels), &p).download();
    for (features, expected) in features.chunks_exact(24).zip(expected) {
        for (feature, expected) in features.iter().step_by(4).zip(expected) {
            assert!((feature - expected).abs() < 1e-4, "{feature}, timm has {expected}");
        }
    }
}

/// SimCLR's head as in its authors' code.
type HeadWithNorm<const F: usize, const P: usize> = (Linear<F, F>, (BatchNormRelu<F>, Linear<F, P>));

/// The reference is the head in dfdx's f64: linear, batch normalisation, ReLU, linear, from the same parameters.
#[test]
fn the_projection_head_agrees_with_dfdx_in_f64() {
    const F: usize = 6;
    const P: usize = 4;
    const N: usize = 8;
    use dfdx::prelude::*;
    let key = Key::root(3);
    let mut builder = Builder::new(&key);
    let head = HeadWithNorm::<F, P>::build(&mut builder);
    let mut parameters = builder.finish(&F32);
    let mut stream = key.split("x").stream();
    let x = normals(&mut stream, N * F);
    let device = DfdxCpu::default();
    let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    let slot = |name: &str| {
        let entry = parameters.layout.entries.iter().find(|e| e.name == name).expect(name).slot;
        wide(&parameters.values[entry.start..][..entry.len])
    };
    let w1: dfdx::tensor::Tensor<Rank2<F, F>, f64, _> = device.tensor_from_vec(slot("linear1.weight"), (Const, Const));
    let b1: dfdx::tensor::Tensor<Rank1<F>, f64, _> = device.tensor_from_vec(slot("linear1.bias"), (Const,));
    let gamma: dfdx::tensor::Tensor<Rank1<F>, f64, _> = device.tensor_from_vec(slot("bn1.weight"), (Const,));
    let beta: dfdx::tensor::Tensor<Rank1<F>, f64, _> = device.tensor_from_vec(slot("bn1.bias"), (Const,));
    let w2: dfdx::tensor::Tensor<Rank2<P, F>, f64, _> = device.tensor_from_vec(slot("linear2.weight"), (Const, Const));
    let b2: dfdx::tensor::Tensor<Rank1<P>, f64, _> = device.tensor_from_vec(slot("linear2.bias"), (Const,));
    let input: dfdx::tensor::Tensor<Rank2<N, F>, f64, _> = device.tensor_from_vec(wide(&x), (Const, Const));

    let hidden = input.leaky_trace().matmul(w1.permute::<Rank2<F, F>, Axes2<1, 0>>()) + b1.broadcast_like(&input);
    let centred = {
        let mean = hidden.retaped::<OwnedTape<f64, DfdxCpu>>().mean::<Rank1<F>, _>();
        hidden - mean.broadcast_like(&input)
    };
    let variance = centred.retaped::<OwnedTape<f64, DfdxCpu>>().square().mean::<Rank1<F>, _>();
    let scale = (variance + 1e-5).sqrt();
    let normal = centred / scale.broadcast_like(&input);
    let active = (normal * gamma.broadcast_like(&input) + beta.broadcast_like(&input)).relu();
    let out_shape = (Const::<N>, Const::<P>);
    let z = active.matmul(w2.permute::<Rank2<F, P>, Axes2<1, 0>>()) + b2.broadcast_like(&out_shape);
    let expected = z.as_vec();
    let gradients = z.square().sum::<Rank0, _>().backward();
    let expected_dx = gradients.get(&input).as_vec();

    let shape = (N, dfdx::shapes::Const);
    let (ours, saved) = head.forward(sempair::tensor::Tensor::upload(&F32, shape, &x), &mut parameters);
    let dz: Vec<f32> = ours.download().iter().map(|z| 2.0 * z).collect();
    let dz = sempair::tensor::Tensor::upload(&F32, (N, dfdx::shapes::Const), &dz);
    let dx = head.backward(saved, dz, &mut parameters).download();
    assert_close(&wide(&ours.download()), &expected, 1e-5);
    assert_close(&wide(&dx), &expected_dx, 1e-4);
}

fn assert_close(ours: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), expected.len());
    for (index, (a, b)) in ours.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "element {index}: {a}, expected {b}");
    }
}

fn loss_and_gradient<E: Dtype, const P: usize>(z: Vec<E>, temperature: f32) -> (f64, Vec<f64>)
where
    DfdxCpu: dfdx::prelude::Device<E>,
{
    let views = z.len() / P;
    let z: DfdxTensor<Vectors<P>, E, DfdxCpu> = DfdxCpu::default().tensor_from_vec(z, (views, Const));
    let loss = nt_xent(z.leaky_trace(), temperature);
    let value = loss.array().to_f64().unwrap();
    let gradient = loss.backward().get(&z).as_vec();
    (value, gradient.into_iter().map(|g| g.to_f64().unwrap()).collect())
}

// import torch, torch.nn.functional as F  # 2.15.0
// def nt_xent(z, t):
//     z = F.normalize(z, dim=1); n = z.shape[0]
//     s = (z @ z.t() / t).masked_fill(torch.eye(n, dtype=torch.bool), float("-inf"))
//     return F.cross_entropy(s, torch.arange(n).add(n // 2).remainder(n))
// z = torch.arange(12).reshape(4, 3).mul(0.7).sin().double().requires_grad_(True)
// for t in (0.5, 0.07): l = nt_xent(z, t); print(l.item(), torch.autograd.grad(l, z))
#[test]
fn nt_xent_agrees_with_torch() {
    let z: Vec<f32> = (0..12).map(|i| (i as f32 * 0.7).sin()).collect();
    let cases = [
        (
            0.5,
            1.989071112,
            [
                0.623067380,
                0.285363939,
                -0.186550857,
                -0.069443610,
                -0.418176332,
                -0.570233985,
                0.300944288,
                -0.037123296,
                -0.357731260,
                -0.632965316,
                -0.283520201,
                0.199269123,
            ],
        ),
        (
            0.07,
            10.784500630,
            [
                4.678826474,
                2.142895668,
                -1.400874352,
                -0.574683634,
                -3.460636030,
                -4.718995810,
                2.916494622,
                -0.359767311,
                -3.466825259,
                -4.049611600,
                -1.813917479,
                1.274892375,
            ],
        ),
    ];
    for (temperature, value, gradient) in cases {
        let (ours, dz) = loss_and_gradient::<f32, 3>(z.clone(), temperature);
        assert_close(&[ours], &[value], 2e-6);
        assert_close(&dz, &gradient, 2e-5);
        let (ours, dz) = loss_and_gradient::<f64, 3>(z.iter().map(|v| f64::from(*v)).collect(), temperature);
        assert_close(&[ours], &[value], 1e-6); // the input and the temperature are rounded to f32
        assert_close(&dz, &gradient, 1e-6);
    }
}

// The same script gives 1.098612289 and a zero gradient for z = torch.ones(4, 3), t = 0.2. With rows of length 1e-8 and
// t = 0.5 it gives 1.028295560 and gradients of about 1e8 in the tiny rows.
#[test]
fn nt_xent_bears_ties_and_tiny_rows() {
    let (value, gradient) = loss_and_gradient::<f32, 3>(vec![1.0; 12], 0.2);
    assert_close(&[value], &[1.098612289], 1e-6);
    assert!(gradient.iter().all(|g| g.abs() < 1e-6));

    let tiny = vec![1e-8, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1e-8, 0.0, 1.0, 1.0];
    let (value, gradient) = loss_and_gradient::<f64, 3>(tiny, 0.5);
    let expected = [
        0.0,
        40462668.659225,
        -59537331.948521,
        0.248456217,
        0.0,
        -0.148025154,
        -75154378.749481,
        55908163.022379,
        0.0,
        0.156170467,
        -0.353553391,
        0.353553391,
    ];
    assert_close(&[value], &[1.028295560], 1e-7);
    for (row, expected) in gradient.chunks(3).zip(expected.chunks(3)) {
        // Our 1e-24 under the root changes a length of 1e-8 by a relative 5e-9, in the similarity and in its gradient.
        let length = expected.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 3e-8 * (100.0 + length)), "{row:?} {expected:?}");
    }

    let (value, gradient) = loss_and_gradient::<f32, 3>(vec![0.0; 12], 0.5);
    assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()), "{value} {gradient:?}");
}

/// Checks the closed form in f32 against the definition in f64. A similarity has an error of several roundings, 8
/// epsilon. Through the softmax it changes each share of row i and of column i by a relative 16 epsilon / t; these
/// shares have the sum W <= views + 2. The gradient is (shares times unit vectors) / (views t |z|).
fn check_closed_form(z: &[f32], temperature: f32) {
    let views = z.len() / 8;
    let wide: Vec<f64> = z.iter().map(|z| f64::from(*z)).collect();
    let (value, gradient) = loss_and_gradient::<f64, 8>(wide.clone(), temperature);
    let input: DfdxTensor<Vectors<8>, f32, DfdxCpu> = DfdxCpu::default().tensor_from_vec(z.to_vec(), (views, Const));
    let loss = nt_xent_in_closed_form(input.leaky_trace(), temperature);
    let error = 16.0 * f64::from(f32::EPSILON) * (1.0 + 1.0 / f64::from(temperature));
    assert!((f64::from(loss.array()) - value).abs() <= error * (1.0 + value), "{}, expected {value}", loss.array());
    let ours = loss.backward().get(&input).as_vec();
    for (row, z) in wide.chunks(8).enumerate() {
        let length = (z.iter().map(|z| z * z).sum::<f64>() + 1e-24).sqrt();
        let allowed = error * (views + 2) as f64 / (views as f64 * f64::from(temperature) * length);
        for at in 8 * row..8 * row + 8 {
            let difference = f64::from(ours[at]) - gradient[at];
            assert!(difference.abs() <= allowed, "{at} of {views}: {}, expected {}", ours[at], gradient[at]);
        }
    }
}

#[test]
fn the_closed_form_of_nt_xent_agrees_with_its_definition() {
    let mut stream = Key::root(11).stream();
    for views in [2, 4, 6, 34, 66] {
        for temperature in [0.02, 0.1, 0.5, 5.0] {
            let z = normals(&mut stream, views * 8);
            check_closed_form(&z, temperature);
            check_closed_form(&vec![0.7; views * 8], temperature); // ties
            let mut z = z;
            z[..8].iter_mut().for_each(|z| *z *= 1e-8);
            z[views * 4..][..8].fill(0.0);
            check_closed_form(&z, temperature); // a row as short as 1e-8, one of zeros
        }
    }
}

#[test]
fn a_network_learns_its_batch_through_the_tape() {
    let spec = ModelSpec { encoder: Encoder::ResnetSmall, stem: Stem::Half, image: 32, drop_path: 0.0 };
    for rule in [Rule::Sgd, Rule::Lars, Rule::Adamw] {
        let recipe = Recipe { epochs: 1, rule, learning_rate: 0.0, weight_decay: [1e-4; 2], clip: 0.0 };
        let (temperature, head) = (0.5, Size::Paper);
        let method = Method::Simclr(simclr::Settings {
            temperature,
            mask_same_category: false,
            hard_negatives: 0.0,
            head,
            recipe,
        });
        let (initialisation, draws) = (Key::root(1), Key::root(1));
        let mut learner = method
            .start(&Start { spec, device: F32, initialisation, draws, pairs: 4, categories: 4, batch: 4 })
            .unwrap();
        let rate = if rule == Rule::Adamw { 2e-3 } else { 0.05 };
        let pace = StepRates { rate, peak_rate: rate, weight_decay: 1e-4 };
        let mut optimizer = Optimizer::new(
            rule,
            &optimizers::settings(true, false),
            ParamOverrides::default(),
            &learner.network().backbone().parameters(),
        );
        let images = normals(&mut Key::root(2).stream(), 8 * 32 * 32 * 3);
        let batch = MethodBatch { images: &images, crops: &[], pairs: &[0, 1, 2, 3], categories: &[0; 4] };
        let losses: Vec<f64> = (0..12)
            .map(|step| {
                learner.network().backbone().parameters().clear_gradients();
                let loss = learner.step(&batch, StepInfo { step, steps: 12, steps_per_epoch: 12 }).value();
                optimizer.step(&mut learner.network().backbone().parameters(), pace);
                loss
            })
            .collect();
        assert!(losses[11] < losses[0] - 0.3, "{rule:?}: {losses:?}");
    }
}

//! The layers of the methods' heads: unit rows, prototypes, maps without bias, normalisation without scale and shift.

use sempair::nn::{
    BatchNormPlain, Layer, LinearNoBias, NormalLinear, Parameters, Prototypes, UnitRows, WeightNormLinear,
};
use sempair::rng::Key;
use sempair::tensor::{Cpu, Tensor};

use super::{F32, assert_close, built, check, check_bf16, dot, maps, normals, vectors};

#[test]
fn layers_agree_with_finite_differences() {
    check::<UnitRows, _>(vectors::<13>(5), 1e-3);
    check::<LinearNoBias<13, 7>, _>(vectors::<13>(5), 1e-3);
    check::<NormalLinear<13, 7>, _>(vectors::<13>(5), 1e-3);
    check::<BatchNormPlain<6>, _>(vectors::<6>(9), 2e-3);
    check::<BatchNormPlain<5>, _>(maps::<5, 3>(4), 2e-3);
    check::<Prototypes<6, 11>, _>(vectors::<6>(9), 1e-3);
    check::<WeightNormLinear<6, 11>, _>(vectors::<6>(9), 2e-3);
}

#[test]
fn layers_in_bf16_agree_with_f32() {
    check_bf16::<UnitRows, _>(vectors::<13>(9), 1e-2);
    check_bf16::<LinearNoBias<33, 17>, _>(vectors::<33>(9), 1e-2);
    check_bf16::<BatchNormPlain<6>, _>(vectors::<6>(64), 1e-2);
    check_bf16::<Prototypes<33, 17>, _>(vectors::<33>(9), 1e-2);
    check_bf16::<WeightNormLinear<33, 17>, _>(vectors::<33>(9), 1e-2);
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

fn upload<const C: usize>(values: &[f32]) -> Tensor<sempair::tensor::Vectors<C>, Cpu> {
    Tensor::upload(&F32, vectors::<C>(values.len() / C), values)
}

fn sines(len: usize) -> Vec<f32> {
    (0..len).map(|i| (0.7 * i as f64).sin() as f32).collect()
}

// import torch, torch.nn.functional as F  # 2.15.0
// x = torch.arange(20).mul(0.7).sin().double().reshape(4, 5).requires_grad_(True)
// last = torch.nn.utils.weight_norm(torch.nn.Linear(5, 3, bias=False).double())
// last.weight_g.data.fill_(1); last.weight_v.data = torch.arange(15).mul(0.9).cos().double().reshape(3, 5)
// y = last(F.normalize(x, dim=1)); l = (y * torch.arange(12).double().reshape(4, 3)).sum()
// print(y, *torch.autograd.grad(l, [x, last.weight_v]))
#[test]
fn the_end_of_dino_s_head_agrees_with_torch() {
    let expected = [
        -0.3451439,
        0.89569866,
        0.04927993,
        -0.043373,
        -0.90087285,
        0.33984721,
        0.4144968,
        0.77057017,
        -0.66702686,
        -0.70646201,
        -0.54556884,
        0.88409284,
    ];
    let dx_expected = [
        -0.79632194,
        -0.65304079,
        -0.09733811,
        0.40692104,
        0.49364173,
        -1.31676318,
        -0.53243695,
        0.42874538,
        0.81062094,
        0.41528764,
        -1.87374512,
        -0.20221098,
        1.31898948,
        1.57964924,
        0.54690055,
        -2.03257292,
        0.61097646,
        2.5636524,
        2.43196269,
        0.46765786,
    ];
    let dv_expected = [
        -0.45774914,
        -1.13096684,
        -1.50515391,
        -1.08632445,
        0.18212284,
        -2.82626658,
        -1.63422171,
        0.0580677,
        1.30029486,
        1.67375569,
        -0.33567089,
        -0.28918566,
        -0.6188611,
        -0.76941126,
        -0.18508183,
    ];
    let (head, mut p) = built::<(UnitRows, WeightNormLinear<5, 3>)>(&F32, &mut Key::root(0).stream());
    assert_eq!(p.layout.entries[0].name, "last_layer.weight_v");
    p.values = (0..15).map(|i| (0.9 * f64::from(i)).cos() as f32).collect();
    let (y, saved) = head.forward(upload::<5>(&sines(20)), &mut p);
    let dx = head.backward(saved, upload::<3>(&(0..12).map(|i| i as f32).collect::<Vec<_>>()), &mut p);
    assert_close(&wide(&y.download()), &expected, 1e-6);
    assert_close(&wide(&dx.download()), &dx_expected, 1e-5);
    assert_close(&wide(&p.gradients), &dv_expected, 1e-5);
}

// bn = torch.nn.BatchNorm1d(3, affine=False).double()
// x = torch.arange(12).mul(0.7).sin().double().reshape(4, 3).requires_grad_(True)
// y = bn(x); print(y, torch.autograd.grad((y * torch.arange(12).double().reshape(4, 3)**2).sum(), [x]))
// print(bn.running_mean, bn.running_var)
#[test]
fn batch_norm_without_scale_and_shift_agrees_with_torch() {
    let expected = [
        -0.00344281,
        0.71329408,
        0.98928158,
        1.40379162,
        0.25451811,
        -0.80299933,
        -1.42431615,
        -1.70005038,
        -1.17921007,
        0.02396734,
        0.73223818,
        0.99292782,
    ];
    let dx_expected = [
        -51.40390537,
        -58.68586322,
        -75.86722244,
        -15.68326435,
        -37.33238551,
        -30.5374951,
        -13.96796296,
        7.78951733,
        25.37548725,
        81.05513269,
        88.22873141,
        81.0292303,
    ];
    let running = [0.00021118, 0.0163435, 0.0247892, 0.95016798, 0.96057447, 0.97411108];
    let (norm, mut p) = built::<BatchNormPlain<3>>(&F32, &mut Key::root(0).stream());
    let (y, saved) = norm.forward(upload::<3>(&sines(12)), &mut p);
    let dy: Vec<f32> = (0..12).map(|i| (i * i) as f32).collect();
    let dx = norm.backward(saved, upload::<3>(&dy), &mut p);
    assert_close(&wide(&y.download()), &expected, 1e-6);
    assert_close(&wide(&dx.download()), &dx_expected, 1e-5);
    assert_close(&wide(&p.statistics), &running, 1e-6);
    assert!(p.values.is_empty() && p.gradients.is_empty());
}

/// Two layers, to check that the other layer's parameters do not change.
type Head = (LinearNoBias<6, 6>, Prototypes<6, 9>);

fn head() -> (Head, Parameters<Cpu>, usize) {
    let (head, p) = built::<Head>(&F32, &mut Key::root(1).stream());
    assert_eq!(p.layout.entries[1].name, "prototypes1.weight");
    (head, p, 6 * 6)
}

#[test]
fn prototypes_come_to_unit_length_in_place_and_others_stay() {
    let (_, mut p, start) = head();
    let before = p.values.clone();
    assert_eq!(p.host_of("prototypes"), before[start..]);
    p.unit_rows_of("prototypes", 6);
    assert_eq!(p.values[..start], before[..start]);
    for (row, before) in p.values[start..].chunks_exact(6).zip(before[start..].chunks_exact(6)) {
        let length = dot(before, before).sqrt();
        let expected: Vec<f64> = before.iter().map(|v| f64::from(*v) / length).collect();
        assert_close(&wide(row), &expected, 1e-6);
    }
}

#[test]
fn scores_of_unit_prototypes_do_not_depend_on_their_length() {
    let mut stream = Key::root(3).stream();
    let (layer, mut p) = built::<WeightNormLinear<6, 9>>(&F32, &mut stream);
    let x = normals(&mut stream, 4 * 6);
    let scores = layer.infer(upload::<6>(&x), &p).download();
    let (_, saved) = layer.forward(upload::<6>(&x), &mut p);
    layer.backward(saved, upload::<9>(&normals(&mut stream, 4 * 9)), &mut p);
    for (v, dv) in p.values.chunks_exact(6).zip(p.gradients.chunks_exact(6)) {
        assert!(dot(v, dv).abs() < 1e-5 * dot(v, v).sqrt() * (1.0 + dot(dv, dv).sqrt()));
    }
    p.values.chunks_exact_mut(6).enumerate().for_each(|(k, v)| v.iter_mut().for_each(|v| *v *= 0.3 + k as f32));
    assert_close(&wide(&layer.infer(upload::<6>(&x), &p).download()), &wide(&scores), 1e-6);
}

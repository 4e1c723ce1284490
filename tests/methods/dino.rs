//! DINO's cross entropy, centre and temperature.

use dfdx::shapes::Rank1;
use sempair::methods::dino::{Centre, Temperatures, Warmup, definition, graded, shared};
use sempair::methods::sinkhorn::Sinkhorn;
use sempair::methods::swav;

use super::sinkhorn::naive;
use super::*;

// import torch, torch.nn.functional as F  # 2.15.0
// def dino(s, t, c, Ts, Tt, V):
//     q = F.softmax((t - c) / Tt, dim=1).chunk(2); s = (s / Ts).chunk(V)
//     terms = [-(q[i] * F.log_softmax(s[j], dim=1)).sum(1).mean() for i in range(2) for j in range(V) if j != i]
//     return sum(terms) / len(terms)
// rows = lambda n, f: torch.arange(4 * n).reshape(n, 4).mul(f).sin().double()
// s, t, c = rows(6, 0.7).requires_grad_(True), rows(4, 1.3), rows(1, 0.3)
// l = dino(s, t, c, 0.1, 0.04, 3); print(l.item(), torch.autograd.grad(l, s), 0.9 * c + 0.1 * t.mean(0))
#[test]
fn agrees_with_torch() {
    let gradient = [
        [4.9443e-05, 0.031039221, 0.941383532, -0.972472196],
        [-0.000330699, 0.001312752, 7.185e-06, -0.000989238],
        [4.2e-08, -1.249926998, 0.043957478, 1.205969479],
        [1.244115996, 0.005874518, -1.24999055, 3.6e-08],
        [1.03e-07, -1.249993531, 0.004109575, 1.245883853],
        [0.773756, 0.475139785, -1.247906387, -0.000989398],
    ];
    let mut centre = Centre { mean: sines(4, 0.3) };
    let teacher = sines(16, 1.3);
    let temperatures = Temperatures { student: 0.1, teacher: 0.04 };
    // A score of 1 is 25 after division by the teacher's temperature.
    let ours = graded(&sines(24, 0.7), &teacher, &centre, temperatures);
    assert_torch(&ours, 5.459116990, gradient.as_flattened(), 2.0 * 50.0);
    centre.update(&teacher, 0.9);
    for (ours, expected) in centre.mean.iter().zip([-0.040088169, 0.253157460, 0.541412692, 0.735585351]) {
        assert!((f64::from(*ours) - expected).abs() < 2e-7, "{ours} for {expected}");
    }
}

// import numpy as np  # 2.4.6
// def sinkhorn(t, eps, it=3):  # DINOv2's, on one machine
//     Q = np.exp(t / eps).T; K, B = Q.shape; Q /= Q.sum()
//     for _ in range(it): Q /= Q.sum(1, keepdims=True); Q /= K; Q /= Q.sum(0, keepdims=True); Q /= B
//     return (Q * B).T
// rows = lambda n, f: np.sin(np.arange(4 * n, dtype=np.float32) * np.float32(f)).astype(float).reshape(n, 4)
// s, q, l, g = rows(6, 0.7) / 0.1, sinkhorn(rows(4, 1.3), 0.04), 0, np.zeros((6, 4))
// p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
// for i, j in [(i, j) for i in range(2) for j in range(3) if j != i]:
//     t, v = slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2)
//     l -= (q[t] * np.log(p[v])).sum() / 2 / 4; g[v] += (p[v] - q[t]) / 0.1 / 2 / 4
// print(l, g)
#[test]
fn shared_classes_agree_with_numpy() {
    let gradient = [
        [0.000049443, 0.031039221, 0.941591486, -0.972680151],
        [-0.001214265, 0.001312752, 0.000007185, -0.000105672],
        [-0.060136449, -1.189784495, 0.043951465, 1.205969479],
        [1.244115996, 0.005877768, -1.249993728, -0.000000034],
        [-0.060136388, -1.189851028, 0.004311518, 1.245675898],
        [0.772872435, 0.475143032, -1.247909565, -0.000105903],
    ];
    let temperatures = Temperatures { student: 0.1, teacher: 0.04 };
    let ours = shared(&sines(24, 0.7), &sines(16, 1.3), 4, temperatures);
    assert_torch(&ours, 5.517314510, gradient.as_flattened(), 6.0 * 25.0);
}

#[test]
fn shared_classes_have_the_targets_of_both_views() {
    let (views, batch, temperatures) = (4, 3, Temperatures { student: 0.1, teacher: 0.04 });
    let (student, teacher) = (hard_rows(views * batch, 33, 1), hard_rows(2 * batch, 33, 2));
    let sinkhorn = Sinkhorn { epsilon: temperatures.teacher, iterations: 3 };
    let targets: Vec<f32> = naive(&teacher, 33, 2 * batch, sinkhorn).iter().map(|&q| q as f32).collect();
    let defined = defined::<33>(&student, |s| swav::definition(s, tensor::<33>(&targets), 0.1));
    let steps = EPS * (8.0 + 2.0 * largest(&student) / 0.1);
    let ours = shared(&student, &teacher, 33, temperatures);
    let of_gradient = 2.0 * steps / ((views - 1) * batch) as f64 / 0.1;
    assert_graded(&ours, &defined, steps * 33f64.ln(), |_| of_gradient, "dino, shared classes");
}

fn check<const K: usize>(views: usize, batch: usize, size: f32, seed: u64) {
    let student: Vec<f32> = hard_rows(views * batch, K, seed).iter().map(|s| size * s).collect();
    let teacher: Vec<f32> = hard_rows(2 * batch, K, seed + 1).iter().map(|t| size * t).collect();
    let centre = Centre { mean: numbers(K, seed + 2) };
    let temperatures = Temperatures { student: 0.1, teacher: 0.04 };
    let mean = dfdx::prelude::Cpu::default().tensor_from_vec(wide(&centre.mean), (Const,));
    let mean: Tensor<Rank1<K>, f64, Cpu> = mean;
    let defined = defined::<K>(&student, |s| definition(s, tensor::<K>(&teacher), mean, temperatures));
    // A score divided by its temperature is rounded, and so are the few operations of the exponentials. These are
    // relative errors of the shares.
    let steps = EPS * (8.0 + 2.0 * (largest(&student) / 0.1 + (largest(&teacher) + 1.0) / 0.04));
    let pairs = (2 * (views - 1) * batch) as f64;
    let of_value = steps * (2.0 * largest(&student) / 0.1 + (K as f64).ln());
    let ours = graded(&student, &teacher, &centre, temperatures);
    let of_gradient = 2.0 * steps / (pairs * 0.1);
    assert_graded(&ours, &defined, of_value, |_| of_gradient, &format!("dino {views} views, batch {batch}, K {K}"));
}

#[test]
fn the_closed_form_is_the_definition() {
    check::<1>(2, 1, 1.0, 1);
    check::<5>(2, 2, 1.0, 2);
    check::<33>(4, 3, 1.0, 3);
    check::<600>(8, 2, 1.0, 4);
    check::<20>(3, 4, 30.0, 5); // all but one share vanish
}

#[test]
fn the_centre_is_a_moving_mean() {
    let (batches, columns) = (numbers(3 * 6 * 1100, 1), 1100);
    let (mut centre, mut naive) = (Centre::new(columns), vec![0.0f64; columns]);
    for batch in batches.chunks(6 * columns) {
        centre.update(batch, 0.9);
        let momentum = f64::from(0.9f32);
        for (k, mean) in naive.iter_mut().enumerate() {
            let batch_mean = batch.iter().skip(k).step_by(columns).map(|&t| f64::from(t)).sum::<f64>() / 6.0;
            *mean = momentum * *mean + (1.0 - momentum) * batch_mean;
        }
    }
    for (ours, naive) in centre.mean.iter().zip(naive) {
        assert!((f64::from(*ours) - naive).abs() < 3.0 * EPS, "{ours} for {naive}");
    }
}

// numpy.linspace(0.04, 0.07, 4) -> 0.04, 0.05, 0.06, 0.07, as in the authors' code.
#[test]
fn the_temperature_rises_and_stays() {
    let warmup = |epochs| Warmup { from: 0.04, to: 0.07, epochs };
    let over = |epochs: usize| (0..6).map(|epoch| warmup(epochs).temperature(epoch)).collect::<Vec<_>>();
    for (ours, expected) in over(4).iter().zip([0.04, 0.05, 0.06, 0.07, 0.07, 0.07]) {
        assert!((ours - expected).abs() < 1e-8, "{ours} for {expected}");
    }
    assert_eq!(over(0), [0.07; 6]);
    assert_eq!(over(1), [0.04, 0.07, 0.07, 0.07, 0.07, 0.07]);
}

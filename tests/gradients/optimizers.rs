//! Optimisers against PyTorch's, and the parameters that each leaves unchanged.

use sempair::nn::{Builder, ParamKind};
use sempair::optim::{Optimizer, OptimizerSettings, ParamOverrides, Rule, StepRates};
use sempair::rng::Key;

use super::{F32, assert_close};

/// The settings of the reference scripts.
pub(super) fn settings(nesterov: bool, decay_vectors: bool) -> OptimizerSettings {
    OptimizerSettings { momentum: 0.9, nesterov, decay_vectors, trust: 0.02, betas: [0.9, 0.999], epsilon: 1e-8 }
}

#[test]
fn vectors_are_decayed_by_sgd_alone_and_where_it_is_asked_for() {
    let decayed = |rule, decay_vectors| {
        let key = Key::root(0);
        let mut builder = Builder::new(&key);
        builder.parameter("bias", &[1], ParamKind::Vector, |_| 1.0);
        builder.parameter("weight", &[1, 1], ParamKind::Weight, |_| 1.0);
        let mut parameters = builder.finish(&F32);
        let mut optimizer =
            Optimizer::new(rule, &settings(false, decay_vectors), ParamOverrides::default(), &parameters);
        optimizer.step(&mut parameters, StepRates { rate: 0.1, peak_rate: 0.1, weight_decay: 0.5 });
        assert!(parameters.values[1] < 1.0, "{rule:?}: weights are always decayed");
        parameters.values[0] < 1.0
    };
    for (rule, expected) in [(Rule::Sgd, [false, true]), (Rule::Lars, [false; 2]), (Rule::Adamw, [false; 2])] {
        assert_eq!([false, true].map(|vectors| decayed(rule, vectors)), expected, "{rule:?}");
    }
}

const SGD: [f64; 2] = [0.519184749, -2.226394623];
const NESTEROV: [f64; 2] = [0.264890458, -2.347467024];
const ADAMW: [f64; 2] = [0.704981096, -2.286027897];

// import torch  # 2.15.0; w = [1, -2], g = [0.5, 0.25]; three steps of each, the gradient times 1, 2, 3:
// SGD(lr=.1, momentum=.9, weight_decay=.01), the same with nesterov=True, AdamW(lr=.1, weight_decay=.01)
#[test]
fn optimisers_agree_with_torch() {
    let run_after = |frozen: u64, rule, nesterov| {
        let key = Key::root(0);
        let mut builder = Builder::new(&key);
        let mut next = [1.0, -2.0].into_iter();
        builder.parameter("w", &[2, 1], ParamKind::Weight, |_| next.next().unwrap());
        let mut parameters = builder.finish(&F32);
        let apart = ParamOverrides { frozen: Some(("w", frozen)), ..ParamOverrides::default() };
        let mut optimizer = Optimizer::new(rule, &settings(nesterov, true), apart, &parameters);
        let pace = StepRates { rate: 0.1, peak_rate: 0.1, weight_decay: 0.01 };
        let start = parameters.values.clone();
        for _ in 0..frozen {
            parameters.gradients = vec![3.0, -4.0];
            optimizer.step(&mut parameters, pace);
            assert_eq!(parameters.values, start);
        }
        for step in 1..=3 {
            parameters.gradients = vec![0.5 * step as f32, 0.25 * step as f32];
            optimizer.step(&mut parameters, pace);
        }
        parameters.values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
    };
    let run = |rule, nesterov| run_after(0, rule, nesterov);
    assert_close(&run(Rule::Sgd, false), &SGD, 1e-6);
    assert_close(&run(Rule::Sgd, true), &NESTEROV, 1e-6);
    assert_close(&run(Rule::Adamw, false), &ADAMW, 1e-6);
    // PyTorch's optimisers skip a parameter without gradient, and do not count the step for it.
    assert_close(&run_after(2, Rule::Sgd, false), &SGD, 1e-6);
    assert_close(&run_after(2, Rule::Adamw, false), &ADAMW, 1e-6);
    // LARS computed by hand: one weight with norms |w| and |g|, ratio 0.02 |w| / (|g| + 0.01 |w|), then the SGD above.
    let (mut w, mut v) = ([1.0f64, -2.0], [0.0; 2]);
    for step in 1..=3 {
        let g = [0.5 * f64::from(step), 0.25 * f64::from(step)];
        let norm = |x: [f64; 2]| x[0].hypot(x[1]);
        let ratio = 0.02 * norm(w) / (norm(g) + 0.01 * norm(w));
        for i in 0..2 {
            v[i] = 0.9 * v[i] + ratio * (g[i] + 0.01 * w[i]);
            w[i] -= 0.1 * v[i];
        }
    }
    assert_close(&run(Rule::Lars, false), &w, 1e-6);
}

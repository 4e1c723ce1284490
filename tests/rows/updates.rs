//! The optimisers' arithmetic: steps, norms, moving averages.

use sempair::kernels::cpu::update::{self, AdamWStep};

use super::EPS;
use super::bits;
use super::numbers;
use super::on_each_set;

/// The bits of all outputs of these kernels.
pub fn bits_of_all() -> Vec<Vec<u32>> {
    let [mut p, mut v, mut w, g] = [1, 2, 3, 4].map(|seed| numbers::<f32>(200_001, seed));
    update::sgd(&mut p, &mut v, &g, 0.1, 0.9, 1e-4, true, 1.0);
    w.iter_mut().for_each(|w| *w = w.abs());
    update::adamw(&mut p, &mut v, &mut w, &g, &AdamWStep::new(0.1, (0.9, 0.99), 1e-8, 0.1, 3));
    let norm = vec![update::norm(&p) as f32];
    let mut target = g.clone();
    update::average(&mut target, &p, 0.99);
    update::scale(&mut target, 0.3);
    [p, v, w, norm, target].map(|values| bits(&values)).into()
}

// Computed by hand from torch.optim.SGD's pseudocode: g = 0.5 + 0.1 * 1; v = 0.9 * 2 + 0.6; p = 1 - 0.1 * v,
// or with Nesterov p = 1 - 0.1 * (0.6 + 0.9 * 2.4).
#[test]
fn sgd_follows_its_definition() {
    on_each_set(|set| {
        for (nesterov, expected) in [(false, 0.76f32), (true, 0.724)] {
            let (mut p, mut v) = ([1.0; 37], [2.0; 37]);
            update::sgd(&mut p, &mut v, &[0.5; 37], 0.1, 0.9, 0.1, nesterov, 1.0);
            assert!(p.iter().all(|p| (p - expected).abs() < 1e-6), "{set}: {p:?}");
            assert!(v.iter().all(|v| (v - 2.4f32).abs() < 1e-6), "{set}: {v:?}");
        }
    });
}

// Computed by hand from torch.optim.AdamW's pseudocode: at step 1 from zero moments, m̂ = g and v̂ = g², so that
// p = 1 (1 - 0.1 * 0.01) - 0.1 * 0.5 / (0.5 + 1e-8) = 0.899; with the same gradient again, m̂ and v̂ stay:
// p = 0.899 * 0.999 - 0.1 = 0.798101.
#[test]
fn adamw_follows_its_definition() {
    on_each_set(|set| {
        let (mut p, mut m, mut v) = ([1.0; 37], [0.0; 37], [0.0; 37]);
        for (step, expected) in [(1, 0.899f32), (2, 0.798_101)] {
            let step = AdamWStep::new(0.1, (0.9, 0.999), 1e-8, 0.01, step);
            update::adamw(&mut p, &mut m, &mut v, &[0.5; 37], &step);
            assert!(p.iter().all(|p| (p - expected).abs() < 1e-5), "{set}, {step:?}: {p:?}");
        }
    });
}

#[test]
fn the_norm_is_euclidean() {
    let mut x = vec![0.0; 40_003];
    (x[0], x[40_002]) = (3.0, 4.0);
    assert_eq!(update::norm(&x), 5.0);
}

#[test]
fn the_moving_average_follows_its_definition() {
    on_each_set(|set| {
        for (len, momentum) in [(1, 0.5), (37, 0.99), (40_003, 0.9995), (100, 0.0), (100, 1.0)] {
            let (before, online) = (numbers::<f32>(len, 1), numbers::<f32>(len, 2));
            let mut target = before.clone();
            update::average(&mut target, &online, momentum);
            for ((&ours, &t), &o) in target.iter().zip(&before).zip(&online) {
                let defined = momentum * f64::from(t) + (1.0 - momentum) * f64::from(o);
                // Three numbers are rounded: the difference, at most 2; the change, at most 1; the result, at most 1.
                let tolerance = EPS * (1.0 + 2.0 * (1.0 - momentum));
                assert!((f64::from(ours) - defined).abs() <= tolerance, "{set}, {momentum}: {ours} for {defined}");
            }
            if momentum == 1.0 {
                assert!(bits(&target) == bits(&before), "{set}");
            }
            let mut same = online.clone();
            update::average(&mut same, &online, momentum);
            assert!(bits(&same) == bits(&online), "{set}: equal networks changed");
        }
    });
}

#[test]
fn scaling_multiplies() {
    on_each_set(|set| {
        for len in [1, 37, 40_003] {
            let x = numbers::<f32>(len, 1);
            let mut y = x.clone();
            update::scale(&mut y, 0.3);
            assert!(y.iter().zip(&x).all(|(y, x)| *y == 0.3 * x), "{set}, {len}");
        }
    });
}

//! BYOL's regression, and the cosine that it shares with SimSiam.

use sempair::methods::byol::{definition, graded};

use super::*;

// import torch, torch.nn.functional as F  # 2.15.0
// n = lambda x: F.normalize(x, dim=1)
// byol = lambda p, z: (2 - 2 * (n(p) * n(z)).sum(1)).mean()
// p, z = [torch.arange(12).reshape(4, 3).mul(f).sin().double().requires_grad_(True) for f in (0.7, 1.3)]
// l = byol(p[:2], z[2:].detach()) + byol(p[2:], z[:2].detach()); print(l.item(), torch.autograd.grad(l, p))
#[test]
fn agrees_with_torch() {
    let gradient = [
        [-0.634954231, -0.383246132, 0.250539345],
        [0.001544434, -0.548943248, -0.520424951],
        [0.327903405, -0.235487454, -0.086235135],
        [0.504978451, 0.522149262, -0.355744686],
    ];
    let ours = graded(&sines(12, 0.7), &sines(12, 1.3), 3);
    assert_torch(&ours, 6.129883422, gradient.as_flattened(), 8.0);
}

/// The tolerance for the rounding to f32, relative to the row's largest element. Everything else is computed in f64.
pub fn rounding<const P: usize>(defined: &Defined) -> impl Fn(usize) -> f64 {
    let largest = |row: &[f64]| row.iter().fold(0.0f64, |largest, g| largest.max(g.abs()));
    let rows: Vec<f64> = defined.gradient.chunks(P).map(largest).collect();
    move |at| EPS * 1e-6 * rows[at / P]
}

fn check<const P: usize>(rows: usize, seed: u64) {
    let (p, z) = (hard_rows(rows, P, seed), hard_rows(rows, P, seed + 1));
    let defined = defined::<P>(&p, |p| definition(p, tensor::<P>(&z)));
    assert_graded(&graded(&p, &z, P), &defined, 1e-13, rounding::<P>(&defined), &format!("byol {rows} x {P}"));
}

#[test]
fn the_closed_form_is_the_definition() {
    check::<1>(2, 1);
    check::<7>(4, 2);
    check::<16>(10, 3);
    check::<33>(64, 4);
}

#[test]
fn a_prediction_of_its_target_costs_nothing_and_its_opposite_eight() {
    let z = numbers(8 * 5, 1);
    let mut p = [&z[4 * 5..], &z[..4 * 5]].concat();
    assert!(graded(&p, &z, 5).value.abs() < 1e-12);
    p.iter_mut().for_each(|p| *p *= -3.0);
    assert!((graded(&p, &z, 5).value - 8.0).abs() < 1e-12);
}

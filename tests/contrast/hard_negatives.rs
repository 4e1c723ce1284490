//! NT-Xent with hard negatives.

use proptest::prelude::*;
use sempair::methods::hard_negatives::{Hardness, definition, graded};
use sempair::methods::nt_xent;

use super::{Precision, categories, differentiate, grid, hostile, normals, same_bits_on_any_threads};

/// The logits of log R are at most (β + 1) s / t. The slopes of log R and of the positive add up to 2 (β + 1). A row
/// is in the loss of its own view and of all other views, and the loss is their mean. `cancelled` bounds how much
/// less exact R - τ⁺ M p is than R.
fn precision(dim: usize, views: usize, hardness: Hardness, cancelled: f64) -> Precision {
    let temperature = hardness.temperature / (hardness.beta + 1.0);
    let slope = 4.0 * cancelled / f64::from(temperature);
    Precision { dim, candidates: 2 * views, temperature, factor: 2.0 * cancelled, slope }
}

fn check<const P: usize>(pairs: usize, hardness: Hardness, seed: u64, labels: Option<&[u32]>) {
    let z = hostile(seed, 2 * pairs, P);
    let ours = graded(&z, P, hardness, labels);
    let expected = differentiate::<P>(&z, |z| definition(z, hardness, labels));
    precision(P, 2 * pairs, hardness, 1.0).check(&z, &ours, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_closed_form_is_the_definition(
        pairs in 2..25usize, beta in 0..3u8, temperature in 0.1..1f32, seed in 0..1000u64, labelled: bool,
    ) {
        let hardness = Hardness { beta: beta.into(), tau_plus: 0.0, temperature };
        // At least two categories, so that every view has a negative.
        let mut labels = categories(seed, pairs, 3);
        (labels[0], labels[1]) = (0, 1);
        let labels = labelled.then_some(&labels[..]);
        check::<3>(pairs, hardness, seed, labels);
        check::<16>(pairs, hardness, seed, labels);
    }
}

// import torch, torch.nn.functional as F  # 2.15.0, in f64
// def grid(step, *shape): return ((torch.arange(torch.Size(shape).numel()) * step) % 11 - 5).div(4).reshape(shape)
// z = grid(7, 6, 3).requires_grad_(True)
// def hard(z, beta, tau, t):
//     z = F.normalize(z); n = len(z); b = n // 2; count = n - 2
//     pos = torch.exp((z[:b] * z[b:]).sum(-1) / t).repeat(2)
//     neg = torch.exp(z @ z.T / t).masked_select(~torch.eye(b, dtype=torch.bool).repeat(2, 2)).view(n, -1)
//     imp = (beta * neg.log()).exp()
//     r = (imp * neg).sum(-1) / imp.mean(-1)
//     g = torch.clamp((-tau * count * pos + r) / (1 - tau), min=count * torch.exp(torch.tensor(-1 / t)))
//     return -torch.log(pos / (pos + g)).mean()
// for a in ((0.0, 0.0, 0.5), (1.0, 0.0, 0.5), (2.0, 0.125, 0.25)):
//     l = hard(z, *a); print(l, torch.autograd.grad(l, z))
#[test]
fn it_agrees_with_torch() {
    let z = grid(7, 18);
    let cases = [
        (
            [0.0, 0.0, 0.5],
            2.698003276,
            "-0.103239642, 0.044053565, 0.30215267, -0.28647256, 0.051971927, -0.460130291, -0.247928704, 0.280785584,
             -0.247928704, 0.419367148, -0.043937132, 0.260407715, -0.441750951, -0.142440116, 0.119724334, -0.325480585,
             0.201582144, 0.232556754",
        ),
        (
            [1.0, 0.0, 0.5],
            3.332131252,
            "-0.081412029, 0.058250751, 0.261780824, -0.310996128, 0.073518669, -0.493820658, -0.29068397, 0.309006379,
             -0.29068397, 0.394904088, -0.01067808, 0.239078069, -0.50956837, -0.166576778, 0.137196637, -0.351211611,
             0.256869993, 0.280455397",
        ),
        (
            [2.0, 0.125, 0.25],
            5.529372004,
            "-0.102119384, 0.148424624, 0.403723084, -0.544554436, 0.177556966, -0.848405071, -0.713971572, 0.698431333,
             -0.713971572, 0.779710379, -0.147155473, 0.497257322, -0.967219825, -0.328927064, 0.255317104, -0.638285547,
             0.480726214, 0.520116047",
        ),
    ];
    for ([beta, tau_plus, temperature], value, gradient) in cases {
        let hardness = Hardness { beta, tau_plus, temperature };
        let gradient = gradient.split(',').map(|g| g.trim().parse().unwrap()).collect();
        precision(3, 6, hardness, 2.0).check(&z, &graded(&z, 3, hardness, None), (value, gradient));
    }
}

#[test]
fn without_hardness_it_is_nt_xent() {
    let z = normals(1, 12 * 5);
    let hardness = Hardness { beta: 0.0, tau_plus: 0.0, temperature: 0.5 };
    let expected = differentiate::<5>(&z, |z| nt_xent(z, 0.5));
    precision(5, 12, hardness, 1.0).check(&z, &graded(&z, 5, hardness, None), expected);
}

// Pairs of equal views and a large τ⁺: the corrected sum of the negatives is below its smallest possible value, so this
// value replaces it and has no slope.
#[test]
fn the_correction_leaves_at_least_the_least() {
    let first = normals(1, 6 * 5);
    let z = [&first[..], &first].concat();
    let hardness = Hardness { beta: 1.0, tau_plus: 0.5, temperature: 0.5 };
    let ours = graded(&z, 5, hardness, None);
    let expected = differentiate::<5>(&z, |z| definition(z, hardness, None));
    let floor = 10.0 * (-4f64).exp(); // M e^(-1/t) / e^(1/t)
    assert!((expected.0 - floor.ln_1p()).abs() < 1e-6, "{}", expected.0);
    precision(5, 12, hardness, 1.0).check(&z, &ours, expected);
}

#[test]
fn a_view_without_negatives_has_no_loss() {
    let hardness = Hardness { beta: 1.0, tau_plus: 0.1, temperature: 0.5 };
    for (pairs, labels) in [(1, None), (2, Some(&[4, 4][..]))] {
        let ours = graded(&normals(1, 2 * pairs * 3), 3, hardness, labels);
        assert!(ours.value == 0.0 && ours.gradient.iter().all(|&g| g == 0.0));
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let z = normals(1, 66 * 16);
    let hardness = Hardness { beta: 1.0, tau_plus: 0.1, temperature: 0.2 };
    same_bits_on_any_threads(|| graded(&z, 16, hardness, None));
}

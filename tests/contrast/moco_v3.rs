//! MoCo v3: InfoNCE within the batch.

use proptest::prelude::*;
use sempair::methods::moco_v3::{both_directions, definition, one_direction};

use super::{Precision, categories, differentiate, grid, hostile, normals, rows, same_bits_on_any_threads};

fn precision(dim: usize, queries: usize, temperature: f32) -> Precision {
    let factor = 2.0 * f64::from(temperature);
    Precision { dim, candidates: queries, temperature, factor, slope: 4.0 / queries as f64 }
}

fn check<const P: usize>(queries: usize, temperature: f32, seed: u64, labelled: bool) {
    let (q, k) = (hostile(seed, queries, P), hostile(seed + 1, queries, P));
    let labels = categories(seed, queries, 3);
    let labels = labelled.then_some(&labels[..]);
    let ours = one_direction(&q, &k, P, labels, temperature);
    let expected = differentiate::<P>(&q, |q| definition(q, rows(&k), labels, temperature));
    precision(P, queries, temperature).check(&q, &ours, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_closed_form_is_the_definition(
        queries in 1..40usize, temperature in 0.05..1f32, seed in 0..1000u64, labelled: bool,
    ) {
        check::<3>(queries, temperature, seed, labelled);
        check::<16>(queries, temperature, seed, labelled);
    }
}

// More queries than one block holds.
#[test]
fn many_queries_are_as_few() {
    check::<16>(301, 0.1, 1, true);
}

// import torch, torch.nn.functional as F  # 2.15.0, in f64
// def grid(step, *shape): return ((torch.arange(torch.Size(shape).numel()) * step) % 11 - 5).div(4).reshape(shape)
// q = grid(7, 4, 3).requires_grad_(True); k = grid(3, 4, 3)
// def ctr(q, k, t):
//     logits = torch.einsum("nc,mc->nm", F.normalize(q), F.normalize(k)) / t
//     return 2 * t * F.cross_entropy(logits, torch.arange(len(q)))
// for t in (1.0, 0.25): l = ctr(q[:2], k[2:], t) + ctr(q[2:], k[:2], t); print(l, torch.autograd.grad(l, q))
#[test]
fn both_directions_agree_with_torch() {
    let (q, k) = (grid(7, 12), grid(3, 12));
    let cases = [
        (
            1.0,
            3.504655288,
            [
                -0.022543182,
                -0.162131028,
                -0.105773073,
                0.075553253,
                0.098777493,
                0.15884792,
                0.354534994,
                -0.187474366,
                0.354534994,
                -0.161988343,
                0.021215033,
                -0.101436012,
            ],
        ),
        (
            0.25,
            2.016072516,
            [
                -0.030281469,
                -0.217784942,
                -0.14208127,
                0.089559239,
                0.117088765,
                0.188294987,
                0.44113865,
                -0.233269467,
                0.44113865,
                -0.006219532,
                0.00081455,
                -0.003894629,
            ],
        ),
    ];
    for (temperature, value, gradient) in cases {
        let ours = both_directions(&q, &k, 3, None, temperature);
        precision(3, 2, temperature).check(&q, &ours, (value, gradient.to_vec()));
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (q, k) = (normals(1, 66 * 16), normals(2, 66 * 16));
    same_bits_on_any_threads(|| both_directions(&q, &k, 16, None, 0.2));
}

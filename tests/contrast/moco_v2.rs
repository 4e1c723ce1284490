//! MoCo v2: InfoNCE with a queue.

use proptest::prelude::*;
use sempair::methods::contrast::NO_CATEGORY;
use sempair::methods::moco_v2::{Queue, both_directions, definition, one_direction};
use sempair::rng::Key;

use super::{Precision, categories, differentiate, grid, hostile, normals, rows, same_bits_on_any_threads, unit_rows};

fn queue_of<const P: usize>(keys: &[f32], categories: Vec<u32>) -> Queue {
    Queue { keys: unit_rows(keys, P), categories, cursor: 0, dim: P }
}

fn precision(dim: usize, queries: usize, queue: usize, temperature: f32) -> Precision {
    Precision {
        dim,
        candidates: queue,
        temperature,
        factor: 1.0,
        slope: 2.0 / (f64::from(temperature) * queries as f64),
    }
}

fn check<const P: usize>(queries: usize, len: usize, temperature: f32, seed: u64, labelled: bool) {
    let (q, k) = (hostile(seed, queries, P), hostile(seed + 1, queries, P));
    let queue = queue_of::<P>(&normals(seed + 2, len * P), categories(seed, len, 3));
    let labels = categories(seed + 1, queries, 3);
    let labels = labelled.then_some(&labels[..]);
    let ours = one_direction(&q, &k, &queue, labels, temperature);
    let expected = differentiate::<P>(&q, |q| definition(q, rows(&k), &queue, labels, temperature));
    precision(P, queries, len, temperature).check(&q, &ours, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_closed_form_is_the_definition(
        queries in 1..20usize, len in 1..70usize, temperature in 0.05..1f32, seed in 0..1000u64, labelled: bool,
    ) {
        check::<3>(queries, len, temperature, seed, labelled);
        check::<16>(queries, len, temperature, seed, labelled);
    }
}

// More queries than one block holds.
#[test]
fn many_queries_are_as_few() {
    check::<16>(301, 50, 0.1, 1, true);
}

// import torch, torch.nn.functional as F  # 2.15.0, in f64
// def grid(step, *shape): return ((torch.arange(torch.Size(shape).numel()) * step) % 11 - 5).div(4).reshape(shape)
// q = grid(7, 2, 3).requires_grad_(True); k = grid(3, 2, 3); n = F.normalize(grid(5, 4, 3))
// def moco(q, k, n, t):
//     q, k = F.normalize(q), F.normalize(k)
//     logits = torch.cat([torch.einsum("nc,nc->n", q, k).unsqueeze(-1), torch.einsum("nc,kc->nk", q, n)], 1)
//     return F.cross_entropy(logits / t, torch.zeros(2, dtype=torch.long))
// for t in (0.5, 0.0625): l = moco(q, k, n, t); print(l, torch.autograd.grad(l, q))
#[test]
fn it_agrees_with_torch() {
    let (q, k) = (grid(7, 6), grid(3, 6));
    let queue = queue_of::<3>(&grid(5, 12), vec![NO_CATEGORY; 4]);
    let cases = [
        (0.5, 1.158184339, [0.262724872, 0.367995327, -0.288816853, -0.109511183, 0.333887326, -0.071222864]),
        (0.0625, 2.073108520, [2.876532296, 2.49716934, -4.694161399, -0.002916555, 0.024551205, 0.003322811]),
    ];
    for (temperature, value, gradient) in cases {
        let ours = one_direction(&q, &k, &queue, None, temperature);
        precision(3, 2, 4, temperature).check(&q, &ours, (value, gradient.to_vec()));
    }
}

#[test]
fn both_directions_are_the_mean_of_two_and_each_sees_the_other_views_queue() {
    let (q, k) = (normals(1, 8 * 5), normals(2, 8 * 5));
    let queues = [3, 4].map(|seed| Queue::new(Key::root(seed), 9, 5));
    let ours = both_directions(&q, &k, queues.each_ref(), None, 0.2);
    let forth = one_direction(&q[..20], &k[20..], &queues[1], None, 0.2);
    let back = one_direction(&q[20..], &k[..20], &queues[0], None, 0.2);
    assert_eq!(ours.value, (forth.value + back.value) / 2.0);
    let gradient = [forth.gradient, back.gradient].concat();
    assert!(ours.gradient.iter().zip(&gradient).all(|(ours, g)| *ours == g / 2.0));
}

#[test]
fn a_query_whose_negatives_are_all_of_its_category_has_no_loss() {
    let queue = queue_of::<3>(&normals(1, 12), vec![7; 4]);
    let ours = one_direction(&normals(2, 3), &normals(3, 3), &queue, Some(&[7]), 0.1);
    assert!(ours.value == 0.0 && ours.gradient.iter().all(|&g| g == 0.0));
}

#[test]
fn a_queue_starts_with_unit_rows_and_keeps_the_latest_keys() {
    let mut queue = Queue::new(Key::root(1), 5, 4);
    assert!(queue.keys.chunks_exact(4).all(|row| (super::length(row) - 1.0).abs() < 1e-6));
    assert!(queue.keys[..4] != queue.keys[4..8] && queue.categories == [NO_CATEGORY; 5]);
    let keys = normals(2, 13 * 4);
    let labels: Vec<u32> = (0..13).collect();
    let mut written = 0;
    for count in [3, 3, 7] {
        queue.enqueue(&keys[written * 4..][..count * 4], Some(&labels[written..][..count]));
        written += count;
        // Row r holds the last key whose number is r modulo 5.
        for row in (0..5).filter(|&row| row < written) {
            let last = (0..written).rev().find(|number| number % 5 == row).unwrap();
            assert_eq!(queue.categories[row], labels[last]);
            assert_eq!(queue.keys[row * 4..][..4], unit_rows(&keys[last * 4..][..4], 4));
        }
        assert_eq!(queue.cursor, written % 5);
    }
    queue.enqueue(&keys[..4], None);
    assert_eq!(queue.categories[3], NO_CATEGORY);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (q, k) = (normals(1, 33 * 16), normals(2, 33 * 16));
    let queue = Queue::new(Key::root(3), 300, 16);
    same_bits_on_any_threads(|| one_direction(&q, &k, &queue, None, 0.07));
}

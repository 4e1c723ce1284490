//! DeepCluster v2: k-means of the memories, and the cross-entropy of the clusters.

use proptest::prelude::*;
use sempair::methods::deepcluster_v2::{Clusters, Memory, cluster, cluster_heads, definition, graded};
use sempair::rng::Key;

use super::{Precision, differentiate, grid, hostile, length, normals, same_bits_on_any_threads, unit_rows};

fn precision(dim: usize, rows: usize, clusters: usize, temperature: f32) -> Precision {
    Precision {
        dim,
        candidates: clusters,
        temperature,
        factor: 1.0,
        slope: 2.0 / (f64::from(temperature) * rows as f64),
    }
}

/// Heads over 30 slots. In the first head, every third slot has no cluster.
fn heads<const P: usize>(seed: u64, counts: &[usize]) -> Vec<Clusters> {
    let head = |(head, &count): (usize, &usize)| {
        let mut stream = Key::root(seed).at(head as u64).stream();
        let assigned = |slot| if head == 0 && slot % 3 == 0 { -1 } else { stream.below(count) as i32 };
        let assignments = (0..30).map(assigned).collect();
        Clusters { centroids: unit_rows(&normals(seed + head as u64, count * P), P), assignments }
    };
    counts.iter().enumerate().map(head).collect()
}

fn check<const P: usize>(pairs: usize, copies: usize, clusters: usize, temperature: f32, seed: u64) {
    let views = hostile(seed, copies * pairs, P);
    let slots = &Key::root(seed).split("slots").stream().permutation(30)[..pairs];
    let heads = heads::<P>(seed, &[clusters, clusters + 3]);
    let ours = graded(&views, P, slots, &heads, temperature);
    let expected = differentiate::<P>(&views, |views| definition(views, slots, &heads, temperature));
    // The mean of a head is over its assigned slots only, so a row's share can be larger.
    let assigned = slots.iter().filter(|&slot| slot % 3 > 0).count().max(1);
    precision(P, assigned * copies, clusters + 3, temperature).check(&views, &ours, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_closed_form_is_the_definition(
        pairs in 1..20usize, copies in 1..4usize, clusters in 1..40usize, temperature in 0.05..1f32, seed in 0..1000u64,
    ) {
        check::<3>(pairs, copies, clusters, temperature, seed);
        check::<16>(pairs, copies, clusters, temperature, seed);
    }
}

// More queries than one block holds.
#[test]
fn many_queries_are_as_few() {
    check::<16>(28, 6, 20, 0.1, 1);
}

// import torch, torch.nn.functional as F  # 2.15.0, in f64
// def grid(step, *shape): return ((torch.arange(torch.Size(shape).numel()) * step) % 11 - 5).div(4).reshape(shape)
// v = grid(7, 4, 3).requires_grad_(True); c = [F.normalize(grid(5, 3, 3)), F.normalize(grid(3, 2, 3))]
// def loss(v, c, targets, t):
//     l = 0
//     for c, a in zip(c, targets):
//         l = l + F.cross_entropy(F.normalize(v) @ c.T / t, torch.tensor(a).repeat(2), ignore_index=-1)
//     return l / len(targets)
// l = loss(v, c, [[2, 0], [-1, 1]], 0.125); print(l, torch.autograd.grad(l, v))
#[test]
fn it_agrees_with_torch() {
    let views = grid(7, 12);
    let heads = [
        Clusters { centroids: unit_rows(&grid(5, 9), 3), assignments: vec![0, 2] },
        Clusters { centroids: unit_rows(&grid(3, 6), 3), assignments: vec![1, -1] },
    ];
    let gradient = [
        0.306267835,
        0.618307305,
        -0.147362283,
        -0.004782864,
        -0.118216248,
        -0.047376856,
        -0.308491617,
        0.542323585,
        -0.308491617,
        0.215831522,
        0.277188662,
        0.074061181,
    ];
    let ours = graded(&views, 3, &[1, 0], &heads, 0.125);
    precision(3, 2, 3, 0.125).check(&views, &ours, (4.054914999, gradient.to_vec()));
}

#[test]
fn without_any_assignment_the_loss_is_zero() {
    let heads = [Clusters { centroids: unit_rows(&grid(5, 9), 3), assignments: vec![-1; 4] }];
    for heads in [&heads[..], &[]] {
        let ours = graded(&normals(1, 12), 3, &[0, 3], heads, 0.1);
        assert!(ours.value == 0.0 && ours.gradient.iter().all(|&g| g == 0.0));
        let (value, gradient) = differentiate::<3>(&normals(1, 12), |v| definition(v, &[0, 3], heads, 0.1));
        assert!(value == 0.0 && gradient.iter().all(|&g| g == 0.0));
    }
}

/// A memory whose slots are all written.
fn memory(rows: &[f32], dim: usize) -> Memory {
    let mut memory = Memory::new(rows.len() / dim, dim);
    memory.write(&(0..rows.len() / dim).collect::<Vec<_>>(), rows);
    memory
}

#[test]
fn a_memory_keeps_the_latest_directions() {
    let mut memory = Memory::new(4, 3);
    memory.write(&[2, 0, 2], &normals(1, 9));
    let rows = unit_rows(&normals(1, 9), 3);
    let expected = [&rows[3..6], &[0.0; 3], &rows[6..9], &[0.0; 3]].concat();
    assert_eq!(memory.rows, expected);
}

/// The same algorithm in f64, with plain loops.
fn naive(memory: &Memory, count: usize, key: Key) -> (Vec<Vec<f64>>, Vec<i32>) {
    let rows: Vec<Vec<f64>> =
        memory.rows.chunks_exact(memory.dim).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect();
    let written: Vec<usize> = (0..rows.len()).filter(|&slot| rows[slot].iter().any(|&x| x != 0.0)).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let start = key.stream().permutation(written.len());
    let mut centroids: Vec<Vec<f64>> = start[..count].iter().map(|&index| rows[written[index]].clone()).collect();
    let assign = |centroids: &[Vec<f64>]| -> Vec<usize> {
        let first_best = |row: &[f64]| {
            let similarities: Vec<f64> = centroids.iter().map(|centroid| dot(row, centroid)).collect();
            (0..count).rev().max_by(|&a, &b| similarities[a].total_cmp(&similarities[b])).unwrap()
        };
        written.iter().map(|&slot| first_best(&rows[slot])).collect()
    };
    for _ in 0..10 {
        let mut assigned = assign(&centroids);
        for empty in 0..count {
            let size = |cluster| assigned.iter().filter(|&&other| other == cluster).count();
            if size(empty) == 0 {
                let largest = (0..count).rev().max_by_key(|&cluster| size(cluster)).unwrap();
                let members = (0..written.len()).filter(|&index| assigned[index] == largest);
                let similarity = |index: usize| dot(&rows[written[index]], &centroids[largest]);
                let outermost = members.min_by(|&a, &b| similarity(a).total_cmp(&similarity(b))).unwrap();
                assigned[outermost] = empty;
            }
        }
        for (cluster, centroid) in centroids.iter_mut().enumerate() {
            let members = (0..written.len()).filter(|&index| assigned[index] == cluster);
            let mut sum = vec![0.0; memory.dim];
            members.for_each(|index| sum.iter_mut().zip(&rows[written[index]]).for_each(|(sum, x)| *sum += x));
            let length = dot(&sum, &sum).sqrt();
            *centroid = sum.iter().map(|x| x / length).collect();
        }
    }
    let mut assignments = vec![-1; rows.len()];
    written.iter().zip(assign(&centroids)).for_each(|(&slot, cluster)| assignments[slot] = cluster as i32);
    (centroids, assignments)
}

// A row whose distance to the border of two clusters is below the rounding error could be assigned to either cluster.
// With these seeds there is no such row.
#[test]
fn k_means_agrees_with_its_naive_version() {
    for (seed, pairs, count) in [(1, 40, 3), (2, 700, 20), (3, 60, 50), (4, 9, 9), (5, 5, 1)] {
        let mut memory = memory(&normals(seed, pairs * 6), 6);
        if seed == 2 {
            memory.rows[60..120].fill(0.0);
        }
        let key = Key::root(seed).split("k-means");
        let ours = cluster(&memory, count, key);
        let (centroids, assignments) = naive(&memory, count, key);
        assert_eq!(ours.assignments, assignments);
        // A centroid is an exact sum, rounded. It sums the same rows as the naive version.
        for (ours, expected) in ours.centroids.iter().zip(centroids.concat()) {
            assert!((f64::from(*ours) - expected).abs() <= f64::from(f32::EPSILON), "{ours}, expected {expected}");
        }
    }
}

#[test]
fn k_means_finds_separate_clusters() {
    let mut rows = normals(3, 90 * 4);
    rows.chunks_exact_mut(4).enumerate().for_each(|(slot, row)| {
        row.iter_mut().for_each(|x| *x *= 0.05);
        row[slot % 3] += 1.0;
    });
    // If k-means starts from rows of the same direction, it may end in a worse optimum, so not every start finds the
    // clusters.
    let found = (0..20).filter(|&seed| {
        let Clusters { assignments, .. } = cluster(&memory(&rows, 4), 3, Key::root(seed));
        (3..90).all(|slot| assignments[slot] == assignments[slot % 3])
            && (assignments[0] != assignments[1]
                && assignments[1] != assignments[2]
                && assignments[0] != assignments[2])
    });
    assert!(found.count() >= 10);
}

#[test]
fn k_means_bears_equal_and_opposite_rows() {
    let equal = memory(&[1.0, 2.0].repeat(8), 2);
    let opposite = memory(&[1.0, 0.0, -1.0, 0.0].repeat(4), 2);
    for (memory, count) in [(equal, 5), (opposite, 1)] {
        let Clusters { centroids, assignments } = cluster(&memory, count, Key::root(1));
        assert!(centroids.chunks_exact(2).all(|row| (length(row) - 1.0).abs() < 1e-6), "{centroids:?}");
        assert!(assignments.iter().all(|&cluster| cluster == 0), "{assignments:?}"); // the first of equal clusters
    }
}

#[test]
fn heads_take_turns_with_the_memories() {
    let memories = [1, 2].map(|seed| memory(&normals(seed, 40 * 3), 3));
    let key = Key::root(5);
    let heads = cluster_heads(&memories, &[4, 4, 6], key);
    let expected =
        [cluster(&memories[0], 4, key.at(0)), cluster(&memories[1], 4, key.at(1)), cluster(&memories[0], 6, key.at(2))];
    assert_eq!(heads, expected);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let memory = memory(&normals(1, 900 * 16), 16);
    let views = normals(2, 66 * 16);
    let slots: Vec<usize> = (0..33).map(|pair| 5 * pair).collect();
    same_bits_on_any_threads(|| {
        let heads = [cluster(&memory, 30, Key::root(1))];
        let mut graded = graded(&views, 16, &slots, &heads, 0.1);
        graded.gradient.extend_from_slice(&heads[0].centroids);
        graded
    });
}

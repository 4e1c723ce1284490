//! PIRL: noise-contrastive estimation against a memory bank.

use proptest::prelude::*;
use sempair::methods::pirl::{MemoryBank, Slots, definition, graded};
use sempair::rng::Key;

use super::{
    Precision, categories, differentiate, grid, hostile, length, normals, same_bits_on_any_threads, unit_rows,
};

/// The slopes of one NCE with respect to the negatives' logits, w_j (miss + 1 / (1 + w_j) + 1), add up to at most 3.
/// The positive's slope is at most 1.
fn precision(dim: usize, pairs: usize, candidates: usize, temperature: f32) -> Precision {
    Precision { dim, candidates, temperature, factor: 2.0, slope: 4.0 / (f64::from(temperature) * pairs as f64) }
}

fn check<const P: usize>(pairs: usize, negatives: usize, temperature: f32, seed: u64, labelled: bool) {
    let views = hostile(seed, 2 * pairs, P);
    let bank = MemoryBank::new(Key::root(seed), 100, P);
    let own = Key::root(seed).split("own").stream().permutation(100);
    let labels = categories(seed, 100, 3);
    let slots = Slots {
        bank: &bank,
        own: &own[..pairs],
        negatives: &bank.draw(Key::root(seed), negatives),
        categories: labelled.then_some(&labels),
    };
    let weight = 0.3;
    let ours = graded(&views, slots, weight, temperature);
    let expected = differentiate::<P>(&views, |views| definition(views, slots, weight, temperature));
    precision(P, pairs, negatives, temperature).check(&views, &ours, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_closed_form_is_the_definition(
        pairs in 1..20usize, negatives in 1..60usize, temperature in 0.05..1f32, seed in 0..1000u64, labelled: bool,
    ) {
        check::<3>(pairs, negatives, temperature, seed, labelled);
        check::<16>(pairs, negatives, temperature, seed, labelled);
    }
}

// More queries than one block holds.
#[test]
fn many_queries_are_as_few() {
    check::<16>(80, 50, 0.1, 1, true);
}

// import torch, torch.nn.functional as F  # 2.15.0, in f64
// def grid(step, *shape): return ((torch.arange(torch.Size(shape).numel()) * step) % 11 - 5).div(4).reshape(shape)
// v = grid(7, 4, 3).requires_grad_(True); bank = F.normalize(grid(5, 5, 3))
// def nce(v, m, n, t):
//     v = F.normalize(v)
//     p, e = (v * m).sum(1).div(t).exp(), (v @ n.T).div(t).exp()
//     h = lambda x: x / (x + e.sum(1, keepdim=True))
//     return (-h(p[:, None]).log().sum(1) - (1 - h(e)).log().sum(1)).mean()
// own, neg = bank[[4, 1]], bank[[0, 2, 3]]
// for t, lam in ((0.5, 0.5), (0.125, 0.25)):
//     l = lam * nce(v[2:], own, neg, t) + (1 - lam) * nce(v[:2], own, neg, t); print(l, torch.autograd.grad(l, v))
#[test]
fn it_agrees_with_torch() {
    let views = grid(7, 12);
    let bank = MemoryBank { rows: unit_rows(&grid(5, 15), 3), dim: 3 };
    let cases = [
        (
            (0.5, 0.5),
            2.035495119,
            [
                -0.107340114,
                -0.265231374,
                0.003118912,
                0.095191298,
                -0.244379566,
                0.077192307,
                0.009263492,
                -0.290065452,
                0.009263492,
                0.017377961,
                -0.250764968,
                0.06057977,
            ],
        ),
        (
            (0.125, 0.25),
            2.795479645,
            [
                -0.489241386,
                -1.998628432,
                -0.775524967,
                0.84179188,
                -1.671104378,
                0.845951674,
                0.039357533,
                -0.586007053,
                0.039357533,
                -0.151586966,
                -0.477723491,
                0.004592519,
            ],
        ),
    ];
    for ((temperature, weight), value, gradient) in cases {
        let slots = Slots { bank: &bank, own: &[4, 1], negatives: &[0, 2, 3], categories: None };
        let ours = graded(&views, slots, weight, temperature);
        precision(3, 2, 3, temperature).check(&views, &ours, (value, gradient.to_vec()));
        // A pair's own slot among the negatives does not count.
        let others = Slots { own: &[4, 4], negatives: &[0, 2, 3, 4], ..slots };
        let without = Slots { own: &[4, 4], ..slots };
        let [with, without] = [others, without].map(|slots| graded(&views, slots, weight, temperature));
        precision(3, 2, 3, temperature).check_value(with.value, without.value);
    }
}

#[test]
fn a_pair_without_negatives_has_no_loss() {
    let bank = MemoryBank::new(Key::root(1), 3, 4);
    let slots = Slots { bank: &bank, own: &[1], negatives: &[1], categories: None };
    let ours = graded(&normals(1, 8), slots, 0.5, 0.07);
    assert!(ours.value == 0.0 && ours.gradient.iter().all(|&g| g == 0.0));
}

#[test]
fn a_slot_moves_half_way_to_its_image() {
    let mut bank = MemoryBank::new(Key::root(1), 6, 5);
    let before = bank.clone();
    let images = normals(2, 3 * 5);
    bank.update(&[4, 0, 4], &images);
    let half = |m: &[f32], v: &[f32]| {
        let middle: Vec<f32> = m.iter().zip(unit_rows(v, 5)).map(|(m, v)| 0.5 * m + 0.5 * v).collect();
        unit_rows(&middle, 5)
    };
    let once = half(&before.rows[20..25], &images[..5]);
    assert_eq!(bank.rows[20..25], half(&once, &images[10..]));
    assert_eq!(bank.rows[..5], half(&before.rows[..5], &images[5..10]));
    assert_eq!(bank.rows[5..20], before.rows[5..20]);
    assert!(bank.rows.chunks_exact(5).all(|row| (length(row) - 1.0).abs() < 1e-6));
}

// Each of 20 slots is drawn with probability 1/4: 500 times on average in 2000 draws, with a standard deviation of 19.
#[test]
fn negatives_are_different_slots_drawn_uniformly() {
    let bank = MemoryBank::new(Key::root(1), 20, 2);
    let mut times = [0; 20];
    for draw in 0..2000 {
        let slots = bank.draw(Key::root(2).at(draw), 5);
        assert!(slots.len() == 5 && slots.windows(2).all(|two| two[0] < two[1]));
        slots.iter().for_each(|&slot| times[slot] += 1);
    }
    assert!(times.iter().all(|&count| (420..580).contains(&count)), "{times:?}");
    assert_eq!(bank.draw(Key::root(3), 50), (0..20).collect::<Vec<_>>());
}

#[test]
fn bits_do_not_depend_on_threads() {
    let views = normals(1, 66 * 16);
    let bank = MemoryBank::new(Key::root(1), 300, 16);
    let own: Vec<usize> = (0..33).map(|pair| 7 * pair).collect();
    let negatives = bank.draw(Key::root(2), 200);
    let slots = Slots { bank: &bank, own: &own, negatives: &negatives, categories: None };
    same_bits_on_any_threads(|| graded(&views, slots, 0.5, 0.07));
}

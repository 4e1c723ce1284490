//! SwAV's assignments, swapped prediction and queue.

use sempair::methods::sinkhorn::assign;
use sempair::methods::swav::{ProjectionQueue, definition, graded};

use super::sinkhorn::PAPER;
use super::*;

// import torch, torch.nn.functional as F  # 2.15.0
// def sinkhorn(out, eps=0.05, it=3):  # the authors' code, on one machine
//     Q = torch.exp(out / eps).t(); K, B = Q.shape; Q /= Q.sum()
//     for _ in range(it): Q /= Q.sum(1, keepdim=True); Q /= K; Q /= Q.sum(0, keepdim=True); Q /= B
//     return (Q * B).t()
// rows = lambda n, f: torch.arange(4 * n).reshape(n, 4).mul(f).sin().double()
// s, queue, l = rows(6, 0.7).requires_grad_(True), rows(3, 1.1), 0
// for i in range(2):
//     q = sinkhorn(torch.cat([s.detach().chunk(3)[i], queue]))[:2]; print(q)
//     others = [-(q * F.log_softmax(s.chunk(3)[j] / 0.1, dim=1)).sum(1).mean() for j in range(3) if j != i]
//     l = l + sum(others) / 2 / 2
// print(l.item(), torch.autograd.grad(l, s))
#[test]
fn agrees_with_torch() {
    let (scores, queue) = (sines(24, 0.7), sines(12, 1.1));
    let assigned = |view: usize| assign(&[&scores[view * 8..][..8], &queue].concat(), 4, 2, PAPER);
    let assignments = [assigned(0), assigned(1)].concat();
    let expected = [
        [1.804e-06, 0.006489354, 0.93530782, 0.058201022],
        [0.99999999, 1e-08, 0.0, 0.0],
        [0.0, 3.49e-07, 0.438566932, 0.561432719],
        [0.999843939, 0.00015606, 1e-09, 0.0],
    ];
    // A score of 1 is 20 after division by epsilon, and passes six scalings.
    for (ours, expected) in assignments.iter().zip(expected.as_flattened()) {
        assert!((f64::from(*ours) - expected).abs() < 1e-9 + 6.0 * 20.0 * EPS, "{ours} for {expected}");
    }
    let gradient = [
        [4.9443e-05, 0.031038785, 0.393383479, -0.424471707],
        [-0.001127232, 0.001117677, 7.184e-06, 2.371e-06],
        [-2.144e-06, -0.008038781, -1.125177277, 1.133218202],
        [-0.005883992, 0.005877764, 6.191e-06, 3.7e-08],
        [-2.083e-06, -0.00810575, -1.713025232, 1.721133065],
        [-0.47704052, 0.474947955, 0.002090354, 2.21e-06],
    ];
    let ours = graded(&scores, &assignments, 4, 0.1);
    assert_torch(&ours, 1.677627786, gradient.as_flattened(), 6.0 * 20.0);
}

#[test]
fn the_closed_form_is_the_definition() {
    fn check<const K: usize>(views: usize, batch: usize, seed: u64) {
        let scores = hard_rows(views * batch, K, seed);
        let (first, second) = scores[..2 * batch * K].split_at(batch * K);
        let q = [assign(first, K, batch, PAPER), assign(second, K, batch, PAPER)].concat();
        let defined = defined::<K>(&scores, |s| definition(s, tensor::<K>(&q), 0.1));
        let steps = EPS * (8.0 + 2.0 * largest(&scores) / 0.1);
        let of_value = steps * (K as f64).ln().max(1.0);
        let of_gradient = steps / ((views - 1) * batch) as f64 / 0.1;
        let ours = graded(&scores, &q, K, 0.1);
        assert_graded(&ours, &defined, of_value, |_| of_gradient, &format!("swav {views} views, batch {batch}, K {K}"));
    }
    check::<1>(2, 1, 1);
    check::<6>(2, 2, 2);
    check::<40>(5, 7, 3);
}

#[test]
fn the_queue_holds_the_last_rows() {
    let (capacity, width) = (5, 3);
    let rows = numbers(17 * width, 1);
    let (mut queue, mut naive) = (ProjectionQueue::new(capacity, width), std::collections::VecDeque::new());
    let mut rest = rows.as_slice();
    for count in [2, 2, 0, 1, 4, 8] {
        let (batch, after) = rest.split_at(count * width);
        queue.push(batch);
        batch.chunks(width).for_each(|row| naive.push_back(row.to_vec()));
        naive.drain(..naive.len().saturating_sub(capacity));
        rest = after;
        assert_eq!(queue.filled, naive.len());
        assert_eq!(queue.is_full(), naive.len() == capacity);
        let oldest = if queue.is_full() { queue.cursor } else { 0 };
        let held = (0..queue.filled).map(|at| queue.rows[(oldest + at) % capacity * width..][..width].to_vec());
        assert!(held.eq(naive.iter().cloned()));
    }
}

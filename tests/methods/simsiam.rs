//! SimSiam's regression.

use sempair::methods::simsiam::{definition, graded};

use super::byol::rounding;
use super::*;

// import torch, torch.nn.functional as F  # 2.15.0
// D = lambda p, z: -F.cosine_similarity(p, z.detach()).mean()
// p, z = [torch.arange(12).reshape(4, 3).mul(f).sin().double().requires_grad_(True) for f in (0.7, 1.3)]
// l = D(p[:2], z[2:]) / 2 + D(p[2:], z[:2]) / 2; print(l.item(), torch.autograd.grad(l, p))
#[test]
fn agrees_with_torch() {
    let gradient = [
        [-0.158738558, -0.095811533, 0.062634836],
        [0.000386108, -0.137235812, -0.130106238],
        [0.081975851, -0.058871863, -0.021558784],
        [0.126244613, 0.130537316, -0.088936172],
    ];
    let ours = graded(&sines(12, 0.7), &sines(12, 1.3), 3);
    assert_torch(&ours, 0.532470855, gradient.as_flattened(), 8.0);
}

#[test]
fn the_closed_form_is_the_definition() {
    for (rows, seed) in [(2, 1), (4, 2), (30, 3)] {
        let (p, z) = (hard_rows(rows, 9, seed), hard_rows(rows, 9, seed + 1));
        let defined = defined::<9>(&p, |p| definition(p, tensor::<9>(&z)));
        assert_graded(&graded(&p, &z, 9), &defined, 1e-13, rounding::<9>(&defined), &format!("simsiam {rows} rows"));
    }
}

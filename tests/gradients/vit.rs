//! Stochastic depth, and transformers on images whose side differs from the side of their positions.

use sempair::models::VitMini;
use sempair::nn::{Builder, Layer, Parameters, Pass, PatchEmbedding, TransformerBlock};
use sempair::rng::Key;
use sempair::tensor::{Const, Cpu, Images, Tensor};

use super::{
    F32, SmallVit, assert_close, built, built_for, check, check_bf16, check_bf16_for, check_with, images, normals,
};

type SmallBlock = TransformerBlock<12, 3, 20>;

fn pass(index: u64, drop_path: f32) -> Option<Pass> {
    Some(Pass { key: Key::root(5).at(index), drop_path })
}

#[test]
fn blocks_that_drop_paths_agree_with_finite_differences() {
    let tokens = (6, Const::<5>, Const::<12>);
    check_with::<SmallBlock, _>(tokens, 4e-3, 8, |p| p.pass = pass(0, 0.5));
    check_with::<SmallBlock, _>(tokens, 4e-3, 8, |p| p.pass = pass(1, 0.3));
    check_with::<SmallVit, _>(images::<8>(6), 6e-3, 8, |p| p.pass = pass(2, 0.5));
}

#[test]
fn images_of_another_side_agree_with_finite_differences() {
    check_with::<PatchEmbedding<4, 6>, _>(images::<8>(3), 1e-3, 12, |_| {});
    check::<PatchEmbedding<4, 6>, _>(images::<12>(3), 1e-3);
    check::<SmallVit, _>(images::<12>(3), 6e-3);
    check_bf16_for::<PatchEmbedding<8, 6>, _>(32, images::<16>(3), 1e-2);
    check_bf16::<SmallVit, _>(images::<12>(3), 4e-2);
}

/// The number of equal images in a batch.
const BATCH: usize = 2000;

/// y - x of each of `BATCH` equal images, for a block in which only one branch has an effect.
fn differences(index: usize, depth: usize, silent: &str, pass: Option<Pass>) -> Vec<f32> {
    let key = Key::root(6);
    let mut builder = Builder::new(&key);
    let block = SmallBlock::at_depth(&mut builder, index, depth);
    let mut p = builder.finish(&F32);
    let mut stream = key.split("values").stream();
    p.values.iter_mut().for_each(|value| *value += 0.1 * stream.normal());
    for entry in p.layout.entries.clone().iter().filter(|entry| entry.name.contains(silent)) {
        p.values[entry.slot.start..][..entry.slot.len].fill(0.0);
    }
    p.pass = pass;
    let image = normals(&mut stream, 2 * 12);
    let x: Vec<f32> = image.chunks_exact(12).flat_map(|token| token.repeat(BATCH)).collect();
    let x = Tensor::upload(&F32, (BATCH, Const::<2>, Const::<12>), &x);
    let y = block.forward(x.clone(), &mut p).0.download();
    // The first channel of the second token.
    let last = BATCH * 12..;
    y[last.clone()].iter().zip(&x.download()[last]).step_by(12).map(|(y, x)| y - x).collect()
}

#[test]
fn a_branch_is_left_out_or_scaled_so_that_its_mean_stays() {
    for (index, silent) in ["fc2", "proj"].iter().enumerate() {
        let whole = differences(0, 1, silent, None)[0];
        assert!(whole.abs() > 0.01, "{silent}: the branch does nothing: {whole}");
        let dropped = differences(0, 1, silent, pass(index as u64, 0.25));
        let kept = dropped.iter().filter(|difference| **difference != 0.0);
        assert!(kept.clone().all(|kept| (kept - whole / 0.75).abs() < 1e-5), "{silent}: {whole}, {:?}", &dropped[..8]);
        // Within five standard deviations of the binomial distribution.
        let share = kept.count() as f64 / BATCH as f64;
        assert!((share - 0.75).abs() < 5.0 * (0.75 * 0.25 / BATCH as f64).sqrt(), "{silent}: kept {share}");
    }
}

#[test]
fn branches_blocks_and_passes_draw_for_themselves() {
    let dropped = |index, silent, pass| -> Vec<bool> {
        differences(index, 4, silent, pass).into_iter().map(|difference| difference == 0.0).collect()
    };
    let draws = [
        dropped(3, "fc2", pass(0, 0.5)),
        dropped(3, "proj", pass(0, 0.5)),
        dropped(3, "fc2", pass(1, 0.5)),
        dropped(2, "fc2", pass(0, 0.75)), // the same rate, because of its index
    ];
    for (at, a) in draws.iter().enumerate() {
        for b in &draws[..at] {
            let equal = a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / BATCH as f64;
            assert!((equal - 0.5).abs() < 5.0 * (0.25 / BATCH as f64).sqrt(), "equal in {equal}");
        }
    }
    assert_eq!(draws[0], dropped(3, "fc2", pass(0, 0.5)));
}

#[test]
fn the_rate_rises_linearly_with_depth() {
    for (index, rate) in [0.0, 0.2, 0.4, 0.6].into_iter().enumerate() {
        let dropped =
            differences(index, 4, "fc2", pass(0, 0.6)).iter().filter(|difference| **difference == 0.0).count();
        let deviation = (rate * (1.0 - rate) / BATCH as f64).sqrt();
        assert!((dropped as f64 / BATCH as f64 - rate).abs() <= 5.0 * deviation, "block {index}: {dropped}");
    }
}

#[test]
fn a_rate_of_zero_and_evaluation_change_no_bits() {
    let mut stream = Key::root(7).stream();
    let (network, mut p) = built::<SmallVit>(&F32, &mut stream);
    let x = Tensor::upload(&F32, images::<8>(5), &normals(&mut stream, 5 * 8 * 8 * 3));
    let plain = network.forward(x.clone(), &mut p).0.download();
    let evaluated = network.infer(x.clone(), &p).download();
    p.pass = pass(0, 0.0);
    assert_eq!(network.forward(x.clone(), &mut p).0.download(), plain);
    p.pass = pass(0, 0.9);
    assert_eq!(network.infer(x.clone(), &p).download(), evaluated);
    assert_ne!(network.forward(x, &mut p).0.download(), plain);
}

/// The tokens of an all-zero image from an embedding in which only the positions are not zero. They are the positions.
/// Returns the first four values of the patches' positions and a weighted sum of all.
fn positions(height: usize, width: usize) -> (Vec<f64>, f64) {
    let (layer, mut p) = built_for::<PatchEmbedding<4, 2>>(32, &F32, &mut Key::root(0).stream());
    p.values.fill(0.0);
    let slot = p.layout.entries.iter().find(|entry| entry.name == "pos_embed").unwrap().slot;
    assert_eq!(slot.len, 65 * 2);
    p.values[slot.start..][..2].fill(7.0);
    for i in 0..128 {
        p.values[slot.start + 2 + i] = (0.37 * i as f64).sin() as f32;
    }
    let image: Images<usize> = (1, height, width, Const);
    let tokens = layer.infer(Tensor::upload(&F32, image, &vec![0.0; height * width * 3]), &p).download();
    assert_eq!(tokens[..2], [7.0, 7.0]); // the position of the class token
    let patches: Vec<f64> = tokens[2..].iter().map(|value| f64::from(*value)).collect();
    let sum = patches.iter().enumerate().map(|(i, value)| value * (0.11 * i as f64).cos()).sum();
    (patches[..4].into(), sum)
}

// import torch, torch.nn.functional as F  # 2.15.0
// t = torch.arange(128, dtype=torch.float64).mul(0.37).sin().reshape(1, 8, 8, 2).permute(0, 3, 1, 2)
// for size in ((4, 4), (6, 6), (12, 12), (4, 12)):
//     r = F.interpolate(t, size=size, mode="bicubic", align_corners=False, antialias=False)
//     r = r.permute(0, 2, 3, 1).flatten(); w = torch.arange(r.numel(), dtype=torch.float64).mul(0.11).cos()
//     print(size, r[:4].tolist(), (r * w).sum().item())
#[test]
fn positions_of_other_sizes_agree_with_torch() {
    let expected = [
        (positions(16, 16), [0.1641142750, 0.5007352615, 1.0112367718, 0.8952213405], 0.1081074692),
        (positions(24, 24), [0.0462090722, 0.3945435342, 0.8906113489, 1.0090811332], 2.1941695032),
        (positions(48, 48), [-0.0273252855, 0.3470956415, 0.3374111747, 0.6493481832], 10.1614108424),
        (positions(16, 48), [-0.2096918660, 0.1656047097, 0.1641142750, 0.5007352615], 2.8146020012),
    ];
    for ((first, sum), torch, torch_sum) in expected {
        assert_close(&first, &torch, 1e-6);
        // A few hundred numbers of size 1, each accurate to a few 1e-7.
        assert!((sum - torch_sum).abs() < 1e-5, "{sum}, torch has {torch_sum}");
    }
}

#[test]
fn the_small_vit_has_the_parameters_it_states() {
    let count = |p: Parameters<Cpu>| p.count();
    assert_eq!(count(built_for::<VitMini>(32, &F32, &mut Key::root(0).stream()).1), 2_691_648);
    assert_eq!(count(built_for::<VitMini<8>>(32, &F32, &mut Key::root(0).stream()).1), 2_710_080);
}

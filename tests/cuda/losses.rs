//! Losses on the simulated GPU against the closed forms on the CPU, which `methods` holds against dfdx: over random shapes,
//! in both formats, in the order of threads that the environment asks for.

use std::cell::RefCell;
use std::rc::Rc;

use dfdx::prelude::{AsArray, Backward};
use half::bf16;
use proptest::prelude::*;
use sempair::methods::deepcluster_v2::Clusters;
use sempair::methods::dino::{self, Centre, Temperatures};
use sempair::methods::moco_v2::Queue;
use sempair::methods::pirl::{MemoryBank, Slots};
use sempair::methods::sinkhorn::{Sinkhorn, assign};
use sempair::methods::{
    LossAndGrad, barlow_twins, deepcluster_v2, moco_v2, moco_v3, nt_xent_in_closed_form, pirl, simsiam, supervised,
    swav, vicreg,
};
use sempair::rng::Key;
use sempair::tensor::bridge::on_tape;
use sempair::tensor::{Comparison, Cuda, Device, DeviceLoss, Losses, Precision, Rows, Term, ViewTargets};

use super::gpu;

/// `len` numbers in [-scale, scale) that both formats can hold.
fn numbers(len: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut stream = Key::root(seed).split("loss").stream();
    (0..len).map(|_| bf16::from_f32(stream.range(-scale, scale)).to_f32()).collect()
}

/// Asserts that each GPU's loss, computed twice with the same bits, is the CPU's.
fn assert_loss(what: &str, cpu: &LossAndGrad, loss: impl Fn(&Cuda) -> Option<DeviceLoss<Cuda>>) {
    let size = cpu.gradient.iter().fold(0.0, |size: f64, g| size.max(f64::from(g.abs())));
    for precision in [Precision::F32, Precision::Bf16] {
        let Some(device) = gpu(precision) else { return };
        let graded = || {
            let DeviceLoss { gradient, value } = loss(&device).unwrap();
            (value.value(), device.download(&gradient))
        };
        let (value, gradient) = graded();
        assert!((value, gradient.clone()) == graded(), "{what}: other bits again");
        assert!(
            (value - cpu.value).abs() <= 2e-5 * (1.0 + cpu.value.abs()),
            "{what}: {value}, {} on the CPU",
            cpu.value
        );
        assert_eq!(gradient.len(), cpu.gradient.len(), "{what}");
        let unit = if precision == Precision::Bf16 { 1.0 / 256.0 } else { 0.0 };
        for (at, (&ours, &cpu)) in gradient.iter().zip(&cpu.gradient).enumerate() {
            let (ours, cpu) = (f64::from(ours), f64::from(cpu));
            let tolerance = 3e-5 * size + unit * cpu.abs();
            let what = format!("{what} in {}: gradient {at} is {ours}, on the CPU {cpu}", precision.name());
            assert!((ours - cpu).abs() <= tolerance, "{what}");
        }
    }
}

fn assert_nt_xent<const P: usize>(pairs: usize, temperature: f32, seed: u64) {
    let z = numbers(2 * pairs * P, 1.0, seed);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&seen);
    let tape = on_tape::<P>(z.clone(), 2 * pairs, move |dz| sink.borrow_mut().extend_from_slice(dz));
    let loss = nt_xent_in_closed_form(tape, temperature);
    let value = f64::from(loss.array());
    loss.backward();
    let cpu = LossAndGrad { value, gradient: seen.take() };
    assert_loss("NT-Xent", &cpu, |device| device.nt_xent(&device.upload(&z), P, temperature));
}

/// Scores (rows, classes) and the temperatures of student and teacher.
fn assert_dino(batch: usize, views: usize, classes: usize, seed: u64) {
    let student = numbers(views * batch * classes, 1.0, seed);
    let teacher = numbers(2 * batch * classes, 1.0, seed + 1);
    let temperatures = Temperatures { student: 0.1, teacher: 0.07 };
    let mut centre = Centre { mean: numbers(classes, 0.5, seed + 2) };
    let before = centre.mean.clone();
    let cpu = dino::graded(&student, &teacher, &centre, temperatures);
    centre.update(&teacher, 0.9);
    assert_loss("DINO", &cpu, |device| {
        let mut moved = device.arena(before.clone());
        let (scores, centre_momentum) = (&device.upload(&teacher), 0.9);
        let targets = ViewTargets::Centred { scores, centre: &mut moved, temperature: 0.07, momentum: centre_momentum };
        let loss = device.view_cross_entropy(&device.upload(&student), targets, classes, temperatures.student);
        for (ours, cpu) in device.host(&moved).iter().zip(&centre.mean) {
            assert!((ours - cpu).abs() <= 1e-6, "the centre moved to {ours}, on the CPU to {cpu}");
        }
        loss
    });
    let cpu = dino::shared(&student, &teacher, classes, temperatures);
    assert_loss("DINO with shared targets", &cpu, |device| {
        let scores = &device.upload(&teacher);
        let targets = ViewTargets::Shared { scores, groups: 1, given: 2 * batch, epsilon: 0.07, rounds: 3 };
        device.view_cross_entropy(&device.upload(&student), targets, classes, temperatures.student)
    });
}

/// With `queued` rows of scores that take their share of the classes and give no targets.
fn assert_swav(batch: usize, views: usize, classes: usize, queued: usize, seed: u64) {
    let scores = numbers(views * batch * classes, 1.0, seed);
    let queues = numbers(2 * queued * classes, 1.0, seed + 1);
    let sinkhorn = Sinkhorn { epsilon: 0.05, iterations: 3 };
    let assigned = |view: usize| {
        let of_view = |rows: &[f32], count: usize| rows[view * count * classes..][..count * classes].to_vec();
        [of_view(&scores, batch), of_view(&queues, queued)].concat()
    };
    let targets = [0, 1].map(|view| assign(&assigned(view), classes, batch, sinkhorn));
    let cpu = swav::graded(&scores, &targets.concat(), classes, 0.1);
    assert_loss("SwAV", &cpu, |device| {
        let assigning = &device.upload(&[assigned(0), assigned(1)].concat());
        let targets = ViewTargets::Shared { scores: assigning, groups: 2, given: batch, epsilon: 0.05, rounds: 3 };
        device.view_cross_entropy(&device.upload(&scores), targets, classes, 0.1)
    });
}

/// Rows of unit length on the host.
fn unit_rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut rows = numbers(count * width, 1.0, seed);
    for row in rows.chunks_exact_mut(width) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        row.iter_mut().for_each(|x| *x /= length);
    }
    rows
}

/// Terms of equal weight, with the candidates that do not count.
fn terms(weight: f32, excluded: impl IntoIterator<Item = Option<u32>>) -> Vec<Term> {
    excluded.into_iter().map(|excluded| Term { weight, excluded }).collect()
}

fn assert_moco(pairs: usize, queue: usize, width: usize, temperature: f32, seed: u64) {
    let queries = numbers(2 * pairs * width, 1.0, seed);
    let keys = unit_rows(2 * pairs, width, seed + 1);
    let halves = |device: &Cuda| (device.upload(&queries), device.arena(keys.clone()));
    let of_other = |first: usize| pairs - first..2 * pairs - first;

    let queues = [seed + 2, seed + 3].map(|seed| Queue::new(Key::root(seed), queue, width));
    let cpu = moco_v2::both_directions(&queries, &keys, queues.each_ref(), None, temperature);
    assert_loss("MoCo v2", &cpu, |device| {
        let (queries, keys) = halves(device);
        let queues = queues.each_ref().map(|queue| device.arena(queue.keys.clone()));
        let comparisons = [(0, &queues[1]), (pairs, &queues[0])].map(|(first, arena)| Comparison {
            first,
            terms: terms(0.5 / pairs as f32, vec![None; pairs]),
            candidates: Rows { arena, rows: 0..queue },
            positives: Rows { arena: &keys, rows: of_other(first) },
            mistaken: false,
        });
        Some(device.info_nce(&queries, width, temperature, &comparisons))
    });

    let cpu = moco_v3::both_directions(&queries, &keys, width, None, temperature);
    assert_loss("MoCo v3", &cpu, |device| {
        let (queries, keys) = halves(device);
        let comparisons = [0, pairs].map(|first| Comparison {
            first,
            terms: terms(2.0 * temperature / pairs as f32, (0..pairs as u32).map(Some)),
            candidates: Rows { arena: &keys, rows: of_other(first) },
            positives: Rows { arena: &keys, rows: of_other(first) },
            mistaken: false,
        });
        Some(device.info_nce(&queries, width, temperature, &comparisons))
    });
}

fn assert_pirl(pairs: usize, negatives: usize, width: usize, temperature: f32, seed: u64) {
    let views = numbers(2 * pairs * width, 1.0, seed);
    let bank = MemoryBank::new(Key::root(seed), 70, width);
    let own = Key::root(seed).stream().permutation(70)[..pairs].to_vec();
    let negatives = bank.draw(Key::root(seed + 1), negatives);
    let slots = Slots { bank: &bank, own: &own, negatives: &negatives, categories: None };
    let weight = 0.3;
    let cpu = pirl::graded(&views, slots, weight, temperature);
    assert_loss("PIRL", &cpu, |device| {
        let bank = device.arena(bank.rows.clone());
        let gather = |slots: &[usize]| {
            device.gather_rows(&bank, &slots.iter().map(|&slot| slot as u32).collect::<Vec<_>>(), width)
        };
        let (positives, candidates) = (gather(&own), gather(&negatives));
        let itself = |slot: &usize| negatives.iter().position(|other| other == slot).map(|index| index as u32);
        let comparisons = [(0, 1.0 - weight), (pairs, weight)].map(|(first, share)| Comparison {
            first,
            terms: terms(share / pairs as f32, own.iter().map(itself)),
            candidates: Rows { arena: &candidates, rows: 0..negatives.len() },
            positives: Rows { arena: &positives, rows: 0..pairs },
            mistaken: true,
        });
        Some(device.info_nce(&device.upload(&views), width, temperature, &comparisons))
    });
}

/// Two heads; every third slot of the first has no cluster.
fn assert_deepcluster(pairs: usize, clusters: usize, width: usize, temperature: f32, seed: u64) {
    let views = numbers(2 * pairs * width, 1.0, seed);
    let head = |index: usize| {
        let mut stream = Key::root(seed).at(index as u64).stream();
        let count = clusters + 3 * index;
        let assigned = |slot: usize| if index == 0 && slot.is_multiple_of(3) { -1 } else { stream.below(count) as i32 };
        Clusters { assignments: (0..pairs).map(assigned).collect(), centroids: unit_rows(count, width, seed + 1) }
    };
    let heads = [head(0), head(1)];
    let slots: Vec<usize> = (0..pairs).collect();
    let cpu = deepcluster_v2::graded(&views, width, &slots, &heads, temperature);
    assert_loss("DeepCluster v2", &cpu, |device| {
        let arenas = heads.each_ref().map(|head| device.arena(head.centroids.clone()));
        let targets = heads.each_ref().map(|head| head.assignments.repeat(2));
        let positives: Vec<_> = (0..2)
            .map(|index| {
                let places: Vec<u32> = targets[index].iter().map(|&target| target.max(0) as u32).collect();
                device.gather_rows(&arenas[index], &places, width)
            })
            .collect();
        let comparisons = [0, 1].map(|index| {
            let counted = targets[index].iter().filter(|&&target| target >= 0).count().max(1);
            let term = |&target: &i32| Term {
                weight: if target < 0 { 0.0 } else { 0.5 / counted as f32 },
                excluded: u32::try_from(target).ok(),
            };
            Comparison {
                first: 0,
                terms: targets[index].iter().map(term).collect(),
                candidates: Rows { arena: &arenas[index], rows: 0..clusters + 3 * index },
                positives: Rows { arena: &positives[index], rows: 0..2 * pairs },
                mistaken: false,
            }
        });
        Some(device.info_nce(&device.upload(&views), width, temperature, &comparisons))
    });
}

fn assert_barlow_twins(pairs: usize, width: usize, scale: f32, seed: u64) {
    let z = numbers(2 * pairs * width, scale, seed);
    let weights = barlow_twins::Weights { redundancy: 0.0051, scale: 0.7 };
    let cpu = barlow_twins::graded(&z, width, weights);
    assert_loss("Barlow Twins", &cpu, |device| device.barlow_twins(&device.upload(&z), width, weights.of_device()));
}

fn assert_supervised<const K: usize>(rows: usize, seed: u64) {
    let scores = numbers(rows * K, 4.0, seed);
    let mut stream = Key::root(seed).split("categories").stream();
    let categories: Vec<u32> = (0..rows).map(|_| stream.below(K) as u32).collect();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&seen);
    let tape = on_tape::<K>(scores.clone(), rows, move |gradient| sink.borrow_mut().extend_from_slice(gradient));
    let loss = supervised::cross_entropy(tape, &categories);
    let value = f64::from(loss.array());
    loss.backward();
    let cpu = LossAndGrad { value, gradient: seen.take() };
    assert_loss("supervised", &cpu, |device| device.category_cross_entropy(&device.upload(&scores), &categories, K));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nt_xent(pairs in 1usize..12, seed in 0u64..1000, temperature in 0.1f32..1.0) {
        assert_nt_xent::<24>(pairs, temperature, seed);
        assert_nt_xent::<7>(pairs, temperature, seed);
    }

    #[test]
    fn mean_cosine(pairs in 1usize..40, width in 1usize..300, seed in 0u64..1000) {
        let [p, z] = [seed, seed + 1].map(|seed| numbers(2 * pairs * width, 1.0, seed));
        let cpu = simsiam::graded(&p, &z, width);
        assert_loss("mean cosine", &cpu, |device| {
            device.mean_cosine(&device.upload(&p), &device.upload(&z), width, -1.0)
        });
    }

    #[test]
    fn vicreg_loss(pairs in 2usize..60, width in 1usize..80, scale in 0.2f32..2.0, seed in 0u64..1000) {
        let z = numbers(2 * pairs * width, scale, seed);
        let cpu = vicreg::graded(&z, width, vicreg::Weights::PAPER);
        assert_loss("VICReg", &cpu, |device| {
            device.vicreg(&device.upload(&z), width, vicreg::Weights::PAPER.of_device())
        });
    }

    #[test]
    fn view_cross_entropy(batch in 1usize..6, views in 2usize..5, classes in 1usize..50, seed in 0u64..1000) {
        assert_dino(batch, views, classes, seed);
        assert_swav(batch, views, classes, 0, seed);
        assert_swav(batch, views, classes, batch + 1, seed);
    }

    // Of rows of one number, every gradient is 0, and the GPU's is the error of rounding.
    #[test]
    fn info_nce(pairs in 1usize..12, count in 1usize..40, width in 2usize..40, seed in 0u64..1000, temperature in 0.1f32..1.0) {
        assert_moco(pairs, count, width, temperature, seed);
        assert_pirl(pairs, count, width, temperature, seed);
        assert_deepcluster(pairs, count, width, temperature, seed);
    }

    // Of two standardised rows almost nothing can change: the gradient is the small difference of large numbers.
    #[test]
    fn barlow_twins_loss(pairs in 5usize..60, width in 1usize..80, scale in 0.2f32..2.0, seed in 0u64..1000) {
        assert_barlow_twins(pairs, width, scale, seed);
    }

    #[test]
    fn rows_are_kept(rows in 1usize..30, width in 1usize..70, share in 0.0f32..0.9, seed in 0u64..1000) {
        for precision in [Precision::F32, Precision::Bf16] {
            let Some(device) = gpu(precision) else { return Ok(()) };
            let (kept, from) = (unit_rows(40, width, seed), numbers(2 * rows * width, 1.0, seed + 1));
            let unit = device.unit_floats(&device.upload(&from), width);
            let places: Vec<u32> = Key::root(seed).stream().permutation(40)[..rows].iter().map(|&at| at as u32).collect();
            let mut arena = device.arena(kept.clone());
            device.mix_rows(&mut arena, Rows { arena: &unit, rows: rows..2 * rows }, &places, width, 0.0);
            let copied = device.host(&device.gather_rows(&arena, &places, width));
            prop_assert!(copied == device.host(&unit)[rows * width..], "rows with share 0 are copies");
            let mut arena = device.arena(kept.clone());
            device.mix_rows(&mut arena, Rows { arena: &unit, rows: 0..rows }, &places, width, share);
            let (mixed, unit) = (device.host(&arena), device.host(&unit));
            for (at, row) in mixed.chunks_exact(width).enumerate() {
                let old = &kept[at * width..][..width];
                let Some(index) = places.iter().position(|&place| place as usize == at) else {
                    prop_assert!(row == old, "row {at} has no place");
                    continue;
                };
                let expected: Vec<f64> = old.iter().zip(&unit[index * width..]).map(|(&old, &new)| {
                    f64::from(share) * f64::from(old) + (1.0 - f64::from(share)) * f64::from(new)
                }).collect();
                let length = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
                for (&ours, expected) in row.iter().zip(expected) {
                    prop_assert!((f64::from(ours) - expected / length).abs() < 1e-5 / length, "{ours} for {expected}");
                }
            }
        }
    }
}

#[test]
fn cross_entropy_of_categories() {
    assert_supervised::<3>(5, 1);
    assert_supervised::<700>(9, 2);
}

/// More rows and columns than a block has threads, and sums that are cut into parts.
#[test]
fn losses_of_large_batches() {
    assert_nt_xent::<40>(150, 0.2, 1);
    assert_dino(2, 3, 700, 2);
    assert_swav(2, 2, 300, 5, 3);
    assert_moco(70, 600, 130, 0.1, 5);
    assert_pirl(20, 60, 270, 0.2, 6);
    assert_deepcluster(40, 300, 24, 0.1, 7);
    assert_barlow_twins(3, 700, 1.0, 8);
    assert_barlow_twins(200, 20, 1.0, 9);
    for (pairs, width) in [(3, 1100), (300, 20)] {
        let z = numbers(2 * pairs * width, 1.0, 4);
        let cpu = vicreg::graded(&z, width, vicreg::Weights::PAPER);
        assert_loss("VICReg", &cpu, |device| {
            device.vicreg(&device.upload(&z), width, vicreg::Weights::PAPER.of_device())
        });
    }
}

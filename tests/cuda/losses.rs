//! Losses on the simulated GPU against the closed forms on the CPU, which `methods` holds against dfdx: over random shapes,
//! in both formats, in the order of threads that the environment asks for.

use std::cell::RefCell;
use std::rc::Rc;

use dfdx::prelude::{AsArray, Backward};
use half::bf16;
use proptest::prelude::*;
use sempair::methods::dino::{self, Centre, Temperatures};
use sempair::methods::sinkhorn::{Sinkhorn, assign};
use sempair::methods::{LossAndGrad, nt_xent_in_closed_form, simsiam, swav, vicreg};
use sempair::rng::Key;
use sempair::tensor::bridge::on_tape;
use sempair::tensor::{Cuda, Device, DeviceLoss, Losses, Precision, ViewTargets};

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
        let targets = ViewTargets::Shared { scores, groups: 1, epsilon: 0.07, rounds: 3 };
        device.view_cross_entropy(&device.upload(&student), targets, classes, temperatures.student)
    });
}

fn assert_swav(batch: usize, views: usize, classes: usize, seed: u64) {
    let scores = numbers(views * batch * classes, 1.0, seed);
    let sinkhorn = Sinkhorn { epsilon: 0.05, iterations: 3 };
    let of_view = |view: usize| assign(&scores[view * batch * classes..][..batch * classes], classes, batch, sinkhorn);
    let cpu = swav::graded(&scores, &[of_view(0), of_view(1)].concat(), classes, 0.1);
    assert_loss("SwAV", &cpu, |device| {
        let assigning = &device.upload(&scores[..2 * batch * classes]);
        let targets = ViewTargets::Shared { scores: assigning, groups: 2, epsilon: 0.05, rounds: 3 };
        device.view_cross_entropy(&device.upload(&scores), targets, classes, 0.1)
    });
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
        assert_swav(batch, views, classes, seed);
    }
}

/// More rows and columns than a block has threads, and sums that are cut into parts.
#[test]
fn losses_of_large_batches() {
    assert_nt_xent::<40>(150, 0.2, 1);
    assert_dino(2, 3, 700, 2);
    assert_swav(2, 2, 300, 3);
    for (pairs, width) in [(3, 1100), (300, 20)] {
        let z = numbers(2 * pairs * width, 1.0, 4);
        let cpu = vicreg::graded(&z, width, vicreg::Weights::PAPER);
        assert_loss("VICReg", &cpu, |device| {
            device.vicreg(&device.upload(&z), width, vicreg::Weights::PAPER.of_device())
        });
    }
}

//! Whole training steps on the simulated GPU against the CPU: every method, and checkpoints that move between devices.

use sempair::methods::Name;
use sempair::models::{Encoder, Stem};
use sempair::study::settings::Settings;
use sempair::tensor::{AnyDevice, Cpu, Precision};

use super::gpu;
use crate::training::{Training, settings};

/// The losses of the first steps, and how far the parameters are then from their initial values.
fn steps(device: AnyDevice, settings: &Settings, name: Name, count: usize) -> (Vec<f64>, Vec<f64>) {
    let mut training = Training::start_on(device, settings, &settings.methods.get(name));
    let before = training.values("");
    let losses = (0..count).map(|step| training.step(step)).collect();
    let moved = training.values("").iter().zip(&before).map(|(after, before)| f64::from(after - before)).collect();
    (losses, moved)
}

/// The norm of the difference, relative to the norm of the second.
fn apart(ours: &[f64], cpu: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    norm(&mut ours.iter().zip(cpu).map(|(ours, cpu)| ours - cpu)) / norm(&mut cpu.iter().copied())
}

/// Asserts that steps in f32 agree with the CPU's but for the order of sums.
fn assert_like_cpu(settings: &Settings, name: Name, count: usize) {
    let Some(device) = gpu(Precision::F32) else { return };
    let cpu = steps(Cpu { precision: Precision::F32 }.into(), settings, name, count);
    let ours = steps(device.into(), settings, name, count);
    for (step, (loss, expected)) in ours.0.iter().zip(&cpu.0).enumerate() {
        let what = format!("{name:?}: step {step} has loss {loss}, {expected} on the CPU");
        assert!((loss - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{what}");
    }
    let apart = apart(&ours.1, &cpu.1);
    assert!(apart <= 2e-3, "{name:?}: the steps differ by {apart}");
}

/// Asserts that steps in bf16 are no further from those in f32 than the CPU's own steps in bf16: a batch of six pairs
/// makes the effect of rounding large.
fn assert_rounded_like_cpu(settings: &Settings, name: Name) {
    let Some(device) = gpu(Precision::Bf16) else { return };
    let on_cpu = |precision| steps(Cpu { precision }.into(), settings, name, 1);
    let (exact, rounded, ours) =
        (on_cpu(Precision::F32), on_cpu(Precision::Bf16), steps(device.into(), settings, name, 1));
    let (loss, expected) = (ours.0[0], exact.0[0]);
    assert!((loss - expected).abs() <= 0.05 * expected.abs().max(1.0), "{name:?}: loss {loss}, {expected} in f32");
    let (apart, most) = (apart(&ours.1, &exact.1), 0.02 + 1.5 * apart(&rounded.1, &exact.1));
    assert!(apart <= most, "{name:?}: the step differs by {apart}, at most {most}");
}

/// As [`settings`], with a transformer.
fn transformer() -> Settings {
    let mut settings = settings();
    (settings.model.encoder, settings.model.stem) = (Encoder::VitMini, Stem::Patch8);
    settings
}

#[test]
fn steps_of_every_method_are_like_the_cpu_s() {
    let settings = settings();
    Name::ALL.iter().for_each(|&name| assert_like_cpu(&settings, name, 2));
}

#[test]
fn queues_of_projections_are_like_the_cpu_s() {
    let mut settings = settings();
    settings.methods.swav.queue_from_epoch = 0;
    // Two batches of 6 fill a queue of 8; the third is assigned together with it.
    assert_like_cpu(&settings, Name::Swav, 3);
    settings.methods.swav.queue = 4;
    assert_like_cpu(&settings, Name::Swav, 2);
    settings.methods.swav.queue = 0;
    assert_like_cpu(&settings, Name::Swav, 1);
}

#[test]
fn memories_are_like_the_cpu_s() {
    let mut settings = settings();
    // The third batch of 6 wraps around a queue of 16; one of 4 keeps the last keys of each batch.
    assert_like_cpu(&settings, Name::MocoV2, 4);
    settings.methods.moco_v2.queue = 4;
    assert_like_cpu(&settings, Name::MocoV2, 2);
    // The second epoch, after two batches, clusters what the first has written.
    assert_like_cpu(&settings, Name::DeepclusterV2, 3);
}

#[test]
fn label_aware_steps_are_like_the_cpu_s() {
    let mut settings = settings();
    let methods = &mut settings.methods;
    for masked in [
        &mut methods.simclr.mask_same_category,
        &mut methods.moco_v2.mask_same_category,
        &mut methods.moco_v3.mask_same_category,
        &mut methods.pirl.mask_same_category,
    ] {
        *masked = true;
    }
    let label_aware = [Name::Simclr, Name::MocoV2, Name::MocoV3, Name::Pirl];
    label_aware.iter().for_each(|&name| assert_like_cpu(&settings, name, 2));
}

#[test]
fn steps_of_transformers_are_like_the_cpu_s() {
    assert_like_cpu(&transformer(), Name::Dino, 1);
}

#[test]
fn steps_in_bf16_are_like_the_cpu_s() {
    for name in [Name::Simclr, Name::MocoV2, Name::Swav, Name::Pirl, Name::BarlowTwins, Name::Supervised] {
        assert_rounded_like_cpu(&settings(), name);
    }
    assert_rounded_like_cpu(&transformer(), Name::Dino);
}

#[test]
fn a_checkpoint_moves_from_the_cpu_to_a_gpu_and_back() {
    let Some(device) = gpu(Precision::F32) else { return };
    let (mut settings, folder) = (settings(), tempfile::tempdir().unwrap());
    settings.methods.swav.queue_from_epoch = 0;
    let devices = [Cpu { precision: Precision::F32 }.into(), AnyDevice::from(device)];
    // All that keep something between steps besides a network.
    for name in [Name::Byol, Name::Dino, Name::MocoV2, Name::Swav, Name::Pirl, Name::DeepclusterV2] {
        let method = settings.methods.get(name);
        let mut on_cpu = Training::start_on(devices[0].clone(), &settings, &method);
        (0..2).for_each(|step| _ = on_cpu.step(step));
        let saved = on_cpu.saved(folder.path());
        for device in &devices {
            let mut moved = Training::start_on(device.clone(), &settings, &method);
            moved.load(folder.path());
            // Nothing is rounded on the way: the same bytes come out.
            assert!(moved.saved(folder.path()) == saved, "{name:?}, {device:?}");
            let mut same = Training::start_on(devices[0].clone(), &settings, &method);
            same.load(folder.path());
            let (loss, expected) = (moved.step(2), same.step(2));
            assert!((loss - expected).abs() <= 1e-4 * expected.abs(), "{name:?}, {device:?}: {loss} after {expected}");
        }
    }
}

#[test]
fn a_training_on_a_gpu_continues_with_the_same_bits() {
    let (mut settings, folder) = (settings(), tempfile::tempdir().unwrap());
    settings.methods.swav.queue_from_epoch = 0;
    let (f32, bf16) = (Precision::F32, Precision::Bf16);
    let cases =
        [(Name::MocoV2, f32), (Name::Swav, f32), (Name::Swav, bf16), (Name::Pirl, bf16), (Name::DeepclusterV2, bf16)];
    for (name, precision) in cases {
        let Some(device) = gpu(precision) else { return };
        let start = || Training::start_on(device.clone().into(), &settings, &settings.methods.get(name));
        let mut whole = start();
        (0..3).for_each(|step| _ = whole.step(step));
        whole.saved(folder.path());
        let mut resumed = start();
        resumed.load(folder.path());
        assert!(whole.step(3).to_bits() == resumed.step(3).to_bits(), "{name:?}");
        assert!(whole.saved(folder.path()) == resumed.saved(folder.path()), "{name:?}");
    }
}

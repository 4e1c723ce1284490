//! Predicted costs of stages on one thread. They come from measurements by `sempair bench step` on a Zen 4 processor in
//! bf16, and from factors for slower instruction sets. A training also has a small piece of work with which the harness
//! measures the speed-up with threads. Only schedules and estimates depend on these costs; the harness calibrates them
//! by the times of earlier runs.

use std::sync::Arc;

use crate::bench::step::{Stepper, Subject};
use crate::data::catalog::Extent;
use crate::data::world::World;
use crate::harness::load::Load;
use crate::harness::stage::Cost;
use crate::kernels::cpu::{Isa, isa};
use crate::methods::Name;
use crate::models::{Encoder, ModelSpec, Stem};
use crate::optim::Rule;
use crate::tensor::{AnyDevice, Precision};
use crate::train::{DetectorTraining, MOMENTS};

use super::settings::Settings;

/// The forward pass's share of the time of a forward and backward pass.
const FORWARD: f64 = 1.0 / 3.0;

/// Seconds that a step takes in addition to its images, on two cores of a Zen 4 processor in bf16.
const STEP: f64 = 1e-3;

/// Seconds of a probe's fits, for each training image, feature and category.
const PROBE: f64 = 1.2e-8;

/// Seconds of rendering, for each pixel.
const RENDERING: f64 = 3e-7;

/// The longest predicted time, in seconds on one thread, of the piece of a training's work whose speed on several
/// threads is measured. The piece has at least [`FEWEST`] pairs (or the whole batch), even if it takes longer.
const PIECE: f64 = 0.25;
const FEWEST: usize = 8;

/// The number of images in one forward pass of an evaluation.
const BATCH: usize = 128;

impl Cost {
    /// The cost of this work followed by `other`: seconds add up, memory is the larger of both.
    pub(super) fn then(self, other: Self) -> Self {
        Self { seconds: self.seconds + other.seconds, memory: self.memory.max(other.memory), load: self.load }
    }
}

/// The cost of pretraining with the settings' method on `pairs` pairs.
pub(super) fn pretraining(device: &AnyDevice, settings: &Settings, pairs: usize) -> Cost {
    let (model, batch) = (&settings.model, settings.pretrain.batch);
    let small = settings.methods.get(settings.method).crops().count() as f64 / 4.0;
    let follows = matches!(settings.method, Name::Byol | Name::Dino | Name::MocoV2 | Name::MocoV3);
    let target = if follows { 2.0 * FORWARD } else { 0.0 };
    let image = image(device, model);
    let of_pair = (2.0 + small + target) * image;
    let of_step = STEP * slowness(device);
    // DeepCluster runs a forward pass over all pairs before training starts.
    let before = if settings.method == Name::DeepclusterV2 { 2.0 * FORWARD * image } else { 0.0 };
    let epochs = settings.epochs() as f64;
    let seconds = epochs * (pairs as f64 * of_pair + (pairs / batch) as f64 * of_step) + pairs as f64 * before;
    // Arenas for values, gradients, moments, and a target network.
    let method = settings.methods.get(settings.method);
    let arenas = 3 + u64::from(method.recipe().rule == Rule::Adamw) + u64::from(follows);
    let views = (2.0 + small) * batch as f64;
    let images = 2 * pairs * 3 * settings.world.size * settings.world.size;
    let memory = arenas * 4 * parameters(model.encoder) + (views * activations(device, model)) as u64 + images as u64;
    // How the work of a GPU speeds up with the threads that feed it is not measured.
    let measured = matches!(device, AnyDevice::Cpu(_));
    Cost { seconds, memory, load: measured.then(|| Arc::new(load(device, settings))) }
}

/// A step of SimCLR with the settings' network, on few enough pairs for a short measurement.
fn load(device: &AnyDevice, settings: &Settings) -> Load {
    let (model, device) = (settings.model, device.clone());
    let most = (PIECE / (2.0 * image(&device, &model))) as usize;
    let pairs = settings.pretrain.batch.min(most.max(FEWEST));
    let subject = Subject::new(settings.methods.get(Name::Simclr), settings.optimizer.clone());
    Load {
        name: format!("{:?}, {:?}, {side}x{side}, {pairs} pairs", model.encoder, model.stem, side = model.image),
        memory: 16 * parameters(model.encoder) + (2.0 * pairs as f64 * activations(&device, &model)) as u64,
        prepare: Box::new(move || {
            let mut stepper = Stepper::new(&model, &subject, &device, pairs, usize::MAX)?;
            Ok(Box::new(move || stepper.step()))
        }),
    }
}

/// The cost of the features of `images` images; without a model the features are the pixels.
pub(super) fn features(device: &AnyDevice, model: Option<&ModelSpec>, images: usize) -> Cost {
    let of_image = model.map_or(1e-5, |model| FORWARD * image(device, model));
    let network = model.map_or(0, |model| {
        let pass = FORWARD * BATCH as f64 * activations(device, model);
        4 * parameters(model.encoder) + pass as u64
    });
    Cost { seconds: images as f64 * of_image, memory: network + (8 * images * width(model)) as u64, load: None }
}

/// The cost of a probe on the features of a set.
pub(super) fn probe(model: Option<&ModelSpec>, set: &Extent) -> Cost {
    let seconds = PROBE * (set.train * width(model) * set.classes) as f64;
    // The features, and a standardised copy.
    Cost { seconds, memory: (8 * (set.train + set.test) * width(model)) as u64, load: None }
}

/// The cost of a probe on a set at each snapshot of a training.
pub(super) fn time_to_accuracy(device: &AnyDevice, settings: &Settings, set: &Extent) -> Cost {
    let model = Some(&settings.model);
    let once = features(device, model, set.train + set.test).then(probe(model, set));
    Cost { seconds: MOMENTS.min(settings.epochs()) as f64 * once.seconds, ..once }
}

/// The cost of training a detector: of each image as many forward and backward passes of the encoder as the image and the
/// regions that the last stage sees are larger than the encoder's input.
pub(super) fn detector(device: &AnyDevice, run: &DetectorTraining, set: Extent) -> Cost {
    let images = (run.recipe.steps + run.recipe.precise_moments) * run.recipe.batch;
    let of_image = image(device, &run.model) * passes(run, run.protocol.regions_sampled);
    let memory = 16 * parameters(run.model.encoder)
        + (run.recipe.batch as f64 * passes(run, run.protocol.regions_sampled) * activations(device, &run.model))
            as u64;
    let seconds = images as f64 * of_image + STEP * slowness(device) * run.recipe.steps as f64;
    Cost { seconds, memory: memory + (set.train * 3 * CANVAS * CANVAS) as u64, load: None }
}

/// The cost of finding the objects in a set's test images.
pub(super) fn detections(device: &AnyDevice, run: &DetectorTraining, set: Extent) -> Cost {
    let of_image = FORWARD * image(device, &run.model) * passes(run, run.protocol.proposals[1]);
    let together = 16.0 * passes(run, run.protocol.proposals[1]) * activations(device, &run.model);
    let memory = 4 * parameters(run.model.encoder) + (FORWARD * together) as u64;
    Cost { seconds: set.test as f64 * of_image, memory, load: None }
}

/// Height and width that are assumed of an image that is not resized.
const CANVAS: usize = 96;

/// The last stage's share of an encoder's time.
const LAST_STAGE: f64 = 0.3;

/// How many images of the encoder's input size cost as much as an image with this number of regions.
fn passes(run: &DetectorTraining, regions: usize) -> f64 {
    let side = run.resizing.short.last().copied().unwrap_or(CANVAS) as f64 / run.model.image as f64;
    side * side + LAST_STAGE * regions as f64
}

/// The cost of rendering `images` images of the embedded world.
pub(super) fn rendering(world: &World, images: usize) -> Cost {
    let pixels = images * world.size * world.size;
    Cost { seconds: RENDERING * pixels as f64, memory: 3 * pixels as u64, load: None }
}

/// The width of the features; without a model, the width of 32x32 pixels.
fn width(model: Option<&ModelSpec>) -> usize {
    match model.map(|model| model.encoder) {
        None => 3 * 32 * 32,
        Some(Encoder::ResnetSmall) => 128,
        Some(Encoder::Resnet18) => 512,
        Some(Encoder::Resnet50) => 2048,
        Some(Encoder::VitMini) => 192,
        Some(Encoder::VitS8) => 384,
    }
}

/// The number of parameters of an encoder and of a head of the paper's size.
fn parameters(encoder: Encoder) -> u64 {
    match encoder {
        Encoder::ResnetSmall => 1_000_000,
        Encoder::Resnet18 => 12_000_000,
        Encoder::Resnet50 => 28_000_000,
        Encoder::VitMini => 3_500_000,
        Encoder::VitS8 => 23_000_000,
    }
}

/// Seconds for the forward and backward pass of one image on one thread.
fn image(device: &AnyDevice, model: &ModelSpec) -> f64 {
    of_zen4(model) * slowness(device)
}

/// How many times longer a device takes for an encoder's passes than two cores of a Zen 4 processor with bf16 products: one
/// thread of the processor, or a whole GPU.
fn slowness(device: &AnyDevice) -> f64 {
    let precision = device.precision();
    let of_set = match (device, isa(), precision) {
        (AnyDevice::Cuda(_), ..) => return 0.01,
        (AnyDevice::Cpu(_), Isa::Avx512Bf16, Precision::Bf16) => 1.0,
        (AnyDevice::Cpu(_), Isa::Avx512Bf16 | Isa::Avx512, _) => 2.0,
        (AnyDevice::Cpu(_), Isa::Avx2, _) => 3.0,
        (AnyDevice::Cpu(_), Isa::Portable, _) => 12.0,
    };
    2.0 * of_set
}

/// Seconds for the forward and backward pass of one image on two cores of a Zen 4 processor in bf16.
fn of_zen4(model: &ModelSpec) -> f64 {
    let at_64 = match model.encoder {
        Encoder::ResnetSmall => 1.8e-4,
        Encoder::Resnet18 => 1.9e-3,
        Encoder::Resnet50 => 5.9e-3,
        Encoder::VitMini => 5.2e-3,
        Encoder::VitS8 => 2.5e-2,
    };
    at_64 * finer(model)
}

/// The ratio of the network's spatial positions to those with ImageNet's stem at 64x64.
fn finer(model: &ModelSpec) -> f64 {
    let of_stem = match model.stem {
        Stem::Imagenet | Stem::Patch8 => 1.0,
        Stem::Half | Stem::Patch4 => 4.0,
        Stem::Small => 16.0,
    };
    of_stem * (model.image as f64 / 64.0).powi(2)
}

/// Bytes that a training keeps for each image between the forward and the backward pass, measured by
/// `sempair bench step` with 8 and with 32 pairs.
fn activations(device: &AnyDevice, model: &ModelSpec) -> f64 {
    let at_64 = match model.encoder {
        Encoder::ResnetSmall => 0.27e6,
        Encoder::Resnet18 => 1.4e6,
        Encoder::Resnet50 => 4.3e6,
        Encoder::VitMini => 3.2e6,
        Encoder::VitS8 => 10.8e6,
    };
    at_64 * finer(model) * if device.precision() == Precision::F32 { 2.0 } else { 1.0 }
}

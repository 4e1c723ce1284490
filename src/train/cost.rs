//! What stages cost by reckoning, from what `sempair bench step` measured on two cores of a Zen 4 processor in bf16, and
//! how much slower other instruction sets are. Only schedules and estimates depend on it; the harness sets it right by what
//! earlier runs took.

use crate::data::catalog::Extent;
use crate::data::pairs::Kind;
use crate::kernels::cpu::{Isa, isa};
use crate::methods::Name;
use crate::models::{Encoder, ModelSpec, Stem};
use crate::tensor::Precision;

use super::MOMENTS;
use super::settings::Settings;
use super::stages::Representation;

/// Of an image's forward and backward pass, the part that the forward one takes.
const FORWARD: f64 = 1.0 / 3.0;

/// What a step takes beside its images, on two cores of a Zen 4 processor in bf16.
const STEP: f64 = 1e-3;

/// A probe's fits, for each training image, feature and category.
const PROBE: f64 = 6e-9;

/// A pretraining on this kind of pairs.
pub(super) fn pretraining(settings: &Settings, kind: Kind) -> f64 {
    let pairs = settings.pairs.categories * settings.pairs.per_category * if kind == Kind::Unpaired { 2 } else { 1 };
    let small = settings.methods.get(settings.method).crops().count() as f64 / 4.0;
    let target = match settings.method {
        Name::Byol | Name::Dino | Name::MocoV2 | Name::MocoV3 => 2.0 * FORWARD,
        _ => 0.0,
    };
    let of_pair = (2.0 + small + target) * image(settings);
    let of_step = STEP * slowness(settings.precision.resolve());
    // DeepCluster sees all pairs once more before it learns.
    let before = if settings.method == Name::DeepclusterV2 { 2.0 * FORWARD * image(settings) } else { 0.0 };
    settings.pretrain.epochs as f64 * (pairs as f64 * of_pair + (pairs / settings.pretrain.batch) as f64 * of_step)
        + pairs as f64 * before
}

/// Features of so many images.
pub(super) fn features(settings: &Settings, what: Representation, images: usize) -> f64 {
    let of_image = if what == Representation::Pixels { 1e-5 } else { FORWARD * image(settings) };
    images as f64 * of_image
}

/// A probe of these features on a set.
pub(super) fn probe(settings: &Settings, what: Representation, set: &Extent) -> f64 {
    let width = match (what, settings.model.encoder) {
        (Representation::Pixels, _) => 3 * 32 * 32,
        (_, Encoder::ResnetSmall) => 128,
        (_, Encoder::Resnet18) => 512,
        (_, Encoder::Resnet50) => 2048,
        (_, Encoder::VitMini) => 192,
        (_, Encoder::VitS8) => 384,
    };
    PROBE * (set.train * width * set.classes) as f64
}

/// A probe on a set at each moment of a training.
pub(super) fn course(settings: &Settings, what: Representation, set: &Extent) -> f64 {
    let once = features(settings, what, set.train + set.test) + probe(settings, what, set);
    MOMENTS.min(settings.pretrain.epochs) as f64 * once
}

/// The forward and backward pass of one image.
fn image(settings: &Settings) -> f64 {
    of_zen4(&settings.model) * slowness(settings.precision.resolve())
}

/// How many times longer this process takes for an encoder's passes than two threads with products of bf16.
fn slowness(precision: Precision) -> f64 {
    let of_set = match (isa(), precision) {
        (Isa::Avx512Bf16, Precision::Bf16) => 1.0,
        (Isa::Avx512Bf16 | Isa::Avx512, _) => 2.0,
        (Isa::Avx2, _) => 3.0,
        (Isa::Portable, _) => 12.0,
    };
    of_set * 2.0 / rayon::current_num_threads() as f64
}

/// The same on two cores of a Zen 4 processor in bf16.
fn of_zen4(model: &ModelSpec) -> f64 {
    let at_64 = match model.encoder {
        Encoder::ResnetSmall => 1.8e-4,
        Encoder::Resnet18 => 1.9e-3,
        Encoder::Resnet50 => 5.9e-3,
        Encoder::VitMini => 5.2e-3,
        Encoder::VitS8 => 2.5e-2,
    };
    let finer = match model.stem {
        Stem::Imagenet | Stem::Patch8 => 1.0,
        Stem::Half | Stem::Patch4 => 4.0,
        Stem::Small => 16.0,
    };
    at_64 * finer * (model.image as f64 / 64.0).powi(2)
}

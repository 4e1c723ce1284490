//! The configuration, whole. Every value has its default and its comment in `experiments/defaults.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::augment::{Normalization, Pipeline, Small, Views};
use crate::data::catalog::{Catalog, PairSettings};
use crate::data::world::World;
use crate::error::{Error, Result};
use crate::eval::ProbeSettings;
use crate::kernels::cpu::{self, Isa};
use crate::methods::{Crops, Methods, Name};
use crate::models::{Encoder, ModelSpec, Stem};
use crate::optim::{OptimizerSettings, Recipe, ScheduleSettings};
use crate::tensor::Precision;

use super::{PretrainSettings, Pretraining};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many seeds, from 0.
    pub seeds: u64,
    /// How these values were chosen, in a sentence for readers of the report. Not part of any key.
    pub how_chosen: String,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Number format of activations and products.
    pub precision: PrecisionChoice,
    /// Folders.
    pub paths: Paths,
    /// What pretraining learns from.
    pub pairs: PairSettings,
    /// The embedded dataset.
    pub world: World,
    /// The network.
    pub model: ModelSpec,
    /// The self-supervised method of whatever trains one only.
    pub method: Name,
    /// The hyperparameters of all methods.
    pub methods: Methods,
    /// Length and batch of pretraining.
    pub pretrain: PretrainSettings,
    /// Seconds of training after which a checkpoint is written; a kill loses no more than that. Not part of any key.
    pub checkpoint_seconds: f64,
    /// Whether a training whose representation has collapsed goes on. Not part of any key.
    pub keep_going: bool,
    /// What all methods' optimisers have in common.
    pub optimizer: OptimizerSettings,
    /// The learning rate's course.
    pub schedule: ScheduleSettings,
    /// The transformations of both views.
    pub augment: Views,
    /// Least and greatest part of an image's area in the small views of multi-crop.
    pub small_crop_scale: [f32; 2],
    /// What is subtracted from and divided out of the channels.
    pub normalization: Normalization,
    /// The linear probe and k-NN.
    pub probe: ProbeSettings,
    /// What every table evaluates on.
    pub evaluation: EvaluationSettings,
    /// The table `transfer`.
    pub transfer: TransferSettings,
    /// The table `epochs`.
    pub epochs: EpochsSettings,
    /// The table `tiny-imagenet`.
    #[serde(rename = "tiny-imagenet")]
    pub tiny_imagenet: TinyImagenetSettings,
    /// The table `transforms`.
    pub transforms: TransformsSettings,
    /// The table `vit`.
    pub vit: VitSettings,
    /// The table `samples`.
    pub samples: SamplesSettings,
    /// The table `invariance`.
    pub invariance: InvarianceSettings,
    /// The table `positives`.
    pub positives: PositivesSettings,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The fastest that is there.
    Auto,
    /// The processor.
    Cpu,
    /// A GPU of NVIDIA's.
    Cuda,
}

/// Number format of activations and products; parameters and statistics are f32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 where the instruction set has products of it, else f32.
    Auto,
    /// IEEE single.
    F32,
    /// The upper half of a single.
    Bf16,
}

impl PrecisionChoice {
    /// What is computed in, on the instruction set in use.
    pub fn resolve(self) -> Precision {
        match self {
            Self::Auto if cpu::isa() == Isa::Avx512Bf16 => Precision::Bf16,
            Self::Auto | Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

/// Folders, relative to the current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    /// Imported datasets and pair lists.
    pub data: String,
    /// Reports, and the ledger in them.
    pub reports: String,
    /// Checkpoints and features, by hash.
    pub cache: String,
}

/// What every table evaluates on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSettings {
    /// The evaluation sets, in the paper's order: CIFAR-10, CIFAR-100, STL-10 or their stand-ins.
    pub sets: Vec<String>,
}

/// The table `transfer`, and the rows of `invariance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferSettings {
    /// The methods, in the order of the rows.
    pub methods: Vec<Name>,
}

/// The table `epochs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochsSettings {
    /// Lengths of training in epochs, in the order of the rows.
    pub values: Vec<usize>,
}

/// The table `tiny-imagenet`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TinyImagenetSettings {
    /// The larger set.
    pub from: String,
    /// Its categories.
    pub categories: usize,
    /// Images of each.
    pub images: usize,
    /// The evaluation sets.
    pub sets: Vec<String>,
    /// The set on which accuracies are to be equal.
    pub set: String,
}

/// The table `transforms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformsSettings {
    /// The evaluation sets.
    pub sets: Vec<String>,
}

/// The table `samples`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplesSettings {
    /// Numbers of pairs of each category, in the order of the rows.
    pub values: Vec<usize>,
    /// The evaluation sets.
    pub sets: Vec<String>,
}

/// The table `invariance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvarianceSettings {
    /// The set whose test images are changed.
    pub set: String,
}

/// The table `positives`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositivesSettings {
    /// Shares of false pairs, each above 0 and at most 1, in the order of the rows.
    pub values: Vec<f32>,
    /// The evaluation sets.
    pub sets: Vec<String>,
}

/// The table `vit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitSettings {
    /// The transformer.
    pub encoder: Encoder,
    /// Its stem.
    pub stem: Stem,
    /// Passes over the pairs.
    pub epochs: usize,
    /// How DINO trains it.
    pub recipe: Recipe,
}

impl Settings {
    /// Refuses values with which no run makes sense.
    ///
    /// # Errors
    /// Names the key, its value and what is possible.
    pub fn validate(&self) -> Result<()> {
        let positive = |key: &str, value: u64| {
            if value > 0 {
                return Ok(());
            }
            Err(Error::new(format!("`{key}` is 0")).hint(format!("set it to 1 or more: `--set {key}=1`")))
        };
        positive("seeds", self.seeds)?;
        positive("pretrain.epochs", self.pretrain.epochs as u64)?;
        positive("vit.epochs", self.vit.epochs as u64)?;
        positive("tiny-imagenet.categories", self.tiny_imagenet.categories as u64)?;
        positive("tiny-imagenet.images", self.tiny_imagenet.images as u64)?;
        some_above_zero("epochs.values", &self.epochs.values)?;
        some_above_zero("samples.values", &self.samples.values)?;
        shares("positives.values", &self.positives.values)?;
        if !(0.0..=1.0).contains(&self.pairs.false_share) {
            return Err(Error::new(format!(
                "`pairs.false_share` is {}; it must lie from 0 to 1",
                self.pairs.false_share
            ))
            .hint("`--set pairs.false_share=0.5`"));
        }
        positive("pretrain.batch", self.pretrain.batch as u64)?;
        positive("pairs.categories", self.pairs.categories as u64)?;
        positive("pairs.per_category", self.pairs.per_category as u64)?;
        Name::ALL.iter().try_for_each(|&name| self.methods.get(name).validate())?;
        if self.device == DeviceChoice::Cuda {
            return Err(Error::new("there are no CUDA kernels yet, so `device` cannot be `cuda`")
                .hint("`--device cpu` runs on the processor, as `--device auto` does"));
        }
        self.world.check()?;
        self.model.check("model")?;
        self.on_transformer().model.check("vit")?;
        if !(0.0..1.0).contains(&self.model.drop_path) {
            return Err(Error::new(format!(
                "`model.drop_path` is {}; it must lie from 0 to below 1",
                self.model.drop_path
            ))
            .hint("`--set model.drop_path=0.1`"));
        }
        let [least, most] = self.small_crop_scale;
        if !(0.0 < least && least <= most && most <= 1.0) {
            return Err(Error::new(format!("`small_crop_scale` is [{least}, {most}]; it must rise within 0 and 1"))
                .hint("`--set small_crop_scale=[0.08,0.5]`"));
        }
        self.vit.recipe.validate("vit")?;
        self.optimizer.validate("optimizer")?;
        self.normalization.validate("normalization")?;
        self.augment.validate("augment")
    }

    /// The same with this method.
    #[must_use]
    pub fn of(&self, method: Name) -> Self {
        Self { method, ..self.clone() }
    }

    /// Where this configuration's datasets come from.
    pub fn catalog(&self) -> Catalog<'_> {
        Catalog { world: &self.world, folder: Path::new(&self.paths.data) }
    }

    /// The same with a transformer for an encoder, which DINO trains.
    #[must_use]
    pub fn on_transformer(&self) -> Self {
        let mut settings = self.of(Name::Dino);
        (settings.model.encoder, settings.model.stem) = (self.vit.encoder, self.vit.stem);
        settings.pretrain.epochs = self.vit.epochs;
        settings.methods.dino.recipe = self.vit.recipe.clone();
        settings
    }

    /// What makes views of pairs for the method.
    pub fn pipeline(&self) -> Pipeline {
        let small = match self.methods.get(self.method).crops() {
            Crops::None => Small::None,
            Crops::Random(count) => Small::Random { count, scale: self.small_crop_scale },
            Crops::Jigsaw => Small::Jigsaw,
        };
        Pipeline::new(self.augment.clone(), self.normalization.clone(), self.model.image).with_small(small)
    }

    /// The pretraining of one seed.
    pub fn pretraining(&self, seed: u64) -> Pretraining {
        Pretraining {
            model: self.model,
            method: self.methods.get(self.method),
            pretrain: self.pretrain.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            seed,
        }
    }
}

/// A list of a table's rows: at least one, each above 0 and each once.
fn some_above_zero(key: &str, values: &[usize]) -> Result<()> {
    let twice = values.iter().enumerate().any(|(i, value)| values[..i].contains(value));
    if values.is_empty() || values.contains(&0) || twice {
        return Err(Error::new(format!("`{key}` is {values:?}; it needs one or more different numbers above 0"))
            .hint(format!("`--set {key}=[10,30]`")));
    }
    Ok(())
}

/// A list of a table's rows: at least one share, each above 0, at most 1, and each once.
fn shares(key: &str, values: &[f32]) -> Result<()> {
    let twice = values.iter().enumerate().any(|(i, value)| values[..i].contains(value));
    if values.is_empty() || twice || !values.iter().all(|&share| share > 0.0 && share <= 1.0) {
        return Err(Error::new(format!("`{key}` is {values:?}; it needs different shares above 0 and at most 1"))
            .hint(format!("`--set {key}=[0.5,1.0]`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_follows_the_instruction_set() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let expected = if isa == Isa::Avx512Bf16 { Precision::Bf16 } else { Precision::F32 };
            assert_eq!(cpu::with_isa(isa, || PrecisionChoice::Auto.resolve()), expected);
            assert_eq!(cpu::with_isa(isa, || PrecisionChoice::Bf16.resolve()), Precision::Bf16);
        }
    }
}

//! The configuration that all tables share. The default, the comment and the role of every value are in
//! `experiments/defaults.toml`. Settings of a single table form a group of keys with the table's name, which the
//! table reads ([`OwnSettings`]).

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::annotated_batches::Resizing;
use crate::data::augment::{Normalization, Views};
use crate::data::catalog::{Catalog, SYNTH};
use crate::data::pairs::PairSettings;
use crate::data::world::{self, World};
use crate::detection::Protocol;
use crate::error::{Context, Error, Result};
use crate::eval::ProbeSettings;
use crate::harness::config::{self, Group};
use crate::harness::source::Policy;
use crate::kernels::cpu::{self, Isa};
use crate::methods::{Method, Methods, Name};
use crate::models::ModelSpec;
use crate::optim::{OptimizerSettings, ScheduleSettings};
use crate::tensor::Precision;
use crate::train::{self, DetectorRecipe, Pretraining};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The number of seeds; they count from 0.
    pub seeds: u64,
    /// How these values were chosen, in a sentence for readers of the report.
    pub how_chosen: String,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Number format of activations and products.
    pub precision: PrecisionChoice,
    /// Folders.
    pub paths: Paths,
    /// How the code of runs is kept.
    pub source: Policy,
    /// What pretraining learns from.
    pub pairs: PairSettings,
    /// The embedded dataset.
    pub world: World,
    /// The network.
    pub model: ModelSpec,
    /// The self-supervised method of tables and commands that train only one.
    pub method: Name,
    /// The hyperparameters of all methods.
    pub methods: Methods,
    /// Batch and length of pretraining.
    pub pretrain: PretrainSettings,
    /// Seconds of training after which a checkpoint is written; a killed run loses no more than that.
    pub checkpoint_seconds: f64,
    /// Whether a training continues after its representation has collapsed.
    pub keep_going: bool,
    /// The settings that the optimisers of all methods share.
    pub optimizer: OptimizerSettings,
    /// The learning-rate schedule.
    pub schedule: ScheduleSettings,
    /// The transformations of both views.
    pub augment: Views,
    /// The minimum and maximum share of an image's area in the small views of multi-crop.
    pub small_crop_scale: [f32; 2],
    /// The mean and the deviation with which channels are normalised.
    pub normalization: Normalization,
    /// The linear probe and k-NN.
    pub probe: ProbeSettings,
    /// The evaluation sets of all tables.
    pub evaluation: EvaluationSettings,
    /// The rows of the tables `transfer` and `invariance`.
    pub transfer: TransferSettings,
    /// The settings of single tables, by the table's name.
    #[serde(flatten)]
    pub tables: BTreeMap<String, Value>,
}

/// The settings of a single table: the keys `<id>.<field>`.
pub trait OwnSettings: DeserializeOwned {
    /// Refuses values with which the table cannot be filled. `id` is the table's id.
    ///
    /// # Errors
    /// The error names the key, its value and the possible values.
    fn check(&self, id: &str, settings: &Settings) -> Result<()> {
        let _ = (id, settings);
        Ok(())
    }

    /// Reads the settings of the table `id`.
    ///
    /// # Errors
    /// When the table has no settings, or a value has the wrong type.
    fn of(id: &str, settings: &Settings) -> Result<Self> {
        let own = settings.tables.get(id).cloned().unwrap_or_default();
        serde_json::from_value(own).context(format!("the settings `{id}`"))
    }

    /// How the configuration checks the types of these settings.
    fn group(id: &'static str) -> Option<Group> {
        let read = |values: &figment::value::Value| values.deserialize::<Self>().map(drop).map_err(Box::new);
        Some(Group { name: id, read })
    }
}

/// The settings of detectors: the keys `detection.*`, of the table `detection` and of `sempair detect`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionSettings {
    /// The methods of the table, in the order of the rows.
    pub methods: Vec<Name>,
    /// The set of annotated images.
    pub set: String,
    /// The sizes of images.
    pub resizing: Resizing,
    /// Anchors, proposals, regions.
    pub protocol: Protocol,
    /// The optimisation.
    pub recipe: DetectorRecipe,
}

impl OwnSettings for DetectionSettings {
    fn check(&self, id: &str, _: &Settings) -> Result<()> {
        let Self { methods, resizing, protocol, recipe, .. } = self;
        if methods.is_empty() || !each_once(methods) || !methods.iter().all(|name| name.is_self_supervised()) {
            return Err(Error::new(format!("`{id}.methods` needs one or more different self-supervised methods"))
                .hint(format!("`--set {id}.methods=[\"simclr\",\"byol\"]`")));
        }
        let counts = [
            ("recipe.batch", recipe.batch),
            ("recipe.steps", recipe.steps),
            ("protocol.anchors_sampled", protocol.anchors_sampled),
            ("protocol.regions_sampled", protocol.regions_sampled),
            ("protocol.region_side", protocol.region_side),
            ("protocol.detections", protocol.detections),
            ("resizing.longest", resizing.longest),
        ];
        let pairs = [("protocol.candidates", protocol.candidates), ("protocol.proposals", protocol.proposals)];
        let of_pairs = pairs.into_iter().flat_map(|(key, of)| of.map(|count| (key, count)));
        counts
            .into_iter()
            .chain(of_pairs)
            .try_for_each(|(key, count)| positive(&format!("{id}.{key}"), count as u64))?;
        some_above_zero_in(&format!("{id}.protocol.anchor_sizes"), &protocol.anchor_sizes)?;
        some_above_zero_in(&format!("{id}.protocol.anchor_ratios"), &protocol.anchor_ratios)?;
        let rate = recipe.learning_rate;
        within((0.0..=1e3).contains(&rate), &format!("{id}.recipe.learning_rate"), rate, "from 0 to 1000", "0.02")?;
        let shares = [("momentum", recipe.momentum), ("warmup_from", recipe.warmup_from as f32)];
        for (name, value) in shares.into_iter().chain([("weight_decay", recipe.weight_decay)]) {
            within((0.0..=1.0).contains(&value), &format!("{id}.recipe.{name}"), value, "from 0 to 1", "0.001")?;
        }
        let rise = recipe.drops.is_sorted() && recipe.drops.iter().all(|drop| (0.0..=1.0).contains(drop));
        let drops = format!("{:?}", recipe.drops);
        within(rise, &format!("{id}.recipe.drops"), drops, "a rising list of fractions from 0 to 1", "[0.75,0.9]")?;
        let shorter = format!("{:?}", resizing.short);
        within(
            !resizing.short.contains(&0),
            &format!("{id}.resizing.short"),
            shorter,
            "a list of lengths above 0",
            "[480,800]",
        )
    }
}

/// Refuses a list that is empty or has a value that is not above 0.
fn some_above_zero_in(key: &str, values: &[f32]) -> Result<()> {
    let fits = !values.is_empty() && values.iter().all(|value| value.is_finite() && *value > 0.0);
    within(fits, key, format!("{values:?}"), "a list of numbers above 0", "[10.0,20.0]")
}

/// A table without settings of its own.
impl OwnSettings for () {
    fn of(_: &str, _: &Settings) -> Result<Self> {
        Ok(())
    }

    fn group(_: &'static str) -> Option<Group> {
        None
    }
}

/// Where to compute: `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first GPU if there is one that works, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The NVIDIA GPU with this number.
    Cuda(usize),
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let ordinal = text.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
                ordinal.map(Self::Cuda).ok_or_else(|| format!("`{text}` is no device: auto, cpu, cuda or cuda:1"))
            }
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        match choice {
            DeviceChoice::Auto => "auto".into(),
            DeviceChoice::Cpu => "cpu".into(),
            DeviceChoice::Cuda(0) => "cuda".into(),
            DeviceChoice::Cuda(ordinal) => format!("cuda:{ordinal}"),
        }
    }
}

/// Number format of activations and products; parameters and statistics are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 where the instruction set has bf16 products, and on GPUs, else f32.
    Auto,
    /// IEEE single precision.
    F32,
    /// The upper 16 bits of IEEE single precision.
    Bf16,
}

impl PrecisionChoice {
    /// The precision to compute in on the processor, with the current instruction set.
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
    /// NVIDIA's libraries; empty for the usual places.
    pub cuda: String,
}

impl Paths {
    fn validate(&self) -> Result<()> {
        let paths = [("data", &self.data), ("reports", &self.reports), ("cache", &self.cache)];
        match paths.into_iter().find(|(_, path)| path.is_empty()) {
            Some((name, _)) => Err(Error::new(format!("`paths.{name}` is empty"))
                .hint(format!("`--set paths.{name}=.` is the current folder"))),
            None => Ok(()),
        }
    }
}

/// How every method is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainSettings {
    /// Passes over the pairs; 0 means the number in the method's recipe.
    pub epochs: usize,
    /// Pairs per step.
    pub batch: usize,
    /// Whether snapshots of the encoder at about ten moments are kept, too.
    pub snapshots: bool,
}

/// The evaluation sets of all tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSettings {
    /// The evaluation sets, in the paper's order: CIFAR-10, CIFAR-100, STL-10 or their stand-ins.
    pub sets: Vec<String>,
}

/// The rows of the tables `transfer` and `invariance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferSettings {
    /// The methods, in the order of the rows.
    pub methods: Vec<Name>,
}

impl Settings {
    /// Refuses values with which no run makes sense.
    ///
    /// # Errors
    /// The error names the key, its value and the possible values.
    pub fn validate(&self) -> Result<()> {
        positive("seeds", self.seeds)?;
        self.paths.validate()?;
        self.validate_pairs()?;
        self.validate_methods()?;
        self.world.check()?;
        self.model.check("model")?;
        let Self {
            checkpoint_seconds: seconds,
            model: ModelSpec { drop_path, .. },
            small_crop_scale: [least, most],
            ..
        } = *self;
        within(seconds >= 0.0 && seconds.is_finite(), "checkpoint_seconds", seconds, "0 or more", "60")?;
        within((0.0..1.0).contains(&drop_path), "model.drop_path", drop_path, "at least 0 and below 1", "0.1")?;
        let (rises, shown) = (0.0 < least && least <= most && most <= 1.0, format!("[{least}, {most}]"));
        within(rises, "small_crop_scale", shown, "two rising values above 0 and at most 1", "[0.08,0.5]")?;
        self.optimizer.validate("optimizer")?;
        self.schedule.validate("schedule")?;
        self.probe.check()?;
        self.normalization.validate("normalization")?;
        self.augment.validate("augment")
    }

    fn validate_pairs(&self) -> Result<()> {
        let PairSettings { from, categories, per_category, list, false_share, stored, .. } = &self.pairs;
        if !(0.0..=1.0).contains(false_share) {
            return Err(Error::new(format!("`pairs.false_share` is {false_share}; it must lie between 0 and 1"))
                .hint("`--set pairs.false_share=0.5`"));
        }
        if self.pretrain.batch < 2 {
            return Err(Error::new(format!("`pretrain.batch` is {}; methods compare pairs", self.pretrain.batch))
                .hint("set it to 2 or more: `--set pretrain.batch=32`"));
        }
        let drawn_from = list.is_empty().then_some(from.as_str());
        check_number_of_pairs(drawn_from, ("pairs.categories", *categories), ("pairs.per_category", *per_category))?;
        stored.validate("pairs.stored")
    }

    fn validate_methods(&self) -> Result<()> {
        if self.transfer.methods.is_empty() {
            return Err(Error::new("`transfer.methods` is empty").hint("`--methods simclr,vicreg`"));
        }
        if let Some(name) = self.transfer.methods.iter().find(|name| !name.is_self_supervised()) {
            return Err(Error::new(format!("`transfer.methods` has `{}`, which has no pairs to compare", name.id()))
                .hint("leave it out: the table `transfer` has it as a baseline"));
        }
        Name::ALL.iter().try_for_each(|&name| self.methods.get(name).validate())
    }

    /// A copy of these settings with this method.
    #[must_use]
    pub fn of(&self, method: Name) -> Self {
        Self { method, ..self.clone() }
    }

    /// The method with its hyperparameters, for the configured number of epochs.
    fn trained_method(&self) -> Method {
        let method = self.methods.get(self.method);
        if self.pretrain.epochs == 0 { method } else { method.for_epochs(self.pretrain.epochs) }
    }

    /// The number of passes over the pairs.
    pub fn epochs(&self) -> usize {
        self.trained_method().recipe().epochs
    }

    /// The catalog of this configuration's datasets.
    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.world.clone(), &self.paths.data)
    }

    /// The pretraining of one seed.
    pub fn pretraining(&self, seed: u64) -> Pretraining {
        Pretraining {
            model: self.model,
            method: self.trained_method(),
            pretrain: train::PretrainSettings { batch: self.pretrain.batch, snapshots: self.pretrain.snapshots },
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            seed,
        }
    }
}

/// The maximum number of pairs of a training, or of a list.
const MOST_PAIRS: usize = 10_000_000;

/// The largest integer of a setting, by the last part of its key. No experiment needs more, and larger values would
/// fill the memory or never end.
const MOST: [(&str, u64); 6] = [
    ("seeds", 1_000),
    ("crops", 64),
    ("kernel", 255),
    ("iterations", 10_000),
    ("categories", 100_000),
    ("", 1_000_000),
];

/// Refuses integers that are too large for any use, and tables without evaluation sets. Seeds have no limit.
///
/// # Errors
/// The error names the key and the possible values.
pub fn check_values(values: &[config::Value]) -> Result<()> {
    for value in values {
        let name = value.key.rsplit('.').next().unwrap_or(&value.key);
        let most = MOST.iter().find(|(of, _)| of.is_empty() || *of == name).map_or(u64::MAX, |(_, most)| *most);
        if name == "sets" && value.value.as_array().is_some_and(Vec::is_empty) {
            return Err(Error::new(format!("`{}` is empty; a table needs one evaluation set or more", value.key))
                .hint(format!("`--set '{}=[\"synth-10\"]'`", value.key)));
        }
        let items = value.value.as_array().map_or(std::slice::from_ref(&value.value), Vec::as_slice);
        if let Some(item) = items.iter().filter_map(Value::as_u64).find(|&item| item > most && name != "seed") {
            return Err(Error::new(format!("`{}` has the value {item}; at most {most} is possible", value.key))
                .hint(format!("`sempair config {}` shows what it means and what it is by default", value.key)));
        }
    }
    Ok(())
}

/// Refuses to draw more categories from the embedded world than it has.
///
/// # Errors
/// The error names the key.
pub fn drawable(from: &str, key: &str, categories: usize) -> Result<()> {
    let most = world::PRETRAINING_CATEGORIES as usize;
    if from == SYNTH && categories > most {
        return Err(
            Error::new(format!("`{key}` is {categories}; the embedded world has {most}")).hint(assignment(key, 187))
        );
    }
    Ok(())
}

/// Refuses numbers of pairs that cannot be drawn: none, too many, or of more categories than the embedded world has.
/// `from` is the set that they are drawn from, `None` for a list. The keys are settings or options.
///
/// # Errors
/// Names the key, its value and what is possible.
pub fn check_number_of_pairs(from: Option<&str>, categories: (&str, usize), per_category: (&str, usize)) -> Result<()> {
    let ((key, categories), (each, per_category)) = (categories, per_category);
    positive(key, categories as u64)?;
    positive(each, per_category as u64)?;
    let pairs = categories.saturating_mul(per_category);
    if pairs > MOST_PAIRS {
        let most = (MOST_PAIRS / categories).max(1);
        return Err(Error::new(format!("`{key}` times `{each}` is {pairs}; at most {MOST_PAIRS} pairs are possible"))
            .hint(assignment(each, most)));
    }
    from.map_or(Ok(()), |from| drawable(from, key, categories))
}

/// Refuses a value that is not within its range.
fn within(is: bool, key: &str, value: impl std::fmt::Display, range: &str, example: &str) -> Result<()> {
    if is {
        return Ok(());
    }
    Err(Error::new(format!("`{key}` is {value}; it must be {range}")).hint(format!("`--set {key}={example}`")))
}

/// The text that sets a key, or a command-line option, to a value.
fn assignment(key: &str, value: usize) -> String {
    if key.starts_with("--") { format!("`{key} {value}`") } else { format!("`--set {key}={value}`") }
}

/// Refuses 0.
///
/// # Errors
/// The error names the key.
pub fn positive(key: &str, value: u64) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::new(format!("`{key}` is 0")).hint(format!("set it to 1 or more: {}", assignment(key, 1))))
}

/// Whether no value occurs twice in a list of a table's rows.
pub fn each_once<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().all(|(i, value)| !values[..i].contains(value))
}

/// Checks a list of values for a table's rows: at least one value, all above 0 and all different.
///
/// # Errors
/// The error names the key and its value.
pub fn some_above_zero(key: &str, values: &[usize]) -> Result<()> {
    if values.is_empty() || values.contains(&0) || !each_once(values) {
        return Err(Error::new(format!("`{key}` is {values:?}; it needs one or more different numbers above 0"))
            .hint(format!("`--set {key}=[10,30]`")));
    }
    Ok(())
}

/// Checks a list of shares for a table's rows: at least one share, all above 0 and at most 1, and all different.
///
/// # Errors
/// The error names the key and its value.
pub fn shares(key: &str, values: &[f32]) -> Result<()> {
    if values.is_empty() || !each_once(values) || !values.iter().all(|&share| share > 0.0 && share <= 1.0) {
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

//! The stages that cells of several tables are built of: pretraining, features, probe. Each is computed once for
//! everything that determines it.

mod course;
mod needs;

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::data::augment::Normalization;
use crate::data::batches::Source;
use crate::data::catalog::SYNTH;
use crate::data::image_set::ImageSet;
use crate::data::pairs::{Kind, PairList};
use crate::data::world::{self, Nuisance};
use crate::error::{Context, Result};
use crate::eval::{self, Features, Health};
use crate::files;
use crate::harness::experiment::{Curve, DataRef, Hits, Outcome};
use crate::harness::interrupt::Interrupt;
use crate::harness::lab::{Lab, Stage};
use crate::harness::progress::Progress;
use crate::models::{Backbone, ModelSpec};
use crate::rng::Key;
use crate::tensor::Cpu;

use super::settings::Settings;
use super::{
    ENCODER, HISTORY, History, Material, Pretraining, Surroundings, Witnesses, checkpoint, features, initial, pixels,
    pretrain,
};

pub use course::time_to_equal;
pub use needs::{needs, needs_of_pretraining, needs_of_time_to_equal, needs_of_varied};

/// What is evaluated: which map from images to vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Representation {
    /// The pixels themselves, at 32x32.
    Pixels,
    /// The encoder as it is before its first step.
    Random,
    /// The encoder after pretraining on these pairs.
    Pretrained(Kind),
}

/// The metric of the linear probe, in percent.
pub const TOP1: &str = "top1";
/// The metric of k-NN, in percent.
pub const KNN: &str = "knn";
/// The metric of what a training took.
pub const SECONDS: &str = "seconds";
/// The metric of how many of the pairs are of one category, 0 to 1.
pub const EXACT: &str = "exact";
/// The metric of how alike features stay when a nuisance factor changes, -1 to 1.
pub const COSINE: &str = "cosine";

const FEATURES: &str = "features.safetensors";
/// What was trained on, or evaluated: known without opening it again.
const DATA: &str = "data.json";
/// File of an encoder's [`Trained`] beside it.
pub const PRETRAINING: &str = "pretraining.json";
const PROBE: &str = "probe.json";
const PREDICTIONS: &str = "predictions.json";
const SECONDS_OF_PAIRS: &str = "seconds.json";
const COSINES: &str = "cosines.json";

/// What a finished encoder is: enough to build it again, and to show it images as its training did.
#[derive(Clone, Serialize, Deserialize)]
pub struct Trained {
    /// Network, method, length, seed.
    pub run: Pretraining,
    /// What was subtracted from and divided out of the channels.
    pub normalization: Normalization,
}

/// What of the pairs stands beside the encoder that they made.
#[derive(Serialize, Deserialize)]
struct PairsSeen {
    data: DataRef,
    /// The share of the pairs whose images are of one category.
    exact: f64,
}

/// What of an evaluation set stands beside its features.
#[derive(Serialize, Deserialize)]
struct Evaluated {
    /// Every split, evaluated or not.
    data: Vec<DataRef>,
    splits: BTreeMap<String, Labels>,
}

/// What the images of a split show.
#[derive(Serialize, Deserialize)]
struct Labels {
    classes: usize,
    labels: Vec<u32>,
}

/// Accuracies of one representation on one set.
#[derive(Serialize, Deserialize)]
struct Probe {
    linear: f64,
    knn: f64,
    /// Which test images were right, by metric.
    hits: BTreeMap<String, Hits>,
    penalty: f64,
    held_out: Vec<(f64, f64)>,
    converged: bool,
    steps: usize,
}

/// A map from images to vectors, to be evaluated.
struct Seen<'a> {
    /// Everything that determines it.
    identity: Value,
    /// What is subtracted from and divided out of the channels.
    normalization: &'a Normalization,
    /// The encoder; none for pixels.
    open: &'a dyn Fn() -> Result<Option<Backbone<Cpu>>>,
}

impl Seen<'_> {
    /// The features of some images.
    fn features(&self, images: &ImageSet, progress: &Progress, interrupt: &Interrupt) -> Result<Features> {
        match (self.open)()? {
            Some(network) => features(&network, images, self.normalization, progress, interrupt),
            None => pixels(images, self.normalization),
        }
    }
}

/// Everything that determines [`evaluate_encoder`]'s result.
///
/// # Errors
/// When the dataset is not there.
pub fn inputs_of_encoder(settings: &Settings, key: &str, set: &str, seed: u64) -> Result<Value> {
    measure_inputs(settings, &json!({ "encoder": key }), set, seed)
}

fn measure_inputs(settings: &Settings, identity: &Value, set: &str, seed: u64) -> Result<Value> {
    Ok(json!({
        "representation": identity,
        "set": settings.catalog().identity(set)?,
        "probe": settings.probe,
        "seed": seed,
    }))
}

/// Trains an encoder, and measures nothing but its health and how long that took.
///
/// # Errors
/// Missing data, a training that fails, or the user's wish to stop.
pub fn pretrain_alone(settings: &Settings, kind: Kind, seed: u64, lab: &mut Lab) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let stage = pretrained(settings, kind, seed, lab)?;
    let history = describe_training(settings, &stage, &mut outcome)?;
    if let Some(health) = history.health.last() {
        outcome.metrics.insert(KNN.into(), health.knn);
    }
    outcome.metrics.insert(SECONDS.into(), history.seconds);
    outcome.metrics.insert(EXACT.into(), pairs_seen(settings, &stage)?.exact);
    Ok(outcome)
}

/// Trains or opens the representation, and measures it on a set's training and test split by linear probe (`top1`)
/// and by k-NN (`knn`), in percent.
///
/// # Errors
/// Missing data, a training that fails, or the user's wish to stop.
pub fn evaluate(settings: &Settings, what: Representation, set: &str, seed: u64, lab: &mut Lab) -> Result<Outcome> {
    with_representation(settings, what, seed, lab, |seen, lab, outcome| {
        measure(settings, seen, set, seed, lab, outcome)
    })
}

fn varied_inputs(settings: &Settings, identity: &Value, (set, nuisance): (&str, Nuisance), seed: u64) -> Result<Value> {
    let unchanged = measure_inputs(settings, identity, set, seed)?;
    Ok(json!({ "unchanged": unchanged, "nuisance": nuisance, "edits": world::EDITS_VERSION }))
}

/// Trains or opens the representation, and measures what one nuisance factor does to it: the mean cosine between the
/// features of a set's test images and those of the same images with the factor changed (`cosine`), and the accuracy on
/// the changed images of a linear probe that was fitted on the unchanged training images (`top1`).
///
/// The training images' mean is subtracted before the cosine is taken, so that images of different categories have about
/// 0; without that, features that all point one way would pass for invariant.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_varied(
    settings: &Settings,
    what: Representation,
    (set, nuisance): (&str, Nuisance),
    seed: u64,
    lab: &mut Lab,
) -> Result<Outcome> {
    with_representation(settings, what, seed, lab, |seen, lab, outcome| {
        let extracted = extracted(settings, seen, set, lab)?;
        let Evaluated { data, splits } = read_json(&extracted.dir.join(DATA))?;
        outcome.data.extend(splits_seen(settings, set, data)?);
        let determined = varied_inputs(settings, &seen.identity, (set, nuisance), seed)?;
        let (progress, interrupt) = (lab.progress(), lab.interrupt());
        let stage = lab.stage("invariance", &determined, |dir| {
            let changed = settings.catalog().varied_test(set, nuisance)?;
            let after = seen.features(&changed, progress, interrupt)?;
            let [train, test] = ["train", "test"].map(|split| read_features(&extracted.dir, set, split, &splits));
            let (train, test) = (train?, test?);
            write_json(&dir.join(COSINES), &eval::mean_cosine(&train, &test, &after)?)?;
            probe(settings, &train, &after, seed, dir)
        })?;
        describe_probe(&stage, outcome)?;
        outcome.metrics.insert(COSINE.into(), read_json(&stage.dir.join(COSINES))?);
        Ok(())
    })
}

/// Trains or opens the representation, and hands it to what measures it.
fn with_representation(
    settings: &Settings,
    what: Representation,
    seed: u64,
    lab: &mut Lab,
    measure: impl FnOnce(&Seen<'_>, &mut Lab, &mut Outcome) -> Result<()>,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let encoder = match what {
        Representation::Pretrained(kind) => {
            let stage = pretrained(settings, kind, seed, lab)?;
            describe_training(settings, &stage, &mut outcome)?;
            Some(stage.dir.join(ENCODER))
        }
        Representation::Random | Representation::Pixels => None,
    };
    let open = || match what {
        Representation::Pixels => Ok(None),
        Representation::Random | Representation::Pretrained(_) => {
            backbone(settings, &settings.model, encoder.as_deref(), seed).map(Some)
        }
    };
    let identity = representation_inputs(settings, what, seed)?;
    let seen = Seen { identity, normalization: &settings.normalization, open: &open };
    measure(&seen, lab, &mut outcome)?;
    Ok(outcome)
}

/// Measures an encoder in `dir`, which a stage of this key has left, as [`evaluate`] does.
///
/// # Errors
/// A missing set, a damaged encoder, or the user's wish to stop.
pub fn evaluate_encoder(
    settings: &Settings,
    trained: &Trained,
    (dir, key): (&Path, &str),
    set: &str,
    lab: &mut Lab,
) -> Result<Outcome> {
    let mut outcome = Outcome { checkpoint: Some(files::hash(&dir.join(ENCODER))?), ..Outcome::default() };
    let weights = dir.join(ENCODER);
    let open = || backbone(settings, &trained.run.model, Some(&weights), trained.run.seed).map(Some);
    let seen = Seen { identity: json!({ "encoder": key }), normalization: &trained.normalization, open: &open };
    measure(settings, &seen, set, trained.run.seed, lab, &mut outcome)?;
    Ok(outcome)
}

/// The encoder as it is before its first step; or as a training left it in a file.
fn backbone(settings: &Settings, model: &ModelSpec, weights: Option<&Path>, seed: u64) -> Result<Backbone<Cpu>> {
    let backbone = initial(model, settings.precision.resolve(), seed)?;
    if let Some(weights) = weights {
        checkpoint::load_weights(weights, &mut backbone.parameters())?;
    }
    Ok(backbone)
}

/// Features and probe.
fn measure(
    settings: &Settings,
    seen: &Seen<'_>,
    set: &str,
    seed: u64,
    lab: &mut Lab,
    outcome: &mut Outcome,
) -> Result<()> {
    record_factors(settings, set, lab)?;
    let extracted = extracted(settings, seen, set, lab)?;
    let Evaluated { data, splits } = read_json(&extracted.dir.join(DATA))?;
    outcome.data.extend(splits_seen(settings, set, data)?);
    let stage = lab.stage("probe", &measure_inputs(settings, &seen.identity, set, seed)?, |dir| {
        let [train, test] = ["train", "test"].map(|split| read_features(&extracted.dir, set, split, &splits));
        probe(settings, &train?, &test?, seed, dir)
    })?;
    describe_probe(&stage, outcome)
}

fn describe_probe(stage: &Stage, outcome: &mut Outcome) -> Result<()> {
    let result: Probe = read_json(&stage.dir.join(PROBE))?;
    outcome.metrics.insert(TOP1.into(), result.linear);
    outcome.metrics.insert(KNN.into(), result.knn);
    outcome.predictions = hash_of(stage, PREDICTIONS);
    outcome.hits = result.hits;
    outcome.facts.insert("penalty".into(), result.penalty.into());
    outcome.facts.insert("probe converged".into(), result.converged.into());
    Ok(())
}

/// The stage of an embedded set's nuisance factors: one table for each split, a row for each image.
fn record_factors(settings: &Settings, set: &str, lab: &mut Lab) -> Result<()> {
    let world = &settings.world;
    if set == SYNTH {
        let (categories, images) = (settings.pairs.categories, 2 * settings.pairs.per_category);
        let inputs = json!({ "set": settings.catalog().identity(set)?, "categories": categories, "images": images });
        lab.stage("factors", &inputs, |dir| {
            let (_, factors) = world::pretraining(world, categories, images);
            world::write_factors(&dir.join("train.tsv"), &factors)
        })?;
    } else if world::EVALUATION_SETS.contains(&set) {
        lab.stage("factors", &json!({ "set": settings.catalog().identity(set)? }), |dir| {
            let factors = world::evaluation_with_factors(world, set).map(|(_, factors)| factors).unwrap_or_default();
            factors.iter().try_for_each(|(split, rows)| world::write_factors(&dir.join(format!("{split}.tsv")), rows))
        })?;
    }
    Ok(())
}

/// The stage of a pretraining.
fn pretrained(settings: &Settings, kind: Kind, seed: u64, lab: &mut Lab) -> Result<Stage> {
    record_factors(settings, &settings.pairs.from, lab)?;
    let (progress, interrupt) = (lab.progress(), lab.interrupt());
    let seconds = match kind {
        Kind::Neighbours => Some(neighbours(settings, seed, lab)?),
        Kind::Augmented | Kind::Semantic | Kind::Unpaired => None,
    };
    lab.stage("pretrain", &representation_inputs(settings, Representation::Pretrained(kind), seed)?, |dir| {
        let (set, list) = settings.catalog().exact_pairs(&settings.pairs)?;
        // The witnesses are the same, whatever is trained on.
        let witnesses = Witnesses::of(&list.indices(Kind::Semantic));
        let list = settings.pairs.with_false(list)?;
        let list = match &seconds {
            Some(seconds) => list.with_seconds(seconds),
            None => list,
        };
        let one_category = |&(a, b): &(u32, u32)| set.labels[a as usize] == set.labels[b as usize];
        let pairs = list.indices(kind);
        let exact = pairs.iter().filter(|pair| one_category(pair)).count() as f64 / pairs.len() as f64;
        write_json(&dir.join(DATA), &PairsSeen { data: pairs_ref(&set, &list, kind, exact), exact })?;
        let run = settings.pretraining(seed);
        write_json(
            &dir.join(PRETRAINING),
            &Trained { run: run.clone(), normalization: settings.normalization.clone() },
        )?;
        let material = Material { witnesses, source: Source { pairs, set }, pipeline: settings.pipeline() };
        let (checkpoint_seconds, keep_going) = (settings.checkpoint_seconds, settings.keep_going);
        let around = Surroundings { dir, checkpoint_seconds, keep_going, progress, interrupt };
        pretrain(&run, settings.precision.resolve(), material, &around)
    })
}

/// The second images of the pairs of [`Kind::Neighbours`]: to each first image the one that the encoder trained on
/// augmented pairs finds most similar, among all images of the semantic pairs.
fn neighbours(settings: &Settings, seed: u64, lab: &mut Lab) -> Result<Vec<u32>> {
    let encoder = pretrained(settings, Kind::Augmented, seed, lab)?;
    let (progress, interrupt) = (lab.progress(), lab.interrupt());
    let stage = lab.stage("neighbours", &neighbours_inputs(settings, seed)?, |dir| {
        let (set, list) = settings.catalog().pairs(&settings.pairs)?;
        let images = list.images();
        let network = backbone(settings, &settings.model, Some(&encoder.dir.join(ENCODER)), seed)?;
        let shown = set.subset(&format!("{}, paired", set.name), &images);
        let features = features(&network, &shown, &settings.normalization, progress, interrupt)?;
        let place = |image: &u32| images.binary_search(image).unwrap_or_else(|_| unreachable!("of the list"));
        let firsts: Vec<usize> = list.pairs.iter().map(|pair| place(&pair.first)).collect();
        let seconds = eval::most_similar(&features, &firsts).into_iter().map(|place| images[place]);
        write_json(&dir.join(SECONDS_OF_PAIRS), &seconds.collect::<Vec<u32>>())
    })?;
    read_json(&stage.dir.join(SECONDS_OF_PAIRS))
}

fn neighbours_inputs(settings: &Settings, seed: u64) -> Result<Value> {
    let by = representation_inputs(settings, Representation::Pretrained(Kind::Augmented), seed)?;
    Ok(json!({ "encoder": by }))
}

fn representation_inputs(settings: &Settings, what: Representation, seed: u64) -> Result<Value> {
    Ok(match what {
        Representation::Pixels => json!({ "representation": what, "normalization": settings.normalization }),
        Representation::Random => json!({
            "representation": what, "model": settings.model, "normalization": settings.normalization, "seed": seed,
        }),
        Representation::Pretrained(_) => json!({
            "representation": what,
            "pretraining": settings.pretraining(seed),
            "augment": settings.augment,
            "small_crop_scale": settings.small_crop_scale,
            "normalization": settings.normalization,
            "pairs": settings.catalog().pairs_identity(&settings.pairs)?,
        }),
    })
}

fn features_inputs(settings: &Settings, identity: &Value, set: &str) -> Result<Value> {
    Ok(json!({ "representation": identity, "set": settings.catalog().identity(set)? }))
}

/// The stage of a set's features, with what the probe and the record need of the set.
fn extracted(settings: &Settings, seen: &Seen<'_>, set: &str, lab: &mut Lab) -> Result<Stage> {
    let determined = features_inputs(settings, &seen.identity, set)?;
    let (progress, interrupt) = (lab.progress(), lab.interrupt());
    lab.stage("features", &determined, |dir| {
        let dataset = settings.catalog().open(set)?;
        let data = dataset.splits.values().map(|split| data_ref(split, &dataset.description)).collect();
        let mut evaluated = Evaluated { data, splits: BTreeMap::new() };
        let mut tensors = Vec::new();
        for (name, split) in &dataset.splits {
            if split.is_empty() || !["train", "test"].contains(&name.as_str()) {
                continue;
            }
            let of_split = seen.features(split, progress, interrupt)?;
            tensors.push(checkpoint::Named::floats(name, vec![of_split.rows(), of_split.dim], &of_split.values));
            let labels = Labels { classes: split.classes.len(), labels: split.labels.to_vec() };
            evaluated.splits.insert(name.clone(), labels);
        }
        write_json(&dir.join(DATA), &evaluated)?;
        checkpoint::write(&dir.join(FEATURES), &tensors, None)
    })
}

fn read_features(dir: &Path, set: &str, split: &str, splits: &BTreeMap<String, Labels>) -> Result<Features> {
    let path = dir.join(FEATURES);
    let bytes = std::fs::read(&path).context(format!("cannot read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes).context(path.display())?;
    let Labels { classes, labels } = splits.get(split).ok_or_else(|| {
        crate::error::Error::new(format!("`{set}` has no split `{split}`, which evaluation needs"))
            .hint("`sempair data list` shows the splits of each set")
    })?;
    let dim = file.tensor(split).context(path.display())?.shape()[1];
    let values = checkpoint::floats(&file, &path, split, labels.len() * dim)?;
    Features::new(values, labels.clone(), dim, *classes)
}

fn probe(settings: &Settings, train: &Features, test: &Features, seed: u64, dir: &Path) -> Result<()> {
    let key = Key::root(seed).split("probe");
    let linear = eval::linear_probe(train, test, &settings.probe, key)?;
    let temperature = (settings.probe.temperature > 0.0).then_some(settings.probe.temperature);
    let knn = eval::knn(train, test, settings.probe.neighbours, temperature)?;
    let hits = [(TOP1, &linear.predictions), (KNN, &knn.predictions)].map(|(metric, predictions)| {
        let right = predictions.iter().zip(&test.labels).map(|(prediction, label)| prediction == label);
        (metric.to_string(), right.collect())
    });
    let result = Probe {
        linear: linear.accuracy,
        knn: knn.accuracy,
        hits: hits.into(),
        penalty: linear.penalty,
        held_out: linear.held_out_accuracy,
        converged: linear.converged,
        steps: linear.iterations,
    };
    write_json(&dir.join(PROBE), &result)?;
    write_json(&dir.join(PREDICTIONS), &json!({ "linear": linear.predictions, "knn": knn.predictions }))
}

/// A part of a training's health.
type Measure = fn(&Health) -> f64;

/// What records show of it.
const HEALTH: [(&str, Measure); 5] = [
    ("deviation of projections", |health| health.deviation),
    ("effective rank of features", |health| health.rank),
    ("alignment of semantic pairs", |health| health.alignment),
    ("uniformity of projections", |health| health.uniformity),
    ("k-NN on semantic pairs, %", |health| health.knn),
];

fn describe_training(settings: &Settings, stage: &Stage, outcome: &mut Outcome) -> Result<History> {
    let history: History = read_json(&stage.dir.join(HISTORY))?;
    outcome.checkpoint = hash_of(stage, ENCODER);
    let PairsSeen { data, exact } = pairs_seen(settings, stage)?;
    outcome.data.push(data);
    outcome.facts.insert("share of pairs of one category".into(), exact.into());
    outcome.facts.insert("training seconds".into(), history.seconds.into());
    outcome.facts.insert("waiting for data, part of training".into(), (history.waited / history.seconds).into());
    let curve = |name: &str, x: Vec<f64>, y: Vec<f64>| {
        let title = |title: &str| title.to_owned();
        Curve { name: name.into(), x_title: title("epoch"), y_title: title(name), x, y }.thinned()
    };
    let epochs = (1..=history.losses.len()).map(|epoch| epoch as f64).collect();
    outcome.curves.push(curve("pretraining loss", epochs, history.losses.clone()));
    for (name, measure) in HEALTH {
        let epochs = history.health.iter().map(|health| health.epoch as f64).collect();
        outcome.curves.push(curve(name, epochs, history.health.iter().map(measure).collect()));
        if let Some(last) = history.health.last() {
            outcome.facts.insert(name.into(), measure(last).into());
        }
    }
    Ok(history)
}

/// What a training has left of its pairs, with what their set is said to be now, and with its licence: they determine no
/// stage.
fn pairs_seen(settings: &Settings, stage: &Stage) -> Result<PairsSeen> {
    let PairsSeen { data, exact } = read_json(&stage.dir.join(DATA))?;
    let (catalog, set) = (settings.catalog(), settings.pairs.from.split('/').next().unwrap_or_default());
    let (licence, of) = (catalog.licence(set)?, catalog.description(set)?);
    let description = if of.is_empty() { data.description } else { format!("{}; from {of}", data.description) };
    Ok(PairsSeen { data: DataRef { licence, description, ..data }, exact })
}

/// The pairs, of which `exact` is the share of one category.
fn pairs_ref(set: &ImageSet, list: &PairList, kind: Kind, exact: f64) -> DataRef {
    let semantic = if exact == 1.0 {
        "two different images of one category each".to_string()
    } else {
        format!("two different images each, in {:.0} % of the pairs of one category", 100.0 * exact)
    };
    DataRef {
        name: format!("{} pairs of {}", list.indices(kind).len(), set.name),
        description: format!(
            "{}, {} categories; {}",
            kind.title(),
            list.categories.len(),
            match kind {
                Kind::Semantic => &semantic,
                Kind::Augmented => "the first image of each semantic pair, twice",
                Kind::Unpaired => "each image of each semantic pair, twice",
                Kind::Neighbours => "the first image of each semantic pair, and the most similar other to an encoder",
            }
        ),
        hash: list.hash(kind),
        images: set.len() as u64,
        ..DataRef::default()
    }
}

fn data_ref(set: &ImageSet, description: &str) -> DataRef {
    DataRef {
        name: set.name.clone(),
        description: description.into(),
        hash: set.hash.clone(),
        images: set.len() as u64,
        ..DataRef::default()
    }
}

/// The splits of a set, each with the licence that the set is stated to have now.
fn splits_seen(settings: &Settings, set: &str, data: Vec<DataRef>) -> Result<Vec<DataRef>> {
    let licence = settings.catalog().licence(set)?;
    Ok(data.into_iter().map(|data| DataRef { licence: licence.clone(), ..data }).collect())
}

/// The hash of the encoder that a stage has left.
pub fn encoder_hash(stage: &Stage) -> Option<String> {
    hash_of(stage, ENCODER)
}

fn hash_of(stage: &Stage, name: &str) -> Option<String> {
    stage.files.iter().find(|file| file.name == name).map(|file| file.hash.clone())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).context(path.display())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).context(path.display())?;
    files::write_whole(path, &bytes)
}

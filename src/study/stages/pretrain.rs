//! Stage `pretrain`: a training of an encoder on pairs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::augment::{Normalization, Pipeline, Small, Views};
use crate::data::batches::Source;
use crate::data::catalog::Pairs;
use crate::data::image_set::ImageSet;
use crate::data::pairs::{Kind, PairList};
use crate::error::{Context as _, Result};
use crate::eval::Health;
use crate::files::{read_json, write_json};
use crate::harness::outcome::{Curve, DataRef, Outcome};
use crate::harness::stage::{Description, Done, Site, Stage};
use crate::methods::Crops;
use crate::study::cost;
use crate::study::settings::Settings;
use crate::tensor::Cpu;
use crate::train::{ENCODER, HISTORY, History, Material, Pretraining, Surroundings, Trained, Witnesses, pretrain};

use super::metric::{EXACT, KNN, SECONDS};
use super::{Context, Representation};

/// File of the second images of pairs of nearest neighbours, in their stage's folder.
pub(super) const SECONDS_OF_PAIRS: &str = "seconds.json";
/// What was trained on: known without opening it again.
const DATA: &str = "data.json";

/// A pretraining.
#[derive(Clone)]
pub struct Training {
    /// The stage.
    pub stage: Arc<Stage>,
    /// What the images of an embedded set show.
    pub factors: Option<Arc<Stage>>,
    pub(super) trained: Trained,
    pairs: Arc<Pairs>,
}

/// Everything that determines an encoder, besides code and device.
#[derive(Clone, Serialize)]
struct Inputs {
    representation: Representation,
    pretraining: Pretraining,
    augment: Views,
    small_crop_scale: [f32; 2],
    normalization: Normalization,
    pairs: serde_json::Value,
}

/// How a training goes on, which changes nothing of what comes out.
#[derive(Clone, Copy)]
struct Manner {
    checkpoint_seconds: f64,
    keep_going: bool,
}

/// What of the pairs stands beside the encoder that they made.
#[derive(Serialize, Deserialize)]
struct PairsSeen {
    data: DataRef,
    /// The share of the pairs whose images are of one category.
    exact: f64,
}

impl Training {
    /// The stage of a kind of pairs; `seconds` finds the second images of nearest neighbours.
    ///
    /// # Errors
    /// Settings that are no JSON.
    pub fn new(
        context: &Context,
        settings: &Settings,
        kind: Kind,
        seed: u64,
        pairs: &Arc<Pairs>,
        (seconds, factors): (Option<Arc<Stage>>, Option<Arc<Stage>>),
    ) -> Result<Self> {
        let inputs = Inputs {
            representation: Representation::Pretrained(kind),
            pretraining: settings.pretraining(seed),
            augment: settings.augment.clone(),
            small_crop_scale: settings.small_crop_scale,
            normalization: settings.normalization.clone(),
            pairs: pairs.identity.clone(),
        };
        let trained = Trained { run: inputs.pretraining.clone(), normalization: inputs.normalization.clone() };
        let roots = [
            "study::stages::pretrain",
            "data::pairs::choice",
            pairs.set.made_by(),
            settings.method.file(),
            settings.model.file(),
        ];
        let cost = cost::pretraining(context.device, settings, kind.rows(pairs.chosen.count()));
        let json = serde_json::to_value(&inputs).context("the settings are not JSON")?;
        let after: Vec<&Arc<Stage>> = seconds.iter().collect();
        let description = Description { timed: &[HISTORY], ..context.describe("pretrain", json, &roots, &after, cost) };
        let manner = Manner { checkpoint_seconds: settings.checkpoint_seconds, keep_going: settings.keep_going };
        let (from, device) = (pairs.clone(), context.device);
        let stage =
            Stage::new(description, move |site| train(&inputs, kind, &from, seconds.as_ref(), device, manner, site));
        Ok(Self { stage, factors, trained, pairs: pairs.clone() })
    }

    /// Health and time of the training, and nothing that was measured of the encoder.
    ///
    /// # Errors
    /// A damaged file.
    pub fn outcome(&self, done: &Done) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let history = self.describe(done, &mut outcome)?;
        if let Some(health) = history.health.last() {
            outcome.metrics.insert(KNN.into(), health.knn);
        }
        outcome.metrics.insert(SECONDS.into(), history.seconds);
        outcome.metrics.insert(EXACT.into(), self.pairs_seen(done)?.exact);
        Ok(outcome)
    }

    /// Adds curves, facts and data to an outcome.
    ///
    /// # Errors
    /// A damaged file.
    pub fn describe(&self, done: &Done, outcome: &mut Outcome) -> Result<History> {
        let files = done.of(&self.stage);
        let history: History = read_json(&files.dir.join(HISTORY))?;
        outcome.checkpoint = files.hash_of(ENCODER);
        let PairsSeen { data, exact } = self.pairs_seen(done)?;
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

    /// The pairs that were trained on, with description and licence that their set has now: these are in no key.
    ///
    /// # Errors
    /// A damaged file.
    pub fn data(&self, done: &Done) -> Result<DataRef> {
        Ok(self.pairs_seen(done)?.data)
    }

    fn pairs_seen(&self, done: &Done) -> Result<PairsSeen> {
        let PairsSeen { data, exact } = read_json(&done.of(&self.stage).dir.join(DATA))?;
        let (licence, of) = (self.pairs.set.licence.clone(), &self.pairs.set.description);
        let description = if of.is_empty() { data.description } else { format!("{}; from {of}", data.description) };
        Ok(PairsSeen { data: DataRef { licence, description, ..data }, exact })
    }
}

impl Inputs {
    /// What makes views of pairs for the method.
    fn pipeline(&self) -> Pipeline {
        let small = match self.pretraining.method.crops() {
            Crops::None => Small::None,
            Crops::Random(count) => Small::Random { count, scale: self.small_crop_scale },
            Crops::Jigsaw => Small::Jigsaw,
        };
        let image = self.pretraining.model.image;
        Pipeline::new(self.augment.clone(), self.normalization.clone(), image).with_small(small)
    }
}

fn train(
    inputs: &Inputs,
    kind: Kind,
    pairs: &Pairs,
    seconds: Option<&Arc<Stage>>,
    device: Cpu,
    Manner { checkpoint_seconds, keep_going }: Manner,
    site: &Site<'_>,
) -> Result<()> {
    let (set, list) = pairs.exact()?;
    // The witnesses are the same, whatever is trained on.
    let witnesses = Witnesses::of(&list.indices(Kind::Semantic));
    let list = pairs.chosen.with_false(list)?;
    let list = match seconds {
        Some(stage) => list.with_seconds(&read_json::<Vec<u32>>(&site.of(stage).dir.join(SECONDS_OF_PAIRS))?),
        None => list,
    };
    let one_category = |&(a, b): &(u32, u32)| set.labels[a as usize] == set.labels[b as usize];
    let indices = list.indices(kind);
    let exact = indices.iter().filter(|pair| one_category(pair)).count() as f64 / indices.len() as f64;
    write_json(&site.dir.join(DATA), &PairsSeen { data: pairs_ref(&set, &list, kind, exact), exact })?;
    let run = &inputs.pretraining;
    Trained { run: run.clone(), normalization: inputs.normalization.clone() }.write(site.dir)?;
    let material = Material { witnesses, source: Source { pairs: indices, set }, pipeline: inputs.pipeline() };
    let Site { dir, progress, interrupt, .. } = *site;
    pretrain(
        run,
        device.precision,
        material,
        &Surroundings { dir, checkpoint_seconds, keep_going, progress, interrupt },
    )
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

//! Stage `pretrain`: trains an encoder on pairs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::augment::{Normalization, Pipeline, Small, Views};
use crate::data::batches::Source;
use crate::data::catalog::Pairs;
use crate::data::image_set::ImageSet;
use crate::data::pairs::{Chosen, PairKind, PairList};
use crate::error::{Context as _, Result};
use crate::files::{read_json, write_json};
use crate::harness::outcome::DataRef;
use crate::harness::stage::{Description, Finished, Site, Stage};
use crate::methods::Crops;
use crate::study::cost;
use crate::study::settings::Settings;
use crate::tensor::AnyDevice;
use crate::train::{HISTORY, Material, MonitorPairs, Pretraining, TrainContext, Trained, pretrain};

use super::{Context, Representation};

/// File of the second images of pairs of nearest neighbours, in their stage's folder.
pub(super) const SECONDS_OF_PAIRS: &str = "seconds.json";
/// File that describes the training data, so that the set need not be opened again.
pub(in crate::study) const DATA: &str = "data.json";

/// A pretraining.
#[derive(Clone)]
pub struct Training {
    /// The stage.
    pub stage: Arc<Stage>,
    /// The stage `factors`, for an embedded set.
    pub factors: Option<Arc<Stage>>,
    pub(super) trained: Trained,
    /// The pairs that it learns from.
    pub(in crate::study) pairs: Arc<Pairs>,
}

/// Everything that determines an encoder, except code and device.
#[derive(Clone, Serialize)]
struct Inputs {
    representation: Representation,
    pretraining: Pretraining,
    augment: Views,
    small_crop_scale: [f32; 2],
    normalization: Normalization,
    pairs: serde_json::Value,
}

/// A stage that makes images, and the function that reads them from its files. Their code is not in this module, so
/// that it does not enter the keys of trainings without such a stage.
pub struct Made {
    /// The stage.
    pub stage: Arc<Stage>,
    /// Reads its images.
    pub images: fn(&Finished) -> Result<ImageSet>,
}

/// Stages that run before a training.
#[derive(Default)]
pub struct Before {
    /// Finds the second images of nearest neighbours.
    pub seconds: Option<Arc<Stage>>,
    /// Makes the second images of augmented pairs.
    pub made: Option<Made>,
    /// Describes what the images of an embedded set show.
    pub factors: Option<Arc<Stage>>,
}

/// Settings of a training that do not change its result.
#[derive(Clone, Copy)]
struct Manner {
    checkpoint_seconds: f64,
    keep_going: bool,
}

/// The data about the pairs that are stored next to the encoder trained on them.
#[derive(Serialize, Deserialize)]
pub(in crate::study) struct PairsSeen {
    pub data: DataRef,
    /// The share of the pairs whose images are of one category.
    pub exact: f64,
}

impl Training {
    /// The stage for a kind of pairs.
    ///
    /// # Errors
    /// When the settings cannot be written as JSON.
    pub fn new(
        context: &Context,
        settings: &Settings,
        kind: PairKind,
        seed: u64,
        pairs: &Arc<Pairs>,
        Before { seconds, made, factors }: Before,
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
            settings.method.module(),
            settings.model.module(),
            context.device.module(),
        ];
        let cost = cost::pretraining(&context.device, settings, kind.rows(pairs.chosen.count()));
        let json = serde_json::to_value(&inputs).context("the settings are not JSON")?;
        let after: Vec<&Arc<Stage>> = seconds.iter().chain(made.iter().map(|made| &made.stage)).collect();
        let description = Description { timed: &[HISTORY], ..context.describe("pretrain", json, &roots, &after, cost) };
        let manner = Manner { checkpoint_seconds: settings.checkpoint_seconds, keep_going: settings.keep_going };
        let (from, device) = (pairs.clone(), context.device.clone());
        let stage = Stage::new(description, move |site| {
            let seconds = seconds.as_ref().map(|stage| site.of(stage));
            let made = made.as_ref().map(|made| (made.images)(site.of(&made.stage))).transpose()?;
            train(&inputs, kind, &from, (seconds, made), &device, manner, site)
        });
        Ok(Self { stage, factors, trained, pairs: pairs.clone() })
    }
}

impl Inputs {
    /// The pipeline that makes views of pairs for the method.
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
    kind: PairKind,
    pairs: &Pairs,
    (seconds, made): (Option<&Finished>, Option<ImageSet>),
    device: &AnyDevice,
    Manner { checkpoint_seconds, keep_going }: Manner,
    site: &Site<'_>,
) -> Result<()> {
    let (set, list) = pairs.exact()?;
    // The monitored pairs are the same for all kinds of pairs.
    let monitor = MonitorPairs::of(&list.indices(PairKind::Semantic));
    let list = pairs.chosen.with_false(list)?;
    let list = match seconds {
        Some(found) => list.with_seconds(&read_json::<Vec<u32>>(&found.dir.join(SECONDS_OF_PAIRS))?),
        None => list,
    };
    let one_category = |&(a, b): &(u32, u32)| set.labels[a as usize] == set.labels[b as usize];
    let mut indices = list.indices(kind);
    let exact = indices.iter().filter(|pair| one_category(pair)).count() as f64 / indices.len() as f64;
    let data = pairs_ref(&set, &list, &pairs.chosen, (kind, made.as_ref()), exact);
    write_json(&site.dir.join(DATA), &PairsSeen { data, exact })?;
    if made.is_some() {
        indices.iter_mut().enumerate().for_each(|(place, pair)| pair.1 = place as u32);
    }
    let run = &inputs.pretraining;
    Trained { run: run.clone(), normalization: inputs.normalization.clone() }.write(site.dir)?;
    let source = Source { pairs: indices, set, seconds: made };
    let material = Material { monitor, source, pipeline: inputs.pipeline() };
    let Site { dir, progress, interrupt, .. } = *site;
    pretrain(run, device, material, &TrainContext { dir, checkpoint_seconds, keep_going, progress, interrupt })
}

/// The entry of the pairs in a record. `exact` is the share of pairs whose images are of one category.
fn pairs_ref(
    set: &ImageSet,
    list: &PairList,
    chosen: &Chosen,
    (kind, made): (PairKind, Option<&ImageSet>),
    exact: f64,
) -> DataRef {
    let mut semantic = if exact == 1.0 {
        "two different images of one category each".to_string()
    } else {
        format!("two different images each, in {:.0} % of the pairs of one category", 100.0 * exact)
    };
    match list.same_pictures(set) {
        0 => {}
        same => semantic += &format!(", but in {same} of the pairs both show the same picture"),
    }
    DataRef {
        name: format!("{} pairs of {}", list.indices(kind).len(), set.name),
        description: format!(
            "{}, {} categories; {}",
            kind.title(),
            list.categories.len(),
            match kind {
                PairKind::Semantic => &semantic,
                PairKind::Augmented if made.is_some() => {
                    "the first image of each semantic pair, and an image made of it before training"
                }
                PairKind::Augmented => "the first image of each semantic pair, twice",
                PairKind::Unpaired => "each image of each semantic pair, twice",
                PairKind::Neighbours =>
                    "the first image of each semantic pair, and the most similar other to an encoder",
            }
        ),
        hash: match made {
            Some(made) => blake3::hash(format!("{} {}", list.hash(kind), made.hash).as_bytes()).to_hex().to_string(),
            None => list.hash(kind),
        },
        images: set.len() as u64,
        licence: String::new(),
        // For drawn pairs, the table already says that they are not the paper's.
        substitute: chosen.is_list() && !chosen.may_be_the_papers(),
    }
}

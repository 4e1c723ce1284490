//! Stage `invariance`: the effect of one nuisance factor on features and probe.

use std::sync::Arc;

use serde_json::json;

use crate::data::world::{self, Nuisance};
use crate::eval;
use crate::files::write_json;
use crate::harness::stage::Stage;
use crate::study::cost;
use crate::study::settings::Settings;

use super::{Context, Extraction, probe};

pub(in crate::study) const COSINES: &str = "cosines.json";

/// The mean cosine between the features of a set's test images and those of the same images with one factor changed,
/// and the accuracy on the changed images of a linear probe that was fitted on the unchanged training images.
///
/// The mean of the training images' features is subtracted before the cosine is computed, so that images of different
/// categories have a cosine of about 0. Otherwise, features that all point in one direction would seem invariant.
#[derive(Clone)]
pub struct Invariance {
    /// The stage.
    pub stage: Arc<Stage>,
    /// The features of the unchanged images.
    pub extraction: Extraction,
}

impl Invariance {
    /// The stage for some features and a factor.
    pub fn new(context: &Context, settings: &Settings, extraction: &Extraction, nuisance: Nuisance, seed: u64) -> Self {
        let Extraction { stage: unchanged, set, mapping } = extraction;
        let inputs = json!({
            "unchanged": probe::inputs(settings, mapping, &set.identity, seed), "nuisance": nuisance,
            "edits": world::EDITS_VERSION,
        });
        let edits = if set.is_embedded() { "data::world" } else { "data::world::edits" };
        let roots = [&["study::stages::invariance", set.made_by(), edits], &mapping.code[..]].concat();
        let mut after = vec![unchanged];
        after.extend(&mapping.after);
        let cost = cost::features(&context.device, mapping.model.as_ref(), set.extent.test)
            .then(cost::probe(mapping.model.as_ref(), &set.extent));
        let description = context.describe("invariance", inputs, &roots, &after, cost);
        let (from, settings) = (extraction.clone(), settings.probe.clone());
        let stage = Stage::new(description, move |site| {
            let changed = from.set.varied_test(nuisance)?;
            let changed = from.mapping.features(&changed, site)?;
            let [train, test] = from.read(site.of(&from.stage))?;
            write_json(&site.dir.join(COSINES), &eval::mean_cosine(&train, &test, &changed)?)?;
            probe::measure(&settings, &train, &changed, seed, site.dir)
        });
        Self { stage, extraction: extraction.clone() }
    }
}

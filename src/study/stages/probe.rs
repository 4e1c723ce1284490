//! Stage `probe`: a linear probe and k-NN on frozen features.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Result;
use crate::eval::{self, Features, ProbeSettings};
use crate::files::write_json;
use crate::harness::outcome::Hits;
use crate::harness::stage::Stage;
use crate::rng::Key;
use crate::study::cost;
use crate::study::settings::Settings;

use super::mapping::Mapping;
use super::metric::{KNN, TOP1};
use super::{Context, Extraction};

pub(in crate::study) const PROBE: &str = "probe.json";
pub(in crate::study) const PREDICTIONS: &str = "predictions.json";

/// An evaluation of a mapping on a set's training and test split.
#[derive(Clone)]
pub struct Probe {
    /// The stage.
    pub stage: Arc<Stage>,
    /// The features.
    pub extraction: Extraction,
    /// The stage `factors`, for an embedded set.
    pub factors: Option<Arc<Stage>>,
}

/// Accuracies of one representation on one set.
#[derive(Serialize, Deserialize)]
pub(in crate::study) struct Accuracies {
    pub linear: f64,
    pub knn: f64,
    /// Which test images were classified correctly, by metric.
    pub hits: BTreeMap<String, Hits>,
    pub penalty: f64,
    /// The accuracy on held-out images with each penalty.
    pub held_out: Vec<(f64, f64)>,
    pub converged: bool,
    pub steps: usize,
}

/// Everything that determines an evaluation of a mapping on a set of this identity.
pub(super) fn inputs(settings: &Settings, mapping: &Mapping, set: &Value, seed: u64) -> Value {
    json!({ "representation": mapping.identity, "set": set, "probe": settings.probe, "seed": seed })
}

impl Probe {
    /// The stage for some features.
    pub fn new(
        context: &Context,
        settings: &Settings,
        extraction: &Extraction,
        factors: Option<Arc<Stage>>,
        seed: u64,
    ) -> Self {
        let inputs = inputs(settings, &extraction.mapping, &extraction.set.identity, seed);
        let cost = cost::probe(extraction.mapping.model.as_ref(), &extraction.set.extent);
        let description = context.describe("probe", inputs, &["study::stages::probe"], &[&extraction.stage], cost);
        let (from, probe) = (extraction.clone(), settings.probe.clone());
        let stage = Stage::new(description, move |site| {
            let [train, test] = from.read(site.of(&from.stage))?;
            measure(&probe, &train, &test, seed, site.dir)
        });
        Self { stage, extraction: extraction.clone(), factors }
    }
}

/// Evaluates a linear probe and k-NN, fitted on the training features, on the test features,
/// and writes the results to `dir`.
pub(super) fn measure(
    settings: &ProbeSettings,
    train: &Features,
    test: &Features,
    seed: u64,
    dir: &Path,
) -> Result<()> {
    let key = Key::root(seed).split("probe");
    let linear = eval::linear_probe(train, test, settings, key)?;
    let temperature = (settings.temperature > 0.0).then_some(settings.temperature);
    let knn = eval::knn(train, test, settings.neighbours, temperature)?;
    let hits = [(TOP1, &linear.predictions), (KNN, &knn.predictions)].map(|(metric, predictions)| {
        let right = predictions.iter().zip(&test.labels).map(|(prediction, label)| prediction == label);
        (metric.to_string(), right.collect())
    });
    let result = Accuracies {
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

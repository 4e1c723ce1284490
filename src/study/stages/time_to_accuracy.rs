//! Stage `course`: how an encoder's accuracy on a set rises during training.

use std::sync::Arc;

use serde_json::json;

use crate::data::catalog::Set;
use crate::eval;
use crate::files::{read_json, write_json};
use crate::harness::outcome::DataRef;
use crate::harness::stage::Stage;
use crate::rng::Key;
use crate::study::cost;
use crate::study::settings::Settings;
use crate::train::{HISTORY, History, snapshot};

use super::features::data_ref;
use super::mapping::Mapping;
use super::{Context, Training, probe};

pub(in crate::study) const DATA: &str = "data.json";
pub(in crate::study) const ACCURACIES: &str = "accuracies.json";

/// The linear probe of a training at each moment at which the training's health was measured. The training keeps
/// snapshots of its encoder at these moments ([`snapshots`](crate::train::PretrainSettings::snapshots)).
#[derive(Clone)]
pub struct TimeToAccuracy {
    /// The stage.
    pub stage: Arc<Stage>,
    /// The training.
    pub training: Training,
    /// The set of the probe.
    pub(in crate::study) set: Arc<Set>,
}

impl TimeToAccuracy {
    /// The stage for a training and a set.
    ///
    /// Panics when the training keeps no snapshots.
    pub fn new(
        context: &Context,
        settings: &Settings,
        training: Training,
        mapping: Mapping,
        set: &Arc<Set>,
        seed: u64,
    ) -> Self {
        assert!(settings.pretrain.snapshots, "a training without snapshots has no course");
        let inputs = json!({ "course of": probe::inputs(settings, &mapping, &set.identity, seed) });
        let roots = [&["study::stages::time_to_accuracy", set.made_by()], &mapping.code[..]].concat();
        let cost = cost::time_to_accuracy(&context.device, settings, &set.extent);
        let description = context.describe("course", inputs, &roots, &[&training.stage], cost);
        let (from, probe, trained) = (set.clone(), settings.probe.clone(), training.clone());
        let stage = Stage::new(description, move |site| {
            let dataset = from.open()?;
            let data: Vec<DataRef> =
                dataset.splits.values().map(|split| data_ref(split, &dataset.description)).collect();
            write_json(&site.dir.join(DATA), &data)?;
            let (train, test) = (from.split("train")?, from.split("test")?);
            let history: History = read_json(&site.of(&trained.stage).dir.join(HISTORY))?;
            let accuracy = |epoch: usize| {
                let features = mapping.source.features(&[&train, &test], Some(&snapshot(epoch)), site)?;
                let key = Key::root(seed).split("probe");
                Ok(eval::linear_probe(&features[0], &features[1], &probe, key)?.accuracy)
            };
            // Continues after the accuracies that an interrupted run wrote.
            let path = site.dir.join(ACCURACIES);
            let mut accuracies: Vec<f64> = if path.exists() { read_json(&path)? } else { Vec::new() };
            for health in &history.health[accuracies.len()..] {
                accuracies.push(accuracy(health.epoch)?);
                write_json(&path, &accuracies)?;
            }
            Ok(())
        });
        Self { stage, training, set: set.clone() }
    }
}

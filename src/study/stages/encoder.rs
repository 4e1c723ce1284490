//! Encoders to be evaluated: before the first step, written by a stage, or read from a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::data::augment::Normalization;
use crate::data::image_set::ImageSet;
use crate::error::Result;
use crate::eval::Features;
use crate::harness::stage::{Site, Stage};
use crate::models::ModelSpec;
use crate::tensor::AnyDevice;
use crate::train::weights::load_weights;
use crate::train::{ENCODER, Trained, features, initial};

use super::Representation;
use super::mapping::{Mapping, Source};

struct Encoder {
    device: AnyDevice,
    model: ModelSpec,
    normalization: Normalization,
    seed: u64,
    weights: Weights,
}

/// Where an encoder's weights are.
enum Weights {
    Initial,
    Left(Arc<Stage>),
    Folder(PathBuf),
}

/// An encoder before its first step.
pub fn random(device: &AnyDevice, model: &ModelSpec, normalization: &Normalization, seed: u64) -> Mapping {
    let identity = json!({
        "representation": Representation::Random, "model": model, "normalization": normalization, "seed": seed,
    });
    let (model, normalization) = (*model, normalization.clone());
    Encoder { device: device.clone(), model, normalization, seed, weights: Weights::Initial }.mapping(identity, None)
}

/// The encoder that a stage writes.
pub fn trained(device: &AnyDevice, stage: &Arc<Stage>, trained: &Trained) -> Mapping {
    let (identity, weights) = (stage.description.inputs.clone(), Weights::Left(stage.clone()));
    Encoder::of(device, trained, weights).mapping(identity, Some(stage.clone()))
}

/// The encoder in a folder, written by the stage with this key.
pub fn in_folder(device: &AnyDevice, trained: &Trained, dir: &Path, key: &str) -> Mapping {
    Encoder::of(device, trained, Weights::Folder(dir.to_owned())).mapping(json!({ "encoder": key }), None)
}

impl Encoder {
    fn of(device: &AnyDevice, Trained { run, normalization }: &Trained, weights: Weights) -> Self {
        Self { device: device.clone(), model: run.model, normalization: normalization.clone(), seed: run.seed, weights }
    }

    /// The folder of the weights; `None` before the first step.
    fn folder<'s>(&'s self, site: &'s Site<'_>) -> Option<&'s Path> {
        match &self.weights {
            Weights::Initial => None,
            Weights::Left(stage) => Some(&site.of(stage).dir),
            Weights::Folder(dir) => Some(dir),
        }
    }

    fn mapping(self, identity: Value, after: Option<Arc<Stage>>) -> Mapping {
        let code = vec!["study::stages::encoder", self.model.module(), self.device.module()];
        Mapping { identity, after, code, model: Some(self.model), source: Arc::new(self) }
    }
}

impl Source for Encoder {
    fn features(&self, sets: &[&ImageSet], file: Option<&str>, site: &Site<'_>) -> Result<Vec<Features>> {
        let network = initial(&self.model, &self.device, self.seed)?;
        if let Some(dir) = self.folder(site) {
            load_weights(&dir.join(file.unwrap_or(ENCODER)), &mut network.parameters())?;
        }
        let of = |images: &&ImageSet| features(&network, images, &self.normalization, site.progress, site.interrupt);
        sets.iter().map(of).collect()
    }

    fn weights(&self, site: &Site<'_>) -> Option<PathBuf> {
        self.folder(site).map(|dir| dir.join(ENCODER))
    }
}

//! Stage `features`: the features of a set's training and test images, and the data about the set that
//! the probe and the record need.

use std::collections::BTreeMap;
use std::sync::Arc;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::data::catalog::Set;
use crate::data::image_set::Split;
use crate::error::{Context as _, Error, Result};
use crate::eval::Features;
use crate::files::{read_json, write_json};
use crate::harness::outcome::DataRef;
use crate::harness::stage::{Finished, Stage};
use crate::study::cost;
use crate::train::tensors;

use super::Context;
use super::mapping::Mapping;

const FEATURES: &str = "features.safetensors";
pub(in crate::study) const DATA: &str = "data.json";

/// A mapping's features of a set.
#[derive(Clone)]
pub struct Extraction {
    /// The stage.
    pub stage: Arc<Stage>,
    /// The set.
    pub set: Arc<Set>,
    /// The mapping that makes the features.
    pub mapping: Mapping,
}

/// The data about an evaluation set that are stored next to its features.
#[derive(Serialize, Deserialize)]
pub(in crate::study) struct Evaluated {
    /// Every split, evaluated or not.
    pub data: Vec<DataRef>,
    splits: BTreeMap<String, Labels>,
}

/// The labels of a split's images.
#[derive(Serialize, Deserialize)]
struct Labels {
    classes: usize,
    labels: Vec<u32>,
}

impl Extraction {
    /// The stage for a mapping and a set.
    pub fn new(context: &Context, mapping: &Mapping, set: &Arc<Set>) -> Self {
        let inputs = json!({ "representation": mapping.identity, "set": set.identity });
        let roots = [&["study::stages::features", set.made_by()], &mapping.code[..]].concat();
        let after: Vec<&Arc<Stage>> = mapping.after.iter().collect();
        let images = set.extent.train + set.extent.test;
        let cost = cost::features(&context.device, mapping.model.as_ref(), images);
        let description = context.describe("features", inputs, &roots, &after, cost);
        let (of, from) = (mapping.clone(), set.clone());
        let stage = Stage::new(description, move |site| {
            let dataset = from.open()?;
            let data = dataset.splits.values().map(|split| data_ref(split, &dataset.description)).collect();
            let mut evaluated = Evaluated { data, splits: BTreeMap::new() };
            let mut named = Vec::new();
            for (name, split) in &dataset.splits {
                if split.is_empty() || !["train", "test"].contains(&name.as_str()) {
                    continue;
                }
                let of_split = of.features(split, site)?;
                named.push(tensors::Named::floats(name, vec![of_split.rows(), of_split.dim], &of_split.values));
                let labels = Labels { classes: split.classes.len(), labels: split.labels.to_vec() };
                evaluated.splits.insert(name.clone(), labels);
            }
            write_json(&site.dir.join(DATA), &evaluated)?;
            tensors::write(&site.dir.join(FEATURES), &named, None)
        });
        Self { stage, set: set.clone(), mapping: mapping.clone() }
    }

    /// Reads the features of the training and of the test images.
    ///
    /// # Errors
    /// When a split is missing or a file is damaged.
    pub fn read(&self, files: &Finished) -> Result<[Features; 2]> {
        let path = files.dir.join(FEATURES);
        let bytes = std::fs::read(&path).context(format!("cannot read {}", path.display()))?;
        let file = SafeTensors::deserialize(&bytes).context(path.display())?;
        let Evaluated { mut splits, .. } = read_json(&files.dir.join(DATA))?;
        let mut read = |split: &str| {
            let Labels { classes, labels } = splits.remove(split).ok_or_else(|| {
                Error::new(format!("`{}` has no split `{split}`, which evaluation needs", self.set.name))
                    .hint("`sempair data list` shows the splits of each set")
            })?;
            let dim = file.tensor(split).context(path.display())?.shape()[1];
            let values = tensors::floats(&file, &path, split, labels.len() * dim)?;
            Features::new(values, labels, dim, classes)
        };
        Ok([read("train")?, read("test")?])
    }
}

/// The entry of a split in a record.
pub(super) fn data_ref(set: &impl Split, description: &str) -> DataRef {
    DataRef {
        name: set.name().into(),
        description: description.into(),
        hash: set.hash().into(),
        images: set.images() as u64,
        ..DataRef::default()
    }
}

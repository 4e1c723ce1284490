//! Datasets by name, the embedded and the imported ones behind one door.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};

use super::image_set::{Dataset, ImageSet};
use super::pairs::{self, PairList};
use super::store;
use super::world::{self, Nuisance, World};

/// The name of the embedded set that pairs are made from.
pub const SYNTH: &str = "synth";

/// Which pairs pretraining sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSettings {
    /// The set that pairs are made from: `synth`, or an imported one's training split, or `set/split`.
    pub from: String,
    /// Number of categories.
    pub categories: usize,
    /// Pairs of each category.
    pub per_category: usize,
    /// Chooses categories and pairs.
    pub seed: u64,
    /// Whether an image may be in several pairs.
    pub reuse: bool,
    /// A list of pairs to use in place of drawing some, as `sempair data pairs` writes it; empty draws.
    pub list: String,
    /// The share of the pairs whose second image is of another category, 0 to 1.
    pub false_share: f32,
}

/// How much there is of an evaluation set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Categories.
    pub classes: usize,
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
}

/// Where datasets come from: the embedded world, and the folder of imported ones.
#[derive(Clone, Copy, Debug)]
pub struct Catalog<'a> {
    /// The parameters of the embedded sets.
    pub world: &'a World,
    /// The folder of the imported sets.
    pub folder: &'a Path,
}

impl PairSettings {
    /// The pairs, of which the share that is to be false is made so.
    ///
    /// # Errors
    /// When one category has more than half of them.
    pub fn with_false(&self, list: PairList) -> Result<PairList> {
        if self.false_share > 0.0 { list.with_false(self.false_share, self.seed) } else { Ok(list) }
    }
}

impl Catalog<'_> {
    /// A dataset for evaluation.
    ///
    /// # Errors
    /// When there is none of that name, or its file is damaged.
    pub fn open(&self, name: &str) -> Result<Dataset> {
        match rendered(self.world, name) {
            Some(dataset) => Ok(dataset),
            None => store::open(self.folder, name),
        }
    }

    /// Whether a dataset is embedded or was imported; it may be damaged.
    ///
    /// # Errors
    /// A name that no dataset can have.
    pub fn contains(&self, name: &str) -> Result<bool> {
        if is_embedded(name) { Ok(true) } else { store::contains(self.folder, name) }
    }

    /// What determines a dataset's content, found without rendering or reading its pixels.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn identity(&self, name: &str) -> Result<Value> {
        if is_embedded(name) {
            return Ok(json!({ "name": name, "world": self.world, "version": world::VERSION }));
        }
        let dataset = store::open(self.folder, name)?;
        let splits = dataset.splits.iter().map(|(split, set)| (split.clone(), Value::from(set.hash.clone())));
        Ok(json!({ "name": name, "splits": splits.collect::<serde_json::Map<_, _>>() }))
    }

    /// How much there is of a dataset, found without rendering or reading its pixels.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn extent(&self, name: &str) -> Result<Extent> {
        if let Some([classes, train, test]) = world::extent(name) {
            return Ok(Extent { classes, train, test });
        }
        let dataset = store::open(self.folder, name)?;
        let images = |split: &str| dataset.splits.get(split).map_or(0, ImageSet::len);
        let classes = dataset.splits.values().map(|split| split.classes.len()).max().unwrap_or(0);
        Ok(Extent { classes, train: images("train"), test: images("test") })
    }

    /// How a dataset may be used, as whoever imported it stated; empty where nobody did.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn licence(&self, name: &str) -> Result<String> {
        if is_embedded(name) { Ok(world::LICENCE.into()) } else { Ok(store::open(self.folder, name)?.licence) }
    }

    /// What an imported dataset is, and how much of the official one; empty for an embedded one.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn description(&self, name: &str) -> Result<String> {
        if is_embedded(name) { Ok(String::new()) } else { Ok(store::open(self.folder, name)?.description) }
    }

    /// What determines the pairs that [`Catalog::pairs`] gives, found without drawing them.
    ///
    /// # Errors
    /// When the set or the list is not there.
    pub fn pairs_identity(&self, choice: &PairSettings) -> Result<Value> {
        let from = self.identity(choice.from.split('/').next().unwrap_or_default())?;
        if choice.list.is_empty() {
            return Ok(json!({ "choice": choice, "from": from }));
        }
        let bytes = std::fs::read(&choice.list).context(format!("cannot read the pairs in {}", choice.list))?;
        let list = blake3::hash(&bytes);
        Ok(json!({ "list": list.to_hex().as_str(), "false share": choice.false_share, "from": from }))
    }

    /// One split of a dataset.
    ///
    /// # Errors
    /// When the dataset or the split is not there.
    pub fn split(&self, name: &str, split: &str) -> Result<ImageSet> {
        let mut dataset = self.open(name)?;
        dataset.splits.remove(split).ok_or_else(|| {
            let there: Vec<&str> = dataset.splits.keys().map(String::as_str).collect();
            Error::new(format!("`{name}` has no split `{split}`, but {}", there.join(", ")))
                .hint("`sempair data list` shows the splits of each set")
        })
    }

    /// The images that pairs are made from, and the pairs.
    ///
    /// # Errors
    /// When the set is not there or has too few images.
    pub fn pairs(&self, choice: &PairSettings) -> Result<(ImageSet, PairList)> {
        let (set, list) = self.exact_pairs(choice)?;
        Ok((set, choice.with_false(list)?))
    }

    /// As `pairs`, before some of them are made false.
    ///
    /// # Errors
    /// When the set is not there or has too few images.
    pub fn exact_pairs(&self, choice: &PairSettings) -> Result<(ImageSet, PairList)> {
        let PairSettings { ref from, categories, per_category, seed, reuse, ref list, .. } = *choice;
        let set = if from == SYNTH {
            if categories > world::PRETRAINING_CATEGORIES as usize {
                return Err(Error::new(format!(
                    "`pairs.categories` is {categories}; the embedded world has {}",
                    world::PRETRAINING_CATEGORIES
                ))
                .hint("`--set pairs.categories=187`"));
            }
            world::pretraining(self.world, categories, 2 * per_category).0
        } else {
            let (name, split) = from.split_once('/').unwrap_or((from, "train"));
            self.split(name, split)?
        };
        let list = if list.is_empty() {
            pairs::build(&set, categories, per_category, seed, reuse)?
        } else {
            pairs::read_manifest(Path::new(list), &set)?
        };
        Ok((set, list))
    }

    /// A dataset's test images, each with one nuisance factor changed: an embedded set's are rendered anew with only
    /// this factor drawn anew, others' are edited.
    ///
    /// # Errors
    /// When the set or its test split is not there.
    pub fn varied_test(&self, name: &str, nuisance: Nuisance) -> Result<ImageSet> {
        match world::varied_test(self.world, name, nuisance) {
            Some(set) => Ok(set),
            None => Ok(world::edited(&self.split(name, "test")?, nuisance)),
        }
    }
}

/// An embedded evaluation set, rendered once in a process: every representation is evaluated on the same few sets. Those
/// of the last world asked for are kept.
fn rendered(world: &World, name: &str) -> Option<Dataset> {
    static RENDERED: Mutex<Vec<(World, Dataset)>> = Mutex::new(Vec::new());
    let lock = || RENDERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, dataset)) = lock().iter().find(|(of, dataset)| of == world && dataset.name == name) {
        return Some(dataset.clone());
    }
    // Without the lock, since rendering lends this thread to other work, which may ask for a set too.
    let dataset = world::evaluation(world, name)?;
    let mut rendered = lock();
    rendered.retain(|(of, dataset)| of == world && dataset.name != name);
    rendered.push((world.clone(), dataset.clone()));
    Some(dataset)
}

fn is_embedded(name: &str) -> bool {
    name == SYNTH || world::EVALUATION_SETS.contains(&name)
}

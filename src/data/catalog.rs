//! Datasets by name, the embedded and the imported ones behind one door. A name is looked up once: what is found knows
//! everything that others ask of it, and gives its images when they are wanted.
//!
//! This file only finds a dataset: a result depends on where its images come from ([`Set::made_by`]).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::error::{Error, Result};

use super::image_set::{Dataset, ImageSet};
use super::pairs::{Chosen, PairList, PairSettings};
use super::store;
use super::world::{self, Nuisance, World};

/// The name of the embedded set that pairs are made from.
pub const SYNTH: &str = "synth";

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
#[derive(Debug)]
pub struct Catalog {
    world: World,
    folder: PathBuf,
    found: Mutex<HashMap<String, Arc<Set>>>,
}

/// A dataset as it was found. Nothing of it is rendered, and of an imported one no pixel is read.
#[derive(Clone, Debug)]
pub struct Set {
    /// The name that commands and configuration use.
    pub name: String,
    /// What determines its content.
    pub identity: Value,
    /// How much there is of it; nothing of `synth`, of which there is as much as anyone wants.
    pub extent: Extent,
    /// How it may be used, as whoever imported it stated; empty where nobody did.
    pub licence: String,
    /// What an imported dataset is, and how much of the official one; empty for an embedded one.
    pub description: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Embedded(World),
    Imported(Dataset),
}

/// The images that pairs are made from, and the choice of pairs.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// The set.
    pub set: Arc<Set>,
    /// The pairs, as far as they are known without images.
    pub chosen: Chosen,
    /// What determines images and pairs.
    pub identity: Value,
    settings: PairSettings,
}

impl Catalog {
    /// The embedded sets of this world, and those imported into this folder.
    pub fn new(world: World, folder: impl Into<PathBuf>) -> Self {
        Self { world, folder: folder.into(), found: Mutex::default() }
    }

    /// The world of the embedded sets.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Whether a dataset is embedded or was imported; it may be damaged.
    ///
    /// # Errors
    /// A name that no dataset can have.
    pub fn contains(&self, name: &str) -> Result<bool> {
        if is_embedded(name) { Ok(true) } else { store::contains(&self.folder, name) }
    }

    /// The dataset of that name.
    ///
    /// # Errors
    /// When there is none, or its file is damaged.
    pub fn set(&self, name: &str) -> Result<Arc<Set>> {
        let found = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = found().get(name) {
            return Ok(set.clone());
        }
        let set = Arc::new(if is_embedded(name) {
            embedded(&self.world, name)
        } else {
            imported(store::open(&self.folder, name)?)
        });
        found().insert(name.to_owned(), set.clone());
        Ok(set)
    }

    /// The pairs of these settings.
    ///
    /// # Errors
    /// When the set or the list is not there, or it is none.
    pub fn pairs(&self, settings: &PairSettings) -> Result<Arc<Pairs>> {
        let set = self.set(settings.set_and_split().0)?;
        let chosen = Chosen::read(settings)?;
        let identity = match chosen.list_hash() {
            None => json!({ "choice": settings, "from": set.identity }),
            Some(list) => json!({ "list": list, "false share": settings.false_share, "from": set.identity }),
        };
        Ok(Arc::new(Pairs { set, chosen, identity, settings: settings.clone() }))
    }
}

impl Set {
    /// Whether it is rendered, not imported.
    pub fn is_embedded(&self) -> bool {
        matches!(self.source, Source::Embedded(_))
    }

    /// The module that its images come from.
    pub fn made_by(&self) -> &'static str {
        match self.source {
            Source::Embedded(_) => "data::world",
            Source::Imported(_) => "data::store",
        }
    }

    /// All its splits.
    ///
    /// # Errors
    /// When it has none: from `synth` come pairs.
    pub fn open(&self) -> Result<Dataset> {
        match &self.source {
            Source::Imported(dataset) => Ok(dataset.clone()),
            Source::Embedded(world) => rendered(world, &self.name).ok_or_else(|| {
                Error::new(format!("`{}` has no training and test images to evaluate on", self.name))
                    .hint(format!("choose one of {}, or an imported set", world::EVALUATION_SETS.join(", ")))
            }),
        }
    }

    /// One split.
    ///
    /// # Errors
    /// When there is no such split.
    pub fn split(&self, split: &str) -> Result<ImageSet> {
        let mut dataset = self.open()?;
        dataset.splits.remove(split).ok_or_else(|| {
            let there: Vec<&str> = dataset.splits.keys().map(String::as_str).collect();
            Error::new(format!("`{}` has no split `{split}`, but {}", self.name, there.join(", ")))
                .hint("`sempair data list` shows the splits of each set")
        })
    }

    /// The test images, each with one nuisance factor changed: an embedded set's are rendered again with only this
    /// factor drawn again, others' are edited.
    ///
    /// # Errors
    /// When there is no test split.
    pub fn varied_test(&self, nuisance: Nuisance) -> Result<ImageSet> {
        let varied = match &self.source {
            Source::Embedded(world) => world::varied_test(world, &self.name, nuisance),
            Source::Imported(_) => None,
        };
        varied.map_or_else(|| Ok(world::edited(&self.split("test")?, nuisance)), Ok)
    }
}

impl Pairs {
    /// The images, and the pairs before some of them are made false.
    ///
    /// # Errors
    /// When the set has no such split, too few images, or other images than the list.
    pub fn exact(&self) -> Result<(ImageSet, PairList)> {
        let PairSettings { categories, per_category, .. } = self.settings;
        let images = match &self.set.source {
            Source::Embedded(world) if self.set.name == SYNTH => {
                if categories > world::PRETRAINING_CATEGORIES as usize {
                    return Err(Error::new(format!(
                        "`pairs.categories` is {categories}; the embedded world has {}",
                        world::PRETRAINING_CATEGORIES
                    ))
                    .hint("`--set pairs.categories=187`"));
                }
                world::pretraining(world, categories, 2 * per_category).0
            }
            _ => self.set.split(self.settings.set_and_split().1)?,
        };
        let list = self.chosen.exact(&images)?;
        Ok((images, list))
    }

    /// The images and the pairs.
    ///
    /// # Errors
    /// As [`Pairs::exact`]; or pairs that cannot be made false.
    pub fn open(&self) -> Result<(ImageSet, PairList)> {
        let (images, list) = self.exact()?;
        Ok((images, self.chosen.with_false(list)?))
    }
}

fn embedded(world: &World, name: &str) -> Set {
    let [classes, train, test] = world::extent(name).unwrap_or_default();
    Set {
        name: name.into(),
        identity: json!({ "name": name, "world": world, "version": world::VERSION }),
        extent: Extent { classes, train, test },
        licence: world::LICENCE.into(),
        description: String::new(),
        source: Source::Embedded(world.clone()),
    }
}

fn imported(dataset: Dataset) -> Set {
    let hashes = dataset.splits.iter().map(|(split, set)| (split.clone(), Value::from(set.hash.clone())));
    let images = |split: &str| dataset.splits.get(split).map_or(0, ImageSet::len);
    let classes = dataset.splits.values().map(|split| split.classes.len()).max().unwrap_or(0);
    Set {
        name: dataset.name.clone(),
        identity: json!({ "name": dataset.name, "splits": hashes.collect::<serde_json::Map<_, _>>() }),
        extent: Extent { classes, train: images("train"), test: images("test") },
        licence: dataset.licence.clone(),
        description: dataset.description.clone(),
        source: Source::Imported(dataset),
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

//! Datasets by name, embedded and imported. Each name and each pair list is looked up once; images are rendered or read
//! when a stage asks for them.
//!
//! This file only finds data. Results depend on the modules that make the images ([`Set::made_by`]) and the pairs
//! (`data::pairs`).

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};

use crate::error::{Error, Result};

use super::annotated::AnnotatedSet;
use super::image_set::{Dataset, ImageSet, Split};
use super::pairs::{Chosen, List, PairList, PairSettings};
use super::store;
use super::world::{self, Nuisance, World};

/// The name of the embedded set that pairs are made from.
pub const SYNTH: &str = "synth";

/// The size of a set on which encoders are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Number of categories.
    pub classes: usize,
    /// Number of training images.
    pub train: usize,
    /// Number of test images.
    pub test: usize,
}

/// The datasets of the embedded world and of the folder of imported datasets.
#[derive(Debug)]
pub struct Catalog {
    world: World,
    folder: PathBuf,
    found: Found<ImageSet>,
    annotated: Found<AnnotatedSet>,
    lists: Mutex<HashMap<String, Arc<List>>>,
}

/// The datasets of one kind that were found.
type Found<S> = Mutex<HashMap<String, Arc<Set<S>>>>;

/// A dataset that was found by its name. None of its images has been rendered or read yet. Its images have labels, or
/// objects ([`AnnotatedSet`]).
#[derive(Clone, Debug)]
pub struct Set<S = ImageSet> {
    /// The name that commands and configuration use.
    pub name: String,
    /// The values that determine its content.
    pub identity: Value,
    /// How many categories it has, and images for training and for the test; `synth` has none.
    pub extent: Extent,
    /// How it may be used, as stated when it was imported; empty if nothing was stated.
    pub licence: String,
    /// A description of an imported dataset, with how much of the official set it has; empty for an embedded dataset.
    pub description: String,
    source: Source<S>,
}

#[derive(Clone, Debug)]
enum Source<S> {
    Embedded(World),
    /// The dataset, and the splits whose images are no longer those that were imported, found at the first use.
    Imported(Dataset<S>, Arc<OnceLock<Vec<String>>>),
}

/// A kind of images: with labels, or with objects.
pub trait Kind: Split + Clone {
    /// The module that reads imported datasets of this kind.
    const READER: &str;
    /// The module that renders embedded datasets of this kind.
    const RENDERER: &str;

    /// Whether this is the name of an embedded dataset of this kind.
    fn is_embedded(name: &str) -> bool;

    /// The version of the renderer, and the numbers of categories, training and test images of an embedded dataset.
    fn embedded(name: &str) -> (Value, [usize; 3]);

    /// Renders an embedded dataset; `None` for a name without splits.
    fn rendered(world: &World, name: &str) -> Option<Dataset<Self>>;

    /// Opens an imported dataset.
    ///
    /// # Errors
    /// When there is none of this name, when it is of the other kind, or when its file is damaged.
    fn read(folder: &Path, name: &str) -> Result<Dataset<Self>>;
}

impl Kind for ImageSet {
    const READER: &str = "data::store";
    const RENDERER: &str = "data::world";

    fn is_embedded(name: &str) -> bool {
        name == SYNTH || world::EVALUATION_SETS.contains(&name)
    }

    fn embedded(name: &str) -> (Value, [usize; 3]) {
        (world::VERSION.into(), world::extent(name).unwrap_or_default())
    }

    fn rendered(world: &World, name: &str) -> Option<Dataset> {
        rendered(world, name)
    }

    fn read(folder: &Path, name: &str) -> Result<Dataset> {
        if AnnotatedSet::is_embedded(name) { Err(store::no_labels(name)) } else { store::open(folder, name) }
    }
}

impl Kind for AnnotatedSet {
    const READER: &str = "data::store::annotated";
    const RENDERER: &str = "data::world::crowd";

    fn is_embedded(name: &str) -> bool {
        world::DETECTION_SETS.contains(&name)
    }

    fn embedded(name: &str) -> (Value, [usize; 3]) {
        (json!([world::VERSION, world::DETECTION_VERSION]), world::detection_extent(name).unwrap_or_default())
    }

    fn rendered(world: &World, name: &str) -> Option<Dataset<Self>> {
        let (splits, description) = world::detection(world, name)?;
        Some(Dataset { name: name.into(), description, licence: world::LICENCE.into(), splits })
    }

    fn read(folder: &Path, name: &str) -> Result<Dataset<Self>> {
        if ImageSet::is_embedded(name) { Err(store::no_objects(name)) } else { store::open_annotated(folder, name) }
    }
}

/// The set that pairs are made from, and the choice of pairs.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// The set.
    pub set: Arc<Set>,
    /// The choice of pairs, without images.
    pub chosen: Chosen,
    /// The values that determine images and pairs.
    pub identity: Value,
    split: String,
}

impl Catalog {
    /// Creates a catalog of the embedded sets of `world` and the sets imported into `folder`.
    pub fn new(world: World, folder: impl Into<PathBuf>) -> Self {
        let (found, annotated, lists) = Default::default();
        Self { world, folder: folder.into(), found, annotated, lists }
    }

    /// Returns the world of the embedded sets.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Whether there is an embedded or imported dataset of this name. It may be damaged.
    ///
    /// # Errors
    /// When no dataset can have this name.
    pub fn contains(&self, name: &str) -> Result<bool> {
        if is_embedded(name) { Ok(true) } else { store::contains(&self.folder, name) }
    }

    /// Returns the dataset of labelled images of this name.
    ///
    /// # Errors
    /// When there is no such dataset, when its images have objects and no labels, or when its file is damaged.
    pub fn set(&self, name: &str) -> Result<Arc<Set>> {
        self.find(&self.found, name)
    }

    /// Returns the dataset of annotated images of this name, for detection.
    ///
    /// # Errors
    /// When there is no such dataset, when its images have labels and no objects, or when its file is damaged.
    pub fn annotated(&self, name: &str) -> Result<Arc<Set<AnnotatedSet>>> {
        self.find(&self.annotated, name)
    }

    /// Returns what was found under this name, or finds it.
    fn find<S: Kind>(&self, found: &Found<S>, name: &str) -> Result<Arc<Set<S>>> {
        let lock = || found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = lock().get(name) {
            return Ok(set.clone());
        }
        let set = Arc::new(match S::is_embedded(name) {
            true => embedded(&self.world, name),
            false => imported(S::read(&self.folder, name)?),
        });
        lock().insert(name.to_owned(), set.clone());
        Ok(set)
    }

    /// Whether the images of a dataset have objects, and no labels.
    ///
    /// # Errors
    /// When there is no such dataset, or its file is damaged.
    pub fn is_annotated(&self, name: &str) -> Result<bool> {
        match is_embedded(name) {
            true => Ok(AnnotatedSet::is_embedded(name)),
            false => store::is_annotated(&self.folder, name),
        }
    }

    /// Returns a dataset with training and test images, as evaluation needs it.
    ///
    /// # Errors
    /// As [`Catalog::set`], and for `synth`, which has no such images.
    pub fn evaluation_set(&self, name: &str) -> Result<Arc<Set>> {
        let set = self.set(name)?;
        if set.name == SYNTH { Err(only_for_pairs()) } else { Ok(set) }
    }

    /// Returns the pairs of these settings.
    ///
    /// # Errors
    /// When the set does not exist, when the settings name a split of `synth`, or when the list cannot be read or is
    /// not a pair list.
    pub fn pairs(&self, settings: &PairSettings) -> Result<Arc<Pairs>> {
        let (name, split) = settings.set_and_split();
        if name == SYNTH && settings.from != SYNTH {
            return Err(Error::new(format!("`{SYNTH}` has no splits, so `pairs.from` cannot be `{}`", settings.from))
                .hint(format!("`--set pairs.from={SYNTH}`")));
        }
        let set = self.set(name)?;
        let list = if settings.list.is_empty() { None } else { Some(self.list(&settings.list)?) };
        let chosen = Chosen::new(settings, list);
        let (key, identity) = chosen.identity();
        let identity = json!({ key: identity, "from": set.identity });
        Ok(Arc::new(Pairs { set, chosen, identity, split: split.to_owned() }))
    }

    /// Returns the pair list in a file.
    fn list(&self, path: &str) -> Result<Arc<List>> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists.get(path) {
            return Ok(list.clone());
        }
        let list = Arc::new(List::read(path)?);
        lists.insert(path.to_owned(), list.clone());
        Ok(list)
    }
}

impl<S: Kind> Set<S> {
    /// Whether the set is embedded (rendered), not imported.
    pub fn is_embedded(&self) -> bool {
        matches!(self.source, Source::Embedded(_))
    }

    /// Returns the module that its images come from.
    pub fn made_by(&self) -> &'static str {
        match self.source {
            Source::Embedded(_) => S::RENDERER,
            Source::Imported(..) => S::READER,
        }
    }

    /// Returns all its splits. The first call for an imported set reads all images, to check their hashes.
    ///
    /// # Errors
    /// When the set is `synth`, which has no splits, or when the images are no longer those that were imported.
    pub fn open(&self) -> Result<Dataset<S>> {
        match &self.source {
            Source::Imported(dataset, changed) => match changed.get_or_init(|| dataset.changed()).first() {
                None => Ok(dataset.clone()),
                Some(split) => Err(Error::new(format!(
                    "the images of `{}/{split}` do not have the hash that was recorded when they were imported",
                    self.name
                ))
                .hint(format!("`sempair data verify {}` names the file and the images; import it again", self.name))),
            },
            Source::Embedded(world) => S::rendered(world, &self.name).ok_or_else(only_for_pairs),
        }
    }

    /// Returns one split.
    ///
    /// # Errors
    /// As [`Set::open`], and when there is no such split.
    pub fn split(&self, split: &str) -> Result<S> {
        let mut dataset = self.open()?;
        dataset.splits.remove(split).ok_or_else(|| {
            let there: Vec<&str> = dataset.splits.keys().map(String::as_str).collect();
            Error::new(format!("`{}` has no split `{split}`, only {}", self.name, there.join(", ")))
                .hint("`sempair data list` shows the splits of each set")
        })
    }
}

impl Set {
    /// Returns the test images, each with one nuisance factor changed. Images of an embedded set are rendered again
    /// with only this factor redrawn; images of an imported set are edited.
    ///
    /// # Errors
    /// When there is no test split.
    pub fn varied_test(&self, nuisance: Nuisance) -> Result<ImageSet> {
        let varied = match &self.source {
            Source::Embedded(world) => world::varied_test(world, &self.name, nuisance),
            Source::Imported(..) => None,
        };
        varied.map_or_else(|| Ok(world::edited(&self.split("test")?, nuisance)), Ok)
    }
}

impl Pairs {
    /// Returns the images, and the pairs before some of them are made false.
    ///
    /// # Errors
    /// When the set has no such split or too few images, or when the list does not fit the images.
    pub fn exact(&self) -> Result<(ImageSet, PairList)> {
        let images = match &self.set.source {
            Source::Embedded(world) if self.set.name == SYNTH => {
                let (categories, images) = self.chosen.rendered();
                if categories > world::PRETRAINING_CATEGORIES as usize {
                    return Err(Error::new(format!(
                        "`pairs.categories` is {categories}; the embedded world has {}",
                        world::PRETRAINING_CATEGORIES
                    ))
                    .hint("`--set pairs.categories=187`"));
                }
                world::pretraining(world, categories, images).0
            }
            _ => self.set.split(&self.split)?,
        };
        let list = self.chosen.exact(&images)?;
        Ok((images, list))
    }

    /// Returns the images and the pairs.
    ///
    /// # Errors
    /// As [`Pairs::exact`], and when pairs cannot be made false.
    pub fn open(&self) -> Result<(ImageSet, PairList)> {
        let (images, list) = self.exact()?;
        Ok((images, self.chosen.with_false(list)?))
    }
}

/// Returns the error for evaluation on the pretraining set.
fn only_for_pairs() -> Error {
    Error::new(format!("`{SYNTH}` has no training and test images to evaluate on"))
        .hint(format!("choose one of {}, or an imported set", world::EVALUATION_SETS.join(", ")))
}

fn embedded<S: Kind>(world: &World, name: &str) -> Set<S> {
    let (version, [classes, train, test]) = S::embedded(name);
    Set {
        name: name.into(),
        identity: json!({ "name": name, "world": world, "version": version }),
        extent: Extent { classes, train, test },
        licence: world::LICENCE.into(),
        description: String::new(),
        source: Source::Embedded(world.clone()),
    }
}

fn imported<S: Split>(dataset: Dataset<S>) -> Set<S> {
    let hashes = dataset.splits.iter().map(|(split, set)| (split.clone(), Value::from(set.hash())));
    let images = |split: &str| dataset.splits.get(split).map_or(0, S::images);
    let classes = dataset.splits.values().map(|split| split.classes().len()).max().unwrap_or(0);
    Set {
        name: dataset.name.clone(),
        identity: json!({ "name": dataset.name, "splits": hashes.collect::<serde_json::Map<_, _>>() }),
        extent: Extent { classes, train: images("train"), test: images("test") },
        licence: dataset.licence.clone(),
        description: dataset.description.clone(),
        source: Source::Imported(dataset, Arc::default()),
    }
}

/// Returns an embedded evaluation set. Each set is rendered once in a process, because every representation is
/// evaluated on the same few sets. Only the sets of the world that was used last are kept.
fn rendered(world: &World, name: &str) -> Option<Dataset> {
    static RENDERED: Mutex<Vec<(World, Dataset)>> = Mutex::new(Vec::new());
    let lock = || RENDERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, dataset)) = lock().iter().find(|(of, dataset)| of == world && dataset.name == name) {
        return Some(dataset.clone());
    }
    // The lock is not held here: while it renders, this thread may run other work that also needs a set.
    let dataset = world::evaluation(world, name)?;
    let mut rendered = lock();
    rendered.retain(|(of, dataset)| of == world && dataset.name != name);
    rendered.push((world.clone(), dataset.clone()));
    Some(dataset)
}

/// Whether this is the name of an embedded set.
pub(super) fn is_embedded(name: &str) -> bool {
    ImageSet::is_embedded(name) || AnnotatedSet::is_embedded(name)
}

//! Which pairs a training sees: a list, or so many drawn from a set.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::data::augment::Augmentation;
use crate::data::image_set::ImageSet;
use crate::error::{Error, Result};
use crate::files;

use super::PairList;
use super::build;
use super::manifest;
use super::manifest::Summary;

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
    /// How the second image of an augmented pair comes about.
    pub augmented: Making,
    /// What makes it of the first where it is stored.
    pub stored: Augmentation,
}

/// How the second image of an augmented pair comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Making {
    /// It is the first image again: the transformations of training alone make the two views differ.
    Live,
    /// It is made of the first image once, before training, as the paper makes it; then both are transformed in training.
    Stored,
}

impl PairSettings {
    /// The set's name, and the split of it.
    pub fn set_and_split(&self) -> (&str, &str) {
        self.from.split_once('/').unwrap_or((&self.from, "train"))
    }
}

/// A list of pairs that was read from a file, known without its images.
#[derive(Debug)]
pub struct List {
    text: String,
    summary: Summary,
    /// Categories and pairs of each, where the list says that it was drawn.
    drawn: Option<(usize, usize)>,
    /// BLAKE3 of the text.
    pub hash: String,
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a pair list.
    pub fn read(path: &str) -> Result<Self> {
        let text = files::read_text(Path::new(path)).map_err(|(_, error)| error)?;
        let in_list = |error: Error| error.context(path);
        let summary = manifest::summary(&text).map_err(in_list)?;
        let all =
            |(categories, per_category): &(usize, usize)| categories.checked_mul(*per_category) == Some(summary.pairs);
        let drawn = manifest::drawn(&text).map_err(in_list)?.filter(all);
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        Ok(Self { text, summary, drawn, hash })
    }
}

/// Pairs as they were chosen, known without their images: the settings, and the list that they name.
#[derive(Clone, Debug)]
pub struct Chosen {
    settings: PairSettings,
    list: Option<Arc<List>>,
}

impl Chosen {
    /// The pairs of these settings, which name this list.
    pub fn new(settings: &PairSettings, list: Option<Arc<List>>) -> Self {
        Self { settings: settings.clone(), list }
    }

    /// Pairs, in all.
    pub fn count(&self) -> usize {
        let PairSettings { categories, per_category, .. } = self.settings;
        self.list.as_ref().map_or(categories * per_category, |list| list.summary.pairs)
    }

    /// Whether they are those of a list.
    pub fn is_list(&self) -> bool {
        self.list.is_some()
    }

    /// Whether these may be the paper's pairs: made by hand, and as many as the paper's, of as many categories. Only a list
    /// without a seed was made by hand.
    pub fn may_be_the_papers(&self) -> bool {
        let papers = Summary { pairs: 29_359, categories: 187, seed: None };
        self.list.as_ref().is_some_and(|list| list.summary == papers)
    }

    /// What determines the pairs, besides the images: the list, or all settings.
    pub fn identity(&self) -> (&'static str, Value) {
        match &self.list {
            None => {
                let PairSettings { from, categories, per_category, seed, reuse, false_share, .. } = &self.settings;
                let choice = json!({
                    "from": from, "categories": categories, "per_category": per_category, "seed": seed, "reuse": reuse,
                    "false_share": false_share,
                });
                ("choice", choice)
            }
            Some(list) if self.settings.false_share > 0.0 => {
                let PairSettings { seed, false_share, .. } = self.settings;
                ("list", json!({ "hash": list.hash, "false share": false_share, "seed": seed }))
            }
            Some(list) => ("list", json!({ "hash": list.hash })),
        }
    }

    /// Of a set that is rendered for the pairs: how many categories, and images of each. A list that was drawn says it.
    pub fn rendered(&self) -> (usize, usize) {
        let drawn = self.list.as_ref().and_then(|list| list.drawn);
        let (categories, per_category) = drawn.unwrap_or((self.settings.categories, self.settings.per_category));
        (categories, 2 * per_category)
    }

    /// The pairs of these images, before some are made false.
    ///
    /// # Errors
    /// Too few images, or a list that does not fit them.
    pub fn exact(&self, images: &ImageSet) -> Result<PairList> {
        let PairSettings { categories, per_category, seed, reuse, list: ref path, .. } = self.settings;
        match &self.list {
            Some(list) => manifest::parse_manifest(&list.text, Path::new(path), images),
            None => build(images, categories, per_category, seed, reuse),
        }
    }

    /// The pairs, of which the share that is to be false is made so.
    ///
    /// # Errors
    /// When one category has more than half of them.
    pub fn with_false(&self, list: PairList) -> Result<PairList> {
        let PairSettings { false_share, seed, .. } = self.settings;
        if false_share > 0.0 { list.with_false(false_share, seed) } else { Ok(list) }
    }
}

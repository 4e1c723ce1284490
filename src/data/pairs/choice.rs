//! The choice of pairs for a training: a pair list, or a number of pairs drawn from a set.

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

/// The settings of the pairs for pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSettings {
    /// The set that pairs are made from: `synth`, the name of an imported set for its training split, or `set/split`.
    pub from: String,
    /// Number of categories.
    pub categories: usize,
    /// Pairs of each category.
    pub per_category: usize,
    /// The seed that chooses categories and pairs.
    pub seed: u64,
    /// Whether an image may be in several pairs.
    pub reuse: bool,
    /// The path of a pair list to use, as `sempair data pairs` writes it. If it is empty, pairs are drawn.
    pub list: String,
    /// The share of the pairs whose second image is of another category, 0 to 1.
    pub false_share: f32,
    /// How the second image of an augmented pair is made.
    pub augmented: Making,
    /// The transformations that make a stored second image from the first image.
    pub stored: Augmentation,
}

/// How the second image of an augmented pair is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Making {
    /// The second image is the first image again. Only the transformations during training make the two views differ.
    Live,
    /// The second image is made from the first image once, before training, as in the paper. Training then transforms
    /// both images.
    Stored,
}

impl PairSettings {
    /// Returns the set's name and the name of its split.
    pub fn set_and_split(&self) -> (&str, &str) {
        self.from.split_once('/').unwrap_or((&self.from, "train"))
    }
}

/// A pair list that was read from a file, without its images.
#[derive(Debug)]
pub struct List {
    text: String,
    summary: Summary,
    /// The number of categories and of pairs in each category, if the list says that its pairs were drawn.
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
        let text = files::read_text(Path::new(path))?;
        let in_list = |error: Error| error.context(path);
        let summary = manifest::summary(&text).map_err(in_list)?;
        let all =
            |(categories, per_category): &(usize, usize)| categories.checked_mul(*per_category) == Some(summary.pairs);
        let drawn = manifest::drawn(&text).map_err(in_list)?.filter(all);
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        Ok(Self { text, summary, drawn, hash })
    }
}

/// A choice of pairs, without their images: the settings, and the list that they name.
#[derive(Clone, Debug)]
pub struct Chosen {
    settings: PairSettings,
    list: Option<Arc<List>>,
}

impl Chosen {
    /// Creates the choice from settings and the list that they name, if any.
    pub fn new(settings: &PairSettings, list: Option<Arc<List>>) -> Self {
        Self { settings: settings.clone(), list }
    }

    /// Returns the total number of pairs.
    pub fn count(&self) -> usize {
        let PairSettings { categories, per_category, .. } = self.settings;
        self.list.as_ref().map_or(categories * per_category, |list| list.summary.pairs)
    }

    /// Whether the pairs come from a list.
    pub fn is_list(&self) -> bool {
        self.list.is_some()
    }

    /// Whether these may be the paper's pairs: a list made by hand that has as many pairs and categories as the paper.
    /// Only a list without a seed counts as made by hand.
    pub fn may_be_the_papers(&self) -> bool {
        let papers = Summary { pairs: 29_359, categories: 187, seed: None };
        self.list.as_ref().is_some_and(|list| list.summary == papers)
    }

    /// Returns what determines the pairs, besides the images, as a name and a value: the list, or the settings that
    /// pairs are drawn with.
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

    /// Returns how many categories, and images of each, must be rendered for the pairs of an embedded set. A drawn list
    /// states these numbers; otherwise they come from the settings.
    pub fn rendered(&self) -> (usize, usize) {
        let drawn = self.list.as_ref().and_then(|list| list.drawn);
        let (categories, per_category) = drawn.unwrap_or((self.settings.categories, self.settings.per_category));
        (categories, 2 * per_category)
    }

    /// Returns the pairs of these images, before some are made false.
    ///
    /// # Errors
    /// When there are too few images, or the list does not fit them.
    pub fn exact(&self, images: &ImageSet) -> Result<PairList> {
        let PairSettings { categories, per_category, seed, reuse, list: ref path, .. } = self.settings;
        match &self.list {
            Some(list) => manifest::parse_manifest(&list.text, Path::new(path), images),
            None => build(images, categories, per_category, seed, reuse),
        }
    }

    /// Returns the pairs after `pairs.false_share` of them were made false.
    ///
    /// # Errors
    /// As [`PairList::with_false`].
    pub fn with_false(&self, list: PairList) -> Result<PairList> {
        let PairSettings { false_share, seed, .. } = self.settings;
        if false_share > 0.0 { list.with_false(false_share, seed) } else { Ok(list) }
    }
}

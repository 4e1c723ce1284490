//! Which pairs a training sees: a list, or so many drawn from a set.

use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::data::image_set::ImageSet;
use crate::error::Context;
use crate::error::Result;

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
}

impl PairSettings {
    /// The set's name, and the split of it.
    pub fn set_and_split(&self) -> (&str, &str) {
        self.from.split_once('/').unwrap_or((&self.from, "train"))
    }
}

/// Pairs as they were chosen, known without their images: the settings, or the text of the list that they name.
#[derive(Clone, Debug)]
pub struct Chosen {
    settings: PairSettings,
    list: Option<String>,
    summary: Summary,
}

impl Chosen {
    /// Reads the list, where there is one.
    ///
    /// # Errors
    /// A list that cannot be read or is none.
    pub fn read(settings: &PairSettings) -> Result<Self> {
        let PairSettings { categories, per_category, seed, list, .. } = settings;
        if list.is_empty() {
            let drawn = Summary { pairs: categories * per_category, categories: *categories, seed: Some(*seed) };
            return Ok(Self { settings: settings.clone(), list: None, summary: drawn });
        }
        let text = std::fs::read_to_string(list).context(format!("cannot read the pairs in {list}"))?;
        let summary = manifest::summary(&text).map_err(|error| error.context(list))?;
        Ok(Self { settings: settings.clone(), list: Some(text), summary })
    }

    /// Pairs, in all.
    pub fn count(&self) -> usize {
        self.summary.pairs
    }

    /// Categories with pairs.
    pub fn categories(&self) -> usize {
        self.summary.categories
    }

    /// Whether nobody drew them: a list without a seed was made by hand.
    pub fn are_made_by_hand(&self) -> bool {
        self.summary.seed.is_none()
    }

    /// BLAKE3 of the list's text, where there is one.
    pub fn list_hash(&self) -> Option<String> {
        self.list.as_ref().map(|text| blake3::hash(text.as_bytes()).to_hex().to_string())
    }

    /// The pairs of these images, before some are made false.
    ///
    /// # Errors
    /// Too few images, or a list that does not fit them.
    pub fn exact(&self, images: &ImageSet) -> Result<PairList> {
        let PairSettings { categories, per_category, seed, reuse, ref list, .. } = self.settings;
        match &self.list {
            Some(text) => manifest::parse_manifest(text, Path::new(list), images),
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

//! Pair lists. A semantic pair (SP) has two different images of one category. The augmented pair (AP) that is matched
//! to it has the first image of the semantic pair as both of its images.

mod choice;
mod manifest;

use std::collections::HashSet;

use serde::Deserialize;
use serde::Serialize;

use crate::data::image_set::ImageSet;
use crate::error::Error;
use crate::error::Result;
use crate::rng::Key;

pub use choice::Chosen;
pub use choice::List;
pub use choice::Making;
pub use choice::PairSettings;
pub use manifest::read_manifest;

/// Which pairs a method is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PairKind {
    /// Both views come from one image.
    #[serde(rename = "ap")]
    Augmented,
    /// The views come from two images of one category.
    #[serde(rename = "sp")]
    Semantic,
    /// Every image of the semantic pairs, with both views from the same image: the images of the semantic pairs,
    /// unpaired.
    #[serde(rename = "unpaired")]
    Unpaired,
    /// The first image of each semantic pair, with the image that an encoder finds most similar: see
    /// [`PairList::with_seconds`].
    #[serde(rename = "neighbours")]
    Neighbours,
}

impl PairKind {
    /// Returns the name that tables use.
    pub fn title(self) -> &'static str {
        match self {
            Self::Augmented => "AP",
            Self::Semantic => "SP",
            Self::Unpaired => "unpaired",
            Self::Neighbours => "neighbours",
        }
    }

    /// Returns the number of pairs of this kind that `semantic` semantic pairs give.
    pub fn rows(self, semantic: usize) -> usize {
        if self == Self::Unpaired { 2 * semantic } else { semantic }
    }
}

/// Pairs of images of one set, ordered by category. The two images of a pair differ. The first image has the pair's
/// category. The second image has it too, unless [`PairList::with_false`] or [`PairList::with_seconds`] replaced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairList {
    /// The set's name and split, such as `tiny-imagenet/train`.
    pub set: String,
    /// The set's content hash.
    pub set_hash: String,
    /// The names of the categories that have pairs, in the set's order.
    pub categories: Vec<String>,
    /// The seed that the pairs were drawn with; `None` for a list made by hand.
    pub seed: Option<u64>,
    /// Whether an image may be in several pairs.
    pub reuse: bool,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

/// One semantic pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Position in [`PairList::categories`].
    pub category: u32,
    /// Position in the set of the first image. The augmented pair has this image, too.
    pub first: u32,
    /// Position in the set of the second image.
    pub second: u32,
}

/// Draws `per_category` semantic pairs from each of `categories` categories. With the same seed, a larger number of
/// pairs or categories only adds pairs to those of a smaller number. With `reuse`, the first pairs are the same as
/// without it.
///
/// # Errors
/// When `categories` or `per_category` is 0, when `categories` is more than the set has, or when `per_category` is more
/// than the images of a category allow.
pub fn build(set: &ImageSet, categories: usize, per_category: usize, seed: u64, reuse: bool) -> Result<PairList> {
    let key = Key::root(seed).split("pairs");
    if categories == 0 || per_category == 0 {
        return Err(Error::new(format!("{categories} categories with {per_category} pairs each give no pairs"))
            .hint(command(set, set.classes.len().min(187), 50, seed)));
    }
    if categories > set.classes.len() {
        let what = format!("{} has {} categories, not the {categories} asked for", set.name, set.classes.len());
        return Err(Error::new(what).hint(command(set, set.classes.len(), per_category, seed)));
    }
    let mut chosen = key.split("categories").stream().permutation(set.classes.len());
    chosen.truncate(categories);
    chosen.sort_unstable();
    let members = set.by_class();
    check_enough(set, &chosen, &members, per_category, seed, reuse)?;
    let mut pairs = Vec::with_capacity(categories * per_category);
    for (category, &label) in chosen.iter().enumerate() {
        let drawn = draw(&members[label], per_category, key.split("images").at(label as u64));
        pairs.extend(drawn.into_iter().map(|(first, second)| Pair { category: category as u32, first, second }));
    }
    let categories = chosen.iter().map(|&label| set.classes[label].clone()).collect();
    Ok(PairList { set: set.name.clone(), set_hash: set.hash.clone(), categories, seed: Some(seed), reuse, pairs })
}

impl PairList {
    /// Returns the two images of every pair of this kind, as positions in the set.
    pub fn indices(&self, kind: PairKind) -> Vec<(u32, u32)> {
        let pairs = self.pairs.iter();
        match kind {
            PairKind::Augmented => pairs.map(|pair| (pair.first, pair.first)).collect(),
            PairKind::Semantic | PairKind::Neighbours => pairs.map(|pair| (pair.first, pair.second)).collect(),
            PairKind::Unpaired => {
                pairs.flat_map(|pair| [pair.first, pair.second].map(|image| (image, image))).collect()
            }
        }
    }

    /// Returns BLAKE3 of the set's hash and the pairs, in hexadecimal: equal hashes mean equal training images.
    pub fn hash(&self, kind: PairKind) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.set_hash.as_bytes());
        for (first, second) in self.indices(kind) {
            hasher.update(&first.to_le_bytes()).update(&second.to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Returns the same pairs, but a `share` of them, rounded to whole pairs, exchange their second images, so that
    /// their two images are of different categories. The images of the list stay the same.
    ///
    /// # Errors
    /// When `share` rounds to no pair, or when more than half of the chosen pairs are of one category, so that the
    /// exchange is impossible.
    pub fn with_false(mut self, share: f32, seed: u64) -> Result<Self> {
        let count = (f64::from(share) * self.pairs.len() as f64).round() as usize;
        if count == 0 {
            let pairs = self.pairs.len();
            return Err(Error::new(format!("a share of {share} makes none of {pairs} pairs false"))
                .hint("`--set pairs.false_share=0.5`, or a larger value in `positives.values`"));
        }
        let mut chosen = Key::root(seed).split("false pairs").stream().permutation(self.pairs.len());
        chosen.truncate(count);
        // Ordered by category, and as drawn within each category. The pair that is `longest` places further on, where
        // `longest` is the number of pairs of the largest category, is of another category.
        chosen.sort_by_key(|&pair| self.pairs[pair].category);
        let longest = chosen.chunk_by(|&a, &b| self.pairs[a].category == self.pairs[b].category).map(<[_]>::len).max();
        let longest = longest.unwrap_or(0);
        if 2 * longest > count {
            return Err(Error::new(format!(
                "`pairs.false_share` is {share}: {longest} of these {count} pairs are of one category. This is more \
                 than half, so they cannot all get second images of other categories"
            ))
            .hint("`--set pairs.categories=32`, or a larger `pairs.false_share`"));
        }
        let seconds: Vec<u32> = chosen.iter().map(|&pair| self.pairs[pair].second).collect();
        for (i, &pair) in chosen.iter().enumerate() {
            self.pairs[pair].second = seconds[(i + longest) % count];
        }
        Ok(self)
    }

    /// Returns the pairs with the same first images and these second images, in order.
    ///
    /// # Panics
    /// When the number of second images is not the number of pairs.
    #[must_use]
    pub fn with_seconds(mut self, seconds: &[u32]) -> Self {
        assert!(seconds.len() == self.pairs.len(), "{} second images for {} pairs", seconds.len(), self.pairs.len());
        self.pairs.iter_mut().zip(seconds).for_each(|(pair, &second)| pair.second = second);
        self
    }

    /// Returns the number of pairs whose two images have equal pixels although they are two images of the set.
    ///
    /// # Panics
    /// When `set` is not the list's set.
    pub fn same_pictures(&self, set: &ImageSet) -> usize {
        assert!(self.set_hash == set.hash, "same_pictures: {} is not the list's set {}", set.name, self.set);
        let same = |pair: &&Pair| set.image(pair.first as usize) == set.image(pair.second as usize);
        self.pairs.iter().filter(same).count()
    }

    /// Returns every image of the pairs once, in the set's order.
    pub fn images(&self) -> Vec<u32> {
        let mut images: Vec<u32> = self.pairs.iter().flat_map(|pair| [pair.first, pair.second]).collect();
        images.sort_unstable();
        images.dedup();
        images
    }

    /// Returns the number of pairs of the category that has the most pairs.
    pub fn per_category(&self) -> usize {
        let mut counts = vec![0; self.categories.len()];
        self.pairs.iter().for_each(|pair| counts[pair.category as usize] += 1);
        counts.into_iter().max().unwrap_or(0)
    }
}

/// Draws pairs in rounds: each round shuffles the images and pairs neighbours. A round uses no image twice, so only
/// `reuse` needs more than one round. A pair that an earlier round gave, in either order, is skipped.
fn draw(images: &[u32], pairs: usize, key: Key) -> Vec<(u32, u32)> {
    let (mut drawn, mut seen) = (Vec::with_capacity(pairs), HashSet::new());
    for round in 0.. {
        let order = key.at(round).stream().permutation(images.len());
        for two in order.chunks_exact(2) {
            let (first, second) = (images[two[0]], images[two[1]]);
            if drawn.len() == pairs {
                return drawn;
            }
            if seen.insert((first.min(second), first.max(second))) {
                drawn.push((first, second));
            }
        }
    }
    drawn
}

fn check_enough(
    set: &ImageSet,
    chosen: &[usize],
    members: &[Vec<u32>],
    pairs: usize,
    seed: u64,
    reuse: bool,
) -> Result<()> {
    let possible = |images: usize| if reuse { images * images.saturating_sub(1) / 2 } else { images / 2 };
    let Some(least) = chosen.iter().map(|&label| members[label].len()).min() else { return Ok(()) };
    if possible(least) >= pairs {
        return Ok(());
    }
    let short: Vec<usize> = chosen.iter().copied().filter(|&label| members[label].len() == least).collect();
    let names: Vec<&str> = short.iter().take(3).map(|&label| set.classes[label].as_str()).collect();
    let more =
        if short.len() > names.len() { format!(" and {} more", short.len() - names.len()) } else { String::new() };
    let (need, allowed) = (if reuse { "different pairs" } else { "pairs without reuse" }, possible(least));
    let what = format!(
        "{}: {pairs} {need} per category asked for, but the smallest categories have {least} images, which allows \
         {allowed}: {}{more}",
        set.name,
        names.join("; ")
    );
    let smaller = command(set, chosen.len(), allowed.max(1), seed);
    Err(Error::new(what).hint(match (allowed, reuse) {
        (0, _) => {
            "leave such categories out of the folder, or add images, and import it again: `sempair data import PATH \
              --replace`"
                .to_string()
        }
        (_, true) => format!("{smaller}; in a training, `--set pairs.per_category={allowed}`"),
        (_, false) => format!(
            "{smaller}, or add `--reuse` to use images more than once; in a training, `--set \
             pairs.per_category={allowed}` or `--set pairs.reuse=true`"
        ),
    }))
}

/// Returns the set's name in commands. The embedded set has a single split, which commands do not name.
fn from(set: &ImageSet) -> &str {
    set.name.strip_suffix("/pretrain").unwrap_or(&set.name)
}

fn command(set: &ImageSet, categories: usize, pairs: usize, seed: u64) -> String {
    let from = from(set);
    format!("`sempair data pairs --from {from} --categories {categories} --per-category {pairs} --seed {seed}`")
}

//! Pair lists: semantic pairs (SP), two different images of one category, and the augmented pairs (AP) matched to
//! them, whose both halves are the first image of each semantic pair.

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
pub enum Kind {
    /// Both views come from one image.
    #[serde(rename = "ap")]
    Augmented,
    /// The views come from two images of one category.
    #[serde(rename = "sp")]
    Semantic,
    /// Every image of the semantic pairs, both views from it alone: as many images as semantic pairs show, unpaired.
    #[serde(rename = "unpaired")]
    Unpaired,
    /// The first image of each semantic pair, and what an encoder takes for the most similar image: see
    /// [`PairList::with_seconds`].
    #[serde(rename = "neighbours")]
    Neighbours,
}

impl Kind {
    /// As tables write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Augmented => "AP",
            Self::Semantic => "SP",
            Self::Unpaired => "unpaired",
            Self::Neighbours => "neighbours",
        }
    }

    /// How many pairs of this kind so many semantic pairs give.
    pub fn rows(self, semantic: usize) -> usize {
        if self == Self::Unpaired { 2 * semantic } else { semantic }
    }
}

/// Pairs of images of one set, ordered by category. Every pair's images differ and its first image has the category; so
/// has its second, unless the pairs were made otherwise ([`PairList::with_false`], [`PairList::with_seconds`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairList {
    /// The set's name and split, such as `tiny-imagenet/train`.
    pub set: String,
    /// The set's content hash.
    pub set_hash: String,
    /// The names of the categories that have pairs, in the set's order.
    pub categories: Vec<String>,
    /// What the pairs were drawn with; `None` for a list made by hand.
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
    /// Position in the set of the image that the augmented pair has, too.
    pub first: u32,
    /// Position in the set of the other image.
    pub second: u32,
}

/// Draws `per_category` semantic pairs from each of `categories` categories. More pairs or more categories of the same
/// seed only add to what fewer give; with `reuse` the first pairs are those without it.
///
/// # Errors
/// More categories than there are, or more pairs than the images of a category allow.
pub fn build(set: &ImageSet, categories: usize, per_category: usize, seed: u64, reuse: bool) -> Result<PairList> {
    let key = Key::root(seed).split("pairs");
    if categories == 0 || per_category == 0 {
        return Err(Error::new(format!("{categories} categories with {per_category} pairs each are no pairs"))
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
    /// The two images of every pair, as positions in the set.
    pub fn indices(&self, kind: Kind) -> Vec<(u32, u32)> {
        let pairs = self.pairs.iter();
        match kind {
            Kind::Augmented => pairs.map(|pair| (pair.first, pair.first)).collect(),
            Kind::Semantic | Kind::Neighbours => pairs.map(|pair| (pair.first, pair.second)).collect(),
            Kind::Unpaired => pairs.flat_map(|pair| [pair.first, pair.second].map(|image| (image, image))).collect(),
        }
    }

    /// BLAKE3 of the set's hash and the pairs, in hexadecimal: equal hashes mean equal training images.
    pub fn hash(&self, kind: Kind) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.set_hash.as_bytes());
        for (first, second) in self.indices(kind) {
            hasher.update(&first.to_le_bytes()).update(&second.to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The same pairs, but a `share` of them, rounded, have each other's second images, so that the two images are of
    /// different categories. No image comes or goes.
    ///
    /// # Errors
    /// When one category has more than half of the pairs that are to be false, so that they cannot be.
    pub fn with_false(mut self, share: f32, seed: u64) -> Result<Self> {
        let count = (f64::from(share) * self.pairs.len() as f64).round() as usize;
        if count == 0 {
            let pairs = self.pairs.len();
            return Err(Error::new(format!("a share of {share} makes none of {pairs} pairs false"))
                .hint("`--set pairs.false_share=0.5`, or a larger value in `positives.values`"));
        }
        let mut chosen = Key::root(seed).split("false pairs").stream().permutation(self.pairs.len());
        chosen.truncate(count);
        // By category, each in the order drawn; the next one that is as far away as the largest category is long is of
        // another category.
        chosen.sort_by_key(|&pair| self.pairs[pair].category);
        let longest = chosen.chunk_by(|&a, &b| self.pairs[a].category == self.pairs[b].category).map(<[_]>::len).max();
        let longest = longest.unwrap_or(0);
        if 2 * longest > count {
            return Err(Error::new(format!(
                "`pairs.false_share` is {share}: of these {count} pairs {longest} are of one category, which is more than \
                 half, so their second images cannot be of others"
            ))
            .hint("`--set pairs.categories=32`, or a larger `pairs.false_share`"));
        }
        let seconds: Vec<u32> = chosen.iter().map(|&pair| self.pairs[pair].second).collect();
        for (i, &pair) in chosen.iter().enumerate() {
            self.pairs[pair].second = seconds[(i + longest) % count];
        }
        Ok(self)
    }

    /// The same first images with these second ones, in order.
    ///
    /// # Panics
    /// When there are more or fewer of them than pairs.
    #[must_use]
    pub fn with_seconds(mut self, seconds: &[u32]) -> Self {
        assert!(seconds.len() == self.pairs.len(), "{} second images for {} pairs", seconds.len(), self.pairs.len());
        self.pairs.iter_mut().zip(seconds).for_each(|(pair, &second)| pair.second = second);
        self
    }

    /// In how many pairs the two images are the same picture, pixel by pixel, though they are two images of the set.
    ///
    /// # Panics
    /// When `set` is not the list's.
    pub fn same_pictures(&self, set: &ImageSet) -> usize {
        assert!(self.set_hash == set.hash, "same_pictures: {} is not the list's set {}", set.name, self.set);
        let same = |pair: &&Pair| set.image(pair.first as usize) == set.image(pair.second as usize);
        self.pairs.iter().filter(same).count()
    }

    /// Every image of the pairs once, in the set's order.
    pub fn images(&self) -> Vec<u32> {
        let mut images: Vec<u32> = self.pairs.iter().flat_map(|pair| [pair.first, pair.second]).collect();
        images.sort_unstable();
        images.dedup();
        images
    }

    /// The most pairs that a category has.
    pub fn per_category(&self) -> usize {
        let mut counts = vec![0; self.categories.len()];
        self.pairs.iter().for_each(|pair| counts[pair.category as usize] += 1);
        counts.into_iter().max().unwrap_or(0)
    }
}

/// Rounds of shuffling and taking neighbours. One round uses no image twice, so only `reuse` has more than one; a pair
/// that an earlier round gave, in whichever order, is left out.
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
        "{}: {pairs} {need} per category asked for, but the shortest categories have {least} images, which allows \
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

/// What commands call the set: the embedded one has a single split, which they do not name.
fn from(set: &ImageSet) -> &str {
    set.name.strip_suffix("/pretrain").unwrap_or(&set.name)
}

fn command(set: &ImageSet, categories: usize, pairs: usize, seed: u64) -> String {
    let from = from(set);
    format!("`sempair data pairs --from {from} --categories {categories} --per-category {pairs} --seed {seed}`")
}

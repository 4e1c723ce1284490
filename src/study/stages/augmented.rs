//! Stage `augmented`: the second images of augmented pairs, made once before training, as in the paper. It writes them
//! as a dataset, with a picture that shows some of the pairs.

use std::sync::Arc;

use rayon::prelude::*;
use serde_json::json;

use crate::data::augment::{Augmentation, transformed};
use crate::data::catalog::Pairs;
use crate::data::image_set::{Dataset, ImageSet};
use crate::data::pairs::{Making, PairKind};
use crate::data::preview::{contact_sheet, write_png};
use crate::data::store::{self, Facts, Squares, Writer};
use crate::error::{Error, Result};
use crate::harness::stage::{Finished, Site, Stage};
use crate::rng::Key;
use crate::study::cost;
use crate::study::settings::Settings;

use super::Context;

/// The dataset's name. Its file in the stage's folder is `augmented.safetensors`.
const NAME: &str = "augmented";
/// Its only split.
const SPLIT: &str = "train";
/// The picture that shows some pairs.
const PREVIEW: &str = "preview.png";
/// The number of pairs in the picture.
const SHOWN: usize = 12;

/// The stage for these pairs; `None` where only the transformations during training make the views of an image differ.
pub fn augmented(context: &Context, settings: &Settings, pairs: &Arc<Pairs>, kind: PairKind) -> Option<Arc<Stage>> {
    if kind != PairKind::Augmented || settings.pairs.augmented == Making::Live {
        return None;
    }
    let (by, seed) = (settings.pairs.stored.clone(), settings.pairs.seed);
    let inputs = json!({ "pairs": pairs.identity, "by": by, "seed": seed });
    let roots = ["study::stages::augmented", "data::pairs::choice", "data::store", pairs.set.made_by()];
    let cost = cost::rendering(context.catalog.world(), pairs.chosen.count());
    let description = context.describe("augmented", inputs, &roots, &[], cost);
    let pairs = pairs.clone();
    Some(Stage::new(description, move |site| make(&pairs, &by, seed, site)))
}

/// Reads the images that the stage wrote, in the order of the pairs.
///
/// # Errors
/// When a file is damaged.
pub(super) fn images(made: &Finished) -> Result<ImageSet> {
    let Dataset { mut splits, .. } = store::open(&made.dir, NAME)?;
    splits.remove(SPLIT).ok_or_else(|| Error::new(format!("the dataset `{NAME}` has no split `{SPLIT}`")))
}

fn make(pairs: &Pairs, by: &Augmentation, seed: u64, site: &Site<'_>) -> Result<()> {
    let (set, list) = pairs.exact()?;
    let firsts: Vec<u32> = list.pairs.iter().map(|pair| pair.first).collect();
    let made = second_images(&set, &firsts, by, Key::root(seed).split(NAME));
    write(&set, &firsts, &made, site)?;
    let shown = (0..SHOWN.min(firsts.len())).map(|i| i * firsts.len() / SHOWN.min(firsts.len()));
    let pair = |i: usize| vec![(set.size, set.image(firsts[i] as usize).to_vec()), (set.size, made[i].clone())];
    let (width, height, rgb) = contact_sheet(&shown.map(pair).collect::<Vec<_>>(), (96 / set.size).max(1));
    write_png(&site.dir.join(PREVIEW), width, height, &rgb)
}

/// One image made from each first image, as bytes (size, size, 3).
fn second_images(set: &ImageSet, firsts: &[u32], by: &Augmentation, key: Key) -> Vec<Vec<u8>> {
    let make = |(place, &first): (usize, &u32)| {
        let mut out = vec![0; set.size * set.size * 3];
        transformed(set.image(first as usize), set.size, by, key.at(place as u64), &mut out);
        out
    };
    firsts.par_iter().enumerate().map(make).collect()
}

/// Writes the images as a dataset, each with the hash of the image that it was made from.
fn write(set: &ImageSet, firsts: &[u32], made: &[Vec<u8>], site: &Site<'_>) -> Result<()> {
    let facts = Facts {
        name: NAME.into(),
        description: format!("{} images of {}, each transformed once", made.len(), set.name),
        licence: String::new(),
        classes: set.classes.to_vec(),
        layout: "made by sempair".into(),
        decoder: String::new(),
        source: set.name.clone(),
        source_blake3: Some(set.hash.clone()),
    };
    let labels: Vec<u32> = firsts.iter().map(|&first| set.labels[first as usize]).collect();
    let names = firsts.iter().map(|first| format!("{} {first}", set.name)).collect();
    let squares = Squares { size: set.size, resize: String::new() };
    let mut writer = Writer::create(site.dir, facts, squares, vec![(SPLIT.into(), names, Some(labels))])?;
    for (place, (&first, pixels)) in firsts.iter().zip(made).enumerate() {
        let of_source = *blake3::hash(set.image(first as usize)).as_bytes();
        writer.put(0, place, None, (of_source, *blake3::hash(pixels).as_bytes()), pixels)?;
    }
    writer.finish().map(drop)
}

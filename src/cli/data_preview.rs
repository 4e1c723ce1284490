//! `data preview`: a picture of pairs and their views, or of annotated images with the boxes of their objects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::annotated::AnnotatedSet;
use crate::data::augment::{Augmentation, Normalization, Pipeline, Views, plain, transformed};
use crate::data::catalog::SYNTH;
use crate::data::image_set::{Dataset, ImageSet};
use crate::data::outlines::{colour, outlined};
use crate::data::pairs::{Making, Pair, PairList, PairSettings};
use crate::data::preview::{contact_sheet, write_png};
use crate::data::world::PRETRAINING_CATEGORIES;
use crate::error::{Error, Result};
use crate::rng::Key;
use crate::study::settings::Settings;

use super::Ending;

/// Number of annotated images in a row, and the side of each in pixels.
const ACROSS: usize = 4;
const SIDE: usize = 256;

/// Number of views next to each image.
const VIEWS: u64 = 3;

/// Draws the picture of a dataset.
pub(super) fn preview(settings: &Settings, name: &str, rows: usize, file: Option<PathBuf>) -> Result<Ending> {
    if rows == 0 {
        return Err(Error::new("`--rows 0` shows nothing").hint("`--rows 10`"));
    }
    let path = file.unwrap_or_else(|| Path::new(&settings.paths.data).join(format!("preview-{name}.png")));
    let catalog = settings.catalog();
    // Whether there is such a set, `pairs` says best.
    match catalog.contains(name)? && catalog.is_annotated(name)? {
        true => preview_objects(&catalog.annotated(name)?.open()?, rows, &path),
        false => preview_pairs(settings, name, rows, &path),
    }
}

/// Draws images that are evenly spread over the training images, or over the test images if there are no others.
fn preview_objects(dataset: &Dataset<AnnotatedSet>, rows: usize, path: &Path) -> Result<Ending> {
    let set = dataset.splits.get("train").or_else(|| dataset.splits.values().next());
    let set = set.ok_or_else(|| Error::new(format!("`{}` has no images", dataset.name)))?;
    let count = (rows * ACROSS).min(set.len());
    let shown: Vec<usize> = (0..count).map(|at| at * set.len() / count).collect();
    let row =
        |row: &[usize]| row.iter().map(|&image| Ok((SIDE, outlined(set, image, SIDE)?))).collect::<Result<Vec<_>>>();
    let sheet = shown.chunks(ACROSS).map(row).collect::<Result<Vec<_>>>()?;
    let (width, height, rgb) = contact_sheet(&sheet, 1);
    write_png(path, width, height, &rgb)?;
    let mut objects: BTreeMap<u32, usize> = BTreeMap::new();
    for object in shown.iter().flat_map(|&image| set.objects(image)) {
        *objects.entry(object.category).or_default() += 1;
    }
    say!("{count} images of {}, with the boxes of their objects (dashed: difficult): {}", set.name, path.display());
    for (category, count) in objects {
        let [red, green, blue] = colour(category);
        say!("  #{red:02x}{green:02x}{blue:02x} {}: {count}", set.classes[category as usize]);
    }
    Ok(Ending::Done)
}

fn preview_pairs(settings: &Settings, name: &str, rows: usize, path: &Path) -> Result<Ending> {
    let (set, list) = pairs_to_show(settings, name, rows)?;
    let identity = Normalization { mean: [0.0; 3], std: [1.0; 3] };
    let Views { first, second } = &settings.augment;
    let size = settings.model.image;
    let pipelines = [first, second].map(|view: &Augmentation| {
        Pipeline::new(Views { first: view.clone(), second: view.clone() }, identity.clone(), size)
    });
    let key = Key::root(0).split("preview");
    let row = |pair: &Pair| {
        let mut shown = Vec::new();
        if settings.pairs.augmented == Making::Stored {
            // The stored view of the first image, as a training would keep it.
            let mut made = vec![0; set.size * set.size * 3];
            let by = &settings.pairs.stored;
            transformed(
                set.image(pair.first as usize),
                set.size,
                by,
                key.split("stored").at(pair.first.into()),
                &mut made,
            );
            shown.push((set.size, made));
        }
        for (index, pipeline) in [pair.first, pair.second].into_iter().zip(&pipelines) {
            let image = set.image(index as usize);
            let mut view = vec![0.0; size * size * 3];
            plain(image, set.size, size, &identity, &mut view);
            shown.push((size, bytes(&view)));
            for draw in 0..VIEWS {
                pipeline.view(image, set.size, 0, key.at(u64::from(index)).at(draw), &mut view);
                shown.push((size, bytes(&view)));
            }
        }
        shown
    };
    let sheet: Vec<_> = list.pairs.iter().take(rows).map(row).collect();
    let (width, height, rgb) = contact_sheet(&sheet, (96 / size).max(1));
    write_png(path, width, height, &rgb)?;
    let stored = if settings.pairs.augmented == Making::Stored { "a stored second image, then " } else { "" };
    say!("{} pairs of {}: {stored}each image with {VIEWS} views of it: {}", sheet.len(), set.name, path.display());
    Ok(Ending::Done)
}

/// Returns one pair from each of `rows` categories, or from all categories if there are fewer.
fn pairs_to_show(settings: &Settings, name: &str, rows: usize) -> Result<(ImageSet, PairList)> {
    let catalog = settings.catalog();
    let categories = if name == SYNTH {
        rows.min(PRETRAINING_CATEGORIES as usize)
    } else {
        rows.min(catalog.set(name)?.split("train")?.classes.len())
    };
    let choice = PairSettings {
        from: name.into(),
        categories,
        per_category: 1,
        seed: 0,
        reuse: false,
        list: String::new(),
        false_share: 0.0,
        ..settings.pairs.clone()
    };
    catalog.pairs(&choice)?.open()
}

fn bytes(view: &[f32]) -> Vec<u8> {
    view.iter().map(|value| (value * 255.0).round().clamp(0.0, 255.0) as u8).collect()
}

//! The objects in a user's pictures, found by the detector of `sempair detect`.

use std::fs;
use std::path::Path;

use crate::data::annotated::{AnnotatedImage, AnnotatedSet, Object};
use crate::data::decode::{Picture, Tags, decode};
use crate::detection::{Detection, SHOWN};
use crate::error::{Context as _, Error, Result};
use crate::harness::cache::Cache;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::tensor::Precision;
use crate::train::{DETECTOR, detections};

use super::stages::Detector;

/// A picture with what was found in it.
pub struct FoundPicture {
    /// The file's name.
    pub name: String,
    /// The detections with a score of at least 0.5, from high to low.
    pub detections: Vec<Detection>,
}

/// Finds the objects in pictures. Returns what was found in each, and the pictures with these objects, to be drawn.
///
/// # Errors
/// When the detector is not in the cache, or when the user asks to stop.
pub fn detect_images(
    detector: &Detector,
    cache: &Cache,
    pictures: Vec<(String, AnnotatedImage)>,
    around: (&Progress, &Interrupt),
) -> Result<(Vec<FoundPicture>, AnnotatedSet)> {
    let classes = detector.set.split("train")?.classes.to_vec();
    let (names, pictures): (Vec<String>, Vec<AnnotatedImage>) = pictures.into_iter().unzip();
    let set = AnnotatedSet::new("pictures", classes.clone(), pictures.clone());
    let file = cache.folder(detector.training.name(), detector.training.key()).join(DETECTOR);
    let found = detections(&detector.run, &detector.device.with_precision(Precision::F32)?, &set, &file, around)?;
    let shown: Vec<Vec<Detection>> =
        found.into_iter().map(|all| all.into_iter().filter(|one| one.score >= SHOWN).collect()).collect();
    let drawn = pictures
        .into_iter()
        .zip(&shown)
        .map(|(picture, found)| AnnotatedImage { objects: found.iter().map(object).collect(), ..picture });
    let drawn = AnnotatedSet::new("pictures", classes, drawn.collect());
    let named = names.into_iter().zip(shown).map(|(name, detections)| FoundPicture { name, detections });
    Ok((named.collect(), drawn))
}

/// The pictures in a folder with the names of their files, in the order of these names.
///
/// # Errors
/// When the folder cannot be read or has no file, or when a file cannot be read or decoded.
pub fn pictures_in(folder: &Path) -> Result<Vec<(String, AnnotatedImage)>> {
    let entries = fs::read_dir(folder).context(format!("cannot read the folder {}", folder.display()));
    let entries = entries.map_err(|error| error.hint("`--images` takes a folder of JPEG, PNG or other images"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.context(folder.display())?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::new(format!("{} has no pictures", folder.display()))
            .hint("`--images` takes a folder of JPEG, PNG or other images"));
    }
    files.iter().map(|file| Ok((name(file), read(file)?))).collect()
}

fn read(file: &Path) -> Result<AnnotatedImage> {
    let bytes = fs::read(file).context(format!("cannot read {}", file.display()))?;
    let Picture { height, width, pixels, .. } = decode(&bytes, Tags::Applied)
        .map_err(|why| Error::new(format!("{}: {why}", file.display())).hint("move files that are not images away"))?;
    Ok(AnnotatedImage { height, width, pixels, objects: Vec::new() })
}

fn object(found: &Detection) -> Object {
    let category = found.class as u32;
    Object { edges: found.edges, category, difficult: false, truncated: false, occluded: false }
}

fn name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

//! What is in the folder of imported datasets, of both kinds: a list with facts, and a check of whole datasets.

use std::fs;
use std::path::Path;

use safetensors::Dtype;
use serde::Serialize;

use crate::data::annotated;
use crate::data::annotated::AnnotatedSet;
use crate::data::image_set;
use crate::data::image_set::Dataset;
use crate::data::image_set::Split;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

use super::ANNOTATED;
use super::Stored;
use super::annotated::sets_in;
use super::{again, labelled, names, path_of};

/// A dataset of one of the two kinds.
#[derive(Clone, Debug)]
pub enum AnyDataset {
    /// Images with a label each.
    Labelled(Dataset),
    /// Images with objects.
    Annotated(Dataset<AnnotatedSet>),
}

/// The facts about a stored dataset that are known without reading its images.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Info {
    /// The name that commands and configuration use.
    pub name: String,
    /// A description in one sentence.
    pub description: String,
    /// How it may be used, as stated when it was imported; empty if nothing was stated.
    pub licence: String,
    /// The recognised layout of its source.
    pub layout: String,
    /// Height and width in pixels; `None` if each image has its own.
    pub size: Option<usize>,
    /// Number of categories.
    pub classes: usize,
    /// Splits, by name.
    pub splits: Vec<SplitInfo>,
    /// Size of the file in bytes.
    pub bytes_on_disk: u64,
    /// Why the file cannot be opened, if it is damaged; what could not be read from it is then empty.
    pub damaged: Option<String>,
}

/// One split of [`Info`].
#[derive(Clone, Debug, Serialize)]
pub struct SplitInfo {
    /// The split's name, such as `train`.
    pub name: String,
    /// Number of images.
    pub images: usize,
    /// The objects in its images, for detection.
    #[serde(flatten)]
    pub objects: Option<Objects>,
    /// The recorded content hash.
    pub hash: String,
}

/// Numbers of objects in a set of annotated images.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Objects {
    /// All objects.
    pub objects: usize,
    /// Those that are too hard to count as missed.
    pub difficult: usize,
}

/// The result of [`verify`].
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The dataset's name.
    pub name: String,
    /// Whether every byte of the file is as it was written; `None` if the file does not state its hash, as those of
    /// earlier versions.
    pub whole: Option<bool>,
    /// Its splits, by name.
    pub splits: Vec<SplitReport>,
}

/// One split of [`Report`].
#[derive(Clone, Debug, Serialize)]
pub struct SplitReport {
    /// The split's name, such as `train`.
    pub name: String,
    /// Number of images.
    pub images: usize,
    /// The content hash in the file's metadata.
    pub recorded: String,
    /// The content hash computed from the file.
    pub computed: String,
    /// Positions and names of the images whose bytes are not those that were imported.
    pub changed: Vec<(usize, String)>,
}

impl Report {
    /// Whether all content is unchanged since the import.
    pub fn holds(&self) -> bool {
        self.problem().is_none()
    }

    /// What has changed since the import, in words.
    pub fn problem(&self) -> Option<String> {
        let changed = self.splits.iter().find(|split| split.recorded != split.computed || !split.changed.is_empty());
        if let Some(SplitReport { name, changed, .. }) = changed {
            return Some(match changed.first() {
                Some((_, image)) => format!("{} images of {name} have changed, such as {image}", changed.len()),
                None => format!("the labels or objects of {name} have changed"),
            });
        }
        (self.whole == Some(false)).then(|| "its names, hashes or description have changed".to_owned())
    }
}

impl Objects {
    /// Counts the objects of a set.
    pub fn of(set: &AnnotatedSet) -> Self {
        let all = set.all_objects();
        Self { objects: all.len(), difficult: all.iter().filter(|object| object.difficult).count() }
    }
}

/// Opens a dataset of either kind.
///
/// # Errors
/// When there is no such dataset, or the file is damaged.
pub fn open_any(data_dir: &Path, name: &str) -> Result<AnyDataset> {
    any(&Stored::of(data_dir, name)?, name)
}

/// Whether the images of a dataset have objects.
///
/// # Errors
/// As [`open_any`].
pub fn is_annotated(data_dir: &Path, name: &str) -> Result<bool> {
    Ok(Stored::of(data_dir, name)?.schema == ANNOTATED)
}

fn any(stored: &Stored, name: &str) -> Result<AnyDataset> {
    let opened = match stored.schema {
        ANNOTATED => sets_in(stored, name).map(AnyDataset::Annotated),
        _ => labelled(stored, name).map(AnyDataset::Labelled),
    };
    opened.map_err(|error| error.hint(again(name)))
}

/// Returns all datasets in `data_dir`, sorted by name. A directory that does not exist has none.
pub fn list(data_dir: &Path) -> Result<Vec<Info>> {
    names(data_dir)?.iter().map(|name| info(data_dir, name)).collect()
}

fn info(data_dir: &Path, name: &str) -> Result<Info> {
    let path = path_of(data_dir, name)?;
    let bytes_on_disk = fs::metadata(&path).context(path.display())?.len();
    let mut info = Info { name: name.into(), bytes_on_disk, ..Info::default() };
    info.damaged = fill(&mut info, &path).err().map(|error: Error| error.what().to_string());
    Ok(info)
}

fn fill(info: &mut Info, path: &Path) -> Result<()> {
    let stored = Stored::open(path)?;
    info.description = stored.text("description")?.into();
    info.licence = stored.licence().into();
    info.layout = stored.text("layout")?.into();
    info.classes = stored.classes.len();
    match any(&stored, &info.name)? {
        AnyDataset::Labelled(dataset) => {
            info.size = Some(stored.size()?);
            info.splits = dataset.splits.iter().map(|(name, set)| split_info(name, set, None)).collect();
        }
        AnyDataset::Annotated(dataset) => {
            let split = |(name, set): (&String, &AnnotatedSet)| split_info(name, set, Some(Objects::of(set)));
            info.splits = dataset.splits.iter().map(split).collect();
        }
    }
    Ok(())
}

fn split_info(name: &str, set: &impl Split, objects: Option<Objects>) -> SplitInfo {
    SplitInfo { name: name.into(), images: set.images(), objects, hash: set.hash().into() }
}

/// Reads a whole dataset and compares it with the hashes that were recorded when it was imported.
///
/// # Errors
/// As [`open_any`]. Images that differ are not an error; the report lists them.
pub fn verify(data_dir: &Path, name: &str) -> Result<Report> {
    let stored = Stored::of(data_dir, name)?;
    if let Some(key) = stored.unknown_key() {
        return Err(stored.damaged(format!("its metadata have an unknown key `{key}`")).hint(again(name)));
    }
    let mut splits = Vec::new();
    match any(&stored, name)? {
        AnyDataset::Labelled(dataset) => {
            for (split, set) in &dataset.splits {
                let hashes = image_set::image_hashes(set.size, set.pixels());
                let computed = image_set::hash_of_hashes(set.size, &set.classes, &set.labels, &hashes);
                let names = set.names().unwrap_or_default();
                splits.push(report(&stored, (split, set), (computed, &hashes), "pixel_hashes", &names)?);
            }
        }
        AnyDataset::Annotated(dataset) => {
            for (split, set) in &dataset.splits {
                let hashes = set.image_hashes();
                let image = |at: usize| (set.size(at), set.objects(at), hashes[at]);
                let computed = annotated::hash_of_hashes(&set.classes, (0..set.len()).map(image));
                let names = set.names().unwrap_or_default();
                splits.push(report(&stored, (split, set), (computed, &hashes), "file_hashes", &names)?);
            }
        }
    }
    Ok(Report { name: name.into(), whole: stored.is_whole(), splits })
}

/// Compares the hashes of a split's images with those in the tensor `of`.
fn report(
    stored: &Stored,
    (split, set): (&str, &impl Split),
    (computed, hashes): (String, &[[u8; 32]]),
    of: &str,
    names: &[&str],
) -> Result<SplitReport> {
    let recorded = stored.tensor(&format!("{split}.{of}"), Dtype::U8, &[hashes.len(), 32])?;
    let (recorded, _) = stored.map[recorded].as_chunks::<32>();
    let changed = (0..hashes.len()).filter(|&i| hashes[i] != recorded[i]);
    Ok(SplitReport {
        name: split.into(),
        images: set.images(),
        recorded: set.hash().into(),
        computed,
        changed: changed.map(|i| (i, names.get(i).copied().unwrap_or_default().to_string())).collect(),
    })
}

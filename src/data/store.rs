//! Imported datasets on disk: one safetensors file each, mapped into memory when opened.
//!
//! A file of labelled images, `<data_dir>/<name>.safetensors`, has for each split the tensors `<split>.labels` (N, u32;
//! absent if images have none), `<split>.file_hashes` and `<split>.pixel_hashes` (N, 32; BLAKE3 of each image as it was
//! in its source, and of its pixels), `<split>.names` (bytes; names in the source, joined by newlines) and
//! `<split>.pixels` (N, size, size, 3; bytes). `annotated` describes a file of images with objects. The file's metadata
//! describe the dataset and its source, and have the hash of the whole file.

mod annotated;
mod file;
mod inventory;
mod write;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;

use crate::data::image_set::Dataset;
use crate::data::image_set::ImageSet;
use crate::data::source_names::SourceNames;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

use file::NO_HASH;

pub use annotated::AnnotatedWriter;
pub use annotated::SplitPlan;
pub use annotated::open_annotated;
pub use file::Facts;
pub use inventory::AnyDataset;
pub use inventory::Info;
pub use inventory::Objects;
pub use inventory::Report;
pub use inventory::SplitInfo;
pub use inventory::SplitReport;
pub use inventory::is_annotated;
pub use inventory::list;
pub use inventory::open_any;
pub use inventory::verify;
pub use write::Squares;
pub use write::Writer;

/// The versions of the two file formats.
const LABELLED: &str = "sempair.images/1";
const ANNOTATED: &str = "sempair.annotated/1";

/// The metadata key of how the images may be used. Not every file has it.
const LICENCE: &str = "licence";

/// The metadata key of BLAKE3 of the whole file with dashes instead of this hash. Not every file has it.
const HASH: &str = "hash";

/// The single category of a split whose images have no category.
const UNLABELED: &str = "unlabeled";

/// Opens a dataset of labelled images; its pixels stay on disk until they are used.
///
/// # Errors
/// When there is no such dataset, when its images have objects and no labels, or when the file is not as [`Writer`]
/// wrote it.
pub fn open(data_dir: &Path, name: &str) -> Result<Dataset> {
    let stored = Stored::of(data_dir, name)?;
    if stored.schema == ANNOTATED {
        return Err(no_labels(name));
    }
    labelled(&stored, name).map_err(|error| error.hint(again(name)))
}

/// Returns the error for annotated images where labelled ones are needed.
pub fn no_labels(name: &str) -> Error {
    Error::new(format!("the images of `{name}` have objects for detection, but no label each"))
        .hint("`sempair data list` shows the sets; those of labelled images state no objects")
}

/// Returns the error for labelled images where annotated ones are needed.
pub fn no_objects(name: &str) -> Error {
    Error::new(format!("the images of `{name}` have a label each, but no objects for detection"))
        .hint("`synth-voc` is embedded and has objects; `sempair data import PATH` reads PASCAL VOC's layout")
}

fn labelled(stored: &Stored, name: &str) -> Result<Dataset> {
    let size = stored.size()?;
    let set = |split: String| Ok((split.clone(), stored.image_set(&format!("{name}/{split}"), &split, size)?));
    let splits: BTreeMap<_, _> = stored.splits(".pixels").into_iter().map(set).collect::<Result<_>>()?;
    stored.dataset(name, splits)
}

/// Whether there is a dataset of this name, intact or damaged.
///
/// # Errors
/// When no dataset can have this name.
pub fn contains(data_dir: &Path, name: &str) -> Result<bool> {
    Ok(path_of(data_dir, name)?.is_file())
}

/// Returns an error if the name is not allowed, or if another dataset has it and may not be replaced.
pub fn check_free(data_dir: &Path, name: &str, replace: bool) -> Result<()> {
    let path = path_of(data_dir, name)?;
    if path.exists() && !replace {
        return Err(Error::new(format!("the dataset `{name}` already exists: {}", path.display())).hint(format!(
            "`sempair data import PATH --name OTHER` keeps both; `--replace` replaces the existing one; \
             `sempair data verify {name}` checks the existing one"
        )));
    }
    Ok(())
}

/// The file of the dataset of this name.
///
/// # Errors
/// When no dataset can have this name.
pub fn path_of(data_dir: &Path, name: &str) -> Result<PathBuf> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.chars().all(good) {
        return Err(Error::new(format!("`{name}` cannot be the name of a dataset"))
            .hint("names have 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and begin with a letter or digit"));
    }
    Ok(data_dir.join(format!("{name}.safetensors")))
}

fn names(data_dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(data_dir.display())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.context(data_dir.display())?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".safetensors"));
        names.extend(name.filter(|name| path_of(data_dir, name).is_ok()).map(String::from));
    }
    names.sort();
    Ok(names)
}

fn missing(data_dir: &Path, name: &str) -> Error {
    let there = names(data_dir).unwrap_or_default();
    let nearest = there.iter().map(|other| (strsim::osa_distance(other, name), other)).min();
    let guess = match nearest {
        Some((distance, other)) if distance <= 1 + name.len() / 3 => format!("; did you mean `{other}`?"),
        _ => String::new(),
    };
    let others = match there.is_empty() {
        true => "there is none".to_string(),
        false => format!("there are {}", there.join(", ")),
    };
    Error::new(format!("no dataset `{name}` in {}: {others}{guess}", data_dir.display())).hint(format!(
        "`sempair data import PATH --name {name}` imports one under this name, `sempair data list` lists all datasets"
    ))
}

fn again(name: &str) -> String {
    format!("`sempair data import PATH --name {name} --replace` writes it again")
}

/// An open file whose header has been checked.
struct Stored {
    path: PathBuf,
    map: Arc<Mmap>,
    /// Where the tensors begin in the file.
    start: usize,
    header: Metadata,
    /// [`LABELLED`] or [`ANNOTATED`].
    schema: &'static str,
    classes: Vec<String>,
}

impl Stored {
    /// Opens the file of the dataset of this name.
    fn of(data_dir: &Path, name: &str) -> Result<Self> {
        match contains(data_dir, name)? {
            true => Self::open(&path_of(data_dir, name)?).map_err(|error| error.hint(again(name))),
            false => Err(missing(data_dir, name)),
        }
    }

    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).context(path.display())?;
        // SAFETY: the map is only read, and files of the data directory are replaced by renaming, never changed in
        // place. Truncating a file while a program uses it ends that program, as with any mapped file.
        let map = unsafe { Mmap::map(&file) }.context(path.display())?;
        let (length, header) = SafeTensors::read_metadata(&map).map_err(|error| damaged(path, error))?;
        let (map, start) = (Arc::new(map), 8 + length);
        let mut stored = Self { path: path.into(), map, start, header, schema: LABELLED, classes: Vec::new() };
        let schema = stored.text("schema")?;
        stored.schema = [LABELLED, ANNOTATED].into_iter().find(|known| *known == schema).ok_or_else(|| {
            damaged(path, format!("its schema is `{schema}`, this version reads `{LABELLED}` and `{ANNOTATED}`"))
        })?;
        stored.classes = serde_json::from_str(stored.text("classes")?)
            .map_err(|error| damaged(path, format!("classes: {error}")))?;
        Ok(stored)
    }

    /// Returns height and width of labelled images.
    fn size(&self) -> Result<usize> {
        self.text("size")?.parse().map_err(|error| self.damaged(format!("size: {error}")))
    }

    /// Returns the names of the splits, in order: those that have a tensor with this ending.
    fn splits(&self, ending: &str) -> Vec<String> {
        let tensors = self.header.tensors();
        let mut splits: Vec<_> =
            tensors.keys().filter_map(|name| name.strip_suffix(ending)).map(String::from).collect();
        splits.sort();
        splits
    }

    fn dataset<S>(&self, name: &str, splits: BTreeMap<String, S>) -> Result<Dataset<S>> {
        let (description, licence) = (self.text("description")?.into(), self.licence().into());
        Ok(Dataset { name: name.into(), description, licence, splits })
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        damaged(&self.path, what)
    }

    fn text(&self, key: &str) -> Result<&str> {
        self.find(key).ok_or_else(|| self.damaged(format!("its metadata have no `{key}`")))
    }

    fn find(&self, key: &str) -> Option<&str> {
        let metadata: Option<&HashMap<String, String>> = self.header.metadata().as_ref();
        metadata.and_then(|metadata| metadata.get(key)).map(String::as_str)
    }

    /// Returns whether the whole file is as it was written; `None` if it does not state its hash.
    fn is_whole(&self) -> Option<bool> {
        let recorded = self.find(HASH)?;
        let Some(place) = file::place_of_hash(&self.map[8..self.start]) else { return Some(false) };
        let at = 8 + place;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.map[..at]).update(NO_HASH.as_bytes()).update(&self.map[at + NO_HASH.len()..]);
        Some(hasher.finalize().to_hex().as_str() == recorded)
    }

    /// Returns a key of the metadata that no version has written.
    fn unknown_key(&self) -> Option<&str> {
        let known =
            ["schema", "name", "description", "classes", "layout", "decoder", "source", "source_blake3", "size"];
        let is_known =
            |key: &str| known.contains(&key) || ["resize", LICENCE, HASH].contains(&key) || key.ends_with(".hash");
        self.header.metadata().iter().flat_map(HashMap::keys).map(String::as_str).find(|key| !is_known(key))
    }

    /// Returns the licence; empty if none was stated.
    fn licence(&self) -> &str {
        self.find(LICENCE).unwrap_or_default()
    }

    fn hash(&self, split: &str) -> Result<&str> {
        self.text(&format!("{split}.hash"))
    }

    /// Returns the first side of a tensor, such as the number of images.
    fn length(&self, name: &str) -> Result<usize> {
        let first = self.header.info(name).and_then(|info| info.shape.first().copied());
        first.ok_or_else(|| self.damaged(format!("`{name}` has no shape")))
    }

    /// Returns where a tensor of this type and shape is in the file.
    fn tensor(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Range<usize>> {
        let Some(info) = self.header.info(name) else {
            return Err(self.damaged(format!("there is no tensor `{name}`")));
        };
        if info.dtype != dtype || info.shape != shape {
            let what = format!("`{name}` is {:?} {:?}, not {dtype:?} {shape:?}", info.dtype, info.shape);
            return Err(self.damaged(what));
        }
        // The header was checked against the file's length when it was read.
        Ok(self.start + info.data_offsets.0..self.start + info.data_offsets.1)
    }

    fn image_set(&self, name: &str, split: &str, size: usize) -> Result<ImageSet> {
        let images = self.length(&format!("{split}.pixels"))?;
        let pixels = self.tensor(&format!("{split}.pixels"), Dtype::U8, &[images, size, size, 3])?;
        for hashes in ["file_hashes", "pixel_hashes"] {
            self.tensor(&format!("{split}.{hashes}"), Dtype::U8, &[images, 32])?;
        }
        let (classes, labels) = self.labels(split, images)?;
        let names = self.names(split, images)?;
        let (hash, map) = (self.hash(split)?.to_string(), self.map.clone());
        let set = ImageSet::mapped(name, size, classes, labels, hash, map, pixels);
        Ok(set.with_names(SourceNames::new(self.map.clone(), names)))
    }

    /// Returns where the names of a split's images are in the file.
    fn names(&self, split: &str, images: usize) -> Result<Range<usize>> {
        let name = format!("{split}.names");
        let shape = self.header.info(&name).map(|info| info.shape.clone()).unwrap_or_default();
        let names = self.tensor(&name, Dtype::U8, &shape)?;
        match std::str::from_utf8(&self.map[names.clone()]).map_or(0, |text| text.split('\n').count()) {
            count if count == images => Ok(names),
            _ => Err(self.damaged(format!("`{name}` does not name its {images} images"))),
        }
    }

    fn labels(&self, split: &str, images: usize) -> Result<(Vec<String>, Vec<u32>)> {
        let name = format!("{split}.labels");
        if self.header.info(&name).is_none() {
            return Ok((vec![UNLABELED.into()], vec![0; images]));
        }
        let bytes = &self.map[self.tensor(&name, Dtype::U32, &[images])?];
        let labels: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        match labels.iter().find(|&&label| label as usize >= self.classes.len()) {
            Some(label) => {
                let what = format!("`{name}` has label {label} of {} categories", self.classes.len());
                Err(self.damaged(what))
            }
            None => Ok((self.classes.clone(), labels)),
        }
    }
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(format!("{}: the file is truncated or damaged: {what}", path.display()))
}

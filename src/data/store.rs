//! Imported datasets on disk: one safetensors file each, mapped into memory when opened.
//!
//! `<data_dir>/<name>.safetensors` has for each split the tensors `<split>.labels` (N, u32; absent if images have
//! none), `<split>.file_hashes` and `<split>.pixel_hashes` (N, 32; BLAKE3 of each image as it was in its source, and
//! of its pixels), `<split>.names` (bytes; names in the source, joined by newlines) and `<split>.pixels`
//! (N, size, size, 3; bytes). The file's metadata describe the dataset and its source.

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
use serde::Serialize;

use crate::data::image_set;
use crate::data::image_set::Dataset;
use crate::data::image_set::ImageSet;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

pub use write::Facts;
pub use write::Writer;

/// The version of the file format.
const SCHEMA: &str = "sempair.images/1";

/// The metadata key of how the images may be used. Not every file has it.
const LICENCE: &str = "licence";

/// The single category of a split whose images have no category.
const UNLABELED: &str = "unlabeled";

/// The facts about a stored dataset that are known without reading its images.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// The name that commands and configuration use.
    pub name: String,
    /// A description in one sentence.
    pub description: String,
    /// How it may be used, as stated when it was imported; empty if nothing was stated.
    pub licence: String,
    /// The recognised layout of its source.
    pub layout: String,
    /// Height and width in pixels.
    pub size: usize,
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
    /// The recorded content hash.
    pub hash: String,
}

/// The result of [`verify`].
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The dataset's name.
    pub name: String,
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
    /// Positions and names of the images whose pixels are not those that were imported.
    pub changed: Vec<(usize, String)>,
}

impl Report {
    /// Whether all content is unchanged since the import.
    pub fn holds(&self) -> bool {
        self.splits.iter().all(|split| split.recorded == split.computed && split.changed.is_empty())
    }
}

/// Opens a dataset; its pixels stay on disk until they are used.
///
/// # Errors
/// When there is no such dataset, or the file is not as [`Writer`] wrote it.
pub fn open(data_dir: &Path, name: &str) -> Result<Dataset> {
    if !contains(data_dir, name)? {
        return Err(missing(data_dir, name));
    }
    let stored = Stored::open(&path_of(data_dir, name)?).map_err(|error| error.hint(again(name)))?;
    let mut splits = BTreeMap::new();
    for split in &stored.splits {
        let set = stored.image_set(&format!("{name}/{split}"), split);
        splits.insert(split.clone(), set.map_err(|error| error.hint(again(name)))?);
    }
    let description = stored.text("description")?.into();
    Ok(Dataset { name: name.into(), description, licence: stored.licence().into(), splits })
}

/// Whether there is a dataset of this name, intact or damaged.
///
/// # Errors
/// When no dataset can have this name.
pub fn contains(data_dir: &Path, name: &str) -> Result<bool> {
    Ok(path_of(data_dir, name)?.is_file())
}

/// Returns all datasets in `data_dir`, sorted by name. A directory that does not exist has none.
pub fn list(data_dir: &Path) -> Result<Vec<Info>> {
    names(data_dir)?.iter().map(|name| info(data_dir, name)).collect()
}

/// Reads a whole dataset and compares it with the hashes that were recorded when it was imported.
///
/// # Errors
/// As [`open`]. Images that differ are not an error; the report lists them.
pub fn verify(data_dir: &Path, name: &str) -> Result<Report> {
    let dataset = open(data_dir, name)?;
    let stored = Stored::open(&path_of(data_dir, name)?)?;
    let mut splits = Vec::new();
    for (split, set) in dataset.splits {
        let recorded = stored.tensor(&format!("{split}.pixel_hashes"), Dtype::U8, &[set.len(), 32])?;
        let (recorded, _) = stored.map[recorded].as_chunks::<32>();
        let computed = image_set::image_hashes(set.size, set.pixels());
        let names = set.names().unwrap_or_default();
        let changed = (0..set.len()).filter(|&i| computed[i] != recorded[i]);
        splits.push(SplitReport {
            name: split,
            images: set.len(),
            recorded: set.hash.clone(),
            computed: image_set::hash_of_hashes(set.size, &set.classes, &set.labels, &computed),
            changed: changed.map(|i| (i, names.get(i).copied().unwrap_or_default().to_string())).collect(),
        });
    }
    Ok(Report { name: name.into(), splits })
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

fn path_of(data_dir: &Path, name: &str) -> Result<PathBuf> {
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
    let list = match there.is_empty() {
        true => "there is none".to_string(),
        false => format!("there are {}", there.join(", ")),
    };
    Error::new(format!("no dataset `{name}` in {}: {list}{guess}", data_dir.display())).hint(format!(
        "`sempair data import PATH --name {name}` imports one under this name, `sempair data list` lists all datasets"
    ))
}

fn again(name: &str) -> String {
    format!("`sempair data import PATH --name {name} --replace` writes it again")
}

fn info(data_dir: &Path, name: &str) -> Result<Info> {
    let path = path_of(data_dir, name)?;
    let mut info = Info {
        name: name.into(),
        description: String::new(),
        licence: String::new(),
        layout: String::new(),
        size: 0,
        classes: 0,
        splits: Vec::new(),
        bytes_on_disk: fs::metadata(&path).context(path.display())?.len(),
        damaged: None,
    };
    let mut fill = || {
        let stored = Stored::open(&path)?;
        info.description = stored.text("description")?.into();
        info.licence = stored.licence().into();
        info.layout = stored.text("layout")?.into();
        (info.size, info.classes) = (stored.size, stored.classes.len());
        for split in &stored.splits {
            let (images, hash) = (stored.images(split)?, stored.hash(split)?.into());
            info.splits.push(SplitInfo { name: split.clone(), images, hash });
        }
        Ok(())
    };
    info.damaged = fill().err().map(|error: Error| error.what().to_string());
    Ok(info)
}

/// An open file whose header has been checked.
struct Stored {
    path: PathBuf,
    map: Arc<Mmap>,
    /// Where the tensors begin in the file.
    start: usize,
    header: Metadata,
    size: usize,
    classes: Vec<String>,
    splits: Vec<String>,
}

impl Stored {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).context(path.display())?;
        // SAFETY: the map is only read, and files of the data directory are replaced by renaming, never changed in
        // place. Truncating a file while a program uses it ends that program, as with any mapped file.
        let map = unsafe { Mmap::map(&file) }.context(path.display())?;
        let (length, header) = SafeTensors::read_metadata(&map).map_err(|error| damaged(path, error))?;
        let mut stored = Self {
            path: path.into(),
            map: Arc::new(map),
            start: 8 + length,
            header,
            size: 0,
            classes: Vec::new(),
            splits: Vec::new(),
        };
        match stored.text("schema")? {
            SCHEMA => {}
            other => return Err(damaged(path, format!("its schema is `{other}`, this version reads `{SCHEMA}`"))),
        }
        stored.size = stored.text("size")?.parse().map_err(|error| damaged(path, format!("size: {error}")))?;
        stored.classes = serde_json::from_str(stored.text("classes")?)
            .map_err(|error| damaged(path, format!("classes: {error}")))?;
        let tensors = stored.header.tensors();
        stored.splits = tensors.keys().filter_map(|name| name.strip_suffix(".pixels")).map(String::from).collect();
        stored.splits.sort();
        Ok(stored)
    }

    fn text(&self, key: &str) -> Result<&str> {
        self.find(key).ok_or_else(|| damaged(&self.path, format!("its metadata have no `{key}`")))
    }

    fn find(&self, key: &str) -> Option<&str> {
        let metadata: Option<&HashMap<String, String>> = self.header.metadata().as_ref();
        metadata.and_then(|metadata| metadata.get(key)).map(String::as_str)
    }

    /// Returns the licence; empty if none was stated.
    fn licence(&self) -> &str {
        self.find(LICENCE).unwrap_or_default()
    }

    fn hash(&self, split: &str) -> Result<&str> {
        self.text(&format!("{split}.hash"))
    }

    fn images(&self, split: &str) -> Result<usize> {
        let info = self.header.info(&format!("{split}.pixels"));
        info.and_then(|info| info.shape.first().copied())
            .ok_or_else(|| damaged(&self.path, format!("`{split}.pixels` has no shape")))
    }

    /// Returns where a tensor of this type and shape is in the file.
    fn tensor(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Range<usize>> {
        let Some(info) = self.header.info(name) else {
            return Err(damaged(&self.path, format!("there is no tensor `{name}`")));
        };
        if info.dtype != dtype || info.shape != shape {
            let what = format!("`{name}` is {:?} {:?}, not {dtype:?} {shape:?}", info.dtype, info.shape);
            return Err(damaged(&self.path, what));
        }
        // The header was checked against the file's length when it was read.
        Ok(self.start + info.data_offsets.0..self.start + info.data_offsets.1)
    }

    fn image_set(&self, name: &str, split: &str) -> Result<ImageSet> {
        let images = self.images(split)?;
        let pixels = self.tensor(&format!("{split}.pixels"), Dtype::U8, &[images, self.size, self.size, 3])?;
        for hashes in ["file_hashes", "pixel_hashes"] {
            self.tensor(&format!("{split}.{hashes}"), Dtype::U8, &[images, 32])?;
        }
        let (classes, labels) = self.labels(split, images)?;
        let names = format!("{split}.names");
        let shape = self.header.info(&names).map(|info| info.shape.clone()).unwrap_or_default();
        let names = self.tensor(&names, Dtype::U8, &shape)?;
        let text = std::str::from_utf8(&self.map[names.clone()]);
        if text.map_or(0, |text| text.split('\n').count()) != images {
            return Err(damaged(&self.path, format!("`{split}.names` does not name its {images} images")));
        }
        let (hash, map) = (self.hash(split)?.to_string(), self.map.clone());
        let set = ImageSet::mapped(name, self.size, classes, labels, hash, map, pixels);
        Ok(set.with_names(self.map.clone(), names))
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
                Err(damaged(&self.path, what))
            }
            None => Ok((self.classes.clone(), labels)),
        }
    }
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(format!("{}: the file is truncated or damaged: {what}", path.display()))
}

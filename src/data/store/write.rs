//! Writing a dataset image by image, in any order, with only labels and hashes in memory.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::data::image_set;
use crate::error::Result;
use crate::files;

use super::LICENCE;
use super::SCHEMA;
use super::UNLABELED;
use super::path_of;

/// The metadata of a dataset's file.
pub struct Facts {
    /// The name that commands and configuration use.
    pub name: String,
    /// A description in one sentence.
    pub description: String,
    /// How it may be used; empty if nothing was stated.
    pub licence: String,
    /// The categories by label.
    pub classes: Vec<String>,
    /// The recognised layout of its source.
    pub layout: String,
    /// Height and width in pixels.
    pub size: usize,
    /// Names and versions of the libraries that decoded and resized the images.
    pub decoder: String,
    /// The filter that resized them.
    pub resize: String,
    /// The source's own name, without its directory.
    pub source: String,
    /// BLAKE3 of the source, if it is one file.
    pub source_blake3: Option<String>,
}

/// A dataset that is being written. Its file appears under its name when it is finished. If the writer is dropped
/// before, no file is left. If the process is killed before, a hidden file is left that no process has locked; the
/// next writer removes it.
pub struct Writer {
    file: NamedTempFile,
    target: PathBuf,
    facts: Facts,
    splits: Vec<Split>,
    /// Where the tensors begin in the file.
    start: u64,
}

struct Split {
    name: String,
    names: Vec<String>,
    labels: Option<Vec<u32>>,
    file_hashes: Vec<[u8; 32]>,
    pixel_hashes: Vec<[u8; 32]>,
    /// Offset of the first image among the tensors.
    pixels: u64,
}

/// A placeholder as long as a content hash.
const NO_HASH: &str = "----------------------------------------------------------------";

impl Writer {
    /// Begins `<data_dir>/<name>.safetensors`. Each split has its name, the names of its images in the source and their
    /// labels, if it has labels.
    pub fn create(data_dir: &Path, facts: Facts, splits: Vec<(String, Vec<String>, Option<Vec<u32>>)>) -> Result<Self> {
        let target = path_of(data_dir, &facts.name)?;
        let file = temporary(data_dir).map_err(|error| files::not_written(&target, &error))?;
        let splits = splits.into_iter().map(|(name, names, labels)| Split {
            file_hashes: vec![[0; 32]; names.len()],
            pixel_hashes: vec![[0; 32]; names.len()],
            name,
            names,
            labels,
            pixels: 0,
        });
        let mut writer = Self { file, target, facts, splits: splits.collect(), start: 0 };
        let (header, offsets) = writer.header(&vec![NO_HASH.into(); writer.splits.len()]);
        writer.start = header.len() as u64;
        for (split, offset) in writer.splits.iter_mut().zip(offsets) {
            split.pixels = offset;
        }
        Ok(writer)
    }

    /// Writes one image: its label, if it was not known in [`Writer::create`], BLAKE3 of its file and of its pixels,
    /// and the pixels (size, size, 3).
    ///
    /// # Panics
    /// When the pixels are not those of one image, or there is no such split or position.
    pub fn put(
        &mut self,
        split: usize,
        position: usize,
        label: Option<u32>,
        (file_hash, pixel_hash): ([u8; 32], [u8; 32]),
        pixels: &[u8],
    ) -> Result<()> {
        assert!(pixels.len() == 3 * self.facts.size.pow(2), "put: {} bytes are not one image", pixels.len());
        let split = &mut self.splits[split];
        if let (Some(labels), Some(label)) = (&mut split.labels, label) {
            labels[position] = label;
        }
        split.file_hashes[position] = file_hash;
        split.pixel_hashes[position] = pixel_hash;
        let at = self.start + split.pixels + position as u64 * pixels.len() as u64;
        self.write_at(at, pixels)
    }

    /// Writes everything else, syncs the file, gives it its name and returns its path.
    pub fn finish(mut self) -> Result<PathBuf> {
        let hashes: Vec<String> = self.splits.iter().map(|split| self.content_hash(split)).collect();
        let (mut head, _) = self.header(&hashes);
        for split in &self.splits {
            head.extend(split.labels.iter().flatten().flat_map(|label| label.to_le_bytes()));
        }
        self.write_at(0, &head)?;
        for i in 0..self.splits.len() {
            let split = &self.splits[i];
            let names = split.names.join("\n");
            let block =
                [split.file_hashes.as_flattened(), split.pixel_hashes.as_flattened(), names.as_bytes()].concat();
            self.write_at(self.start + split.pixels - block.len() as u64, &block)?;
        }
        files::publish(self.file, &self.target).map_err(|error| files::not_written(&self.target, &error))?;
        Ok(self.target)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let file = self.file.as_file_mut();
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(bytes))
            .map_err(|error| files::not_written(&self.target, &error))
    }

    fn content_hash(&self, split: &Split) -> String {
        let (size, hashes) = (self.facts.size, &split.pixel_hashes);
        match &split.labels {
            Some(labels) => image_set::hash_of_hashes(size, &self.facts.classes, labels, hashes),
            None => image_set::hash_of_hashes(size, &[UNLABELED.into()], &vec![0; hashes.len()], hashes),
        }
    }

    /// Returns the header, preceded by its length, and the offset of each split's pixels among the tensors. Labels come
    /// first, so that they are aligned.
    fn header(&self, hashes: &[String]) -> (Vec<u8>, Vec<u64>) {
        let mut tensors = Map::new();
        tensors.insert("__metadata__".into(), self.metadata(hashes));
        let mut end = 0;
        let mut add = |name: String, dtype: &str, shape: &[usize], item: usize| {
            let begin = end;
            end += (shape.iter().product::<usize>() * item) as u64;
            tensors.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}));
            begin
        };
        for split in self.splits.iter().filter(|split| split.labels.is_some()) {
            add(format!("{}.labels", split.name), "U32", &[split.names.len()], 4);
        }
        let mut pixels = Vec::new();
        for Split { name, names, .. } in &self.splits {
            let (images, size) = (names.len(), self.facts.size);
            let bytes = names.iter().map(String::len).sum::<usize>() + images.saturating_sub(1);
            add(format!("{name}.file_hashes"), "U8", &[images, 32], 1);
            add(format!("{name}.pixel_hashes"), "U8", &[images, 32], 1);
            add(format!("{name}.names"), "U8", &[bytes], 1);
            pixels.push(add(format!("{name}.pixels"), "U8", &[images, size, size, 3], 1));
        }
        let mut json = Value::Object(tensors).to_string().into_bytes();
        json.resize(json.len().next_multiple_of(8), b' ');
        ([&(json.len() as u64).to_le_bytes(), json.as_slice()].concat(), pixels)
    }

    fn metadata(&self, hashes: &[String]) -> Value {
        let facts = &self.facts;
        let mut metadata = Map::new();
        let mut add = |key: &str, value: &str| metadata.insert(key.into(), value.into());
        add("schema", SCHEMA);
        add("name", &facts.name);
        add("description", &facts.description);
        if !facts.licence.is_empty() {
            add(LICENCE, &facts.licence);
        }
        add("classes", &json!(facts.classes).to_string());
        add("layout", &facts.layout);
        add("size", &facts.size.to_string());
        add("decoder", &facts.decoder);
        add("resize", &facts.resize);
        add("source", &facts.source);
        if let Some(hash) = &facts.source_blake3 {
            add("source_blake3", hash);
        }
        for (split, hash) in self.splits.iter().zip(hashes) {
            add(&format!("{}.hash", split.name), hash);
        }
        Value::Object(metadata)
    }
}

/// The start and the end of the file names of unfinished imports.
const PREFIX: &str = ".import-";
const SUFFIX: &str = ".part";

/// Creates a file in the target's directory, so that renaming it is atomic. The file is locked as long as it is open.
/// Also removes the files that killed imports left: no process holds their locks.
fn temporary(data_dir: &Path) -> io::Result<NamedTempFile> {
    fs::create_dir_all(data_dir)?;
    for entry in fs::read_dir(data_dir)?.flatten() {
        let name = entry.file_name();
        let unfinished = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        // The lock is held until the file is removed. So an owner that has only just created it sees that it is gone.
        if unfinished
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path()); // a file that stays does no harm
        }
    }
    loop {
        let file = files::temporary(data_dir, PREFIX, SUFFIX)?;
        // On a file system without locks, no process removes the files of others.
        if file.as_file().lock().is_err() || file.path().exists() {
            return Ok(file);
        }
    }
}

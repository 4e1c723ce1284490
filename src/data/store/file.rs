//! A safetensors file that is being written: its header, and its bytes in any order.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::error::Result;
use crate::files;

use super::HASH;
use super::LICENCE;
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
    /// Names and versions of the libraries that decoded (and resized) the images.
    pub decoder: String,
    /// The source's own name, without its directory; several names are joined by commas.
    pub source: String,
    /// BLAKE3 of the source, if it is one file; of several sources, one hash each, joined by commas.
    pub source_blake3: Option<String>,
}

impl Facts {
    /// Returns the metadata, with the format's version.
    pub(super) fn metadata(&self, schema: &str) -> Map<String, Value> {
        let classes = json!(self.classes).to_string();
        let named = [
            ("schema", schema),
            ("name", &self.name),
            ("description", &self.description),
            ("classes", &classes),
            ("layout", &self.layout),
            ("decoder", &self.decoder),
            ("source", &self.source),
            (HASH, NO_HASH),
        ];
        let optional = [("source_blake3", self.source_blake3.as_deref()), (LICENCE, Some(self.licence.as_str()))];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value.filter(|v| !v.is_empty())?)));
        named.into_iter().chain(optional).map(|(key, value)| (key.to_owned(), value.into())).collect()
    }
}

/// A type of the values in a tensor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values {
    U8,
    U32,
    U64,
    F32,
}

impl Values {
    /// Returns the name in safetensors and the number of bytes of a value.
    fn facts(self) -> (&'static str, usize) {
        match self {
            Self::U8 => ("U8", 1),
            Self::U32 => ("U32", 4),
            Self::U64 => ("U64", 8),
            Self::F32 => ("F32", 4),
        }
    }
}

/// The tensors of a file in their order, one after the other.
#[derive(Default)]
pub(super) struct Tensors {
    entries: Map<String, Value>,
    end: u64,
}

impl Tensors {
    /// Adds a tensor, and returns where it begins among the tensors.
    pub(super) fn add(&mut self, name: &str, values: Values, shape: &[usize]) -> u64 {
        let ((dtype, bytes), begin) = (values.facts(), self.end);
        self.end += (shape.iter().product::<usize>() * bytes) as u64;
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, self.end]});
        self.entries.insert(name.into(), entry);
        begin
    }

    /// Returns the header, preceded by its length.
    pub(super) fn header(mut self, metadata: Map<String, Value>) -> Vec<u8> {
        self.entries.insert("__metadata__".into(), metadata.into());
        let mut json = Value::Object(self.entries).to_string().into_bytes();
        json.resize(json.len().next_multiple_of(8), b' ');
        [&(json.len() as u64).to_le_bytes(), json.as_slice()].concat()
    }
}

/// A placeholder as long as a content hash, for a header that is written before the hash is known.
pub(super) const NO_HASH: &str = "----------------------------------------------------------------";

/// A dataset's file that is being written. It appears under its name when it is published. If it is dropped before, no
/// file is left. If the process is killed before, a hidden file is left that no process has locked; the next new file
/// removes it.
pub(super) struct NewFile {
    file: NamedTempFile,
    target: PathBuf,
}

impl NewFile {
    /// Begins `<data_dir>/<name>.safetensors`.
    pub(super) fn create(data_dir: &Path, name: &str) -> Result<Self> {
        let target = path_of(data_dir, name)?;
        let file = temporary(data_dir).map_err(|error| files::not_written(&target, &error))?;
        Ok(Self { file, target })
    }

    /// Writes bytes at a place in the file.
    pub(super) fn write_at(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let file = self.file.as_file_mut();
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(bytes))
            .map_err(|error| files::not_written(&self.target, &error))
    }

    /// Writes the hash of the whole file into it, syncs it, gives it its name and returns its path.
    pub(super) fn publish(mut self) -> Result<PathBuf> {
        let hash = files::hash(self.file.path())?;
        let place = self.place_of_hash().map_err(|error| files::not_written(&self.target, &error))?;
        self.write_at(place, hash.as_bytes())?;
        files::publish(self.file, &self.target).map_err(|error| files::not_written(&self.target, &error))?;
        Ok(self.target)
    }
}

impl NewFile {
    /// Where the hash of the whole file is in it.
    fn place_of_hash(&mut self) -> io::Result<u64> {
        let file = self.file.as_file_mut();
        file.seek(SeekFrom::Start(0))?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let mut header = Vec::new();
        file.take(u64::from_le_bytes(length)).read_to_end(&mut header)?;
        let place = place_of_hash(&header).ok_or_else(|| io::Error::other("its header has no place for a hash"))?;
        Ok(8 + place as u64)
    }
}

/// Where the hash of the whole file begins in a header. No text in a header can contain the quotes of the key.
pub(super) fn place_of_hash(header: &[u8]) -> Option<usize> {
    let key = format!("\"{HASH}\":\"");
    let at = header.windows(key.len()).position(|bytes| bytes == key.as_bytes())? + key.len();
    (header.len() >= at + NO_HASH.len()).then_some(at)
}

/// The start and the end of the file names of unfinished imports.
const PREFIX: &str = ".import-";
const SUFFIX: &str = ".part";

/// Creates a file in the target's directory, so that renaming it is atomic. The file is locked as long as it is open.
/// Also removes the files that killed imports left: no process holds their locks.
fn temporary(data_dir: &Path) -> io::Result<NamedTempFile> {
    files::create_folder(data_dir)?;
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

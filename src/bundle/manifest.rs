//! The list of a bundle's files with their hashes, and what the bundle was made with. Its own hash is part of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::bundle::Files;
use crate::bundle::archive::Archive;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files::sha256;
use crate::harness::canonical;
use crate::harness::evaluations::Evaluations;
use crate::harness::ledger::Problem;
use crate::harness::provenance::Build;

/// The manifest's file name.
pub const NAME: &str = "manifest.json";

/// The signature's file name. Neither file is listed in the manifest.
pub const SIGNATURE: &str = "manifest.json.sig";

/// The name and the version of this format. Fields are added, never renamed.
const SCHEMA: &str = "sempair.bundle/1";

/// What a bundle is made of besides its records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The profile's name, such as `quick`.
    pub profile: String,
    /// Whether names of people, machines and places are withheld.
    pub anonymous: bool,
    /// Who started the runs, as `--author` states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Files of the ledger that are not readable records, as the report lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
    /// The number of records that a user deleted from the ledger, as the report states it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: usize,
    /// How often each test split was evaluated, by all runs of the ledger, as the report states it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evaluations: BTreeMap<String, Evaluations>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A file of the ledger that is not a readable record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its path.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

/// The program that made a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version, such as `0.1.0`.
    pub version: String,
    /// The hash of its sources and crates, as in records.
    pub code: String,
}

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Its path in the zip file.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// BLAKE3, in hexadecimal digits.
    pub blake3: String,
}

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    schema: String,
    /// What the bundle is made of.
    #[serde(flatten)]
    pub facts: Facts,
    /// The program that made it.
    pub program: Program,
    /// All files, sorted by name, without the manifest and its signature.
    pub files: Vec<FileDigest>,
    /// BLAKE3 of the canonical JSON of the other fields.
    hash: String,
}

/// A file that is not what the manifest says, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Its path in the zip file.
    pub file: String,
    /// How it differs.
    pub what: String,
}

impl Difference {
    /// A difference of this file.
    pub fn new(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), what: what.into() }
    }
}

impl From<Unreadable> for Problem {
    fn from(Unreadable { file, what }: Unreadable) -> Self {
        Self { file: PathBuf::from(file), what }
    }
}

impl From<&Problem> for Unreadable {
    fn from(problem: &Problem) -> Self {
        Self { file: problem.file.display().to_string(), what: problem.what.clone() }
    }
}

impl Program {
    /// This program.
    pub fn current() -> Self {
        let Build { version, code, .. } = Build::current();
        Self { version, code }
    }
}

impl FileDigest {
    /// The digests of a file.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
            blake3: blake3::hash(bytes).to_hex().to_string(),
        }
    }
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    sha256::of(bytes).expect("reading memory does not fail").1
}

impl Manifest {
    /// The manifest of these files.
    pub fn new(facts: Facts, files: &Files) -> Self {
        let files = files.iter().map(|(name, bytes)| FileDigest::of(name, bytes)).collect();
        let program = Program::current();
        let mut manifest = Self { schema: SCHEMA.to_owned(), facts, program, files, hash: String::new() };
        manifest.hash = manifest.own_hash();
        manifest
    }

    /// Reads a manifest that is as it was written.
    ///
    /// # Errors
    /// When it is another file or was changed.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(bytes).context("it is not a manifest")?;
        if manifest.schema != SCHEMA {
            return Err(Error::new(format!("it is of schema `{}`, which this version cannot read", manifest.schema)));
        }
        match manifest.hash == manifest.own_hash() && manifest.to_text().as_bytes() == bytes {
            true => Ok(manifest),
            false => Err(Error::new("its own hash does not match: it was changed after it was written")),
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest has a JSON form") + "\n"
    }

    fn own_hash(&self) -> String {
        let unhashed = Self { hash: String::new(), ..self.clone() };
        canonical::key(&serde_json::to_value(unhashed).expect("a manifest has a JSON form"))
    }

    /// The files that are changed, missing or not listed, sorted by name.
    pub fn differences(&self, archive: &Archive) -> Vec<Difference> {
        let listed: BTreeMap<&str, &FileDigest> = self.files.iter().map(|file| (file.name.as_str(), file)).collect();
        let damaged: BTreeMap<&str, &str> = archive.damaged.iter().map(|(name, what)| (&**name, &**what)).collect();
        let mut found: Vec<Difference> =
            damaged.iter().map(|(name, what)| Difference::new(name, format!("cannot be unpacked: {what}"))).collect();
        for (&name, stated) in &listed {
            match archive.files.get(name) {
                Some(bytes) if FileDigest::of(name, bytes) == **stated => {}
                Some(bytes) => found.push(Difference::new(name, changed(stated, bytes))),
                None if damaged.contains_key(name) => {}
                None => found.push(Difference::new(name, "is missing")),
            }
        }
        let is_extra =
            |name: &&String| ![NAME, SIGNATURE].contains(&name.as_str()) && !listed.contains_key(name.as_str());
        let extra = archive.files.keys().filter(is_extra);
        found.extend(extra.map(|name| Difference::new(name, "is not in the manifest")));
        found.sort();
        found
    }
}

fn changed(stated: &FileDigest, bytes: &[u8]) -> String {
    let is = FileDigest::of(&stated.name, bytes);
    match is.bytes == stated.bytes {
        true => format!("is changed: its SHA-256 is {}, the manifest states {}", is.sha256, stated.sha256),
        false => format!("is changed: it has {} bytes, the manifest states {}", is.bytes, stated.bytes),
    }
}

//! What an import will write, known before the first image is read: splits, categories and the place of every image.

use std::collections::BTreeSet;
use std::collections::HashMap;

use crate::error::Error;
use crate::error::Result;

use serde::Serialize;

use super::UNDERSTOOD;
use super::cifar;
use super::folder;
use super::source::Source;
use super::source::basename;
use super::stl;
use super::tiny;

/// The whole import. A member without a task is not read.
pub struct Plan {
    /// The layout's name for people, such as `CIFAR-10 (binary)`.
    pub layout: &'static str,
    /// The dataset's name unless the user gives one.
    pub name: String,
    /// What a report should say about it.
    pub description: String,
    /// Height and width unless the user gives them.
    pub size: usize,
    /// The categories by label.
    pub classes: Vec<String>,
    /// The splits, in the order in which they are written.
    pub splits: Vec<Split>,
    /// What to do with each member.
    pub tasks: HashMap<String, Task>,
    /// The directory (with a final `/`) of images whose categories the set does not say.
    pub unlabelled: Option<String>,
}

/// Files of a source that are not imported, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub files: usize,
    /// What they are, as in `3 files that are no images (.txt)`.
    pub what: String,
}

/// One split. Invariant: as many labels as names.
pub struct Split {
    /// `train`, `test`, `val` or `unlabeled`.
    pub name: String,
    /// Each image's name in the source.
    pub names: Vec<String>,
    /// Each image's category; zeros where the records themselves hold it. `None`: the split has no labels.
    pub labels: Option<Vec<u32>>,
}

/// What a member holds.
#[derive(Clone, Copy)]
pub enum Task {
    /// One encoded image.
    Image { split: usize, position: usize },
    /// Images of one size after each other.
    Records(Records),
}

/// Records of a binary member: `header` bytes, then the planes of red, green and blue.
#[derive(Clone, Copy)]
pub struct Records {
    pub split: usize,
    /// Position of the first record in the split.
    pub first: usize,
    pub count: usize,
    pub header: usize,
    /// Which byte of the header is the label.
    pub label: Option<usize>,
    /// Height and width in pixels.
    pub side: usize,
    /// Whether a plane's columns, not its rows, follow each other.
    pub column_major: bool,
}

impl Records {
    /// Bytes of one record.
    pub fn bytes(&self) -> usize {
        self.header + 3 * self.side * self.side
    }
}

impl Plan {
    /// Plans the import by the names inside the source.
    pub fn new(source: &Source) -> Result<Self> {
        for plan in [cifar::plan, stl::plan, tiny::plan, folder::plan] {
            if let Some(plan) = plan(source)? {
                return Ok(plan);
            }
        }
        Err(unknown(source))
    }

    /// What of the source is not imported. Lists that the layout reads are no such files.
    pub fn left_out(&self, source: &Source) -> Vec<LeftOut> {
        let left = source.files.keys().filter(|path| !self.tasks.contains_key(*path) && !source.is_text(path));
        let (images, others): (Vec<&String>, Vec<&String>) = left.partition(|path| folder::is_image(path));
        let in_unlabelled = |path: &&String| self.unlabelled.as_ref().is_some_and(|place| path.starts_with(place));
        let (unlabelled, strays): (Vec<&String>, Vec<&String>) = images.into_iter().partition(in_unlabelled);
        let place = self.unlabelled.as_deref().unwrap_or_default();
        let endings: BTreeSet<String> = others.iter().map(|path| ending(path)).collect();
        let endings = endings.into_iter().collect::<Vec<_>>().join(", ");
        let stray = strays.first().map_or("", |path| path.as_str());
        let named = [
            (
                unlabelled.len(),
                format!("{} of {place}, whose categories the set does not say", counted(unlabelled.len(), "image")),
            ),
            (strays.len(), format!("{} outside of the layout, such as {stray}", counted(strays.len(), "image"))),
            (others.len(), format!("{} ({endings})", counted(others.len(), "other file"))),
            (source.hidden, format!("{} hidden (a name that begins with a dot, or __MACOSX)", grouped(source.hidden))),
        ];
        named.into_iter().filter(|(files, _)| *files > 0).map(|(files, what)| LeftOut { files, what }).collect()
    }

    /// Number of images in all splits.
    pub fn images(&self) -> usize {
        self.splits.iter().map(|split| split.names.len()).sum()
    }
}

/// How many records of `bytes` a binary member holds; a broken record is an error.
pub fn records_in(source: &Source, path: &str, bytes: usize) -> Result<usize> {
    let found = source.files[path];
    if found == 0 || !found.is_multiple_of(bytes as u64) {
        let what = format!("{found} bytes are not a whole number of records of {bytes} bytes");
        return Err(source.member_error(path, what).hint("fetch the source again: this member is cut or changed"));
    }
    Ok((found / bytes as u64) as usize)
}

/// `10,000 of CIFAR-10's 50,000 training images, all of its 10,000 test images`. Each split: what its images are
/// called, how many there are and how many the published set has.
pub fn describe(set: &str, splits: &[(&str, usize, usize)]) -> String {
    let part = |(i, &(what, here, published)): (usize, &(&str, usize, usize))| {
        let owner = if i == 0 { format!("{set}'s") } else { "its".to_string() };
        let amount = match here {
            0 => "none".to_string(),
            _ if here == published => "all".to_string(),
            _ => grouped(here),
        };
        format!("{amount} of {owner} {} {what} images", grouped(published))
    };
    splits.iter().enumerate().map(part).collect::<Vec<_>>().join(", ")
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or("")).collect();
    groups.join(",")
}

fn unknown(source: &Source) -> Error {
    let names: BTreeSet<&str> = source.files.keys().map(String::as_str).collect();
    let has = |name: &str| names.iter().any(|path| path.rsplit('/').next() == Some(name));
    let shown: Vec<&str> = names.iter().take(4).copied().collect();
    let more = if names.len() > shown.len() { ", .." } else { "" };
    let found = format!("{} ({}{more})", counted(names.len(), "file"), shown.join(", "));
    let guess = if has("data_batch_1") || has("batches.meta") || has("meta") && has("train") {
        "; this looks like the Python version of CIFAR, of which only the binary version is read"
    } else if has("train.mat") || has("data_batch_1.mat") {
        "; this looks like a Matlab version, of which only the binary version is read"
    } else if source.directories.iter().any(|path| path.ends_with("Annotations")) {
        "; this looks like a detection set, which has no category per image"
    } else {
        ""
    };
    Error::new(format!("{}: no known layout: found {found}{guess}", source.path.display())).hint(UNDERSTOOD)
}

/// `.txt` of a path that ends so; else the name.
fn ending(path: &str) -> String {
    let name = basename(path);
    name.rsplit_once('.').map_or_else(|| name.to_string(), |(_, ending)| format!(".{}", ending.to_lowercase()))
}

/// `1 file`, `2 files`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

//! The plan of an import, known before the first image is read: splits, categories and the place of every image.

use std::collections::HashMap;

use crate::error::Result;

use serde::Serialize;

use super::source::Source;

/// The plan of a whole import. A member without a task is not read.
pub struct Plan {
    /// The readable name of the layout, such as `CIFAR-10 (binary)`.
    pub layout: &'static str,
    /// The dataset's name, unless the user gives one.
    pub name: String,
    /// The dataset's description in reports.
    pub description: String,
    /// Height and width in pixels, unless the user gives them.
    pub size: usize,
    /// The categories by label.
    pub classes: Vec<String>,
    /// The splits, in the order in which they are written.
    pub splits: Vec<Split>,
    /// What to do with each member.
    pub tasks: HashMap<String, Task>,
    /// The directory (with a final `/`) of images whose categories are not known.
    pub unlabelled: Option<String>,
}

/// Files of a source that are not imported, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The number of these files, at least 1.
    pub files: usize,
    /// A description of the files, such as `3 other files (.txt)`.
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

/// The content of a member.
#[derive(Clone, Copy)]
pub enum Task {
    /// One encoded image.
    Image { split: usize, position: usize },
    /// Images of one size, one after the other.
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
    /// The index of the header byte that is the label.
    pub label: Option<usize>,
    /// Height and width in pixels.
    pub side: usize,
    /// Whether planes are stored column by column, not row by row.
    pub column_major: bool,
}

impl Records {
    /// Returns the number of bytes of one record.
    pub fn bytes(&self) -> usize {
        self.header + 3 * self.side * self.side
    }
}

impl Plan {
    /// Returns the number of images in all splits.
    pub fn images(&self) -> usize {
        self.splits.iter().map(|split| split.names.len()).sum()
    }
}

/// Returns how many records of `bytes` bytes a binary member has. An incomplete record is an error.
pub fn records_in(source: &Source, path: &str, bytes: usize) -> Result<usize> {
    let found = source.files[path];
    if found == 0 || !found.is_multiple_of(bytes as u64) {
        let what = format!("{found} bytes are not a whole number of records of {bytes} bytes");
        return Err(source.member_error(path, what).hint("download it again: this member is truncated or changed"));
    }
    Ok((found / bytes as u64) as usize)
}

/// Returns a description such as `10,000 of CIFAR-10's 50,000 training images, all of its 10,000 test images`. Each
/// split has the name of its images, their number and their number in the published set.
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

/// Writes `1234567` as `1,234,567`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or("")).collect();
    groups.join(",")
}

/// Writes `1 file`, `2 files`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

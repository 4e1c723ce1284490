//! The names that images have in the archive or folder that they were imported from.

use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;

/// A range of a memory map with one name for each image, joined by newlines.
#[derive(Clone, Debug)]
pub struct SourceNames {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl SourceNames {
    /// The names in a range of a map.
    pub fn new(map: Arc<Mmap>, range: Range<usize>) -> Self {
        Self { map, range }
    }

    /// All names, in the order of the images; none if they are not UTF-8.
    pub fn all(&self) -> Option<Vec<&str>> {
        Some(std::str::from_utf8(&self.map[self.range.clone()]).ok()?.split('\n').collect())
    }
}

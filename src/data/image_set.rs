//! Labelled images of one size, and datasets of one or several splits, imported or rendered.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;

use super::source_names::SourceNames;

/// One split of a dataset: square RGB images of one size, with a category each.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// The dataset's name and split, such as `cifar-10/train`.
    pub name: String,
    /// Height and width in pixels.
    pub size: usize,
    /// The categories' names, by label.
    pub classes: Arc<[String]>,
    /// The category of each image.
    pub labels: Arc<[u32]>,
    /// BLAKE3 of size, classes, labels and pixels, in hexadecimal: equal hashes mean equal sets.
    pub hash: String,
    pixels: Pixels,
    names: Option<SourceNames>,
}

/// One split of a dataset: images of one kind, with what is known about them.
pub trait Split {
    /// Returns the dataset's name and split, such as `cifar-10/train`.
    fn name(&self) -> &str;

    /// Returns the number of images.
    fn images(&self) -> usize;

    /// Returns the categories' names.
    fn classes(&self) -> &[String];

    /// Returns the recorded content hash.
    fn hash(&self) -> &str;

    /// Whether the content still has this hash. Reads all images, on all cores.
    fn is_unchanged(&self) -> bool;
}

/// A dataset: its splits by name (`train`, `test`, ..) and its description.
#[derive(Clone, Debug)]
pub struct Dataset<S = ImageSet> {
    /// The name that commands and configuration use, such as `cifar-10`.
    pub name: String,
    /// What a reader of a report should know about it, in one sentence.
    pub description: String,
    /// How it may be used, as stated when it was imported; empty if nothing was stated.
    pub licence: String,
    /// The splits by name.
    pub splits: BTreeMap<String, S>,
}

impl<S: Split> Dataset<S> {
    /// Returns the names of the splits whose content does not match their hash. Reads all images, on all cores.
    pub fn changed(&self) -> Vec<String> {
        self.splits.iter().filter(|(_, set)| !set.is_unchanged()).map(|(split, _)| split.clone()).collect()
    }
}

impl Split for ImageSet {
    fn name(&self) -> &str {
        &self.name
    }

    fn images(&self) -> usize {
        self.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn is_unchanged(&self) -> bool {
        content_hash(self.size, &self.classes, &self.labels, self.pixels()) == self.hash
    }
}

#[derive(Clone, Debug)]
enum Pixels {
    Memory(Arc<[u8]>),
    Mapped(Arc<Mmap>, Range<usize>),
}

impl ImageSet {
    /// Creates a set in memory. `pixels` (N, size, size, 3) are bytes, channels last.
    ///
    /// # Panics
    /// When sizes do not agree or a label has no class.
    pub fn new(name: &str, size: usize, classes: Vec<String>, labels: Vec<u32>, pixels: Vec<u8>) -> Self {
        let hash = content_hash(size, &classes, &labels, &pixels);
        Self::checked(name, size, classes, labels, hash, Pixels::Memory(pixels.into()))
    }

    /// Creates a set whose pixels are a range of a memory map; `hash` is the one recorded when the file was written.
    ///
    /// # Panics
    /// As [`ImageSet::new`].
    pub fn mapped(
        name: &str,
        size: usize,
        classes: Vec<String>,
        labels: Vec<u32>,
        hash: String,
        map: Arc<Mmap>,
        range: Range<usize>,
    ) -> Self {
        Self::checked(name, size, classes, labels, hash, Pixels::Mapped(map, range))
    }

    fn checked(name: &str, size: usize, classes: Vec<String>, labels: Vec<u32>, hash: String, pixels: Pixels) -> Self {
        let set =
            Self { name: name.into(), size, classes: classes.into(), labels: labels.into(), hash, pixels, names: None };
        let (bytes, images) = (set.pixels().len(), set.labels.len());
        assert!(bytes == images * size * size * 3, "{name}: {bytes} bytes for {images} images of {size}x{size}");
        assert!(set.labels.iter().all(|&l| (l as usize) < set.classes.len()), "{name}: a label without a class");
        set
    }

    /// Adds the names of the images in their source.
    #[must_use]
    pub fn with_names(mut self, names: SourceNames) -> Self {
        self.names = Some(names);
        self
    }

    /// Returns each image's name in its source, such as `train/n02124075/images/n02124075_0.JPEG`, if names are known.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.names.as_ref()?.all()
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the set has no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns all pixels, (N, size, size, 3) bytes.
    pub fn pixels(&self) -> &[u8] {
        match &self.pixels {
            Pixels::Memory(bytes) => bytes,
            Pixels::Mapped(map, range) => &map[range.clone()],
        }
    }

    /// Returns one image, (size, size, 3) bytes.
    pub fn image(&self, index: usize) -> &[u8] {
        let bytes = self.size * self.size * 3;
        &self.pixels()[index * bytes..][..bytes]
    }

    /// Returns a copy of some of the images, in the given order.
    ///
    /// # Panics
    /// When the set does not have one of the images.
    #[must_use]
    pub fn subset(&self, name: &str, images: &[u32]) -> Self {
        let pixels = images.iter().flat_map(|&image| self.image(image as usize)).copied().collect();
        let labels = images.iter().map(|&image| self.labels[image as usize]).collect();
        Self::new(name, self.size, self.classes.to_vec(), labels, pixels)
    }

    /// Returns BLAKE3 of one image's pixels, in hexadecimal.
    pub fn image_hash(&self, index: usize) -> String {
        blake3::hash(self.image(index)).to_hex().to_string()
    }

    /// Returns the images of each category, in order, by label.
    pub fn by_class(&self) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); self.classes.len()];
        for (image, &label) in self.labels.iter().enumerate() {
            members[label as usize].push(image as u32);
        }
        members
    }
}

/// Returns BLAKE3 over size, classes, labels and pixels; every part is preceded by its length. Each image is hashed
/// separately, on all cores, and the images' hashes are hashed in order.
pub fn content_hash(size: usize, classes: &[String], labels: &[u32], pixels: &[u8]) -> String {
    hash_of_hashes(size, classes, labels, &image_hashes(size, pixels))
}

/// Returns BLAKE3 of each image of `pixels` (N, size, size, 3).
pub fn image_hashes(size: usize, pixels: &[u8]) -> Vec<[u8; 32]> {
    pixels.par_chunks((size * size * 3).max(1)).map(|image| *blake3::hash(image).as_bytes()).collect()
}

/// Returns the [`content_hash`] from known hashes of the images, for example when a set is written image by image.
pub fn hash_of_hashes(size: usize, classes: &[String], labels: &[u32], images: &[[u8; 32]]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    part(&(size as u64).to_le_bytes());
    classes.iter().for_each(|class| part(class.as_bytes()));
    part(&labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<_>>());
    part(images.as_flattened());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(last: u8) -> ImageSet {
        let pixels = (0..23).chain([last]).collect();
        ImageSet::new("toy/train", 2, vec!["a".into(), "b".into()], vec![1, 0], pixels)
    }

    #[test]
    fn images_and_categories_are_found_and_the_hash_sees_every_byte() {
        assert_eq!(set(23).image(1), (12..24).collect::<Vec<u8>>());
        assert_eq!(set(23).by_class(), [vec![1], vec![0]]);
        assert_eq!(set(23).hash, set(23).hash);
        assert_ne!(set(23).hash, set(24).hash);
    }
}

//! Images with the objects in them, for detection. The images of a set may have different sizes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;

use super::decode::Picture;
use super::decode::Tags;
use super::decode::decode;
use super::image_set::Split;
use super::source_names::SourceNames;

/// One object in an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// The left, top, right and bottom edge of its box in pixels, from the top left corner of the image. The box of the
    /// first pixel alone is (0, 0, 1, 1).
    pub edges: [f32; 4],
    /// The position of its category in the set's list of categories.
    pub category: u32,
    /// Whether it is too hard to count as missed: a detection of it is neither right nor wrong.
    pub difficult: bool,
    /// Whether it continues beyond the edge of the image.
    pub truncated: bool,
    /// Whether something else hides a part of it.
    pub occluded: bool,
}

/// One image and its objects, as a set is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedImage {
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// RGB bytes (height, width, 3).
    pub pixels: Vec<u8>,
    /// Its objects.
    pub objects: Vec<Object>,
}

/// One image of a set whose images are encoded files in a memory map.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedImage {
    /// Rows of the decoded image.
    pub height: usize,
    /// Columns of the decoded image.
    pub width: usize,
    /// Where its file is in the map.
    pub file: Range<usize>,
    /// Its objects.
    pub objects: Vec<Object>,
}

/// One split of a detection dataset.
#[derive(Clone, Debug)]
pub struct AnnotatedSet {
    /// The dataset's name and split, such as `synth-voc/train`.
    pub name: String,
    /// The categories' names, by number.
    pub classes: Arc<[String]>,
    /// BLAKE3 of the categories, and of each image's size, objects and bytes (of its file, or of its pixels if it has no
    /// file), in hexadecimal: equal hashes mean equal sets.
    pub hash: String,
    images: Arc<[Place]>,
    objects: Arc<[Object]>,
    source: Source,
    names: Option<SourceNames>,
}

/// The size of an image, and where its bytes and objects are.
#[derive(Clone, Debug)]
struct Place {
    height: usize,
    width: usize,
    bytes: Range<usize>,
    objects: Range<usize>,
}

#[derive(Clone, Debug)]
enum Source {
    Pixels(Arc<[u8]>),
    /// A map with encoded files. Decoded, the photographs of PASCAL VOC take 12 GB.
    Files(Arc<Mmap>),
}

impl AnnotatedSet {
    /// Creates a set in memory.
    ///
    /// # Panics
    /// When an image has another number of pixels than its size says, or an object has no category.
    pub fn new(name: &str, classes: Vec<String>, images: Vec<AnnotatedImage>) -> Self {
        let mut pixels = Vec::new();
        let placed = images.into_iter().map(|image| {
            let AnnotatedImage { height, width, objects, pixels: own } = image;
            let bytes = own.len();
            assert!(bytes == height * width * 3, "{name}: {bytes} bytes for an image of {height}x{width}");
            pixels.extend(own);
            EncodedImage { height, width, file: pixels.len() - bytes..pixels.len(), objects }
        });
        let placed = placed.collect();
        let mut set = Self::checked(name, classes, String::new(), placed, Source::Pixels(pixels.into()));
        set.hash = set.content_hash();
        set
    }

    /// Creates a set whose images are encoded files in a memory map; `hash` is the one recorded when the map's file was
    /// written.
    ///
    /// # Panics
    /// When an object has no category.
    pub fn encoded(name: &str, classes: Vec<String>, hash: String, map: Arc<Mmap>, images: Vec<EncodedImage>) -> Self {
        Self::checked(name, classes, hash, images, Source::Files(map))
    }

    fn checked(name: &str, classes: Vec<String>, hash: String, images: Vec<EncodedImage>, source: Source) -> Self {
        let (mut places, mut objects) = (Vec::with_capacity(images.len()), Vec::new());
        for EncodedImage { height, width, file, objects: own } in images {
            let first = objects.len();
            objects.extend(own);
            places.push(Place { height, width, bytes: file, objects: first..objects.len() });
        }
        let categories = objects.iter().map(|object| object.category as usize);
        assert!(categories.max().is_none_or(|last| last < classes.len()), "{name}: an object without a category");
        Self {
            name: name.into(),
            classes: classes.into(),
            hash,
            images: places.into(),
            objects: objects.into(),
            source,
            names: None,
        }
    }

    /// Adds the names of the images in their source.
    #[must_use]
    pub fn with_names(mut self, names: SourceNames) -> Self {
        self.names = Some(names);
        self
    }

    /// Returns each image's name in its source, such as `VOC2007/JPEGImages/000005.jpg`, if names are known.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.names.as_ref()?.all()
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether the set has no images.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Returns the height and width of an image in pixels.
    pub fn size(&self, image: usize) -> (usize, usize) {
        (self.images[image].height, self.images[image].width)
    }

    /// Returns the objects in an image.
    pub fn objects(&self, image: usize) -> &[Object] {
        &self.objects[self.images[image].objects.clone()]
    }

    /// Returns the objects in all images.
    pub fn all_objects(&self) -> &[Object] {
        &self.objects
    }

    /// Returns the RGB bytes of an image, (height, width, 3). An encoded file is decoded, and turned upright if it has an
    /// orientation tag.
    ///
    /// # Errors
    /// When a file cannot be decoded, or not to its recorded size.
    pub fn pixels(&self, image: usize) -> Result<Cow<'_, [u8]>> {
        let bytes = self.bytes(image);
        if let Source::Pixels(_) = self.source {
            return Ok(bytes.into());
        }
        let failed = |what: String| {
            let set = self.name.split('/').next().unwrap_or_default();
            Error::new(format!("image {image} of {} cannot be decoded: {what}", self.name))
                .hint(format!("`sempair data verify {set}` checks its file; `sempair data import` writes it again"))
        };
        let Picture { height, width, pixels, .. } = decode(bytes, Tags::Applied).map_err(failed)?;
        match (height, width) == self.size(image) {
            true => Ok(pixels.into()),
            false => Err(failed(format!(
                "it has {width}x{height} pixels, not {1}x{0}",
                self.size(image).0,
                self.size(image).1
            ))),
        }
    }

    /// Returns BLAKE3 of each image's bytes. Hashes on all cores.
    pub fn image_hashes(&self) -> Vec<[u8; 32]> {
        (0..self.len()).into_par_iter().map(|image| *blake3::hash(self.bytes(image)).as_bytes()).collect()
    }

    fn bytes(&self, image: usize) -> &[u8] {
        let range = self.images[image].bytes.clone();
        match &self.source {
            Source::Pixels(bytes) => &bytes[range],
            Source::Files(map) => &map[range],
        }
    }

    fn content_hash(&self) -> String {
        let images = self.image_hashes();
        let image = |at: usize| (self.size(at), self.objects(at), images[at]);
        hash_of_hashes(&self.classes, (0..self.len()).map(image))
    }
}

impl Split for AnnotatedSet {
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
        self.content_hash() == self.hash
    }
}

/// Returns the hash of a set from its categories and, for each image, its height and width, its objects and BLAKE3 of
/// its bytes. Every part is preceded by its length.
pub fn hash_of_hashes<'a>(
    classes: &[String],
    images: impl Iterator<Item = ((usize, usize), &'a [Object], [u8; 32])>,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    classes.iter().for_each(|class| part(class.as_bytes()));
    for ((height, width), objects, hash) in images {
        part(&[height, width].map(|side| (side as u64).to_le_bytes()).concat());
        part(&objects.iter().flat_map(bytes_of).collect::<Vec<_>>());
        part(&hash);
    }
    hasher.finalize().to_hex().to_string()
}

fn bytes_of(object: &Object) -> Vec<u8> {
    let flags = [object.difficult, object.truncated, object.occluded].map(u8::from);
    let edges = object.edges.iter().flat_map(|edge| edge.to_le_bytes());
    edges.chain(object.category.to_le_bytes()).chain(flags).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(last: u8, right: f32) -> AnnotatedSet {
        let object = |category, right| Object {
            edges: [0.0, 0.0, right, 1.0],
            category,
            difficult: false,
            truncated: false,
            occluded: false,
        };
        let first = AnnotatedImage { height: 1, width: 2, pixels: (0..6).collect(), objects: vec![object(1, 2.0)] };
        let second = AnnotatedImage {
            height: 2,
            width: 1,
            pixels: (6..11).chain([last]).collect(),
            objects: vec![object(0, 1.0), object(1, right)],
        };
        AnnotatedSet::new("toy/train", vec!["a".into(), "b".into()], vec![first, second])
    }

    #[test]
    fn images_have_their_own_sizes_and_objects_and_the_hash_sees_all() {
        let toy = set(11, 1.0);
        assert_eq!((toy.len(), toy.size(0), toy.size(1)), (2, (1, 2), (2, 1)));
        assert_eq!(*toy.pixels(1).unwrap(), [6, 7, 8, 9, 10, 11]);
        assert_eq!(toy.objects(1).iter().map(|object| object.category).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(toy.all_objects().len(), 3);
        assert!(toy.is_unchanged());
        assert_eq!(set(11, 1.0).hash, toy.hash);
        assert_ne!(set(12, 1.0).hash, toy.hash);
        assert_ne!(set(11, 0.5).hash, toy.hash);
    }
}

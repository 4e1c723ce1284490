//! Images with the objects in them, for detection. The images of a set may have different sizes.

use std::ops::Range;
use std::sync::Arc;

/// One object in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
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

/// One split of a detection dataset.
#[derive(Clone, Debug)]
pub struct AnnotatedSet {
    /// The dataset's name and split, such as `synth-voc/train`.
    pub name: String,
    /// The categories' names, by number.
    pub classes: Arc<[String]>,
    /// BLAKE3 of the categories, and of each image's size, objects and pixels, in hexadecimal: equal hashes mean equal
    /// sets.
    pub hash: String,
    images: Arc<[Place]>,
    objects: Arc<[Object]>,
    pixels: Arc<[u8]>,
}

/// The size of an image, and where its pixels and objects are.
#[derive(Clone, Debug)]
struct Place {
    height: usize,
    width: usize,
    pixels: Range<usize>,
    objects: Range<usize>,
}

impl AnnotatedSet {
    /// Creates a set in memory.
    ///
    /// # Panics
    /// When an image has another number of pixels than its size says, or an object has no category.
    pub fn new(name: &str, classes: Vec<String>, images: Vec<AnnotatedImage>) -> Self {
        let (mut places, mut objects, mut pixels) = (Vec::new(), Vec::new(), Vec::new());
        for image in images {
            let AnnotatedImage { height, width, .. } = image;
            let bytes = image.pixels.len();
            assert!(bytes == height * width * 3, "{name}: {bytes} bytes for an image of {height}x{width}");
            let categories = image.objects.iter().map(|object| object.category as usize);
            assert!(categories.max().is_none_or(|last| last < classes.len()), "{name}: an object without a category");
            places.push(Place {
                height,
                width,
                pixels: pixels.len()..pixels.len() + bytes,
                objects: objects.len()..objects.len() + image.objects.len(),
            });
            objects.extend(image.objects);
            pixels.extend(image.pixels);
        }
        let hash = content_hash(&classes, &places, &objects, &pixels);
        Self {
            name: name.into(),
            classes: classes.into(),
            hash,
            images: places.into(),
            objects: objects.into(),
            pixels: pixels.into(),
        }
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

    /// Returns the RGB bytes of an image, (height, width, 3).
    pub fn pixels(&self, image: usize) -> &[u8] {
        &self.pixels[self.images[image].pixels.clone()]
    }
}

/// Returns BLAKE3 over categories and images; every part is preceded by its length.
fn content_hash(classes: &[String], images: &[Place], objects: &[Object], pixels: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    classes.iter().for_each(|class| part(class.as_bytes()));
    for image in images {
        part(&[image.height, image.width].map(|side| (side as u64).to_le_bytes()).concat());
        part(&objects[image.objects.clone()].iter().flat_map(bytes_of).collect::<Vec<_>>());
        part(&pixels[image.pixels.clone()]);
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
        assert_eq!(toy.pixels(1), [6, 7, 8, 9, 10, 11]);
        assert_eq!(toy.objects(1).iter().map(|object| object.category).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(set(11, 1.0).hash, toy.hash);
        assert_ne!(set(12, 1.0).hash, toy.hash);
        assert_ne!(set(11, 0.5).hash, toy.hash);
    }
}

//! Annotated datasets on disk. Images stay as encoded as they were in their source.
//!
//! A file has for each split the tensors `<split>.sizes` (N, 2; u32; height and width), `<split>.object_ends` (N; u64;
//! where each image's objects end among those of all images), `<split>.edges` (M, 4; f32), `<split>.categories` (M; u32),
//! `<split>.flags` (M, 3; bytes 0 or 1: difficult, truncated, occluded), `<split>.file_ends` (N; u64; where each image's
//! file ends), `<split>.file_hashes` (N, 32; BLAKE3 of each image's file), `<split>.names` (bytes; names in the source,
//! joined by newlines) and `<split>.files` (bytes; the images' files, one after the other).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

use safetensors::Dtype;

use crate::data::annotated;
use crate::data::annotated::AnnotatedSet;
use crate::data::annotated::EncodedImage;
use crate::data::annotated::Object;
use crate::data::image_set::Dataset;
use crate::data::source_names::SourceNames;
use crate::error::Error;
use crate::error::Result;

use super::ANNOTATED;
use super::Stored;
use super::again;
use super::file::{Facts, NO_HASH, NewFile, Tensors, Values};
use super::no_objects;

/// Opens an annotated dataset; its files stay on disk until they are used.
///
/// # Errors
/// When there is no such dataset, when its images have labels and no objects, or when the file is not as
/// [`AnnotatedWriter`] wrote it.
pub fn open_annotated(data_dir: &Path, name: &str) -> Result<Dataset<AnnotatedSet>> {
    let stored = Stored::of(data_dir, name)?;
    if stored.schema != ANNOTATED {
        return Err(no_objects(name));
    }
    sets_in(&stored, name).map_err(|error| error.hint(again(name)))
}

/// Returns the dataset in an open file.
pub(super) fn sets_in(stored: &Stored, name: &str) -> Result<Dataset<AnnotatedSet>> {
    let set = |split: String| {
        let columns = Columns { stored, split: &split };
        let images = columns.images()?;
        let names = stored.names(&split, images.len())?;
        let (hash, map) = (stored.hash(&split)?.to_owned(), stored.map.clone());
        let set = AnnotatedSet::encoded(&format!("{name}/{split}"), stored.classes.clone(), hash, map.clone(), images);
        Ok((split, set.with_names(SourceNames::new(map, names))))
    };
    let splits: BTreeMap<_, _> = stored.splits(".files").into_iter().map(set).collect::<Result<_>>()?;
    stored.dataset(name, splits)
}

/// The tensors of a split.
struct Columns<'a> {
    stored: &'a Stored,
    split: &'a str,
}

impl Columns<'_> {
    /// Returns the images, checked: nothing in a file that opens leads beyond it.
    fn images(&self) -> Result<Vec<EncodedImage>> {
        let (images, objects) = (self.length("sizes")?, self.length("edges")?);
        let sizes: Vec<[u32; 2]> = self.numbers("sizes", Dtype::U32, &[images, 2], u32::from_le_bytes)?;
        self.bytes("file_hashes", Dtype::U8, &[images, 32])?;
        let files = self.bytes("files", Dtype::U8, &[self.length("files")?])?;
        let of_files = self.ranges("file_ends", images, files.len())?;
        let of_objects = self.ranges("object_ends", images, objects)?;
        let objects = self.objects(objects)?;
        let image = |((size, file), own): (([u32; 2], Range<usize>), Range<usize>)| {
            let [height, width] = size.map(|side| side as usize);
            let objects = objects[own].to_vec();
            match objects.iter().all(|object| is_within(object, size)) {
                true => {
                    Ok(EncodedImage { height, width, file: files.start + file.start..files.start + file.end, objects })
                }
                false => Err(self.damaged("a box is not in its image")),
            }
        };
        sizes.into_iter().zip(of_files).zip(of_objects).map(image).collect()
    }

    fn objects(&self, count: usize) -> Result<Vec<Object>> {
        let edges: Vec<[f32; 4]> = self.numbers("edges", Dtype::F32, &[count, 4], f32::from_le_bytes)?;
        let categories: Vec<[u32; 1]> = self.numbers("categories", Dtype::U32, &[count], u32::from_le_bytes)?;
        let flags = &self.stored.map[self.bytes("flags", Dtype::U8, &[count, 3])?];
        let object = |((edges, [category]), flags): (([f32; 4], [u32; 1]), &[u8; 3])| {
            if category as usize >= self.stored.classes.len() {
                return Err(self.damaged(format!("category {category} of {}", self.stored.classes.len())));
            }
            if flags.iter().any(|&flag| flag > 1) {
                return Err(self.damaged("a flag is not 0 or 1"));
            }
            let [difficult, truncated, occluded] = flags.map(|flag| flag == 1);
            Ok(Object { edges, category, difficult, truncated, occluded })
        };
        edges.into_iter().zip(categories).zip(flags.as_chunks::<3>().0).map(object).collect()
    }

    /// Returns consecutive ranges from their ends, of which the last must be `end`.
    fn ranges(&self, name: &str, count: usize, end: usize) -> Result<Vec<Range<usize>>> {
        let ends: Vec<[u64; 1]> = self.numbers(name, Dtype::U64, &[count], u64::from_le_bytes)?;
        let mut from = 0;
        let range = |[to]: [u64; 1]| {
            let to = usize::try_from(to).ok().filter(|&to| (from..=end).contains(&to));
            let to = to.ok_or_else(|| self.damaged(format!("`{name}` does not ascend to {end}")))?;
            Ok(std::mem::replace(&mut from, to)..to)
        };
        let ranges = ends.into_iter().map(range).collect::<Result<_>>()?;
        if from == end { Ok(ranges) } else { Err(self.damaged(format!("`{name}` ends at {from}, not {end}"))) }
    }

    /// Returns the numbers of a tensor in groups of C, its last side (1 for a list).
    fn numbers<T: Copy + Default, const B: usize, const C: usize>(
        &self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        read: impl Fn([u8; B]) -> T,
    ) -> Result<Vec<[T; C]>> {
        let bytes = &self.stored.map[self.bytes(name, dtype, shape)?];
        let mut numbers = bytes.as_chunks::<B>().0.iter().map(|&bytes| read(bytes));
        let count = bytes.len() / B / C;
        Ok((0..count).map(|_| [(); C].map(|()| numbers.next().unwrap_or_default())).collect())
    }

    fn bytes(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Range<usize>> {
        self.stored.tensor(&format!("{}.{name}", self.split), dtype, shape)
    }

    fn length(&self, name: &str) -> Result<usize> {
        self.stored.length(&format!("{}.{name}", self.split))
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        self.stored.damaged(format!("{}: {what}", self.split))
    }
}

fn is_within(object: &Object, [height, width]: [u32; 2]) -> bool {
    let [left, top, right, bottom] = object.edges;
    let (width, height) = (width as f32, height as f32);
    0.0 <= left && left < right && right <= width && 0.0 <= top && top < bottom && bottom <= height
}

/// One split as it is known before its images are read.
pub struct SplitPlan {
    /// `train` or `test`.
    pub name: String,
    /// The names of the images in the source.
    pub names: Vec<String>,
    /// The number of bytes of each image's file.
    pub bytes: Vec<u64>,
    /// The number of objects in each image.
    pub objects: Vec<usize>,
}

/// An annotated dataset that is being written image by image, in any order. Its file appears under its name when it is
/// finished, or not at all.
pub struct AnnotatedWriter {
    file: NewFile,
    facts: Facts,
    splits: Vec<Split>,
}

struct Split {
    plan: SplitPlan,
    images: Vec<Written>,
    /// Where each image's file ends among those of the split.
    ends: Vec<u64>,
    /// Where the split's files begin in the file.
    start: u64,
}

#[derive(Clone, Default)]
struct Written {
    size: (usize, usize),
    objects: Vec<Object>,
    hash: [u8; 32],
}

impl AnnotatedWriter {
    /// Begins `<data_dir>/<name>.safetensors`.
    pub fn create(data_dir: &Path, facts: Facts, splits: Vec<SplitPlan>) -> Result<Self> {
        let file = NewFile::create(data_dir, &facts.name)?;
        let splits = splits.into_iter().map(|plan| Split {
            images: vec![Written::default(); plan.names.len()],
            ends: ends(plan.bytes.iter().copied()),
            start: 0,
            plan,
        });
        let mut writer = Self { file, facts, splits: splits.collect() };
        let (header, offsets) = writer.header(&vec![NO_HASH.into(); writer.splits.len()]);
        for (split, offset) in writer.splits.iter_mut().zip(offsets) {
            split.start = header.len() as u64 + offset;
        }
        Ok(writer)
    }

    /// Writes one image: its height and width, its objects, BLAKE3 of its file, and the file.
    ///
    /// # Panics
    /// When file or objects are not as many as planned, or there is no such split or position.
    pub fn put(
        &mut self,
        (split, position): (usize, usize),
        size: (usize, usize),
        objects: Vec<Object>,
        hash: [u8; 32],
        file: &[u8],
    ) -> Result<()> {
        let split = &mut self.splits[split];
        let planned = (split.plan.bytes[position], split.plan.objects[position]);
        let found = (file.len() as u64, objects.len());
        assert!(planned == found, "put: bytes and objects are {found:?}, not {planned:?}");
        let at = split.start + split.ends[position] - file.len() as u64;
        split.images[position] = Written { size, objects, hash };
        self.file.write_at(at, file)
    }

    /// Writes everything else, syncs the file, gives it its name and returns its path.
    pub fn finish(mut self) -> Result<PathBuf> {
        let hashes: Vec<String> = self.splits.iter().map(|split| split.content_hash(&self.facts.classes)).collect();
        let (mut head, _) = self.header(&hashes);
        let parts: [fn(&Split) -> Vec<u8>; 3] = [Split::longs, Split::words, Split::bytes];
        parts.iter().for_each(|part| self.splits.iter().for_each(|split| head.extend(part(split))));
        self.file.write_at(0, &head)?;
        self.file.publish()
    }

    /// Returns the header, preceded by its length, and the offset of each split's files among the tensors. Tensors of
    /// wide numbers come first, so that all are aligned.
    fn header(&self, hashes: &[String]) -> (Vec<u8>, Vec<u64>) {
        let mut tensors = Tensors::default();
        let mut add = |split: &Split, name: &str, values: Values, shape: &[usize]| {
            tensors.add(&format!("{}.{name}", split.plan.name), values, shape)
        };
        for split in &self.splits {
            add(split, "object_ends", Values::U64, &[split.images.len()]);
            add(split, "file_ends", Values::U64, &[split.images.len()]);
        }
        for split in &self.splits {
            let objects = split.plan.objects.iter().sum();
            add(split, "sizes", Values::U32, &[split.images.len(), 2]);
            add(split, "edges", Values::F32, &[objects, 4]);
            add(split, "categories", Values::U32, &[objects]);
        }
        for split in &self.splits {
            add(split, "flags", Values::U8, &[split.plan.objects.iter().sum(), 3]);
            add(split, "file_hashes", Values::U8, &[split.images.len(), 32]);
            add(split, "names", Values::U8, &[split.plan.names.join("\n").len()]);
        }
        let files = |split: &Split| add(split, "files", Values::U8, &[split.plan.bytes.iter().sum::<u64>() as usize]);
        let files = self.splits.iter().map(files).collect();
        let mut metadata = self.facts.metadata(ANNOTATED);
        for (split, hash) in self.splits.iter().zip(hashes) {
            metadata.insert(format!("{}.hash", split.plan.name), hash.clone().into());
        }
        (tensors.header(metadata), files)
    }
}

impl Split {
    fn content_hash(&self, classes: &[String]) -> String {
        let images = self.images.iter().map(|image| (image.size, image.objects.as_slice(), image.hash));
        annotated::hash_of_hashes(classes, images)
    }

    fn objects(&self) -> impl Iterator<Item = &Object> {
        self.images.iter().flat_map(|image| &image.objects)
    }

    fn longs(&self) -> Vec<u8> {
        let objects = ends(self.images.iter().map(|image| image.objects.len() as u64));
        [&objects[..], &self.ends].concat().into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn words(&self) -> Vec<u8> {
        let sizes = self.images.iter().flat_map(|image| [image.size.0, image.size.1].map(|side| side as u32));
        let edges = self.objects().flat_map(|object| object.edges).flat_map(f32::to_le_bytes);
        let categories = self.objects().flat_map(|object| object.category.to_le_bytes());
        sizes.flat_map(u32::to_le_bytes).chain(edges).chain(categories).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        let flags = |object: &Object| [object.difficult, object.truncated, object.occluded].map(u8::from);
        let hashes = self.images.iter().flat_map(|image| image.hash);
        let names = self.plan.names.join("\n").into_bytes();
        self.objects().flat_map(flags).chain(hashes).chain(names).collect()
    }
}

/// Returns the sums of the first 1, 2, .. numbers.
fn ends(lengths: impl Iterator<Item = u64>) -> Vec<u64> {
    lengths
        .scan(0, |end, length| {
            *end += length;
            Some(*end)
        })
        .collect()
}

//! Writing labelled images image by image, in any order, with only labels and hashes in memory.

use std::path::Path;
use std::path::PathBuf;

use crate::data::image_set;
use crate::error::Result;

use super::LABELLED;
use super::UNLABELED;
use super::file::{Facts, NO_HASH, NewFile, Tensors, Values};

/// The form of the images of a dataset.
pub struct Squares {
    /// Height and width in pixels.
    pub size: usize,
    /// The filter that resized them.
    pub resize: String,
}

/// A dataset of labelled images that is being written. Its file appears under its name when it is finished, or not at
/// all.
pub struct Writer {
    file: NewFile,
    facts: Facts,
    squares: Squares,
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

impl Writer {
    /// Begins `<data_dir>/<name>.safetensors`. Each split has its name, the names of its images in the source and their
    /// labels, if it has labels.
    pub fn create(
        data_dir: &Path,
        facts: Facts,
        squares: Squares,
        splits: Vec<(String, Vec<String>, Option<Vec<u32>>)>,
    ) -> Result<Self> {
        let file = NewFile::create(data_dir, &facts.name)?;
        let splits = splits.into_iter().map(|(name, names, labels)| Split {
            file_hashes: vec![[0; 32]; names.len()],
            pixel_hashes: vec![[0; 32]; names.len()],
            name,
            names,
            labels,
            pixels: 0,
        });
        let mut writer = Self { file, facts, squares, splits: splits.collect(), start: 0 };
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
        assert!(pixels.len() == 3 * self.squares.size.pow(2), "put: {} bytes are not one image", pixels.len());
        let split = &mut self.splits[split];
        if let (Some(labels), Some(label)) = (&mut split.labels, label) {
            labels[position] = label;
        }
        split.file_hashes[position] = file_hash;
        split.pixel_hashes[position] = pixel_hash;
        let at = self.start + split.pixels + position as u64 * pixels.len() as u64;
        self.file.write_at(at, pixels)
    }

    /// Writes everything else, syncs the file, gives it its name and returns its path.
    pub fn finish(mut self) -> Result<PathBuf> {
        let hashes: Vec<String> = self.splits.iter().map(|split| self.content_hash(split)).collect();
        let (mut head, _) = self.header(&hashes);
        for split in &self.splits {
            head.extend(split.labels.iter().flatten().flat_map(|label| label.to_le_bytes()));
        }
        self.file.write_at(0, &head)?;
        for i in 0..self.splits.len() {
            let split = &self.splits[i];
            let names = split.names.join("\n");
            let block =
                [split.file_hashes.as_flattened(), split.pixel_hashes.as_flattened(), names.as_bytes()].concat();
            self.file.write_at(self.start + split.pixels - block.len() as u64, &block)?;
        }
        self.file.publish()
    }

    fn content_hash(&self, split: &Split) -> String {
        let (size, hashes) = (self.squares.size, &split.pixel_hashes);
        match &split.labels {
            Some(labels) => image_set::hash_of_hashes(size, &self.facts.classes, labels, hashes),
            None => image_set::hash_of_hashes(size, &[UNLABELED.into()], &vec![0; hashes.len()], hashes),
        }
    }

    /// Returns the header, preceded by its length, and the offset of each split's pixels among the tensors. Labels come
    /// first, so that they are aligned.
    fn header(&self, hashes: &[String]) -> (Vec<u8>, Vec<u64>) {
        let mut tensors = Tensors::default();
        for split in self.splits.iter().filter(|split| split.labels.is_some()) {
            tensors.add(&format!("{}.labels", split.name), Values::U32, &[split.names.len()]);
        }
        let mut pixels = Vec::new();
        for Split { name, names, .. } in &self.splits {
            let (images, size) = (names.len(), self.squares.size);
            let bytes = names.iter().map(String::len).sum::<usize>() + images.saturating_sub(1);
            tensors.add(&format!("{name}.file_hashes"), Values::U8, &[images, 32]);
            tensors.add(&format!("{name}.pixel_hashes"), Values::U8, &[images, 32]);
            tensors.add(&format!("{name}.names"), Values::U8, &[bytes]);
            pixels.push(tensors.add(&format!("{name}.pixels"), Values::U8, &[images, size, size, 3]));
        }
        let mut metadata = self.facts.metadata(LABELLED);
        metadata.insert("size".into(), self.squares.size.to_string().into());
        metadata.insert("resize".into(), self.squares.resize.clone().into());
        for (split, hash) in self.splits.iter().zip(hashes) {
            metadata.insert(format!("{}.hash", split.name), hash.clone().into());
        }
        (tensors.header(metadata), pixels)
    }
}

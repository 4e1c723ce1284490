//! Importing image sets: CIFAR-10, CIFAR-100, STL-10, Tiny-ImageNet and folders, from directories and archives.
//!
//! First the source is listed, its layout is recognised by the names inside, and every image gets its place. Then the
//! source is read once more in its own order. Images are decoded on all cores in batches of bounded size and written to
//! their places in a temporary file, which gets its name at the very end. So the result depends only on the images, not
//! on the kind of source or the order inside it, and an import that fails leaves nothing.

mod cifar;
mod findings;
mod folder;
mod layout;
mod pixels;
mod plan;
mod source;
mod stl;
mod tar;
mod tiny;
mod zip;

use std::path::Path;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::data::catalog::is_embedded;
use crate::data::decode::DECODER;
use crate::data::image_set::Dataset;
use crate::data::store;
use crate::data::store::Facts;
use crate::data::store::Squares;
use crate::data::store::Writer;
use crate::error::Error;
use crate::error::Result;
use crate::error::shell;

use findings::Seen;
pub use plan::LeftOut;
use plan::Plan;
use plan::Records;
use plan::Task;
use source::Item;
use source::Source;

/// The supported sources. This is the hint of errors about sources that are not supported.
const UNDERSTOOD: &str = "`sempair data import PATH` reads CIFAR-10, CIFAR-100 and STL-10 (binary versions), \
    Tiny-ImageNet, and any folder with one directory of images per category (JPEG, PNG, BMP, GIF, WebP, TIFF or PPM; \
    `sempair data import PATH --size 64`), each as a directory, .tar, .tar.gz or .zip";

/// The maximum size in bytes of an encoded image.
const FILE_LIMIT: u64 = 64 << 20;

/// A batch is decoded when it has this many images or this many encoded bytes.
const BATCH_IMAGES: usize = 1024;
const BATCH_BYTES: usize = 32 << 20;

/// The maximum height and width that a user can choose.
const SIZE_LIMIT: usize = 1024;

/// The options of an import.
pub struct Options<'a> {
    /// The dataset's name; by default that of the layout (`cifar-10`) or of the folder.
    pub name: Option<String>,
    /// Height and width in pixels; by default the set's own, 64 for folders.
    pub size: Option<usize>,
    /// How the images may be used, in a few words, because archives do not state it.
    pub licence: Option<String>,
    /// Whether a dataset of the same name may be replaced.
    pub replace: bool,
    /// Called between members and batches. If it returns true, the import stops and removes what it wrote.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// The result of an import.
#[derive(Debug)]
pub struct Imported {
    /// The dataset, opened from its file.
    pub dataset: Dataset,
    /// The path of its file.
    pub path: PathBuf,
    /// The readable name of the recognised layout.
    pub layout: &'static str,
    /// The parts of the source that were not imported.
    pub left_out: Vec<LeftOut>,
    /// Findings that can make training or evaluation on it misleading.
    pub findings: Vec<String>,
}

/// Imports the dataset at `path` into `data_dir`. `progress` is called with the number of images that are done and
/// the total number. The first call comes after the source is listed; for a gzipped archive, listing takes one
/// decompression.
///
/// # Errors
/// When something is wrong with the source (the error names the source and the member), when there is a dataset of the
/// same name, when a write fails, or when the import is interrupted. In all these cases `data_dir` is unchanged.
pub fn import(path: &Path, options: &Options, data_dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<Imported> {
    if let Some(size) = options.size.filter(|size| !(1..=SIZE_LIMIT).contains(size)) {
        return Err(Error::new(format!("size {size} is not in 1..={SIZE_LIMIT}"))
            .hint("the paper uses 64: `sempair data import PATH --size 64`"));
    }
    let source = Source::list(path, options.cancelled)?;
    import_from(&source, options, data_dir, progress).map_err(|error| error.hint(source.hint()))
}

fn import_from(source: &Source, options: &Options, data_dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<Imported> {
    let path = &source.path;
    let plan = layout::plan(source)?;
    if plan.images() == 0 {
        let layout = plan.layout;
        return Err(Error::new(format!("{}: it has the layout of {layout}, but no images", path.display())));
    }
    let name = options.name.clone().unwrap_or_else(|| plan.name.clone());
    if is_embedded(&name) {
        let path = shell(&path.to_string_lossy());
        return Err(Error::new(format!("`{name}` is the name of an embedded set, which always exists"))
            .hint(format!("`sempair data import {path} --name my-{name}`")));
    }
    store::check_free(data_dir, &name, options.replace)?;
    let size = options.size.unwrap_or(plan.size);
    let facts = Facts {
        name: name.clone(),
        description: describe(&plan, size),
        licence: options.licence.as_deref().unwrap_or_default().trim().into(),
        classes: plan.classes.clone(),
        layout: plan.layout.into(),
        decoder: format!("{DECODER}, {}", pixels::RESIZER),
        source: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        source_blake3: source.hash(options.cancelled)?,
    };
    let splits = plan.splits.iter().map(|s| (s.name.clone(), s.names.clone(), s.labels.clone())).collect();
    let mut transfer = Transfer {
        source,
        plan: &plan,
        size,
        writer: Writer::create(data_dir, facts, Squares { size, resize: pixels::FILTER.into() }, splits)?,
        jobs: Vec::new(),
        bytes: 0,
        done: 0,
        seen: Vec::new(),
        cancelled: options.cancelled,
        progress,
    };
    source.visit(&mut |item| transfer.take(item))?;
    transfer.flush()?;
    if transfer.done != plan.images() {
        let what = format!("{} of {} images were found in the second pass", transfer.done, plan.images());
        return Err(Error::new(format!("{}: the source changed during the import: {what}", path.display())));
    }
    let file = transfer.writer.finish()?;
    let (left_out, findings) = (layout::left_out(&plan, source), findings::findings(&plan, transfer.seen));
    Ok(Imported { dataset: store::open(data_dir, &name)?, path: file, layout: plan.layout, left_out, findings })
}

/// The second pass over a source, which reads the images.
struct Transfer<'a> {
    source: &'a Source,
    plan: &'a Plan,
    size: usize,
    writer: Writer,
    jobs: Vec<Job>,
    bytes: usize,
    done: usize,
    seen: Vec<Seen>,
    cancelled: &'a dyn Fn() -> bool,
    progress: &'a dyn Fn(u64, u64),
}

/// One encoded image, and where its pixels are written. `place` is its name in messages.
struct Job {
    bytes: Vec<u8>,
    split: usize,
    position: usize,
    records: Option<Records>,
    place: String,
}

/// One decoded image. `label` is the label in its record, if the record has one.
struct Image {
    pixels: Vec<u8>,
    label: Option<u32>,
    pixel_hash: [u8; 32],
    file_hash: [u8; 32],
}

impl Transfer<'_> {
    fn take(&mut self, item: Item) -> Result<()> {
        match self.plan.tasks.get(&item.path) {
            None => Ok(()),
            Some(&Task::Image { split, position }) => self.take_image(item, split, position),
            Some(&Task::Records(records)) => self.take_records(item, records),
        }
    }

    fn take_image(&mut self, item: Item, split: usize, position: usize) -> Result<()> {
        if item.bytes > FILE_LIMIT {
            let what = format!("{} bytes are more than the {FILE_LIMIT} that are read", item.bytes);
            return Err(self.source.member_error(&item.path, what));
        }
        let bytes = self.source.read(&item.path, item.bytes, item.reader)?;
        self.push(Job { bytes, split, position, records: None, place: item.path })
    }

    fn take_records(&mut self, item: Item, records: Records) -> Result<()> {
        for record in 0..records.count {
            let mut bytes = vec![0; records.bytes()];
            let place = format!("{}: record {record}", item.path);
            item.reader.read_exact(&mut bytes).map_err(|error| self.source.member_error(&place, error))?;
            let position = records.first + record;
            self.push(Job { bytes, split: records.split, position, records: Some(records), place })?;
        }
        // Reading to the end also makes a zip check its checksum.
        match item.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.source.member_error(&item.path, "longer than its stated size")),
            Err(error) => Err(self.source.member_error(&item.path, error)),
        }
    }

    fn push(&mut self, job: Job) -> Result<()> {
        self.bytes += job.bytes.len();
        self.jobs.push(job);
        if self.jobs.len() == BATCH_IMAGES || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Decodes the batch on all cores and writes it. Reports the first bad image in the source's order.
    fn flush(&mut self) -> Result<()> {
        if (self.cancelled)() {
            return Err(stopped(&self.source.path));
        }
        let jobs = std::mem::take(&mut self.jobs);
        self.bytes = 0;
        let (size, classes) = (self.size, self.plan.classes.len());
        let images: Vec<Result<Image, String>> = jobs.par_iter().map(|job| decode(job, size, classes)).collect();
        for (job, image) in jobs.iter().zip(images) {
            let image = image.map_err(|what| self.source.member_error(&job.place, what))?;
            let hashes = (image.file_hash, image.pixel_hash);
            let listed = || self.plan.splits[job.split].labels.as_ref().map(|labels| labels[job.position]);
            let label = image.label.or_else(listed).unwrap_or_default();
            self.seen.push(Seen { picture: image.pixel_hash, split: job.split, label });
            self.writer.put(job.split, job.position, image.label, hashes, &image.pixels)?;
        }
        self.done += jobs.len();
        (self.progress)(self.done as u64, self.plan.images() as u64);
        Ok(())
    }
}

fn decode(job: &Job, size: usize, classes: usize) -> Result<Image, String> {
    let label = job.records.and_then(|records| records.label).map(|at| u32::from(job.bytes[at]));
    if let Some(label) = label.filter(|&label| label as usize >= classes) {
        return Err(format!("label {label}, but there are {classes} categories"));
    }
    let decoded = match &job.records {
        None => pixels::image(&job.bytes, size)?,
        Some(records) => pixels::record(&job.bytes, records, size)?,
    };
    let hash = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
    Ok(Image { label, pixel_hash: hash(&decoded), file_hash: hash(&job.bytes), pixels: decoded })
}

fn describe(plan: &Plan, size: usize) -> String {
    match size == plan.size {
        true => plan.description.clone(),
        false => format!("{}, at {size}x{size}", plan.description),
    }
}

fn stopped(path: &Path) -> Error {
    Error::interrupted(format!("{}: the import was stopped; no part of it is kept", path.display()))
        .hint(format!("start it again: `sempair data import {}`", shell(&path.to_string_lossy())))
}

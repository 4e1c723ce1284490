//! The import of labelled images: the second pass, which decodes and resizes them and writes their pixels.

use std::path::PathBuf;

use rayon::prelude::*;

use crate::data::store::Writer;
use crate::error::Error;
use crate::error::Result;

use super::batch::Batch;
use super::findings::Seen;
use super::findings::findings;
use super::pixels;
use super::plan::Plan;
use super::plan::Records;
use super::plan::Task;
use super::source::Item;
use super::source::Source;
use super::stopped;

/// The second pass over a source, which reads the images.
pub struct Transfer<'a> {
    source: &'a Source,
    plan: &'a Plan,
    size: usize,
    writer: Writer,
    batch: Batch<Job>,
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

impl<'a> Transfer<'a> {
    /// Reads the images of the source at this size, and returns the path of the file and findings.
    pub fn run(
        (source, plan): (&'a Source, &'a Plan),
        (size, writer): (usize, Writer),
        cancelled: &'a dyn Fn() -> bool,
        progress: &'a dyn Fn(u64, u64),
    ) -> Result<(PathBuf, Vec<String>)> {
        let (batch, done, seen) = Default::default();
        let mut transfer = Self { source, plan, size, writer, batch, done, seen, cancelled, progress };
        source.visit(&mut |item| transfer.take(item))?;
        transfer.flush()?;
        if transfer.done != plan.images() {
            let what = format!("{} of {} images were found in the second pass", transfer.done, plan.images());
            let place = source.path.display();
            return Err(Error::new(format!("{place}: the source changed during the import: {what}")));
        }
        Ok((transfer.writer.finish()?, findings(plan, transfer.seen)))
    }

    fn take(&mut self, item: Item) -> Result<()> {
        match self.plan.tasks.get(&item.path) {
            None => Ok(()),
            Some(&Task::Image { split, position }) => self.take_image(item, split, position),
            Some(&Task::Records(records)) => self.take_records(item, records),
        }
    }

    fn take_image(&mut self, item: Item, split: usize, position: usize) -> Result<()> {
        let place = item.path.clone();
        let bytes = self.source.read_image(item)?;
        self.push(Job { bytes, split, position, records: None, place })
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
        let bytes = job.bytes.len();
        if self.batch.push(job, bytes) { self.flush() } else { Ok(()) }
    }

    /// Decodes the batch on all cores and writes it. Reports the first bad image in the source's order.
    fn flush(&mut self) -> Result<()> {
        if (self.cancelled)() {
            return Err(stopped(&self.source.path));
        }
        let jobs = self.batch.take();
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

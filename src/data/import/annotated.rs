//! The import of annotated images: the plan, and the second pass, which checks each image against its annotation and
//! writes its file as it is.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::data::annotated::Object;
use crate::data::decode::Tags;
use crate::data::decode::decode;
use crate::data::store::AnnotatedWriter;
use crate::data::store::SplitPlan;
use crate::error::Error;
use crate::error::Result;

use super::batch::Batch;
use super::plan::LeftOut;
use super::plan::counted;
use super::source::Item;
use super::source::Source;
use super::stopped;
use super::voc_xml::SMALLEST;
use super::voc_xml::object_place;

/// The plan of a whole import, known before the first image is read. A member without a task is not read.
pub struct AnnotatedPlan {
    /// The readable name of the layout.
    pub layout: &'static str,
    /// The dataset's name, unless the user gives one.
    pub name: String,
    /// The dataset's description in reports.
    pub description: String,
    /// The years that its folders name, such as `2007`; empty if a folder names none.
    pub years: Vec<String>,
    /// The categories by number.
    pub classes: Vec<String>,
    /// The splits, in the order in which they are written.
    pub splits: Vec<AnnotatedSplit>,
    /// For each source, the splits and positions of the images that its members are.
    pub tasks: Vec<BTreeMap<String, Vec<(usize, usize)>>>,
    /// What is not imported, and why.
    pub left_out: Vec<LeftOut>,
    /// Findings that can make training or evaluation on it misleading.
    pub findings: Vec<String>,
}

/// One split of a plan.
pub struct AnnotatedSplit {
    /// `train` or `test`.
    pub name: String,
    /// Its images.
    pub images: Vec<PlannedImage>,
}

/// An image before it is read.
pub struct PlannedImage {
    /// Its name in the set.
    pub name: String,
    /// The size of its file.
    pub bytes: u64,
    /// Source and path of its annotation, for messages.
    pub annotation: String,
    /// The width and height that its annotation states.
    pub size: [Option<f64>; 2],
    /// Its objects.
    pub objects: Vec<PlannedObject>,
}

/// An object as it is annotated.
pub struct PlannedObject {
    /// The position of its category in the plan.
    pub category: u32,
    /// First column, first row, last column and last row, counted from 1.
    pub sides: [f64; 4],
    /// Whether it is difficult, truncated and occluded.
    pub flags: [bool; 3],
}

impl AnnotatedPlan {
    /// Returns the number of images in all splits.
    pub fn images(&self) -> usize {
        self.splits.iter().map(|split| split.images.len()).sum()
    }

    /// Returns the splits as the writer needs them.
    pub fn written(&self) -> Vec<SplitPlan> {
        let split = |AnnotatedSplit { name, images }: &AnnotatedSplit| SplitPlan {
            name: name.clone(),
            names: images.iter().map(|image| image.name.clone()).collect(),
            bytes: images.iter().map(|image| image.bytes).collect(),
            objects: images.iter().map(|image| image.objects.len()).collect(),
        };
        self.splits.iter().map(split).collect()
    }
}

/// Returns the error for two files of one name with different content.
pub fn differ(first: &str, other: &str) -> Error {
    Error::new(format!("{first} and {other} have the same name, but different content")).hint(
        "remove the wrong one; where they belong to different sets, rename the images of one, or import each set alone",
    )
}

/// The second pass over the sources, which reads the images.
pub struct Transfer<'a> {
    plan: &'a AnnotatedPlan,
    writer: AnnotatedWriter,
    batch: Batch<Job<'a>>,
    /// The place and hash of each image that was written, by split and position.
    written: BTreeMap<(usize, usize), (String, [u8; 32])>,
    unusual: Unusual,
    cancelled: &'a dyn Fn() -> bool,
    progress: &'a dyn Fn(u64, u64),
}

/// One encoded image, and where it belongs.
struct Job<'a> {
    bytes: Vec<u8>,
    source: &'a Source,
    path: String,
    places: &'a [(usize, usize)],
}

/// What is known of an image after it was decoded.
struct Checked {
    size: (usize, usize),
    turned: bool,
    hash: [u8; 32],
}

/// Numbers of what is unusual.
#[derive(Clone, Copy, Default)]
struct Unusual {
    /// Images that an orientation tag turns.
    turned: usize,
    /// Boxes that begin before the first column or row.
    early: usize,
    /// Boxes that end beyond the last column or row.
    beyond: usize,
}

impl<'a> Transfer<'a> {
    /// Reads the images of all sources, and returns the path of the file and findings.
    pub fn run(
        sources: &'a [Source],
        plan: &'a AnnotatedPlan,
        writer: AnnotatedWriter,
        cancelled: &'a dyn Fn() -> bool,
        progress: &'a dyn Fn(u64, u64),
    ) -> Result<(PathBuf, Vec<String>)> {
        let (batch, written, unusual) = Default::default();
        let mut transfer = Self { plan, writer, batch, written, unusual, cancelled, progress };
        for (source, tasks) in sources.iter().zip(&plan.tasks) {
            source.visit(&mut |item| match tasks.get(&item.path) {
                Some(places) => transfer.take(source, item, places),
                None => Ok(()),
            })?;
        }
        transfer.flush()?;
        if transfer.written.len() != plan.images() {
            let what = format!("{} of {} images were found in the second pass", transfer.written.len(), plan.images());
            let place = sources.first().map_or(String::new(), |source| source.path.display().to_string());
            return Err(Error::new(format!("{place}: the source changed during the import: {what}")));
        }
        let findings = transfer.findings();
        Ok((transfer.writer.finish()?, findings))
    }

    fn take(&mut self, source: &'a Source, item: Item, places: &'a [(usize, usize)]) -> Result<()> {
        let path = item.path.clone();
        let bytes = source.read_image(item)?;
        let length = bytes.len();
        if self.batch.push(Job { bytes, source, path, places }, length) { self.flush() } else { Ok(()) }
    }

    /// Decodes the batch on all cores and writes it. Reports the first bad image in the source's order.
    fn flush(&mut self) -> Result<()> {
        let jobs = self.batch.take();
        if let Some(job) = jobs.first().filter(|_| (self.cancelled)()) {
            return Err(stopped(&job.source.path));
        }
        let images: Vec<Result<Checked, String>> = jobs.par_iter().map(|job| check(&job.bytes)).collect();
        for (job, image) in jobs.iter().zip(images) {
            let image = image.map_err(|what| job.source.member_error(&job.path, what))?;
            for &place in job.places {
                self.write(job, &image, place)?;
            }
        }
        (self.progress)(self.written.len() as u64, self.plan.images() as u64);
        Ok(())
    }

    fn write(&mut self, job: &Job, image: &Checked, place: (usize, usize)) -> Result<()> {
        let own = format!("{}: {}", job.source.path.display(), job.path);
        match self.written.get(&place) {
            Some((_, hash)) if *hash == image.hash => return Ok(()),
            Some((other, _)) => return Err(differ(other, &own)),
            None => {}
        }
        let plan = self.plan;
        let planned = &plan.splits[place.0].images[place.1];
        let wrong = |what: String| Error::new(format!("{}: {what}", planned.annotation));
        has_size(planned.size, image).map_err(|what| wrong(what).hint(TURN_OR_CORRECT))?;
        let mut objects = Vec::with_capacity(planned.objects.len());
        for (at, object) in planned.objects.iter().enumerate() {
            let name = &plan.classes[object.category as usize];
            let placed = object.placed(image.size).map_err(|what| wrong(object_place(at, Some(name)) + &what))?;
            self.unusual.add(object, image.size);
            objects.push(placed);
        }
        self.unusual.turned += usize::from(image.turned);
        self.writer.put(place, image.size, objects, image.hash, &job.bytes)?;
        self.written.insert(place, (own, image.hash));
        Ok(())
    }

    fn findings(&self) -> Vec<String> {
        let mut splits: BTreeMap<[u8; 32], BTreeSet<usize>> = BTreeMap::new();
        for (place, (_, hash)) in &self.written {
            splits.entry(*hash).or_default().insert(place.0);
        }
        let in_several = splits.values().filter(|splits| splits.len() > 1).count();
        let Unusual { turned, early, beyond } = self.unusual;
        let named = [
            (
                early,
                "object",
                "whose box begins at 0 or before, as if the set counted from 0; the import counts from 1, as VOC does",
            ),
            (beyond, "object", "whose box leaves the image and is cut at its edge"),
            (turned, "image", "turned upright by an orientation tag; boxes are taken to be those of the upright image"),
            (in_several, "picture", "in more than one split: figures on them say nothing about new images"),
        ];
        let named = named.into_iter().filter(|(number, ..)| *number > 0);
        named.map(|(number, noun, what)| format!("{} {what}", counted(number, noun))).collect()
    }
}

impl Unusual {
    fn add(&mut self, object: &PlannedObject, (height, width): (usize, usize)) {
        let [left, top, right, bottom] = object.sides;
        self.early += usize::from(left < 1.0 || top < 1.0);
        self.beyond += usize::from(right > width as f64 || bottom > height as f64);
    }
}

impl PlannedObject {
    /// Returns the object with its box in edges, cut at those of the image: VOC's columns and rows are counted from 1,
    /// so only the first ones lose 1.
    fn placed(&self, (height, width): (usize, usize)) -> Result<Object, String> {
        let [left, top, right, bottom] = self.sides;
        let (height, width) = (height as f64, width as f64);
        let edges = [(left - 1.0).max(0.0), (top - 1.0).max(0.0), right.min(width), bottom.min(height)];
        if edges[2] - edges[0] < SMALLEST || edges[3] - edges[1] < SMALLEST {
            let sides = format!("xmin {left}, ymin {top}, xmax {right}, ymax {bottom}");
            return Err(format!("its box is outside of the image of {width}x{height} pixels: {sides}"));
        }
        let [difficult, truncated, occluded] = self.flags;
        let edges = edges.map(|edge| edge as f32);
        Ok(Object { edges, category: self.category, difficult, truncated, occluded })
    }
}

const TURN_OR_CORRECT: &str = "if the boxes fit the image, correct `size` or remove it; if not, the image was turned or \
    resized after it was annotated";

/// Checks the size that an annotation states.
fn has_size(stated: [Option<f64>; 2], image: &Checked) -> Result<(), String> {
    let (height, width) = image.size;
    let own = [width, height].map(|side| side as f64);
    let is = |own: [f64; 2]| stated.iter().zip(own).all(|(stated, own)| stated.is_none_or(|stated| stated == own));
    if is(own) {
        return Ok(());
    }
    let [stated_width, stated_height] = stated.map(|side| side.map_or("?".into(), |side| side.to_string()));
    let how = match (is([own[1], own[0]]), image.turned) {
        (true, true) => ": an orientation tag in its file turns it",
        (true, false) => ": width and height are swapped",
        (false, _) => "",
    };
    Err(format!("it is for an image of {stated_width}x{stated_height} pixels, but its image has {width}x{height}{how}"))
}

fn check(bytes: &[u8]) -> Result<Checked, String> {
    let picture = decode(bytes, Tags::Applied)?;
    let size = (picture.height, picture.width);
    Ok(Checked { size, turned: picture.turned, hash: *blake3::hash(bytes).as_bytes() })
}

//! Importing datasets from directories and archives: labelled images (CIFAR-10, CIFAR-100, STL-10, Tiny-ImageNet and
//! folders), and annotated images (PASCAL VOC).
//!
//! First the sources are listed, their layout is recognised by the names inside, and every image gets its place. Then
//! they are read once more in their own order. Images are decoded on all cores in batches of bounded size and written to
//! their places in a temporary file, which gets its name at the very end. So the result depends only on the images, not
//! on the kind of source or the order inside it, and an import that fails leaves nothing.

mod annotated;
mod batch;
mod cifar;
mod findings;
mod folder;
mod labelled;
mod layout;
mod left_out;
mod names;
mod pixels;
mod plan;
mod source;
mod stl;
mod tar;
mod tiny;
mod voc;
mod voc_files;
mod voc_xml;
pub(crate) mod zip;

use std::path::Path;
use std::path::PathBuf;

use crate::data::catalog::is_embedded;
use crate::data::decode::DECODER;
use crate::data::resize::{FILTER, RESIZER};
use crate::data::store;
use crate::data::store::AnnotatedWriter;
use crate::data::store::AnyDataset;
use crate::data::store::Facts;
use crate::data::store::Squares;
use crate::data::store::Writer;
use crate::error::Error;
use crate::error::Result;
use crate::error::shell;

use annotated::AnnotatedPlan;
use layout::Layout;
pub use plan::LeftOut;
use plan::Plan;
use source::Source;

/// The supported sources. This is the hint of errors about sources that are not supported.
const UNDERSTOOD: &str = "`sempair data import PATH` reads CIFAR-10, CIFAR-100 and STL-10 (binary versions), \
    Tiny-ImageNet, PASCAL VOC, and any folder with one directory of images per category (JPEG, PNG, BMP, GIF, WebP, \
    TIFF or PPM; `sempair data import PATH --size 64`), each as a directory, .tar, .tar.gz or .zip";

/// The maximum height and width that a user can choose.
const SIZE_LIMIT: usize = 1024;

/// The options of an import.
pub struct Options<'a> {
    /// The dataset's name; by default that of the layout (`cifar-10`) or of the folder.
    pub name: Option<String>,
    /// Height and width in pixels; by default the set's own, 64 for folders. Annotated images keep their own sizes.
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
    pub dataset: AnyDataset,
    /// The path of its file.
    pub path: PathBuf,
    /// The readable name of the recognised layout.
    pub layout: &'static str,
    /// The parts of the source that were not imported.
    pub left_out: Vec<LeftOut>,
    /// Findings that can make training or evaluation on it misleading.
    pub findings: Vec<String>,
}

/// Imports one dataset into `data_dir` from the sources at `paths`. Only annotated images may come from several.
/// `progress` is called with the number of images that are done and the total number. The first call comes after the
/// sources are listed; for a gzipped archive, listing takes one decompression.
///
/// # Errors
/// When something is wrong with a source (the error names the source and the member), when there is a dataset of the
/// same name, when a write fails, or when the import is interrupted. In all these cases `data_dir` is unchanged.
///
/// # Panics
/// When there is no path.
pub fn import(
    paths: &[impl AsRef<Path>],
    options: &Options,
    data_dir: &Path,
    progress: &dyn Fn(u64, u64),
) -> Result<Imported> {
    assert!(!paths.is_empty(), "import: no path");
    if let Some(size) = options.size.filter(|size| !(1..=SIZE_LIMIT).contains(size)) {
        return Err(Error::new(format!("size {size} is not in 1..={SIZE_LIMIT}"))
            .hint("the paper uses 64: `sempair data import PATH --size 64`"));
    }
    let sources: Vec<Source> =
        paths.iter().map(|path| Source::list(path.as_ref(), options.cancelled)).collect::<Result<_>>()?;
    let import = Import { sources: &sources, options, data_dir, progress };
    let imported = match layout::plan(&sources) {
        Ok(Layout::Labelled(plan)) => import.labelled(&plan),
        Ok(Layout::Annotated(plan)) => import.annotated(&plan),
        Err(error) => Err(error),
    };
    imported.map_err(|error| error.hint(sources[0].hint()))
}

/// An import whose sources are listed.
struct Import<'a> {
    sources: &'a [Source],
    options: &'a Options<'a>,
    data_dir: &'a Path,
    progress: &'a dyn Fn(u64, u64),
}

impl Import<'_> {
    fn labelled(&self, plan: &Plan) -> Result<Imported> {
        let (source, size) = (&self.sources[0], self.options.size.unwrap_or(plan.size));
        let name = self.name(plan.layout, plan.images(), &plan.name)?;
        let facts = Facts {
            description: describe(plan, size),
            decoder: format!("{DECODER}, {RESIZER}"),
            ..self.facts(&name, plan.layout, &plan.classes)?
        };
        let splits = plan.splits.iter().map(|s| (s.name.clone(), s.names.clone(), s.labels.clone())).collect();
        let squares = Squares { size, resize: FILTER.into() };
        let writer = Writer::create(self.data_dir, facts, squares, splits)?;
        let transfer = labelled::Transfer::run((source, plan), (size, writer), self.options.cancelled, self.progress);
        let (path, findings) = transfer?;
        let (dataset, left_out) = (store::open_any(self.data_dir, &name)?, left_out::left_out(plan, source));
        Ok(Imported { dataset, path, layout: plan.layout, left_out, findings })
    }

    fn annotated(&self, plan: &AnnotatedPlan) -> Result<Imported> {
        if let Some(size) = self.options.size {
            let what = format!("annotated images keep their own sizes, so they cannot be imported at {size}x{size}");
            return Err(Error::new(what).hint("leave out `--size`"));
        }
        let name = self.name(plan.layout, plan.images(), &plan.name)?;
        let facts = Facts {
            description: plan.description.clone(),
            decoder: DECODER.into(),
            ..self.facts(&name, plan.layout, &plan.classes)?
        };
        let writer = AnnotatedWriter::create(self.data_dir, facts, plan.written())?;
        let (cancelled, progress) = (self.options.cancelled, self.progress);
        let (path, found) = annotated::Transfer::run(self.sources, plan, writer, cancelled, progress)?;
        let findings = plan.findings.iter().cloned().chain(other_year(&name, &plan.years)).chain(found).collect();
        let dataset = store::open_any(self.data_dir, &name)?;
        Ok(Imported { dataset, path, layout: plan.layout, left_out: plan.left_out.clone(), findings })
    }

    /// Returns the dataset's name, and checks that it is free and that there are images.
    fn name(&self, layout: &str, images: usize, default: &str) -> Result<String> {
        let path = &self.sources[0].path;
        if images == 0 {
            return Err(Error::new(format!("{}: it has the layout of {layout}, but no images", path.display())));
        }
        let name = self.options.name.clone().unwrap_or_else(|| default.to_owned());
        if is_embedded(&name) {
            let path = shell(&path.to_string_lossy());
            return Err(Error::new(format!("`{name}` is the name of an embedded set, which always exists"))
                .hint(format!("`sempair data import {path} --name my-{name}`")));
        }
        store::check_free(self.data_dir, &name, self.options.replace)?;
        Ok(name)
    }

    /// Returns what is known of any dataset; description and decoder are empty.
    fn facts(&self, name: &str, layout: &str, classes: &[String]) -> Result<Facts> {
        let own = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let hashes: Vec<Option<String>> =
            self.sources.iter().map(|source| source.hash(self.options.cancelled)).collect::<Result<_>>()?;
        Ok(Facts {
            name: name.into(),
            description: String::new(),
            licence: self.options.licence.as_deref().unwrap_or_default().trim().into(),
            classes: classes.to_vec(),
            layout: layout.into(),
            decoder: String::new(),
            source: self.sources.iter().map(|source| own(&source.path)).collect::<Vec<_>>().join(", "),
            source_blake3: hashes.into_iter().collect::<Option<Vec<_>>>().map(|hashes| hashes.join(", ")),
        })
    }
}

/// Returns a sentence if a name states another year than the folders of VOC.
fn other_year(name: &str, years: &[String]) -> Option<String> {
    let digits =
        name.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() == 4 && digits.starts_with("20"))?;
    let other = !years.is_empty() && !years.iter().any(|year| year == digits);
    other.then(|| format!("the set is named `{name}`, but its images are of VOC{}", years.join(" and VOC")))
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

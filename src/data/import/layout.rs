//! Recognises the layout of the sources of an import.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::error::Result;

use super::UNDERSTOOD;
use super::annotated::AnnotatedPlan;
use super::cifar;
use super::folder;
use super::plan::Plan;
use super::plan::counted;
use super::source::Source;
use super::stl;
use super::tiny;
use super::voc;

/// The plan of an import, by the kind of its images.
pub enum Layout {
    /// Images with a label each, in one source.
    Labelled(Plan),
    /// Images with objects, in any number of sources.
    Annotated(AnnotatedPlan),
}

/// Plans the import by the names in the sources.
///
/// # Errors
/// If no layout fits, or if one fits but a part of it is missing or wrong.
pub fn plan(sources: &[Source]) -> Result<Layout> {
    if let Some(plan) = voc::plan(sources)? {
        return Ok(Layout::Annotated(plan));
    }
    if let [source] = sources {
        for plan in [cifar::plan, stl::plan, tiny::plan, folder::plan] {
            if let Some(plan) = plan(source)? {
                return Ok(Layout::Labelled(plan));
            }
        }
    }
    voc::refuse_without_lists(sources)?;
    match sources {
        [source] => Err(unknown(source)),
        several => {
            let what = "only sources with PASCAL VOC's layout are imported together";
            Err(Error::new(format!("{}: {what}", voc::places(several)))
                .hint("`sempair data import PATH` imports one set of labelled images"))
        }
    }
}

fn unknown(source: &Source) -> Error {
    let names: BTreeSet<&str> = source.files.keys().map(String::as_str).collect();
    let has = |name: &str| names.iter().any(|path| path.rsplit('/').next() == Some(name));
    let shown: Vec<&str> = names.iter().take(4).copied().collect();
    let more = if names.len() > shown.len() { ", .." } else { "" };
    let found = format!("{} ({}{more})", counted(names.len(), "file"), shown.join(", "));
    let guess = if has("data_batch_1") || has("batches.meta") || has("meta") && has("train") {
        "; this looks like the Python version of CIFAR, of which only the binary version is read"
    } else if has("train.mat") || has("data_batch_1.mat") {
        "; this looks like a Matlab version, of which only the binary version is read"
    } else if source.directories.iter().any(|path| path.ends_with("Annotations")) {
        "; this looks like a detection set, which has no category per image"
    } else {
        ""
    };
    Error::new(format!("{}: no known layout: found {found}{guess}", source.path.display())).hint(UNDERSTOOD)
}

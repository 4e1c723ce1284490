//! Recognises the layout of a source, and lists what the layout leaves out.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::error::Result;

use super::UNDERSTOOD;
use super::cifar;
use super::folder;
use super::plan::LeftOut;
use super::plan::Plan;
use super::plan::counted;
use super::plan::grouped;
use super::source::Source;
use super::source::basename;
use super::stl;
use super::tiny;

/// Plans the import by the names in the source.
///
/// # Errors
/// If no layout fits, or if one fits but a part of it is missing or wrong.
pub fn plan(source: &Source) -> Result<Plan> {
    for plan in [cifar::plan, stl::plan, tiny::plan, folder::plan] {
        if let Some(plan) = plan(source)? {
            return Ok(plan);
        }
    }
    Err(unknown(source))
}

/// Returns the files of the source that are not imported. Lists that layouts read are not among them.
pub fn left_out(plan: &Plan, source: &Source) -> Vec<LeftOut> {
    let left = source.files.keys().filter(|path| !plan.tasks.contains_key(*path) && !source.is_text(path));
    let (images, others): (Vec<&String>, Vec<&String>) = left.partition(|path| folder::is_image(path));
    let in_unlabelled = |path: &&String| plan.unlabelled.as_ref().is_some_and(|place| path.starts_with(place));
    let (unlabelled, strays): (Vec<&String>, Vec<&String>) = images.into_iter().partition(in_unlabelled);
    let place = plan.unlabelled.as_deref().unwrap_or_default();
    let endings: BTreeSet<String> = others.iter().map(|path| ending(path)).collect();
    let endings = endings.into_iter().collect::<Vec<_>>().join(", ");
    let stray = strays.first().map_or("", |path| path.as_str());
    let named = [
        (
            unlabelled.len(),
            format!("{} of {place}, whose categories are not known", counted(unlabelled.len(), "image")),
        ),
        (strays.len(), format!("{} outside of the layout, such as {stray}", counted(strays.len(), "image"))),
        (others.len(), format!("{} ({endings})", counted(others.len(), "other file"))),
        (source.hidden, format!("{} hidden (a name that begins with a dot, or __MACOSX)", grouped(source.hidden))),
    ];
    named.into_iter().filter(|(files, _)| *files > 0).map(|(files, what)| LeftOut { files, what }).collect()
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

/// Returns the extension of a path, such as `.txt`, or the file name if it has none.
fn ending(path: &str) -> String {
    let name = basename(path);
    name.rsplit_once('.').map_or_else(|| name.to_string(), |(_, ending)| format!(".{}", ending.to_lowercase()))
}

//! The files of a source that an import leaves out, counted by kind.

use std::collections::BTreeSet;

use super::folder::is_image;
use super::names::basename;
use super::names::is_list;
use super::plan::LeftOut;
use super::plan::Plan;
use super::plan::counted;
use super::plan::grouped;
use super::source::Source;

/// Returns the files of the source that are not imported. Lists that layouts read are not among them.
pub fn left_out(plan: &Plan, source: &Source) -> Vec<LeftOut> {
    let left = source.files.keys().filter(|path| !plan.tasks.contains_key(*path) && !is_list(path));
    let place = plan.unlabelled.as_deref().unwrap_or_default();
    let in_unlabelled = |path: &&str| plan.unlabelled.is_some() && is_image(path) && path.starts_with(place);
    let (unlabelled, rest): (Vec<&str>, Vec<&str>) = left.map(String::as_str).partition(in_unlabelled);
    let what = format!("{} of {place}, whose categories are not known", counted(unlabelled.len(), "image"));
    let unlabelled = (!unlabelled.is_empty()).then_some(LeftOut { files: unlabelled.len(), what });
    unlabelled.into_iter().chain(others(&rest, source.hidden)).collect()
}

/// Describes files that the layout does not have, and hidden ones.
pub fn others(files: &[&str], hidden: usize) -> Vec<LeftOut> {
    let (strays, others): (Vec<&str>, Vec<&str>) = files.iter().copied().partition(|path| is_image(path));
    let endings: BTreeSet<String> = others.iter().map(|path| ending(path)).collect();
    let endings = endings.into_iter().collect::<Vec<_>>().join(", ");
    let stray = strays.first().copied().unwrap_or_default();
    let named = [
        (strays.len(), format!("{} outside of the layout, such as {stray}", counted(strays.len(), "image"))),
        (others.len(), format!("{} ({endings})", counted(others.len(), "other file"))),
        (hidden, format!("{} hidden (a name that begins with a dot, or __MACOSX)", grouped(hidden))),
    ];
    named.into_iter().filter(|(files, _)| *files > 0).map(|(files, what)| LeftOut { files, what }).collect()
}

/// Returns the extension of a path, such as `.txt`, or the file name if it has none.
fn ending(path: &str) -> String {
    let name = basename(path);
    name.rsplit_once('.').map_or_else(|| name.to_string(), |(_, ending)| format!(".{}", ending.to_lowercase()))
}

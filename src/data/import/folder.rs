//! Any folder with one directory of images per category, as ImageNet is usually kept; above the categories there may
//! be directories that name splits.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use crate::error::Error;
use crate::error::Result;

use super::plan::Plan;
use super::plan::Split;
use super::plan::Task;
use super::plan::counted;
use super::plan::grouped;
use super::source::Source;
use super::source::basename;

/// Directories with these names, all of them at one level, are splits; the validation images are the split `test`
/// where there is no other.
const SPLITS: [(&str, &str); 5] =
    [("train", "train"), ("test", "test"), ("val", "val"), ("valid", "val"), ("validation", "val")];

const SIZE: usize = 64;

/// Whether a member's name says that it is an image which we read.
pub fn is_image(path: &str) -> bool {
    let extension = basename(path).rsplit_once('.').map_or("", |(_, extension)| extension);
    ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The plan, where the source has images in directories.
pub fn plan(source: &Source) -> Result<Option<Plan>> {
    let images: Vec<&str> = source.files.keys().map(String::as_str).filter(|path| is_image(path)).collect();
    let detection = source.directories.iter().any(|path| basename(path) == "Annotations");
    if images.is_empty() || detection {
        return Ok(None);
    }
    let root = common_root(&images);
    let in_root = |path: &&str| path.len() > root.len() && path.starts_with(&root);
    let directories: Vec<&str> = source.directories.iter().map(String::as_str).filter(in_root).collect();
    let mut found: BTreeMap<&str, Vec<Placed>> = BTreeMap::new();
    let by_split = splits_are_named(source, &root, &images)?;
    let place = |path| place(&root, by_split, path);
    for path in images.iter().copied() {
        let Some(placed) = place(path).filter(|placed| placed.depth > 0) else {
            return Err(source.member_error(path, "an image that is in no category's directory"));
        };
        found.entry(placed.split).or_default().push(placed);
    }
    let filled: BTreeSet<(&str, &str)> = found.values().flatten().map(|p| (p.split, p.category)).collect();
    for directory in directories {
        let empty = place(directory).filter(|p| p.depth == 0 && !filled.contains(&(p.split, p.category)));
        if empty.is_some() {
            return Err(source.member_error(directory, "the category has no JPEG or PNG image"));
        }
    }
    Ok(Some(lay_out(source, &root, found)))
}

/// Where a path belongs. `depth`: how many parts it has below the category's directory.
struct Placed<'s> {
    path: &'s str,
    split: &'static str,
    category: &'s str,
    depth: usize,
}

/// The longest directory (with a final `/`, or empty) that holds all images and leaves each a directory of its own.
fn common_root(images: &[&str]) -> String {
    // The paths are sorted, so what the first and the last share, all share.
    let parts = |path: &'_ &str| path.split('/').map(String::from).collect::<Vec<_>>();
    let (Some(first), Some(last)) = (images.first().map(parts), images.last().map(parts)) else {
        return String::new();
    };
    let shared = first.iter().zip(&last).take_while(|(a, b)| a == b).count();
    let shallowest = images.iter().map(|path| path.matches('/').count()).min().unwrap_or(0);
    // With one category alone, its directory is shared by all images, too.
    let keep = shared.min(shallowest.saturating_sub(1));
    first[..keep].iter().map(|part| format!("{part}/")).collect()
}

fn split_named(directory: &str) -> Option<&'static str> {
    SPLITS.iter().find(|(name, _)| *name == directory).map(|(_, split)| *split)
}

/// Whether the directories below the root are splits. Some of them alone is an error: `train` may also be a category.
fn splits_are_named(source: &Source, root: &str, images: &[&str]) -> Result<bool> {
    let below: Vec<(&str, usize)> = images
        .iter()
        .filter_map(|path| path[root.len()..].split_once('/'))
        .map(|(top, rest)| (top, rest.matches('/').count()))
        .collect();
    let named = |(top, depth): &(&str, usize)| split_named(top).is_some() && *depth > 0;
    if below.iter().all(named) {
        return Ok(!below.is_empty());
    }
    let (Some((split, _)), Some((other, _))) =
        (below.iter().find(|image| named(image)), below.iter().find(|(top, _)| split_named(top).is_none()))
    else {
        return Ok(false);
    };
    let what = format!("both `{split}`, which names a split, and `{other}`, which does not, hold images");
    let place = if root.is_empty() { source.path.display().to_string() } else { root.to_string() };
    Err(Error::new(format!("{place}: {what}"))
        .hint("import the directory that holds one directory per category, as in `sempair data import PATH/train`"))
}

fn place<'s>(root: &str, by_split: bool, path: &'s str) -> Option<Placed<'s>> {
    let mut parts = path[root.len()..].split('/');
    let split = match by_split {
        true => split_named(parts.next()?)?,
        false => root_split(root),
    };
    let category = parts.next()?;
    Some(Placed { path, split, category, depth: parts.count() })
}

/// A source that has the one directory `val` alone is a validation set, not a training set.
fn root_split(root: &str) -> &'static str {
    split_named(basename(root.trim_end_matches('/'))).unwrap_or("train")
}

fn lay_out(source: &Source, root: &str, found: BTreeMap<&str, Vec<Placed>>) -> Plan {
    let classes: BTreeSet<&str> = found.values().flatten().map(|placed| placed.category).collect();
    let labels: HashMap<&str, u32> = classes.iter().enumerate().map(|(label, class)| (*class, label as u32)).collect();
    let (mut splits, mut tasks) = (Vec::new(), HashMap::new());
    let only_validation = found.contains_key("val") && !found.contains_key("test");
    for (name, images) in &found {
        let name = if *name == "val" && only_validation { "test" } else { name };
        for (position, placed) in images.iter().enumerate() {
            tasks.insert(placed.path.to_string(), Task::Image { split: splits.len(), position });
        }
        let names = images.iter().map(|placed| placed.path[root.len()..].to_string()).collect();
        let labels = images.iter().map(|placed| labels[placed.category]).collect();
        splits.push(Split { name: name.into(), names, labels: Some(labels) });
    }
    let counts: Vec<String> = splits.iter().map(|s| format!("{} {}", grouped(s.names.len()), s.name)).collect();
    let images = splits.iter().map(|split| split.names.len()).sum();
    let categories =
        if classes.len() == 1 { "1 category".into() } else { format!("{} categories", grouped(classes.len())) };
    Plan {
        layout: "one directory per category",
        name: default_name(source, root),
        description: format!("{} of {categories} ({})", counted(images, "image"), counts.join(", ")),
        size: SIZE,
        classes: classes.into_iter().map(String::from).collect(),
        splits,
        tasks,
    }
}

/// The innermost directory that holds all and is no split, or else the source's own name.
fn default_name(source: &Source, root: &str) -> String {
    let inner = root.split('/').rfind(|part| !part.is_empty() && split_named(part).is_none());
    let stem = source.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = inner.map(String::from).or(stem).unwrap_or_default().to_lowercase();
    let name = [".zip", ".gz", ".tgz", ".tar"].iter().fold(name.as_str(), |n, end| n.strip_suffix(end).unwrap_or(n));
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    match safe.trim_matches('-') {
        "" => "images".into(),
        name => name.into(),
    }
}

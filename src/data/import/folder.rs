//! Any folder with one directory of images per category, as ImageNet is usually stored. Directories that name splits
//! may be above the categories or within each category.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use crate::error::Error;
use crate::error::Result;

use super::names::basename;
use super::plan::Plan;
use super::plan::Split;
use super::plan::Task;
use super::plan::counted;
use super::plan::grouped;
use super::source::Source;

/// Directories with these names, in upper or lower case, are splits if all directories at their level have such
/// names. The validation images are the split `test` if there is no other split `test`.
const SPLITS: [(&str, &str); 9] = [
    ("train", "train"),
    ("training", "train"),
    ("ilsvrc2012_img_train", "train"),
    ("test", "test"),
    ("testing", "test"),
    ("val", "val"),
    ("valid", "val"),
    ("validation", "val"),
    ("ilsvrc2012_img_val", "val"),
];

/// File extensions of images that are read.
const READ: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "pbm"];

/// File extensions of images that are not read.
const NOT_READ: [&str; 22] = [
    "heic", "heif", "avif", "jp2", "j2k", "jpx", "jxl", "tga", "psd", "svg", "exr", "hdr", "dng", "cr2", "cr3", "nef",
    "arw", "orf", "rw2", "raf", "ico", "dcm",
];

const SIZE: usize = 64;

/// Whether a member's name has the extension of an image that is read.
pub fn is_image(path: &str) -> bool {
    has_ending(path, &READ)
}

fn has_ending(path: &str, endings: &[&str]) -> bool {
    let extension = basename(path).rsplit_once('.').map_or("", |(_, extension)| extension);
    endings.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Returns the plan, if the source has images in directories.
pub fn plan(source: &Source) -> Result<Option<Plan>> {
    let images: Vec<&str> = source.files.keys().map(String::as_str).filter(|path| is_image(path)).collect();
    let detection = source.directories.iter().any(|path| basename(path) == "Annotations");
    if images.is_empty() || detection {
        return Ok(None);
    }
    refuse_unread(source)?;
    let root = common_root(&images);
    let shape = Shape::of(source, &root, &images)?;
    let mut found: BTreeMap<&str, Vec<Placed>> = BTreeMap::new();
    for path in images.iter().copied() {
        let Some(placed) = shape.place(&root, path).filter(|placed| placed.depth > 0) else {
            return Err(source.member_error(path, "the image is not in the directory of a category"));
        };
        found.entry(placed.split).or_default().push(placed);
    }
    refuse_empty(source, &root, shape, &found)?;
    refuse_doubtful(source, &found)?;
    Ok(Some(lay_out(source, &root, found)))
}

/// Returns an error if there are images in formats that are not read. They may be half of a category, so they are not
/// skipped.
fn refuse_unread(source: &Source) -> Result<()> {
    let mut unread = source.files.keys().filter(|path| has_ending(path, &NOT_READ));
    let Some(first) = unread.next() else { return Ok(()) };
    let what = match unread.count() {
        0 => "an image in a format that is not read".to_string(),
        more => format!("an image in a format that is not read, and {} more", grouped(more)),
    };
    Err(source
        .member_error(first, what)
        .hint("convert them to PNG, or remove them, and run `sempair data import DIRECTORY`"))
}

/// The level of the directories that name splits.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// `category/image`: no directory names a split.
    Plain,
    /// `split/category/image`.
    Above,
    /// `category/split/image`.
    Within,
}

/// Where a path belongs. `depth` is the number of its parts below the category's directory, or below the split's
/// directory in it.
struct Placed<'s> {
    path: &'s str,
    split: &'static str,
    category: &'s str,
    depth: usize,
}

impl Shape {
    /// Returns the shape of the directories below `root`. It is an error if only some names of a level name splits:
    /// `train` may also be a category, and a split must not become a category.
    fn of(source: &Source, root: &str, images: &[&str]) -> Result<Self> {
        let tops = Directories::at(0, root, images);
        match (tops.splits.is_empty(), tops.others.is_empty()) {
            (false, true) => {
                tops.refuse_flat(source, root)?;
                tops.refuse_twice(source, root)?;
                return Ok(Self::Above);
            }
            // A directory `train` that has images directly in it, next to other directories, is a category:
            // pictures of trains.
            (false, false) if tops.splits.values().all(|top| top.deepest == 0) => {}
            (false, false) => return Err(tops.mixed(source, root)),
            (true, _) => {}
        }
        let within = Directories::at(1, root, images);
        match (within.splits.is_empty(), within.others.is_empty()) {
            (true, _) => Ok(Self::Plain),
            (false, true) => {
                within.refuse_twice(source, root)?;
                Ok(Self::Within)
            }
            (false, false) => Err(within.mixed(source, root)),
        }
    }

    fn place<'s>(self, root: &str, path: &'s str) -> Option<Placed<'s>> {
        let mut parts = path[root.len()..].split('/');
        let (split, category) = match self {
            Self::Plain => (root_split(root), parts.next()?),
            Self::Above => (split_named(parts.next()?)?, parts.next()?),
            Self::Within => {
                let category = parts.next()?;
                // The path of a category's own directory has no part for the split; it counts as `train`.
                (parts.next().map_or(Some("train"), split_named)?, category)
            }
        };
        Some(Placed { path, split, category, depth: parts.count() })
    }
}

/// The directories with images at one level below the root: those that name splits, and the others. Images above this
/// level are among the others, with their own names.
struct Directories<'s> {
    splits: BTreeMap<&'s str, Top>,
    others: BTreeSet<&'s str>,
}

#[derive(Default)]
struct Top {
    /// Number of images directly in it.
    flat: usize,
    /// Number of directories between it and its deepest image.
    deepest: usize,
}

impl<'s> Directories<'s> {
    fn at(level: usize, root: &str, images: &[&'s str]) -> Self {
        let mut found = Self { splits: BTreeMap::new(), others: BTreeSet::new() };
        for path in images {
            let parts: Vec<&str> = path[root.len()..].split('/').collect();
            match parts.get(level) {
                Some(name) if level + 1 < parts.len() && split_named(name).is_some() => {
                    let top = found.splits.entry(name).or_default();
                    let below = parts.len() - level - 2;
                    top.flat += usize::from(below == 0);
                    top.deepest = top.deepest.max(below);
                }
                Some(name) => drop(found.others.insert(name)),
                None => drop(found.others.insert(parts[parts.len() - 1])),
            }
        }
        found
    }

    /// Returns an error if a split has images that are not in the directory of a category.
    fn refuse_flat(&self, source: &Source, root: &str) -> Result<()> {
        let Some((name, top)) = self.splits.iter().find(|(_, top)| top.flat > 0) else { return Ok(()) };
        let what = format!("it names a split, but has {} outside of category directories", counted(top.flat, "image"));
        let error = source.member_error(&format!("{root}{name}"), what);
        let sorted = self.splits.iter().find(|(_, top)| top.flat == 0).map(|(name, _)| *name);
        Err(error.hint(match sorted {
            Some(sorted) => format!(
                "sort them into one directory per category, or import `{sorted}` alone, unpacked: \
                 `sempair data import DIRECTORY/{sorted}`"
            ),
            None => "sort them into one directory per category, and run `sempair data import DIRECTORY`".to_string(),
        }))
    }

    /// Returns an error if two directories name the same split, such as `val` and `valid`.
    fn refuse_twice(&self, source: &Source, root: &str) -> Result<()> {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        for name in self.splits.keys() {
            if let Some(other) = split_named(name).and_then(|split| names.insert(split, name)) {
                return Err(at_root(source, root, &format!("`{other}` and `{name}` name the same split"))
                    .hint("join them, or remove one, and run `sempair data import DIRECTORY`"));
            }
        }
        Ok(())
    }

    fn mixed(&self, source: &Source, root: &str) -> Error {
        let split = self.splits.keys().next().copied().unwrap_or_default();
        let other = self.others.iter().next().copied().unwrap_or_default();
        let what = format!("`{split}`, which names a split, and `{other}`, which does not, are at the same level");
        at_root(source, root, &what)
            .hint("import the directory that holds one directory per category, as in `sempair data import PATH/train`")
    }
}

fn at_root(source: &Source, root: &str, what: &str) -> Error {
    let place = if root.is_empty() { source.path.display().to_string() } else { root.to_string() };
    Error::new(format!("{place}: {what}"))
}

fn split_named(directory: &str) -> Option<&'static str> {
    SPLITS.iter().find(|(name, _)| directory.eq_ignore_ascii_case(name)).map(|(_, split)| *split)
}

/// Returns the longest directory (with a final `/`, or empty) that contains all images, each in another directory below
/// it.
fn common_root(images: &[&str]) -> String {
    // The paths are sorted, so all paths share the parts that the first and the last path share.
    let parts = |path: &'_ &str| path.split('/').map(String::from).collect::<Vec<_>>();
    let (Some(first), Some(last)) = (images.first().map(parts), images.last().map(parts)) else {
        return String::new();
    };
    let shared = first.iter().zip(&last).take_while(|(a, b)| a == b).count();
    let shallowest = images.iter().map(|path| path.matches('/').count()).min().unwrap_or(0);
    // If there is only one category, all images share its directory, too. It must not be part of the root.
    let keep = shared.min(shallowest.saturating_sub(1));
    first[..keep].iter().map(|part| format!("{part}/")).collect()
}

/// Returns the split that the root names, or `train`. A source with the single directory `val` is a validation set,
/// not a training set.
fn root_split(root: &str) -> &'static str {
    split_named(basename(root.trim_end_matches('/'))).unwrap_or("train")
}

/// Returns an error if the directory of a category has no image, because something is missing then.
fn refuse_empty(source: &Source, root: &str, shape: Shape, found: &BTreeMap<&str, Vec<Placed>>) -> Result<()> {
    let filled: BTreeSet<(&str, &str)> = match shape {
        Shape::Within => found.values().flatten().map(|placed| ("train", placed.category)).collect(),
        _ => found.values().flatten().map(|placed| (placed.split, placed.category)).collect(),
    };
    let in_root = |path: &&String| path.len() > root.len() && path.starts_with(root);
    for directory in source.directories.iter().filter(in_root) {
        let category = shape.place(root, directory).filter(|placed| placed.depth == 0);
        let is_split = shape == Shape::Within && directory[root.len()..].contains('/');
        if category.is_some_and(|placed| !is_split && !filled.contains(&(placed.split, placed.category))) {
            return Err(source.member_error(directory, "the category has no image"));
        }
    }
    Ok(())
}

/// Returns an error for directories that are probably not categories: two names that differ only in case or in how accents
/// are encoded (`é` is one character on most systems and two in names from macOS), and the only directory of a split if it is not one of the training categories (`val/images`).
fn refuse_doubtful(source: &Source, found: &BTreeMap<&str, Vec<Placed>>) -> Result<()> {
    let categories = |images: &Vec<Placed>| images.iter().map(|placed| placed.category.to_string()).collect();
    let of_splits: BTreeMap<&str, BTreeSet<String>> =
        found.iter().map(|(split, images)| (*split, categories(images))).collect();
    let all: BTreeSet<&String> = of_splits.values().flatten().collect();
    if let Some(what) = differ_little(all.into_iter().map(String::as_str)) {
        return Err(at_root(source, "", &what).hint("give them one name, and run `sempair data import DIRECTORY`"));
    }
    let Some(trained) = of_splits.get("train").filter(|categories| categories.len() > 1) else { return Ok(()) };
    for (split, categories) in &of_splits {
        let Some(only) = categories.first().filter(|only| categories.len() == 1 && !trained.contains(*only)) else {
            continue;
        };
        let what = format!(
            "the only directory of the split `{split}` is `{only}`, which is not one of the {} training categories",
            trained.len()
        );
        return Err(at_root(source, "", &what).hint(
            "sort its images into one directory per category, or import the training images alone, unpacked: \
             `sempair data import DIRECTORY/train`",
        ));
    }
    Ok(())
}

/// Describes the first two categories whose names differ only in case or in how accents are encoded.
pub fn differ_little<'c>(categories: impl Iterator<Item = &'c str>) -> Option<String> {
    let mut by_name: BTreeMap<String, &str> = BTreeMap::new();
    for category in categories {
        let name = category.nfc().collect::<String>().to_lowercase();
        if let Some(other) = by_name.insert(name, category) {
            return Some(match other.to_lowercase() == category.to_lowercase() {
                true => format!("categories `{other}` and `{category}` differ only in case"),
                // Debug output shows what looks the same.
                false => format!("categories {other:?} and {category:?} differ only in how accents are encoded"),
            });
        }
    }
    None
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
        unlabelled: None,
    }
}

/// Returns the name of the innermost directory that contains all images and does not name a split, or else the source's
/// own name.
pub fn default_name(source: &Source, root: &str) -> String {
    let inner = root.split('/').rfind(|part| !part.is_empty() && split_named(part).is_none());
    let name = inner.map_or_else(|| source.own_name(), String::from).to_lowercase();
    let name = [".zip", ".gz", ".tgz", ".tar"].iter().fold(name.as_str(), |n, end| n.strip_suffix(end).unwrap_or(n));
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    match safe.trim_matches('-') {
        "" => "images".into(),
        name => name.into(),
    }
}

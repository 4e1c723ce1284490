//! Tiny-ImageNet: <http://cs231n.stanford.edu/tiny-imagenet-200.zip>.
//!
//! `wnids.txt` gives the order of the categories, `words.txt` their names, `train/<wnid>/images` the training images,
//! and `val/val_annotations.txt` the categories of the images in `val/images`. The validation images become the split
//! `test`. Many copies of the set have them sorted into `val/<wnid>`. The set's own `test` has no labels and is left
//! out.

use std::collections::HashMap;
use std::collections::HashSet;

use crate::error::Result;

use super::folder;
use super::names::basename;
use super::plan::Plan;
use super::plan::Split;
use super::plan::Task;
use super::plan::describe;
use super::source::Source;

/// Returns the plan, if the source is Tiny-ImageNet.
pub fn plan(source: &Source) -> Result<Option<Plan>> {
    let Some(root) = source.root_of(|name| name == "wnids.txt") else { return Ok(None) };
    let in_root = |name: &str| format!("{root}{name}");
    let Some(wnids) = source.lines(&in_root("wnids.txt"))? else { return Ok(None) };
    let labels: HashMap<&str, u32> = wnids.iter().enumerate().map(|(label, wnid)| (*wnid, label as u32)).collect();
    if labels.len() < wnids.len() {
        return Err(source.member_error(&in_root("wnids.txt"), "a category appears twice"));
    }
    let train = train(source, root, &labels)?;
    let classes = names(source, &in_root("words.txt"), &wnids)?;
    let filled: HashSet<u32> = train.iter().map(|(_, label)| *label).collect();
    if let Some(label) = (0..wnids.len()).find(|&label| !filled.contains(&(label as u32))) {
        let what = format!("the category ({}) has no image", classes[label]);
        return Err(source.member_error(&in_root(&format!("train/{}", wnids[label])), what));
    }
    let test = validation(source, root, &labels)?;
    let counts = [("training", train.len(), 100_000), ("validation", test.len(), 10_000)];
    let (mut splits, mut tasks) = (Vec::new(), HashMap::new());
    for (name, images) in [("test", test), ("train", train)] {
        if images.is_empty() {
            continue;
        }
        for (position, (path, _)) in images.iter().enumerate() {
            tasks.insert(path.to_string(), Task::Image { split: splits.len(), position });
        }
        let (names, labels) = images.into_iter().map(|(path, label)| (path[root.len()..].to_string(), label)).unzip();
        splits.push(Split { name: name.into(), names, labels: Some(labels) });
    }
    Ok(Some(Plan {
        layout: "Tiny-ImageNet",
        name: "tiny-imagenet".into(),
        description: describe("Tiny-ImageNet", &counts),
        size: 64,
        classes,
        splits,
        tasks,
        unlabelled: Some(in_root("test/")),
    }))
}

type Labelled<'s> = Vec<(&'s str, u32)>;

fn train<'s>(source: &'s Source, root: &str, labels: &HashMap<&str, u32>) -> Result<Labelled<'s>> {
    let prefix = format!("{root}train/");
    let images = source.files.keys().filter(|path| path.starts_with(&prefix) && folder::is_image(path));
    let label = |path: &'s String| {
        let wnid = path[prefix.len()..].split('/').next().unwrap_or_default();
        match labels.get(wnid) {
            Some(&label) => Ok((path.as_str(), label)),
            None => Err(source.member_error(path, format!("wnids.txt has no category `{wnid}`"))),
        }
    };
    images.map(label).collect()
}

/// Returns the validation images with their labels. For `val/images` the list gives the label, for `val/<wnid>` the
/// directory.
fn validation<'s>(source: &'s Source, root: &str, labels: &HashMap<&str, u32>) -> Result<Labelled<'s>> {
    let (prefix, file) = (format!("{root}val/"), format!("{root}val/val_annotations.txt"));
    let known = annotations(source, &file, labels)?;
    let images = source.files.keys().filter(|path| path.starts_with(&prefix) && folder::is_image(path));
    let label = |path: &'s String| {
        let directory = path[prefix.len()..].split_once('/').map_or("", |(directory, _)| directory);
        let listed = known.as_ref().and_then(|known| known.get(basename(path)).copied());
        match (directory, labels.get(directory).copied(), listed) {
            ("images", _, Some(label)) => Ok((path.as_str(), label)),
            ("images", _, None) if known.is_none() => {
                Err(source.member_error(&file, "this file, which lists the categories of the images, is missing"))
            }
            ("images", _, None) => Err(source.member_error(path, "val_annotations.txt does not name this image")),
            (_, Some(label), Some(listed)) if label != listed => {
                Err(source.member_error(path, "val_annotations.txt has another category than its directory"))
            }
            (_, Some(label), _) => Ok((path.as_str(), label)),
            (_, None, _) => Err(source.member_error(path, format!("wnids.txt has no category `{directory}`"))),
        }
    };
    images.map(label).collect()
}

/// Reads the labels in the list of validation images, by image name; `None` if there is no list.
fn annotations<'s>(
    source: &'s Source,
    file: &str,
    labels: &HashMap<&str, u32>,
) -> Result<Option<HashMap<&'s str, u32>>> {
    let Some(lines) = source.lines(file)? else { return Ok(None) };
    let mut known = HashMap::new();
    for line in lines {
        let mut columns = line.split('\t');
        let (Some(image), Some(wnid)) = (columns.next(), columns.next()) else {
            return Err(source.member_error(file, format!("`{line}` is not an image and a category")));
        };
        let Some(&label) = labels.get(wnid) else {
            return Err(source.member_error(file, format!("wnids.txt has no category `{wnid}` ({image})")));
        };
        known.insert(image, label);
    }
    Ok(Some(known))
}

/// Returns the words of each category. The wnid is added if two categories have the same words (`crane`), and used
/// alone if a category has no words.
fn names(source: &Source, words: &str, wnids: &[&str]) -> Result<Vec<String>> {
    let lines = source.lines(words)?.unwrap_or_default();
    let words: HashMap<&str, &str> = lines.into_iter().filter_map(|line| line.split_once('\t')).collect();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for wnid in wnids {
        *uses.entry(words.get(wnid).unwrap_or(wnid)).or_default() += 1;
    }
    let name = |wnid: &&str| match words.get(wnid) {
        Some(name) if uses[name] == 1 => name.to_string(),
        Some(name) => format!("{name} ({wnid})"),
        None => wnid.to_string(),
    };
    Ok(wnids.iter().map(name).collect())
}

//! Findings of an import that can make training or evaluation on the set misleading: pictures that occur several
//! times, and categories that are not in every split.

use std::collections::BTreeSet;

use super::plan::Plan;
use super::plan::counted;

/// One image as it was imported.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// BLAKE3 of its pixels as they are stored: two files may show the same picture.
    pub picture: [u8; 32],
    /// Position of its split in the plan.
    pub split: usize,
    /// Position of its category in the plan.
    pub label: u32,
}

/// Returns a sentence for each kind of finding.
pub fn findings(plan: &Plan, mut seen: Vec<Seen>) -> Vec<String> {
    let lonely = lonely(plan, &seen);
    seen.sort_unstable();
    let (mut copies, mut labelled_twice, mut in_splits) = (0, 0, 0);
    for same in seen.chunk_by(|a, b| a.picture == b.picture).filter(|same| same.len() > 1) {
        let places: BTreeSet<(usize, u32)> = same.iter().map(|image| (image.split, image.label)).collect();
        let distinct = |of: fn(&Seen) -> usize| same.iter().map(of).collect::<BTreeSet<_>>().len();
        copies += same.len() - places.len();
        labelled_twice += usize::from(distinct(|image| image.label as usize) > 1);
        in_splits += usize::from(distinct(|image| image.split) > 1);
    }
    let images = |number: usize, what: &str| (number > 0).then(|| format!("{} {what}", counted(number, "picture")));
    [
        images(copies, "that a category of a split has more than once: a pair of them shows the same picture twice"),
        images(labelled_twice, "in more than one category"),
        images(in_splits, "in more than one split: accuracies on them say nothing about new images"),
        lonely,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns a sentence about categories without an image in some split.
fn lonely(plan: &Plan, seen: &[Seen]) -> Option<String> {
    let there: BTreeSet<(usize, u32)> = seen.iter().map(|image| (image.split, image.label)).collect();
    let lacks = |split: usize, label: usize| !there.contains(&(split, label as u32));
    let missing =
        |label: &usize| (0..plan.splits.len()).find(|&split| lacks(split, *label)).map(|split| (*label, split));
    let all: Vec<(usize, usize)> = (0..plan.classes.len()).filter_map(|label| missing(&label)).collect();
    let (label, split) = all.first()?;
    let categories = match all.len() {
        1 => "1 category is".to_string(),
        many => format!("{many} categories are"),
    };
    let (class, split) = (&plan.classes[*label], &plan.splits[*split].name);
    Some(format!("{categories} not in every split, such as `{class}`: `{split}` has no image of it"))
}

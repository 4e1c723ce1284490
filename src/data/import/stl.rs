//! STL-10, binary version: <https://cs.stanford.edu/~acoates/stl10/>.
//!
//! `*_X.bin` has images of three planes of 96x96 bytes, stored column by column. `*_y.bin` has one label from 1 to 10
//! for each image.

use std::collections::HashMap;

use crate::error::Result;

use super::plan::Plan;
use super::plan::Records;
use super::plan::Split;
use super::plan::Task;
use super::plan::describe;
use super::plan::records_in;
use super::source::Source;

const SIDE: usize = 96;

/// File of pixels, file of labels, split, name of its images, and their number in the published set.
const PARTS: [(&str, Option<&str>, &str, &str, usize); 3] = [
    ("test_X.bin", Some("test_y.bin"), "test", "test", 8_000),
    ("train_X.bin", Some("train_y.bin"), "train", "training", 5_000),
    ("unlabeled_X.bin", None, "unlabeled", "unlabelled", 100_000),
];

/// Returns the plan, if the source is STL-10.
pub fn plan(source: &Source) -> Result<Option<Plan>> {
    let Some(root) = source.root_of(|name| PARTS.iter().any(|part| part.0 == name)) else { return Ok(None) };
    let meta = format!("{root}class_names.txt");
    let Some(classes) = source.lines(&meta)? else {
        return Err(source.member_error(&meta, "STL-10 names its categories in this file, which is missing"));
    };
    let (mut splits, mut tasks, mut counts) = (Vec::new(), HashMap::new(), Vec::new());
    for (pixels, labels, split, what, published) in PARTS {
        let member = format!("{root}{pixels}");
        let mut count = 0;
        if source.files.contains_key(&member) {
            let mut records = Records {
                split: splits.len(),
                first: 0,
                count: 0,
                header: 0,
                label: None,
                side: SIDE,
                column_major: true,
            };
            count = records_in(source, &member, records.bytes())?;
            records.count = count;
            let labels = labels.map(|file| read_labels(source, &format!("{root}{file}"), count, &classes));
            let names = (0..count).map(|record| format!("{pixels}#{record}")).collect();
            splits.push(Split { name: split.into(), names, labels: labels.transpose()? });
            tasks.insert(member, Task::Records(records));
        }
        counts.push((what, count, published));
    }
    Ok(Some(Plan {
        layout: "STL-10 (binary)",
        name: "stl-10".into(),
        description: describe("STL-10", &counts),
        size: SIDE,
        classes: classes.into_iter().map(String::from).collect(),
        splits,
        tasks,
        unlabelled: None,
    }))
}

fn read_labels(source: &Source, path: &str, images: usize, classes: &[&str]) -> Result<Vec<u32>> {
    let Some(bytes) = source.text(path) else {
        return Err(source.member_error(path, format!("this file, with the labels of {images} images, is missing")));
    };
    if bytes.len() != images {
        return Err(source.member_error(path, format!("{} labels for {images} images", bytes.len())));
    }
    let label = |(i, &byte): (usize, &u8)| match byte {
        1.. if usize::from(byte) <= classes.len() => Ok(u32::from(byte) - 1),
        _ => Err(source.member_error(path, format!("label {byte} of image {i} is not in 1..={}", classes.len()))),
    };
    bytes.iter().enumerate().map(label).collect()
}

//! CIFAR-10 and CIFAR-100, binary version: <https://www.cs.toronto.edu/~kriz/cifar.html>.
//!
//! A record is the label (in CIFAR-100 the coarse label, then the fine label) and three planes of 32x32 bytes.

use std::collections::HashMap;

use crate::error::Result;

use super::names::basename;
use super::plan::Plan;
use super::plan::Records;
use super::plan::Split;
use super::plan::Task;
use super::plan::describe;
use super::plan::records_in;
use super::source::Source;

struct Variant {
    title: &'static str,
    layout: &'static str,
    name: &'static str,
    /// The file that names the categories.
    meta: &'static str,
    /// Label bytes before the pixels; the last one is used.
    header: usize,
    is_train: fn(&str) -> bool,
    test: &'static str,
}

const VARIANTS: [Variant; 2] = [
    Variant {
        title: "CIFAR-10",
        layout: "CIFAR-10 (binary)",
        name: "cifar-10",
        meta: "batches.meta.txt",
        header: 1,
        is_train: |name| name.starts_with("data_batch_") && name.ends_with(".bin"),
        test: "test_batch.bin",
    },
    Variant {
        title: "CIFAR-100",
        layout: "CIFAR-100 (binary)",
        name: "cifar-100",
        meta: "fine_label_names.txt",
        header: 2,
        is_train: |name| name == "train.bin",
        test: "test.bin",
    },
];

const SIDE: usize = 32;

/// Returns the plan, if the source is one of the two.
pub fn plan(source: &Source) -> Result<Option<Plan>> {
    for variant in &VARIANTS {
        let is_data = |name: &str| (variant.is_train)(name) || name == variant.test;
        // The name `train.bin` is too common to identify a set. Together with the file of category names it is
        // CIFAR-100.
        let certain = variant.header == 1 || source.root_of(|name| name == variant.meta).is_some();
        if let Some(root) = source.root_of(is_data).filter(|_| certain) {
            return plan_variant(source, variant, root).map(Some);
        }
    }
    Ok(None)
}

fn plan_variant(source: &Source, variant: &Variant, root: &str) -> Result<Plan> {
    let meta = format!("{root}{}", variant.meta);
    let Some(classes) = source.lines(&meta)? else {
        let what = format!("{} names its categories in this file, which is missing", variant.title);
        return Err(source.member_error(&meta, what).hint("import the complete binary version, which has it"));
    };
    let (mut splits, mut tasks) = (Vec::new(), HashMap::new());
    for (split, is_train) in [("test", false), ("train", true)] {
        let is_member = |name: &str| if is_train { (variant.is_train)(name) } else { name == variant.test };
        let members = source.files.keys().filter(|path| path.starts_with(root) && !path[root.len()..].contains('/'));
        let mut names = Vec::new();
        for member in members.filter(|path| is_member(basename(path))) {
            let mut records = Records {
                split: splits.len(),
                first: names.len(),
                count: 0,
                header: variant.header,
                label: Some(variant.header - 1),
                side: SIDE,
                column_major: false,
            };
            records.count = records_in(source, member, records.bytes())?;
            names.extend((0..records.count).map(|record| format!("{}#{record}", basename(member))));
            tasks.insert(member.clone(), Task::Records(records));
        }
        if !names.is_empty() {
            splits.push(Split { name: split.into(), labels: Some(vec![0; names.len()]), names });
        }
    }
    let count = |name: &str| splits.iter().find(|s: &&Split| s.name == name).map_or(0, |split| split.names.len());
    Ok(Plan {
        layout: variant.layout,
        name: variant.name.into(),
        description: describe(variant.title, &[("training", count("train"), 50_000), ("test", count("test"), 10_000)]),
        size: SIDE,
        classes: classes.into_iter().map(String::from).collect(),
        splits,
        tasks,
        unlabelled: None,
    })
}

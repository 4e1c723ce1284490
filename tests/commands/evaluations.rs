//! How often each test split was evaluated, by all runs of the ledger, as reports and bundles state it.

use serde_json::json;

use super::bundle::{records, with_ledger};
use super::*;
use crate::sealed::sealed;

const LINE: &str = "- CIFAR-10 test: ";

/// The line of the checklist about CIFAR-10.
fn line(place: &Place, folder: &str) -> String {
    let page = fs::read_to_string(place.path().join("reports").join(folder).join("report.md")).unwrap();
    page.lines().find(|line| line.starts_with(LINE)).unwrap().to_owned()
}

#[test]
fn runs_outside_of_the_report_count_as_evaluations() {
    let place = with_ledger();
    let ledger = place.path().join("reports/ledger");
    place.stdout(&["report", "--profile", "standard"]);
    let of_set = |file: &PathBuf| -> Option<Value> {
        let record: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        (record["column"] == "cifar-10").then_some(record)
    };
    let of_set: Vec<Value> = records(&place).iter().filter_map(of_set).collect();
    let (first, used) = (&of_set[0], of_set.len());
    assert_eq!(line(&place, "standard"), format!("{LINE}{used} evaluations recorded, {used} of them in this report."));
    let add = |number: u32, changes: Value| {
        let mut record = first.clone();
        record["id"] = format!("01a00000-0000-7000-8000-{number:012}").into();
        record["key"] = format!("key {number}").into();
        changes.as_object().unwrap().iter().for_each(|(name, value)| record[name] = value.clone());
        fs::write(ledger.join(format!("{}.json", record["id"].as_str().unwrap())), sealed(record)).unwrap();
    };
    // An older run of a cell, one of another profile, and one outside of tables.
    add(1, json!({}));
    add(2, json!({ "profile": "paper" }));
    add(3, json!({ "experiment": "probe" }));
    // Runs without results, and a training, which has a column but no test.
    add(4, json!({ "status": "failed", "data": [], "metrics": {}, "error": "no memory" }));
    add(5, json!({ "status": "killed", "data": [], "metrics": {} }));
    add(
        6,
        json!({ "experiment": "pretrain", "data": [{ "name": "9 pairs of cifar-10/train", "description": "", "hash": "d", "images": 9 }] }),
    );
    place.stdout(&["report", "--profile", "standard"]);
    let expected = format!(
        "{LINE}{} evaluations recorded, {used} of them in this report; 2 more runs of its columns ended without a result.",
        used + 3
    );
    assert_eq!(line(&place, "standard"), expected);
    let results: Value =
        serde_json::from_slice(&fs::read(place.path().join("reports/standard/results.json")).unwrap()).unwrap();
    assert_eq!(
        results["evaluations"][0],
        json!({ "set": "cifar-10", "completed": used + 3, "without_result": 2, "used": used })
    );
    for name in ["report.html", "main.tex"] {
        let page = fs::read_to_string(place.path().join("reports/standard").join(name)).unwrap();
        assert!(page.contains(expected.trim_start_matches("- ")), "{name}");
    }

    // A bundle has the runs of its profile only, and states the count of the whole ledger.
    for more in [&[][..], &["--anonymous"]] {
        place.stdout(&[&["bundle", "--profile", "standard", "--out", "a.zip"], more].concat());
        place.stdout(&["bundle", "verify", "a.zip"]);
        place.stdout(&[&["report", "--profile", "standard"], more].concat());
    }
    assert_eq!(line(&place, "standard-anonymous"), expected);
}

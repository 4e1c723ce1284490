//! What a report says of a plan. Without one it says nothing.

use super::*;
use sempair::harness::frozen_plan::KnownPlan;

/// A plan of the table with these claims and seeds 0 and 1 on every column; all runs but `before` began after it.
fn plan(table: &Table, claims: usize, before: &str) -> KnownPlan {
    let rows = table.rows.iter().chain(&table.baselines);
    let cell = |row: &Row, column: &str| json!({"row": row, "column": column, "keys": {"0": "k", "1": "other"}});
    let cells: Vec<Value> = rows.flat_map(|row| COLUMNS.map(|(column, _)| cell(row, column))).collect();
    let settings: Vec<Value> = records()[0].settings.iter().map(|setting| json!(setting)).collect();
    let plan = json!({
        "schema": "sempair.plan/1", "id": "01a22e34-1ee7-777e-84ef-801eb7259cd7", "frozen": "2026-11-22T10:00:00.000Z",
        "profile": "quick", "settings": settings, "settings_hash": "5e".repeat(32), "groups": ["transfer"], "rule": ["a"],
        "tables": [{"id": "transfer", "title": "t", "cells": cells, "metrics": [], "claims": table.claims[..claims]}],
    });
    let after = records().into_iter().map(|record| record.id).filter(|id| id != before).collect();
    KnownPlan { plan: serde_json::from_value(plan).unwrap(), after }
}

fn with(plans: Vec<KnownPlan>) -> BTreeMap<String, String> {
    let (dir, all) = (tempfile::tempdir().unwrap(), records());
    let input = Input { plans, ..input(table(), all.clone(), &all) };
    let rendered = render(&input, dir.path()).unwrap();
    let read = |name: &Path| std::fs::read_to_string(dir.path().join(name)).unwrap();
    rendered.files.iter().map(|name| (name.display().to_string(), read(name))).collect()
}

#[test]
fn without_a_plan_there_are_no_words_about_one() {
    for (name, text) in with(Vec::new()) {
        for word in ["Planned", "‡ ", "Plan:", "post hoc", "\"plan\"", "\"plans\"", "\"standing\""] {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
    // A plan of another profile is none.
    let mut other = plan(&table(), 2, "");
    other.plan.profile = "paper".into();
    assert_eq!(with(vec![other]), with(Vec::new()));
}

#[test]
fn seeds_that_a_plan_does_not_have_are_suggested_as_post_hoc() {
    let mut all = records();
    for record in all.iter_mut().filter(|record| record.column == "synth-10" && record.row[0].1 == "SimCLR") {
        let gain = if record.row[1].1 == "SP" { [1.0, 0.5, 2.5][record.seed as usize] } else { 0.0 };
        record.metrics.insert("top1".into(), 50.0 + gain);
    }
    let next = |plans: Vec<KnownPlan>| {
        let dir = tempfile::tempdir().unwrap();
        let said = render(&Input { plans, ..input(table(), all.clone(), &all) }, dir.path()).unwrap().summary(|_| true);
        said.lines().find(|line| line.starts_with("Next: ")).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let command = "sempair table transfer --profile quick --seeds 5 --set 'augment.crop=0.2 1'";
    assert_eq!(next(Vec::new()), format!("Next: 5 seeds would decide 1 of 1 open claims: {command}"));
    let aside = "(post hoc: plan b7259cd7 does not have all of these seeds)";
    assert_eq!(
        next(vec![plan(&table(), 2, "")]),
        format!("Next: 5 seeds would decide 1 of 1 open claims {aside}: {command}")
    );
    let mut enough = plan(&table(), 2, "");
    let cells = enough.plan.tables[0].cells.iter_mut();
    cells.for_each(|cell| (2..5).for_each(|seed| drop(cell.keys.insert(seed, "k".into()))));
    assert_eq!(next(vec![enough]), next(Vec::new()));
}

#[test]
fn a_claim_that_is_not_in_the_plan_is_marked() {
    let before = record(&simclr("AP"), "synth-stl", 0).id;
    let files = with(vec![plan(&table(), 1, &before)]);
    let page = &files["report.md"];
    let note = "‡ Not as plan b7259cd7 says. Post hoc: seed 2 is not in the plan (9 runs); the claim is not in the plan \
                (1 comparison). Begun before the plan was frozen: 1 run.";
    assert!(page.contains(note), "{page}");
    let results: Value = serde_json::from_str(&files["results.json"]).unwrap();
    let standing = |claim: usize| results["tables"][0]["claims"][claim]["standing"].clone();
    assert_eq!(standing(0), json!({"is": "post-hoc", "why": "seed 2 is not in the plan"}));
    assert_eq!(standing(1), json!({"is": "post-hoc", "why": "the claim is not in the plan"}));
    assert_eq!(page.matches("| SimCLR ‡ |").count(), 2, "{page}");
    assert!(page.contains("Planned before their runs: 0 of 2 comparisons (plan b7259cd7 of 2026-11-22); 2 post hoc."));
    // Raw pixels have no second seed.
    assert_eq!(results["tables"][0]["plan"]["missing"], json!(3));
    assert!(page.contains("9 are post hoc. Planned and without a result: 3 runs."), "{page}");
    // Seed 1 was run with another key, that is, with other code, on another machine or from other data.
    assert_eq!(results["tables"][0]["plan"]["moved"], json!(9));
    assert!(
        page.contains("transfer: 9 planned runs had other code, another machine or other data than when"),
        "{page}"
    );
    assert!(page.contains("Plan b7259cd7 words the rule of verdicts differently from this report."), "{page}");
}

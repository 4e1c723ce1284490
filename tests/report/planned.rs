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

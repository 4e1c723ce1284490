//! Records in any order and state give the same bytes, and the report names the runs that it left out.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What may happen to a record of a ledger.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Missing,
    Failed,
    Twice,
    Newer,
    OfAnotherTable,
    NotFinite,
    Whole,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    use Fate::*;
    let fate = prop_oneof![4 => Just(Whole), 1 => Just(Missing), 1 => Just(Failed), 1 => Just(Twice), 1 => Just(Newer), 1 => Just(OfAnotherTable), 1 => Just(NotFinite)];
    prop::collection::vec(fate, 30)
}

fn met(record: Record, fate: Fate) -> Vec<Record> {
    let mut changed = record.clone();
    match fate {
        Fate::Missing => return vec![],
        Fate::Whole => return vec![record],
        Fate::Twice => return vec![record.clone(), record],
        Fate::Newer => {
            (changed.id, changed.started) = (format!("{}-newer", record.id), "2026-11-24T10:00:00Z".to_string());
            return vec![changed, record];
        }
        Fate::Failed => {
            changed.status = serde_json::from_value(json!("failed")).unwrap();
            changed.error = Some("out of luck".to_string());
        }
        Fate::OfAnotherTable => changed.column = "elsewhere".to_string(),
        Fate::NotFinite => drop(changed.metrics.insert("top1".to_string(), f64::NAN)),
    }
    vec![changed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn whatever_befalls_records_the_report_renders_and_names_what_it_left_out(fates in fates()) {
        let all: Vec<Record> = records().into_iter().zip(&fates).flat_map(|(record, fate)| met(record, *fate)).collect();
        let (files, _) = rendered(table(), all.clone(), &all);
        let results: Value = serde_json::from_str(&files["results.json"]).unwrap();
        let excluded: Vec<&str> = results["excluded"].as_array().unwrap().iter().filter_map(|e| e["run"].as_str()).collect();
        let used: usize = results["compute"]["used"].as_u64().unwrap() as usize;
        let distinct: BTreeSet<&str> = all.iter().map(|record| record.id.as_str()).collect();
        prop_assert_eq!(used + excluded.len(), distinct.len(), "every run is used or named");
        let missing = results["tables"][0]["missing"].to_string();
        for (record, fate) in records().iter().zip(&fates) {
            let left_out = match fate {
                Fate::Failed | Fate::Newer | Fate::OfAnotherTable => excluded.contains(&record.id.as_str()),
                _ => !excluded.contains(&record.id.as_str()),
            };
            prop_assert!(left_out, "{} with {fate:?}: {excluded:?}", record.id);
            if let (Fate::Failed, true) = (fate, record.row == simclr("SP")) {
                prop_assert!(missing.contains(&format!("seed {} failed: out of luck", record.seed)), "{missing}");
            }
        }
        for link in files["report.html"].split("href=\"#").skip(1) {
            let target = link.split('"').next().unwrap();
            prop_assert!(files["report.html"].contains(&format!("id=\"{target}\"")), "{target} leads nowhere");
        }
    }

    #[test]
    fn the_order_of_records_changes_no_byte(order in Just((0..30).collect::<Vec<usize>>()).prop_shuffle()) {
        let all = records();
        let shuffled: Vec<Record> = order.iter().map(|&i| all[i].clone()).collect();
        prop_assert_eq!(rendered(table(), shuffled.clone(), &shuffled), rendered(table(), all.clone(), &all));
    }
}

#[test]
fn of_many_runs_that_are_not_used_some_are_named() {
    let mut all = records();
    for i in 0..25 {
        let (id, started) = (format!("00old{i:02}"), "2026-11-20T10:00:00Z".to_string());
        all.push(Record { id, started, ..record(&simclr("AP"), "synth-10", 0) });
    }
    let files = rendered(table(), all.clone(), &all).0;
    let named: Vec<String> = (0..20).map(|i| format!("00old{i:02}")).collect();
    let said = format!(
        "Runs not used (25):\n\n- superseded by a newer run of its cell and seed: {} and 5 more, which `results.json` names\n",
        named.join(", ")
    );
    assert!(files["report.md"].contains(&said), "{}", files["report.md"]);
    assert!(files["report.html"].contains("<code>00old19</code> and 5 more, which"));
    assert!(files["results.json"].contains("00old24"));
}

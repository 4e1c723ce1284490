//! How often the test split of each dataset was evaluated. The more often, the more a figure may owe to choices that were
//! made after looking at the test.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

use crate::harness::record::Record;
use crate::harness::record::Status;

/// The end of the name of a test split, as in `cifar-10/test`.
const TEST: &str = "/test";

/// The runs of a ledger that evaluated a test split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluations {
    /// Runs with a result, of any table and profile, also superseded runs and those outside of tables.
    pub completed: usize,
    /// Runs of the same columns that ended without a result. Whether they came to the test is not recorded.
    pub without_result: usize,
}

/// The evaluations of each test split, by the name of its dataset.
pub fn evaluations<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> BTreeMap<String, Evaluations> {
    let mut found: BTreeMap<String, Evaluations> = BTreeMap::new();
    // A run without a result does not state its data: they are those of the other runs of its column.
    let mut of_columns: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for run in records.clone().filter(|run| run.status == Status::Completed) {
        for set in tests(run) {
            found.entry(set.to_owned()).or_default().completed += 1;
            of_columns.entry((&run.experiment, &run.column)).or_default().insert(set);
        }
    }
    let ended = [Status::Failed, Status::Interrupted, Status::Killed];
    for run in records.filter(|run| ended.contains(&run.status)) {
        for &set in of_columns.get(&(run.experiment.as_str(), run.column.as_str())).into_iter().flatten() {
            found.entry(set.to_owned()).or_default().without_result += 1;
        }
    }
    found
}

/// The datasets whose test splits a run used, each once.
pub fn tests(run: &Record) -> BTreeSet<&str> {
    run.data.iter().filter_map(|data| data.name.strip_suffix(TEST)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(experiment: &str, column: &str, status: &str, data: &[&str]) -> Record {
        let data = data.iter().map(|name| json!({ "name": name, "description": "", "hash": "d", "images": 1 }));
        let record = json!({
            "schema": "sempair.run/1", "id": "1", "experiment": experiment, "key": "k", "status": status, "started": "",
            "column": column, "data": data.collect::<Vec<_>>(),
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn every_run_on_a_test_split_counts_once_whatever_became_of_it() {
        let both = ["pets/train", "pets/test", "pets/test"];
        let runs = [
            run("transfer", "pets", "completed", &both),
            run("probe", "pets", "completed", &both),
            run("detection", "ap50", "completed", &["voc/test"]),
            run("detection", "ap50", "failed", &[]),
            run("transfer", "pets", "killed", &[]),
            run("transfer", "pets", "running", &[]),
            // Pairs of a set are not its test, and where nothing was measured yet, the set is unknown.
            run("pretrain", "pets", "completed", &["9 pairs of pets/train"]),
            run("pretrain", "pets", "failed", &[]),
        ];
        let counts = |completed, without_result| Evaluations { completed, without_result };
        let expected = [("pets".to_owned(), counts(2, 1)), ("voc".to_owned(), counts(1, 1))];
        assert_eq!(evaluations(runs.iter()), expected.into());
    }
}

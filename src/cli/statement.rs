//! The verdicts of `verify` as an in-toto statement, for systems that collect such statements: Statement v1
//! (<https://in-toto.io/Statement/v1>) with the predicate Test Result v0.1
//! (<https://in-toto.io/attestation/test-result/v0.1>).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::bundle::manifest::sha256;
use crate::error::{Context as _, Result};
use crate::files;
use crate::harness::record::Record;
use crate::harness::repetition::{Agreement, Repetition};

use super::claim::ClaimCheck;
use super::records;

/// What the statement is made of besides the runs and their repetitions.
pub(super) struct Grounds<'a> {
    /// The folder of the records.
    pub(super) ledger: &'a Path,
    /// The `results.json` of the report whose figures stand for records that are not there.
    pub(super) report: &'a Path,
    /// The program that repeated the runs.
    pub(super) program: &'a Path,
    /// The claim that was checked, if it was one.
    pub(super) claim: Option<&'a ClaimCheck>,
    /// As on the command line.
    pub(super) tolerance: f64,
    /// As on the command line.
    pub(super) margin: f64,
}

/// The statement as JSON. Its subjects are the records.
///
/// # Errors
/// When a record or the program cannot be read.
pub(super) fn statement(recorded: &[Arc<Record>], repetitions: &[Repetition], grounds: &Grounds) -> Result<Value> {
    let mut tests: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (one, run) in repetitions.iter().filter_map(|one| Some((one, recorded.iter().find(|run| run.id == one.run)?))) {
        tests.entry(list(one.agreement)).or_default().push(name(run));
    }
    if let Some(claim) = grounds.claim {
        let list = match (claim.holds(), claim.is_identical()) {
            (true, true) => PASSED,
            (true, false) => WARNED,
            (false, _) => FAILED,
        };
        tests.entry(list).or_default().push(format!("claim: {}", claim.name()));
    }
    let result = match (tests.contains_key(FAILED), tests.contains_key(WARNED)) {
        (true, _) => "FAILED",
        (false, true) => "WARNED",
        (false, false) => "PASSED",
    };
    let mut predicate = json!({ "result": result, "configuration": configuration(recorded, grounds)? });
    for (list, names) in tests {
        predicate[list] = names.into();
    }
    Ok(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects(recorded, grounds)?,
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": predicate,
    }))
}

const PASSED: &str = "passedTests";
const WARNED: &str = "warnedTests";
const FAILED: &str = "failedTests";

/// The list of the predicate that a verdict belongs to.
fn list(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Identical | Agreement::SameButTimes => PASSED,
        Agreement::WithinTolerance | Agreement::Equivalent | Agreement::NothingToCompare => WARNED,
        Agreement::Different | Agreement::NotRepeated => FAILED,
    }
}

/// The cell of a run, as the name of a test.
fn name(run: &Record) -> String {
    format!("{}: {} {} seed {}", run.experiment, records::labels(&run.row), run.column, run.seed)
}

/// The files of the records, or if they are not there, the report.
fn subjects(recorded: &[Arc<Record>], grounds: &Grounds) -> Result<Vec<Value>> {
    let subject = |name: String, path: &Path| -> Result<Value> {
        let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
        Ok(json!({ "name": name, "digest": { "sha256": sha256(&bytes) } }))
    };
    let file = |run: &Arc<Record>| grounds.ledger.join(format!("{}.json", run.id));
    match recorded.iter().all(|run| file(run).is_file()) {
        true => recorded.iter().map(|run| subject(format!("{}.json", run.id), &file(run))).collect(),
        false => Ok(vec![subject("results.json".to_owned(), grounds.report)?]),
    }
}

/// What the runs were and are repeated with: settings, commits, lock files, data and program, each once.
fn configuration(recorded: &[Arc<Record>], grounds: &Grounds) -> Result<Vec<Value>> {
    let mut found: BTreeMap<(String, String), Value> = BTreeMap::new();
    let mut add = |name: String, algorithm: &str, digest: &str| {
        if !digest.is_empty() {
            let descriptor = json!({ "name": name, "digest": { algorithm: digest } });
            found.insert((name, digest.to_owned()), descriptor);
        }
    };
    for run in recorded {
        let settings = serde_json::to_vec(&run.settings.iter().map(|s| (&s.key, &s.value)).collect::<BTreeMap<_, _>>());
        add(format!("settings of {}", run.experiment), "sha256", &sha256(&settings.context("settings")?));
        add("source".to_owned(), "gitCommit", run.git.commit.as_deref().unwrap_or_default());
        add("Cargo.lock".to_owned(), "blake3", &run.build.lock_hash);
        run.data.iter().for_each(|data| add(data.name.clone(), "blake3", &data.hash));
    }
    let mut all: Vec<Value> = found.into_values().collect();
    all.push(json!({
        "name": "sempair verify",
        "digest": { "blake3": files::hash(grounds.program)? },
        "annotations": { "tolerance": grounds.tolerance, "margin": grounds.margin },
    }));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64) -> Arc<Record> {
        let record = json!({
            "schema": "sempair.run/1", "id": format!("run-{seed}"), "experiment": "vit", "key": "", "status": "completed",
            "started": "", "profile": "quick", "row": [["method", "DINO"], ["pairs", "SP"]], "column": "synth-10",
            "seed": seed, "git": { "commit": "c0" }, "build": { "lock_hash": "l0" },
            "settings": [{ "key": "seeds", "value": seed, "origin": "--set" }],
            "data": [{ "name": "synth-10/test", "description": "", "hash": "d0", "images": 1 }],
        });
        Arc::new(serde_json::from_value(record).unwrap())
    }

    fn repetition(run: &Record, agreement: Agreement) -> Repetition {
        let (row, column, id) = (run.row.clone(), run.column.clone(), run.id.clone());
        let metrics = BTreeMap::new();
        Repetition { row, column, seed: run.seed, run: id, agreement, metrics, complete: true, parted: None }
    }

    #[test]
    fn the_worst_verdict_decides_the_result_and_the_report_stands_for_missing_records() {
        let place = tempfile::tempdir().unwrap();
        let [report, program] = ["results.json", "program"].map(|name| place.path().join(name));
        std::fs::write(&report, "{}").unwrap();
        std::fs::write(&program, "program").unwrap();
        let runs = [run(0), run(1), run(2)];
        let grounds = Grounds {
            ledger: place.path(),
            report: &report,
            program: &program,
            claim: None,
            tolerance: 0.5,
            margin: 1.0,
        };
        let statement = |verdicts: [Agreement; 3]| {
            let all: Vec<Repetition> = runs.iter().zip(verdicts).map(|(run, one)| repetition(run, one)).collect();
            super::statement(&runs, &all, &grounds).unwrap()
        };
        use Agreement::{Different, Equivalent, Identical, NotRepeated, SameButTimes, WithinTolerance};
        let result = |verdicts| statement(verdicts)["predicate"]["result"].clone();
        assert_eq!(result([Identical, SameButTimes, Identical]), "PASSED");
        assert_eq!(result([Identical, WithinTolerance, Equivalent]), "WARNED");
        assert_eq!(result([NotRepeated, Identical, Equivalent]), "FAILED");
        let mixed = statement([Identical, Equivalent, Different]);
        let name = |seed: u64| json!([format!("vit: DINO SP synth-10 seed {seed}")]);
        let predicate = &mixed["predicate"];
        assert_eq!([PASSED, WARNED, FAILED].map(|list| predicate[list].clone()), [0, 1, 2].map(name));
        assert_eq!(mixed["subject"], json!([{ "name": "results.json", "digest": { "sha256": sha256(b"{}") } }]));
        let configuration = predicate["configuration"].as_array().unwrap();
        let names: Vec<&str> = configuration.iter().map(|item| item["name"].as_str().unwrap()).collect();
        let settings = "settings of vit";
        assert_eq!(names, ["Cargo.lock", settings, settings, settings, "source", "synth-10/test", "sempair verify"]);
        assert_eq!(configuration[4]["digest"], json!({ "gitCommit": "c0" }));
        for run in &runs {
            std::fs::write(place.path().join(format!("{}.json", run.id)), &run.id).unwrap();
        }
        let subjects = statement([Identical; 3])["subject"].clone();
        assert_eq!(subjects[2], json!({ "name": "run-2.json", "digest": { "sha256": sha256(b"run-2") } }));
    }
}

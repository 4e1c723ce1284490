//! The report for double-blind review names no person and no place, and keeps everything that decides a result.

use super::*;
use sempair::report::anonymous;

/// A text with a user, a host, a home folder, a remote and an author, which any text of a record could contain.
const STUFFING: &str = "jdoe on gpu07.lab.example from /home/jdoe/sempair, git@forge.example:jdoe/sempair.git by \
                        Jane Doe <j.doe@lab.example>";

/// Words that no file may contain.
const SECRETS: [&str; 8] = ["jdoe", "gpu07", "lab.example", "/home", "forge.example", "Jane", "Doe", "01234567"];

/// The record with `STUFFING` at the end of every text that does not decide its place in the table.
fn stuffed(record: Record) -> Record {
    fn stuff(value: &mut Value) {
        match value {
            Value::String(text) => *text = format!("{text} {STUFFING}"),
            Value::Array(items) => items.iter_mut().for_each(stuff),
            Value::Object(map) => map.values_mut().for_each(stuff),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(record).unwrap();
    value["host"]["hostname"] = json!("gpu07.lab.example");
    value["error"] = json!("cannot read it");
    value["title"] = json!("title");
    value["predictions"] = json!("predictions");
    value["args"] = json!(["sempair", "table"]);
    value["facts"] = json!({"fact": "fact", STUFFING: 1.0});
    value["inputs"] = json!({"input": ["a"]});
    value["stages"] = json!([{"name": "pretrain", "key": "key", "computed": true, "from": "run", "files": [{"name": "a", "bytes": 1, "hash": "h"}]}]);
    value["git"]["branch"] = json!("main");
    value["git"]["untracked"] = json!(["notes.txt"]);
    value["git"]["note"] = json!("note");
    value["git"]["diff_hash"] = json!("diff");
    for field in ["version", "target", "profile", "lock_hash", "code", "binary_hash"] {
        value["build"][field] = json!(field);
    }
    value["settings"].as_array_mut().unwrap().extend([
        json!({"key": "paths.data", "value": "relative", "origin": "--set"}),
        json!({"key": "pairs.list", "value": ["/home/jane doe/pairs.csv"], "origin": "sempair.toml:3"}),
    ]);
    let fixed = ["schema", "id", "experiment", "status", "profile", "row", "column", "started"];
    value
        .as_object_mut()
        .unwrap()
        .iter_mut()
        .filter(|(key, _)| !fixed.contains(&key.as_str()))
        .for_each(|(_, v)| stuff(v));
    serde_json::from_value(value).unwrap()
}

fn anonymous_files(input: &Input) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let rendered = render(&anonymous(input), dir.path()).unwrap();
    let read = |name: &Path| std::fs::read_to_string(dir.path().join(name)).unwrap();
    rendered.files.iter().map(|name| (name.display().to_string(), read(name))).collect()
}

#[test]
fn an_anonymous_report_names_nobody_in_any_file() {
    let mut all: Vec<Record> = records().into_iter().map(stuffed).collect();
    let failed = all.iter_mut().find(|r| r.row == simclr("SP") && r.seed == 2).unwrap();
    failed.status = serde_json::from_value(json!("failed")).unwrap();
    let failed = failed.id.clone();
    let mut table = table();
    table.notes.push(format!("From {STUFFING}").into());
    table.setting = format!("Trained by {STUFFING}");
    table.claims[0].case = format!("SimCLR {STUFFING}");
    table.caption += STUFFING;
    let mut input = input(table, all.clone(), &all);
    input.excluded =
        vec![("/home/jdoe/sempair/reports/ledger/x.json".into(), "of schema `jdoe`".into()), (failed, STUFFING.into())];
    let named = rendered(input.tables[0].0.clone(), all.clone(), &all).0;
    let files = anonymous_files(&input);
    assert_eq!(files.keys().filter(|name| name.ends_with(".tex")).count(), 3);
    for (name, text) in &files {
        let text = text.replace("does", "");
        for secret in SECRETS {
            assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{name} contains {secret}");
        }
        if !name.starts_with("figures") && !name.ends_with(".csv") {
            assert!(
                text.to_lowercase().contains("anonym") || name.starts_with("tables"),
                "{name} does not say that it is anonymised"
            );
        }
    }
    // The named report contains them, so this test would find them.
    for secret in ["jdoe", "01234567"] {
        assert!(named["report.html"].contains(secret), "{secret}");
    }
    let html = &files["report.html"];
    for stays in ["Xeon", "avx512", "synth-10", "4f1a4f1a4f1a", "augment.crop", "0193-SimCLRSP-synth-10-0", "57.4"] {
        assert!(html.contains(stays), "{stays} is gone");
    }
    assert!(html.contains("seed 2 failed: (withheld)"));
    assert!(html.contains("<code>pairs.list") && html.contains("<code>[&quot;(withheld)"));
    for report in [html, &named["report.html"]] {
        assert!(!report.contains("paths.data"), "the location of files is of no use to others");
    }
    assert!(!html.contains("git checkout") && html.contains("cargo run --release -- table transfer --profile quick"));
}

#[test]
fn the_same_measurements_stand_in_the_anonymous_report() {
    let all = records();
    let named = input(table(), all.clone(), &all);
    let (named, anonymous) = (results(&named), results(&anonymous(&named)));
    assert_eq!((named.anonymous, anonymous.anonymous), (false, true));
    assert_eq!(
        serde_json::to_value(&named.tables).unwrap(),
        serde_json::to_value(&anonymous.tables).unwrap(),
        "these records have nothing to withhold"
    );
    assert_eq!((named.git.commits.len(), anonymous.git.commits.len()), (1, 0));
}

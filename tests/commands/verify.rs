//! `verify`: recorded runs are repeated, and their figures come out again or not.

use super::*;

/// What `verify` prints, with its exit code.
fn verify(place: &Place, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = place.run(&[&["verify", "--quiet", "--json"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}")))
}

fn agreements(answer: &Value) -> Vec<&str> {
    answer["cells"].as_array().unwrap().iter().map(|cell| cell["agreement"].as_str().unwrap()).collect()
}

#[test]
fn figures_come_out_again_and_a_changed_one_does_not() {
    let place = Place::new();
    place.stdout(&[&["table", "transfer", "--quiet"], TINY].concat());
    let before = place.json(&["runs", "--json"]);
    // The runs of the ledger are repeated with their own settings, not with the present ones.
    let (code, answer) = verify(&place, &["transfer"]);
    assert_eq!((code, &answer["program"], &answer["factor"]), (Some(0), &"this".into(), &Value::Null), "{answer}");
    assert_eq!(agreements(&answer), ["identical"; 5]);
    assert_eq!(place.json(&["runs", "--json"]), before, "nothing is recorded");

    // A single run, in words.
    let run = before[4]["id"].as_str().unwrap();
    let text = place.stdout(&["verify", run, "--quiet"]);
    assert!(text.contains(": identical, ") && text.ends_with("1 runs repeated: 1 identical\n"), "{text}");

    // The least work first: a table of which one cell is repeated.
    let (_, smoke) = verify(&place, &["transfer", "--tier", "smoke"]);
    assert_eq!(agreements(&smoke), ["identical"; 5], "all of it takes less than a minute");

    // Runs with other settings are repeated with theirs, all in one go.
    let other: Vec<&str> = TINY.iter().map(|&word| if word == "simclr" { "byol" } else { word }).collect();
    place.stdout(&[&["table", "transfer", "--quiet"], &other[..], &["--set", "pretrain.epochs=5"]].concat());
    let (code, answer) = verify(&place, &["transfer"]);
    assert_eq!((code, agreements(&answer)), (Some(0), vec!["identical"; 7]), "{answer}");
    fs::remove_dir_all(place.path().join("reports")).unwrap();
    place.stdout(&[&["table", "transfer", "--quiet"], TINY].concat());

    // Without the ledger, the committed report is the record. One digit of a figure is changed there.
    fs::remove_dir_all(place.path().join("reports/ledger")).unwrap();
    let file = place.path().join("reports/quick/results.json");
    let mut results: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let cells = results["tables"][0]["cells"].as_array_mut().unwrap();
    let changed = cells.iter_mut().find(|cell| cell["metric"] == "top1" && cell["row"]["pairs"] == "SP").unwrap();
    let value = changed["values"][0].as_f64().unwrap();
    changed["values"][0] = (value + 3.0).into();
    fs::write(&file, results.to_string()).unwrap();
    let tiny: Vec<&str> = TINY.to_vec();
    let output = place.run(&[&["verify", "transfer", "--quick"], &tiny[..]].concat());
    let (text, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{text}{said}");
    assert!(said.contains("the ledger has no such runs: comparing with the figures of "), "{said}");
    assert!(text.contains("SimCLR SP synth-10 seed 0") && text.contains("DIFFERENT"), "{text}");
    assert!(text.contains(&format!("top1 {:.2} -> {value:.2}", value + 3.0)), "{text}");
    assert!(text.contains("5 runs repeated: 4 identical, 1 DIFFERENT\n"), "{text}");
    assert!(
        text.contains("cause: not found: two repetitions agree with each other, and differ from the record"),
        "{text}"
    );
}

#[test]
fn verdicts_are_written_as_a_statement() {
    let place = Place::new();
    let cells = r#"[{"row": [["method", "raw pixels"], ["pairs", "none"]], "column": "synth-10", "seed": 0}]"#;
    fs::write(place.path().join("cells.json"), cells).unwrap();
    place.stdout(&[&["table", "transfer", "--quiet", "--cells", "cells.json"], TINY].concat());
    let mut files = fs::read_dir(place.path().join("reports/ledger")).unwrap().map(|entry| entry.unwrap().path());
    let record = files.find(|path| path.extension().is_some_and(|extension| extension == "json")).unwrap();
    let statement = |code: i32| -> Value {
        let (is, answer) = verify(&place, &["transfer", "--statement", "out/statement.json"]);
        assert_eq!(is, Some(code), "{answer}");
        let statement: Value =
            serde_json::from_slice(&fs::read(place.path().join("out/statement.json")).unwrap()).unwrap();
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://in-toto.io/attestation/test-result/v0.1");
        let [subject] = &statement["subject"].as_array().unwrap()[..] else { panic!("{statement}") };
        assert_eq!(subject["name"], record.file_name().unwrap().to_str().unwrap());
        assert_eq!(subject["digest"]["sha256"], sempair::bundle::manifest::sha256(&fs::read(&record).unwrap()));
        statement["predicate"].clone()
    };
    let passed = statement(0);
    let cell = serde_json::json!(["transfer: raw pixels none synth-10 seed 0"]);
    assert_eq!((&passed["result"], &passed["passedTests"]), (&"PASSED".into(), &cell));
    assert_eq!((&passed["warnedTests"], &passed["failedTests"]), (&Value::Null, &Value::Null));
    let configuration = passed["configuration"].as_array().unwrap();
    for name in ["settings of transfer", "Cargo.lock", "synth-10/test", "sempair verify"] {
        let item = configuration.iter().find(|item| item["name"] == name);
        let item = item.unwrap_or_else(|| panic!("{name}: {passed}"));
        assert!(item["digest"].as_object().unwrap().values().all(|digest| digest.as_str().unwrap().len() == 64));
    }
    // A figure is changed in the record.
    let mut changed: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    changed["metrics"]["top1"] = (changed["metrics"]["top1"].as_f64().unwrap() + 3.0).into();
    fs::write(&record, crate::sealed::sealed(changed)).unwrap();
    let failed = statement(1);
    assert_eq!((&failed["result"], &failed["failedTests"]), (&"FAILED".into(), &cell));
    assert_eq!(failed["passedTests"], Value::Null);
}

#[test]
fn another_instruction_set_is_named_as_the_cause() {
    let place = Place::new();
    let precise = ["--set", "precision=f32", "--set", "pretrain.epochs=2"];
    place.stdout(&[&["table", "transfer", "--quiet"], TINY, &precise].concat());
    let runs = place.json(&["runs", "--json"]);
    let recorded = runs[4]["compute"]["isa"].as_str().unwrap();
    if recorded == "portable" {
        println!("skipped: this processor has only one instruction set");
        return;
    }
    let run = runs[4]["id"].as_str().unwrap();
    let mut command = place.command(&["verify", run, "--quiet", "--json", "--tolerance", "0"]);
    let output = command.env("SEMPAIR_ISA", "portable").output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [cell] = &answer["cells"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!(
        (&cell["parted"]["stage"], &cell["parted"]["same_key"]),
        (&"pretrain".into(), &false.into()),
        "{answer}"
    );
    let factor = answer["factor"].as_str().unwrap();
    assert!(factor.starts_with(&format!("the instruction set ({recorded} then, portable now)")), "{factor}");
    assert!(factor.ends_with("set as it was, the result is identical"), "{factor}");
}

#[test]
fn what_cannot_be_repeated_is_told() {
    let place = Place::new();
    let error = place.error(&["verify", "transfer"]);
    assert!(error.contains("neither the ledger nor reports/quick/results.json has completed runs"), "{error}");
    place.stdout(&[&["table", "transfer", "--quiet"], TINY, &["--set", "pretrain.epochs=1"]].concat());
    let error = place.error(&["verify", "transfer", "--at", "0123456"]);
    assert!(error.contains("no completed run of `transfer` was recorded at 0123456"), "{error}");
    let error = place.error(&["verify", "transfer", "--rebuild"]);
    assert!(error.contains("the runs name no commit") && error.contains("hint: `--quick`"), "{error}");
    let small = ["--set", "pairs.categories=4", "--set", "pairs.per_category=16", "--set", "pretrain.batch=16"];
    place.stdout(&[&["pretrain", "--quiet", "--epochs", "1"], &small[..]].concat());
    let runs = place.json(&["runs", "--json"]);
    let pretrained = runs.as_array().unwrap().iter().find(|run| run["experiment"] == "pretrain").unwrap();
    let error = place.error(&["verify", pretrained["id"].as_str().unwrap()]);
    assert!(error.contains("is of `pretrain`, which is no table") && error.contains("hint: `sempair show"), "{error}");
    let both = place.error(&["verify", "transfer", "--rebuild", "--quick"]);
    assert!(both.contains("cannot be used with"), "{both}");
}

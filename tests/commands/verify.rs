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
    assert!(text.contains(": identical, ") && text.ends_with("1 run repeated: 1 identical\n"), "{text}");

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
    place.import_noise();
    place.run_cells(&[("SimCLR", "SP")], 1, &["--set", "precision=f32"]);
    let (_, record) = only_record(&place);
    let recorded = record["compute"]["isa"].as_str().unwrap();
    if recorded == "portable" {
        println!("skipped: this processor has only one instruction set");
        return;
    }
    let run = record["id"].as_str().unwrap();
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
    let tried: Vec<[&str; 2]> = answer["cause"]["tried"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trial| ["factor", "outcome"].map(|name| trial[name].as_str().unwrap()))
        .collect();
    assert_eq!(tried, [["data", "same"], ["device", "same"], ["instruction-set", "cause"]], "{answer}");
}

/// The file of the only record, and the record.
fn only_record(place: &Place) -> (PathBuf, Value) {
    let files = fs::read_dir(place.path().join("reports/ledger")).unwrap().map(|entry| entry.unwrap().path());
    let records: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    let [file] = &records[..] else { panic!("{records:?}") };
    (file.clone(), serde_json::from_slice(&fs::read(file).unwrap()).unwrap())
}

/// A program with another constant cannot be built here. A record has the files and figures that another constant gives,
/// which here is a setting, with the hash of other code: `tests/verify_planted.sh` does it with two programs.
#[test]
fn a_constant_of_a_loss_that_was_changed_is_named() {
    let place = Place::new();
    place.import_noise();
    let run = |more: &[&str]| {
        let _ = fs::remove_dir_all(place.path().join("reports"));
        place.run_cells(&[("SimCLR", "SP")], 1, more);
        only_record(&place)
    };
    let (_, other) = run(&["--set", "methods.simclr.temperature=5"]);
    let (file, mut record) = run(&[]);
    for field in ["stages", "metrics", "checkpoint", "predictions", "hits", "curves", "facts"] {
        assert!(field == "facts" || record[field] != other[field], "{field}");
        record[field] = other[field].clone();
    }
    record["key"] = other["key"].clone();
    let code = record["code"]["methods::simclr"].as_str().unwrap().chars().rev().collect::<String>();
    record["code"]["methods::simclr"] = code.into();
    fs::write(&file, crate::sealed::sealed(record)).unwrap();

    let (code, answer) = verify(&place, &["transfer", "--quick", "--tolerance", "0"]);
    assert_eq!((code, agreements(&answer)), (Some(1), vec!["different"]), "{answer}");
    let parted = &answer["cells"][0]["parted"];
    assert_eq!((&parted["stage"], &parted["same_key"]), (&"pretrain".into(), &false.into()), "{answer}");
    let factor = answer["factor"].as_str().unwrap();
    assert!(factor.starts_with("the code differs: methods::simclr (without `--quick`"), "{factor}");
    let tried = answer["cause"]["tried"].as_array().unwrap();
    let names: Vec<&str> = tried.iter().map(|trial| trial["factor"].as_str().unwrap()).collect();
    assert_eq!(
        [&names[..4], &names[names.len() - 1..]].concat(),
        ["data", "device", "instruction-set", "precision", "code"]
    );
    assert!(names.contains(&"threads") || tried.len() == 5, "{answer}");

    let why = place.json(&[&["why", "transfer", "--json", "--seeds", "1"], SMALL].concat());
    let cells = why.as_array().unwrap().iter().filter(|cell| cell["state"] == "again");
    let [cell] = &cells.collect::<Vec<_>>()[..] else { panic!("{why}") };
    let changes: Vec<[&str; 2]> = cell["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| ["section", "name"].map(|part| change[part].as_str().unwrap()))
        .collect();
    assert_eq!(changes, [["code", "methods::simclr"]], "{why}");
}

#[test]
fn other_data_of_the_same_name_are_named_as_the_cause() {
    let place = Place::new();
    place.import_noise();
    place.run_cells(&[("raw pixels", "none")], 1, &[]);
    let (_, record) = only_record(&place);
    let hash = |record: &Value, name: &str| {
        let data = record["data"].as_array().unwrap().iter().find(|data| data["name"] == name);
        data.unwrap_or_else(|| panic!("{record}"))["hash"].as_str().unwrap()[..12].to_owned()
    };
    // One test image becomes one of the other category.
    let [cat, dog] = ["cat", "dog"].map(|category| place.path().join("noise/test").join(category).join("0.png"));
    fs::copy(dog, cat).unwrap();
    place.stdout(&["data", "import", "noise", "--size", "32", "--replace", "--quiet"]);
    let sets = place.json(&["data", "list", "--json"]);
    let test = sets[0]["splits"].as_array().unwrap().iter().find(|split| split["name"] == "test");
    let now = &test.unwrap_or_else(|| panic!("{sets}"))["hash"].as_str().unwrap()[..12];
    let output = place.run(&["verify", "transfer", "--quiet", "--tolerance", "0"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let then = hash(&record, "noise/test");
    let expected =
        format!("cause: the data (noise/test {then} then, noise/test {now} now): everything else is as it was\n");
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("  - data (noise/test ") && !text.contains("instruction set"), "{text}");
    assert!(!text.contains(&hash(&record, "noise/train")), "{text}");
}

#[test]
fn a_record_that_was_changed_or_removed_is_not_replaced_by_the_report() {
    let place = Place::new();
    place.import_noise();
    place.run_cells(&[("raw pixels", "none"), ("untrained encoder", "none")], 1, &[]);
    let runs = place.json(&["runs", "--json"]);
    let id = runs[0]["id"].as_str().unwrap();
    let file = place.path().join(format!("reports/ledger/{id}.json"));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\"seed\": 0", "\"seed\": 1", 1)).unwrap();
    let error = place.error(&["verify", id]);
    assert!(
        error.contains(&format!("the ledger has no completed run of `{id}`; reports/ledger/{id}.json was left out")),
        "{error}"
    );
    assert!(error.contains("hint: `sempair runs` lists the runs; `sempair audit .` says"), "{error}");
    fs::remove_file(&file).unwrap();
    let error = place.error(&["verify", id]);
    assert!(error.contains(&format!("the ledger has no completed run of `{id}`\n")), "{error}");
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

/// The claims in the report's `results.json`.
fn claims(place: &Place) -> Vec<Value> {
    let file = place.path().join("reports/quick/results.json");
    let results: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    results["tables"][0]["claims"].as_array().unwrap().clone()
}

#[test]
fn the_runs_behind_a_claim_are_repeated_and_its_verdict_comes_out_again() {
    let place = Place::new();
    let error = place.error(&["verify", "--claim", "semantic"]);
    assert!(error.contains("there is no report reports/quick/results.json") && error.contains("hint: "), "{error}");
    place.import_noise();
    place.run_cells(&[("SimCLR", "AP"), ("SimCLR", "SP"), ("raw pixels", "none")], 2, &[]);

    // Two rows with two seeds each, and no baseline.
    let (code, answer) = verify(&place, &["--claim", "semantic pairs BEAT augmented pairs with SimCLR on noise."]);
    assert_eq!((code, agreements(&answer)), (Some(0), vec!["identical"; 4]), "{answer}");
    let rows: BTreeSet<String> =
        answer["cells"].as_array().unwrap().iter().map(|cell| cell["row"].to_string()).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let (claim, printed) = (&answer["claim"], &claims(&place)[0]);
    assert_eq!(claim["text"], "Semantic pairs beat augmented pairs with SimCLR on noise");
    assert_eq!((&claim["agreement"], &claim["follows"]), (&"identical".into(), &true.into()), "{claim}");
    for part in ["verdict", "difference", "ci95"] {
        assert_eq!((&claim["printed"][part], &claim["recorded"][part]), (&printed[part], &printed[part]), "{claim}");
        assert_eq!(claim["repeated"][part], printed[part], "{claim}");
    }
    assert!(printed["ci95"].is_array(), "{printed}");

    // By the words of the page: statement, case and set. An in-toto statement has the claim as a test.
    let words = "Semantic pairs transfer better: SimCLR, noise";
    let (code, answer) = verify(&place, &["--claim", words, "--statement", "statement.json"]);
    assert_eq!((code, &answer["claim"]["text"]), (Some(0), &claim["text"]));
    let statement: Value = serde_json::from_slice(&fs::read(place.path().join("statement.json")).unwrap()).unwrap();
    let passed = statement["predicate"]["passedTests"].as_array().unwrap();
    let name = "claim: transfer: Semantic pairs beat augmented pairs with SimCLR on noise";
    assert_eq!((passed.len(), passed.last().unwrap()), (5, &name.into()), "{statement}");

    // A difference that the report does not have from its runs.
    let file = place.path().join("reports/quick/results.json");
    let mut results: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    results["tables"][0]["claims"][0]["difference"] = (printed["difference"].as_f64().unwrap() + 10.0).into();
    fs::write(&file, results.to_string()).unwrap();
    let output = place.run(&["verify", "--claim", "with SimCLR on noise", "--quiet"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("4 runs repeated: 4 identical\nclaim: Semantic pairs beat augmented pairs with SimCLR"),
        "{text}"
    );
    assert!(text.contains("WHICH DOES NOT FOLLOW FROM ITS RUNS\n  recorded: "), "{text}");
    assert!(text.ends_with("  verdict, difference and interval come out again, to the last bit\n"), "{text}");

    // A run behind the claim is missing.
    let ledger = place.path().join("reports/ledger");
    let run = answer["cells"][0]["run"].as_str().unwrap();
    fs::remove_file(ledger.join(format!("{run}.json"))).unwrap();
    let error = place.error(&["verify", "--claim", "with SimCLR on noise"]);
    assert!(error.contains("1 of the 4 runs behind the claim") && error.contains("hint: `sempair audit .`"), "{error}");
}

#[test]
fn a_text_that_is_not_one_claim_lists_claims() {
    let place = Place::new();
    // The committed report, without its ledger: claims are found, and nothing runs.
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quick/results.json");
    fs::create_dir_all(place.path().join("reports/quick")).unwrap();
    fs::copy(report, place.path().join("reports/quick/results.json")).unwrap();
    let error = place.error(&["verify", "--claim", "byol on synth"]);
    assert!(error.contains("claims match `byol on synth`:\n  transfer: Semantic pairs beat"), "{error}");
    assert!(error.contains("with BYOL on synth-100\n") && error.contains("hint: give more of its wording"), "{error}");
    let error = place.error(&["verify", "--claim", "transfer better, synth-10, BYOL or DINO"]);
    assert!(error.contains("no claim of reports/quick/results.json contains"), "{error}");
    let error = place.error(&["verify", "--claim", "nonsense"]);
    assert!(error.contains("no claim of reports/quick/results.json contains `nonsense`; there are:\n"), "{error}");
    assert!(error.matches("\n  ").count() > 40, "{error}");
    let usage = place.error(&["verify"]);
    assert!(usage.contains("<TABLE|RUN|--claim <TEXT>>"), "{usage}");
    for both in [&["verify", "transfer", "--claim", "x"][..], &["verify", "--claim", "x", "--tier", "smoke"]] {
        assert!(place.error(both).contains("cannot be used with"), "{both:?}");
    }
    fs::write(place.path().join("reports/quick/results.json"), "{}").unwrap();
    let error = place.error(&["verify", "--claim", "x"]);
    assert!(error.contains("cannot read the claims of the report") && error.contains("hint: "), "{error}");
}

//! What a record says of the program, its sources, its environment and its settings, through whole commands.

use super::*;

/// The smallest training.
const TRAINING: &[&str] = &[
    "pretrain",
    "--epochs",
    "1",
    "--set",
    "pairs.categories=2",
    "--set",
    "pairs.per_category=8",
    "--set",
    "pretrain.batch=8",
];

/// A value that no record may have.
const SECRET: &str = "s3cr3tValue";

fn git(place: &Place, arguments: &[&str]) {
    let names = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    let done = program("git").args(names).args(arguments).current_dir(place.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The newest record.
fn newest(place: &Place) -> Value {
    let id = place.json(&["runs", "--last", "1", "--json"])[0]["id"].as_str().unwrap().to_owned();
    place.json(&["show", &id, "--json"])
}

#[test]
fn a_record_has_the_environment_without_secrets_and_the_values_that_were_replaced() {
    let place = Place::new();
    let mut command = place.command(&[TRAINING, &["--quiet", "--set", "checkpoint_seconds=7"]].concat());
    command.env("CUDA_API_TOKEN", SECRET).env("SLURM_JWT", SECRET).env("SLURM_JOB_ID", "17").env("HOME_OF", SECRET);
    command.env("LD_LIBRARY_PATH", format!("https://me:{SECRET}@example.org")).env("SEMPAIR_CHECKPOINT_SECONDS", "9");
    assert!(command.output().unwrap().status.success());
    let record = newest(&place);
    let environment = record["environment"].as_object().unwrap();
    let value = |name: &str| environment.get(name).and_then(Value::as_str);
    assert_eq!((value("CUDA_API_TOKEN"), value("SLURM_JOB_ID")), (Some("[redacted]"), Some("17")));
    assert_eq!(value("LD_LIBRARY_PATH"), Some("https://[redacted]@example.org"));
    assert_eq!((value("SLURM_JWT"), value("HOME_OF"), value("PATH")), (None, None, None));
    let settings = record["settings"].as_array().unwrap();
    let setting = settings.iter().find(|setting| setting["key"] == "checkpoint_seconds").unwrap();
    assert_eq!(setting["value"], 7.0);
    let replaced: Vec<&Value> = setting["shadowed"].as_array().unwrap().iter().map(|old| &old["value"]).collect();
    assert_eq!(replaced, [9.0, 20.0]);
    let shown = place.stdout(&["show", record["id"].as_str().unwrap()]);
    let line = shown.lines().find(|line| line.starts_with("  checkpoint_seconds = ")).unwrap();
    let instead = "(--set; instead of 9 of SEMPAIR_CHECKPOINT_SECONDS; instead of 20.0 of defaults.toml:";
    assert!(line.contains(instead), "{line}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn a_program_beside_other_sources_says_so() {
    let place = Place::new();
    let is_stale = |place: &Place| newest(place)["build"]["is_stale"].clone();
    let warns = |more: &[&str]| {
        let output = place.run(&[TRAINING, &["--quiet"], more].concat());
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap().contains("this program was not built from the sources that are here")
    };
    assert!(!warns(&[]));
    assert_eq!(is_stale(&place), Value::Null);
    fs::create_dir(place.path().join("src")).unwrap();
    fs::create_dir(place.path().join("build")).unwrap();
    fs::write(place.path().join("Cargo.toml"), "[package]\nname = \"sempair\"\n").unwrap();
    for name in ["src/lib.rs", "Cargo.lock", "rust-toolchain.toml"] {
        fs::write(place.path().join(name), "").unwrap();
    }
    assert!(warns(&["--seed", "1"]), "`--quiet` hides no warning of a loss");
    assert_eq!(is_stale(&place), true);
    let shown = place.stdout(&["show", newest(&place)["id"].as_str().unwrap()]);
    assert!(shown.contains(", NOT built from the sources around it"), "{shown}");
}

#[test]
fn changes_of_a_run_are_printed_and_code_of_a_ledger_is_not_built_unasked() {
    let place = Place::new();
    place.import_noise();
    git(&place, &["init", "-q"]);
    fs::write(place.path().join(".gitignore"), "/noise\n/cells.json\n").unwrap();
    fs::write(place.path().join("notes.txt"), "one\n").unwrap();
    git(&place, &["add", "-A"]);
    git(&place, &["commit", "-q", "-m", "first"]);
    fs::write(place.path().join("notes.txt"), "two\n").unwrap();
    place.run_cells(&[("raw pixels", "none")], 1, &[]);
    let run = newest(&place)["id"].as_str().unwrap().to_owned();
    let patch = place.stdout(&["show", &run, "--changes"]);
    assert!(patch.starts_with("diff --git a/notes.txt b/notes.txt\n") && patch.contains("\n-one\n+two\n"), "{patch}");
    let error = place.error(&["verify", &run, "--rebuild"]);
    assert!(error.contains("only the ledger has the files of commit "), "{error}");
    assert!(error.contains("`--trust-ledger` builds them"), "{error}");
    let error = place.error(&["verify", &run, "--rebuild", "--trust-ledger"]);
    assert!(error.contains("does not build: "), "{error}");
    git(&place, &["commit", "-q", "-a", "-m", "second"]);
    place.run_cells(&[("raw pixels", "none")], 1, &["--force"]);
    let run = newest(&place)["id"].as_str().unwrap().to_owned();
    let output = place.run(&["show", &run, "--changes"]);
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("no changes: the files of run "));
}

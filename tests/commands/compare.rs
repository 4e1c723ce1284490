//! `diff` and `why`: what differs between two runs, and why cells will run again.

use super::*;

/// The runs of the ledger, oldest first.
fn runs(place: &Place) -> Vec<Value> {
    place.json(&["runs", "--json"]).as_array().unwrap().clone()
}

fn id(run: &Value) -> &str {
    run["id"].as_str().unwrap()
}

/// The names of the changes in a section.
fn names<'a>(changes: &'a Value, section: &str) -> Vec<&'a str> {
    let changes = changes.as_array().unwrap().iter().filter(|change| change["section"] == *section);
    changes.map(|change| change["name"].as_str().unwrap()).collect()
}

#[test]
fn a_diff_lists_what_differs_and_nothing_else() {
    let place = Place::new();
    let table = |more: &[&str]| place.stdout(&[&["table", "transfer", "--quiet"], TINY, more].concat());
    table(&[]);
    table(&["--set", "methods.simclr.temperature=0.3"]);
    let runs = runs(&place);
    let of = |pairs: &str| -> Vec<&Value> {
        runs.iter().filter(|run| run["row"].to_string().contains(&format!("\"{pairs}\""))).collect()
    };
    let [first, second] = of("SP")[..] else { panic!("{runs:?}") };
    let diff = place.json(&["diff", id(first), id(second), "--json"]);
    assert_eq!(diff["runs"], serde_json::json!([id(first), id(second)]));
    let changes = &diff["changes"];
    assert_eq!(names(changes, "settings"), ["methods.simclr.temperature"]);
    assert_eq!(names(changes, "stages"), ["pretrain", "features", "probe"], "{changes}");
    for section in ["cell", "code", "data", "program", "machine", "files"] {
        assert_eq!(names(changes, section), [""; 0], "{section}: {changes}");
    }
    let setting = changes.as_array().unwrap().iter().find(|change| change["section"] == "settings").unwrap();
    assert_eq!(setting["values"], serde_json::json!([0.2, 0.3]));
    assert!(names(changes, "results").contains(&"checkpoint"), "{changes}");
    // The gain on the same test items is that of the two accuracies.
    let gains = diff["same_items"].as_array().unwrap();
    let gain = gains.iter().find(|gain| gain["metric"] == "top1").unwrap_or_else(|| panic!("{gains:?}"));
    let accuracy = |run: &Value| run["metrics"]["top1"].as_f64().unwrap();
    let points = gain["points"].as_f64().unwrap();
    assert!((points - (accuracy(second) - accuracy(first))).abs() < 1e-9, "{gain}");
    let [low, high] = [0, 1].map(|end| gain["interval"][end].as_f64().unwrap());
    assert!(low < points && points < high, "{gain}");

    let text = place.stdout(&["diff", id(first), id(second)]);
    assert!(text.contains("  methods.simclr.temperature  0.2 -> 0.3\n"), "{text}");
    assert!(text.contains("test items)") && !text.contains("seed  "), "{text}");
    let same = place.stdout(&["diff", id(first), id(first)]);
    assert!(same.ends_with("nothing that is compared differs, but for times and costs\n"), "{same}");
    let [augmented, _] = of("AP")[..] else { panic!("{runs:?}") };
    let rows = place.json(&["diff", id(first), id(augmented), "--json"]);
    assert_eq!(names(&rows["changes"], "cell"), ["row"]);
    let error = place.error(&["diff", id(first), "nothing"]);
    assert!(error.contains("no run `nothing`") && error.contains("hint: `sempair runs`"), "{error}");
}

#[test]
fn a_diff_lists_the_commits_between_two_runs() {
    let place = Place::new();
    let git = |arguments: &[&str]| {
        let names = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
        let done = program("git").args(names).args(arguments).current_dir(place.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let pretrain = |epochs: &str| {
        let small = ["--set", "pairs.categories=4", "--set", "pairs.per_category=16", "--set", "pretrain.batch=16"];
        place.stdout(&[&["pretrain", "--quiet", "--epochs", epochs], &small[..]].concat());
    };
    git(&["init", "-q"]);
    git(&["commit", "-q", "--allow-empty", "-m", "First"]);
    pretrain("1");
    git(&["commit", "-q", "--allow-empty", "-m", "A change of \u{1b}[31mcolour"]);
    git(&["commit", "-q", "--allow-empty", "-m", "Another change"]);
    pretrain("2");
    let runs = runs(&place);
    let text = place.stdout(&["diff", id(&runs[0]), id(&runs[1])]);
    let commits: Vec<&str> = text.lines().filter(|line| line.starts_with("    ")).collect();
    let [newest, older] = commits[..] else { panic!("{text}") };
    assert!(newest.starts_with("    + ") && newest.ends_with(" Another change"), "{text}");
    assert!(older.contains("A change of") && !older.contains('\u{1b}'), "{text}");
    let back = place.json(&["diff", id(&runs[1]), id(&runs[0]), "--json"]);
    assert_eq!(back["commits"]["only_first"].as_array().unwrap().len(), 2);
    assert_eq!(back["commits"]["only_second"], serde_json::json!([]));
    assert!(names(&back["changes"], "program").contains(&"commit"));
}

#[test]
fn cells_that_run_again_name_what_changed_for_them() {
    let place = Place::new();
    let why = |of: &str, more: &[&str]| place.json(&[&["why", of, "--json"], TINY, more].concat());
    let states = |answer: &Value| -> Vec<String> {
        answer.as_array().unwrap().iter().map(|cell| cell["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&why("transfer", &[])), ["new"; 5]);
    place.stdout(&[&["table", "transfer", "--quiet"], TINY].concat());
    assert_eq!(states(&why("transfer", &[])), ["done"; 5]);
    // A setting of another method, a number of seeds, and a place change nothing here.
    let other = ["--set", "methods.byol.momentum=0.5", "--set", "checkpoint_seconds=1"];
    assert_eq!(states(&why("transfer", &other)), ["done"; 5]);

    let changed = ["--set", "methods.simclr.temperature=0.3", "--set", "methods.byol.momentum=0.5"];
    let answer = why("transfer", &changed);
    assert_eq!(states(&answer), ["done", "done", "done", "again", "again"]);
    let cell = &answer[3];
    assert_eq!(names(&cell["changes"], "settings"), ["methods.simclr.temperature"], "and not BYOL's: {cell}");
    assert_eq!(cell["stages"], serde_json::json!(["pretrain", "features", "probe"]));
    // A longer probe trains nothing again.
    let answer = why("transfer", &["--set", "probe.iterations=21"]);
    assert_eq!(states(&answer), ["again"; 5]);
    assert!(answer.as_array().unwrap().iter().all(|cell| cell["stages"] == serde_json::json!(["probe"])), "{answer}");

    let run = cell["run"].as_str().unwrap();
    let text = place.stdout(&[&["why", run], TINY, &changed].concat());
    assert!(text.starts_with("1 cell will run again, such as SimCLR AP synth-10 seed 0"), "{text}");
    assert!(text.contains("  methods.simclr.temperature  0.2 -> 0.3\n"), "{text}");
    assert!(text.ends_with("  to compute: pretrain, features, probe\n"), "{text}");
    // Another number format or instruction set is named, too.
    let text = place.stdout(&[&["why", run], TINY, &["--set", "precision=f32"]].concat());
    assert!(
        (text.contains("precision") && text.contains("-> f32")) || text.starts_with("1 cell has a result"),
        "{text}"
    );
    let error = place.error(&[&["why", run], TINY, &["--set", "evaluation.sets=[\"synth-stl\"]"]].concat());
    assert!(error.contains("the table `transfer` has no such cell as run") && error.contains("hint: "), "{error}");
    let error = place.error(&["why", "nonsense"]);
    assert!(error.contains("no run `nonsense`") && error.contains("hint: "), "{error}");
}

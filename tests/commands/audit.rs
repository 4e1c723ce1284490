//! `audit`: what was changed in ledger, cache, data or reports is found and named.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sempair::harness::audit::{Subject, audit};
use sempair::harness::cache::Cache;
use sempair::harness::ledger::Ledger;
use sempair::rng::{Key, Stream};

use super::*;

/// A copy of a place with a report, its ledger and its cache, and an imported dataset.
fn place() -> Place {
    static MADE: LazyLock<Place> = LazyLock::new(make);
    let place = Place::new();
    for file in files(MADE.path()) {
        let target = place.path().join(file.strip_prefix(MADE.path()).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
    place
}

fn make() -> Place {
    let place = Place::new();
    let small = ["pairs.categories=2", "pairs.per_category=8", "pretrain.epochs=1", "pretrain.batch=8"];
    let small = small.into_iter().chain(["probe.iterations=1"]).flat_map(|set| ["--set", set]);
    place.reproduce(&small.collect::<Vec<_>>());
    let images = place.path().join("images");
    for (i, category) in ["cats", "dogs"].into_iter().enumerate() {
        fs::create_dir_all(images.join(category)).unwrap();
        for j in 0..4_u8 {
            let pixels: Vec<u8> =
                (0..8 * 8 * 3).map(|at| (at as u8).wrapping_mul(j + 3).wrapping_add(i as u8)).collect();
            let image = [b"P6 8 8 255\n".as_slice(), &pixels].concat();
            fs::write(images.join(category).join(format!("{j}.ppm")), image).unwrap();
        }
    }
    place.stdout(&["data", "import", "images", "--name", "pets", "--size", "8", "--quiet"]);
    fs::remove_dir_all(images).unwrap();
    place
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { files.extend(self::files(&entry)) } else { files.push(entry) }
    }
    files.sort();
    files
}

/// The exit code of `audit`, and what it found, by file.
fn audited(place: &Place, arguments: &[&str]) -> (Option<i32>, BTreeMap<PathBuf, String>) {
    let output = place.run(&[&["audit", "--json"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let problem = |found: &Value| (PathBuf::from(text(&found["file"])), text(&found["what"]));
    (output.status.code(), answer["problems"].as_array().unwrap().iter().map(problem).collect())
}

/// Changes one random byte of a file, and returns what it was before.
fn change(file: &Path, draws: &mut Stream) -> Vec<u8> {
    let before = fs::read(file).unwrap();
    let mut bytes = before.clone();
    bytes[draws.below(before.len())] ^= 1 + draws.below(255) as u8;
    fs::write(file, bytes).unwrap();
    before
}

#[test]
fn every_changed_byte_is_found_and_its_file_named() {
    let place = place();
    assert_eq!(audited(&place, &[".", "--deep"]), (Some(0), BTreeMap::new()));
    let root = place.path();
    let at = |name: &str| root.join(name);
    let mut draws = Key::root(200).split("changed bytes").stream();
    let mut changes = BTreeMap::from([("ledger", 0), ("cache, data and report", 0)]);

    // Records and journals, one change at a time.
    let (ledger, cache) =
        (Ledger::open(at("reports/ledger"), at(".sempair/cache/locks")), Cache::open(at(".sempair/cache")));
    let of_ledger = files(ledger.dir());
    assert_eq!(of_ledger.len(), 6, "five records and a journal");
    for _ in 0..100 {
        let file = &of_ledger[draws.below(of_ledger.len())];
        let before = change(file, &mut draws);
        let found = audit(&ledger, &cache, root, Subject::Everything, false).unwrap().problems;
        assert!(found.iter().any(|problem| problem.file == *file), "{}: {found:?}", file.display());
        fs::write(file, before).unwrap();
        *changes.get_mut("ledger").unwrap() += 1;
    }

    // These files are checked one by one, so one audit finds a change in each of them.
    let is_of_stage = |file: &PathBuf| {
        file.strip_prefix(at(".sempair/cache")).unwrap().components().count() >= 3
            && !file.starts_with(at(".sempair/cache/locks"))
    };
    let stages: Vec<PathBuf> = files(&at(".sempair/cache")).into_iter().filter(is_of_stage).collect();
    let mut folders: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    stages.into_iter().for_each(|file| folders.entry(file.parent().unwrap().to_owned()).or_default().push(file));
    let data = place.json(&["config", "paths.data", "--json"])[0]["value"].as_str().unwrap().to_owned();
    let data: Vec<PathBuf> = files(&at(&data)).into_iter().chain(files(&at("reports/quick"))).collect();
    for _ in 0..4 {
        // Of a stage one file at a time: the manifest is compared if the other files are as they were.
        let of_stages = folders.values().map(|files| &files[draws.below(files.len())]).collect::<Vec<_>>();
        let files = of_stages.into_iter().chain(&data).filter(|file| fs::metadata(file).unwrap().len() > 0);
        let changed: Vec<(&PathBuf, Vec<u8>)> = files.map(|file| (file, change(file, &mut draws))).collect();
        let (code, found) = audited(&place, &[".", "--deep"]);
        assert_eq!(code, Some(1));
        for (file, before) in changed {
            let name = file.strip_prefix(root).unwrap();
            assert!(found.contains_key(name), "{} is not among {found:?}", name.display());
            fs::write(file, before).unwrap();
            *changes.get_mut("cache, data and report").unwrap() += 1;
        }
    }
    println!("changed bytes that were found: {changes:?}");
    assert!(changes.values().sum::<usize>() >= 200, "{changes:?}");
    assert_eq!(audited(&place, &[".", "--deep"]), (Some(0), BTreeMap::new()));
}

#[test]
fn an_audit_is_of_a_run_a_report_or_everything() {
    let place = place();
    let runs = place.json(&["runs", "--json"]);
    let ids: Vec<&str> = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    let text = place.stdout(&["audit", "."]);
    assert!(text.starts_with("5 runs in reports/ledger\n5 runs name no commit: "), "{text}");
    assert!(
        text.contains("\nreports/quick: its ") && text.contains(" files follow from 5 runs, byte for byte\n"),
        "{text}"
    );
    assert!(text.contains("\n1 journal; the history ends with "), "{text}");
    assert!(text.contains("\ndatasets: pets\n"), "{text}");
    assert!(text.ends_with("`--deep` reads them\neverything is as it was recorded\n"), "{text}");
    let run = place.stdout(&["audit", ids[4], "--deep"]);
    assert!(run.contains("record unchanged, tree unknown, files of 5 of 5 stages unchanged"), "{run}");
    assert_eq!(run.lines().count(), 4, "{run}");

    // A figure is changed in the report.
    let results = place.path().join("reports/quick/results.json");
    let written = fs::read_to_string(&results).unwrap();
    let mut figures: Value = serde_json::from_str(&written).unwrap();
    let cells = figures["tables"][0]["cells"].as_array_mut().unwrap();
    let cell = cells.iter_mut().find(|cell| cell["metric"] == "top1" && cell["row"]["pairs"] == "SP").unwrap();
    let value = cell["values"][0].take();
    cell["values"][0] = 99.5.into();
    fs::write(&results, serde_json::to_string_pretty(&figures).unwrap() + "\n").unwrap();
    let output = place.run(&["audit", "reports/quick"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&format!(
        "FOUND reports/quick/results.json: transfer SimCLR SP synth-10 top1 seed 0 of run {} is 99.5, and the records give \
         {value}\n",
        ids[4]
    )), "{text}");
    fs::write(&results, written).unwrap();

    // A run that is removed is missed by the ledger and by the report, and told of by its id.
    fs::remove_file(place.path().join(format!("reports/ledger/{}.json", ids[0]))).unwrap();
    let (code, found) = audited(&place, &["reports/quick/"]);
    let file = PathBuf::from(format!("reports/ledger/{}.json", ids[0]));
    assert!(code == Some(1) && found[&file].starts_with("removed: line ") && found.len() > 2, "{found:?}");
    assert!(place.error(&["audit", ids[0]]).contains("says that it was ended"));
    // The reason comes first, and the many files of the report that it changes do not hide it.
    let text = String::from_utf8(place.run(&["audit", "reports/quick"]).stdout).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("FOUND ")).collect();
    assert!(lines[0].starts_with(&format!("FOUND {}: removed: ", file.display())), "{text}");
    assert_eq!(lines.iter().filter(|line| line.contains(", and the records give `")).count(), 3, "{text}");
    assert!(lines.last().unwrap().ends_with(" more files with differences; `--json` lists all"), "{text}");
    assert!(text.contains("what was found in the ledger may be the reason"), "{text}");

    // A user deletes a run. The report and the audit say so.
    let text = place.stdout(&["runs", "--delete", ids[1]]);
    assert!(text.starts_with(&format!("deleted the record of run {}; a journal keeps", ids[1])), "{text}");
    place.stdout(&["report"]);
    let report = fs::read_to_string(place.path().join("reports/quick/report.md")).unwrap();
    assert!(report.contains("Deleted from the ledger by a user, and not counted: 1 run."), "{report}");
    assert!(String::from_utf8(place.run(&["audit", "."]).stdout).unwrap().contains("; deleted: 1 run; "));
    assert!(place.error(&["audit", ids[1]]).contains("was deleted by a user"));

    // A copy of the last line of the history tells whether it is still there.
    let head = place.path().join("reports/ledger/journal");
    let heads: Vec<String> = files(&head).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let line = heads[0].lines().last().unwrap();
    assert!(!audited(&place, &[".", "--head", &line[..64]]).1.values().any(|what| what.contains("no journal has")));
    let (_, found) = audited(&place, &[".", "--head", &"0".repeat(64)]);
    assert!(found[Path::new("reports/ledger")].starts_with("no journal has the line 000"), "{found:?}");

    // A report without a ledger cannot be compared.
    fs::remove_dir_all(place.path().join("reports/ledger")).unwrap();
    let (code, found) = audited(&place, &["."]);
    let what = "cannot be compared with records: reports/ledger has no completed run of the profile `quick`";
    assert_eq!((code, found[Path::new("reports/quick")].as_str()), (Some(1), what));
}

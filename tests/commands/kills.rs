//! Commands that are killed (SIGKILL) at any moment: nothing half-written is taken for whole, no record is lost, no status
//! is wrong, the same command goes on, and what it leaves has the bits of an undisturbed run. The moments are drawn from a
//! key, so a failure comes again, as far as the machine is as fast.

use std::collections::BTreeMap;

use super::*;

/// A command that is killed.
struct Killed {
    name: &'static str,
    /// Makes what the command needs.
    prepare: fn(&Place),
    arguments: fn() -> Vec<&'static str>,
    /// The files that must come out the same, by path.
    files: fn(&Place) -> BTreeMap<String, Vec<u8>>,
    /// What it writes, which is removed before every second round.
    writes: &'static [&'static str],
}

static IMPORT: Killed = Killed {
    name: "import",
    prepare: Place::draw_noise,
    arguments: || vec!["data", "import", "noise", "--size", "32", "--replace", "--quiet"],
    files: |place| written(&place.path().join(".sempair/data")),
    writes: &[".sempair/data"],
};

static PAIRS: Killed = Killed {
    name: "pairs",
    prepare: |_| {},
    arguments: || "data pairs --from synth --categories 2 --per-category 8 --croissant".split(' ').collect(),
    files: |place| written(&place.path().join(".sempair/data")),
    writes: &[".sempair/data"],
};

static REPORT: Killed = Killed {
    name: "report",
    prepare: |place| {
        place.import_noise();
        place.run_cells(&[("raw pixels", "none")], 1, &[]);
    },
    arguments: || vec!["report"],
    files: |place| written(&place.path().join("reports/quick")),
    writes: &["reports/quick"],
};

static PROBE: Killed = Killed {
    name: "probe",
    prepare: |place| {
        place.import_noise();
        let cells = r#"[{"row": [["method", "raw pixels"], ["pairs", "none"]], "column": "noise", "seed": 0}]"#;
        fs::write(place.path().join("cells.json"), cells).unwrap();
    },
    arguments: || [&["table", "transfer", "--quiet", "--cells", "cells.json", "--seeds", "1"], SMALL].concat(),
    files: results,
    writes: &["reports", ".sempair/cache"],
};

static TRAINING: Killed = Killed {
    name: "training",
    prepare: |place| {
        place.import_noise();
        let cells = r#"[{"row": [["method", "SimCLR"], ["pairs", "SP"]], "column": "noise", "seed": 0}]"#;
        fs::write(place.path().join("cells.json"), cells).unwrap();
    },
    arguments: || {
        let table = ["table", "transfer", "--quiet", "--cells", "cells.json", "--seeds", "1"];
        [&table, SMALL, &["--set", "checkpoint_seconds=0"]].concat()
    },
    files: results,
    writes: &["reports", ".sempair/cache"],
};

/// The files below a folder but for the ledger and hidden files, by path.
fn written(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn add(folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                true => add(&path, files),
                false if name.starts_with('.') => {}
                false => drop(files.insert(path.to_string_lossy().into_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    let mut files = BTreeMap::new();
    add(folder, &mut files);
    let below = |path: String| path[folder.to_string_lossy().len()..].to_owned();
    files.into_iter().map(|(path, bytes)| (below(path), bytes)).collect()
}

/// What the completed runs have, but for times: figures, and the hashes of encoder and predictions.
fn results(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let runs = place.json(&["runs", "--json"]);
    let completed = runs.as_array().unwrap().iter().filter(|run| run["status"] == "completed");
    let result = |run: &Value| {
        let facts = ["metrics", "checkpoint", "predictions", "hits"].map(|name| run[name].to_string());
        (format!("{} {}", run["row"], run["seed"]), facts.join(" ").into_bytes())
    };
    completed.map(result).collect()
}

/// Hidden files that are not finished, and stages that are not.
fn unfinished(place: &Place) -> Vec<PathBuf> {
    fn add(folder: &Path, found: &mut Vec<PathBuf>) {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && (name.ends_with(".tmp") || name.ends_with(".part"));
            if hidden || name.ends_with(".partial") {
                found.push(path);
            } else if path.is_dir() {
                add(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    add(place.path(), &mut found);
    found
}

/// Unfinished files look as if they had been begun two hours ago: younger ones could be those of a living process.
fn age(files: &[PathBuf]) {
    for file in files.iter().filter(|file| file.is_file()) {
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - Duration::from_secs(7200)).unwrap();
    }
}

/// The status of each run by id.
fn statuses(place: &Place) -> BTreeMap<String, String> {
    let runs = place.json(&["runs", "--json"]);
    let status = |run: &Value| ["id", "status"].map(|name| run[name].as_str().unwrap().to_owned());
    runs.as_array().unwrap().iter().map(status).map(|[id, status]| (id, status)).collect()
}

/// What the rounds of a command came to.
#[derive(Default)]
struct Tally {
    rounds: usize,
    /// Rounds in which the command still ran when it was killed.
    killed: usize,
    /// Rounds after which unfinished files were there.
    left: usize,
    /// Files that were half-written, and results with other bits.
    wrong: Vec<String>,
    lost: Vec<String>,
    wrong_statuses: Vec<String>,
}

impl Killed {
    /// Kills the command at `rounds` moments, each time in the state that the round before has left, and starts it again.
    fn rounds(&self, rounds: usize) -> Tally {
        let place = Place::new();
        (self.prepare)(&place);
        let arguments = (self.arguments)();
        let records = self.writes.contains(&"reports");
        let start = Instant::now();
        place.stdout(&arguments);
        let (mut whole, expected) = (start.elapsed(), (self.files)(&place));
        assert!(!expected.is_empty(), "{}", self.name);
        let mut tally = Tally { rounds, ..Tally::default() };
        for round in 0..rounds {
            let what = format!("{}, round {round}", self.name);
            if round % 2 == 0 || records {
                self.writes.iter().for_each(|folder| {
                    let _ = fs::remove_dir_all(place.path().join(folder));
                });
            }
            let mut before = BTreeMap::new();
            // A command with records is killed twice, the second time when it goes on.
            for kill in 0..if records { 2 } else { 1 } {
                let digest = blake3::hash(format!("{what}, kill {kill}").as_bytes());
                let part = f64::from(u16::from_le_bytes([digest.as_bytes()[0], digest.as_bytes()[1]])) / 65536.0;
                let mut child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                std::thread::sleep(whole.mul_f64(part));
                child.kill().unwrap();
                tally.killed += usize::from(child.wait().unwrap().code().is_none());
                before = self.check(&place, &before, &expected, &what, &mut tally);
            }
            let left = unfinished(&place);
            tally.left += usize::from(!left.is_empty());
            age(&left);
            let start = Instant::now();
            let output = place.run(&arguments);
            // The machine may be busier than before. A command that goes on takes less than a whole one.
            whole = if records { whole.max(start.elapsed()) } else { start.elapsed() };
            let said = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                tally.wrong.push(format!("{what}: the next start failed: {said}"));
            }
            self.check(&place, &before, &expected, &what, &mut tally);
            if (self.files)(&place) != expected {
                tally.wrong.push(format!("{what}: other bits than those of an undisturbed run"));
            }
            let left = unfinished(&place);
            if !left.is_empty() {
                tally.wrong.push(format!("{what}: left at the end: {left:?}"));
            }
        }
        println!(
            "{}: {} rounds, {} kills while it ran, {} rounds left unfinished files; wrong files {}, lost records {}, wrong \
             statuses {}",
            self.name,
            tally.rounds,
            tally.killed,
            tally.left,
            tally.wrong.len(),
            tally.lost.len(),
            tally.wrong_statuses.len()
        );
        tally
    }

    /// What can be seen is whole; what was recorded is still there. Returns the status of each run.
    fn check(
        &self,
        place: &Place,
        before: &BTreeMap<String, String>,
        expected: &BTreeMap<String, Vec<u8>>,
        what: &str,
        tally: &mut Tally,
    ) -> BTreeMap<String, String> {
        for (name, bytes) in (self.files)(place) {
            if expected.get(&name) != Some(&bytes) {
                tally.wrong.push(format!("{what}: {name} is not whole"));
            }
        }
        let verified = place.run(&["data", "verify"]);
        if !verified.status.success() {
            tally.wrong.push(format!("{what}: {}", String::from_utf8_lossy(&verified.stderr)));
        }
        let now = statuses(place);
        for (id, status) in before {
            match now.get(id) {
                None => tally.lost.push(format!("{what}: run {id}")),
                Some(now) if now != status => tally.wrong_statuses.push(format!("{what}: {status}, then {now}")),
                _ => {}
            }
        }
        // No process runs now.
        let possible = |status: &&String| ["completed", "killed"].contains(&status.as_str());
        let wrong = now.iter().filter(|(_, status)| !possible(status));
        tally.wrong_statuses.extend(wrong.map(|(id, status)| format!("{what}: run {id} is {status}")));
        let audit = place.run(&["audit", "."]);
        if !now.is_empty() && audit.status.code() != Some(0) {
            // A report that is not whole yet is found, too: only the ledger counts here.
            let text = String::from_utf8_lossy(&audit.stdout).into_owned();
            let of_ledger = text.lines().filter(|line| line.contains("ledger/"));
            tally.lost.extend(of_ledger.map(|line| format!("{what}: {line}")));
        }
        now
    }
}

/// Asserts that nothing is lost or wrong. Returns the number of kills while the command ran.
fn none_wrong(command: &Killed, rounds: usize) -> usize {
    let Tally { killed, wrong, lost, wrong_statuses, .. } = command.rounds(rounds);
    assert!(wrong.is_empty() && lost.is_empty(), "{}: {wrong:#?}\n{lost:#?}", command.name);
    assert!(wrong_statuses.is_empty(), "{}: {wrong_statuses:#?}", command.name);
    killed
}

#[test]
fn killed_imports_pairs_reports_and_probes_leave_nothing_half_written() {
    let killed: usize = [&IMPORT, &PAIRS, &REPORT, &PROBE].map(|command| none_wrong(command, 3)).iter().sum();
    assert!(killed > 0, "no command was killed while it ran");
}

#[test]
#[ignore = "by hand, a minute in release: KILL_ROUNDS rounds of each of the five commands, by default 60"]
#[expect(clippy::disallowed_methods, reason = "the number of rounds is given by hand")]
fn killed_commands_of_all_kinds_leave_nothing_half_written() {
    let rounds = std::env::var("KILL_ROUNDS").map_or(60, |rounds| rounds.parse().unwrap());
    let all = [&IMPORT, &PAIRS, &REPORT, &PROBE, &TRAINING];
    let ended = all.map(|command| std::thread::spawn(move || none_wrong(command, rounds))).map(|it| it.join());
    println!("{} rounds", all.len() * rounds);
    assert!(ended.iter().all(|killed| killed.as_ref().is_ok_and(|killed| *killed > 0)));
}

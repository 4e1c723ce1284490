//! `plan`: what was frozen before the runs, and what reports, audits and bundles say of it. No cell is trained here: runs
//! are entered in the ledger as a command enters them.

use sempair::bundle::archive::{self, Archive};
use sempair::harness::ledger::Ledger;
use sempair::harness::record::{Record, Status};
use serde_json::json;

use super::*;
use crate::sealed::resealed;

/// One table with one method on one set: 4 rows with every seed, and raw pixels.
const TABLE: &[&str] = &["--set", "evaluation.sets=[\"synth-10\"]", "--methods", "simclr", "--seeds"];

/// The arguments of the table with this number of seeds.
fn with_seeds<'a>(command: &[&'a str], seeds: &'a str) -> Vec<&'a str> {
    [command, TABLE, &[seeds]].concat()
}

impl Place {
    /// Freezes a plan of the table with this number of seeds.
    fn freeze(&self, seeds: &str) -> Value {
        self.json(&with_seeds(&["plan", "freeze", "--table", "transfer", "--quiet", "--json"], seeds))["plan"].clone()
    }

    fn plan_file(&self, plan: &Value) -> PathBuf {
        self.path().join(format!("reports/ledger/plans/{}.json", text(&plan["id"])))
    }

    /// Enters a completed run for every cell of the plan with one of these seeds, as one command would.
    fn enter(&self, plan: &Value, seeds: &[u64]) {
        let ledger = Ledger::open(self.path().join("reports/ledger"), self.path().join(".sempair/cache/locks"));
        let count = seeds.iter().max().unwrap() + 1;
        let settings = self.json(&with_seeds(&["config", "--json"], &count.to_string()));
        let setting = |of: &Value| {
            let origin = if of["origin"]["place"].is_null() { &of["origin"]["layer"] } else { &of["origin"]["place"] };
            json!({ "key": of["key"], "value": of["value"], "origin": origin })
        };
        let settings: Vec<Value> = settings.as_array().unwrap().iter().map(setting).collect();
        let mut number = ledger.records().unwrap().0.len();
        for cell in plan["tables"][0]["cells"].as_array().unwrap() {
            for (seed, key) in cell["keys"].as_object().unwrap() {
                let seed: u64 = seed.parse().unwrap();
                if !seeds.contains(&seed) {
                    continue;
                }
                number += 1;
                let gain = if cell["row"][1][1] == "SP" { 6.0 } else { 0.0 };
                let mut record: Record = serde_json::from_value(json!({
                    "schema": "sempair.run/1", "id": format!("01f00000-0000-7000-8000-{number:012x}"), "key": key,
                    "experiment": "transfer", "title": "t", "status": "running", "started": "2026-11-30T10:00:00.000Z",
                    "profile": "quick", "row": cell["row"], "column": cell["column"], "seed": seed, "settings": settings,
                    "compute": plan["compute"], "build": plan["build"], "git": plan["git"],
                    "metrics": { "top1": 50.0 + gain + seed as f64 / 8.0 * gain, "knn": 40.0 },
                }))
                .unwrap();
                let running = ledger.begin(&record).unwrap();
                record.status = Status::Completed;
                record.ended = Some("2026-11-30T10:00:01.000Z".into());
                ledger.finish(running, &record).unwrap();
            }
        }
    }

    /// What an audit of everything finds, each with the path from the ledger.
    fn found(&self) -> Vec<String> {
        let output = self.run(&["audit", ".", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let line = |found: &Value| format!("{}: {}", text(&found["file"]), text(&found["what"]));
        let all = answer["problems"].as_array().unwrap().iter().map(line);
        let all: Vec<String> = all.filter_map(|line| Some(line.strip_prefix("reports/ledger/")?.to_owned())).collect();
        assert_eq!(output.status.code(), Some(i32::from(!answer["problems"].as_array().unwrap().is_empty())));
        all
    }

    fn report(&self, name: &str) -> String {
        fs::read_to_string(self.path().join("reports/quick").join(name)).unwrap()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn short(plan: &Value) -> &str {
    let id = text(&plan["id"]);
    &id[id.len() - 8..]
}

/// The file of the only journal with a line of this event.
fn journal_with(place: &Place, event: &str) -> PathBuf {
    let folder = place.path().join("reports/ledger/journal");
    let mut paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.find(|path| fs::read_to_string(path).unwrap().contains(&format!(" {event} "))).unwrap()
}

/// Adds a line to the end of a journal, with the hash that it should have.
fn append(journal: &Path, rest: &str) {
    let lines = fs::read_to_string(journal).unwrap();
    let last = lines.lines().last().unwrap().split(' ').next().unwrap();
    let hash = blake3::hash(format!("{last} {rest}").as_bytes()).to_hex();
    fs::write(journal, format!("{lines}{hash} {rest}\n")).unwrap();
}

#[test]
fn runs_after_a_plan_are_planned_and_others_say_why_not() {
    let place = Place::new();
    assert_eq!(place.stdout(&["plan"]), "no plans; `sempair plan freeze` writes one before the first run\n");
    let arguments = with_seeds(&["plan", "freeze", "--table", "transfer", "--note", "two seeds", "--quiet"], "2");
    let said = place.stdout(&arguments);
    let plans = place.json(&["plan", "--json"]);
    let plan = &plans["plans"][0]["plan"];
    let (id, day) = (short(plan), &text(&plan["frozen"])[..10]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with(&format!("plan {id} of the profile quick, frozen {day} ")), "{said}");
    assert!(lines[0].ends_with(" at no commit: two seeds"), "{said}");
    assert_eq!(lines[1], "  transfer: 9 cells in 5 rows and 1 columns, seeds 0, 1; 21 claims");
    let (settings, hash) = (plan["settings"].as_array().unwrap(), text(&plan["settings_hash"]));
    assert_eq!(lines[2], format!("  {} settings that decide results, BLAKE3 {hash}", settings.len()));
    let is = |key: &str| settings.iter().any(|setting| setting["key"] == key);
    assert!(is("pretrain.epochs") && is("augment.crop.scale") | is("optimizer.name") | is("probe.iterations"));
    assert!(!is("paths.data") && !is("seeds"), "places and numbers of runs decide no result");
    let file = format!("reports/ledger/plans/{}.json", text(&plan["id"]));
    assert_eq!(lines[3], format!("written to {file}; commit it with the journals of the ledger"));
    let head = lines[4].strip_prefix("`sempair audit . --head ").and_then(|rest| rest.split('`').next()).unwrap();
    assert!(place.stdout(&["audit", ".", "--head", head]).contains("\n1 plan as frozen\n"));

    place.enter(plan, &[0, 1]);
    let head = |plan: &Value| place.stdout(&["plan"]).lines().next().unwrap().contains(short(plan));
    assert!(head(plan));
    assert!(place.stdout(&["plan"]).ends_with("\n  transfer: 9 of 9 cells done as planned\n"));
    // A command finds the planned cells, and its report says that they were planned.
    let output = place.run(&with_seeds(&["table", "transfer"], "2"));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("9 of 9 cells were in the ledger"), "{errors}");
    let said = String::from_utf8(output.stdout).unwrap();
    let planned = format!("The one comparison was planned before its runs (plan {id} of {day}).");
    let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined(&said).contains(&planned), "{said}");
    let caption = format!("Planned on {day} (plan {id}, frozen before the first run).");
    for name in ["report.html", "report.md", "tables/transfer.tex"] {
        assert!(place.report(name).contains(&caption), "{name}");
    }
    for name in ["report.html", "report.md", "main.tex"] {
        let page = place.report(name);
        assert!(page.contains(&planned) && page.contains("Plan: was it frozen before the runs?"), "{name}");
        assert!(page.contains("transfer: planned 9 of 9 runs."), "{name}");
    }
    let results: Value = serde_json::from_str(&place.report("results.json")).unwrap();
    let table = &results["tables"][0];
    assert_eq!((&table["plan"]["planned"], &table["plan"]["others"]), (&json!(9), &json!([])));
    assert_eq!((&table["plan"]["id"], &table["plan"]["moved"]), (&plan["id"], &json!(0)));
    assert_eq!((&results["plans"][0]["hash"], &results["plans"][0]["tables"]), (&plan["hash"], &json!(["transfer"])));
    let tested = || table["claims"].as_array().unwrap().iter().filter(|claim| !claim["difference"].is_null());
    assert!(tested().count() == 1 && tested().all(|claim| claim["standing"] == json!({ "is": "planned" })));
    assert_eq!(place.found(), [""; 0]);

    // A third seed was not planned.
    let other = Place::new();
    place.enter(&other.freeze("3"), &[2]);
    let state = place.stdout(&["plan"]);
    let expected = "9 of 9 cells done as planned, 4 runs post hoc\n    post hoc: seed 2 is not in the plan (4 runs)\n";
    assert!(state.ends_with(expected), "{state}");
    let said = joined(&place.stdout(&["report"]));
    let rest = format!("Planned before their runs: 0 of 1 comparison (plan {id} of {day}); 1 post hoc.");
    assert!(said.contains(&rest), "{said}");
    let page = place.report("report.md");
    assert!(page.contains(&format!("Planned on {day} (plan {id}): 9 of 13 runs; 4 are post hoc.")), "{page}");
    let note = format!("‡ Not as plan {id} says. Post hoc: seed 2 is not in the plan (4 runs).");
    assert!(page.contains(&note) && page.contains("| SP ‡ |") && page.contains("| SimCLR ‡ |"), "{page}");
    assert!(page.contains(" Post hoc: seed 2 is not in the plan.\n"), "{page}");
    assert!(place.report("report.html").contains(&note) && place.report("tables/transfer.tex").contains(r"SP \ddag{}"));
    let results: Value = serde_json::from_str(&place.report("results.json")).unwrap();
    let others = results["tables"][0]["plan"]["others"].as_array().unwrap();
    assert_eq!((others.len(), &others[0]["why"]), (4, &json!("seed 2 is not in the plan")));
    // So do the lists of runs, and what the report suggests.
    assert_eq!(page.matches(", post hoc)").count(), 4, "{page}");
    assert_eq!(place.report("report.html").matches(" <small>post hoc</small></span>").count(), 4);
    let runs = place.stdout(&["runs"]);
    assert_eq!((runs.lines().count(), runs.matches("  (post hoc)\n").count()), (13, 4), "{runs}");
    let show = |of: &Value| place.stdout(&["show", text(&of["run"])]);
    let last = show(&others[0]);
    assert!(last.contains(&format!("\nplan         {id} {day}, post hoc: seed 2 is not in the plan\n")), "{last}");
    let first = place.json(&["runs", "--json"])[0]["id"].clone();
    let first = show(&json!({ "run": first }));
    assert!(first.contains(&format!("\nplan         {id} {day}, planned\n")), "{first}");
    // What was given comes first: here the rows and the seeds.
    let place_of = |part: &str| first.find(part).unwrap_or_else(|| panic!("no {part} in {first}"));
    assert!(place_of("\nsettings that were given\n") < place_of("\n  seeds = 2"), "{first}");
    assert!(place_of("\n  seeds = 2") < place_of("\nsettings of the profile, and defaults\n"), "{first}");
    assert_eq!(place.found(), [""; 0]);
}

#[test]
fn a_plan_after_the_runs_is_one_and_says_so() {
    let place = Place::new();
    let first = place.freeze("1");
    place.enter(&first, &[0]);
    let said = place.stdout(&with_seeds(&["plan", "freeze", "--table", "transfer", "--quiet"], "2"));
    assert!(said.contains("\n5 of these cells were already run: their runs stay \"before the plan\"\n"), "{said}");
    let plans = place.json(&["plan", "--json"]);
    let second = &plans["plans"][1]["plan"];
    assert!(text(&second["id"]) > text(&first["id"]));
    let state = place.stdout(&["plan"]);
    let lines: Vec<&str> = state.lines().collect();
    assert_eq!(lines[1], format!("  transfer: replaced by plan {}", short(second)));
    assert_eq!(lines[3], "  transfer: 0 of 9 cells done as planned, 5 runs before the plan");
    place.enter(second, &[1]);
    assert!(place.stdout(&["plan"]).ends_with("  transfer: 4 of 9 cells done as planned, 5 runs before the plan\n"));
    place.stdout(&["report"]);
    let page = place.report("report.md");
    assert!(page.contains(&format!("(plan {}): 4 of 9 runs; 5 began before the plan.", short(second))), "{page}");
    assert!(
        page.contains("Begun before the plan was frozen: 5 runs.")
            && page.contains("A later plan replaces it for transfer.")
    );
    assert_eq!(place.found(), [""; 0]);
    let error = place.error(&["plan", "freeze", "--table", "tranfer"]);
    assert!(error.contains("there is no table `tranfer`") && error.contains("hint: "), "{error}");
    let error = place.error(&["plan", "freeze", "--profile", "standard"]);
    assert!(error.contains("hint: "), "{error}");
}

#[test]
fn a_plan_that_was_changed_added_or_removed_is_named() {
    let place = Place::new();
    let plan = place.freeze("1");
    place.enter(&plan, &[0]);
    assert_eq!(place.found(), [""; 0]);
    let (file, id) = (place.plan_file(&plan), text(&plan["id"]));
    let name = format!("plans/{id}.json");
    let written = fs::read_to_string(&file).unwrap();
    let after = |change: &dyn Fn()| {
        change();
        let found = place.found();
        let warned = String::from_utf8(place.run(&["plan"]).stderr).unwrap();
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &written).unwrap();
        assert!(found.iter().all(|line| warned.contains(line)), "{found:?}: {warned}");
        found
    };
    for at in (0..written.len()).step_by(written.len() / 24) {
        let mut bytes = written.clone().into_bytes();
        bytes[at] ^= 1;
        let found = after(&|| fs::write(&file, &bytes).unwrap());
        assert!(found.len() == 1 && found[0].starts_with(&format!("{name}: ")), "byte {at}: {found:?}");
    }
    let journal = format!("reports/ledger/journal/{id}.journal");
    let removed = after(&|| fs::remove_file(&file).unwrap());
    assert_eq!(removed, [format!("{name}: removed: line 1 of {journal} says that it was frozen")]);
    let less = resealed(&written.replace("\"profile\": \"quick\"", "\"profile\": \"paper\""));
    let replaced = after(&|| fs::write(&file, &less).unwrap());
    assert_eq!(
        replaced,
        [format!("{name}: replaced: line 1 of {journal} says that it was frozen with another content")]
    );
    let spaced = after(&|| fs::write(&file, written.replacen(": ", ":  ", 1)).unwrap());
    assert!(spaced[0].starts_with(&format!("{name}: its white space or the order of its fields")), "{spaced:?}");
    let mut copy: Value = serde_json::from_str(&written).unwrap();
    copy["original"] = plan["hash"].clone();
    let copy = after(&|| fs::write(&file, resealed(&copy.to_string())).unwrap());
    assert_eq!(copy, [format!("{name}: an anonymous copy of a plan, and not the plan")]);

    // What no plan is, and what would leave its folder.
    let other = id.replace(&id[..8], "0f000000");
    let beside = file.with_file_name(format!("{other}.json"));
    let add = |bytes: &[u8]| after(&|| fs::write(&beside, bytes).unwrap()).join("\n");
    assert_eq!(
        add(resealed(&written.replace(id, &other)).as_bytes()),
        format!("plans/{other}.json: added: no journal says that it was frozen")
    );
    assert_eq!(add(written.as_bytes()), format!("plans/{other}.json: a copy: the plan inside is `{id}`"));
    let hostile = resealed(&written.replace(id, "../../../outside"));
    assert_eq!(add(hostile.as_bytes()), format!("plans/{other}.json: a copy: the plan inside is `../../../outside`"));
    assert!(
        add(b"{\"schema\": \"sempair.plan/7\"}")
            .ends_with("of schema `sempair.plan/7`, which this version cannot read")
    );
    for (bytes, says) in
        [(&b"["[..], "not JSON: "), (b"{}", "not a plan: it has no schema"), (b"\xff\xfe", "cannot read it: ")]
    {
        assert!(add(bytes).starts_with(&format!("plans/{other}.json: {says}")), "{says}");
    }
    let huge = after(&|| fs::File::create(&beside).unwrap().set_len(1 << 30).unwrap());
    assert_eq!(huge, [format!("plans/{other}.json: not a plain file of a plan's size")]);
    let folder = after(&|| fs::create_dir(&beside).unwrap());
    assert_eq!(folder, [format!("plans/{other}.json: not a plain file of a plan's size")]);

    // A plan that does not count is listed with the files that a report leaves out.
    fs::write(&file, &less).unwrap();
    place.stdout(&["report"]);
    let page = place.report("report.md");
    assert!(page.contains("replaced: line 1 of ") && !page.contains("Planned on"), "{page}");
    fs::write(&file, &written).unwrap();
    place.stdout(&["report"]);
    // A second line about the plan makes another plan of it.
    let first = journal_with(&place, "begun");
    let lines = fs::read_to_string(&first).unwrap();
    append(&first, &format!("frozen {id} {}", "a".repeat(64)));
    let found = place.found();
    assert!(found[0].starts_with(&format!("{name}: replaced: line ")), "{found:?}");
    fs::write(&first, lines).unwrap();

    // A line of a newer version is no accusation; a line about a plan elsewhere harms nobody.
    let journal = journal_with(&place, "frozen");
    append(&journal, &format!("retired {id} {}", "a".repeat(64)));
    let said = place.stdout(&["audit", "."]);
    assert!(
        said.contains("\n1 lines of journals are of a newer version, and their meaning was not checked\n"),
        "{said}"
    );
    append(&journal, &format!("frozen ../../../outside {}", "a".repeat(64)));
    let found = place.found();
    assert!(found.len() == 1 && found[0].contains("outside.json: removed: line 3 of "), "{found:?}");
}

#[test]
fn a_plan_of_another_clone_counts_for_what_follows_it() {
    let [one, other] = [Place::new(), Place::new()];
    let start = one.freeze("1");
    one.enter(&start, &[0]);
    let ledger = |place: &Place| place.path().join("reports/ledger");
    let merge = |from: &Place, to: &Place| {
        for folder in ["", "journal", "plans"] {
            fs::create_dir_all(ledger(to).join(folder)).unwrap();
            let entries = fs::read_dir(ledger(from).join(folder)).unwrap().map(|entry| entry.unwrap().path());
            for path in entries.filter(|path| path.is_file()) {
                fs::copy(&path, ledger(to).join(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    merge(&one, &other);
    // Here a plan is frozen, there more is run, and nobody knows of the other. The times say nothing.
    let plan = one.freeze("3");
    other.enter(&plan, &[1]);
    merge(&other, &one);
    assert_eq!(one.found(), [""; 0]);
    let state = one.stdout(&["plan"]);
    assert!(state.ends_with("  transfer: 0 of 13 cells done as planned, 9 runs before the plan\n"), "{state}");
    one.enter(&plan, &[2]);
    let state = one.stdout(&["plan"]);
    assert!(state.ends_with("  transfer: 4 of 13 cells done as planned, 9 runs before the plan\n"), "{state}");
    assert_eq!(one.found(), [""; 0]);
}

#[test]
fn a_bundle_has_the_plan_and_what_proves_it() {
    let place = Place::new();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=Jane", "-c", "user.email=jane@lab.example"];
        let output = program("git").args(identity).args(arguments).current_dir(place.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["commit", "-q", "--allow-empty", "-m", "start"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let arguments = ["plan", "freeze", "--table", "transfer", "--note", "ask Jane", "--quiet", "--json"];
    let plan = place.json(&with_seeds(&arguments, "2"))["plan"].clone();
    assert_eq!(plan["git"]["commit"], commit);
    place.enter(&plan, &[0, 1]);
    let unpacked = |name: &str| {
        let Archive { files, damaged } = archive::read(&place.path().join(name)).unwrap();
        assert_eq!(damaged, []);
        files
    };
    let verify = |name: &str| {
        let output = place.run(&["bundle", "verify", name]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    place.stdout(&["bundle", "--out", "a.zip"]);
    let files = unpacked("a.zip");
    let name = format!("plans/{}.json", text(&plan["id"]));
    assert_eq!(files[&name], fs::read(place.plan_file(&plan)).unwrap());
    assert_eq!(files.keys().filter(|name| name.starts_with("journal/")).count(), 2);
    assert!(String::from_utf8_lossy(&files["README.txt"]).contains("\nplans/  "));
    place.stdout(&["report"]);
    assert_eq!(files["report/report.html"], place.report("report.html").as_bytes());
    let (code, said) = verify("a.zip");
    assert!(code == Some(0) && said.contains("follows from the 9 records"), "{said}");

    // A manifest that fits does not help: the plan's own hash, and its line in the journal.
    let refitted = |change: &dyn Fn(&mut sempair::bundle::Files)| {
        use sempair::bundle::manifest::{self, Manifest};
        let mut files = files.clone();
        let manifest: Manifest = serde_json::from_slice(&files.remove(manifest::NAME).unwrap()).unwrap();
        change(&mut files);
        let manifest = Manifest::new(manifest.facts, &files).to_text();
        files.insert(manifest::NAME.into(), manifest.into());
        fs::write(place.path().join("b.zip"), archive::write(&files).unwrap()).unwrap();
        let (code, said) = verify("b.zip");
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let other = String::from_utf8(files[&name].clone()).unwrap().replace("ask Jane", "ask John");
    let said = refitted(&|files| drop(files.insert(name.clone(), other.clone().into())));
    assert!(said.starts_with(&format!("{name}: its hash does not match")), "{said}");
    let said = refitted(&|files| drop(files.insert(name.clone(), resealed(&other).into())));
    assert!(said.starts_with(&format!("{name}: replaced: line 1 of journal/")), "{said}");
    let said = refitted(&|files| drop(files.remove(&name)));
    assert!(said.contains("report/report.md: is not what these records give"), "{said}");

    place.stdout(&["bundle", "--anonymous", "--out", "c.zip"]);
    let files = unpacked("c.zip");
    assert!(files.contains_key(&name));
    for (name, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains(&commit) && !text.contains("Jane") && !text.contains("lab.example"), "{name}");
    }
    let (code, said) = verify("c.zip");
    assert!(code == Some(0) && said.contains("follows from the 9 records"), "{said}");
    place.stdout(&["report", "--anonymous"]);
    let page = fs::read(place.path().join("reports/quick-anonymous/report.html")).unwrap();
    assert_eq!(files["report/report.html"], page);
    assert!(String::from_utf8_lossy(&page).contains("at commit withheld for review, states rows"));
}

//! The journals of a ledger: records that were removed, added, replaced or put back, and journals that were changed.

use super::Project;
use super::audit::commit;
use crate::keys::copy;
use crate::sealed::{resealed, sealed};
use sempair::harness::audit::{Audit, Subject, audit};
use sempair::harness::ledger::{Claimed, Ledger, Running};
use sempair::harness::record::{Record, Status};
use sempair::harness::runner;
use sempair::harness::source::{DirtyTree, Policy};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

impl Project {
    fn audit(&self, deep: bool) -> Audit {
        audit(&self.ledger(), &self.cache(), self.folder.path(), Subject::Everything, deep).unwrap()
    }

    /// What an audit finds, each with the file's name alone.
    pub(super) fn found(&self) -> Vec<String> {
        let folder = format!("{}/", self.ledger().dir().display());
        let line = |file: &Path, what: &str| format!("{}: {what}", file.display()).replace(&folder, "");
        self.audit(true).problems.iter().map(|problem| line(&problem.file, &problem.what)).collect()
    }

    fn record(&self, id: &str) -> PathBuf {
        self.ledger().dir().join(format!("{id}.json"))
    }

    fn ids(&self) -> Vec<String> {
        self.records().into_iter().map(|record| record.id).collect()
    }

    /// The files of the journals, oldest first.
    fn journals(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.ledger().dir().join("journal")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// Begins a run of a new cell.
    fn begin(&self, key: &str) -> (Ledger, Running, Record) {
        let (ledger, records) = (self.ledger(), self.records());
        let new = Record { key: key.to_owned(), status: Status::Running, ..records[0].clone() };
        let mut record = Record { id: format!("f-{key}"), ..new };
        let claimed = ledger.watch(&records).claim(&mut record).unwrap();
        let Claimed::Mine(running) = claimed else { panic!("no other process has claimed it") };
        (ledger, running, record)
    }

    /// Changes something, and says what an audit finds; then puts everything back.
    fn after(&self, change: impl FnOnce()) -> Vec<String> {
        let kept = tempfile::tempdir().unwrap();
        let dir = self.ledger().dir().to_owned();
        copy(&dir, kept.path());
        change();
        let found = self.found();
        fs::remove_dir_all(&dir).unwrap();
        copy(kept.path(), &dir);
        assert_eq!(self.found(), Vec::<String>::new(), "everything was put back");
        found
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The text of a record with another value of a field, and with the hash of its new content.
fn with(path: &Path, field: &str, value: Value) -> String {
    let mut record: Value = serde_json::from_str(&read(path)).unwrap();
    record[field] = value;
    sealed(record)
}

#[test]
fn records_that_were_removed_added_or_replaced_are_named() {
    let project = Project::new();
    project.run(false).unwrap();
    project.run(true).unwrap();
    let ids = project.ids();
    let [first, second] = [0, 1].map(|i| project.record(&ids[i]));
    let journal = format!("journal/{}.journal", ids[0]);
    assert_eq!((project.journals().len(), project.found()), (2, Vec::new()));
    let id = &ids[0];

    let removed = project.after(|| fs::remove_file(&first).unwrap());
    assert_eq!(removed, [format!("{id}.json: removed: line 2 of {journal} says that it was ended")]);
    let other = format!("{}{}", &id[..id.len() - 1], if id.ends_with('f') { 'e' } else { 'f' });
    let add = |text: String| project.after(|| fs::write(project.record(&other), text).unwrap());
    let added = add(with(&first, "id", json!(other)));
    let says = "added: no journal says that this run began";
    assert!(added.len() == 1 && added[0].starts_with(&format!("{other}.json: {says}")), "{added:?}");
    let added = add(resealed(&read(&first).replace(id, &other)));
    assert_eq!(added, [format!("journal/{other}.journal: removed: run {other} states that it is entered in it")]);
    let replaced = project.after(|| fs::write(&first, with(&first, "metrics", json!({ "top1": 99.0 }))).unwrap());
    let says = format!("line 2 of {journal} says that it was ended with another content");
    assert_eq!(replaced, [format!("{id}.json: replaced: {says}")]);
    // A lock file does not excuse it, and a run ends only once.
    let lock = project.folder.path().join("locks").join(format!("{id}.lock"));
    fs::write(&lock, "").unwrap();
    let excused = project.after(|| fs::write(&first, with(&first, "metrics", json!({ "top1": 99.0 }))).unwrap());
    assert_eq!(excused, replaced);
    fs::remove_file(lock).unwrap();
    let forged = project.after(|| {
        let text = with(&first, "metrics", json!({ "top1": 99.0 }));
        let record: Value = serde_json::from_str(&text).unwrap();
        fs::write(&first, text).unwrap();
        let (path, rest) =
            (project.ledger().dir().join(&journal), format!("ended {id} {}", record["hash"].as_str().unwrap()));
        let lines = read(&path);
        let last = lines.lines().last().unwrap().split(' ').next().unwrap();
        let hash = blake3::hash(format!("{last} {rest}").as_bytes()).to_hex();
        fs::write(&path, format!("{lines}{hash} {rest}\n")).unwrap();
    });
    assert_eq!(forged, [format!("{journal}: line 5 does not fit the lines before it about run {id}")]);
    // One digit of the commit: the run must not vanish from the audit of its commit without a word.
    let mut git: Value = serde_json::from_str::<Value>(&read(&first)).unwrap()["git"].clone();
    git["commit"] = "0123456789012345678901234567890123456789".into();
    let moved = project.after(|| fs::write(&first, with(&first, "git", git)).unwrap());
    assert_eq!(moved, [format!("{id}.json: replaced: {says}")]);
    let swapped = project.after(|| {
        let [a, b] = [&first, &second].map(|path| read(path));
        fs::write(&first, b).unwrap();
        fs::write(&second, a).unwrap();
    });
    let copies =
        [(0, 1), (1, 0)].map(|(at, of)| format!("{}.json: a copy: the record inside is `{}`", ids[at], ids[of]));
    assert_eq!(swapped, copies);
    let spaced = project.after(|| fs::write(&first, read(&first).replacen(": ", ":\t", 1)).unwrap());
    assert!(spaced[0].starts_with(&format!("{id}.json: its white space or the order of its fields")), "{spaced:?}");

    let (ledger, running, mut record) = project.begin("new");
    let begun = read(&project.record(&record.id));
    record.status = Status::Completed;
    ledger.finish(running, &record).unwrap();
    let back = project.after(|| fs::write(project.record(&record.id), &begun).unwrap());
    assert!(back[0].starts_with(&format!("{}.json: put back to an earlier state: line 3 of ", record.id)), "{back:?}");
}

#[test]
fn journals_that_were_changed_or_removed_are_named() {
    let project = Project::new();
    project.run(false).unwrap();
    project.run(true).unwrap();
    let (ids, journals) = (project.ids(), project.journals());
    let names = [0, 2].map(|i| format!("journal/{}.journal", ids[i]));
    let first = read(&journals[0]);
    let lines: Vec<&str> = first.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 4);
    let with_lines = |order: &[usize]| {
        let text: String = order.iter().map(|&i| lines[i]).collect();
        project.after(|| fs::write(&journals[0], text).unwrap())
    };
    for (order, number) in [(&[0, 2, 3][..], 2), (&[1, 2, 3], 1), (&[0, 1, 3, 2], 3), (&[0, 0, 1, 2, 3], 2)] {
        let found = with_lines(order);
        let expected = format!("{}: line {number} does not follow from the line before it", names[0]);
        assert!(found.iter().any(|line| line.starts_with(&expected)), "{order:?}: {found:?}");
    }
    // Its end is missing, and the second journal knows it.
    let cut = with_lines(&[0, 1, 2]);
    assert!(
        cut.iter().any(|line| line.starts_with(&format!("{}: its end was removed: line 1 of ", names[0]))),
        "{cut:?}"
    );
    let removed = project.after(|| fs::remove_file(&journals[0]).unwrap());
    let says = format!("line 1 of {} follows it", names[1]);
    assert_eq!(removed, [format!("{}: removed: {says}", names[0])], "its records are not named one by one");
    let removed = project.after(|| fs::remove_file(&journals[1]).unwrap());
    assert_eq!(removed, [format!("{}: removed: run {} states that it is entered in it", names[1], ids[2])]);
    let with_records = project.after(|| {
        fs::remove_file(&journals[0]).unwrap();
        ids[..2].iter().for_each(|id| fs::remove_file(project.record(id)).unwrap());
    });
    assert_eq!(with_records, [format!("{}: removed: {says}", names[0])]);
    let renamed = project.after(|| fs::rename(&journals[1], journals[1].with_file_name("a.journal")).unwrap());
    assert!(renamed.iter().any(|line| line.starts_with("journal/a.journal: line 1 does not follow")), "{renamed:?}");

    // What cannot be found without a copy of the last line: the end of the history, records and lines.
    let history = project.audit(false).history;
    let head = &history.heads[&ids[2]];
    assert!(history.has(head) && history.has(&head[..8]) && !history.has(&"0".repeat(64)) && !history.has(""));
    fs::remove_file(&journals[1]).unwrap();
    ids[2..].iter().for_each(|id| fs::remove_file(project.record(id)).unwrap());
    let Audit { history, problems, .. } = project.audit(false);
    assert_eq!((problems.len(), history.has(head)), (0, false));
    // Only the cache still tells that there was another run.
    assert!(project.found()[0].contains("manifest.json: not as any run recorded the stage"), "{:?}", project.found());
}

#[test]
fn a_crash_between_a_record_and_its_line_is_mended() {
    let project = Project::new();
    project.run(false).unwrap();
    let bury = || {
        assert_eq!(project.found(), Vec::<String>::new(), "a run of this machine whose end is not known yet");
        let buried = project.ledger().bury_killed().unwrap();
        assert_eq!(project.found(), Vec::<String>::new());
        buried
    };
    // The process died while the run ran.
    let (_, running, record) = project.begin("a");
    drop(running);
    assert_eq!(bury(), 1);
    let text = read(&project.journals()[1]);
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').skip(1).take(2).collect()).collect();
    assert_eq!(words[1..], [["begun", &record.id], ["killed", &record.id]]);
    // It died before the begin was entered.
    let (_, running, record) = project.begin("b");
    fs::remove_file(project.ledger().dir().join(format!("journal/{}.journal", record.id))).unwrap();
    drop(running);
    assert_eq!(bury(), 1);
    // It died before the end was entered.
    let (_, running, record) = project.begin("c");
    fs::write(project.record(&record.id), with(&project.record(&record.id), "status", json!("completed"))).unwrap();
    drop(running);
    assert_eq!(bury(), 0);
    // The power was lost while a line was written.
    let (_, running, record) = project.begin("d");
    drop(running);
    let journal = project.ledger().dir().join(format!("journal/{}.journal", record.id));
    fs::write(&journal, &read(&journal)[..read(&journal).len() - 9]).unwrap();
    assert_eq!(project.ledger().bury_killed().unwrap(), 1);
    assert_eq!(project.found(), Vec::<String>::new());
    // A record that was changed while its run ran is not given a new hash.
    let (_, running, record) = project.begin("e");
    fs::write(project.record(&record.id), with(&project.record(&record.id), "seed", json!(7))).unwrap();
    drop(running);
    project.ledger().bury_killed().unwrap();
    let found = project.found();
    assert!(found[0].starts_with(&format!("{}.json: replaced: ", record.id)), "{found:?}");
}

#[test]
fn histories_of_two_clones_are_joined() {
    let [one, other] = [Project::new(), Project::new()];
    one.run(false).unwrap();
    copy(one.ledger().dir(), other.ledger().dir());
    one.run(true).unwrap();
    other.run(true).unwrap();
    other.run(true).unwrap();
    // As a merge by git: no file is in both with another content.
    copy(other.ledger().dir(), one.ledger().dir());
    assert_eq!(one.found(), Vec::<String>::new());
    assert_eq!((one.audit(false).history.heads.len(), one.audit(false).history.journals), (2, 4));
    one.run(true).unwrap();
    assert_eq!((one.found(), one.audit(false).history.heads.len()), (Vec::new(), 1));
    let text = read(one.journals().last().unwrap());
    assert_eq!(text.lines().filter(|line| line.split(' ').nth(1) == Some("after")).count(), 2);
}

#[test]
fn records_from_before_the_journals_are_entered_once() {
    let project = Project::new();
    project.run(false).unwrap();
    fs::remove_dir_all(project.ledger().dir().join("journal")).unwrap();
    for id in project.ids() {
        let mut record: Value = serde_json::from_str(&read(&project.record(&id))).unwrap();
        record.as_object_mut().unwrap().remove("journal");
        fs::write(project.record(&id), sealed(record)).unwrap();
    }
    assert_eq!((project.found(), project.audit(true).history.journals), (Vec::new(), 0));
    project.run(true).unwrap();
    let Audit { history, .. } = project.audit(true);
    assert_eq!((project.found(), history.journals, history.found), (Vec::new(), 1, 2));
    let id = project.ids().remove(0);
    let path = project.record(&id);
    let replaced = project.after(|| fs::write(&path, with(&path, "seed", json!(9))).unwrap());
    assert!(replaced[0].starts_with(&format!("{id}.json: replaced: ")) && replaced[0].contains("was found with"));
    let removed = project.after(|| fs::remove_file(&path).unwrap());
    assert!(removed[0].starts_with(&format!("{id}.json: removed: ")), "{removed:?}");
}

#[test]
fn a_deleted_run_leaves_its_lines() {
    let project = Project::new();
    project.run(false).unwrap();
    let record = project.records().remove(1);
    let text = read(&project.record(&record.id));
    project.ledger().delete(&record).unwrap();
    let Audit { history, problems, .. } = project.audit(true);
    assert_eq!((history.deleted.iter().collect::<Vec<_>>(), problems.len()), (vec![&record.id], 0));
    assert_eq!((project.ids().len(), project.ledger().deleted().unwrap()), (1, 1));
    let check = |of| audit(&project.ledger(), &project.cache(), project.folder.path(), Subject::Named(of), false);
    let error = check(record.short()).unwrap_err();
    assert_eq!(error.to_string(), format!("run {} was deleted by a user", record.id));
    let back = project.after(|| fs::write(project.record(&record.id), &text).unwrap());
    assert!(back[0].starts_with(&format!("{}.json: put back: line 2 of ", record.id)), "{back:?}");
    // A run is deleted by hand: the audit of this run says so, too.
    let other = project.records().remove(0);
    fs::remove_file(project.record(&other.id)).unwrap();
    let error = check(&other.id).unwrap_err().to_string();
    assert!(error.contains("removed: line 2 of "), "{error}");
    let (ledger, _running, alive) = project.begin_first("alive", &record);
    assert!(ledger.delete(&alive).unwrap_err().to_string().contains("is running"));
}

impl Project {
    /// Begins a run like this one in a ledger that may be empty.
    fn begin_first(&self, key: &str, like: &Record) -> (Ledger, Running, Record) {
        let ledger = self.ledger();
        let record = Record { id: "f1".to_owned(), key: key.to_owned(), status: Status::Running, ..like.clone() };
        let running = ledger.begin(&record).unwrap();
        (ledger, running, record)
    }
}

#[test]
fn commits_that_cannot_be_checked_out_are_named() {
    let project = Project::new();
    let root = project.folder.path();
    project.run(false).unwrap();
    let repository = git2::Repository::init(root).unwrap();
    fs::write(root.join(".gitignore"), "reports\ncache\nlocks\n").unwrap();
    let held = commit(&repository);
    let source = Policy { keep_mib: 0, dirty: DirtyTree::Record };
    project.run_experiment(&project.count, &runner::Options { source, ..project.options(true) }).unwrap();
    let states = |project: &Project| -> Vec<(Option<String>, usize, String)> {
        let commits = project.audit(false).commits;
        let state = |holder| serde_json::to_value(holder).unwrap()["state"].as_str().unwrap().to_owned();
        commits.into_iter().map(|of| (of.commit, of.runs, state(of.holder))).collect()
    };
    let none = (None, 2, "not-asked".to_owned());
    assert_eq!(states(&project), [none.clone(), (Some(held.clone()), 2, "local".to_owned())]);
    assert_eq!(project.found(), Vec::<String>::new());
    // The branch goes away, and the commit stays for some time.
    repository.set_head_detached(git2::Oid::from_str(&held).unwrap()).unwrap();
    repository
        .find_branch("master", git2::BranchType::Local)
        .or_else(|_| repository.find_branch("main", git2::BranchType::Local))
        .unwrap()
        .delete()
        .unwrap();
    assert_eq!(states(&project)[1], (Some(held.clone()), 2, "nothing".to_owned()));
    assert!(project.found()[0].contains(&format!("2 runs name the commit {held}, which no branch or tag holds")));
    repository.reference("refs/remotes/origin/main", git2::Oid::from_str(&held).unwrap(), true, "").unwrap();
    assert_eq!(states(&project)[1].2, "remote");
    // A digit of the commit is changed in a ledger without journals: the audit of the commit says so.
    fs::remove_dir_all(project.ledger().dir().join("journal")).unwrap();
    let unknown = format!("{}{}", if held.starts_with('0') { '1' } else { '0' }, &held[1..]);
    for id in project.ids() {
        let mut record: Value = serde_json::from_str(&read(&project.record(&id))).unwrap();
        record.as_object_mut().unwrap().remove("journal");
        let text = sealed(record);
        fs::write(
            project.record(&id),
            if id == project.ids()[3] { resealed(&text.replace(&held, &unknown)) } else { text },
        )
        .unwrap();
    }
    let of_commit = audit(&project.ledger(), &project.cache(), root, Subject::Named(&held), false).unwrap();
    assert_eq!((of_commit.runs.len(), of_commit.problems.len()), (1, 1));
    let what = &of_commit.problems[0].what;
    assert_eq!(*what, format!("1 run names the commit {unknown}, which this repository does not have"));
}

#[test]
fn ten_thousand_records_are_audited_in_about_a_second() {
    let project = Project::new();
    let root = project.folder.path();
    let repository = git2::Repository::init(root).unwrap();
    fs::write(root.join(".gitignore"), "reports\ncache\nlocks\n").unwrap();
    commit(&repository);
    project.run(false).unwrap();
    let id = project.ids().remove(0);
    let mut record: Value = serde_json::from_str(&read(&project.record(&id))).unwrap();
    record.as_object_mut().unwrap().remove("journal");
    for i in 0..10_000 {
        let other = format!("{i:08}{}", &id[8..]);
        record["id"] = other.clone().into();
        fs::write(project.record(&other), sealed(record.clone())).unwrap();
    }
    fs::remove_dir_all(project.ledger().dir().join("journal")).unwrap();
    project.run(true).unwrap();
    let start = Instant::now();
    let of_head = audit(&project.ledger(), &project.cache(), root, Subject::Named("HEAD"), false).unwrap();
    println!("10,004 records with {} entered: {:?}", of_head.history.found, start.elapsed());
    assert_eq!((of_head.runs.len(), of_head.history.found), (10_004, 10_002));
    // The machine may be shared, so this limit is generous. It fails only if audits become much slower.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn recording_a_run_takes_milliseconds() {
    let project = Project::new();
    project.run(false).unwrap();
    let ledger = project.ledger();
    let record = project.records().remove(0);
    let start = Instant::now();
    for i in 0..40 {
        let mut record = Record { id: format!("f{i:03}"), status: Status::Running, ..record.clone() };
        let running = ledger.begin(&record).unwrap();
        record.status = Status::Completed;
        ledger.finish(running, &record).unwrap();
    }
    let each = start.elapsed() / 40;
    println!("a run is recorded in {each:?}");
    assert!(each < Duration::from_secs(2), "{each:?}");
}

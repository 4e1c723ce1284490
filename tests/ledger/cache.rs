//! Stages: resumed, damaged, shared, killed.

#![expect(clippy::disallowed_methods, reason = "a kill needs another process, which gets its folder")]

use super::Project;
use super::stage;
use sempair::error::Context;
use sempair::error::Error;
use sempair::error::ErrorKind;
use sempair::error::Result;
use sempair::harness::cache::Cache;
use sempair::harness::interrupt::Interrupt;
use sempair::harness::progress::Progress;
use sempair::harness::stage::Site;
use sempair::harness::stage_runner::StageRunner;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(folder.join(name), text).map_err(|error| Error::new(error.to_string()))
}

#[test]
fn a_stage_goes_on_from_what_a_failure_or_a_panic_left() {
    let project = Project::new();
    let inputs = json!({"epochs": 3});
    let error = project.lab_stage(&inputs, |folder| write(folder, "half", "1").and(Err(Error::new("broken"))));
    assert_eq!(error.unwrap_err().to_string(), "stage made: broken");
    let panics = || project.lab_stage(&inputs, |folder| panic!("{}", fs::read_to_string(folder.join("half")).unwrap()));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    let resumed = project.lab_stage(&inputs, |folder| {
        let half = fs::read_to_string(folder.join("half")).unwrap();
        fs::remove_file(folder.join("half")).unwrap();
        write(folder, "out", &format!("{half} and whole"))
    });
    assert_eq!(resumed.unwrap(), "1 and whole");
    assert_eq!(project.lab_stage(&inputs, |_| panic!("must not compute")).unwrap(), "1 and whole");
    assert_eq!(project.lab_stage(&json!({"epochs": 4}), |folder| write(folder, "out", "other")).unwrap(), "other");
}

#[test]
fn a_stage_has_the_time_of_all_its_attempts() {
    let project = Project::new();
    let sleep = |then: Result<()>| {
        std::thread::sleep(Duration::from_millis(120));
        then
    };
    project.lab_stage(&json!(1), move |_| sleep(Err(Error::new("broken")))).unwrap_err();
    project.lab_stage(&json!(1), move |folder| sleep(write(folder, "out", "whole"))).unwrap();
    let stages = fs::read_dir(project.cache().root().join("made")).unwrap().flatten().map(|entry| entry.path());
    let folder = stages.into_iter().find(|path| path.join("out").exists()).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let seconds = manifest["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.24, "{seconds}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "the file and the manifest");
}

#[test]
fn a_damaged_stage_is_computed_again() {
    let project = Project::new();
    let make = |text: &'static str| project.lab_stage(&json!(1), move |folder| write(folder, "out", text)).unwrap();
    let damage = |damage: fn(&Path)| {
        let stages = fs::read_dir(project.cache().root().join("made")).unwrap();
        damage(&stages.flatten().map(|entry| entry.path()).find(|path| path.extension().is_none()).unwrap());
    };
    assert_eq!(make("one"), "one");
    damage(|folder| fs::write(folder.join("out"), "longer").unwrap());
    assert_eq!(make("two"), "two");
    damage(|folder| fs::remove_file(folder.join("out")).unwrap());
    assert_eq!(make("three"), "three");
    // One flipped bit in a file whose size is right.
    damage(|folder| fs::write(folder.join("out"), "thrde").unwrap());
    assert_eq!(make("again"), "again");
    damage(|folder| fs::write(folder.join("manifest.json"), "{").unwrap());
    assert_eq!(make("four"), "four");
    assert_eq!(make("five"), "four");
    assert_eq!(project.lines.lock().unwrap().len(), 4);
}

#[test]
fn a_full_disk_is_named() {
    let project = Project::new();
    let full = || Err::<(), _>(std::io::Error::from_raw_os_error(28)).context("cannot write x"); // ENOSPC
    let error = project.lab_stage(&json!(1), move |_| full()).unwrap_err().to_string();
    assert!(error.contains("hint: free space on the disk of"), "{error}");
    assert!(error.contains(&project.cache().root().display().to_string()), "{error}");
}

#[test]
fn of_two_threads_one_computes_a_stage_and_the_other_waits() {
    let project = Project::new();
    let computed = Arc::new(AtomicUsize::new(0));
    let ask = || {
        let computed = computed.clone();
        project.lab_stage(&json!(1), move |folder| {
            computed.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(150));
            write(folder, "out", "once")
        })
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(ask), scope.spawn(ask)];
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap().unwrap(), "once"));
    });
    assert_eq!(computed.load(Ordering::SeqCst), 1);
    assert_eq!(*project.lines.lock().unwrap(), ["waiting for another process that computes stage made"]);
}

/// Not a test by itself: the process that the next test starts and kills inside a stage.
#[test]
#[ignore = "started by a_stage_survives_the_kill_of_its_process"]
fn other_process() {
    let Some(folder) = std::env::var_os("LEDGER_TEST_FOLDER") else { return };
    let (cache, progress) = (Cache::open(folder), Progress::quiet());
    let interrupt = Interrupt::never();
    let mut lab = StageRunner::new(&cache, &progress, &interrupt, "other");
    let made = stage("made", &json!(1), 0.0, |site| {
        write(site.dir, "half", "1")?;
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    lab.run(&made).unwrap();
}

#[test]
fn a_stage_survives_the_kill_of_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "ledger::cache::other_process"])
        .env("LEDGER_TEST_FOLDER", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let half = || {
        let stages = fs::read_dir(folder.path().join("made")).ok()?;
        stages.flatten().map(|entry| entry.path().join("half")).find(|half| half.exists())
    };
    let start = Instant::now();
    while half().is_none() {
        assert!(start.elapsed() < Duration::from_secs(20), "the other process did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (cache, progress) = (Cache::open(folder.path()), Progress::quiet());
    let interrupt = Interrupt::never();
    interrupt.request(); // the lock is held, so this request must end the wait
    let mut lab = StageRunner::new(&cache, &progress, &interrupt, "test");
    let made = |work: fn(&Site<'_>) -> Result<()>| stage("made", &json!(1), 0.0, work);
    assert_eq!(lab.run(&made(|_| Ok(()))).unwrap_err().kind(), ErrorKind::Interrupted);
    other.kill().unwrap();
    other.wait().unwrap();
    let goes_on = made(|site| {
        assert!(site.dir.join("half").exists());
        Ok(())
    });
    assert_eq!(lab.run(&goes_on).unwrap().files[0].name, "half");
}

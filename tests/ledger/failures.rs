//! Runs that fail, diverge, are interrupted or panic: their records, and the runs that continue.

use std::fs;

use sempair::error::ErrorKind;
use sempair::harness::interrupt::Interrupt;
use sempair::harness::record::Status;

use super::Project;

#[test]
fn failures_and_interruptions_are_recorded_and_the_next_run_goes_on() {
    let project = Project::new();
    let fails = |trouble| {
        *project.count.ran.trouble.lock().unwrap() = Some(trouble);
        project.run(false).expect_err(trouble)
    };
    let error = fails("fail");
    assert!(error.to_string().contains("no data at https://me:pw@host\n\nhint: run the same command"), "{error}");
    assert_eq!(fails("interrupt").kind(), ErrorKind::Interrupted);
    let mut project = project;
    project.interrupt = Interrupt::never();
    *project.count.ran.trouble.lock().unwrap() = Some("panic");
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| project.run(false))).is_err());

    project.run(false).unwrap();
    use Status::{Completed, Failed, Interrupted};
    assert_eq!(project.statuses(), [Failed, Interrupted, Failed, Completed, Completed]);
    let errors: Vec<Option<String>> = project.records().into_iter().map(|record| record.error).collect();
    assert_eq!(errors[0].as_deref(), Some("no data at https://[redacted]@host"));
    assert_eq!(errors[2].as_deref(), Some("panic: shapes differ"));
    assert_eq!(project.count.ran().1, 1);
    // The locks of the runs are removed; the lock of the claims stays.
    let locks = fs::read_dir(project.folder.path().join("locks")).unwrap();
    assert_eq!(locks.map(|lock| lock.unwrap().file_name()).collect::<Vec<_>>(), ["claims"]);
}

#[test]
fn a_run_that_diverges_is_recorded_and_the_others_go_on() {
    let project = Project::new();
    *project.count.ran.trouble.lock().unwrap() = Some("nan");
    let error = project.run(false).expect_err("a metric is not a number");
    assert_eq!(error.kind(), ErrorKind::Diverged);
    assert!(error.what().ends_with("metric `top1` came out as NaN"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.starts_with("`sempair show ")), "{error}");
    assert_eq!(project.statuses(), [Status::Failed, Status::Completed]);
    let lines = project.lines.lock().unwrap().clone();
    assert!(
        lines[0].starts_with("[1/2] count c seed 0 (run ") && lines[1].starts_with("[2/2] count SimCLR"),
        "{lines:?}"
    );
}

#[test]
fn cells_that_need_a_stage_that_diverged_are_left_out() {
    let mut project = Project::new();
    project.count.predicted = 1.0;
    *project.count.ran.trouble.lock().unwrap() = Some("stage");
    let error = project.run(false).expect_err("the stage failed");
    assert!(error.what().ends_with("all are one") && error.hint_text() == Some("lower the rate"), "{error}");
    assert_eq!((project.count.ran().0, project.statuses()), (0, vec![Status::Failed]));
    let lines = project.lines.lock().unwrap().clone();
    assert_eq!(lines.last().map(String::as_str), Some("1 of 2 cells need a stage that diverged"), "{lines:?}");

    // This also holds if there is an older copy of the stage.
    let mut project = Project::new();
    project.count.predicted = 1.0;
    project.run(false).unwrap();
    *project.count.ran.trouble.lock().unwrap() = Some("stage");
    project.run(true).expect_err("the stage failed");
    assert_eq!(project.count.ran().0, 2);
}

//! How a repetition agrees with its run.

use sempair::harness::record::Record;
use sempair::harness::repetition::{Agreement, Measure, Repetition};
use serde_json::{Value, json};

/// A completed run with two stages.
fn run(top1: f64) -> Value {
    let file = |name: &str, hash: &str| json!({ "name": name, "bytes": 1, "hash": hash });
    json!({
        "schema": "sempair.run/1", "id": "01a2", "experiment": "transfer", "key": "k", "status": "completed",
        "started": "", "row": [["method", "SimCLR"]], "column": "synth-10", "seed": 3,
        "metrics": { "top1": top1, "knn": 50.0 }, "checkpoint": "c", "predictions": "p",
        "stages": [
            { "name": "pretrain", "key": "a", "computed": true,
              "files": [file("encoder.safetensors", "c"), file("history.json", "times")] },
            { "name": "probe", "key": "b", "computed": true, "files": [file("predictions.csv", "p")] },
        ],
    })
}

fn compare(recorded: &Value, again: Option<&Value>) -> Repetition {
    let record = |value: &Value| -> Record { serde_json::from_value(value.clone()).unwrap() };
    let has_times = |stage: &str, file: &str| (stage, file) == ("pretrain", "history.json");
    let tolerance = |_: &str, _: f64| 0.5;
    let is_time = |metric: &str| metric == "seconds";
    let measure = Measure { is_time: &is_time, has_times: &has_times, tolerance: &tolerance };
    Repetition::of(&record(recorded), again.map(record).as_ref(), &measure)
}

#[test]
fn equal_bits_are_identical_whatever_the_times() {
    let mut again = run(71.25);
    again["stages"][0]["files"][1]["hash"] = "other times".into();
    again["seconds"] = 5.0.into();
    let same = compare(&run(71.25), Some(&again));
    assert_eq!((same.agreement, &same.parted), (Agreement::Identical, &None));
    assert_eq!((same.seed, same.metrics["top1"]), (3, [71.25, 71.25]));
}

#[test]
fn one_bit_is_a_difference_within_the_tolerance() {
    let bit = f64::from_bits(71.25_f64.to_bits() + 1);
    assert_eq!(compare(&run(71.25), Some(&run(bit))).agreement, Agreement::WithinTolerance);
    assert_eq!(compare(&run(71.25), Some(&run(71.75))).agreement, Agreement::WithinTolerance);
    assert_eq!(compare(&run(71.25), Some(&run(71.76))).agreement, Agreement::Different);
    assert_eq!(compare(&run(71.25), None).agreement, Agreement::NotRepeated);
}

#[test]
fn the_first_stage_whose_files_differ_is_named() {
    let mut again = run(71.25);
    again["checkpoint"] = "d".into();
    again["stages"][0]["files"][0]["hash"] = "d".into();
    again["stages"][1]["files"][0]["hash"] = "q".into();
    let other = compare(&run(71.25), Some(&again));
    assert_eq!(other.agreement, Agreement::WithinTolerance, "the figures are equal, but not the encoders");
    let parted = other.parted.unwrap();
    assert_eq!((parted.stage.as_str(), parted.same_key), ("pretrain", true));
    assert_eq!(parted.files, ["encoder.safetensors"]);
    again["stages"][0] = run(0.0)["stages"][0].clone();
    again["stages"][1]["key"] = "other".into();
    let parted = compare(&run(71.25), Some(&again)).parted.unwrap();
    assert_eq!((parted.stage.as_str(), parted.same_key), ("probe", false));
}

#[test]
fn a_missing_figure_is_a_difference_and_a_time_is_none() {
    let mut again = run(71.25);
    again["metrics"] = json!({ "top1": 71.25 });
    assert_eq!(compare(&run(71.25), Some(&again)).agreement, Agreement::Different);
    let timed = |seconds: f64| {
        let mut run = run(71.25);
        run["metrics"] = json!({ "seconds": seconds });
        run
    };
    assert_eq!(compare(&timed(5.0), Some(&timed(9.0))).agreement, Agreement::SameButTimes);
    again = timed(9.0);
    again["stages"][0]["files"][0]["hash"] = "d".into();
    assert_eq!(compare(&timed(5.0), Some(&again)).agreement, Agreement::Different, "another encoder");
}

#[test]
fn what_a_record_does_not_state_is_not_compared() {
    // The figures of a committed report come without hashes.
    let mut recorded = run(71.25);
    for name in ["checkpoint", "predictions", "stages"] {
        recorded.as_object_mut().unwrap().remove(name);
    }
    let same = compare(&recorded, Some(&run(71.25)));
    assert_eq!((same.agreement, same.parted), (Agreement::Identical, None));
    recorded["metrics"] = json!({ "seconds": 5.0 });
    let mut again = run(71.25);
    again["metrics"]["seconds"] = 9.0.into();
    assert_eq!(compare(&recorded, Some(&again)).agreement, Agreement::NothingToCompare);
}

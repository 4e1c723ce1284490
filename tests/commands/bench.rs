//! Benchmarks: the facts that they print. No test compares speeds.

use super::*;

#[test]
fn benchmarks_print_their_facts() {
    let place = Place::new();
    let arguments = "bench step --model resnet18 --image 32 --pairs 2 --precision f32 --threads 2 --steps 2 --json";
    let text = place.stdout(&arguments.split(' ').collect::<Vec<_>>());
    assert_eq!(text.lines().count(), 1, "{text}");
    let step: Value = serde_json::from_str(&text).unwrap();
    for key in ["model", "image", "pairs", "precision", "isa", "threads", "images_per_second_median"] {
        assert!(!step[key].is_null(), "{key}");
    }
    assert_eq!(step["step_seconds"].as_array().unwrap().len(), 2);
    let augment = place.json(&["bench", "augment", "--image", "32", "--threads", "2", "--rounds", "1", "--json"]);
    assert!(augment["images_per_second_median"].as_f64().unwrap() > 0.0);
}

#[test]
fn every_method_has_its_step_timed() {
    let place = Place::new();
    for method in sempair::methods::Name::ALL {
        let arguments = ["bench", "step", "--model", "resnet-small", "--image", "32", "--steps", "1"];
        let step = place.json(&[&arguments[..], &["--method", method.id(), "--json"]].concat());
        assert_eq!(step["method"], method.id());
        assert_eq!(step["step_seconds"].as_array().unwrap().len(), 1);
    }
    let wrong = ["bench", "step", "--method", "dino", "--set", "methods.dino.momentum=2"];
    let error = place.error(&wrong);
    assert!(error.contains("`methods.dino.momentum` is 2") && error.contains("hint: "), "{error}");
    let error = place.error(&["bench", "step", "--method", "dino", "--set", "methods.byol.momentum=0.5"]);
    assert!(error.contains("has no effect on a step of dino"), "{error}");
    let error = place.error(&["bench", "step", "--method", "deepcluster-v2", "--pairs", "10"]);
    assert!(error.contains("64 clusters of the 40 pairs") && error.contains("clusters=[40]"), "{error}");
}

#[test]
fn trainings_in_parallel_are_timed_and_leave_nothing_behind() {
    let place = Place::new();
    let small = ["--set", "pairs.categories=4", "--set", "pairs.per_category=16", "--set", "pretrain.batch=16"];
    let timed = |more: &[&'static str]| [&["bench", "trainings", "--threads", "2"], &small[..], more].concat();
    let facts = place.json(&timed(&["--epochs", "2", "--method", "dino", "--json"]));
    assert_eq!((&facts["method"], &facts["threads"]), (&"dino".into(), &2.into()));
    let speeds = facts["parallel"].as_array().unwrap();
    let shares: Vec<_> = speeds.iter().map(|speed| (speed["jobs"].as_u64(), speed["threads"].as_u64())).collect();
    assert_eq!(shares, [(Some(1), Some(2)), (Some(2), Some(1))]);
    for speed in speeds {
        let number = |key: &str| speed[key].as_f64().unwrap();
        assert!(number("waiting_seconds") >= 0.0 && number("waiting_seconds") < number("step_seconds"), "{speed}");
        // Trainings of 16 pairs a step: their rates add up, so the mean step follows up to the spread between them.
        let steps_per_second = number("pairs_per_second") / 16.0 / number("jobs");
        assert!((0.5..2.0).contains(&(steps_per_second * number("step_seconds"))), "{speed}");
    }
    let text = place.stdout(&timed(&["--epochs", "1", "--jobs", "2", "--quiet"]));
    assert!(text.contains("SimCLR") && text.lines().count() == 3, "{text}");
    assert!(text.lines().nth(1).unwrap().ends_with("of it waiting for images"), "{text}");
    let error = place.error(&timed(&["--jobs", "1,3"]));
    assert!(error.contains("`--jobs 3`: each training needs a thread, and there are 2"), "{error}");
    assert!(error.contains("hint: `sempair bench trainings --jobs 2`"), "{error}");
    assert!(!place.path().join(".sempair").exists() && !place.path().join("reports").exists());
}

#[test]
fn a_profile_accounts_for_the_whole_step() {
    let place = Place::new();
    let arguments = "bench step --model resnet-small --image 32 --pairs 4 --steps 2 --profile";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let step = place.json(&[&arguments[..], &["--json"]].concat());
    let profile = &step["profile"];
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value}"));
    for peak in ["f32_gflops", "bf16_gflops", "cache_copy_gb_per_second", "memory_copy_gb_per_second"] {
        assert!(number(&profile["peaks"], peak) > 0.0, "{peak}");
    }
    let kinds = profile["kinds"].as_array().unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    for expected in [
        "first convolution forward",
        "convolution 3x3 forward",
        "convolution 3x3 input gradient",
        "convolution 3x3/2 weight gradient",
        "convolution 1x1/2 forward",
        "linear forward",
        "batch norm forward",
        "batch norm backward",
        "pooling",
        "optimiser",
        "upload and download",
    ] {
        assert!(names.contains(&expected), "{expected} in {names:?}");
    }
    let (wall, rest) = (number(profile, "wall_seconds"), number(profile, "rest_seconds"));
    let sum: f64 = kinds.iter().map(|kind| number(kind, "seconds")).sum();
    assert!(rest > 0.0 && sum > 0.5 * wall && (sum + rest - wall).abs() < 1e-6 * wall, "{sum} + {rest} of {wall}");
    for kind in kinds {
        assert!((0.0..=1.0).contains(&number(kind, "share_of_step")), "{kind}");
        assert!(number(kind, "bytes") > 0.0 && number(kind, "gb_per_second") > 0.0, "{kind}");
        let product = ["convolution", "linear"].iter().any(|word| kind["kind"].as_str().unwrap().contains(word));
        assert_eq!(product, number(kind, "flops") > 0.0, "{kind}");
        // Winograd's method makes a quarter of the multiplications, but the direct method's are counted.
        assert!(!product || (0.0..4.0).contains(&number(kind, "share_of_peak")), "{kind}");
    }
    let seconds: Vec<f64> = kinds.iter().map(|kind| number(kind, "seconds")).collect();
    assert!(seconds.is_sorted_by(|a, b| a >= b), "{seconds:?}");

    let text = place.stdout(&arguments);
    assert!(text.contains("convolution 3x3 forward") && text.contains("loss, tape and the rest"), "{text}");
}

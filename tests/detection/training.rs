//! Training of detectors: what they learn, and that they come to the same bits however they run.

use std::fs;
use std::path::Path;

use sempair::data::annotated::{AnnotatedImage, AnnotatedSet};
use sempair::data::annotated_batches::Resizing;
use sempair::data::augment::Normalization;
use sempair::data::world::{self, World};
use sempair::detection::Protocol;
use sempair::eval::{DetectedImage, Detection, GroundTruth, Interpolation, Marks, Matching};
use sempair::harness::interrupt::Interrupt;
use sempair::harness::progress::Progress;
use sempair::models::{Encoder, Learns, ModelSpec, Stem};
use sempair::tensor::{AnyDevice, Cpu, Precision};

const F32: AnyDevice = AnyDevice::Cpu(Cpu { precision: Precision::F32 });
use sempair::train::{DETECTOR, DetectorRecipe, DetectorTraining, TrainContext, detections, train_detector};

/// The protocol of the embedded profile, with another length.
pub fn run(steps: usize) -> DetectorTraining {
    DetectorTraining {
        model: ModelSpec { encoder: Encoder::ResnetSmall, stem: Stem::Half, image: 16, drop_path: 0.0 },
        normalization: Normalization { mean: [0.5; 3], std: [0.25; 3] },
        resizing: Resizing { short: Vec::new(), longest: 1333 },
        protocol: Protocol {
            anchor_sizes: vec![10.0, 18.0, 28.0],
            anchor_ratios: vec![0.5, 1.0, 2.0],
            anchors_sampled: 64,
            candidates: [400, 400],
            proposals: [100, 100],
            regions_sampled: 32,
            region_side: 4,
            detections: 100,
        },
        recipe: DetectorRecipe {
            learns: Learns::All,
            batch: 4,
            steps,
            learning_rate: 0.02,
            warmup: 20,
            warmup_from: 0.001,
            drops: vec![0.75, 0.9],
            momentum: 0.9,
            weight_decay: 1e-4,
            precise_moments: 4,
        },
        seed: 0,
    }
}

/// Some images of the embedded set; `others` gives each the objects of another image.
pub fn some(split: &str, count: usize, others: bool) -> AnnotatedSet {
    let set = world::detection(&World::STANDARD, "synth-voc").unwrap().0.remove(split).unwrap();
    let image = |at: usize| {
        let ((height, width), objects) = (set.size(at), set.objects(if others { (at + 1) % count } else { at }));
        AnnotatedImage { height, width, pixels: set.pixels(at).unwrap().into_owned(), objects: objects.to_vec() }
    };
    AnnotatedSet::new(&format!("synth-voc/{split}"), set.classes.to_vec(), (0..count).map(image).collect())
}

pub fn train(
    run: &DetectorTraining,
    set: &AnnotatedSet,
    dir: &Path,
    interrupt: &Interrupt,
) -> sempair::error::Result<()> {
    let progress = Progress::quiet();
    let around = TrainContext { dir, checkpoint_seconds: 1e9, keep_going: false, progress: &progress, interrupt };
    train_detector(run, &F32, set, None, &around)
}

/// AP50 of a trained detector on a set.
fn ap50(run: &DetectorTraining, set: &AnnotatedSet, dir: &Path) -> f64 {
    let (progress, interrupt) = (Progress::quiet(), Interrupt::never());
    let found = detections(run, &F32, set, &dir.join(DETECTOR), (&progress, &interrupt)).unwrap();
    let image = |(at, found): (usize, Vec<sempair::detection::Detection>)| {
        let objects = set.objects(at).iter();
        let detection = |of: &sempair::detection::Detection| Detection {
            edges: of.edges,
            category: of.class as u32,
            score: of.score,
        };
        DetectedImage {
            objects: objects
                .map(|of| GroundTruth { edges: of.edges, category: of.category, difficult: of.difficult })
                .collect(),
            detections: found.iter().map(detection).collect(),
        }
    };
    let images: Vec<DetectedImage> = found.into_iter().enumerate().map(image).collect();
    Marks::new(&images, set.classes.len(), Matching::Voc).unwrap().result(Interpolation::ElevenPoints).mean.ap50
}

#[test]
fn a_detector_from_scratch_learns_eight_images_by_heart() {
    let (folder, set, run) = (tempfile::tempdir().unwrap(), some("train", 8, false), run(400));
    train(&run, &set, folder.path(), &Interrupt::never()).unwrap();
    let ap50 = ap50(&run, &set, folder.path());
    assert!(ap50 > 95.0, "AP50 is {ap50}");
}

/// Without training of the trunk, or of any stage: the random trunk keeps its own running moments, so the moments of the
/// layers that learn are those that the test needs.
#[test]
fn a_frozen_trunk_keeps_its_moments() {
    let set = some("train", 8, false);
    for (learns, at_least) in [(Learns::Head, 40.0), (Learns::New, 1.0)] {
        let (folder, mut run) = (tempfile::tempdir().unwrap(), run(400));
        run.recipe.learns = learns;
        train(&run, &set, folder.path(), &Interrupt::never()).unwrap();
        let ap50 = ap50(&run, &set, folder.path());
        assert!(ap50 > at_least, "{learns:?}: AP50 is {ap50}");
    }
}

#[test]
fn from_the_objects_of_other_images_nothing_is_learned() {
    let (folder, run) = (tempfile::tempdir().unwrap(), run(300));
    train(&run, &some("train", 120, true), folder.path(), &Interrupt::never()).unwrap();
    let ap50 = ap50(&run, &some("test", 100, false), folder.path());
    assert!(ap50 < 5.0, "AP50 is {ap50}");
}

/// Stopped after every step, and on one thread and on two.
#[test]
fn a_detector_comes_to_the_same_bits_however_it_is_run() {
    let (set, mut run) = (some("train", 10, false), run(5));
    let whole = |learns, threads| {
        let folder = tempfile::tempdir().unwrap();
        let run = DetectorTraining { recipe: DetectorRecipe { learns, ..run.recipe.clone() }, ..run.clone() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&run, &set, folder.path(), &Interrupt::never())).unwrap();
        fs::read(folder.path().join(DETECTOR)).unwrap()
    };
    let once = whole(Learns::All, 1);
    assert!(once == whole(Learns::All, 2), "the number of threads changes the detector");
    let differ = |learns| whole(learns, 1) != once;
    assert!(differ(Learns::Head) && differ(Learns::New));

    run.recipe.learns = Learns::All;
    let folder = tempfile::tempdir().unwrap();
    let stop = Interrupt::never();
    stop.request();
    for step in 1..=run.recipe.steps {
        let stopped = train(&run, &set, folder.path(), &stop).unwrap_err();
        assert!(stopped.to_string().contains(&format!("stopped at step {step} of the detector")), "{stopped}");
    }
    train(&run, &set, folder.path(), &Interrupt::never()).unwrap();
    assert!(fs::read(folder.path().join(DETECTOR)).unwrap() == once, "stopping changes the detector");
}

#[test]
fn a_set_without_objects_and_a_rate_that_is_too_high_are_refused() {
    let (folder, mut run) = (tempfile::tempdir().unwrap(), run(20));
    let empty = AnnotatedSet::new("empty/train", vec!["a".into()], Vec::new());
    let refused = train(&run, &empty, folder.path(), &Interrupt::never()).unwrap_err();
    assert!(refused.to_string().contains("no image of `empty/train` has an object to learn from"), "{refused}");
    (run.recipe.learning_rate, run.recipe.warmup) = (1e6, 0);
    let diverged = train(&run, &some("train", 8, false), folder.path(), &Interrupt::never()).unwrap_err();
    assert!(diverged.to_string().contains("the detector's loss became"), "{diverged}");
}

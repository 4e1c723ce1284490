//! How an encoder's accuracy rises while it is trained, and when it has risen as far as another's.

use serde_json::{Value, json};

use crate::data::image_set::ImageSet;
use crate::data::pairs::Kind;
use crate::error::Result;
use crate::eval;
use crate::harness::experiment::{Curve, DataRef, Outcome};
use crate::harness::lab::{Lab, Stage};
use crate::rng::Key;
use crate::train::settings::Settings;
use crate::train::{HISTORY, History, features, snapshot};

use super::{
    DATA, Representation, SECONDS, backbone, data_ref, describe_training, measure_inputs, pairs_seen, pretrained,
    read_json, representation_inputs, splits_seen, write_json,
};

const ACCURACIES: &str = "accuracies.json";

/// A training at each moment at which its health was measured.
struct Course {
    training: Stage,
    /// The splits of the set that it is probed on.
    data: Vec<DataRef>,
    epochs: Vec<f64>,
    /// Seconds of training so far.
    seconds: Vec<f64>,
    /// The linear probe's on the test images, in percent.
    accuracies: Vec<f64>,
}

impl Course {
    /// The seconds after which the accuracy is for the first time no less than `goal`.
    fn reaches(&self, goal: f64) -> Option<f64> {
        let reached = self.accuracies.iter().position(|&accuracy| accuracy >= goal)?;
        self.seconds.get(reached).copied()
    }

    fn end(&self) -> f64 {
        self.accuracies.last().copied().unwrap_or_default()
    }
}

/// Everything that determines a training's accuracies on a set.
pub(super) fn course_inputs(settings: &Settings, kind: Kind, set: &str, seed: u64) -> Result<Value> {
    let trained = representation_inputs(settings, Representation::Pretrained(kind), seed)?;
    Ok(json!({ "course of": measure_inputs(settings, &trained, set, seed)? }))
}

fn course(settings: &Settings, kind: Kind, set: &str, seed: u64, lab: &mut Lab) -> Result<Course> {
    assert!(settings.pretrain.snapshots, "a training without snapshots has no course");
    let training = pretrained(settings, kind, seed, lab)?;
    let history: History = read_json(&training.dir.join(HISTORY))?;
    let (progress, interrupt) = (lab.progress(), lab.interrupt());
    let stage = lab.stage("course", &course_inputs(settings, kind, set, seed)?, |dir| {
        let dataset = settings.catalog().open(set)?;
        let data: Vec<DataRef> = dataset.splits.values().map(|split| data_ref(split, &dataset.description)).collect();
        write_json(&dir.join(DATA), &data)?;
        let [train, test] = ["train", "test"].map(|split| settings.catalog().split(set, split));
        let (train, test) = (train?, test?);
        let accuracy = |epoch: usize| {
            let weights = training.dir.join(snapshot(epoch));
            let network = backbone(settings, &settings.model, Some(&weights), seed)?;
            let of = |images: &ImageSet| features(&network, images, &settings.normalization, progress, interrupt);
            let key = Key::root(seed).split("probe");
            Ok(eval::linear_probe(&of(&train)?, &of(&test)?, &settings.probe, key)?.accuracy)
        };
        // What an interruption left is gone on from.
        let path = dir.join(ACCURACIES);
        let mut accuracies: Vec<f64> = if path.exists() { read_json(&path)? } else { Vec::new() };
        for health in &history.health[accuracies.len()..] {
            accuracies.push(accuracy(health.epoch)?);
            write_json(&path, &accuracies)?;
        }
        Ok(())
    })?;
    Ok(Course {
        training,
        data: splits_seen(settings, set, read_json(&stage.dir.join(DATA))?)?,
        epochs: history.health.iter().map(|health| health.epoch as f64).collect(),
        seconds: history.times,
        accuracies: read_json(&stage.dir.join(ACCURACIES))?,
    })
}

/// Trains some encoders with [`snapshots`](crate::train::PretrainSettings::snapshots), and measures after how many
/// seconds of training the linear probe of the one at `own` first is as accurate on a set as that of the least accurate
/// of them all is in the end. All get that far, so that the time is never unknown.
///
/// # Errors
/// Missing data, a training that fails, or the user's wish to stop.
pub fn time_to_equal(
    trainings: &[(Settings, Kind)],
    own: usize,
    set: &str,
    seed: u64,
    lab: &mut Lab,
) -> Result<Outcome> {
    let courses = trainings.iter().map(|(settings, kind)| course(settings, *kind, set, seed, lab));
    let courses = courses.collect::<Result<Vec<Course>>>()?;
    let goal = courses.iter().map(Course::end).fold(f64::INFINITY, f64::min);
    let mut outcome = Outcome::default();
    describe_training(&trainings[own].0, &courses[own].training, &mut outcome)?;
    for (_, (course, (settings, _))) in courses.iter().zip(trainings).enumerate().filter(|(at, _)| *at != own) {
        outcome.data.push(pairs_seen(settings, &course.training)?.data);
    }
    let own = &courses[own];
    outcome.data.extend(own.data.iter().cloned());
    if let Some(seconds) = own.reaches(goal) {
        outcome.metrics.insert(SECONDS.into(), seconds);
    }
    outcome.facts.insert(format!("equal accuracy on {set}, %"), goal.into());
    let name = format!("linear accuracy on {set}, %");
    let (x, y, x_title) = (own.epochs.clone(), own.accuracies.clone(), "epoch".into());
    outcome.curves.push(Curve { y_title: name.clone(), name, x_title, x, y }.thinned());
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_time_to_an_accuracy_is_that_of_the_first_moment_that_has_it() {
        let training = Stage { dir: PathBuf::new(), key: String::new(), files: Vec::new() };
        let (epochs, seconds) = (vec![1.0, 2.0, 3.0, 4.0], vec![2.5, 5.0, 7.5, 10.0]);
        let course = Course { training, data: Vec::new(), epochs, seconds, accuracies: vec![20.0, 41.0, 40.0, 45.0] };
        let times = [10.0, 20.0, 40.5, 41.5, course.end(), 45.5].map(|goal| course.reaches(goal));
        assert_eq!(times, [Some(2.5), Some(2.5), Some(5.0), Some(10.0), Some(10.0), None]);
    }
}

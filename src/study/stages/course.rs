//! Stage `course`: how an encoder's accuracy on a set rises while it is trained; and when it has risen as far as another's.

use std::sync::Arc;

use serde_json::json;

use crate::data::catalog::Set;
use crate::error::Result;
use crate::eval;
use crate::files::{read_json, write_json};
use crate::harness::outcome::{Curve, DataRef, Outcome};
use crate::harness::stage::{Done, Stage};
use crate::rng::Key;
use crate::study::cost;
use crate::study::settings::Settings;
use crate::train::{HISTORY, History, snapshot};

use super::features::data_ref;
use super::mapping::Mapping;
use super::metric::SECONDS;
use super::{Context, Training, probe};

const DATA: &str = "data.json";
const ACCURACIES: &str = "accuracies.json";

/// The linear probe of a training at each moment at which its health was measured. The training keeps its encoder then
/// ([`snapshots`](crate::train::PretrainSettings::snapshots)).
#[derive(Clone)]
pub struct Course {
    /// The stage.
    pub stage: Arc<Stage>,
    /// The training.
    pub training: Training,
    set: Arc<Set>,
}

/// What the files of a course say.
struct Rise {
    epochs: Vec<f64>,
    /// Seconds of training so far.
    seconds: Vec<f64>,
    /// The linear probe's on the test images, in percent.
    accuracies: Vec<f64>,
}

impl Rise {
    /// The seconds after which the accuracy is for the first time no less than `goal`.
    fn reaches(&self, goal: f64) -> Option<f64> {
        let reached = self.accuracies.iter().position(|&accuracy| accuracy >= goal)?;
        self.seconds.get(reached).copied()
    }

    fn end(&self) -> f64 {
        self.accuracies.last().copied().unwrap_or_default()
    }
}

impl Course {
    /// The stage of a training and a set.
    ///
    /// Panics when the training keeps no snapshots.
    pub fn new(
        context: &Context,
        settings: &Settings,
        training: Training,
        mapping: Mapping,
        set: &Arc<Set>,
        seed: u64,
    ) -> Self {
        assert!(settings.pretrain.snapshots, "a training without snapshots has no course");
        let inputs = json!({ "course of": probe::inputs(settings, &mapping, &set.identity, seed) });
        let roots = [&["study::stages::course", set.made_by()], &mapping.code[..]].concat();
        let cost = cost::course(context.device, settings, &set.extent);
        let description = context.describe("course", inputs, &roots, &[&training.stage], cost);
        let (from, probe, trained) = (set.clone(), settings.probe.clone(), training.clone());
        let stage = Stage::new(description, move |site| {
            let dataset = from.open()?;
            let data: Vec<DataRef> =
                dataset.splits.values().map(|split| data_ref(split, &dataset.description)).collect();
            write_json(&site.dir.join(DATA), &data)?;
            let (train, test) = (from.split("train")?, from.split("test")?);
            let history: History = read_json(&site.of(&trained.stage).dir.join(HISTORY))?;
            let accuracy = |epoch: usize| {
                let features = mapping.source.features(&[&train, &test], Some(&snapshot(epoch)), site)?;
                let key = Key::root(seed).split("probe");
                Ok(eval::linear_probe(&features[0], &features[1], &probe, key)?.accuracy)
            };
            // What an interruption left is gone on from.
            let path = site.dir.join(ACCURACIES);
            let mut accuracies: Vec<f64> = if path.exists() { read_json(&path)? } else { Vec::new() };
            for health in &history.health[accuracies.len()..] {
                accuracies.push(accuracy(health.epoch)?);
                write_json(&path, &accuracies)?;
            }
            Ok(())
        });
        Self { stage, training, set: set.clone() }
    }

    fn read(&self, done: &Done) -> Result<Rise> {
        let history: History = read_json(&done.of(&self.training.stage).dir.join(HISTORY))?;
        Ok(Rise {
            epochs: history.health.iter().map(|health| health.epoch as f64).collect(),
            seconds: history.times,
            accuracies: read_json(&done.of(&self.stage).dir.join(ACCURACIES))?,
        })
    }
}

/// After how many seconds of training the linear probe of the course at `own` is for the first time as accurate as the
/// least accurate of all is in the end. All get that far, so that the time is never unknown.
///
/// # Errors
/// A damaged file.
pub fn read_time_to_equal(courses: &[Course], own: usize, done: &Done) -> Result<Outcome> {
    let rises = courses.iter().map(|course| course.read(done)).collect::<Result<Vec<Rise>>>()?;
    let goal = rises.iter().map(Rise::end).fold(f64::INFINITY, f64::min);
    let mut outcome = Outcome::default();
    courses[own].training.describe(done, &mut outcome)?;
    for (_, course) in courses.iter().enumerate().filter(|(at, _)| *at != own) {
        outcome.data.push(course.training.data(done)?);
    }
    let (course, rise) = (&courses[own], &rises[own]);
    let data: Vec<DataRef> = read_json(&done.of(&course.stage).dir.join(DATA))?;
    outcome.data.extend(data.into_iter().map(|data| DataRef { licence: course.set.licence.clone(), ..data }));
    if let Some(seconds) = rise.reaches(goal) {
        outcome.metrics.insert(SECONDS.into(), seconds);
    }
    let set = &course.set.name;
    outcome.facts.insert(format!("equal accuracy on {set}, %"), goal.into());
    let name = format!("linear accuracy on {set}, %");
    let (x, y, x_title) = (rise.epochs.clone(), rise.accuracies.clone(), "epoch".into());
    outcome.curves.push(Curve { y_title: name.clone(), name, x_title, x, y }.thinned());
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_an_accuracy_is_that_of_the_first_moment_that_has_it() {
        let (epochs, seconds) = (vec![1.0, 2.0, 3.0, 4.0], vec![2.5, 5.0, 7.5, 10.0]);
        let rise = Rise { epochs, seconds, accuracies: vec![20.0, 41.0, 40.0, 45.0] };
        let times = [10.0, 20.0, 40.5, 41.5, rise.end(), 45.5].map(|goal| rise.reaches(goal));
        assert_eq!(times, [Some(2.5), Some(2.5), Some(5.0), Some(10.0), Some(10.0), None]);
    }
}

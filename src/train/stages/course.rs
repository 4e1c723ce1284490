//! How an encoder's accuracy rises while it is trained, and when it has risen as far as another's.

use serde_json::{Value, json};

use crate::data::image_set::ImageSet;
use crate::data::pairs::Kind;
use crate::error::Result;
use crate::eval;
use crate::harness::experiment::{Curve, Outcome};
use crate::harness::lab::Lab;
use crate::rng::Key;
use crate::train::settings::Settings;
use crate::train::{HISTORY, History, features, snapshot};

use super::{
    Representation, SECONDS, backbone, describe_training, measure_inputs, pretrained, read_json, representation_inputs,
    write_json,
};

const ACCURACIES: &str = "accuracies.json";

/// Everything that determines a training's accuracies on a set.
pub(super) fn course_inputs(settings: &Settings, kind: Kind, set: &str, seed: u64) -> Result<Value> {
    let trained = representation_inputs(settings, Representation::Pretrained(kind), seed)?;
    Ok(json!({ "course of": measure_inputs(settings, &trained, set, seed)? }))
}

/// The linear probe's accuracy on a set's test images at each moment of a training, in percent, with the seconds of
/// training up to it.
fn course(settings: &Settings, kind: Kind, set: &str, seed: u64, lab: &mut Lab) -> Result<Vec<(f64, f64)>> {
    let trained = pretrained(settings, kind, seed, lab)?;
    let history: History = read_json(&trained.dir.join(HISTORY))?;
    let (progress, interrupt) = (lab.progress(), lab.interrupt());
    let stage = lab.stage("course", &course_inputs(settings, kind, set, seed)?, |dir| {
        let [train, test] = ["train", "test"].map(|split| settings.catalog().split(set, split));
        let (train, test) = (train?, test?);
        let accuracy = |epoch: usize| {
            let weights = trained.dir.join(snapshot(epoch));
            let network = backbone(settings, &settings.model, Some(&weights), seed)?;
            let of = |images: &ImageSet| features(&network, images, &settings.normalization, progress, interrupt);
            let key = Key::root(seed).split("probe");
            Ok(eval::linear_probe(&of(&train)?, &of(&test)?, &settings.probe, key)?.accuracy)
        };
        let accuracies = history.health.iter().map(|health| accuracy(health.epoch)).collect::<Result<Vec<f64>>>()?;
        write_json(&dir.join(ACCURACIES), &accuracies)
    })?;
    let accuracies: Vec<f64> = read_json(&stage.dir.join(ACCURACIES))?;
    Ok(history.times.into_iter().zip(accuracies).collect())
}

/// Trains the encoder and its rivals with [`snapshots`](crate::train::PretrainSettings::snapshots), and measures after
/// how many seconds of training its linear probe first is as accurate on a set as the least accurate of them all is in
/// the end. All of them get that far, so that the time is never unknown.
///
/// # Errors
/// Missing data, a training that fails, or the user's wish to stop.
pub fn time_to_equal(
    (settings, kind): (&Settings, Kind),
    rivals: &[(Settings, Kind)],
    set: &str,
    seed: u64,
    lab: &mut Lab,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let own = course(settings, kind, set, seed, lab)?;
    describe_training(settings, &pretrained(settings, kind, seed, lab)?, &mut outcome)?;
    let mut goal = own.last().map_or(0.0, |&(_, accuracy)| accuracy);
    for (settings, kind) in rivals {
        let of_rival = course(settings, *kind, set, seed, lab)?;
        goal = of_rival.last().map_or(goal, |&(_, accuracy)| goal.min(accuracy));
    }
    if let Some(&(seconds, _)) = own.iter().find(|(_, accuracy)| *accuracy >= goal) {
        outcome.metrics.insert(SECONDS.into(), seconds);
    }
    outcome.facts.insert(format!("equal accuracy on {set}, %"), goal.into());
    let (x, y) = own.into_iter().unzip();
    let name = format!("linear accuracy on {set}, %");
    let x_title = "seconds of training".into();
    outcome.curves.push(Curve { y_title: name.clone(), name, x_title, x, y }.thinned());
    Ok(outcome)
}

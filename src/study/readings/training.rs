//! Reads a training's files: health, curves, time, data.

use crate::error::Result;
use crate::eval::Health;
use crate::files::read_json;
use crate::harness::outcome::{Curve, DataRef, Outcome};
use crate::harness::stage::Done;
use crate::study::stages::Training;
use crate::study::stages::metric::{EXACT, KNN, SECONDS};
use crate::study::stages::pretrain::{DATA, PairsSeen};
use crate::train::{ENCODER, HISTORY, History};

/// Takes one value from a training's health.
type Measure = fn(&Health) -> f64;

/// The values that records show, with their names.
const HEALTH: [(&str, Measure); 5] = [
    ("deviation of projections", |health| health.deviation),
    ("effective rank of features", |health| health.rank),
    ("alignment of semantic pairs", |health| health.alignment),
    ("uniformity of projections", |health| health.uniformity),
    ("k-NN on semantic pairs, %", |health| health.knn),
];

/// The health and the time of a training, without measurements of the encoder.
///
/// # Errors
/// When a file is damaged.
pub fn alone(training: &Training, done: &Done) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let history = describe(training, done, &mut outcome)?;
    if let Some(health) = history.health.last() {
        outcome.metrics.insert(KNN.into(), health.knn);
    }
    outcome.metrics.insert(SECONDS.into(), history.seconds);
    outcome.metrics.insert(EXACT.into(), pairs_seen(training, done)?.exact);
    Ok(outcome)
}

/// Adds curves, facts and data to an outcome.
///
/// # Errors
/// When a file is damaged.
pub fn describe(training: &Training, done: &Done, outcome: &mut Outcome) -> Result<History> {
    let files = done.of(&training.stage);
    let history: History = read_json(&files.dir.join(HISTORY))?;
    outcome.checkpoint = files.hash_of(ENCODER);
    let PairsSeen { data, exact } = pairs_seen(training, done)?;
    outcome.data.push(data);
    outcome.facts.insert("share of pairs of one category".into(), exact.into());
    outcome.facts.insert("training seconds".into(), history.seconds.into());
    outcome
        .facts
        .insert("waiting for data, part of training".into(), (history.waited / history.seconds).min(1.0).into());
    let curve = |name: &str, x: Vec<f64>, y: Vec<f64>| {
        let title = |title: &str| title.to_owned();
        Curve { name: name.into(), x_title: title("epoch"), y_title: title(name), x, y }.thinned()
    };
    let epochs = (1..=history.losses.len()).map(|epoch| epoch as f64).collect();
    outcome.curves.push(curve("pretraining loss", epochs, history.losses.clone()));
    for (name, measure) in HEALTH {
        let epochs = history.health.iter().map(|health| health.epoch as f64).collect();
        outcome.curves.push(curve(name, epochs, history.health.iter().map(measure).collect()));
        if let Some(last) = history.health.last() {
            outcome.facts.insert(name.into(), measure(last).into());
        }
    }
    Ok(history)
}

/// The pairs that were trained on, with the current description and licence of their set, which
/// are not part of any key.
///
/// # Errors
/// When a file is damaged.
pub fn data(training: &Training, done: &Done) -> Result<DataRef> {
    Ok(pairs_seen(training, done)?.data)
}

fn pairs_seen(training: &Training, done: &Done) -> Result<PairsSeen> {
    let PairsSeen { data, exact } = read_json(&done.of(&training.stage).dir.join(DATA))?;
    let set = &training.pairs.set;
    let (licence, of) = (set.licence.clone(), &set.description);
    let description = if of.is_empty() { data.description } else { format!("{}; from {of}", data.description) };
    Ok(PairsSeen { data: DataRef { licence, description, ..data }, exact })
}

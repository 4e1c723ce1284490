//! Column: linear probe and k-NN on an evaluation set.

use std::sync::Arc;

use crate::error::Result;
use crate::harness::experiment::{Better, Column, Measurement};
use crate::harness::outcome::Outcome;
use crate::study::line::Line;
use crate::study::readings;
use crate::study::stages::{self, Context, Representation, metric};

use super::{Measure, Metric, code_of};

/// The linear probe's accuracy.
pub const TOP1: Metric = Metric { id: metric::TOP1, title: "linear", unit: "%", better: Better::More, decimals: 1 };
/// The accuracy of k-NN.
pub const KNN: Metric = Metric { id: metric::KNN, title: "k-NN", unit: "%", better: Better::More, decimals: 1 };

/// The paper's columns, and the embedded stand-in of each.
const SETS: [(&str, &str, &str); 3] =
    [("cifar-10", "CIFAR-10", "synth-10"), ("cifar-100", "CIFAR-100", "synth-100"), ("stl-10", "STL-10", "synth-stl")];

/// An evaluation set.
#[derive(Clone, Debug)]
pub struct OnSet {
    /// Its name.
    pub set: String,
    /// Whether the linear accuracy is also recorded during each training; the training must keep snapshots.
    pub along: bool,
}

impl OnSet {
    /// The set of this name.
    pub fn new(set: &str) -> Self {
        Self { set: set.to_owned(), along: false }
    }
}

/// The id and the title of the paper's set that a set is or stands for.
pub(super) fn of_paper(set: &str) -> Option<(&'static str, &'static str)> {
    SETS.iter().find(|(id, _, stand_in)| set == *id || set == *stand_in).map(|&(id, title, _)| (id, title))
}

/// The title of the paper's column.
pub fn title_of_set(id: &str) -> &str {
    SETS.iter().find(|(column, ..)| *column == id).map_or(id, |(_, title, _)| title)
}

impl Measure for OnSet {
    fn column(&self) -> Column {
        let set = &self.set;
        let of_paper = of_paper(set);
        let title = of_paper.filter(|(id, _)| set == id).map_or(set.as_str(), |(_, title)| title);
        Column {
            id: set.clone(),
            title: title.into(),
            stands_for: of_paper.map(|(id, _)| id.into()),
            substitute: of_paper.is_none_or(|(id, _)| set != id),
            metrics: Vec::new(),
        }
    }

    fn metrics(&self) -> &'static [Metric] {
        &[TOP1, KNN]
    }

    fn set(&self) -> Option<&str> {
        Some(&self.set)
    }

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measurement>> {
        let (mapping, training) = stages::mapping(context, &line.settings, line.what, seed)?;
        let probe = stages::evaluation(context, &line.settings, &mapping, &self.set, seed)?;
        let course = match line.what {
            Representation::Pretrained(kind) if self.along => {
                Some(stages::time_to_accuracy(context, &line.settings, kind, &self.set, seed)?)
            }
            _ => None,
        };
        let factors = training.as_ref().and_then(|training| training.factors.clone());
        let beside = factors.into_iter().chain(probe.factors.clone()).collect();
        let stages = course.iter().map(|course| course.stage.clone()).chain([probe.stage.clone()]).collect();
        let along = course.is_some().then_some("study::readings::time_to_accuracy");
        let code =
            code_of(&["study::readings::probe"].into_iter().chain(along).collect::<Vec<_>>(), training.is_some());
        let read = move |done: &_| {
            let mut outcome = Outcome::default();
            training.as_ref().map(|of| readings::training::describe(of, done, &mut outcome)).transpose()?;
            readings::probe::describe(&probe, done, &mut outcome)?;
            course
                .as_ref()
                .map(|course| readings::time_to_accuracy::describe(course, done, &mut outcome))
                .transpose()?;
            Ok(outcome)
        };
        Ok(Some(Measurement { stages, beside, timed: false, code, read: Arc::new(read) }))
    }
}

//! Column: the training time until a row's probe reaches the lowest final accuracy of some trainings.

use std::sync::Arc;

use crate::data::pairs::PairKind;
use crate::error::{Error, Result};
use crate::harness::experiment::{Column, Measurement};
use crate::study::line::Line;
use crate::study::readings;
use crate::study::settings::Settings;
use crate::study::stages::{self, Context, Representation, TimeToAccuracy};

use super::{Measure, Metric, SECONDS, code_of};

/// The training time until a row reaches the lowest final accuracy of the trainings.
#[derive(Clone, Debug)]
pub struct TimeToEqual {
    /// The set on which accuracies are compared.
    pub set: String,
    /// The trainings of the table's rows.
    pub trainings: Vec<(Settings, PairKind)>,
}

impl Measure for TimeToEqual {
    fn column(&self) -> Column {
        // The times come from other machines and other pairs than the paper's.
        let title = "time to equal accuracy".into();
        Column { id: "equal".into(), title, stands_for: None, substitute: true, metrics: Vec::new() }
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SECONDS]
    }

    fn set(&self) -> Option<&str> {
        Some(&self.set)
    }

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measurement>> {
        let Representation::Pretrained(kind) = line.what else { return Ok(None) };
        let own = self.trainings.iter().position(|(settings, on)| *settings == line.settings && *on == kind);
        let own = own.ok_or_else(|| Error::new(format!("{:?} is not one of the compared trainings", line.row)))?;
        let course = |(settings, kind): &(Settings, PairKind)| {
            stages::time_to_accuracy(context, settings, *kind, &self.set, seed)
        };
        let courses: Vec<TimeToAccuracy> = self.trainings.iter().map(course).collect::<Result<_>>()?;
        let beside = courses.iter().filter_map(|course| course.training.factors.clone()).collect();
        let stages = courses.iter().map(|course| course.stage.clone()).collect();
        let read = Arc::new(move |done: &_| readings::time_to_accuracy::time_to_equal(&courses, own, done));
        Ok(Some(Measurement {
            stages,
            beside,
            timed: true,
            code: code_of(&["study::readings::time_to_accuracy"], true),
            read,
        }))
    }
}

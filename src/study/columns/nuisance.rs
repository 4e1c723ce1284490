//! Column: the effect on features and probe when one nuisance factor is changed in a set's test images.

use std::sync::Arc;

use crate::data::world::Nuisance;
use crate::error::Result;
use crate::harness::experiment::{Better, Column, Measurement};
use crate::harness::outcome::Outcome;
use crate::study::line::Line;
use crate::study::readings;
use crate::study::stages::{self, Context, metric};

use super::set::of_paper;
use super::{Measure, Metric, TOP1, code_of};

/// How little the features change. Features that distinguish nothing also change little, so
/// higher is not always better.
pub const COSINE: Metric =
    Metric { id: metric::COSINE, title: "cosine", unit: "", better: Better::Neither, decimals: 2 };

/// A factor in the images of a set.
#[derive(Clone, Debug)]
pub struct Varied {
    /// The set whose test images are changed.
    pub set: String,
    /// The factor that is changed.
    pub nuisance: Nuisance,
}

impl Measure for Varied {
    fn column(&self) -> Column {
        Column {
            id: self.nuisance.name().into(),
            title: self.nuisance.name().into(),
            stands_for: None,
            substitute: of_paper(&self.set).is_none_or(|(id, _)| self.set != id),
            metrics: Vec::new(),
        }
    }

    fn metrics(&self) -> &'static [Metric] {
        &[COSINE, TOP1]
    }

    fn set(&self) -> Option<&str> {
        Some(&self.set)
    }

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measurement>> {
        let (mapping, training) = stages::mapping(context, &line.settings, line.what, seed)?;
        let invariance = stages::invariance(context, &line.settings, &mapping, (&self.set, self.nuisance), seed)?;
        let beside = training.iter().filter_map(|training| training.factors.clone()).collect();
        let stages = vec![invariance.stage.clone()];
        let code = code_of(&["study::readings::invariance"], training.is_some());
        let read = move |done: &_| {
            let mut outcome = Outcome::default();
            training.as_ref().map(|of| readings::training::describe(of, done, &mut outcome)).transpose()?;
            readings::invariance::describe(&invariance, done, &mut outcome)?;
            Ok(outcome)
        };
        Ok(Some(Measurement { stages, beside, timed: false, code, read: Arc::new(read) }))
    }
}

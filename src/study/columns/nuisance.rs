//! Column: what one nuisance factor, changed in a set's test images, does to features and probe.

use std::sync::Arc;

use crate::data::world::Nuisance;
use crate::error::Result;
use crate::harness::experiment::{Better, Column};
use crate::harness::outcome::Outcome;
use crate::study::sheet::Line;
use crate::study::stages::{self, Context, metric};

use super::set::of_paper;
use super::{Measure, Measured, Metric, TOP1};

/// How little features move. Those that tell nothing apart move little, too, so that more is not always better.
pub const COSINE: Metric =
    Metric { id: metric::COSINE, title: "cosine", unit: "", better: Better::Neither, decimals: 2 };

/// A factor in the images of a set.
#[derive(Clone, Debug)]
pub struct Varied {
    /// The set whose test images are changed.
    pub set: String,
    /// What is changed.
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

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measured>> {
        let (mapping, training) = stages::mapping(context, &line.settings, line.what, seed)?;
        let invariance = stages::invariance(context, &line.settings, &mapping, (&self.set, self.nuisance), seed)?;
        let beside = training.as_ref().and_then(|training| training.factors.clone());
        let cell = beside.into_iter().chain([invariance.stage.clone()]).collect();
        let read = move |done: &_| {
            let mut outcome = Outcome::default();
            training.as_ref().map(|training| training.describe(done, &mut outcome)).transpose()?;
            invariance.describe(done, &mut outcome)?;
            Ok(outcome)
        };
        Ok(Some(Measured { stages: cell, read: Arc::new(read) }))
    }
}

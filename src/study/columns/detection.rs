//! Column: the average precision of a detector on the encoder.

use std::sync::Arc;

use crate::error::Result;
use crate::eval::AveragePrecision;
use crate::harness::experiment::{Better, Column, Measurement};
use crate::harness::outcome::Outcome;
use crate::study::line::Line;
use crate::study::readings;
use crate::study::settings::DetectionSettings;
use crate::study::stages::{self, Context, metric};

use super::{Measure, Metric, code_of};

/// Average precision, of which each column has one kind.
pub const AVERAGE_PRECISION: Metric =
    Metric { id: metric::AVERAGE_PRECISION, title: "average precision", unit: "%", better: Better::More, decimals: 1 };

/// The kinds: id, title, and the value of a result.
type Kind = (&'static str, &'static str, fn(&AveragePrecision) -> f64);

/// Average precision at an IoU of 0.5, the mean over ten IoUs, and at 0.75, in the paper's order.
pub const KINDS: [Kind; 3] =
    [("ap50", "AP50", |of| of.ap50), ("ap", "AP50:95", |of| of.ap), ("ap75", "AP75", |of| of.ap75)];

/// The name of an imported set that the column takes for the paper's: PASCAL VOC 2007 and 2012.
pub const VOC: &str = "voc";

/// One kind of average precision on a set.
#[derive(Clone, Debug)]
pub struct DetectedOn {
    /// The set and the detector.
    pub settings: DetectionSettings,
    /// Which of [`KINDS`].
    pub kind: Kind,
}

impl Measure for DetectedOn {
    fn column(&self) -> Column {
        let (id, title, _) = self.kind;
        Column {
            id: id.into(),
            title: title.into(),
            stands_for: Some(id.into()),
            substitute: self.settings.set != VOC,
            metrics: Vec::new(),
        }
    }

    fn metrics(&self) -> &'static [Metric] {
        &[AVERAGE_PRECISION]
    }

    fn set(&self) -> Option<&str> {
        Some(&self.settings.set)
    }

    fn cell(&self, line: &Line, seed: u64, context: &Context) -> Result<Option<Measurement>> {
        let (mapping, training) = stages::mapping(context, &line.settings, line.what, seed)?;
        let Some(detector) = stages::detector(context, &line.settings, &self.settings, &mapping, seed)? else {
            return Ok(None);
        };
        let beside = training.iter().filter_map(|training| training.factors.clone()).collect();
        let stages = vec![detector.detections.clone()];
        let code = code_of(&["study::readings::detection"], training.is_some());
        let (id, _, which) = self.kind;
        // Once for each row: records would repeat the pictures for each seed and kind.
        let shows_scenes = seed == 0 && id == KINDS[0].0;
        let read = move |done: &_| {
            let mut outcome = Outcome::default();
            training.as_ref().map(|of| readings::training::describe(of, done, &mut outcome)).transpose()?;
            let measured = readings::detection::describe(&detector, done, &mut outcome)?;
            outcome.metrics.insert(metric::AVERAGE_PRECISION.into(), which(&measured.mean));
            if !shows_scenes {
                outcome.scenes.clear();
            }
            outcome.by_category.insert(metric::AVERAGE_PRECISION.into(), measured.by_category(which));
            Ok(outcome)
        };
        Ok(Some(Measurement { stages, beside, timed: false, code, read: Arc::new(read) }))
    }
}

//! A row of a table of encoders: an encoder, and the settings that produce it.

use crate::data::pairs::PairKind;
use crate::harness::experiment::Row;
use crate::methods::Name;

use super::settings::Settings;
use super::stages::Representation;

/// A row: an encoder, and the settings that produce it.
pub struct Line {
    /// Its labels.
    pub row: Row,
    /// What is evaluated.
    pub what: Representation,
    /// The settings of its training and of its evaluation.
    pub settings: Settings,
    /// Whether it is a baseline for comparison, and not a row of the paper.
    pub baseline: bool,
}

impl Line {
    /// Raw pixels.
    pub fn pixels(settings: &Settings) -> Self {
        Self::baseline("raw pixels", Representation::Pixels, settings.clone())
    }

    /// The encoder before its first step.
    pub fn random(settings: &Settings) -> Self {
        Self::baseline("random initialisation", Representation::Random, settings.clone())
    }

    /// The encoder trained with labels, on the images of the semantic pairs.
    pub fn supervised(settings: &Settings) -> Self {
        let what = Representation::Pretrained(PairKind::Semantic);
        Self::baseline(Name::Supervised.title(), what, settings.of(Name::Supervised))
    }

    fn baseline(title: &str, what: Representation, settings: Settings) -> Self {
        Self { row: labels(title, "none"), what, settings, baseline: true }
    }

    /// The encoder pretrained with the settings' method.
    pub fn pretrained(settings: Settings, kind: PairKind) -> Self {
        let row = trained(settings.method, kind);
        Self { row, what: Representation::Pretrained(kind), settings, baseline: false }
    }

    /// Returns the line with another value of a label.
    #[must_use]
    pub fn relabelled(mut self, key: &str, value: &str) -> Self {
        self.row.iter_mut().filter(|label| label.0 == key).for_each(|label| value.clone_into(&mut label.1));
        self
    }

    /// Returns the line with one more label.
    #[must_use]
    pub fn labelled(mut self, key: &str, value: impl ToString) -> Self {
        self.row.push((key.into(), value.to_string()));
        self
    }
}

/// The lines of AP and of SP with the settings' method, each with `label`.
pub fn both_pairs(settings: &Settings, label: Option<(&str, &str)>) -> [Line; 2] {
    [PairKind::Augmented, PairKind::Semantic].map(|kind| {
        let line = Line::pretrained(settings.clone(), kind);
        match label {
            Some((key, value)) => line.labelled(key, value),
            None => line,
        }
    })
}

/// The rows of two lines.
pub fn rows(lines: &[Line; 2]) -> [Row; 2] {
    lines.each_ref().map(|line| line.row.clone())
}

/// The labels of a pretrained row that has no further labels.
pub fn trained(method: Name, kind: PairKind) -> Row {
    labels(method.title(), kind.title())
}

fn labels(method: &str, pairs: &str) -> Row {
    vec![("method".into(), method.into()), ("pairs".into(), pairs.into())]
}

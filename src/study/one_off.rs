//! Runs outside of tables: one pretraining, one evaluation of an encoder, one detector, one import of weights. They are
//! recorded like the runs of tables.

use std::path::PathBuf;
use std::sync::Arc;

use crate::data::pairs::PairKind;
use crate::error::{Error, Result};
use crate::files;
use crate::harness::cache::{Cache, Held};
use crate::harness::code::Code;
use crate::harness::experiment::{Cell, Column, Experiment, Measurement, Row, Table};
use crate::harness::outcome::Outcome;
use crate::harness::record::Record;
use crate::harness::stage::Done;
use crate::train::{ENCODER, Trained};

use super::code::code;
use super::columns::{AVERAGE_PRECISION, KINDS, KNN, Metric, TOP1, training_alone};
use super::line;
use super::readings;
use super::settings::{DetectionSettings, OwnSettings, Settings};
use super::stages::{self, Context, Detector};

/// `sempair pretrain`: trains the settings' method on the settings' pairs.
pub struct PretrainOne {
    /// Augmented or semantic pairs.
    pub kind: PairKind,
    /// The seed.
    pub seed: u64,
}

/// `sempair probe`: evaluates the encoder of a run.
pub struct ProbeOne {
    /// The encoder.
    pub encoder: FoundEncoder,
    /// The evaluation set.
    pub set: String,
}

/// `sempair detect`: trains a detector on the encoder of a run, and evaluates it.
pub struct DetectOne {
    /// The encoder.
    pub encoder: FoundEncoder,
}

/// `sempair import-weights`: imports an encoder from a file.
pub struct ImportOne {
    /// The file.
    pub file: PathBuf,
}

/// An encoder in the cache.
#[derive(Clone, Debug)]
pub struct FoundEncoder {
    /// The id of the run by which it was found.
    pub run: String,
    /// The stage's folder, with encoder and [`Trained`].
    pub dir: PathBuf,
    /// The stage's key.
    pub key: String,
    /// Labels of the run's row.
    pub row: Row,
}

/// Stages that write an encoder.
const LEAVE_AN_ENCODER: [&str; 2] = ["pretrain", "import-weights"];

impl FoundEncoder {
    /// The encoder that a recorded run trained, imported or evaluated.
    ///
    /// # Errors
    /// When the run has no encoder, when the encoder is no longer in the cache, or when it was changed there.
    pub fn of(record: &Record, cache: &Cache) -> Result<Self> {
        let stage = record.stages.iter().find(|stage| LEAVE_AN_ENCODER.contains(&stage.name.as_str()));
        let stage = stage.ok_or_else(|| {
            Error::new(format!("run {} has no encoder ({} {:?})", record.short(), record.experiment, record.row))
                .hint("`sempair runs` lists the runs; runs of `pretrain` and of rows AP and SP have an encoder")
        })?;
        let dir = cache.folder(&stage.name, &stage.key);
        let again = "repeat the command that made it, with `--force`; `sempair show RUN` shows the command";
        // The times differ between runs that made the same encoder, so files that hold times are not compared.
        let mut used = stage.clone();
        used.files.retain(|file| [ENCODER, Trained::FILE].contains(&file.name.as_str()));
        match cache.check(&used, true) {
            Held::Ok | Held::Replaced => {}
            Held::Missing => {
                let (run, place) = (record.short(), dir.display());
                return Err(Error::new(format!("the encoder of run {run} is not in the cache: {place}")).hint(again));
            }
            Held::Changed(files) => {
                let file = dir.join(files.first().map_or("", String::as_str));
                let what = format!("{} has changed since run {} wrote it", file.display(), record.short());
                return Err(Error::new(what).hint(again));
            }
        }
        Ok(Self { run: record.id.clone(), dir, key: stage.key.clone(), row: record.row.clone() })
    }
}

impl Experiment<Settings> for PretrainOne {
    fn id(&self) -> &'static str {
        "pretrain"
    }

    fn title(&self) -> &'static str {
        "One pretraining"
    }

    fn table(&self, settings: &Settings) -> Result<Table> {
        let health = Metric { title: "k-NN on semantic pairs", ..KNN };
        Ok(table(self, &self.row(settings), &settings.pairs.from, &[health]))
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        let training = stages::training(&Context::new(settings)?, settings, self.kind, self.seed)?;
        Ok(vec![Cell::new(self.row(settings), &settings.pairs.from, self.seed, training_alone(training))])
    }
}

impl PretrainOne {
    fn row(&self, settings: &Settings) -> Row {
        line::trained(settings.method, self.kind)
    }
}

impl Experiment<Settings> for ProbeOne {
    fn id(&self) -> &'static str {
        "probe"
    }

    fn title(&self) -> &'static str {
        "One evaluation"
    }

    fn table(&self, _: &Settings) -> Result<Table> {
        Ok(table(self, &self.encoder.row, &self.set, &[TOP1, KNN]))
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        let FoundEncoder { dir, key, row, .. } = &self.encoder;
        let (trained, checkpoint) = (Trained::read(dir)?, files::hash(&dir.join(ENCODER))?);
        let context = Context::new(settings)?;
        let probe = stages::evaluation_of_folder(&context, settings, &trained, (dir, key), &self.set)?;
        let (stages, beside) = (vec![probe.stage.clone()], probe.factors.iter().cloned().collect());
        let read = move |done: &_| {
            let mut outcome = Outcome { checkpoint: Some(checkpoint.clone()), ..Outcome::default() };
            readings::probe::describe(&probe, done, &mut outcome)?;
            Ok(outcome)
        };
        let code = code(&["study::readings::probe"]);
        let measurement = Measurement { stages, beside, timed: false, code, read: Arc::new(read) };
        Ok(vec![Cell::new(row.clone(), &self.set, trained.run.seed, measurement)])
    }
}

impl Experiment<Settings> for DetectOne {
    fn id(&self) -> &'static str {
        "detect"
    }

    fn title(&self) -> &'static str {
        "One detector"
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        DetectionSettings::of(DETECTION, settings)?.check(DETECTION, settings)
    }

    fn table(&self, settings: &Settings) -> Result<Table> {
        let metrics = KINDS.map(|(id, title, _)| Metric { id, title, ..AVERAGE_PRECISION });
        Ok(table(self, &self.encoder.row, &DetectionSettings::of(DETECTION, settings)?.set, &metrics))
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        let (row, detector) = (&self.encoder.row, self.detector(settings)?);
        let (set, seed) = (detector.set.name.clone(), detector.run.seed);
        let (stages, beside) = (vec![detector.detections.clone()], Vec::new());
        let read = move |done: &_| {
            let mut outcome = Outcome::default();
            let measured = readings::detection::describe(&detector, done, &mut outcome)?;
            outcome.metrics.extend(KINDS.map(|(id, _, which)| (id.to_owned(), which(&measured.mean))));
            outcome.by_category.extend(KINDS.map(|(id, _, which)| (id.to_owned(), measured.by_category(which))));
            Ok(outcome)
        };
        let code = code(&["study::readings::detection"]);
        let measurement = Measurement { stages, beside, timed: false, code, read: Arc::new(read) };
        Ok(vec![Cell::new(row.clone(), &set, seed, measurement)])
    }
}

impl DetectOne {
    /// The detector on the encoder.
    ///
    /// # Errors
    /// When the set is missing, or the encoder cannot be read.
    pub fn detector(&self, settings: &Settings) -> Result<Detector> {
        let FoundEncoder { dir, key, .. } = &self.encoder;
        let (context, detection) = (Context::new(settings)?, DetectionSettings::of(DETECTION, settings)?);
        stages::detector_of_folder(&context, settings, &detection, &Trained::read(dir)?, (dir, key))
    }
}

/// The table whose settings a detector has.
const DETECTION: &str = "detection";

impl Experiment<Settings> for ImportOne {
    fn id(&self) -> &'static str {
        "import-weights"
    }

    fn title(&self) -> &'static str {
        "One import of weights"
    }

    fn table(&self, settings: &Settings) -> Result<Table> {
        Ok(table(self, &self.row(), &settings.pairs.from, &[]))
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        let stage = stages::import_weights(&Context::new(settings)?, settings, &self.file)?;
        let of = stage.clone();
        let checkpoint = move |done: &Done| done.of(&of).hash_of(ENCODER);
        let read = move |done: &_| Ok(Outcome { checkpoint: checkpoint(done), ..Outcome::default() });
        let measurement = Measurement {
            stages: vec![stage],
            beside: Vec::new(),
            timed: false,
            code: Code::default(),
            read: Arc::new(read),
        };
        Ok(vec![Cell::new(self.row(), "weights", 0, measurement)])
    }
}

impl ImportOne {
    fn row(&self) -> Row {
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        vec![("method".into(), format!("weights of {name}")), ("pairs".into(), "none".into())]
    }
}

/// A table of one cell, from which a record is made.
fn table(of: &dyn Experiment<Settings>, row: &Row, column: &str, metrics: &[Metric]) -> Table {
    Table {
        id: of.id().into(),
        title: of.title().into(),
        rows: vec![row.clone()],
        substitute: true,
        columns: vec![Column {
            id: column.into(),
            title: column.into(),
            stands_for: None,
            substitute: true,
            metrics: Vec::new(),
        }],
        metrics: metrics.iter().map(Metric::info).collect(),
        ..Table::default()
    }
}

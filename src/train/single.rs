//! Runs outside of tables, recorded like those: one pretraining, one evaluation of an encoder, one import of weights.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::data::pairs::Kind;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::harness::experiment::{Cell, Column, Experiment, MetricInfo, Outcome, Row, Table};
use crate::harness::lab::Lab;
use crate::harness::record::Record;

use super::exchange;
use super::settings::Settings;
use super::sheet;
use super::stages::{self, PRETRAINING, Trained};

/// `sempair pretrain`: the settings' method on their pairs.
pub struct PretrainOne {
    /// Augmented or semantic pairs.
    pub kind: Kind,
    /// The seed.
    pub seed: u64,
}

/// `sempair probe`: an encoder that a run has left.
pub struct ProbeOne {
    /// The encoder.
    pub encoder: FoundEncoder,
    /// The evaluation set.
    pub set: String,
}

/// `sempair import-weights`: an encoder from a file.
pub struct ImportOne {
    /// The file.
    pub file: PathBuf,
}

/// An encoder in the cache.
#[derive(Clone, Debug)]
pub struct FoundEncoder {
    /// The run that it was found by.
    pub run: String,
    /// The stage's folder, with encoder and [`Trained`].
    pub dir: PathBuf,
    /// The stage's key.
    pub key: String,
    /// Labels of the run's row.
    pub row: Row,
}

/// Stages that leave an encoder.
const LEAVE_AN_ENCODER: [&str; 2] = ["pretrain", "import-weights"];

impl FoundEncoder {
    /// The encoder that a recorded run has trained, imported or evaluated.
    ///
    /// # Errors
    /// When the run has none, or it is no longer in the cache.
    pub fn of(record: &Record, cache: &Path) -> Result<Self> {
        let stage = record.stages.iter().find(|stage| LEAVE_AN_ENCODER.contains(&stage.name.as_str()));
        let stage = stage.ok_or_else(|| {
            Error::new(format!(
                "run {} has trained no encoder ({} {:?})",
                record.short(),
                record.experiment,
                record.row
            ))
            .hint("`sempair runs` lists the runs; those of `pretrain` and of rows AP and SP have one")
        })?;
        let dir = cache.join(&stage.name).join(&stage.key);
        if !dir.join(PRETRAINING).exists() {
            return Err(Error::new(format!(
                "the encoder of run {} is not in the cache: {}",
                record.short(),
                dir.display()
            ))
            .hint("run the same command again: `sempair show RUN` shows it; what is missing is computed anew"));
        }
        Ok(Self { run: record.id.clone(), dir, key: stage.key.clone(), row: record.row.clone() })
    }

    /// What the encoder is.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn trained(&self) -> Result<Trained> {
        let path = self.dir.join(PRETRAINING);
        let bytes = std::fs::read(&path).context(format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).context(path.display())
    }
}

impl Experiment<Settings> for PretrainOne {
    fn id(&self) -> &'static str {
        "pretrain"
    }

    fn title(&self) -> &'static str {
        "One pretraining"
    }

    fn table(&self, settings: &Settings) -> Table {
        table(self, &self.row(settings), &settings.pairs.from, &[(stages::KNN, "k-NN on semantic pairs")])
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        let needs = stages::needs_of_pretraining(settings, self.kind, self.seed)?;
        Ok(vec![Cell::of(self.row(settings), &settings.pairs.from, self.seed, needs)])
    }

    fn run(&self, _: &Cell, settings: &Settings, lab: &mut Lab) -> Result<Outcome> {
        stages::pretrain_alone(settings, self.kind, self.seed, lab)
    }
}

impl PretrainOne {
    fn row(&self, settings: &Settings) -> Row {
        sheet::trained(settings.method, self.kind)
    }
}

impl Experiment<Settings> for ProbeOne {
    fn id(&self) -> &'static str {
        "probe"
    }

    fn title(&self) -> &'static str {
        "One evaluation"
    }

    fn table(&self, _: &Settings) -> Table {
        table(self, &self.encoder.row, &self.set, &[(stages::TOP1, "linear"), (stages::KNN, "k-NN")])
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        let seed = self.encoder.trained()?.run.seed;
        let inputs = stages::inputs_of_encoder(settings, &self.encoder.key, &self.set, seed)?;
        let (row, column) = (self.encoder.row.clone(), self.set.clone());
        Ok(vec![Cell { row, column, seed, inputs, needs: Vec::new() }])
    }

    fn run(&self, _: &Cell, settings: &Settings, lab: &mut Lab) -> Result<Outcome> {
        let trained = self.encoder.trained()?;
        stages::evaluate_encoder(settings, &trained, (&self.encoder.dir, &self.encoder.key), &self.set, lab)
    }
}

impl Experiment<Settings> for ImportOne {
    fn id(&self) -> &'static str {
        "import-weights"
    }

    fn title(&self) -> &'static str {
        "One import of weights"
    }

    fn table(&self, settings: &Settings) -> Table {
        let row = self.row();
        table(self, &row, &settings.pairs.from, &[])
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        let hash = files::hash(&self.file)?;
        let inputs = json!({ "file": hash, "model": settings.model, "normalization": settings.normalization });
        Ok(vec![Cell { row: self.row(), column: "weights".into(), seed: 0, inputs, needs: Vec::new() }])
    }

    fn run(&self, cell: &Cell, settings: &Settings, lab: &mut Lab) -> Result<Outcome> {
        let stage = lab.stage("import-weights", &cell.inputs, |dir| exchange::import(&self.file, settings, dir))?;
        let checkpoint = stages::encoder_hash(&stage);
        Ok(Outcome { checkpoint, ..Outcome::default() })
    }
}

impl ImportOne {
    fn row(&self) -> Row {
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        vec![("method".into(), format!("weights of {name}")), ("pairs".into(), "none".into())]
    }
}

/// A table of one cell: what a record is made from.
fn table(of: &dyn Experiment<Settings>, row: &Row, column: &str, metrics: &[(&str, &str)]) -> Table {
    let metric = |&(id, title): &(&str, &str)| MetricInfo { id: id.into(), title: title.into(), unit: "%".into() };
    Table {
        id: of.id().into(),
        title: of.title().into(),
        caption: String::new(),
        rows: vec![row.clone()],
        baselines: Vec::new(),
        in_paper: false,
        substitute: true,
        columns: vec![Column {
            id: column.into(),
            title: column.into(),
            stands_for: None,
            substitute: true,
            metrics: Vec::new(),
        }],
        metrics: metrics.iter().map(metric).collect(),
        paper: Vec::new(),
        claims: Vec::new(),
        notes: Vec::new(),
        varies: String::new(),
    }
}

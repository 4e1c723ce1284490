//! One run, as it is kept in the ledger.

use crate::harness::experiment::Curve;
use crate::harness::experiment::DataRef;
use crate::harness::experiment::Row;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Running,
    Completed,
    Failed,
    Interrupted,
    Killed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageUse {
    pub name: String,
    pub key: String,
    pub computed: bool,
    pub from: Option<String>,
    pub seconds: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Git {
    pub commit: Option<String>,
    pub dirty: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    pub version: String,
    pub code: String,
    pub rustc: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    pub cpu: String,
    pub cores: usize,
    pub threads: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compute {
    pub device: String,
    pub isa: String,
    pub precision: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub key: String,
    pub value: serde_json::Value,
    pub origin: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub schema: String,
    pub id: String,
    pub experiment: String,
    #[serde(default)]
    pub profile: String,
    #[serde(default)]
    pub row: Row,
    #[serde(default)]
    pub column: String,
    #[serde(default)]
    pub seed: u64,
    pub key: String,
    pub status: Status,
    pub started: String,
    #[serde(default)]
    pub ended: Option<String>,
    #[serde(default)]
    pub seconds: f64,
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    #[serde(default)]
    pub curves: Vec<Curve>,
    #[serde(default)]
    pub data: Vec<DataRef>,
    #[serde(default)]
    pub checkpoint: Option<String>,
    #[serde(default)]
    pub stages: Vec<StageUse>,
    #[serde(default)]
    pub git: Git,
    #[serde(default)]
    pub build: Build,
    #[serde(default)]
    pub host: Host,
    #[serde(default)]
    pub compute: Compute,
    #[serde(default)]
    pub settings: Vec<Setting>,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub args: Vec<String>,
}

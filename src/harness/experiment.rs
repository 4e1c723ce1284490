//! The plain data an experiment hands to the report.

use serde::Deserialize;
use serde::Serialize;

/// Ordered fields, for example `[("method", "SimCLR"), ("pairs", "AP")]`.
pub type Row = Vec<(String, String)>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub id: String,
    pub title: String,
    pub stands_for: Option<String>,
    pub substitute: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricInfo {
    pub id: String,
    pub title: String,
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaperFigure {
    pub row: Row,
    pub column: String,
    pub metric: String,
    pub value: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    pub text: String,
    pub column: String,
    pub metric: String,
    pub better: Row,
    pub worse: Row,
    pub margin: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub x_title: String,
    pub y_title: String,
    pub x: Vec<f64>,
    pub y: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub id: String,
    pub title: String,
    pub caption: String,
    pub rows: Vec<Row>,
    pub baselines: Vec<Row>,
    pub columns: Vec<Column>,
    pub metrics: Vec<MetricInfo>,
    pub paper: Vec<PaperFigure>,
    pub claims: Vec<Claim>,
    pub notes: Vec<String>,
    pub varies: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataRef {
    pub name: String,
    pub description: String,
    pub hash: String,
    pub images: u64,
}

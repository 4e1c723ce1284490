//! Turns records into a paper-ready report: statistics, figures, and one folder of pages and tables.
//!
//! `results` is a pure function of its input; `render` writes the results to files. Neither needs a device or data, and
//! the same input gives the same bytes for any order of the records.

mod anonymous;
mod captions;
mod cards;
mod categories;
mod check;
mod checklist;
pub(crate) mod claims;
mod curves;
mod distance;
pub(crate) mod facts;
mod figures;
mod findings;
pub(crate) mod gains;
mod grid;
mod lineage;
mod matrix;
pub(crate) mod pages;
mod plans;
mod printed_claims;
pub(crate) mod results;
mod select;
pub mod stats;
mod terminal;
pub(crate) mod text;
mod view;
mod words;

pub use anonymous::anonymous;
pub use check::ReportCheck;
pub use check::check;
pub use check::figures;
pub use facts::Baseline;
pub use facts::Cell;
pub use facts::ClaimResult;
pub use facts::ComputeSpent;
pub use facts::Excluded;
pub use facts::Gain;
pub use facts::GitState;
pub use facts::Health;
pub use facts::Input;
pub use facts::LedgerState;
pub use facts::Machine;
pub use facts::McNemar;
pub use facts::PaperGain;
pub use facts::PlanState;
pub use facts::Results;
pub use facts::SetEvaluations;
pub use facts::TablePlan;
pub use facts::TableResults;
pub use facts::Unplanned;
pub use pages::Rendered;
pub use pages::render;
pub use printed_claims::Judgement;
pub use printed_claims::PrintedClaim;
pub use results::results;
pub(crate) use text::counted;

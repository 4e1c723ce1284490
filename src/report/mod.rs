//! Turns records into a paper-ready report: statistics, figures, and one folder of pages and tables.
//!
//! `results` is a pure function of its input; `render` writes the results to files. Neither needs a device or data, and
//! the same input gives the same bytes for any order of the records.

mod anonymous;
mod captions;
mod cards;
mod checklist;
pub(crate) mod claims;
mod curves;
mod distance;
mod figures;
mod findings;
pub(crate) mod gains;
mod grid;
mod lineage;
mod matrix;
pub(crate) mod pages;
pub(crate) mod results;
mod select;
pub mod stats;
mod terminal;
pub(crate) mod text;
mod view;
mod words;

pub use anonymous::anonymous;
pub use claims::ClaimResult;
pub use claims::McNemar;
pub use claims::PaperGain;
pub use gains::Gain;
pub use pages::Rendered;
pub use pages::render;
pub use results::Baseline;
pub use results::Cell;
pub use results::ComputeSpent;
pub use results::Excluded;
pub use results::GitState;
pub use results::Health;
pub use results::Input;
pub use results::LedgerState;
pub use results::Machine;
pub use results::Results;
pub use results::TableResults;
pub use results::results;

//! Records to a paper-ready report: statistics, figures, and one folder of pages and tables.
//!
//! `results` is a pure function of its input; `render` writes what it says. Neither needs a device or data, and
//! the same input gives the same bytes in whatever order the records come.

mod anonymous;
mod checklist;
mod claims;
mod figures;
pub mod lint;
mod pages;
mod plot;
mod results;
mod select;
mod sources;
pub mod stats;
mod text;
mod view;

pub use anonymous::anonymous;
pub use claims::ClaimResult;
pub use claims::McNemar;
pub use pages::Rendered;
pub use pages::render;
pub use results::Baseline;
pub use results::Cell;
pub use results::ComputeSpent;
pub use results::Excluded;
pub use results::GitState;
pub use results::Input;
pub use results::Machine;
pub use results::Results;
pub use results::TableResults;
pub use results::results;

use crate::error::Result;
use rayon::iter::ParallelIterator;

/// What is made side by side, or the first of its errors.
fn in_order<T: Send>(made: impl ParallelIterator<Item = Result<T>>) -> Result<Vec<T>> {
    made.collect::<Vec<_>>().into_iter().collect()
}

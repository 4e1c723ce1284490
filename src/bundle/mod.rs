//! A report with the records behind it, as one zip file that is read and checked without this program.
//!
//! [`contents`] makes the files from the records, the [`crate_metadata`] and the [`readme`] among them. The [`manifest`] states
//! the hashes of all files. The [`archive`] is the zip file, and a [`signature`] of the manifest is one of the whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::harness::plan_store::PlanTexts;
use crate::harness::record::Record;
use manifest::Facts;
use manifest::Program;

pub mod archive;
pub mod contents;
mod crate_metadata;
pub mod manifest;
mod readme;
pub mod signature;

/// Files by their paths in the zip file, with `/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The folder of the report.
pub const REPORT: &str = "report/";

/// The folder of the records, one file each.
pub const RECORDS: &str = "records/";

/// The folder of the plans that were frozen before runs, one file each.
pub const PLANS: &str = "plans/";

/// The folder of the ledger's journals. They say which runs began after a plan, and are only there if there is one.
pub const JOURNALS: &str = "journal/";

/// The folder of the settings, one file for each table.
pub const CONFIGURATION: &str = "configuration/";

/// The versions of all crates that the program of the runs was built from.
pub const LOCK: &str = "Cargo.lock";

/// The folder of what the ledger keeps of the code of the runs (`harness::source`).
pub const SOURCE: &str = "source/";

/// The texts that a report is made from.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// The records by id.
    pub records: BTreeMap<String, String>,
    /// The plans and the journals; empty if there is no plan.
    pub plans: PlanTexts,
}

/// What a bundle tells about its report, besides the files.
pub struct About<'a> {
    /// What the bundle is made of.
    pub facts: &'a Facts,
    /// When the newest run ended, as the report states it.
    pub generated: &'a str,
    /// The commits of the runs that are used, sorted.
    pub commits: &'a [String],
    /// All runs of the bundle, oldest first.
    pub runs: &'a [Arc<Record>],
    /// How many of them the report uses.
    pub used: usize,
    /// The program that rendered the report, with its commit if that is known.
    pub renderer: (Program, Option<&'a str>),
}

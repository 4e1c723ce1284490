//! Runs experiments so that anyone can see later what was run, on what, and whether it is unchanged.
//!
//! `experiment` describes tables and cells. A cell consists of `stage`s, whose keys contain the version of the `code`
//! that decides them, and its `outcome` is read from their files. `config` merges layers of settings. `runner` runs
//! the missing cells, each by a `stage_runner` whose stages are kept in a `cache`. `estimate` predicts their time, and `clock`
//! measures it, as `energy` does what it takes. A `schedule` runs some cells in parallel, according to the measured
//! `scaling` of their work. `runner`
//! writes one `record` per run, with the state of the repository (`git`), to the `ledger`, and a `journal` of these
//! events; `source` keeps the code there that the repository may lose. `audit` reads everything back, and `journal_check`
//! finds what was removed, added or replaced. A `frozen_plan` says before the runs what will be run; the `plan_store` keeps
//! plans in the ledger, and `journal_order` says which runs came after one. `evaluations` counts how often a test split was
//! used. No module here knows what the experiments are about.

pub mod audit;
pub mod cache;
pub mod canonical;
pub mod clock;
pub mod code;
pub mod concurrent_runs;
pub mod config;
pub mod difference;
pub mod energy;
pub mod estimate;
pub mod evaluations;
pub mod experiment;
pub mod frozen_plan;
pub mod git;
pub mod interned;
pub mod interrupt;
mod journal;
mod journal_check;
mod journal_order;
pub mod ledger;
pub mod leftovers;
pub mod load;
pub mod outcome;
pub mod plan_store;
pub mod progress;
pub mod provenance;
pub mod rebuild;
pub mod record;
pub mod redact;
pub mod repetition;
pub mod runner;
pub mod scaling;
pub mod schedule;
pub mod source;
pub mod stage;
pub mod stage_runner;
mod toml;
mod tree_hash;

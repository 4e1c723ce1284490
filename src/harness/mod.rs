//! Running experiments so that anyone can see later what was run, on what, and whether it still holds.
//!
//! `experiment` describes tables and cells; a cell is made of `stage`s, whose keys hold the version of the `code` that
//! decides them, and its `outcome` is read from their files. `config` layers settings. `runner` runs the cells that are
//! missing, each in a `lab` whose stages are kept in a `cache` (`estimate` says beforehand what they will take, `clock`
//! what they took; a `schedule` runs some side by side, by how the `scaling` of their work was measured), and writes one
//! `record` per run, with the state of the repository (`git`), to the `ledger`; `audit` reads it all back. Nothing here knows what the experiments are about.

pub mod audit;
pub mod cache;
pub mod canonical;
pub mod clock;
pub mod code;
pub mod config;
pub mod estimate;
pub mod experiment;
pub mod git;
pub mod interrupt;
pub mod lab;
pub mod ledger;
pub mod outcome;
pub mod progress;
pub mod provenance;
pub mod record;
pub mod redact;
pub mod runner;
pub mod scaling;
pub mod schedule;
pub mod shared;
pub mod stage;
mod toml;

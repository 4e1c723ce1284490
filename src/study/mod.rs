//! What tables measure. `stages` defines the stages, each with its work, its cost and its code; `readings` reads
//! results from their files; `columns` defines the columns of a table; `sheet` is a table of encoders by columns;
//! `setup` describes how its rows were trained. `single` has the runs outside of tables. `exchange` imports and exports
//! weights; `foreign` reads weight files of other programs.

pub mod code;
pub mod columns;
mod cost;
pub mod exchange;
pub mod foreign;
pub mod readings;
pub mod settings;
mod setup;
pub mod sheet;
pub mod single;
pub mod stages;

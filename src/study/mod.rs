//! What tables measure: `stages`, each with its work, its cost and its code; `readings`, what their files say; `columns`,
//! what of it a table shows; `sheet`, a table of encoders by columns; `setup`, how its rows were trained. `single` runs are outside of tables, `exchange` takes weights in
//! (`foreign` reads them as people have them) and gives them out.

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

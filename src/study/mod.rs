//! What tables measure. `stages` defines the stages, each with its work, its cost and its code; `readings` reads
//! results from their files; `columns` defines the columns of a table; `encoder_table` is a table of encoders by columns;
//! `setup` describes how its rows were trained. `one_off` has the runs outside of tables; `parallel_trainings` times
//! trainings. `weights_io` imports and exports weights; `foreign` reads weight files of other programs.

pub mod code;
pub mod columns;
mod cost;
pub mod detect_images;
pub mod device;
pub mod encoder_table;
pub mod foreign;
pub mod line;
pub mod one_off;
pub mod parallel_trainings;
pub mod readings;
pub mod settings;
mod setup;
pub mod stages;
pub mod weights_io;

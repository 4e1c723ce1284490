//! Reads the figures, curves and facts of records from the files of stages, with one module for each stage. A stage's
//! key does not depend on this code; the key of a table's cell does.

pub mod detection;
pub mod invariance;
pub mod probe;
pub mod time_to_accuracy;
pub mod training;

//! What the files of stages say, a file for each stage: the figures, curves and facts of records. A stage's key does not
//! depend on this code; the key of a table's cell does.

pub mod course;
pub mod invariance;
pub mod probe;
pub mod training;

//! harness

pub mod experiment;
pub mod record;

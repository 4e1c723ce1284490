//! Measurements of speed: the time of a training step, and the peak rates of this machine that a profile is compared
//! with.

pub mod peaks;
pub mod step;

//! The environment of a training.

use std::path::Path;

use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;

/// The environment of a training. It does not affect the result.
pub struct TrainContext<'a> {
    /// The folder of the checkpoint and the results.
    pub dir: &'a Path,
    /// Seconds after which a checkpoint is written.
    pub checkpoint_seconds: f64,
    /// Whether training continues after a collapse.
    pub keep_going: bool,
    /// Shows the progress.
    pub progress: &'a Progress,
    /// Signals that the user asks to stop.
    pub interrupt: &'a Interrupt,
}

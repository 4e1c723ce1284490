//! Training. `training` is the training loop and `run` its input; `history` and `trained` are the records that it
//! leaves next to the weights; `checkpoint` is what it resumes from; `monitor` has the pairs on which its health
//! is measured. `features` computes the features of images by a finished encoder, and `pixels` returns the pixels for
//! comparison.

pub mod checkpoint;
mod context;
mod detection;
mod features;
mod history;
mod monitor;
mod network_state;
mod pixels;
mod run;
pub mod tensors;
mod trained;
mod training;
pub mod weights;

pub use context::TrainContext;
pub use detection::{DETECTOR, DetectorHistory, DetectorRecipe, DetectorTraining, LOSSES, detections, train_detector};
pub use features::features;
pub use history::{HISTORY, History, MOMENTS};
pub use monitor::MonitorPairs;
pub use pixels::pixels;
pub use run::{PretrainSettings, Pretraining, initial};
pub use trained::Trained;
pub use training::{Material, descend, pretrain};
pub use weights::{ENCODER, snapshot};

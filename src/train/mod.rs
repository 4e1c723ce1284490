//! Training: `training` is the one loop, `run` what it is told, `history` and `trained` what it leaves beside the weights,
//! `checkpoint` what it resumes from, `witnesses` what its health is measured on. `features` are what a finished encoder
//! makes of images, `pixels` what stands beside them.

pub mod bench;
pub mod checkpoint;
mod features;
mod history;
pub mod machine;
mod pixels;
mod run;
pub mod tensors;
mod trained;
mod training;
pub mod weights;
mod witnesses;

pub use features::features;
pub use history::{HISTORY, History, MOMENTS};
pub use pixels::pixels;
pub use run::{PretrainSettings, Pretraining, initial};
pub use trained::Trained;
pub use training::{Material, Surroundings, pretrain};
pub use weights::{ENCODER, snapshot};
pub use witnesses::Witnesses;

//! Detection of objects: the parts of a Faster R-CNN that run on the host, as plain functions of slices.
//!
//! Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks",
//! <https://arxiv.org/abs/1506.01497>. Where the paper leaves a choice, these modules do what detectron2 does
//! (<https://github.com/facebookresearch/detectron2>, 02b5c4e), because the results that others publish come from it.
//!
//! The first stage scores [`Anchors`] at each position of a map and moves them to become proposals, the second stage
//! classifies the regions of the proposals and moves them again. Each stage finds the object of each box with its
//! [`Matcher`], trains on the boxes that its [`Sampler`] draws, describes boxes by the [`Deltas`] of its [`Coder`], and
//! has two of the four [`losses`]. [`top_k`] and [`nms()`] select proposals, and [`nms_by_class`]
//! selects detections.

mod anchors;
pub mod boxes;
mod faster_rcnn;
pub mod losses;
mod matching;
mod nms;

pub use anchors::Anchors;
pub use boxes::{Coder, Deltas, Edges};
pub use faster_rcnn::{Detection, Protocol, SHOWN, Step, StepLosses, Truth, detect, propose};
pub use matching::{Label, Matcher, Sampled, Sampler};
pub use nms::{nms, nms_by_class, top_k};

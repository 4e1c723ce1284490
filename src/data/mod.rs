//! Image sets, annotated sets, file formats, pair sets, the procedural world, augmentation and batches.

pub mod annotated;
pub mod annotated_batches;
pub mod augment;
pub mod batches;
pub mod catalog;
pub mod croissant;
pub mod decode;
pub mod image_set;
pub mod import;
pub mod outlines;
pub mod pairs;
pub mod preview;
pub mod resize;
pub mod source_names;
pub mod store;
pub mod world;

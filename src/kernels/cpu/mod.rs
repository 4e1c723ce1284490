//! Kernels for the processor: plain functions over `f32` slices, channels-last (N, H, W, C).
//!
//! Contract of every kernel here:
//! - outputs and activation gradients are written (=), parameter gradients are added (+=);
//! - the work runs on rayon's current pool in a partition that depends on the shape alone, and every sum has a fixed
//!   order, so that on one instruction set the result has the same bits on any number of threads;
//! - a slice whose length does not fit the sizes is a wrong program: panic, with the operation and the sizes.

pub mod batch_norm;
pub mod conv2d;
pub mod definition;
pub mod elementwise;
pub mod layer_norm;
pub mod linear;
pub mod matmul;
pub mod peak;
pub mod pool;
pub mod softmax;
pub mod update;

mod functions;
mod isa;
mod pack;
mod partition;
mod product;
mod rows;
mod tile;
mod vector;
mod winograd;

pub use isa::Isa;
pub use isa::isa;
pub use isa::select_isa;
pub use isa::with_isa;
pub use vector::Element;

/// Panics, naming operation, argument and sizes, unless `slice` has `expected` elements.
#[track_caller]
fn check_len<T>(operation: &str, argument: &str, slice: &[T], expected: usize) {
    assert!(slice.len() == expected, "{operation}: `{argument}` has {} elements, expected {expected}", slice.len());
}

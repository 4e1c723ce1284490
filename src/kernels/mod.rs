//! The arithmetic kernels. They take slices and sizes and write their results to slices. They know nothing about
//! networks or training.

pub mod cpu;
pub mod cuda;
pub mod shapes;

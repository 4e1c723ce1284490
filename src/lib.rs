//! sempair: reproduce "Enhancing Self-Supervised Learning with Semantic Pairs" (arXiv 2510.08722).
//!
//! `ARCHITECTURE.md` shows how the modules below fit together and which module may use which.

pub mod bench;
pub mod cli;
pub mod console;
pub mod data;
pub mod error;
pub mod eval;
pub mod files;
pub mod harness;
pub mod kernels;
pub mod lint;
pub mod methods;
pub mod models;
pub mod nn;
pub mod optim;
pub mod report;
pub mod rng;
pub mod study;
pub mod tensor;
pub mod threads;
pub mod train;

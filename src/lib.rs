//! sempair reproduces "Enhancing Self-Supervised Learning with Semantic Pairs"
//! ([arXiv 2510.08722](https://arxiv.org/abs/2510.08722)): one command trains, evaluates and writes a report with every
//! table of the paper.
//!
//! # From a table to a kernel
//!
//! Each item calls the next one.
//!
//! 1. An [`Experiment`](harness::experiment::Experiment) is one table. It describes [cells](harness::experiment::Cell):
//!    rows, columns and seeds.
//! 2. A cell is a list of [stages](harness::stage::Stage), each computed once and kept in the
//!    [cache](harness::cache::Cache) under the hash of everything that determines it. [`study::stages`] has one file for
//!    each kind. The [runner](harness::runner::run) runs the cells that have no [record](harness::record::Record) yet.
//! 3. The stage of a training runs [`train::pretrain`] on the [batches](data::batches) of a
//!    [pair list](data::pairs::PairList).
//! 4. In each step, a method's [`Learner`](methods::Learner) embeds a batch with its [`Network`](models::Network), computes
//!    loss and gradient, and passes the gradient back.
//! 5. A network is an encoder and a head. Both are types that are composed of [`Layer`](nn::Layer)s, so that the compiler
//!    checks their shapes. The values are in flat arenas, the [`Parameters`](nn::Parameters), which the
//!    [`Optimizer`](optim::Optimizer) updates.
//! 6. A layer calls its [`Device`](tensor::Device) with [`Tensor`](tensor::Tensor)s. [`Cpu`](tensor::Cpu) is the device with
//!    the kernels of [`kernels::cpu`].
//!
//! From the records on, [`report`] needs neither data nor device: it turns them into tables, claims, figures and pages. The
//! command line is [`cli`].
//!
//! # A layer and its gradient
//!
//! ```
//! use sempair::nn::{Build, Builder, Layer, Linear};
//! use sempair::rng::Key;
//! use sempair::tensor::{Const, Cpu, Tensor};
//!
//! let (device, key) = (Cpu::default(), Key::root(0));
//! let mut builder = Builder::new(&key);
//! let layer: Linear<3, 2> = Build::build(&mut builder);
//! let mut parameters = builder.finish(&device);
//! let x = Tensor::upload(&device, (1, Const::<3>), &[1.0, 2.0, 3.0]);
//! let (y, saved) = layer.forward(x, &mut parameters);
//! let dx = layer.backward(saved, y, &mut parameters);
//! assert_eq!((dx.shape(), parameters.gradients.len()), ((1, Const::<3>), 8));
//! ```
//!
//! `ARCHITECTURE.md` shows which module may use which, the invariants, and recipes.

pub mod bench;
pub mod bundle;
pub mod cli;
pub mod console;
pub mod data;
pub mod detection;
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

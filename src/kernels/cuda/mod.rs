//! Kernels for NVIDIA GPUs.
//!
//! - `source/*.cu` are the kernels, in CUDA C++ without any header of the toolkit. `prims.cuh` holds what they share. Each
//!   number format is one module: the source is compiled for f32 or for bf16.
//! - `library` finds the driver and NVRTC (NVIDIA's compiler as a library) when they are first needed. The program is
//!   built without them and runs without them.
//! - `compile` has NVRTC make machine code for the GPU at hand, and keeps it in a folder.
//! - `context` is an open GPU, `gpu` its memory (free lists), `launch` its kernels. All work is done in the order of one
//!   stream, so memory can be used again as soon as it is dropped. Images are copied in a second stream, beside it
//!   (`upload`).
//! - The other files check sizes and launch kernels. They take places in device memory ([`Span`]) as the kernels of `cpu`
//!   take slices, and have the same contracts.
//!
//! All products of a network, convolutions and attention included, are one kernel (`product`): a sum over segments, whose
//! places are tables that are made once for each shape. Sums are never atomic, and how they are split does not depend on
//! the GPU's load, so a result has the same bits on every run on the same model of GPU.
//!
//! A fault of the GPU (no memory, a failed launch, a lost device) is an
//! [`Error`](crate::error::Error) that is raised as a panic, because tensors' operations return no results. It becomes the
//! error of the run; checkpoints stay.

mod attention;
mod compile;
mod context;
pub mod contrast;
mod floats;
mod gpu;
mod launch;
mod library;
pub mod losses;
mod maps;
pub mod norm;
mod peak;
mod pending;
pub mod product;
mod staging;
mod stopwatch;
pub mod update;
mod upload;

pub use compile::source_hash;
pub use context::{Description, devices};
pub use gpu::{Gpu, Memory, Span};
pub use library::has_driver;
pub use pending::Pending;
pub use stopwatch::{Lap, Stopwatch};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::bf16;

use crate::error::Result;
use launch::{Argument, Module};

/// Threads of a block of every kernel.
const THREADS: u64 = 256;

/// The number format of activations that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE single precision.
    F32,
    /// The upper half of an IEEE single. Products run on tensor cores.
    Bf16,
}

impl Format {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// The kernels of one number format on one GPU.
#[derive(Debug)]
pub struct Kernels {
    gpu: Arc<Gpu>,
    format: Format,
    cache: PathBuf,
    module: Module,
    tables: product::Tables,
    chunks: update::Plans,
}

impl Kernels {
    /// Compiles the kernels for this GPU, or finds them in the folder `cache`.
    ///
    /// # Errors
    /// When NVRTC cannot compile them for this GPU, or the folder cannot be written.
    pub fn open(gpu: Arc<Gpu>, format: Format, cache: &Path) -> Result<Self> {
        let image = compile::image(&gpu.description().name, gpu.description().capability, format, cache)?;
        let module = Module::load(&gpu, &image)?;
        let cache = cache.to_owned();
        Ok(Self { gpu, format, cache, module, tables: product::Tables::default(), chunks: update::Plans::default() })
    }

    /// The GPU.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The folder of compiled kernels.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The number format of activations.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reserves device memory of unspecified content for `len` activations.
    pub fn activations(&self, len: usize) -> Memory {
        self.gpu.memory(len * self.format.bytes())
    }

    /// Reserves device memory of unspecified content for `len` numbers of f32.
    pub fn floats(&self, len: usize) -> Memory {
        self.gpu.memory(len * size_of::<f32>())
    }

    /// Reserves device memory with a copy of these numbers.
    pub fn floats_of(&self, host: &[f32]) -> Memory {
        self.gpu.upload(host)
    }

    /// Copies activations to host memory.
    pub fn download(&self, from: Span) -> Vec<f32> {
        match self.format {
            Format::F32 => self.gpu.read(from),
            Format::Bf16 => self.gpu.read::<bf16>(from).into_iter().map(bf16::to_f32).collect(),
        }
    }

    /// Copies numbers of f32 to host memory.
    pub fn download_floats(&self, from: Span) -> Vec<f32> {
        self.gpu.read(from)
    }

    /// Runs a kernel with `threads` threads, rounded up to whole blocks.
    fn launch(&self, kernel: &'static str, threads: usize, arguments: &[&dyn Argument]) {
        self.launch_blocks(kernel, [(threads as u64).div_ceil(THREADS), 1], 0, arguments);
    }

    /// Runs a kernel with a warp for each of `rows` rows.
    fn launch_rows(&self, kernel: &'static str, rows: usize, arguments: &[&dyn Argument]) {
        self.launch(kernel, rows * 32, arguments);
    }

    /// Runs a kernel that makes eight neighbouring numbers in each thread.
    fn launch_eights(&self, kernel: &'static str, numbers: usize, arguments: &[&dyn Argument]) {
        self.launch(kernel, numbers.div_ceil(8), arguments);
    }

    /// Runs a kernel with a grid of blocks, each with `shared` bytes of dynamic shared memory.
    fn launch_blocks(&self, kernel: &'static str, blocks: [u64; 2], shared: usize, arguments: &[&dyn Argument]) {
        if blocks[0] > 0 && blocks[1] > 0 {
            self.module.launch(&self.gpu, kernel, blocks, shared, arguments);
        }
    }
}

/// Panics if a span does not have `expected` numbers.
fn check(operation: &str, name: &str, span: Span, expected: usize) {
    assert!(span.len == expected, "{operation}: `{name}` has {} elements, expected {expected}", span.len);
}

/// Panics if one of the spans that are there does not have `expected` numbers.
fn check_each<const N: usize>(operation: &str, spans: [(&str, Option<Span>); N], expected: usize) {
    for (name, span) in spans {
        span.inspect(|span| check(operation, name, *span, expected));
    }
}

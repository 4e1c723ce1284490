//! Kernels for the CPU: plain functions over slices. This page explains the design; it takes about ten minutes to
//! read.
//!
//! # Memory
//! Feature maps are stored as (H, W, N, C): position by position, with the batch inside. Token sequences are
//! (T, N, C). Only the images that enter the first convolution are (N, H, W, 3). The batch at one position is a dense
//! (N, C) matrix, so a convolution is a sum of dense products, one for each kernel tap that falls on the image.
//! Consequences: padding is skipped rather than multiplied (at 2x2 pixels it is five ninths of a 3x3 convolution), a
//! stride costs nothing, the rows of a tile are adjacent in memory, and pooling and Winograd's transforms process
//! whole cache lines.
//!
//! # Number formats
//! Activations are f32 or bf16 (`vector::Element`). Weights, their gradients, statistics and optimiser state are f32.
//! All arithmetic is in f32: a bf16 product is exact and is accumulated in f32 (by `vdpbf16ps`, or elsewhere after
//! widening in registers).
//!
//! # From a product down to the registers
//! - `tile`: the register tile, 12 rows by two vectors in AVX-512: 24 independent sums, fed by 12 broadcasts and two
//!   loads. With operands in cache it runs at 95 to 99 % of the unit's peak. Operands consist of 32-bit units, one
//!   f32 or two bf16 that are adjacent in the inner dimension, so that one source serves both formats.
//! - `pack`: rewrites operands as rows of units (packing): the weights once for each product, and both operands of a
//!   weight gradient.
//! - `product`: cuts a product into tasks. `gather` computes outputs and input gradients; it reads activations in
//!   place and adds the bias and the residual gradient while the sums are in registers. `accumulate` computes weight
//!   gradients, either in parts that fit each core's second-level cache or in blocks that stay in the third-level
//!   cache.
//! - `conv2d`, `linear`, `matmul`: call `product` with their operands. `windows`: the windows of images, padded once.
//!   `winograd`: 3x3 convolutions of stride 1 with a quarter of the multiplications, in f32 for both formats.
//!   `attention`: one head of one image is a task.
//! - `rows`: the same for memory-bound operations (`batch_norm`, `layer_norm`, `elementwise`, `pool`, `roi_align`,
//!   `softmax`, `unit_rows`, `update`): normalisation, ReLU and residual addition are one pass, their gradients two.
//! - `vector`, `isa`: each kernel is written once against `Vector` and compiled for AVX-512 with bf16, AVX-512, AVX2
//!   and plain Rust; `isa()` chooses at run time (`SEMPAIR_ISA` overrides it). `definition`: naive loops, the
//!   reference with which the products are tested.
//!
//! # Contract of every kernel
//! - Outputs and activation gradients are written (=); parameter gradients are added (+=).
//! - The work runs on rayon's current pool. The partition depends on the shape alone and every sum has a fixed order,
//!   so on one instruction set the result has the same bits for any number of threads.
//! - A slice whose length does not fit the sizes is a bug in the caller: the kernel panics and names the operation
//!   and the sizes.
//!
//! # What was tried
//! Measured on two cores of Zen 4 (peaks of one core: 235 GFLOP/s in bf16, 117 in f32). A step is a SimCLR step on 32
//! pairs at 64x64 pixels; for ResNet-small it is on 128 pairs at 32x32 with two threads. `sempair bench step
//! --profile` shows where the time goes.
//!
//! | tried | expected | measured | kept |
//! |---|---|---|---|
//! | a tile's rows are images at one position, layout (N, H, W, C) | padding is not multiplied | rows are multiples of 4 KiB apart and share a set of the first-level cache: 165 to 210 of 223 GFLOP/s | no |
//! | batch inside, layout (H, W, N, C) | the same without aliasing | tiles at 95 to 99 % of peak; ResNet-50's 1x1 and 3x3 convolutions at 75 to 93 % | yes |
//! | one loop for all cases that finishes a tile's sums | no change | the compiler kept the sums in memory: 90 of 233 GFLOP/s. Only small loops are used | no |
//! | tiles of 10 rows | same speed as 11 rows | 160 of 233 GFLOP/s, because of the code that the compiler generates; rows are cut so that no tile has 10 | no |
//! | each task packs the weights | weights are read once | strided reads of 128 bytes from memory: 10 % of deep layers | no |
//! | weights packed once for all tasks, read in order | 5 % | input gradients of the deep layers 1.05 to 1.5 times faster | yes |
//! | operands of weight gradients packed panel by panel | small cost | 15 to 25 % of a 1x1 product | no |
//! | the same packed row by row, in whole vectors | 5 % | ResNet-50's weight gradients from 282 to 248 ms (bf16), from 678 to 487 ms (f32), one core | yes |
//! | Winograd F(2x2, 3x3) in f32 | 1.5 to 2 times faster | 64 to 256 channels: 170 to 200 GFLOP/s, counted with the direct method's operations, above its peak of 117 | no: see the next row |
//! | Winograd F(4x4, 3x3) in f32, for f32 activations | 1.6 times as fast as F(2x2) | 1.2 to 1.7 times as fast for 32 to 512 channels; equally fast at 6x6 pixels, where squares extend beyond the map | yes |
//! | the same for bf16, outputs and input gradients | 2 times the direct method's speed, less 10 to 20 % | 1.1 to 1.6 times from 128 rows (squares times images) on; 0.9 to 1.1 at 7x7 pixels; 0.8 to 1.0 with 64 squares of 256 or more channels, where the weights are most of the work | only where it is faster |
//! | the same for bf16, weight gradients | the same | 0.7 to 1.1 times, at most 1.2 for 128 channels at 16x16: both operands have 36 transformed f32 numbers for every 16, and they pass through the third-level cache | no |
//! | Winograd's transforms row by row, in registers | no intermediate numbers in memory | 60 % of the time is spent waiting for the map: the 36 positions of a square are multiples of 4 KiB apart and evict each other from the first-level cache before the second half of a cache line is read | no |
//! | Winograd's transforms by columns into memory, then by rows, two vectors (one cache line of bf16) at a time | each line is read once | ResNet-small's 3x3 convolutions 3 % faster | yes |
//! | the same, and prefetching reads and writes into the second-level cache | hides the latency | forward from 9.3 to 8.4 ms, input gradient from 9.5 to 8.7 ms | yes |
//! | Winograd's transformed numbers in bf16 | products twice as fast: 5 of 48 ms | the error of an output is 1.1e-2 of its rms, with the direct method 2.3e-3; F(2x2), with 4.4e-3, would not be faster than F(4x4) in f32; not implemented | no |
//! | weight gradients: each task packs its own blocks | packing takes 5 % | packing takes 30 % for ViT-S/8, where each of four tasks packs an operand side of 1,536: 127 GFLOP/s per core | no |
//! | weight gradients: all tasks pack one block, then share its tiles | packing once, no partial sums | the same product at 188 GFLOP/s per core | yes |
//! | weight gradients with few weights: the images are cut into parts, each part is packed and summed in one core's second-level cache, and the sums are joined in order | no traffic with the third-level cache | ResNet-small's 3x3 convolutions from 12.1 to 11.4 ms (with busy neighbours on the machine from 15.4 to 11.7 ms), the first convolution from 1.8 to 1.1 ms | yes |
//! | the same with all tasks sharing blocks of that size | the same | no gain: the tasks wait for each other twice as often, and nine taps do not divide evenly | no |
//! | the taps of a position computed once, not by each tile | saves 400 of a tile's 1,000 to 3,000 cycles | 3x3/2: forward from 3.0 to 2.7 ms, input gradient from 3.6 to 3.2 ms; 1x1/2: from 2.9 to 2.0 ms | yes |
//! | pairs of rows joined while they are loaded | half the packing | weight gradients of ResNet-50 2 to 10 % faster | yes |
//! | prefetching the addend of a tile's sums when the tile starts | avoids a wait for memory at the end of each tile | weight gradients of ViT-S/8 in f32 4 % faster | yes |
//! | reversed loop order, as in GotoBLAS: a panel of b, in f32 cut into blocks of 24 KiB, stays in the first-level cache and is multiplied by rows of a from the second-level cache | up to 10 % (AVX2, ViT-S/8) | forward and input gradient 0 to 5 % slower: six rows are six memory streams, a panel is one | no |
//! | prefetching the next tile's rows (1x1) | hides the memory latency | 64 to 256 channels from 178 to 195 GFLOP/s, 256 to 64 channels from 146 to 187 GFLOP/s | yes |
//! | pages of 2 MiB (an option of the allocator) | 5 to 10 % from fewer page walks | within the noise | no |
//! | windows of images copied from padded images, in pieces of constant size | 2 times faster | first convolution (3x3/2, 256 images of 32x32, bf16, one core): forward from 2.5 to 1.3 ms, weight gradient from 3.0 to 1.8 ms | for the weight gradient |
//! | the forward pass reads the lines of such windows in place | 3 times faster, 0.8 ms | forward from 2.5 to 0.86 ms | yes |
//! | the last tile's rows packed together with those before it, in whole vectors | 10 % | the same weight gradient from 1.8 to 1.6 ms | yes |
//! | batch norm: four short rows per tile, their coefficients loaded once | 1.5 times faster | ResNet-small's backward from 4.0 to 2.7 ms, forward from 2.2 to 1.7 ms | yes |
//! | batch norm statistics in the convolution's epilogue | a pass over maps in cache runs at 28 GB/s per core: saves at most 0.5 of 63 ms in ResNet-small's step on two cores, minus 2 % of each convolution for the sums, and no pivot is known before the sums | not implemented | no |
//! | two trainings of ResNet-small in parallel, one thread each | no waiting for the other thread | on two cores with AVX2, images of 16x16 and batches of 32: 24 % less time than one after the other on two threads | yes: `harness::schedule` |
//! | gradients cleared on all cores | half the time | 4 ms of ResNet-50's step, at memory bandwidth | yes |

pub mod attention;
pub mod batch_norm;
pub mod conv2d;
pub mod definition;
pub mod elementwise;
pub mod layer_norm;
pub mod linear;
pub mod matmul;
pub mod peak;
pub mod pool;
pub mod roi_align;
pub mod softmax;
pub mod tokens;
pub mod unit_rows;
pub mod update;

mod functions;
mod isa;
mod pack;
mod partition;
mod product;
mod rows;
mod tile;
mod vector;
mod windows;
mod winograd;

pub use isa::Isa;
pub use isa::isa;
pub use isa::select_isa;
pub use isa::with_isa;
pub use partition::with_scratch;
pub use vector::Element;

/// Panics with the operation, the argument and the sizes unless `slice` has `expected` elements.
#[track_caller]
fn check_len<T>(operation: &str, argument: &str, slice: &[T], expected: usize) {
    assert!(slice.len() == expected, "{operation}: `{argument}` has {} elements, expected {expected}", slice.len());
}

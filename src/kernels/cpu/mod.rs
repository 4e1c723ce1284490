//! Kernels for the processor: plain functions over slices. Ten minutes that lead through the design:
//!
//! # Memory
//! Feature maps are (H, W, N, C), position by position with the batch inside; token sequences (T, N, C); only the images
//! that enter the first convolution are (N, H, W, 3). At one position the batch is a dense matrix (N, C). So a
//! convolution is a sum of dense products, one for each tap that meets the image: padding is left out rather than
//! multiplied (at 2x2 pixels five ninths of a 3x3 convolution), a stride costs nothing, rows of a tile are neighbours, and
//! pooling and Winograd's transforms run over whole lines of memory.
//!
//! # Number formats
//! Activations are f32 or bf16 (`vector::Element`); weights, their gradients, statistics and optimisers are f32. All
//! arithmetic is in f32; a bf16 product is exact and is added in f32 (`vdpbf16ps`, or widened in registers elsewhere).
//!
//! # From a product down to the registers
//! - `tile`: the register tile, 12 rows by two vectors in AVX-512: 24 sums that wait for nothing, fed by 12 broadcasts and
//!   two loads. In cache it runs at 95 to 99 % of the unit's peak. Operands are 32-bit units, one f32 or two bf16 that are
//!   neighbours in the inner dimension, so that one source serves both formats.
//! - `pack`: operands rewritten as rows of units: weights once for each product, both operands of a weight gradient.
//! - `product`: how a product is cut into tasks. `gather` makes outputs and input gradients; it reads activations in place
//!   and adds bias and residual gradient while the sums are in registers. `accumulate` makes weight gradients, by
//!   parts in each core's second-level cache or in blocks that stay in the third-level cache.
//! - `conv2d`, `linear`, `matmul`: what they pass to `product`; `windows`: those of images, padded once. `winograd`: 3x3
//!   convolutions of stride 1 by a quarter of the multiplications, in f32 for both formats. `attention`: one head of one
//!   image is a task.
//! - `rows`: the same for what memory limits (`batch_norm`, `layer_norm`, `elementwise`, `pool`, `softmax`, `unit_rows`,
//!   `update`): normalisation, rectifier and residual addition are one pass, their gradients two.
//! - `vector`, `isa`: a kernel is written once against `Vector` and compiled for AVX-512 with bf16, AVX-512, AVX2 and plain
//!   Rust; `isa()` chooses at run time (`SEMPAIR_ISA`). `definition`: the naive loops that the products answer to.
//!
//! # Contract of every kernel
//! - outputs and activation gradients are written (=), parameter gradients are added (+=);
//! - the work runs on rayon's current pool in a partition that depends on the shape alone, and every sum has a fixed
//!   order, so that on one instruction set the result has the same bits on any number of threads;
//! - a slice whose length does not fit the sizes is a wrong program: panic, with the operation and the sizes.
//!
//! # What was tried
//! Measured on two cores of Zen 4 (peaks of one core: 235 GFLOP/s in bf16, 117 in f32); a step is SimCLR's on 32 pairs at
//! 64x64 pixels, ResNet-small's one on 128 pairs at 32x32 on two threads. `sempair bench step --profile` shows where the
//! time goes.
//!
//! | tried | expected | measured | kept |
//! |---|---|---|---|
//! | tile of images at one position, (N, H, W, C) | no padding | rows lie 4 KiB multiples apart and share a set of the first-level cache: 165 to 210 of 223 GFLOP/s | no |
//! | the batch inside, (H, W, N, C) | the same without aliasing | tiles at 95 to 99 % of peak; 1x1 and 3x3 of ResNet-50 at 75 to 93 % | yes |
//! | sums of a tile finished in one loop for all cases | nothing | the compiler put the sums into memory: 90 of 233 GFLOP/s. Small loops only | no |
//! | tiles of 10 rows | like 11 | 160 of 233 GFLOP/s for a reason of the compiler's; rows are cut so that none has 10 | no |
//! | weights packed by each task | reads once | strided reads of 128 bytes from memory: 10 % of deep layers | no |
//! | weights packed once for all tasks, read in order | 5 % | input gradients of the deep layers 1.05 to 1.5 times faster | yes |
//! | operands of weight gradients packed panel by panel | small | 15 to 25 % of a 1x1 product | no |
//! | the same row by row, whole vectors | 5 % | ResNet-50's weight gradients 282 to 248 ms (bf16), 678 to 487 ms (f32), one core | yes |
//! | Winograd F(2x2, 3x3) in f32 | 1.5 to 2 times | 64 to 256 channels: 170 to 200 GFLOP/s of the direct method's count, beyond its peak of 117 | no: the next |
//! | Winograd F(4x4, 3x3) in f32, for f32 | 1.6 times F(2x2) | 1.2 to 1.7 times from 32 to 512 channels, as fast at 6x6 pixels, whose squares reach beyond the map | yes |
//! | the same for bf16, outputs and input gradients | 2 times the direct method less 10 to 20 % | 1.1 to 1.6 times from 128 squares and images; 7x7 pixels 0.9 to 1.1; with 64 squares of 256 and more channels, whose weights are most of the work, 0.8 to 1.0 | where it pays |
//! | the same for bf16, weight gradients | the same | 0.7 to 1.1, at most 1.2 for 128 channels at 16x16: 36 transformed numbers for 16 in f32 on both sides, by way of the third-level cache | no |
//! | its transforms row by row, in registers | no intermediate numbers in memory | 60 % of the time waits for the map: a square's 36 places lie multiples of 4 KiB apart and push each other out of the first-level cache before the second half of a line is read | no |
//! | its transforms by columns into memory, then by rows, two vectors (a line of bf16) at a time | each line read once | ResNet-small's 3x3: 3 % | yes |
//! | then fetching reads and writes ahead into the second-level cache | the waiting hidden | forward 9.3 to 8.4, input gradient 9.5 to 8.7 ms | yes |
//! | transformed numbers in bf16 | products twice as fast: 5 of 48 ms | error of an output 1.1e-2 of its rms where the direct method has 2.3e-3; F(2x2), 4.4e-3, would not be faster than F(4x4) in f32; not built | no |
//! | weight gradients: each task packs its own blocks | packing 5 % | 30 % of ViT-S/8's, where a side of 1,536 is packed by each of four tasks: 127 GFLOP/s a core | no |
//! | weight gradients: all tasks pack a block, then share its tiles | packing once, no partial sums | the same product 188 GFLOP/s a core | yes |
//! | weight gradients with few weights: parts of the images, each packed and summed in one core's second-level cache, joined in order | no traffic with the third level | ResNet-small's 3x3: 12.1 to 11.4 ms, beside busy neighbours 15.4 to 11.7, and the first convolution's 1.8 to 1.1 ms | yes |
//! | the same with all tasks sharing blocks of that size | the same | nothing: twice as many waits for each other, nine taps do not share out | no |
//! | the taps of a position found once, not by each tile | 400 of a tile's 1,000 to 3,000 cycles | 3x3/2 forward 3.0 to 2.7, input gradient 3.6 to 3.2 ms; 1x1/2 2.9 to 2.0 | yes |
//! | pairs of rows joined as they are loaded | half the packing | weight gradients of ResNet-50 2 to 10 % | yes |
//! | fetching what a tile's sums are added to, as it begins | a wait for memory at each end of a tile | weight gradients of ViT-S/8 in f32 4 % faster | yes |
//! | the loops the other way round, as in GotoBLAS: a panel of b, in f32 cut into blocks of 24 KiB, stays in the first-level cache and meets rows of a from the second | up to 10 % (AVX2, ViT-S/8) | forward and input gradient 0 to 5 % slower: six rows are as many streams, a panel is one | no |
//! | fetching the next tile's rows ahead (1x1) | hides the memory's latency | 64 to 256 channels 178 to 195, 256 to 64 channels 146 to 187 GFLOP/s | yes |
//! | pages of 2 MiB (by the allocator's switch) | 5 to 10 % by fewer page walks | within the noise | no |
//! | windows of images copied from images with their padding, in pieces of constant size | 2 times | first convolution (3x3/2, 256 images of 32x32, bf16, one core): forward 2.5 to 1.3, weight gradient 3.0 to 1.8 ms | weight gradient |
//! | outputs read the lines of such windows in place | 3 times, 0.8 ms | forward 2.5 to 0.86 ms | yes |
//! | a last tile's rows packed with those before it, whole vectors | 10 % | the same weight gradient 1.8 to 1.6 ms | yes |
//! | batch norm: four short rows to a tile, their coefficients loaded once | 1.5 times | ResNet-small's backward 4.0 to 2.7, forward 2.2 to 1.7 ms | yes |
//! | statistics of batch norm in the convolution's epilogue | a pass over maps in cache runs at 28 GB/s a core: at most 0.5 of 63 ms in ResNet-small's step on two cores, less 2 % of each convolution for the sums, and no pivot is known before them | not built | no |
//! | two trainings of ResNet-small side by side on a thread each | no waiting for the other thread | on two cores with AVX2, images of 16x16 and batches of 32: 24 % less time than one after the other on two threads | yes: `harness::schedule` |
//! | gradients cleared on all cores | half the time | 4 ms of ResNet-50's step, at the memory's speed | yes |

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

/// Panics, naming operation, argument and sizes, unless `slice` has `expected` elements.
#[track_caller]
fn check_len<T>(operation: &str, argument: &str, slice: &[T], expected: usize) {
    assert!(slice.len() == expected, "{operation}: `{argument}` has {} elements, expected {expected}", slice.len());
}

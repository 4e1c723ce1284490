//! The peak rates of a device, measured on all threads at once. A profile is compared with them.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use half::bf16;

use crate::kernels::cpu::{Element, isa, peak};
use crate::tensor::{AnyDevice, Precision};

/// Each rate is the best of this many time spans, so that short interruptions by other programs do not matter.
const SPANS: usize = 8;
const SPAN: Duration = Duration::from_millis(25);

/// Rounds of multiplications between two readings of the clock: about ten microseconds.
const ROUNDS: usize = 64;
/// Bytes copied between two readings of the clock.
const PIECE: usize = 256 << 10;
/// Bytes that all threads together copy before they start over: more than a processor's caches hold.
const LARGE: usize = 128 << 20;

/// The peak rates of all threads in use together, with the instruction set in use, or of a GPU.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// Multiplications and additions per second of f32 products.
    pub f32_flops: f64,
    /// The same for bf16 products, which instruction sets without bf16 instructions compute in f32; on a GPU, for products
    /// in its number format.
    pub bf16_flops: f64,
    /// Bytes per second, read and written, of copies that stay in each core's second-level cache, or in the GPU's.
    pub cache_bytes: f64,
    /// The same for copies in memory.
    pub memory_bytes: f64,
}

impl Peaks {
    /// Measures the rates of a device; takes about a second.
    pub fn measure(device: &AnyDevice) -> Self {
        match device {
            AnyDevice::Cpu(_) => Self::of_threads(),
            AnyDevice::Cuda(device) => {
                let kernels = device.kernels();
                let [cache_bytes, memory_bytes] = kernels.peak_copies();
                Self { f32_flops: kernels.peak_floats(), bf16_flops: kernels.peak(), cache_bytes, memory_bytes }
            }
        }
    }

    fn of_threads() -> Self {
        Self {
            f32_flops: multiplications::<f32>(),
            bf16_flops: multiplications::<bf16>(),
            cache_bytes: copies(PIECE),
            memory_bytes: copies(LARGE / rayon::current_num_threads()),
        }
    }

    /// The peak of a format's products.
    pub fn flops(&self, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => self.f32_flops,
            Precision::Bf16 => self.bf16_flops,
        }
    }
}

fn multiplications<E: Element>() -> f64 {
    let isa = isa();
    best_rate(|| move || peak::multiply::<E>(isa, ROUNDS))
}

/// Bytes per second when each thread copies `len` bytes again and again, piece by piece as kernels work.
fn copies(len: usize) -> f64 {
    best_rate(|| {
        let from = vec![1_u8; len.next_multiple_of(PIECE)];
        let mut to = vec![0_u8; from.len()];
        let mut place = 0;
        move || {
            to[place..][..PIECE].copy_from_slice(&from[place..][..PIECE]);
            place = (place + PIECE) % from.len();
            2 * PIECE
        }
    })
}

/// The best amount per second of all threads together. `prepare` gives each thread its work; each call of the work
/// returns the amount done.
fn best_rate<W: FnMut() -> usize>(prepare: impl Fn() -> W + Sync) -> f64 {
    let ready = Barrier::new(rayon::current_num_threads());
    let done: Vec<[usize; SPANS]> = rayon::broadcast(|_| {
        let mut work = prepare();
        work();
        ready.wait();
        let start = Instant::now();
        let mut done = [0; SPANS];
        while let Some(amount) = done.get_mut((start.elapsed().as_nanos() / SPAN.as_nanos()) as usize) {
            *amount += work();
        }
        done
    });
    let of_span = |span: usize| done.iter().map(|done| done[span]).sum::<usize>();
    (0..SPANS).map(of_span).max().unwrap_or(0) as f64 / SPAN.as_secs_f64()
}

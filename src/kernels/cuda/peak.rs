//! Peak rates of a GPU, as kernels can reach them (`source/peak.cu`).

use super::{Format, Kernels, THREADS};

/// Blocks of a launch: enough for several on each multiprocessor of any GPU.
const BLOCKS: usize = 2048;

/// The shortest time of a measured piece of work, in seconds.
const SHORTEST: f64 = 2e-3;

/// How often a piece of work is measured.
const TIMES: usize = 5;

/// Bytes of a copy that stays in the second-level cache, read and written.
const CACHED: usize = 8 << 20;

/// Bytes of a copy through memory, read and written.
const LARGE: usize = 1 << 30;

impl Kernels {
    /// Multiplications and additions per second of products of f32.
    pub fn peak_floats(&self) -> f64 {
        // Threads of a block, by multiplications and additions of a round.
        self.peak_products("peak_floats", THREADS as usize * 128 * 2)
    }

    /// The same in the number format of the kernels: on tensor cores for bf16.
    pub fn peak(&self) -> f64 {
        match self.format {
            Format::F32 => self.peak_floats(),
            // Warps of a block, by products of a round and their multiplications and additions.
            Format::Bf16 => self.peak_products("peak_tensor_cores", THREADS as usize / 32 * 16 * (16 * 16 * 8 * 2)),
        }
    }

    /// Bytes per second, read and written, of copies that stay in the second-level cache and of copies through memory.
    pub fn peak_copies(&self) -> [f64; 2] {
        [CACHED, LARGE].map(|bytes| {
            let [from, to] = [(); 2].map(|()| self.gpu.memory(bytes / 2));
            self.gpu.clear(from.bytes_span());
            bytes as f64
                * self.best_rate(|count| {
                    (0..count).for_each(|_| self.gpu.copy(to.bytes_span(), from.bytes_span()));
                })
        })
    }

    /// `of_block` operations of a block and round.
    fn peak_products(&self, kernel: &'static str, of_block: usize) -> f64 {
        let out = self.floats(BLOCKS * THREADS as usize);
        let rate = self.best_rate(|rounds| {
            self.launch_blocks(kernel, [BLOCKS as u64, 1], 0, &[&out.floats(), &rounds]);
        });
        (BLOCKS * of_block) as f64 * rate
    }

    /// The best number per second of what `work` does so many times.
    fn best_rate(&self, work: impl Fn(u32)) -> f64 {
        let seconds = |count: u32| {
            let watch = self.gpu.stopwatch();
            work(count);
            watch.stop().seconds()
        };
        let mut count = 1;
        while seconds(count) < SHORTEST && count < 1 << 20 {
            count *= 2;
        }
        let times = (0..TIMES).map(|_| seconds(count));
        f64::from(count) / times.fold(f64::INFINITY, f64::min)
    }
}

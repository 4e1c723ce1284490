//! Copies to the GPU, through page-locked memory in which they wait for their turn.
//!
//! Parameters, tables and indices are copied in the order of the work. Activations (mostly images) are copied in a second
//! stream, while the work that came before them runs, into memory that no pending work uses; the work that comes after
//! them waits for them. So a step does not wait for its images, if they are ready before the last step is done.

use std::sync::Arc;

use cudarc::driver::{result, sys};
use rayon::prelude::*;

use super::gpu::{Gpu, Memory, Span, class, lock};
use super::staging::{Buffer, Incoming, Used};

/// The largest copy in the order of the work that goes through page-locked memory, in bytes. Larger ones happen once.
const STAGED: usize = 1 << 20;

/// The number of pieces of memory of one size that may wait for the end of their use. Then the host waits, too: it is
/// steps ahead of the GPU.
const BUSY: usize = 4;

/// When a copy happens.
#[derive(Clone, Copy)]
enum Order {
    /// While the work that came before runs.
    BesideWork,
    /// After the work that came before.
    OfWork,
}

impl Gpu {
    /// Reserves memory with a copy of these values.
    pub(super) fn upload<T: Copy>(self: &Arc<Self>, host: &[T]) -> Memory {
        let memory = self.memory(size_of_val(host));
        self.write(memory.of::<T>(), host);
        memory
    }

    /// Copies values to a span of as many elements of the same size, in the order of the work.
    fn write<T: Copy>(&self, to: Span, host: &[T]) {
        if host.is_empty() {
            return;
        }
        self.context.enter();
        if size_of_val(host) > STAGED {
            // SAFETY: the span has room for the values, and they are borrowed until the copy is done.
            self.context.done("cannot copy to the GPU", unsafe {
                result::memcpy_htod_async(to.address(), host, self.context.stream)
            });
            return self.synchronize();
        }
        self.staged(to, Order::OfWork, |room: &mut [T]| room.copy_from_slice(host));
    }

    /// Reserves memory with a copy of these numbers, each converted by `convert`. It is made beside the work that came
    /// before; the work that comes after waits for it.
    pub fn receive<T: Copy + Send>(self: &Arc<Self>, host: &[f32], convert: impl Fn(f32) -> T + Sync) -> Memory {
        let memory = self.incoming(size_of::<T>() * host.len());
        if host.is_empty() {
            return memory;
        }
        self.staged(memory.of::<T>(), Order::BesideWork, |room: &mut [T]| {
            room.par_iter_mut().with_min_len(1 << 14).zip(host).for_each(|(to, &from)| *to = convert(from));
        });
        memory
    }

    /// Memory that no pending work uses.
    fn incoming(self: &Arc<Self>, bytes: usize) -> Memory {
        self.context.enter();
        let class = class(bytes);
        let mut incoming = lock(&self.incoming);
        let of_class: Vec<usize> = (0..incoming.len()).filter(|&index| incoming[index].bytes == class).collect();
        // SAFETY: the event lives as long as the memory. An error of the work is found by the next call.
        let is_free = |&index: &usize| unsafe { result::event::query(incoming[index].used.0) }.is_ok();
        let oldest = || of_class.first().copied().filter(|_| of_class.len() >= BUSY);
        let chosen = of_class.iter().copied().find(is_free).or_else(oldest);
        let reused = chosen.map(|index| incoming.remove(index));
        drop(incoming);
        if let Some(Incoming { used, .. }) = &reused {
            // SAFETY: as above.
            self.context.done("the work failed", unsafe { result::event::synchronize(used.0) });
        }
        let Incoming { at, used, .. } = reused.unwrap_or_else(|| {
            let used = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
            let used = Used(self.context.done("cannot make an event", used));
            Incoming { at: self.reserve(class), bytes: class, used }
        });
        Memory::incoming(self.clone(), at, bytes, used)
    }

    /// Copies what `fill` writes to a span, through page-locked memory. The work that comes after it waits for the copy.
    fn staged<T: Copy>(&self, to: Span, order: Order, fill: impl FnOnce(&mut [T])) {
        let (stream, work) = match order {
            Order::BesideWork => (self.context.copies, Some(self.context.stream)),
            Order::OfWork => (self.context.stream, None),
        };
        let mut staging = lock(&self.staging[order as usize]);
        let Buffer { at, copied, .. } = self.staging_buffer(staging.turn(), to.len * size_of::<T>());
        // SAFETY: the buffer has room for the values, is aligned to pages, and the copy from it that came before is done.
        let room = unsafe { std::slice::from_raw_parts_mut(at.cast::<T>(), to.len) };
        fill(room);
        // SAFETY: the span has as many bytes, and `staging_buffer` waits for the event before the buffer is written again.
        // Streams and event are not destroyed while the lock is held.
        self.context.done("cannot copy to the GPU", unsafe {
            result::memcpy_htod_async(to.address(), room, stream)
                .and_then(|()| result::event::record(copied, stream))
                .and_then(|()| match work {
                    Some(work) => {
                        result::stream::wait_event(work, copied, sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT)
                    }
                    None => Ok(()),
                })
        });
    }

    /// A buffer of at least `bytes` bytes, after the last copy from it.
    fn staging_buffer(&self, buffer: &mut Option<Buffer>, bytes: usize) -> Buffer {
        if let Some(last) = *buffer {
            // SAFETY: the event lives as long as the buffer.
            self.context.done("a copy failed", unsafe { result::event::synchronize(last.copied) });
            if last.bytes >= bytes {
                return last;
            }
            *buffer = None;
            last.free();
        }
        let bytes = class(bytes);
        // SAFETY: both are freed by `Buffer::free`.
        let made = unsafe {
            result::malloc_host(bytes, 0).and_then(|at| {
                let copied = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
                Ok(Buffer { at: at.cast::<u8>(), bytes, copied })
            })
        };
        *buffer.insert(self.context.done("cannot reserve page-locked memory", made))
    }
}

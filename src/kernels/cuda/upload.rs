//! Copies to the GPU, through page-locked memory in which they wait for their turn.
//!
//! Parameters, tables and other small things are copied in the order of the work. Images are copied in a second stream,
//! while the work that came before them runs, into memory that no pending work uses; the work that comes after them waits
//! for them. So a step does not wait for its images, if they are ready before the last step is done.

use std::sync::Arc;

use cudarc::driver::{result, sys};
use rayon::prelude::*;

use super::gpu::{Gpu, Memory, Span, class, lock};

/// The largest copy of parameters and tables that goes through page-locked memory, in bytes. Larger ones happen once.
const STAGED: usize = 32 << 20;

/// The largest copy that is small, in bytes. A step has several of them, each of which would otherwise wait until the GPU
/// has come to the one before the last.
const SMALL: usize = 64 << 10;

/// The number of large copies, and of small ones, that may wait for their turn.
pub(super) const WAITING: [usize; 2] = [2, 16];

/// Page-locked buffers, used in turn.
pub(super) struct Staging {
    buffers: Vec<Option<Buffer>>,
    next: usize,
}

/// Page-locked memory, and the event after the last copy from it.
#[derive(Clone, Copy)]
struct Buffer {
    at: *mut u8,
    bytes: usize,
    copied: sys::CUevent,
}

/// Device memory for images that is in no use, but for the work before an event.
pub(super) struct Incoming {
    pub(super) at: sys::CUdeviceptr,
    pub(super) bytes: usize,
    pub(super) used: Used,
}

/// The event after the last use of memory.
#[derive(Clone, Copy)]
pub(super) struct Used(pub(super) sys::CUevent);

// SAFETY: as for `Gpu`.
unsafe impl Send for Used {}
// SAFETY: as for `Gpu`.
unsafe impl Sync for Used {}

impl Staging {
    pub(super) fn new(waiting: usize) -> Self {
        Self { buffers: vec![None; waiting], next: 0 }
    }

    /// The buffer whose turn it is.
    fn turn(&mut self) -> &mut Option<Buffer> {
        let index = self.next;
        self.next = (index + 1) % self.buffers.len();
        &mut self.buffers[index]
    }

    /// Frees all buffers; no copy is pending.
    pub(super) fn free(&mut self) {
        self.buffers.iter_mut().filter_map(Option::take).for_each(Buffer::free);
    }
}

impl Buffer {
    fn free(self) {
        // SAFETY: both were made by `Gpu::staging_buffer`, and no copy is pending.
        unsafe {
            result::free_host(self.at.cast()).ok();
            result::event::destroy(self.copied).ok();
        }
    }
}

impl Incoming {
    /// Frees it; no work is pending.
    pub(super) fn free(self) {
        // SAFETY: the memory was reserved by `Gpu::reserve`, the event made with it, and neither is in use.
        unsafe {
            result::free_sync(self.at).ok();
            result::event::destroy(self.used.0).ok();
        }
    }
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
        self.staged(to, self.context.stream, |room: &mut [T]| room.copy_from_slice(host));
    }

    /// Reserves memory with a copy of these numbers, each converted by `convert`. It is made beside the work that came
    /// before; the work that comes after waits for it.
    pub fn receive<T: Copy + Send>(self: &Arc<Self>, host: &[f32], convert: impl Fn(f32) -> T + Sync) -> Memory {
        let memory = self.incoming(size_of::<T>() * host.len());
        if host.is_empty() {
            return memory;
        }
        let copied = self.staged(memory.of::<T>(), self.context.copies, |room: &mut [T]| {
            room.par_iter_mut().with_min_len(1 << 14).zip(host).for_each(|(to, &from)| *to = convert(from));
        });
        // SAFETY: stream and event live as long as the GPU.
        self.context.done("cannot wait for a copy", unsafe {
            result::stream::wait_event(self.context.stream, copied, sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT)
        });
        memory
    }

    /// Memory that no pending work uses.
    fn incoming(self: &Arc<Self>, bytes: usize) -> Memory {
        self.context.enter();
        let class = class(bytes);
        // SAFETY: the event lives as long as the memory. An error of the work is found by the next call.
        let is_free = |of: &Incoming| of.bytes == class && unsafe { result::event::query(of.used.0) }.is_ok();
        let mut incoming = lock(&self.incoming);
        let reused = incoming.iter().position(is_free).map(|index| incoming.swap_remove(index));
        drop(incoming);
        let Incoming { at, used, .. } = reused.unwrap_or_else(|| {
            let used = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
            let used = Used(self.context.done("cannot make an event", used));
            Incoming { at: self.reserve(class), bytes: class, used }
        });
        Memory::incoming(self.clone(), at, bytes, used)
    }

    /// Copies what `fill` writes to a span in a stream, through page-locked memory. Returns the event after the copy, which
    /// is valid until the next copies.
    fn staged<T: Copy>(&self, to: Span, stream: sys::CUstream, fill: impl FnOnce(&mut [T])) -> sys::CUevent {
        let bytes = to.len * size_of::<T>();
        let mut staging = lock(&self.staging[usize::from(bytes <= SMALL)]);
        let Buffer { at, copied, .. } = self.staging_buffer(staging.turn(), bytes);
        // SAFETY: the buffer has room for the values, is aligned to pages, and the copy from it that came before is done.
        let room = unsafe { std::slice::from_raw_parts_mut(at.cast::<T>(), to.len) };
        fill(room);
        // SAFETY: the span has as many bytes, and `staging_buffer` waits for the event before the buffer is written again.
        self.context.done("cannot copy to the GPU", unsafe {
            result::memcpy_htod_async(to.address(), room, stream).and_then(|()| result::event::record(copied, stream))
        });
        copied
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

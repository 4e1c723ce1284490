//! What copies to the GPU are made with: page-locked memory in which they wait, and device memory that pending work may
//! still use. `upload` makes the copies.

use cudarc::driver::{result, sys};

/// The number of copies of activations that may wait for their turn, and of those in the order of the work. A step has
/// several of the latter; with fewer places, the host would wait until the GPU has come to an earlier one.
pub(super) const WAITING: [usize; 2] = [2, 16];

/// Page-locked buffers, used in turn.
pub(super) struct Staging {
    buffers: Vec<Option<Buffer>>,
    next: usize,
}

/// Page-locked memory, and the event after the last copy from it.
#[derive(Clone, Copy)]
pub(super) struct Buffer {
    pub(super) at: *mut u8,
    pub(super) bytes: usize,
    pub(super) copied: sys::CUevent,
}

/// Device memory for activations from the host that is in no use, but for the work before an event.
pub(super) struct Incoming {
    pub(super) at: sys::CUdeviceptr,
    pub(super) bytes: usize,
    pub(super) used: Used,
}

/// The event after the last use of memory.
#[derive(Clone, Copy)]
pub(super) struct Used(pub(super) sys::CUevent);

// SAFETY: the driver lets any thread use an event.
unsafe impl Send for Used {}
// SAFETY: as above.
unsafe impl Sync for Used {}

impl Staging {
    pub(super) fn new(waiting: usize) -> Self {
        Self { buffers: vec![None; waiting], next: 0 }
    }

    /// The buffer whose turn it is.
    pub(super) fn turn(&mut self) -> &mut Option<Buffer> {
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
    /// Frees it; no copy is pending.
    pub(super) fn free(self) {
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

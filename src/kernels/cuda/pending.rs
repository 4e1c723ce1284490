//! Numbers that the host reads later, without a wait for the work that follows them.

use std::fmt;
use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::gpu::{Gpu, Slot, Span, lock};

/// A number that the GPU copies to the host when it has computed it.
pub struct Pending {
    gpu: Arc<Gpu>,
    slot: Slot,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number to come")
    }
}

impl Gpu {
    /// Copies one number of f64 to the host after the work that came before.
    pub(super) fn read_later(self: &Arc<Self>, from: Span) -> Pending {
        assert!(from.len == 1, "read_later: {from:?}");
        self.context.enter();
        let free = lock(&self.slots).pop();
        let slot = free.unwrap_or_else(|| {
            // SAFETY: both are freed when the GPU is dropped.
            let made = unsafe {
                result::malloc_host(size_of::<f64>(), 0).and_then(|at| {
                    let copied = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
                    Ok(Slot { at: at.cast(), copied })
                })
            };
            self.context.done("cannot reserve page-locked memory", made)
        });
        // SAFETY: the slot has room for the number, and nothing else uses it until its event has happened.
        self.context.done("cannot copy from the GPU", unsafe {
            let room = std::slice::from_raw_parts_mut(slot.at, 1);
            result::memcpy_dtoh_async(room, from.address(), self.context.stream)
                .and_then(|()| result::event::record(slot.copied, self.context.stream))
        });
        Pending { gpu: self.clone(), slot }
    }
}

impl Pending {
    /// Waits for the number.
    pub fn value(self) -> f64 {
        self.gpu.context.enter();
        // SAFETY: the event lives as long as the slot; after it, the number is written.
        unsafe {
            self.gpu.context.done("the work failed", result::event::synchronize(self.slot.copied));
            self.slot.at.read()
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.gpu.context.enter_to_drop();
        // SAFETY: as in `value`. A failed copy is not pending either.
        unsafe { result::event::synchronize(self.slot.copied) }.ok();
        lock(&self.gpu.slots).push(self.slot);
    }
}

//! Times of work in the stream.

use std::sync::Arc;

use cudarc::driver::{result, sys};

use crate::error::Error;

use super::context::driver_version;
use super::gpu::Gpu;

/// The driver that can tell times between events as cudarc asks for them.
const TELLS_TIMES: i32 = 12_080;

/// Two moments in the stream.
struct Events {
    gpu: Arc<Gpu>,
    start: sys::CUevent,
    stop: sys::CUevent,
}

/// The time since a moment in the stream of work.
pub struct Stopwatch(Events);

/// A time between two moments in the stream of work.
pub struct Lap(Events);

impl Gpu {
    /// Starts after the work that came before.
    ///
    /// # Panics
    /// With an [`Error`] if the driver is too old to tell times.
    pub fn stopwatch(self: &Arc<Self>) -> Stopwatch {
        if driver_version() < TELLS_TIMES {
            Error::new(format!("the driver is for CUDA {}; times on the GPU need 12.8", self.description().driver))
                .hint("leave out `--profile`, or install a newer driver")
                .raise();
        }
        self.context.enter();
        let create = || result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let made = create().and_then(|start| Ok((start, create()?)));
        let (start, stop) = self.context.done("cannot make an event", made);
        let events = Events { gpu: self.clone(), start, stop };
        events.record(start);
        Stopwatch(events)
    }
}

impl Events {
    fn record(&self, event: sys::CUevent) {
        let context = &self.gpu.context;
        context.enter();
        // SAFETY: event and stream live as long as this and the GPU.
        context.done("cannot record an event", unsafe { result::event::record(event, context.stream) });
    }
}

impl Stopwatch {
    /// Stops after the work that came before.
    pub fn stop(self) -> Lap {
        self.0.record(self.0.stop);
        Lap(self.0)
    }
}

impl Lap {
    /// Waits for its end, and returns the seconds.
    pub fn seconds(self) -> f64 {
        let Events { gpu, start, stop } = &self.0;
        gpu.context.enter();
        // SAFETY: both were recorded, and the second has happened.
        let milliseconds =
            unsafe { result::event::synchronize(*stop).and_then(|()| result::event::elapsed(*start, *stop)) };
        f64::from(gpu.context.done("cannot read the time of an event", milliseconds)) / 1e3
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.gpu.context.enter_to_drop();
        for event in [self.start, self.stop] {
            // SAFETY: the driver destroys an event that is still to happen when it has happened.
            unsafe { result::event::destroy(event) }.ok();
        }
    }
}

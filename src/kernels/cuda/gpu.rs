//! The memory of an open GPU: free lists, and copies from it. `upload` copies to it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{result, sys};

use crate::error::{Error, Result};

use super::context::{Context, Description};
use super::staging::{Incoming, Staging, Used, WAITING};

/// Numbers in device memory: a place, and how many they are. Valid while the memory that it was made from is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Span {
    pub(super) at: sys::CUdeviceptr,
    /// Number of elements.
    pub len: usize,
    /// Bytes of an element.
    size: usize,
}

/// Device memory that returns to a free list when it is dropped.
pub struct Memory {
    gpu: Arc<Gpu>,
    at: sys::CUdeviceptr,
    bytes: usize,
    /// For memory of [`Gpu::receive`], the event after its last use.
    used: Option<Used>,
}

/// An open GPU.
pub struct Gpu {
    pub(super) context: Context,
    /// Bytes that were taken from the driver, and their largest number so far.
    reserved: Mutex<[usize; 2]>,
    free: Mutex<BTreeMap<usize, Vec<sys::CUdeviceptr>>>,
    /// For the copies of each `upload::Order`.
    pub(super) staging: [Mutex<Staging>; 2],
    /// Memory of [`Gpu::receive`] that was dropped, the oldest first.
    pub(super) incoming: Mutex<Vec<Incoming>>,
    /// Free places for numbers that the host reads later.
    pub(super) slots: Mutex<Vec<Slot>>,
}

// SAFETY: addresses of page-locked memory and events may be used from any thread; the lock lets one at a time.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

/// Page-locked memory for one number, and the event after its copy.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) at: *mut f64,
    pub(super) copied: sys::CUevent,
}

impl Span {
    /// The address in device memory.
    pub(super) fn address(self) -> u64 {
        self.at
    }

    /// `len` elements from `first` on.
    ///
    /// # Panics
    /// When they are not within the span.
    pub fn part(self, first: usize, len: usize) -> Self {
        assert!(first + len <= self.len, "part: {first} + {len} of {} elements", self.len);
        Self { at: self.at + (first * self.size) as u64, len, size: self.size }
    }

    /// The number of bytes.
    fn bytes(self) -> usize {
        self.len * self.size
    }
}

impl Memory {
    /// All of it, as elements of `size` bytes each.
    fn elements(&self, size: usize) -> Span {
        Span { at: self.at, len: self.bytes / size, size }
    }

    /// All of it, as numbers of f32.
    pub fn floats(&self) -> Span {
        self.elements(size_of::<f32>())
    }

    /// All of it, as numbers of a format.
    pub fn numbers(&self, format: super::Format) -> Span {
        self.elements(format.bytes())
    }

    /// All of it, as bytes.
    pub fn bytes_span(&self) -> Span {
        self.elements(1)
    }

    /// All of it, as values of a type.
    pub(super) fn of<T>(&self) -> Span {
        self.elements(size_of::<T>())
    }

    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory of [`Gpu::receive`].
    pub(super) fn incoming(gpu: Arc<Gpu>, at: sys::CUdeviceptr, bytes: usize, used: Used) -> Self {
        Self { gpu, at, bytes, used: Some(used) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let (gpu, at, bytes) = (&self.gpu, self.at, class(self.bytes));
        let Some(used) = self.used else { return lock(&gpu.free).entry(bytes).or_default().push(at) };
        gpu.context.enter_to_drop();
        // SAFETY: event and stream live as long as the GPU. A GPU that fails here fails again at the next call.
        unsafe { result::event::record(used.0, gpu.context.stream) }.ok();
        lock(&gpu.incoming).push(Incoming { at, bytes, used });
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes on GPU {}", self.bytes, self.gpu.context.description.ordinal)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.context.description.fmt(f)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes that are reserved for a request: a few sizes for each power of two, so that requests of similar sizes share
/// memory.
pub(super) fn class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(256);
    bytes.max(1).next_multiple_of(step)
}

impl Gpu {
    /// Opens a GPU. `folder` is where the libraries are, if they are not in a usual place.
    ///
    /// # Errors
    /// When there is no driver, compiler or such GPU, or it is too old.
    pub fn open(ordinal: usize, folder: Option<&Path>) -> Result<Arc<Self>> {
        let context = Context::open(ordinal, folder)?;
        Ok(Arc::new(Self {
            context,
            reserved: Mutex::default(),
            free: Mutex::default(),
            staging: WAITING.map(|waiting| Mutex::new(Staging::new(waiting))),
            incoming: Mutex::default(),
            slots: Mutex::default(),
        }))
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.context.description
    }

    /// The largest number of bytes that this process has taken from it at one time.
    pub fn peak_memory(&self) -> usize {
        lock(&self.reserved)[1]
    }

    /// Waits until all work is done.
    pub fn synchronize(&self) {
        self.context.synchronize();
    }

    /// Reserves memory of unspecified content.
    pub fn memory(self: &Arc<Self>, bytes: usize) -> Memory {
        let class = class(bytes);
        let reused = lock(&self.free).get_mut(&class).and_then(Vec::pop);
        let at = reused.unwrap_or_else(|| self.reserve(class));
        Memory { gpu: self.clone(), at, bytes, used: None }
    }

    /// Takes memory from the driver. If there is none left, gives back what the free lists hold and tries again.
    pub(super) fn reserve(&self, bytes: usize) -> sys::CUdeviceptr {
        self.context.enter();
        // SAFETY: the memory is freed once, by `release`.
        let allocate = || unsafe { result::malloc_sync(bytes) };
        let reserved = allocate().or_else(|error| {
            if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                self.release();
                return allocate();
            }
            Err(error)
        });
        match reserved {
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let mebibytes = |bytes: usize| bytes.div_ceil(1 << 20);
                let (free, total) = result::mem_get_info().unwrap_or_default();
                let Description { ordinal, name, .. } = &self.context.description;
                Error::new(format!(
                    "GPU {ordinal} ({name}) has no memory for {} MiB more: {} of {} MiB are free",
                    mebibytes(bytes),
                    mebibytes(free),
                    mebibytes(total)
                ))
                .hint("`nvidia-smi` shows what else uses the GPU; then the same command goes on from the last checkpoint. A smaller batch needs less: `--set pretrain.batch=128`")
                .raise()
            }
            reserved => {
                let at = self.context.done("cannot reserve memory", reserved);
                let [now, peak] = &mut *lock(&self.reserved);
                *now += bytes;
                *peak = (*peak).max(*now);
                at
            }
        }
    }

    /// Frees the memory of the free lists.
    fn release(&self) {
        // The work waits for every copy to the GPU, so none is pending either.
        self.synchronize();
        for (bytes, free) in std::mem::take(&mut *lock(&self.free)) {
            lock(&self.reserved)[0] -= bytes * free.len();
            for at in free {
                // SAFETY: it was reserved by `reserve`, is in no use, and no work is pending.
                unsafe { result::free_sync(at) }.ok();
            }
        }
        for incoming in std::mem::take(&mut *lock(&self.incoming)) {
            lock(&self.reserved)[0] -= incoming.bytes;
            incoming.free();
        }
    }

    /// Copies a span to host memory.
    pub(super) fn read<T: Copy + Default>(&self, from: Span) -> Vec<T> {
        assert!(from.size == size_of::<T>(), "read: {from:?}");
        let mut host = vec![T::default(); from.len];
        if !host.is_empty() {
            self.context.enter();
            // SAFETY: the span has as many elements; the stream is synchronised before the values are used.
            self.context.done("cannot copy from the GPU", unsafe {
                result::memcpy_dtoh_async(&mut host, from.at, self.context.stream)
            });
            self.synchronize();
        }
        host
    }

    /// Copies a span to another of the same size.
    pub fn copy(&self, to: Span, from: Span) {
        assert!((to.len, to.size) == (from.len, from.size), "copy: {from:?} to {to:?}");
        if to.len > 0 {
            self.context.enter();
            // SAFETY: both spans have as many bytes.
            let copied = unsafe { result::memcpy_dtod_async(to.at, from.at, from.bytes(), self.context.stream) };
            self.context.done("cannot copy", copied);
        }
    }

    /// Sets a span to zero.
    pub fn clear(&self, span: Span) {
        if span.len > 0 {
            self.context.enter();
            // SAFETY: the span has as many bytes.
            self.context.done("cannot clear memory", unsafe {
                result::memset_d8_async(span.at, 0, span.bytes(), self.context.stream)
            });
        }
    }
}

impl Slot {
    /// Frees it; no copy to it is pending.
    fn free(self) {
        // SAFETY: both were made by `Gpu::read_later`.
        unsafe {
            result::free_host(self.at.cast()).ok();
            result::event::destroy(self.copied).ok();
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.context.enter_to_drop();
        // SAFETY: memory and kernels hold a reference to the GPU, so nothing is in use; no work is pending.
        unsafe {
            result::stream::synchronize(self.context.stream).ok();
            for at in std::mem::take(&mut *lock(&self.free)).into_values().flatten() {
                result::free_sync(at).ok();
            }
        }
        std::mem::take(&mut *lock(&self.incoming)).into_iter().for_each(Incoming::free);
        self.staging.iter().for_each(|staging| lock(staging).free());
        lock(&self.slots).drain(..).for_each(Slot::free);
    }
}

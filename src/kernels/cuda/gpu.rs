//! The memory of an open GPU: free lists, and copies.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{result, sys};
use rayon::prelude::*;

use crate::error::{Error, Result};

use super::context::{Context, Description};

/// The largest copy of parameters and tables that goes through page-locked memory, in bytes. Larger ones happen once.
const STAGED: usize = 32 << 20;

/// The largest copy that is small, in bytes. A step has several of them, each of which would otherwise wait until the GPU
/// has come to the one before the last.
const SMALL: usize = 64 << 10;

/// The number of large copies, and of small ones, that may wait for their turn.
const WAITING: [usize; 2] = [2, 16];

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
}

/// An open GPU.
pub struct Gpu {
    pub(super) context: Context,
    /// Bytes that were taken from the driver, and their largest number so far.
    reserved: Mutex<[usize; 2]>,
    free: Mutex<BTreeMap<usize, Vec<sys::CUdeviceptr>>>,
    /// For large uploads and for small ones.
    staging: [Mutex<Staging>; 2],
    /// Free places for numbers that the host reads later.
    pub(super) slots: Mutex<Vec<Slot>>,
}

// SAFETY: addresses of page-locked memory and events may be used from any thread; the lock lets one at a time.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

/// Page-locked host memory in which uploads wait for their turn, used in turn.
struct Staging {
    buffers: Vec<Option<(*mut u8, usize, sys::CUevent)>>,
    next: usize,
}

impl Staging {
    fn new(waiting: usize) -> Self {
        Self { buffers: vec![None; waiting], next: 0 }
    }

    /// The buffer whose turn it is.
    fn turn(&mut self) -> &mut Option<(*mut u8, usize, sys::CUevent)> {
        let index = self.next;
        self.next = (index + 1) % self.buffers.len();
        &mut self.buffers[index]
    }
}

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
}

impl Drop for Memory {
    fn drop(&mut self) {
        lock(&self.gpu.free).entry(class(self.bytes)).or_default().push(self.at);
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
fn class(bytes: usize) -> usize {
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
        Memory { gpu: self.clone(), at, bytes }
    }

    /// Takes memory from the driver. If there is none left, gives back what the free lists hold and tries again.
    fn reserve(&self, bytes: usize) -> sys::CUdeviceptr {
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
        self.synchronize();
        for (bytes, free) in std::mem::take(&mut *lock(&self.free)) {
            lock(&self.reserved)[0] -= bytes * free.len();
            for at in free {
                // SAFETY: it was reserved by `reserve`, is in no use, and no work is pending.
                unsafe { result::free_sync(at) }.ok();
            }
        }
    }

    /// Reserves memory with a copy of these values.
    pub(super) fn upload<T: Copy>(self: &Arc<Self>, host: &[T]) -> Memory {
        let memory = self.memory(size_of_val(host));
        self.write(memory.of::<T>(), host);
        memory
    }

    /// Copies values to a span of as many elements of the same size.
    pub(super) fn write<T: Copy>(&self, to: Span, host: &[T]) {
        assert!(to.bytes() == size_of_val(host), "write: {} values to {to:?}", host.len());
        if host.is_empty() {
            return;
        }
        if size_of_val(host) > STAGED {
            self.context.enter();
            // SAFETY: the span has room for the values, and they are borrowed until the copy is done.
            self.context
                .done("cannot copy to the GPU", unsafe { result::memcpy_htod_async(to.at, host, self.context.stream) });
            return self.synchronize();
        }
        self.staged(to, |room: &mut [T]| room.copy_from_slice(host));
    }

    /// Copies numbers to a span through page-locked memory, each converted by `convert`, without waiting for earlier
    /// work.
    pub fn stage<T: Copy + Send>(&self, to: Span, host: &[f32], convert: impl Fn(f32) -> T + Sync) {
        assert!((to.len, to.size) == (host.len(), size_of::<T>()), "stage: {} numbers to {to:?}", host.len());
        if host.is_empty() {
            return;
        }
        self.staged(to, |room: &mut [T]| {
            room.par_iter_mut().with_min_len(1 << 14).zip(host).for_each(|(to, &from)| *to = convert(from));
        });
    }

    /// Copies what `fill` writes to a span through page-locked memory, without waiting for earlier work.
    fn staged<T: Copy>(&self, to: Span, fill: impl FnOnce(&mut [T])) {
        self.context.enter();
        let bytes = to.bytes();
        let mut staging = lock(&self.staging[usize::from(bytes <= SMALL)]);
        let (at, _, event) = self.staging_buffer(staging.turn(), bytes);
        // SAFETY: the buffer has room for the values, is aligned to pages, and the copy from it that came before is done.
        let room = unsafe { std::slice::from_raw_parts_mut(at.cast::<T>(), bytes / size_of::<T>()) };
        fill(room);
        // SAFETY: the span has as many bytes, and `staging_buffer` waits for the event before the buffer is written again.
        self.context.done("cannot copy to the GPU", unsafe {
            result::memcpy_htod_async(to.at, room, self.context.stream)
                .and_then(|()| result::event::record(event, self.context.stream))
        });
    }

    /// A buffer of at least `bytes` bytes, after the last copy from it.
    fn staging_buffer(
        &self,
        buffer: &mut Option<(*mut u8, usize, sys::CUevent)>,
        bytes: usize,
    ) -> (*mut u8, usize, sys::CUevent) {
        if let Some((at, room, event)) = *buffer {
            // SAFETY: the event lives as long as the buffer.
            self.context.done("a copy failed", unsafe { result::event::synchronize(event) });
            if room >= bytes {
                return (at, room, event);
            }
            *buffer = None;
            free_staging((at, room, event));
        }
        let room = class(bytes);
        // SAFETY: both are freed by `free_staging`.
        let made = unsafe {
            result::malloc_host(room, 0).and_then(|at| {
                Ok((at.cast::<u8>(), room, result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?))
            })
        };
        *buffer.insert(self.context.done("cannot reserve page-locked memory", made))
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

fn free_staging((at, _, event): (*mut u8, usize, sys::CUevent)) {
    // SAFETY: both were made by `staging_buffer`, and no copy is pending.
    unsafe {
        result::free_host(at.cast()).ok();
        result::event::destroy(event).ok();
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
        for staging in &self.staging {
            lock(staging).buffers.iter_mut().filter_map(Option::take).for_each(free_staging);
        }
        lock(&self.slots).drain(..).for_each(Slot::free);
    }
}

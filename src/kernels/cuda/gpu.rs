//! An open GPU: its memory, copies and launches. The only file that calls the driver.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, c_void};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{DriverError, result, sys};
use rayon::prelude::*;

use crate::error::{Error, Result};

use super::{THREADS, compile, library};

/// The oldest driver whose functions are known to suffice, as the driver counts: 12.0.
const OLDEST_DRIVER: i32 = 12_000;

/// The oldest compute capability: that of the A100, the first with bf16 and asynchronous copies.
const OLDEST_CAPABILITY: (i32, i32) = (8, 0);

/// The driver that can tell the sizes of a kernel's parameters.
const KNOWS_PARAMETERS: i32 = 12_040;

/// Dynamic shared memory that a block may have without asking for more, in bytes.
const SHARED: usize = 48 << 10;

/// What a GPU is, for records and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its place among the GPUs of this machine.
    pub ordinal: usize,
    /// The name that the driver gives, such as `NVIDIA H200`.
    pub name: String,
    /// Compute capability, such as (9, 0).
    pub capability: (i32, i32),
    /// Streaming multiprocessors.
    pub multiprocessors: i32,
    /// Bytes of memory.
    pub memory: usize,
    /// The newest version of CUDA that the driver supports, such as `13.0`.
    pub driver: String,
    /// The version of NVRTC, if it was opened.
    pub compiler: Option<String>,
}

impl Description {
    /// Whether it has what the kernels need.
    pub fn suffices(&self) -> bool {
        self.capability >= OLDEST_CAPABILITY
    }
}

/// Numbers in device memory: a place, and how many they are. Valid while the memory that it was made from is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Span {
    at: sys::CUdeviceptr,
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

/// An open GPU with one stream.
pub struct Gpu {
    description: Description,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    free: Mutex<BTreeMap<usize, Vec<sys::CUdeviceptr>>>,
    staging: Mutex<Staging>,
}

// SAFETY: the driver's handles may be used from any thread on which the context is current; `Gpu::enter` makes it so.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver synchronises its own state.
unsafe impl Sync for Gpu {}

/// Page-locked host memory in which uploads wait for their turn.
#[derive(Default)]
struct Staging {
    buffers: [Option<(*mut u8, usize, sys::CUevent)>; 2],
    next: usize,
}

/// Kernels loaded on a GPU.
pub(super) struct Module {
    module: sys::CUmodule,
    functions: Mutex<HashMap<&'static str, Function>>,
}

// SAFETY: as for `Gpu`.
unsafe impl Send for Module {}
// SAFETY: as for `Gpu`.
unsafe impl Sync for Module {}

#[derive(Clone)]
struct Function {
    function: sys::CUfunction,
    /// The sizes of the parameters, if the driver tells them.
    parameters: Option<Arc<[usize]>>,
}

/// A value that is passed to a kernel. It has the layout of the kernel's parameter.
pub(super) trait Argument {
    /// Where the value is.
    fn address(&self) -> *mut c_void;
    /// Its size in bytes.
    fn bytes(&self) -> usize;
}

/// A number, or a struct with the layout of the kernel's.
pub(super) trait Value: Copy {}
impl Value for u32 {}
impl Value for u64 {}
impl Value for f32 {}
impl Value for f64 {}

impl<T: Value> Argument for T {
    fn address(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// A pointer parameter.
impl Argument for Span {
    fn address(&self) -> *mut c_void {
        (&raw const self.at).cast_mut().cast()
    }

    fn bytes(&self) -> usize {
        size_of::<sys::CUdeviceptr>()
    }
}

/// A pointer parameter that may be null.
impl Argument for Option<Span> {
    fn address(&self) -> *mut c_void {
        static NULL: sys::CUdeviceptr = 0;
        match self {
            Some(span) => span.address(),
            None => (&raw const NULL).cast_mut().cast(),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<sys::CUdeviceptr>()
    }
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
        write!(f, "{} bytes on GPU {}", self.bytes, self.gpu.description.ordinal)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.description.fmt(f)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kernels")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes that are reserved for a request: a few sizes for each power of two, so that requests of similar sizes share
/// memory.
fn class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(256);
    bytes.max(1).next_multiple_of(step)
}

/// The error of a call of the driver.
fn failed(what: &str, error: DriverError) -> Error {
    let text = |text: Result<&std::ffi::CStr, DriverError>| text.map(|text| text.to_string_lossy().into_owned()).ok();
    let (name, meaning) = (text(error.error_name()), text(error.error_string()));
    let name = name.unwrap_or_else(|| format!("error {}", error.0 as u32));
    let meaning = meaning.filter(|meaning| *meaning != name).map_or(String::new(), |meaning| format!(" ({meaning})"));
    Error::new(format!("{what}: {name}{meaning}"))
}

/// Opens the driver.
fn start(folder: Option<&Path>) -> Result<i32> {
    library::open_driver(folder)?;
    let mut version = 0;
    // SAFETY: the driver writes the number.
    unsafe { sys::cuDriverGetVersion(&mut version) };
    if version < OLDEST_DRIVER {
        let (found, oldest) = (cuda_version(version), cuda_version(OLDEST_DRIVER));
        return Err(Error::new(format!("the NVIDIA driver supports CUDA {found}; {oldest} is the oldest that works"))
            .hint(
                "a newer driver is needed (`nvidia-smi` shows the present one); `--device cpu` runs on the processor",
            ));
    }
    result::init().map_err(|error| {
        failed("the NVIDIA driver does not start", error)
            .hint("`nvidia-smi` shows whether it finds a GPU; `--device cpu` runs on the processor")
    })?;
    Ok(version)
}

fn cuda_version(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// Describes the GPUs of this machine. `folder` is where the libraries are, if they are not in a usual place.
///
/// # Errors
/// When there is no driver, or it is too old or does not start.
pub fn devices(folder: Option<&Path>) -> Result<Vec<Description>> {
    let version = start(folder)?;
    let count = result::device::get_count().map_err(|error| failed("cannot count the GPUs", error))?;
    (0..count).map(|ordinal| describe(ordinal, version).map(|(_, description)| description)).collect()
}

fn describe(ordinal: i32, version: i32) -> Result<(sys::CUdevice, Description)> {
    use sys::CUdevice_attribute as Attribute;
    let asked = || -> std::result::Result<_, DriverError> {
        let device = result::device::get(ordinal)?;
        // SAFETY: the device was returned by the driver.
        unsafe {
            let attribute = |attribute| result::device::get_attribute(device, attribute);
            let description = Description {
                ordinal: ordinal as usize,
                name: result::device::get_name(device)?,
                capability: (
                    attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                    attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
                ),
                multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
                memory: result::device::total_mem(device)?,
                driver: cuda_version(version),
                compiler: None,
            };
            Ok((device, description))
        }
    };
    asked().map_err(|error| {
        failed(&format!("cannot open GPU {ordinal}"), error).hint("`sempair devices` lists the GPUs of this machine")
    })
}

impl Gpu {
    /// Opens a GPU. `folder` is where the libraries are, if they are not in a usual place.
    ///
    /// # Errors
    /// When there is no driver, compiler or such GPU, or it is too old.
    pub fn open(ordinal: usize, folder: Option<&Path>) -> Result<Arc<Self>> {
        let version = start(folder)?;
        let (device, mut description) = describe(i32::try_from(ordinal).unwrap_or(i32::MAX), version)?;
        if !description.suffices() {
            let (major, minor) = description.capability;
            return Err(Error::new(format!(
                "GPU {ordinal} ({}) has compute capability {major}.{minor}; 8.0 (A100, RTX 30) is the oldest that works",
                description.name
            ))
            .hint("`sempair devices` lists the GPUs of this machine; `--device cpu` runs on the processor"));
        }
        library::open_compiler(folder)?;
        let (major, minor) = compile::version();
        description.compiler = Some(format!("{major}.{minor}"));
        let opened = || -> std::result::Result<_, DriverError> {
            // SAFETY: the device was returned by the driver; the context is released when the GPU is dropped.
            unsafe {
                let context = result::primary_ctx::retain(device)?;
                result::ctx::set_current(context)?;
                Ok((context, result::stream::create(result::stream::StreamKind::NonBlocking)?))
            }
        };
        let (context, stream) = opened().map_err(|error| {
            failed(&format!("cannot use GPU {ordinal} ({})", description.name), error)
                .hint("`nvidia-smi` shows what else uses it; `--device cpu` runs on the processor")
        })?;
        let (free, staging) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { description, device, context, stream, free, staging }))
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Makes the context current on this thread.
    fn enter(&self) {
        // SAFETY: the context lives as long as the GPU.
        self.done("cannot use the GPU", unsafe { result::ctx::set_current(self.context) });
    }

    /// The result of a call, which ends the computation if it is an error.
    fn done<T>(&self, what: &str, result: std::result::Result<T, DriverError>) -> T {
        result.unwrap_or_else(|error| {
            let what = format!("GPU {} ({}): {what}", self.description.ordinal, self.description.name);
            failed(&what, error)
                .hint("the same command goes on from the last checkpoint; `nvidia-smi` shows the GPU's state")
                .raise()
        })
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
        self.enter();
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
                let Description { ordinal, name, .. } = &self.description;
                Error::new(format!(
                    "GPU {ordinal} ({name}) has no memory for {} MiB more: {} of {} MiB are free",
                    mebibytes(bytes),
                    mebibytes(free),
                    mebibytes(total)
                ))
                .hint("`nvidia-smi` shows what else uses the GPU; then the same command goes on from the last checkpoint. A smaller batch needs less: `--set pretrain.batch=128`")
                .raise()
            }
            reserved => self.done("cannot reserve memory", reserved),
        }
    }

    /// Frees the memory of the free lists.
    fn release(&self) {
        self.synchronize();
        for at in std::mem::take(&mut *lock(&self.free)).into_values().flatten() {
            // SAFETY: it was reserved by `reserve`, is in no use, and no work is pending.
            unsafe { result::free_sync(at) }.ok();
        }
    }

    /// Waits until all work is done.
    pub fn synchronize(&self) {
        self.enter();
        // SAFETY: the stream lives as long as the GPU.
        self.done("the work failed", unsafe { result::stream::synchronize(self.stream) });
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
        self.enter();
        // SAFETY: the span has room for the values; the driver has read pageable memory when it returns.
        self.done("cannot copy to the GPU", unsafe { result::memcpy_htod_async(to.at, host, self.stream) });
    }

    /// Copies numbers to a span through page-locked memory, each converted by `convert`, without waiting for earlier
    /// work.
    pub fn stage<T: Copy + Send>(&self, to: Span, host: &[f32], convert: impl Fn(f32) -> T + Sync) {
        assert!((to.len, to.size) == (host.len(), size_of::<T>()), "stage: {} numbers to {to:?}", host.len());
        if host.is_empty() {
            return;
        }
        self.enter();
        let bytes = host.len() * size_of::<T>();
        let mut staging = lock(&self.staging);
        let index = staging.next;
        staging.next = 1 - index;
        let (at, _, event) = self.staging_buffer(&mut staging.buffers[index], bytes);
        // SAFETY: the buffer has room for the numbers, is aligned to pages, and the copy from it that came before is done.
        let room = unsafe { std::slice::from_raw_parts_mut(at.cast::<T>(), host.len()) };
        room.par_iter_mut().with_min_len(1 << 14).zip(host).for_each(|(to, &from)| *to = convert(from));
        // SAFETY: the span has room for the numbers, and the buffer is not written before the event has happened.
        self.done("cannot copy to the GPU", unsafe {
            result::memcpy_htod_async(to.at, room, self.stream).and_then(|()| result::event::record(event, self.stream))
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
            self.done("a copy failed", unsafe { result::event::synchronize(event) });
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
        *buffer.insert(self.done("cannot reserve page-locked memory", made))
    }

    /// Copies a span to host memory.
    pub(super) fn read<T: Copy + Default>(&self, from: Span) -> Vec<T> {
        assert!(from.size == size_of::<T>(), "read: {from:?}");
        let mut host = vec![T::default(); from.len];
        if !host.is_empty() {
            self.enter();
            // SAFETY: the span has as many elements; the stream is synchronised before the values are used.
            self.done("cannot copy from the GPU", unsafe {
                result::memcpy_dtoh_async(&mut host, from.at, self.stream)
            });
            self.synchronize();
        }
        host
    }

    /// Copies a span to another of the same size.
    pub fn copy(&self, to: Span, from: Span) {
        assert!((to.len, to.size) == (from.len, from.size), "copy: {from:?} to {to:?}");
        if to.len > 0 {
            self.enter();
            // SAFETY: both spans have as many bytes.
            let copied = unsafe { result::memcpy_dtod_async(to.at, from.at, from.bytes(), self.stream) };
            self.done("cannot copy", copied);
        }
    }

    /// Sets a span to zero.
    pub fn clear(&self, span: Span) {
        if span.len > 0 {
            self.enter();
            // SAFETY: the span has as many bytes.
            self.done("cannot clear memory", unsafe { result::memset_d8_async(span.at, 0, span.bytes(), self.stream) });
        }
    }

    /// Loads compiled kernels.
    pub(super) fn load(&self, image: &[u8]) -> Result<Module> {
        self.enter();
        // SAFETY: the image is machine code that NVRTC made.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        let module = module.map_err(|error| {
            failed("the driver cannot load the kernels", error)
                .hint("an NVRTC that is not newer than the driver is needed: `pip install nvidia-cuda-nvrtc-cu12` installs that of CUDA 12")
        })?;
        Ok(Module { module, functions: Mutex::default() })
    }

    /// Runs a kernel.
    ///
    /// # Panics
    /// When there is no such kernel, or its parameters have other sizes.
    pub(super) fn launch(
        &self,
        module: &Module,
        kernel: &'static str,
        blocks: [u64; 2],
        shared: usize,
        arguments: &[&dyn Argument],
    ) {
        self.enter();
        let function = lock(&module.functions).get(kernel).cloned();
        let Function { function, parameters } = function.unwrap_or_else(|| self.function(module, kernel));
        if let Some(parameters) = parameters {
            let given = arguments.iter().map(|argument| argument.bytes());
            assert!(given.eq(parameters.iter().copied()), "{kernel}: its parameters have {parameters:?} bytes");
        }
        let mut addresses: Vec<*mut c_void> = arguments.iter().map(|argument| argument.address()).collect();
        let [x, y] = blocks.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        // SAFETY: the arguments have the layout of the parameters, and callers check that the spans have the sizes that
        // the kernel reads and writes.
        let launched = unsafe {
            result::launch_kernel(
                function,
                (x, y, 1),
                (THREADS as u32, 1, 1),
                shared as u32,
                self.stream,
                &mut addresses,
            )
        };
        self.done(&format!("kernel {kernel} failed"), launched);
    }

    /// Finds a kernel, allows it its shared memory, and asks for the sizes of its parameters.
    fn function(&self, module: &Module, kernel: &'static str) -> Function {
        let name = CString::new(kernel).expect("names of kernels have no zero byte");
        // SAFETY: the module lives as long as its functions.
        let function = self.done(&format!("there is no kernel {kernel}"), unsafe {
            result::module::get_function(module.module, name)
        });
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        if kernel.starts_with("product_") {
            // SAFETY: the function was returned by the driver.
            let allowed = unsafe { result::function::set_function_attribute(function, attribute, 2 * SHARED as i32) };
            self.done("not enough shared memory", allowed);
        }
        let function = Function { function, parameters: self.parameters(function) };
        lock(&module.functions).insert(kernel, function.clone());
        function
    }

    fn parameters(&self, function: sys::CUfunction) -> Option<Arc<[usize]>> {
        let mut version = 0;
        // SAFETY: the driver writes the number.
        unsafe { sys::cuDriverGetVersion(&mut version) };
        if version < KNOWS_PARAMETERS {
            return None;
        }
        let size = |index| {
            let (mut offset, mut size) = (0, 0);
            // SAFETY: the function was returned by the driver, which writes the two numbers.
            let known = unsafe { sys::cuFuncGetParamInfo(function, index, &mut offset, &mut size) };
            (known == sys::CUresult::CUDA_SUCCESS).then_some(size)
        };
        Some((0..).map_while(size).collect())
    }
}

fn free_staging((at, _, event): (*mut u8, usize, sys::CUevent)) {
    // SAFETY: both were made by `staging_buffer`, and no copy is pending.
    unsafe {
        result::free_host(at.cast()).ok();
        result::event::destroy(event).ok();
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: nothing uses the GPU any more: memory and kernels hold a reference to it.
        unsafe {
            result::ctx::set_current(self.context).ok();
            result::stream::synchronize(self.stream).ok();
            for at in std::mem::take(&mut *lock(&self.free)).into_values().flatten() {
                result::free_sync(at).ok();
            }
            lock(&self.staging).buffers.iter_mut().filter_map(Option::take).for_each(free_staging);
            result::stream::destroy(self.stream).ok();
            result::primary_ctx::release(self.device).ok();
        }
    }
}

//! Kernels on a GPU: loading, arguments, launches.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::sync::{Arc, Mutex};

use cudarc::driver::{result, sys};

use crate::error::Result;

use super::THREADS;
use super::context::{driver_version, failed};
use super::gpu::{Gpu, Span, lock};

/// The driver that can tell the sizes of a kernel's parameters.
const KNOWS_PARAMETERS: i32 = 12_040;

/// Dynamic shared memory that a block may have without asking for more, in bytes.
const SHARED: usize = 48 << 10;

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

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kernels")
    }
}

impl Module {
    /// Loads compiled kernels.
    pub(super) fn load(gpu: &Gpu, image: &[u8]) -> Result<Self> {
        gpu.context.enter();
        // SAFETY: the image is machine code that NVRTC made.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        let module = module.map_err(|error| {
            failed("the driver cannot load the kernels", error)
                .hint("an NVRTC that is not newer than the driver is needed: `pip install nvidia-cuda-nvrtc-cu12` installs that of CUDA 12")
        })?;
        Ok(Self { module, functions: Mutex::default() })
    }

    /// Runs a kernel.
    ///
    /// # Panics
    /// When there is no such kernel, or its parameters have other sizes.
    pub(super) fn launch(
        &self,
        gpu: &Gpu,
        kernel: &'static str,
        blocks: [u64; 2],
        shared: usize,
        arguments: &[&dyn Argument],
    ) {
        gpu.context.enter();
        let function = lock(&self.functions).get(kernel).cloned();
        let Function { function, parameters } = function.unwrap_or_else(|| self.function(gpu, kernel, shared));
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
                gpu.context.stream,
                &mut addresses,
            )
        };
        launched.unwrap_or_else(|error| gpu.context.raise(&format!("kernel {kernel} failed"), error));
    }

    /// Finds a kernel, allows it its dynamic shared memory, which is the same in every launch, and asks for the sizes of its
    /// parameters.
    fn function(&self, gpu: &Gpu, kernel: &'static str, shared: usize) -> Function {
        let name = CString::new(kernel).expect("names of kernels have no zero byte");
        // SAFETY: the module lives as long as its functions.
        let function = gpu
            .context
            .done(&format!("there is no kernel {kernel}"), unsafe { result::module::get_function(self.module, name) });
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        if shared > SHARED {
            // SAFETY: the function was returned by the driver.
            let allowed = unsafe { result::function::set_function_attribute(function, attribute, shared as i32) };
            gpu.context.done("not enough shared memory", allowed);
        }
        let function = Function { function, parameters: parameters(function) };
        lock(&self.functions).insert(kernel, function.clone());
        function
    }
}

/// The sizes of a kernel's parameters, if the driver tells them.
fn parameters(function: sys::CUfunction) -> Option<Arc<[usize]>> {
    if driver_version() < KNOWS_PARAMETERS {
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

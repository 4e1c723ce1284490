//! An open GPU as the driver knows it: which there are, what they are, and the errors of its calls.

use std::path::Path;

use cudarc::driver::{DriverError, result, sys};

use crate::error::{Error, Result};

use super::{compile, library};

/// The oldest driver whose functions are known to suffice, as the driver counts: 12.0.
const OLDEST_DRIVER: i32 = 12_000;

/// The oldest compute capability: that of the A100, the first with bf16 and asynchronous copies.
const OLDEST_CAPABILITY: (i32, i32) = (8, 0);

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

/// An open GPU with a stream of work, and a stream of copies that run beside it.
pub(super) struct Context {
    pub(super) description: Description,
    device: sys::CUdevice,
    context: sys::CUcontext,
    pub(super) stream: sys::CUstream,
    pub(super) copies: sys::CUstream,
}

// SAFETY: the driver's handles may be used from any thread on which the context is current; `enter` makes it so.
unsafe impl Send for Context {}
// SAFETY: as above; the driver synchronises its own state.
unsafe impl Sync for Context {}

/// The error of a call of the driver.
pub(super) fn failed(what: &str, error: DriverError) -> Error {
    let text = |text: Result<&std::ffi::CStr, DriverError>| text.map(|text| text.to_string_lossy().into_owned()).ok();
    let (name, meaning) = (text(error.error_name()), text(error.error_string()));
    let name = name.unwrap_or_else(|| format!("error {}", error.0 as u32));
    let meaning = meaning.filter(|meaning| *meaning != name).map_or(String::new(), |meaning| format!(" ({meaning})"));
    Error::new(format!("{what}: {name}{meaning}"))
}

/// The newest version of CUDA that the driver supports, such as 12080.
pub(super) fn driver_version() -> i32 {
    let mut version = 0;
    // SAFETY: the driver writes the number.
    unsafe { sys::cuDriverGetVersion(&mut version) };
    version
}

/// Opens the driver.
fn start(folder: Option<&Path>) -> Result<i32> {
    library::open_driver(folder)?;
    let version = driver_version();
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

impl Context {
    /// Opens a GPU. `folder` is where the libraries are, if they are not in a usual place.
    ///
    /// # Errors
    /// When there is no driver, compiler or such GPU, or it is too old.
    pub(super) fn open(ordinal: usize, folder: Option<&Path>) -> Result<Self> {
        let version = start(folder)?;
        let (device, mut description) = describe(i32::try_from(ordinal).unwrap_or(i32::MAX), version)?;
        if description.capability < OLDEST_CAPABILITY {
            let (major, minor) = description.capability;
            return Err(Error::new(format!(
                "GPU {ordinal} ({}) has compute capability {major}.{minor}; 8.0 (A100, RTX 30) is the oldest that works",
                description.name
            ))
            .hint("`sempair devices` lists the GPUs of this machine; `--device cpu` runs on the processor"));
        }
        library::open_compiler(folder, version)?;
        let (major, minor) = compile::version();
        description.compiler = Some(format!("{major}.{minor}"));
        let opened = || -> std::result::Result<_, DriverError> {
            // SAFETY: the device was returned by the driver; the context is released when the GPU is dropped.
            unsafe {
                let context = result::primary_ctx::retain(device)?;
                result::ctx::set_current(context)?;
                let stream = || result::stream::create(result::stream::StreamKind::NonBlocking);
                Ok((context, stream()?, stream()?))
            }
        };
        let (context, stream, copies) = opened().map_err(|error| {
            failed(&format!("cannot use GPU {ordinal} ({})", description.name), error)
                .hint("`nvidia-smi` shows what else uses it; `--device cpu` runs on the processor")
        })?;
        Ok(Self { description, device, context, stream, copies })
    }

    /// Makes the context current on this thread.
    pub(super) fn enter(&self) {
        // SAFETY: the context lives as long as the GPU.
        self.done("cannot use the GPU", unsafe { result::ctx::set_current(self.context) });
    }

    /// The same in a destructor: a GPU that fails then has failed before.
    pub(super) fn enter_to_drop(&self) {
        // SAFETY: as in `enter`.
        unsafe { result::ctx::set_current(self.context) }.ok();
    }

    /// The result of a call, which ends the computation if it is an error.
    pub(super) fn done<T>(&self, what: &str, result: std::result::Result<T, DriverError>) -> T {
        result.unwrap_or_else(|error| self.raise(what, error))
    }

    /// Ends the computation with the error of a call.
    pub(super) fn raise(&self, what: &str, error: DriverError) -> ! {
        let Description { ordinal, name, .. } = &self.description;
        failed(&format!("GPU {ordinal} ({name}): {what}"), error)
            .hint("the same command goes on from the last checkpoint; `nvidia-smi` shows the GPU's state")
            .raise()
    }

    /// Waits until all work is done.
    pub(super) fn synchronize(&self) {
        self.enter();
        // SAFETY: the stream lives as long as the GPU.
        self.done("the work failed", unsafe { result::stream::synchronize(self.stream) });
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: nothing uses the GPU any more: memory and kernels hold a reference to it.
        unsafe {
            result::ctx::set_current(self.context).ok();
            result::stream::destroy(self.stream).ok();
            result::stream::destroy(self.copies).ok();
            result::primary_ctx::release(self.device).ok();
        }
    }
}

//! The device that settings ask for.

use std::path::Path;
use std::sync::Once;

use crate::console;
use crate::error::{Error, Result};
use crate::harness::provenance::Compute;
use crate::kernels::{cpu, cuda};
use crate::tensor::{AnyDevice, Cpu, Cuda, Precision};

use super::settings::{DeviceChoice, PrecisionChoice, Settings};

/// The folder of NVIDIA's libraries that the settings name, if they name one.
pub fn libraries(settings: &Settings) -> Option<&Path> {
    Some(settings.paths.cuda.as_str()).filter(|folder| !folder.is_empty()).map(Path::new)
}

/// Opens the device of the settings. With `auto`, the reason is given once if there is a driver and no GPU works.
///
/// # Errors
/// When a GPU is asked for and cannot be used.
pub fn open(settings: &Settings) -> Result<AnyDevice> {
    let on_cpu = || AnyDevice::Cpu(Cpu { precision: settings.precision.resolve() });
    match settings.device {
        DeviceChoice::Cpu => Ok(on_cpu()),
        DeviceChoice::Cuda(ordinal) => Ok(AnyDevice::Cuda(open_gpu(settings, ordinal)?)),
        DeviceChoice::Auto => {
            let worth_a_try = !UNUSABLE.is_completed() && cuda::has_driver(libraries(settings));
            let gpu = if worth_a_try { first_gpu(settings) } else { Ok(None) };
            Ok(gpu.unwrap_or_else(|error| fall_back(&error)).map_or_else(on_cpu, AnyDevice::Cuda))
        }
    }
}

/// The first GPU that works; `None` if there is none.
fn first_gpu(settings: &Settings) -> Result<Option<Cuda>> {
    let gpus = cuda::devices(libraries(settings))?;
    let mut opened = gpus.iter().map(|gpu| open_gpu(settings, gpu.ordinal));
    let Some(first) = opened.next() else { return Ok(None) };
    first.or_else(|error| opened.find_map(Result::ok).ok_or(error)).map(Some)
}

/// Completed when `auto` has found that no GPU works. It does not try again in this process.
static UNUSABLE: Once = Once::new();

/// Says, once per process, why `auto` does not use the GPU.
fn fall_back(error: &Error) -> Option<Cuda> {
    UNUSABLE.call_once(|| {
        console::talk(format_args!("the GPU is not used: {}; `sempair devices` tells more", error.what()))
    });
    None
}

/// Opens a GPU in the number format of the settings.
///
/// # Errors
/// When it cannot be used.
pub fn open_gpu(settings: &Settings, ordinal: usize) -> Result<Cuda> {
    let precision = match settings.precision {
        PrecisionChoice::F32 => Precision::F32,
        // Every GPU that works multiplies bf16.
        PrecisionChoice::Auto | PrecisionChoice::Bf16 => Precision::Bf16,
    };
    Cuda::open(ordinal, precision, libraries(settings), Path::new(&settings.paths.cache))
}

/// What is to be known about a GPU and does not decide results; empty for the processor.
pub fn gpu(device: &AnyDevice) -> String {
    match device {
        AnyDevice::Cpu(_) => String::new(),
        AnyDevice::Cuda(gpu) => {
            let cuda::Description { ordinal, name, memory, driver, .. } = gpu.description();
            format!("GPU {ordinal}, {name}, {} GiB, driver for CUDA {driver}", memory >> 30)
        }
    }
}

/// The device as keys and records name it: everything about it that decides results.
pub fn compute(device: &AnyDevice) -> Compute {
    let precision = device.precision().name().into();
    match device {
        AnyDevice::Cpu(_) => Compute { device: "cpu".into(), isa: cpu::isa().name().into(), precision },
        AnyDevice::Cuda(gpu) => {
            let cuda::Description { name, multiprocessors, capability: (major, minor), compiler, .. } =
                gpu.description();
            let compiler = compiler.as_deref().unwrap_or("?");
            let kernels = &cuda::source_hash()[..8];
            Compute {
                device: format!("cuda: {name}, {multiprocessors} multiprocessors"),
                // Losses, probes and neighbours are computed on the processor.
                isa: format!("sm_{major}{minor}, NVRTC {compiler}, kernels {kernels}, {}", cpu::isa().name()),
                precision,
            }
        }
    }
}

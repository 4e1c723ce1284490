//! `devices`: what can compute on this machine.

use serde_json::json;

use crate::error::{Error, Result};
use crate::kernels::cpu;
use crate::kernels::cuda::{self, Description};
use crate::study::device;

use super::setup::{self, print_json};
use super::{App, ConfigArgs, Ending};

/// `sempair devices`.
pub(super) fn devices(app: &App, args: &ConfigArgs, json: bool) -> Result<Ending> {
    let settings = setup::resolve(app, args)?.settings;
    let gpus = cuda::devices(device::libraries(&settings));
    // Opening a GPU shows whether its libraries are there and its kernels compile.
    let opened =
        |gpu: &Description| device::open_gpu(&settings, gpu.ordinal).map(|opened| opened.description().clone());
    let chosen = device::open(&settings).map(|device| device::compute(&device));
    if json {
        let problem = gpus.as_ref().err().map(Error::what);
        let list = gpus.as_deref().unwrap_or_default().iter().map(|gpu| facts(gpu, &opened(gpu)));
        print_json(&json!({
            "cpu": { "isa": cpu::isa().name(), "threads": rayon::current_num_threads() },
            "gpus": list.collect::<Vec<_>>(),
            "driver_problem": problem,
            "chosen": chosen.as_ref().ok(),
            "problem": chosen.as_ref().err().map(Error::what),
        }))?;
        return Ok(Ending::Done);
    }
    say!("cpu     {}, {} threads", cpu::isa().name(), rayon::current_num_threads());
    match &gpus {
        Ok(gpus) if gpus.is_empty() => say!("no GPU: the driver is there and finds none"),
        Ok(gpus) => gpus.iter().for_each(|gpu| print(gpu, &opened(gpu))),
        Err(error) => say!("{}", error.what()),
    }
    match chosen {
        Ok(chosen) => say!("the settings choose {} ({}, {})", chosen.device, chosen.isa, chosen.precision),
        Err(error) => say!("the settings choose a device that does not work: {error}"),
    }
    Ok(Ending::Done)
}

fn print(gpu: &Description, opened: &Result<Description>) {
    let Description { ordinal, name, capability: (major, minor), multiprocessors, memory, driver, .. } = gpu;
    say!(
        "cuda:{ordinal}  {name}, compute capability {major}.{minor}, {multiprocessors} multiprocessors, {} GiB, driver for \
         CUDA {driver}",
        memory >> 30
    );
    match opened {
        Ok(Description { compiler, .. }) => say!("        works, with NVRTC {}", compiler.as_deref().unwrap_or("?")),
        Err(error) => say!("        does not work: {error}"),
    }
}

fn facts(gpu: &Description, opened: &Result<Description>) -> serde_json::Value {
    let Description { ordinal, name, capability: (major, minor), multiprocessors, memory, driver, .. } = gpu;
    json!({
        "device": format!("cuda:{ordinal}"), "name": name, "capability": format!("{major}.{minor}"),
        "multiprocessors": multiprocessors, "memory_bytes": memory, "driver": driver,
        "compiler": opened.as_ref().ok().and_then(|opened| opened.compiler.clone()),
        "problem": opened.as_ref().err().map(Error::what),
    })
}

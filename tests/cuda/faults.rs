//! What is said when a GPU, its driver or its compiler is not there, too old, full, or fails: one error with a hint, exit
//! code 2, never a panic; and the checkpoint stays.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::stub;

/// Arguments for a training of a second on the simulator, before its first checkpoint.
const TRAINING: &[&str] = &[
    "pretrain",
    "--set",
    "device=cuda",
    "--set",
    "model.image=16",
    "--set",
    "world.size=16",
    "--set",
    "pairs.categories=2",
    "--set",
    "pairs.per_category=4",
    "--set",
    "pretrain.epochs=2",
    "--set",
    "pretrain.batch=4",
    "--set",
    "checkpoint_seconds=0",
    "--quiet",
];

/// A command in a folder of its own, with the stand-ins for NVIDIA's libraries.
fn command(folder: &TempDir, libraries: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sempair"));
    command.args(arguments).current_dir(folder.path()).env("SEMPAIR_PATHS__CUDA", libraries);
    command
}

fn error(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}{}", String::from_utf8_lossy(&output.stdout));
    assert!(text.contains("\n\nhint: ") && !text.contains("panic"), "{text}");
    text
}

#[test]
fn a_missing_driver_is_named_with_the_places_that_were_searched() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(&folder, Path::new("nowhere"), TRAINING).output().unwrap();
    // A machine with a GPU has a driver, and then another file is missing, or nothing.
    if output.status.success() {
        return;
    }
    let text = error(&output);
    assert!(text.starts_with("error: no NVIDIA driver: libcuda.so.1 is not in") && text.contains("nowhere"), "{text}");
    assert!(text.contains("hint: `--device cpu` runs on the processor"), "{text}");
}

#[test]
fn a_missing_compiler_is_named_with_the_command_that_installs_it() {
    let Some(libraries) = stub() else { return };
    let folder = tempfile::tempdir().unwrap();
    let without = folder.path().join("driver");
    std::fs::create_dir(&without).unwrap();
    std::fs::copy(libraries.join("libcuda.so.1"), without.join("libcuda.so.1")).unwrap();
    let output = command(&folder, &without, TRAINING).output().unwrap();
    if output.status.success() {
        return; // the machine has an NVRTC of its own
    }
    let text = error(&output);
    // An NVRTC of the machine makes code that the stand-in for the driver refuses.
    let missing = text.contains("no NVRTC") && text.contains("`pip install nvidia-cuda-nvrtc`");
    assert!(missing || text.contains("cannot load the kernels"), "{text}");
}

#[test]
fn unfit_gpus_and_drivers_are_refused() {
    let Some(libraries) = stub() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (Some(("SIM_DRIVER", "11040")), "cuda", "the NVIDIA driver supports CUDA 11.4; 12.0 is the oldest that works"),
        (Some(("SIM_CAPABILITY", "7.5")), "cuda", "has compute capability 7.5; 8.0 (A100, RTX 30) is the oldest"),
        (Some(("SIM_DEVICES", "0")), "cuda", "the NVIDIA driver does not start: SIMULATED_ERROR_100"),
        (None, "cuda:3", "cannot open GPU 3: SIMULATED_ERROR_101"),
        (None, "gpu", "`gpu` is no device: auto, cpu, cuda or cuda:1"),
    ];
    for (environment, device, expected) in cases {
        let set = format!("device={device}");
        let arguments = [TRAINING, &["--set", &set]].concat();
        let output = command(&folder, libraries, &arguments).envs(environment).output().unwrap();
        let text = error(&output);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn an_unfit_gpu_is_not_used_by_auto_and_named_once() {
    let Some(libraries) = stub() else { return };
    let folder = tempfile::tempdir().unwrap();
    let arguments = [TRAINING, &["--set", "device=auto"]].concat();
    let output = command(&folder, libraries, &arguments).env("SIM_CAPABILITY", "7.5").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(
        text.matches("the GPU is not used: GPU 0 (simulated GPU) has compute capability 7.5").count(),
        1,
        "{text}"
    );
}

#[test]
fn devices_are_listed() {
    let Some(libraries) = stub() else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = command(&folder, libraries, &["devices"]).env("SIM_DEVICES", "2").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("cuda:1  simulated GPU, compute capability 9.0, 132 multiprocessors, 8 GiB"), "{text}");
    assert_eq!(text.matches("works, with NVRTC 13.0").count(), 2, "{text}");
    assert!(text.contains("the settings choose cuda: simulated GPU, 132 multiprocessors (sm_90, "), "{text}");
}

#[test]
fn a_fault_in_a_training_is_an_error_and_keeps_the_checkpoint() {
    let Some(libraries) = stub() else { return };
    let folder = tempfile::tempdir().unwrap();
    let whole = command(&folder, libraries, TRAINING).output().unwrap();
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    let run = |folder: &TempDir| {
        let output = command(folder, libraries, &["runs", "--json"]).output().unwrap();
        let runs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        runs.as_array().unwrap().last().unwrap().clone()
    };
    let expected = run(&folder);
    assert!(expected["compute"]["device"] == "cuda: simulated GPU, 132 multiprocessors", "{expected}");
    let code = expected["code"].as_object().unwrap();
    assert!(code.keys().any(|module| module == "tensor::cuda"), "{code:?}");
    assert!(expected["host"]["gpu"].as_str().unwrap().contains("driver for CUDA 13.0"), "{expected}");
    let full = "GPU 0 (simulated GPU) has no memory for";
    let faults = [("memory", full), ("allocation:40", full), ("launch:300", "kernel "), ("lost:420", "kernel ")];
    for (fault, expected_text) in faults {
        let folder = tempfile::tempdir().unwrap();
        let mut failing = command(&folder, libraries, TRAINING);
        match fault {
            "memory" => failing.env("SIM_MEMORY", "3000000"),
            _ => failing.env("SIM_FAIL", fault),
        };
        let output = failing.output().unwrap();
        let text = error(&output);
        assert!(text.contains(expected_text), "{fault}: {text}");
        assert_eq!(run(&folder)["status"], "failed", "{fault}");
        // The same command goes on, and ends with the same bits.
        let again = command(&folder, libraries, TRAINING).output().unwrap();
        assert!(again.status.success(), "{fault}: {}", String::from_utf8_lossy(&again.stderr));
        assert_eq!(run(&folder)["checkpoint"], expected["checkpoint"], "{fault}");
    }
}

#[test]
fn a_profile_times_the_work_of_the_gpu() {
    let Some(libraries) = stub() else { return };
    let folder = tempfile::tempdir().unwrap();
    let step = "bench step --model resnet-small --image 16 --pairs 2 --steps 1 --device cuda --profile sizes";
    let arguments: Vec<&str> = step.split(' ').collect();
    let output =
        command(&folder, libraries, &arguments).env("SEMPAIR_PATHS__CACHE", env!("CARGO_TARGET_TMPDIR")).output();
    let output = output.unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("bf16, sm_90, ") && text.contains("simulated GPU"), "{text}");
    for kind in ["convolution 3x3 forward, 32 to 32, 8x8 ", "loss", "optimiser", "batch norm backward", "peaks: "] {
        assert!(text.lines().any(|line| line.starts_with(kind)), "{kind}: {text}");
    }
    let old = command(&folder, libraries, &arguments).env("SIM_DRIVER", "12060").output().unwrap();
    let text = error(&old);
    assert!(text.contains("the driver is for CUDA 12.6; times on the GPU need 12.8"), "{text}");
}

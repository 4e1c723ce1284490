//! The GPU without a GPU: kernels run on a simulator, through a stand-in for NVIDIA's driver and compiler. Both are
//! compiled with g++ from `tests/cuda`; where there is no g++ on x86-64, these tests say so and end.

#![expect(clippy::disallowed_methods, reason = "g++ and this test binary are other programs")]

mod faults; // missing libraries, unfit GPUs, faults in a training
mod losses; // losses that the GPU computes
mod methods; // every method of the device against the CPU's, over random shapes
mod steps; // whole training steps against the CPU's
mod uploads; // copies to the GPU

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sempair::tensor::{Cuda, Precision};

/// The orders in which a simulated block runs its threads, and when its asynchronous copies happen.
const SCHEDULES: [(&str, &str); 5] =
    [("reverse", "late"), ("random", "early"), ("deep", "late"), ("deep-reverse", "early"), ("random", "late")];

/// The folder with the stand-ins for libcuda and libnvrtc, which are compiled once; `None` where they cannot be.
fn stub() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(build_stub).as_deref()
}

fn build_stub() -> Option<PathBuf> {
    let there = Command::new("g++").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there || !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("skipped: the simulator of the GPU needs g++ on x86-64 Linux");
        return None;
    }
    let (source, header) = (include_str!("cuda/stub.cpp"), include_str!("cuda/sim.h"));
    let hash = blake3::hash(format!("{source}{header}").as_bytes()).to_hex();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cuda-{}", &hash[..16]));
    if folder.is_dir() {
        return Some(folder);
    }
    // Other processes may build it at the same time: the first that is done wins.
    let building = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(building.path().join("sim.h"), header).unwrap();
    fs::write(building.path().join("stub.cpp"), source).unwrap();
    // With the names that are asked for first, so that the stand-ins serve where there are real libraries, too.
    for (name, soname) in [("libcuda.so.1", "libcuda.so"), ("libnvrtc.so.13", "libnvrtc.so")] {
        let mut compiler = Command::new("g++");
        compiler.args([
            "-std=c++17",
            "-O1",
            "-fPIC",
            "-shared",
            "-fvisibility=hidden",
            "-pthread",
            "stub.cpp",
            "-ldl",
            "-o",
            name,
        ]);
        let built = compiler.arg(format!("-Wl,-soname,{soname}")).current_dir(building.path()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }
    if fs::rename(building.path(), &folder).is_ok() {
        let _ = building.keep();
    }
    Some(folder)
}

/// Whether the tests run on a real GPU, as `tests/gpu.sh` does.
fn is_real() -> bool {
    std::env::var_os("SEMPAIR_REAL_GPU").is_some()
}

/// The simulated GPU, or the real one; `None` where there is no simulator.
fn gpu(precision: Precision) -> Option<Cuda> {
    if is_real() {
        let libraries = std::env::var_os("SEMPAIR_PATHS__CUDA").map(PathBuf::from);
        return Some(Cuda::open(0, precision, libraries.as_deref(), &std::env::temp_dir()).unwrap());
    }
    let libraries = stub()?;
    // Kernels with a planted mistake are not kept.
    let planted = std::env::var_os("SIM_PATTERN").map(|_| tempfile::tempdir().unwrap());
    let cache = planted.as_ref().map_or(Path::new(env!("CARGO_TARGET_TMPDIR")), |folder| folder.path());
    Some(Cuda::open(0, precision, Some(libraries), cache).unwrap())
}

/// Runs the tests of this binary with a name again, under every schedule.
fn under_every_schedule(tests: &str) {
    if is_real() || stub().is_none() {
        return;
    }
    for (order, copies) in SCHEDULES {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([tests, "--test-threads=2"]).env("SIM_ORDER", order).env("SIM_ASYNC", copies);
        let output = again.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{order}, {copies}: {text}");
        assert!(!text.contains("running 0 tests"), "{text}");
    }
}

#[test]
fn kernels_are_right_in_any_order_of_threads() {
    under_every_schedule("cuda::methods::");
}

#[test]
fn losses_are_right_in_any_order_of_threads() {
    under_every_schedule("cuda::losses::");
}

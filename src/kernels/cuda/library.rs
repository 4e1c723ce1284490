//! Finds NVIDIA's driver and NVRTC on this machine and opens them by their path. `cudarc` then finds them by their name,
//! without LD_LIBRARY_PATH; a library of that name in the system's path is used before one that was opened here.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cudarc::{driver, nvrtc};
use libloading::Library;

use crate::error::{Error, Result};

/// Folders of libraries on the usual systems.
const SYSTEM: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/cuda/compat",
    "/opt/cuda/lib64",
];

/// Where a Python environment keeps NVRTC, in its `site-packages`: wheels for CUDA 13, and for CUDA 12.
const IN_PACKAGES: &[&str] = &["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"];

/// File names, best first.
const DRIVER: &[&str] = &["libcuda.so.1", "libcuda.so"];
const NVRTC: &[&str] = &["libnvrtc.so.13", "libnvrtc.so.12"];

/// Whether there is a driver.
pub fn has_driver(folder: Option<&Path>) -> bool {
    open_driver(folder).is_ok()
}

/// Opens the driver.
///
/// # Errors
/// When there is none; the error names the places.
pub(super) fn open_driver(folder: Option<&Path>) -> Result<()> {
    static OPENED: OnceLock<bool> = OnceLock::new();
    let folders: Vec<PathBuf> =
        folder.into_iter().map(Path::to_owned).chain(SYSTEM.iter().map(PathBuf::from)).collect();
    let found = *OPENED.get_or_init(|| {
        preload(&folders, DRIVER);
        // SAFETY: the driver's own library, whose initialisers may run at any time.
        unsafe { driver::sys::is_culib_present() }
    });
    if found {
        return Ok(());
    }
    Err(Error::new(format!(
        "no NVIDIA driver: {} is not in the system's library path nor in {}",
        DRIVER[0],
        list(&folders)
    ))
    .hint("`--device cpu` runs on the processor; a GPU needs NVIDIA's driver, which `nvidia-smi` shows"))
}

/// Opens NVRTC, that of the driver's version (as the driver counts) if both are there.
///
/// # Errors
/// When there is none; the error names the places.
pub(super) fn open_compiler(folder: Option<&Path>, driver: i32) -> Result<()> {
    static OPENED: OnceLock<bool> = OnceLock::new();
    let folders: Vec<PathBuf> = folder.into_iter().map(Path::to_owned).chain(compiler_folders()).collect();
    let found = *OPENED.get_or_init(|| {
        // Code of a newer NVRTC than the driver's CUDA may not load.
        let names: Vec<&str> = if driver < 13_000 { NVRTC.iter().rev().copied().collect() } else { NVRTC.to_vec() };
        preload(&folders, &names);
        // SAFETY: NVRTC's own library, whose initialisers may run at any time.
        unsafe { nvrtc::sys::is_culib_present() }
    });
    if found {
        return Ok(());
    }
    let names = NVRTC.join(" nor ");
    Err(Error::new(format!("no NVRTC, NVIDIA's compiler: neither {names} is in the system's library path nor in {}", list(&folders)))
        .hint("`pip install nvidia-cuda-nvrtc` installs it; in another environment, `--set paths.cuda=FOLDER` names its folder"))
}

/// Opens the first of the files that is in one of the folders, and everything next to it that it opens by name. It stays
/// open.
fn preload(folders: &[PathBuf], names: &[&str]) {
    let paths = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    for path in paths.filter(|path| path.is_file()) {
        for builtins in builtins_next_to(&path) {
            open(&builtins);
        }
        if open(&path) {
            return;
        }
    }
}

fn open(path: &PathBuf) -> bool {
    // SAFETY: a library of NVIDIA, whose initialisers may run at any time.
    unsafe { Library::new(path) }.map(std::mem::forget).is_ok()
}

/// NVRTC opens this library by its name while it compiles.
fn builtins_next_to(path: &Path) -> Vec<PathBuf> {
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let is_nvrtc = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc"));
    let is_builtins = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc-builtins.so"))
    };
    paths.filter(|path| is_nvrtc && is_builtins(path)).collect()
}

/// Where NVRTC may be: Python environments, toolkits, the system.
fn compiler_folders() -> Vec<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where this machine keeps its libraries; no result depends on it")]
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable);
    let user = variable("HOME").map(|home| home.join(".local"));
    let environments = environments.chain([".venv".into(), "venv".into()]).chain(user);
    let environments = environments.chain(["/usr/local".into(), "/usr".into()]);
    let packages = environments.flat_map(|environment| packages_of(&environment));
    let wheels = packages.flat_map(|packages| IN_PACKAGES.iter().map(move |place| packages.join(place)));
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable).chain(["/usr/local/cuda".into()]);
    let toolkits = toolkits.flat_map(|toolkit| [toolkit.join("lib64"), toolkit.join("targets/x86_64-linux/lib")]);
    wheels.chain(toolkits).chain(SYSTEM.iter().map(PathBuf::from)).collect()
}

/// The folders of packages of a Python environment: `lib/python3.*/site-packages`, or Debian's `dist-packages`.
fn packages_of(environment: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(environment.join("lib")) else { return Vec::new() };
    let mut pythons: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    pythons.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")));
    pythons.sort();
    pythons.iter().flat_map(|python| [python.join("site-packages"), python.join("dist-packages")]).collect()
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

//! Tells the program what it was built from: `BUILD_CODE` is the hash of everything in the sources that can change a
//! result. Sources of pages, messages and records are left out, so that a new sentence does not invalidate a result.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to a build script through the environment")]

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Files and folders whose content decides results.
const SOURCES: [&str; 14] = [
    "src/error.rs",
    "src/rng.rs",
    "src/kernels",
    "src/tensor",
    "src/nn",
    "src/models",
    "src/optim",
    "src/data",
    "src/methods",
    "src/eval",
    "src/train",
    "experiments",
    "Cargo.lock",
    "build.rs",
];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let rustc = rustc_version();
    let target = env::var("TARGET").unwrap_or_default();

    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        collect(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut code = blake3::Hasher::new();
    for file in &files {
        let name = file.strip_prefix(&root).expect("sources lie below the root");
        add(&mut code, name.to_string_lossy().replace('\\', "/").as_bytes());
        add(&mut code, &fs::read(file)?);
    }
    add(&mut code, rustc.as_bytes());
    add(&mut code, target.as_bytes());

    let lock = fs::read(root.join("Cargo.lock"))?;
    println!("cargo:rustc-env=BUILD_CODE={}", code.finalize());
    println!("cargo:rustc-env=BUILD_LOCK_HASH={}", blake3::hash(&lock));
    println!("cargo:rustc-env=BUILD_RUSTC={rustc}");
    println!("cargo:rustc-env=BUILD_TARGET={target}");
    println!("cargo:rustc-env=BUILD_PROFILE={}", env::var("PROFILE").unwrap_or_default());
    Ok(())
}

/// Every file at or below `path`. Settings (`.toml`) are in each cell's inputs by value, so they are not code.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.is_file() && path.extension().is_none_or(|extension| extension != "toml") {
        files.push(path.to_path_buf());
    }
    Ok(())
}

/// The length goes first, so that no two lists of parts hash alike.
fn add(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn rustc_version() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

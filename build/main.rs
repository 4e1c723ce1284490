//! Records in the program what it was built from: which modules of `src` use which others and the hash of each, from
//! which the code version of a stage is computed (`harness::code`); the lock file, the compiler, the target.

#![expect(clippy::disallowed_methods, reason = "cargo passes values to a build script through the environment")]

mod graph;
mod tokens;
#[path = "../src/harness/tree_hash.rs"]
mod tree_hash;

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?);
    for source in tree_hash::SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    let crates = graph::crates(&root)?;
    let modules = graph::modules(&root.join("src"), &crates.keys().cloned().collect())?;
    let text = graph::text(&modules, &crates);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("code.tsv"), &text)?;

    let lock = fs::read(root.join("Cargo.lock"))?;
    let flags = code_flags(&env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default());
    println!("cargo:rustc-env=BUILD_SOURCES={}", tree_hash::hash(&root)?);
    println!("cargo:rustc-env=BUILD_CODE={}", blake3::hash(text.as_bytes()));
    println!("cargo:rustc-env=BUILD_LOCK_HASH={}", blake3::hash(&lock));
    println!("cargo:rustc-env=BUILD_RUSTC={}", rustc_version());
    println!("cargo:rustc-env=BUILD_RUSTFLAGS={flags}");
    println!("cargo:rustc-env=BUILD_TARGET={}", env::var("TARGET").unwrap_or_default());
    println!("cargo:rustc-env=BUILD_PROFILE={}", profile(&out));
    Ok(())
}

/// The name of the Cargo profile. `PROFILE` has only that of the profile that it inherits from, but the output folder is
/// `target/[TARGET/]PROFILE/build/sempair-HASH/out`.
fn profile(out: &Path) -> String {
    let folder = out.ancestors().nth(3).and_then(Path::file_name);
    folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The compiler's flags that may change the arithmetic of the same code, such as `target-cpu=native`.
fn code_flags(encoded: &str) -> String {
    let decides = |flag: &&str| ["target-cpu", "target-feature", "llvm-args"].iter().any(|name| flag.contains(name));
    encoded.split('\x1f').filter(decides).collect::<Vec<_>>().join(" ")
}

fn rustc_version() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

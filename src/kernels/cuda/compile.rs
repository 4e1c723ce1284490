//! Compiles the kernels with NVRTC to machine code for one architecture, and keeps it: the first start takes some
//! seconds, later ones none.

use std::ffi::{CStr, CString, c_char};
use std::path::Path;

use cudarc::nvrtc::{result, sys};

use crate::error::{Error, Result};
use crate::files;

use super::Format;

/// The kernels, in an order in which each name is known before it is used.
const SOURCES: &[&str] = &[
    include_str!("source/prims.cuh"),
    include_str!("source/product.cu"),
    include_str!("source/norm.cu"),
    include_str!("source/elementwise.cu"),
    include_str!("source/attention.cu"),
    include_str!("source/pool.cu"),
    include_str!("source/update.cu"),
    include_str!("source/loss.cu"),
    include_str!("source/contrast.cu"),
    include_str!("source/peak.cu"),
];

/// Bytes of a BLAKE3 hash, which stands before the code in a file.
const HASH: usize = 32;

/// Returns the machine code of all kernels in this format for the GPU with this name and compute capability, from the
/// folder `cache` if it is there and whole.
pub(super) fn image(gpu: &str, (major, minor): (i32, i32), format: Format, cache: &Path) -> Result<Vec<u8>> {
    let mut options = vec![format!("--gpu-architecture=sm_{major}{minor}"), "--std=c++17".to_owned()];
    if format == Format::Bf16 {
        options.push("-DBF16".into());
    }
    let version = version();
    let key = blake3::hash(format!("{version:?} {options:?} {}", SOURCES.concat()).as_bytes()).to_hex();
    let path = cache.join("cuda").join(format!("{key}.cubin"));
    if let Some(image) = kept(&path) {
        return Ok(image);
    }
    let image = compile(&options).map_err(|log| not_compiled(gpu, (major, minor), version, &log))?;
    let bytes = [blake3::hash(&image).as_bytes().as_slice(), &image].concat();
    files::write_whole(&path, &bytes)?;
    Ok(image)
}

/// The hash of all sources without their comments and spaces, on which results depend.
pub fn source_hash() -> String {
    let code = |line: &'static str| line.split("//").next().unwrap_or_default().split_whitespace();
    let words: Vec<&str> = SOURCES.iter().flat_map(|source| source.lines()).flat_map(code).collect();
    blake3::hash(words.join(" ").as_bytes()).to_hex().to_string()
}

/// The code in a file, if it is as it was written.
fn kept(path: &Path) -> Option<Vec<u8>> {
    files::plain(path).ok()?;
    let mut bytes = std::fs::read(path).ok().filter(|bytes| bytes.len() > HASH)?;
    let image = bytes.split_off(HASH);
    (blake3::hash(&image).as_bytes()[..] == bytes[..]).then_some(image)
}

/// NVRTC's version.
pub(super) fn version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: NVRTC writes the two numbers.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    (major, minor)
}

/// Compiles all sources; the error is NVRTC's log.
fn compile(options: &[String]) -> std::result::Result<Vec<u8>, String> {
    let source = CString::new(SOURCES.concat()).expect("sources have no zero byte");
    let program = result::create_program(&source, Some(c"sempair.cu")).map_err(|error| error.to_string())?;
    // SAFETY: the program was created above and is destroyed below; its size is asked for before its code is written.
    unsafe {
        let compiled = result::compile_program(program, options).and_then(|()| {
            let mut bytes = 0;
            sys::nvrtcGetCUBINSize(program, &mut bytes).result()?;
            let mut image = vec![0u8; bytes];
            sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast::<c_char>()).result()?;
            Ok(image)
        });
        let compiled = compiled.map_err(|error| {
            let log = result::get_program_log(program).unwrap_or_default();
            let log: Vec<u8> = log.iter().map(|&c| c.cast_unsigned()).chain([0]).collect();
            let log = CStr::from_bytes_until_nul(&log).map(CStr::to_string_lossy).unwrap_or_default().into_owned();
            if log.trim().is_empty() { error.to_string() } else { log }
        });
        result::destroy_program(program).ok();
        compiled
    }
}

fn not_compiled(gpu: &str, capability: (i32, i32), (major, minor): (i32, i32), log: &str) -> Error {
    let first = log.lines().find(|line| line.contains("error")).unwrap_or(log).trim();
    Error::new(format!(
        "NVRTC {major}.{minor} cannot compile the kernels for {gpu} (compute capability {}.{}): {first}",
        capability.0, capability.1
    ))
    .hint("`pip install --upgrade nvidia-cuda-nvrtc` installs the newest NVRTC; `--device cpu` runs on the processor")
}

//! The origin of a run besides its commit (`git`): the build, the machine, and what computes.

use crate::files;
use crate::harness::redact;
use crate::harness::tree_hash;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// What the program was built from. Part of the record's format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The program's version, such as `0.1.0`.
    pub version: String,
    /// BLAKE3 of the sources' tokens and of the crates' versions (see `build/`). The code that decides a result is in
    /// `code` of the record itself; in records without it, only this hash is known.
    pub code: String,
    /// The compiler, as `rustc --version` prints it.
    pub rustc: String,
    /// The target triple, such as `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// `release` or `debug`.
    pub profile: String,
    /// The compiler's flags that may change arithmetic, such as `-Ctarget-cpu=native`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rustflags: String,
    /// BLAKE3 of `Cargo.lock`.
    pub lock_hash: String,
    /// BLAKE3 of the running program.
    pub binary_hash: Option<String>,
    /// Whether the library's sources around the current folder are other than those that the program was built from.
    /// `None` if there are no sources of this program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_stale: Option<bool>,
}

impl Build {
    /// The build of this program. The binary is read once per process.
    pub fn current() -> Self {
        static BINARY: LazyLock<Option<String>> = LazyLock::new(|| {
            // This link leads to the running program, even if the file at its path was replaced since.
            let link = Path::new("/proc/self/exe");
            let path = if link.exists() { link.to_path_buf() } else { std::env::current_exe().ok()? };
            files::hash(&path).ok()
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            code: env!("BUILD_CODE").to_owned(),
            rustc: env!("BUILD_RUSTC").to_owned(),
            target: env!("BUILD_TARGET").to_owned(),
            profile: env!("BUILD_PROFILE").to_owned(),
            rustflags: env!("BUILD_RUSTFLAGS").to_owned(),
            lock_hash: env!("BUILD_LOCK_HASH").to_owned(),
            binary_hash: BINARY.clone(),
            is_stale: None,
        }
    }

    /// As [`Build::current`], compared with the sources in `folder` or above it.
    pub fn beside_sources(folder: &Path) -> Self {
        let is_root = |folder: &&Path| {
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
            manifest.contains(concat!("name = \"", env!("CARGO_PKG_NAME"), "\"")) && folder.join("src").is_dir()
        };
        let absolute = std::path::absolute(folder).unwrap_or_default();
        let hash = absolute.ancestors().find(is_root).and_then(|root| tree_hash::hash(root).ok());
        let is_stale = hash.map(|hash| hash != env!("BUILD_SOURCES"));
        Self { is_stale, ..Self::current() }
    }
}

/// The machine. Part of the record's format. Values that the system does not report are empty or 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The machine's name, as the kernel reports it.
    pub hostname: String,
    /// The distribution and the kernel, such as `Debian GNU/Linux 12 (bookworm), kernel 6.1.0`.
    pub os: String,
    /// The processor's model name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The machine's memory in GiB, rounded to one decimal.
    pub memory_gib: f64,
    /// Threads of the process, shared by runs at the same time; the record has those of the run.
    pub threads: usize,
    /// The GPU that computed, with its memory and driver; empty if none did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gpu: String,
}

/// The environment variables that can change what a program does or how fast, without secrets. Others are not recorded:
/// an environment is full of names and tokens that have nothing to do with a run.
#[expect(clippy::disallowed_methods, reason = "recorded only; no result depends on it")]
pub fn environment() -> BTreeMap<String, String> {
    const PREFIXES: [&str; 9] = ["SEMPAIR_", "RAYON_", "RUST", "CUDA_", "NVIDIA_", "LD_", "MALLOC_", "GLIBC_", "OMP_"];
    const NAMES: [&str; 6] = ["LANG", "LC_ALL", "TZ", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_CPUS_PER_TASK"];
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let chosen = variables
        .filter(|(name, _)| NAMES.contains(&&**name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let shown = chosen.map(|(name, value)| {
        let value = redact::value(&name, &value.to_string_lossy().into_owned().into());
        (name, value.as_str().unwrap_or_default().to_owned())
    });
    shown.collect()
}

/// The largest memory that this process has held, in bytes; `None` if the system does not report it.
pub fn peak_memory() -> Option<u64> {
    bytes("/proc/self/status", "VmHWM")
}

/// The memory that this process holds now, in bytes; `None` if the system does not report it.
pub fn held_memory() -> Option<u64> {
    bytes("/proc/self/status", "VmRSS")
}

/// The further memory that this process may take, in bytes: the least of what the machine has left and what the
/// limits of the process (`ulimit -v`) and of its control group leave. `None` if the system does not report it.
pub fn free_memory() -> Option<u64> {
    let machine = bytes("/proc/meminfo", "MemAvailable")?;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let space =
        limits.lines().find_map(|line| line.strip_prefix("Max address space")?.split_whitespace().next()?.parse().ok());
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = group.into_iter().find_map(|path| line(path).parse().ok());
    let left = |limit: Option<u64>, taken: &str| Some(limit?.saturating_sub(bytes("/proc/self/status", taken)?));
    [left(space, "VmSize"), left(group, "VmRSS")].into_iter().flatten().chain([machine]).min()
}

/// The value of a line such as `VmRSS: 12 kB`, in bytes.
fn bytes(path: &str, name: &str) -> Option<u64> {
    let kib: u64 = field(path, name).split(' ').next()?.parse().ok()?;
    Some(kib << 10)
}

impl Host {
    /// This machine; `threads` is the number of threads that the caller uses.
    pub fn current(threads: usize) -> Self {
        let kib: f64 = field("/proc/meminfo", "MemTotal").split(' ').next().unwrap_or_default().parse().unwrap_or(0.0);
        let name = field("/etc/os-release", "PRETTY_NAME");
        let kernel = line("/proc/sys/kernel/osrelease");
        Self {
            hostname: line("/proc/sys/kernel/hostname"),
            os: if name.is_empty() { std::env::consts::OS.to_owned() } else { format!("{name}, kernel {kernel}") },
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (kib / (1 << 20) as f64 * 10.0).round() / 10.0,
            threads,
            gpu: String::new(),
        }
    }
}

/// What computes. The caller passes it in, and it is part of every key, because each field can change a result's
/// bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compute {
    /// `cpu`, or the GPU with its multiprocessors.
    pub device: String,
    /// The instruction set of the kernels. Of a GPU: its architecture, compiler and kernels, and the processor's
    /// instruction set, which computes losses and probes.
    pub isa: String,
    /// `f32` or `bf16`.
    pub precision: String,
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

/// The value of `name: value` or `name=value` in a file of such lines.
fn field(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once([':', '='])?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    });
    value.unwrap_or_default()
}

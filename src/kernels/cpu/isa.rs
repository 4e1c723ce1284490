//! The instruction set that the kernels use: detected once, or forced.

use std::cell::Cell;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::error::Result;

/// An instruction set that the kernels are written for. Results differ between sets in the last bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 with products of bf16 pairs, 16 lanes.
    Avx512Bf16,
    /// AVX-512 (F, BW, VL, DQ), 16 lanes.
    Avx512,
    /// AVX2 with FMA, 8 lanes.
    Avx2,
    /// Plain Rust for any processor.
    Portable,
}

/// The selected set as its index in `Isa::ALL` plus one; 0 stands for "not yet selected".
static SELECTED: AtomicU8 = AtomicU8::new(0);

thread_local! {
    static OVERRIDE: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// Every set, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Portable];

    /// The name in records and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2+fma",
            Self::Portable => "portable",
        }
    }

    /// Whether this processor supports it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => is_x86_feature_detected!("avx512bf16") && Self::Avx512.is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 | Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }
}

/// Returns the instruction set in use: that of an enclosing [`with_isa`] on this thread, else the one that
/// [`select_isa`] selected. Calls `select_isa` if it was not called before.
///
/// # Panics
/// If `select_isa` was not called before and `SEMPAIR_ISA` does not name a set of this processor.
pub fn isa() -> Isa {
    if let Some(isa) = OVERRIDE.get() {
        return isa;
    }
    match SELECTED.load(Ordering::Relaxed) {
        0 => select_isa(None).unwrap_or_else(|error| panic!("{error}")),
        index => Isa::ALL[usize::from(index) - 1],
    }
}

/// Selects the instruction set for the whole process, before the first kernel runs: the set named by `force`
/// (`avx512bf16`, `avx512`, `avx2` or `portable`), else by the environment variable `SEMPAIR_ISA`, else the best set
/// of this processor.
///
/// # Errors
/// When the name is unknown or this processor lacks the set.
#[expect(clippy::disallowed_methods, reason = "not a setting: every record says which set was used")]
pub fn select_isa(force: Option<&str>) -> Result<Isa> {
    // A name that is not UTF-8 is not the name of a set, and is rejected as unknown.
    let variable = std::env::var_os("SEMPAIR_ISA").map(|name| name.to_string_lossy().into_owned());
    match force.or(variable.as_deref()) {
        None => Ok(select(best())),
        Some(name) => parse(name).map(select),
    }
}

/// Runs `body`. Kernels that it calls on this thread use `isa`. Used to compare sets with each other.
///
/// # Panics
/// If this processor lacks `isa`.
pub fn with_isa<T>(isa: Isa, body: impl FnOnce() -> T) -> T {
    struct Restore(Option<Isa>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OVERRIDE.set(self.0);
        }
    }
    assert!(isa.is_available(), "with_isa: this processor has no {}", isa.name());
    let _restore = Restore(OVERRIDE.replace(Some(isa)));
    body()
}

/// Runs `body`, a loop that the compiler vectorises, compiled for AVX2 if this processor has it. Multiplication and
/// addition stay separate, so the result has the same bits either way.
pub(super) fn with_wide_vectors<T>(body: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T>(body: impl FnOnce() -> T) -> T {
            body()
        }
        if Isa::Avx2.is_available() {
            // SAFETY: the processor has AVX2, as just checked.
            return unsafe { with_avx2(body) };
        }
    }
    body()
}

fn best() -> Isa {
    Isa::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
}

fn select(isa: Isa) -> Isa {
    SELECTED.store(isa as u8 + 1, Ordering::Relaxed);
    isa
}

fn parse(name: &str) -> Result<Isa> {
    let isa = match name {
        "avx512bf16" => Isa::Avx512Bf16,
        "avx512" => Isa::Avx512,
        "avx2" | "avx2+fma" => Isa::Avx2,
        "portable" => Isa::Portable,
        _ => {
            return Err(Error::new(format!("unknown instruction set: `{name}`"))
                .hint("set `SEMPAIR_ISA` to `avx512bf16`, `avx512`, `avx2` or `portable`, or leave it unset"));
        }
    };
    if isa.is_available() {
        return Ok(isa);
    }
    Err(Error::new(format!("this processor lacks the instruction set: `{name}`"))
        .hint(format!("leave `SEMPAIR_ISA` unset; this processor's best is `{}`", best().name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_set_is_an_error_with_a_hint() {
        let error = parse("neon").unwrap_err();
        assert_eq!(error.what(), "unknown instruction set: `neon`");
        assert!(error.hint_text().is_some());
        assert_eq!(parse("portable").unwrap(), Isa::Portable);
    }

    #[test]
    fn an_override_ends_with_its_body() {
        let before = isa();
        assert_eq!(with_isa(Isa::Portable, isa), Isa::Portable);
        assert_eq!(isa(), before);
    }
}

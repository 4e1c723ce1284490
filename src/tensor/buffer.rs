//! Host memory for activations: two number formats, and free lists of memory.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use half::bf16;

use crate::kernels::cpu::Element;

use super::Precision;

/// Activations in the device's number format.
#[derive(Clone, Debug)]
pub enum Buffer {
    /// IEEE single precision.
    F32(Pooled<f32>),
    /// The upper half of an IEEE single.
    Bf16(Pooled<bf16>),
}

/// A number format of buffers, with conversions to and from a buffer.
pub trait Format: Element + Pool {
    /// Wraps values of this format in a buffer.
    fn buffer(values: Pooled<Self>) -> Buffer;
    /// Returns the values of a buffer of this format.
    ///
    /// # Panics
    /// When the buffer has another format: all buffers of one operation have the same format.
    fn values(buffer: &Buffer) -> &[Self];
}

/// Evaluates an expression in which `$format` stands for the number type of a precision.
macro_rules! with_format {
    ($precision:expr, $format:ident => $body:expr) => {
        match $precision {
            $crate::tensor::Precision::F32 => {
                type $format = f32;
                $body
            }
            $crate::tensor::Precision::Bf16 => {
                type $format = half::bf16;
                $body
            }
        }
    };
}
pub(super) use with_format;

/// Returns a buffer of `len` elements that `fill` writes completely.
pub fn filled<E: Format>(len: usize, fill: impl FnOnce(&mut [E])) -> Buffer {
    let mut values = Pooled::new(len);
    fill(&mut values);
    E::buffer(values)
}

impl Buffer {
    /// The number format.
    pub fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::Bf16(_) => Precision::Bf16,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// Size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.len() * self.precision().bytes()
    }
}

impl Format for f32 {
    fn buffer(values: Pooled<Self>) -> Buffer {
        Buffer::F32(values)
    }

    fn values(buffer: &Buffer) -> &[Self] {
        match buffer {
            Buffer::F32(values) => values,
            Buffer::Bf16(_) => panic!("expected a buffer of f32, got one of bf16"),
        }
    }
}

impl Format for bf16 {
    fn buffer(values: Pooled<Self>) -> Buffer {
        Buffer::Bf16(values)
    }

    fn values(buffer: &Buffer) -> &[Self] {
        match buffer {
            Buffer::Bf16(values) => values,
            Buffer::F32(_) => panic!("expected a buffer of bf16, got one of f32"),
        }
    }
}

/// Memory that returns to a free list when it is dropped, for the next request of the same length. A training step
/// requests the same sizes again and again, and fresh pages cost more than the arithmetic on them.
#[derive(Debug)]
pub struct Pooled<T: Pool>(Vec<T>);

/// Free memory, by length.
type Free<T> = HashMap<usize, Vec<Vec<T>>>;

/// An element type that has a free list.
pub trait Pool: Copy + Default + 'static {
    /// The free list, locked.
    fn free() -> MutexGuard<'static, Free<Self>>;
}

macro_rules! pool {
    ($($element:ty),*) => {
        $(impl Pool for $element {
            fn free() -> MutexGuard<'static, Free<Self>> {
                static FREE: LazyLock<Mutex<Free<$element>>> = LazyLock::new(Mutex::default);
                FREE.lock().unwrap_or_else(PoisonError::into_inner)
            }
        })*
    };
}
pool!(f32, bf16, u8);

impl<T: Pool> Pooled<T> {
    /// Memory of unspecified content.
    pub fn new(len: usize) -> Self {
        let free = T::free().get_mut(&len).and_then(Vec::pop);
        Self(free.unwrap_or_else(|| {
            #[cfg(test)]
            FRESH.set(FRESH.get() + 1);
            vec![T::default(); len]
        }))
    }
}

impl<T: Pool> Drop for Pooled<T> {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.0);
        T::free().entry(memory.len()).or_default().push(memory);
    }
}

impl<T: Pool> Clone for Pooled<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Pool> Deref for Pooled<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Pool> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

#[cfg(test)]
thread_local! {
    static FRESH: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often this thread found no free memory of the length it asked for.
#[cfg(test)]
pub fn fresh() -> usize {
    FRESH.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_memory_serves_again() {
        const LEN: usize = 12_347; // used by no other test
        let before = fresh();
        drop(Pooled::<f32>::new(LEN));
        let again = Pooled::<f32>::new(LEN);
        assert_eq!(fresh(), before + 1);
        drop((again.clone(), again));
        assert_eq!(fresh(), before + 2);
    }
}

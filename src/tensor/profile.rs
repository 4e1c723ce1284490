//! Where the time of a thread's tensor operations goes: each of the device's methods tells here what kind of work it is
//! and times itself. Nothing is recorded, and next to nothing spent, before `start`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::{AttentionShape, ConvShape, Layout, Precision};

/// An operation as its kernel has to do it.
#[derive(Clone, Debug)]
pub struct Work {
    kind: Cow<'static, str>,
    flops: usize,
    bytes: usize,
}

/// All operations of one kind.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What they do, such as `convolution 3x3 forward`.
    pub kind: String,
    /// How many there were.
    pub calls: usize,
    /// Time from their start to their end.
    pub seconds: f64,
    /// Multiplications and additions of their products; 0 where there are none.
    pub flops: f64,
    /// Operands read once and results written once.
    pub bytes: f64,
}

#[derive(Default)]
struct Total {
    calls: usize,
    time: Duration,
    flops: usize,
    bytes: usize,
}

thread_local! {
    static TOTALS: RefCell<Option<BTreeMap<Cow<'static, str>, Total>>> = const { RefCell::new(None) };
}

/// Records what this thread does from now on.
pub fn start() {
    TOTALS.set(Some(BTreeMap::new()));
}

/// Ends the recording of this thread; the kind that took the most time comes first.
pub fn take() -> Vec<Entry> {
    let mut entries: Vec<Entry> = (TOTALS.take().unwrap_or_default().into_iter())
        .map(|(kind, Total { calls, time, flops, bytes })| Entry {
            kind: kind.into_owned(),
            calls,
            seconds: time.as_secs_f64(),
            flops: flops as f64,
            bytes: bytes as f64,
        })
        .collect();
    entries.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    entries
}

/// Times an operation, from here until what it returns is dropped. `describe` is called where this thread records.
///
/// Operations within operations would count twice.
#[must_use]
pub fn timed(describe: impl FnOnce() -> Work) -> Option<Timed> {
    let records = TOTALS.with_borrow(Option::is_some);
    records.then(|| Timed { work: describe(), start: Instant::now() })
}

/// An operation that runs.
pub struct Timed {
    work: Work,
    start: Instant,
}

impl Drop for Timed {
    fn drop(&mut self) {
        let time = self.start.elapsed();
        let Work { kind, flops, bytes } = &mut self.work;
        TOTALS.with_borrow_mut(|totals| {
            if let Some(totals) = totals {
                let total = totals.entry(std::mem::take(kind)).or_default();
                total.calls += 1;
                total.time += time;
                total.flops += *flops;
                total.bytes += *bytes;
            }
        });
    }
}

impl Work {
    /// Work without products: it is measured by the bytes that it moves.
    pub fn passes(kind: &'static str, bytes: usize) -> Self {
        Self { kind: kind.into(), flops: 0, bytes }
    }

    /// `products` multiplications, each with its addition.
    pub fn products(kind: impl Into<Cow<'static, str>>, products: usize, bytes: usize) -> Self {
        Self { kind: kind.into(), flops: 2 * products, bytes }
    }

    /// Attention of tokens that `qkv` holds. Backward has twice the products, and reads what forward left.
    pub fn attention(direction: &str, shape: &AttentionShape, qkv: &Buffer) -> Self {
        let products = 2 * shape.tokens * shape.output_len();
        let factor = if direction == "forward" { 1 } else { 2 };
        Self::products(format!("attention {direction}"), factor * products, factor * (qkv.bytes() + qkv.bytes() / 3))
    }

    /// One of a convolution's three products; activations are in `precision`, each weight moves `of_weight` bytes.
    pub fn convolution(shape: &ConvShape, direction: &str, precision: Precision, of_weight: usize) -> Self {
        let ConvShape { kernel, stride, .. } = *shape;
        let kind = match (shape.layout, stride) {
            (Layout::Images, _) => format!("first convolution {direction}"),
            (Layout::Maps, 1) => format!("convolution {kernel}x{kernel} {direction}"),
            (Layout::Maps, _) => format!("convolution {kernel}x{kernel}/{stride} {direction}"),
        };
        let activations = (shape.input_len() + shape.output_len()) * precision.bytes();
        Self::products(kind, shape.products(), activations + shape.weight_len() * of_weight)
    }

    /// One of a linear map's three products, of (rows, inputs, outputs); bytes as for a convolution.
    pub fn linear(direction: &str, precision: Precision, sizes: [usize; 3], of_weight: usize) -> Self {
        let [rows, inputs, outputs] = sizes;
        let activations = rows * (inputs + outputs) * precision.bytes();
        let bytes = activations + inputs * outputs * of_weight;
        Self::products(format!("linear {direction}"), rows * inputs * outputs, bytes)
    }

    /// The same with another operand.
    pub fn and(self, bytes: usize) -> Self {
        Self { bytes: self.bytes + bytes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Cpu, Device, Slot};

    #[test]
    fn only_what_happens_between_start_and_take_is_recorded() {
        let device = Cpu { precision: Precision::Bf16 };
        let x = device.upload(&[0.5; 4 * 6]);
        assert!(take().is_empty());
        start();
        let weights = vec![1.0; 3 * 6];
        for _ in 0..2 {
            device.linear(&x, &weights, Slot { start: 0, len: 18 }, None, None, 3);
        }
        device.relu(&x);
        let entries = take();
        device.relu(&x);
        assert!(take().is_empty());
        let of = |kind: &str| entries.iter().find(|entry| entry.kind == kind).unwrap();
        let linear = of("linear forward");
        assert_eq!((linear.calls, linear.flops), (2, 2.0 * 2.0 * 72.0));
        assert_eq!(linear.bytes, 2.0 * (2.0 * 24.0 + 2.0 * 12.0 + 4.0 * 18.0));
        assert_eq!((of("ReLU").calls, of("ReLU").flops, of("ReLU").bytes), (1, 0.0, 2.0 * 48.0));
        assert_eq!(entries.len(), 2);
        assert!(entries[0].seconds >= entries[1].seconds);
    }
}

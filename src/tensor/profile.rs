//! Profiles a thread's tensor operations. Each method of the device describes its work here and times itself. Before
//! `start`, nothing is recorded and the overhead is negligible.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::{AttentionShape, ConvShape, Layout, Precision};

/// The work of an operation, as its kernel performs it.
#[derive(Clone, Debug)]
pub struct Work {
    kind: Cow<'static, str>,
    flops: usize,
    bytes: usize,
}

/// The totals of all operations of one kind.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The kind of operation, such as `convolution 3x3 forward`.
    pub kind: String,
    /// The number of operations.
    pub calls: usize,
    /// Total time of the operations, in seconds.
    pub seconds: f64,
    /// Multiplications and additions of their products; 0 if there are none.
    pub flops: f64,
    /// Bytes moved if operands are read once and results written once.
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

/// Starts recording the operations of this thread.
pub fn start() {
    TOTALS.set(Some(BTreeMap::new()));
}

/// Ends the recording of this thread and returns the totals, sorted by time in descending order.
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

/// Times an operation, from this call until the returned value is dropped. `describe` is called only if this thread
/// records.
///
/// Nested operations would be counted twice.
#[must_use]
pub fn timed(describe: impl FnOnce() -> Work) -> Option<Timed> {
    let records = TOTALS.with_borrow(Option::is_some);
    records.then(|| Timed { work: describe(), start: Instant::now() })
}

/// A running operation.
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
    /// Work without products, measured by the bytes that it moves.
    pub fn passes(kind: &'static str, bytes: usize) -> Self {
        Self { kind: kind.into(), flops: 0, bytes }
    }

    /// Work with `products` multiplications, each with its addition.
    pub fn products(kind: impl Into<Cow<'static, str>>, products: usize, bytes: usize) -> Self {
        Self { kind: kind.into(), flops: 2 * products, bytes }
    }

    /// The work of attention on the tokens of `qkv`. Backward has twice the products, and also reads the saved
    /// results of forward.
    pub fn attention(direction: &str, shape: &AttentionShape, qkv: &Buffer) -> Self {
        let products = 2 * shape.tokens * shape.output_len();
        let factor = if direction == "forward" { 1 } else { 2 };
        Self::products(format!("attention {direction}"), factor * products, factor * (qkv.bytes() + qkv.bytes() / 3))
    }

    /// The work of one of a convolution's three products. Activations are in `precision`; each weight moves
    /// `of_weight` bytes.
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

    /// The work of one of a linear map's three products, of (rows, inputs, outputs); bytes as for a convolution.
    pub fn linear(direction: &str, precision: Precision, sizes: [usize; 3], of_weight: usize) -> Self {
        let [rows, inputs, outputs] = sizes;
        let activations = rows * (inputs + outputs) * precision.bytes();
        let bytes = activations + inputs * outputs * of_weight;
        Self::products(format!("linear {direction}"), rows * inputs * outputs, bytes)
    }

    /// The same work with another operand of `bytes` bytes.
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

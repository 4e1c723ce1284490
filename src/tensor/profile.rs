//! Profiles a thread's tensor operations. Each method of [`AnyDevice`](super::AnyDevice) describes its work here and times
//! itself. Before `start`, nothing is recorded and the overhead is negligible.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use super::{AttentionShape, ConvShape, Layout, Precision, Reading};

/// The work of an operation, as its kernel performs it.
#[derive(Clone, Debug)]
pub struct Work {
    kind: Cow<'static, str>,
    /// The sizes of a product; empty for other work.
    sizes: String,
    flops: usize,
    bytes: usize,
}

/// What is added up in one entry of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Operations of one kind.
    Kind,
    /// Products of one kind and size.
    Size,
}

/// The totals of a group of operations.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The kind of operation, such as `convolution 3x3 forward`, and its sizes if the profile has them.
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

/// A running clock.
pub enum Clock {
    /// The host's, since this moment.
    Host(Instant),
    /// A device's: this function gives the time, in seconds, between now in its queue of work and when it was made.
    Device(Box<dyn FnOnce() -> Reading>),
}

impl Clock {
    /// A clock of the host that starts now.
    pub fn host() -> Self {
        Self::Host(Instant::now())
    }

    fn stop(self) -> Reading {
        match self {
            Self::Host(start) => Reading::Known(start.elapsed().as_secs_f64()),
            Self::Device(stop) => stop(),
        }
    }
}

/// What a thread has recorded.
struct Record {
    group: Group,
    operations: Vec<(Work, Reading)>,
}

thread_local! {
    static RECORD: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// Starts recording the operations of this thread.
pub fn start(group: Group) {
    RECORD.set(Some(Record { group, operations: Vec::new() }));
}

/// Ends the recording of this thread and returns the totals, sorted by time in descending order.
pub fn take() -> Vec<Entry> {
    let Some(Record { group, operations }) = RECORD.take() else { return Vec::new() };
    let mut entries = BTreeMap::new();
    for (work, time) in operations {
        let Work { kind, sizes, flops, bytes } = work;
        let kind = if group == Group::Size && !sizes.is_empty() { format!("{kind}, {sizes}") } else { kind.into() };
        let none = Entry { kind: kind.clone(), calls: 0, seconds: 0.0, flops: 0.0, bytes: 0.0 };
        let entry = entries.entry(kind).or_insert(none);
        entry.calls += 1;
        entry.seconds += time.value();
        entry.flops += flops as f64;
        entry.bytes += bytes as f64;
    }
    let mut entries: Vec<Entry> = entries.into_values().collect();
    entries.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    entries
}

/// Times an operation, from this call until the returned value is dropped. `clock` and `describe` are called only if this
/// thread records.
///
/// Nested operations would be counted twice.
#[must_use]
pub fn timed(clock: impl FnOnce() -> Clock, describe: impl FnOnce() -> Work) -> Option<Timed> {
    let records = RECORD.with_borrow(Option::is_some);
    records.then(|| Timed(Some((describe(), clock()))))
}

/// A running operation.
pub struct Timed(Option<(Work, Clock)>);

impl Drop for Timed {
    fn drop(&mut self) {
        let Some((work, clock)) = self.0.take() else { return };
        let time = clock.stop();
        RECORD.with_borrow_mut(|record| {
            if let Some(record) = record {
                record.operations.push((work, time));
            }
        });
    }
}

impl Work {
    /// Work without products, measured by the bytes that it moves.
    pub fn passes(kind: &'static str, bytes: usize) -> Self {
        Self { kind: kind.into(), sizes: String::new(), flops: 0, bytes }
    }

    /// Work with `products` multiplications, each with its addition.
    pub fn products(kind: impl Into<Cow<'static, str>>, sizes: String, products: usize, bytes: usize) -> Self {
        Self { kind: kind.into(), sizes, flops: 2 * products, bytes }
    }

    /// The work of attention on tokens whose queries, keys and values have `qkv` bytes. Backward has twice the products,
    /// and also reads the saved results of forward.
    pub fn attention(direction: &str, shape: &AttentionShape, qkv: usize) -> Self {
        let products = 2 * shape.tokens * shape.output_len();
        let factor = if direction == "forward" { 1 } else { 2 };
        let sizes = format!("{} tokens of {} heads", shape.tokens, shape.heads);
        Self::products(format!("attention {direction}"), sizes, factor * products, factor * (qkv + qkv / 3))
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
        let ConvShape { in_channels, out_channels, height, width, .. } = *shape;
        let sizes = format!("{in_channels} to {out_channels}, {height}x{width}");
        Self::products(kind, sizes, shape.products(), activations + shape.weight_len() * of_weight)
    }

    /// The work of one of a linear map's three products, of (rows, inputs, outputs); bytes as for a convolution.
    pub fn linear(direction: &str, precision: Precision, sizes: [usize; 3], of_weight: usize) -> Self {
        let [rows, inputs, outputs] = sizes;
        let activations = rows * (inputs + outputs) * precision.bytes();
        let bytes = activations + inputs * outputs * of_weight;
        let sizes = format!("{inputs} to {outputs}, {rows} rows");
        Self::products(format!("linear {direction}"), sizes, rows * inputs * outputs, bytes)
    }

    /// The same work with another operand of `bytes` bytes.
    pub fn and(self, bytes: usize) -> Self {
        Self { bytes: self.bytes + bytes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{AnyDevice, Cpu, Device, Slot};

    #[test]
    fn only_what_happens_between_start_and_take_is_recorded() {
        let device = AnyDevice::from(Cpu { precision: Precision::Bf16 });
        let x = device.upload(&[0.5; 4 * 6]);
        assert!(take().is_empty());
        start(Group::Size);
        let weights = device.arena(vec![1.0; 3 * 6]);
        for _ in 0..2 {
            device.linear(&x, &weights, Slot { start: 0, len: 18 }, None, None, 3);
        }
        device.relu(&x);
        let entries = take();
        device.relu(&x);
        assert!(take().is_empty());
        let of = |kind: &str| entries.iter().find(|entry| entry.kind == kind).unwrap();
        let linear = of("linear forward, 6 to 3, 4 rows");
        assert_eq!((linear.calls, linear.flops), (2, 2.0 * 2.0 * 72.0));
        assert_eq!(linear.bytes, 2.0 * (2.0 * 24.0 + 2.0 * 12.0 + 4.0 * 18.0));
        assert_eq!((of("ReLU").calls, of("ReLU").flops, of("ReLU").bytes), (1, 0.0, 2.0 * 48.0));
        assert_eq!(entries.len(), 2);
        assert!(entries[0].seconds >= entries[1].seconds);
    }
}

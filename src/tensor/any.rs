//! The device of a command, chosen at run time. Networks are compiled once, for this type; which device an operation runs
//! on costs a comparison. It only passes calls on: a result depends on the chosen device alone.

mod losses;

use std::ops::Range;

use crate::error::Result;
use crate::kernels::cuda::Memory;

use super::cpu::{self, Cpu};
use super::cuda::{self, Cuda};
use super::profile::{Clock, Timed, Work, timed};
use super::{
    AttentionShape, ConvShape, Device, EmbeddingSlots, LayerNormOptions, NormOptions, PoolShape, Precision, Region,
    RoiShape, Slot, Update,
};

/// The processor, or a GPU.
#[derive(Clone, Debug)]
pub enum AnyDevice {
    /// The processor and its memory.
    Cpu(Cpu),
    /// An NVIDIA GPU.
    Cuda(Cuda),
}

/// Something on one of the devices.
#[derive(Clone, Debug)]
pub enum On<A, B> {
    /// In the processor's memory.
    Cpu(A),
    /// In a GPU's memory.
    Cuda(B),
}

const MIXED: &str = "operands of one operation are on one device";

impl<A, B> On<A, B> {
    fn cpu(&self) -> &A {
        match self {
            Self::Cpu(value) => value,
            Self::Cuda(_) => panic!("{MIXED}"),
        }
    }

    fn cuda(&self) -> &B {
        match self {
            Self::Cuda(value) => value,
            Self::Cpu(_) => panic!("{MIXED}"),
        }
    }

    fn cpu_mut(&mut self) -> &mut A {
        match self {
            Self::Cpu(value) => value,
            Self::Cuda(_) => panic!("{MIXED}"),
        }
    }

    fn cuda_mut(&mut self) -> &mut B {
        match self {
            Self::Cuda(value) => value,
            Self::Cpu(_) => panic!("{MIXED}"),
        }
    }
}

type Buffer = On<super::buffer::Buffer, cuda::Buffer>;
type Arena = On<Vec<f32>, cuda::Arena>;
type Moments = On<cpu::Moments, cuda::Moments>;
type Places = On<super::Pooled<u8>, Memory>;

/// Evaluates a call for the device that this is, with its own operands: those that are read, those that change, and those
/// that may be absent. The result is nothing, one value or a pair.
macro_rules! run {
    ($this:ident as $device:ident, [$($read:ident)*] [$($changed:ident)*] [$($absent:ident)*] => $result:ident $call:expr) => {
        match $this {
            AnyDevice::Cpu($device) => {
                $(let $read = $read.cpu();)*
                $(let $changed = $changed.cpu_mut();)*
                $(let $absent = $absent.map(On::cpu);)*
                $result!(Cpu, $call)
            }
            AnyDevice::Cuda($device) => {
                $(let $read = $read.cuda();)*
                $(let $changed = $changed.cuda_mut();)*
                $(let $absent = $absent.map(On::cuda);)*
                $result!(Cuda, $call)
            }
        }
    };
}

macro_rules! nothing {
    ($place:ident, $call:expr) => {
        $call
    };
}

macro_rules! one {
    ($place:ident, $call:expr) => {
        On::$place($call)
    };
}

macro_rules! pair {
    ($place:ident, $call:expr) => {{
        let (first, second) = $call;
        (On::$place(first), On::$place(second))
    }};
}

/// Bytes of a number of an arena.
const FLOAT: usize = size_of::<f32>();

/// The size of activations in bytes.
fn bytes(buffer: &Buffer) -> usize {
    match buffer {
        On::Cpu(buffer) => buffer.bytes(),
        On::Cuda(buffer) => buffer.bytes(),
    }
}

/// The size of activations that may be absent, in bytes.
fn all(buffer: Option<&Buffer>) -> usize {
    buffer.map_or(0, bytes)
}

impl AnyDevice {
    /// The number of activations.
    fn len(&self, buffer: &Buffer) -> usize {
        bytes(buffer) / self.precision().bytes()
    }

    /// Times an operation until the returned value is dropped, if this thread records a profile. On a GPU, the time is that
    /// between the operations before and after it.
    fn timed(&self, describe: impl FnOnce() -> Work) -> Option<Timed> {
        let clock = || match self {
            Self::Cpu(_) => Clock::host(),
            Self::Cuda(device) => Clock::Device(device.stopwatch()),
        };
        timed(clock, describe)
    }

    /// The number format of activations.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Cpu(cpu) => cpu.precision,
            Self::Cuda(cuda) => cuda.precision(),
        }
    }

    /// The largest memory of a GPU that this process has taken at one time, in bytes; `None` on the CPU.
    pub fn peak_memory(&self) -> Option<usize> {
        match self {
            Self::Cpu(_) => None,
            Self::Cuda(device) => Some(device.kernels().gpu().peak_memory()),
        }
    }

    /// The module that does its work, on which results depend.
    pub fn module(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "tensor::cpu",
            Self::Cuda(_) => "tensor::cuda",
        }
    }

    /// Waits until all work is done; the processor works at once.
    pub fn synchronize(&self) {
        match self {
            Self::Cpu(_) => {}
            Self::Cuda(cuda) => cuda.synchronize(),
        }
    }

    /// The same device with activations of another format.
    ///
    /// # Errors
    /// When the kernels of a GPU cannot be compiled for the format.
    pub fn with_precision(&self, precision: Precision) -> Result<Self> {
        match self {
            Self::Cpu(_) => Ok(Self::Cpu(Cpu { precision })),
            Self::Cuda(cuda) => cuda.with_precision(precision).map(Self::Cuda),
        }
    }
}

impl From<Cpu> for AnyDevice {
    fn from(cpu: Cpu) -> Self {
        Self::Cpu(cpu)
    }
}

impl From<Cuda> for AnyDevice {
    fn from(cuda: Cuda) -> Self {
        Self::Cuda(cuda)
    }
}

impl Device for AnyDevice {
    type Buffer = Buffer;
    type Arena = Arena;
    type Moments = Moments;
    type Places = Places;

    fn upload(&self, host: &[f32]) -> Buffer {
        let _timed =
            self.timed(|| Work::passes("upload and download", host.len() * (FLOAT + self.precision().bytes())));
        run!(self as device, [] [] [] => one device.upload(host))
    }

    fn download(&self, buffer: &Buffer) -> Vec<f32> {
        let _timed = self.timed(|| Work::passes("upload and download", bytes(buffer) + self.len(buffer) * FLOAT));
        run!(self as device, [buffer] [] [] => nothing device.download(buffer))
    }

    fn arena(&self, host: Vec<f32>) -> Arena {
        run!(self as device, [] [] [] => one device.arena(host))
    }

    fn zeros(&self, len: usize) -> Arena {
        run!(self as device, [] [] [] => one device.zeros(len))
    }

    fn host(&self, arena: &Arena) -> Vec<f32> {
        run!(self as device, [arena] [] [] => nothing device.host(arena))
    }

    fn clear(&self, arena: &mut Arena, at: Slot) {
        let _timed = self.timed(|| Work::passes("clearing gradients", at.len * FLOAT));
        run!(self as device, [] [arena] [] => nothing device.clear(arena, at))
    }

    fn write(&self, arena: &mut Arena, at: Slot, from: &Arena) {
        run!(self as device, [from] [arena] [] => nothing device.write(arena, at, from))
    }

    fn conv2d(&self, shape: &ConvShape, x: &Buffer, values: &Arena, w: Slot, bias: Option<Slot>) -> Buffer {
        let _timed = self.timed(|| Work::convolution(shape, "forward", self.precision(), FLOAT));
        run!(self as device, [x values] [] [] => one device.conv2d(shape, x, values, w, bias))
    }

    fn conv2d_input(&self, shape: &ConvShape, dy: &Buffer, values: &Arena, w: Slot, onto: Option<&Buffer>) -> Buffer {
        let _timed = self.timed(|| Work::convolution(shape, "input gradient", self.precision(), FLOAT).and(all(onto)));
        run!(self as device, [dy values] [] [onto] => one device.conv2d_input(shape, dy, values, w, onto))
    }

    fn conv2d_weight(
        &self,
        shape: &ConvShape,
        x: &Buffer,
        dy: &Buffer,
        gradients: &mut Arena,
        w: Slot,
        bias: Option<Slot>,
    ) {
        let _timed = self.timed(|| Work::convolution(shape, "weight gradient", self.precision(), 2 * FLOAT));
        run!(self as device, [x dy] [gradients] [] => nothing device.conv2d_weight(shape, x, dy, gradients, w, bias))
    }

    fn linear(
        &self,
        x: &Buffer,
        values: &Arena,
        w: Slot,
        bias: Option<Slot>,
        onto: Option<&Buffer>,
        outputs: usize,
    ) -> Buffer {
        let _timed = self.timed(|| {
            Work::linear("forward", self.precision(), [self.len(x) * outputs / w.len, w.len / outputs, outputs], FLOAT)
        });
        run!(self as device, [x values] [] [onto] => one device.linear(x, values, w, bias, onto, outputs))
    }

    fn linear_input(&self, dy: &Buffer, values: &Arena, w: Slot, onto: Option<&Buffer>, outputs: usize) -> Buffer {
        let _timed = self.timed(|| {
            Work::linear("input gradient", self.precision(), [self.len(dy) / outputs, w.len / outputs, outputs], FLOAT)
                .and(all(onto))
        });
        run!(self as device, [dy values] [] [onto] => one device.linear_input(dy, values, w, onto, outputs))
    }

    fn linear_weight(
        &self,
        x: &Buffer,
        dy: &Buffer,
        gradients: &mut Arena,
        w: Slot,
        bias: Option<Slot>,
        outputs: usize,
    ) {
        let _timed = self.timed(|| {
            Work::linear(
                "weight gradient",
                self.precision(),
                [self.len(dy) / outputs, w.len / outputs, outputs],
                2 * FLOAT,
            )
        });
        run!(self as device, [x dy] [gradients] [] => nothing device.linear_weight(x, dy, gradients, w, bias, outputs))
    }

    fn batch_norm(
        &self,
        norm: &NormOptions,
        x: &Buffer,
        shortcut: Option<&Buffer>,
        values: &Arena,
        statistics: &mut Arena,
    ) -> (Buffer, Moments) {
        let _timed = self.timed(|| Work::passes("batch norm forward", 2 * bytes(x) + all(shortcut)));
        run!(self as device, [x values] [statistics] [shortcut] => pair device.batch_norm(norm, x, shortcut, values, statistics))
    }

    fn batch_norm_running(
        &self,
        norm: &NormOptions,
        x: &Buffer,
        shortcut: Option<&Buffer>,
        values: &Arena,
        statistics: &Arena,
    ) -> Buffer {
        let _timed = self.timed(|| Work::passes("batch norm forward", 2 * bytes(x) + all(shortcut)));
        run!(self as device, [x values statistics] [] [shortcut] => one device.batch_norm_running(norm, x, shortcut, values, statistics))
    }

    fn batch_norm_backward(
        &self,
        norm: &NormOptions,
        dy: &Buffer,
        x: &Buffer,
        moments: &Moments,
        values: &Arena,
        gradients: &mut Arena,
    ) -> Buffer {
        let _timed = self.timed(|| Work::passes("batch norm backward", 3 * bytes(x)));
        run!(self as device, [dy x moments values] [gradients] [] => one device.batch_norm_backward(norm, dy, x, moments, values, gradients))
    }

    fn batch_norm_shortcut_backward(
        &self,
        norm: &NormOptions,
        dy: &Buffer,
        x: &Buffer,
        y: &Buffer,
        moments: &Moments,
        values: &Arena,
        gradients: &mut Arena,
    ) -> (Buffer, Buffer) {
        let _timed = self.timed(|| Work::passes("batch norm backward", 5 * bytes(x)));
        run!(self as device, [dy x y moments values] [gradients] [] => pair device.batch_norm_shortcut_backward(norm, dy, x, y, moments, values, gradients))
    }

    fn layer_norm(&self, norm: &LayerNormOptions, x: &Buffer, values: &Arena) -> (Buffer, Moments) {
        let _timed = self.timed(|| Work::passes("layer norm forward", 2 * bytes(x)));
        run!(self as device, [x values] [] [] => pair device.layer_norm(norm, x, values))
    }

    fn layer_norm_backward(
        &self,
        norm: &LayerNormOptions,
        dy: &Buffer,
        x: &Buffer,
        moments: &Moments,
        onto: Option<&Buffer>,
        values: &Arena,
        gradients: &mut Arena,
    ) -> Buffer {
        let _timed = self.timed(|| Work::passes("layer norm backward", 5 * bytes(x) + all(onto)));
        run!(self as device, [dy x moments values] [gradients] [onto] => one device.layer_norm_backward(norm, dy, x, moments, onto, values, gradients))
    }

    fn unit_rows(&self, x: &Buffer, columns: usize) -> Buffer {
        let _timed = self.timed(|| Work::passes("unit rows", 2 * bytes(x)));
        run!(self as device, [x] [] [] => one device.unit_rows(x, columns))
    }

    fn unit_rows_backward(&self, dy: &Buffer, x: &Buffer, columns: usize) -> Buffer {
        let _timed = self.timed(|| Work::passes("unit rows", 3 * bytes(x)));
        run!(self as device, [dy x] [] [] => one device.unit_rows_backward(dy, x, columns))
    }

    fn unit_weight(&self, values: &Arena, w: Slot, columns: usize) -> Arena {
        let _timed = self.timed(|| Work::passes("unit rows", 2 * w.len * FLOAT));
        run!(self as device, [values] [] [] => one device.unit_weight(values, w, columns))
    }

    fn unit_weight_backward(&self, dunit: &Arena, values: &Arena, gradients: &mut Arena, w: Slot, columns: usize) {
        let _timed = self.timed(|| Work::passes("unit rows", 4 * w.len * FLOAT));
        run!(self as device, [dunit values] [gradients] [] => nothing device.unit_weight_backward(dunit, values, gradients, w, columns))
    }

    fn attention(&self, shape: &AttentionShape, qkv: &Buffer) -> (Buffer, Buffer) {
        let _timed = self.timed(|| Work::attention("forward", shape, bytes(qkv)));
        run!(self as device, [qkv] [] [] => pair device.attention(shape, qkv))
    }

    fn attention_backward(&self, shape: &AttentionShape, dy: &Buffer, qkv: &Buffer, probabilities: &Buffer) -> Buffer {
        let _timed = self.timed(|| Work::attention("backward", shape, bytes(qkv)));
        run!(self as device, [dy qkv probabilities] [] [] => one device.attention_backward(shape, dy, qkv, probabilities))
    }

    fn embed_patches(
        &self,
        slots: &EmbeddingSlots,
        patches: &Buffer,
        values: &Arena,
        resampling: Option<&Arena>,
    ) -> Buffer {
        let _timed = self.timed(|| Work::passes("patch embedding", 2 * bytes(patches)));
        run!(self as device, [patches values] [] [resampling] => one device.embed_patches(slots, patches, values, resampling))
    }

    fn embed_patches_backward(
        &self,
        slots: &EmbeddingSlots,
        dy: &Buffer,
        gradients: &mut Arena,
        resampling: Option<&Arena>,
    ) -> Buffer {
        let _timed = self.timed(|| Work::passes("patch embedding", 2 * bytes(dy)));
        run!(self as device, [dy] [gradients] [resampling] => one device.embed_patches_backward(slots, dy, gradients, resampling))
    }

    fn scale_images(&self, x: &Buffer, scales: &[f32], onto: Option<&Buffer>, channels: usize) -> Buffer {
        let _timed = self.timed(|| Work::passes("drop path", 2 * bytes(x) + all(onto)));
        run!(self as device, [x] [] [onto] => one device.scale_images(x, scales, onto, channels))
    }

    fn slice(&self, x: &Buffer, range: Range<usize>) -> Buffer {
        let _timed = self.timed(|| Work::passes("copies", 2 * range.len() * self.precision().bytes()));
        run!(self as device, [x] [] [] => one device.slice(x, range))
    }

    fn concat(&self, a: &Buffer, b: &Buffer) -> Buffer {
        let _timed = self.timed(|| Work::passes("copies", 2 * (bytes(a) + bytes(b))));
        run!(self as device, [a b] [] [] => one device.concat(a, b))
    }

    fn first_backward(&self, dy: &Buffer, len: usize) -> Buffer {
        let _timed = self.timed(|| Work::passes("copies", bytes(dy) + len * self.precision().bytes()));
        run!(self as device, [dy] [] [] => one device.first_backward(dy, len))
    }

    fn gelu(&self, x: &Buffer) -> Buffer {
        let _timed = self.timed(|| Work::passes("GELU", 2 * bytes(x)));
        run!(self as device, [x] [] [] => one device.gelu(x))
    }

    fn gelu_backward(&self, dy: &Buffer, x: &Buffer) -> Buffer {
        let _timed = self.timed(|| Work::passes("GELU backward", 3 * bytes(x)));
        run!(self as device, [dy x] [] [] => one device.gelu_backward(dy, x))
    }

    fn relu(&self, x: &Buffer) -> Buffer {
        let _timed = self.timed(|| Work::passes("ReLU", 2 * bytes(x)));
        run!(self as device, [x] [] [] => one device.relu(x))
    }

    fn relu_backward(&self, dy: &Buffer, y: &Buffer) -> Buffer {
        let _timed = self.timed(|| Work::passes("ReLU", 3 * bytes(y)));
        run!(self as device, [dy y] [] [] => one device.relu_backward(dy, y))
    }

    fn add(&self, a: &Buffer, b: &Buffer) -> Buffer {
        let _timed = self.timed(|| Work::passes("addition", 3 * bytes(a)));
        run!(self as device, [a b] [] [] => one device.add(a, b))
    }

    fn max_pool(&self, shape: &PoolShape, x: &Buffer) -> (Buffer, Places) {
        let _timed =
            self.timed(|| Work::passes("pooling", bytes(x) + shape.output_len() * (1 + self.precision().bytes())));
        run!(self as device, [x] [] [] => pair device.max_pool(shape, x))
    }

    fn max_pool_backward(&self, shape: &PoolShape, dy: &Buffer, places: &Places) -> Buffer {
        let _timed = self
            .timed(|| Work::passes("pooling", bytes(dy) + self.len(dy) + shape.input_len() * self.precision().bytes()));
        run!(self as device, [dy places] [] [] => one device.max_pool_backward(shape, dy, places))
    }

    fn average_pool(&self, x: &Buffer, batch: usize, channels: usize) -> Buffer {
        let _timed = self.timed(|| Work::passes("pooling", bytes(x) + batch * channels * self.precision().bytes()));
        run!(self as device, [x] [] [] => one device.average_pool(x, batch, channels))
    }

    fn average_pool_backward(&self, dy: &Buffer, pixels: usize, batch: usize, channels: usize) -> Buffer {
        let _timed = self.timed(|| Work::passes("pooling", bytes(dy) * (1 + pixels)));
        run!(self as device, [dy] [] [] => one device.average_pool_backward(dy, pixels, batch, channels))
    }

    fn roi_align(&self, shape: &RoiShape, x: &Buffer, regions: &[Region]) -> Buffer {
        let _timed = self
            .timed(|| Work::passes("ROIAlign", bytes(x) + shape.output_len(regions.len()) * self.precision().bytes()));
        run!(self as device, [x] [] [] => one device.roi_align(shape, x, regions))
    }

    fn roi_align_backward(&self, shape: &RoiShape, dy: &Buffer, regions: &[Region]) -> Buffer {
        let _timed = self.timed(|| Work::passes("ROIAlign", bytes(dy) + shape.input_len() * self.precision().bytes()));
        run!(self as device, [dy] [] [] => one device.roi_align_backward(shape, dy, regions))
    }

    fn update(&self, updates: &[(Slot, Update)], values: &mut Arena, gradients: &Arena, state: &mut [&mut Arena]) {
        let _timed = self.timed(|| {
            Work::passes(
                "optimiser",
                updates.iter().map(|(at, _)| at.len).sum::<usize>() * FLOAT * (3 + 2 * state.len()),
            )
        });
        match self {
            Self::Cpu(device) => {
                let mut state: Vec<&mut Vec<f32>> = state.iter_mut().map(|state| state.cpu_mut()).collect();
                device.update(updates, values.cpu_mut(), gradients.cpu(), &mut state);
            }
            Self::Cuda(device) => {
                let mut state: Vec<&mut cuda::Arena> = state.iter_mut().map(|state| state.cuda_mut()).collect();
                device.update(updates, values.cuda_mut(), gradients.cuda(), &mut state);
            }
        }
    }

    fn clip(&self, ranges: &[Slot], arena: &mut Arena, limit: f64) {
        let _timed = self.timed(|| Work::passes("optimiser", ranges.iter().map(|at| at.len).sum::<usize>() * FLOAT));
        run!(self as device, [] [arena] [] => nothing device.clip(ranges, arena, limit))
    }

    fn average(&self, at: Slot, target: &mut Arena, online: &Arena, momentum: f64) {
        let _timed = self.timed(|| Work::passes("target network", 3 * at.len * FLOAT));
        run!(self as device, [online] [target] [] => nothing device.average(at, target, online, momentum))
    }
}

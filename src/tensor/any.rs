//! The device of a command, chosen at run time. Networks are compiled once, for this type; which device an operation runs
//! on costs a comparison. It only passes calls on: a result depends on the chosen device alone.

mod losses;

use std::ops::Range;

use crate::error::Result;
use crate::kernels::cuda::Memory;

use super::cpu::{self, Cpu};
use super::cuda::{self, Cuda};
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

impl AnyDevice {
    /// The number format of activations.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Cpu(cpu) => cpu.precision,
            Self::Cuda(cuda) => cuda.precision(),
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
        run!(self as device, [] [] [] => one device.upload(host))
    }

    fn download(&self, buffer: &Buffer) -> Vec<f32> {
        run!(self as device, [buffer] [] [] => nothing device.download(buffer))
    }

    fn arena(&self, host: Vec<f32>) -> Arena {
        run!(self as device, [] [] [] => one device.arena(host))
    }

    fn host(&self, arena: &Arena) -> Vec<f32> {
        run!(self as device, [arena] [] [] => nothing device.host(arena))
    }

    fn clear(&self, arena: &mut Arena, at: Slot) {
        run!(self as device, [] [arena] [] => nothing device.clear(arena, at))
    }

    fn write(&self, arena: &mut Arena, at: Slot, from: &Arena) {
        run!(self as device, [from] [arena] [] => nothing device.write(arena, at, from))
    }

    fn conv2d(&self, shape: &ConvShape, x: &Buffer, values: &Arena, w: Slot, bias: Option<Slot>) -> Buffer {
        run!(self as device, [x values] [] [] => one device.conv2d(shape, x, values, w, bias))
    }

    fn conv2d_input(&self, shape: &ConvShape, dy: &Buffer, values: &Arena, w: Slot, onto: Option<&Buffer>) -> Buffer {
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
        run!(self as device, [x values] [] [onto] => one device.linear(x, values, w, bias, onto, outputs))
    }

    fn linear_input(&self, dy: &Buffer, values: &Arena, w: Slot, onto: Option<&Buffer>, outputs: usize) -> Buffer {
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
        run!(self as device, [dy x y moments values] [gradients] [] => pair device.batch_norm_shortcut_backward(norm, dy, x, y, moments, values, gradients))
    }

    fn layer_norm(&self, norm: &LayerNormOptions, x: &Buffer, values: &Arena) -> (Buffer, Moments) {
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
        run!(self as device, [dy x moments values] [gradients] [onto] => one device.layer_norm_backward(norm, dy, x, moments, onto, values, gradients))
    }

    fn unit_rows(&self, x: &Buffer, columns: usize) -> Buffer {
        run!(self as device, [x] [] [] => one device.unit_rows(x, columns))
    }

    fn unit_rows_backward(&self, dy: &Buffer, x: &Buffer, columns: usize) -> Buffer {
        run!(self as device, [dy x] [] [] => one device.unit_rows_backward(dy, x, columns))
    }

    fn unit_weight(&self, values: &Arena, w: Slot, columns: usize) -> Arena {
        run!(self as device, [values] [] [] => one device.unit_weight(values, w, columns))
    }

    fn unit_weight_backward(&self, dunit: &Arena, values: &Arena, gradients: &mut Arena, w: Slot, columns: usize) {
        run!(self as device, [dunit values] [gradients] [] => nothing device.unit_weight_backward(dunit, values, gradients, w, columns))
    }

    fn attention(&self, shape: &AttentionShape, qkv: &Buffer) -> (Buffer, Buffer) {
        run!(self as device, [qkv] [] [] => pair device.attention(shape, qkv))
    }

    fn attention_backward(&self, shape: &AttentionShape, dy: &Buffer, qkv: &Buffer, probabilities: &Buffer) -> Buffer {
        run!(self as device, [dy qkv probabilities] [] [] => one device.attention_backward(shape, dy, qkv, probabilities))
    }

    fn embed_patches(
        &self,
        slots: &EmbeddingSlots,
        patches: &Buffer,
        values: &Arena,
        resampling: Option<&Arena>,
    ) -> Buffer {
        run!(self as device, [patches values] [] [resampling] => one device.embed_patches(slots, patches, values, resampling))
    }

    fn embed_patches_backward(
        &self,
        slots: &EmbeddingSlots,
        dy: &Buffer,
        gradients: &mut Arena,
        resampling: Option<&Arena>,
    ) -> Buffer {
        run!(self as device, [dy] [gradients] [resampling] => one device.embed_patches_backward(slots, dy, gradients, resampling))
    }

    fn scale_images(&self, x: &Buffer, scales: &[f32], onto: Option<&Buffer>, channels: usize) -> Buffer {
        run!(self as device, [x] [] [onto] => one device.scale_images(x, scales, onto, channels))
    }

    fn slice(&self, x: &Buffer, range: Range<usize>) -> Buffer {
        run!(self as device, [x] [] [] => one device.slice(x, range))
    }

    fn concat(&self, a: &Buffer, b: &Buffer) -> Buffer {
        run!(self as device, [a b] [] [] => one device.concat(a, b))
    }

    fn first_backward(&self, dy: &Buffer, len: usize) -> Buffer {
        run!(self as device, [dy] [] [] => one device.first_backward(dy, len))
    }

    fn gelu(&self, x: &Buffer) -> Buffer {
        run!(self as device, [x] [] [] => one device.gelu(x))
    }

    fn gelu_backward(&self, dy: &Buffer, x: &Buffer) -> Buffer {
        run!(self as device, [dy x] [] [] => one device.gelu_backward(dy, x))
    }

    fn relu(&self, x: &Buffer) -> Buffer {
        run!(self as device, [x] [] [] => one device.relu(x))
    }

    fn relu_backward(&self, dy: &Buffer, y: &Buffer) -> Buffer {
        run!(self as device, [dy y] [] [] => one device.relu_backward(dy, y))
    }

    fn add(&self, a: &Buffer, b: &Buffer) -> Buffer {
        run!(self as device, [a b] [] [] => one device.add(a, b))
    }

    fn max_pool(&self, shape: &PoolShape, x: &Buffer) -> (Buffer, Places) {
        run!(self as device, [x] [] [] => pair device.max_pool(shape, x))
    }

    fn max_pool_backward(&self, shape: &PoolShape, dy: &Buffer, places: &Places) -> Buffer {
        run!(self as device, [dy places] [] [] => one device.max_pool_backward(shape, dy, places))
    }

    fn average_pool(&self, x: &Buffer, batch: usize, channels: usize) -> Buffer {
        run!(self as device, [x] [] [] => one device.average_pool(x, batch, channels))
    }

    fn average_pool_backward(&self, dy: &Buffer, pixels: usize, batch: usize, channels: usize) -> Buffer {
        run!(self as device, [dy] [] [] => one device.average_pool_backward(dy, pixels, batch, channels))
    }

    fn roi_align(&self, shape: &RoiShape, x: &Buffer, regions: &[Region]) -> Buffer {
        run!(self as device, [x] [] [] => one device.roi_align(shape, x, regions))
    }

    fn roi_align_backward(&self, shape: &RoiShape, dy: &Buffer, regions: &[Region]) -> Buffer {
        run!(self as device, [dy] [] [] => one device.roi_align_backward(shape, dy, regions))
    }

    fn update(&self, updates: &[(Slot, Update)], values: &mut Arena, gradients: &Arena, state: &mut [&mut Arena]) {
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
        run!(self as device, [] [arena] [] => nothing device.clip(ranges, arena, limit))
    }

    fn average(&self, at: Slot, target: &mut Arena, online: &Arena, momentum: f64) {
        run!(self as device, [online] [target] [] => nothing device.average(at, target, online, momentum))
    }
}

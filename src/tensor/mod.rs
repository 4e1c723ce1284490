//! Typed tensors on a device. Shapes are dfdx shapes: constants in the type, and the batch as a `usize`. Heights and
//! widths may be either. Feature maps are NCHW in the type and (H, W, N, C) in memory; images are (N, H, W, 3) in both.
//! `bridge` puts operations of this crate on dfdx's tape.

mod any;
pub mod bridge;
mod buffer;
mod cpu;
pub mod cuda;
mod losses;
pub mod profile;
mod sides;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

pub use dfdx::shapes::{Const, ConstDim, Dim, Shape};
use serde::{Deserialize, Serialize};

pub use any::AnyDevice;
pub use buffer::Pooled;
pub use cpu::Cpu;
pub use cuda::Cuda;
pub use losses::{Comparison, DeviceLoss, Losses, Reading, Rows, Term, TwinWeights, VicregWeights, ViewTargets};
pub use sides::{Images, Maps, Matrix, Patched, Side, Strided, Tokens, Vectors};

#[cfg(test)]
pub(crate) use buffer::fresh;

pub use crate::kernels::shapes::{AttentionShape, ConvShape, Layout, PoolShape, Region, RoiShape};

/// Number format of activations and products. Parameters, their gradients, statistics and sums are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE single precision.
    #[default]
    F32,
    /// The upper half of an IEEE single: the same range, 8 bits of significand.
    Bf16,
}

impl Precision {
    /// The name in settings and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes per number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// The location of one parameter in a flat arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// First element.
    pub start: usize,
    /// Number of elements.
    pub len: usize,
}

/// Hyperparameters of one step of an optimiser over a range of the arenas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Stochastic gradient descent with momentum, as PyTorch defines it.
    Sgd {
        /// The step size.
        learning_rate: f32,
        /// The part of the velocity that each step keeps, from 0 to 1.
        momentum: f32,
        /// Multiplies the values before they are added to the gradient; 0 where nothing decays.
        weight_decay: f32,
        /// Whether the momentum is Nesterov's.
        nesterov: bool,
        /// LARS's trust coefficient. Gradient and decay are multiplied by the trust ratio of the range before they enter
        /// the velocity: trust |w| / (|g| + decay |w|), or 1 if either norm is 0. `None` for plain SGD.
        trust: Option<f32>,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>).
    AdamW {
        /// The learning rate.
        learning_rate: f32,
        /// The decay rates of the first and second moments.
        betas: (f32, f32),
        /// Added to the root of the second moment.
        epsilon: f32,
        /// The decay, multiplied by the learning rate.
        weight_decay: f32,
        /// The step, counted from 1, for the correction of the moments' bias.
        step: u64,
    },
}

/// A device that stores tensors and computes with them. This trait is the only interface between layers and kernels:
/// a new device implements it, and nothing above it changes. Activations are `Buffer`s. Parameters, gradients,
/// running statistics and optimiser state are stored in flat f32 `Arena`s and are addressed by their [`Slot`].
///
/// Outputs and activation gradients are written. Parameter gradients are added to.
pub trait Device: Clone + Debug + Send + Sync + 'static {
    /// Activations, in the device's number format.
    type Buffer: Clone + Debug + Send + Sync;
    /// Parameters, gradients, running statistics and optimiser state, in f32.
    type Arena: Clone + Debug + Send;
    /// Mean and 1 / sqrt(variance + epsilon), in f32, as the backward pass of a normalisation needs them: of each channel
    /// over a batch (batch normalisation; the running moments if it is frozen) or of each row (layer normalisation).
    type Moments: Clone + Debug + Send;
    /// What a max pooling keeps from its forward pass.
    type Places: Debug + Send;

    /// Copies activations from host memory, rounded to the device's format.
    fn upload(&self, host: &[f32]) -> Self::Buffer;
    /// Copies activations to host memory.
    fn download(&self, buffer: &Self::Buffer) -> Vec<f32>;
    /// Creates an arena from host memory.
    fn arena(&self, host: Vec<f32>) -> Self::Arena;
    /// An arena of zeros.
    fn zeros(&self, len: usize) -> Self::Arena;
    /// Copies an arena to host memory.
    fn host(&self, arena: &Self::Arena) -> Vec<f32>;
    /// Sets a range of an arena to zero.
    fn clear(&self, arena: &mut Self::Arena, at: Slot);
    /// Writes all of `from` over a range of an arena.
    fn write(&self, arena: &mut Self::Arena, at: Slot, from: &Self::Arena);

    /// y = x * w (+ b); weights (O, K, K, I), b (O).
    fn conv2d(
        &self,
        shape: &ConvShape,
        x: &Self::Buffer,
        values: &Self::Arena,
        w: Slot,
        bias: Option<Slot>,
    ) -> Self::Buffer;
    /// The gradient of the convolution's input, added to `onto` if it is given.
    fn conv2d_input(
        &self,
        shape: &ConvShape,
        dy: &Self::Buffer,
        values: &Self::Arena,
        w: Slot,
        onto: Option<&Self::Buffer>,
    ) -> Self::Buffer;
    /// Adds the gradients of the convolution's weights and bias.
    fn conv2d_weight(
        &self,
        shape: &ConvShape,
        x: &Self::Buffer,
        dy: &Self::Buffer,
        gradients: &mut Self::Arena,
        w: Slot,
        bias: Option<Slot>,
    );

    /// y = x w' (+ b) (+ onto); x (rows, inputs), w (outputs, inputs), b (outputs), y and onto (rows, outputs).
    fn linear(
        &self,
        x: &Self::Buffer,
        values: &Self::Arena,
        w: Slot,
        bias: Option<Slot>,
        onto: Option<&Self::Buffer>,
        outputs: usize,
    ) -> Self::Buffer;
    /// The gradient of the linear map's input, added to `onto` if it is given.
    fn linear_input(
        &self,
        dy: &Self::Buffer,
        values: &Self::Arena,
        w: Slot,
        onto: Option<&Self::Buffer>,
        outputs: usize,
    ) -> Self::Buffer;
    /// Adds the gradients of the linear map's weights and bias.
    fn linear_weight(
        &self,
        x: &Self::Buffer,
        dy: &Self::Buffer,
        gradients: &mut Self::Arena,
        w: Slot,
        bias: Option<Slot>,
        outputs: usize,
    );

    /// Batch normalisation with the batch's own moments, plus `shortcut` if it is given, then ReLU if the options ask
    /// for it: one pass. Moves the running moments in `statistics` towards the batch's by `momentum`, with the
    /// unbiased variance, as PyTorch does. A frozen normalisation uses the running moments and does not move them.
    fn batch_norm(
        &self,
        norm: &NormOptions,
        x: &Self::Buffer,
        shortcut: Option<&Self::Buffer>,
        values: &Self::Arena,
        statistics: &mut Self::Arena,
    ) -> (Self::Buffer, Self::Moments);
    /// The same with the running moments.
    fn batch_norm_running(
        &self,
        norm: &NormOptions,
        x: &Self::Buffer,
        shortcut: Option<&Self::Buffer>,
        values: &Self::Arena,
        statistics: &Self::Arena,
    ) -> Self::Buffer;
    /// The gradient of x if there was no shortcut: the ReLU's mask is recomputed from x. Adds the gradients of gamma
    /// and beta if they are trained.
    fn batch_norm_backward(
        &self,
        norm: &NormOptions,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        moments: &Self::Moments,
        values: &Self::Arena,
        gradients: &mut Self::Arena,
    ) -> Self::Buffer;
    /// The gradients of x and of the shortcut; `y` is the output of [`Self::batch_norm`]. Adds the gradients of gamma
    /// and beta if they are trained.
    #[expect(clippy::too_many_arguments, reason = "x and y, their gradients, and the arenas")]
    fn batch_norm_shortcut_backward(
        &self,
        norm: &NormOptions,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        y: &Self::Buffer,
        moments: &Self::Moments,
        values: &Self::Arena,
        gradients: &mut Self::Arena,
    ) -> (Self::Buffer, Self::Buffer);

    /// Layer normalisation. Also returns the moments of each row.
    fn layer_norm(
        &self,
        norm: &LayerNormOptions,
        x: &Self::Buffer,
        values: &Self::Arena,
    ) -> (Self::Buffer, Self::Moments);
    /// The gradient of x, added to `onto` if it is given. Adds the gradients of gamma and beta.
    #[expect(clippy::too_many_arguments, reason = "x, its gradients, and the arenas")]
    fn layer_norm_backward(
        &self,
        norm: &LayerNormOptions,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        moments: &Self::Moments,
        onto: Option<&Self::Buffer>,
        values: &Self::Arena,
        gradients: &mut Self::Arena,
    ) -> Self::Buffer;

    /// Scales each row of `columns` elements to unit length: x / max(|x|, 1e-12).
    fn unit_rows(&self, x: &Self::Buffer, columns: usize) -> Self::Buffer;
    /// The gradient of x.
    fn unit_rows_backward(&self, dy: &Self::Buffer, x: &Self::Buffer, columns: usize) -> Self::Buffer;
    /// Returns the rows of a weight, scaled to unit length, as a new arena.
    fn unit_weight(&self, values: &Self::Arena, w: Slot, columns: usize) -> Self::Arena;
    /// Adds the gradient of a weight. `dunit` is the gradient of the result of [`Self::unit_weight`].
    fn unit_weight_backward(
        &self,
        dunit: &Self::Arena,
        values: &Self::Arena,
        gradients: &mut Self::Arena,
        w: Slot,
        columns: usize,
    );

    /// Self-attention of tokens whose queries, keys and values are `qkv` (T, N, 3 C). Returns the output (T, N, C)
    /// and the probabilities.
    fn attention(&self, shape: &AttentionShape, qkv: &Self::Buffer) -> (Self::Buffer, Self::Buffer);
    /// The gradient of qkv.
    fn attention_backward(
        &self,
        shape: &AttentionShape,
        dy: &Self::Buffer,
        qkv: &Self::Buffer,
        probabilities: &Self::Buffer,
    ) -> Self::Buffer;

    /// Returns tokens (T, N, C): the class token of each image, then its patches (T - 1, N, C) plus their bias. The
    /// vector of its position is added to each token. If the positions are for another grid, `resampling` (patches,
    /// patches of that grid) computes the positions of the patches from them; the position of the class token does
    /// not change.
    fn embed_patches(
        &self,
        slots: &EmbeddingSlots,
        patches: &Self::Buffer,
        values: &Self::Arena,
        resampling: Option<&Self::Arena>,
    ) -> Self::Buffer;
    /// The gradient of the patches. Adds the gradients of the class token, bias and positions.
    fn embed_patches_backward(
        &self,
        slots: &EmbeddingSlots,
        dy: &Self::Buffer,
        gradients: &mut Self::Arena,
        resampling: Option<&Self::Arena>,
    ) -> Self::Buffer;
    /// Multiplies each image of x (T, N, C) by its scale (N). The result is added to `onto` if it is given.
    fn scale_images(
        &self,
        x: &Self::Buffer,
        scales: &[f32],
        onto: Option<&Self::Buffer>,
        channels: usize,
    ) -> Self::Buffer;
    /// A contiguous range of elements.
    fn slice(&self, x: &Self::Buffer, range: Range<usize>) -> Self::Buffer;
    /// The elements of a, then those of b.
    fn concat(&self, a: &Self::Buffer, b: &Self::Buffer) -> Self::Buffer;
    /// dy, then zeros up to `len` elements.
    fn first_backward(&self, dy: &Self::Buffer, len: usize) -> Self::Buffer;

    /// x Φ(x), with Φ the normal distribution function.
    fn gelu(&self, x: &Self::Buffer) -> Self::Buffer;
    /// dy (Φ(x) + x φ(x)).
    fn gelu_backward(&self, dy: &Self::Buffer, x: &Self::Buffer) -> Self::Buffer;
    /// max(x, 0).
    fn relu(&self, x: &Self::Buffer) -> Self::Buffer;
    /// dy where y > 0.
    fn relu_backward(&self, dy: &Self::Buffer, y: &Self::Buffer) -> Self::Buffer;
    /// a + b.
    fn add(&self, a: &Self::Buffer, b: &Self::Buffer) -> Self::Buffer;

    /// The maximum of each window and its place in the window.
    fn max_pool(&self, shape: &PoolShape, x: &Self::Buffer) -> (Self::Buffer, Self::Places);
    /// The gradient of x: dy at the place of each window's maximum.
    fn max_pool_backward(&self, shape: &PoolShape, dy: &Self::Buffer, places: &Self::Places) -> Self::Buffer;
    /// The mean over the positions of each map.
    fn average_pool(&self, x: &Self::Buffer, batch: usize, channels: usize) -> Self::Buffer;
    /// dy / pixels at each of `pixels` positions.
    fn average_pool_backward(&self, dy: &Self::Buffer, pixels: usize, batch: usize, channels: usize) -> Self::Buffer;

    /// ROIAlign: a map (P, P, R, C) of the regions, each sampled from the map of its image.
    fn roi_align(&self, shape: &RoiShape, x: &Self::Buffer, regions: &[Region]) -> Self::Buffer;
    /// The gradient of x.
    fn roi_align_backward(&self, shape: &RoiShape, dy: &Self::Buffer, regions: &[Region]) -> Self::Buffer;

    /// One optimiser step over ranges that do not overlap; `state` are the optimiser's own arenas (velocity, or the two
    /// moments).
    fn update(
        &self,
        updates: &[(Slot, Update)],
        values: &mut Self::Arena,
        gradients: &Self::Arena,
        state: &mut [&mut Self::Arena],
    );
    /// Scales each range down to the Euclidean norm `limit`: by limit / (norm + 1e-6) if that is below 1.
    fn clip(&self, ranges: &[Slot], arena: &mut Self::Arena, limit: f64);
    /// target = momentum target + (1 - momentum) online over a range.
    fn average(&self, at: Slot, target: &mut Self::Arena, online: &Self::Arena, momentum: f64);
}

/// What a batch normalisation learns in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norms {
    /// It uses the batch's moments, moves the running moments, and trains scale and shift.
    #[default]
    Trained,
    /// It uses the running moments, which do not move, and trains scale and shift: for fine-tuning on small batches.
    FrozenMoments,
    /// As [`Self::FrozenMoments`], and scale and shift have no gradient. They are constant if the optimiser
    /// neither decays vectors nor has momentum for them.
    Frozen,
}

/// Options of batch normalisation: the location of its parameters, its constants, and the operation that follows in
/// the same pass.
#[derive(Clone, Copy, Debug)]
pub struct NormOptions {
    /// Scales, then shifts. If `None`, they are 1 and 0.
    pub affine: Option<Slot>,
    /// Running moments: means, then variances.
    pub running: Slot,
    /// Whether a ReLU follows.
    pub rectify: bool,
    /// Added to the variance.
    pub epsilon: f32,
    /// The fraction by which the running moments move towards the batch's.
    pub momentum: f32,
    /// What is trained.
    pub norms: Norms,
}

impl NormOptions {
    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.running.len / 2
    }
}

/// Options of layer normalisation: the location of its parameters, and its constant.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormOptions {
    /// Scale.
    pub gamma: Slot,
    /// Shift, stored right after the scale.
    pub beta: Slot,
    /// Added to the variance.
    pub epsilon: f32,
}

/// The location of the parameters that turn patches into tokens.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingSlots {
    /// The class token, (C).
    pub class: Slot,
    /// The positions, added to the tokens, (T, C). T is the number of tokens of the images that the positions are
    /// for.
    pub positions: Slot,
    /// The bias, added to each patch, (C).
    pub bias: Slot,
}

/// A tensor of shape `S` on a device. Cloning shares the memory.
#[derive(Clone, Debug)]
pub struct Tensor<S: Shape, D: Device> {
    shape: S,
    data: Arc<D::Buffer>,
    device: D,
}

impl<S: Shape, D: Device> Tensor<S, D> {
    /// Copies from host memory, which has the tensor's memory layout.
    ///
    /// # Panics
    /// When the length is not that of the shape.
    pub fn upload(device: &D, shape: S, host: &[f32]) -> Self {
        assert!(host.len() == shape.num_elements(), "upload: {} values for shape {shape:?}", host.len());
        Self::new(device.clone(), shape, device.upload(host))
    }

    /// Copies to host memory, in the tensor's memory layout.
    pub fn download(&self) -> Vec<f32> {
        self.device.download(&self.data)
    }

    /// A tensor over a buffer that a device made for this shape.
    pub fn new(device: D, shape: S, data: D::Buffer) -> Self {
        Self { shape, data: Arc::new(data), device }
    }

    /// Returns a tensor on the same device with another shape and buffer.
    pub fn with<T: Shape>(&self, shape: T, data: D::Buffer) -> Tensor<T, D> {
        Tensor::new(self.device.clone(), shape, data)
    }

    /// Returns the same memory with another shape of the same number of elements.
    ///
    /// # Panics
    /// When the number of elements differs.
    pub fn reshape<T: Shape>(self, shape: T) -> Tensor<T, D> {
        let (old, new) = (self.shape.num_elements(), shape.num_elements());
        assert!(old == new, "reshape: {old} elements of {:?} as {shape:?}", self.shape);
        Tensor { shape, data: self.data, device: self.device }
    }

    /// The shape, batch included.
    pub fn shape(&self) -> S {
        self.shape
    }

    /// The memory.
    pub fn data(&self) -> &D::Buffer {
        &self.data
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }
}

impl<D: Device> Tensor<Matrix, D> {
    /// Returns the rows of this matrix, then those of `other`, which must have the same width.
    ///
    /// # Panics
    /// When the widths differ.
    pub fn stack(&self, other: &Self) -> Self {
        let ((rows, width), (more, other_width)) = (self.shape, other.shape);
        assert!(width == other_width, "stack: rows of {width} and of {other_width}");
        self.with((rows + more, width), self.device.concat(&self.data, &other.data))
    }

    /// Returns the first `rows` rows, and the remaining rows.
    pub fn unstack(&self, rows: usize) -> (Self, Self) {
        let (all, width) = self.shape;
        let part = |from, to| self.with((to - from, width), self.device.slice(&self.data, from * width..to * width));
        (part(0, rows), part(rows, all))
    }
}

//! The transformer's block (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>), with timm's parameter names.

use crate::tensor::{AttentionShape, Device, Dim, Slot, Tensor, Tokens};

use super::drop_path::{DropPath, Scales};
use super::linear::normal_start;
use super::{Build, Builder, Gelu, Layer, LayerNorm, NormalLinear, ParamKind, Parameters};

/// Multi-head self-attention: queries, keys and values of C channels by one linear map, `HEADS` heads of C / HEADS
/// channels, and a linear map of the heads' output. Maps tokens (N, T, C) to tokens of the same shape.
#[derive(Clone, Copy, Debug)]
pub struct Attention<const C: usize, const HEADS: usize> {
    /// Weight (3 C, C) and bias.
    qkv: [Slot; 2],
    projection: NormalLinear<C, C>,
}

/// What attention's backward needs.
#[derive(Debug)]
pub struct SavedAttention<D: Device, T: Dim, const C: usize> {
    x: Tensor<Tokens<T, C>, D>,
    qkv: D::Buffer,
    probabilities: D::Buffer,
    mixed: Tensor<Tokens<T, C>, D>,
}

/// x + attention(norm(x)), then x + mlp(norm(x)). The mlp is linear, GELU, linear, with `HIDDEN` channels in between.
/// In a training pass with stochastic depth, each branch is dropped for some images.
#[derive(Clone, Copy, Debug)]
pub struct TransformerBlock<const C: usize, const HEADS: usize, const HIDDEN: usize> {
    norm1: LayerNorm<C>,
    attention: Attention<C, HEADS>,
    norm2: LayerNorm<C>,
    fc1: NormalLinear<C, HIDDEN>,
    fc2: NormalLinear<HIDDEN, C>,
    drop_path: DropPath,
}

/// What a block's backward needs, layer by layer.
#[derive(Debug)]
pub struct SavedTransformerBlock<D: Device, T: Dim, const C: usize, const HIDDEN: usize> {
    norm1: (Tensor<Tokens<T, C>, D>, D::Moments),
    attention: SavedAttention<D, T, C>,
    norm2: (Tensor<Tokens<T, C>, D>, D::Moments),
    fc1: Tensor<Tokens<T, C>, D>,
    gelu: Tensor<Tokens<T, HIDDEN>, D>,
    fc2: Tensor<Tokens<T, HIDDEN>, D>,
    scales: Scales,
}

impl<const C: usize, const HEADS: usize> Build for Attention<C, HEADS> {
    fn build(builder: &mut Builder<'_>) -> Self {
        const { assert!(C.is_multiple_of(HEADS), "heads must share the channels evenly") }
        builder.scope("attn", |builder| {
            let weight = builder.parameter("qkv.weight", &[3 * C, C], ParamKind::Weight, normal_start);
            let bias = builder.parameter("qkv.bias", &[3 * C], ParamKind::Vector, |_| 0.0);
            Self { qkv: [weight, bias], projection: NormalLinear::named(builder, "proj") }
        })
    }
}

impl<const C: usize, const HEADS: usize, const HIDDEN: usize> Build for TransformerBlock<C, HEADS, HIDDEN> {
    /// A single block.
    fn build(builder: &mut Builder<'_>) -> Self {
        Self::at_depth(builder, 0, 1)
    }
}

impl<const C: usize, const HEADS: usize, const HIDDEN: usize> TransformerBlock<C, HEADS, HIDDEN> {
    /// Block `index` of `depth`, for the rate of stochastic depth. Named by its index in the sequence.
    pub fn at_depth(builder: &mut Builder<'_>, index: usize, depth: usize) -> Self {
        let name = builder.next_index();
        builder.scope(&name, |builder| {
            let (norm1, attention, norm2) = (Build::build(builder), Build::build(builder), Build::build(builder));
            let (fc1, fc2) = (NormalLinear::named(builder, "mlp.fc1"), NormalLinear::named(builder, "mlp.fc2"));
            Self { norm1, attention, norm2, fc1, fc2, drop_path: DropPath::new(index, depth) }
        })
    }
}

impl<const C: usize, const HEADS: usize> Attention<C, HEADS> {
    fn shape<T: Dim>((batch, tokens, _): Tokens<T, C>) -> AttentionShape {
        AttentionShape { tokens: tokens.size(), batch, heads: HEADS, width: C / HEADS }
    }

    /// Computes the output of the heads, and everything that backward needs.
    fn mix<D: Device, T: Dim>(
        &self,
        x: Tensor<Tokens<T, C>, D>,
        parameters: &Parameters<D>,
    ) -> SavedAttention<D, T, C> {
        let ([weight, bias], device) = (self.qkv, x.device());
        let qkv = device.linear(x.data(), &parameters.values, weight, Some(bias), None, 3 * C);
        let (y, probabilities) = device.attention(&Self::shape(x.shape()), &qkv);
        let mixed = x.with(x.shape(), y);
        SavedAttention { x, qkv, probabilities, mixed }
    }

    /// As `forward`, with `onto` added in the last product.
    fn forward_onto<D: Device, T: Dim>(
        &self,
        x: Tensor<Tokens<T, C>, D>,
        onto: Option<&Tensor<Tokens<T, C>, D>>,
        parameters: &Parameters<D>,
    ) -> (Tensor<Tokens<T, C>, D>, SavedAttention<D, T, C>) {
        let saved = self.mix(x, parameters);
        (self.projection.infer_onto(&saved.mixed, onto, parameters), saved)
    }
}

impl<D: Device, T: Dim, const C: usize, const HEADS: usize> Layer<D, Tokens<T, C>> for Attention<C, HEADS> {
    type Output = Tokens<T, C>;
    type Saved = SavedAttention<D, T, C>;

    fn forward(
        &self,
        x: Tensor<Tokens<T, C>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Tokens<T, C>, D>, Self::Saved) {
        self.forward_onto(x, None, parameters)
    }

    fn backward(
        &self,
        SavedAttention { x, qkv, probabilities, mixed }: Self::Saved,
        dy: Tensor<Tokens<T, C>, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Tokens<T, C>, D> {
        let dmixed = self.projection.backward(mixed, dy, parameters);
        let Parameters { values, gradients, device, .. } = parameters;
        let dqkv = device.attention_backward(&Self::shape(x.shape()), dmixed.data(), &qkv, &probabilities);
        let [weight, bias] = self.qkv;
        device.linear_weight(x.data(), &dqkv, gradients, weight, Some(bias), 3 * C);
        x.with(x.shape(), device.linear_input(&dqkv, values, weight, None, 3 * C))
    }

    fn infer(&self, x: Tensor<Tokens<T, C>, D>, parameters: &Parameters<D>) -> Tensor<Tokens<T, C>, D> {
        self.forward_onto(x, None, parameters).0
    }
}

impl<D: Device, T: Dim, const C: usize, const HEADS: usize, const HIDDEN: usize> Layer<D, Tokens<T, C>>
    for TransformerBlock<C, HEADS, HIDDEN>
{
    type Output = Tokens<T, C>;
    type Saved = SavedTransformerBlock<D, T, C, HIDDEN>;

    fn forward(
        &self,
        x: Tensor<Tokens<T, C>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Tokens<T, C>, D>, Self::Saved) {
        let scales = self.drop_path.draw(x.shape().0, parameters.pass);
        let (normal, norm1) = self.norm1.forward(x.clone(), parameters);
        let (branch, attention) = self.attention.forward_onto(normal, scales.onto(&x), parameters);
        let x = scales.join(0, branch, &x);
        let (normal, norm2) = self.norm2.forward(x.clone(), parameters);
        let (hidden, fc1) = self.fc1.forward(normal, parameters);
        let (active, gelu) = Gelu.forward(hidden, parameters);
        let branch = self.fc2.infer_onto(&active, scales.onto(&x), parameters);
        let y = scales.join(1, branch, &x);
        (y, SavedTransformerBlock { norm1, attention, norm2, fc1, gelu, fc2: active, scales })
    }

    fn backward(
        &self,
        SavedTransformerBlock { norm1, attention, norm2, fc1, gelu, fc2, scales }: Self::Saved,
        dy: Tensor<Tokens<T, C>, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Tokens<T, C>, D> {
        let dactive = self.fc2.backward(fc2, scales.branch_gradient(1, &dy), parameters);
        let dhidden = Gelu.backward(gelu, dactive, parameters);
        let dnormal = self.fc1.backward(fc1, dhidden, parameters);
        let dx = self.norm2.backward_onto(norm2, dnormal, dy, parameters);
        let dnormal = self.attention.backward(attention, scales.branch_gradient(0, &dx), parameters);
        self.norm1.backward_onto(norm1, dnormal, dx, parameters)
    }

    fn infer(&self, x: Tensor<Tokens<T, C>, D>, parameters: &Parameters<D>) -> Tensor<Tokens<T, C>, D> {
        let normal = self.norm1.infer(x.clone(), parameters);
        let (x, _) = self.attention.forward_onto(normal, Some(&x), parameters);
        let hidden = self.fc1.infer(self.norm2.infer(x.clone(), parameters), parameters);
        self.fc2.infer_onto(&Gelu.infer(hidden, parameters), Some(&x), parameters)
    }
}

//! Linear maps of vectors and tokens.

use crate::rng::Stream;
use crate::tensor::{Const, Device, Dim, Shape, Slot, Tensor, Tokens, Vectors};

use super::{Build, Builder, Layer, ParamKind, Parameters};

/// A shape that is a matrix of rows of width `C` in memory, whatever the rows are.
pub trait Rows<const C: usize>: Shape {
    /// The same with rows of another width.
    type With<const O: usize>: Rows<O>;
    /// The same with rows of another width.
    fn with<const O: usize>(self) -> Self::With<O>;
}

impl<const C: usize> Rows<C> for Vectors<C> {
    type With<const O: usize> = Vectors<O>;
    fn with<const O: usize>(self) -> Vectors<O> {
        (self.0, Const)
    }
}

impl<T: Dim, const C: usize> Rows<C> for Tokens<T, C> {
    type With<const O: usize> = Tokens<T, O>;
    fn with<const O: usize>(self) -> Tokens<T, O> {
        (self.0, self.1, Const)
    }
}

/// y = x W' + b: rows of I to rows of O; W (O, I), b (O). There is no b without `BIAS`. `NORMAL` selects the
/// initialisation of transformers.
#[derive(Clone, Copy, Debug)]
pub struct Linear<const I: usize, const O: usize, const BIAS: bool = true, const NORMAL: bool = false> {
    weight: Slot,
    bias: Option<Slot>,
}

/// y = x W'.
pub type LinearNoBias<const I: usize, const O: usize> = Linear<I, O, false>;

/// A linear map with the initialisation of transformers and of DINO's head.
pub type NormalLinear<const I: usize, const O: usize> = Linear<I, O, true, true>;

/// Draws from a normal distribution with standard deviation 0.02, as timm initialises a transformer's weights (timm
/// truncates it at 2, which is a hundred standard deviations).
pub(super) fn normal_start(stream: &mut Stream) -> f32 {
    0.02 * stream.normal()
}

impl<const I: usize, const O: usize, const BIAS: bool, const NORMAL: bool> Build for Linear<I, O, BIAS, NORMAL> {
    fn build(builder: &mut Builder<'_>) -> Self {
        let name = builder.next("linear");
        Self::named(builder, &name)
    }
}

impl<const I: usize, const O: usize, const BIAS: bool, const NORMAL: bool> Linear<I, O, BIAS, NORMAL> {
    /// Builds the layer under a given name. Weight and bias are uniform within 1 / sqrt(I), as PyTorch initialises
    /// linear layers. With `NORMAL`, the weight is normal with standard deviation 0.02 and the bias is zero.
    pub fn named(builder: &mut Builder<'_>, name: &str) -> Self {
        let bound = 1.0 / (I as f32).sqrt();
        let uniform = move |stream: &mut Stream| stream.range(-bound, bound);
        let weight = |s: &mut Stream| if NORMAL { normal_start(s) } else { uniform(s) };
        let bias = |s: &mut Stream| if NORMAL { 0.0 } else { uniform(s) };
        Self {
            weight: builder.parameter(&format!("{name}.weight"), &[O, I], ParamKind::Weight, weight),
            bias: BIAS.then(|| builder.parameter(&format!("{name}.bias"), &[O], ParamKind::Vector, bias)),
        }
    }

    /// As `infer`, with `onto` added in the same pass: the end of a residual branch.
    pub(super) fn infer_onto<D: Device, X: Rows<I>>(
        &self,
        x: &Tensor<X, D>,
        onto: Option<&Tensor<X::With<O>, D>>,
        parameters: &Parameters<D>,
    ) -> Tensor<X::With<O>, D> {
        let Parameters { values, device, .. } = parameters;
        let y = device.linear(x.data(), values, self.weight, self.bias, onto.map(Tensor::data), O);
        x.with(x.shape().with::<O>(), y)
    }

    fn backward_input<D: Device, X: Rows<I>>(
        &self,
        x: Tensor<X, D>,
        dy: Tensor<X::With<O>, D>,
        onto: Option<&Tensor<X, D>>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<X, D> {
        let shape = x.shape();
        self.backward_parameters(x, dy.clone(), parameters);
        let (device, values, onto) = (dy.device(), &parameters.values, onto.map(Tensor::data));
        dy.with(shape, device.linear_input(dy.data(), values, self.weight, onto, O))
    }
}

impl<D: Device, X: Rows<I>, const I: usize, const O: usize, const BIAS: bool, const NORMAL: bool> Layer<D, X>
    for Linear<I, O, BIAS, NORMAL>
{
    type Output = X::With<O>;
    type Saved = Tensor<X, D>;

    fn forward(&self, x: Tensor<X, D>, parameters: &mut Parameters<D>) -> (Tensor<X::With<O>, D>, Self::Saved) {
        (self.infer_onto(&x, None, parameters), x)
    }

    fn backward(&self, x: Self::Saved, dy: Tensor<X::With<O>, D>, parameters: &mut Parameters<D>) -> Tensor<X, D> {
        self.backward_input(x, dy, None, parameters)
    }

    fn backward_onto(
        &self,
        x: Self::Saved,
        dy: Tensor<X::With<O>, D>,
        onto: Tensor<X, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<X, D> {
        self.backward_input(x, dy, Some(&onto), parameters)
    }

    fn backward_parameters(&self, x: Self::Saved, dy: Tensor<X::With<O>, D>, parameters: &mut Parameters<D>) {
        let Parameters { gradients, device, .. } = parameters;
        device.linear_weight(x.data(), dy.data(), gradients, self.weight, self.bias, O);
    }

    fn infer(&self, x: Tensor<X, D>, parameters: &Parameters<D>) -> Tensor<X::With<O>, D> {
        self.infer_onto(&x, None, parameters)
    }
}

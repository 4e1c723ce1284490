//! Linear maps of vectors and tokens.

use crate::tensor::{Const, ConstDim, Device, Shape, Slot, Tensor, Tokens, Vectors};

use super::{Build, Builder, Kind, Layer, Parameters};

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

impl<T: ConstDim, const C: usize> Rows<C> for Tokens<T, C> {
    type With<const O: usize> = Tokens<T, O>;
    fn with<const O: usize>(self) -> Tokens<T, O> {
        (self.0, self.1, Const)
    }
}

/// y = x W' + b: rows of I to rows of O; W (O, I), b (O).
#[derive(Clone, Copy, Debug)]
pub struct Linear<const I: usize, const O: usize> {
    weight: Slot,
    bias: Slot,
}

impl<const I: usize, const O: usize> Build for Linear<I, O> {
    /// Uniform within 1 / sqrt(I) for weight and bias, as PyTorch starts its linear layers.
    fn build(builder: &mut Builder<'_>) -> Self {
        let bound = 1.0 / (I as f32).sqrt();
        let name = builder.next("linear");
        let weight = builder.parameter(&format!("{name}.weight"), &[O, I], Kind::Weight, |s| s.range(-bound, bound));
        let bias = builder.parameter(&format!("{name}.bias"), &[O], Kind::Vector, |s| s.range(-bound, bound));
        Self { weight, bias }
    }
}

/// Weight (outputs, inputs) and bias of a linear map in a transformer: normal of deviation 0.02, and zero, as timm starts
/// them (it cuts the normal off at 2, a hundred deviations).
pub(super) fn transformer_slots(builder: &mut Builder<'_>, name: &str, outputs: usize, inputs: usize) -> [Slot; 2] {
    let shape = [outputs, inputs];
    let weight = builder.parameter(&format!("{name}.weight"), &shape, Kind::Weight, |s| 0.02 * s.normal());
    [weight, builder.parameter(&format!("{name}.bias"), &[outputs], Kind::Vector, |_| 0.0)]
}

impl<const I: usize, const O: usize> Linear<I, O> {
    /// As a transformer has it.
    pub(super) fn of_transformer(builder: &mut Builder<'_>, name: &str) -> Self {
        let [weight, bias] = transformer_slots(builder, name, O, I);
        Self { weight, bias }
    }

    /// As `infer`, with `onto` added in the same pass: the end of a residual branch.
    pub(super) fn infer_onto<D: Device, X: Rows<I>>(
        &self,
        x: &Tensor<X, D>,
        onto: Option<&Tensor<X::With<O>, D>>,
        parameters: &Parameters<D>,
    ) -> Tensor<X::With<O>, D> {
        let Parameters { values, device, .. } = parameters;
        let y = device.linear(x.data(), values, self.weight, Some(self.bias), onto.map(Tensor::data), O);
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

impl<D: Device, X: Rows<I>, const I: usize, const O: usize> Layer<D, X> for Linear<I, O> {
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
        device.linear_weight(x.data(), dy.data(), gradients, self.weight, Some(self.bias), O);
    }

    fn infer(&self, x: Tensor<X, D>, parameters: &Parameters<D>) -> Tensor<X::With<O>, D> {
        self.infer_onto(&x, None, parameters)
    }
}

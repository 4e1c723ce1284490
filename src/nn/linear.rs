//! Linear maps of vectors.

use crate::tensor::{Const, Device, Slot, Tensor, Vectors};

use super::{Build, Builder, Kind, Layer, Parameters};

/// y = x W' + b: (N, I) to (N, O); W (O, I), b (O).
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

impl<D: Device, const I: usize, const O: usize> Layer<D, Vectors<I>> for Linear<I, O> {
    type Output = Vectors<O>;
    type Saved = Tensor<Vectors<I>, D>;

    fn forward(
        &self,
        x: Tensor<Vectors<I>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Vectors<O>, D>, Self::Saved) {
        (self.infer(x.clone(), parameters), x)
    }

    fn backward(
        &self,
        x: Self::Saved,
        dy: Tensor<Vectors<O>, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Vectors<I>, D> {
        let shape = x.shape();
        self.backward_parameters(x, dy.clone(), parameters);
        dy.with(shape, dy.device().linear_input(dy.data(), &parameters.values, self.weight, None, O))
    }

    fn backward_onto(
        &self,
        x: Self::Saved,
        dy: Tensor<Vectors<O>, D>,
        onto: Tensor<Vectors<I>, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Vectors<I>, D> {
        let shape = x.shape();
        self.backward_parameters(x, dy.clone(), parameters);
        let onto = Some(onto.data());
        dy.with(shape, dy.device().linear_input(dy.data(), &parameters.values, self.weight, onto, O))
    }

    fn backward_parameters(&self, x: Self::Saved, dy: Tensor<Vectors<O>, D>, parameters: &mut Parameters<D>) {
        let Parameters { gradients, device, .. } = parameters;
        device.linear_weight(x.data(), dy.data(), gradients, self.weight, Some(self.bias), O);
    }

    fn infer(&self, x: Tensor<Vectors<I>, D>, parameters: &Parameters<D>) -> Tensor<Vectors<O>, D> {
        let y = x.device().linear(x.data(), &parameters.values, self.weight, Some(self.bias), O);
        x.with((x.shape().0, Const), y)
    }
}

//! Linear maps whose number of outputs is known only at run time, such as the number of categories of a dataset.

use crate::tensor::{Device, Matrix, Slot, Tensor, Vectors};

use super::{Builder, Layer, ParamKind, Parameters};

/// y = x W' + b: rows of `I` to rows of a width that is chosen when it is built; W (outputs, I), b (outputs).
#[derive(Clone, Copy, Debug)]
pub struct Predictor<const I: usize> {
    weight: Slot,
    bias: Slot,
    outputs: usize,
}

impl<const I: usize> Predictor<I> {
    /// Builds the layer with weights from a normal distribution of this standard deviation, and zero biases. Weight decay
    /// includes the biases, as in detectron2.
    pub fn new(builder: &mut Builder<'_>, name: &str, outputs: usize, deviation: f32) -> Self {
        let normal = |stream: &mut crate::rng::Stream| deviation * stream.normal();
        let weight = builder.parameter(&format!("{name}.weight"), &[outputs, I], ParamKind::Weight, normal);
        let bias = builder.parameter(&format!("{name}.bias"), &[outputs], ParamKind::Weight, |_| 0.0);
        Self { weight, bias, outputs }
    }
}

impl<D: Device, const I: usize> Layer<D, Vectors<I>> for Predictor<I> {
    type Output = Matrix;
    type Saved = Tensor<Vectors<I>, D>;

    fn forward(&self, x: Tensor<Vectors<I>, D>, parameters: &mut Parameters<D>) -> (Tensor<Matrix, D>, Self::Saved) {
        (self.infer(x.clone(), parameters), x)
    }

    fn backward(&self, x: Self::Saved, dy: Tensor<Matrix, D>, parameters: &mut Parameters<D>) -> Tensor<Vectors<I>, D> {
        let shape = x.shape();
        self.backward_parameters(x, dy.clone(), parameters);
        dy.with(shape, dy.device().linear_input(dy.data(), &parameters.values, self.weight, None, self.outputs))
    }

    fn backward_onto(
        &self,
        x: Self::Saved,
        dy: Tensor<Matrix, D>,
        onto: Tensor<Vectors<I>, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Vectors<I>, D> {
        let (shape, onto) = (x.shape(), Some(onto.data()));
        self.backward_parameters(x, dy.clone(), parameters);
        dy.with(shape, dy.device().linear_input(dy.data(), &parameters.values, self.weight, onto, self.outputs))
    }

    fn backward_parameters(&self, x: Self::Saved, dy: Tensor<Matrix, D>, parameters: &mut Parameters<D>) {
        let (gradients, bias) = (&mut parameters.gradients, Some(self.bias));
        x.device().linear_weight(x.data(), dy.data(), gradients, self.weight, bias, self.outputs);
    }

    fn infer(&self, x: Tensor<Vectors<I>, D>, parameters: &Parameters<D>) -> Tensor<Matrix, D> {
        let (values, bias) = (&parameters.values, Some(self.bias));
        let y = x.device().linear(x.data(), values, self.weight, bias, None, self.outputs);
        x.with((x.shape().0, self.outputs), y)
    }
}

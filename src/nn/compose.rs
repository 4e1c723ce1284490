//! Sequences (pairs, and arrays of layers of one type), and the layers without parameters.

use crate::tensor::{Const, Device, Shape, Tensor, Vectors};

use super::{Build, Builder, Layer, Parameters};

/// max(x, 0), of any shape.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

/// x Φ(x), of any shape, with Φ the normal distribution function (Hendrycks & Gimpel 2016,
/// <https://arxiv.org/abs/1606.08415>).
#[derive(Clone, Copy, Debug)]
pub struct Gelu;

/// Returns its input unchanged.
#[derive(Clone, Copy, Debug)]
pub struct Identity;

/// Joins consecutive rows of width `I` into rows of width `O`: (N O / I, I) to (N, O). The memory does not change.
#[derive(Clone, Copy, Debug)]
pub struct JoinRows<const I: usize, const O: usize>;

impl<const I: usize, const O: usize> Build for JoinRows<I, O> {
    fn build(_: &mut Builder<'_>) -> Self {
        const { assert!(O.is_multiple_of(I), "O must be a multiple of I") };
        Self
    }
}

impl<D: Device, const I: usize, const O: usize> Layer<D, Vectors<I>> for JoinRows<I, O> {
    type Output = Vectors<O>;
    type Saved = ();

    fn forward(&self, x: Tensor<Vectors<I>, D>, parameters: &mut Parameters<D>) -> (Tensor<Vectors<O>, D>, ()) {
        (self.infer(x, parameters), ())
    }

    fn backward(&self, (): (), dy: Tensor<Vectors<O>, D>, _: &mut Parameters<D>) -> Tensor<Vectors<I>, D> {
        let rows = dy.shape().0 * (O / I);
        dy.reshape((rows, Const))
    }

    fn infer(&self, x: Tensor<Vectors<I>, D>, _: &Parameters<D>) -> Tensor<Vectors<O>, D> {
        let rows = x.shape().0 / (O / I);
        x.reshape((rows, Const))
    }
}

impl Build for Relu {
    fn build(_: &mut Builder<'_>) -> Self {
        Self
    }
}

impl Build for Gelu {
    fn build(_: &mut Builder<'_>) -> Self {
        Self
    }
}

impl Build for Identity {
    fn build(_: &mut Builder<'_>) -> Self {
        Self
    }
}

impl<D: Device, S: Shape> Layer<D, S> for Relu {
    type Output = S;
    type Saved = Tensor<S, D>;

    fn forward(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Tensor<S, D>, Self::Saved) {
        let y = self.infer(x, parameters);
        (y.clone(), y)
    }

    fn backward(&self, y: Self::Saved, dy: Tensor<S, D>, _: &mut Parameters<D>) -> Tensor<S, D> {
        dy.with(y.shape(), y.device().relu_backward(dy.data(), y.data()))
    }

    fn infer(&self, x: Tensor<S, D>, _: &Parameters<D>) -> Tensor<S, D> {
        x.with(x.shape(), x.device().relu(x.data()))
    }
}

impl<D: Device, S: Shape> Layer<D, S> for Gelu {
    type Output = S;
    type Saved = Tensor<S, D>;

    fn forward(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Tensor<S, D>, Self::Saved) {
        (self.infer(x.clone(), parameters), x)
    }

    fn backward(&self, x: Self::Saved, dy: Tensor<S, D>, _: &mut Parameters<D>) -> Tensor<S, D> {
        dy.with(x.shape(), x.device().gelu_backward(dy.data(), x.data()))
    }

    fn infer(&self, x: Tensor<S, D>, _: &Parameters<D>) -> Tensor<S, D> {
        x.with(x.shape(), x.device().gelu(x.data()))
    }
}

impl<D: Device, S: Shape> Layer<D, S> for Identity {
    type Output = S;
    type Saved = ();

    fn forward(&self, x: Tensor<S, D>, _: &mut Parameters<D>) -> (Tensor<S, D>, ()) {
        (x, ())
    }

    fn backward(&self, (): (), dy: Tensor<S, D>, _: &mut Parameters<D>) -> Tensor<S, D> {
        dy
    }

    fn infer(&self, x: Tensor<S, D>, _: &Parameters<D>) -> Tensor<S, D> {
        x
    }
}

/// The type of layers in sequence: `sequence!(A, B, C)` is `(A, (B, C))`, and a pair is a layer.
macro_rules! sequence {
    ($last:ty) => { $last };
    ($first:ty, $($rest:ty),+ $(,)?) => { ($first, $crate::nn::sequence!($($rest),+)) };
}

pub(crate) use sequence;

impl<A: Build, B: Build> Build for (A, B) {
    fn build(builder: &mut Builder<'_>) -> Self {
        (A::build(builder), B::build(builder))
    }
}

impl<D: Device, S: Shape, A: Layer<D, S>, B: Layer<D, A::Output>> Layer<D, S> for (A, B) {
    type Output = B::Output;
    type Saved = (A::Saved, B::Saved);

    fn forward(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Tensor<B::Output, D>, Self::Saved) {
        let (x, first) = self.0.forward(x, parameters);
        let (y, second) = self.1.forward(x, parameters);
        (y, (first, second))
    }

    fn backward(
        &self,
        (first, second): Self::Saved,
        dy: Tensor<B::Output, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<S, D> {
        let dy = self.1.backward(second, dy, parameters);
        self.0.backward(first, dy, parameters)
    }

    fn backward_onto(
        &self,
        (first, second): Self::Saved,
        dy: Tensor<B::Output, D>,
        onto: Tensor<S, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<S, D> {
        let dy = self.1.backward(second, dy, parameters);
        self.0.backward_onto(first, dy, onto, parameters)
    }

    fn backward_parameters(
        &self,
        (first, second): Self::Saved,
        dy: Tensor<B::Output, D>,
        parameters: &mut Parameters<D>,
    ) {
        let dy = self.1.backward(second, dy, parameters);
        self.0.backward_parameters(first, dy, parameters);
    }

    fn infer(&self, x: Tensor<S, D>, parameters: &Parameters<D>) -> Tensor<B::Output, D> {
        self.1.infer(self.0.infer(x, parameters), parameters)
    }
}

/// The layers in sequence. Code is generated once for all of them.
impl<L: Build, const N: usize> Build for [L; N] {
    fn build(builder: &mut Builder<'_>) -> Self {
        std::array::from_fn(|_| L::build(builder))
    }
}

impl<D: Device, S: Shape, L: Layer<D, S, Output = S>, const N: usize> Layer<D, S> for [L; N] {
    type Output = S;
    type Saved = Vec<L::Saved>;

    fn forward(&self, mut x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Tensor<S, D>, Self::Saved) {
        let mut all = Vec::with_capacity(N);
        for layer in self {
            let (y, saved) = layer.forward(x, parameters);
            all.push(saved);
            x = y;
        }
        (x, all)
    }

    fn backward(&self, saved: Self::Saved, dy: Tensor<S, D>, parameters: &mut Parameters<D>) -> Tensor<S, D> {
        let layers = self.iter().zip(saved).rev();
        layers.fold(dy, |dy, (layer, saved)| layer.backward(saved, dy, parameters))
    }

    fn infer(&self, x: Tensor<S, D>, parameters: &Parameters<D>) -> Tensor<S, D> {
        self.iter().fold(x, |x, layer| layer.infer(x, parameters))
    }
}

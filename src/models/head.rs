//! Heads behind one trait: the layers that a method puts on an encoder and that evaluation drops.

use crate::nn::{Builder, Layer, Parameters};
use crate::tensor::{Const, Device, Tensor, Vectors};

use super::encoder::{Backward, Features};

/// The outputs of a head: projections z (N, P) and predictions p (N, Q).
pub struct Heads<D: Device, const P: usize, const Q: usize> {
    /// The output of the projector.
    pub z: Tensor<Vectors<P>, D>,
    /// The output of the predictor, or of the prototypes, for z.
    pub p: Tensor<Vectors<Q>, D>,
}

/// The backward function from predictions to features.
pub type ToFeatures<D, const Q: usize> = Backward<D, Tensor<Vectors<Q>, D>, Features<D>>;

/// A head of any type: a projector to width P, followed by a predictor to width Q. The backward pass starts at the
/// predictions.
pub trait AnyHead<D: Device, const P: usize, const Q: usize> {
    /// Computes both outputs in training mode.
    fn forward(&self, features: Features<D>, parameters: &mut Parameters<D>) -> (Heads<D, P, Q>, ToFeatures<D, Q>);
    /// Computes projections in training mode, without a backward pass.
    fn project(&self, features: Features<D>, parameters: &mut Parameters<D>) -> Tensor<Vectors<P>, D>;
    /// Computes projections in evaluation mode.
    fn infer(&self, features: Features<D>, parameters: &Parameters<D>) -> Tensor<Vectors<P>, D>;
}

/// Builds a head, given the width of the features.
pub type BuildHead<D, const P: usize, const Q: usize> = fn(usize, &mut Builder<'_>) -> Box<dyn AnyHead<D, P, Q>>;

/// A projector and a predictor on features of width `F`.
#[derive(Clone, Copy, Debug)]
pub struct TypedHead<A, B, const F: usize, const P: usize> {
    /// Features to projections.
    pub projector: A,
    /// Projections to predictions.
    pub predictor: B,
}

impl<D, A, B, const F: usize, const P: usize, const Q: usize> AnyHead<D, P, Q> for TypedHead<A, B, F, P>
where
    D: Device,
    A: Layer<D, Vectors<F>, Output = Vectors<P>> + Copy + 'static,
    B: Layer<D, Vectors<P>, Output = Vectors<Q>> + Copy + 'static,
    A::Saved: 'static,
    B::Saved: 'static,
{
    fn forward(&self, features: Features<D>, parameters: &mut Parameters<D>) -> (Heads<D, P, Q>, ToFeatures<D, Q>) {
        let batch = features.shape().0;
        let (z, of_projector) = self.projector.forward(features.reshape((batch, Const)), parameters);
        let (p, of_predictor) = self.predictor.forward(z.clone(), parameters);
        let Self { projector, predictor } = *self;
        let backward = move |dp, parameters: &mut Parameters<D>| {
            let dz = predictor.backward(of_predictor, dp, parameters);
            projector.backward(of_projector, dz, parameters).reshape((batch, F))
        };
        (Heads { z, p }, Box::new(backward))
    }

    fn project(&self, features: Features<D>, parameters: &mut Parameters<D>) -> Tensor<Vectors<P>, D> {
        let batch = features.shape().0;
        self.projector.forward(features.reshape((batch, Const)), parameters).0
    }

    fn infer(&self, features: Features<D>, parameters: &Parameters<D>) -> Tensor<Vectors<P>, D> {
        let batch = features.shape().0;
        self.projector.infer(features.reshape((batch, Const)), parameters)
    }
}

/// A [`BuildHead`] of layer types that depend on the features' width: `head!(F => Projector<F>, Predictor)`. The
/// projector's parameters are named `head..`, the predictor's `predictor..`.
macro_rules! head {
    ($width:ident => $projector:ty, $predictor:ty) => {
        |width, builder| {
            macro_rules! of_width {
                ($features:literal) => {{
                    const $width: usize = $features;
                    Box::new($crate::models::TypedHead::<$projector, $predictor, $features, _> {
                        projector: builder.scope("head", $crate::nn::Build::build),
                        predictor: builder.scope("predictor", $crate::nn::Build::build),
                    })
                }};
            }
            match width {
                128 => of_width!(128),
                192 => of_width!(192),
                384 => of_width!(384),
                512 => of_width!(512),
                2048 => of_width!(2048),
                other => unreachable!("no encoder has features of width {other}"),
            }
        }
    };
}

pub(crate) use head;

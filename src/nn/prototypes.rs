//! Scores of vectors against prototypes: the last layer of SwAV, DeepCluster v2 and DINO.

use crate::tensor::{Const, Device, Slot, Tensor, Vectors};

use super::{Build, Builder, Layer, ParamKind, Parameters};

/// Scores (N, K) of vectors (N, P) against the rows of a weight (K, P), without bias.
///
/// SwAV (Caron et al. 2020, <https://arxiv.org/abs/2006.09882>) uses the rows unchanged, and scales them to unit
/// length between its steps: [`Parameters::unit_rows_of`]. With `UNIT` the rows v are used as v / |v|, and the
/// gradient passes through this normalisation.
#[derive(Clone, Copy, Debug)]
pub struct Prototypes<const P: usize, const K: usize, const UNIT: bool = false> {
    weight: Slot,
}

/// DINO's last layer (Caron et al. 2021, <https://arxiv.org/abs/2104.14294>): weight normalisation (Salimans & Kingma
/// 2016, <https://arxiv.org/abs/1602.07868>) with a gain fixed at 1, DINO's `norm_last_layer`.
pub type WeightNormLinear<const P: usize, const K: usize> = Prototypes<P, K, true>;

impl<const P: usize, const K: usize, const UNIT: bool> Build for Prototypes<P, K, UNIT> {
    /// Uniform within 1 / sqrt(P): both sources initialise this layer as PyTorch initialises any linear layer.
    fn build(builder: &mut Builder<'_>) -> Self {
        let name = if UNIT { "last_layer.weight_v".into() } else { format!("{}.weight", builder.next("prototypes")) };
        let bound = 1.0 / (P as f32).sqrt();
        Self { weight: builder.parameter(&name, &[K, P], ParamKind::Weight, |s| s.range(-bound, bound)) }
    }
}

impl<const P: usize, const K: usize, const UNIT: bool> Prototypes<P, K, UNIT> {
    /// The rows scaled to unit length, with `UNIT`.
    fn unit<D: Device>(&self, parameters: &Parameters<D>) -> Option<D::Arena> {
        UNIT.then(|| parameters.device.unit_weight(&parameters.values, self.weight, P))
    }

    /// The arena of the weight that the input is multiplied by, and the weight's slot there.
    fn multiplied<'a, A>(&self, unit: Option<&'a A>, values: &'a A) -> (&'a A, Slot) {
        unit.map_or((values, self.weight), |unit| (unit, Slot { start: 0, len: K * P }))
    }

    fn scores<D: Device>(
        &self,
        x: &Tensor<Vectors<P>, D>,
        unit: Option<&D::Arena>,
        parameters: &Parameters<D>,
    ) -> Tensor<Vectors<K>, D> {
        let (weights, slot) = self.multiplied(unit, &parameters.values);
        x.with((x.shape().0, Const), x.device().linear(x.data(), weights, slot, None, None, K))
    }
}

impl<D: Device, const P: usize, const K: usize, const UNIT: bool> Layer<D, Vectors<P>> for Prototypes<P, K, UNIT> {
    type Output = Vectors<K>;
    type Saved = (Tensor<Vectors<P>, D>, Option<D::Arena>);

    fn forward(
        &self,
        x: Tensor<Vectors<P>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Vectors<K>, D>, Self::Saved) {
        let unit = self.unit(parameters);
        (self.scores(&x, unit.as_ref(), parameters), (x, unit))
    }

    fn backward(
        &self,
        (x, unit): Self::Saved,
        dy: Tensor<Vectors<K>, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Vectors<P>, D> {
        let (weights, slot) = self.multiplied(unit.as_ref(), &parameters.values);
        let dx = dy.device().linear_input(dy.data(), weights, slot, None, K);
        let dx = x.with(x.shape(), dx);
        self.backward_parameters((x, unit), dy, parameters);
        dx
    }

    fn backward_parameters(&self, (x, unit): Self::Saved, dy: Tensor<Vectors<K>, D>, parameters: &mut Parameters<D>) {
        let Parameters { values, gradients, device, .. } = parameters;
        if unit.is_some() {
            let mut dunit = device.zeros(K * P);
            device.linear_weight(x.data(), dy.data(), &mut dunit, Slot { start: 0, len: K * P }, None, K);
            device.unit_weight_backward(&dunit, values, gradients, self.weight, P);
        } else {
            device.linear_weight(x.data(), dy.data(), gradients, self.weight, None, K);
        }
    }

    fn infer(&self, x: Tensor<Vectors<P>, D>, parameters: &Parameters<D>) -> Tensor<Vectors<K>, D> {
        self.scores(&x, self.unit(parameters).as_ref(), parameters)
    }
}

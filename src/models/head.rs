//! Projection heads: the part of the network that the loss sees and evaluation drops.

use crate::nn::sequence;
use crate::nn::{BatchNormRelu, Linear, Relu};

/// Linear, ReLU, linear: the head of SimCLR's paper (Chen et al. 2020, section 2.1,
/// <https://arxiv.org/abs/2002.05709>). (N, F) to (N, P), the hidden width being F.
pub type ProjectionHead<const F: usize, const P: usize> = sequence!(Linear<F, F>, Relu, Linear<F, P>);

/// As [`ProjectionHead`], with batch normalisation before the ReLU, as SimCLR's code has it.
pub type ProjectionHeadNorm<const F: usize, const P: usize> = sequence!(Linear<F, F>, BatchNormRelu<F>, Linear<F, P>);

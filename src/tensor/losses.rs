//! Losses that a device computes where the predictions are. Each has a definition in `methods`, which also states the
//! formula. A device without a loss returns `None`; the method then computes it from a copy in host memory.

use std::fmt;

use super::{Cpu, Device};

/// A loss that a device computed.
#[derive(Debug)]
pub struct DeviceLoss<D: Device> {
    /// The gradient with respect to the predictions.
    pub gradient: D::Buffer,
    /// The value.
    pub value: Reading,
}

/// A number that a device may still be computing.
pub enum Reading {
    /// It is there.
    Known(f64),
    /// It is there when this function returns.
    Pending(Box<dyn FnOnce() -> f64>),
}

impl Reading {
    /// The number. Waits until the device has computed it.
    pub fn value(self) -> f64 {
        match self {
            Self::Known(value) => value,
            Self::Pending(read) => read(),
        }
    }

    /// The number plus a constant.
    #[must_use]
    pub fn plus(self, constant: f64) -> Self {
        match self {
            Self::Known(value) => Self::Known(value + constant),
            Self::Pending(read) => Self::Pending(Box::new(move || read() + constant)),
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => write!(f, "{value}"),
            Self::Pending(_) => f.write_str("pending"),
        }
    }
}

/// The weights of VICReg's three terms.
#[derive(Clone, Copy, Debug)]
pub struct VicregWeights {
    /// Of the mean squared distance of pairs.
    pub invariance: f32,
    /// Of the missing deviation.
    pub variance: f32,
    /// Of the squared covariances.
    pub covariance: f32,
}

/// The losses of a device. Rows are views: row i and row i + N of 2N are a pair.
pub trait Losses: Device {
    /// SimCLR's loss of projections (2N, `width`): `methods::simclr::nt_xent`.
    fn nt_xent(&self, z: &Self::Buffer, width: usize, temperature: f32) -> Option<DeviceLoss<Self>> {
        let _ = (z, width, temperature);
        None
    }

    /// `slope` times the mean cosine of each prediction (2N, `width`) and the target of its pair, which has no gradient:
    /// `methods::cosine::mean_cosine`, for BYOL and SimSiam.
    fn mean_cosine(
        &self,
        p: &Self::Buffer,
        targets: &Self::Buffer,
        width: usize,
        slope: f64,
    ) -> Option<DeviceLoss<Self>> {
        let _ = (p, targets, width, slope);
        None
    }

    /// VICReg's loss of projections (2N, `width`): `methods::vicreg::definition`.
    fn vicreg(&self, z: &Self::Buffer, width: usize, weights: VicregWeights) -> Option<DeviceLoss<Self>> {
        let _ = (z, width, weights);
        None
    }

    /// The cross-entropy of each view's scores (V N, K) with the targets of the other views, of which the first two of V
    /// give targets: `methods::cross_entropy::definition`, for DINO and SwAV. K is `classes`.
    fn view_cross_entropy(
        &self,
        scores: &Self::Buffer,
        targets: ViewTargets<'_, Self>,
        classes: usize,
        temperature: f32,
    ) -> Option<DeviceLoss<Self>> {
        let _ = (scores, targets, classes, temperature);
        None
    }
}

/// Targets (2N, K) of the first two views, as they follow from scores (2N, K).
#[derive(Debug)]
pub enum ViewTargets<'a, D: Device> {
    /// softmax((s - c) / temperature) with the centre c (K), which then moves to momentum c + (1 - momentum) mean(s).
    Centred {
        /// The scores.
        scores: &'a D::Buffer,
        /// (K).
        centre: &'a mut D::Arena,
        /// Divides the scores.
        temperature: f32,
        /// The share of the centre that stays.
        momentum: f32,
    },
    /// Targets that share the rows equally among the classes: `methods::sinkhorn::assign`.
    Shared {
        /// The scores.
        scores: &'a D::Buffer,
        /// Into how many equal parts the rows are cut; each is shared by itself.
        groups: usize,
        /// Divides the scores.
        epsilon: f32,
        /// Rounds of scaling.
        rounds: usize,
    },
}

/// Host memory is the processor's own: the closed forms in `methods` are its losses.
impl Losses for Cpu {}

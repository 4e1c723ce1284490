//! Losses that a device computes where the predictions are. Each has a definition in `methods`, which also states the
//! formula. A device without losses returns `None`; the method then computes the loss from a copy in host memory. What a
//! method keeps between steps is on a device only if that has the losses ([`Losses::has_losses`]).

use std::fmt;
use std::ops::Range;

use super::{Cpu, Device};

const ON_HOST: &str = "a device without losses leaves them, and the rows that methods keep, to the host";

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

/// The weights of Barlow Twins's loss.
#[derive(Clone, Copy, Debug)]
pub struct TwinWeights {
    /// Of the squared correlations of different variables.
    pub redundancy: f32,
    /// Of the whole loss.
    pub scale: f32,
}

/// What the loss of a query is multiplied by, and the candidate that does not count for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// Multiplies the loss.
    pub weight: f32,
    /// The index of a candidate.
    pub excluded: Option<u32>,
}

/// Rows (rows, width) of an arena.
#[derive(Debug)]
pub struct Rows<'a, D: Device> {
    /// The arena.
    pub arena: &'a D::Arena,
    /// Which of its rows.
    pub rows: Range<usize>,
}

/// Queries, and the rows of unit length without gradient that they are compared with. A query q with its positive k adds
///
/// weight log(1 + sum_j exp((q·c_j - q·k) / t))
///
/// over the candidates c that count; 0 if none does. q is normalised to unit length.
#[derive(Debug)]
pub struct Comparison<'a, D: Device> {
    /// The row of the first query.
    pub first: usize,
    /// One for each query.
    pub terms: Vec<Term>,
    /// (M, width).
    pub candidates: Rows<'a, D>,
    /// The positive of each query, (queries, width).
    pub positives: Rows<'a, D>,
    /// Whether weight sum_j log(1 + w_j) is added, with the softmax w of q·c / t, as in PIRL.
    pub mistaken: bool,
}

/// The losses of a device. Rows are views: row i and row i + N of 2N are a pair.
pub trait Losses: Device {
    /// Whether the device has all of these losses. Then methods keep their rows between steps in its memory.
    fn has_losses(&self) -> bool {
        false
    }

    /// The rows of x (N, `width`), scaled to unit length in f32, as methods keep them.
    ///
    /// # Panics
    /// On a device that does not have the losses; so do `gather_rows`, `mix_rows` and `info_nce`.
    fn unit_floats(&self, x: &Self::Buffer, width: usize) -> Self::Arena {
        let _ = (x, width);
        panic!("{ON_HOST}")
    }

    /// Copies rows of `width` numbers.
    fn gather_rows(&self, from: &Self::Arena, places: &[u32], width: usize) -> Self::Arena {
        let _ = (from, places, width);
        panic!("{ON_HOST}")
    }

    /// Row places[i] of `kept` becomes share kept + (1 - share) from[i], at unit length. Places differ.
    fn mix_rows(&self, kept: &mut Self::Arena, from: Rows<'_, Self>, places: &[u32], width: usize, share: f32) {
        let _ = (kept, from, places, width, share);
        panic!("{ON_HOST}")
    }

    /// The sum of comparisons of queries (N, `width`) with the temperature t, for MoCo v2 and v3, PIRL and DeepCluster
    /// v2: the `definition` of each.
    fn info_nce(
        &self,
        queries: &Self::Buffer,
        width: usize,
        temperature: f32,
        comparisons: &[Comparison<'_, Self>],
    ) -> DeviceLoss<Self> {
        let _ = (queries, width, temperature, comparisons);
        panic!("{ON_HOST}")
    }

    /// Barlow Twins's loss of projections (2N, `width`): `methods::barlow_twins::definition`.
    fn barlow_twins(&self, z: &Self::Buffer, width: usize, weights: TwinWeights) -> Option<DeviceLoss<Self>> {
        let _ = (z, width, weights);
        None
    }

    /// The cross-entropy of scores (N, `classes`) with categories (N): `methods::supervised::cross_entropy`.
    fn category_cross_entropy(
        &self,
        scores: &Self::Buffer,
        categories: &[u32],
        classes: usize,
    ) -> Option<DeviceLoss<Self>> {
        let _ = (scores, categories, classes);
        None
    }

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

/// Targets (2N, K) of the first two views, as they follow from scores (2N, K) and, with a queue, from its scores.
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
        /// The rows of each part, from its first on, that give targets; the others only take their share.
        given: usize,
        /// Divides the scores.
        epsilon: f32,
        /// Rounds of scaling.
        rounds: usize,
    },
}

/// Host memory is the processor's own: the closed forms in `methods` are its losses.
impl Losses for Cpu {}

//! Losses that a GPU computes.

use crate::kernels::cuda::losses::Vicreg;
use crate::kernels::cuda::{Kernels, Pending, Span};
use crate::tensor::{DeviceLoss, Losses, Reading, VicregWeights, ViewTargets};

use super::{Arena, Buffer, Cuda};

impl Cuda {
    /// A loss of these predictions: `grade` writes the gradient and gives the value.
    fn graded(&self, p: &Buffer, grade: impl FnOnce(&Kernels, Span, Span) -> Pending) -> Option<DeviceLoss<Self>> {
        let mut value = None;
        let gradient = self.mapped(p, |kernels, dp, p| value = Some(grade(kernels, dp, p)));
        value.map(|value| DeviceLoss { gradient, value: Reading::Pending(Box::new(|| value.value())) })
    }

    fn targets(&self, of: ViewTargets<'_, Self>, classes: usize) -> Arena {
        let scores = self.span(match of {
            ViewTargets::Centred { scores, .. } | ViewTargets::Shared { scores, .. } => scores,
        });
        let targets = self.kernels.floats(scores.len);
        match of {
            ViewTargets::Centred { centre, temperature, momentum, .. } => {
                centre.changed();
                self.kernels.centred_targets(targets.floats(), scores, centre.floats(), temperature, momentum);
            }
            ViewTargets::Shared { groups, epsilon, rounds, .. } => {
                self.kernels.shared_targets(targets.floats(), scores, classes, groups, epsilon, rounds);
            }
        }
        self.arena_of(targets)
    }
}

impl Losses for Cuda {
    fn nt_xent(&self, z: &Buffer, width: usize, temperature: f32) -> Option<DeviceLoss<Self>> {
        self.graded(z, |kernels, dz, z| kernels.nt_xent(dz, z, width, temperature))
    }

    fn mean_cosine(&self, p: &Buffer, targets: &Buffer, width: usize, slope: f64) -> Option<DeviceLoss<Self>> {
        let targets = self.span(targets);
        self.graded(p, |kernels, dp, p| kernels.mean_cosine(dp, p, targets, width, slope))
    }

    fn vicreg(&self, z: &Buffer, width: usize, weights: VicregWeights) -> Option<DeviceLoss<Self>> {
        let VicregWeights { invariance, variance, covariance } = weights;
        let [invariance, variance, covariance] = [invariance, variance, covariance].map(f64::from);
        let weights = Vicreg { invariance, variance, covariance };
        self.graded(z, |kernels, dz, z| kernels.vicreg(dz, z, width, weights))
    }

    fn view_cross_entropy(
        &self,
        scores: &Buffer,
        targets: ViewTargets<'_, Self>,
        classes: usize,
        temperature: f32,
    ) -> Option<DeviceLoss<Self>> {
        let targets = self.targets(targets, classes);
        self.graded(scores, |kernels, gradient, scores| {
            kernels.view_cross_entropy(gradient, scores, targets.floats(), classes, temperature)
        })
    }
}

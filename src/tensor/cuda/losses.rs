//! What the losses of a GPU share.

use crate::kernels::cuda::{Kernels, Pending, Span};
use crate::tensor::{DeviceLoss, Reading, ViewTargets};

use super::{Arena, Buffer, Cuda};

impl Cuda {
    /// A loss of these predictions: `grade` writes the gradient and gives the value.
    pub(super) fn graded(
        &self,
        p: &Buffer,
        grade: impl FnOnce(&Kernels, Span, Span) -> Pending,
    ) -> Option<DeviceLoss<Self>> {
        let mut value = None;
        let gradient = self.mapped(p, |kernels, dp, p| value = Some(grade(kernels, dp, p)));
        value.map(|value| DeviceLoss { gradient, value: Reading::Pending(Box::new(|| value.value())) })
    }

    pub(super) fn targets(&self, of: ViewTargets<'_, Self>, classes: usize) -> Arena {
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

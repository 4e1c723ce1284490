//! The losses of the chosen device.

use super::{AnyDevice, Buffer, Cuda, On, bytes};
use crate::tensor::profile::Work;
use crate::tensor::{DeviceLoss, Losses, VicregWeights, ViewTargets};

/// The loss of a GPU; the processor's are in `methods`.
fn of_gpu(
    of_any: &AnyDevice,
    predictions: &Buffer,
    loss: impl FnOnce(&Cuda) -> Option<DeviceLoss<Cuda>>,
) -> Option<DeviceLoss<AnyDevice>> {
    match of_any {
        AnyDevice::Cpu(_) => None,
        AnyDevice::Cuda(device) => {
            let _timed = of_any.timed(|| Work::passes("loss", 2 * bytes(predictions)));
            loss(device).map(|DeviceLoss { gradient, value }| DeviceLoss { gradient: On::Cuda(gradient), value })
        }
    }
}

impl Losses for AnyDevice {
    fn nt_xent(&self, z: &Buffer, width: usize, temperature: f32) -> Option<DeviceLoss<Self>> {
        of_gpu(self, z, |device| device.nt_xent(z.cuda(), width, temperature))
    }

    fn mean_cosine(&self, p: &Buffer, targets: &Buffer, width: usize, slope: f64) -> Option<DeviceLoss<Self>> {
        of_gpu(self, p, |device| device.mean_cosine(p.cuda(), targets.cuda(), width, slope))
    }

    fn vicreg(&self, z: &Buffer, width: usize, weights: VicregWeights) -> Option<DeviceLoss<Self>> {
        of_gpu(self, z, |device| device.vicreg(z.cuda(), width, weights))
    }

    fn view_cross_entropy(
        &self,
        scores: &Buffer,
        targets: ViewTargets<'_, Self>,
        classes: usize,
        temperature: f32,
    ) -> Option<DeviceLoss<Self>> {
        of_gpu(self, scores, |device| {
            let targets = match targets {
                ViewTargets::Centred { scores, centre, temperature, momentum } => {
                    ViewTargets::Centred { scores: scores.cuda(), centre: centre.cuda_mut(), temperature, momentum }
                }
                ViewTargets::Shared { scores, groups, epsilon, rounds } => {
                    ViewTargets::Shared { scores: scores.cuda(), groups, epsilon, rounds }
                }
            };
            device.view_cross_entropy(scores.cuda(), targets, classes, temperature)
        })
    }
}

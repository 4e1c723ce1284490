//! The losses of the chosen device.

use super::{AnyDevice, Arena, Buffer, Cuda, On, bytes};
use crate::tensor::profile::Work;
use crate::tensor::{Comparison, DeviceLoss, Losses, Rows, TwinWeights, VicregWeights, ViewTargets};

impl AnyDevice {
    /// The device that has the losses.
    fn gpu(&self) -> &Cuda {
        match self {
            Self::Cpu(_) => panic!("the processor leaves losses to the methods"),
            Self::Cuda(device) => device,
        }
    }
}

fn comparison_of_gpu<'a>(of: &Comparison<'a, AnyDevice>) -> Comparison<'a, Cuda> {
    let [candidates, positives] = [&of.candidates, &of.positives].map(rows_of_gpu);
    Comparison { first: of.first, terms: of.terms.clone(), candidates, positives, mistaken: of.mistaken }
}

fn rows_of_gpu<'a>(Rows { arena, rows }: &Rows<'a, AnyDevice>) -> Rows<'a, Cuda> {
    Rows { arena: arena.cuda(), rows: rows.clone() }
}

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
            loss(device).map(on_gpu)
        }
    }
}

fn on_gpu(DeviceLoss { gradient, value }: DeviceLoss<Cuda>) -> DeviceLoss<AnyDevice> {
    DeviceLoss { gradient: On::Cuda(gradient), value }
}

impl Losses for AnyDevice {
    fn has_losses(&self) -> bool {
        matches!(self, Self::Cuda(_))
    }

    fn unit_floats(&self, x: &Buffer, width: usize) -> Arena {
        let _timed = self.timed(|| Work::passes("loss", bytes(x)));
        On::Cuda(self.gpu().unit_floats(x.cuda(), width))
    }

    fn gather_rows(&self, from: &Arena, places: &[u32], width: usize) -> Arena {
        let _timed = self.timed(|| Work::passes("loss", 2 * size_of::<f32>() * places.len() * width));
        On::Cuda(self.gpu().gather_rows(from.cuda(), places, width))
    }

    fn mix_rows(&self, kept: &mut Arena, from: Rows<'_, Self>, places: &[u32], width: usize, share: f32) {
        let _timed = self.timed(|| Work::passes("loss", 2 * size_of::<f32>() * places.len() * width));
        self.gpu().mix_rows(kept.cuda_mut(), rows_of_gpu(&from), places, width, share);
    }

    fn info_nce(
        &self,
        queries: &Buffer,
        width: usize,
        temperature: f32,
        comparisons: &[Comparison<'_, Self>],
    ) -> DeviceLoss<Self> {
        let comparisons: Vec<_> = comparisons.iter().map(comparison_of_gpu).collect();
        let _timed = self.timed(|| {
            let similarities: usize = comparisons.iter().map(|of| of.terms.len() * of.candidates.rows.len()).sum();
            Work::products("loss", String::new(), 2 * similarities * width, size_of::<f32>() * 4 * similarities)
        });
        on_gpu(self.gpu().info_nce(queries.cuda(), width, temperature, &comparisons))
    }

    fn barlow_twins(&self, z: &Buffer, width: usize, weights: TwinWeights) -> Option<DeviceLoss<Self>> {
        of_gpu(self, z, |device| device.barlow_twins(z.cuda(), width, weights))
    }

    fn category_cross_entropy(&self, scores: &Buffer, categories: &[u32], classes: usize) -> Option<DeviceLoss<Self>> {
        of_gpu(self, scores, |device| device.category_cross_entropy(scores.cuda(), categories, classes))
    }

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
                ViewTargets::Shared { scores, groups, given, epsilon, rounds } => {
                    ViewTargets::Shared { scores: scores.cuda(), groups, given, epsilon, rounds }
                }
            };
            device.view_cross_entropy(scores.cuda(), targets, classes, temperature)
        })
    }
}

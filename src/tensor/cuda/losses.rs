//! The losses of a GPU.

use std::sync::Arc;

use crate::kernels::cuda::contrast;
use crate::kernels::cuda::losses::{Sharing, Twin, Vicreg};
use crate::kernels::cuda::{Kernels, Pending, Span};
use crate::tensor::{Comparison, DeviceLoss, Losses, Reading, Rows, Term, TwinWeights, VicregWeights, ViewTargets};

use super::{Arena, Buffer, Cuda};

impl Cuda {
    /// A loss of these predictions: `grade` writes the gradient and gives the value.
    fn graded(&self, p: &Buffer, grade: impl FnOnce(&Kernels, Span, Span) -> Pending) -> DeviceLoss<Self> {
        let p = self.span(p);
        let memory = self.kernels.activations(p.len);
        let value = grade(&self.kernels, memory.numbers(self.kernels.format()), p);
        DeviceLoss { gradient: Buffer(Arc::new(memory)), value: Reading::Pending(Box::new(|| value.value())) }
    }

    fn targets(&self, of: ViewTargets<'_, Self>, classes: usize) -> Arena {
        let scores = self.span(match of {
            ViewTargets::Centred { scores, .. } | ViewTargets::Shared { scores, .. } => scores,
        });
        let rows = match of {
            ViewTargets::Centred { .. } => scores.len / classes,
            ViewTargets::Shared { groups, given, .. } => groups * given,
        };
        let targets = self.kernels.floats(rows * classes);
        match of {
            ViewTargets::Centred { centre, temperature, momentum, .. } => {
                centre.changed();
                self.kernels.centred_targets(targets.floats(), scores, centre.floats(), temperature, momentum);
            }
            ViewTargets::Shared { groups, given, epsilon, rounds, .. } => {
                let sharing = Sharing { groups, given, epsilon, rounds };
                self.kernels.shared_targets(targets.floats(), scores, classes, sharing);
            }
        }
        self.arena_of(targets)
    }

    /// An arena of `len` numbers that `fill` writes completely.
    fn filled_arena(&self, len: usize, fill: impl FnOnce(&Kernels, Span)) -> Arena {
        let memory = self.kernels.floats(len);
        fill(&self.kernels, memory.floats());
        self.arena_of(memory)
    }
}

fn span_of(Rows { arena, rows }: &Rows<'_, Cuda>, width: usize) -> Span {
    arena.floats().part(rows.start * width, rows.len() * width)
}

impl Losses for Cuda {
    fn has_losses(&self) -> bool {
        true
    }

    fn unit_floats(&self, x: &Buffer, width: usize) -> Arena {
        let x = self.span(x);
        self.filled_arena(x.len, |kernels, unit| kernels.unit_floats(unit, x, width))
    }

    fn gather_rows(&self, from: &Arena, places: &[u32], width: usize) -> Arena {
        self.filled_arena(places.len() * width, |kernels, to| kernels.gather_rows(to, from.floats(), places, width))
    }

    fn mix_rows(&self, kept: &mut Arena, from: Rows<'_, Self>, places: &[u32], width: usize, share: f32) {
        kept.changed();
        self.kernels.mix_rows(kept.floats(), span_of(&from, width), places, width, share);
    }

    fn info_nce(
        &self,
        queries: &Buffer,
        width: usize,
        temperature: f32,
        comparisons: &[Comparison<'_, Self>],
    ) -> DeviceLoss<Self> {
        let term_of_kernel =
            |&Term { weight, excluded }: &Term| contrast::Term { weight, excluded: excluded.unwrap_or(u32::MAX) };
        let terms: Vec<Vec<_>> = comparisons.iter().map(|of| of.terms.iter().map(term_of_kernel).collect()).collect();
        let comparison_of_kernel = |(of, terms): (&Comparison<'_, Self>, _)| contrast::Comparison {
            first: of.first,
            terms,
            candidates: span_of(&of.candidates, width),
            positives: span_of(&of.positives, width),
            mistaken: of.mistaken,
        };
        let comparisons: Vec<_> =
            comparisons.iter().zip(terms.iter().map(Vec::as_slice)).map(comparison_of_kernel).collect();
        self.graded(queries, |kernels, gradient, queries| {
            kernels.info_nce(gradient, queries, width, temperature, &comparisons)
        })
    }

    fn barlow_twins(&self, z: &Buffer, width: usize, weights: TwinWeights) -> Option<DeviceLoss<Self>> {
        let TwinWeights { redundancy, scale } = weights;
        let weights = Twin { redundancy: redundancy.into(), scale: scale.into() };
        Some(self.graded(z, |kernels, dz, z| kernels.barlow_twins(dz, z, width, weights)))
    }

    fn category_cross_entropy(&self, scores: &Buffer, categories: &[u32], classes: usize) -> Option<DeviceLoss<Self>> {
        Some(self.graded(scores, |kernels, gradient, scores| {
            kernels.category_cross_entropy(gradient, scores, categories, classes)
        }))
    }

    fn nt_xent(&self, z: &Buffer, width: usize, temperature: f32) -> Option<DeviceLoss<Self>> {
        Some(self.graded(z, |kernels, dz, z| kernels.nt_xent(dz, z, width, temperature)))
    }

    fn mean_cosine(&self, p: &Buffer, targets: &Buffer, width: usize, slope: f64) -> Option<DeviceLoss<Self>> {
        let targets = self.span(targets);
        Some(self.graded(p, |kernels, dp, p| kernels.mean_cosine(dp, p, targets, width, slope)))
    }

    fn vicreg(&self, z: &Buffer, width: usize, weights: VicregWeights) -> Option<DeviceLoss<Self>> {
        let VicregWeights { invariance, variance, covariance } = weights;
        let [invariance, variance, covariance] = [invariance, variance, covariance].map(f64::from);
        let weights = Vicreg { invariance, variance, covariance };
        Some(self.graded(z, |kernels, dz, z| kernels.vicreg(dz, z, width, weights)))
    }

    fn view_cross_entropy(
        &self,
        scores: &Buffer,
        targets: ViewTargets<'_, Self>,
        classes: usize,
        temperature: f32,
    ) -> Option<DeviceLoss<Self>> {
        let targets = self.targets(targets, classes);
        Some(self.graded(scores, |kernels, gradient, scores| {
            kernels.view_cross_entropy(gradient, scores, targets.floats(), classes, temperature)
        }))
    }
}

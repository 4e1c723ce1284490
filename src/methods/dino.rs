//! DINO: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers",
//! <https://arxiv.org/abs/2104.14294>.
//!
//! The student's softmax over K scores is trained to match the teacher's softmax on every other view. The
//! teacher's weights are a moving average of the student's. The teacher's scores are centred and sharpened,
//! which prevents a collapse to one class and to a uniform distribution. Alternatively, the classes share
//! each batch equally, as in DINOv2.
//!
//! Semantic pairs: the teacher sees one image of a category, and the student sees the other and the small crops of
//! both. There are no negatives. The centre is a mean over all images of the previous batches, and the classes share
//! all images of the batch, whatever their category.

use dfdx::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormRelu, Gelu, Linear, NormalLinear, UnitRows, WeightNormLinear, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, DeviceLoss, Reading, Vectors, ViewTargets};

use super::LossAndGrad;
use super::cross_entropy;
use super::number;
use super::reduce::column_sums;
use super::sinkhorn::{Sinkhorn, assign};
use super::target::Target;
use super::{MethodBatch, Crops, Learner, MethodSettings, StepInfo, Size, Start, State, a_part, above_zero};

/// DINO's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The temperature by which the student's scores are divided.
    pub student_temperature: f32,
    /// The temperature by which the teacher's scores are divided, over the epochs.
    pub teacher_temperature: Warmup,
    /// How the teacher is kept from assigning all images to one class.
    pub centring: Centring,
    /// The momentum of the mean of the teacher's scores.
    pub centre_momentum: f32,
    /// The teacher's momentum at the first step; it rises to 1 along half a cosine.
    pub momentum: f32,
    /// The number of first epochs in which the last layer is frozen.
    pub freeze_epochs: usize,
    /// The number of small crops of each pair that the student sees, with half the side length; 0 disables multi-crop.
    pub crops: usize,
    /// The size of the head.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// How the teacher is kept from assigning all images to one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Centring {
    /// The moving mean of the teacher's scores is subtracted, as in the paper.
    Mean,
    /// The classes share each batch equally, by Sinkhorn's algorithm, as in DINOv2 (Oquab et al. 2023,
    /// <https://arxiv.org/abs/2304.07193>, section 4).
    Sinkhorn,
}

/// Rounds of Sinkhorn's algorithm, as in DINOv2.
const ROUNDS: usize = 3;

/// Three layers with GELU to a bottleneck of width B at unit length (section 3.1).
type Projector<const F: usize, const H: usize, const B: usize> =
    sequence!(NormalLinear<F, H>, Gelu, NormalLinear<H, H>, Gelu, NormalLinear<H, B>, UnitRows);
/// Two layers with batch normalisation and ReLU to a bottleneck of width B at unit length, as in SwAV. In a short
/// training of a small encoder, three layers without normalisation start with nearly equal bottlenecks for all
/// images, so that the teacher's classes become uniform and the loss stays at log K. Three layers with normalisation
/// learn only from augmented pairs.
type ShortProjector<const F: usize, const H: usize, const B: usize> =
    sequence!(Linear<F, H>, BatchNormRelu<H>, Linear<H, B>, UnitRows);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn crops(&self) -> Crops {
        if self.crops == 0 { Crops::None } else { Crops::Random(self.crops) }
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "student_temperature", self.student_temperature)?;
        above_zero(key, "teacher_temperature.from", self.teacher_temperature.from)?;
        above_zero(key, "teacher_temperature.to", self.teacher_temperature.to)?;
        a_part(key, "centre_momentum", self.centre_momentum)?;
        a_part(key, "momentum", self.momentum)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => self.with(start, head!(F => ShortProjector<F, 512, 128>, WeightNormLinear<128, 128>)),
            Size::Paper => self.with(start, head!(F => Projector<F, 2048, 256>, WeightNormLinear<256, 65536>)),
        }
    }
}

impl Settings {
    fn with<D: tensor::Losses, const B: usize, const K: usize>(
        &self,
        start: &Start<D>,
        head: BuildHead<D, B, K>,
    ) -> Result<Box<dyn Learner<D>>> {
        let network = Network::open(&start.spec, head, &start.device, &start.initialisation)?;
        let teacher = Target::rising(&network, self.momentum);
        Ok(Box::new(Dino { network, teacher, centre: Centre::new(K), device_centre: None, settings: self.clone() }))
    }
}

struct Dino<D: tensor::Losses, const B: usize, const K: usize> {
    network: Network<D, B, K>,
    teacher: Target<D>,
    centre: Centre,
    /// The centre that replaces it, once a device has computed a loss.
    device_centre: Option<D::Arena>,
    settings: Settings,
}

impl<D: tensor::Losses, const B: usize, const K: usize> Dino<D, B, K> {
    /// The loss, if the device computes it. Then the centre moves, too.
    fn on_device(
        &mut self,
        student: &tensor::Tensor<Vectors<K>, D>,
        teacher: &tensor::Tensor<Vectors<K>, D>,
        temperatures: Temperatures,
    ) -> Option<DeviceLoss<D>> {
        let (device, scores) = (student.device(), teacher.data());
        let mut centre = self.device_centre.take().unwrap_or_else(|| device.arena(self.centre.mean.clone()));
        let targets = match self.settings.centring {
            Centring::Mean => ViewTargets::Centred {
                scores,
                centre: &mut centre,
                temperature: temperatures.teacher,
                momentum: self.settings.centre_momentum,
            },
            Centring::Sinkhorn => {
                let given = teacher.shape().0;
                ViewTargets::Shared { scores, groups: 1, given, epsilon: temperatures.teacher, rounds: ROUNDS }
            }
        };
        let loss = device.view_cross_entropy(student.data(), targets, K, temperatures.student)?;
        self.device_centre = Some(centre);
        Some(loss)
    }
}

impl<D: tensor::Losses, const B: usize, const K: usize> Learner<D> for Dino<D, B, K> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, at: StepInfo) -> Reading {
        let pass = self.network.embed(batch.images, batch.crops); // ((2 + crops) N, K)
        let teacher = self.teacher.predict(&self.network, batch.images); // (2N, K)
        let temperatures = Temperatures {
            student: self.settings.student_temperature,
            teacher: self.settings.teacher_temperature.temperature(at.epoch()),
        };
        if let Some(loss) = self.on_device(pass.predictions(), &teacher, temperatures) {
            return pass.backward_from(loss);
        }
        let (student, teacher) = (pass.p(), teacher.download());
        let loss = match self.settings.centring {
            Centring::Mean => {
                let loss = graded(&student, &teacher, &self.centre, temperatures);
                self.centre.update(&teacher, self.settings.centre_momentum);
                loss
            }
            Centring::Sinkhorn => shared(&student, &teacher, K, temperatures),
        };
        loss.backward(pass)
    }

    fn frozen(&self) -> Option<(&'static str, usize)> {
        Some(("predictor.", self.settings.freeze_epochs))
    }

    fn after_step(&mut self, at: StepInfo) {
        self.teacher.follow(&self.network, at);
    }

    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        self.teacher.state("teacher", state)?;
        if let Some(centre) = self.device_centre.take() {
            self.centre.mean = self.network.parameters().device.host(&centre);
        }
        state.floats("centre", &mut self.centre.mean)
    }
}

/// The temperatures by which scores are divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperatures {
    /// The student's, 0.1 in the paper.
    pub student: f32,
    /// The teacher's, from [`Warmup::temperature`].
    pub teacher: f32,
}

/// Equation 3 of the paper, averaged over the pairs of views; the teacher sees the first two views:
///
/// L = mean over i < 2, j != i of H(softmax((t_i - c) / T_t), softmax(s_j / T_s)),  H(a, b) = -a log b
///
/// student s (V N, K) of V crops and teacher t (2N, K) of the global crops: one view after the other, in the order of
/// the images. The teacher's scores have no gradient. The centre c is that of the previous batches: the paper's
/// algorithm 1 updates it after the loss.
pub fn definition<const K: usize, E: Dtype, T: Tape<E, Cpu>>(
    student: Tensor<Vectors<K>, E, Cpu, T>,
    teacher: Tensor<Vectors<K>, E, Cpu>,
    centre: Tensor<Rank1<K>, E, Cpu>,
    temperatures: Temperatures,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let shape = *teacher.shape();
    let temperature = number::<E>(temperatures.teacher.into());
    let targets = ((teacher - centre.broadcast_like::<_, Axis<0>>(&shape)) / temperature).softmax::<Axis<1>>();
    cross_entropy::definition(student, targets, temperatures.student)
}

/// The loss of `definition` and its gradient with respect to the student's scores.
pub fn graded(student: &[f32], teacher: &[f32], centre: &Centre, temperatures: Temperatures) -> LossAndGrad {
    let columns = centre.mean.len();
    let mut centred = teacher.to_vec();
    centred.par_chunks_mut(columns).for_each(|row| row.iter_mut().zip(&centre.mean).for_each(|(t, c)| *t -= c));
    let targets = cross_entropy::softmax(&centred, columns, 1.0 / f64::from(temperatures.teacher));
    cross_entropy::graded(student, &targets, columns, temperatures.student)
}

/// The same loss and gradient with targets that share the batch equally ([`Centring::Sinkhorn`]). The targets of both
/// views are computed together, as in DINOv2.
pub fn shared(student: &[f32], teacher: &[f32], classes: usize, temperatures: Temperatures) -> LossAndGrad {
    let sinkhorn = Sinkhorn { epsilon: temperatures.teacher, iterations: ROUNDS };
    let targets = assign(teacher, classes, teacher.len() / classes, sinkhorn);
    cross_entropy::graded(student, &targets, classes, temperatures.student)
}

/// The moving mean of the teacher's scores, (K).
#[derive(Clone, Debug, PartialEq)]
pub struct Centre {
    /// One number for each of the K classes; zeros before the first batch.
    pub mean: Vec<f32>,
}

impl Centre {
    /// A centre at the origin.
    pub fn new(columns: usize) -> Self {
        Self { mean: vec![0.0; columns] }
    }

    /// Equation 4 of the paper: c = m c + (1 - m) mean of the teacher's scores, over both views.
    pub fn update(&mut self, teacher: &[f32], momentum: f32) {
        let columns = self.mean.len();
        let rows = teacher.len() / columns;
        assert!(teacher.len() == rows * columns && rows > 0, "Centre::update: {} scores of {columns}", teacher.len());
        let sums = column_sums(rows, columns, |row, range, sums| {
            sums.iter_mut().zip(&teacher[row * columns..][range]).for_each(|(sum, &t)| *sum += f64::from(t));
        });
        let momentum = f64::from(momentum);
        for (mean, sum) in self.mean.iter_mut().zip(sums) {
            *mean = (momentum * f64::from(*mean) + (1.0 - momentum) * sum / rows as f64) as f32;
        }
    }
}

/// The teacher's temperature over the epochs: it rises linearly, then stays constant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// The temperature in the first epoch; 0.04 in the paper.
    pub from: f32,
    /// The temperature from the last epoch of the warm-up on; 0.07 in the paper.
    pub to: f32,
    /// Epochs of the warm-up, 30 in the paper. With 0, the temperature is always `to`.
    pub epochs: usize,
}

impl Warmup {
    /// The temperature in an epoch, counted from 0. As in the authors' code, the first epoch of the warm-up has `from`
    /// and its last has `to`; a warm-up of one epoch has `from`.
    pub fn temperature(&self, epoch: usize) -> f32 {
        if epoch >= self.epochs {
            return self.to;
        }
        let progress = epoch as f64 / (self.epochs - 1).max(1) as f64;
        (f64::from(self.from) + progress * (f64::from(self.to) - f64::from(self.from))) as f32
    }
}

//! An encoder with its head behind one door, so that configuration can choose among types.

use std::cell::RefCell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Build, Builder, Layer, Parameters};
use crate::rng::Key;
use crate::tensor::bridge::{Embedding, on_tape};
use crate::tensor::{Const, Device, Images, Patched, Side, Tensor, Vectors};

use super::{ImageNetStem, ProjectionHead, ProjectionHeadNorm, ResNet18, ResNet50, ResNetSmall, SmallStem, VitS8};

/// Width of the projection that losses see.
pub const PROJECTION: usize = 128;

/// Which encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoder {
    /// 32, 64 and 128 channels, a block each: 128 features.
    ResnetSmall,
    /// 512 features.
    Resnet18,
    /// 2048 features.
    Resnet50,
    /// A transformer of 12 blocks: 384 features.
    VitS8,
}

/// How an encoder's first layers treat the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// 7x7 convolution of stride 2 and max pooling: the side becomes a quarter.
    Imagenet,
    /// 3x3 convolution of stride 2: the side becomes a half.
    Half,
    /// 3x3 convolution of stride 1: the side stays, as in CIFAR's ResNets.
    Small,
    /// Patches of 8 by 8 pixels, a token each: the stem of transformers.
    Patch8,
}

/// Which projection head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// Linear, ReLU, linear.
    Mlp,
    /// Linear, batch normalisation, ReLU, linear.
    MlpNorm,
}

/// Everything that determines a network's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The encoder.
    pub encoder: Encoder,
    /// Its stem.
    pub stem: Stem,
    /// Its projection head.
    pub head: HeadKind,
    /// Height and width of its input in pixels.
    pub image: usize,
}

/// A network of any type: images in, features or projections out.
pub trait Network<D: Device> {
    /// Projections (N, 128) of `images` (N, image, image, 3), on a tape of dfdx's whose backward adds the gradients.
    fn embed(&self, images: &[f32]) -> Embedding<PROJECTION>;
    /// Features (N, F) in evaluation mode, without the head.
    fn features(&self, images: &[f32]) -> Vec<f32>;
    /// Width F of the features.
    fn width(&self) -> usize;
    /// Height and width of the input in pixels.
    fn image(&self) -> usize;
    /// The values, gradients and statistics.
    fn parameters(&self) -> std::cell::RefMut<'_, Parameters<D>>;
}

/// A network of encoder `E` with features of width `F`, head `H` and input side `S`. The parameters are shared with
/// the closures on dfdx's tape, which outlive the borrow of the network.
struct Typed<E, H, S, D: Device, const F: usize> {
    encoder: E,
    head: H,
    side: S,
    parameters: Rc<RefCell<Parameters<D>>>,
}

impl<E, H, S, D, const F: usize> Typed<E, H, S, D, F>
where
    E: Build,
    H: Build,
    S: Side,
    D: Device,
{
    fn new(device: &D, key: Key) -> Self {
        let mut builder = Builder::new(&key);
        let encoder = E::build(&mut builder);
        let head = builder.scope("head", H::build);
        Self { encoder, head, side: S::default(), parameters: Rc::new(RefCell::new(builder.finish(device))) }
    }

    fn upload(&self, images: &[f32]) -> Tensor<Images<S>, D> {
        let batch = images.len() / (3 * S::SIZE * S::SIZE);
        let device = self.parameters.borrow().device.clone();
        Tensor::upload(&device, (batch, self.side, self.side, Const), images)
    }
}

impl<E, H, S, D, const F: usize> Network<D> for Typed<E, H, S, D, F>
where
    E: Build + Layer<D, Images<S>, Output = Vectors<F>> + Clone + 'static,
    H: Build + Layer<D, Vectors<F>, Output = Vectors<PROJECTION>> + Clone + 'static,
    S: Side,
    D: Device,
    E::Saved: 'static,
    H::Saved: 'static,
{
    fn embed(&self, images: &[f32]) -> Embedding<PROJECTION> {
        let x = self.upload(images);
        let batch = x.shape().0;
        let mut parameters = self.parameters.borrow_mut();
        let (features, of_encoder) = self.encoder.forward(x, &mut parameters);
        let (z, of_head) = self.head.forward(features, &mut parameters);
        let shared = Rc::clone(&self.parameters);
        let (encoder, head, device) = (self.encoder.clone(), self.head.clone(), parameters.device.clone());
        on_tape(z.download(), batch, move |dz| {
            let mut parameters = shared.borrow_mut();
            let dz = Tensor::upload(&device, (batch, Const), dz);
            let dfeatures = head.backward(of_head, dz, &mut parameters);
            encoder.backward_parameters(of_encoder, dfeatures, &mut parameters);
        })
    }

    fn features(&self, images: &[f32]) -> Vec<f32> {
        self.encoder.infer(self.upload(images), &self.parameters.borrow()).download()
    }

    fn width(&self) -> usize {
        F
    }

    fn image(&self) -> usize {
        S::SIZE
    }

    fn parameters(&self) -> std::cell::RefMut<'_, Parameters<D>> {
        self.parameters.borrow_mut()
    }
}

/// The network of a specification, freshly initialised from `key`.
///
/// # Errors
/// When no network was built for the image size, or none joins the encoder and the stem.
pub fn open<D: Device>(spec: &ModelSpec, device: &D, key: Key) -> Result<Box<dyn Network<D>>> {
    match spec.image {
        32 => with_side::<Const<32>, D>(spec, device, key),
        64 => with_side::<Const<64>, D>(spec, device, key),
        96 => with_side::<Const<96>, D>(spec, device, key),
        other => Err(Error::new(format!("no network takes images of {other} pixels; sizes are 32, 64 and 96"))
            .hint("set another size: `--set model.image=64`")),
    }
}

fn with_side<S: Patched<8>, D: Device>(spec: &ModelSpec, device: &D, key: Key) -> Result<Box<dyn Network<D>>> {
    macro_rules! network {
        ($encoder:ty, $features:literal) => {
            match spec.head {
                HeadKind::Mlp => Box::new(
                    Typed::<$encoder, ProjectionHead<$features, PROJECTION>, S, D, $features>::new(device, key),
                ),
                HeadKind::MlpNorm => {
                    Box::new(Typed::<$encoder, ProjectionHeadNorm<$features, PROJECTION>, S, D, $features>::new(
                        device, key,
                    ))
                }
            }
        };
    }
    Ok(match (spec.encoder, spec.stem) {
        (Encoder::ResnetSmall, Stem::Imagenet) => network!(ResNetSmall<ImageNetStem<32>>, 128),
        (Encoder::ResnetSmall, Stem::Half) => network!(ResNetSmall<SmallStem<32, 2>>, 128),
        (Encoder::ResnetSmall, Stem::Small) => network!(ResNetSmall<SmallStem<32, 1>>, 128),
        (Encoder::Resnet18, Stem::Imagenet) => network!(ResNet18<ImageNetStem<64>>, 512),
        (Encoder::Resnet18, Stem::Half) => network!(ResNet18<SmallStem<64, 2>>, 512),
        (Encoder::Resnet18, Stem::Small) => network!(ResNet18<SmallStem<64, 1>>, 512),
        (Encoder::Resnet50, Stem::Imagenet) => network!(ResNet50<ImageNetStem<64>>, 2048),
        (Encoder::Resnet50, Stem::Half) => network!(ResNet50<SmallStem<64, 2>>, 2048),
        (Encoder::Resnet50, Stem::Small) => network!(ResNet50<SmallStem<64, 1>>, 2048),
        (Encoder::VitS8, Stem::Patch8) => network!(VitS8<S>, 384),
        (Encoder::VitS8, stem) => return Err(unsuited(stem, "a transformer", Stem::Patch8)),
        (_, stem @ Stem::Patch8) => return Err(unsuited(stem, "a ResNet", Stem::Half)),
    })
}

fn unsuited(stem: Stem, encoder: &str, other: Stem) -> Error {
    let name = |stem: Stem| serde_json::to_value(stem).ok().and_then(|name| Some(name.as_str()?.to_owned()));
    let [stem, other] = [stem, other].map(|stem| name(stem).unwrap_or_default());
    Error::new(format!("{encoder} has no stem `{stem}`")).hint(format!("set another one: `--set model.stem={other}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Cpu, Precision, fresh};
    use dfdx::prelude::{Backward, MeanTo, Rank0};

    #[test]
    fn a_step_in_the_steady_state_asks_for_no_fresh_memory() {
        let spec =
            ModelSpec { encoder: Encoder::ResnetSmall, stem: Stem::Imagenet, head: HeadKind::MlpNorm, image: 32 };
        for precision in [Precision::F32, Precision::Bf16] {
            let network = open(&spec, &Cpu { precision }, Key::root(0)).unwrap();
            let batch = 5; // of no other test, so that none takes what is freed here
            let images = vec![0.5; batch * 32 * 32 * 3];
            let step = || network.embed(&images).square().mean::<Rank0, _>().backward();
            step();
            let warm = fresh();
            assert!(warm > 0);
            step();
            step();
            assert_eq!(fresh(), warm, "{precision:?}");
        }
    }
}

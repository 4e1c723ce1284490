//! Encoders behind one door, so that configuration can choose among types.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Build, Builder, Layer, Parameters};
use crate::tensor::{Const, Device, Images, Matrix, Patched, Side, Tensor, Vectors};

use super::{ImageNetStem, ResNet18, ResNet50, ResNetSmall, SmallStem, VitMini, VitS8};

/// Heights and widths of images that networks are built for.
const SIDES: [usize; 4] = [16, 32, 64, 96];

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
    /// A transformer of 6 blocks: 192 features.
    VitMini,
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
    /// Patches of 4 by 4 pixels, a token each: the stem of transformers.
    Patch4,
    /// Patches of 8 by 8 pixels.
    Patch8,
}

/// Everything that determines an encoder's type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The encoder.
    pub encoder: Encoder,
    /// Its stem.
    pub stem: Stem,
    /// Height and width of its input in pixels; small crops have half of it.
    pub image: usize,
    /// The rate of stochastic depth in a transformer's last block, from 0 to below 1.
    pub drop_path: f32,
}

impl Encoder {
    /// The stem that fits where none is chosen: patches of 8 pixels for a transformer; a ResNet takes several.
    pub fn usual_stem(self) -> Option<Stem> {
        self.is_transformer().then_some(Stem::Patch8)
    }

    fn is_transformer(self) -> bool {
        matches!(self, Self::VitMini | Self::VitS8)
    }
}

impl ModelSpec {
    /// Refuses what cannot be built; `key` has the stem in the configuration.
    ///
    /// # Errors
    /// When there is no encoder for the image size, or none that joins the encoder and the stem.
    pub fn check(&self, key: &str) -> Result<()> {
        if !SIDES.contains(&self.image) {
            return Err(Error::new(format!(
                "no network takes images of {} pixels; sizes are 16, 32, 64 and 96",
                self.image
            ))
            .hint("set another size: `--set model.image=64`"));
        }
        match (self.encoder, self.stem) {
            (Encoder::VitMini, Stem::Patch4 | Stem::Patch8) | (Encoder::VitS8, Stem::Patch8) => Ok(()),
            (Encoder::VitMini | Encoder::VitS8, stem) => Err(unsuited(stem, "such a transformer", (key, Stem::Patch8))),
            (_, stem @ (Stem::Patch4 | Stem::Patch8)) => Err(unsuited(stem, "a ResNet", (key, Stem::Half))),
            _ => Ok(()),
        }
    }

    /// Whether it is one, rather than a ResNet.
    pub fn is_transformer(&self) -> bool {
        self.encoder.is_transformer()
    }
}

/// Features (N, F) of an encoder whose width F is known when the program runs.
pub type Features<D> = Tensor<Matrix, D>;

/// What remains of a forward pass: takes the result's gradient, adds those of the parameters, gives the argument's.
pub type Backward<D, Y, X> = Box<dyn FnOnce(Y, &mut Parameters<D>) -> X>;

/// The way back from features to images, of which only the parameters' gradients are wanted.
pub type ToImages<D> = Backward<D, Features<D>, ()>;

/// An encoder of any type: square RGB images to features (N, F).
pub trait AnyEncoder<D: Device> {
    /// Width F of the features.
    fn width(&self) -> usize;
    /// Height and width of an image in pixels.
    fn image(&self) -> usize;
    /// Features of `images` (N, image, image, 3) while training.
    fn forward(&self, images: &[f32], parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>);
    /// The same of `crops` of half the side.
    fn forward_crops(&self, crops: &[f32], parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>);
    /// Features of `images` in evaluation mode.
    fn infer(&self, images: &[f32], parameters: &Parameters<D>) -> Features<D>;
}

/// An encoder of type `E` for images of side `S`, with features of width `F`.
struct Typed<E, S, const F: usize> {
    layers: E,
    side: S,
}

impl<E, S: Side, const F: usize> Typed<E, S, F> {
    fn pass<D: Device, T: Side>(&self, images: &[f32], parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>)
    where
        E: Layer<D, Images<T>, Output = Vectors<F>> + Copy + 'static,
        E::Saved: 'static,
    {
        let (features, saved) = self.layers.forward(upload::<T, D>(images, parameters), parameters);
        let (layers, batch) = (self.layers, features.shape().0);
        let backward = move |gradient: Features<D>, parameters: &mut Parameters<D>| {
            layers.backward_parameters(saved, gradient.reshape((batch, Const)), parameters);
        };
        (features.reshape((batch, F)), Box::new(backward))
    }
}

fn upload<S: Side, D: Device>(images: &[f32], parameters: &Parameters<D>) -> Tensor<Images<S>, D> {
    let batch = images.len() / (3 * S::SIZE * S::SIZE);
    Tensor::upload(&parameters.device, (batch, S::default(), S::default(), Const), images)
}

impl<D, E, S, const F: usize> AnyEncoder<D> for Typed<E, S, F>
where
    D: Device,
    S: Side,
    E: Copy + 'static,
    E: Layer<D, Images<S>, Output = Vectors<F>> + Layer<D, Images<S::Half>, Output = Vectors<F>>,
    <E as Layer<D, Images<S>>>::Saved: 'static,
    <E as Layer<D, Images<S::Half>>>::Saved: 'static,
{
    fn width(&self) -> usize {
        F
    }

    fn image(&self) -> usize {
        self.side.size()
    }

    fn forward(&self, images: &[f32], parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>) {
        self.pass::<D, S>(images, parameters)
    }

    fn forward_crops(&self, crops: &[f32], parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>) {
        self.pass::<D, S::Half>(crops, parameters)
    }

    fn infer(&self, images: &[f32], parameters: &Parameters<D>) -> Features<D> {
        let features = Layer::<D, Images<S>>::infer(&self.layers, upload(images, parameters), parameters);
        let batch = features.shape().0;
        features.reshape((batch, F))
    }
}

/// Builds the encoder of a specification.
///
/// # Errors
/// When no encoder was built for the image size, or none joins the encoder and the stem.
pub(super) fn build<D: Device>(spec: &ModelSpec, builder: &mut Builder<'_>) -> Result<Box<dyn AnyEncoder<D>>> {
    spec.check("model")?;
    Ok(match spec.image {
        16 => with_side::<Const<16>, D>(spec, builder),
        32 => with_side::<Const<32>, D>(spec, builder),
        64 => with_side::<Const<64>, D>(spec, builder),
        96 => with_side::<Const<96>, D>(spec, builder),
        other => unreachable!("{other} pixels passed the check"),
    })
}

fn with_side<S, D>(spec: &ModelSpec, builder: &mut Builder<'_>) -> Box<dyn AnyEncoder<D>>
where
    S: Patched<4> + Patched<8> + Side<Half: Patched<4> + Patched<8>>,
    D: Device,
{
    macro_rules! encoder {
        ($encoder:ty, $features:literal) => {
            Box::new(Typed::<$encoder, S, $features> { layers: Build::build(builder), side: S::default() })
        };
    }
    match (spec.encoder, spec.stem) {
        (Encoder::ResnetSmall, Stem::Imagenet) => encoder!(ResNetSmall<ImageNetStem<32>>, 128),
        (Encoder::ResnetSmall, Stem::Half) => encoder!(ResNetSmall<SmallStem<32, 2>>, 128),
        (Encoder::ResnetSmall, Stem::Small) => encoder!(ResNetSmall<SmallStem<32, 1>>, 128),
        (Encoder::Resnet18, Stem::Imagenet) => encoder!(ResNet18<ImageNetStem<64>>, 512),
        (Encoder::Resnet18, Stem::Half) => encoder!(ResNet18<SmallStem<64, 2>>, 512),
        (Encoder::Resnet18, Stem::Small) => encoder!(ResNet18<SmallStem<64, 1>>, 512),
        (Encoder::Resnet50, Stem::Imagenet) => encoder!(ResNet50<ImageNetStem<64>>, 2048),
        (Encoder::Resnet50, Stem::Half) => encoder!(ResNet50<SmallStem<64, 2>>, 2048),
        (Encoder::Resnet50, Stem::Small) => encoder!(ResNet50<SmallStem<64, 1>>, 2048),
        (Encoder::VitMini, Stem::Patch4) => encoder!(VitMini<S>, 192),
        (Encoder::VitMini, Stem::Patch8) => encoder!(VitMini<S, 8>, 192),
        (Encoder::VitS8, Stem::Patch8) => encoder!(VitS8<S>, 384),
        (encoder, stem) => unreachable!("{encoder:?} with {stem:?} passed the check"),
    }
}

fn unsuited(stem: Stem, encoder: &str, (key, other): (&str, Stem)) -> Error {
    let name = |stem: Stem| serde_json::to_value(stem).ok().and_then(|name| Some(name.as_str()?.to_owned()));
    let [stem, other] = [stem, other].map(|stem| name(stem).unwrap_or_default());
    Error::new(format!("{encoder} has no stem `{stem}`")).hint(format!("set another one: `--set {key}.stem={other}`"))
}

//! The choice of encoder, and its type. This file only maps names to types and strides: a result depends on the file of
//! that type, on the files that it uses, and on the stride, which is among the inputs of a detector's stage.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::tensor::Device;

use super::detector::build as on_encoder;
use super::encoder::open;
use super::resnet::{Front18, Front50, FrontSmall, ImageNetStem, Last18, Last50, LastSmall, SmallStem};
use super::{AnyDetector, AnyEncoder, DetectorShape, resnet, vit};

/// Supported heights and widths of images. Patches cover them, and crops of half the side.
const SIDES: [usize; 4] = [16, 32, 64, 96];

/// The encoder's architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoder {
    /// One block each of 32, 64 and 128 channels: 128 features.
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
    /// Patches of 4 by 4 pixels, one token each: a stem for transformers.
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
    /// The default stem: patches of 8 pixels for a transformer, none for a ResNet, which supports several.
    pub fn usual_stem(self) -> Option<Stem> {
        self.is_transformer().then_some(Stem::Patch8)
    }

    /// Whether it is a transformer, rather than a ResNet.
    pub fn is_transformer(self) -> bool {
        self.module() == "models::vit"
    }

    /// The module that defines its type: an edit of it changes the results of this encoder. All variants are listed, so
    /// that a new one needs a decision.
    fn module(self) -> &'static str {
        match self {
            Self::ResnetSmall | Self::Resnet18 | Self::Resnet50 => "models::resnet",
            Self::VitMini | Self::VitS8 => "models::vit",
        }
    }
}

impl ModelSpec {
    /// Rejects a specification that cannot be built. `key` is the table of the configuration that has the stem.
    ///
    /// # Errors
    /// When there is no encoder for the image size, or the encoder does not support the stem.
    pub fn check(&self, key: &str) -> Result<()> {
        if !SIDES.contains(&self.image) {
            return Err(Error::new(format!(
                "no network takes images of {} pixels; sizes are 16, 32, 64 and 96",
                self.image
            ))
            .hint("set another size: `--set model.image=64`; for commands with `--image`, `--image 64`"));
        }
        match (self.encoder, self.stem) {
            (Encoder::VitMini, Stem::Patch4 | Stem::Patch8) | (Encoder::VitS8, Stem::Patch8) => Ok(()),
            (Encoder::VitMini | Encoder::VitS8, stem) => Err(unsuited(stem, "this transformer", (key, Stem::Patch8))),
            (_, stem @ (Stem::Patch4 | Stem::Patch8)) => Err(unsuited(stem, "a ResNet", (key, Stem::Half))),
            _ => Ok(()),
        }
    }

    /// Whether it is a transformer, rather than a ResNet.
    pub fn is_transformer(&self) -> bool {
        self.encoder.is_transformer()
    }

    /// Pixels of an image per position of the map before the last stage of a ResNet, in which a detector finds regions.
    pub fn detection_stride(&self) -> usize {
        let stem = match self.stem {
            Stem::Imagenet => 4,
            Stem::Half => 2,
            Stem::Small | Stem::Patch4 | Stem::Patch8 => 1,
        };
        match self.encoder {
            Encoder::ResnetSmall => 2 * stem,
            Encoder::Resnet18 | Encoder::Resnet50 | Encoder::VitMini | Encoder::VitS8 => 4 * stem,
        }
    }

    /// Rejects an encoder that a detector cannot be built on.
    ///
    /// # Errors
    /// When it is a transformer, which has no stages.
    pub fn check_stages(&self) -> Result<()> {
        if self.is_transformer() {
            return Err(Error::new("a detector needs the stages of a ResNet, and a transformer has none")
                .hint("choose an encoder with stages: `--set model.encoder=resnet-small --set model.stem=half`"));
        }
        Ok(())
    }

    /// The module that defines its type.
    pub fn module(&self) -> &'static str {
        self.encoder.module()
    }
}

/// Builds the encoder of a specification.
///
/// # Errors
/// When there is no encoder for the image size, or the encoder does not support the stem.
pub(super) fn build<D: Device>(spec: &ModelSpec, builder: &mut Builder<'_>) -> Result<Box<dyn AnyEncoder<D>>> {
    spec.check("model")?;
    Ok(match (spec.encoder, spec.stem) {
        (Encoder::ResnetSmall, Stem::Imagenet) => open::<D, resnet::SmallImagenet, 128>(builder),
        (Encoder::ResnetSmall, Stem::Half) => open::<D, resnet::SmallHalf, 128>(builder),
        (Encoder::ResnetSmall, Stem::Small) => open::<D, resnet::SmallWhole, 128>(builder),
        (Encoder::Resnet18, Stem::Imagenet) => open::<D, resnet::ResNet18Imagenet, 512>(builder),
        (Encoder::Resnet18, Stem::Half) => open::<D, resnet::ResNet18Half, 512>(builder),
        (Encoder::Resnet18, Stem::Small) => open::<D, resnet::ResNet18Whole, 512>(builder),
        (Encoder::Resnet50, Stem::Imagenet) => open::<D, resnet::ResNet50Imagenet, 2048>(builder),
        (Encoder::Resnet50, Stem::Half) => open::<D, resnet::ResNet50Half, 2048>(builder),
        (Encoder::Resnet50, Stem::Small) => open::<D, resnet::ResNet50Whole, 2048>(builder),
        (Encoder::VitMini, Stem::Patch4) => open::<D, vit::VitMini<4>, 192>(builder),
        (Encoder::VitMini, Stem::Patch8) => open::<D, vit::VitMini<8>, 192>(builder),
        (Encoder::VitS8, Stem::Patch8) => open::<D, vit::VitS8, 384>(builder),
        (encoder, stem) => unreachable!("{encoder:?} with {stem:?} passed the check"),
    })
}

/// Builds a detector on the encoder of a specification, for images of any size.
///
/// # Errors
/// When the encoder is a transformer, which has no stages, or does not support the stem.
pub fn detector<D: Device>(
    spec: &ModelSpec,
    shape: &DetectorShape,
    builder: &mut Builder<'_>,
) -> Result<Box<dyn AnyDetector<D>>> {
    spec.check("model")?;
    spec.check_stages()?;
    let stride = spec.detection_stride();
    Ok(match (spec.encoder, spec.stem) {
        (Encoder::ResnetSmall, Stem::Imagenet) => {
            on_encoder::<D, FrontSmall<ImageNetStem<32>>, LastSmall, 64, 128>(shape, ("layer3", stride), builder)
        }
        (Encoder::ResnetSmall, Stem::Half) => {
            on_encoder::<D, FrontSmall<SmallStem<32, 2>>, LastSmall, 64, 128>(shape, ("layer3", stride), builder)
        }
        (Encoder::ResnetSmall, Stem::Small) => {
            on_encoder::<D, FrontSmall<SmallStem<32, 1>>, LastSmall, 64, 128>(shape, ("layer3", stride), builder)
        }
        (Encoder::Resnet18, Stem::Imagenet) => {
            on_encoder::<D, Front18<ImageNetStem<64>>, Last18, 256, 512>(shape, ("layer4", stride), builder)
        }
        (Encoder::Resnet18, Stem::Half) => {
            on_encoder::<D, Front18<SmallStem<64, 2>>, Last18, 256, 512>(shape, ("layer4", stride), builder)
        }
        (Encoder::Resnet18, Stem::Small) => {
            on_encoder::<D, Front18<SmallStem<64, 1>>, Last18, 256, 512>(shape, ("layer4", stride), builder)
        }
        (Encoder::Resnet50, Stem::Imagenet) => {
            on_encoder::<D, Front50<ImageNetStem<64>>, Last50, 1024, 2048>(shape, ("layer4", stride), builder)
        }
        (Encoder::Resnet50, Stem::Half) => {
            on_encoder::<D, Front50<SmallStem<64, 2>>, Last50, 1024, 2048>(shape, ("layer4", stride), builder)
        }
        (Encoder::Resnet50, Stem::Small) => {
            on_encoder::<D, Front50<SmallStem<64, 1>>, Last50, 1024, 2048>(shape, ("layer4", stride), builder)
        }
        (encoder, stem) => unreachable!("{encoder:?} with {stem:?} passed the checks"),
    })
}

fn unsuited(stem: Stem, encoder: &str, (key, other): (&str, Stem)) -> Error {
    let name = |stem: Stem| serde_json::to_value(stem).ok().and_then(|name| Some(name.as_str()?.to_owned()));
    let [stem, other] = [stem, other].map(|stem| name(stem).unwrap_or_default());
    Error::new(format!("{encoder} has no stem `{stem}`")).hint(format!("set another stem: `--set {key}.stem={other}`"))
}

//! Networks, composed from `nn`: encoders, heads, and both together behind traits, so that training and evaluation do
//! not depend on the types.

mod detector;
mod encoder;
mod head;
mod network;
mod resnet;
mod spec;
mod vit;

pub use detector::{AnyDetector, DetectorShape, Learns, OWN, Predictions, Propose, Targets};
pub use encoder::{AnyEncoder, Backward, Features, Pixels, ToImages};
pub(crate) use head::head;
pub use head::{AnyHead, BuildHead, Heads, ToFeatures, TypedHead};
pub use network::{AnyNetwork, Backbone, Network, NetworkPass, open};
pub use resnet::{BasicBlock, Bottleneck, ImageNetStem, ResNet18, ResNet50, ResNetSmall, SmallStem, Trunk};
pub use spec::{Encoder, ModelSpec, Stem, detector};
pub use vit::{Vit, VitMini, VitS8};

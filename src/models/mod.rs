//! Networks, composed from `nn`: encoders, heads, and one that training and evaluation can hold whatever its type.

mod head;
mod network;
mod resnet;
mod vit;

pub use head::{ProjectionHead, ProjectionHeadNorm};
pub use network::{Encoder, HeadKind, ModelSpec, Network, PROJECTION, Stem, open};
pub use resnet::{BasicBlock, Bottleneck, ImageNetStem, ResNet18, ResNet50, ResNetSmall, SmallStem};
pub use vit::{Vit, VitS8};

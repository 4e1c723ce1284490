//! A network: an encoder with a head and their parameters, independent of the types.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

use dfdx::shapes::Const;

use crate::error::Result;
use crate::nn::{Builder, Parameters};
use crate::rng::Key;
use crate::tensor::bridge::{Embedding, on_tape};
use crate::tensor::{Device, DeviceLoss, Reading, Tensor, Vectors};

use super::encoder::{AnyEncoder, Features, Pixels, ToImages};
use super::head::{AnyHead, BuildHead, Heads};
use super::spec::{self, ModelSpec};

/// An encoder with its parameters, as used by evaluation. Cloning shares both.
#[derive(Clone)]
pub struct Backbone<D: Device> {
    encoder: Rc<dyn AnyEncoder<D>>,
    image: usize,
    parameters: Rc<RefCell<Parameters<D>>>,
}

/// An encoder and a head with projections of width P and predictions of width Q. Cloning shares them and the
/// parameters.
#[derive(Clone)]
pub struct Network<D: Device, const P: usize, const Q: usize> {
    backbone: Backbone<D>,
    head: Rc<dyn AnyHead<D, P, Q>>,
}

/// Builds the encoder of a specification without a head, freshly initialised from `key`. Its parameters are the same
/// as within any network of the same key.
///
/// # Errors
/// When there is no such encoder.
pub fn open<D: Device>(spec: &ModelSpec, device: &D, key: Key) -> Result<Backbone<D>> {
    let (encoder, builder) = build(spec, &key)?;
    Ok(Backbone::finish(encoder, builder, spec.image, device))
}

/// Builds an encoder. The builder may then build heads.
fn build<'k, D: Device>(spec: &ModelSpec, key: &'k Key) -> Result<(Box<dyn AnyEncoder<D>>, Builder<'k>)> {
    let mut builder = Builder::new(key);
    builder.set_images(spec.image, spec.image);
    Ok((spec::build(spec, &mut builder)?, builder))
}

impl<D: Device> Backbone<D> {
    fn finish(encoder: Box<dyn AnyEncoder<D>>, builder: Builder<'_>, image: usize, device: &D) -> Self {
        Self { encoder: Rc::from(encoder), image, parameters: Rc::new(RefCell::new(builder.finish(device))) }
    }

    /// Computes features (N, F) of `images` (N, image, image, 3) in evaluation mode.
    pub fn features(&self, images: &[f32]) -> Vec<f32> {
        self.encoder.infer(self.images(images), &self.parameters.borrow()).download()
    }

    /// Width F of the features.
    pub fn width(&self) -> usize {
        self.encoder.width()
    }

    /// Height and width of an image in pixels.
    pub fn image(&self) -> usize {
        self.image
    }

    /// The encoder. A ResNet takes images of any size, a transformer those that whole patches cover.
    pub fn encoder(&self) -> &dyn AnyEncoder<D> {
        &*self.encoder
    }

    fn images<'a>(&self, values: &'a [f32]) -> Pixels<'a> {
        Pixels::square(values, self.image)
    }

    fn crops<'a>(&self, values: &'a [f32]) -> Pixels<'a> {
        Pixels::square(values, self.image / 2)
    }

    /// The values, gradients and statistics.
    pub fn parameters(&self) -> RefMut<'_, Parameters<D>> {
        self.parameters.borrow_mut()
    }

    /// The same, read-only.
    pub fn read(&self) -> Ref<'_, Parameters<D>> {
        self.parameters.borrow()
    }
}

impl<D: Device, const P: usize, const Q: usize> Network<D, P, Q> {
    /// Builds a network, freshly initialised from `key`: each parameter draws from the key split by its own name.
    ///
    /// # Errors
    /// When there is no such encoder.
    pub fn open(spec: &ModelSpec, head: BuildHead<D, P, Q>, device: &D, key: &Key) -> Result<Self> {
        let (encoder, mut builder) = build(spec, key)?;
        let head = Rc::from(head(encoder.width(), &mut builder));
        Ok(Self { backbone: Backbone::finish(encoder, builder, spec.image, device), head })
    }

    /// Builds two networks on one encoder: as `open`, plus another head, whose parameters are named `other..`.
    ///
    /// # Errors
    /// When there is no such encoder.
    pub fn open_two<const R: usize, const T: usize>(
        spec: &ModelSpec,
        head: BuildHead<D, P, Q>,
        other: BuildHead<D, R, T>,
        device: &D,
        key: &Key,
    ) -> Result<(Self, Network<D, R, T>)> {
        let (encoder, mut builder) = build(spec, key)?;
        let head = Rc::from(head(encoder.width(), &mut builder));
        let other = Rc::from(builder.scope("other", |builder| other(encoder.width(), builder)));
        let backbone = Backbone::finish(encoder, builder, spec.image, device);
        Ok((Self { backbone: backbone.clone(), head }, Network { backbone, head: other }))
    }

    /// The values, gradients and statistics.
    pub fn parameters(&self) -> RefMut<'_, Parameters<D>> {
        self.backbone.parameters()
    }

    /// Runs a training pass over `images` (N, image, image, 3), then over `crops` of half their side; either may be
    /// empty. In the encoder, batch normalisation uses the moments of all images, and of all crops in their own pass;
    /// in the head, it uses the moments of all rows.
    pub fn embed(&self, images: &[f32], crops: &[f32]) -> NetworkPass<D, P, Q> {
        let Backbone { encoder, parameters: shared, .. } = &self.backbone;
        let parameters = &mut *shared.borrow_mut();
        let (views, small) = (self.backbone.images(images), self.backbone.crops(crops));
        let (features, of_encoder) = match (images, crops) {
            (_, []) => encoder.forward(views, parameters),
            ([], _) => encoder.forward(small, parameters),
            _ => both(&**encoder, views, small, parameters),
        };
        parameters.end_pass();
        let (Heads { z, p }, of_head) = self.head.forward(features, parameters);
        let shared = Rc::clone(shared);
        let backward = move |dp: Tensor<Vectors<Q>, D>| {
            let parameters = &mut *shared.borrow_mut();
            let gradient = of_head(dp, parameters);
            of_encoder(gradient, parameters);
        };
        NetworkPass { z, p, backward: Box::new(backward) }
    }

    /// Runs a training pass over the first views, then one over the second views. Batch normalisation uses the
    /// moments of one view at a time. `images` is (2N, image, image, 3): all first views, then all second views.
    pub fn embed_views(&self, images: &[f32]) -> NetworkPass<D, P, Q> {
        let (first, second) = images.split_at(images.len() / 2);
        self.embed(first, &[]).then(self.embed(second, &[]))
    }

    /// Computes projections (2N, P) in training mode with the parameters `target`, which have the same layout,
    /// without a backward pass. Batch normalisation uses the moments of one view at a time, as in `embed_views`, and
    /// updates the running moments of the target.
    pub fn target_views(&self, images: &[f32], target: &mut Parameters<D>) -> Tensor<Vectors<P>, D> {
        let mut project = |view: &[f32]| {
            let (features, _) = self.backbone.encoder.forward(self.backbone.images(view), target);
            self.head.project(features, target)
        };
        let (first, second) = images.split_at(images.len() / 2);
        stack(&project(first), &project(second))
    }

    /// Computes predictions (N, Q) in training mode with the parameters `target`, over all images at once, as in
    /// `embed`.
    pub fn target_predictions(&self, images: &[f32], target: &mut Parameters<D>) -> Tensor<Vectors<Q>, D> {
        let (features, _) = self.backbone.encoder.forward(self.backbone.images(images), target);
        self.head.forward(features, target).0.p
    }
}

/// A network, independent of the widths of its heads.
pub trait AnyNetwork<D: Device> {
    /// The encoder, with the parameters of the whole network.
    fn backbone(&self) -> &Backbone<D>;
    /// Computes projections (N, P) of `images` in evaluation mode.
    fn project(&self, images: &[f32]) -> Vec<f32>;
}

impl<D: Device, const P: usize, const Q: usize> AnyNetwork<D> for Network<D, P, Q> {
    fn backbone(&self) -> &Backbone<D> {
        &self.backbone
    }

    fn project(&self, images: &[f32]) -> Vec<f32> {
        let parameters = self.backbone.read();
        let features = self.backbone.encoder.infer(self.backbone.images(images), &parameters);
        self.head.infer(features, &parameters).download()
    }
}

/// Combines a pass over images and a pass over crops of half their side into one.
fn both<D: Device>(
    encoder: &dyn AnyEncoder<D>,
    images: Pixels<'_>,
    crops: Pixels<'_>,
    parameters: &mut Parameters<D>,
) -> (Features<D>, ToImages<D>) {
    let (of_images, images_back) = encoder.forward(images, parameters);
    parameters.end_pass();
    let (of_crops, crops_back) = encoder.forward(crops, parameters);
    let rows = of_images.shape().0;
    let all = of_images.stack(&of_crops);
    let backward = move |gradient: Features<D>, parameters: &mut Parameters<D>| {
        let (of_images, of_crops) = gradient.unstack(rows);
        crops_back(of_crops, parameters);
        images_back(of_images, parameters);
    };
    (all, Box::new(backward))
}

/// The rows of `first`, then those of `second`.
fn stack<D: Device, const P: usize>(
    first: &Tensor<Vectors<P>, D>,
    second: &Tensor<Vectors<P>, D>,
) -> Tensor<Vectors<P>, D> {
    let rows = first.shape().0 + second.shape().0;
    first.with((rows, Const), first.device().concat(first.data(), second.data()))
}

/// A training pass: its results, in the device's memory, and its backward function.
pub struct NetworkPass<D: Device, const P: usize, const Q: usize> {
    z: Tensor<Vectors<P>, D>,
    p: Tensor<Vectors<Q>, D>,
    backward: BackwardFn<D, Q>,
}

/// A backward function that takes the gradient of the predictions.
type BackwardFn<D, const Q: usize> = Box<dyn FnOnce(Tensor<Vectors<Q>, D>)>;

impl<D: Device, const P: usize, const Q: usize> NetworkPass<D, P, Q> {
    /// Joins two passes into one. The rows of the second follow those of the first.
    fn then(self, second: Self) -> Self {
        let (z, p) = (stack(&self.z, &second.z), stack(&self.p, &second.p));
        let rows = [self.p.shape().0, second.p.shape().0];
        let (of_first, of_second) = (self.backward, second.backward);
        let backward = move |gradient: Tensor<Vectors<Q>, D>| {
            let part = |first: usize, rows: usize| {
                let range = first * Q..(first + rows) * Q;
                gradient.with((rows, Const), gradient.device().slice(gradient.data(), range))
            };
            of_second(part(rows[0], rows[1]));
            of_first(part(0, rows[0]));
        };
        NetworkPass { z, p, backward: Box::new(backward) }
    }

    /// N.
    pub fn rows(&self) -> usize {
        self.p.shape().0
    }

    /// Copies the projections (N, P) to host memory. They have no gradient.
    pub fn z(&self) -> Vec<f32> {
        self.z.download()
    }

    /// Copies the predictions (N, Q) to host memory.
    pub fn p(&self) -> Vec<f32> {
        self.p.download()
    }

    /// The projections in the device's memory.
    pub fn projections(&self) -> &Tensor<Vectors<P>, D> {
        &self.z
    }

    /// The predictions in the device's memory.
    pub fn predictions(&self) -> &Tensor<Vectors<Q>, D> {
        &self.p
    }

    /// Adds the parameters' gradients, given the gradient of the predictions (N, Q).
    pub fn backward(self, gradient: &[f32]) {
        let gradient = Tensor::upload(self.p.device(), self.p.shape(), gradient);
        (self.backward)(gradient);
    }

    /// The same with a gradient in the device's memory.
    pub fn backward_on_device(self, gradient: D::Buffer) {
        (self.backward)(self.p.with(self.p.shape(), gradient));
    }

    /// The same with a loss that the device computed. Returns the loss, which may not be computed yet.
    pub fn backward_from(self, loss: DeviceLoss<D>) -> Reading {
        self.backward_on_device(loss.gradient);
        loss.value
    }

    /// Puts the predictions on dfdx's tape, for a loss that is written in dfdx. dfdx's `backward` then runs this
    /// pass's backward function.
    pub fn on_tape(self) -> Embedding<Q> {
        on_tape(self.p(), self.rows(), |gradient| self.backward(gradient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Encoder, Stem, head};
    use crate::nn::{BatchNormRelu, Identity, LinearNoBias, sequence};
    use crate::tensor::{Cpu, Precision};

    const SIDE: usize = 16;
    type Projector<const F: usize> = sequence!(LinearNoBias<F, 8>, BatchNormRelu<8>);

    fn network(encoder: Encoder, stem: Stem, drop_path: f32) -> Network<Cpu, 8, 8> {
        let spec = ModelSpec { encoder, stem, image: SIDE, drop_path };
        let head: BuildHead<Cpu, 8, 8> = head!(F => Projector<F>, Identity);
        Network::open(&spec, head, &Cpu { precision: Precision::F32 }, &Key::root(1)).unwrap()
    }

    fn images(count: usize, seed: u64) -> Vec<f32> {
        let mut stream = Key::root(seed).stream();
        (0..count * SIDE * SIDE * 3).map(|_| stream.normal()).collect()
    }

    #[test]
    fn views_are_normalised_one_at_a_time() {
        let (first, second) = (images(3, 2), images(3, 3));
        let both = [&first[..], &second].concat();
        let gradient: Vec<f32> = images(1, 4)[..2 * 3 * 8].into();
        let together = network(Encoder::ResnetSmall, Stem::Half, 0.0);
        let pass = together.embed_views(&both);
        let apart = network(Encoder::ResnetSmall, Stem::Half, 0.0);
        let [one, other] = [&first, &second].map(|view| apart.embed(view, &[]));
        assert_eq!(
            (pass.rows(), pass.z(), pass.p()),
            (6, [one.z(), other.z()].concat(), [one.p(), other.p()].concat())
        );
        pass.backward(&gradient);
        other.backward(&gradient[3 * 8..]);
        one.backward(&gradient[..3 * 8]);
        assert!(together.parameters().gradients == apart.parameters().gradients);
        assert!(together.parameters().statistics == apart.parameters().statistics);
        let pooled = network(Encoder::ResnetSmall, Stem::Half, 0.0);
        let embedded = pooled.embed_views(&both).p();
        let mut target = pooled.parameters().clone();
        assert_eq!(pooled.target_views(&both, &mut target).download(), embedded);
        assert!(pooled.embed(&both, &[]).p() != embedded, "all at once has other moments");
    }

    #[test]
    fn each_pass_drops_other_paths() {
        let network = network(Encoder::VitMini, Stem::Patch8, 0.5);
        let drop_path = 0.5;
        let embed = |key| {
            network.parameters().pass = Some(crate::nn::Pass { key, drop_path });
            let view = images(12, 5);
            network.embed_views(&[&view[..], &view].concat()).p()
        };
        let (one, again, other) = (embed(Key::root(6)), embed(Key::root(6)), embed(Key::root(7)));
        assert!(one == again && one != other);
        assert!(one[..12 * 8] != one[12 * 8..], "equal views draw alike");
    }
}

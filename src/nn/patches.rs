//! From images to tokens, and from tokens to one vector.

use std::marker::PhantomData;

use crate::tensor::{
    Const, ConstDim, ConvShape, Device, EmbeddingSlots, Images, Layout, Patched, Slot, Tensor, Tokens, Vectors,
};

use super::resample::bicubic;
use super::{Build, Builder, Layer, ParamKind, Parameters};

/// Turns images (N, S, S, 3) into tokens (N, T, C): a class token, then each patch of `P` by `P` pixels, mapped by
/// one linear map. A learned vector for its position is added to each token. `S` is the side that the positions are
/// for. For images of another side, such as small crops, the positions of the patches are interpolated bicubically,
/// which is a fixed linear map.
#[derive(Clone, Copy, Debug)]
pub struct PatchEmbedding<S, const P: usize, const C: usize> {
    weight: Slot,
    slots: EmbeddingSlots,
    side: PhantomData<S>,
}

/// The class token of each image: (N, T, C) to (N, C).
#[derive(Clone, Copy, Debug)]
pub struct ClassToken;

impl<S: Patched<P>, const P: usize, const C: usize> Build for PatchEmbedding<S, P, C> {
    /// Names and initial values are as in timm: the positions are normal with standard deviation 0.02, the class
    /// token with 1e-6, and the patches' map is uniform, as PyTorch initialises a convolution.
    fn build(builder: &mut Builder<'_>) -> Self {
        let tokens = S::Tokens::SIZE;
        let class = builder.parameter("cls_token", &[1, 1, C], ParamKind::Weight, |s| 1e-6 * s.normal());
        let positions = builder.parameter("pos_embed", &[1, tokens, C], ParamKind::Weight, |s| 0.02 * s.normal());
        let bound = 1.0 / ((3 * P * P) as f32).sqrt();
        let shape = [C, 3, P, P];
        let weight =
            builder.parameter("patch_embed.proj.weight", &shape, ParamKind::Weight, |s| s.range(-bound, bound));
        let bias = builder.parameter("patch_embed.proj.bias", &[C], ParamKind::Vector, |s| s.range(-bound, bound));
        Self { weight, slots: EmbeddingSlots { class, positions, bias }, side: PhantomData }
    }
}

impl Build for ClassToken {
    fn build(_: &mut Builder<'_>) -> Self {
        Self
    }
}

impl<S: Patched<P>, const P: usize, const C: usize> PatchEmbedding<S, P, C> {
    fn shape<X: Patched<P>>((batch, ..): Images<X>) -> ConvShape {
        ConvShape {
            layout: Layout::Images,
            batch,
            height: X::SIZE,
            width: X::SIZE,
            in_channels: 3,
            out_channels: C,
            kernel: P,
            stride: P,
            padding: 0,
        }
    }

    /// The matrix that computes the positions of images of side `X`, if `X` is not `S`.
    fn resampling<D: Device, X: Patched<P>>(device: &D) -> Option<D::Arena> {
        (X::SIZE != S::SIZE).then(|| device.arena(bicubic(S::SIZE / P, X::SIZE / P)))
    }

    /// Adds the parameters' gradients and returns the patches' gradient.
    fn backward_patches<D: Device, X: Patched<P>>(
        &self,
        x: &Tensor<Images<X>, D>,
        dy: &Tensor<Tokens<X::Tokens, C>, D>,
        parameters: &mut Parameters<D>,
    ) -> D::Buffer {
        let Parameters { gradients, device, .. } = parameters;
        let resampling = Self::resampling::<D, X>(device);
        let dpatches = device.embed_patches_backward(&self.slots, dy.data(), gradients, resampling.as_ref());
        device.conv2d_weight(&Self::shape(x.shape()), x.data(), &dpatches, gradients, self.weight);
        dpatches
    }
}

impl<D: Device, S: Patched<P>, X: Patched<P>, const P: usize, const C: usize> Layer<D, Images<X>>
    for PatchEmbedding<S, P, C>
{
    type Output = Tokens<X::Tokens, C>;
    type Saved = Tensor<Images<X>, D>;

    fn forward(
        &self,
        x: Tensor<Images<X>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Self::Output, D>, Self::Saved) {
        (self.infer(x.clone(), parameters), x)
    }

    fn backward(
        &self,
        x: Self::Saved,
        dy: Tensor<Self::Output, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Images<X>, D> {
        let dpatches = self.backward_patches(&x, &dy, parameters);
        let Parameters { values, device, .. } = parameters;
        x.with(x.shape(), device.conv2d_input(&Self::shape(x.shape()), &dpatches, values, self.weight, None))
    }

    fn backward_parameters(&self, x: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
        self.backward_patches(&x, &dy, parameters);
    }

    fn infer(&self, x: Tensor<Images<X>, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D> {
        let Parameters { values, device, .. } = parameters;
        let patches = device.conv2d(&Self::shape(x.shape()), x.data(), values, self.weight);
        let resampling = Self::resampling::<D, X>(device);
        let embedded = device.embed_patches(&self.slots, &patches, values, resampling.as_ref());
        x.with((x.shape().0, Default::default(), Const), embedded)
    }
}

impl<D: Device, T: ConstDim, const C: usize> Layer<D, Tokens<T, C>> for ClassToken {
    type Output = Vectors<C>;
    type Saved = ();

    fn forward(&self, x: Tensor<Tokens<T, C>, D>, parameters: &mut Parameters<D>) -> (Tensor<Vectors<C>, D>, ()) {
        (self.infer(x, parameters), ())
    }

    fn backward(&self, (): (), dy: Tensor<Vectors<C>, D>, _: &mut Parameters<D>) -> Tensor<Tokens<T, C>, D> {
        let batch = dy.shape().0;
        dy.with((batch, T::default(), Const), dy.device().first_backward(dy.data(), T::SIZE * batch * C))
    }

    fn infer(&self, x: Tensor<Tokens<T, C>, D>, _: &Parameters<D>) -> Tensor<Vectors<C>, D> {
        let batch = x.shape().0;
        x.with((batch, Const), x.device().slice(x.data(), 0..batch * C))
    }
}

//! From images to tokens, and from tokens to one vector.

use crate::tensor::{
    Const, ConvShape, Device, Dim, EmbeddingSlots, Images, Layout, Patched, Shape, Slot, Tensor, Tokens, Vectors,
};

use super::resample::bicubic;
use super::{Build, Builder, Layer, ParamKind, Parameters};

/// Turns images (N, H, W, 3) into tokens (N, T, C): a class token, then each patch of `P` by `P` pixels, mapped by one
/// linear map. A learned vector for its position is added to each token. For images of another size than the positions
/// are for, such as small crops, the positions of the patches are interpolated bicubically, which is a fixed linear
/// map.
#[derive(Clone, Copy, Debug)]
pub struct PatchEmbedding<const P: usize, const C: usize> {
    weight: Slot,
    slots: EmbeddingSlots,
    /// Rows and columns of the patches that the positions are for.
    grid: (usize, usize),
}

/// The class token of each image: (N, T, C) to (N, C).
#[derive(Clone, Copy, Debug)]
pub struct ClassToken;

impl<const P: usize, const C: usize> Build for PatchEmbedding<P, C> {
    /// The positions are for the builder's images. Names and initial values are as in timm: the positions are normal
    /// with standard deviation 0.02, the class token with 1e-6, and the patches' map is uniform, as PyTorch initialises a
    /// convolution.
    fn build(builder: &mut Builder<'_>) -> Self {
        let (height, width) = builder.images().expect("positions are for the images that `Builder::set_images` sets");
        let images: Images<usize> = (1, height, width, Const);
        let (grid, tokens) = (Patched::<P>::grid(&images), Patched::<P>::tokens(&images));
        let class = builder.parameter("cls_token", &[1, 1, C], ParamKind::Weight, |s| 1e-6 * s.normal());
        let positions = builder.parameter("pos_embed", &[1, tokens, C], ParamKind::Weight, |s| 0.02 * s.normal());
        let bound = 1.0 / ((3 * P * P) as f32).sqrt();
        let shape = [C, 3, P, P];
        let weight =
            builder.parameter("patch_embed.proj.weight", &shape, ParamKind::Weight, |s| s.range(-bound, bound));
        let bias = builder.parameter("patch_embed.proj.bias", &[C], ParamKind::Vector, |s| s.range(-bound, bound));
        Self { weight, slots: EmbeddingSlots { class, positions, bias }, grid }
    }
}

impl Build for ClassToken {
    fn build(_: &mut Builder<'_>) -> Self {
        Self
    }
}

impl<const P: usize, const C: usize> PatchEmbedding<P, C> {
    fn shape<H: Dim, W: Dim>((batch, height, width, _): Images<H, W>) -> ConvShape {
        ConvShape {
            layout: Layout::Images,
            batch,
            height: height.size(),
            width: width.size(),
            in_channels: 3,
            out_channels: C,
            kernel: P,
            stride: P,
            padding: 0,
        }
    }

    /// The matrix that computes the positions of images of another size than the positions are for.
    fn resampling<D: Device>(&self, device: &D, images: &impl Patched<P>) -> Option<D::Arena> {
        (images.grid() != self.grid).then(|| device.arena(bicubic(self.grid, images.grid())))
    }
}

impl<D: Device, H: Dim, W: Dim, const P: usize, const C: usize> Layer<D, Images<H, W>> for PatchEmbedding<P, C>
where
    Images<H, W>: Patched<P>,
{
    type Output = Tokens<<Images<H, W> as Patched<P>>::Tokens, C>;
    type Saved = Tensor<Images<H, W>, D>;

    fn forward(
        &self,
        x: Tensor<Images<H, W>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Self::Output, D>, Self::Saved) {
        (self.infer(x.clone(), parameters), x)
    }

    fn backward(
        &self,
        x: Self::Saved,
        dy: Tensor<Self::Output, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Images<H, W>, D> {
        let dpatches = self.backward_patches(&x, dy.data(), parameters);
        let Parameters { values, device, .. } = parameters;
        x.with(x.shape(), device.conv2d_input(&Self::shape(x.shape()), &dpatches, values, self.weight, None))
    }

    fn backward_parameters(&self, x: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
        self.backward_patches(&x, dy.data(), parameters);
    }

    fn infer(&self, x: Tensor<Images<H, W>, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D> {
        let Parameters { values, device, .. } = parameters;
        let shape = x.shape();
        let patches = device.conv2d(&Self::shape(shape), x.data(), values, self.weight, None);
        let resampling = self.resampling(device, &shape);
        let embedded = device.embed_patches(&self.slots, &patches, values, resampling.as_ref());
        x.with((shape.0, shape.tokens(), Const), embedded)
    }
}

impl<const P: usize, const C: usize> PatchEmbedding<P, C> {
    /// Adds the parameters' gradients and returns the patches' gradient.
    fn backward_patches<D: Device, H: Dim, W: Dim>(
        &self,
        x: &Tensor<Images<H, W>, D>,
        dy: &D::Buffer,
        parameters: &mut Parameters<D>,
    ) -> D::Buffer
    where
        Images<H, W>: Patched<P>,
    {
        let Parameters { gradients, device, .. } = parameters;
        let resampling = self.resampling(device, &x.shape());
        let dpatches = device.embed_patches_backward(&self.slots, dy, gradients, resampling.as_ref());
        // The bias of the patches belongs to their embedding.
        device.conv2d_weight(&Self::shape(x.shape()), x.data(), &dpatches, gradients, self.weight, None);
        dpatches
    }
}

impl<D: Device, T: Dim, const C: usize> Layer<D, Tokens<T, C>> for ClassToken {
    type Output = Vectors<C>;
    type Saved = Tokens<T, C>;

    fn forward(
        &self,
        x: Tensor<Tokens<T, C>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Vectors<C>, D>, Self::Saved) {
        let shape = x.shape();
        (self.infer(x, parameters), shape)
    }

    fn backward(
        &self,
        shape: Self::Saved,
        dy: Tensor<Vectors<C>, D>,
        _: &mut Parameters<D>,
    ) -> Tensor<Tokens<T, C>, D> {
        dy.with(shape, dy.device().first_backward(dy.data(), shape.num_elements()))
    }

    fn infer(&self, x: Tensor<Tokens<T, C>, D>, _: &Parameters<D>) -> Tensor<Vectors<C>, D> {
        let batch = x.shape().0;
        x.with((batch, Const), x.device().slice(x.data(), 0..batch * C))
    }
}

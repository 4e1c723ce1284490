//! Vision transformers (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>), with timm's parameter names.

use crate::nn::sequence;
use crate::nn::{
    Build, Builder, ClassToken, Layer, LayerNorm, Parameters, PatchEmbedding, SavedTransformerBlock, TransformerBlock,
};
use crate::tensor::{Const, Device, Dim, Images, Patched, Tensor, Tokens};

use super::stages::{StageMap, Stages};

/// ViT-S/8: 21.4 million parameters for images of side 64, 384 features; timm's vit_small_patch8_224.
pub type VitS8 = Vit<8, 384, 6, 1536, 12>;

/// A small transformer: 2.7 million parameters, 192 features. At side 32 a forward pass takes 0.37 GFLOP per image
/// with patches of 4 (65 tokens), 0.09 with patches of 8 (17 tokens).
pub type VitMini<const P: usize = 4> = Vit<P, 192, 3, 768, 6>;

/// Patches of `P` by `P` pixels, `DEPTH` blocks of width `C` with `HEADS` heads, and a last normalisation of the
/// class token: images (N, H, W, 3) to (N, C). The other tokens do not enter the features, so the class token is
/// selected before this normalisation. The positions are for the builder's images; other images that whole patches
/// cover are supported, too.
#[derive(Clone, Copy, Debug)]
pub struct Vit<const P: usize, const C: usize, const HEADS: usize, const HIDDEN: usize, const DEPTH: usize>(
    Whole<P, C, HEADS, HIDDEN, DEPTH>,
);

type Whole<const P: usize, const C: usize, const HEADS: usize, const HIDDEN: usize, const DEPTH: usize> =
    sequence!(PatchEmbedding<P, C>, [TransformerBlock<C, HEADS, HIDDEN>; DEPTH], ClassToken, LayerNorm<C>);

impl<const P: usize, const C: usize, const HEADS: usize, const HIDDEN: usize, const DEPTH: usize> Build
    for Vit<P, C, HEADS, HIDDEN, DEPTH>
{
    fn build(builder: &mut Builder<'_>) -> Self {
        let patches = Build::build(builder);
        let blocks = builder
            .scope("blocks", |builder| std::array::from_fn(|index| TransformerBlock::at_depth(builder, index, DEPTH)));
        Self((patches, (blocks, (ClassToken, LayerNorm::named(builder, "norm")))))
    }
}

impl<
    D: Device,
    H: Dim,
    W: Dim,
    const P: usize,
    const C: usize,
    const HEADS: usize,
    const HIDDEN: usize,
    const DEPTH: usize,
> Layer<D, Images<H, W>> for Vit<P, C, HEADS, HIDDEN, DEPTH>
where
    Images<H, W>: Patched<P>,
{
    type Output = <Whole<P, C, HEADS, HIDDEN, DEPTH> as Layer<D, Images<H, W>>>::Output;
    type Saved = <Whole<P, C, HEADS, HIDDEN, DEPTH> as Layer<D, Images<H, W>>>::Saved;

    fn forward(
        &self,
        x: Tensor<Images<H, W>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Self::Output, D>, Self::Saved) {
        self.0.forward(x, parameters)
    }

    fn backward(
        &self,
        saved: Self::Saved,
        dy: Tensor<Self::Output, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<Images<H, W>, D> {
        self.0.backward(saved, dy, parameters)
    }

    fn backward_parameters(&self, saved: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
        self.0.backward_parameters(saved, dy, parameters);
    }

    fn infer(&self, x: Tensor<Images<H, W>, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D> {
        self.0.infer(x, parameters)
    }
}

/// The patches' tokens after the last block, as a map of one position each.
impl<
    D: Device,
    H: Dim,
    W: Dim,
    const P: usize,
    const C: usize,
    const HEADS: usize,
    const HIDDEN: usize,
    const DEPTH: usize,
> Stages<D, Images<H, W>> for Vit<P, C, HEADS, HIDDEN, DEPTH>
where
    Images<H, W>: Patched<P>,
{
    type Saved = (
        <PatchEmbedding<P, C> as Layer<D, Images<H, W>>>::Saved,
        Vec<SavedTransformerBlock<D, <Images<H, W> as Patched<P>>::Tokens, C, HIDDEN>>,
        Images<H, W>,
    );

    fn forward_stages(
        &self,
        x: Tensor<Images<H, W>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Vec<StageMap<D>>, Self::Saved) {
        let (images, (patches, (blocks, _))) = (x.shape(), &self.0);
        let (tokens, of_patches) = patches.forward(x, parameters);
        let (tokens, of_blocks) = blocks.forward(tokens, parameters);
        (vec![Self::without_class_token(&tokens, &images)], (of_patches, of_blocks, images))
    }

    fn backward_stages(
        &self,
        (of_patches, of_blocks, images): Self::Saved,
        gradients: Vec<Option<StageMap<D>>>,
        parameters: &mut Parameters<D>,
    ) {
        let [gradient] = <[_; 1]>::try_from(gradients).expect("a transformer has one map");
        let Some(gradient) = gradient else { return };
        let batch = images.0;
        let class = gradient.device().upload(&vec![0.0; batch * C]);
        let dtokens = gradient.device().concat(&class, gradient.data());
        let dtokens = gradient.with((batch, images.tokens(), Const), dtokens);
        let (patches, (blocks, _)) = &self.0;
        let dpatches = blocks.backward(of_blocks, dtokens, parameters);
        patches.backward_parameters(of_patches, dpatches, parameters);
    }

    fn infer_stages(&self, x: Tensor<Images<H, W>, D>, parameters: &Parameters<D>) -> Vec<StageMap<D>> {
        let (images, (patches, (blocks, _))) = (x.shape(), &self.0);
        let tokens = blocks.infer(patches.infer(x, parameters), parameters);
        vec![Self::without_class_token(&tokens, &images)]
    }
}

impl<const P: usize, const C: usize, const HEADS: usize, const HIDDEN: usize, const DEPTH: usize>
    Vit<P, C, HEADS, HIDDEN, DEPTH>
{
    fn without_class_token<D: Device, T: Dim>(
        tokens: &Tensor<Tokens<T, C>, D>,
        images: &impl Patched<P>,
    ) -> StageMap<D> {
        let (batch, count, _) = tokens.shape();
        let (rows, columns) = images.grid();
        let patches = tokens.device().slice(tokens.data(), batch * C..count.size() * batch * C);
        tokens.with((batch, C, rows, columns), patches)
    }
}

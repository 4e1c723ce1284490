//! Vision transformers (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>), with timm's parameter names.

use crate::nn::sequence;
use crate::nn::{Build, Builder, ClassToken, Layer, LayerNorm, Parameters, PatchEmbedding, TransformerBlock};
use crate::tensor::{Device, Dim, Images, Patched, Tensor};

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

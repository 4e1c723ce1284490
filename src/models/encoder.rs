//! Encoders of any type behind one trait. Here heights and widths are known only at run time, so the code of a network is
//! generated once for all image sizes. The compiler still checks that the sizes in each network fit: see [`open`].

use crate::nn::{Build, Builder, Layer, Parameters};
use crate::tensor::{Const, Device, Images, Matrix, Tensor, Vectors};

/// Features (N, F) of an encoder whose width F is known only at run time.
pub type Features<D> = Tensor<Matrix, D>;

/// The backward function of a forward pass: takes the gradient of the result, adds the gradients of the parameters,
/// and returns the gradient of the argument.
pub type Backward<D, Y, X> = Box<dyn FnOnce(Y, &mut Parameters<D>) -> X>;

/// The backward function from features to images. It computes only the gradients of the parameters.
pub type ToImages<D> = Backward<D, Features<D>, ()>;

/// RGB images (N, height, width, 3) in host memory.
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    /// All values.
    pub values: &'a [f32],
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

impl<'a> Pixels<'a> {
    /// Images (N, side, side, 3).
    pub fn square(values: &'a [f32], side: usize) -> Self {
        Self { values, height: side, width: side }
    }

    pub(super) fn upload<D: Device>(self, device: &D) -> Tensor<Images<usize>, D> {
        let batch = self.values.len() / (3 * self.height * self.width);
        Tensor::upload(device, (batch, self.height, self.width, Const), self.values)
    }
}

/// An encoder of any type: RGB images to features (N, F).
pub trait AnyEncoder<D: Device> {
    /// Width F of the features.
    fn width(&self) -> usize;
    /// Computes features in training mode.
    fn forward(&self, images: Pixels<'_>, parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>);
    /// Computes features in evaluation mode.
    fn infer(&self, images: Pixels<'_>, parameters: &Parameters<D>) -> Features<D>;
}

/// Builds an encoder of type `E`, whose features have width `F`. The extra bound `Images<Const<64>>` generates no code. It
/// lets the compiler check all heights and widths in the network, which it cannot do for `usize`.
pub(super) fn open<D: Device, E, const F: usize>(builder: &mut Builder<'_>) -> Box<dyn AnyEncoder<D>>
where
    E: Build + Copy + 'static,
    E: Layer<D, Images<usize>, Output = Vectors<F>, Saved: 'static>,
    E: Layer<D, Images<Const<64>>, Output = Vectors<F>>,
{
    Box::new(Typed::<E, F>(E::build(builder)))
}

/// An encoder of type `E` with features of width `F`.
struct Typed<E, const F: usize>(E);

impl<D, E, const F: usize> AnyEncoder<D> for Typed<E, F>
where
    D: Device,
    E: Copy + 'static,
    E: Layer<D, Images<usize>, Output = Vectors<F>, Saved: 'static>,
{
    fn width(&self) -> usize {
        F
    }

    fn forward(&self, images: Pixels<'_>, parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>) {
        let layers = self.0;
        let (features, saved) = layers.forward(images.upload(&parameters.device), parameters);
        let batch = features.shape().0;
        let backward = move |gradient: Features<D>, parameters: &mut Parameters<D>| {
            layers.backward_parameters(saved, gradient.reshape((batch, Const)), parameters);
        };
        (features.reshape((batch, F)), Box::new(backward))
    }

    fn infer(&self, images: Pixels<'_>, parameters: &Parameters<D>) -> Features<D> {
        let features = Layer::infer(&self.0, images.upload(&parameters.device), parameters);
        let batch = features.shape().0;
        features.reshape((batch, F))
    }
}

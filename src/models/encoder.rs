//! Encoders of any type behind one trait.

use crate::nn::{Layer, Parameters};
use crate::tensor::{Const, Device, Images, Matrix, Side, Tensor, Vectors};

/// Features (N, F) of an encoder whose width F is known only at run time.
pub type Features<D> = Tensor<Matrix, D>;

/// The backward function of a forward pass: takes the gradient of the result, adds the gradients of the parameters,
/// and returns the gradient of the argument.
pub type Backward<D, Y, X> = Box<dyn FnOnce(Y, &mut Parameters<D>) -> X>;

/// The backward function from features to images. It computes only the gradients of the parameters.
pub type ToImages<D> = Backward<D, Features<D>, ()>;

/// An encoder of any type: square RGB images to features (N, F).
pub trait AnyEncoder<D: Device> {
    /// Width F of the features.
    fn width(&self) -> usize;
    /// Height and width of an image in pixels.
    fn image(&self) -> usize;
    /// Computes features of `images` (N, image, image, 3) in training mode.
    fn forward(&self, images: &[f32], parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>);
    /// Computes features of `crops` of half the side in training mode.
    fn forward_crops(&self, crops: &[f32], parameters: &mut Parameters<D>) -> (Features<D>, ToImages<D>);
    /// Computes features of `images` in evaluation mode.
    fn infer(&self, images: &[f32], parameters: &Parameters<D>) -> Features<D>;
}

/// An encoder of type `E` for images of side `S`, with features of width `F`.
pub(super) struct Typed<E, S, const F: usize> {
    pub(super) layers: E,
    pub(super) side: S,
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

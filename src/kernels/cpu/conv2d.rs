//! Two-dimensional convolution: x (H, W, N, I), or (N, H, W, I) for `Layout::Images`; w (O, K, K, I) and bias (O) in
//! f32; y (OH, OW, N, O). Contract: y and dx are written (=), dw is added to (+=). The direct method rounds w to the
//! format of x, Winograd's method does not, but it rounds the bias.

use crate::kernels::shapes::{ConvShape, Layout};

use super::check_len;
use super::definition;
use super::isa;
use super::product;
use super::product::Accumulated;
use super::product::Added;
use super::product::Gathered;
use super::product::NoMaker;
use super::product::Rows;
use super::product::Terms;
use super::product::Weights;
use super::vector::Element;
use super::windows::Windows;
use super::winograd;

impl ConvShape {
    /// Checks the lengths of the three slices that every direction of the convolution takes.
    fn check<E: Element>(&self, operation: &str, input: &[E], output: &[E], weight: &[f32]) {
        let describe = || format!("{operation} of {self:?}");
        check_len(&describe(), "x", input, self.input_len());
        check_len(&describe(), "y", output, self.output_len());
        check_len(&describe(), "w", weight, self.weight_len());
    }
}

/// y = x * w [+ bias].
pub fn forward<E: Element>(y: &mut [E], x: &[E], w: &[f32], bias: Option<&[f32]>, shape: &ConvShape) {
    shape.check("conv2d::forward", x, y, w);
    if let Some(bias) = bias {
        check_len(&format!("conv2d::forward of {shape:?}"), "bias", bias, shape.out_channels);
    }
    if winograd::applies::<E>(shape) {
        return winograd::forward(y, x, w, bias, shape);
    }
    let shape = &shape.flattened();
    let &ConvShape { batch, kernel, in_channels, out_channels, .. } = shape;
    let added = Added { onto: None, bias };
    let taps = kernel * kernel;
    let mut sizes =
        Gathered { images: batch, positions: shape.out_positions(), columns: out_channels, taps, inner: in_channels };
    if shape.layout == Layout::Images {
        // A line of the window is one contiguous run of terms, in the order of the weights.
        (sizes.taps, sizes.inner) = (kernel, kernel * in_channels);
        Windows::with(x, shape, |windows| {
            let sources = |position, list: &mut Vec<_>| list.extend(windows.lines(position).enumerate());
            product::gather(isa(), y, added, windows.rows(), Weights::Transposed(w), &sizes, sources);
        });
    } else {
        let sources = |position, list: &mut Vec<_>| {
            list.extend((0..taps).filter_map(|tap| Some((tap, shape.source(tap, position)?))));
        };
        product::gather(isa(), y, added, Rows::Maps(x), Weights::Transposed(w), &sizes, sources);
    }
}

/// Writes the gradient of x to dx, added to `onto` if it is given.
pub fn input_gradient<E: Element>(dx: &mut [E], dy: &[E], w: &[f32], onto: Option<&[E]>, shape: &ConvShape) {
    shape.check("conv2d::input_gradient", dx, dy, w);
    if winograd::applies::<E>(shape) {
        return winograd::input_gradient(dx, dy, w, onto, shape);
    }
    if shape.layout == Layout::Images {
        // Training does not use the gradient of pixels, so the naive definition is sufficient.
        return definition::conv2d_input_gradient(dx, dy, w, onto, shape);
    }
    let shape = &shape.flattened();
    let &ConvShape { batch, height, width, in_channels, out_channels, kernel, .. } = shape;
    let taps = kernel * kernel;
    let positions = height * width;
    let sizes = Gathered { images: batch, positions, columns: in_channels, taps, inner: out_channels };
    let sources = |position: usize, list: &mut Vec<(usize, usize)>| {
        list.extend((0..taps).filter_map(|tap| Some((tap, shape.target(tap, position)?))));
    };
    product::gather(isa(), dx, Added { onto, bias: None }, Rows::Maps(dy), Weights::Straight(w), &sizes, sources);
}

/// Adds the gradient of w to dw.
pub fn weight_gradient<E: Element>(dw: &mut [f32], x: &[E], dy: &[E], shape: &ConvShape) {
    shape.check("conv2d::weight_gradient", x, dy, dw);
    if winograd::applies_to_weights::<E>(shape) {
        return winograd::weight_gradient(dw, x, dy, shape);
    }
    let shape = &shape.flattened();
    let &ConvShape { batch, kernel, in_channels, out_channels, .. } = shape;
    let taps = kernel * kernel;
    let (positions, line) = (shape.out_positions(), shape.out_width());
    let mut sizes = Accumulated { rows: out_channels, taps, columns: in_channels, images: batch, positions, line };
    if shape.layout == Layout::Images {
        (sizes.taps, sizes.columns) = (1, taps * in_channels);
        Windows::with(x, shape, |windows| {
            let made =
                Terms::Made(|position, images, rows: &mut [E], pitch| windows.copy(position, images, rows, pitch));
            product::accumulate(isa(), dw, dy, &made, &sizes, |_, position| Some(position));
        });
    } else {
        let x = Terms::<E, NoMaker<E>>::Maps(x);
        product::accumulate(isa(), dw, dy, &x, &sizes, |tap, position| shape.source(tap, position));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_the_meetings_of_taps_and_maps() {
        for (height, width, kernel, stride, padding) in
            [(1, 1, 1, 1, 0), (1, 2, 3, 1, 1), (5, 8, 3, 2, 1), (2, 3, 7, 2, 3), (9, 6, 5, 3, 0), (9, 4, 1, 2, 0)]
        {
            let (layout, batch, in_channels, out_channels) = (Layout::Maps, 2, 3, 5);
            let shape = ConvShape { layout, batch, height, width, in_channels, out_channels, kernel, stride, padding };
            let meetings = (0..shape.out_positions())
                .map(|position| (0..kernel * kernel).filter(|&tap| shape.source(tap, position).is_some()).count());
            assert_eq!(shape.products(), meetings.sum::<usize>() * 2 * 3 * 5, "{shape:?}");
        }
    }
}

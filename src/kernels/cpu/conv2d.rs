//! Two-dimensional convolution without bias: x (H, W, N, I) or, where `Layout::Images` says so, (N, H, W, I);
//! w (O, K, K, I) in f32; y (OH, OW, N, O). Contract: y and dx are written (=), dw is added to (+=).

use super::check_len;
use super::definition;
use super::vector::Element;

/// How the images of a batch lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// (N, H, W, C): one image after the other, as they come from the disk.
    Images,
    /// (H, W, N, C): position by position, as every layer after the first sees them.
    Maps,
}

/// The sizes of a convolution. Kernel, stride and padding are the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// How x lies in memory; y is `Maps` always.
    pub layout: Layout,
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Conv2d {
    /// OH = (H + 2 P - K) / S + 1, rounded down.
    pub fn out_height(&self) -> usize {
        self.out_size(self.height)
    }

    /// OW = (W + 2 P - K) / S + 1, rounded down.
    pub fn out_width(&self) -> usize {
        self.out_size(self.width)
    }

    /// Elements of x.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Elements of y.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Elements of w.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.kernel * self.kernel * self.in_channels
    }

    fn out_size(&self, size: usize) -> usize {
        let padded = size + 2 * self.padding;
        assert!(
            self.stride > 0 && self.kernel > 0 && padded >= self.kernel,
            "conv2d: the kernel does not fit: {self:?}"
        );
        (padded - self.kernel) / self.stride + 1
    }

    /// The place of a pixel among the pixels of x.
    pub(super) fn input_pixel(&self, n: usize, y: usize, x: usize) -> usize {
        match self.layout {
            Layout::Images => (n * self.height + y) * self.width + x,
            Layout::Maps => (y * self.width + x) * self.batch + n,
        }
    }

    /// Checks the three slices that every direction of the convolution takes.
    fn check<E: Element>(&self, operation: &str, input: &[E], output: &[E], weight: &[f32]) {
        let describe = || format!("{operation} of {self:?}");
        check_len(&describe(), "x", input, self.input_len());
        check_len(&describe(), "y", output, self.output_len());
        check_len(&describe(), "w", weight, self.weight_len());
    }
}

/// y = x * w.
pub fn forward<E: Element>(y: &mut [E], x: &[E], w: &[f32], shape: &Conv2d) {
    shape.check("conv2d::forward", x, y, w);
    definition::conv2d_forward(y, x, w, shape);
}

/// dx = the gradient of x, added to `onto` where it is given.
pub fn input_gradient<E: Element>(dx: &mut [E], dy: &[E], w: &[f32], onto: Option<&[E]>, shape: &Conv2d) {
    shape.check("conv2d::input_gradient", dx, dy, w);
    definition::conv2d_input_gradient(dx, dy, w, onto, shape);
}

/// dw += the gradient of w.
pub fn weight_gradient<E: Element>(dw: &mut [f32], x: &[E], dy: &[E], shape: &Conv2d) {
    shape.check("conv2d::weight_gradient", x, dy, dw);
    definition::conv2d_weight_gradient(dw, x, dy, shape);
}

//! Two-dimensional convolution without bias: x (N, H, W, I), w (O, K, K, I), y (N, OH, OW, O).
//! Contract: y and dx are written (=), dw is added to (+=).

use super::check_len;
use super::definition;

/// The sizes of a convolution. Kernel, stride and padding are the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
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

    /// Checks the three slices that every direction of the convolution takes.
    fn check(&self, operation: &str, input: &[f32], output: &[f32], weight: &[f32]) {
        let describe = || format!("{operation} of {self:?}");
        check_len(&describe(), "x", input, self.input_len());
        check_len(&describe(), "y", output, self.output_len());
        check_len(&describe(), "w", weight, self.weight_len());
    }
}

/// y = x * w.
pub fn forward(y: &mut [f32], x: &[f32], w: &[f32], shape: &Conv2d) {
    shape.check("conv2d::forward", x, y, w);
    definition::conv2d_forward(y, x, w, shape);
}

/// dx = the gradient of x.
pub fn input_gradient(dx: &mut [f32], dy: &[f32], w: &[f32], shape: &Conv2d) {
    shape.check("conv2d::input_gradient", dx, dy, w);
    definition::conv2d_input_gradient(dx, dy, w, shape);
}

/// dw += the gradient of w.
pub fn weight_gradient(dw: &mut [f32], x: &[f32], dy: &[f32], shape: &Conv2d) {
    shape.check("conv2d::weight_gradient", x, dy, dw);
    definition::conv2d_weight_gradient(dw, x, dy, shape);
}

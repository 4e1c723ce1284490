//! The sizes of operations whose tensors do not tell them: convolution, pooling, ROIAlign and attention. Each device has
//! its own kernels for them.

/// The memory layout of the images of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// (N, H, W, C): one image after the other, as they are read from disk.
    Images,
    /// (H, W, N, C): position by position, the layout for every layer after the first.
    Maps,
}

/// The sizes of a convolution. Kernel, stride and padding are the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// The memory layout of x. The layout of y is always `Maps`.
    pub layout: Layout,
    /// N: images in the batch.
    pub batch: usize,
    /// H: height of x in positions.
    pub height: usize,
    /// W: width of x in positions.
    pub width: usize,
    /// I: channels of x.
    pub in_channels: usize,
    /// O: channels of y.
    pub out_channels: usize,
    /// K: side of the window, at least 1.
    pub kernel: usize,
    /// S: distance between neighbouring windows, at least 1.
    pub stride: usize,
    /// P: rows and columns of zeros outside x, on each side.
    pub padding: usize,
}

impl ConvShape {
    /// OH = (H + 2 P - K) / S + 1, rounded down.
    #[inline]
    pub fn out_height(&self) -> usize {
        self.out_size(self.height)
    }

    /// OW = (W + 2 P - K) / S + 1, rounded down.
    #[inline]
    pub fn out_width(&self) -> usize {
        self.out_size(self.width)
    }

    /// The number of elements of x.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// The number of elements of y.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// The number of elements of w.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.kernel * self.kernel * self.in_channels
    }

    /// The number of multiplications of a forward pass, and of either gradient, with the direct method. The padding
    /// of maps is not counted; the windows of images are counted whole.
    pub fn products(&self) -> usize {
        let meetings = match self.layout {
            Layout::Images => self.out_positions() * self.kernel * self.kernel,
            Layout::Maps => self.meetings(self.height) * self.meetings(self.width),
        };
        meetings * self.batch * self.in_channels * self.out_channels
    }

    /// The number of times that a tap of a window falls on the input, along one axis.
    fn meetings(&self, size: usize) -> usize {
        let taps = |start: usize| {
            let end = (size + self.padding).saturating_sub(start).min(self.kernel);
            end.saturating_sub(self.padding.saturating_sub(start))
        };
        (0..self.out_size(size)).map(|place| taps(place * self.stride)).sum()
    }

    #[inline]
    pub(super) fn out_size(&self, size: usize) -> usize {
        places(size, self.kernel, self.stride, self.padding)
            .unwrap_or_else(|| panic!("conv2d: the kernel does not fit: {self:?}"))
    }

    #[inline]
    pub(super) fn out_positions(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Returns the same convolution with fewer positions: if windows are single pixels, every pixel becomes its own
    /// image.
    pub(super) fn flattened(&self) -> Self {
        match (self.layout, self.kernel, self.stride, self.padding) {
            (Layout::Maps, 1, 1, 0) => {
                Self { batch: self.batch * self.height * self.width, height: 1, width: 1, ..*self }
            }
            _ => *self,
        }
    }

    /// The position of x that a tap of the window at an output position reads; `None` in the padding.
    #[inline]
    pub(super) fn source(&self, tap: usize, position: usize) -> Option<usize> {
        let (oy, ox) = (position / self.out_width(), position % self.out_width());
        let y = (oy * self.stride + tap / self.kernel).checked_sub(self.padding)?;
        let x = (ox * self.stride + tap % self.kernel).checked_sub(self.padding)?;
        (y < self.height && x < self.width).then(|| y * self.width + x)
    }

    /// The output position whose window reads a position of x with `tap`, if there is one.
    #[inline]
    pub(super) fn target(&self, tap: usize, position: usize) -> Option<usize> {
        let place = |input: usize, tap: usize, count: usize| {
            let start = (input + self.padding).checked_sub(tap)?;
            (start % self.stride == 0 && start / self.stride < count).then_some(start / self.stride)
        };
        let oy = place(position / self.width, tap / self.kernel, self.out_height())?;
        let ox = place(position % self.width, tap % self.kernel, self.out_width())?;
        Some(oy * self.out_width() + ox)
    }

    /// The index of a pixel among the pixels of x.
    #[inline]
    pub(super) fn input_pixel(&self, n: usize, y: usize, x: usize) -> usize {
        match self.layout {
            Layout::Images => (n * self.height + y) * self.width + x,
            Layout::Maps => (y * self.width + x) * self.batch + n,
        }
    }
}

/// The number of places of a window along an axis of `size` pixels; `None` if the window does not fit.
fn places(size: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let padded = size + 2 * padding;
    (stride > 0 && kernel > 0 && padded >= kernel).then(|| (padded - kernel) / stride + 1)
}

/// The sizes of a max pooling over maps. Window, stride and padding are the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// N: images in the batch.
    pub batch: usize,
    /// H: height of x in positions.
    pub height: usize,
    /// W: width of x in positions.
    pub width: usize,
    /// C: channels of x and y, at least 1.
    pub channels: usize,
    /// Side of the window, at most 16.
    pub kernel: usize,
    /// Distance between neighbouring windows, at least 1.
    pub stride: usize,
    /// Rows and columns outside the map, never chosen; at most half the kernel.
    pub padding: usize,
}

impl PoolShape {
    /// OH = (H + 2 P - K) / S + 1, rounded down.
    #[inline]
    pub fn out_height(&self) -> usize {
        self.out_size(self.height)
    }

    /// OW = (W + 2 P - K) / S + 1, rounded down.
    #[inline]
    pub fn out_width(&self) -> usize {
        self.out_size(self.width)
    }

    /// The number of elements of x.
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.row()
    }

    /// The number of elements of y.
    pub fn output_len(&self) -> usize {
        self.out_height() * self.out_width() * self.row()
    }

    /// N C: the elements at one position.
    pub(super) fn row(&self) -> usize {
        self.batch * self.channels
    }

    #[inline]
    fn out_size(&self, size: usize) -> usize {
        let Self { channels, kernel, stride, padding, .. } = *self;
        let fits = kernel <= 16 && 2 * padding <= kernel && channels > 0;
        places(size, kernel, stride, padding)
            .filter(|_| fits)
            .unwrap_or_else(|| panic!("max pool: the window does not fit: {self:?}"))
    }
}

/// A rectangle in one image of a batch, for ROIAlign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The image.
    pub image: usize,
    /// Left, top, right and bottom edge in pixels of the image; they may lie outside of it.
    pub edges: [f32; 4],
}

/// The sizes of a ROIAlign: maps (H, W, N, C) to one map of each region, (P, P, R, C).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoiShape {
    /// N: images in the batch.
    pub batch: usize,
    /// H: height of x in positions.
    pub height: usize,
    /// W: width of x in positions.
    pub width: usize,
    /// C: channels of x and y, at least 1.
    pub channels: usize,
    /// P: height and width of a region's map.
    pub side: usize,
    /// Positions of x per pixel: 1/16 if the encoder's stride is 16.
    pub scale: f32,
    /// Samples of a bin along each axis; 0: as many as there are positions in it, rounded up.
    pub samples: usize,
}

impl RoiShape {
    /// The number of elements of x.
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.batch * self.channels
    }

    /// The number of elements of y for a number of regions.
    pub fn output_len(&self, regions: usize) -> usize {
        self.side * self.side * regions * self.channels
    }
}

/// The sizes of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionShape {
    /// Tokens per image.
    pub tokens: usize,
    /// Images in the batch.
    pub batch: usize,
    /// Heads, each with `width` channels.
    pub heads: usize,
    /// Channels per head.
    pub width: usize,
}

impl AttentionShape {
    /// The number of elements of y; qkv has three times as many.
    pub fn output_len(&self) -> usize {
        self.tokens * self.batch * self.heads * self.width
    }
}

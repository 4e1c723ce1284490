//! Element-wise operations, tokens, pooling and ROIAlign (`source/elementwise.cu`, `source/pool.cu`). Contracts are those
//! of the CPU's kernels.

use crate::kernels::shapes::{PoolShape, Region, RoiShape};

use super::launch::Value;
use super::{Argument, Kernels, Memory, Span, check, check_each};

/// As in `pool.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pool([u32; 8]);
impl Value for Pool {}

impl Pool {
    fn of(shape: &PoolShape) -> Self {
        let &PoolShape { height, width, kernel, stride, padding, .. } = shape;
        let (row, out_height, out_width) = (shape.row(), shape.out_height(), shape.out_width());
        Self([height, width, row, kernel, stride, padding, out_height, out_width].map(|size| size as u32))
    }
}

/// As in `pool.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Roi {
    image: u32,
    edges: [f32; 4],
}

/// As in `pool.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct RoiSizes {
    sizes: [u32; 7],
    scale: f32,
}
impl Value for RoiSizes {}

impl Kernels {
    /// y = f(inputs), element by element, by the kernel of this name.
    fn map<const N: usize>(&self, kernel: &'static str, y: Span, inputs: [Span; N]) {
        check_each(kernel, inputs.map(|input| ("an input", Some(input))), y.len);
        let len = y.len as u64;
        let mut arguments: Vec<&dyn Argument> = vec![&y];
        arguments.extend(inputs.iter().map(|input| input as &dyn Argument));
        arguments.push(&len);
        self.launch_eights(kernel, y.len, &arguments);
    }

    /// y = max(x, 0).
    pub fn relu(&self, y: Span, x: Span) {
        self.map("relu", y, [x]);
    }

    /// dx = dy where y > 0.
    pub fn relu_backward(&self, dx: Span, dy: Span, y: Span) {
        self.map("relu_backward", dx, [dy, y]);
    }

    /// y = a + b.
    pub fn add(&self, y: Span, a: Span, b: Span) {
        self.map("add", y, [a, b]);
    }

    /// y = x Φ(x).
    pub fn gelu(&self, y: Span, x: Span) {
        self.map("gelu", y, [x]);
    }

    /// dx = dy (Φ(x) + x φ(x)).
    pub fn gelu_backward(&self, dx: Span, dy: Span, x: Span) {
        self.map("gelu_backward", dx, [dy, x]);
    }

    /// y (T, N, C) = each image of x times its scale (N), plus `onto` if it is given.
    pub fn scale_images(&self, y: Span, x: Span, scales: &[f32], onto: Option<Span>, channels: usize) {
        check("scale_images", "x", x, y.len);
        check_each("scale_images", [("onto", onto)], y.len);
        let scales = self.gpu.upload(scales);
        let (images, channels, len) = (scales.floats().len as u32, channels as u32, y.len as u64);
        self.launch_eights("scale_images", y.len, &[&y, &x, &scales.floats(), &onto, &len, &images, &channels]);
    }

    /// y (T, N, C) = the class token, then the patches plus their bias, each plus the vector of its position (T, C).
    pub fn embed_patches(&self, y: Span, patches: Span, [class, bias, positions]: [Span; 3], images: usize) {
        let channels = class.len;
        check("embed_patches", "bias", bias, channels);
        check("embed_patches", "y", y, positions.len * images);
        check("embed_patches", "patches", patches, (positions.len - channels) * images);
        let (len, images, channels) = (y.len as u64, images as u32, channels as u32);
        self.launch("embed_patches", y.len, &[&y, &patches, &class, &bias, &positions, &len, &images, &channels]);
    }

    /// Adds the gradients of class token, bias and the first positions; returns the sums of dy (T, N, C) over the images,
    /// (T, C).
    pub fn embed_patches_backward(&self, [class, bias, positions]: [Span; 3], dy: Span, images: usize) -> Memory {
        let (channels, tokens) = (class.len, dy.len / images / class.len);
        check("embed_patches_backward", "bias", bias, channels);
        check("embed_patches_backward", "dy", dy, tokens * images * channels);
        assert!(positions.len <= tokens * channels, "embed_patches_backward: {} positions", positions.len);
        let sums = self.floats(tokens * channels);
        let (taken, width, count, images) =
            ((positions.len / channels) as u32, channels as u32, tokens as u32, images as u32);
        self.launch("token_sums", tokens * channels, &[&sums.floats(), &dy, &count, &images, &width]);
        self.launch(
            "embedding_gradients",
            channels,
            &[&class, &bias, &positions, &sums.floats(), &count, &taken, &width],
        );
        sums
    }

    /// y = each row of x at unit length.
    pub fn unit_rows(&self, y: Span, x: Span, columns: usize) {
        self.unit("unit_rows", &[y, x], columns);
    }

    /// dx = the gradient of x.
    pub fn unit_rows_backward(&self, dx: Span, dy: Span, x: Span, columns: usize) {
        self.unit("unit_rows_backward", &[dx, dy, x], columns);
    }

    /// As `unit_rows`, of f32.
    pub fn unit_weight(&self, y: Span, x: Span, columns: usize) {
        self.unit("unit_weight", &[y, x], columns);
    }

    /// As `unit_rows_backward`, of f32, and added to dx.
    pub fn unit_weight_backward(&self, dx: Span, dy: Span, x: Span, columns: usize) {
        self.unit("unit_weight_backward", &[dx, dy, x], columns);
    }

    fn unit(&self, kernel: &'static str, spans: &[Span], columns: usize) {
        spans.iter().for_each(|span| check(kernel, "a matrix", *span, spans[0].len / columns * columns));
        let rows = spans[0].len / columns;
        let (count, width) = (rows as u64, columns as u32);
        let mut arguments: Vec<&dyn Argument> = spans.iter().map(|span| span as &dyn Argument).collect();
        arguments.extend([&count as &dyn Argument, &width]);
        self.launch_rows(kernel, rows, &arguments);
    }

    /// The maximum of each window and its index (a byte each) within the window.
    pub fn max_pool(&self, y: Span, places: Span, x: Span, shape: &PoolShape) {
        check("max_pool", "x", x, shape.input_len());
        check("max_pool", "y", y, shape.output_len());
        check("max_pool", "places", places, shape.output_len());
        self.launch("max_pool", y.len, &[&y, &places, &x, &Pool::of(shape)]);
    }

    /// dx = for each element of x, the sum of dy over the windows whose maximum it is.
    pub fn max_pool_backward(&self, dx: Span, dy: Span, places: Span, shape: &PoolShape) {
        check("max_pool_backward", "dx", dx, shape.input_len());
        check("max_pool_backward", "dy", dy, shape.output_len());
        check("max_pool_backward", "places", places, shape.output_len());
        self.launch("max_pool_backward", dx.len, &[&dx, &dy, &places, &Pool::of(shape)]);
    }

    /// y = the mean of x (pixels, y) over pixels.
    pub fn average_pool(&self, y: Span, x: Span, pixels: usize) {
        check("average_pool", "x", x, pixels * y.len);
        let (count, row) = (pixels as u32, y.len as u64);
        self.launch("average_pool", y.len, &[&y, &x, &count, &row]);
    }

    /// dx (pixels, dy) = dy / pixels.
    pub fn average_pool_backward(&self, dx: Span, dy: Span, pixels: usize) {
        check("average_pool_backward", "dx", dx, pixels * dy.len);
        let (count, row) = (pixels as u32, dy.len as u64);
        self.launch("average_pool_backward", dx.len, &[&dx, &dy, &count, &row]);
    }

    /// y (P, P, R, C) = the maps of the regions.
    pub fn roi_align(&self, y: Span, x: Span, regions: &[Region], shape: &RoiShape) {
        check("roi_align", "x", x, shape.input_len());
        check("roi_align", "y", y, shape.output_len(regions.len()));
        let blocks = shape.side * shape.side * regions.len();
        self.rois("roi_align", blocks, y, x, regions, shape);
    }

    /// dx (H, W, N, C) = the gradient of x.
    pub fn roi_align_backward(&self, dx: Span, dy: Span, regions: &[Region], shape: &RoiShape) {
        check("roi_align_backward", "dx", dx, shape.input_len());
        check("roi_align_backward", "dy", dy, shape.output_len(regions.len()));
        let blocks = shape.height * shape.width * shape.batch;
        self.rois("roi_align_backward", blocks, dx, dy, regions, shape);
    }

    fn rois(&self, kernel: &'static str, blocks: usize, out: Span, of: Span, regions: &[Region], shape: &RoiShape) {
        let &RoiShape { batch, height, width, channels, side, scale, samples } = shape;
        assert!(regions.iter().all(|region| region.image < batch), "{kernel}: a region of no image, of {batch}");
        let rois: Vec<Roi> =
            regions.iter().map(|&Region { image, edges }| Roi { image: image as u32, edges }).collect();
        let rois = self.gpu.upload(&rois);
        let sizes = [batch, height, width, channels, side, samples, regions.len()].map(|size| size as u32);
        let sizes = RoiSizes { sizes, scale };
        self.launch_blocks(kernel, [blocks as u64, 1], 0, &[&out, &of, &rois.of::<Roi>(), &sizes]);
    }
}

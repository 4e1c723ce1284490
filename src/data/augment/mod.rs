//! Random views of an image: crop, flip, rotation, colour jitter, grayscale, blur, solarisation, normalisation.
//!
//! A view is made in two steps. [`Augmentation::draw`] turns a key into the parameters of one view ([`Draw`]); each
//! operation has its own random stream. [`Pipeline::view`] then applies the operations. The arithmetic is that of
//! `torchvision.transforms.v2.functional` on float images in \[0, 1\]. Between resampling and normalisation, an image
//! is stored as three planes (3, size, size), so that the loops over it are simple and vectorise.

mod blur;
mod colour;
mod config;
mod crop;
mod draw;
mod rotate;
mod throughput;

use std::cell::RefCell;

pub use blur::Gaussian;
pub use colour::brightness;
pub use colour::contrast;
pub use colour::grayscale;
pub use colour::hue;
pub use colour::normalize;
pub use colour::saturation;
pub use colour::solarize;
pub use config::Augmentation;
pub use config::Blur;
pub use config::Crop;
pub use config::Jitter;
pub use config::Normalization;
pub use config::Rotation;
pub use config::Solarize;
pub use config::Views;
pub use crop::Resampler;
pub use crop::Window;
pub use draw::Adjustment;
pub use draw::Draw;
pub use rotate::rotate;
pub use throughput::throughput;

use crate::rng::Key;

/// Makes the two views of a pair, at one size, and small views of half the size.
#[derive(Clone, Debug)]
pub struct Pipeline {
    views: [Augmentation; 2],
    small: Small,
    normalization: Normalization,
    size: usize,
}

/// Small views of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Small {
    /// None.
    #[default]
    None,
    /// Multi-crop (Caron et al. 2020, <https://arxiv.org/abs/2006.09882>, section 3.3): `count` views, alternately of
    /// the first and the second image, each with a crop of `scale` of the area.
    Random {
        /// The number of views.
        count: usize,
        /// Smallest and largest fraction of the image's area.
        scale: [f32; 2],
    },
    /// The nine cells, in random order, of a 3x3 grid over one view of the second image (PIRL: Misra and van der Maaten
    /// 2020, <https://arxiv.org/abs/1912.01991>, section 3.2).
    Jigsaw,
}

/// Number of cells along a side of a jigsaw.
const GRID: usize = 3;

/// The working memory of a thread that makes views. It is kept between views, so that they do not allocate.
#[derive(Default)]
struct Scratch {
    resampler: Resampler,
    gaussian: Gaussian,
    image: Vec<f32>,
    spare: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Pipeline {
    /// Creates a pipeline for views of `size` x `size` pixels.
    ///
    /// # Panics
    /// When `size` is 0.
    pub fn new(views: Views, normalization: Normalization, size: usize) -> Self {
        assert!(size > 0, "views of 0x0 pixels");
        Self { views: [views.first, views.second], small: Small::None, normalization, size }
    }

    /// Returns the same pipeline with small views.
    #[must_use]
    pub fn with_small(mut self, small: Small) -> Self {
        self.small = small;
        self
    }

    /// Returns the means and standard deviations that the channels are normalised with.
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// Returns the number of floats of a view.
    pub fn floats(&self) -> usize {
        3 * self.size * self.size
    }

    /// Returns how many times [`Self::small`] is called for a pair.
    pub fn small_views(&self) -> usize {
        match self.small {
            Small::None => 0,
            Small::Random { count, .. } => count,
            Small::Jigsaw => 1,
        }
    }

    /// Returns the number of floats that a call of [`Self::small`] writes.
    pub fn small_floats(&self) -> usize {
        let cell = 3 * (self.size / 2) * (self.size / 2);
        if self.small == Small::Jigsaw { GRID * GRID * cell } else { cell }
    }

    /// Returns the height and width of a view in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Writes view `which` (0 or 1) of `source` (source_size, source_size, 3) into `out` (size, size, 3), normalised.
    ///
    /// The view depends only on the arguments. Callers use the key
    /// `Key::root(seed).split("augment").at(epoch).at(pair).at(view)`.
    ///
    /// # Panics
    /// When a slice does not have the right length or `which` is above 1.
    pub fn view(&self, source: &[u8], source_size: usize, which: usize, key: Key, out: &mut [f32]) {
        let draw = self.views[which].draw(source_size, key);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.render(source, source_size, &draw, self.size);
            normalize(&scratch.image, &self.normalization, out);
        });
    }
}

impl Pipeline {
    /// Writes small view `which` of a pair's images (source_size, source_size, 3), normalised: one view
    /// (size / 2, size / 2, 3), or the nine cells of a jigsaw, each of this shape.
    ///
    /// # Panics
    /// As [`Self::view`].
    pub fn small(&self, images: [&[u8]; 2], source_size: usize, which: usize, key: Key, out: &mut [f32]) {
        let side = self.size / 2;
        match self.small {
            Small::None => {}
            Small::Random { scale, .. } => {
                let of = which % 2;
                let mut augmentation = self.views[of].clone();
                augmentation.crop.scale = scale;
                let draw = augmentation.draw(source_size, key);
                SCRATCH.with_borrow_mut(|scratch| {
                    scratch.render(images[of], source_size, &draw, side);
                    normalize(&scratch.image, &self.normalization, out);
                });
            }
            Small::Jigsaw => {
                let draw = self.views[1].draw(source_size, key);
                let mut whole = vec![0.0; 3 * (GRID * side) * (GRID * side)];
                SCRATCH.with_borrow_mut(|scratch| {
                    scratch.render(images[1], source_size, &draw, GRID * side);
                    normalize(&scratch.image, &self.normalization, &mut whole);
                });
                let order = key.split("jigsaw").stream().permutation(GRID * GRID);
                for (cell, out) in order.into_iter().zip(out.chunks_exact_mut(3 * side * side)) {
                    cut(&whole, GRID * side, cell / GRID * side, cell % GRID * side, side, out);
                }
            }
        }
    }
}

/// Copies the square of `side` at (top, left) out of `image` (size, size, 3).
fn cut(image: &[f32], size: usize, top: usize, left: usize, side: usize, out: &mut [f32]) {
    for (y, row) in out.chunks_exact_mut(3 * side).enumerate() {
        row.copy_from_slice(&image[3 * ((top + y) * size + left)..][..3 * side]);
    }
}

/// Writes `source` (source_size, source_size, 3), resized (antialiased) and normalised, into `out` (size, size, 3).
/// This is the input of evaluation.
///
/// # Panics
/// When a slice does not have the right length or `size` is 0.
pub fn plain(source: &[u8], source_size: usize, size: usize, normalization: &Normalization, out: &mut [f32]) {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resample(source, source_size, Window::all(source_size), false, size);
        normalize(&scratch.image, normalization, out);
    });
}

/// Writes a random view of `source` (source_size, source_size, 3) as bytes into `out`, which has the same shape. The
/// view can be stored as an image.
///
/// # Panics
/// When a slice does not have the right length.
pub fn transformed(source: &[u8], source_size: usize, by: &Augmentation, key: Key, out: &mut [u8]) {
    let draw = by.draw(source_size, key);
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.render(source, source_size, &draw, source_size);
        let planes = &scratch.image;
        let plane = source_size * source_size;
        assert!(out.len() == 3 * plane, "transformed: {} bytes for {source_size}x{source_size}", out.len());
        for (place, pixel) in out.chunks_exact_mut(3).enumerate() {
            for (channel, byte) in pixel.iter_mut().enumerate() {
                *byte = (255.0 * planes[channel * plane + place]).round().clamp(0.0, 255.0) as u8;
            }
        }
    });
}

impl Scratch {
    /// Renders the drawn view of `source` into `self.image` (3, size, size), in \[0, 1\].
    fn render(&mut self, source: &[u8], source_size: usize, draw: &Draw, size: usize) {
        self.resample(source, source_size, draw.window, draw.flip, size);
        if let Some(degrees) = draw.rotation {
            rotate(&self.image, size, degrees, &mut self.spare);
            std::mem::swap(&mut self.image, &mut self.spare);
        }
        for adjustment in draw.jitter.iter().flatten() {
            adjustment.apply(&mut self.image);
        }
        if draw.grayscale {
            grayscale(&mut self.image);
        }
        if let Some((sigma, kernel)) = draw.blur {
            self.gaussian.set(sigma, if kernel == 0 { (size / 10) | 1 } else { kernel });
            self.gaussian.blur(&self.image, size, &mut self.spare);
            std::mem::swap(&mut self.image, &mut self.spare);
        }
        if let Some(threshold) = draw.solarize {
            solarize(&mut self.image, threshold);
        }
    }

    fn resample(&mut self, source: &[u8], source_size: usize, window: Window, flip: bool, size: usize) {
        self.image.resize(3 * size * size, 0.0);
        self.spare.resize(3 * size * size, 0.0);
        self.resampler.resample(source, source_size, window, flip, size, &mut self.image);
    }
}

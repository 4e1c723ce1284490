//! Random views of an image: crop, flip, rotation, colour jitter, grayscale, blur, solarisation, normalisation.
//!
//! A view is made in two steps. [`Augmentation::draw`] turns a key into the parameters of one view ([`Draw`]), each
//! operation from a stream of its own; [`Pipeline::view`] then carries them out. Arithmetic is that of
//! `torchvision.transforms.v2.functional` on float images in \[0, 1\]. Between resampling and normalisation an image is
//! held as three planes (3, size, size), so that the loops over it are plain and vectorise.

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

/// Makes the two views of a pair, at one size.
#[derive(Clone, Debug)]
pub struct Pipeline {
    views: [Augmentation; 2],
    normalization: Normalization,
    size: usize,
}

/// What a thread needs to make a view; kept between views, so that none of them allocates.
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
    /// Views of `size` x `size` pixels.
    ///
    /// # Panics
    /// When `size` is 0.
    pub fn new(views: Views, normalization: Normalization, size: usize) -> Self {
        assert!(size > 0, "views of 0x0 pixels");
        Self { views: [views.first, views.second], normalization, size }
    }

    /// Height and width of a view in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Writes view `which` (0 or 1) of `source` (source_size, source_size, 3) into `out` (size, size, 3), normalised.
    ///
    /// The view is a function of the arguments alone. Callers key it by
    /// `Key::root(seed).split("augment").at(epoch).at(pair).at(view)`.
    ///
    /// # Panics
    /// When a slice does not have its shape or `which` is above 1.
    pub fn view(&self, source: &[u8], source_size: usize, which: usize, key: Key, out: &mut [f32]) {
        let draw = self.views[which].draw(source_size, key);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.render(source, source_size, &draw, self.size);
            normalize(&scratch.image, &self.normalization, out);
        });
    }
}

/// Writes `source` (source_size, source_size, 3), resized (antialiased) and normalised, into `out` (size, size, 3):
/// what evaluation sees.
///
/// # Panics
/// When a slice does not have its shape or `size` is 0.
pub fn plain(source: &[u8], source_size: usize, size: usize, normalization: &Normalization, out: &mut [f32]) {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resample(source, source_size, Window::all(source_size), false, size);
        normalize(&scratch.image, normalization, out);
    });
}

impl Scratch {
    /// Leaves the drawn view of `source` in `image` (3, size, size), in \[0, 1\].
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

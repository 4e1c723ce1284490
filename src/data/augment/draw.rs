//! The random numbers of one view.

use crate::rng::Key;
use crate::rng::Stream;

use super::colour;
use super::config::Augmentation;
use super::config::Jitter;
use super::crop::Window;

/// The random parameters of one view.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// The part of the source that is resized to the view.
    pub window: Window,
    /// Whether the view is mirrored.
    pub flip: bool,
    /// The angle in degrees, counter-clockwise.
    pub rotation: Option<f32>,
    /// The colour changes, in order of application.
    pub jitter: [Option<Adjustment>; 4],
    /// Whether the view becomes gray.
    pub grayscale: bool,
    /// Standard deviation and width of the kernel in pixels; width 0 is replaced by one that fits the view's size.
    pub blur: Option<(f32, usize)>,
    /// The threshold of solarisation.
    pub solarize: Option<f32>,
}

/// One change of colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Adjustment {
    /// See [`super::brightness`].
    Brightness(f32),
    /// See [`super::contrast`].
    Contrast(f32),
    /// See [`super::saturation`].
    Saturation(f32),
    /// See [`super::hue`].
    Hue(f32),
}

impl Augmentation {
    /// Draws the parameters of one view of a square image with a side of `source_size` pixels.
    ///
    /// Each operation draws from its own split of `key`, so that changing one operation, or switching it off, does not
    /// change the draws of the others.
    pub fn draw(&self, source_size: usize, key: Key) -> Draw {
        let happens = |name: &str, probability: f32| {
            let mut stream = key.split(name).stream();
            stream.chance(probability).then_some(stream)
        };
        let symmetric = |x: f32| move |mut stream: Stream| stream.range(-x, x);
        let [low, high] = self.blur.sigma;
        Draw {
            window: match self.crop.enabled {
                true => Window::random(source_size, &self.crop, &mut key.split("crop").stream()),
                false => Window::all(source_size),
            },
            flip: happens("flip", self.flip).is_some(),
            rotation: happens("rotation", self.rotation.probability).map(symmetric(self.rotation.degrees)),
            jitter: self.jitter.draw(key.split("jitter")),
            grayscale: happens("grayscale", self.grayscale).is_some(),
            blur: happens("blur", self.blur.probability).map(|mut stream| (stream.range(low, high), self.blur.kernel)),
            solarize: happens("solarize", self.solarize.probability).map(|_| self.solarize.threshold),
        }
    }
}

impl Jitter {
    /// Draws all factors and the order even if they are not used, so that no draw depends on the strength of another.
    fn draw(&self, key: Key) -> [Option<Adjustment>; 4] {
        let mut stream = key.stream();
        if !stream.chance(self.probability) {
            return [None; 4];
        }
        let mut factor = |x: f32| stream.range((1.0 - x).max(0.0), 1.0 + x);
        let factors = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let shift = stream.range(-self.hue, self.hue);
        let mut adjustments = [
            (self.brightness > 0.0).then_some(Adjustment::Brightness(factors[0])),
            (self.contrast > 0.0).then_some(Adjustment::Contrast(factors[1])),
            (self.saturation > 0.0).then_some(Adjustment::Saturation(factors[2])),
            (self.hue > 0.0).then_some(Adjustment::Hue(shift)),
        ];
        stream.shuffle(&mut adjustments);
        adjustments
    }
}

impl Adjustment {
    /// Changes planes (3, size, size) in place.
    pub fn apply(self, planes: &mut [f32]) {
        match self {
            Self::Brightness(factor) => colour::brightness(planes, factor),
            Self::Contrast(factor) => colour::contrast(planes, factor),
            Self::Saturation(factor) => colour::saturation(planes, factor),
            Self::Hue(shift) => colour::hue(planes, shift),
        }
    }
}

//! The settings of random views. Every field is required: the defaults are in the embedded configuration.

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;

/// The random transformations of one view, in the order in which they are applied.
///
/// The recipe is SimCLR's (Chen et al. 2020, appendix A, <https://arxiv.org/abs/2002.05709>), with BYOL's solarisation
/// (Grill et al. 2020, appendix B, <https://arxiv.org/abs/2006.07733>) and the paper's rotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Random resized crop; torchvision's `RandomResizedCrop`.
    pub crop: Crop,
    /// Probability of a horizontal flip; 0 is off, SimCLR uses 0.5.
    pub flip: f32,
    /// Rotation; torchvision's `RandomRotation`, bilinear, with black corners. The paper's augmented pairs use it.
    pub rotation: Rotation,
    /// Colour jitter; torchvision's `ColorJitter`.
    pub jitter: Jitter,
    /// Probability of conversion to grayscale; 0 is off, SimCLR uses 0.2.
    pub grayscale: f32,
    /// Gaussian blur.
    pub blur: Blur,
    /// Solarisation.
    pub solarize: Solarize,
}

/// A random part of the image, resized to the view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Whether to crop. If not, the whole image is resized.
    pub enabled: bool,
    /// Smallest and largest fraction of the image's area, in (0, 1]; SimCLR uses 0.08 to 1.
    pub scale: [f32; 2],
    /// Smallest and largest aspect ratio (width / height) of the crop; SimCLR uses 3/4 to 4/3.
    pub ratio: [f32; 2],
}

/// Random brightness, contrast, saturation and hue, in random order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jitter {
    /// Probability of applying colour jitter; SimCLR uses 0.8.
    pub probability: f32,
    /// The factor is uniform in \[max(0, 1 - x), 1 + x\]; SimCLR uses 0.8 times its jitter strength.
    pub brightness: f32,
    /// As for brightness.
    pub contrast: f32,
    /// As for brightness.
    pub saturation: f32,
    /// The shift is uniform in \[-x, x\], in turns of the colour circle, at most 0.5; SimCLR uses 0.2 times its jitter
    /// strength.
    pub hue: f32,
}

/// Convolution with a Gaussian.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blur {
    /// Probability of blurring; SimCLR uses 0.5.
    pub probability: f32,
    /// Smallest and largest standard deviation in pixels; SimCLR uses 0.1 to 2.
    pub sigma: [f32; 2],
    /// Width of the kernel in pixels, odd; 0 means 10 % of the view's size, as in SimCLR.
    pub kernel: usize,
}

/// Inversion of bright values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Solarize {
    /// Probability of solarisation; BYOL uses 0 for the first view and 0.2 for the second.
    pub probability: f32,
    /// Values at or above this threshold are inverted, in \[0, 1\]; BYOL uses 0.5.
    pub threshold: f32,
}

/// Rotation about the centre.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Probability of rotating.
    pub probability: f32,
    /// The angle is uniform in \[-x, x\], in degrees, at most 180.
    pub degrees: f32,
}

/// The transformations of a pair's two views.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Views {
    /// The transformations of the pair's first image.
    pub first: Augmentation,
    /// The transformations of the pair's second image.
    pub second: Augmentation,
}

/// Each channel x becomes (x - mean) / std, with x in \[0, 1\].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub std: [f32; 3],
}

impl Augmentation {
    /// Returns the identity: the image is only resized.
    pub fn none() -> Self {
        Self {
            crop: Crop { enabled: false, scale: [1.0, 1.0], ratio: [1.0, 1.0] },
            flip: 0.0,
            rotation: Rotation { probability: 0.0, degrees: 0.0 },
            jitter: Jitter { probability: 0.0, brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 },
            grayscale: 0.0,
            blur: Blur { probability: 0.0, sigma: [1.0, 1.0], kernel: 0 },
            solarize: Solarize { probability: 0.0, threshold: 0.5 },
        }
    }

    /// Checks that all values are valid; `key` is the configuration key of this table.
    ///
    /// # Errors
    /// When a value is not valid. The error gives the full key, its value and the range it must lie in.
    pub fn validate(&self, key: &str) -> Result<()> {
        let within =
            |name: &str, value: f32, low: f32, high: f32| check_range(&format!("{key}.{name}"), value, low, high);
        check_interval(&format!("{key}.crop.scale"), self.crop.scale, 1.0)?;
        check_interval(&format!("{key}.crop.ratio"), self.crop.ratio, f32::MAX)?;
        within("flip", self.flip, 0.0, 1.0)?;
        within("rotation.probability", self.rotation.probability, 0.0, 1.0)?;
        within("rotation.degrees", self.rotation.degrees, 0.0, 180.0)?;
        within("jitter.probability", self.jitter.probability, 0.0, 1.0)?;
        within("jitter.brightness", self.jitter.brightness, 0.0, f32::MAX)?;
        within("jitter.contrast", self.jitter.contrast, 0.0, f32::MAX)?;
        within("jitter.saturation", self.jitter.saturation, 0.0, f32::MAX)?;
        within("jitter.hue", self.jitter.hue, 0.0, 0.5)?;
        within("grayscale", self.grayscale, 0.0, 1.0)?;
        within("blur.probability", self.blur.probability, 0.0, 1.0)?;
        check_interval(&format!("{key}.blur.sigma"), self.blur.sigma, f32::MAX)?;
        check_kernel(&format!("{key}.blur.kernel"), self.blur.kernel)?;
        within("solarize.probability", self.solarize.probability, 0.0, 1.0)?;
        within("solarize.threshold", self.solarize.threshold, 0.0, 1.0)
    }
}

impl Views {
    /// Checks that all values of both views are valid; `key` is the configuration key of this table.
    ///
    /// # Errors
    /// As [`Augmentation::validate`].
    pub fn validate(&self, key: &str) -> Result<()> {
        self.first.validate(&format!("{key}.first"))?;
        self.second.validate(&format!("{key}.second"))
    }
}

impl Normalization {
    /// Checks that all values are valid; `key` is the configuration key of this table.
    ///
    /// # Errors
    /// When a value is not valid. The error gives the full key, its value and what it must be.
    pub fn validate(&self, key: &str) -> Result<()> {
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return Err(wrong(key, format!("`{key}.mean` must be finite, not {:?}", self.mean)));
        }
        if !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            return Err(wrong(key, format!("`{key}.std` must be above 0 and finite, not {:?}", self.std)));
        }
        Ok(())
    }
}

/// Checks that `value` lies in \[low, high\]. If `high` is `f32::MAX`, any finite value from `low` on is valid.
fn check_range(key: &str, value: f32, low: f32, high: f32) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let range = if high == f32::MAX { format!("at least {low} and finite") } else { format!("from {low} to {high}") };
    Err(wrong(key, format!("`{key}` must be {range}, not {value}")))
}

/// Returns the error for a value that is not valid, with a hint that shows where to find its meaning.
fn wrong(key: &str, what: String) -> Error {
    Error::new(what).hint(format!("`sempair config {key}` shows what it means and what it is by default"))
}

/// Checks that 0 < low <= high <= most.
fn check_interval(key: &str, [low, high]: [f32; 2], most: f32) -> Result<()> {
    if 0.0 < low && low <= high && high <= most {
        return Ok(());
    }
    let bound = if most == f32::MAX { "and finite".to_string() } else { format!("and at most {most}") };
    Err(wrong(key, format!("`{key}` must be two ascending values, above 0 {bound}, not [{low}, {high}]")))
}

/// Checks that the width of a kernel is odd, so that it has a centre, or 0 for 10 % of the view's size.
fn check_kernel(key: &str, kernel: usize) -> Result<()> {
    if kernel == 0 || kernel % 2 == 1 {
        return Ok(());
    }
    Err(wrong(key, format!("`{key}` must be odd, or 0 for 10 % of the view's size, not {kernel}")))
}

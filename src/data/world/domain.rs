//! The distributions of the nuisance factors: for pretraining, for the evaluation sets and for canvases with several
//! objects.

use super::PRETRAINING_CATEGORIES;
use super::STL_CATEGORIES;
use super::shape::Vector;
use super::surface::Background;

/// The nuisance distributions that differ between pretraining and the evaluation sets.
pub(super) struct Domain {
    pub backgrounds: &'static [Background],
    /// The minimum and maximum number of clutter shapes at strength 1.
    pub clutter: [f32; 2],
    /// Mean and spread of the logarithm of the gain at strength 1.
    pub gain: [f32; 2],
    /// The largest gradient of brightness at strength 1.
    pub slope: f32,
    /// The range of the object's extent (the geometric mean of width and height), as a fraction of the picture's side.
    pub scale: [f32; 2],
    /// The half thickness and half width of occluders with straight edges.
    pub screen: Vector,
}

/// Occluders with straight edges that end outside the picture.
const BEYOND_THE_PICTURE: Vector = [3.0, 4.0];

const PRETRAINING: Domain = Domain {
    backgrounds: &[
        Background::Gradient,
        Background::Clouds,
        Background::Horizon,
        Background::Bricks,
        Background::Stripes,
        Background::Blobs,
    ],
    clutter: [0.0, 8.0],
    gain: [0.0, 0.5],
    slope: 0.7,
    scale: [0.8, 1.1],
    screen: BEYOND_THE_PICTURE,
};

const EVALUATION: Domain = Domain {
    backgrounds: &[
        Background::Clouds,
        Background::Horizon,
        Background::Bricks,
        Background::Blobs,
        Background::Tiles,
        Background::Waves,
    ],
    clutter: [2.0, 8.0],
    gain: [-0.1, 0.4],
    slope: 0.9,
    scale: [0.8, 1.1],
    screen: BEYOND_THE_PICTURE,
};

const STL: Domain = Domain {
    backgrounds: &[
        Background::Gradient,
        Background::Horizon,
        Background::Stripes,
        Background::Tiles,
        Background::Waves,
    ],
    clutter: [0.0, 5.0],
    gain: [0.15, 0.6],
    slope: 0.5,
    scale: [0.85, 1.1],
    screen: BEYOND_THE_PICTURE,
};

/// Several objects on one canvas, each drawn in a picture of its own: an occluder belongs to one of them, so it is
/// hardly larger than the object.
pub(super) const CROWD: Domain = Domain { screen: [0.5, 1.2], ..EVALUATION };

/// Returns the distributions of the images of a category.
pub(super) fn domain(category: u32) -> &'static Domain {
    match category {
        ..PRETRAINING_CATEGORIES => &PRETRAINING,
        PRETRAINING_CATEGORIES..STL_CATEGORIES => &EVALUATION,
        _ => &STL,
    }
}

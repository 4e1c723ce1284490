//! Evaluation of frozen features: a linear probe and k nearest neighbours, whether the features collapse,
//! and what they are invariant to. Evaluation of detections: average precision and its standard error.

mod average_precision;
mod curvature;
mod health;
mod invariance;
mod knn;
mod lbfgs;
mod matching;
mod probe;
mod resample;

pub use average_precision::AveragePrecision;
pub use average_precision::CategoryResult;
pub use average_precision::Curve;
pub use average_precision::DetectionResult;
pub use average_precision::Interpolation;
pub use average_precision::Point;
pub use health::Health;
pub use invariance::mean_cosine;
pub use knn::KnnResult;
pub use knn::knn;
pub use knn::most_similar;
pub use matching::DetectedImage;
pub use matching::Detection;
pub use matching::GroundTruth;
pub use matching::Mark;
pub use matching::Marks;
pub use matching::Matching;
pub use matching::THRESHOLDS;
pub use probe::ProbeResult;
pub use probe::ProbeSettings;
pub use probe::linear_probe;
pub use resample::Replicates;

use crate::error::Error;
use crate::error::Result;

/// The features of labelled images: `values` (N, D) row-major, a label below `classes` for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// (N, D), row-major.
    pub values: Vec<f32>,
    /// The category of each row.
    pub labels: Vec<u32>,
    /// D.
    pub dim: usize,
    /// Number of categories, whether or not each has an image here.
    pub classes: usize,
}

impl Features {
    /// Features of at least one image.
    ///
    /// # Errors
    /// When there is no image, a value is not finite or a label has no class.
    ///
    /// # Panics
    /// When the sizes do not agree.
    pub fn new(values: Vec<f32>, labels: Vec<u32>, dim: usize, classes: usize) -> Result<Self> {
        let features = Self { values, labels, dim, classes };
        features.check()?;
        Ok(features)
    }

    /// Number of images, N.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The features of one image, (D).
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..][..self.dim]
    }

    /// Makes the checks of [`Features::new`]. The evaluations repeat them, since the fields are public.
    fn check(&self) -> Result<()> {
        let (values, rows, dim, classes) = (self.values.len(), self.rows(), self.dim, self.classes);
        assert!(dim > 0 && values == rows * dim, "features: {values} values for {rows} images of {dim} features");
        if rows == 0 {
            return Err(Error::new("there is no image"));
        }
        if let Some(at) = self.values.iter().position(|value| !value.is_finite()) {
            let (image, column, value) = (at / dim, at % dim, self.values[at]);
            return Err(Error::diverged(format!(
                "image {image}, column {column} is {value}, which is not a finite number"
            ))
            .hint("the encoder has diverged: look at its loss with `sempair show RUN`"));
        }
        if let Some(image) = self.labels.iter().position(|&label| label as usize >= classes) {
            let label = self.labels[image];
            return Err(Error::new(format!("image {image} has label {label}, but there are {classes} categories")));
        }
        Ok(())
    }
}

/// Checks that both sets are valid and have the same features and the same categories.
fn check_pair(train: &Features, test: &Features) -> Result<()> {
    train.check().map_err(|error| error.context("training features"))?;
    test.check().map_err(|error| error.context("test features"))?;
    let (a, b) = ((train.dim, train.classes), (test.dim, test.classes));
    assert!(a == b, "training and test set differ in (features, categories): {a:?} and {b:?}");
    Ok(())
}

/// The share of correct predictions, in percent.
fn accuracy(predictions: &[u32], labels: &[u32]) -> f64 {
    let right = predictions.iter().zip(labels).filter(|(prediction, label)| prediction == label).count();
    100.0 * right as f64 / labels.len() as f64
}

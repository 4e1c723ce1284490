//! The ids of metrics. The columns define how each metric is shown.

/// The accuracy of the linear probe, in percent.
pub const TOP1: &str = "top1";
/// The accuracy of k-NN, in percent.
pub const KNN: &str = "knn";
/// The time of a training, in seconds.
pub const SECONDS: &str = "seconds";
/// The share of the pairs whose images are of one category, 0 to 1.
pub const EXACT: &str = "exact";
/// The average precision of a detector, in percent.
pub const AVERAGE_PRECISION: &str = "average-precision";
/// The similarity of features before and after a nuisance factor changes, -1 to 1.
pub const COSINE: &str = "cosine";

//! The ids of metrics. A column says how each is shown.

/// Of the linear probe, in percent.
pub const TOP1: &str = "top1";
/// Of k-NN, in percent.
pub const KNN: &str = "knn";
/// What a training took.
pub const SECONDS: &str = "seconds";
/// How many of the pairs are of one category, 0 to 1.
pub const EXACT: &str = "exact";
/// How alike features stay when a nuisance factor changes, -1 to 1.
pub const COSINE: &str = "cosine";

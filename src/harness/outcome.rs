//! What a cell measured.

use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a cell measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Values by the id of the metric, in its unit.
    pub metrics: BTreeMap<String, f64>,
    /// Values over the course of a training, such as the loss by epoch; empty if nothing was trained.
    pub curves: Vec<Curve>,
    /// The pairs and the splits of datasets that were used.
    pub data: Vec<DataRef>,
    /// Hash of the checkpoint that was evaluated.
    pub checkpoint: Option<String>,
    /// Hash of the file of per-item predictions in the cache.
    pub predictions: Option<String>,
    /// For metrics that are accuracies, by id: which items were right.
    pub hits: BTreeMap<String, Hits>,
    /// For metrics that are means over categories, by id: the value on each category.
    pub by_category: BTreeMap<String, Vec<CategoryValue>>,
    /// A few test images with what was found in them.
    pub scenes: Vec<Scene>,
    /// Further facts for readers, such as a chosen penalty or the number of parameters.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// Data that a run used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataRef {
    /// A dataset and split, such as `cifar-10/test`, or pairs, such as `500 pairs of cifar-10/train`.
    pub name: String,
    /// What a reader should know about the data; empty if the dataset does not state it.
    pub description: String,
    /// BLAKE3 of the image set, or of the pairs.
    pub hash: String,
    /// The number of images in the split, or in the one that the pairs are from.
    pub images: u64,
    /// As stated when the data were imported; empty if nothing was stated.
    #[serde(default)]
    pub licence: String,
    /// Whether the data are known not to be the paper's, whatever the table says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub substitute: bool,
}

/// The value of a metric on one category of the test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryValue {
    /// The category's name.
    pub name: String,
    /// How many test items, such as objects, it has.
    pub items: u64,
    /// The value; `None` where it is not defined, as without items.
    pub value: Option<f64>,
}

/// A test image with what was found in it and what was missed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// Which image it is, such as `test image 34 of 400`.
    pub name: String,
    /// Columns of the picture.
    pub width: u32,
    /// Rows of the picture.
    pub height: u32,
    /// The picture as PNG, in base64.
    pub png: String,
    /// What was found and what was missed.
    pub boxes: Vec<SceneBox>,
}

/// A box in a [`Scene`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SceneBox {
    /// Left, top, right and bottom edge in pixels of the picture.
    pub edges: [f32; 4],
    /// The category, and the score of a detection.
    pub label: String,
    /// `right` or `wrong` for a detection, `missed` for an object without a right detection.
    pub kind: String,
}

/// A small line of a figure. `x` and `y` have the same length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What the line shows, such as `pretraining loss`; lines of one name are drawn together.
    pub name: String,
    /// The title of the horizontal axis, such as `epoch`.
    pub x_title: String,
    /// The title of the vertical axis, such as `pretraining loss`.
    pub y_title: String,
    /// The horizontal position of each point, such as the epoch.
    pub x: Vec<f64>,
    /// The value at each position of `x`.
    pub y: Vec<f64>,
}

impl Curve {
    /// The largest number of points that a record keeps of a curve; long series belong in the cache.
    pub const MAX_POINTS: usize = 200;

    /// At most [`Curve::MAX_POINTS`] evenly spaced points of this curve, with its first and its last.
    #[must_use]
    pub fn thinned(mut self) -> Self {
        let last = self.x.len().saturating_sub(1);
        if last >= Self::MAX_POINTS {
            let kept = |values: &[f64]| -> Vec<f64> {
                (0..Self::MAX_POINTS).map(|i| values[i * last / (Self::MAX_POINTS - 1)]).collect()
            };
            (self.x, self.y) = (kept(&self.x), kept(&self.y));
        }
        self
    }
}

/// Which items of a test set were right, in the set's order, for tests on paired items. It is written, and kept in
/// memory, as the number of items, a colon and the items' bits: four in a hexadecimal digit, the first in the highest
/// bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hits {
    items: usize,
    /// Hexadecimal digits; the last one has zeros after the last item.
    digits: String,
}

impl Hits {
    /// The number of items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// How many items were right.
    pub fn right(&self) -> usize {
        self.fours().map(|four| four.count_ones() as usize).sum()
    }

    /// How many items were right here and wrong there; `None` if the numbers of items differ.
    pub fn only_here(&self, there: &Self) -> Option<usize> {
        let only = self.fours().zip(there.fours()).map(|(here, there)| (here & !there).count_ones() as usize);
        (self.items == there.items).then(|| only.sum())
    }

    fn fours(&self) -> impl Iterator<Item = u32> {
        self.digits.chars().map(|digit| digit.to_digit(16).expect("digits are hexadecimal"))
    }
}

impl FromIterator<bool> for Hits {
    fn from_iter<T: IntoIterator<Item = bool>>(items: T) -> Self {
        let items: Vec<bool> = items.into_iter().collect();
        let digit = |four: &[bool]| (0..4).fold(0, |digit, i| 2 * digit + u32::from(*four.get(i).unwrap_or(&false)));
        let digits = items.chunks(4).filter_map(|four| char::from_digit(digit(four), 16)).collect();
        Self { items: items.len(), digits }
    }
}

impl From<Hits> for String {
    fn from(Hits { items, digits }: Hits) -> Self {
        format!("{items}:{digits}")
    }
}

impl TryFrom<String> for Hits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let (items, digits) = text.split_once(':')?;
            let items: usize = items.parse().ok()?;
            let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            let whole = digits.len() == items.div_ceil(4) && digits.bytes().all(is_digit);
            let beyond = (4 * digits.len()).checked_sub(items)?;
            let last = digits.chars().last().and_then(|digit| digit.to_digit(16)).unwrap_or(0);
            (whole && last.trailing_zeros() as usize >= beyond).then(|| Self { items, digits: digits.to_owned() })
        };
        read().ok_or_else(|| format!("not items: `{}`", text.chars().take(20).collect::<String>()))
    }
}

//! The values that were drawn for an image, and a table of them that is stored next to the images.

use std::path::Path;

use serde::Serialize;

use super::surface::Background;
use super::surface::Pattern;
use crate::error::Result;
use crate::files;

/// All values that were drawn for an instance. In positions and directions, x points right and y points down.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Factors {
    /// The category's id.
    pub category: u32,
    /// The instance's number in its category.
    pub instance: u32,
    /// The object's hue, 0 to 1, red at 0.
    pub hue: f32,
    /// Whether the hue is the category's preferred one (within 0.04).
    pub follows_hue: bool,
    /// The surface pattern.
    pub pattern: Pattern,
    /// Whether the pattern was taken from the category's habit.
    pub follows_pattern: bool,
    /// The kind of background.
    pub background: Background,
    /// Whether the background was taken from the category's habit.
    pub follows_background: bool,
    /// Number of shapes in the background.
    pub clutter: u32,
    /// Factor of the brightness.
    pub gain: f32,
    /// Relative change of brightness from the centre to an edge, along x and y.
    pub slope: [f32; 2],
    /// Factors of red, green and blue.
    pub cast: [f32; 3],
    /// Factor of the contrast around middle grey.
    pub contrast: f32,
    /// The fraction of the object that is hidden, measured on the rendered mask.
    pub occluded: f32,
    /// The fraction of the picture that the object takes up, including hidden parts, measured on the rendered mask.
    pub area: f32,
    /// Rotation in radians, before mirroring.
    pub rotation: f32,
    /// The object's extent (the geometric mean of width and height) as a fraction of the picture's side.
    pub scale: f32,
    /// The object's centre; the picture's edges are at -1 and 1.
    pub at: [f32; 2],
    /// Whether left and right are exchanged.
    pub mirrored: bool,
}

impl Factors {
    /// The columns of the table, by name.
    fn columns(&self) -> [(&'static str, String); 24] {
        [
            ("category", self.category.to_string()),
            ("instance", self.instance.to_string()),
            ("hue", self.hue.to_string()),
            ("follows_hue", self.follows_hue.to_string()),
            ("pattern", name(self.pattern)),
            ("follows_pattern", self.follows_pattern.to_string()),
            ("background", name(self.background)),
            ("follows_background", self.follows_background.to_string()),
            ("clutter", self.clutter.to_string()),
            ("gain", self.gain.to_string()),
            ("slope_x", self.slope[0].to_string()),
            ("slope_y", self.slope[1].to_string()),
            ("cast_red", self.cast[0].to_string()),
            ("cast_green", self.cast[1].to_string()),
            ("cast_blue", self.cast[2].to_string()),
            ("contrast", self.contrast.to_string()),
            ("occluded", self.occluded.to_string()),
            ("area", self.area.to_string()),
            ("rotation", self.rotation.to_string()),
            ("scale", self.scale.to_string()),
            ("x", self.at[0].to_string()),
            ("y", self.at[1].to_string()),
            ("mirrored", self.mirrored.to_string()),
            ("renderer", super::VERSION.to_string()),
        ]
    }
}

/// Writes a tab-separated table with a header and one line per image, completely or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_factors(path: &Path, factors: &[Factors]) -> Result<()> {
    let line = |cells: [String; 24]| cells.join("\t") + "\n";
    let header = factors.first().map(|first| line(first.columns().map(|(name, _)| name.into())));
    let rows = factors.iter().map(|row| line(row.columns().map(|(_, value)| value)));
    let table: String = header.into_iter().chain(rows).collect();
    files::write_whole(path, table.as_bytes())
}

/// Returns the name of a variant as it is serialised.
fn name(variant: impl std::fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

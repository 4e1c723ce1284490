//! Test images of a detector, with what was found and what was missed.

use crate::harness::outcome::Scene;
use crate::harness::outcome::SceneBox;
use crate::report::figures::picture::Anchor;
use crate::report::figures::picture::Picture;
use crate::report::text;

/// Width and height of the square that an image is fitted into.
const SIDE: f64 = 190.0;
/// The space for the lines of text under an image.
const BELOW: f64 = 40.0;

/// A panel for each image.
pub(super) fn panels(scenes: &[Scene]) -> Vec<Picture> {
    scenes.iter().map(panel).collect()
}

fn panel(scene: &Scene) -> Picture {
    let mut picture = Picture::new(SIDE, SIDE + BELOW, scene.name.clone());
    let scale = SIDE / f64::from(scene.width.max(scene.height).max(1));
    let size = [scene.width, scene.height].map(|side| f64::from(side) * scale);
    picture.image((0.0, 0.0), (size[0], size[1]), &scene.png);
    for SceneBox { edges, kind, .. } in &scene.boxes {
        let [left, top, right, bottom] = edges.map(|edge| f64::from(edge) * scale);
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        picture.line("box halo", &corners);
        picture.line(&format!("box {}", class(kind)), &corners);
    }
    let count = |of: &str| scene.boxes.iter().filter(|one| one.kind == of).count();
    let counts = format!("{} right, {} wrong, {} missed", count("right"), count("wrong"), count("missed"));
    picture.words("ts", (0.0, SIDE + 16.0), Anchor::Start, &text::shorten(&scene.name, 30));
    picture.words("ts", (0.0, SIDE + 32.0), Anchor::Start, &counts);
    let described = scene.boxes.iter().map(|one| format!("{}: {}", one.label, one.kind));
    picture.description = described.collect::<Vec<_>>().join(", ");
    picture
}

/// The style of a box; a record may have any text here.
fn class(kind: &str) -> &'static str {
    match kind {
        "right" => "right",
        "wrong" => "wrong",
        _ => "missed",
    }
}

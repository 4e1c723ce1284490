//! Which pixels of a canvas objects cover and where they show: boxes, and what is said about each object.

use crate::data::annotated::Object;

/// Height and width in pixels of an image of a detection set, for every `world.size`.
pub const CANVAS: usize = 64;

/// The largest intersection over union of the boxes of two objects.
pub(super) const MOST_OVERLAP: f32 = 0.3;

/// A box: left, top, right and bottom edge.
type Edges = [f32; 4];

/// The pixels that an object and its occluder cover by at least half. A pixel of the canvas is given by its position,
/// row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Footprint {
    /// Pixels of the canvas that the object covers.
    pub object: Vec<usize>,
    /// How many pixels beyond the edges of the canvas the object covers.
    pub beyond: usize,
    /// Pixels of the canvas that its occluder covers.
    pub occluder: Vec<usize>,
}

impl Footprint {
    fn area(&self) -> usize {
        self.object.len() + self.beyond
    }
}

/// Returns for each object the pixels where it shows. The first object is the farthest: later objects hide it, and its
/// own occluder and those of later objects do.
pub(super) fn showing(footprints: &[Footprint]) -> Vec<Vec<usize>> {
    let mut nearest = [None; CANVAS * CANVAS];
    for (index, footprint) in (0_u8..).zip(footprints) {
        footprint.object.iter().for_each(|&pixel| nearest[pixel] = Some(index));
        footprint.occluder.iter().for_each(|&pixel| nearest[pixel] = None);
    }
    let mut pixels = vec![Vec::new(); footprints.len()];
    for (pixel, index) in nearest.into_iter().enumerate() {
        index.into_iter().for_each(|index| pixels[usize::from(index)].push(pixel));
    }
    pixels
}

/// Whether the last object has an acceptable place: at least three quarters of it are on the canvas, every object
/// shows, and no two boxes overlap by more than [`MOST_OVERLAP`], neither those of whole objects nor those of what
/// shows.
pub(super) fn acceptable(footprints: &[Footprint]) -> bool {
    let on_canvas = footprints.last().is_none_or(|last| last.object.len() >= 3 * last.beyond);
    let apart = |boxes: Option<Vec<Edges>>| boxes.is_some_and(|boxes| are_apart(&boxes));
    on_canvas
        && apart(footprints.iter().map(|footprint| bounds(&footprint.object)).collect())
        && apart(showing(footprints).iter().map(|pixels| bounds(pixels)).collect())
}

/// Describes the objects of a canvas, each with the number of its category. An object that does not show is left out.
///
/// An object is difficult if less than a third of it shows or a side of its box is below a sixteenth of the canvas;
/// truncated, if it covers pixels beyond the canvas; occluded, if more than a twentieth of it is hidden. These fractions
/// are of the whole object, which includes its pixels beyond the canvas.
pub(super) fn annotated(categories: &[u32], footprints: &[Footprint]) -> Vec<Object> {
    let shown = showing(footprints);
    let objects = categories.iter().zip(footprints).zip(&shown);
    let describe = |((&category, footprint), shown): ((&u32, &Footprint), &Vec<usize>)| {
        let edges = bounds(shown)?;
        let least = (edges[2] - edges[0]).min(edges[3] - edges[1]);
        Some(Object {
            edges,
            category,
            difficult: 3 * shown.len() < footprint.area() || 16.0 * least < CANVAS as f32,
            truncated: footprint.beyond > 0,
            occluded: 20 * (footprint.object.len() - shown.len()) > footprint.area(),
        })
    };
    objects.filter_map(describe).collect()
}

/// Returns the box of pixels; `None` if there are none.
fn bounds(pixels: &[usize]) -> Option<Edges> {
    let columns = || pixels.iter().map(|pixel| pixel % CANVAS);
    let rows = || pixels.iter().map(|pixel| pixel / CANVAS);
    let (left, top) = (columns().min()?, rows().min()?);
    let (right, bottom) = (columns().max()? + 1, rows().max()? + 1);
    Some([left, top, right, bottom].map(|edge| edge as f32))
}

fn are_apart(boxes: &[Edges]) -> bool {
    let apart = |(i, a)| boxes[..i].iter().all(|b| overlap(a, b) <= MOST_OVERLAP);
    boxes.iter().enumerate().all(apart)
}

/// Returns the intersection over union of two boxes that are not empty.
pub(super) fn overlap(a: &Edges, b: &Edges) -> f32 {
    let area = |[left, top, right, bottom]: Edges| (right - left).max(0.0) * (bottom - top).max(0.0);
    let shared = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    shared / (area(*a) + area(*b) - shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels of a rectangle.
    fn block([left, top, right, bottom]: [usize; 4]) -> Vec<usize> {
        (top..bottom).flat_map(|row| (left..right).map(move |column| row * CANVAS + column)).collect()
    }

    fn object(edges: [usize; 4]) -> Footprint {
        Footprint { object: block(edges), ..Footprint::default() }
    }

    /// Box and flags (difficult, truncated, occluded) of the first object.
    fn first(footprints: &[Footprint]) -> ([f32; 4], [bool; 3]) {
        let object = annotated(&vec![3; footprints.len()], footprints)[0];
        (object.edges, [object.difficult, object.truncated, object.occluded])
    }

    #[test]
    fn a_box_is_of_what_shows() {
        let whole = object([10, 20, 30, 40]); // 400 pixels
        let with = |occluder| Footprint { occluder, ..whole.clone() };
        assert_eq!(first(std::slice::from_ref(&whole)), ([10.0, 20.0, 30.0, 40.0], [false; 3]));
        // One column of twenty is exactly a twentieth, two are more.
        assert_eq!(first(&[with(block([29, 0, 60, 64]))]), ([10.0, 20.0, 29.0, 40.0], [false, false, false]));
        assert_eq!(first(&[with(block([28, 0, 60, 64]))]), ([10.0, 20.0, 28.0, 40.0], [false, false, true]));
        // Seven columns of twenty are more than a third, six are less.
        assert_eq!(first(&[with(block([17, 0, 60, 64]))]), ([10.0, 20.0, 17.0, 40.0], [false, false, true]));
        assert_eq!(first(&[with(block([16, 0, 60, 64]))]), ([10.0, 20.0, 16.0, 40.0], [true, false, true]));
        // A hole does not change the box.
        assert_eq!(first(&[with(block([15, 25, 25, 35]))]), ([10.0, 20.0, 30.0, 40.0], [false, false, true]));
    }

    #[test]
    fn later_objects_and_their_occluders_hide_earlier_ones() {
        let (far, near) = (object([0, 0, 20, 20]), object([10, 0, 30, 20]));
        let objects = annotated(&[4, 9], &[far.clone(), near.clone()]);
        let seen: Vec<_> = objects.iter().map(|object| (object.category, object.edges, object.occluded)).collect();
        assert_eq!(seen, [(4, [0.0, 0.0, 10.0, 20.0], true), (9, [10.0, 0.0, 30.0, 20.0], false)]);
        let in_between = Footprint { occluder: block([0, 0, 64, 15]), ..far.clone() };
        let objects = annotated(&[4, 9], &[in_between, near]);
        assert_eq!(objects[0].edges, [0.0, 15.0, 10.0, 20.0]);
        assert_eq!(objects[1].edges, [10.0, 0.0, 30.0, 20.0], "the occluder of an object is behind later objects");
        let small = Footprint { occluder: block([0, 0, 20, 20]), ..object([40, 40, 50, 50]) };
        let objects = annotated(&[4, 9], &[far, small]);
        assert_eq!(objects.iter().map(|object| object.category).collect::<Vec<_>>(), [9], "nothing shows of the first");
    }

    #[test]
    fn small_and_cut_objects_are_marked() {
        assert_eq!(first(&[object([0, 0, 4, 4])]).1, [false; 3]);
        assert_eq!(first(&[object([0, 0, 30, 3])]).1, [true, false, false]);
        let cut = |beyond| Footprint { beyond, ..object([54, 0, 64, 10]) };
        assert_eq!(first(&[cut(1)]).1, [false, true, false]);
        assert_eq!(first(&[cut(200)]).1, [false, true, false], "exactly a third is on the canvas");
        assert_eq!(first(&[cut(201)]).1, [true, true, false]);
        assert!(acceptable(&[cut(33)]) && !acceptable(&[cut(34)]), "at least three quarters must be on the canvas");
    }

    #[test]
    fn places_are_acceptable_if_all_objects_show_and_boxes_hardly_overlap() {
        let far = object([0, 0, 20, 20]);
        assert!(acceptable(std::slice::from_ref(&far)) && acceptable(&[far.clone(), object([40, 40, 60, 60])]));
        // Shifted by 11 of 20 columns: 9/31 of the union; by 10: 10/30.
        assert!(acceptable(&[far.clone(), object([11, 0, 31, 20])]));
        assert!(!acceptable(&[far.clone(), object([10, 0, 30, 20])]));
        // The box of the small object is a sixteenth of that of the large one, which hides it.
        assert!(!acceptable(&[object([5, 5, 10, 10]), far.clone()]));
        assert!(acceptable(&[far.clone(), object([5, 5, 10, 10])]));
        let hidden = Footprint { occluder: block([0, 0, 20, 20]), ..far.clone() };
        assert!(!acceptable(&[hidden]) && !acceptable(&[object([0, 0, 0, 0])]));
        // The whole boxes overlap by 7/27, but only six columns of the first show: 6/14.
        let reduced = Footprint { occluder: block([0, 0, 14, 20]), ..far.clone() };
        let holed =
            Footprint { object: [block([13, 0, 14, 20]), block([25, 0, 27, 20])].concat(), ..Footprint::default() };
        assert!(acceptable(&[far, holed.clone()]) && !acceptable(&[reduced, holed]));
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        let unit = [0.0, 0.0, 2.0, 2.0];
        assert_eq!(overlap(&unit, &unit), 1.0);
        assert_eq!(overlap(&unit, &[1.0, 1.0, 3.0, 3.0]), 1.0 / 7.0);
        assert_eq!(overlap(&unit, &[2.0, 0.0, 3.0, 2.0]), 0.0);
        assert_eq!(overlap(&unit, &[5.0, 5.0, 6.0, 6.0]), 0.0);
    }
}

//! An object of a canvas: drawn as in a picture of its own, which is made smaller and moved over the canvas by whole
//! pixels.

use super::World;
use super::footprint::CANVAS;
use super::footprint::Footprint;
use super::render::Cover;
use super::render::centre;
use super::render::cover;
use super::render::painted;
use super::scene::Category;
use super::scene::Figure;
use super::scene::Streams;
use super::shape::Part;
use super::shape::Vector;
use super::shape::length;
use super::surface::Colour;
use crate::rng::Key;

/// The range of an object's extent (the geometric mean of width and height), as a fraction of the canvas's side.
const EXTENT: Vector = [0.2, 0.5];

/// Width of a pixel. The canvas's edges are at -1 and 1.
pub(super) const PIXEL: f32 = 2.0 / CANVAS as f32;

/// An object of a category (its number in the set) in the middle of the canvas.
pub(super) struct Stamp {
    pub category: u32,
    pub figure: Figure,
    /// Half the side of the object's own picture.
    half: f32,
    /// The centre of this picture, less than a pixel from that of the canvas.
    at: Vector,
    /// The pixels, as column and row, that the object or its occluder touches. Some may be beyond the canvas.
    covers: Vec<([i32; 2], Cover)>,
}

impl Stamp {
    /// Draws an object. If there is a background already, `ground` is its mean brightness.
    pub fn draw(world: &World, categories: &[Category], ground: Option<f32>, key: Key) -> Self {
        let category = key.split("category").stream().below(categories.len());
        let figure = Figure::draw(world, &categories[category], ground, &Streams { key, varied: None });
        let mut stream = key.split("size").stream();
        let half = stream.range(EXTENT[0], EXTENT[1]) / figure.pose.half;
        let at = std::array::from_fn(|_| PIXEL * stream.range(-0.5, 0.5));
        let mut stamp = Self { category: category as u32, figure, half, at, covers: Vec::new() };
        let touched = |place| {
            let cover = cover(&stamp.figure, stamp.local(place), PIXEL / half);
            (cover.object > 0.0 || cover.occluder > 0.0).then_some((place, cover))
        };
        stamp.covers = stamp.reach().filter_map(touched).collect();
        stamp
    }

    /// Returns what the object and its occluder cover when they are moved by `shift`.
    pub fn footprint(&self, shift: [i32; 2]) -> Footprint {
        let covered = |by: fn(&Cover) -> f32| {
            let places = self.covers.iter().filter(move |(_, cover)| by(cover) >= 0.5);
            places.map(move |(place, _)| position(*place, shift))
        };
        let object: Vec<Option<usize>> = covered(|cover| cover.object).collect();
        let beyond = object.iter().filter(|pixel| pixel.is_none()).count();
        let occluder = covered(|cover| cover.occluder).flatten().collect();
        Footprint { object: object.into_iter().flatten().collect(), beyond, occluder }
    }

    /// Paints the object and its occluder, moved by `shift`, over what is there.
    pub fn paint(&self, shift: [i32; 2], colours: &mut [Colour]) {
        for (place, cover) in &self.covers {
            if let Some(pixel) = position(*place, shift) {
                let p = self.local(*place);
                colours[pixel] = painted(&self.figure, cover, p, PIXEL / self.half, || colours[pixel]);
            }
        }
    }

    /// Returns the pixels that the object or its occluder may touch.
    fn reach(&self) -> impl Iterator<Item = [i32; 2]> + use<> {
        const SOFTNESS: i32 = 2; // edges are blurred by less than this number of pixels
        let parts: Vec<&Part> =
            self.figure.parts.iter().chain(self.figure.occluder.iter().map(|(part, _)| part)).collect();
        let [columns, rows] = [0, 1].map(|i| {
            let pixel = |p: f32| ((self.at[i] + self.half * p + 1.0) / PIXEL).floor() as i32;
            let low = parts.iter().map(|part| part.at[i] - length(part.half)).fold(f32::MAX, f32::min);
            let high = parts.iter().map(|part| part.at[i] + length(part.half)).fold(f32::MIN, f32::max);
            pixel(low) - SOFTNESS..pixel(high) + 1 + SOFTNESS
        });
        rows.flat_map(move |row| columns.clone().map(move |column| [column, row]))
    }

    /// Returns the centre of a pixel in the object's own picture.
    fn local(&self, place: [i32; 2]) -> Vector {
        std::array::from_fn(|i| (centre(place[i], CANVAS) - self.at[i]) / self.half)
    }
}

/// Returns the position on the canvas of a pixel that is moved by `shift`; `None` if it is then beyond the edges.
fn position(place: [i32; 2], shift: [i32; 2]) -> Option<usize> {
    let inside = |i: usize| usize::try_from(place[i] + shift[i]).ok().filter(|&side| side < CANVAS);
    Some(inside(1)? * CANVAS + inside(0)?)
}

#[cfg(test)]
mod tests {
    use super::super::domain::CROWD;
    use super::super::footprint::acceptable;
    use super::super::footprint::annotated;
    use super::*;

    fn stamps(world: &World, count: u64) -> impl Iterator<Item = Stamp> {
        let categories: Vec<Category> = (12_000..12_010).map(|id| Category::draw(world, id, &CROWD)).collect();
        let key = Key::root(3).split("test");
        (0..count).map(move |index| Stamp::draw(world, &categories, None, key.at(index)))
    }

    /// Half coverage of a pixel against the share of 16x16 points in it that are inside the outline.
    #[test]
    fn the_pixels_of_an_object_are_those_that_it_covers_by_half() {
        const POINTS: usize = 16;
        let (mut different, mut pixels) = (0, 0);
        for stamp in stamps(&World::STANDARD, 15) {
            let is_inside = |[column, row]: [i32; 2], point: usize| {
                let [x, y] = [point % POINTS, point / POINTS].map(|i| (i as f32 + 0.5) / POINTS as f32);
                let p = [column as f32 + x, row as f32 + y].map(|side| PIXEL * side - 1.0);
                let local = std::array::from_fn(|i| (p[i] - stamp.at[i]) / stamp.half);
                stamp.figure.parts.iter().any(|part| part.distance(local) < 0.0)
            };
            let points = |place| (0..POINTS * POINTS).filter(|&point| is_inside(place, point)).count();
            let by_points = |place| 2 * points(place) >= POINTS * POINTS;
            different +=
                stamp.covers.iter().filter(|(place, cover)| (cover.object >= 0.5) != by_points(*place)).count();
            pixels += stamp.covers.iter().filter(|(place, _)| by_points(*place)).count();
        }
        assert!(pixels > 1_000 && different * 50 < pixels, "{different} of {pixels}");
    }

    #[test]
    fn nothing_is_touched_beyond_the_pixels_that_may_be() {
        for stamp in stamps(&World { occlusion: 1.0, ..World::STANDARD }, 50) {
            let touches = |place: &[i32; 2]| {
                let cover = cover(&stamp.figure, stamp.local(*place), PIXEL / stamp.half);
                cover.object > 0.0 || cover.occluder > 0.0
            };
            let all = (-40..104).flat_map(|row| (-40..104).map(move |column| [column, row])).filter(touches);
            assert!(all.eq(stamp.covers.iter().map(|(place, _)| *place)));
        }
    }

    #[test]
    fn an_object_that_is_moved_beyond_an_edge_is_truncated_and_keeps_its_area() {
        for stamp in stamps(&World { occlusion: 0.0, ..World::STANDARD }, 20) {
            let [whole, cut, gone] = [0, -32, -99].map(|columns| stamp.footprint([columns, 0]));
            assert!(whole.beyond == 0 && cut.beyond > 0 && gone.object.is_empty());
            assert_eq!([&cut, &gone].map(|moved| moved.object.len() + moved.beyond), [whole.object.len(); 2]);
            assert!(!acceptable(&[gone]));
            let [whole, cut] = [whole, cut].map(|footprint| annotated(&[0], &[footprint])[0]);
            assert_eq!((whole.truncated, cut.truncated), (false, true));
            assert_eq!((cut.edges[0], cut.edges[2]), (0.0, whole.edges[2] - 32.0));
        }
    }
}

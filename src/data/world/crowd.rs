//! Canvases with several objects, and the detection sets that are made of them. Boxes are those of the rendered pixels.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::MOST_DRAWS;
use super::PRETRAINING_CATEGORIES;
use super::World;
use super::domain::CROWD;
use super::footprint::CANVAS;
use super::footprint::Footprint;
use super::footprint::acceptable;
use super::footprint::annotated;
use super::render::behind;
use super::render::lit;
use super::render::middle;
use super::render::to_bytes;
use super::scene::Category;
use super::scene::Setting;
use super::scene::Streams;
use super::stamp::PIXEL;
use super::stamp::Stamp;
use super::surface::Colour;
use crate::data::annotated::AnnotatedImage;
use crate::data::annotated::AnnotatedSet;
use crate::rng::Key;

/// The version of the detection sets: part of the key of every stage that depends on them. It increases whenever a byte
/// of an image or a box changes.
pub const DETECTION_VERSION: u32 = 1;

/// The names that [`detection`] knows.
pub const DETECTION_SETS: [&str; 1] = ["synth-voc"];

/// The ids of the categories, which pretraining never shows.
const CATEGORIES: Range<u32> = PRETRAINING_CATEGORIES + 2_000..PRETRAINING_CATEGORIES + 2_010;

/// The splits and their numbers of images.
const SPLITS: [(&str, usize); 2] = [("train", 600), ("test", 400)];

/// The maximum number of objects on a canvas.
const MOST_OBJECTS: usize = 4;

/// Renders a detection set by name. Returns its splits `train` and `test` and a description; `None` for a name not in
/// [`DETECTION_SETS`].
///
/// An image depends only on the world (not on its size), the split and the image's position in it. It has one to four
/// objects, in the order in which they are painted, on one background with one light. The objects differ from the
/// background in brightness as in the pictures of single objects.
pub fn detection(world: &World, name: &str) -> Option<(BTreeMap<String, AnnotatedSet>, String)> {
    let [categories, train, test] = detection_extent(name)?;
    let split = |(split, images): (&str, usize)| (split.to_string(), rendered(world, name, split, images));
    let description = format!(
        "{name} is a procedural stand-in for PASCAL VOC, not the real set: {train} training and {test} test images of \
         {CANVAS}x{CANVAS} pixels with one to {MOST_OBJECTS} objects of {categories} rendered shape categories that \
         pretraining never saw, and other backgrounds, clutter and light than in pretraining."
    );
    Some((SPLITS.into_iter().map(split).collect(), description))
}

/// Returns the numbers of categories, training and test images of a detection set, without rendering it; `None` for a
/// name not in [`DETECTION_SETS`].
pub fn detection_extent(name: &str) -> Option<[usize; 3]> {
    let [(_, train), (_, test)] = SPLITS;
    DETECTION_SETS.contains(&name).then_some([CATEGORIES.len(), train, test])
}

/// Renders the first images of a split on all cores.
fn rendered(world: &World, name: &str, split: &str, images: usize) -> AnnotatedSet {
    let key = Key::root(world.seed).split("world").split(name).split(split);
    let categories: Vec<Category> = CATEGORIES.map(|category| Category::draw(world, category, &CROWD)).collect();
    let image = |index| Canvas::draw(world, &categories, key.at(index)).image();
    let images = (0..images as u64).into_par_iter().map(image).collect();
    let classes = CATEGORIES.map(|category| format!("shape-{category}")).collect();
    AnnotatedSet::new(&format!("{name}/{split}"), classes, images)
}

/// An image before it is rendered. The first object is the farthest.
struct Canvas {
    setting: Setting,
    placed: Vec<Placed>,
    footprints: Vec<Footprint>,
}

/// An object, and how far it is moved from the middle of the canvas, in columns and rows.
struct Placed {
    stamp: Stamp,
    shift: [i32; 2],
}

impl Canvas {
    /// Draws a canvas. The background is drawn for the first object; the colours of the others are drawn for the
    /// background.
    fn draw(world: &World, categories: &[Category], key: Key) -> Self {
        let of_object = |index: usize| key.split("object").at(index as u64);
        let first = Stamp::draw(world, categories, None, of_object(0));
        let common = &categories[first.category as usize];
        let setting = Setting::draw(world, common, first.figure.brightness(), &Streams { key, varied: None });
        let ground = Some(setting.background.brightness());
        let mut canvas = Self { setting, placed: Vec::new(), footprints: Vec::new() };
        canvas.place(first, of_object(0));
        for index in 1..1 + key.split("count").stream().below(MOST_OBJECTS) {
            canvas.place(Stamp::draw(world, categories, ground, of_object(index)), of_object(index));
        }
        canvas
    }

    /// Draws places until one is acceptable. If [`MOST_DRAWS`] draws find none, the object is left out.
    fn place(&mut self, stamp: Stamp, key: Key) {
        let mut stream = key.split("place").stream();
        for _ in 0..MOST_DRAWS {
            let shift = std::array::from_fn(|_| stream.below(CANVAS) as i32 - CANVAS as i32 / 2);
            self.footprints.push(stamp.footprint(shift));
            if acceptable(&self.footprints) {
                self.placed.push(Placed { stamp, shift });
                return;
            }
            self.footprints.pop();
        }
    }

    fn image(&self) -> AnnotatedImage {
        let categories: Vec<u32> = self.placed.iter().map(|placed| placed.stamp.category).collect();
        let objects = annotated(&categories, &self.footprints);
        AnnotatedImage { height: CANVAS, width: CANVAS, pixels: render(&self.setting, &self.placed), objects }
    }
}

/// Returns the RGB bytes of a canvas, (CANVAS, CANVAS, 3).
fn render(setting: &Setting, placed: &[Placed]) -> Vec<u8> {
    let places = || (0..CANVAS * CANVAS).map(|pixel| middle(pixel, CANVAS));
    let mut colours: Vec<Colour> = places().map(|p| behind(setting, p, PIXEL)).collect();
    placed.iter().for_each(|Placed { stamp, shift }| stamp.paint(*shift, &mut colours));
    colours.into_iter().zip(places()).flat_map(|(colour, p)| to_bytes(lit(colour, &setting.light, p))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::footprint::MOST_OVERLAP;
    use super::super::footprint::overlap;
    use super::super::scene::Light;
    use super::*;
    use crate::data::annotated::Object;

    fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    fn canvas(world: &World, index: u64) -> Canvas {
        let categories: Vec<Category> = CATEGORIES.map(|category| Category::draw(world, category, &CROWD)).collect();
        Canvas::draw(world, &categories, Key::root(world.seed).split("test").at(index))
    }

    fn train(world: &World, images: usize) -> AnnotatedSet {
        rendered(world, "synth-voc", "train", images)
    }

    fn bounds(pixels: impl Iterator<Item = usize>) -> [f32; 4] {
        let (rows, columns): (Vec<_>, Vec<_>) = pixels.map(|pixel| (pixel / CANVAS, pixel % CANVAS)).unzip();
        let least = |side: &[usize]| *side.iter().min().unwrap() as f32;
        let most = |side: &[usize]| *side.iter().max().unwrap() as f32 + 1.0;
        [least(&columns), least(&rows), most(&columns), most(&rows)]
    }

    // The hash was recorded once on x86-64. A change of any byte must change it and raise `DETECTION_VERSION`.
    #[test]
    fn an_image_is_the_same_in_a_set_of_any_number_of_images_on_any_number_of_threads() {
        let (many, few) = (on_threads(3, || train(&World::STANDARD, 12)), on_threads(1, || train(&World::STANDARD, 5)));
        for image in 0..few.len() {
            assert_eq!(
                (few.pixels(image).unwrap(), few.objects(image)),
                (many.pixels(image).unwrap(), many.objects(image))
            );
        }
        assert_eq!(on_threads(1, || train(&World::STANDARD, 12).hash), many.hash);
        assert_eq!(many.hash, "ffbafffb05f0039e8e82ad71a1acd4e4be256825739aaa4adf5375203d288809");
        let test = rendered(&World::STANDARD, "synth-voc", "test", 12);
        assert!((0..12).all(|image| test.pixels(image).unwrap() != many.pixels(image).unwrap()));
    }

    #[test]
    fn seed_and_strengths_change_images_and_the_size_of_other_images_does_not() {
        let hash = |world: World| train(&world, 3).hash;
        let standard = hash(World::STANDARD);
        assert_eq!(hash(World { size: 16, ..World::STANDARD }), standard);
        for changed in [
            World { seed: 1, ..World::STANDARD },
            World::STANDARD.with_legibility(0.5),
            World { surface_contrast: 0.9, ..World::STANDARD },
            World { background_contrast: 0.9, ..World::STANDARD },
            World { clutter: 1.0, ..World::STANDARD },
            World { occlusion: 1.0, ..World::STANDARD },
            World { illumination: 0.0, ..World::STANDARD },
            World { habit: 1.0, ..World::STANDARD },
            World { background_habit: 1.0, ..World::STANDARD },
        ] {
            assert_ne!(hash(changed.clone()), standard, "{changed:?}");
        }
    }

    /// Paints a white object without occluder on black, in a light of extreme contrast: a pixel that the object covers
    /// by less than half is black, and any other is white. The outline is darkened to 0.65.
    fn silhouette(canvas: &mut Canvas, index: usize) -> Vec<u8> {
        canvas.setting.background.colours = [[0.0; 3]; 2];
        canvas.setting.clutter.clear();
        canvas.setting.light = Light { gain: 1.0 / 0.65, slope: [0.0; 2], cast: [1.0; 3], contrast: 1e5 };
        let placed = &mut canvas.placed[index];
        placed.stamp.figure.surface.colours = [[1.0; 3]; 2];
        placed.stamp.figure.occluder = None;
        render(&canvas.setting, std::slice::from_ref(placed)).iter().step_by(3).copied().collect()
    }

    #[test]
    fn a_box_is_that_of_the_object_rendered_alone_if_nothing_hides_it() {
        let mut compared = 0;
        for index in 0..40 {
            let mut canvas = canvas(&World { clutter: 1.0, occlusion: 0.4, ..World::STANDARD }, index);
            let objects = canvas.image().objects;
            assert_eq!(objects.len(), canvas.placed.len());
            for (k, object) in objects.iter().enumerate() {
                let alone = silhouette(&mut canvas, k);
                let white = (0..alone.len()).filter(|&pixel| alone[pixel] >= 128);
                let (whole, [left, top, right, bottom]) = (bounds(white), object.edges);
                assert!(whole[0] <= left && whole[1] <= top && whole[2] >= right && whole[3] >= bottom);
                let area = canvas.footprints[k].object.len();
                let hidden = canvas.footprints.iter().enumerate().any(|(other, footprint)| {
                    let hides =
                        |pixels: &[usize]| pixels.iter().any(|pixel| canvas.footprints[k].object.contains(pixel));
                    (other > k && hides(&footprint.object)) || (other >= k && hides(&footprint.occluder))
                });
                assert!(area > 0 && (hidden || !object.occluded));
                if !hidden {
                    assert_eq!(whole, object.edges, "canvas {index}, object {k}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 30, "{compared}");
    }

    /// The background is drawn for the first object, so the others may differ less often. But their colours are drawn
    /// for the background, and of colours drawn without it about half would differ.
    #[test]
    fn all_objects_differ_from_the_background_in_brightness() {
        let (mut differs, mut objects) = ([0; 2], [0; 2]);
        for index in 0..100 {
            let canvas = canvas(&World::STANDARD, index);
            let ground = canvas.setting.background.brightness();
            for (k, placed) in canvas.placed.iter().enumerate() {
                let difference = (placed.stamp.figure.brightness() - ground).abs();
                objects[k.min(1)] += 1;
                differs[k.min(1)] += usize::from(difference > World::STANDARD.separation);
            }
        }
        let share = |i: usize| differs[i] as f64 / objects[i] as f64;
        assert!(share(0) > 0.7 && share(1) > 0.8, "{differs:?} of {objects:?}");
    }

    /// What holds for the objects of every image.
    fn check(objects: &[Object]) {
        assert!((1..=MOST_OBJECTS).contains(&objects.len()), "{objects:?}");
        for (k, object) in objects.iter().enumerate() {
            let [left, top, right, bottom] = object.edges;
            assert!(0.0 <= left && left < right && right <= 64.0 && 0.0 <= top && top < bottom && bottom <= 64.0);
            assert!((right - left).max(bottom - top) <= 43.0, "{object:?}");
            assert!(object.category < 10);
            assert!(objects[..k].iter().all(|other| overlap(&other.edges, &object.edges) <= MOST_OVERLAP));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

        #[test]
        fn any_world_has_canvases_with_objects_that_hardly_overlap(
            [habit, background_habit, clutter, occlusion, illumination] in prop::array::uniform5(0.0_f32..=1.0),
            [surface_contrast, background_contrast, separation] in prop::array::uniform3(0.0_f32..=1.0),
            seed in any::<u64>(),
            index in any::<u64>(),
        ) {
            let world = World {
                habit,
                background_habit,
                surface_contrast,
                background_contrast,
                separation,
                clutter,
                occlusion,
                illumination,
                seed,
                ..World::STANDARD
            };
            check(&canvas(&world, index).image().objects);
        }
    }

    #[test]
    fn the_sets_have_all_categories_and_all_kinds_of_objects() {
        let (splits, description) = detection(&World { seed: 1, ..World::STANDARD }, "synth-voc").unwrap();
        assert!(description.contains("stand-in for PASCAL VOC, not the real set: 600 training and 400 test images"));
        assert_eq!(detection_extent("synth-voc"), Some([10, 600, 400]));
        assert_eq!(splits.keys().collect::<Vec<_>>(), ["test", "train"]);
        for (name, set) in &splits {
            assert_eq!(set.len(), if name == "train" { 600 } else { 400 });
            assert_eq!((&*set.name, &*set.classes[9]), (&*format!("synth-voc/{name}"), "shape-12009"));
            let images: Vec<&[Object]> = (0..set.len()).map(|image| set.objects(image)).collect();
            images.iter().for_each(|objects| check(objects));
            let share = |part: usize, of: usize| part as f64 / of as f64;
            for count in 1..=MOST_OBJECTS {
                let with = images.iter().filter(|objects| objects.len() == count).count();
                assert!((0.18..0.32).contains(&share(with, set.len())), "{with} images with {count} objects");
            }
            let objects: Vec<&Object> = images.into_iter().flatten().collect();
            for category in 0..10 {
                let with = objects.iter().filter(|object| object.category == category).count();
                assert!((0.06..0.15).contains(&share(with, objects.len())), "{with} of category {category}");
            }
            let shares = [|o: &Object| o.difficult, |o: &Object| o.truncated, |o: &Object| o.occluded]
                .map(|flag| share(objects.iter().filter(|object| flag(object)).count(), objects.len()));
            let [difficult, truncated, occluded] = shares;
            assert!(0.0 < difficult && difficult < 0.05, "{shares:?}");
            assert!((0.3..0.45).contains(&truncated) && (0.15..0.3).contains(&occluded), "{shares:?}");
        }
        assert!(detection(&World::STANDARD, "voc").is_none() && detection_extent("synth-10").is_none());
    }
}

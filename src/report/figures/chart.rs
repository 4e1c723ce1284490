//! Line charts, drawn by plotters onto a [`Picture`].
//!
//! plotters works in whole pixels, so it draws on a grid ten times finer than the picture's units. The styles of
//! plotters have colours, but the page's stylesheet needs classes: the red component of a colour is the index of a
//! class in [`CLASSES`].

use crate::report::figures::picture::Anchor;
use crate::report::figures::picture::Picture;
use crate::report::figures::scale::labels;
use crate::report::figures::scale::ticks;
use crate::report::figures::scale::widened;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::Cartesian2d;
use plotters::prelude::Circle;
use plotters::prelude::DrawingArea;
use plotters::prelude::IntoDrawingArea;
use plotters::prelude::PathElement;
use plotters::prelude::RGBColor;
use plotters_backend::BackendColor;
use plotters_backend::BackendCoord;
use plotters_backend::BackendStyle;
use plotters_backend::DrawingBackend;
use plotters_backend::DrawingErrorKind;
use std::convert::Infallible;

/// Pixels of plotters per unit of the picture.
const PIXELS: f64 = 10.0;
/// The classes of the shapes in a chart.
const CLASSES: [&str; 14] = [
    "grid",
    "ref rnd",
    "ln ap",
    "ln sp",
    "ln other",
    "thin ap",
    "thin sp",
    "thin other",
    "wh ap",
    "wh sp",
    "wh other",
    "dot ap",
    "dot sp",
    "dot other",
];

fn color(class: &str) -> RGBColor {
    let place = CLASSES.iter().position(|of| *of == class).unwrap_or_else(|| panic!("`{class}` is not a chart class"));
    RGBColor(place as u8, 0, 0)
}

/// The backend of plotters: draws onto a picture.
struct Surface<'a>(&'a mut Picture);

/// The result of drawing onto a picture, which never fails.
type Drawn = Result<(), DrawingErrorKind<Infallible>>;

fn class_of(style: &impl BackendStyle) -> &'static str {
    CLASSES[usize::from(style.color().rgb.0)]
}

fn units((x, y): BackendCoord) -> (f64, f64) {
    (f64::from(x) / PIXELS, f64::from(y) / PIXELS)
}

fn pixels(units: f64) -> i32 {
    (units * PIXELS).round() as i32
}

impl DrawingBackend for Surface<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        ((self.0.width * PIXELS) as u32, (self.0.height * PIXELS) as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    /// Does nothing: a picture has shapes, not pixels.
    fn draw_pixel(&mut self, _: BackendCoord, _: BackendColor) -> Drawn {
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let points: Vec<(f64, f64)> = path.into_iter().map(units).collect();
        self.0.line(class_of(style), &points);
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, _fill: bool) -> Drawn {
        self.0.circle(class_of(style), units(center), f64::from(radius) / PIXELS);
        Ok(())
    }
}

/// The range of values of an axis and the positions of its ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    values: (f64, f64),
    places: (f64, f64),
}

impl Span {
    /// Maps a range of values to positions. A range of zero width is widened.
    pub fn new(values: (f64, f64), places: (f64, f64)) -> Self {
        Self { values: widened(values), places }
    }

    /// Like [`Span::new`], with room before the first value and after the last, in units of the picture.
    pub fn with_room(values: (f64, f64), (start, end): (f64, f64), (before, behind): (f64, f64)) -> Self {
        let Self { values: (low, high), .. } = Self::new(values, (start, end));
        let unit = (high - low) / (end - start - before - behind);
        Self { values: (low - before * unit, high + behind * unit), places: (start, end) }
    }
}

/// A chart that is being drawn. It borrows its picture until it is dropped.
pub(super) struct Chart<'a> {
    area: DrawingArea<Surface<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
}

impl<'a> Chart<'a> {
    /// An empty chart on a part of a picture.
    pub fn on(picture: &'a mut Picture, x: Span, y: Span) -> Self {
        let places = |of: Span| pixels(of.places.0)..pixels(of.places.1);
        let values = |of: Span| of.values.0..of.values.1;
        let coordinates = Cartesian2d::new(values(x), values(y), (places(x), places(y)));
        Self { area: Surface(picture).into_drawing_area().apply_coord_spec(coordinates) }
    }

    /// Draws horizontal grid lines at about `wanted` round values. Returns each value with its y position.
    pub fn rules(&self, wanted: usize) -> Vec<(f64, f64)> {
        let (x, y) = (self.area.get_x_range(), self.area.get_y_range());
        let ticks = ticks((y.start, y.end), wanted);
        ticks.iter().for_each(|&tick| self.across("grid", tick));
        ticks.into_iter().map(|tick| (tick, self.place((x.start, tick)).1)).collect()
    }

    /// Draws a line through points.
    pub fn line(&self, class: &str, points: &[(f64, f64)]) {
        drawn(self.area.draw(&PathElement::new(points.to_vec(), color(class))));
    }

    /// Draws a horizontal line across the chart.
    pub fn across(&self, class: &str, y: f64) {
        let x = self.area.get_x_range();
        self.line(class, &[(x.start, y), (x.end, y)]);
    }

    /// Draws a circle around a point. The radius is in units of the picture.
    pub fn dot(&self, class: &str, at: (f64, f64), radius: f64) {
        drawn(self.area.draw(&Circle::new(at, pixels(radius), color(class))));
    }

    /// The position of a point in the picture.
    pub fn place(&self, at: (f64, f64)) -> (f64, f64) {
        units(self.area.map_coordinate(&at))
    }
}

/// Draws the labels of grid lines, right-aligned at `x`.
pub(super) fn label_rules(picture: &mut Picture, rules: &[(f64, f64)], x: f64) {
    let values: Vec<f64> = rules.iter().map(|rule| rule.0).collect();
    for ((_, y), label) in rules.iter().zip(labels(&values)) {
        picture.words("tick", (x, y + 4.0), Anchor::End, &label);
    }
}

/// Unwraps a result that is never an error; see [`Drawn`].
fn drawn(result: Result<(), DrawingAreaErrorKind<Infallible>>) {
    result.expect("a picture takes every shape");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_lie_where_their_values_do() {
        let mut picture = Picture::new(200.0, 100.0, "A chart".into());
        let chart = Chart::on(
            &mut picture,
            Span::with_room((1.0, 3.0), (20.0, 180.0), (20.0, 20.0)),
            Span::new((0.0, 50.0), (90.0, 10.0)),
        );
        assert_eq!((chart.place((1.0, 0.0)), chart.place((3.0, 50.0))), ((40.0, 90.0), (160.0, 10.0)));
        assert_eq!(chart.rules(5).iter().map(|rule| rule.0).collect::<Vec<_>>(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        chart.line("ln sp", &[(1.0, 0.0), (2.0, 25.0)]);
        chart.across("ref rnd", 25.0);
        chart.dot("dot ap", (2.0, 25.0), 4.2);
        drop(chart);
        let svg = picture.inline("chart");
        for shape in [
            r#"<path class="grid" d="M20 74L180 74"/>"#,
            r#"<path class="ln sp" d="M40 90L100 50"/>"#,
            r#"<path class="ref rnd" d="M20 50L180 50"/>"#,
            r#"<circle class="dot ap" cx="100" cy="50" r="4.2"/>"#,
        ] {
            assert!(svg.contains(shape), "{shape} in {svg}");
        }
    }
}

//! A small vector canvas on plotters' SVG backend, and the scales of its axes.
//!
//! plotters places everything on whole pixels, so the canvas draws on a grid ten times finer than the picture's
//! units. All colours are the constants below: the page restyles them for dark screens by their value.

use crate::error::Context;
use crate::error::Result;
use crate::report::text;
use plotters::backend::DrawingBackend;
use plotters::backend::SVGBackend;
use plotters::style::Color;
use plotters::style::FontFamily;
use plotters::style::IntoFont;
use plotters::style::RGBColor;
use plotters::style::ShapeStyle;
use plotters::style::TextStyle;
use plotters::style::text_anchor::HPos;
use plotters::style::text_anchor::Pos;
use plotters::style::text_anchor::VPos;

/// Grid steps per unit of the picture.
const GRID: f64 = 10.0;
/// The SVG backend divides a font's size by this.
const BACKEND_FONT_SCALE: f64 = 1.24;

pub(super) const INK: RGBColor = RGBColor(0x1a, 0x1a, 0x1a);
pub(super) const GREY: RGBColor = RGBColor(0x66, 0x66, 0x60);
pub(super) const RULE: RGBColor = RGBColor(0xdc, 0xda, 0xd4);
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
pub(super) const BASELINE: RGBColor = RGBColor(0x8c, 0x8c, 0x86);

/// Colours of the rows, apart in luminance, each with a dash pattern (in picture units) that tells it from the
/// others in greyscale too.
const SERIES: [(RGBColor, &str); 6] = [
    (RGBColor(0x1b, 0x4f, 0x8a), ""),
    (RGBColor(0xc2, 0x57, 0x1a), "7 3"),
    (RGBColor(0x2e, 0x7d, 0x5b), "2 2.5"),
    (RGBColor(0x8a, 0x4f, 0xa3), "9 3 2 3"),
    (RGBColor(0x7a, 0x6a, 0x00), "4 2"),
    (RGBColor(0xa3, 0x32, 0x4a), "1 2"),
];

/// The colour of a table's row; they repeat after six, and with the marks on lines after twelve.
pub(super) fn series(row: usize) -> RGBColor {
    SERIES[row % SERIES.len()].0
}

/// Where a text's anchor lies.
pub(super) type Anchor = HPos;

/// A picture in the making. The origin is the upper left corner.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

/// Draws a picture and gives its SVG text. `name` makes ids unique on a page; `title` and `description` are for
/// readers who do not see it.
pub(super) fn picture(
    (name, title, description): (&str, &str, &str),
    (width, height): (f64, f64),
    draw: impl FnOnce(&mut Canvas) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    let size = ((width * GRID) as u32, (height * GRID) as u32);
    let mut canvas = Canvas { backend: SVGBackend::with_string(&mut svg, size) };
    canvas.rectangle((0.0, 0.0), (width, height), PAPER, 1.0)?;
    draw(&mut canvas)?;
    canvas.backend.present().context("finishing a figure")?;
    drop(canvas);
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let body = dashed(body);
    let (title, description, id) = (text::xml(title), text::xml(description), text::file_stem(name));
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\n<title id=\"{id}-title\">{title}</title>\n\
         <desc id=\"{id}-desc\">{description}</desc>{body}",
        size.0, size.1
    ))
}

impl Canvas<'_> {
    /// A line through points; the rows' colours bring their dash patterns with them.
    pub fn line(&mut self, points: &[(f64, f64)], color: RGBColor, width: f64, opacity: f64) -> Result<()> {
        let style =
            ShapeStyle { color: color.mix(opacity), filled: false, stroke_width: (width * GRID).round() as u32 };
        self.backend.draw_path(points.iter().map(grid), &style).context("drawing a line")
    }

    /// A filled rectangle between two corners.
    pub fn rectangle(&mut self, from: (f64, f64), to: (f64, f64), color: RGBColor, opacity: f64) -> Result<()> {
        self.backend.draw_rect(grid(&from), grid(&to), &color.mix(opacity), true).context("drawing a bar")
    }

    /// An open diamond around a point: the mark of the paper's figures.
    pub fn diamond(&mut self, (x, y): (f64, f64), radius: f64) -> Result<()> {
        let corners = [(x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius)];
        self.backend.fill_polygon(corners.iter().map(grid), &PAPER).context("drawing a mark")?;
        let outline = [corners[0], corners[1], corners[2], corners[3], corners[0]];
        self.line(&outline, INK, 1.2, 1.0)
    }

    /// A filled circle.
    pub fn circle(&mut self, center: (f64, f64), radius: f64, color: RGBColor) -> Result<()> {
        let radius = (radius * GRID).round() as u32;
        self.backend.draw_circle(grid(&center), radius, &color, true).context("drawing a mark")
    }

    /// The mark of a row on its line: circle, square, triangle or diamond.
    pub fn mark(&mut self, row: usize, (x, y): (f64, f64), radius: f64) -> Result<()> {
        let color = series(row);
        let r = radius;
        let corners: &[(f64, f64)] = match row % 4 {
            0 => return self.circle((x, y), r, color),
            1 => &[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
            2 => &[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
            _ => &[(-1.2, 0.0), (0.0, -1.2), (1.2, 0.0), (0.0, 1.2)],
        };
        let corners = corners.iter().map(|(dx, dy)| grid(&(x + dx * r, y + dy * r)));
        self.backend.fill_polygon(corners, &color).context("drawing a mark")
    }

    /// One line of text, `size` units high, centred vertically on the point.
    pub fn text(&mut self, words: &str, at: (f64, f64), size: f64, color: RGBColor, anchor: Anchor) -> Result<()> {
        let font = (FontFamily::SansSerif, size * GRID * BACKEND_FONT_SCALE).into_font();
        let style = TextStyle { font, color: color.to_backend_color(), pos: Pos::new(anchor, VPos::Center) };
        self.backend.draw_text(&text::clean(words), &style, grid(&at)).context("drawing a label")
    }
}

fn grid((x, y): &(f64, f64)) -> (i32, i32) {
    ((x * GRID).round() as i32, (y * GRID).round() as i32)
}

/// Gives every stroke in a row's colour its dash pattern: the backend has no notion of one.
fn dashed(svg: &str) -> String {
    let mut svg = svg.to_string();
    for (RGBColor(r, g, b), pattern) in SERIES.iter().filter(|(_, pattern)| !pattern.is_empty()) {
        let steps: Vec<String> =
            pattern.split(' ').filter_map(|p| p.parse::<f64>().ok()).map(|p| (p * GRID).to_string()).collect();
        let stroke = format!("stroke=\"#{r:02X}{g:02X}{b:02X}\"");
        svg = svg.replace(&stroke, &format!("{stroke} stroke-dasharray=\"{}\"", steps.join(" ")));
    }
    svg
}

/// A linear axis: values `from..to` on positions `start..end`, with round ticks.
pub(super) struct Axis {
    pub ticks: Vec<f64>,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    digits: usize,
}

impl Axis {
    /// An axis with about `wanted` ticks whose ends are ticks. A range of no width is widened.
    pub fn new((low, high): (f64, f64), (start, end): (f64, f64), wanted: usize) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let rough = (high - low) / wanted.max(1) as f64;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(rough);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let ticks = (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect();
        let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        Self { ticks, low: first * step, high: last * step, start, end, digits }
    }

    /// Where a value lies.
    pub fn at(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    /// A tick's label.
    pub fn label(&self, tick: f64) -> String {
        text::fixed(tick, self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_ticks() {
        let axis = Axis::new((0.0, 83.6), (100.0, 400.0), 5);
        assert_eq!(axis.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!((axis.at(0.0), axis.at(50.0), axis.at(100.0)), (100.0, 250.0, 400.0));
        let small = Axis::new((4.93, 5.02), (0.0, 1.0), 4);
        assert_eq!(small.ticks.iter().map(|t| small.label(*t)).collect::<Vec<_>>(), ["4.90", "4.95", "5.00", "5.05"]);
        assert_eq!(Axis::new((3.0, 3.0), (0.0, 1.0), 4).ticks, [2.5, 3.0, 3.5]);
    }
}

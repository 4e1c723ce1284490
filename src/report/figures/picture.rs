//! A small picture: lines, circles and words, each with a class, written as SVG for pages and as TikZ for LaTeX.
//!
//! The styles of the classes are in `templates/figure.css`, and for LaTeX in [`tikz_style`], which is black and white.

use crate::report::text;

/// The stylesheet of the classes, for the page and for separate SVG files.
pub(in crate::report) const STYLE: &str = include_str!("../../../templates/figure.css");
/// The colours that [`STYLE`] uses, for light and dark mode.
pub(in crate::report) const TOKENS: &str = include_str!("../../../templates/tokens.css");

/// The position of the anchor of words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Clone, Debug)]
enum Shape {
    Line { class: String, points: Vec<(f64, f64)> },
    Circle { class: String, at: (f64, f64), radius: f64 },
    Words { class: String, at: (f64, f64), anchor: Anchor, words: String, after: String },
    Image { at: (f64, f64), size: (f64, f64), png: String },
}

/// A picture. The origin is the upper left corner; the position of words is on their baseline.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct Picture {
    pub width: f64,
    pub height: f64,
    /// The title for readers who cannot see the picture.
    pub title: String,
    /// All numbers of the picture as text.
    pub description: String,
    shapes: Vec<Shape>,
}

impl Picture {
    /// An empty picture.
    pub fn new(width: f64, height: f64, title: String) -> Self {
        Self { width, height, title, ..Self::default() }
    }

    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        self.shapes.push(Shape::Line { class: class.into(), points: points.to_vec() });
    }

    pub(super) fn circle(&mut self, class: &str, at: (f64, f64), radius: f64) {
        self.shapes.push(Shape::Circle { class: class.into(), at, radius });
    }

    /// Adds an image: a PNG in base64. It is left out in LaTeX.
    pub(super) fn image(&mut self, at: (f64, f64), size: (f64, f64), png: &str) {
        self.shapes.push(Shape::Image { at, size, png: png.into() });
    }

    pub(super) fn words(&mut self, class: &str, at: (f64, f64), anchor: Anchor, words: &str) {
        let (words, after) = (words.to_string(), String::new());
        self.shapes.push(Shape::Words { class: class.into(), at, anchor, words, after });
    }

    /// Adds a heading, followed by less prominent words.
    pub(super) fn heading(&mut self, at: (f64, f64), words: &str, after: &str) {
        let (words, after) = (words.to_string(), after.to_string());
        self.shapes.push(Shape::Words { class: "tt".into(), at, anchor: Anchor::Start, words, after });
    }

    /// Combines several pictures into one, `in_row` of them in each row.
    pub fn grid(title: &str, pictures: &[Self], in_row: usize) -> Self {
        let (width, height) =
            pictures.iter().fold((0.0_f64, 0.0_f64), |(w, h), of| (w.max(of.width), h.max(of.height)));
        let columns = in_row.min(pictures.len()).max(1);
        let mut all = Self::new(width * columns as f64, height * pictures.len().div_ceil(columns) as f64, title.into());
        all.description =
            pictures.iter().map(|of| format!("{}. {}", of.title, of.description)).collect::<Vec<_>>().join(" ");
        for (i, picture) in pictures.iter().enumerate() {
            let by = ((i % columns) as f64 * width, (i / columns) as f64 * height);
            all.shapes.extend(picture.shapes.iter().map(|shape| shape.moved(by)));
        }
        all
    }

    /// The picture as an SVG element of a page that has the stylesheet. `id` makes its ids unique on the page.
    pub fn inline(&self, id: &str) -> String {
        let id = text::file_stem(id);
        self.svg(&format!("class=\"fig\" viewBox=\"0 0 {} {}\"", number(self.width), number(self.height)), &id, "")
    }

    /// The picture as an SVG file that includes its stylesheet.
    pub fn file(&self) -> String {
        let size = [self.width, self.height].map(number);
        let attributes = format!(
            "xmlns=\"http://www.w3.org/2000/svg\" class=\"fig\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\"",
            w = size[0],
            h = size[1]
        );
        let page = format!("<style>{TOKENS}{STYLE}</style><rect width=\"100%\" height=\"100%\" fill=\"var(--bg)\"/>");
        self.svg(&attributes, "figure", &page) + "\n"
    }

    fn svg(&self, attributes: &str, id: &str, page: &str) -> String {
        let shapes: String = self.shapes.iter().map(Shape::svg).collect();
        format!(
            "<svg {attributes} role=\"img\" aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title>\
             <desc id=\"{id}-d\">{}</desc>{page}{shapes}</svg>",
            text::xml(&self.title),
            text::xml(&self.description),
        )
    }

    /// The picture as TikZ for LaTeX; its units are points.
    pub fn tikz(&self) -> String {
        let shapes: String = self.shapes.iter().map(Shape::tikz).collect();
        format!(
            "\\begin{{tikzpicture}}[x=1pt,y=-1pt,every node/.style={{inner sep=0pt,font=\\scriptsize}}]\n\
             \\useasboundingbox (0,0) rectangle ({},{});\n{shapes}\\end{{tikzpicture}}",
            number(self.width),
            number(self.height),
        )
    }
}

impl Shape {
    fn moved(&self, (dx, dy): (f64, f64)) -> Self {
        let by = |(x, y): (f64, f64)| (x + dx, y + dy);
        match self.clone() {
            Self::Line { class, points } => Self::Line { class, points: points.into_iter().map(by).collect() },
            Self::Circle { class, at, radius } => Self::Circle { class, at: by(at), radius },
            Self::Words { class, at, anchor, words, after } => Self::Words { class, at: by(at), anchor, words, after },
            Self::Image { at, size, png } => Self::Image { at: by(at), size, png },
        }
    }

    fn svg(&self) -> String {
        match self {
            Self::Line { class, points } => {
                let points: Vec<String> =
                    points.iter().map(|(x, y)| format!("{} {}", number(*x), number(*y))).collect();
                format!("<path class=\"{class}\" d=\"M{}\"/>", points.join("L"))
            }
            Self::Circle { class, at: (x, y), radius } => {
                let [x, y, r] = [*x, *y, *radius].map(number);
                format!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\"/>")
            }
            Self::Image { at: (x, y), size: (width, height), png } => {
                let [x, y, width, height] = [*x, *y, *width, *height].map(number);
                format!(
                    "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                     href=\"data:image/png;base64,{}\"/>",
                    text::xml(png)
                )
            }
            Self::Words { class, at: (x, y), anchor, words, after } => {
                let anchor = match anchor {
                    Anchor::Start => "",
                    Anchor::Middle => " text-anchor=\"middle\"",
                    Anchor::End => " text-anchor=\"end\"",
                };
                let after = match after.as_str() {
                    "" => String::new(),
                    after => format!("<tspan class=\"ts\" dx=\"8\">{}</tspan>", text::xml(after)),
                };
                let [x, y] = [*x, *y].map(number);
                format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}>{}{after}</text>", text::xml(words))
            }
        }
    }

    fn tikz(&self) -> String {
        let at = |(x, y): &(f64, f64)| format!("({},{})", number(*x), number(*y));
        match self {
            Self::Image { .. } => String::new(),
            Self::Line { class, points } => {
                let points: Vec<String> = points.iter().map(at).collect();
                format!("\\draw[{}] {};\n", tikz_style(class), points.join(" -- "))
            }
            Self::Circle { class, at: center, radius } => {
                format!("\\filldraw[{}] {} circle[radius={}pt];\n", tikz_style(class), at(center), number(*radius))
            }
            Self::Words { class, at: place, anchor, words, after } => {
                let anchor = match anchor {
                    Anchor::Start => "base west",
                    Anchor::Middle => "base",
                    Anchor::End => "base east",
                };
                let bold = if tikz_style(class) == "bold" { "\\bfseries " } else { "" };
                let after =
                    if after.is_empty() { String::new() } else { format!("~\\mdseries {}", text::latex(after)) };
                format!("\\node[anchor={anchor}] at {} {{{bold}{}{after}}};\n", at(place), text::latex(words))
            }
        }
    }
}

/// The TikZ style of a class. Semantic pairs are filled and solid, augmented pairs open and dashed.
fn tikz_style(class: &str) -> &'static str {
    match class {
        "grid" => "black!15,line width=0.3pt",
        "gap" => "black!40,dotted",
        "ref rnd" => "black!60,dashed,line width=0.5pt",
        "ref pix" => "black!60,dotted,line width=0.6pt",
        "ref more" => "black!60,dash dot,line width=0.5pt",
        "con open" => "densely dotted,line width=0.5pt",
        "con yes" | "con no" => "line width=1.2pt",
        "dot sp" => "fill=black,line width=0.6pt",
        "dot ap" => "fill=white,line width=0.6pt",
        "tt" | "gain yes" | "gain no" => "bold",
        _ => "line width=0.5pt",
    }
}

/// A number with one decimal, which is omitted if it is 0.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_string() } else { text.to_string() }
}

//! Dumbbell plots: for each block of rows, a line from augmented to semantic pairs. Baselines are vertical lines.

use crate::harness::experiment::Column;
use crate::harness::experiment::MetricInfo;
use crate::harness::experiment::Row;
use crate::report::captions;
use crate::report::captions::FLOORS;
use crate::report::captions::UNTRAINED;
use crate::report::captions::baseline_name;
use crate::report::facts::Cell;
use crate::report::facts::Gain;
use crate::report::facts::TableResults;
use crate::report::figures::picture::Anchor;
use crate::report::figures::picture::Picture;
use crate::report::figures::scale::Scale;
use crate::report::figures::scale::extent;
use crate::report::figures::scale::labels;
use crate::report::gains;
use crate::report::gains::AP;
use crate::report::gains::Block;
use crate::report::gains::SP;
use crate::report::text;
use crate::report::words;

/// The sizes of a panel: on a page in pixels, in print in points.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    width: f64,
    left: f64,
    right: f64,
    top: f64,
    row: f64,
    bottom: f64,
    radius: (f64, f64),
    seed: f64,
    /// The width of a letter.
    letter: f64,
    /// Whether verdict marks are shown next to the gains.
    marks: bool,
}

impl Layout {
    pub const PAGE: Self = Self {
        width: 384.0,
        left: 104.0,
        right: 66.0,
        top: 56.0,
        row: 34.0,
        bottom: 30.0,
        radius: (5.6, 3.4),
        seed: 5.8,
        letter: 6.6,
        marks: true,
    };
    /// The layout for print: a panel takes a quarter of a line of 5.5 inches, or more if there are fewer panels.
    pub fn print(panels: usize) -> Self {
        Self {
            width: 396.0 / panels.clamp(2, 4) as f64,
            left: 34.0,
            right: 24.0,
            top: 26.0,
            row: 15.0,
            bottom: 14.0,
            radius: (2.4, 1.5),
            seed: 2.6,
            letter: 3.4,
            marks: false,
        }
    }
}

/// What a panel shows: one metric on one column.
struct Panel<'a> {
    column: &'a Column,
    metric: &'a MetricInfo,
    cells: Vec<&'a Cell>,
}

impl Panel<'_> {
    fn cell(&self, row: &Row) -> Option<&Cell> {
        self.cells.iter().copied().find(|cell| cell.row == *row && cell.mean.is_some())
    }

    fn baselines(&self) -> impl Iterator<Item = (&str, f64)> {
        self.cells
            .iter()
            .filter(|cell| cell.baseline)
            .filter_map(|cell| Some((cell.row.first()?.1.as_str(), cell.mean?)))
    }

    /// The range of the values that the panel must show.
    fn extent(&self, blocks: &[&Block]) -> Option<(f64, f64)> {
        let rows = blocks.iter().flat_map(|block| [AP, SP].into_iter().filter_map(|kind| block.of(kind)));
        let values = rows.filter_map(|row| self.cell(row)).flat_map(|cell| cell.values.iter().copied());
        let (low, high) = extent(values)?;
        extent(
            [low, high]
                .into_iter()
                .chain(self.baselines().filter(|(name, _)| FLOORS.contains(name)).map(|(_, mean)| mean)),
        )
    }
}

/// A panel for each metric in the table and each column that has runs. All panels of a metric span the same number of
/// units, so that lengths are comparable.
pub(super) fn panels(table: &TableResults, blocks: &[&Block], layout: &Layout) -> Vec<Picture> {
    let mut pictures = Vec::new();
    for metric in table.metrics.iter().filter(|metric| metric.id != gains::ASIDE) {
        let of = |column| Panel {
            column,
            metric,
            cells: table.cells.iter().filter(|cell| cell.column == column.id && cell.metric == metric.id).collect(),
        };
        let panels: Vec<(Panel, (f64, f64))> = table
            .columns
            .iter()
            .filter(|column| column.has(&metric.id))
            .filter_map(|column| {
                let panel = of(column);
                let extent = panel.extent(blocks)?;
                Some((panel, extent))
            })
            .collect();
        let span = panels.iter().map(|(_, (low, high))| high - low).fold(0.0, f64::max) * 1.08;
        pictures.extend(panels.iter().map(|(panel, range)| draw(table, panel, blocks, layout, (*range, span))));
    }
    pictures
}

fn draw(
    table: &TableResults,
    panel: &Panel,
    blocks: &[&Block],
    layout: &Layout,
    ((low, high), span): ((f64, f64), f64),
) -> Picture {
    let Layout { width, left, right, top, row, bottom, .. } = *layout;
    let floor = top + blocks.len() as f64 * row;
    let middle = (low + high) / 2.0;
    let scale = Scale::of((middle - span / 2.0, middle + span / 2.0), (left, width - right), 5);
    let metric = &panel.metric.title;
    let title = format!("{}: {metric} from AP to SP", panel.column.title);
    let mut picture = Picture::new(width, floor + bottom, title);
    for (&tick, label) in scale.ticks.iter().zip(labels(&scale.ticks)) {
        picture.line("grid", &[(scale.at(tick), top), (scale.at(tick), floor)]);
        picture.words("tick", (scale.at(tick), floor + bottom * 0.55), Anchor::Middle, &label);
    }
    heading(&mut picture, table, panel, layout);
    let mut said = references(&mut picture, panel, &scale, layout, floor);
    picture.words("tick", (width - if layout.marks { 20.0 } else { 0.0 }, top - 6.0), Anchor::End, "gain");
    let rows: Vec<String> = (0..)
        .zip(blocks)
        .map(|(i, block)| {
            dumbbell(&mut picture, table, panel, block, &scale, (layout, top + (f64::from(i) + 0.5) * row))
        })
        .collect();
    said.splice(0..0, rows);
    picture.description = said.join(" ");
    picture
}

fn heading(picture: &mut Picture, table: &TableResults, panel: &Panel, layout: &Layout) {
    let several = table.metrics.iter().filter(|metric| metric.id != gains::ASIDE).count() > 1;
    let kind = match (&panel.column.stands_for, panel.column.substitute) {
        _ if !layout.marks => String::new(),
        _ if several => panel.metric.title.clone(),
        (Some(theirs), true) => format!("stand-in for {}", captions::paper_set(theirs)),
        _ => String::new(),
    };
    let most = ((layout.width - layout.left / 2.0) / layout.letter) as usize;
    picture.heading((0.0, layout.top * 0.28), &text::shorten(&panel.column.title, most), &kind);
}

/// Draws the baselines as lines with their values: the lowest is named left of its line, the highest right of it.
/// Returns their description for readers who cannot see the picture.
fn references(picture: &mut Picture, panel: &Panel, scale: &Scale, layout: &Layout, floor: f64) -> Vec<String> {
    let mut lines: Vec<(&str, f64)> = panel.baselines().filter(|(_, mean)| scale.has(*mean)).collect();
    lines.sort_by(|a, b| a.1.total_cmp(&b.1));
    let last = lines.len().saturating_sub(1);
    for (i, (name, mean)) in lines.iter().enumerate() {
        let x = scale.at(*mean);
        let class = match *name {
            UNTRAINED => "ref rnd",
            "raw pixels" => "ref pix",
            _ => "ref more",
        };
        picture.line(class, &[(x, layout.top), (x, floor)]);
        let words = if layout.marks {
            format!("{} {}", short_name(name), text::fixed(*mean, 1))
        } else {
            continue;
        };
        let room = words.chars().count() as f64 * layout.letter;
        let (anchor, x) = match (i, i == last) {
            (0, false) => (Anchor::End, (x - 3.0).max(room)),
            (_, true) => (Anchor::Start, (x + 3.0).min(layout.width - 50.0 - room)),
            _ => (Anchor::Middle, x),
        };
        let y = layout.top - if i > 0 && i < last { 20.0 } else { 6.0 };
        picture.words("reft", (x, y), anchor, &words);
    }
    let said = |(name, mean): (&str, f64)| format!("{} {}.", text::capital(baseline_name(name)), text::fixed(mean, 1));
    panel.baselines().map(said).collect()
}

fn short_name(name: &str) -> String {
    text::shorten(if name == UNTRAINED { "untrained" } else { name }, 14)
}

/// Draws one block. Returns its description.
fn dumbbell(
    picture: &mut Picture,
    table: &TableResults,
    panel: &Panel,
    block: &Block,
    scale: &Scale,
    (layout, y): (&Layout, f64),
) -> String {
    let Layout { width, left, radius, seed, .. } = *layout;
    let base = y + if layout.marks { 4.5 } else { 2.2 };
    let label = text::shorten(&block.label, (left / layout.letter) as usize);
    picture.words("lab", (left - radius.0 * 2.0, base), Anchor::End, &label);
    let cells = [AP, SP].map(|kind| block.of(kind).and_then(|row| panel.cell(row)));
    let [Some(ap), Some(sp)] = cells else {
        picture.line("gap", &[(left, y), (width - layout.right, y)]);
        picture.words("nrt", ((left + width - layout.right) / 2.0, base), Anchor::Middle, "not run");
        return format!("{}: not run.", block.label);
    };
    let [Some(from), Some(to)] = [ap, sp].map(|cell| cell.mean) else { return String::new() };
    let is = |gain: &&Gain| {
        gain.plus == sp.row && gain.columns == [panel.column.id.clone()] && gain.metric == panel.metric.id
    };
    let gain = table.gains.iter().find(is);
    let (class, is_claimed) = verdict_class(table, panel, &sp.row, &ap.row, gain);
    picture.line(&format!("con {class}"), &[(scale.at(from), y), (scale.at(to), y)]);
    for (cell, kind, side) in [(ap, "ap", 1.0), (sp, "sp", -1.0)] {
        for value in &cell.values {
            let (x, from) = (scale.at(*value), y + side * (radius.0 + 1.4));
            picture.line(&format!("seed {kind}"), &[(x, from), (x, from + side * seed)]);
        }
    }
    picture.circle("dot ap", (scale.at(from), y), radius.0);
    picture.circle("dot sp", (scale.at(to), y), radius.1);
    let (difference, ci95) = gain.map_or((to - from, None), |gain| (gain.difference, gain.ci95));
    let (change, interval) = text::change(difference, ci95, &panel.metric.unit);
    let edge = width - if layout.marks { 20.0 } else { 0.0 };
    picture.words(&format!("gain {class}"), (edge, base), Anchor::End, &change);
    if layout.marks && is_claimed {
        let mark = match class {
            "yes" => "✓",
            "no" => "✗",
            _ => "?",
        };
        picture.words(&format!("gm {class}"), (width - 2.0, base), Anchor::End, mark);
    }
    let [from, to] = [ap, sp]
        .map(|cell| text::measured(cell.mean.unwrap_or_default(), cell.interval(), &cell.unit, cell.decimals).plain());
    format!("{}: AP {from}, SP {to}, gain {change} {interval}.", block.label).replace(" .", ".")
}

/// The class of the verdict and true if a claim is about this gain, otherwise the class of the side of 0 on which its
/// interval lies and false.
fn verdict_class(
    table: &TableResults,
    panel: &Panel,
    plus: &Row,
    minus: &Row,
    gain: Option<&Gain>,
) -> (&'static str, bool) {
    let claim = table.claims.iter().find(|claim| {
        claim.column == panel.column.id
            && claim.metric == panel.metric.id
            && claim.plus == std::slice::from_ref(plus)
            && claim.minus == std::slice::from_ref(minus)
    });
    match (claim, gain.map_or(0, |gain| gains::ahead(gain.ci95))) {
        (Some(claim), _) if claim.difference.is_some() => (words::class(claim.verdict), true),
        (_, 1) => ("yes", false),
        (_, -1) => ("no", false),
        _ => ("open", false),
    }
}

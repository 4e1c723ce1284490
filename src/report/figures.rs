//! The figures of a table: what each row reached, what its claims came to, and how its loss fell.

use crate::error::Result;
use crate::harness::experiment::Column;
use crate::harness::experiment::Expected;
use crate::harness::experiment::MetricInfo;
use crate::harness::experiment::Row;
use crate::harness::outcome::Curve;
use crate::report::claims::ClaimResult;
use crate::report::plot;
use crate::report::plot::Anchor;
use crate::report::plot::Axis;
use crate::report::plot::Canvas;
use crate::report::results::Cell;
use crate::report::results::TableResults;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::text;
use plotters::style::RGBColor;
use serde::Serialize;

const WIDTH: f64 = 480.0;
const LABEL_SIZE: f64 = 11.5;

const LABEL_STEP: f64 = 14.0;

/// Marks along a line.
const MARKS: usize = 5;

/// The name of a line, where the line ends.
struct EndLabel<'a> {
    x: f64,
    y: f64,
    label: &'a str,
    color: RGBColor,
}

/// A finished picture.
#[derive(Serialize)]
pub(super) struct Figure {
    /// File stem, unique in the report.
    pub name: String,
    pub caption: String,
    pub svg: String,
    /// The name of the curves that it draws.
    pub curve: Option<String>,
}

/// All figures of one table: for each metric one of bars and one of its claims, a line figure per name of curve.
pub(super) fn figures(selection: &Selection, results: &TableResults) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for metric in &results.metrics {
        figures.extend(bars(results, metric)?);
        figures.extend(contrasts(results, metric)?);
    }
    let mut names: Vec<&str> =
        selection.records.iter().flat_map(|r| r.curves.iter().map(|c| c.name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        figures.extend(curves(selection, name)?);
    }
    Ok(figures)
}

/// Horizontal bars, one panel per column: mean, 95 % interval, baselines in grey, the paper's figures as diamonds.
fn bars(table: &TableResults, metric: &MetricInfo) -> Result<Option<Figure>> {
    let cells: Vec<&Cell> = table.cells.iter().filter(|c| c.metric == metric.id && c.mean.is_some()).collect();
    let highest =
        cells.iter().filter_map(|c| comparable_paper(c).into_iter().chain(top(c)).reduce(f64::max)).reduce(f64::max);
    let lowest = cells.iter().filter_map(|c| c.mean).fold(0.0, f64::min);
    let Some(highest) = highest else { return Ok(None) };
    let (left, right, row_height, head) = (132.0, 96.0, 21.0, 34.0);
    let panels: Vec<(&Column, Vec<&Cell>)> = table
        .columns
        .iter()
        .map(|column| (column, cells.iter().copied().filter(|c| c.column == column.id).collect::<Vec<_>>()))
        .filter(|(_, cells)| !cells.is_empty())
        .collect();
    let rows: usize = panels.iter().map(|(_, cells)| cells.len()).sum();
    let height = panels.len() as f64 * head + rows as f64 * row_height + 40.0;
    let axis = Axis::new((lowest, highest), (left, WIDTH - right), 5);
    let name = text::file_stem(&format!("{}-{}", table.id, metric.id));
    let quantity = quantity(metric);
    let title = format!("{}: {quantity}", table.title);
    let has_paper = cells.iter().any(|c| comparable_paper(c).is_some());
    let svg = plot::picture((&name, &title, &describe_bars(&panels)), (WIDTH, height), |canvas| {
        let mut y = 0.0;
        for (column, cells) in &panels {
            let bottom = y + head + cells.len() as f64 * row_height;
            panel_frame(canvas, &axis, column, (y, bottom))?;
            for (i, cell) in cells.iter().enumerate() {
                bar(canvas, &axis, cell, palette(table, &cell.row), y + head + (i as f64 + 0.5) * row_height)?;
            }
            y = bottom;
        }
        for tick in &axis.ticks {
            canvas.text(&axis.label(*tick), (axis.at(*tick), y + 12.0), 10.5, plot::GREY, Anchor::Center)?;
        }
        canvas.text(&quantity, ((left + WIDTH - right) / 2.0, y + 29.0), LABEL_SIZE, plot::INK, Anchor::Center)
    })?;
    let paper = if has_paper { " Diamonds: the paper's figures." } else { "" };
    let caption = format!("{title}. Bars: mean over seeds; whiskers: 95 % t interval; grey: baselines.{paper}");
    Ok(Some(Figure { name, caption, svg, curve: None }))
}

fn panel_frame(canvas: &mut Canvas, axis: &Axis, column: &Column, (top, bottom): (f64, f64)) -> Result<()> {
    let dagger = if column.substitute { " †" } else { "" };
    canvas.text(
        &format!("{}{dagger}", text::shorten(&column.title, 60)),
        (axis.at(axis.ticks[0]), top + 20.0),
        12.0,
        plot::INK,
        Anchor::Left,
    )?;
    for tick in &axis.ticks {
        canvas.line(&[(axis.at(*tick), top + 32.0), (axis.at(*tick), bottom)], plot::RULE, 0.7, 1.0)?;
    }
    Ok(())
}

fn bar(canvas: &mut Canvas, axis: &Axis, cell: &Cell, color: Option<usize>, y: f64) -> Result<()> {
    let Some(mean) = cell.mean else { return Ok(()) };
    let label = text::shorten(&text::label(&cell.row), 21);
    let zero = axis.at(0.0);
    canvas.text(&label, (axis.at(axis.ticks[0]) - 8.0, y), LABEL_SIZE, plot::INK, Anchor::Right)?;
    let fill = color.map_or(plot::BASELINE, plot::series);
    let (a, b) = (zero.min(axis.at(mean)), zero.max(axis.at(mean)));
    canvas.rectangle((a, y - 6.5), (b, y + 6.5), fill, 0.5)?;
    if let Some((low, high)) = cell.ci95 {
        whisker(canvas, (axis.at(low.max(axis.ticks[0])), axis.at(high)), y)?;
    }
    if let Some(paper) = comparable_paper(cell) {
        canvas.diamond((axis.at(paper), y), 4.0)?;
    }
    canvas.text(
        &text::measured(mean, cell.ci95, cell.decimals).plain(),
        (WIDTH - 6.0, y),
        10.5,
        plot::INK,
        Anchor::Right,
    )
}

/// The contrasts of a metric's claims, one below the other about zero: mean difference, 95 % interval, verdict.
fn contrasts(table: &TableResults, metric: &MetricInfo) -> Result<Option<Figure>> {
    let claims: Vec<(&ClaimResult, f64)> =
        table.claims.iter().filter(|c| c.metric == metric.id).filter_map(|c| Some((c, c.difference?))).collect();
    let ends = claims.iter().flat_map(|(claim, difference)| {
        let (low, high) = claim.ci95.unwrap_or((*difference, *difference));
        [low, high, 0.0]
    });
    let Some(range) = extent(ends) else { return Ok(None) };
    let (left, right, row_height) = (24.0, 70.0, 36.0);
    let bottom = claims.len() as f64 * row_height + 6.0;
    let axis = Axis::new(range, (left, WIDTH - right), 6);
    let name = text::file_stem(&format!("{}-{}-claims", table.id, metric.id));
    let unit = text::unit_of_difference(&metric.unit);
    let title = format!("{}: what the claims come to, {}", table.title, with_unit(&metric.title, unit.trim_start()));
    let svg = plot::picture((&name, &title, &describe_contrasts(&claims)), (WIDTH, bottom + 40.0), |canvas| {
        for tick in &axis.ticks {
            let (color, width) = if *tick == 0.0 { (plot::INK, 1.0) } else { (plot::RULE, 0.7) };
            canvas.line(&[(axis.at(*tick), 4.0), (axis.at(*tick), bottom)], color, width, 1.0)?;
            canvas.text(&axis.label(*tick), (axis.at(*tick), bottom + 12.0), 10.5, plot::GREY, Anchor::Center)?;
        }
        for (i, (claim, difference)) in claims.iter().enumerate() {
            contrast(canvas, &axis, claim, *difference, i as f64 * row_height)?;
        }
        let quantity = format!("difference, {}", with_unit(&metric.title, unit.trim_start()));
        canvas.text(&quantity, ((left + WIDTH - right) / 2.0, bottom + 29.0), LABEL_SIZE, plot::INK, Anchor::Center)
    })?;
    let caption = format!(
        "{title}. Circles: mean difference on common seeds; whiskers: 95 % t interval; grey: what counts as none; \
         ✓ reproduced, ✗ not reproduced, ? inconclusive."
    );
    Ok(Some(Figure { name, caption, svg, curve: None }))
}

/// One claim: its text, and below that its interval.
fn contrast(canvas: &mut Canvas, axis: &Axis, claim: &ClaimResult, difference: f64, top: f64) -> Result<()> {
    let (words, y) = (top + 12.0, top + 26.0);
    let (first, last) = (axis.at(axis.ticks[0]), axis.at(axis.ticks[axis.ticks.len() - 1]));
    if let Expected::Within(margin) = claim.expected {
        let inside = |value: f64| axis.at(value).clamp(first, last);
        canvas.rectangle((inside(-margin), y - 6.5), (inside(margin), y + 6.5), plot::RULE, 1.0)?;
    }
    // The lines of the ticks would strike the words through.
    canvas.rectangle((0.0, words - 7.0), (WIDTH, words + 7.0), plot::PAPER, 1.0)?;
    canvas.text(text::verdict(claim.verdict).2, (8.0, words), LABEL_SIZE, plot::INK, Anchor::Center)?;
    canvas.text(&text::shorten(&claim.text, 84), (20.0, words), 10.5, plot::INK, Anchor::Left)?;
    if let Some((low, high)) = claim.ci95 {
        whisker(canvas, (axis.at(low), axis.at(high)), y)?;
    }
    canvas.circle((axis.at(difference), y), 4.0, plot::INK)?;
    let value = text::signed(difference, if claim.unit.is_empty() { 2 } else { 1 });
    canvas.text(&value, (WIDTH - 6.0, y), 10.5, plot::INK, Anchor::Right)
}

/// A horizontal interval with its ends marked.
fn whisker(canvas: &mut Canvas, (low, high): (f64, f64), y: f64) -> Result<()> {
    canvas.line(&[(low, y), (high, y)], plot::INK, 1.2, 1.0)?;
    for x in [low, high] {
        canvas.line(&[(x, y - 3.5), (x, y + 3.5)], plot::INK, 1.2, 1.0)?;
    }
    Ok(())
}

/// Curves of one name: a thin line per seed, a thick one for their mean, each row named at its end.
fn curves(selection: &Selection, name: &str) -> Result<Option<Figure>> {
    let rows: Vec<(usize, String, Vec<&Curve>)> = select::rows(selection.table)
        .enumerate()
        .map(|(i, (row, _))| (i, text::label(row), seeds_curves(selection, row, name)))
        .filter(|(_, _, curves)| !curves.is_empty())
        .collect();
    let points = || rows.iter().flat_map(|(_, _, curves)| curves.iter().flat_map(|c| finite(c)));
    let Some(first) = rows.first().map(|(_, _, curves)| curves[0]) else { return Ok(None) };
    let (Some(x), Some(y)) = (extent(points().map(|p| p.0)), extent(points().map(|p| p.1))) else { return Ok(None) };
    let height = 300.0;
    let (x, y) = (Axis::new(x, (46.0, WIDTH - 124.0), 6), Axis::new(y, (height - 42.0, 34.0), 5));
    let stem = text::file_stem(&format!("{}-{name}", selection.table.id));
    let title = format!("{}: {} against {}", selection.table.title, first.y_title, first.x_title);
    let svg = plot::picture((&stem, &title, &describe_curves(&rows)), (WIDTH, height), |canvas| {
        axes(canvas, &x, &y, first)?;
        let mut ends = Vec::new();
        for (i, label, curves) in &rows {
            let color = plot::series(*i);
            for curve in curves {
                canvas.line(&placed(&finite(curve), &x, &y), color, 0.8, 0.4)?;
            }
            let mean = finite(&mean(curves));
            canvas.line(&placed(&mean, &x, &y), color, 2.2, 1.0)?;
            for point in spread(&placed(&mean, &x, &y)) {
                canvas.mark(*i, point, 3.6)?;
            }
            if let Some((last_x, last_y)) = mean.last() {
                ends.push(EndLabel { x: x.at(*last_x), y: y.at(*last_y), label, color });
            }
        }
        end_labels(canvas, height - 42.0, ends)
    })?;
    let caption = format!("{title}. Thick: mean over seeds; thin: each seed.");
    Ok(Some(Figure { name: stem, caption, svg, curve: Some(name.to_string()) }))
}

/// One curve per seed: runs on different columns share their pretraining, so the first column's curve is enough.
fn seeds_curves<'a>(selection: &Selection<'a>, row: &Row, name: &str) -> Vec<&'a Curve> {
    let mut curves: Vec<(u64, &Curve)> = Vec::new();
    for record in selection.records.iter().filter(|r| r.row == *row) {
        if let Some(curve) = record.curves.iter().find(|c| c.name == name && !c.y.is_empty())
            && !curves.iter().any(|(seed, _)| *seed == record.seed)
        {
            curves.push((record.seed, curve));
        }
    }
    curves.sort_by_key(|(seed, _)| *seed);
    curves.into_iter().map(|(_, curve)| curve).collect()
}

/// The mean where all seeds have a value at the same x; a seed that stopped early ends it.
fn mean(curves: &[&Curve]) -> Curve {
    let first = curves[0];
    let shared = first.x.iter().enumerate().take_while(|(i, x)| curves.iter().all(|c| c.x.get(*i) == Some(x)));
    let (x, y) = shared
        .map(|(i, x)| {
            (*x, curves.iter().map(|c| c.y.get(i).copied().unwrap_or(f64::NAN)).sum::<f64>() / curves.len() as f64)
        })
        .unzip();
    Curve { x, y, ..first.clone() }
}

fn axes(canvas: &mut Canvas, x: &Axis, y: &Axis, titles: &Curve) -> Result<()> {
    let (left, right) = (x.at(x.ticks[0]), x.at(x.ticks[x.ticks.len() - 1]));
    let bottom = y.at(y.ticks[0]);
    for tick in &y.ticks {
        canvas.line(&[(left, y.at(*tick)), (right, y.at(*tick))], plot::RULE, 0.7, 1.0)?;
        canvas.text(&y.label(*tick), (left - 7.0, y.at(*tick)), 10.5, plot::GREY, Anchor::Right)?;
    }
    canvas.line(&[(left, bottom), (right, bottom)], plot::INK, 1.0, 1.0)?;
    for tick in &x.ticks {
        canvas.text(&x.label(*tick), (x.at(*tick), bottom + 13.0), 10.5, plot::GREY, Anchor::Center)?;
    }
    canvas.text(&titles.x_title, ((left + right) / 2.0, bottom + 30.0), LABEL_SIZE, plot::INK, Anchor::Center)?;
    canvas.text(&titles.y_title, (8.0, 14.0), LABEL_SIZE, plot::INK, Anchor::Left)
}

/// Names the lines at their ends, pushed apart where they would overlap and back up where they would leave the picture.
fn end_labels(canvas: &mut Canvas, lowest: f64, mut ends: Vec<EndLabel>) -> Result<()> {
    ends.sort_by(|a, b| a.y.total_cmp(&b.y));
    let mut free = f64::MIN;
    for end in &mut ends {
        end.y = end.y.max(free);
        free = end.y + LABEL_STEP;
    }
    let mut free = lowest;
    for end in ends.iter_mut().rev() {
        end.y = end.y.min(free);
        free = end.y - LABEL_STEP;
    }
    for end in ends {
        canvas.text(&text::shorten(end.label, 18), (end.x + 7.0, end.y), LABEL_SIZE, end.color, Anchor::Left)?;
    }
    Ok(())
}

fn finite(curve: &Curve) -> Vec<(f64, f64)> {
    curve.x.iter().copied().zip(curve.y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

fn placed(points: &[(f64, f64)], x: &Axis, y: &Axis) -> Vec<(f64, f64)> {
    points.iter().map(|(a, b)| (x.at(*a), y.at(*b))).collect()
}

/// A few of the points, evenly chosen, the first and the last among them.
fn spread(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let last = points.len().saturating_sub(1);
    let mut chosen: Vec<usize> = (0..MARKS).map(|i| i * last / (MARKS - 1)).collect();
    chosen.dedup();
    chosen.into_iter().filter_map(|i| points.get(i).copied()).collect()
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, v| Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// The paper's figure where it may stand beside ours: not next to a stand-in's.
fn comparable_paper(cell: &Cell) -> Option<f64> {
    cell.paper.filter(|_| !cell.substitute)
}

fn top(cell: &Cell) -> Option<f64> {
    cell.ci95.map(|(_, high)| high).or(cell.mean)
}

fn palette(table: &TableResults, row: &Row) -> Option<usize> {
    let mut rows: Vec<&Row> = Vec::new();
    for cell in table.cells.iter().filter(|c| !c.baseline) {
        if !rows.contains(&&cell.row) {
            rows.push(&cell.row);
        }
    }
    rows.iter().position(|r| *r == row)
}

fn quantity(metric: &MetricInfo) -> String {
    with_unit(&metric.title, &metric.unit)
}

fn with_unit(title: &str, unit: &str) -> String {
    if unit.is_empty() { title.to_string() } else { format!("{title}, {unit}") }
}

fn describe_contrasts(claims: &[(&ClaimResult, f64)]) -> String {
    let claim = |(claim, difference): &(&ClaimResult, f64)| {
        let unit = text::unit_of_difference(&claim.unit);
        let verdict = text::verdict(claim.verdict).0.to_lowercase();
        format!("{}: {}, {verdict}.", claim.text, text::difference(*difference, claim.ci95, &unit))
    };
    claims.iter().map(claim).collect::<Vec<_>>().join(" ")
}

fn describe_bars(panels: &[(&Column, Vec<&Cell>)]) -> String {
    let panel = |(column, cells): &(&Column, Vec<&Cell>)| {
        let values: Vec<String> = cells
            .iter()
            .filter_map(|c| {
                Some(format!("{} {}", text::label(&c.row), text::measured(c.mean?, c.ci95, c.decimals).plain()))
            })
            .collect();
        format!("{}: {}.", column.title, values.join("; "))
    };
    panels.iter().map(panel).collect::<Vec<_>>().join(" ")
}

fn describe_curves(rows: &[(usize, String, Vec<&Curve>)]) -> String {
    let row = |(_, label, curves): &(usize, String, Vec<&Curve>)| {
        let mean = finite(&mean(curves));
        match (mean.first(), mean.last()) {
            (Some(first), Some(last)) => {
                format!(
                    "{label}: from {} to {} over {} seeds.",
                    text::fixed(first.1, 2),
                    text::fixed(last.1, 2),
                    curves.len()
                )
            }
            _ => format!("{label}: no common points."),
        }
    };
    rows.iter().map(row).collect::<Vec<_>>().join(" ")
}

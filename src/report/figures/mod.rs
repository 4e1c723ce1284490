//! The figures of a table: the results of its rows, and their training curves.

mod chart;
mod courses;
mod dumbbell;
pub(super) mod picture;
mod scale;
mod scenes;
mod steps;

use crate::harness::experiment::Row;
use crate::report::curves;
use crate::report::facts::TableResults;
use crate::report::gains;
use crate::report::gains::Block;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::text;
use dumbbell::Layout;
use picture::Picture;
use serde::Serialize;

/// The prefixes of the names of the curves that the page shows.
const SHOWN: [&str; 4] = ["linear accuracy on", PRECISION, "pretraining loss", curves::RANK];
/// The prefix of the names of precision-recall curves, which are not over the course of a training.
const PRECISION: &str = "precision at";

/// A finished figure.
#[derive(Serialize)]
pub(super) struct Figure {
    /// File stem, unique in the report.
    pub name: String,
    pub caption: String,
    /// Each panel as an SVG element for a page.
    pub panels: Vec<String>,
    /// Whether the panels are small, three in a row.
    pub small: bool,
    /// All panels as one SVG file.
    #[serde(skip)]
    pub file: String,
    /// All panels as TikZ for LaTeX; empty if there is no such version.
    #[serde(skip)]
    pub tikz: String,
    /// Whether there is a version for LaTeX.
    pub latex: bool,
}

/// The results of the rows: lines if the table has ordered steps, otherwise dumbbells. `None` without runs of these.
pub(super) fn reached(selection: &Selection, results: &TableResults) -> Option<Figure> {
    let all = gains::blocks(selection.table);
    let blocks: Vec<&Block> = all.iter().filter(|block| !block.beyond && block.gain().is_some()).collect();
    match &selection.table.axis {
        Some(axis) => {
            let caption = format!("{}, by {}. Whiskers: 95 % confidence interval.", results.title, axis.title);
            figure(&results.id, caption, steps::panels(results, axis), None)
        }
        None => dumbbells(&results.id, results, &blocks),
    }
}

/// The dumbbells of our additions to a table of the paper.
pub(super) fn beyond(selection: &Selection, results: &TableResults) -> Option<Figure> {
    let all = gains::blocks(selection.table);
    let blocks: Vec<&Block> = all.iter().filter(|block| block.beyond && block.gain().is_some()).collect();
    dumbbells(&format!("{}-beyond", results.id), results, &blocks)
}

fn dumbbells(name: &str, results: &TableResults, blocks: &[&Block]) -> Option<Figure> {
    let measured = |row: &Row| results.cells.iter().any(|cell| cell.row == *row && cell.mean.is_some());
    if !blocks.iter().filter_map(|block| block.gain()).any(|(sp, ap)| measured(sp) && measured(ap)) {
        return None;
    }
    let panels = dumbbell::panels(results, blocks, &Layout::PAGE);
    let printed = dumbbell::panels(results, blocks, &Layout::print(panels.len()));
    let caption = "Ring: AP. Dot: SP. Ticks: single seeds, AP below, SP above. Thick line: decided; dotted: open. \
                   Dashed line: untrained encoder; dotted line: raw pixels. All panels of a metric span the same \
                   number of units.";
    figure(name, caption.to_string(), panels, Some(printed))
}

/// The test images of each row whose runs have some.
pub(super) fn scenes(selection: &Selection) -> Vec<Figure> {
    let of_row = |(row, _): (&Row, bool)| {
        let record = selection.records.iter().find(|record| record.row == *row && !record.scenes.is_empty())?;
        let caption = format!(
            "{}, seed {}: test images evenly spaced in the order of the set. Solid: right; dashed: wrong; dotted: missed. \
             Detections with a score of at least 0.5.",
            text::name(row),
            record.seed
        );
        let stem = format!("{}-{}-scenes", selection.table.id, text::name(row));
        let figure = figure(&stem, caption, scenes::panels(&record.scenes), None)?;
        Some(Figure { small: true, ..figure })
    };
    select::rows(selection.table).filter_map(of_row).collect()
}

/// The training curves of each block: the figures that the page shows, and the figures that are only written as files.
pub(super) fn courses(selection: &Selection, results: &TableResults) -> (Vec<Figure>, Vec<Figure>) {
    let all = gains::blocks(selection.table);
    let blocks: Vec<&Block> = all.iter().collect();
    let is_shown = |name: &str| SHOWN.iter().position(|shown| name.starts_with(shown));
    let mut names = curves::names(selection);
    names.sort_by_key(|name| is_shown(name).unwrap_or(SHOWN.len()));
    let of = |name: &str| {
        let stem = format!("{}-{name}", results.id);
        let course = if name.starts_with(PRECISION) { ", by recall" } else { " during training" };
        let caption = format!("{}{course}. Thick: mean over seeds; thin: each seed.", text::capital(name));
        let figure = figure(&stem, caption, courses::panels(selection, &blocks, name), None)?;
        Some((is_shown(name).is_some(), Figure { small: true, ..figure }))
    };
    let (shown, others): (Vec<_>, Vec<_>) = names.into_iter().filter_map(of).partition(|(shown, _)| *shown);
    let figures = |of: Vec<(bool, Figure)>| of.into_iter().map(|(_, figure)| figure).collect();
    (figures(shown), figures(others))
}

fn figure(name: &str, caption: String, panels: Vec<Picture>, printed: Option<Vec<Picture>>) -> Option<Figure> {
    if panels.is_empty() {
        return None;
    }
    let name = text::file_stem(name);
    let inline = (1..).zip(&panels).map(|(i, panel): (usize, _)| panel.inline(&format!("{name}-{i}"))).collect();
    let in_row = if panels.len() > 4 { 3 } else { 2 };
    let file = Picture::grid(&caption, &panels, in_row).file();
    let tikz = printed.map_or_else(String::new, |printed| Picture::grid(&caption, &printed, 4).tikz());
    Some(Figure { name, caption, panels: inline, small: false, file, latex: !tikz.is_empty(), tikz })
}

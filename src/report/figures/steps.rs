//! Lines over a few ordered steps: a line for each series of rows, with the 95 % confidence intervals as whiskers.

use crate::harness::experiment::Axis;
use crate::harness::experiment::Column;
use crate::harness::experiment::MetricInfo;
use crate::harness::experiment::Row;
use crate::harness::experiment::Scale as Spacing;
use crate::report::captions::UNTRAINED;
use crate::report::facts::Cell;
use crate::report::facts::TableResults;
use crate::report::figures::chart::Chart;
use crate::report::figures::chart::Span;
use crate::report::figures::chart::label_rules;
use crate::report::figures::picture::Anchor;
use crate::report::figures::picture::Picture;
use crate::report::figures::scale::apart;
use crate::report::figures::scale::extent;
use crate::report::figures::scale::rounded;
use crate::report::gains;
use crate::report::text;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 92.0;
const TOP: f64 = 36.0;
const FLOOR: f64 = 238.0;
/// The height of a line of text.
const LINE: f64 = 15.0;

/// Rows that differ only in their step.
struct Series<'a> {
    label: String,
    class: &'static str,
    points: Vec<(f64, &'a Cell)>,
}

/// A panel for each column that has runs on several steps. It shows the column's first metric.
pub(super) fn panels(table: &TableResults, axis: &Axis) -> Vec<Picture> {
    let of_column = |column: &Column| {
        let metric = table.metrics.iter().find(|metric| column.has(&metric.id))?;
        let series = series(table, axis, column, metric);
        series.iter().any(|series| series.points.len() > 1).then(|| draw(table, axis, column, metric, &series))
    };
    table.columns.iter().filter_map(of_column).collect()
}

fn series<'a>(table: &'a TableResults, axis: &Axis, column: &Column, metric: &MetricInfo) -> Vec<Series<'a>> {
    let mut all: Vec<(Row, Series)> = Vec::new();
    for cell in table.cells.iter().filter(|cell| cell.column == column.id && cell.metric == metric.id && !cell.baseline)
    {
        let step = cell.row.iter().find(|(key, _)| *key == axis.label);
        let Some((_, label)) = step.filter(|_| cell.mean.is_some()) else { continue };
        let Some(step) = axis.steps.iter().find(|step| step.label == *label) else { continue };
        let key: Row = cell.row.iter().filter(|(key, _)| *key != axis.label).cloned().collect();
        match all.iter_mut().find(|(of, _)| *of == key) {
            Some((_, series)) => series.points.push((step.at, cell)),
            None => {
                let points = vec![(step.at, cell)];
                let class = match gains::pairs(&key) {
                    gains::AP => "ap",
                    gains::SP => "sp",
                    _ => "other",
                };
                all.push((key, Series { label: String::new(), class, points }));
            }
        }
    }
    let keys: Vec<Row> = all.iter().map(|(key, _)| key.clone()).collect();
    let own = |key: &Row| -> Row {
        let shared = |label: &(String, String)| keys.len() > 1 && keys.iter().all(|other| other.contains(label));
        key.iter().filter(|label| !shared(label)).cloned().collect()
    };
    let named = |(key, mut series): (Row, Series<'a>)| {
        series.label = text::label(&own(&key));
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        series
    };
    all.into_iter().map(named).collect()
}

fn draw(table: &TableResults, axis: &Axis, column: &Column, metric: &MetricInfo, series: &[Series]) -> Picture {
    // If each step has its own untrained encoder, no line is drawn across all steps.
    let untrained = table.cells.iter().find(|cell| {
        cell.baseline
            && cell.column == column.id
            && cell.metric == metric.id
            && cell.row.iter().any(|(_, v)| v == UNTRAINED)
            && cell.row.iter().all(|(key, _)| *key != axis.label)
    });
    let untrained = untrained.and_then(|cell| cell.mean);
    let ends = series.iter().flat_map(|series| &series.points).flat_map(|(_, cell)| {
        let (low, high) = cell.ci95.or(cell.mean.map(|mean| (mean, mean))).unwrap_or_default();
        [low, high]
    });
    let y = rounded(extent(ends.chain(untrained)).unwrap_or_default(), 6);
    let place = |at: f64| if axis.scale == Spacing::Log { at.max(f64::MIN_POSITIVE).log10() } else { at };
    let range = extent(axis.steps.iter().map(|step| place(step.at))).unwrap_or_default();
    let unit = if metric.unit.is_empty() { String::new() } else { format!(", {}", metric.unit) };
    let title = format!("{}: {}{unit} by {}", column.title, metric.title, axis.title);
    let mut picture = Picture::new(WIDTH, HEIGHT, title);
    let x = Span::with_room(range, (LEFT, WIDTH - RIGHT), (22.0, 14.0));
    let chart = Chart::on(&mut picture, x, Span::new(y, (FLOOR, TOP)));
    let rules = chart.rules(6);
    let floor = untrained.map(|mean| {
        chart.across("ref rnd", mean);
        (mean, chart.place((range.0, mean)).1)
    });
    let ends: Vec<_> = series.iter().filter_map(|series| Some((series, lines(&chart, series, place)?))).collect();
    let below: Vec<f64> = axis.steps.iter().map(|step| chart.place((place(step.at), y.0)).0).collect();
    drop(chart);
    picture.heading((0.0, 15.0), &text::shorten(&column.title, 40), &format!("{}{unit}", metric.title));
    label_rules(&mut picture, &rules, LEFT - 8.0);
    steps(&mut picture, axis, &below);
    if let Some((mean, y)) = floor {
        picture.words("reft", (LEFT + 4.0, y - 5.0), Anchor::Start, &format!("untrained {}", text::fixed(mean, 1)));
    }
    names(&mut picture, &ends);
    picture.description = describe(axis, series, untrained);
    picture
}

/// Draws the labels of the steps below the lines: the names of categories, on two lines if they are long; otherwise
/// numbers, with the title of the axis.
fn steps(picture: &mut Picture, axis: &Axis, places: &[f64]) {
    for (step, x) in axis.steps.iter().zip(places) {
        let label = if axis.scale == Spacing::Categories { step.label.clone() } else { format!("{}", step.at) };
        for (line, words) in (1..).zip(wrapped(&label)) {
            picture.words("tick", (*x, FLOOR + 4.0 + LINE * f64::from(line)), Anchor::Middle, &words);
        }
    }
    if axis.scale != Spacing::Categories {
        picture.words("tick", ((LEFT + WIDTH - RIGHT) / 2.0, FLOOR + 44.0), Anchor::Middle, &axis.title);
    }
}

/// Splits a long label into two lines.
fn wrapped(label: &str) -> Vec<String> {
    let label = text::shorten(label, 28);
    if label.chars().count() <= 11 {
        return vec![label];
    }
    let middle = label.len() / 2;
    let space = label.match_indices(' ').min_by_key(|(at, _)| at.abs_diff(middle)).map(|(at, _)| at);
    space.map_or_else(|| vec![label.clone()], |at| vec![label[..at].to_string(), label[at + 1..].to_string()])
}

/// Draws the line of a series with its whiskers and dots. Returns the position of its end in the picture.
fn lines(chart: &Chart, series: &Series, x: impl Fn(f64) -> f64) -> Option<(f64, f64)> {
    let class = series.class;
    let points: Vec<(f64, f64)> = series.points.iter().filter_map(|(at, cell)| Some((x(*at), cell.mean?))).collect();
    if points.len() > 1 {
        chart.line(&format!("ln {class}"), &points);
    }
    for (at, cell) in &series.points {
        if let Some((low, high)) = cell.ci95 {
            chart.line(&format!("wh {class}"), &[(x(*at), low), (x(*at), high)]);
        }
    }
    points.iter().for_each(|&at| chart.dot(&format!("dot {class}"), at, 4.2));
    points.last().map(|&end| chart.place(end))
}

/// Draws the name of each line at its end.
fn names(picture: &mut Picture, ends: &[(&Series, (f64, f64))]) {
    let mut places: Vec<f64> = ends.iter().map(|(_, (_, y))| *y).collect();
    apart(&mut places, LINE, (TOP, FLOOR));
    for ((series, (x, _)), y) in ends.iter().zip(places) {
        let class = format!("dl {}", series.class);
        picture.words(&class, (x + 9.0, y + 4.0), Anchor::Start, &text::shorten(&series.label, 13));
    }
}

fn describe(axis: &Axis, series: &[Series], untrained: Option<f64>) -> String {
    let name = |at: f64| axis.steps.iter().find(|step| step.at == at).map_or("", |step| step.label.as_str());
    let of = |series: &Series| {
        let value = |cell: &Cell| {
            text::measured(cell.mean.unwrap_or_default(), cell.interval(), &cell.unit, cell.decimals).plain()
        };
        let points: Vec<String> =
            series.points.iter().map(|(at, cell)| format!("{} {}", name(*at), value(cell))).collect();
        format!("{}: {}.", series.label, points.join(", "))
    };
    let mut said: Vec<String> = series.iter().map(of).collect();
    said.extend(untrained.map(|mean| format!("Untrained encoder {}.", text::fixed(mean, 1))));
    said.join(" ")
}

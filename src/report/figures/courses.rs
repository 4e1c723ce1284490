//! Training curves: for each block, a small panel with a line for each of its rows.

use crate::harness::outcome::Curve;
use crate::report::curves;
use crate::report::figures::chart::Chart;
use crate::report::figures::chart::Span;
use crate::report::figures::chart::label_rules;
use crate::report::figures::picture::Anchor;
use crate::report::figures::picture::Picture;
use crate::report::figures::scale::apart;
use crate::report::figures::scale::extent;
use crate::report::figures::scale::labels;
use crate::report::figures::scale::rounded;
use crate::report::figures::scale::ticks;
use crate::report::gains;
use crate::report::gains::Block;
use crate::report::select::Selection;
use crate::report::text;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 64.0;
const TOP: f64 = 34.0;
const FLOOR: f64 = 150.0;

/// The curves of a row's seeds.
struct Line<'a> {
    label: String,
    class: &'static str,
    seeds: Vec<&'a Curve>,
}

/// A panel for each block that recorded curves of this name, all on one scale.
pub(super) fn panels(selection: &Selection, blocks: &[&Block], name: &str) -> Vec<Picture> {
    let of_block = |block: &Block| -> Vec<Line> {
        let rows = block.rows.iter().map(|row| {
            let (label, class) = match gains::pairs(row) {
                gains::AP => ("AP".to_string(), "ap"),
                gains::SP => ("SP".to_string(), "sp"),
                other => (other.to_string(), "other"),
            };
            Line { label, class, seeds: curves::of_seeds(selection, row, name) }
        });
        rows.filter(|line| !line.seeds.is_empty()).collect()
    };
    let all: Vec<(&str, Vec<Line>)> = blocks
        .iter()
        .map(|block| (block.label.as_str(), of_block(block)))
        .filter(|(_, lines)| !lines.is_empty())
        .collect();
    let points =
        || all.iter().flat_map(|(_, lines)| lines).flat_map(|line| &line.seeds).flat_map(|c| curves::finite(c));
    let (Some(x), Some(y)) = (extent(points().map(|p| p.0)), extent(points().map(|p| p.1))) else { return Vec::new() };
    all.iter().map(|(label, lines)| draw(label, lines, x, rounded(y, 3))).collect()
}

fn draw(label: &str, lines: &[Line], x: (f64, f64), y: (f64, f64)) -> Picture {
    let titles = lines[0].seeds[0];
    let mut picture = Picture::new(WIDTH, HEIGHT, format!("{label}: {} by {}", titles.y_title, titles.x_title));
    let chart = Chart::on(&mut picture, Span::new(x, (LEFT, WIDTH - RIGHT)), Span::new(y, (FLOOR, TOP)));
    let rules = chart.rules(3);
    let mut ends = Vec::new();
    for line in lines {
        for seed in &line.seeds {
            chart.line(&format!("thin {}", line.class), &curves::finite(seed));
        }
        let mean = curves::mean(&line.seeds);
        if mean.len() > 1 {
            chart.line(&format!("ln {}", line.class), &mean);
        }
        ends.extend(mean.last().map(|&end| (line, chart.place(end))));
    }
    let steps: Vec<(f64, f64)> = ticks(x, 4).into_iter().map(|tick| (tick, chart.place((tick, y.0)).0)).collect();
    drop(chart);
    picture.heading((0.0, 14.0), &text::shorten(label, 36), "");
    label_rules(&mut picture, &rules, LEFT - 6.0);
    for ((_, x), label) in steps.iter().zip(labels(&steps.iter().map(|step| step.0).collect::<Vec<_>>())) {
        picture.words("tick", (*x, FLOOR + 17.0), Anchor::Middle, &label);
    }
    picture.words("tick", (WIDTH - RIGHT, FLOOR + 33.0), Anchor::End, &text::shorten(&titles.x_title, 24));
    let mut places: Vec<f64> = ends.iter().map(|(_, (_, y))| *y).collect();
    apart(&mut places, 14.0, (TOP, FLOOR));
    for ((line, (x, _)), y) in ends.iter().zip(places) {
        let name = text::shorten(&line.label, 9);
        picture.words(&format!("dl {}", line.class), (x + 6.0, y + 4.0), Anchor::Start, &name);
    }
    picture.description = lines.iter().map(describe).collect::<Vec<_>>().join(" ");
    picture
}

fn describe(line: &Line) -> String {
    let mean = curves::mean(&line.seeds);
    match (mean.first(), mean.last()) {
        (Some(first), Some(last)) => format!(
            "{}: from {} to {}, {}.",
            line.label,
            text::fixed(first.1, 2),
            text::fixed(last.1, 2),
            text::counted(line.seeds.len(), "seed")
        ),
        _ => format!("{}: no common points.", line.label),
    }
}

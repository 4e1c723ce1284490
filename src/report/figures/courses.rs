//! Courses of training: for each block a small panel with a line for each of its rows.

use crate::harness::outcome::Curve;
use crate::report::curves;
use crate::report::figures::picture::Anchor;
use crate::report::figures::picture::Picture;
use crate::report::figures::scale::Scale;
use crate::report::figures::scale::apart;
use crate::report::figures::scale::extent;
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
    let (x, y) = (Scale::of(x, (LEFT, WIDTH - RIGHT), 4), Scale::rounded(y, (FLOOR, TOP), 3));
    all.iter().map(|(label, lines)| draw(label, lines, &x, &y)).collect()
}

fn draw(label: &str, lines: &[Line], x: &Scale, y: &Scale) -> Picture {
    let titles = lines[0].seeds[0];
    let mut picture = Picture::new(WIDTH, HEIGHT, format!("{label}: {} by {}", titles.y_title, titles.x_title));
    picture.heading((0.0, 14.0), &text::shorten(label, 36), "");
    for &tick in &y.ticks {
        picture.line("grid", &[(LEFT, y.at(tick)), (WIDTH - RIGHT, y.at(tick))]);
        picture.words("tick", (LEFT - 6.0, y.at(tick) + 4.0), Anchor::End, &y.label(tick));
    }
    for &tick in &x.ticks {
        picture.words("tick", (x.at(tick), FLOOR + 17.0), Anchor::Middle, &x.label(tick));
    }
    picture.words("tick", (WIDTH - RIGHT, FLOOR + 33.0), Anchor::End, &text::shorten(&titles.x_title, 24));
    let placed =
        |points: &[(f64, f64)]| -> Vec<(f64, f64)> { points.iter().map(|(a, b)| (x.at(*a), y.at(*b))).collect() };
    let mut ends = Vec::new();
    for line in lines {
        for seed in &line.seeds {
            picture.line(&format!("thin {}", line.class), &placed(&curves::finite(seed)));
        }
        let mean = curves::mean(&line.seeds);
        if mean.len() > 1 {
            picture.line(&format!("ln {}", line.class), &placed(&mean));
        }
        ends.extend(placed(&mean).last().map(|&end| (line, end)));
    }
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

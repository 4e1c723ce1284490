//! The text of a figure for readers who do not see it, and the positions of its marks.

use super::*;

/// The centres of the circles of a class in an SVG picture.
fn circles(svg: &str, class: &str) -> Vec<(f64, f64)> {
    let number = |tag: &str, name: &str| -> f64 {
        let from = tag.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        tag[from..].split('"').next().unwrap().parse().unwrap()
    };
    let tags = svg.split("<circle").skip(1).filter(|tag| tag.contains(&format!("class=\"{class}\"")));
    tags.map(|tag| (number(tag, "cx"), number(tag, "cy"))).collect()
}

#[test]
fn a_dumbbell_has_a_ring_and_a_dot_for_each_method_and_says_its_numbers() {
    let (files, _) = sample();
    let svg = &files["figures/transfer.svg"];
    let (rings, dots) = (circles(svg, "dot ap"), circles(svg, "dot sp"));
    assert_eq!((rings.len(), dots.len()), (3, 3), "a panel for each set");
    for (ring, dot) in rings.iter().zip(&dots) {
        assert_eq!(ring.1, dot.1, "on one line");
        assert!(dot.0 > ring.0, "SP is ahead");
    }
    // All panels span the same number of points, so equal gains have equal lengths.
    let lengths: Vec<f64> = rings.iter().zip(&dots).map(|(ring, dot)| dot.0 - ring.0).collect();
    assert!(lengths.iter().all(|length| (length - lengths[0]).abs() < 0.3), "{lengths:?}");
    for said in [
        "SimCLR: AP 57.4 ± 1.7, SP 67.8 ± 1.7, gain +10.3 [+7.2, +13.5].",
        "Untrained encoder 48.0.",
        "Raw pixels 38.8.",
    ] {
        assert!(svg.contains(said), "{said}: {svg}");
    }
    assert!(svg.contains("prefers-color-scheme:dark"), "a file has its own colours");
    assert!(!files["report.html"].contains("xmlns"), "the page defines the colours once");
    // The second claim states a larger gain than was measured.
    assert_eq!((svg.matches("\"con yes\"").count(), svg.matches("\"con no\"").count()), (2, 1));
}

#[test]
fn the_same_figure_is_there_for_latex() {
    let tikz = &sample().0["figures/transfer.tex"];
    assert_eq!(tikz.matches("\\filldraw[").count(), 6);
    assert!(
        tikz.starts_with("\\begin{tikzpicture}") && tikz.contains("{SimCLR}") && tikz.contains("$+$10.3")
            || tikz.contains("+10.3"),
        "{tikz}"
    );
}

#[test]
fn curves_have_a_panel_for_each_method_and_a_line_for_each_kind_of_pairs() {
    let all: Vec<Record> = records()
        .into_iter()
        .map(|mut record| {
            record.curves.iter_mut().for_each(|curve| curve.name = "linear accuracy on synth-10, %".into());
            record
        })
        .collect();
    let (files, _) = rendered(table(), all.clone(), &all);
    let page = part(&files["report.html"], "<summary>Training curves", "</details>");
    assert_eq!((page.matches("\"ln ap\"").count(), page.matches("\"ln sp\"").count()), (1, 1), "{page}");
    assert_eq!(page.matches("\"thin ap\"").count(), 3, "a thin line for each seed");
    assert!(page.contains("Linear accuracy on synth-10, % during training."), "{page}");
}

#[test]
fn a_rank_that_falls_is_told() {
    let mut all = records();
    for record in all.iter_mut().filter(|record| record.row == simclr("SP")) {
        let curve = json!({"name": "effective rank of features", "x_title": "epoch", "y_title": "rank", "x": [1.0, 2.0], "y": [40.0, 20.0]});
        record.curves.push(serde_json::from_value(curve).unwrap());
    }
    let of = results(&input(table(), all.clone(), &all));
    let [health] = &of.tables[0].health[..] else { panic!("{:?}", of.tables[0].health) };
    assert_eq!((health.rank_first, health.rank_last, health.fell), (40.0, 20.0, true));
    let said = "The effective rank of features fell in training, a sign of collapse: SimCLR (SP) from 40.0 to 20.0.";
    assert!(rendered(table(), all.clone(), &all).0["report.md"].contains(said));
}

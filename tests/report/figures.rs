//! What a figure says to a reader who does not see it, and where it draws what it claims.

use super::*;

/// The places of the circles of an SVG picture, in units of the picture.
fn circles(svg: &str) -> Vec<(f64, f64)> {
    let number = |tag: &str, name: &str| -> f64 {
        let from = tag.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        tag[from..].split('"').next().unwrap().parse::<f64>().unwrap() / 10.0
    };
    svg.split("<circle").skip(1).map(|tag| (number(tag, "cx"), number(tag, "cy"))).collect()
}

#[test]
fn claims_are_drawn_about_zero_with_their_verdicts() {
    let (files, _) = sample();
    let svg = &files["figures/transfer-top1-claims.svg"];
    let description =
        svg.split("<desc id=\"transfer-top1-claims-desc\">").nth(1).unwrap().split("</desc>").next().unwrap();
    insta::assert_snapshot!(description, @"SimCLR learns better features from SP than from AP on CIFAR-10: +10.3 points, 95 % interval +7.2 to +13.5, reproduced. SimCLR learns better features from SP than from AP on STL-10: +10.3 points, 95 % interval +7.2 to +13.5, not reproduced.");
    let [first, second] = circles(svg)[..] else { panic!("{svg}") };
    // Two equal differences, one below the other, right of zero: the axis runs from 0 to 15 on 24 to 410.
    assert_eq!(first.0, second.0);
    assert!(first.1 < second.1);
    assert!((first.0 - (24.0 + 10.33 / 15.0 * 386.0)).abs() < 1.0, "{first:?}");
    assert!(!files.contains_key("figures/transfer-knn-claims.svg"), "nothing is claimed of k-NN");
}

#[test]
fn what_counts_as_none_is_shaded() {
    let mut table = table();
    table.claims[0].expected = Expected::Within(2.0);
    let all = records();
    let (files, _) = rendered(table, all.clone(), &all);
    let shaded = |svg: &str| svg.matches("fill=\"#DCDAD4\"").count();
    assert_eq!(shaded(&files["figures/transfer-top1-claims.svg"]), 1);
    assert_eq!(shaded(&sample().0["figures/transfer-top1-claims.svg"]), 0);
}

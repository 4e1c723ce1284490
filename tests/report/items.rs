//! Which test items were right: the format in records, and the statistical tests over items in reports.

use sempair::harness::outcome::Hits;

use super::*;

/// A run of one seed that is right on the first `right` of 100 items, except for the first `wrong`.
fn with_hits(row: &Row, wrong: usize, right: usize) -> Record {
    let hits = (0..100).map(|i| i >= wrong && i < right).collect();
    let mut record = record(row, "synth-10", 0);
    record.metrics.insert("top1".into(), (right - wrong) as f64);
    record.hits.insert("top1".into(), hits);
    record
}

#[test]
fn one_seed_has_wilsons_interval_and_mcnemars_test_over_its_items() {
    // SP is right on items 10 to 79, AP on items 0 to 49: on 30 items only SP is right, on 10 only AP.
    let records = vec![with_hits(&simclr("SP"), 10, 80), with_hits(&simclr("AP"), 0, 50)];
    let results = results(&input(table(), records.clone(), &records));
    let cell = results.tables[0].cells.iter().find(|cell| cell.row == simclr("SP") && cell.metric == "top1").unwrap();
    let [(low, high)] = cell.wilson95[..] else { panic!("{:?}", cell.wilson95) };
    // stats.binomtest(70, 100).proportion_ci(0.95, method="wilson") and stats.binomtest(30, 40).pvalue; SciPy 1.17
    assert!((low - 60.415145366653334).abs() < 1e-9 && (high - 78.10511470506725).abs() < 1e-9, "{low} {high}");
    let [test] = &results.tables[0].claims[0].mcnemar[..] else { panic!("one seed") };
    assert_eq!((test.seed, test.plus_only, test.minus_only), (0, 30, 10));
    assert!((test.p - 0.0022214337732293643).abs() < 1e-9, "{}", test.p);
    let (files, _) = rendered(table(), records.clone(), &records);
    assert!(
        files["report.md"].contains("| SimCLR | synth-10 † | ? open | \\+20.0 |  | \\+0.8 |"),
        "{}",
        files["report.md"]
    );
    assert!(files["report.md"].contains(" | 0.002 |\n"), "McNemar's p: {}", files["report.md"]);
    assert!(files["report.md"].contains("| 70.0 \\[60.4, 78.1\\] |"), "{}", files["report.md"]);
    assert!(files["report.md"].contains("the interval is Wilson's score interval over the test images"));
}

#[test]
fn which_items_were_right_is_written_in_few_letters() {
    let hits = |bits: &str| bits.bytes().map(|bit| bit == b'1').collect::<Hits>();
    for (bits, text) in [("", "0:"), ("1", "1:8"), ("10110", "5:b0"), ("101101", "6:b4"), ("000000000", "9:000")] {
        assert_eq!(String::from(hits(bits)), text);
        assert_eq!(serde_json::from_value::<Hits>(text.into()).unwrap(), hits(bits));
        assert_eq!((hits(bits).items(), hits(bits).right()), (bits.len(), bits.matches('1').count()));
    }
    assert_eq!(hits("110011").only_here(&hits("101010")), Some(2));
    assert_eq!(hits("11").only_here(&hits("101")), None);
    for wrong in
        ["", "5:b", "5:b4", "4:g", "4:A", "-1:", "b", "4:\u{e9}", "99999999999999999999:0", "18446744073709551615:"]
    {
        assert!(serde_json::from_value::<Hits>(wrong.into()).is_err(), "{wrong}");
    }
}

//! The text of a report about claims and what they are based on: shared measurements, baselines, parts of a set.

use sempair::report::stats::Verdict;

use super::*;

/// The report of these tables, each with its own copy of the runs.
fn markdown(tables: Vec<Table>, change: impl Fn(&mut Record)) -> String {
    let mut records = records();
    records.iter_mut().for_each(change);
    let mut all = input(tables[0].clone(), records.clone(), &records);
    all.tables = tables.into_iter().map(|table| (table, all.tables[0].1.clone())).collect();
    let dir = tempfile::tempdir().unwrap();
    render(&all, dir.path()).unwrap();
    std::fs::read_to_string(dir.path().join("report.md")).unwrap()
}

#[test]
fn sums_count_a_shared_measurement_once_and_the_papers_apart() {
    let mut other = Table { id: "samples".into(), in_paper: false, ..table() };
    other.claims.iter_mut().for_each(|claim| claim.in_paper = false);
    let report = markdown(vec![table(), other], |_| ());
    assert!(report.contains("\nThe paper's claims make 2 comparisons: 1 as claimed, 1 opposite.\n"), "{report}");
    assert_eq!(report.matches(" The same measurement as in transfer.").count(), 2);
    assert!(report.contains("Not measured in the paper:"), "{report}");
}

#[test]
fn rows_below_a_baseline_are_counted() {
    let report = markdown(vec![table()], |record| {
        if record.row == baseline("raw pixels") && record.column != "synth-stl" {
            record.metrics.insert("top1".into(), 62.0);
        }
    });
    // AP and SP on three sets: on synth-10 only SP is above raw pixels, on synth-100 neither, on synth-stl both.
    let said = "counted by set, all 6 are above an untrained encoder and 3 of 6 are above raw pixels.";
    assert!(report.contains(said), "{report}");
}

#[test]
fn a_row_below_the_untrained_encoder_is_marked_and_names_what_is_above_it() {
    let change = |record: &mut Record| {
        if record.row == simclr("AP") && record.column == "synth-10" {
            record.metrics.insert("top1".into(), 40.0);
        }
    };
    assert_eq!(markdown(vec![table()], change).matches("40.0 ▾ ± 0.0").count(), 1);
    let mut records = records();
    records.iter_mut().for_each(change);
    let of = results(&input(table(), records.clone(), &records));
    let below: Vec<&str> = of.tables[0].cells.iter().flat_map(|cell| &cell.below).map(String::as_str).collect();
    assert_eq!(below, ["random initialisation"]);
}

#[test]
fn practically_no_difference_has_a_bound() {
    let mut within = table();
    within.claims[0].expected = Expected::Within(20.0);
    let report = markdown(vec![within], |_| ());
    assert!(report.contains("; a difference of up to 20 counts as none"), "{report}");
}

#[test]
fn a_part_of_the_papers_set_is_called_a_part() {
    let mut real = table();
    real.columns[0].substitute = false;
    let report = markdown(vec![real], |record| {
        record.data[0].name = format!("{}/test", record.column);
        record.data[0].description = "10,000 of 50,000 images".into();
    });
    assert_eq!(report.matches("2. synth-10 here: 10,000 of 50,000 images.").count(), 1);
    assert!(!report.contains("synth-100 here"), "a stand-in is already marked as one");
}

#[test]
fn the_papers_set_keeps_its_figure_and_other_pairs_are_no_reproduction() {
    let mut real = table();
    (real.substitute, real.columns[0].substitute) = (true, false);
    let report = markdown(vec![real.clone()], |_| ());
    assert!(report.contains("| SimCLR | synth-10 | ✓ as claimed |"), "{report}");
    // SP on the paper's own set: ours, the paper's, the difference.
    assert!(report.contains("| **67.8** ± 1.7 | *83.60* | −15.8 |"), "{report}");
    let of = results(&input(real, records(), &records()));
    assert!(of.tables[0].claims.iter().all(|claim| claim.substitute && !claim.own_setting));
    assert!(of.tables[0].cells.iter().all(|cell| cell.substitute == (cell.column != "synth-10")));
}

#[test]
fn how_settings_were_chosen_is_told_as_recorded() {
    let report = markdown(vec![table()], |record| {
        let chosen = json!({"key": "how_chosen", "value": "By held-out images", "origin": "defaults.toml:7"});
        let mut settings = record.settings.to_vec();
        settings.push(serde_json::from_value(chosen).unwrap());
        record.settings = settings.into();
    });
    assert!(report.contains("- How the settings were chosen: By held-out images.\n"), "{report}");
}

#[test]
fn a_measurement_is_the_same_only_where_every_value_is() {
    let (records, argued) = (records(), Table { id: "samples".into(), in_paper: false, ..table() });
    let same_as = |first: &Table, second: &Table, shift: f64| {
        let mut moved = records.clone();
        moved.iter_mut().for_each(|record| *record.metrics.get_mut("top1").unwrap() += shift);
        let mut all = input(first.clone(), records.clone(), &records);
        all.tables.push((second.clone(), moved.into_iter().map(Arc::new).collect()));
        let tables = results(&all).tables;
        tables.iter().map(|table| table.claims[0].same_as.clone()).collect::<Vec<_>>()
    };
    assert_eq!(same_as(&table(), &argued, 0.0), [None, Some("transfer".into())]);
    // A measurement of the paper counts as the first, whatever its position.
    assert_eq!(same_as(&argued, &table(), 0.0), [Some("transfer".into()), None]);
    // The differences are equal, the accuracies are not.
    assert_eq!(same_as(&table(), &argued, 1.0), [None, None]);
}

#[test]
fn a_claim_of_what_the_table_lacks_is_not_testable() {
    let (mut table, records) = (table(), records());
    table.claims[0].column = "voc".into();
    table.claims[1].metric = "AP50".into();
    let verdicts = |table: Table| {
        let of = results(&input(table, records.clone(), &records));
        of.tables[0].claims.iter().map(|claim| (claim.verdict, claim.substitute, claim.holm_p)).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(table.clone()), [(Verdict::NotTestable, false, None); 2]);
    // If only rows are missing, more runs could test the claim.
    (table.claims[1].metric, table.claims[1].plus) = ("top1".into(), vec![simclr("neither")]);
    assert_eq!(verdicts(table)[1].0, Verdict::NotRun);
}

//! Clocks that are wrong or are set back: runs keep their order, and none ends before it began.

use chrono::DateTime;
use sempair::harness::clock;
use sempair::harness::ledger::Claimed;
use sempair::harness::record;
use sempair::harness::record::Record;

use super::Project;

#[test]
fn a_run_that_begins_later_is_newer_whatever_the_clock_says() {
    let project = Project::new();
    project.run(false).unwrap();
    let ledger = project.ledger();
    let of = |id: String, key: &str| Record { id, key: key.to_owned(), ..project.records().remove(0) };
    let year = |year: i64| DateTime::from_timestamp(31_557_600 * (year - 1970), 0).unwrap();
    let mut watch = ledger.watch(&project.records());
    let mut ids = Vec::new();
    for (i, at) in [2150, 2026, 2026, 2151, 1999].map(year).into_iter().enumerate() {
        let mut record = of(record::id_at(at), &format!("key {i}"));
        assert!(matches!(watch.claim(&mut record).unwrap(), Claimed::Mine(_)));
        ids.push(record.id);
    }
    assert!(ids.is_sorted(), "{ids:?}");
    // A run of another process comes after all of them, too.
    let mut late = of(record::id_at(year(2000)), "another");
    ledger.watch(&[]).claim(&mut late).unwrap();
    assert!(late.id > ids[4], "{} after {ids:?}", late.id);
}

#[test]
fn a_run_never_ends_before_it_began() {
    assert_eq!(clock::end("2999-01-01T00:00:00.000Z", 1.5), "2999-01-01T00:00:01.500Z");
    assert!(clock::end("2020-01-01T00:00:00.000Z", 1.5).as_str() > "2025");
    assert_eq!(clock::end("no time", 1.0), "no time");
}

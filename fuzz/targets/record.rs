//! Run records: a file of the ledger with these bytes.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sempair::harness::ledger::Ledger;
use sempair::harness::record::Record;
use sempair_fuzz::refused;

fuzz_target!(|bytes: &[u8]| {
    let parsed = std::str::from_utf8(bytes).map(Record::parse);
    match &parsed {
        Ok(Err(error)) => refused(error),
        Ok(Ok(record)) => assert!(!record.short().is_empty() || record.id.is_empty()),
        Err(_) => {}
    }
    let place = tempfile::tempdir().expect("a temporary folder");
    let ledger = Ledger::open(place.path(), place.path().join("locks"));
    fs::write(place.path().join("0193b2c0-0000-7000-8000-000000000000.json"), bytes).expect("a file");
    let (records, problems) = ledger.records().expect("a folder that can be read");
    assert_eq!(records.len() + problems.len(), 1, "a file is a record or a problem: {problems:?}");
});

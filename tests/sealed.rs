//! Records with valid hashes, for tests that create or forge records.

use sempair::harness::canonical;
use serde_json::Value;

/// The text of a record's file, with the hash that the program would write.
pub fn sealed(mut record: Value) -> String {
    let fields = record.as_object_mut().unwrap();
    fields.remove("hash");
    let hash = canonical::key(&record);
    record["hash"] = hash.into();
    let lines: Vec<String> =
        record.as_object().unwrap().iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// The text of an edited record, with its hash updated.
pub fn resealed(text: &str) -> String {
    sealed(serde_json::from_str(text).unwrap())
}

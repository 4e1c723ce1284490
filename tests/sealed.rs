//! Records with right hashes, for tests that make or forge some.

use sempair::harness::canonical;
use serde_json::Value;

/// The text of a record's file, its hash set as the program sets it.
pub fn sealed(mut record: Value) -> String {
    let fields = record.as_object_mut().unwrap();
    fields.remove("hash");
    let hash = canonical::key(&record);
    record["hash"] = hash.into();
    let lines: Vec<String> =
        record.as_object().unwrap().iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// The same of an edited text.
pub fn resealed(text: &str) -> String {
    sealed(serde_json::from_str(text).unwrap())
}

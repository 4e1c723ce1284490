//! One text for one value: JSON with sorted keys and no spaces, and its BLAKE3 hash as a key.

use serde::Serialize;
use serde_json::Value;

/// The JSON text that every equal value has, whatever the order of its keys.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// BLAKE3 of the canonical text, in hexadecimal digits.
///
/// Panics when `value` cannot be JSON (a map whose keys are not strings), which is a mistake in the program.
pub fn key(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).expect("a value with a key has a JSON form");
    blake3::hash(text(&value).as_bytes()).to_hex().to_string()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            // Sorted here, because serde_json keeps the order of insertion when any crate of the build asks for it.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            write_all(entries, out, '{', '}', |(key, value), out| {
                write(&Value::String(key.clone()), out);
                out.push(':');
                write(value, out);
            });
        }
        Value::Array(items) => write_all(items, out, '[', ']', write),
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_all<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut String,
    open: char,
    close: char,
    write: impl Fn(T, &mut String),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(close);
}

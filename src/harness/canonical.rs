//! Canonical JSON, which is equal for equal values: sorted keys and no spaces. Its BLAKE3 hash is used as a key.

use serde_json::Value;

/// Returns the canonical JSON text of a value, which does not depend on the order of its keys.
pub fn text(value: &Value) -> String {
    let mut out = Vec::new();
    write(value, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Returns BLAKE3 of the canonical text, in hexadecimal digits.
pub fn key(value: &Value) -> String {
    let mut out = Vec::new();
    write(value, &mut out);
    blake3::hash(&out).to_hex().to_string()
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            // Sorted here, because serde_json keeps the order of insertion if any crate of the build enables that.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            write_all(entries, out, (b'{', b'}'), |(key, value), out| {
                serde_json::to_writer(&mut *out, key).expect("a text has a JSON form");
                out.push(b':');
                write(value, out);
            });
        }
        Value::Array(items) => write_all(items, out, (b'[', b']'), write),
        scalar => serde_json::to_writer(out, scalar).expect("a scalar has a JSON form"),
    }
}

fn write_all<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    (open, close): (u8, u8),
    write: impl Fn(T, &mut Vec<u8>),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

//! TOML as a flat list of keys with their values, lines and comments.

use serde_json::Value;
use toml_edit::Item;

/// One key with a value that is not a table.
pub struct Leaf {
    /// Such as `pretrain.epochs`.
    pub key: String,
    pub value: Value,
    /// Counted from 1.
    pub line: usize,
    /// The comment lines right above the key.
    pub doc: String,
    /// The comment after the value, on the same line.
    pub remark: String,
}

/// Returns all keys of `text` in order, or the line and the reason if it is not TOML.
pub fn leaves(text: &str) -> Result<Vec<Leaf>, (usize, String)> {
    let source = Source::new(text);
    let document = toml_edit::Document::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| source.line_of(span.start));
        (line, error.message().lines().collect::<Vec<_>>().join(", "))
    })?;
    let mut leaves = Vec::new();
    source.flatten("", document.as_item(), 1, &mut leaves);
    leaves.sort_by_key(|leaf| leaf.line); // dotted keys and reopened tables come out of order
    Ok(leaves)
}

/// Returns `text` as a TOML value, or as a string if it is not one: `3`, `[1, 2]`, `true`, `adamw`.
pub fn value(text: &str) -> Value {
    let parsed = text.trim().parse::<toml_edit::Value>();
    parsed.map_or_else(|_| Value::from(text), |value| json(&value))
}

/// A text and its lines.
struct Source<'a> {
    text: &'a str,
    lines: Vec<&'a str>,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, lines: text.lines().map(str::trim).collect(), starts: [0].into_iter().chain(breaks).collect() }
    }

    /// The line of a byte, counted from 1.
    fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset)
    }

    /// Tables, inline or not, become dotted keys, so that a layer can set one of their keys. An empty table stays a
    /// leaf, so that a misspelt heading is noticed.
    fn flatten(&self, prefix: &str, item: &Item, line: usize, leaves: &mut Vec<Leaf>) {
        match item.as_table_like() {
            Some(table) if prefix.is_empty() || !table.is_empty() => {
                for (name, _) in table.iter() {
                    let (key, item) = table.get_key_value(name).expect("iterated keys exist");
                    let line = key.span().map_or(line, |span| self.line_of(span.start));
                    let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
                    self.flatten(&path, item, line, leaves);
                }
            }
            Some(_) => leaves.push(self.leaf(prefix, Value::Object(serde_json::Map::new()), line, item)),
            None => leaves.push(self.leaf(prefix, json_item(item), line, item)),
        }
    }

    fn leaf(&self, key: &str, value: Value, line: usize, item: &Item) -> Leaf {
        Leaf { key: key.to_owned(), value, line, doc: self.comment_above(line), remark: self.remark(item) }
    }

    fn comment_above(&self, line: usize) -> String {
        let above = self.lines[..line - 1].iter().rev().take_while(|line| line.starts_with('#'));
        let mut comment: Vec<&str> = above.map(|line| line.trim_start_matches('#').trim()).collect();
        comment.reverse();
        comment.join("\n")
    }

    /// The comment after a value, up to the end of the line.
    fn remark(&self, item: &Item) -> String {
        let end = item.as_value().and_then(toml_edit::Value::span).map_or(self.text.len(), |span| span.end);
        let rest = self.text[end..].lines().next().unwrap_or_default().trim();
        rest.strip_prefix('#').unwrap_or_default().trim().to_owned()
    }
}

fn json_item(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => json(value),
        Item::Table(table) => object(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| object(table)).collect(),
    }
}

fn object(table: &dyn toml_edit::TableLike) -> Value {
    table.iter().map(|(key, item)| (key.to_owned(), json_item(item))).collect()
}

fn json(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(string) => Value::from(string.value().as_str()),
        toml_edit::Value::Integer(integer) => Value::from(*integer.value()),
        // JSON has no infinity; as a text it is refused by name, wherever a number is expected.
        toml_edit::Value::Float(float) if !float.value().is_finite() => Value::from(float.value().to_string()),
        toml_edit::Value::Float(float) => Value::from(*float.value()),
        toml_edit::Value::Boolean(boolean) => Value::from(*boolean.value()),
        toml_edit::Value::Datetime(datetime) => Value::from(datetime.value().to_string()),
        toml_edit::Value::Array(array) => array.iter().map(json).collect(),
        toml_edit::Value::InlineTable(table) => object(table),
    }
}

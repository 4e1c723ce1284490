//! Settings in layers, each value with its origin: embedded defaults, a profile, a file, the environment, `--set`.
//! Later layers override earlier ones. The defaults define the keys; any other key is an error with a hint.

use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::harness::toml;
use crate::harness::toml::Leaf;
use figment::Figment;
use figment::error::Actual;
use figment::error::Kind;
use figment::providers::Serialized;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

const SEE_CONFIG: &str = "`sempair config` lists all keys";

/// What a setting decides. The defaults state it in a comment after the value, in the words of [`Role::words`]; a key
/// without such words decides results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Results depend on it, so it is in the keys of the stages that use it.
    #[default]
    Results,
    /// Which rows or columns a table has. Such settings may differ between the runs of one table.
    Rows,
    /// Where files are.
    Place,
    /// How much is run, how it is run, or how it is described: no figure depends on it.
    Nothing,
}

/// The roles of all settings, by key.
#[derive(Clone, Debug, Default)]
pub struct Roles(BTreeMap<String, Role>);

/// The settings of one table: all keys that begin with `name` and a dot.
#[derive(Clone, Copy)]
pub struct Group {
    /// The part of the keys before the first dot: the table's id, such as `transfer`.
    pub name: &'static str,
    /// Checks that the values of the group have the right types.
    pub read: fn(&figment::value::Value) -> Result<(), Box<figment::Error>>,
}

/// The setting of a command-line option, such as `--out`.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The key that the option sets, such as `seeds`.
    pub key: &'static str,
    /// The value of the option, as JSON.
    pub value: serde_json::Value,
    /// The option as it is written on the command line, such as `--seeds`.
    pub option: &'static str,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The layer, such as `defaults`, `profile quick`, `sempair.toml`, `environment`, `command line`.
    pub layer: String,
    /// The place in it: `sempair.toml:12`, `SEMPAIR_SEEDS`, `--set`.
    pub place: Option<String>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    /// Its name with dots, such as `pretrain.epochs`.
    pub key: String,
    /// The value of the last layer that has the key, as JSON.
    pub value: serde_json::Value,
    /// The layer and the place that the value came from.
    pub origin: Origin,
    /// The comment above the key in the defaults.
    pub doc: String,
    /// What the setting decides, as the defaults state after its value.
    pub role: Role,
    /// The values that this one replaced, the nearest first.
    pub shadowed: Vec<Shadowed>,
}

/// A value that a later layer replaced.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shadowed {
    /// The layer and the place that the value came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The value, as JSON.
    pub value: serde_json::Value,
}

/// The settings of a run: as a typed value, and as a list with origins in the order of the defaults.
#[derive(Clone, Debug, Serialize)]
pub struct Resolved<S> {
    /// The merged settings as a typed value.
    pub settings: S,
    /// Every setting with its origin, in the order of the defaults.
    pub values: Vec<Value>,
}

/// The layers, first to last. The first one is the defaults.
#[derive(Default)]
pub struct Layers {
    layers: Vec<Layer>,
    /// The first source that could not be read.
    failed: Option<Error>,
}

#[derive(Default)]
struct Layer {
    entries: Vec<Entry>,
}

struct Entry {
    leaf: Leaf,
    origin: Origin,
    /// The entry as the user wrote it, for messages.
    shown: String,
}

impl Role {
    const ALL: [Self; 4] = [Self::Results, Self::Rows, Self::Place, Self::Nothing];

    /// The words for it in the defaults.
    pub fn words(self) -> &'static str {
        match self {
            Self::Results => "",
            Self::Rows => "chooses rows or columns",
            Self::Place => "a place",
            Self::Nothing => "decides no result",
        }
    }

    fn of_words(words: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.words() == words)
    }
}

impl Roles {
    /// Reads the roles from the text of the defaults. A text that is not TOML gives no roles.
    pub fn of_defaults(text: &str) -> Self {
        let leaves = toml::leaves(text).unwrap_or_default();
        Self(leaves.into_iter().map(|leaf| (leaf.key, Role::of_words(&leaf.remark).unwrap_or_default())).collect())
    }

    /// The role of a key. A key that is not in the defaults, such as one in the record of another version, decided
    /// results; in a group of places it is a place.
    pub fn of(&self, key: &str) -> Role {
        self.0.get(key).copied().unwrap_or_else(|| self.of_unknown(key))
    }

    fn of_unknown(&self, key: &str) -> Role {
        let group = key.split_once('.').map_or(key, |(group, _)| group);
        let in_group = |of: &&String| of.split_once('.').is_some_and(|(name, _)| name == group);
        let mut others = self.0.iter().filter(|(of, _)| in_group(of)).map(|(_, role)| *role).peekable();
        let are_places = others.peek().is_some() && others.all(|role| role == Role::Place);
        if are_places { Role::Place } else { Role::Results }
    }
}

impl Layers {
    /// Makes an empty list of layers; the first layer to add is the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A layer compiled into the program: `defaults` or `profile quick`.
    #[must_use]
    pub fn embedded(self, name: &str, text: &'static str) -> Self {
        let file = match name.split_once(' ') {
            Some((folder, stem)) => format!("{folder}s/{stem}.toml"),
            None => format!("{name}.toml"),
        };
        self.toml(name, &file, text)
    }

    /// A file. A missing file adds no layer, but a link without a target is an error.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        let name = path.display().to_string();
        match files::read_text(path) {
            Ok(text) => self.toml(&name, &name, &text),
            Err(error) if error.io_kind() == Some(ErrorKind::NotFound) && !path.is_symlink() => self,
            Err(error) => {
                self.fail(error);
                self
            }
        }
    }

    /// The process's variables that start with `prefix`: `SEMPAIR_PRETRAIN__EPOCHS=3` sets `pretrain.epochs`. Those
    /// in `reserved` (without the prefix) have another meaning and are not settings.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a layer of the configuration")]
    pub fn env(self, prefix: &str, reserved: &[&str]) -> Self {
        let mut layers = self;
        let mut variables = Vec::new();
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => variables.push((name, value)),
                (Ok(name), Err(value)) if name.starts_with(prefix) => {
                    let what = format!("the environment variable `{name}` is {value:?}, which is not UTF-8");
                    layers.fail(Error::new(what).hint(format!("`unset {name}`")));
                }
                // A variable of another program.
                _ => {}
            }
        }
        layers.variables(prefix, reserved, variables)
    }

    /// [`Layers::env`] on the given variables.
    #[must_use]
    pub fn variables(
        mut self,
        prefix: &str,
        reserved: &[&str],
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut entries: Vec<Entry> = variables
            .into_iter()
            .filter_map(|(name, text)| {
                let rest = name.strip_prefix(prefix).filter(|rest| !rest.is_empty() && !reserved.contains(rest))?;
                Some(self.entry(&rest.to_lowercase().replace("__", "."), &text, "environment", &name, &name))
            })
            .collect();
        entries.sort_by(|a, b| a.shown.cmp(&b.shown));
        self.layers.push(Layer { entries });
        self
    }

    /// Settings from the command line, each `KEY=VALUE`.
    #[must_use]
    pub fn set(mut self, assignments: &[String]) -> Self {
        for assignment in assignments {
            let Some((key, text)) = assignment.split_once('=') else {
                let error = Error::new(format!("`--set {assignment}` has no `=`"));
                self.fail(error.hint("write `--set KEY=VALUE`, such as `--set seeds=5`"));
                continue;
            };
            let shown = format!("--set {assignment}");
            let entry = self.entry(key.trim(), text, "command line", "--set", &shown);
            self.layers.push(Layer { entries: vec![entry] });
        }
        self
    }

    /// Settings from command-line options that stand for one key each. Their values are used as they are, not parsed
    /// as TOML.
    #[must_use]
    pub fn given(mut self, given: &[Given]) -> Self {
        for Given { key, value, option } in given {
            let leaf = Leaf {
                key: (*key).to_owned(),
                value: value.clone(),
                line: 0,
                doc: String::new(),
                remark: String::new(),
            };
            let origin = Origin { layer: "command line".to_owned(), place: Some((*option).to_owned()) };
            self.layers.push(Layer { entries: vec![Entry { leaf, origin, shown: (*option).to_owned() }] });
        }
        self
    }

    /// The settings of a recorded run. Keys that no longer exist are ignored.
    #[must_use]
    pub fn recorded(mut self, settings: impl IntoIterator<Item = (String, serde_json::Value)>) -> Self {
        let known: Vec<(String, serde_json::Value)> = settings
            .into_iter()
            .filter(|(key, _)| self.layers.first().is_some_and(|defaults| defaults.find(key).is_some()))
            .collect();
        let entry = |(key, value)| {
            let origin = Origin { layer: "record".to_owned(), place: None };
            Entry {
                leaf: Leaf { key, value, line: 0, doc: String::new(), remark: String::new() },
                origin,
                shown: "a record".to_owned(),
            }
        };
        self.layers.push(Layer { entries: known.into_iter().map(entry).collect() });
        self
    }

    /// Merges the layers into settings.
    pub fn resolve<S: Serialize + DeserializeOwned>(self) -> Result<Resolved<S>> {
        self.resolve_with(&[])
    }

    /// As [`Layers::resolve`], but also checks the types of groups of keys that are read elsewhere. They are checked
    /// here because the origins of the values are known here.
    pub fn resolve_with<S: Serialize + DeserializeOwned>(self, groups: &[Group]) -> Result<Resolved<S>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (defaults, above) = self.layers.split_first().expect("the first layer is the defaults");
        let known: Vec<&str> = defaults.entries.iter().map(|entry| entry.leaf.key.as_str()).collect();
        for entry in above.iter().flat_map(|layer| &layer.entries) {
            check_known(entry, &known)?;
        }
        let figment = self.layers.iter().fold(Figment::new(), |figment, layer| {
            figment.merge(Serialized::defaults(nested(layer.entries.iter().filter(|entry| !is_heading(entry)))))
        });
        let settings: S = figment.extract().map_err(|error| self.explain(error))?;
        let all: figment::value::Dict = figment.extract().map_err(|error| self.explain(error))?;
        for group in groups {
            let Some(values) = all.get(group.name) else { continue };
            (group.read)(values).map_err(|mut error| {
                error.path.insert(0, group.name.to_owned());
                self.explain(*error)
            })?;
        }
        let values: Vec<Value> = defaults.entries.iter().map(|entry| self.value(entry)).collect();
        values.iter().try_for_each(check_once)?;
        let read = serde_json::to_value(&settings).unwrap_or_default();
        values.iter().try_for_each(|value| check_length(value, &read))?;
        Ok(Resolved { settings, values })
    }

    fn toml(mut self, name: &str, file: &str, text: &str) -> Self {
        match toml::leaves(text) {
            Ok(leaves) => {
                let entry = |leaf: Leaf| {
                    let place = format!("{file}:{}", leaf.line);
                    let origin = Origin { layer: name.to_owned(), place: Some(place.clone()) };
                    Entry { leaf, origin, shown: place }
                };
                self.layers.push(Layer { entries: leaves.into_iter().map(entry).collect() });
            }
            Err((line, why)) => {
                let error = Error::new(format!("`{file}:{line}` is not TOML: {why}"));
                self.fail(error.hint("`sempair config` shows every key and value in TOML"));
            }
        }
        self
    }

    /// An entry from outside a TOML file. If the default is a string, a text without quotes is also a string.
    fn entry(&self, key: &str, text: &str, layer: &str, place: &str, shown: &str) -> Entry {
        let default = self.layers.first().and_then(|defaults| defaults.find(key));
        let value = match (toml::value(text), default) {
            (value, Some(default)) if default.leaf.value.is_string() && !value.is_string() => text.into(),
            (value, _) => value,
        };
        let leaf = Leaf { key: key.to_owned(), value, line: 0, doc: String::new(), remark: String::new() };
        let origin = Origin { layer: layer.to_owned(), place: Some(place.to_owned()) };
        Entry { leaf, origin, shown: shown.to_owned() }
    }

    fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }

    /// A setting with the value and origin of the last layer that has it.
    fn value(&self, default: &Entry) -> Value {
        let key = &default.leaf.key;
        let mut holders = self.layers.iter().rev().filter_map(|layer| layer.find(key));
        let winner = holders.next().unwrap_or(default);
        Value {
            key: key.clone(),
            value: winner.leaf.value.clone(),
            origin: winner.origin.clone(),
            doc: default.leaf.doc.clone(),
            role: Role::of_words(&default.leaf.remark).unwrap_or_default(),
            shadowed: holders.map(Shadowed::of).collect(),
        }
    }

    /// Makes the error for a value of the wrong type or range, with its key and place.
    fn explain(&self, error: figment::Error) -> Error {
        let key = error.path.join(".");
        // The path of a list item ends with its position, after the key of the list.
        let list = error.path.split_last().map_or_else(String::new, |(_, above)| above.join("."));
        let find = |key: &str| self.layers.iter().rev().find_map(|layer| layer.find(key));
        let entry = find(&key).or_else(|| find(&list));
        let place = entry.map(|entry| format!(", in `{}`", entry.shown)).unwrap_or_default();
        let group = entry.map_or(key.as_str(), |entry| entry.leaf.key.as_str());
        let see = format!("`sempair config {group}` shows what it means and what it is by default");
        match &error.kind {
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
                let (found, expected) = (found_words(found), expected_words(expected));
                Error::new(format!("`{key}` is {found}, but {expected} is expected{place}")).hint(see)
            }
            Kind::InvalidLength(found, expected) => {
                Error::new(format!("`{key}` has {found} values, but {expected} are expected{place}")).hint(see)
            }
            Kind::UnknownVariant(found, variants) => {
                let all = variants.iter().map(|variant| format!("`{variant}`")).collect::<Vec<_>>().join(", ");
                let error = Error::new(format!("`{key}` is `{found}`, but one of {all} is expected{place}"));
                match nearest(found, variants) {
                    Some(variant) => error.hint(format!("did you mean `{variant}`?")),
                    None => error.hint(see),
                }
            }
            kind => Error::new(format!("`{key}`: {kind}{place}")).hint(see),
        }
    }
}

impl Shadowed {
    fn of(entry: &Entry) -> Self {
        Self { origin: entry.origin.clone(), value: entry.leaf.value.clone() }
    }
}

impl Layer {
    fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.leaf.key == key)
    }
}

/// The names that could be in the place of a wrong one, if this is an error of [`Layers::resolve`] about a name.
pub fn possible_names(error: &Error) -> Vec<String> {
    let list = error.what().split_once("but one of ").and_then(|(_, rest)| rest.split_once(" is expected"));
    let names = list.map_or("", |(list, _)| list).split(", ").map(|name| name.trim_matches('`').to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// Returns what is wrong with the text of the defaults: keys without a comment, keys that no field of the settings
/// reads, and comments after a value that are not a role. Empty if nothing is wrong.
pub fn complaints<S: Serialize + DeserializeOwned>(defaults: &'static str) -> Result<Vec<String>> {
    let resolved = Layers::new().embedded("defaults", defaults).resolve::<S>()?;
    let settings = serde_json::to_value(&resolved.settings).unwrap_or_default();
    let unknown = |leaf: &Leaf| Role::of_words(&leaf.remark).is_none();
    let leaves = toml::leaves(defaults).unwrap_or_default();
    let roles = leaves.into_iter().filter(unknown).map(|leaf| format!("`{}` has no role `{}`", leaf.key, leaf.remark));
    let mut complaints: Vec<String> = roles.collect();
    for value in &resolved.values {
        if value.doc.is_empty() {
            complaints.push(format!("`{}` has no comment above it", value.key));
        }
        if settings.pointer(&format!("/{}", value.key.replace('.', "/"))).is_none() {
            complaints.push(format!("`{}` is read by no field", value.key));
        }
    }
    Ok(complaints)
}

/// Whether it is an empty table: its heading sets nothing.
fn is_heading(entry: &Entry) -> bool {
    entry.leaf.value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Refuses a row or column that is listed twice: its claims would count twice.
fn check_once(value: &Value) -> Result<()> {
    let Some(items) = value.value.as_array().filter(|_| value.role == Role::Rows) else { return Ok(()) };
    match items.iter().enumerate().find(|(i, item)| items[..*i].contains(item)) {
        Some((_, twice)) => {
            let place = value.origin.place.as_ref().unwrap_or(&value.origin.layer);
            Err(Error::new(format!("`{}` has {twice} twice, in `{place}`", value.key))
                .hint(format!("name each once; `sempair config {}` shows the value", value.key)))
        }
        None => Ok(()),
    }
}

fn check_known(entry: &Entry, known: &[&str]) -> Result<()> {
    let key = entry.leaf.key.as_str();
    if known.contains(&key) {
        return Ok(());
    }
    let members: Vec<&str> = known.iter().copied().filter(|k| k.starts_with(&format!("{key}."))).collect();
    if let Some(first) = members.first() {
        if is_heading(entry) {
            return Ok(());
        }
        let error = Error::new(format!("`{key}` is a group of keys and has no value of its own, in `{}`", entry.shown));
        return Err(error.hint(format!("set one of its keys, such as `{first}`; {SEE_CONFIG}")));
    }
    let error = Error::new(format!("unknown key `{key}` in `{}`", entry.shown));
    let owner = known.iter().copied().find(|k| k.ends_with(&format!(".{key}")));
    Err(match owner.or_else(|| nearest(key, known)) {
        Some(near) => error.hint(format!("did you mean `{near}`? {SEE_CONFIG}")),
        None => error.hint(SEE_CONFIG),
    })
}

/// Flat keys as nested maps.
fn nested<'a>(entries: impl Iterator<Item = &'a Entry>) -> serde_json::Value {
    let mut root = serde_json::Value::Object(serde_json::Map::new());
    for entry in entries {
        let mut at = &mut root;
        for part in entry.leaf.key.split('.') {
            if !at.is_object() {
                *at = serde_json::Value::Object(serde_json::Map::new());
            }
            at = &mut at[part];
        }
        *at = entry.leaf.value.clone();
    }
    root
}

/// The name nearest to `wrong`, if it is near enough.
fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let (distance, name) = names.iter().map(|name| (strsim::levenshtein(&wrong, &name.to_lowercase()), *name)).min()?;
    (distance <= (wrong.chars().count() / 3).max(1)).then_some(name)
}

/// Rust's type names in plain words.
fn expected_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 up".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a sequence" => "a list such as `[1, 2]`".to_owned(),
        other if other.starts_with("enum ") => "a name".to_owned(),
        other => other.to_owned(),
    }
}

/// The value that was found, in plain words.
fn found_words(found: &Actual) -> String {
    match found {
        Actual::Bool(value) => format!("`{value}`"),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Str(text) if ["inf", "-inf", "NaN"].contains(&text.as_str()) => text.clone(),
        Actual::Str(text) => format!("the text `{text}`"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a group of keys".to_owned(),
        other => other.to_string(),
    }
}

/// Refuses a list that does not have its fixed length: items beyond it would be recorded but not used.
fn check_length(value: &Value, read: &serde_json::Value) -> Result<()> {
    let read = read.pointer(&format!("/{}", value.key.replace('.', "/"))).and_then(serde_json::Value::as_array);
    match (value.value.as_array(), read) {
        (Some(given), Some(read)) if given.len() != read.len() => {
            let (given, read) = (given.len(), read.len());
            let place = value.origin.place.as_ref().unwrap_or(&value.origin.layer);
            Err(Error::new(format!("`{}` has {given} values, but {read} are expected, in `{place}`", value.key))
                .hint(format!("`sempair config {}` shows what it means", value.key)))
        }
        _ => Ok(()),
    }
}

//! `config`: prints settings with their origins, or explains one: its meaning, its value, the values that were replaced,
//! and what depends on it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::harness::config::{Origin, Role, Value, possible_names};
use crate::harness::experiment::{Cell, Experiment};
use crate::harness::stage::Stage;
use crate::study::settings::Settings;

use super::{App, ConfigArgs, Ending, setup};

/// The largest width of a setting in `sempair config`; longer settings push their origin to the right.
const WIDEST: usize = 72;

/// The largest number of other values that are tried.
const TRIES: usize = 8;

/// `sempair config`.
pub(super) fn config(app: &App, args: &ConfigArgs, prefix: Option<&str>, json: bool) -> Result<Ending> {
    let resolved = setup::resolve(app, args)?;
    if let Some(value) = resolved.values.iter().find(|value| prefix == Some(&value.key)) {
        return explain(app, args, &resolved.settings, value, json);
    }
    let mut values = resolved.values;
    if let Some(prefix) = prefix {
        values.retain(|value| value.key.starts_with(prefix));
        if values.is_empty() {
            return Err(Error::new(format!("no key starts with `{prefix}`")).hint("`sempair config` lists all keys"));
        }
    }
    if json {
        setup::print_json(&values)?;
        return Ok(Ending::Done);
    }
    let longest = values.iter().map(|value| value.key.len() + value.value.to_string().len()).max().unwrap_or(0) + 3;
    let width = longest.min(WIDEST);
    for value in &values {
        if prefix.is_some() {
            value.doc.lines().for_each(|line| say!("# {line}"));
            if value.role != Role::Results {
                say!("# ({})", value.role.words());
            }
        }
        let line = format!("{} = {}", value.key, value.value);
        say!("{line:width$}  {}", origin(&value.origin));
    }
    Ok(Ending::Done)
}

/// A layer and its place in few words.
fn origin(origin: &Origin) -> String {
    match &origin.place {
        Some(place) if place.starts_with(&origin.layer) => place.clone(),
        Some(place) => format!("{} ({place})", origin.layer),
        None => origin.layer.clone(),
    }
}

/// What would change with another value.
#[derive(Serialize)]
struct Effects {
    /// The other value.
    instead: Json,
    /// The tables whose cells would change.
    tables: Vec<Effect>,
}

/// What would change in a table.
#[derive(Serialize)]
struct Effect {
    table: &'static str,
    /// The cells whose results would be others, or that would not be there.
    changed: usize,
    /// All cells.
    cells: usize,
    /// The stages that would change, although no stage that they need would.
    read_by: BTreeSet<&'static str>,
    /// The other stages that would change: they need the files of these.
    follow: BTreeSet<&'static str>,
}

/// Prints what is known about a setting.
fn explain(app: &App, args: &ConfigArgs, settings: &Settings, value: &Value, json: bool) -> Result<Ending> {
    let asks = [Role::Results, Role::Rows].contains(&value.role);
    let effects = if asks { effects(app, args, settings, value) } else { None };
    if json {
        let mut facts = serde_json::to_value(value).unwrap_or_default();
        facts["effects"] = json!(effects);
        setup::print_json(&[facts])?;
        return Ok(Ending::Done);
    }
    say!("{} = {}", value.key, value.value);
    value.doc.lines().for_each(|line| say!("# {line}"));
    say!("from      {}", origin(&value.origin));
    for (index, other) in value.shadowed.iter().enumerate() {
        let name = if index == 0 { "replaces" } else { "" };
        say!("{name:9} {} from {}", other.value, origin(&other.origin));
    }
    say!("decides   {}", decides(value.role));
    match effects {
        Some(Effects { instead, tables }) if tables.is_empty() => {
            say!("used by   no cell of any table: with {instead}, all would stay the same");
        }
        Some(Effects { instead, tables }) => {
            say!("used by   with {instead}, these cells would change:");
            tables.iter().for_each(print);
        }
        None if asks => say!("used by   not found: no other value is known to be valid"),
        None => {}
    }
    Ok(Ending::Done)
}

fn decides(role: Role) -> &'static str {
    match role {
        Role::Results => "results: it is in the keys of the stages that read it",
        Role::Rows => "which rows or columns a table has",
        Role::Place => "where files are, and no result",
        Role::Nothing => "no result: how much is run, how it is run, or how it is described",
    }
}

fn print(Effect { table, changed, cells, read_by, follow }: &Effect) {
    let names = |of: &BTreeSet<&str>| of.iter().copied().collect::<Vec<_>>().join(", ");
    let stages = match (read_by.is_empty(), follow.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!("; stages: {}", names(follow)),
        (false, true) => format!("; read by {}", names(read_by)),
        (false, false) => format!("; read by {}, followed by {}", names(read_by), names(follow)),
    };
    say!("  {table:13} {changed} of {cells}{stages}");
}

/// What would change with another value: the first that is valid and changes something. `None` if none is valid.
fn effects(app: &App, args: &ConfigArgs, settings: &Settings, value: &Value) -> Option<Effects> {
    let mut first = None;
    for instead in others(app, args, value).into_iter().take(TRIES) {
        let mut args = args.clone();
        args.sets.push(format!("{}={instead}", value.key));
        let Ok(resolved) = setup::resolve(app, &args) else { continue };
        let tables = app.experiments.iter().filter_map(|&table| effect(table, settings, &resolved.settings));
        let effects = Effects { instead, tables: tables.collect() };
        if !effects.tables.is_empty() {
            return Some(effects);
        }
        first.get_or_insert(effects);
    }
    first
}

/// What would change in a table. `None` if nothing would, or if it cannot be filled, as without its data.
fn effect(table: &dyn Experiment<Settings>, now: &Settings, then: &Settings) -> Option<Effect> {
    let (now, then) = (table.cells(now).ok()?, table.cells(then).ok()?);
    let (id, mut changed) = (table.id(), 0);
    let (mut read_by, mut follow) = (BTreeSet::new(), BTreeSet::new());
    for cell in &now {
        let other = then.iter().find(|other| other.is_at(&cell.row, &cell.column, cell.seed));
        if other.is_some_and(|other| other.key(id) == cell.key(id)) {
            continue;
        }
        changed += 1;
        if let Some(other) = other {
            compare(cell, other, &mut read_by, &mut follow);
        }
    }
    let is_new = |cell: &&Cell| !now.iter().any(|other| other.is_at(&cell.row, &cell.column, cell.seed));
    changed += then.iter().filter(is_new).count();
    follow.retain(|stage| !read_by.contains(stage));
    (changed > 0).then_some(Effect { table: id, changed, cells: now.len(), read_by, follow })
}

/// Adds the stages of a cell that differ from those of the same cell with another value.
fn compare(cell: &Cell, other: &Cell, read_by: &mut BTreeSet<&'static str>, follow: &mut BTreeSet<&'static str>) {
    let pairs = cell.stages().zip(other.stages()).filter(|(a, b)| a.name() == b.name() && a.key() != b.key());
    let before = |stage: &Stage| -> Vec<String> {
        stage.description.after.iter().map(|needed| needed.key().to_owned()).collect()
    };
    for (a, b) in pairs {
        if before(a) == before(b) {
            read_by.insert(a.name());
        } else {
            follow.insert(a.name());
        }
    }
}

/// Other values that may be valid: some of the same type, the other names, those of profiles and of replaced layers.
fn others(app: &App, args: &ConfigArgs, value: &Value) -> Vec<Json> {
    let of_profile = |name: &str| {
        let args = ConfigArgs { profile: name.to_owned(), ..setup::without_sets(args) };
        let values = setup::resolve(app, &args).ok()?.values;
        values.into_iter().find(|other| other.key == value.key).map(|other| other.value)
    };
    let wrong = ConfigArgs { sets: vec![format!("{}=\"?\"", value.key)], ..setup::without_sets(args) };
    let names = |error| possible_names(&error).into_iter().map(Json::from).collect();
    let named: Vec<Json> =
        setup::resolve(app, &wrong).err().filter(|_| value.value.is_string()).map_or(Vec::new(), names);
    let mut found: Vec<Json> = near(&value.value).into_iter().chain(named).collect();
    found.extend(value.shadowed.iter().map(|other| other.value.clone()));
    found.extend(app.profiles.iter().filter_map(|profile| of_profile(profile.name)));
    let mut seen = vec![value.value.clone()];
    found.retain(|other| {
        !seen.contains(other) && {
            seen.push(other.clone());
            true
        }
    });
    found
}

/// Values of the same type that are near a value.
fn near(value: &Json) -> Vec<Json> {
    match value {
        Json::Bool(is) => vec![json!(!is)],
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => vec![json!(number.saturating_add(1)), json!(number.saturating_sub(1))],
            (None, Some(number)) if number != 0.0 => vec![json!(number * 0.5), json!(number * 2.0)],
            _ => vec![json!(0.5)],
        },
        Json::Array(items) => {
            let changed = |(index, item): (usize, &Json)| {
                let item = near(item).into_iter().next()?;
                Some(Json::Array([&items[..index], &[item], &items[index + 1..]].concat()))
            };
            let shorter = items.split_last().map(|(_, rest)| Json::Array(rest.to_vec()));
            items.iter().enumerate().filter_map(changed).take(2).chain(shorter).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_same_type_are_tried() {
        assert_eq!(near(&json!(true)), [json!(false)]);
        assert_eq!(near(&json!(3)), [json!(4), json!(2)]);
        assert_eq!(near(&json!(0.5)), [json!(0.25), json!(1.0)]);
        assert_eq!(near(&json!([1, "a"])), [json!([2, "a"]), json!([1])]);
        assert!(near(&json!("a")).is_empty());
    }
}

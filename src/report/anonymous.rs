//! A report for double-blind review: the same input without names of people and machines and without file paths.
//!
//! Each record keeps only the fields listed in [`Names::record`]. Error texts are withheld, since they may quote
//! anything. Paths, addresses and remotes are removed from all other texts. So are the names that records reveal
//! elsewhere: host names, user names in home directories, and author names in front of an address.

use crate::harness::config::Role;
use crate::harness::config::Roles;
use crate::harness::experiment::Axis;
use crate::harness::experiment::Claim;
use crate::harness::experiment::Column;
use crate::harness::experiment::Distance;
use crate::harness::experiment::Family;
use crate::harness::experiment::Note;
use crate::harness::experiment::PaperFigure;
use crate::harness::experiment::Row;
use crate::harness::experiment::Step;
use crate::harness::experiment::Table;
use crate::harness::frozen_plan::FrozenPlan;
use crate::harness::frozen_plan::KnownPlan;
use crate::harness::frozen_plan::PlannedCell;
use crate::harness::frozen_plan::PlannedTable;
use crate::harness::outcome::Curve;
use crate::harness::outcome::DataRef;
use crate::harness::provenance::Build;
use crate::harness::provenance::Compute;
use crate::harness::provenance::Host;
use crate::harness::record::Record;
use crate::harness::record::Setting;
use crate::report::facts::Input;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;

/// The replacement for withheld text.
pub(super) const WITHHELD: &str = "(withheld)";

/// Folders whose subfolders are named after users, as written in JSON.
const HOMES: [&str; 3] = ["/home/", "/Users/", r"\\Users\\"];

/// Words that occur in the place of a name but identify nobody.
const NOBODY: [&str; 4] = ["git", "root", "localhost", "author"];

/// Returns the input of the anonymous report. A pure function, like the report itself: what is withheld depends only on
/// the records.
pub fn anonymous(input: &Input) -> Input {
    let offered = input.tables.iter().flat_map(|(_, runs)| runs);
    let names = Names::of(input.all_records.iter().chain(offered).map(Arc::as_ref));
    let records = |records: &[Arc<Record>]| {
        records.iter().map(|record| names.record(record, &input.roles).into()).collect::<Vec<_>>()
    };
    let ids: HashSet<&str> = input.all_records.iter().map(|record| record.id.as_str()).collect();
    let excluded = |(run, reason): &(String, String)| match ids.contains(run.as_str()) {
        true => (names.text(run), names.text(reason)),
        false => (WITHHELD.to_string(), "a file that is not a readable record".to_string()),
    };
    Input {
        profile: input.profile.clone(),
        description_of_profile: input.description_of_profile.clone(),
        tables: input.tables.iter().map(|(table, runs)| (names.table(table), records(runs))).collect(),
        not_run: input.not_run.iter().map(|table| names.table(table)).collect(),
        excluded: input.excluded.iter().map(excluded).collect(),
        all_records: records(&input.all_records),
        deleted: input.deleted,
        generated: input.generated.clone(),
        anonymous: true,
        roles: input.roles.clone(),
        evaluations: input.evaluations.iter().map(|(set, count)| (names.text(set), *count)).collect(),
        plans: input.plans.iter().map(|known| names.known(known, &input.roles)).collect(),
    }
}

/// The names that records reveal, in lower case.
struct Names(BTreeSet<String>);

impl Names {
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut names = BTreeSet::new();
        for record in records {
            let host = &record.host.hostname;
            names.extend([host.as_str(), host.split('.').next().unwrap_or_default()].map(str::to_string));
            let json = serde_json::to_string(&without_points(record)).unwrap_or_default();
            names.extend(HOMES.iter().flat_map(|home| following(&json, home)));
            names.extend(addresses(&json));
        }
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        Self(names.filter(|name| name.chars().count() > 1 && !NOBODY.contains(&name.as_str())).collect())
    }

    /// Returns the part of a record that is kept. Every field is listed, so that a new field is not kept by accident.
    fn record(&self, record: &Record, roles: &Roles) -> Record {
        let text = |text: &String| self.text(text);
        Record {
            schema: record.schema.clone(),
            id: self.text(&record.id),
            experiment: record.experiment.clone(),
            key: String::new(),
            status: record.status,
            started: self.text(&record.started),
            ended: record.ended.as_ref().map(text),
            seconds: record.seconds,
            error: record.error.as_ref().map(|_| WITHHELD.to_string()),
            title: None,
            profile: record.profile.clone(),
            row: self.row(&record.row),
            column: self.text(&record.column),
            seed: record.seed,
            settings: record.settings.iter().map(|setting| self.setting(setting, roles)).collect(),
            inputs: Value::Null.into(),
            code: BTreeMap::new().into(),
            git: record.git.anonymous(),
            build: self.build(&record.build),
            host: Host {
                cpu: self.text(&record.host.cpu),
                cores: record.host.cores,
                memory_gib: record.host.memory_gib,
                threads: record.host.threads,
                ..Host::default()
            },
            compute: self.compute(&record.compute),
            peak_memory: record.peak_memory,
            threads: record.threads,
            beside: record.beside,
            energy_joules: record.energy_joules,
            args: Vec::new(),
            environment: BTreeMap::new(),
            data: record.data.iter().map(|data| self.data(data)).collect(),
            metrics: record.metrics.clone(),
            curves: record.curves.iter().map(|curve| self.curve(curve)).collect(),
            checkpoint: record.checkpoint.as_ref().map(text),
            predictions: None,
            hits: record.hits.clone(),
            by_category: record.by_category.clone(),
            scenes: record.scenes.clone(),
            facts: Default::default(),
            stages: Vec::new(),
            journal: None,
            superseded_by: None,
            hash: String::new(),
        }
    }

    /// Returns a table with its texts anonymised. They come from the code, but rows, columns and captions may repeat
    /// settings.
    fn table(&self, table: &Table) -> Table {
        let rows = |rows: &[Row]| rows.iter().map(|row| self.row(row)).collect::<Vec<Row>>();
        let column = |column: &Column| Column {
            id: self.text(&column.id),
            title: self.text(&column.title),
            stands_for: column.stands_for.as_ref().map(|theirs| self.text(theirs)),
            ..column.clone()
        };
        let figure = |figure: &PaperFigure| PaperFigure {
            row: self.row(&figure.row),
            column: self.text(&figure.column),
            ..figure.clone()
        };
        let note = |note: &Note| Note {
            text: self.text(&note.text),
            at: note.at.as_ref().map(|(row, column)| (self.row(row), self.text(column))),
        };
        let step = |step: &Step| Step { label: self.text(&step.label), at: step.at };
        let axis = |axis: &Axis| Axis {
            label: self.text(&axis.label),
            title: self.text(&axis.title),
            steps: axis.steps.iter().map(step).collect(),
            scale: axis.scale,
        };
        let distance = |fact: &Distance| Distance {
            what: self.text(&fact.what),
            paper: self.text(&fact.paper),
            here: self.text(&fact.here),
            same: fact.same,
            brief: self.text(&fact.brief),
        };
        Table {
            id: table.id.clone(),
            title: self.text(&table.title),
            caption: self.text(&table.caption),
            setting: self.text(&table.setting),
            rows: rows(&table.rows),
            baselines: rows(&table.baselines),
            in_paper: table.in_paper,
            substitute: table.substitute,
            columns: table.columns.iter().map(column).collect(),
            unasked: table.unasked.iter().map(|id| self.text(id)).collect(),
            metrics: table.metrics.clone(),
            paper: table.paper.iter().map(figure).collect(),
            claims: table.claims.iter().map(|claim| self.claim(claim)).collect(),
            notes: table.notes.iter().map(note).collect(),
            varies: self.text(&table.varies),
            axis: table.axis.as_ref().map(axis),
            distance: table.distance.iter().map(distance).collect(),
        }
    }

    /// Returns the part of a plan that is kept, with the hash of the whole plan. Every field is listed.
    fn known(&self, known: &KnownPlan, roles: &Roles) -> KnownPlan {
        let plan = &known.plan;
        let cell = |cell: &PlannedCell| PlannedCell {
            row: self.row(&cell.row),
            column: self.text(&cell.column),
            keys: cell.keys.clone(),
        };
        let table = |table: &PlannedTable| PlannedTable {
            id: table.id.clone(),
            title: self.text(&table.title),
            cells: table.cells.iter().map(cell).collect(),
            metrics: table.metrics.clone(),
            claims: table.claims.iter().map(|claim| self.claim(claim)).collect(),
        };
        let settings: Vec<Setting> = plan.settings.iter().map(|setting| self.setting(setting, roles)).collect();
        let shown = FrozenPlan {
            schema: plan.schema.clone(),
            id: plan.id.clone(),
            frozen: plan.frozen.clone(),
            profile: plan.profile.clone(),
            note: if plan.note.is_empty() { String::new() } else { WITHHELD.to_owned() },
            tables: plan.tables.iter().map(table).collect(),
            settings_hash: FrozenPlan::hash_of(&settings),
            settings,
            groups: plan.groups.clone(),
            rule: plan.rule.clone(),
            git: plan.git.anonymous(),
            build: self.build(&plan.build),
            compute: self.compute(&plan.compute),
            original: Some(plan.original.clone().unwrap_or_else(|| plan.hash.clone())),
            hash: String::new(),
        };
        KnownPlan { plan: shown, after: known.after.iter().map(|run| self.text(run)).collect() }
    }

    fn build(&self, build: &Build) -> Build {
        Build {
            code: self.text(&build.code),
            rustc: self.text(&build.rustc),
            lock_hash: self.text(&build.lock_hash),
            ..Build::default()
        }
    }

    fn compute(&self, compute: &Compute) -> Compute {
        Compute {
            device: self.text(&compute.device),
            isa: self.text(&compute.isa),
            precision: self.text(&compute.precision),
        }
    }

    fn claim(&self, claim: &Claim) -> Claim {
        let rows = |rows: &[Row]| rows.iter().map(|row| self.row(row)).collect::<Vec<Row>>();
        Claim {
            text: self.text(&claim.text),
            column: self.text(&claim.column),
            plus: rows(&claim.plus),
            minus: rows(&claim.minus),
            case: self.text(&claim.case),
            family: Family {
                id: claim.family.id.clone(),
                title: self.text(&claim.family.title),
                paper: self.text(&claim.family.paper),
            },
            ..claim.clone()
        }
    }

    fn row(&self, row: &Row) -> Row {
        row.iter().map(|(key, value)| (self.text(key), self.text(value))).collect()
    }

    fn setting(&self, setting: &Setting, roles: &Roles) -> Setting {
        let value = if roles.of(&setting.key) == Role::Place { WITHHELD.into() } else { self.value(&setting.value) };
        Setting { key: self.text(&setting.key), value, origin: self.text(&setting.origin), shadowed: Vec::new() }
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => map.iter().map(|(key, item)| (self.text(key), self.value(item))).collect(),
            other => other.clone(),
        }
    }

    fn data(&self, data: &DataRef) -> DataRef {
        DataRef {
            name: self.text(&data.name),
            description: self.text(&data.description),
            hash: self.text(&data.hash),
            images: data.images,
            licence: self.text(&data.licence),
            substitute: data.substitute,
        }
    }

    fn curve(&self, curve: &Curve) -> Curve {
        Curve {
            name: self.text(&curve.name),
            x_title: self.text(&curve.x_title),
            y_title: self.text(&curve.y_title),
            x: curve.x.clone(),
            y: curve.y.clone(),
        }
    }

    /// Removes paths, addresses and names from a text. Equal texts stay equal, so that records still match their table.
    fn text(&self, text: &str) -> String {
        if is_path(text.trim()) {
            return WITHHELD.to_string();
        }
        let words = text.split_inclusive(is_break).map(|word| {
            let end = word.trim_end_matches(is_break).len();
            let (word, rest) = word.split_at(end);
            [if is_place(word) { WITHHELD } else { word }, rest].concat()
        });
        self.0.iter().fold(words.collect(), |text, name| replace_word(text, name))
    }
}

/// Returns a record without the points of its curves, which contain no names and would only cost time.
fn without_points(record: &Record) -> Record {
    let mut record = record.clone();
    for curve in &mut record.curves {
        (curve.x, curve.y) = Default::default();
    }
    record
}

/// Whether a text starts with an absolute path or a path in a home directory. Names in the path may contain spaces.
fn is_path(text: &str) -> bool {
    let name = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '.');
    let from_home = |rest: &str| rest.starts_with(['/', '\\']) || name(rest) && rest.contains('/');
    text.strip_prefix('/').is_some_and(name) || text.strip_prefix('~').is_some_and(from_home) || text.starts_with(r"\\")
}

/// Whether a word is such a path, a path on another host or drive, a remote or an address.
fn is_place(word: &str) -> bool {
    is_path(word) || [":/", r":\", "@"].iter().any(|mark| word.contains(mark))
}

/// Whether a character ends a word. Characters that occur in paths and addresses do not.
fn is_break(c: char) -> bool {
    c.is_whitespace() || "\"'`()[]{}<>,;=|".contains(c)
}

/// The names that follow `home` in JSON text.
fn following<'a>(json: &'a str, home: &'a str) -> impl Iterator<Item = String> + 'a {
    json.match_indices(home).map(move |(at, _)| {
        let rest = &json[at + home.len()..];
        rest.split(|c: char| is_break(c) || "/\\:".contains(c)).next().unwrap_or_default().to_string()
    })
}

/// Both sides of every address in JSON text, and the words of the name before `<address>`.
fn addresses(json: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in json.match_indices('@') {
        let (before, after) = (&json[..at], &json[at + 1..]);
        let ends = |c: char| is_break(c) || "/\\:".contains(c);
        let start = before.rfind(ends).map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
        names.extend([&before[start..], after.split(ends).next().unwrap_or_default()].map(str::to_string));
        if let Some(author) = before[..start].strip_suffix('<') {
            let words =
                author.rsplit(|c: char| c.is_whitespace() || "\"\\:,;=(".contains(c)).skip_while(|w| w.is_empty());
            let named = words.take_while(|word| word.starts_with(|c: char| c.is_alphabetic() && !c.is_lowercase()));
            names.extend(named.map(str::to_string));
        }
    }
    names
}

/// Withholds `name`, given in lower case, in `text` where it is a whole word.
fn replace_word(text: String, name: &str) -> String {
    let low = text.to_ascii_lowercase();
    let is_edge = |next: Option<char>| next.is_none_or(|c| !c.is_alphanumeric());
    let (mut out, mut from) = (String::new(), 0);
    for (at, _) in low.match_indices(name) {
        let end = at + name.len();
        if is_edge(text[..at].chars().next_back()) && is_edge(text[end..].chars().next()) {
            out += &text[from..at];
            out += WITHHELD;
            from = end;
        }
    }
    out + &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_known_names_are_taken_out_and_the_rest_stays() {
        let names = Names(["jdoe", "gpu07", "jane", "doe"].map(str::to_string).into());
        let text = |text: &str| names.text(text);
        assert_eq!(text("cannot read /home/jdoe/a.bin: gone"), "cannot read (withheld) gone");
        assert_eq!(text("/home/jane doe/data"), "(withheld)");
        assert_eq!(
            text("from git@example.org:jdoe/x.git (see https://example.org/jdoe)"),
            "from (withheld) (see (withheld))"
        );
        assert_eq!(text(r"--out=~/x C:\Users\jdoe"), "--out=(withheld) (withheld)");
        assert_eq!(text("by Jane Doe on GPU07, JDOE_2"), "by (withheld) (withheld) on (withheld), (withheld)_2");
        let kept = "SimCLR (SP, 2 / 4 of km/h), crop 0.2 1, profiles/quick.toml:3, doesn't";
        assert_eq!(text(kept), kept);
    }

    #[test]
    fn records_give_names_away() {
        let json = r#"{"a":"at /home/jdoe/x and C:\\Users\\kim\\y","b":"Author: Jane Doe <j.doe@lab.example>","c":"git@host:x"}"#;
        assert_eq!(HOMES.iter().flat_map(|home| following(json, home)).collect::<Vec<_>>(), ["jdoe", "kim"]);
        assert_eq!(addresses(json), ["j.doe", "lab.example", "Doe", "Jane", "git", "host"]);
    }
}

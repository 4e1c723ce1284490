//! `diff`: prints what differs between two runs.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::Result;
use crate::harness::difference::{self, Change, Section};
use crate::harness::git;
use crate::harness::outcome::{DataRef, Hits};
use crate::harness::record::Record;
use crate::report::stats::paired_accuracy;

use super::{App, ConfigArgs, Ending, records, setup};

/// How many commits on each side are listed.
const MOST_COMMITS: usize = 30;

/// `sempair diff`.
pub(super) fn diff(app: &App, args: &ConfigArgs, runs: [&str; 2], json: bool) -> Result<Ending> {
    let settings = setup::resolve(app, args)?.settings;
    let ledger = setup::ledger(&settings);
    let [(first, first_intact), (second, second_intact)] = [ledger.look_up(runs[0])?, ledger.look_up(runs[1])?];
    for (record, intact) in [(&first, first_intact), (&second, second_intact)] {
        if !intact {
            talk!("warning: the hash of the record of run {} does not match: it was changed", record.short());
        }
    }
    let (changes, commits) = (difference::between(&first, &second), commits(&first, &second));
    let gains = gains(&first, &second);
    if json {
        let commits = commits.map(|[first, second]| json!({ "only_first": first, "only_second": second }));
        let gains: Vec<Value> = gains.iter().map(Gain::json).collect();
        let facts =
            json!({ "runs": [first.id, second.id], "changes": changes, "commits": commits, "same_items": gains });
        setup::print_json(&facts)?;
        return Ok(Ending::Done);
    }
    for record in [&first, &second] {
        say!("{}", records::summary(record));
    }
    if changes.iter().all(|change| change.section == Section::Cost) {
        say!("nothing that is compared differs, but for times and costs");
    }
    print(&changes, commits.as_ref(), &gains);
    Ok(Ending::Done)
}

/// The commits of each run that the other's does not have; `None` if there is nothing to list.
fn commits(first: &Record, second: &Record) -> Option<[Vec<String>; 2]> {
    let (a, b) = (first.git.commit.as_deref()?, second.git.commit.as_deref()?);
    (a != b).then(|| git::between(Path::new("."), [a, b], MOST_COMMITS)).flatten()
}

/// The difference of an accuracy that both runs measured on the same test items.
struct Gain {
    metric: String,
    items: usize,
    /// In percentage points, with its 95 % interval.
    points: f64,
    interval: [f64; 2],
}

impl Gain {
    fn json(&self) -> Value {
        json!({ "metric": self.metric, "items": self.items, "points": self.points, "interval": self.interval })
    }
}

fn gains(first: &Record, second: &Record) -> Vec<Gain> {
    let tests = |record: &Record| -> Vec<DataRef> {
        record.data.iter().filter(|data| data.name.ends_with("/test")).cloned().collect()
    };
    let same_data = first.column == second.column && !tests(first).is_empty() && tests(first) == tests(second);
    let gain = |(metric, here): (&String, &Hits)| {
        let there = second.hits.get(metric)?;
        let (a, b) = (here.only_here(there)?, there.only_here(here)?);
        let (points, interval) = paired_accuracy(a, b, here.items())?;
        (a + b > 0).then(|| Gain { metric: metric.clone(), items: here.items(), points, interval })
    };
    if same_data { first.hits.iter().filter_map(gain).collect() } else { Vec::new() }
}

/// Prints changes by section.
pub(super) fn print_changes(changes: &[Change]) {
    print(changes, None, &[]);
}

fn print(changes: &[Change], commits: Option<&[Vec<String>; 2]>, gains: &[Gain]) {
    for section in changes.chunk_by(|a, b| a.section == b.section) {
        say!("{}", title(section[0].section));
        let width = section.iter().map(|change| change.name.chars().count()).max().unwrap_or(0);
        for Change { name, values: [first, second], .. } in section {
            say!("  {name:width$}  {} -> {}", words(first.as_ref()), words(second.as_ref()));
            if section[0].section == Section::Program && name == "commit" {
                list(commits);
            }
            for Gain { items, points, interval: [low, high], .. } in gains.iter().filter(|gain| gain.metric == *name) {
                say!(
                    "  {:width$}  {points:+.2} points, 95 % interval {low:+.2} to {high:+.2} ({items} test items)",
                    ""
                );
            }
        }
    }
}

fn list(commits: Option<&[Vec<String>; 2]>) {
    let Some([first, second]) = commits else { return };
    for (sign, commits) in [('-', first), ('+', second)] {
        commits.iter().for_each(|commit| say!("    {sign} {commit}"));
        if commits.len() == MOST_COMMITS {
            say!("    {sign} .. (only the newest {MOST_COMMITS} are listed)");
        }
    }
}

fn title(section: Section) -> &'static str {
    match section {
        Section::Cell => "cell",
        Section::Settings => "settings",
        Section::Inputs => "inputs",
        Section::Code => "code (hashes of modules and crates)",
        Section::Data => "data (hashes)",
        Section::Program => "program",
        Section::Machine => "machine",
        Section::Stages => "stages (keys)",
        Section::Files => "files of stages with the same key (hashes; files with times differ between runs)",
        Section::Results => "results",
        Section::Cost => "cost",
    }
}

/// A value in a few words: hashes are cut short.
fn words(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) if is_hash(text) => text[..12].to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

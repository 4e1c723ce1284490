//! Answers to the questions of the NeurIPS paper checklist that run records can answer, from the records alone. What no
//! record contains is reported as not recorded.

use crate::harness::config::Role;
use crate::harness::git::Tree;
use crate::harness::outcome::DataRef;
use crate::harness::progress::duration;
use crate::harness::record::Record;
use crate::report::facts::Results;
use crate::report::facts::SetEvaluations;
use crate::report::facts::TableResults;
use crate::report::lineage;
use crate::report::lineage::HOW_CHOSEN;
use crate::report::plans;
use crate::report::results;
use crate::report::select::Selection;
use crate::report::text;
use crate::report::text::sentence;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// A question with its number in the checklist, and the facts from the records.
#[derive(Serialize)]
pub(super) struct Answer {
    pub question: &'static str,
    pub facts: Vec<String>,
}

/// The answers, in the checklist's order; empty before the first completed run.
pub(super) fn answers(results: &Results, selections: &[Selection]) -> Vec<Answer> {
    let runs = results::used(selections);
    if runs.is_empty() {
        return Vec::new();
    }
    let planned = plans::facts(results);
    let plan = Answer { question: "Plan: was it frozen before the runs?", facts: planned };
    let answers = [
        Answer { question: "Code (5): which version gave the results?", facts: code(results, &runs) },
        Answer { question: "Experimental setting (6): are all details given?", facts: setting(results, &runs) },
        Answer {
            question: "Error bars (7): what do they show, and what varies?",
            facts: error_bars(results, selections),
        },
        Answer { question: "Compute (8): which resources, in total?", facts: compute(results, &runs) },
        Answer { question: "Data and licences (5, 12): which assets were used?", facts: data(&results.tables) },
    ];
    answers.into_iter().chain(Some(plan).filter(|plan| !plan.facts.is_empty())).collect()
}

fn code(results: &Results, runs: &[&Record]) -> Vec<String> {
    let git = &results.git;
    let commits = match (results.anonymous, &git.commits[..]) {
        (true, _) => "withheld for review".to_string(),
        (false, commits) => list(commits.iter().cloned()),
    };
    let changes = match git.tree {
        Tree::Clean => "none",
        Tree::Unknown => "unknown, in some runs",
        Tree::Dirty => "yes, in some runs",
    };
    let of_build = |field: fn(&Record) -> &String| list(runs.iter().map(|run| field(run).clone()));
    let hashes = |field: fn(&Record) -> &String| list(runs.iter().map(|run| lineage::short(field(run), 16)));
    vec![
        format!("Commit: {commits}. Uncommitted changes: {changes}."),
        format!("Sources that determine results, BLAKE3: {}.", hashes(|run| &run.build.code)),
        format!("Cargo.lock, BLAKE3: {}.", hashes(|run| &run.build.lock_hash)),
        format!("Compiler: {}.", of_build(|run| &run.build.rustc)),
    ]
}

fn setting(results: &Results, runs: &[&Record]) -> Vec<String> {
    let counts = || runs.iter().map(|run| run.settings.len());
    let recorded = match (counts().min().unwrap_or(0), counts().max().unwrap_or(0)) {
        (_, 0) => "Settings: not recorded.".to_string(),
        (low, high) => {
            let n = if low == high { high.to_string() } else { format!("{low} to {high}") };
            format!(
                "Every run records {n} settings with their origins; the provenance lists those that are not defaults."
            )
        }
    };
    let settings = || runs.iter().flat_map(|run| run.settings.iter());
    let chosen: BTreeSet<String> = settings()
        .filter(|setting| setting.key == HOW_CHOSEN)
        .filter_map(|setting| setting.value.as_str().map(sentence))
        .collect();
    let chosen: Vec<String> = chosen.into_iter().filter(|words| !words.is_empty()).collect();
    let mut facts = vec![recorded, format!("How the settings were chosen: {}", sentence(known(&chosen.join(" "))))];
    if settings().any(|setting| results.roles.of(&setting.key) == Role::Results && !setting.is_built_in()) {
        facts.push("How the settings given for these runs (see the provenance) were chosen: not recorded.".to_string());
    }
    facts.extend(results.evaluations.iter().map(|of| evaluated(results, of)));
    facts
}

/// How often a test split was evaluated, such as `CIFAR-10 test: 26 evaluations recorded, 24 of them in this report.`
fn evaluated(results: &Results, SetEvaluations { set, recorded, used }: &SetEvaluations) -> String {
    let columns = || results.tables.iter().flat_map(|table| &table.columns);
    let title = columns().find(|column| column.id == *set).map_or(set, |column| &column.title);
    let without = match recorded.without_result {
        0 => String::new(),
        n => format!("; {} of its columns ended without a result", text::counted(n, "more run")),
    };
    let count = text::counted(recorded.completed, "evaluation");
    format!("{} test: {count} recorded, {used} of them in this report{without}.", text::brief(title))
}

fn error_bars(results: &Results, selections: &[Selection]) -> Vec<String> {
    let mut varies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for table in &results.tables {
        varies.entry(table.varies.trim_end_matches('.')).or_default().push(&table.id);
    }
    let seeds =
        selections.iter().map(|s| (s.table.id.as_str(), s.records.iter().map(|r| r.seed).collect::<BTreeSet<_>>()));
    let mut tables: BTreeMap<BTreeSet<u64>, Vec<&str>> = BTreeMap::new();
    seeds.for_each(|(table, seeds)| tables.entry(seeds).or_default().push(table));
    let bars = if results.tables.iter().flat_map(|table| &table.cells).any(|cell| cell.ci95.is_some()) {
        "Error bars: half-width of the two-sided 95 % confidence interval (Student's t) of the mean over seeds, not \
         standard deviation or standard error. It assumes normally distributed errors. It is clipped to 0 and 100 for \
         percentages, at 0 for times."
    } else {
        "Error bars: none, since no value has two seeds."
    };
    let mut facts: Vec<String> = tables
        .into_iter()
        .map(|(seeds, tables)| format!("Seeds of {}: {}.", tables.join(", "), list(seeds.iter().map(u64::to_string))))
        .collect();
    facts.extend(varies.into_iter().map(|(what, tables)| match what {
        "" => format!("What varies between the seeds of {}: not recorded.", tables.join(", ")),
        what => format!("What varies between the seeds of {}: {what}.", tables.join(", ")),
    }));
    facts.push(bars.to_string());
    facts
}

fn compute(results: &Results, runs: &[&Record]) -> Vec<String> {
    let machine = |run: &&Record| {
        let Record { host, compute, .. } = run;
        let memory =
            if host.memory_gib > 0.0 { format!("{} GiB", text::fixed(host.memory_gib, 1)) } else { String::new() };
        format!(
            "{}, {} cores, memory {}, device {} ({}, {})",
            known(&host.cpu),
            known(&if host.cores > 0 { host.cores.to_string() } else { String::new() }),
            known(&memory),
            known(&compute.device),
            known(&compute.isa),
            known(&compute.precision),
        )
    };
    let machines: BTreeSet<String> = runs.iter().map(machine).collect();
    let mut seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let mut facts: Vec<String> = machines.into_iter().map(|machine| format!("Machine: {machine}.")).collect();
    facts.push(format!(
        "A run took {} to {}, median {}.",
        duration(seconds[0]),
        duration(seconds[seconds.len() - 1]),
        duration(seconds[seconds.len() / 2]),
    ));
    facts.push(lineage::spent(&results.compute));
    if results.ledger.deleted > 0 {
        facts.push(format!(
            "Deleted from the ledger by a user, and not counted: {}.",
            text::counted(results.ledger.deleted, "run")
        ));
    }
    facts.push("Runs outside this ledger: not recorded.".to_string());
    facts
}

fn data(tables: &[TableResults]) -> Vec<String> {
    let mut sets: Vec<&DataRef> = Vec::new();
    for set in tables.iter().flat_map(|table| &table.data) {
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    let fact = |set: &DataRef| {
        format!(
            "{} ({}): {} images, BLAKE3 {}, licence {}.",
            text::brief(known(&set.name)),
            text::shorten(known(&set.description), 120),
            text::count(set.images),
            known(&lineage::short(&set.hash, 16)),
            text::shorten(known(&set.licence), 120),
        )
    };
    if sets.is_empty() { vec!["Data: not recorded.".to_string()] } else { sets.into_iter().map(fact).collect() }
}

/// The distinct values in order, without empty values.
fn list(values: impl Iterator<Item = String>) -> String {
    let values: BTreeSet<String> = values.filter(|value| !value.is_empty()).collect();
    known(&values.into_iter().collect::<Vec<_>>().join(", ")).to_string()
}

fn known(value: &str) -> &str {
    if value.is_empty() { "not recorded" } else { value }
}

//! How the experiment differs from the paper's: setting by setting, and as a caveat next to the answer.

use crate::harness::experiment::Distance;
use crate::harness::progress::duration;
use crate::harness::record::Record;
use crate::report::Machine;
use crate::report::captions;
use crate::report::facts::ClaimResult;
use crate::report::facts::Health;
use crate::report::facts::Results;
use crate::report::facts::TableResults;
use crate::report::findings;
use crate::report::results;
use crate::report::select::Selection;
use crate::report::text;
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
pub(super) struct DistanceView {
    pub facts: Vec<Fact>,
    /// The settings in which other tables differ.
    pub others: Vec<String>,
    /// The encoders whose features lost rank during training; empty if there are none.
    pub fell: String,
    /// Whether all settings and data are the paper's.
    pub same: bool,
}

#[derive(Serialize)]
pub(super) struct Fact {
    pub what: String,
    pub paper: String,
    pub here: String,
}

/// The table that is compared with the paper: the table of the paper's main statement, otherwise the first.
fn main(results: &Results) -> Option<&TableResults> {
    let has_main = |table: &&TableResults| table.claims.iter().any(findings::is_main);
    results.tables.iter().find(has_main).or_else(|| results.tables.first())
}

/// A short caveat: what the paper says, how this experiment differs, and how to read the result.
pub(super) fn caveat(results: &Results) -> String {
    let Some(main) = main(results) else { return String::new() };
    let said = if main.claims.iter().any(findings::is_main) {
        "The paper reports semantic pairs ahead with all four methods on every set. "
    } else {
        ""
    };
    let briefs: Vec<&str> = main.distance.iter().map(|fact| fact.brief.as_str()).filter(|b| !b.is_empty()).collect();
    let is_own = |claim: &ClaimResult| claim.own_setting && claim.difference.is_some();
    match (briefs.is_empty(), main.claims.iter().any(is_own)) {
        (true, true) => format!("{said}Encoder, pairs, sets and length of training are the paper's."),
        (true, false) if main.claims.iter().any(|claim| claim.substitute) => {
            format!("{said}The data are not the paper's. Interpret directions, not effect sizes.")
        }
        (true, false) => said.to_string(),
        (false, _) => {
            format!(
                "{said}This is not the paper's setting: {}. Interpret directions, not effect sizes.",
                briefs.join("; ")
            )
        }
    }
}

/// The settings of the paper and of this report side by side.
pub(super) fn distance(results: &Results, selections: &[Selection]) -> DistanceView {
    let Some(main) = main(results) else {
        return DistanceView { facts: Vec::new(), others: Vec::new(), fell: String::new(), same: false };
    };
    let fact = |what: &str, paper: &str, here: String| Fact { what: what.into(), paper: paper.into(), here };
    let mut facts: Vec<Fact> = main.distance.iter().map(|of| fact(&of.what, &of.paper, of.here.clone())).collect();
    let runs = results::used(selections);
    facts.push(fact("Evaluated on", "CIFAR-10, CIFAR-100, STL-10; PASCAL VOC", evaluated(results)));
    facts.push(fact("Seeds", "not stated", seeds(&runs)));
    let compute = &results.compute;
    let devices: BTreeSet<String> = compute.machines.iter().map(processor).collect();
    let devices: Vec<String> = devices.into_iter().collect();
    facts.push(fact(
        "Machine, time",
        "one A100; 4.5 h for SimCLR on SP",
        format!("{}; {}, {}", text::list(&devices), duration(compute.seconds), text::counted(compute.runs, "run")),
    ));
    let others = results.tables.iter().filter(|table| table.id != main.id).filter_map(|table| other(main, table));
    let stands_in = results.tables.iter().any(|table| table.columns.iter().any(captions::is_stand_in));
    DistanceView {
        facts,
        others: others.collect(),
        fell: fell(main).unwrap_or_default(),
        same: !stands_in
            && main.distance.iter().all(|fact| fact.same)
            && !main.claims.iter().any(|claim| claim.substitute),
    }
}

fn evaluated(results: &Results) -> String {
    let mut names: Vec<String> = Vec::new();
    for table in &results.tables {
        for column in table.columns.iter().filter(|c| c.stands_for.is_some() || !c.substitute) {
            let dagger = if captions::is_stand_in(column) { " †" } else { "" };
            let name = format!("{}{dagger}", text::brief(&column.title));
            let has_runs = table.cells.iter().any(|cell| cell.column == column.id && cell.mean.is_some());
            if has_runs && !names.contains(&name) && column.has("top1") {
                names.push(name);
            }
        }
    }
    if names.is_empty() { "nothing yet".to_string() } else { names.join(", ") }
}

fn seeds(runs: &[&Record]) -> String {
    let seeds: BTreeSet<u64> = runs.iter().map(|run| run.seed).collect();
    seeds.len().to_string()
}

/// `vit: encoder vit-mini (stem patch8); 3 epochs, 32`.
fn other(main: &TableResults, table: &TableResults) -> Option<String> {
    let differs = |fact: &&Distance| !main.distance.contains(fact);
    let facts: Vec<String> = table
        .distance
        .iter()
        .filter(differs)
        .map(|fact| format!("{} {}", fact.what.to_lowercase(), fact.here))
        .collect();
    (!facts.is_empty()).then(|| format!("{}: {}.", table.title, facts.join("; ")))
}

/// Encoders whose features lost rank, in one sentence.
fn fell(table: &TableResults) -> Option<String> {
    let of = |health: &Health| {
        let [first, last] = [health.rank_first, health.rank_last].map(|rank| text::fixed(rank, 1));
        format!("{} from {first} to {last}", text::name(&health.row))
    };
    let fell: Vec<String> = table.health.iter().filter(|health| health.fell).map(of).collect();
    (!fell.is_empty())
        .then(|| format!("The effective rank of features fell in training, a sign of collapse: {}.", text::list(&fell)))
}

/// What computed on a machine: its cores, or its GPU.
fn processor(machine: &Machine) -> String {
    match machine.device.strip_prefix("cuda: ") {
        Some(gpu) => gpu.to_owned(),
        None => format!("{} {} cores", machine.cores, machine.device.to_uppercase()),
    }
}

//! What differs between two runs, section by section, with both values.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::harness::record::FileHash;
use crate::harness::record::Record;
use crate::harness::record::StageUse;

/// A part of what a record states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// The place of the run: table, row, column, seed, and the profile.
    Cell,
    /// The settings' values. Where they came from is not compared.
    Settings,
    /// The inputs of the last stage, which follow from settings and data. Only [`causes`] compares them.
    Inputs,
    /// The hash of each module and crate that decides the result.
    Code,
    /// The hash of each dataset and list of pairs.
    Data,
    /// The commit, and how the program was built.
    Program,
    /// What computed: device, instruction set, number format, and the host.
    Machine,
    /// The keys of the stages, in the order in which they run.
    Stages,
    /// The files of stages that have the same key in both runs. Files that contain times differ, too.
    Files,
    /// How the run ended, and what it measured.
    Results,
    /// Time, memory and threads.
    Cost,
}

/// A fact that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Where it belongs.
    pub section: Section,
    /// Its name, such as the key of a setting.
    pub name: String,
    /// The value in the first run and in the second; `None` where the record has no such fact.
    pub values: [Option<Value>; 2],
}

type Facts = Vec<(Section, String, Value)>;

/// The facts that differ between two runs, in the order of the sections, and of the records within them.
pub fn between(first: &Record, second: &Record) -> Vec<Change> {
    let shared = |stage: &&StageUse| [first, second].iter().all(|record| has(record, stage));
    let all = [first, second].map(|record| {
        let mut facts = facts(record);
        for stage in record.stages.iter().filter(shared) {
            let file = |file: &FileHash| (Section::Files, format!("{}/{}", stage.name, file.name), json!(file.hash));
            facts.extend(stage.files.iter().map(file));
        }
        facts
    });
    let [a, b] = &all;
    let by_name = |facts: &Facts| -> BTreeMap<(Section, String), Value> {
        facts.iter().map(|(section, name, value)| ((*section, name.clone()), value.clone())).collect()
    };
    let maps = [by_name(a), by_name(b)];
    let mut seen = HashSet::new();
    let names = a.iter().chain(b).map(|(section, name, _)| (*section, name.clone()));
    let mut changes: Vec<Change> = names
        .filter(|name| seen.insert(name.clone()))
        .map(|name| (maps.each_ref().map(|map| map.get(&name).cloned()), name))
        .filter(|([a, b], _)| a != b)
        .map(|(values, (section, name))| Change { section, name, values })
        .collect();
    changes.sort_by_key(|change| change.section);
    changes
}

fn has(record: &Record, stage: &StageUse) -> bool {
    record.stages.iter().any(|other| other.key == stage.key)
}

/// What is compared of a record, but for the files of its stages.
fn facts(record: &Record) -> Facts {
    let row: Vec<&str> = record.row.iter().map(|(_, label)| label.as_str()).collect();
    let (git, build, host, compute) = (&record.git, &record.build, &record.host, &record.compute);
    let mut facts: Facts = Vec::new();
    let mut add = |section: Section, name: &str, value: Value| facts.push((section, name.to_owned(), value));
    add(Section::Cell, "table", json!(record.experiment));
    add(Section::Cell, "row", json!(row.join(" ")));
    add(Section::Cell, "column", json!(record.column));
    add(Section::Cell, "seed", json!(record.seed));
    add(Section::Cell, "profile", json!(record.profile));
    record.settings.iter().for_each(|setting| add(Section::Settings, &setting.key, setting.value.clone()));
    record.code.iter().for_each(|(module, hash)| add(Section::Code, module, json!(hash)));
    record.data.iter().for_each(|data| add(Section::Data, &data.name, json!(data.hash)));
    add(Section::Program, "commit", json!(git.commit));
    add(Section::Program, "tree", json!(git.tree().name()));
    add(Section::Program, "differences from the commit", json!(git.diff_hash));
    for (name, value) in [
        ("version", &build.version),
        ("code", &build.code),
        ("dependencies (Cargo.lock)", &build.lock_hash),
        ("compiler", &build.rustc),
        ("profile", &build.profile),
        ("target", &build.target),
    ] {
        add(Section::Program, name, json!(value));
    }
    add(Section::Program, "binary", json!(build.binary_hash));
    for (name, value) in [
        ("device", &compute.device),
        ("instruction set", &compute.isa),
        ("precision", &compute.precision),
        ("processor", &host.cpu),
        ("system", &host.os),
        ("host", &host.hostname),
    ] {
        add(Section::Machine, name, json!(value));
    }
    add(Section::Machine, "cores", json!(host.cores));
    add(Section::Machine, "memory in GiB", json!(host.memory_gib));
    record.stages.iter().for_each(|stage| add(Section::Stages, &stage.name, json!(stage.key)));
    add(Section::Results, "status", json!(record.status));
    record.metrics.iter().for_each(|(name, value)| add(Section::Results, name, json!(value)));
    add(Section::Results, "checkpoint", json!(record.checkpoint));
    add(Section::Results, "predictions", json!(record.predictions));
    add(Section::Cost, "seconds", json!(record.seconds));
    add(Section::Cost, "peak memory in bytes", json!(record.peak_memory));
    add(Section::Cost, "energy in joules", json!(record.energy_joules));
    add(Section::Cost, "threads", json!(record.threads));
    add(Section::Cost, "runs beside it", json!(record.beside));
    number_repeated(&mut facts);
    facts
}

/// Gives names that occur again, such as that of a stage that a cell has twice, a number.
fn number_repeated(facts: &mut Facts) {
    let mut seen: HashMap<(Section, String), usize> = HashMap::new();
    for (section, name, _) in facts {
        let count = seen.entry((*section, name.clone())).or_default();
        *count += 1;
        if *count > 1 {
            *name = format!("{name} ({count})");
        }
    }
}

/// The facts that differ between a run and the record that a run of the same cell would begin with now, as far as they
/// decide the result: settings, inputs of the last stage, code, and what computes.
pub fn causes(recorded: &Record, now: &Record, decides: impl Fn(&str) -> bool) -> Vec<Change> {
    const COMPUTE: [&str; 3] = ["device", "instruction set", "precision"];
    let mut changes = between(recorded, now);
    changes.retain(|change| match change.section {
        Section::Settings => decides(&change.name),
        Section::Code => true,
        Section::Machine => COMPUTE.contains(&change.name.as_str()),
        _ => false,
    });
    let settings: Vec<&Change> = changes.iter().filter(|change| change.section == Section::Settings).collect();
    // A setting is often an input of the same name: it is listed once.
    let is_setting = |input: &Change| {
        settings.iter().any(|setting| {
            setting.values == input.values && setting.name.rsplit('.').next() == input.name.rsplit('.').next()
        })
    };
    let mut inputs = inputs(&recorded.inputs, &now.inputs);
    inputs.retain(|input| !is_setting(input));
    changes.extend(inputs);
    changes.sort_by_key(|change| change.section);
    changes
}

/// The leaves of two JSON values that differ, by their path.
fn inputs(first: &Value, second: &Value) -> Vec<Change> {
    let [first, second] = [first, second].map(|value| {
        let mut leaves = BTreeMap::new();
        add_leaves(value, String::new(), &mut leaves);
        leaves
    });
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let change = |name: &&String| [first.get(*name).cloned(), second.get(*name).cloned()];
    let differ = names.iter().map(|name| (change(name), name)).filter(|([a, b], _)| a != b);
    differ.map(|(values, name)| Change { section: Section::Inputs, name: (**name).clone(), values }).collect()
}

fn add_leaves(value: &Value, path: String, leaves: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| add_leaves(value, below(name), leaves)),
        leaf => drop(leaves.insert(path, leaf.clone())),
    }
}

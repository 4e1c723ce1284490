//! `runs` and `show`: print what the ledger contains.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::harness::experiment::Row;
use crate::harness::git::Tree;
use crate::harness::outcome::DataRef;
use crate::harness::progress::duration;
use crate::harness::record::Record;

use super::{App, ConfigArgs, Ending, setup};

/// `sempair runs`.
pub(super) fn runs(app: &App, args: &ConfigArgs, last: Option<usize>, json: bool) -> Result<Ending> {
    let settings = setup::resolve(app, args)?.settings;
    let (records, problems) = setup::ledger(&settings).records()?;
    problems.iter().for_each(|problem| talk!("left out {}: {}", problem.file.display(), problem.what));
    let from = records.len() - last.unwrap_or(records.len()).min(records.len());
    let shown = &records[from..];
    if json {
        setup::print_json(&shown)?;
        return Ok(Ending::Done);
    }
    if shown.is_empty() {
        say!("no runs yet; `sempair reproduce` starts some");
    }
    for record in shown {
        summary(record);
    }
    Ok(Ending::Done)
}

/// `sempair runs --delete`.
pub(super) fn delete(app: &App, args: &ConfigArgs, run: &str) -> Result<Ending> {
    let ledger = setup::ledger(&setup::resolve(app, args)?.settings);
    ledger.bury_killed()?;
    let (record, _) = ledger.look_up(run)?;
    ledger.delete(&record)?;
    say!("deleted the record of run {}; a journal keeps that it ran and that it was deleted", record.id);
    Ok(Ending::Done)
}

/// Prints a run on one line.
pub(super) fn summary(record: &Record) {
    let commit = record.git.commit.as_deref().map(|commit| commit.get(..8).unwrap_or(commit));
    let mark = if commit.is_some() { record.git.tree().mark() } else { "" };
    say!(
        "{}  {:11}  {}  {}{mark:1}  {:8}  {} {} {} seed {}  {}",
        record.short(),
        record.status.name(),
        record.started.get(..16).unwrap_or(&record.started).replace('T', " "),
        commit.unwrap_or("no commit"),
        record.profile,
        record.experiment,
        labels(&record.row),
        record.column,
        record.seed,
        metrics(&record.metrics),
    );
}

/// `sempair show`.
pub(super) fn show(app: &App, args: &ConfigArgs, run: &str, json: bool) -> Result<Ending> {
    let settings = setup::resolve(app, args)?.settings;
    let (record, intact) = setup::ledger(&settings).look_up(run)?;
    if !intact {
        talk!("warning: the hash of this record does not match: it was changed after it was written");
    }
    if json {
        setup::print_json(&record)?;
        return Ok(Ending::Done);
    }
    facts(&record).into_iter().for_each(|(name, value)| say!("{name:12} {value}"));
    say!("stages");
    for stage in &record.stages {
        let from = stage.from.as_ref().map_or("computed".into(), |run| format!("from run {run}"));
        say!("  {:10} {} {from}, {}", stage.name, stage.key, duration(stage.seconds));
        stage.files.iter().for_each(|file| say!("    {} {} ({} bytes)", file.hash, file.name, file.bytes));
    }
    say!("data");
    for DataRef { hash, name, description, licence, .. } in &record.data {
        let licence = if licence.is_empty() { String::new() } else { format!(" (licence: {licence})") };
        say!("  {hash} {name}: {description}{licence}");
    }
    say!("settings");
    record.settings.iter().for_each(|s| say!("  {} = {}  ({})", s.key, s.value, s.origin));
    Ok(Ending::Done)
}

fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let git = &record.git;
    let tree = match (git.tree(), &git.diff_hash, &git.note) {
        (Tree::Dirty, Some(hash), _) => format!("dirty (difference {hash})"),
        (Tree::Unknown, _, Some(note)) if git.commit.is_some() => format!("changes unknown ({note})"),
        (tree, ..) => tree.name().to_owned(),
    };
    let commit = match &git.commit {
        Some(commit) => format!("{commit}, {tree}"),
        None => git.note.clone().unwrap_or_else(|| "unknown".into()),
    };
    let mut facts = vec![
        ("run", record.id.clone()),
        ("status", record.status.name().to_string()),
        ("cell", format!("{} {} {} seed {}", record.experiment, labels(&record.row), record.column, record.seed)),
        ("result", metrics(&record.metrics)),
        ("profile", record.profile.clone()),
        ("started", record.started.clone()),
        ("took", duration(record.seconds)),
        ("energy", record.energy_joules.map_or_else(String::new, |joules| format!("{joules} J"))),
        ("commit", commit),
        ("code", record.build.code.clone()),
        ("compiler", record.build.rustc.clone()),
        ("binary", record.build.binary_hash.clone().unwrap_or_default()),
        ("host", format!("{}, {} ({} threads)", record.host.hostname, record.host.cpu, record.host.threads)),
        ("gpu", record.host.gpu.clone()),
        ("compute", format!("{} {} {}", record.compute.device, record.compute.isa, record.compute.precision)),
        ("checkpoint", record.checkpoint.clone().unwrap_or_default()),
        ("predictions", record.predictions.clone().unwrap_or_default()),
        ("arguments", record.args.join(" ")),
    ];
    facts.extend(record.error.iter().map(|error| ("error", error.clone())));
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

pub(super) fn labels(row: &Row) -> String {
    row.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(" ")
}

fn metrics(metrics: &BTreeMap<String, f64>) -> String {
    metrics.iter().map(|(name, value)| format!("{name} {value:.2}")).collect::<Vec<_>>().join(", ")
}

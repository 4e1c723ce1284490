//! `runs` and `show`: print what the ledger contains.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Result;
use crate::harness::config::Roles;
use crate::harness::experiment::Row;
use crate::harness::frozen_plan::{self, KnownPlan, Standing};
use crate::harness::git::{Git, Kept, Tree};
use crate::harness::outcome::DataRef;
use crate::harness::plan_store;
use crate::harness::progress::duration;
use crate::harness::provenance::Build;
use crate::harness::record::{Record, Setting};
use crate::harness::source;

use super::{App, ConfigArgs, Ending, setup};

/// `sempair runs`.
pub(super) fn runs(app: &App, args: &ConfigArgs, last: Option<usize>, json: bool) -> Result<Ending> {
    let ledger = setup::ledger(&setup::resolve(app, args)?.settings);
    let (records, problems) = ledger.records()?;
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
    let (plans, roles) = (plan_store::read(&ledger)?.known, setup::roles(app));
    for record in shown {
        let standing = frozen_plan::standing(&plans, record, &roles).map(|(_, standing)| standing);
        let aside = standing.filter(|standing| *standing != Standing::Planned);
        say!("{}{}", summary(record), aside.map_or_else(String::new, |aside| format!("  ({})", aside.name())));
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

/// A run on one line.
pub(super) fn summary(record: &Record) -> String {
    let commit = record.git.commit.as_deref().map(|commit| commit.get(..8).unwrap_or(commit));
    let mark = if commit.is_some() { record.git.tree().mark() } else { "" };
    format!(
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
    )
}

/// `sempair show`.
pub(super) fn show(app: &App, args: &ConfigArgs, run: &str, json: bool) -> Result<Ending> {
    let ledger = setup::ledger(&setup::resolve(app, args)?.settings);
    let (record, intact) = ledger.look_up(run)?;
    if !intact {
        talk!("warning: the hash of this record does not match: it was changed after it was written");
    }
    if json {
        setup::print_json(&record)?;
        return Ok(Ending::Done);
    }
    let planned = planned(&plan_store::read(&ledger)?.known, &record, &setup::roles(app));
    facts(&record, planned).into_iter().for_each(|(name, value)| say!("{name:12} {value}"));
    let (built_in, given): (Vec<&Setting>, Vec<&Setting>) = record.settings.iter().partition(|of| of.is_built_in());
    if !given.is_empty() {
        say!("settings that were given");
        given.into_iter().for_each(setting);
    }
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
    say!("settings of the profile, and defaults");
    built_in.into_iter().for_each(setting);
    Ok(Ending::Done)
}

fn setting(Setting { key, value, origin, shadowed }: &Setting) {
    let shadowed: String = shadowed.iter().map(|old| format!("; instead of {} of {}", old.value, old.origin)).collect();
    say!("  {key} = {value}  ({origin}{shadowed})");
}

/// How a run stands to the plan of its table; empty without a plan.
fn planned(plans: &[KnownPlan], record: &Record, roles: &Roles) -> String {
    let Some((known, standing)) = frozen_plan::standing(plans, record, roles) else { return String::new() };
    let why = if let Standing::PostHoc { why } = &standing { format!(": {why}") } else { String::new() };
    format!("{} {}, {}{why}", known.plan.short(), known.plan.day(), standing.name())
}

/// `sempair show RUN --changes`.
pub(super) fn changes(app: &App, args: &ConfigArgs, run: &str) -> Result<Ending> {
    let settings = setup::resolve(app, args)?.settings;
    let ledger = setup::ledger(&settings);
    let (record, _) = ledger.look_up(run)?;
    let text = source::difference(Path::new("."), ledger.dir(), &record.git)?;
    if !text.is_empty() {
        say!("{text}");
    } else if record.git.tree() == Tree::Clean {
        talk!("no changes: the files of run {} were those of its commit", record.short());
    } else {
        talk!("the changes of run {} are not known", record.short());
    }
    record.git.kept.note.iter().for_each(|note| talk!("not kept: {note}"));
    Ok(Ending::Done)
}

fn facts(record: &Record, planned: String) -> Vec<(&'static str, String)> {
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
        ("plan", planned),
        ("started", record.started.clone()),
        ("took", duration(record.seconds)),
        ("energy", record.energy_joules.map_or_else(String::new, |joules| format!("{joules} J"))),
        ("commit", commit),
        ("remote", remote(git)),
        ("kept", kept(git)),
        ("code", record.build.code.clone()),
        ("compiler", record.build.rustc.clone()),
        ("binary", binary(&record.build)),
        ("host", format!("{}, {} ({} threads)", record.host.hostname, record.host.cpu, record.host.threads)),
        ("gpu", record.host.gpu.clone()),
        ("compute", format!("{} {} {}", record.compute.device, record.compute.isa, record.compute.precision)),
        ("checkpoint", record.checkpoint.clone().unwrap_or_default()),
        ("predictions", record.predictions.clone().unwrap_or_default()),
        ("arguments", record.args.join(" ")),
        (
            "environment",
            record.environment.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
        ),
    ];
    facts.extend(record.error.iter().map(|error| ("error", error.clone())));
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

/// The hash of the binary, and whether it was built from other sources than those around it.
fn binary(build: &Build) -> String {
    let hash = build.binary_hash.clone().unwrap_or_default();
    if build.is_stale == Some(true) { hash + ", NOT built from the sources around it" } else { hash }
}

/// The remote branch that has the commit, or the remotes that do not have it.
fn remote(git: &Git) -> String {
    match &git.on_remote {
        Some(branch) => branch.clone(),
        None if git.remotes.is_empty() => String::new(),
        None => format!("not on {}", git.remotes.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// What the ledger keeps of the code.
fn kept(git: &Git) -> String {
    let Kept { bundle, snapshot, untracked_files: _, note } = &git.kept;
    let facts = [
        snapshot.as_ref().map(|commit| format!("the files are commit {commit}")),
        bundle.as_ref().map(|name| format!("in source/{name}.bundle")),
        note.as_ref().map(|note| format!("but for {note}")),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(super) fn labels(row: &Row) -> String {
    row.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(" ")
}

fn metrics(metrics: &BTreeMap<String, f64>) -> String {
    metrics.iter().map(|(name, value)| format!("{name} {value:.2}")).collect::<Vec<_>>().join(", ")
}

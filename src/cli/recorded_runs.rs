//! Finds the runs that `verify` repeats: in the ledger, or if it has none, in the committed report.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::harness::experiment::Table;
use crate::harness::git;
use crate::harness::progress::Progress;
use crate::harness::record::{Record, SCHEMA, Status, short};
use crate::report::PrintedClaim;
use crate::study::settings::Settings;

use super::{App, ConfigArgs, setup};

/// What is repeated.
pub(super) enum Subject<'a> {
    /// The runs of a table.
    Table(&'a str),
    /// A run, by the start or the end of its id.
    Run(&'a str),
    /// The runs behind a claim.
    Claim(Box<PrintedClaim>),
}

impl Subject<'_> {
    /// Whether a run of this table with this id is one of them.
    fn has(&self, table: &str, id: &str) -> bool {
        match self {
            Self::Table(of) => table == *of,
            Self::Run(of) => id.starts_with(of) || id.ends_with(of),
            Self::Claim(claim) => claim.runs.contains(id),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Table(of) | Self::Run(of) => of,
            Self::Claim(claim) => &claim.text,
        }
    }
}

/// The report of a profile that states figures and claims.
pub(super) fn results(settings: &Settings, profile: &str) -> PathBuf {
    Path::new(&settings.paths.reports).join(profile).join("results.json")
}

/// The runs to repeat: of the ledger, or if it has no run of the profile, those of the committed report.
///
/// # Errors
/// When there are none, when the record of a run was changed or removed, or when the ledger has only some of the runs
/// behind a claim.
pub(super) fn recorded(
    app: &App,
    (of, at): (&Subject, Option<&str>),
    config: &ConfigArgs,
    settings: &Settings,
    progress: &Progress,
) -> Result<Vec<Arc<Record>>> {
    let ledger = setup::ledger(settings);
    let (all, problems) = ledger.records()?;
    for problem in &problems {
        progress.line(&format!("left out {}: {}", problem.file.display(), problem.what));
    }
    let profile = &config.profile;
    let is_of_profile = |run: &Record| !matches!(of, Subject::Table(_)) || run.profile == *profile;
    let of_profile_exist = all.iter().any(|run| run.profile == *profile && run.status == Status::Completed);
    let mut found: Vec<Record> = all;
    found.retain(|run| of.has(&run.experiment, &run.id) && is_of_profile(run) && run.status == Status::Completed);
    let is_lost = matches!(of, Subject::Run(id) if ledger.has_entered(id)?);
    let has_others = of_profile_exist || is_lost || !problems.is_empty();
    if found.is_empty() && has_others {
        // The figures of the report are no substitute for a record that was changed or removed.
        let left_out = problems.first().map(|it| format!("; {} was left out: {}", it.file.display(), it.what));
        let what = format!("the ledger has no completed run of `{}`", of.name());
        return Err(Error::new(what + &left_out.unwrap_or_default())
            .hint("`sempair runs` lists the runs; `sempair audit .` says whether a record was changed or removed"));
    }
    if found.is_empty() {
        let report = results(settings, profile);
        found = of_report(app, &report, of, settings)?;
        if found.is_empty() {
            return Err(Error::new(format!(
                "neither the ledger nor {} has completed runs of `{}`",
                report.display(),
                of.name()
            ))
            .hint("`sempair runs` lists the runs; `--profile NAME` chooses another profile"));
        }
        progress.line(&format!("the ledger has no such runs: comparing with the figures of {}", report.display()));
    }
    match (of, found.as_slice()) {
        (Subject::Run(of), [first, second, ..]) => {
            return Err(Error::new(format!("{} runs match `{}`", found.len(), of))
                .hint(format!("give more of the id: `{}`, `{}`, ..", first.id, second.id)));
        }
        (Subject::Claim(claim), _) => return behind(claim, found),
        _ => {}
    }
    let commit = match at {
        Some(rev) => git::resolve(Path::new("."), rev)?.or_else(|| Some(rev.to_owned())),
        None => found.last().and_then(|run| run.git.commit.clone()),
    };
    let starts = |of: &Option<String>| of.as_ref().zip(at).is_some_and(|(of, at)| at.len() >= 4 && of.starts_with(at));
    found.retain(|run| run.git.commit == commit || starts(&run.git.commit));
    // The newest run of each cell.
    let mut seen = HashSet::new();
    found.reverse();
    found.retain(|run| seen.insert((run.row.clone(), run.column.clone(), run.seed)));
    found.reverse();
    match found.is_empty() {
        true => Err(Error::new(format!(
            "no completed run of `{}` was recorded at {}",
            of.name(),
            commit.unwrap_or_default()
        ))
        .hint("`sempair runs` shows the commit of each run")),
        false => Ok(found.into_iter().map(Arc::new).collect()),
    }
}

/// All runs behind a claim, or an error that names those that are missing.
fn behind(claim: &PrintedClaim, found: Vec<Record>) -> Result<Vec<Arc<Record>>> {
    let missing: Vec<&str> =
        claim.runs.iter().filter(|id| found.iter().all(|run| run.id != **id)).map(|id| short(id)).collect();
    match missing.is_empty() {
        true => Ok(found.into_iter().map(Arc::new).collect()),
        false => Err(Error::new(format!(
            "{} of the {} runs behind the claim `{}` cannot be read as completed runs: {}",
            missing.len(),
            claim.runs.len(),
            claim.text,
            missing.join(", ")
        ))
        .hint(
            "`sempair audit .` says what happened to them; `sempair report` makes a report of the runs that are here",
        )),
    }
}

/// The runs of a report's `results.json`, with what it states of them: place, figures, commit, code and compute.
fn of_report(app: &App, file: &Path, of: &Subject, settings: &Settings) -> Result<Vec<Record>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let results: Value = files::read_json(file)?;
    let tables = results["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut runs: BTreeMap<String, Value> = BTreeMap::new();
    for table in tables {
        let Some(experiment) = app.experiments.iter().find(|experiment| table["id"] == *experiment.id()) else {
            continue;
        };
        let Table { rows, baselines, .. } = experiment.table(settings)?;
        for cell in table["cells"].as_array().into_iter().flatten() {
            let has = |(name, label): &(String, String)| cell["row"][name] == *label;
            let Some(row) = rows.iter().chain(&baselines).find(|row| row.iter().all(has)) else { continue };
            let of_cell = [&cell["runs"], &cell["seeds"], &cell["values"]]
                .map(|list| list.as_array().cloned().unwrap_or_default());
            let [ids, seeds, values] = of_cell;
            for ((id, seed), value) in ids.iter().zip(&seeds).zip(&values) {
                let Some(id) = id.as_str().filter(|id| of.has(experiment.id(), id)) else { continue };
                let run = runs.entry(id.to_owned()).or_insert_with(|| {
                    let machine = match results["compute"]["machines"].as_array().map(Vec::as_slice) {
                        Some([one]) => one.clone(),
                        _ => json!({ "device": "", "isa": "", "precision": "" }),
                    };
                    json!({
                        "schema": SCHEMA, "id": id, "experiment": table["id"], "key": "",
                        "status": "completed", "started": "", "profile": results["profile"], "row": row,
                        "column": cell["column"], "seed": seed, "metrics": {},
                        "git": { "commit": results["git"]["commit"] },
                        "build": { "code": only(&results["git"]["codes"]) },
                        "compute": { "device": machine["device"], "isa": machine["isa"], "precision": machine["precision"] },
                    })
                });
                run["metrics"][cell["metric"].as_str().unwrap_or_default()] = value.clone();
            }
        }
    }
    let read =
        |run: Value| serde_json::from_value(run).context(format!("{}: not the results of a report", file.display()));
    runs.into_values().map(read).collect()
}

/// The only item of a list; empty if there are several.
fn only(list: &Value) -> &str {
    match list.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_str().unwrap_or_default(),
        _ => "",
    }
}

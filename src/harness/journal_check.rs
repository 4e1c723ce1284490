//! Compares the records of a ledger with its journals: finds records that were removed, added or replaced, and journals
//! that were changed or removed.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use serde::Serialize;

use crate::error::Result;
use crate::harness::journal;
use crate::harness::journal::Entry;
use crate::harness::journal::Event;
use crate::harness::journal::Journal;
use crate::harness::ledger::Checked;
use crate::harness::ledger::Ledger;
use crate::harness::ledger::Problem;
use crate::harness::plan_store;
use crate::harness::record::Record;
use crate::harness::record::Seal;
use crate::harness::record::Status;

/// The history of a ledger by its journals.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// The number of journals.
    pub journals: usize,
    /// The last lines of the journals that no other journal follows, by journal. They state everything before them.
    pub heads: BTreeMap<String, String>,
    /// Runs whose records were there before the ledger had journals.
    pub found: usize,
    /// The runs that a user deleted.
    pub deleted: BTreeSet<String>,
    /// The runs of this machine that are alive, or whose process died and no later command has entered that yet. Their
    /// records are not compared with the journals.
    pub open: BTreeSet<String>,
    /// The number of plans that are as they were frozen.
    #[serde(skip_serializing_if = "is_none")]
    pub plans: usize,
    /// The number of lines that a newer version wrote. Their meaning is not checked.
    #[serde(skip_serializing_if = "is_none")]
    pub newer: usize,
    /// What is wrong with journals, and with records and plans by their journals.
    #[serde(skip)]
    pub problems: Vec<Problem>,
    /// The hash of every line.
    #[serde(skip)]
    hashes: BTreeSet<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl History {
    /// What became of a run that has no record: its id starts or ends with `part`.
    pub(super) fn told(&self, part: &str) -> Option<String> {
        let is_meant = |id: &str| part.len() >= 4 && (id.starts_with(part) || id.ends_with(part));
        let stem = |problem: &Problem| Some(problem.file.file_stem()?.to_str()?.to_owned());
        let problem = || self.problems.iter().find(|problem| stem(problem).is_some_and(|id| is_meant(&id)));
        let deleted = self.deleted.iter().find(|id| is_meant(id)).map(|id| format!("run {id} was deleted by a user"));
        deleted.or_else(|| problem().map(|Problem { file, what }| format!("{}: {what}", file.display())))
    }

    /// Whether a journal has a line with this hash, which is given in full or by at least its first 8 digits.
    pub fn has(&self, hash: &str) -> bool {
        hash.len() >= 8 && self.hashes.iter().any(|known| known.starts_with(hash))
    }
}

/// What one journal says about a run: its last line, and all states.
struct Entered<'a> {
    journal: &'a Journal,
    line: usize,
    last: &'a Entry,
    states: Vec<&'a str>,
    events: Vec<Event>,
}

/// Reads the journals of the ledger and compares `records`, which are all of its records, with them. `locked` are the runs
/// whose lock files were here before the records were read.
///
/// # Errors
/// When the folder of the journals cannot be read.
pub(super) fn history(ledger: &Ledger, records: &Checked, locked: &BTreeSet<String>) -> Result<History> {
    let journals = journal::read_all(ledger.dir())?;
    let entered = entered(&journals);
    // A lock file does not excuse a record that had ended.
    let had_ended =
        |id: &str| entered.get(id).is_some_and(|lines| lines.iter().any(|of| of.last.event != Event::Begun));
    let open = records.iter().map(|(record, _)| &record.id).filter(|id| locked.contains(*id) && !had_ended(id));
    let open: BTreeSet<String> = open.cloned().collect();
    let mut problems = of_journals(ledger, &journals, records, &open);
    let ids: BTreeSet<&str> = journals.iter().map(|journal| journal.id.as_str()).collect();
    if !journals.is_empty() {
        // An edited record, and a journal that is missing or damaged, are named already.
        let damaged = |journal: &Journal| !journal.problems.is_empty();
        let damaged: BTreeSet<&str> =
            journals.iter().filter(|journal| damaged(journal)).map(|journal| journal.id.as_str()).collect();
        let is_named = |record: &Record| {
            record.journal.as_deref().is_some_and(|journal| !ids.contains(journal) || damaged.contains(journal))
        };
        let is_new =
            |(record, seal): &&(Record, Seal)| *seal != Seal::Broken && !is_named(record) && !open.contains(&record.id);
        for (record, _) in records.iter().filter(is_new) {
            let what = against(record, entered.get(record.id.as_str()).map_or(&[], Vec::as_slice));
            problems.extend(what.map(|what| Problem { file: ledger.path(&record.id), what }));
        }
    }
    for of in entered.values().flatten().filter(|of| !of.is_in_order()) {
        let what = format!("line {} does not fit the lines before it about run {}", of.line, of.last.name);
        problems.push(Problem { file: of.journal.path.clone(), what });
    }
    let there: BTreeSet<&str> = records.iter().map(|(record, _)| record.id.as_str()).collect();
    let mut deleted = BTreeSet::new();
    for (&run, lines) in entered.iter().filter(|(run, _)| !there.contains(*run)) {
        let file = ledger.path(run);
        if lines.iter().any(|of| of.last.event == Event::Deleted) {
            deleted.insert(run.to_owned());
        } else if let Some(of) = lines.first().filter(|_| !file.exists() && !locked.contains(run)) {
            let what = format!("removed: {} says that it was {}", of.place(), of.last.event.name());
            problems.push(Problem { file, what });
        }
    }
    let plans = plan_store::check(ledger, &journals)?;
    problems.extend(plans.problems.into_iter().chain(plans.reformatted));
    let heads = journal::follows(&journals).into_iter().map(|entry| (entry.name, entry.state)).collect();
    let lines = || journals.iter().flat_map(|journal| &journal.lines);
    let found: BTreeSet<&str> =
        lines().filter(|(_, _, entry)| entry.event == Event::Found).map(|(_, _, entry)| entry.name.as_str()).collect();
    let hashes = lines().map(|(_, hash, _)| hash.clone()).collect();
    let newer = lines().filter(|(_, _, entry)| entry.event == Event::Newer).count();
    let (journals, found, plans) = (journals.len(), found.len(), plans.known.len());
    Ok(History { journals, heads, found, deleted, open, plans, newer, problems, hashes })
}

impl Entered<'_> {
    /// Whether a ledger enters these events in this order: a run begins and ends once, and may be deleted then.
    fn is_in_order(&self) -> bool {
        use Event::{Begun, Deleted, Ended, Found, Killed};
        let before = match self.events.as_slice() {
            [before @ .., Deleted] => before,
            all => all,
        };
        matches!(before, [] | [Found | Begun] | [Begun, Ended | Killed])
    }

    fn place(&self) -> String {
        format!("line {} of {}", self.line, self.journal.path.display())
    }
}

/// What the journals say about each run, by journal.
fn entered(journals: &[Journal]) -> HashMap<&str, Vec<Entered<'_>>> {
    let mut entered: HashMap<&str, Vec<Entered>> = HashMap::new();
    for journal in journals {
        for (line, last) in journal.of_runs() {
            let of_run = entered.entry(&last.name).or_default();
            match of_run.last_mut().filter(|of| of.journal.id == journal.id) {
                Some(of) => {
                    (of.line, of.last) = (line, last);
                    of.states.push(&last.state);
                    of.events.push(last.event);
                }
                None => {
                    let (states, events) = (vec![last.state.as_str()], vec![last.event]);
                    of_run.push(Entered { journal, line, last, states, events });
                }
            }
        }
    }
    entered
}

/// What is wrong with a record by the lines about it.
fn against(record: &Record, lines: &[Entered]) -> Option<String> {
    if lines.is_empty() {
        let older = if record.journal.is_none() { ", or an earlier version of sempair wrote it" } else { "" };
        return Some(format!("added: no journal says that this run began{older}"));
    }
    if let Some(of) = lines.iter().find(|of| of.last.event == Event::Deleted) {
        return Some(format!("put back: {} says that it was deleted", of.place()));
    }
    let of = lines.iter().find(|of| of.last.state != record.hash)?;
    let (event, place) = (of.last.event.name(), of.place());
    Some(match of.states.contains(&record.hash.as_str()) {
        true => format!("put back to an earlier state: {place} says that it was {event} with another content"),
        false => format!("replaced: {place} says that it was {event} with another content"),
    })
}

/// What is wrong with the journals themselves. `open` are the runs whose process may have died between two steps.
fn of_journals(ledger: &Ledger, journals: &[Journal], records: &Checked, open: &BTreeSet<String>) -> Vec<Problem> {
    let problems = |journal: &Journal| {
        let problem = |what: &String| Problem { file: journal.path.clone(), what: what.clone() };
        journal.problems.iter().map(problem).collect::<Vec<_>>()
    };
    let mut found: Vec<Problem> = journals.iter().flat_map(problems).collect();
    let by_id: HashMap<&str, &Journal> = journals.iter().map(|journal| (journal.id.as_str(), journal)).collect();
    let mut missing: BTreeMap<&str, String> = BTreeMap::new();
    for journal in journals {
        for (line, _, entry) in journal.lines.iter().filter(|(_, _, entry)| entry.event == Event::After) {
            let says = || format!("line {line} of {} follows it", journal.path.display());
            match by_id.get(entry.name.as_str()) {
                None => drop(missing.entry(&entry.name).or_insert_with(says)),
                // A journal that is damaged is named already.
                Some(other)
                    if !other.problems.is_empty() || other.lines.iter().any(|(_, hash, _)| *hash == entry.state) => {}
                Some(other) => found.push(Problem {
                    file: other.path.clone(),
                    what: format!("its end was removed: {}, and the line is not there", says()),
                }),
            }
        }
    }
    // The first run of a journal is written just before the journal is. The next command that runs something mends it.
    let is_first = |record: &Record| {
        let has_no_end = matches!(record.status, Status::Running | Status::Killed);
        record.journal.as_ref() == Some(&record.id) && has_no_end && open.contains(&record.id)
    };
    for (record, _) in records.iter().filter(|(record, _)| !is_first(record)) {
        if let Some(journal) = record.journal.as_deref().filter(|id| !by_id.contains_key(id)) {
            missing.entry(journal).or_insert_with(|| format!("run {} states that it is entered in it", record.id));
        }
    }
    found.extend(
        missing
            .into_iter()
            .map(|(id, says)| Problem { file: journal::path(ledger.dir(), id), what: format!("removed: {says}") }),
    );
    found
}

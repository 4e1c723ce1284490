//! The plans of a ledger, one file each: `plans/<id>.json`. A plan counts if it is as it was frozen, to the hash, and a
//! journal says that it was.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::harness::frozen_plan::FrozenPlan;
use crate::harness::frozen_plan::KnownPlan;
use crate::harness::journal;
use crate::harness::journal::Event;
use crate::harness::journal::Journal;
use crate::harness::journal_order::Order;
use crate::harness::ledger::Ledger;
use crate::harness::ledger::Problem;
use crate::harness::record;
use crate::harness::record::Seal;

/// The folder of the plans in a ledger.
const FOLDER: &str = "plans";

/// The largest file that is read as a plan, in bytes; a thousand runs take about 200 KB.
const MAX_BYTES: u64 = 16 << 20;

/// The plans of a ledger.
#[derive(Clone, Debug, Default)]
pub struct Plans {
    /// Those that count, oldest first.
    pub known: Vec<KnownPlan>,
    /// Those that do not count: plans that were changed, added or removed, and other files.
    pub problems: Vec<Problem>,
    /// Plans whose white space or order of fields was changed. They count.
    pub reformatted: Vec<Problem>,
}

/// The texts of plans and of the journals that say when they were frozen, by id.
#[derive(Clone, Debug, Default)]
pub struct PlanTexts {
    /// The plans.
    pub plans: BTreeMap<String, String>,
    /// All journals of the ledger.
    pub journals: BTreeMap<String, String>,
}

/// A plan that was frozen now.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// The plan.
    pub plan: FrozenPlan,
    /// Its file.
    pub file: PathBuf,
    /// The hash of its line in the journal, which states everything before it.
    pub line: String,
}

/// The plans of a ledger.
///
/// # Errors
/// When a folder of the ledger cannot be read.
pub fn read(ledger: &Ledger) -> Result<Plans> {
    check(ledger, &journal::read_all(ledger.dir())?)
}

/// As [`read`], with journals that were read already.
pub(super) fn check(ledger: &Ledger, journals: &[Journal]) -> Result<Plans> {
    let files = files(ledger)?;
    let texts = files.iter().map(|path| (stem(path).to_owned(), text(path)));
    let texts = texts.collect();
    let file = |id: &str| path(ledger.dir(), id);
    let mut plans = compared(&texts, journals, &file, false);
    let mut seen = BTreeSet::new();
    for line in frozen(journals).filter(|line| !texts.contains_key(line.plan)) {
        if seen.insert(line.plan) {
            let what = format!("removed: {} says that it was frozen", line.place());
            plans.problems.push(Problem { file: file(line.plan), what });
        }
    }
    Ok(plans)
}

/// The plans in the texts of a bundle, which may be an anonymous one. Files are named as in a ledger and in a bundle. A
/// bundle has the plans of one profile, so a plan that is not there is no problem.
pub fn of_texts(texts: &PlanTexts, anonymous: bool) -> Plans {
    let journal = |(id, text): (&String, &String)| Journal::parse(id, journal::path(Path::new(""), id), text);
    let journals: Vec<Journal> = texts.journals.iter().map(journal).collect();
    let plans = texts.plans.iter().map(|(id, text)| (id.clone(), Ok(text.clone()))).collect();
    compared(&plans, &journals, &|id| path(Path::new(""), id), anonymous)
}

/// The texts of the plans that count for a profile, and of all journals; empty if there is no such plan.
///
/// # Errors
/// When a file of the ledger cannot be read.
pub fn texts(ledger: &Ledger, profile: &str) -> Result<PlanTexts> {
    let journals = journal::read_all(ledger.dir())?;
    let plans = check(ledger, &journals)?.known;
    let mut texts = PlanTexts::default();
    for known in plans.iter().filter(|known| known.plan.profile == profile) {
        let id = &known.plan.id;
        texts.plans.insert(id.clone(), text(&path(ledger.dir(), id))?);
    }
    if texts.plans.is_empty() {
        return Ok(texts);
    }
    for journal in journals {
        let text = std::fs::read_to_string(&journal.path).context(format!("cannot read {}", journal.path.display()))?;
        texts.journals.insert(journal.id, text);
    }
    Ok(texts)
}

/// Freezes a plan: writes its file and enters it in a journal. Its id sorts after those of all earlier plans, even if a
/// clock was set back.
///
/// # Errors
/// When the ledger cannot be written.
pub fn freeze(ledger: &Ledger, mut plan: FrozenPlan) -> Result<Frozen> {
    if let Some(newest) = files(ledger)?.last().map(|path| stem(path)).filter(|newest| plan.id.as_str() <= *newest) {
        plan.id = record::id_after(newest).unwrap_or(plan.id);
    }
    let (file, text) = (path(ledger.dir(), &plan.id), plan.to_text());
    record::stated_hash(&text).clone_into(&mut plan.hash);
    let journal = ledger.freeze(&plan.id, &file, &text)?;
    let line = journal::read(&journal).head().to_owned();
    Ok(Frozen { plan, file, line })
}

/// Compares plans with the journals.
fn compared(
    texts: &BTreeMap<String, Result<String>>,
    journals: &[Journal],
    file: &dyn Fn(&str) -> PathBuf,
    anonymous: bool,
) -> Plans {
    let order = Order::new(journals);
    let mut plans = Plans::default();
    for (id, text) in texts {
        let problem = |what: String| Problem { file: file(id), what };
        let read = match text {
            Ok(text) => FrozenPlan::parse(text).map(|plan| (plan, record::seal(text))),
            Err(error) => Err(Error::new(error.what())),
        };
        let (plan, seal) = match read {
            Ok(read) => read,
            Err(error) => {
                plans.problems.push(problem(error.what().to_owned()));
                continue;
            }
        };
        if let Some(what) = against(&plan, id, seal, journals, anonymous) {
            plans.problems.push(problem(what));
            continue;
        }
        if seal == Seal::Reformatted {
            let what = "its white space or the order of its fields was changed; its facts are as they were frozen";
            plans.reformatted.push(problem(what.to_owned()));
        }
        let after = order.runs_after(id);
        plans.known.push(KnownPlan { plan, after });
    }
    plans
}

/// Why a plan does not count.
fn against(plan: &FrozenPlan, id: &str, seal: Seal, journals: &[Journal], anonymous: bool) -> Option<String> {
    if plan.id != id {
        return Some(format!("a copy: the plan inside is `{}`", plan.id));
    }
    if seal == Seal::Broken {
        return Some("its hash does not match: it was changed after it was frozen".to_owned());
    }
    // Anyone can write a copy that states the hash of a plan.
    if plan.original.is_some() && !anonymous {
        return Some("an anonymous copy of a plan, and not the plan".to_owned());
    }
    let stated = plan.original.as_ref().unwrap_or(&plan.hash);
    let lines: Vec<Line> = frozen(journals).filter(|line| line.plan == id).collect();
    if lines.is_empty() {
        return Some("added: no journal says that it was frozen".to_owned());
    }
    let other = lines.iter().find(|line| line.state != stated)?;
    Some(format!("replaced: {} says that it was frozen with another content", other.place()))
}

/// A line that says that a plan was frozen.
struct Line<'a> {
    journal: &'a Journal,
    number: usize,
    plan: &'a str,
    state: &'a str,
}

impl Line<'_> {
    fn place(&self) -> String {
        format!("line {} of {}", self.number, self.journal.path.display())
    }
}

fn frozen(journals: &[Journal]) -> impl Iterator<Item = Line<'_>> {
    journals.iter().flat_map(|journal| {
        let lines = journal.lines.iter().filter(|(_, _, entry)| entry.event == Event::Frozen);
        lines.map(move |(number, _, entry)| Line { journal, number: *number, plan: &entry.name, state: &entry.state })
    })
}

/// The file of a plan.
fn path(ledger: &Path, id: &str) -> PathBuf {
    ledger.join(FOLDER).join(format!("{id}.json"))
}

/// The files that should be plans, sorted.
fn files(ledger: &Ledger) -> Result<Vec<PathBuf>> {
    journal::files_in(&ledger.dir().join(FOLDER), "json")
}

fn text(path: &Path) -> Result<String> {
    let kind = std::fs::symlink_metadata(path).context("cannot read it")?;
    if !kind.is_file() || kind.len() > MAX_BYTES {
        return Err(Error::new("not a plain file of a plan's size"));
    }
    std::fs::read_to_string(path).context("cannot read it")
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

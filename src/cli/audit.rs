//! `audit`: checks a commit's runs, one run, a report, or everything that was recorded.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::data::store;
use crate::error::{Error, Result};
use crate::harness::audit::{self, Audit, AuditCommit, AuditRun, Subject};
use crate::harness::cache::Held;
use crate::harness::git::Holder;
use crate::harness::ledger::{Ledger, Problem};
use crate::harness::record::short;
use crate::report::{self, ReportCheck, counted};
use crate::study::settings::Settings;

use super::{App, ConfigArgs, Ending, records, run, setup};

/// The most runs and files of one kind that are listed.
const MOST: usize = 20;

/// The most files of a report that are listed: one record that was changed changes nearly all of them.
const FILES: usize = 3;

#[derive(Args)]
pub(super) struct AuditArgs {
    /// A commit, branch or tag; a run; the folder of a report, such as reports/quick; or `.` for everything
    of: String,
    /// Read the contents of cached files and datasets, too, instead of their sizes only
    #[arg(long)]
    deep: bool,
    /// Check that the history still has this line of a journal, such as the last one of an earlier audit
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What an audit found, for scripts.
#[derive(Serialize)]
struct Answer<'a> {
    of: &'a str,
    #[serde(flatten)]
    audit: Audit,
    reports: Vec<ReportCheck>,
    /// The datasets that were checked.
    data: Vec<String>,
}

/// `sempair audit`.
pub(super) fn audit(app: &App, args: &AuditArgs) -> Result<Ending> {
    if let Some(head) = &args.head
        && (!(8..=64).contains(&head.len()) || !head.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    {
        return Err(Error::new(format!("`--head {head}`: not 8 to 64 of the digits 0 to 9 and a to f"))
            .hint("`sempair audit .` prints the last line's hash"));
    }
    let settings = setup::resolve(app, &args.config)?.settings;
    let (ledger, cache) = (setup::ledger(&settings), setup::cache(&settings));
    let folder = Path::new(&args.of);
    let is_report = args.of != "." && folder.join("results.json").exists();
    let subject = match args.of.as_str() {
        "." => Subject::Everything,
        _ if is_report => Subject::Everything,
        of => Subject::Named(of),
    };
    let audit = audit::audit(&ledger, &cache, Path::new("."), subject, args.deep)?;
    let mut answer = Answer { of: &args.of, audit, reports: Vec::new(), data: Vec::new() };
    if is_report {
        answer.check_report(app, args, &settings, folder)?;
    } else if subject == Subject::Everything {
        for folder in reports(app, &settings) {
            answer.check_report(app, args, &settings, &folder)?;
        }
        answer.check_data(&settings, args.deep)?;
    }
    answer.check_head(args, &ledger);
    match args.json {
        true => setup::print_json(&answer)?,
        false => answer.print(subject, &ledger),
    }
    Ok(if answer.audit.holds() { Ending::Done } else { Ending::Found })
}

/// The folders of reports next to the ledger.
fn reports(app: &App, settings: &Settings) -> Vec<PathBuf> {
    let names = app
        .profiles
        .iter()
        .flat_map(|profile| [false, true].map(|anonymous| run::folder_name(profile.name, anonymous)));
    let folders = names.map(|name| Path::new(&settings.paths.reports).join(name));
    folders.filter(|folder| folder.join("results.json").exists()).collect()
}

impl Answer<'_> {
    fn found(&mut self, file: PathBuf, what: String) {
        self.audit.problems.push(Problem { file, what });
    }

    /// Compares a report with the one that the ledger gives.
    fn check_report(&mut self, app: &App, args: &AuditArgs, settings: &Settings, folder: &Path) -> Result<()> {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let all = app.profiles.iter().flat_map(|profile| [false, true].map(|anonymous| (profile.name, anonymous)));
        let Some((profile, anonymous)) =
            all.into_iter().find(|(profile, anonymous)| run::folder_name(profile, *anonymous) == name)
        else {
            self.found(folder.to_path_buf(), "not the report of a profile: its name is none of a profile".to_owned());
            return Ok(());
        };
        let config = ConfigArgs { profile: profile.to_owned(), ..args.config.clone() };
        let input = match run::recorded_input(app, &config, settings, anonymous) {
            Ok(input) => input,
            Err(error) => {
                self.found(folder.to_path_buf(), format!("cannot be compared with records: {}", error.what()));
                return Ok(());
            }
        };
        let check = report::check(&input, folder)?;
        check.differing.iter().for_each(|(file, what)| self.found(file.clone(), what.clone()));
        check.wrong.iter().for_each(|what| self.found(folder.join("results.json"), what.clone()));
        self.reports.push(check);
        Ok(())
    }

    /// Checks the imported datasets.
    fn check_data(&mut self, settings: &Settings, deep: bool) -> Result<()> {
        let folder = Path::new(&settings.paths.data);
        for set in store::list(folder)? {
            let file = store::path_of(folder, &set.name)?;
            let verified = match set.damaged {
                Some(damaged) => Err(damaged),
                None if deep => store::verify(folder, &set.name).map(Some).map_err(|error| error.what().to_owned()),
                None => Ok(None),
            };
            let is_older = matches!(&verified, Ok(Some(report)) if report.whole.is_none());
            let note = if is_older { " (from an earlier version: only images and labels were compared)" } else { "" };
            self.data.push(format!("{}{note}", set.name));
            let problem = verified.map_or_else(Some, |report| report.and_then(|report| report.problem()));
            problem.into_iter().for_each(|what| self.found(file.clone(), what));
        }
        Ok(())
    }

    fn check_head(&mut self, args: &AuditArgs, ledger: &Ledger) {
        if let Some(head) = args.head.as_ref().filter(|head| !self.audit.history.has(head)) {
            let what = format!(
                "no journal has the line {head}: the end of the history was removed, or all of it was written again"
            );
            self.found(ledger.dir().to_path_buf(), what);
        }
    }

    fn print(&self, subject: Subject, ledger: &Ledger) {
        let Audit { commit, runs, commits, history, deep, problems } = &self.audit;
        let dir = ledger.dir().display();
        match (subject, commit) {
            (_, Some(commit)) if runs.is_empty() => {
                say!("no run was recorded at commit {commit}; `sempair runs` shows the commits of the runs");
            }
            (_, Some(commit)) => say!("{} recorded at commit {commit}", counted(runs.len(), "run")),
            (Subject::Everything, _) => say!("{} in {dir}", counted(runs.len(), "run")),
            (Subject::Named(_), _) => {}
        }
        if subject != Subject::Everything {
            runs.iter().for_each(|run| print_run(run, *deep));
        }
        commits.iter().for_each(print_commit);
        if history.journals > 0 {
            let heads: Vec<&str> = history.heads.values().map(String::as_str).collect();
            let deleted = history.deleted.len();
            let deleted = if deleted > 0 { format!("; deleted: {}", counted(deleted, "run")) } else { String::new() };
            let journals = counted(history.journals, "journal");
            say!("{journals}{deleted}; the history ends with {}", heads.join(", "));
        } else if !runs.is_empty() {
            say!("no journal: a record that was removed, or replaced with its hash, cannot be found");
        }
        if !history.open.is_empty() {
            let open = history.open.iter().map(|id| short(id)).take(MOST).collect::<Vec<_>>().join(", ");
            say!("{} runs are running, or were killed and not yet entered as such: {open}", history.open.len());
        }
        let lost: Vec<&AuditRun> = runs.iter().filter(|run| run.not_kept.is_some()).collect();
        if let Some(first) = lost.first() {
            let what = first.not_kept.as_deref().unwrap_or_default();
            let ids = lost.iter().map(|run| short(&run.id)).take(MOST).collect::<Vec<_>>().join(", ");
            say!("of the code of {} runs, not all is kept ({what}): {ids}", lost.len());
        }
        if history.found > 0 {
            say!("{} records are older than the first journal", history.found);
        }
        if history.plans > 0 {
            say!("{} as frozen", counted(history.plans, "plan"));
        }
        if history.newer > 0 {
            say!("{} lines of journals are of a newer version, and their meaning was not checked", history.newer);
        }
        let is_of_ledger = |problem: &Problem| problem.file.starts_with(ledger.dir());
        let hint = match problems.iter().any(is_of_ledger) {
            true => "what was found in the ledger may be the reason: repair the ledger first",
            false => "another version of the program may have written it: `sempair report` writes it again",
        };
        self.reports.iter().for_each(|check| print_report(check, hint));
        if !self.data.is_empty() {
            say!("datasets: {}", self.data.join(", "));
        }
        if !deep {
            say!("cached files and datasets were not read; `--deep` reads them");
        }
        let more = |check: &ReportCheck| check.differing.iter().skip(FILES).cloned().collect::<Vec<_>>();
        let hidden: Vec<(PathBuf, String)> = self.reports.iter().flat_map(more).collect();
        let is_shown =
            |problem: &&Problem| !hidden.iter().any(|(file, what)| (file, what) == (&problem.file, &problem.what));
        problems.iter().filter(is_shown).for_each(|Problem { file, what }| say!("FOUND {}: {what}", file.display()));
        for check in self.reports.iter().filter(|check| check.differing.len() > FILES) {
            let count = counted(check.differing.len() - FILES, "more file");
            say!("FOUND {}: {count} with differences; `--json` lists all", check.folder.display());
        }
        if problems.is_empty() {
            say!("everything is as it was recorded");
        }
    }
}

fn print_run(run: &AuditRun, deep: bool) {
    say!(
        "{}  {:11}  {} {} {} seed {}: record {}, tree {}, {}",
        short(&run.id),
        run.status.name(),
        run.experiment,
        records::labels(&run.row),
        run.column,
        run.seed,
        if run.intact { "unchanged" } else { "CHANGED since it was written" },
        run.tree.name(),
        stages(run, deep),
    );
}

fn print_commit(AuditCommit { commit, runs, ids, holder }: &AuditCommit) {
    let held = match holder {
        Holder::Remote(name) => format!("held by {name}, as it was last fetched or pushed"),
        Holder::Local(name) => format!("held by {name}, on no remote"),
        Holder::Bundle(name) => format!("held by the ledger in source/{name}, on no branch or tag"),
        Holder::Nothing => "held by NO BRANCH OR TAG".to_owned(),
        Holder::Unknown => "UNKNOWN to this repository".to_owned(),
        Holder::NotAsked => "not looked up: there is no repository with its history".to_owned(),
    };
    let more = if ids.len() > MOST { ", .." } else { "" };
    let ids: Vec<&str> = ids.iter().take(MOST).map(|id| short(id)).collect();
    let ids = if ids.is_empty() { String::new() } else { format!(": {}{more}", ids.join(", ")) };
    match commit {
        Some(commit) => say!("commit {commit}: {}, {held}{ids}", counted(*runs, "run")),
        None => say!("{runs} runs name no commit{ids}"),
    }
}

/// `hint` says what to do if files differ.
fn print_report(check: &ReportCheck, hint: &str) {
    let folder = check.folder.display();
    if check.differing.is_empty() {
        say!("{folder}: its {} files follow from {} runs, byte for byte", check.files, check.used);
    } else {
        let figures = match check.wrong.is_empty() {
            true => format!("its {} figures follow from {} runs", check.figures, check.used),
            false => "not all of its figures follow from the runs".to_owned(),
        };
        say!("{folder}: {} of {} files differ; {figures}", check.differing.len(), check.files);
        say!("  {hint}");
    }
    for (run, reason) in check.left_out.iter().take(MOST) {
        say!("  left out: {run}: {reason}");
    }
    if check.left_out.len() > MOST {
        say!("  and {} more are left out; `--json` lists all", check.left_out.len() - MOST);
    }
    if !check.others.is_empty() {
        let (count, first) = (counted(check.others.len(), "file"), check.others[0].display());
        say!("  NOT CHECKED: {count} that this report does not have, such as {first} (`--json` lists all)");
    }
}

/// The state of a run's files, in a few words.
fn stages(run: &AuditRun, deep: bool) -> String {
    let changed: Vec<&str> =
        run.stages.iter().filter(|s| matches!(s.held, Held::Changed(_))).map(|s| s.name.as_str()).collect();
    let held = run.stages.iter().filter(|stage| matches!(stage.held, Held::Ok | Held::Replaced)).count();
    match (changed.is_empty(), held) {
        (false, _) => format!("files CHANGED in {}", changed.join(", ")),
        (true, 0) if run.stages.is_empty() => "no files".into(),
        (true, 0) => "files no longer in the cache".into(),
        (true, held) if deep => format!("files of {held} of {} stages unchanged", run.stages.len()),
        (true, held) => format!("files of {held} of {} stages in the cache, with their sizes", run.stages.len()),
    }
}

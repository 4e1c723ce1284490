//! `verify`: repeats recorded runs, and says whether the figures come out again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::{ArgGroup, Args, ValueEnum};
use serde_json::{Value, json};

use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::harness::config::{self, Resolved};
use crate::harness::experiment::{Cell, Experiment, Table};
use crate::harness::git::Git;
use crate::harness::interrupt::Interrupt;
use crate::harness::ledger::Ledger;
use crate::harness::progress::{Progress, duration};
use crate::harness::provenance::Build;
use crate::harness::rebuild::{self, Rebuilt};
use crate::harness::record::{Record, Status, short};
use crate::harness::repetition::{Agreement, Measure, Parted, Repetition};
use crate::harness::source::Trust;
use crate::report::{PrintedClaim, counted, stats};
use crate::study::device;
use crate::study::settings::{DeviceChoice, Settings};

use super::cause::{self, Cause, CommitProgram, Gave, Toggle, device_of};
use super::claim::ClaimCheck;
use super::comparable_runs::asked;
use super::recorded_runs::{Subject, recorded, results};
use super::{App, ConfigArgs, Ending, Jobs, records, setup, statement};

/// How much of a table is repeated.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// About a minute: the cells that take the least time
    Smoke,
    /// About ten minutes
    Small,
    /// All cells
    Full,
}

impl Tier {
    /// The seconds of work of the whole machine that it may take, by the times of the recorded runs.
    fn seconds(self) -> f64 {
        match self {
            Self::Smoke => 60.0,
            Self::Small => 600.0,
            Self::Full => f64::INFINITY,
        }
    }
}

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["of", "claim"])))]
pub(super) struct VerifyArgs {
    /// A table's id, or a run
    #[arg(value_name = "TABLE|RUN")]
    of: Option<String>,
    /// Repeat the runs behind a claim of the profile's report, and say whether its verdict, difference and interval come
    /// out again. TEXT is a part of its wording, or words of its statement, case and set as the page shows them, such as
    /// `transfer better: SimCLR, synth-10`
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["at", "tier"])]
    claim: Option<String>,
    /// Only runs that were recorded at this commit, branch or tag; by default those of the newest run's commit
    #[arg(long, value_name = "REV")]
    at: Option<String>,
    /// Repeat with this program, even if its code is not that of the runs
    #[arg(long, conflicts_with = "rebuild")]
    quick: bool,
    /// Build the program of the runs' commit and repeat with it, even if this program has the same code
    #[arg(long)]
    rebuild: bool,
    /// Build code that is not in this repository but in the ledger. Building runs it: trust its author, or look at it
    /// with `sempair show RUN --changes`
    #[arg(long)]
    trust_ledger: bool,
    /// How much of a table to repeat, by the times of its runs
    #[arg(long, value_enum, default_value_t = Tier::Full)]
    tier: Tier,
    /// The largest difference of a figure that counts as within tolerance: in points for percentages, in percent of
    /// the recorded value for others
    #[arg(long, default_value_t = 0.5, value_name = "NUMBER")]
    tolerance: f64,
    /// The margin of the equivalence test over seeds, in the same units
    #[arg(long, default_value_t = 1.0, value_name = "NUMBER")]
    margin: f64,
    /// Run this many cells in parallel: auto, or a number
    #[arg(long, default_value = "auto", value_name = "N", value_parser = setup::jobs)]
    jobs: Jobs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Write the verdicts to this file, as an in-toto statement with a test result
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `sempair verify`.
pub(super) fn verify(app: &App, args: &VerifyArgs, quiet: bool) -> Result<Ending> {
    let progress = Progress::stderr(quiet);
    let Resolved { settings, values } = setup::resolve(app, &args.config)?;
    let interrupt = Interrupt::install()?;
    let subject = subject(app, args, &settings)?;
    let recorded = recorded(app, (&subject, args.at.as_deref()), &args.config, &settings, &progress)?;
    let site = Site::new(app, args, (&settings, &values), &interrupt, &recorded)?;
    let recorded = site.within(args.tier, recorded);
    let program = site.program(args, &recorded, &progress)?;
    let (count, seconds) = (recorded.len(), total(recorded.iter().flat_map(|run| site.costs(run))));
    progress.line(&format!("{count} runs to repeat, about {} if nothing else runs", duration(seconds)));
    let again = site.repeat(&program, &recorded, &Toggle::default(), quiet)?;
    let mut repetitions = site.compare(&recorded, &again, args.tolerance);
    site.judge_by_seeds(&mut repetitions, args.margin);
    if !args.json {
        print(&repetitions);
    }
    let cause = site.cause(&program, &recorded, &again, &repetitions, &progress)?;
    let claim =
        if let Subject::Claim(claim) = &subject { Some(ClaimCheck::new(claim, &recorded, &again)) } else { None };
    if let Some(file) = &args.statement {
        let ledger = setup::ledger(&settings);
        let grounds = statement::Grounds {
            ledger: ledger.dir(),
            report: &results(&settings, &args.config.profile),
            program: program.path(),
            claim: claim.as_ref(),
            tolerance: args.tolerance,
            margin: args.margin,
        };
        let statement = statement::statement(&recorded, &repetitions, &grounds)?;
        let text = serde_json::to_string_pretty(&statement).context("not JSON")? + "\n";
        files::write_whole(file, text.as_bytes())?;
    }
    if args.json {
        setup::print_json(&json!({
            "table": site.experiment.id(), "commit": commit_of(&recorded), "program": program.name(),
            "not_whole": program.not_whole(),
            "tolerance": args.tolerance, "margin": args.margin, "cells": repetitions,
            "factor": cause.as_ref().map(|cause| &cause.factor), "cause": cause, "claim": claim,
        }))?;
    } else {
        program.not_whole().iter().for_each(|why| say!("the runs may have had another program: {why}"));
        cause.iter().for_each(Cause::print);
        claim.iter().for_each(ClaimCheck::print);
    }
    let fails = |cell: &Repetition| matches!(cell.agreement, Agreement::Different | Agreement::NotRepeated);
    let found = repetitions.iter().any(fails) || claim.is_some_and(|claim| !claim.holds());
    Ok(if found { Ending::Found } else { Ending::Done })
}

/// What the command line asks for.
fn subject<'a>(app: &App, args: &'a VerifyArgs, settings: &Settings) -> Result<Subject<'a>> {
    let VerifyArgs { of, claim, config, .. } = args;
    Ok(match (of, claim) {
        (_, Some(text)) => Subject::Claim(PrintedClaim::find(&results(settings, &config.profile), text)?.into()),
        (Some(of), None) if app.experiments.iter().any(|experiment| experiment.id() == of) => Subject::Table(of),
        (of, None) => Subject::Run(of.as_deref().unwrap_or_default()),
    })
}

fn commit_of(recorded: &[Arc<Record>]) -> Option<&str> {
    recorded.first()?.git.commit.as_deref()
}

/// The sum of these costs, each stage once.
fn total(costs: impl Iterator<Item = (String, f64)>) -> f64 {
    // An empty sum would be -0.
    costs.collect::<HashMap<String, f64>>().values().fold(0.0, |sum, seconds| sum + seconds)
}

/// The program that repeats the runs.
enum Program {
    /// This one.
    This(PathBuf),
    /// That of the runs' commit.
    Rebuilt(Rebuilt),
}

impl Program {
    fn path(&self) -> &Path {
        match self {
            Self::This(path) => path,
            Self::Rebuilt(built) => &built.path,
        }
    }

    /// Why it may not be the program of the runs, although it was built from their commit.
    fn not_whole(&self) -> Option<&str> {
        match self {
            Self::This(_) => None,
            Self::Rebuilt(built) => built.not_whole.as_deref(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::This(_) => "this",
            Self::Rebuilt(_) => "rebuilt",
        }
    }
}

/// What repetitions need besides the runs.
struct Site<'a> {
    args: &'a VerifyArgs,
    settings: &'a Settings,
    interrupt: &'a Interrupt,
    experiment: &'a dyn Experiment<Settings>,
    /// The cells and the table that this program has with the settings of the runs.
    cells: Vec<Cell>,
    table: Option<Table>,
    /// The keys of all settings of this program.
    known: HashSet<String>,
    /// Whether the program that repeats the runs cannot run single cells.
    whole_tables: std::cell::Cell<bool>,
}

impl<'a> Site<'a> {
    /// # Errors
    /// When the runs are not of a table.
    fn new(
        app: &'a App<'a>,
        args: &'a VerifyArgs,
        (settings, values): (&'a Settings, &[config::Value]),
        interrupt: &'a Interrupt,
        recorded: &[Arc<Record>],
    ) -> Result<Self> {
        let id = &recorded[0].experiment;
        let Some(&experiment) = app.experiments.iter().find(|experiment| experiment.id() == id) else {
            let run = recorded[0].short();
            return Err(Error::new(format!(
                "run {run} is of `{id}`, which is no table; only cells of tables are repeated"
            ))
            .hint(format!(
                "`sempair show {run}` prints its command; `sempair diff` compares its result with the first"
            )));
        };
        let roles = setup::roles(app);
        let of_runs = setup::resolve_above(app, &args.config, asked(recorded, &roles), &roles);
        // If this version does not accept the settings of the runs, its own tell what is a time.
        let mut of_runs = of_runs.unwrap_or_else(|_| settings.clone());
        of_runs.paths.clone_from(&settings.paths);
        // `auto` may choose another device here than it chose then.
        let device = args.config.device.as_deref().or(device_of(&recorded[0]));
        if let Some(device) = device.and_then(|device| DeviceChoice::try_from(device.to_owned()).ok()) {
            of_runs.device = device;
        }
        device::open(&of_runs)?;
        let (cells, table) = (experiment.cells(&of_runs).unwrap_or_default(), experiment.table(&of_runs).ok());
        let known = values.iter().map(|value| value.key.clone()).collect();
        let whole_tables = std::cell::Cell::new(false);
        Ok(Self { args, settings, interrupt, experiment, cells, table, known, whole_tables })
    }

    /// The seconds of the whole machine for each stage of a run, by key: what it took, or if the record does not state
    /// stages, what this program predicts.
    fn costs(&self, run: &Record) -> Vec<(String, f64)> {
        let (all, threads) = (run.host.threads, rayon::current_num_threads() as f64);
        let share = |threads: usize| if (1..all).contains(&threads) { threads as f64 / all as f64 } else { 1.0 };
        match run.stages.is_empty() {
            false => run.stages.iter().map(|stage| (stage.key.clone(), stage.seconds * share(stage.threads))).collect(),
            true => {
                let predicted = self.cell(run).into_iter().flat_map(Cell::stages);
                predicted.map(|stage| (stage.key().to_owned(), stage.description.cost.seconds / threads)).collect()
            }
        }
    }

    /// The runs that fit into the time of the tier: those that add the least time first. At least one.
    fn within(&self, tier: Tier, recorded: Vec<Arc<Record>>) -> Vec<Arc<Record>> {
        let mut have: HashSet<String> = HashSet::new();
        let (mut chosen, mut rest, mut taken) = (Vec::new(), recorded, 0.0);
        while !rest.is_empty() && tier != Tier::Full {
            let adds = |run: &Arc<Record>| total(self.costs(run).into_iter().filter(|(key, _)| !have.contains(key)));
            let all: Vec<f64> = rest.iter().map(adds).collect();
            let next = (0..rest.len()).min_by(|&a, &b| all[a].total_cmp(&all[b])).expect("some are left");
            if taken + all[next] > tier.seconds() && !chosen.is_empty() {
                break;
            }
            taken += all[next];
            let run = rest.remove(next);
            have.extend(self.costs(&run).into_iter().map(|(key, _)| key));
            chosen.push(run);
        }
        if tier == Tier::Full {
            return rest;
        }
        chosen.sort_by(|a, b| a.id.cmp(&b.id));
        chosen
    }

    fn cell(&self, run: &Record) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.is_at(&run.row, &run.column, run.seed))
    }

    /// The program that repeats the runs: this one if its code is that of all runs, otherwise that of their commit.
    fn program(&self, args: &VerifyArgs, recorded: &[Arc<Record>], progress: &Progress) -> Result<Program> {
        let this = std::env::current_exe().context("this program's path")?;
        let same_code = |run: &Arc<Record>| match run.code.is_empty() {
            true => run.build.code == Build::current().code,
            false => self.cell(run).is_some_and(|cell| cell.code() == *run.code),
        };
        if !args.rebuild && (args.quick || recorded.iter().all(same_code)) {
            let words = if args.quick { "as asked" } else { "it has the code of the runs" };
            progress.line(&format!("repeating with this program: {words}"));
            return Ok(Program::This(this));
        }
        if commit_of(recorded).is_none() {
            return Err(Error::new("the runs name no commit, and this program has other code than they had")
                .hint("`--quick` repeats them with this program"));
        }
        let git = &recorded[0].git;
        if recorded.iter().any(|run| run.git.commit != git.commit) {
            return Err(Error::new("the runs behind the claim are of several commits, and this program has other code than some of them had")
                .hint("`sempair verify RUN` builds the program of one run's commit; `--quick` repeats all with this program"));
        }
        let differs = |run: &&Arc<Record>| (&run.git.diff_hash, run.git.tree()) != (&git.diff_hash, git.tree());
        if let Some(run) = recorded.iter().find(differs) {
            let id = run.short();
            progress.line(&format!("warning: run {id} had other files than the first run, whose program repeats it"));
        }
        self.build(git, progress).map(Program::Rebuilt)
    }

    /// The program of a run. Says so before it is built, which takes minutes.
    fn build(&self, git: &Git, progress: &Progress) -> Result<Rebuilt> {
        let builds = Path::new(&self.settings.paths.cache).join("builds");
        let trust = if self.args.trust_ledger { Trust::Ledger } else { Trust::Repository };
        rebuild::program_of((Path::new("."), setup::ledger(self.settings).dir()), git, trust, &builds, progress)
    }

    /// Repeats the runs in a new folder, and returns the completed records.
    fn repeat(&self, program: &Program, recorded: &[Arc<Record>], toggle: &Toggle, quiet: bool) -> Result<Vec<Record>> {
        let folder = tempfile::tempdir().context("cannot make a folder for temporary files")?;
        let place = |name: &str| folder.path().join(name);
        let ledger = Ledger::open(place("reports/ledger"), place("cache/locks"));
        let completed = || ledger.records().map(|(records, _)| records).unwrap_or_default();
        let mut ended = 0;
        for group in by_settings(recorded) {
            let cells: Vec<Value> =
                group.iter().map(|run| json!({ "row": run.row, "column": run.column, "seed": run.seed })).collect();
            files::write_json(&place("cells.json"), &cells)?;
            let before = completed().len();
            ended = self.start(program, &group[0], toggle, quiet, folder.path())?;
            if ended == 2 && completed().len() == before && matches!(program, Program::Rebuilt(_)) {
                talk!("trying the whole table, since programs of some earlier commits cannot run single cells");
                self.whole_tables.set(true);
                ended = self.start(program, &group[0], toggle, quiet, folder.path())?;
            }
        }
        let mut records = completed();
        records.retain(|record| record.status == Status::Completed);
        match records.is_empty() {
            true => Err(Error::new(format!("no run could be repeated (exit code {ended}); its messages are above"))
                .hint("`sempair data list` shows the datasets that are here")),
            false => Ok(records),
        }
    }

    /// Runs the table's command in a folder of its own. Returns its exit code.
    #[expect(
        clippy::disallowed_methods,
        reason = "the repetition is a run of its own, by the program that is verified"
    )]
    fn start(&self, program: &Program, run: &Record, toggle: &Toggle, quiet: bool, folder: &Path) -> Result<i32> {
        let data = std::path::absolute(&self.settings.paths.data).context("the folder of datasets")?;
        let mut command = Command::new(program.path());
        command.current_dir(folder).args(["table", &run.experiment, "--profile", &run.profile]);
        // Places are others here, and a repetition is recorded without a repository.
        let is_place = |key: &str| ["paths.", "source."].iter().any(|group| key.trim().starts_with(group));
        let is_known = |key: &str| matches!(program, Program::Rebuilt(_)) || self.known.contains(key);
        for setting in run.settings.iter().filter(|setting| !is_place(&setting.key) && is_known(&setting.key)) {
            command.args(["--set", &format!("{}={}", setting.key, setting.value)]);
        }
        let ConfigArgs { sets, methods, seeds, device, .. } = &self.args.config;
        if run.settings.is_empty() {
            // A report does not state all settings: the user may.
            let seeds = seeds.map(|seeds| seeds.to_string());
            let options = sets.iter().filter(|set| !is_place(set)).map(|set| ("--set", set));
            let options = options.chain(methods.iter().map(|list| ("--methods", list)));
            for (option, value) in options.chain(seeds.iter().map(|seeds| ("--seeds", seeds))) {
                command.args([option, value.as_str()]);
            }
        }
        if let Some(device) = toggle.device.as_deref().or(device.as_deref()).or(device_of(run)) {
            command.args(["--device", device]);
        }
        if let (Some(libraries), Program::This(_)) = (device::libraries(self.settings), program) {
            let libraries = std::path::absolute(libraries).context("the folder of NVIDIA's libraries")?;
            command.env("SEMPAIR_PATHS__CUDA", libraries);
        }
        if let Some(precision) = &toggle.precision {
            command.args(["--set", &format!("precision={precision}")]);
        }
        if let Some(isa) = &toggle.isa {
            command.env("SEMPAIR_ISA", isa);
        }
        // Nothing of an earlier run may be found: folder of the cache and of the ledger are new.
        command.args(["--set", "paths.cache=cache", "--out", "reports"]).arg("--data").arg(data);
        // With one job, a run has all threads.
        if let Some(jobs) = toggle.threads.map(|_| 1).or(self.args.jobs.0) {
            command.args(["--jobs", &jobs.to_string()]);
        }
        if !self.whole_tables.get() {
            command.args(["--cells", "cells.json"]);
        }
        if quiet {
            command.arg("--quiet");
        }
        let threads = toggle.threads.unwrap_or_else(rayon::current_num_threads);
        command.args(["--threads", &threads.to_string()]);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
        let status = status.context(format!("cannot start {}", program.path().display()))?;
        // Ctrl-C reaches both programs: the other one stops at a safe point, and then this one does.
        if self.interrupt.requested() {
            return Err(Error::interrupted("stopped before the runs were compared")
                .hint("run the same command to repeat them from the start"));
        }
        Ok(status.code().unwrap_or(-1))
    }

    /// Compares each run with its repetition.
    fn compare(&self, recorded: &[Arc<Record>], again: &[Record], tolerance: f64) -> Vec<Repetition> {
        let mut timed: HashMap<&str, &[&str]> = HashMap::new();
        for stage in self.cells.iter().flat_map(Cell::stages) {
            timed.insert(stage.name(), stage.description.timed);
        }
        let has_times = |stage: &str, file: &str| timed.get(stage).is_some_and(|files| files.contains(&file));
        let is_time = |metric: &str| self.unit(metric) == Some("s");
        let tolerance = |metric: &str, value: f64| self.in_unit(metric, value, tolerance);
        let compare = |run: &Arc<Record>| {
            let repeated =
                again.iter().find(|other| other.row == run.row && other.column == run.column && other.seed == run.seed);
            Repetition::of(run, repeated, &Measure { is_time: &is_time, has_times: &has_times, tolerance: &tolerance })
        };
        recorded.iter().map(compare).collect()
    }

    /// A tolerance or a margin in the unit of a metric: points of a percentage, or percent of the recorded value.
    fn in_unit(&self, metric: &str, value: f64, number: f64) -> f64 {
        if self.unit(metric).is_none_or(|unit| unit == "%") { number } else { value.abs() * number / 100.0 }
    }

    fn unit(&self, metric: &str) -> Option<&str> {
        let metrics = self.table.iter().flat_map(|table| &table.metrics);
        metrics.filter(|info| info.id == metric).map(|info| info.unit.as_str()).next()
    }

    /// Rows that differ, but whose mean over seeds is equivalent, are marked as such.
    fn judge_by_seeds(&self, repetitions: &mut [Repetition], margin: f64) {
        let place = |repetition: &Repetition| (repetition.row.clone(), repetition.column.clone());
        let places: HashSet<_> =
            repetitions.iter().filter(|one| one.agreement == Agreement::Different).map(place).collect();
        for of in places {
            let seeds: Vec<&Repetition> = repetitions.iter().filter(|one| place(one) == of).collect();
            let metrics: HashSet<&String> = seeds
                .iter()
                .flat_map(|one| one.metrics.keys())
                .filter(|metric| self.unit(metric) != Some("s"))
                .collect();
            let is_equivalent = |metric: &&String| {
                let values = seeds.iter().filter_map(|one| one.metrics.get(*metric));
                let (was, differences): (Vec<f64>, Vec<f64>) = values.map(|[was, is]| (*was, is - was)).unzip();
                let mean = was.iter().sum::<f64>() / was.len().max(1) as f64;
                let difference = stats::summary(&differences);
                let p = difference.and_then(|it| stats::equivalence_p(&it, self.in_unit(metric, mean, margin)));
                p.is_some_and(|p| p < 0.05)
            };
            if seeds.iter().any(|one| !one.complete) {
                continue;
            }
            if !metrics.is_empty() && metrics.iter().all(is_equivalent) {
                let differ = |one: &&mut Repetition| place(one) == of && one.agreement == Agreement::Different;
                repetitions.iter_mut().filter(differ).for_each(|one| one.agreement = Agreement::Equivalent);
            }
        }
    }

    /// Why a repetition differs, for one of the cells that differ. `None` if none differs.
    fn cause(
        &self,
        program: &Program,
        recorded: &[Arc<Record>],
        again: &[Record],
        repetitions: &[Repetition],
        progress: &Progress,
    ) -> Result<Option<Cause>> {
        use Agreement::{Different, Equivalent, WithinTolerance};
        let differs = |one: &&Repetition| matches!(one.agreement, Different | Equivalent | WithinTolerance);
        let Some(one) = repetitions.iter().find(differs) else { return Ok(None) };
        let is_it = |run: &&Record| run.row == one.row && run.column == one.column && run.seed == one.seed;
        let run = recorded.iter().find(|run| run.id == one.run);
        let (Some(run), Some(other)) = (run, again.iter().find(is_it)) else { return Ok(None) };
        if self.whole_tables.get() {
            return Ok(Some(Cause::not_searched(run, "the program of that commit runs whole tables only")));
        }
        let of_commit = match program {
            Program::Rebuilt(_) => CommitProgram::Used,
            Program::This(_) if self.args.quick => CommitProgram::Forbidden,
            Program::This(_) if run.git.commit.is_none() => CommitProgram::Unknown,
            Program::This(_) => CommitProgram::Allowed,
        };
        let repeat = |toggle: &Toggle| self.gave(program, run, other, toggle, progress);
        cause::search(run, other, of_commit, &repeat).map(Some)
    }

    /// Repeats a run once more, and compares the result with the record and with the first repetition, `other`.
    fn gave(
        &self,
        program: &Program,
        run: &Arc<Record>,
        other: &Record,
        toggle: &Toggle,
        progress: &Progress,
    ) -> Result<Gave> {
        let rebuilt = match toggle.rebuilt {
            true => Some(Program::Rebuilt(self.build(&run.git, progress)?)),
            false => None,
        };
        progress.line(&format!("looking for the cause: repeating run {} {}", run.short(), toggle.words()));
        let with = self.repeat(rebuilt.as_ref().unwrap_or(program), std::slice::from_ref(run), toggle, true)?;
        let is_same = |to: Arc<Record>| {
            let all = self.compare(&[to], &with, self.args.tolerance);
            all.iter().all(|one| matches!(one.agreement, Agreement::Identical | Agreement::SameButTimes))
        };
        Ok(match (is_same(run.clone()), is_same(Arc::new(other.clone()))) {
            (true, _) => Gave::Recorded,
            (_, true) => Gave::Repeated,
            _ => Gave::Other,
        })
    }
}

/// The runs, those with the same settings together: one command repeats them.
fn by_settings(recorded: &[Arc<Record>]) -> Vec<Vec<Arc<Record>>> {
    let mut groups: Vec<Vec<Arc<Record>>> = Vec::new();
    for run in recorded {
        match groups.iter_mut().find(|group| *group[0].settings == *run.settings) {
            Some(group) => group.push(run.clone()),
            None => groups.push(vec![run.clone()]),
        }
    }
    groups
}

fn print(repetitions: &[Repetition]) {
    for one in repetitions {
        let figures: Vec<String> = one.metrics.iter().map(|(id, [was, is])| figure(id, *was, *is)).collect();
        let place = format!("{} {} seed {}", records::labels(&one.row), one.column, one.seed);
        say!("{place} (run {}): {}, {}", short(&one.run), words(one.agreement), figures.join(", "));
        if let Some(Parted { stage, same_key, files }) = &one.parted {
            let how = if *same_key { ", although its key is the same" } else { "" };
            say!("  differs first in stage {stage}: {}{how}", files.join(", "));
        }
    }
    let mut counts: BTreeMap<Agreement, usize> = BTreeMap::new();
    repetitions.iter().for_each(|one| *counts.entry(one.agreement).or_default() += 1);
    let counts: Vec<String> =
        counts.iter().map(|(agreement, count)| format!("{count} {}", words(*agreement))).collect();
    say!("{} repeated: {}", counted(repetitions.len(), "run"), counts.join(", "));
}

fn figure(id: &str, was: f64, is: f64) -> String {
    if was.to_bits() == is.to_bits() { format!("{id} {was:.2}") } else { format!("{id} {was:.2} -> {is:.2}") }
}

fn words(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Identical => "identical",
        Agreement::SameButTimes => "identical but for times",
        Agreement::WithinTolerance => "within tolerance",
        Agreement::Equivalent => "equivalent over seeds",
        Agreement::NothingToCompare => "nothing to compare but times",
        Agreement::Different => "DIFFERENT",
        Agreement::NotRepeated => "NOT REPEATED",
    }
}

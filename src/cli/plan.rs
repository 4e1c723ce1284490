//! `plan`: freezes what will be run and how claims will be decided, and shows how the runs stand to it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::harness::clock;
use crate::harness::config::{Role, Roles};
use crate::harness::experiment::Cell;
use crate::harness::frozen_plan::{self, FrozenPlan, KnownPlan, PlannedTable, SCHEMA, Standing};
use crate::harness::git::{Git, Tree};
use crate::harness::ledger::Problem;
use crate::harness::plan_store::{self, Frozen};
use crate::harness::progress::Progress;
use crate::harness::record::{self, Record, Status, short};
use crate::harness::redact;
use crate::harness::runner;
use crate::report::stats;

use super::comparable_runs::ids;
use super::{App, ConfigArgs, Ending, run, setup};

/// The most reasons that are listed.
const MOST: usize = 8;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct PlanArgs {
    #[command(subcommand)]
    command: Option<PlanCommand>,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Args)]
struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON: the plans as they are, and how each run stands to them
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum PlanCommand {
    /// State tables, rows, columns, seeds, settings and claims before the first run, in a file of the ledger
    ///
    /// Runs that begin later are planned if they are as the plan says. Reports call all other runs, and claims that the
    /// plan does not have, what they are: before the plan, or post hoc. The settings are those that `reproduce` would have
    /// with the same options.
    Freeze(FreezeArgs),
}

#[derive(Args)]
struct FreezeArgs {
    /// Plan only this table; may be repeated
    #[arg(long = "table", value_name = "ID")]
    tables: Vec<String>,
    /// Say something about the plan, such as why it has these seeds
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `sempair plan`.
pub(super) fn run(app: &App, args: PlanArgs, quiet: bool) -> Result<Ending> {
    match args.command {
        Some(PlanCommand::Freeze(args)) => freeze(app, &args, quiet),
        None => show(app, &args.show),
    }
}

fn freeze(app: &App, args: &FreezeArgs, quiet: bool) -> Result<Ending> {
    let resolved = setup::resolve(app, &args.config)?;
    let settings = &resolved.settings;
    let (experiments, ledger) = (run::chosen(app, &args.tables)?, setup::ledger(settings));
    let (compute, profile) = (setup::compute(settings)?, &args.config.profile);
    let plans = run::with_rows(runner::plan(&experiments, settings)?, &args.tables)?;
    run::say_what_is_missing(&plans, &settings.catalog(), &Progress::stderr(quiet));
    let with_cells = || plans.iter().filter(|plan| !plan.cells.is_empty());
    let Some((first, cell)) = with_cells().find_map(|plan| Some((plan.experiment, plan.cells.first()?))) else {
        return Err(Error::new("nothing to plan: no table has cells with these settings")
            .hint("`sempair data import PATH` adds the datasets that are missing"));
    };
    let like = runner::would_record(cell, (first.id(), first.title()), &resolved, profile, &compute)?;
    let (records, _) = ledger.records()?;
    let run_before: usize = with_cells()
        .map(|plan| {
            let is_of_table = |run: &&Record| run.experiment == plan.experiment.id() && run.profile == *profile;
            let runs: Vec<&Record> = records.iter().filter(is_of_table).collect();
            let has_run = |cell: &&Cell| runs.iter().any(|run| cell.is_at(&run.row, &run.column, run.seed));
            plan.cells.iter().filter(has_run).count()
        })
        .sum();
    let roles = setup::roles(app);
    let decide: Vec<record::Setting> =
        like.settings.iter().filter(|setting| roles.of(&setting.key) == Role::Results).cloned().collect();
    let now = clock::utc()?;
    let frozen = plan_store::freeze(
        &ledger,
        FrozenPlan {
            schema: SCHEMA.to_owned(),
            id: record::id_at(now),
            frozen: clock::text(now),
            profile: profile.clone(),
            note: redact::text(args.note.as_deref().unwrap_or_default()),
            tables: with_cells().map(|plan| PlannedTable::new(&plan.table, &plan.cells)).collect(),
            settings_hash: FrozenPlan::hash_of(&decide),
            settings: decide,
            groups: ids(app).into_iter().map(str::to_owned).collect(),
            rule: stats::VERDICT_RULE.iter().map(|rule| (*rule).to_owned()).collect(),
            git: Git::read(Path::new("."), &setup::outputs(settings, profile)),
            build: like.build,
            compute,
            original: None,
            hash: String::new(),
        },
    )?;
    match args.json {
        true => setup::print_json(&json!({
            "plan": frozen.plan, "file": frozen.file, "line": frozen.line, "run_before": run_before,
        }))?,
        false => say_what_was_frozen(&frozen, run_before),
    }
    Ok(Ending::Done)
}

fn say_what_was_frozen(Frozen { plan, file, line }: &Frozen, run_before: usize) {
    say!("{}", head(plan));
    plan.tables.iter().for_each(|table| say!("  {}", extent(table)));
    let (settings, hash) = (plan.settings.len(), &plan.settings_hash);
    say!("  {settings} settings that decide results, BLAKE3 {hash}");
    if run_before > 0 {
        say!("{run_before} of these cells were already run: their runs stay \"before the plan\"");
    }
    if plan.git.tree() == Tree::Dirty {
        say!("the files are not those of the commit: commit them first, so that others can read what was planned");
    }
    say!("written to {}; commit it with the journals of the ledger", file.display());
    say!("`sempair audit . --head {line}` tells whether the history still has this plan");
}

/// A plan in one line.
fn head(plan: &FrozenPlan) -> String {
    let commit = match &plan.git.commit {
        Some(commit) => format!("commit {}{}", commit.get(..12).unwrap_or(commit), plan.git.tree().mark()),
        None => "no commit".to_owned(),
    };
    let time = plan.frozen.get(..16).unwrap_or(&plan.frozen).replace('T', " ");
    let note = if plan.note.is_empty() { String::new() } else { format!(": {}", plan.note) };
    format!("plan {} of the profile {}, frozen {time} at {commit}{note}", plan.short(), plan.profile)
}

/// What a plan says of a table.
fn extent(table: &PlannedTable) -> String {
    let distinct = |of: &dyn Fn(&frozen_plan::PlannedCell) -> String| {
        table.cells.iter().map(of).collect::<BTreeSet<String>>().len()
    };
    let rows = distinct(&|cell| json!(cell.row).to_string());
    let columns = distinct(&|cell| cell.column.clone());
    let seeds: BTreeSet<u64> = table.cells.iter().flat_map(|cell| cell.keys.keys().copied()).collect();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    format!(
        "{}: {} cells in {rows} rows and {columns} columns, seeds {}; {} claims",
        table.id,
        table.runs(),
        seeds.join(", "),
        table.claims.len()
    )
}

/// How the runs of a table stand to the plan that counts for it, for scripts.
#[derive(Default, Serialize)]
struct State {
    table: String,
    /// The newer plan that counts for this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    cells: usize,
    /// The planned cells that have a planned run with a result.
    done: usize,
    /// Planned runs without a result: failed, interrupted, killed or still running.
    without_result: usize,
    /// Planned runs whose code, machine or data are not those of the plan.
    moved: usize,
    before_the_plan: usize,
    /// Why runs are post hoc, and how many.
    post_hoc: BTreeMap<String, usize>,
    runs: Vec<Value>,
}

impl State {
    fn of(table: &PlannedTable, known: &KnownPlan, plans: &[KnownPlan], records: &[Record], roles: &Roles) -> Self {
        let plan = &known.plan;
        let counts = frozen_plan::of_table(plans, &table.id, &plan.profile).map(|known| &known.plan.id);
        let replaced_by = counts.filter(|newest| **newest != plan.id).cloned();
        let mut state = Self { table: table.id.clone(), replaced_by, cells: table.runs(), ..Self::default() };
        let mut done = HashSet::new();
        for run in records.iter().filter(|run| run.experiment == table.id && run.profile == plan.profile) {
            let standing = known.standing(run, roles);
            match &standing {
                Standing::Planned if run.status == Status::Completed => {
                    done.insert((&run.row, &run.column, run.seed));
                    state.moved += usize::from(known.has_moved(run));
                }
                Standing::Planned => state.without_result += 1,
                Standing::BeforeThePlan => state.before_the_plan += 1,
                Standing::PostHoc { why } => *state.post_hoc.entry(why.clone()).or_default() += 1,
            }
            state.runs.push(json!({ "run": run.id, "status": run.status, "standing": standing }));
        }
        state.done = done.len();
        state
    }

    fn print(&self) {
        if let Some(newer) = &self.replaced_by {
            say!("  {}: replaced by plan {}", self.table, short(newer));
            return;
        }
        let count = |n: usize, what: &str| if n > 0 { format!(", {n} {what}") } else { String::new() };
        say!(
            "  {}: {} of {} cells done as planned{}{}{}",
            self.table,
            self.done,
            self.cells,
            count(self.without_result, "planned runs without a result"),
            count(self.before_the_plan, "runs before the plan"),
            count(self.post_hoc.values().sum(), "runs post hoc")
        );
        for (why, runs) in self.post_hoc.iter().take(MOST) {
            say!("    post hoc: {why} ({runs} runs)");
        }
        if self.post_hoc.len() > MOST {
            say!("    and {} more reasons; `--json` lists all", self.post_hoc.len() - MOST);
        }
        if self.moved > 0 {
            say!("    {} planned runs have other code, another machine or other data than the plan", self.moved);
        }
    }
}

/// Shows the plans and how the runs stand to them.
fn show(app: &App, args: &ShowArgs) -> Result<Ending> {
    let ledger = setup::ledger(&setup::resolve(app, &args.config)?.settings);
    let plans = plan_store::read(&ledger)?;
    let (records, _) = ledger.records()?;
    let roles = setup::roles(app);
    let state = |known: &KnownPlan| -> Vec<State> {
        let tables = known.plan.tables.iter();
        tables.map(|table| State::of(table, known, &plans.known, &records, &roles)).collect()
    };
    let problems = || plans.problems.iter().chain(&plans.reformatted);
    if args.json {
        let of = |known: &KnownPlan| json!({ "plan": known.plan, "tables": state(known) });
        let all: Vec<Value> = plans.known.iter().map(of).collect();
        setup::print_json(&json!({ "plans": all, "problems": problems().collect::<Vec<_>>() }))?;
        return Ok(Ending::Done);
    }
    problems().for_each(|Problem { file, what }| talk!("warning: {}: {what}", file.display()));
    if plans.known.is_empty() {
        say!("no plans; `sempair plan freeze` writes one before the first run");
    }
    for known in &plans.known {
        say!("{}", head(&known.plan));
        state(known).iter().for_each(State::print);
    }
    Ok(Ending::Done)
}

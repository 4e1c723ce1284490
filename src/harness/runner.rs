//! Runs the cells that have no completed record yet, and records each run. Cells run in parallel if the machine has
//! enough threads: a `schedule` says which cell is next and on how many threads. Several processes may work on one
//! ledger: a cell that another process runs, or whose stage it computes, is left for later.

mod cell;

use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::harness::cache::Cache;
use crate::harness::clock;
use crate::harness::concurrent_runs::ConcurrentRuns;
use crate::harness::config::Resolved;
use crate::harness::energy::Meter;
use crate::harness::estimate::Estimate;
use crate::harness::estimate::Missing;
use crate::harness::experiment::Cell;
use crate::harness::experiment::Experiment;
use crate::harness::experiment::Table;
use crate::harness::git::Git;
use crate::harness::interrupt::Interrupt;
use crate::harness::ledger::Claimed;
use crate::harness::ledger::Ledger;
use crate::harness::ledger::Watch;
use crate::harness::progress::Progress;
use crate::harness::progress::duration;
use crate::harness::provenance;
use crate::harness::provenance::Build;
use crate::harness::provenance::Compute;
use crate::harness::provenance::Host;
use crate::harness::record::Record;
use crate::harness::record::StageUse;
use crate::harness::scaling::Scaling;
use crate::harness::schedule::Resources;
use crate::harness::schedule::Schedule;
use crate::harness::schedule::Start;
use crate::harness::source;
use crate::harness::stage::Stage;
use cell::End;
use cell::Job;
use std::any::Any;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, Scope};
use std::time::Duration;
use std::time::Instant;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Run every cell and compute every stage again, even if results exist.
    pub force: bool,
    /// Start only cells that should finish within this many seconds by the estimate. One seed of every cell comes
    /// before the second seed of any cell.
    pub budget: Option<f64>,
    /// How many cells run in parallel at most; `None` means as many as the machine has threads.
    pub jobs: Option<usize>,
    /// A folder of the repository whose commit is recorded.
    pub repo: PathBuf,
    /// The folders that this program writes to: files in them do not count as changes of the repository.
    pub outputs: Vec<PathBuf>,
    /// How the code is kept.
    pub source: source::Policy,
}

/// What the cells of a command share with it.
#[derive(Clone, Copy)]
pub struct RunContext<'a> {
    /// The device, the instruction set and the number format, which records state.
    pub compute: &'a Compute,
    /// The GPU's memory and driver, for records; empty on the processor.
    pub gpu: &'a str,
    /// Where runs are recorded.
    pub ledger: &'a Ledger,
    /// Where the files of stages are kept.
    pub cache: &'a Cache,
    /// How the work of stages speeds up with threads on this machine.
    pub scaling: &'a Scaling,
    /// What counts the energy of the machine.
    pub energy: &'a Meter,
    /// Where progress is shown.
    pub progress: &'a Progress,
    /// Whether the user asked to stop.
    pub interrupt: &'a Interrupt,
}

/// A table and the runs of its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRun {
    /// The table as its experiment describes it.
    pub table: Table,
    /// The id of each cell's run, in the order of the cells.
    pub runs: Vec<String>,
}

/// The result of running the cells of a command.
#[derive(Debug)]
pub struct Ran {
    /// Each table with the runs of its cells.
    pub tables: Vec<TableRun>,
    /// The error for cells that [diverged](ErrorKind::Diverged); the other cells still ran.
    pub diverged: Option<Error>,
}

impl Ran {
    /// The tables, if no cell diverged.
    ///
    /// # Errors
    /// When a cell diverged.
    pub fn whole(self) -> Result<Vec<TableRun>> {
        self.diverged.map_or(Ok(self.tables), Err)
    }
}

/// An experiment with its settings applied: its table, and the cells to run.
pub struct Plan<'a, S> {
    /// The experiment.
    pub experiment: &'a dyn Experiment<S>,
    /// Its table.
    pub table: Table,
    /// Its cells, in the order in which they run.
    pub cells: Vec<Cell>,
}

/// Asks every experiment for its table and its cells.
pub fn plan<'a, S>(experiments: &[&'a dyn Experiment<S>], settings: &S) -> Result<Vec<Plan<'a, S>>> {
    let plan = |experiment: &&'a dyn Experiment<S>| {
        let cells = experiment.cells(settings).map_err(|error| error.context(experiment.id()))?;
        Ok(Plan { experiment: *experiment, table: experiment.table(settings)?, cells })
    };
    experiments.iter().map(plan).collect()
}

/// The record that a run of this cell would begin with now, with the keys of its stages, and without the state of the
/// repository. The table is given by its id and its title.
///
/// # Errors
/// When the clock shows an impossible time.
pub fn would_record<S>(
    cell: &Cell,
    (id, title): (&str, &str),
    resolved: &Resolved<S>,
    profile: &str,
    compute: &Compute,
) -> Result<Record> {
    let template = cell::template(resolved, profile, compute, (Git::default(), Build::current()), &[]);
    let record = cell::fresh(&template, (id, title), cell, cell.key(id))?;
    let stage = |stage: &Arc<Stage>| StageUse::to_come(stage.name(), stage.key());
    Ok(Record { stages: cell.stages().map(stage).collect(), ..record })
}

/// Runs the missing cells of `plans` and returns the run of every cell that has one. That is all cells, unless there
/// is a budget or some cells diverge.
///
/// A failure or an interruption is recorded, and returned when the other running cells are at a safe point. What was
/// computed is kept. A cell that diverges is recorded, and only cells that need the same stage are left out.
pub fn run<S>(
    plans: Vec<Plan<'_, S>>,
    resolved: &Resolved<S>,
    profile: &str,
    site: RunContext<'_>,
    options: &Options,
    args: &[String],
) -> Result<Ran> {
    site.ledger.bury_killed()?;
    let (records, _) = site.ledger.records().context("reading the ledger")?;
    let is_later = |record: &&Record| clock::utc().is_ok_and(|now| clock::text(now) < record.started);
    if let Some(later) = records.last().filter(is_later) {
        let (id, date) = (later.short(), &later.started);
        site.progress.line(&format!(
            "run {id} is dated {date}, which is later than the clock of this machine; new runs still count as newer"
        ));
    }
    let mut watch = site.ledger.watch(&records);
    if options.force {
        watch.forget();
    }
    let cells = plans.iter().flat_map(|plan| plan.cells.iter().map(move |cell| Place::new(plan, cell)));
    let places: Vec<Place> = cells.collect();
    let open = || places.iter().map(|place| watch.completed(&place.key).is_none().then_some(place.cell));
    let (any, repository) = (open().flatten().next().is_some(), (&*options.repo, &*options.outputs));
    let code = source::of_runs(repository, options.source, site.ledger.dir(), any)?;
    let mut template = cell::template(resolved, profile, site.compute, code, args);
    site.gpu.clone_into(&mut template.host.gpu);
    let machine = machine(&template.host, options.jobs);
    if machine.threads > 1 && open().flatten().nth(1).is_some() {
        site.scaling.look_at(open().flatten(), site.cache, machine.threads, site.progress)?;
    }
    let estimate = Estimate::new(&records, profile, &template.host, site.compute, site.scaling);
    let mut missing = estimate.missing(open(), site.cache, options.force);
    for (index, (task, place)) in missing.work.tasks.iter_mut().zip(&places).enumerate() {
        task.turn = match options.budget {
            Some(_) => place.cell.seed,
            // One at a time, in the order of the tables.
            None if machine.jobs() == 1 => index as u64,
            None => 0,
        };
    }
    if missing.memory() > machine.memory {
        let [needed, free] = [missing.memory(), machine.memory].map(|bytes| bytes >> 20);
        site.progress.line(&format!(
            "warning: a stage is predicted to take {needed} MiB of memory, and {free} MiB are free. If memory runs out, \
             the system ends the command, and what was recorded before stays. A smaller batch takes less."
        ));
    }
    let renewed = Mutex::default();
    let mut session = Session {
        runs: vec![None; places.len()],
        schedule: missing.schedule(machine),
        places,
        missing,
        machine,
        template,
        watch,
        budget: options.budget,
        start: Instant::now(),
        held: provenance::held_memory().unwrap_or(0),
        renewed: options.force.then_some(&renewed),
        stop: site.interrupt.part(),
        running: BTreeMap::new(),
        busy: HashSet::new(),
        took: (0.0, 0.0),
        over: 0,
        reused: 0,
        skipped: 0,
        left_out: 0,
        diverged: Vec::new(),
        spoiled: HashSet::new(),
        site,
    };
    session.all()?;
    let mut runs = std::mem::take(&mut session.runs).into_iter();
    let diverged = session.what_diverged();
    let of_plan = |plan: Plan<'_, S>| {
        let runs = runs.by_ref().take(plan.cells.len()).flatten().collect();
        TableRun { table: plan.table, runs }
    };
    Ok(Ran { tables: plans.into_iter().map(of_plan).collect(), diverged })
}

/// What cells may use. More threads than cores do not help cells that share them.
fn machine(host: &Host, jobs: Option<usize>) -> Resources {
    let cores = if host.cores == 0 { host.threads } else { host.cores };
    let threads = if jobs == Some(1) { host.threads } else { host.threads.min(cores) };
    Resources { threads, memory: provenance::free_memory().unwrap_or(u64::MAX), jobs }
}

/// A cell of the command, with its table.
struct Place<'a> {
    /// The id of the table, for readers.
    experiment: &'static str,
    title: &'static str,
    table: &'a Table,
    cell: &'a Cell,
    key: String,
}

/// How long to wait for another process before asking again.
const WAIT: Duration = Duration::from_millis(200);

/// A message from a job to the command.
enum News {
    /// The stage with this key is available.
    Stage(String),
    /// How the cell with this index ended.
    End(usize, End),
}

/// Why the command ends before all cells are done.
enum Trouble {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

/// A running cell.
struct Runs {
    threads: usize,
    /// Its predicted time.
    seconds: f64,
    start: Instant,
    concurrent: Arc<ConcurrentRuns>,
}

/// What all cells of one command share.
struct Session<'a> {
    places: Vec<Place<'a>>,
    missing: Missing,
    schedule: Schedule,
    machine: Resources,
    /// A record with everything that does not depend on the cell.
    template: Record,
    watch: Watch<'a>,
    budget: Option<f64>,
    start: Instant,
    /// The memory that the process held at `start`, in bytes.
    held: u64,
    /// With `force`: the stages that were computed again.
    renewed: Option<&'a Mutex<HashSet<String>>>,
    /// Tells the jobs to stop.
    stop: Interrupt,
    /// The run of each cell.
    runs: Vec<Option<String>>,
    running: BTreeMap<usize, Runs>,
    /// Cells that another process works on.
    busy: HashSet<usize>,
    /// The seconds that the cells run here took, and their predicted seconds.
    took: (f64, f64),
    over: usize,
    reused: usize,
    skipped: usize,
    left_out: usize,
    diverged: Vec<Error>,
    /// Keys of the stages that diverged.
    spoiled: HashSet<String>,
    site: RunContext<'a>,
}

impl<'a> Session<'a> {
    /// Runs every cell, or finds its run.
    fn all(&mut self) -> Result<()> {
        self.find_earlier_runs();
        self.say_what_lies_ahead();
        let footer = self.site.progress.footer();
        let trouble = std::thread::scope(|scope| {
            let (tell, news) = channel();
            let mut trouble = None;
            loop {
                if trouble.is_none() {
                    trouble = self.begin_what_can(scope, &tell).err().map(Trouble::Error);
                }
                if trouble.is_some() {
                    self.stop.request(); // for the running cells
                }
                footer.show(self.summary());
                if self.running.is_empty() {
                    if trouble.is_some() || self.schedule.is_over() {
                        return trouble;
                    }
                    std::thread::sleep(WAIT);
                    self.busy.clear();
                } else if let Some(more) = self.hear(&news) {
                    trouble.get_or_insert(more);
                }
            }
        });
        match trouble {
            Some(Trouble::Panic(panic)) => resume_unwind(panic),
            Some(Trouble::Error(error)) => return Err(error),
            None => self.say_what_was_left(),
        }
        Ok(())
    }

    fn find_earlier_runs(&mut self) {
        for task in 0..self.places.len() {
            if let Some(id) = self.watch.completed(&self.places[task].key).map(str::to_owned) {
                self.find(task, id);
            }
        }
    }

    /// Gives a cell this run, which was not begun here.
    fn find(&mut self, task: usize, id: String) {
        self.reused += 1;
        self.runs[task] = Some(id);
        self.end(task);
    }

    /// Records that a cell is over, or will not run.
    fn end(&mut self, task: usize) {
        self.over += 1;
        self.schedule.end(task);
    }

    fn say_what_lies_ahead(&self) {
        let left = self.left();
        if left > 0.0 {
            let within =
                self.budget.map_or_else(String::new, |budget| format!(", with a budget of {}", duration(budget)));
            let Resources { threads, jobs, .. } = self.machine;
            let side_by_side = match (self.machine.jobs(), jobs) {
                (1, _) => String::new(),
                (most, Some(asked)) if asked > most => {
                    format!(", up to {most} cells side by side ({asked} were asked for; there are {threads} threads)")
                }
                (most, _) => format!(", up to {most} cells side by side"),
            };
            self.site.progress.line(&format!("about {} to go{within}{side_by_side}", duration(left)));
        }
    }

    fn say_what_was_left(&self) {
        let say = |count: usize, what: &str| {
            if count > 0 {
                self.site.progress.line(&format!("{count} of {} cells {what}", self.places.len()));
            }
        };
        say(self.reused, "were in the ledger");
        say(self.skipped, "did not fit into the budget");
        say(self.left_out, "need a stage that diverged");
    }

    /// Begins the cells for which there are threads and memory now.
    fn begin_what_can<'scope>(&mut self, scope: &'scope Scope<'scope, 'a>, tell: &Sender<News>) -> Result<()> {
        while let Some(start) = self.next() {
            self.site.interrupt.check()?;
            self.attempt(start, scope, tell)?;
        }
        Ok(())
    }

    fn next(&self) -> Option<Start> {
        let grown = provenance::held_memory().unwrap_or(0).saturating_sub(self.held);
        self.schedule.next(grown, |task| !self.busy.contains(&task))
    }

    /// Begins a cell, unless there is a reason not to.
    fn attempt<'scope>(&mut self, start: Start, scope: &'scope Scope<'scope, 'a>, tell: &Sender<News>) -> Result<()> {
        let task = start.task;
        let cell = self.places[task].cell;
        if cell.stages().any(|stage| self.spoiled.contains(stage.key())) {
            self.left_out += 1;
            self.end(task);
            return Ok(());
        }
        let seconds = self.schedule.seconds(start);
        if self.unspent().is_some_and(|left| left <= 0.0 || self.slowness() * seconds > left) {
            self.skipped += 1;
            self.end(task);
            return Ok(());
        }
        let is_busy = |stage: &Arc<Stage>| {
            self.schedule.waits(self.missing.steps[stage.key()]) && self.site.cache.is_busy(stage.name(), stage.key())
        };
        if cell.stages().any(is_busy) {
            self.busy.insert(task);
            return Ok(());
        }
        let mut record = self.places[task].record(&self.template)?;
        match self.watch.claim(&mut record)? {
            Claimed::Busy => drop(self.busy.insert(task)),
            Claimed::Done(id) => self.find(task, id),
            Claimed::Mine(running) => {
                let concurrent = Arc::<ConcurrentRuns>::default();
                let progress = if self.machine.jobs() > 1 {
                    self.site.progress.of(&self.places[task].name())
                } else {
                    self.site.progress.clone()
                };
                let job = Job {
                    cell,
                    record,
                    running,
                    threads: start.threads,
                    concurrent: concurrent.clone(),
                    renewed: self.renewed,
                    site: self.site,
                    progress,
                    interrupt: self.stop.clone(),
                };
                let tell = tell.clone();
                let run = move || {
                    // Sending fails only if the command is about to end.
                    let is_there = |key: &str| drop(tell.send(News::Stage(key.to_owned())));
                    let end = catch_unwind(AssertUnwindSafe(|| job.run(is_there)));
                    let end = end.unwrap_or_else(End::Panicked);
                    drop(tell.send(News::End(task, end)));
                };
                Builder::new().name("cell".into()).spawn_scoped(scope, run).context("cannot start a thread")?;
                self.schedule.start(start);
                self.running.insert(task, Runs { start: Instant::now(), threads: start.threads, seconds, concurrent });
                self.tell_concurrent();
            }
        }
        Ok(())
    }

    fn tell_concurrent(&self) {
        let others = self.running.len().saturating_sub(1);
        self.running.values().for_each(|runs| runs.concurrent.set(others));
    }

    /// Waits for the next message of a job. The wait is short if another process may finish a cell.
    fn hear(&mut self, news: &Receiver<News>) -> Option<Trouble> {
        match news.recv_timeout(if self.busy.is_empty() { Duration::MAX } else { WAIT }) {
            Ok(News::Stage(key)) => self.schedule.end_step(self.missing.steps[&key]),
            Ok(News::End(task, end)) => return self.hear_end(task, end),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.busy.clear(),
        }
        None
    }

    fn hear_end(&mut self, task: usize, end: End) -> Option<Trouble> {
        let predicted = self.running.remove(&task).map_or(0.0, |runs| runs.seconds);
        self.tell_concurrent();
        self.end(task);
        match end {
            End::Completed(record) => {
                self.took = (self.took.0 + record.seconds, self.took.1 + predicted);
                self.say_what_came_out(task, &record);
                self.runs[task] = Some(record.id);
            }
            End::Failed(error, stage) if error.kind() == ErrorKind::Diverged => {
                self.site.progress.line(&format!("[{}/{}] {}", self.over, self.places.len(), error.what()));
                self.spoiled.extend(stage);
                self.diverged.push(error);
            }
            End::Failed(error, _) => return Some(Trouble::Error(error)),
            End::Panicked(panic) => return Some(Trouble::Panic(panic)),
        }
        None
    }

    /// The progress of all cells, in one line.
    fn summary(&self) -> String {
        let (over, all, running) = (self.over, self.places.len(), self.running.len());
        format!("{over} of {all} cells done, {running} running; about {} to go", duration(self.left()))
    }

    fn say_what_came_out(&self, task: usize, record: &Record) {
        let left = self.left();
        let left = self.unspent().map_or(left, |unspent| unspent.min(left));
        let to_go = if left > 1.0 { format!("; about {} to go", duration(left)) } else { String::new() };
        let place = &self.places[task];
        self.site.progress.line(&format!(
            "[{}/{}] {} {}: {} ({}{to_go})",
            self.over,
            self.places.len(),
            place.experiment,
            place.name(),
            headline(place.table, &place.cell.column, &record.metrics),
            duration(record.seconds),
        ));
    }

    /// One error for all runs that diverged.
    fn what_diverged(mut self) -> Option<Error> {
        let more = self.diverged.len().checked_sub(1)?;
        let first = self.diverged.swap_remove(0);
        Some(if more == 0 { first } else { first.context(format!("{} runs diverged; the first", more + 1)) })
    }

    /// Seconds of the budget that are left.
    fn unspent(&self) -> Option<f64> {
        self.budget.map(|budget| budget - self.start.elapsed().as_secs_f64())
    }

    /// The time that cells took here divided by their predicted time; 1 until the predicted time is more than a few
    /// seconds.
    fn slowness(&self) -> f64 {
        let (took, predicted) = self.took;
        if predicted > 5.0 { took / predicted } else { 1.0 }
    }

    /// The predicted seconds until all cells are done.
    fn left(&self) -> f64 {
        let slowness = self.slowness();
        let waiting = slowness * self.schedule.bound();
        let of_running = |runs: &Runs| (slowness * runs.seconds - runs.start.elapsed().as_secs_f64()).max(0.0);
        let longest = self.running.values().map(of_running).fold(0.0, f64::max);
        let shares = self.running.values().map(|runs| of_running(runs) * runs.threads as f64).sum::<f64>();
        (waiting + shares / self.machine.threads as f64).max(longest)
    }
}

impl<'a> Place<'a> {
    fn new<S>(plan: &'a Plan<'_, S>, cell: &'a Cell) -> Self {
        let (experiment, title) = (plan.experiment.id(), plan.experiment.title());
        Self { experiment, title, table: &plan.table, cell, key: cell.key(experiment) }
    }

    /// The name of the cell for readers, such as `SimCLR SP synth-10 seed 0`.
    fn name(&self) -> String {
        let Cell { row, column, seed, .. } = self.cell;
        let labels: Vec<&str> = row.iter().map(|(_, label)| label.as_str()).collect();
        format!("{} {column} seed {seed}", labels.join(" "))
    }

    fn record(&self, template: &Record) -> Result<Record> {
        cell::fresh(template, (self.experiment, self.title), self.cell, self.key.clone())
    }
}

/// The first metric of the column that the cell has.
fn headline(table: &Table, column: &str, metrics: &BTreeMap<String, f64>) -> String {
    let column = table.columns.iter().find(|other| other.id == column);
    let shown = table.metrics.iter().filter(|metric| column.is_none_or(|column| column.has(&metric.id)));
    let shown =
        shown.into_iter().find_map(|metric| Some((metric.title.as_str(), metric.decimals, metrics.get(&metric.id)?)));
    let any = || metrics.iter().next().map(|(id, value)| (id.as_str(), 1, value));
    shown
        .or_else(any)
        .map_or_else(|| "done".to_owned(), |(title, decimals, value)| format!("{title} {value:.decimals$}"))
}

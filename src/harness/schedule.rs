//! Decides which task runs next, and on how many threads: the rules for trainings that share a machine. The rules do
//! not depend on what runs, so that the runner and a simulation of larger machines follow the same ones.
//!
//! A task gets fewer than all threads if that does not make the whole work longer, because a step of a small network
//! wastes a part of each further thread. The whole work takes at least some time ([`Schedule::bound`]). A task gets
//! the fewest threads with which it ends within that time (the canonical allotment of Turek, Wolf and Yu,
//! "Approximate algorithms for scheduling parallelizable tasks", 1992), and the longest task comes first (Graham,
//! "Bounds on multiprocessing timing anomalies", 1969).

use std::cmp::Ordering;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One step of the work, which several tasks may need.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// Its time on one thread, in seconds.
    pub seconds: f64,
    /// The part of it that more threads do not shorten (Amdahl's law).
    pub serial: f64,
    /// Peak memory in bytes.
    pub memory: u64,
}

impl Step {
    /// Its time on this many threads, in seconds.
    pub fn on(&self, threads: usize) -> f64 {
        self.seconds * (self.serial + (1.0 - self.serial) / threads.max(1) as f64)
    }
}

/// Steps that run one after another on the same threads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// Indices of its steps, in order.
    pub steps: Vec<usize>,
    /// Tasks with a lower turn start first.
    pub turn: u64,
}

/// All steps and tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// All steps; tasks refer to them by index.
    pub steps: Vec<Step>,
    /// Whether the time of each step is a result. Such a step runs alone, on all threads.
    pub alone: Vec<bool>,
    /// All tasks; the schedule refers to them by index.
    pub tasks: Vec<Task>,
}

/// What the tasks may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resources {
    /// The threads that all running tasks together may have.
    pub threads: usize,
    /// The memory that all running tasks together may take, in bytes.
    pub memory: u64,
    /// How many tasks may run in parallel; `None` means as many as there are threads.
    pub jobs: Option<usize>,
}

impl Resources {
    /// How many tasks run in parallel at most.
    pub fn jobs(&self) -> usize {
        self.jobs.unwrap_or(self.threads).clamp(1, self.threads.max(1))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Over,
}

/// The state of the work.
#[derive(Clone, Debug)]
pub struct Schedule {
    work: Work,
    machine: Resources,
    steps: Vec<State>,
    tasks: Vec<State>,
    /// The threads of each running task, and the memory that it may take, in bytes.
    held: Vec<(usize, u64)>,
}

/// A task to start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The index of the task in [`Work::tasks`].
    pub task: usize,
    /// The number of threads that it gets.
    pub threads: usize,
}

/// A task's time as a function of its threads `t`: `steady + shared / t`.
#[derive(Clone, Copy, Default)]
struct Length {
    steady: f64,
    shared: f64,
}

impl Length {
    fn on(self, threads: usize) -> f64 {
        self.steady + self.shared / threads as f64
    }

    /// The fewest threads, up to `most`, on which the task ends within `seconds`. If it never does, `most`; if more
    /// threads do not help, 1.
    fn threads_within(self, seconds: f64, most: usize) -> usize {
        if self.shared <= 0.0 {
            return 1;
        }
        let left = seconds - self.steady;
        if left <= 0.0 { most } else { ((self.shared / left - 1e-9).ceil().max(1.0) as usize).min(most) }
    }
}

impl Schedule {
    /// Makes a schedule of work that has not begun.
    pub fn new(work: Work, machine: Resources) -> Self {
        let (steps, tasks) = (vec![State::Waiting; work.steps.len()], vec![State::Waiting; work.tasks.len()]);
        let held = vec![(0, 0); work.tasks.len()];
        Self { work, machine, steps, tasks, held }
    }

    /// Whether no task waits or runs.
    pub fn is_over(&self) -> bool {
        self.tasks.iter().all(|&state| state == State::Over)
    }

    /// The number of running tasks.
    pub fn running(&self) -> usize {
        self.tasks.iter().filter(|&&state| state == State::Running).count()
    }

    /// Whether a step is neither computed nor being computed.
    pub fn waits(&self, step: usize) -> bool {
        self.steps[step] == State::Waiting
    }

    /// The seconds that the rest of a task takes on this many threads.
    pub fn seconds(&self, Start { task, threads }: Start) -> f64 {
        self.length(task).on(threads)
    }

    /// Records that a step is available: no task needs to compute it.
    pub fn end_step(&mut self, step: usize) {
        self.steps[step] = State::Over;
    }

    /// Records that a task runs on these threads from now on, and computes its steps that are not available.
    pub fn start(&mut self, Start { task, threads }: Start) {
        self.held[task] = (threads, self.memory(task));
        self.tasks[task] = State::Running;
        for &step in &self.work.tasks[task].steps {
            if self.steps[step] == State::Waiting {
                self.steps[step] = State::Running;
            }
        }
    }

    /// Records that a task is over, or will not run. Its unfinished steps wait for the next task that needs them.
    pub fn end(&mut self, task: usize) {
        if std::mem::replace(&mut self.tasks[task], State::Over) == State::Running {
            for &step in &self.work.tasks[task].steps {
                if self.steps[step] == State::Running {
                    self.steps[step] = State::Waiting;
                }
            }
            self.held[task] = (0, 0);
        }
    }

    /// The task to start now; `None` if it is better to wait. `used` is the memory that the running tasks hold, in
    /// bytes. `may` says whether the caller lets a task start now.
    pub fn next(&self, used: u64, may: impl Fn(usize) -> bool) -> Option<Start> {
        let running = self.running();
        let free = self.machine.threads.saturating_sub(self.held.iter().map(|held| held.0).sum());
        let runs_alone = |task: usize| self.tasks[task] == State::Running && self.is_alone(task);
        if running >= self.machine.jobs() || free == 0 || (0..self.tasks.len()).any(runs_alone) {
            return None;
        }
        let ready = (0..self.tasks.len()).filter(|&task| self.is_ready(task) && may(task));
        let rank = |&task: &usize| {
            (self.work.tasks[task].turn, !self.is_alone(task), Reverse(Seconds(self.length(task).on(1))), task)
        };
        let task = ready.min_by_key(rank)?;
        if self.machine.jobs() == 1 || self.is_alone(task) {
            return (running == 0).then_some(Start { task, threads: self.machine.threads });
        }
        let promised: u64 = self.held.iter().map(|held| held.1).sum();
        if running > 0 && used.max(promised).saturating_add(self.memory(task)) > self.machine.memory {
            return None;
        }
        let wanted = self.length(task).threads_within(self.horizon(), self.machine.threads);
        Some(Start { task, threads: wanted.max(self.least()).min(free) })
    }

    /// The least time that the waiting tasks can take on this machine, in seconds. In less time, one of them cannot
    /// end, or all together need more threads than there are.
    pub fn bound(&self) -> f64 {
        self.least_time(0.0, 0.0)
    }

    /// As [`Schedule::bound`], with the running tasks included as if they had just begun.
    fn horizon(&self) -> f64 {
        let running = (0..self.tasks.len()).filter(|&task| self.tasks[task] == State::Running);
        let times = running.map(|task| (self.held[task].0, self.length(task).on(self.held[task].0.max(1))));
        let (taken, longest) = times.fold((0.0, 0.0), |(taken, longest): (f64, f64), (threads, seconds)| {
            (taken + seconds * threads as f64, longest.max(seconds))
        });
        self.least_time(taken, longest)
    }

    /// As [`Schedule::bound`], with other tasks that take `others` seconds of threads in total, and at least
    /// `longest` seconds.
    fn least_time(&self, others: f64, longest: f64) -> f64 {
        let (lengths, threads) = (self.lengths(), self.machine.threads);
        let fits = |seconds: f64| {
            let taken = |&(length, least): &(Length, usize)| {
                let on = length.threads_within(seconds, threads).max(least);
                length.on(on) * on as f64
            };
            others + lengths.iter().map(taken).sum::<f64>() <= seconds * threads as f64
        };
        let mut low = lengths.iter().map(|(length, _)| length.on(threads)).fold(longest, f64::max);
        let one_by_one = lengths.iter().map(|(length, least)| length.on(*least) * *least as f64).sum::<f64>();
        let mut high = (others + one_by_one).max(low);
        if fits(low) {
            return low;
        }
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if fits(middle) { high = middle } else { low = middle }
        }
        high
    }

    /// The lengths of the waiting tasks, each with the fewest threads that the task gets. A step that several tasks
    /// need counts in the first of them.
    fn lengths(&self) -> Vec<(Length, usize)> {
        let mut counted: Vec<bool> = self.steps.iter().map(|&state| state != State::Waiting).collect();
        let waiting = (0..self.work.tasks.len()).filter(|&task| self.tasks[task] == State::Waiting);
        let length = |task: usize| {
            let own = self.work.tasks[task].steps.iter().copied();
            let own = own.filter(|&step| !std::mem::replace(&mut counted[step], true));
            (self.sum(own), if self.is_alone(task) { self.machine.threads } else { self.least() })
        };
        waiting.map(length).collect()
    }

    /// The fewest threads of a task that does not run alone.
    fn least(&self) -> usize {
        self.machine.jobs.map_or(1, |_| self.machine.threads / self.machine.jobs())
    }

    /// The remaining length of a task.
    fn length(&self, task: usize) -> Length {
        self.sum(self.missing(task))
    }

    fn sum(&self, steps: impl Iterator<Item = usize>) -> Length {
        steps.map(|step| self.work.steps[step]).fold(Length::default(), |sum, step| Length {
            steady: sum.steady + step.seconds * step.serial,
            shared: sum.shared + step.seconds * (1.0 - step.serial),
        })
    }

    fn memory(&self, task: usize) -> u64 {
        self.missing(task).map(|step| self.work.steps[step].memory).max().unwrap_or(0)
    }

    /// Whether the task waits, and no running task computes a step that it needs.
    fn is_ready(&self, task: usize) -> bool {
        let free = |&step: &usize| self.steps[step] != State::Running;
        self.tasks[task] == State::Waiting && self.work.tasks[task].steps.iter().all(free)
    }

    fn is_alone(&self, task: usize) -> bool {
        self.missing(task).any(|step| self.work.alone[step])
    }

    fn missing(&self, task: usize) -> impl Iterator<Item = usize> {
        self.work.tasks[task].steps.iter().copied().filter(|&step| self.steps[step] != State::Over)
    }
}

/// The predicted time of some work on a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Seconds from the start of the first task to the end of the last.
    pub seconds: f64,
    /// A lower bound of `seconds`: the longest task on all threads.
    pub chain: f64,
    /// A lower bound of `seconds`: the time of all tasks on one thread each, divided by the threads.
    pub share: f64,
}

impl Forecast {
    /// Simulates a schedule to its end.
    pub fn of(schedule: Schedule) -> Self {
        let (work, machine) = (&schedule.work, schedule.machine);
        let tasks = 0..work.tasks.len();
        let chain = tasks.map(|task| schedule.length(task).on(machine.threads)).fold(0.0, f64::max);
        let share = schedule.lengths().iter().map(|(length, _)| length.on(1)).sum::<f64>() / machine.threads as f64;
        Self { seconds: play(schedule), chain, share }
    }
}

/// The time at which a running task ends its current step. Events are in order of time, then of tasks.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Seconds,
    task: usize,
    /// The remaining steps in reverse order; the last one is running.
    steps: Vec<usize>,
    threads: usize,
}

fn play(mut schedule: Schedule) -> f64 {
    let mut now = 0.0;
    let mut events: BinaryHeap<Reverse<Event>> = BinaryHeap::new();
    loop {
        while let Some(start) = schedule.next(0, |_| true) {
            let mut steps: Vec<usize> = schedule.missing(start.task).collect();
            steps.reverse();
            schedule.start(start);
            events.push(Reverse(schedule.event(now, start.task, steps, start.threads)));
        }
        let Some(Reverse(event)) = events.pop() else { return now };
        now = event.at.0;
        let Event { task, mut steps, threads, .. } = event;
        match steps.pop() {
            Some(step) => {
                schedule.end_step(step);
                events.push(Reverse(schedule.event(now, task, steps, threads)));
            }
            None => schedule.end(task),
        }
    }
}

impl Schedule {
    fn event(&self, now: f64, task: usize, steps: Vec<usize>, threads: usize) -> Event {
        let seconds = steps.last().map_or(0.0, |&step| self.work.steps[step].on(threads));
        Event { at: Seconds(now + seconds), task, steps, threads }
    }
}

/// Seconds with a total order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seconds(f64);

impl Eq for Seconds {}

impl PartialOrd for Seconds {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Seconds {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks of one step each, with these seconds on one thread and these serial parts.
    fn work(steps: &[(f64, f64)]) -> Work {
        let steps: Vec<Step> = steps.iter().map(|&(seconds, serial)| Step { seconds, serial, memory: 1 }).collect();
        let tasks = (0..steps.len()).map(|step| Task { steps: vec![step], turn: 0 }).collect();
        Work { alone: vec![false; steps.len()], steps, tasks }
    }

    fn machine(threads: usize) -> Resources {
        Resources { threads, memory: u64::MAX, jobs: None }
    }

    fn starts(schedule: &mut Schedule) -> Vec<(usize, usize)> {
        let mut starts = Vec::new();
        while let Some(start) = schedule.next(0, |_| true) {
            schedule.start(start);
            starts.push((start.task, start.threads));
        }
        starts
    }

    #[test]
    fn the_longest_task_comes_first_and_gets_the_threads_that_it_needs() {
        // 12 seconds of work on 4 threads: within 3.15 seconds, the least time for all tasks, the long one ends on
        // two threads.
        let mut schedule =
            Schedule::new(work(&[(1.0, 0.0), (6.0, 0.05), (1.0, 0.0), (1.0, 0.0), (3.0, 0.0)]), machine(4));
        assert_eq!(starts(&mut schedule), [(1, 2), (4, 1), (0, 1)]);
        schedule.end(4);
        assert_eq!(starts(&mut schedule), [(2, 1)]);
        assert_eq!(schedule.running(), 3);
    }

    #[test]
    fn one_job_has_all_threads_and_keeps_the_order_of_turns() {
        let mut work = work(&[(1.0, 0.0), (6.0, 0.0)]);
        (work.tasks[0].turn, work.tasks[1].turn) = (0, 1);
        let mut schedule = Schedule::new(work, Resources { jobs: Some(1), ..machine(4) });
        assert_eq!(starts(&mut schedule), [(0, 4)]);
        assert_eq!(schedule.bound(), 1.5);
    }

    #[test]
    fn a_share_of_the_threads_is_the_least_for_so_many_jobs() {
        let mut schedule = Schedule::new(work(&[(1.0, 0.1); 5]), Resources { jobs: Some(2), ..machine(8) });
        assert_eq!(starts(&mut schedule), [(0, 4), (1, 4)]);
        assert_eq!(Resources { jobs: Some(1000), ..machine(8) }.jobs(), 8);
    }

    #[test]
    fn what_is_timed_runs_alone_and_a_shared_step_runs_once() {
        let mut work = work(&[(1.0, 0.0), (9.0, 0.0), (1.0, 0.0)]);
        work.alone[0] = true;
        work.tasks[2].steps = vec![1, 2];
        let mut schedule = Schedule::new(work, machine(4));
        assert_eq!(starts(&mut schedule), [(0, 4)]);
        schedule.end_step(0);
        schedule.end(0);
        assert_eq!(starts(&mut schedule).len(), 1, "both others need the step");
        schedule.end_step(1);
        schedule.end(2);
        assert_eq!(starts(&mut schedule), [(1, 1)], "nothing is left to do for it");
    }

    #[test]
    fn memory_holds_tasks_back_but_never_all_of_them() {
        let memory = Resources { memory: 2, ..machine(4) };
        let mut schedule = Schedule::new(work(&[(1.0, 0.0); 4]), memory);
        assert_eq!(starts(&mut schedule).len(), 2);
        let mut schedule = Schedule::new(work(&[(1.0, 0.0); 4]), Resources { memory: 0, ..memory });
        assert_eq!(starts(&mut schedule).len(), 1);
        let full = |schedule: &Schedule| schedule.next(2, |_| true);
        schedule.end(0);
        assert!(full(&schedule).is_some(), "alone, a task may try");
        schedule.start(full(&schedule).unwrap());
        assert_eq!(full(&schedule), None, "more memory is held than was promised");
    }

    #[test]
    fn a_step_that_was_left_undone_waits_for_the_next_task() {
        let mut work = work(&[(1.0, 0.0), (1.0, 0.0)]);
        work.tasks[1].steps = vec![0, 1];
        let mut schedule = Schedule::new(work, machine(4));
        let first = schedule.next(0, |_| true).unwrap();
        schedule.start(first);
        assert!(!schedule.waits(0));
        schedule.end(first.task);
        assert!(schedule.waits(0) && !schedule.is_over());
    }

    #[test]
    fn a_forecast_is_near_its_bounds() {
        let many: Vec<(f64, f64)> = (0..60).map(|i| (10.0 + f64::from(i % 7), 0.06)).collect();
        for threads in [1, 2, 4, 8, 16] {
            let Forecast { seconds, chain, share } = Forecast::of(Schedule::new(work(&many), machine(threads)));
            let bound = chain.max(share);
            assert!(bound <= seconds + 1e-9 && seconds < bound / 0.8, "{threads}: {seconds} of {bound}");
        }
        let one = Forecast::of(Schedule::new(work(&[(10.0, 0.1)]), machine(8)));
        assert!((one.seconds - one.chain).abs() < 1e-9, "one task has all threads");
    }
}

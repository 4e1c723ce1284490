//! Command-line arguments, messages and exit codes: 0 done, 1 a claim was not reproduced (only with `--strict`) or
//! `lint`, `verify`, `audit` or `bundle verify` found something, 2 an error. Facts go to standard output, talk to
//! standard error.

/// Prints a line of facts, as `println!` would.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::console::fact(format_args!($($text)*))
    };
}

/// Prints a line of talk, as `eprintln!` would.
macro_rules! talk {
    ($($text:tt)*) => {
        $crate::console::talk(format_args!($($text)*))
    };
}

mod audit;
mod bench;
mod bundle;
mod cause;
mod claim;
mod comparable_runs;
mod config;
mod data;
mod data_preview;
mod devices;
mod diff;
mod encoder;
mod lint;
mod plan;
mod profile;
mod recorded_runs;
mod records;
mod run;
mod setup;
mod statement;
mod verify;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::console;
use crate::error::{self, Result};
use crate::harness::config::Given;
use crate::harness::experiment::Experiment;
use crate::study::settings::Settings;

/// What the binary passes in: its experiments and its embedded configuration.
pub struct App<'a> {
    /// The tables, in the paper's order.
    pub experiments: &'a [&'a dyn Experiment<Settings>],
    /// The defaults as TOML, every key with its comment.
    pub defaults: &'static str,
    /// The profiles.
    pub profiles: &'a [Profile],
}

/// An embedded profile.
pub struct Profile {
    /// The name on the command line.
    pub name: &'static str,
    /// The layer's name, `profile <name>`.
    pub layer: &'static str,
    /// The values that differ from the defaults.
    pub toml: &'static str,
    /// One sentence for readers of its report.
    pub description: &'static str,
}

/// Reproduces the tables of "Enhancing Self-Supervised Learning with Semantic Pairs" (arXiv 2510.08722).
#[derive(Parser)]
#[command(name = "sempair", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    /// Use N threads instead of one per core; results do not depend on it
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// Print no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sempair reproduce                            every table, on the embedded data
  sempair data import tiny-imagenet-200.zip    then: sempair reproduce --profile standard
  sempair table transfer --set pretrain.epochs=10
  sempair audit HEAD                           the runs at this commit, checked
  sempair audit . --deep                       everything, checked to the last byte";

#[derive(Subcommand)]
enum Command {
    /// Run the missing cells of all tables and render the report
    Reproduce {
        #[command(flatten)]
        config: ConfigArgs,
        /// Run only this table; may be repeated
        #[arg(long = "table", value_name = "ID")]
        tables: Vec<String>,
        #[command(flatten)]
        how: RunArgs,
    },
    /// Run the missing cells of one table and render the report
    Table {
        /// The table's id, as in `sempair list`
        id: String,
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        how: RunArgs,
    },
    /// List the tables, with cells done and missing, estimated time, and memory use
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Forecast the time of all missing cells for these numbers of cores, such as 2,8,64, from how work scales
        /// here
        #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4096), conflicts_with = "json")]
        cores: Vec<u16>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print every setting with its value and where it came from, or explain one
    ///
    /// Of a single key, it prints what it means, the values that were replaced and where they stand, whether results
    /// depend on it, and which stages of which tables read it.
    #[command(visible_alias = "explain")]
    Config {
        /// A key to explain, or the start of several, which are printed with their comments
        #[arg(value_name = "KEY")]
        prefix: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Freeze what will be run and how claims are decided, before the first run, or show how the runs stand to it
    Plan(plan::PlanArgs),
    /// Render the report again from the ledger, with the settings of its runs (needs no device and no data)
    Report {
        #[command(flatten)]
        config: ConfigArgs,
        /// For double-blind review: without names of people, machines and places, in a separate folder
        #[arg(long)]
        anonymous: bool,
    },
    /// Write a report with the records of its runs and all hashes to one zip file, or verify such a file
    Bundle(bundle::BundleArgs),
    /// List the recorded runs, newest last
    Runs {
        /// Delete the record of this run; audits and reports then count it as deleted
        #[arg(long, value_name = "RUN", conflicts_with_all = ["last", "json"])]
        delete: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
        /// Only the last N runs
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print one run's record: configuration, commit, data, results
    Show {
        /// The run's id, or enough of its start or end to identify it
        run: String,
        /// Print what the run's files had changed since its commit, as a patch
        #[arg(long, conflicts_with = "json")]
        changes: bool,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what differs between two runs: settings, code with the commits between them, data, machine, results
    Diff {
        /// The first run's id, or enough of its start or end to identify it
        first: String,
        /// The second run's
        second: String,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say why cells will run again: which setting, input or module changed, from what to what
    Why {
        /// A table's id, or the run whose cell is asked about
        of: String,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check what was recorded: at a commit, by one run, in a report, or all of it
    ///
    /// Finds records that were changed, removed, added or put back, cached files and datasets that have changed, commits
    /// that the repository does not have, and files and figures of a report that do not follow from the records. The exit
    /// code is 1 if something was found.
    Audit(audit::AuditArgs),
    /// Repeat recorded runs, and say whether their figures come out again: identical, within a tolerance, equivalent
    /// over seeds, or different, and why
    ///
    /// The exit code is 1 if a figure is different or could not be repeated. Nothing is written to the ledger, and
    /// nothing is taken from the cache.
    Verify(verify::VerifyArgs),
    /// List the numbers of a LaTeX manuscript that match no recorded figure, or only one that is no longer current
    Lint(lint::LintArgs),
    /// Train one encoder outside of any table, and record the run
    Pretrain(encoder::PretrainArgs),
    /// Evaluate the encoder of a recorded run on a dataset
    Probe {
        /// The run's id, or enough of its start or end to identify it
        run: String,
        /// Evaluate on this dataset
        #[arg(long, value_name = "SET")]
        on: String,
        #[command(flatten)]
        config: encoder::EncoderConfigArgs,
    },
    /// Train a detector on the encoder of a recorded run, and find the objects in test images with it
    Detect(encoder::DetectArgs),
    /// Write the encoder of a recorded run as safetensors, with torchvision's or timm's parameter names
    Export {
        /// The run's id, or enough of its start or end to identify it
        run: String,
        /// The folder for the weights and the card that describes them
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        #[command(flatten)]
        config: encoder::EncoderConfigArgs,
    },
    /// Import an encoder's weights from a file, to evaluate them with `probe`
    ImportWeights(encoder::ImportArgs),
    /// Import, list, verify and preview image sets, and draw semantic pairs
    #[command(subcommand)]
    Data(data::DataCommand),
    /// List the devices of this machine and what each can do
    Devices {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure the speed of a training step or of the augmentation
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

/// Where settings come from, besides `sempair.toml` and SEMPAIR_* variables.
#[derive(Args, Clone)]
struct ConfigArgs {
    /// Start from this profile: quick or thorough (embedded data), standard (photographs) or paper (the paper's
    /// settings, for a GPU)
    #[arg(long, default_value = "quick", value_name = "NAME")]
    profile: String,
    /// Settings from the command's own options; `--set` overrides them.
    #[arg(skip)]
    before: Vec<Given>,
    /// Set one value; `sempair config` lists the keys
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Methods in the tables `transfer` and `invariance`, such as `simclr,byol`, or `all`: short for `--set
    /// transfer.methods=[..]`
    #[arg(long, value_name = "LIST")]
    methods: Option<String>,
    /// Run N seeds: short for `--set seeds=N`
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Keep imported datasets in this folder: short for `--set paths.data=DIR`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write reports and the ledger to this folder: short for `--set paths.reports=DIR`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Compute on this device: cpu, cuda, cuda:N, or auto for the first GPU if there is one that works; short for
    /// `--set device=..`
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

#[derive(Args, Clone)]
struct RunArgs {
    /// Run only the cells in this JSON list of rows, columns and seeds: how `verify` asks for single cells
    #[arg(long, value_name = "FILE", hide = true)]
    cells: Option<PathBuf>,
    /// Run all cells again, even if their results are recorded
    #[arg(long)]
    force: bool,
    /// Keep training after a representation has collapsed: short for `--set keep_going=true`
    #[arg(long)]
    keep_going: bool,
    /// Start only cells that should finish within this time, such as 30m or 2h: first one seed of every cell, then
    /// the next; the report lists what is missing
    #[arg(long, value_name = "TIME", value_parser = setup::seconds, conflicts_with = "force")]
    budget: Option<f64>,
    /// Run this many cells in parallel, each on its share of the threads: auto, or a number. Results are the same
    #[arg(long, default_value = "auto", value_name = "N", value_parser = setup::jobs)]
    jobs: Jobs,
    /// Exit with code 1 unless every claim that these tables can test is reproduced
    #[arg(long)]
    strict: bool,
}

/// The number of cells that run in parallel; `None` chooses it so that the whole run is short.
#[derive(Clone, Copy, Default)]
struct Jobs(Option<usize>);

/// How a command without an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    /// The command found what it looks for: a claim or a figure that was not reproduced, a number that no record has, or
    /// something that has changed.
    Found,
}

/// Parses the arguments, runs the command and returns the exit code.
pub fn main(app: &App) -> ExitCode {
    let code = match Arguments::try_parse() {
        Ok(arguments) => match error::caught(|| dispatch(app, arguments)) {
            Ok(Ending::Done) => 0,
            Ok(Ending::Found) => 1,
            Err(error) => {
                talk!("error: {error}");
                2
            }
        },
        Err(message) => {
            // Help and version are facts; errors in the arguments are talk.
            let printed = message.print();
            if !message.use_stderr() {
                console::deliver(printed);
            }
            if message.use_stderr() { 2 } else { 0 }
        }
    };
    console::ending(code)
}

fn dispatch(app: &App, arguments: Arguments) -> Result<Ending> {
    setup::threads(arguments.threads)?;
    setup::instruction_set()?;
    let quiet = arguments.quiet;
    match arguments.command {
        Command::Reproduce { config, tables, how } => run::reproduce(app, &config, &tables, how, quiet),
        Command::Table { id, config, how } => run::reproduce(app, &config, &[id], how, quiet),
        Command::List { config, cores, json } => run::list(app, &config, &cores, json),
        Command::Config { prefix, config, json } => config::config(app, &config, prefix.as_deref(), json),
        Command::Report { config, anonymous } => run::report(app, &config, anonymous),
        Command::Plan(args) => plan::run(app, args, quiet),
        Command::Bundle(args) => bundle::run(app, args),
        Command::Runs { delete: Some(run), config, .. } => records::delete(app, &config, &run),
        Command::Runs { config, last, json, .. } => records::runs(app, &config, last, json),
        Command::Show { run, changes: true, config, .. } => records::changes(app, &config, &run),
        Command::Show { run, config, json, .. } => records::show(app, &config, &run, json),
        Command::Diff { first, second, config, json } => diff::diff(app, &config, [&first, &second], json),
        Command::Verify(args) => verify::verify(app, &args, quiet),
        Command::Why { of, config, json } => why::why(app, &config, &of, json),
        Command::Audit(args) => audit::audit(app, &args),
        Command::Lint(args) => lint::check(app, &args),
        Command::Pretrain(args) => encoder::pretrain(app, &args, quiet),
        Command::Probe { run, on, config } => encoder::probe(app, &run, &on, &config, quiet),
        Command::Detect(args) => encoder::detect(app, &args, quiet),
        Command::Export { run, to, config } => encoder::export(app, &run, &to, &config),
        Command::ImportWeights(args) => encoder::import(app, &args, quiet),
        Command::Data(command) => data::run(app, command, quiet),
        Command::Devices { config, json } => devices::devices(app, &config, json),
        Command::Bench(command) => bench::run(app, command, quiet),
    }
}

//! What commands need before they start: threads, instruction set, configuration, ledger and cache.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::console;
use crate::error::{Context as _, Error, Result};
use crate::harness::cache::Cache;
use crate::harness::config::{Given, Group, Layers, Resolved, Role, Roles};
use crate::harness::ledger::Ledger;
use crate::harness::provenance::{Compute, Host};
use crate::harness::scaling::Scaling;
use crate::kernels::cpu;
use crate::methods::Name;
use crate::study::device;
use crate::study::settings::{Settings, check_values};

use super::{App, ConfigArgs, Jobs, Profile};

/// The largest number of threads, more than any machine has cores. Each thread takes memory and time to start.
const MOST_THREADS: usize = 4096;

/// Starts the thread pool for all work, with `count` threads or one per core.
pub(super) fn threads(count: Option<usize>) -> Result<()> {
    if let Some(count) = count.filter(|count| !(1..=MOST_THREADS).contains(count)) {
        return Err(Error::new(format!("`--threads {count}` is not in 1..={MOST_THREADS}"))
            .hint("leave it out to use every core, or give 1 or more: `--threads 1`"));
    }
    // This thread also works: otherwise each product of a small network would wake another thread and wait for it.
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count.unwrap_or_else(cores)).use_current_thread();
    let started = pool.build_global().context("cannot start the threads of the pool");
    started.map_err(|error| error.hint("ask for fewer threads: `--threads 1`"))
}

/// The command line as records keep it. The program is named by its file name only: records are shared, and the
/// folder of the program adds nothing to its hash.
pub(super) fn command_line() -> Vec<String> {
    let mut words = std::env::args_os();
    let program = words.next().map(PathBuf::from);
    let program = program.as_deref().and_then(Path::file_name).map(OsStr::to_owned);
    program.into_iter().chain(words).map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Selects the instruction set before the first kernel runs, so that a wrong SEMPAIR_ISA is an error at once.
pub(super) fn instruction_set() -> Result<()> {
    cpu::select_isa(None).map(|_| ())
}

/// The settings of a command, checked, with their origins.
pub(super) fn resolve(app: &App, args: &ConfigArgs) -> Result<Resolved<Settings>> {
    let layers = embedded(app, args)?.file(Path::new("sempair.toml")).env("SEMPAIR_", &["ISA"]);
    let layers = layers.given(&args.before).set(&args.sets).given(&given(args)?);
    let resolved = layers.resolve_with::<Settings>(&groups(app))?;
    check_values(&resolved.values)?;
    check(app, &resolved.settings)?;
    Ok(resolved)
}

/// Returns the settings of earlier runs, with the rows and columns that the command line lists. All other current
/// settings are ignored.
pub(super) fn resolve_above(
    app: &App,
    args: &ConfigArgs,
    asked: Vec<(String, Value)>,
    roles: &Roles,
) -> Result<Settings> {
    let lists = |key: &str| roles.of(key.trim()) == Role::Rows;
    let listed = |assignment: &&String| assignment.split_once('=').is_some_and(|(key, _)| lists(key));
    let sets: Vec<String> = args.sets.iter().filter(listed).cloned().collect();
    let mut given = given(args)?;
    given.retain(|given| lists(given.key));
    let layers = embedded(app, args)?.recorded(asked).set(&sets).given(&given);
    let settings = layers.resolve_with::<Settings>(&groups(app))?.settings;
    check(app, &settings)?;
    Ok(settings)
}

/// The arguments without the settings that they contain.
pub(super) fn without_sets(args: &ConfigArgs) -> ConfigArgs {
    ConfigArgs { methods: None, seeds: None, sets: Vec::new(), before: Vec::new(), ..args.clone() }
}

/// What each setting decides.
pub(super) fn roles(app: &App) -> Roles {
    Roles::of_defaults(app.defaults)
}

/// The groups of settings that belong to one table each.
fn groups(app: &App) -> Vec<Group> {
    app.experiments.iter().filter_map(|experiment| experiment.group()).collect()
}

/// Refuses settings with which no run makes sense.
fn check(app: &App, settings: &Settings) -> Result<()> {
    settings.validate()?;
    app.experiments.iter().try_for_each(|experiment| experiment.check(settings))
}

/// The embedded layers, below those that a user writes.
fn embedded(app: &App, args: &ConfigArgs) -> Result<Layers> {
    let profile = profile(app, &args.profile)?;
    Ok(Layers::new().embedded("defaults", app.defaults).embedded(profile.layer, profile.toml))
}

/// The settings of options that are short for one key.
fn given(args: &ConfigArgs) -> Result<Vec<Given>> {
    let seeds = args.seeds.map(|seeds| Ok(Given { key: "seeds", value: seeds.into(), option: "--seeds" }));
    let methods = args.methods.as_deref().map(|list| {
        let value = methods(list).into();
        Ok(Given { key: "transfer.methods", value, option: "--methods" })
    });
    let device = args
        .device
        .as_ref()
        .map(|device| Ok(Given { key: "device", value: device.as_str().into(), option: "--device" }));
    let data = args.data.as_deref().map(|dir| place("paths.data", "--data", dir));
    let out = args.out.as_deref().map(|dir| place("paths.reports", "--out", dir));
    [methods, seeds, data, out, device].into_iter().flatten().collect()
}

/// A path as a setting, which is text.
pub(super) fn place(key: &'static str, option: &'static str, path: &Path) -> Result<Given> {
    let Some(text) = path.to_str() else {
        return Err(Error::new(format!("{option} {path:?}: the path is not UTF-8, as settings must be"))
            .hint(format!("give another path, such as `{option} results`")));
    };
    Ok(Given { key, value: text.into(), option })
}

/// The methods in a list with commas; `all` means all self-supervised methods.
fn methods(list: &str) -> Vec<String> {
    match list {
        "all" => Name::ALL.iter().filter(|name| name.is_self_supervised()).map(|name| name.id().to_owned()).collect(),
        list => list.split(',').map(|id| id.trim().to_owned()).collect(),
    }
}

/// Parses a time such as `90s`, `30m` or `1.5h` into seconds.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a time; write it as 90s, 30m or 1.5h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    if number > 0.0 && number.is_finite() { Ok(number * seconds) } else { Err(wrong()) }
}

/// Parses `auto` or a number of jobs.
pub(super) fn jobs(text: &str) -> Result<Jobs, String> {
    match text.parse() {
        _ if text == "auto" => Ok(Jobs(None)),
        Ok(0) | Err(_) => Err(format!("`{text}` is not a number of jobs; write auto, or 1 or more")),
        Ok(jobs) => Ok(Jobs(Some(jobs))),
    }
}

impl Jobs {
    /// The number on a device. Cells that run at the same time on a GPU share it and its memory, so by default there is
    /// one.
    pub(super) fn on(self, compute: &Compute) -> Option<usize> {
        self.0.or((compute.device != "cpu").then_some(1))
    }
}

/// What records state about the GPU of these settings besides its name; empty on the processor.
pub(super) fn gpu(settings: &Settings) -> Result<String> {
    Ok(device::gpu(&device::open(settings)?))
}

/// How work scales on this machine, as far as it was measured.
pub(super) fn scaling(settings: &Settings, compute: &Compute) -> Scaling {
    let host = Host::current(rayon::current_num_threads());
    Scaling::open(Path::new(&settings.paths.cache), &host, compute)
}

/// Returns the profile with this name.
pub(super) fn profile<'a>(app: &'a App, name: &str) -> Result<&'a Profile> {
    app.profiles.iter().find(|profile| profile.name == name).ok_or_else(|| {
        let names: Vec<&str> = app.profiles.iter().map(|profile| profile.name).collect();
        Error::new(format!("there is no profile `{name}`; there are {}", names.join(", ")))
            .hint("`sempair config --profile standard` shows what a profile sets")
    })
}

/// Opens the ledger of these settings.
pub(super) fn ledger(settings: &Settings) -> Ledger {
    let locks = Path::new(&settings.paths.cache).join("locks");
    Ledger::open(Path::new(&settings.paths.reports).join("ledger"), locks)
}

/// The folders that this program writes to with these settings.
pub(super) fn outputs(settings: &Settings, profile: &str) -> Vec<PathBuf> {
    let paths = &settings.paths;
    let reports = Path::new(&paths.reports);
    let folders =
        [reports, &reports.join("ledger"), &reports.join(profile), Path::new(&paths.cache), Path::new(&paths.data)];
    folders.map(Path::to_path_buf).into()
}

/// Opens the cache of these settings.
pub(super) fn cache(settings: &Settings) -> Cache {
    Cache::open(&settings.paths.cache)
}

/// The compute device and number format as records name them: with the device and the precision that were
/// chosen, never `auto`.
pub(super) fn compute(settings: &Settings) -> Result<Compute> {
    Ok(device::compute(&device::open(settings)?))
}

/// Prints facts as JSON on one line of standard output.
pub(super) fn print_json_line(value: &impl Serialize) -> Result<()> {
    say!("{}", escaped(&serde_json::to_string(value).context("not JSON")?));
    Ok(())
}

/// Prints facts as indented JSON on standard output, readable for scripts and people.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    say!("{}", escaped(&serde_json::to_string_pretty(value).context("not JSON")?));
    Ok(())
}

/// Escapes the characters that a terminal would obey and that JSON itself does not escape.
fn escaped(json: &str) -> String {
    if matches!(console::shown(json), Cow::Borrowed(_)) {
        return json.to_owned();
    }
    let escape = |c: char| match console::shown(c.encode_utf8(&mut [0; 4])).len() == c.len_utf8() {
        true => c.to_string(),
        false => format!("\\u{:04x}", c as u32),
    };
    json.chars().map(escape).collect()
}

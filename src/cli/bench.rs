//! `bench step`, `bench augment` and `bench trainings`: measure speed, and print JSON that a script can compare with
//! other implementations.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::bench::peaks::Peaks;
use crate::bench::step::{Group, Subject, time_steps};
use crate::data::augment::throughput;
use crate::error::{Error, Result};
use crate::harness::config::Given;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::harness::provenance::Compute;
use crate::models::{Encoder, ModelSpec, Stem};
use crate::study::device;
use crate::study::parallel_trainings::{Speed, measure};
use crate::study::settings::{DeviceChoice, PrecisionChoice, Settings};

use super::profile::Profile;
use super::setup::{self, print_json_line};
use super::{App, ConfigArgs, Ending};

#[derive(Subcommand)]
pub(super) enum BenchCommand {
    /// Time training steps: networks, heads, loss, backward, optimiser
    Step(StepArgs),
    /// Time SimCLR's augmentation, from 64x64 bytes to normalised floats
    Augment {
        /// Height and width of the views in pixels
        #[arg(long, default_value_t = 64, value_parser = between::<1, 1024>)]
        image: usize,
        /// Number of timed rounds of 512 views
        #[arg(long, default_value_t = 20, value_parser = between::<1, 100_000>)]
        rounds: usize,
        /// Print JSON, on one line
        #[arg(long)]
        json: bool,
    },
    /// Time short trainings in parallel: their speed together, and how long a step waits for its images
    ///
    /// The trainings are those of a profile, on semantic pairs, each from another seed. On one thread a training makes
    /// its images itself while it waits for them; on more threads they should be ready.
    Trainings(TrainingsArgs),
}

/// What `bench trainings` times.
#[derive(Args)]
pub(super) struct TrainingsArgs {
    /// Numbers of trainings in parallel, such as 1,2,8; each training gets an equal share of the threads. By default 1,
    /// 2, 4, .. up to one per thread
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    jobs: Vec<usize>,
    /// Start from this profile: quick, thorough, standard or paper
    #[arg(long, default_value = "quick", value_name = "NAME")]
    profile: String,
    /// The method, such as dino: short for `--set method=..`
    #[arg(long)]
    method: Option<String>,
    /// Set one value; `sempair config` lists the keys
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Use the imported datasets in this folder: short for `--set paths.data=DIR`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Number of passes over the pairs
    #[arg(long, default_value_t = 4, value_parser = between::<1, 100_000>)]
    epochs: usize,
    /// Print JSON, on one line
    #[arg(long)]
    json: bool,
}

/// What `bench step` times.
#[derive(Args)]
pub(super) struct StepArgs {
    /// The encoder
    #[arg(long, value_enum, default_value_t = Model::Resnet18)]
    model: Model,
    /// The method, such as dino; by default SimCLR as in PyTorch's script, with the head of the SimCLR paper
    ///
    /// Its settings come from the defaults, sempair.toml and SEMPAIR_ variables: see `sempair config methods.dino`.
    /// Images per second count two images per pair, even if a method also sees smaller views.
    #[arg(long)]
    method: Option<String>,
    /// Set one value of methods.<method> or optimizer, such as methods.dino.head=paper
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "method")]
    sets: Vec<String>,
    /// Height and width of the images in pixels
    #[arg(long, default_value_t = 64)]
    image: usize,
    /// Number of pairs per step; each pair has two images
    #[arg(long, default_value_t = 32, value_parser = between::<1, 65_536>)]
    pairs: usize,
    /// Number format of activations and products; auto is bf16 if the device can multiply it
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    precision: Format,
    /// Device: cpu, cuda, cuda:N, or auto for the first GPU if there is one that works
    #[arg(long, default_value = "cpu", value_parser = |text: &str| DeviceChoice::try_from(text.to_owned()))]
    device: DeviceChoice,
    /// Number of timed steps
    #[arg(long, default_value_t = 8, value_parser = between::<1, 100_000>)]
    steps: usize,
    /// Show where the time goes, compared with the measured peaks of this machine
    ///
    /// The operations of a product are its multiplications, times two for the additions; where a window reaches into
    /// the padding, there are none. Winograd's method (3x3, stride 1, in f32) needs about a quarter of them but is
    /// counted like the direct method, so its share of the peak may exceed 100 %. Bytes are a lower bound: each
    /// operand is read once and each result is written once, in its own format. The peaks are for all threads
    /// together with the instruction set in use: products whose operands stay in registers and the first-level cache,
    /// and plain copies in memory and in the second-level cache, counting bytes read and written. The floor is the
    /// time of the products at their peak, or of the bytes at the speed of copies in memory, whichever is longer;
    /// what stays in a cache may take less. With `sizes`, products of each size have a line of their own. On a GPU,
    /// times are those between operations in its stream of work.
    #[arg(long, num_args = 0..=1, default_missing_value = "kinds", value_name = "LINES")]
    profile: Option<ProfileLines>,
    /// Print JSON, on one line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Model {
    /// ResNet-18 with ImageNet's stem
    Resnet18,
    /// ResNet-50 with ImageNet's stem
    Resnet50,
    /// ResNet-18 with the stem for small images
    Resnet18Cifar,
    /// The quick profile's network
    ResnetSmall,
    /// The quick profile's vision transformer with patches of 4x4
    VitMini,
    /// The small vision transformer with patches of 8x8
    VitS8,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ProfileLines {
    /// A line for each kind of operation
    Kinds,
    /// The same, but for each size of a product
    Sizes,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Auto,
    F32,
    Bf16,
}

impl Format {
    fn choice(self) -> PrecisionChoice {
        match self {
            Self::Auto => PrecisionChoice::Auto,
            Self::F32 => PrecisionChoice::F32,
            Self::Bf16 => PrecisionChoice::Bf16,
        }
    }
}

impl Model {
    fn spec(self, image: usize) -> ModelSpec {
        let (encoder, stem) = match self {
            Self::Resnet18 => (Encoder::Resnet18, Stem::Imagenet),
            Self::Resnet50 => (Encoder::Resnet50, Stem::Imagenet),
            Self::Resnet18Cifar => (Encoder::Resnet18, Stem::Small),
            Self::ResnetSmall => (Encoder::ResnetSmall, Stem::Half),
            Self::VitMini => (Encoder::VitMini, Stem::Patch4),
            Self::VitS8 => (Encoder::VitS8, Stem::Patch8),
        };
        ModelSpec { encoder, stem, image, drop_path: 0.0 }
    }
}

/// `sempair bench`.
pub(super) fn run(app: &App, command: BenchCommand, quiet: bool) -> Result<Ending> {
    match command {
        BenchCommand::Step(args) => step(app, &args),
        BenchCommand::Augment { image, rounds, json } => augment(image, rounds, json),
        BenchCommand::Trainings(args) => trainings(app, &args, quiet),
    }
}

/// The method that `--method` and `--set` choose.
fn subject(app: &App, args: &StepArgs) -> Result<Subject> {
    let Some(name) = &args.method else { return Ok(Subject::simclr_of_peers()) };
    let own = format!("methods.{name}.");
    if let Some(set) = args.sets.iter().find(|set| !set.starts_with(&own) && !set.starts_with("optimizer.")) {
        return Err(Error::new(format!("`--set {set}` has no effect on a step of {name}")).hint(format!(
            "`sempair config methods.{name}` and `sempair config optimizer` list those with an effect"
        )));
    }
    let settings = settings(app, "quick", Some(name), &args.sets, None)?;
    Ok(Subject::new(settings.methods.get(settings.method), settings.optimizer))
}

/// The settings of a profile, with the method and the values of the command's options.
fn settings(
    app: &App,
    profile: &str,
    method: Option<&String>,
    sets: &[String],
    data: Option<&PathBuf>,
) -> Result<Settings> {
    let method = method.map(|name| Given { key: "method", value: name.as_str().into(), option: "--method" });
    let config = ConfigArgs {
        profile: profile.into(),
        before: method.into_iter().collect(),
        sets: sets.to_vec(),
        methods: None,
        seeds: None,
        data: data.cloned(),
        out: None,
        device: None,
    };
    Ok(setup::resolve(app, &config)?.settings)
}

fn step(app: &App, args: &StepArgs) -> Result<Ending> {
    let &StepArgs { model, image, pairs, precision, device, steps, profile, json, .. } = args;
    at_least_one("pairs", pairs)?;
    at_least_one("steps", steps)?;
    let name = model.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default();
    let subject = subject(app, args)?;
    let settings = settings(app, "quick", None, &[], None)?;
    let device = device::open(&Settings { device, precision: precision.choice(), ..settings })?;
    let compute = device::compute(&device);
    let group = profile.map(|lines| match lines {
        ProfileLines::Kinds => Group::Kind,
        ProfileLines::Sizes => Group::Size,
    });
    let measured = time_steps(&model.spec(image), &subject, &device, pairs, steps, group)?;
    let method = subject.method.name();
    let rates = measured.seconds.iter().map(|seconds| 2.0 * pairs as f64 / seconds).collect::<Vec<_>>();
    let (memory, of_gpu) = (peak_memory(), device.peak_memory()); // before measuring the machine takes more
    let profile = profile.map(|_| Profile::new(&measured, Peaks::measure(&device)));
    let (Compute { device, isa, precision }, threads) = (compute, rayon::current_num_threads());
    if json {
        let mut facts = json!({
            "model": name, "method": method.id(), "image": image, "pairs": pairs, "device": device,
            "precision": precision, "isa": isa, "threads": threads, "step_seconds": measured.seconds,
            "images_per_second_median": median(&rates),
            "images_per_second_best": best(&rates), "peak_memory_bytes": memory,
            "peak_gpu_memory_bytes": of_gpu,
        });
        if let Some(profile) = profile {
            facts["profile"] = profile.json();
        }
        print_json_line(&facts)?;
    } else {
        let compute = if device == "cpu" { format!("{isa}, {threads} threads") } else { format!("{isa}, {device}") };
        say!("{} with {name} at {image}x{image}, {pairs} pairs, {precision}, {compute}", method.title());
        say!("{:.1} images/s median, {:.1} best of {steps} steps", median(&rates), best(&rates));
        if let Some(bytes) = memory {
            say!("{:.0} MiB of memory at peak", bytes as f64 / f64::from(1 << 20));
        }
        if let Some(bytes) = of_gpu {
            say!("{:.0} MiB of the GPU's memory at peak", bytes as f64 / f64::from(1 << 20));
        }
        if let Some(profile) = profile {
            profile.print();
        }
    }
    Ok(Ending::Done)
}

/// The peak memory of this process, in bytes; `None` where the system does not report it (outside Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| 1024 * kib)
}

fn augment(image: usize, rounds: usize, json: bool) -> Result<Ending> {
    at_least_one("image", image)?;
    at_least_one("rounds", rounds)?;
    let rates = throughput(image, rounds);
    if json {
        print_json_line(&json!({
            "image": image, "threads": rayon::current_num_threads(), "images_per_second": rates,
            "images_per_second_median": median(&rates), "images_per_second_best": best(&rates),
        }))?;
    } else {
        say!("{:.0} views/s median, {:.0} best of {rounds} rounds", median(&rates), best(&rates));
    }
    Ok(Ending::Done)
}

fn trainings(app: &App, args: &TrainingsArgs, quiet: bool) -> Result<Ending> {
    let TrainingsArgs { jobs, profile, method, sets, data, epochs, json } = args;
    let mut settings = settings(app, profile, method.as_ref(), sets, data.as_ref())?;
    settings.pretrain.epochs = *epochs;
    let threads = rayon::current_num_threads();
    let doubled = std::iter::successors(Some(1), |&count| Some(2 * count)).take_while(|&count| count <= threads);
    let jobs = if jobs.is_empty() { doubled.collect() } else { jobs.clone() };
    if let Some(wrong) = jobs.iter().find(|&&jobs| jobs == 0 || jobs > threads) {
        return Err(Error::new(format!("`--jobs {wrong}`: each training needs a thread, and there are {threads}"))
            .hint(format!("`sempair bench trainings --jobs {threads}`")));
    }
    let (progress, interrupt) = (Progress::stderr(quiet), Interrupt::install()?);
    let measured = jobs.iter().map(|&jobs| measure(&settings, jobs, threads, &progress, &interrupt));
    let speeds = measured.collect::<Result<Vec<Speed>>>()?;
    let (model, batch) = (&settings.model, settings.pretrain.batch);
    let Compute { device, isa, precision } = device::compute(&device::open(&settings)?);
    if *json {
        print_json_line(&json!({
            "method": settings.method.id(), "model": model, "batch": batch, "device": device,
            "precision": precision, "isa": isa, "threads": threads, "parallel": speeds,
        }))?;
        return Ok(Ending::Done);
    }
    let (title, image) = (settings.method.title(), model.image);
    say!("{title} with {:?} at {image}x{image}, {batch} pairs, {precision}, {isa}, {threads} threads", model.encoder);
    say!(
        "{:>9}  {:>12}  {:>17}  {:>9}  {:>24}",
        "trainings",
        "threads each",
        "pairs/s together",
        "a step",
        "of it waiting for images"
    );
    for &Speed { jobs, threads, pairs_per_second, step_seconds, waiting_seconds } in &speeds {
        let part = 100.0 * waiting_seconds / step_seconds;
        let (step, waiting) =
            (format!("{:.2} ms", 1e3 * step_seconds), format!("{:.2} ms ({part:.1} %)", 1e3 * waiting_seconds));
        say!("{jobs:>9}  {threads:>12}  {pairs_per_second:>17.0}  {step:>9}  {waiting:>24}");
    }
    Ok(Ending::Done)
}

fn at_least_one(name: &str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::new(format!("`--{name} 0` measures nothing")).hint(format!("`--{name} 32`")))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Parses the number of an option, and checks its bounds.
fn between<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("it must be a whole number from {LEAST} to {MOST}"))
}

//! `pretrain`, `probe`, `detect`, `export` and `import-weights`: one encoder at a time, outside of tables.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::data::outlines::outlined;
use crate::data::pairs::PairKind;
use crate::data::preview::write_png;
use crate::data::store;
use crate::detection::Detection;
use crate::error::{Error, Result, shell};
use crate::harness::config::Given;
use crate::harness::energy::{Meter, POWERCAP};
use crate::harness::experiment::Experiment;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::harness::runner::{self, Options, RunContext};
use crate::models::Encoder;
use crate::report;
use crate::study::detect_images::{detect_images, pictures_in};
use crate::study::one_off::{DetectOne, FoundEncoder, ImportOne, PretrainOne, ProbeOne};
use crate::study::settings::Settings;
use crate::study::weights_io;

use super::{App, ConfigArgs, Ending, records, setup};

/// Augmented or semantic pairs.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Pairs {
    /// Two random transformations of one image
    Ap,
    /// Two different images of one category
    Sp,
    /// Every image of the semantic pairs, paired with itself
    Unpaired,
}

/// Settings of a command for one encoder.
#[derive(Args, Clone)]
pub(super) struct EncoderConfigArgs {
    /// Start from this profile: quick, thorough, standard or paper
    #[arg(long, default_value = "quick", value_name = "NAME")]
    profile: String,
    /// Set one value; `sempair config` lists the keys
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Use the imported datasets in this folder: short for `--set paths.data=DIR`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write the ledger to this folder: short for `--set paths.reports=DIR`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Compute on this device, such as cpu or cuda: short for `--set device=..`
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

impl EncoderConfigArgs {
    /// Converts to the settings of other commands, with those from the command's own options added.
    fn with(&self, given: &[Option<Given>]) -> ConfigArgs {
        ConfigArgs {
            profile: self.profile.clone(),
            before: given.iter().flatten().cloned().collect(),
            sets: self.sets.clone(),
            methods: None,
            seeds: None,
            data: self.data.clone(),
            out: self.out.clone(),
            device: self.device.clone(),
        }
    }

    /// Refuses a `--data` without imported datasets: it may be the name of a dataset.
    fn check_data(&self) -> Result<()> {
        let Some(data) = &self.data else { return Ok(()) };
        if store::list(data).is_ok_and(|sets| !sets.is_empty()) {
            return Ok(());
        }
        let what = format!("`--data {}` is not a folder of imported datasets", data.display());
        Err(Error::new(what).hint(format!("a dataset is named with `--on {}`", shell(&data.to_string_lossy()))))
    }
}

/// The setting of an option, if it is given.
fn given<T: Into<Value>>(key: &'static str, option: &'static str, value: Option<T>) -> Option<Given> {
    value.map(|value| Given { key, value: value.into(), option })
}

/// What `pretrain` trains.
#[derive(Args)]
pub(super) struct PretrainArgs {
    /// The method, such as simclr or byol: short for `--set method=..`
    #[arg(long)]
    method: Option<String>,
    /// Augmented or semantic pairs
    #[arg(long, value_enum, default_value_t = Pairs::Sp)]
    pairs: Pairs,
    /// The encoder, such as resnet18 or vit-s8: short for `--set model.encoder=..`
    #[arg(long)]
    encoder: Option<String>,
    /// The encoder's first layers, such as imagenet for torchvision's: short for `--set model.stem=..`. With
    /// `--encoder vit-..` the default is patch8
    #[arg(long)]
    stem: Option<String>,
    /// Draw the pairs from this dataset: short for `--set pairs.from=..`
    #[arg(long, value_name = "SET")]
    on: Option<String>,
    /// Number of passes over the pairs: short for `--set pretrain.epochs=..`
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// The seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Keep training after the representation has collapsed
    #[arg(long)]
    keep_going: bool,
    /// Train again, even if the encoder exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: EncoderConfigArgs,
}

/// `sempair pretrain`.
pub(super) fn pretrain(app: &App, args: &PretrainArgs, quiet: bool) -> Result<Ending> {
    args.config.check_data()?;
    let config = args.config.with(&[
        given("method", "--method", args.method.clone()),
        given("model.encoder", "--encoder", args.encoder.clone()),
        given("model.stem", "--stem", stem(args.stem.as_ref(), args.encoder.as_ref())),
        given("pairs.from", "--on", args.on.clone()),
        given("pretrain.epochs", "--epochs", args.epochs),
        given("keep_going", "--keep-going", args.keep_going.then_some(true)),
    ]);
    let kind = match args.pairs {
        Pairs::Ap => PairKind::Augmented,
        Pairs::Sp => PairKind::Semantic,
        Pairs::Unpaired => PairKind::Unpaired,
    };
    run(app, &config, &PretrainOne { kind, seed: args.seed }, Product::Files { again: args.force }, quiet)
}

/// `sempair probe`.
pub(super) fn probe(app: &App, run_id: &str, set: &str, config: &EncoderConfigArgs, quiet: bool) -> Result<Ending> {
    config.check_data()?;
    let config = config.with(&[]);
    let encoder = found(app, &config, run_id)?;
    run(app, &config, &ProbeOne { encoder, set: set.into() }, Product::Figure, quiet)
}

/// What `detect` trains, and what it looks at.
#[derive(Args)]
pub(super) struct DetectArgs {
    /// The run's id, or enough of its start or end to identify it
    run: String,
    /// Use this set of images with annotated objects, such as synth-voc: short for `--set detection.set=..`
    #[arg(long, value_name = "SET")]
    on: Option<String>,
    /// Then find the objects in the pictures of this folder, and list them
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Write these pictures to this folder, with a box around each object
    #[arg(long, value_name = "DIR", requires = "images")]
    draw: Option<PathBuf>,
    #[command(flatten)]
    config: EncoderConfigArgs,
}

/// `sempair detect`.
pub(super) fn detect(app: &App, args: &DetectArgs, quiet: bool) -> Result<Ending> {
    args.config.check_data()?;
    let config = args.config.with(&[given("detection.set", "--on", args.on.clone())]);
    let one = DetectOne { encoder: found(app, &config, &args.run)? };
    let Some(folder) = &args.images else { return run(app, &config, &one, Product::Figure, quiet) };
    let pictures = pictures_in(folder)?;
    let around = (&Progress::stderr(quiet), &Interrupt::install()?);
    run_with(app, &config, &one, Product::Files { again: false }, around)?;
    let settings = setup::resolve(app, &config)?.settings;
    let (found, drawn) = detect_images(&one.detector(&settings)?, &setup::cache(&settings), pictures, around)?;
    for (index, picture) in found.iter().enumerate() {
        say!("{}: {}", picture.name, report::counted(picture.detections.len(), "object"));
        for Detection { edges, class, score } in &picture.detections {
            let [left, top, right, bottom] = edges.map(|edge| edge.round());
            say!("  {} {score:.2}, from ({left}, {top}) to ({right}, {bottom})", drawn.classes[*class]);
        }
        if let Some(to) = &args.draw {
            let path = to.join(format!("{}.png", picture.name));
            write_png(&path, DRAWN, DRAWN, &outlined(&drawn, index, DRAWN)?)?;
        }
    }
    Ok(Ending::Done)
}

/// Height and width of a drawn picture in pixels.
const DRAWN: usize = 512;

/// `sempair export`.
pub(super) fn export(app: &App, run_id: &str, to: &Path, config: &EncoderConfigArgs) -> Result<Ending> {
    let encoder = found(app, &config.with(&[]), run_id)?;
    weights_io::export(&encoder.dir, (&encoder.run, &encoder.row), to)?;
    say!("{}", to.join(weights_io::WEIGHTS).display());
    say!("{}", to.join(weights_io::CARD).display());
    Ok(Ending::Done)
}

/// What `import-weights` reads.
#[derive(Args)]
pub(super) struct ImportArgs {
    /// The file: safetensors with torchvision's (ResNet) or timm's (ViT) parameter names
    file: PathBuf,
    /// The encoder of these weights, such as resnet18: short for `--set model.encoder=..`
    #[arg(long)]
    encoder: Option<String>,
    /// The encoder's first layers, such as imagenet for torchvision's: short for `--set model.stem=..`. With
    /// `--encoder vit-..` the default is patch8
    #[arg(long)]
    stem: Option<String>,
    /// Height and width of the images for this encoder, in pixels: short for `--set model.image=..`
    #[arg(long)]
    image: Option<usize>,
    #[command(flatten)]
    config: EncoderConfigArgs,
}

/// `sempair import-weights`.
pub(super) fn import(app: &App, args: &ImportArgs, quiet: bool) -> Result<Ending> {
    let config = args.config.with(&[
        given("model.encoder", "--encoder", args.encoder.clone()),
        given("model.stem", "--stem", stem(args.stem.as_ref(), args.encoder.as_ref())),
        given("model.image", "--image", args.image),
    ]);
    run(app, &config, &ImportOne { file: args.file.clone() }, Product::Files { again: false }, quiet)
}

/// The stem that was asked for, or else the usual stem of the encoder that was asked for.
fn stem(asked: Option<&String>, encoder: Option<&String>) -> Option<String> {
    let usual = || {
        let encoder: Encoder = serde_json::from_value(encoder?.as_str().into()).ok()?;
        serde_json::to_value(encoder.usual_stem()?).ok()?.as_str().map(String::from)
    };
    asked.cloned().or_else(usual)
}

fn found(app: &App, config: &ConfigArgs, run_id: &str) -> Result<FoundEncoder> {
    let settings = setup::resolve(app, config)?.settings;
    FoundEncoder::of(&setup::ledger(&settings).find(run_id)?, &setup::cache(&settings))
}

/// What a command produces in addition to its record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Product {
    /// A figure, which is in the record.
    Figure,
    /// Files in the cache: an encoder, a detector. They are computed again if they are no longer there, or if `again` is
    /// set.
    Files { again: bool },
}

/// Runs one cell, or finds its completed run, and prints what it measured.
fn run(
    app: &App,
    config: &ConfigArgs,
    experiment: &dyn Experiment<Settings>,
    product: Product,
    quiet: bool,
) -> Result<Ending> {
    run_with(app, config, experiment, product, (&Progress::stderr(quiet), &Interrupt::install()?))
}

/// As [`run`], with the command's own progress and interrupt.
fn run_with(
    app: &App,
    config: &ConfigArgs,
    experiment: &dyn Experiment<Settings>,
    product: Product,
    (progress, interrupt): (&Progress, &Interrupt),
) -> Result<Ending> {
    let resolved = setup::resolve(app, config)?;
    let settings = &resolved.settings;
    let (ledger, cache) = (setup::ledger(settings), setup::cache(settings));
    let (compute, gpu) = (setup::compute(settings)?, setup::gpu(settings)?);
    let scaling = setup::scaling(settings, &compute);
    let energy = Meter::open(Path::new(POWERCAP));
    let plan = || runner::plan(&[experiment], settings);
    let execute = |force: bool| {
        let (compute, gpu, ledger, cache, scaling) = (&compute, gpu.as_str(), &ledger, &cache, &scaling);
        let energy = &energy;
        let surroundings = RunContext { compute, gpu, ledger, cache, scaling, energy, progress, interrupt };
        let (repo, outputs) = (PathBuf::from("."), setup::outputs(settings, &config.profile));
        let options = Options { force, budget: None, jobs: Some(1), repo, outputs, source: settings.source };
        runner::run(plan()?, &resolved, &config.profile, surroundings, &options, &setup::command_line())?.whole()
    };
    let mut runs = execute(product == Product::Files { again: true })?;
    if product == (Product::Files { again: false }) {
        let cells = plan()?.into_iter().flat_map(|plan| plan.cells);
        let mut stages = cells.flat_map(|cell| cell.stages().cloned().collect::<Vec<_>>());
        if !stages.all(|stage| cache.has(stage.name(), stage.key())) {
            runs = execute(true)?;
        }
    }
    for id in runs.iter().flat_map(|run| &run.runs) {
        say!("{}", records::summary(&ledger.find(id)?));
    }
    Ok(Ending::Done)
}

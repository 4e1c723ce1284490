//! `data import`, `list`, `verify` and `pairs`.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::data::catalog::SYNTH;
use crate::data::croissant;
use crate::data::image_set::{Dataset, Split};
use crate::data::import::{Imported, Options, import};
use crate::data::pairs::{PairKind, PairSettings};
use crate::data::store::{self, AnyDataset, Objects};
use crate::data::world::{DETECTION_SETS, EVALUATION_SETS};
use crate::error::shell;
use crate::error::{Error, Result};
use crate::harness::interrupt::Interrupt;
use crate::harness::leftovers;
use crate::harness::progress::{Bar, Progress};
use crate::study::settings::{Settings, check_number_of_pairs};

use super::data_preview::preview;
use super::{App, ConfigArgs, Ending, setup};

#[derive(Subcommand)]
pub(super) enum DataCommand {
    /// Import CIFAR-10, CIFAR-100, STL-10, Tiny-ImageNet, PASCAL VOC, or a folder with one directory per category
    Import {
        /// A directory, .tar, .tar.gz or .zip; recognised by content. Several with the layout of PASCAL VOC become one
        /// dataset
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The dataset's name; by default that of its layout, such as cifar-10, or of the folder
        #[arg(long)]
        name: Option<String>,
        /// Resize images to this height and width in pixels; by default the dataset's own size, or 64 for folders
        #[arg(long)]
        size: Option<usize>,
        /// The licence of the images in a few words, for the records; archives do not contain it
        #[arg(long, value_name = "TEXT")]
        licence: Option<String>,
        /// Replace a dataset of the same name
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the imported datasets
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read whole datasets and compare them with their recorded hashes
    Verify {
        /// The datasets; all by default
        names: Vec<String>,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw semantic pairs and write them as a readable list with hashes
    Pairs {
        /// The dataset to draw from: `synth`, or an imported one
        #[arg(long, value_name = "SET")]
        from: String,
        /// Number of categories
        #[arg(long)]
        categories: usize,
        /// Number of pairs per category
        #[arg(long)]
        per_category: usize,
        /// Seed for the choice of categories and pairs
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Allow an image in several pairs
        #[arg(long)]
        reuse: bool,
        /// Also write the pairs as CSV, with a description for machines (Croissant 1.1)
        #[arg(long)]
        croissant: bool,
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw a picture of pairs and their augmented views, or of annotated images with the boxes of their objects
    Preview {
        /// `synth`, an embedded evaluation set, or an imported dataset
        set: String,
        /// Number of rows; each row shows one pair, or four annotated images
        #[arg(long, default_value_t = 10)]
        rows: usize,
        /// The output file; by default `preview-SET.png` in the folder of the datasets
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// `sempair data`.
pub(super) fn run(app: &App, command: DataCommand, quiet: bool) -> Result<Ending> {
    match command {
        DataCommand::Import { paths, name, size, licence, replace, config, json } => {
            let settings = setup::resolve(app, &config)?.settings;
            import_set(&settings, &paths, Choice { name, size, licence, replace }, json, quiet)
        }
        DataCommand::List { config, json } => list(&setup::resolve(app, &config)?.settings, json),
        DataCommand::Verify { names, config, json } => verify(&setup::resolve(app, &config)?.settings, names, json),
        DataCommand::Pairs { from, categories, per_category, seed, reuse, croissant, config, json } => {
            let settings = setup::resolve(app, &config)?.settings;
            let all = PairSettings { list: String::new(), false_share: 0.0, ..settings.pairs.clone() };
            pairs(&settings, &PairSettings { from, categories, per_category, seed, reuse, ..all }, croissant, json)
        }
        DataCommand::Preview { set, rows, file, config } => {
            preview(&setup::resolve(app, &config)?.settings, &set, rows, file)
        }
    }
}

fn folder(settings: &Settings) -> &Path {
    Path::new(&settings.paths.data)
}

/// The options of an import.
struct Choice {
    name: Option<String>,
    size: Option<usize>,
    licence: Option<String>,
    replace: bool,
}

fn import_set(
    settings: &Settings,
    paths: &[PathBuf],
    Choice { name, size, licence, replace }: Choice,
    json: bool,
    quiet: bool,
) -> Result<Ending> {
    let progress = Progress::stderr(quiet);
    let interrupt = Interrupt::install()?;
    let bar: OnceCell<Bar> = OnceCell::new();
    let advance = |done: u64, total: u64| {
        let bar = bar.get_or_init(|| progress.bar("import", total, "images"));
        bar.reach(done);
    };
    let options = Options { name, size, licence, replace, cancelled: &|| interrupt.requested() };
    let imported = import(paths, &options, folder(settings), &advance)?;
    drop(bar);
    match &imported.dataset {
        AnyDataset::Labelled(dataset) => told(dataset, &imported, json, |set| {
            let words = format!("{} images of {2}x{2}, {} categories", set.len(), set.classes.len(), set.size);
            (words, json!({ "size": set.size }))
        }),
        AnyDataset::Annotated(dataset) => told(dataset, &imported, json, |set| {
            let count = Objects::of(set);
            (format!("{} images, {}", set.len(), objects(count)), json!(count))
        }),
    }
}

/// Prints the result of an import. `facts` describes a split in words and for scripts.
fn told<S: Split>(
    dataset: &Dataset<S>,
    imported: &Imported,
    json: bool,
    facts: impl Fn(&S) -> (String, Value),
) -> Result<Ending> {
    let Imported { path, layout, left_out, findings, .. } = imported;
    let Dataset { name, description, licence, splits } = dataset;
    let classes = splits.values().next().map(S::classes).unwrap_or_default();
    if json {
        let splits = splits.iter().map(|(split, set)| {
            let mut facts = facts(set).1;
            facts["name"] = format!("{name}/{split}").into();
            facts["images"] = set.images().into();
            facts["hash"] = set.hash().into();
            facts
        });
        setup::print_json(&json!({
            "name": name, "description": description, "licence": licence, "layout": layout, "categories": classes,
            "file": path, "splits": splits.collect::<Vec<_>>(), "left_out": left_out, "findings": findings,
        }))?;
        return Ok(Ending::Done);
    }
    say!("{name}: {description} ({layout})");
    splits.iter().for_each(|(split, set)| say!("  {name}/{split}: {}, {}", facts(set).0, set.hash()));
    if matches!(imported.dataset, AnyDataset::Annotated(_)) {
        say!("  categories: {}", classes.join(", "));
    }
    left_out.iter().for_each(|left| say!("  left out: {}", left.what));
    findings.iter().for_each(|finding| say!("  note: {finding}"));
    if !licence.is_empty() {
        say!("  licence: {licence}");
    }
    say!("  in {}", path.display());
    Ok(Ending::Done)
}

fn objects(Objects { objects, difficult }: Objects) -> String {
    format!("{objects} objects ({difficult} difficult)")
}

fn list(settings: &Settings, json: bool) -> Result<Ending> {
    let sets = store::list(folder(settings))?;
    if json {
        setup::print_json(&sets)?;
        return Ok(Ending::Done);
    }
    if sets.is_empty() {
        say!("no imported datasets in {}; `sempair data import PATH` adds one", settings.paths.data);
    }
    for set in sets {
        say!("{}: {}", set.name, set.description);
        if !set.licence.is_empty() {
            say!("  licence: {}", set.licence);
        }
        for split in set.splits {
            let objects = split.objects.map_or(String::new(), |count| format!(", {}", objects(count)));
            say!("  {}: {} images{objects}, {}", split.name, split.images, split.hash);
        }
    }
    let (labelled, annotated) = (EVALUATION_SETS.join(", "), DETECTION_SETS.join(", "));
    say!("embedded, always available: {labelled}; with objects {annotated}; pairs come from {SYNTH}");
    Ok(Ending::Done)
}

fn verify(settings: &Settings, mut names: Vec<String>, json: bool) -> Result<Ending> {
    if names.is_empty() {
        names = store::list(folder(settings))?.into_iter().map(|set| set.name).collect();
    }
    let reports = names.iter().map(|name| store::verify(folder(settings), name)).collect::<Result<Vec<_>>>()?;
    if json {
        setup::print_json(&reports)?;
    } else {
        for report in &reports {
            let verdict = if report.holds() { "holds" } else { "CHANGED since its import" };
            say!("{}: {verdict}", report.name);
            for split in report.splits.iter().filter(|split| !split.changed.is_empty()) {
                let shown: Vec<String> = split.changed.iter().take(10).map(|(_, name)| name.clone()).collect();
                say!("  {}: {} images differ: {}", split.name, split.changed.len(), shown.join(", "));
            }
        }
    }
    match reports.iter().find(|report| !report.holds()) {
        None => Ok(Ending::Done),
        Some(report) => Err(Error::new(format!("dataset `{}` has changed since its import", report.name))
            .hint("`sempair data import PATH --replace` imports it again")),
    }
}

fn pairs(settings: &Settings, choice: &PairSettings, croissant: bool, json: bool) -> Result<Ending> {
    let (categories, per_category) = (("--categories", choice.categories), ("--per-category", choice.per_category));
    check_number_of_pairs(Some(&choice.from), categories, per_category)?;
    let pairs = settings.catalog().pairs(choice)?;
    let (set, list) = pairs.open()?;
    let place = folder(settings).join("pairs");
    leftovers::remove_from(&place);
    let path = list.write_manifest(&set, &place)?;
    let described = match croissant {
        true => Some(croissant::write(&pairs.set, (&set, &list), &path, folder(settings))?),
        false => None,
    };
    let (sp, ap) = (list.hash(PairKind::Semantic), list.hash(PairKind::Augmented));
    let same = list.same_pictures(&set);
    if json {
        setup::print_json(&json!({
            "file": path, "set": list.set, "set_hash": list.set_hash, "categories": list.categories.len(),
            "pairs": list.pairs.len(), "sp_hash": sp, "ap_hash": ap, "same_pictures": same,
            "croissant": described,
        }))?;
    } else {
        say!("{} semantic pairs of {} categories of {}", list.pairs.len(), list.categories.len(), list.set);
        if same > 0 {
            say!("  note: in {same} of them both images are the same picture");
        }
        say!("  SP {sp}\n  AP {ap} (the first image of every pair)\n  in {}", path.display());
        described.iter().for_each(|path| say!("  described in {}", path.display()));
        let list = shell(&format!("pairs.list={}", path.display()));
        say!("train on them with `--set pairs.from={} --set {list}`", choice.from);
    }
    Ok(Ending::Done)
}

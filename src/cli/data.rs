//! `data import`, `list`, `verify`, `pairs` and `preview`.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use crate::data::augment::{Augmentation, Normalization, Pipeline, Views, plain, transformed};
use crate::data::catalog::SYNTH;
use crate::data::image_set::ImageSet;
use crate::data::import::{Options, import};
use crate::data::pairs::{Making, Pair, PairKind, PairList, PairSettings};
use crate::data::preview::{contact_sheet, write_png};
use crate::data::store;
use crate::data::world::{EVALUATION_SETS, PRETRAINING_CATEGORIES};
use crate::error::shell;
use crate::error::{Error, Result};
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::{Bar, Progress};
use crate::rng::Key;
use crate::study::settings::{Settings, check_number_of_pairs};

use super::{App, ConfigArgs, Ending, setup};

#[derive(Subcommand)]
pub(super) enum DataCommand {
    /// Import CIFAR-10, CIFAR-100, STL-10, Tiny-ImageNet, or a folder with one directory per category
    Import {
        /// A directory, .tar, .tar.gz or .zip; recognised by content
        path: PathBuf,
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
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw a picture of pairs and their augmented views
    Preview {
        /// `synth`, an embedded evaluation set, or an imported dataset
        set: String,
        /// Number of rows; each row shows one pair
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
        DataCommand::Import { path, name, size, licence, replace, config, json } => {
            let settings = setup::resolve(app, &config)?.settings;
            import_set(&settings, &path, Choice { name, size, licence, replace }, json, quiet)
        }
        DataCommand::List { config, json } => list(&setup::resolve(app, &config)?.settings, json),
        DataCommand::Verify { names, config, json } => verify(&setup::resolve(app, &config)?.settings, names, json),
        DataCommand::Pairs { from, categories, per_category, seed, reuse, config, json } => {
            let settings = setup::resolve(app, &config)?.settings;
            let all = PairSettings { list: String::new(), false_share: 0.0, ..settings.pairs.clone() };
            pairs(&settings, &PairSettings { from, categories, per_category, seed, reuse, ..all }, json)
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
    path: &Path,
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
    let imported = import(path, &options, folder(settings), &advance)?;
    drop(bar);
    let dataset = &imported.dataset;
    if json {
        let splits: Vec<_> = dataset
            .splits
            .values()
            .map(|set| json!({ "name": set.name, "images": set.len(), "size": set.size, "hash": set.hash }))
            .collect();
        setup::print_json(&json!({
            "name": dataset.name, "description": dataset.description, "licence": dataset.licence,
            "layout": imported.layout, "file": imported.path, "splits": splits, "left_out": imported.left_out,
            "findings": imported.findings,
        }))?;
        return Ok(Ending::Done);
    }
    say!("{}: {} ({})", dataset.name, dataset.description, imported.layout);
    for set in dataset.splits.values() {
        let size = set.size;
        say!("  {}: {} images of {size}x{size}, {} categories, {}", set.name, set.len(), set.classes.len(), set.hash);
    }
    imported.left_out.iter().for_each(|left| say!("  left out: {}", left.what));
    imported.findings.iter().for_each(|finding| say!("  note: {finding}"));
    if !dataset.licence.is_empty() {
        say!("  licence: {}", dataset.licence);
    }
    say!("  in {}", imported.path.display());
    Ok(Ending::Done)
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
        set.splits.iter().for_each(|split| say!("  {}: {} images, {}", split.name, split.images, split.hash));
    }
    say!("embedded, always available: {}; pairs come from {SYNTH}", EVALUATION_SETS.join(", "));
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

fn pairs(settings: &Settings, choice: &PairSettings, json: bool) -> Result<Ending> {
    let (categories, per_category) = (("--categories", choice.categories), ("--per-category", choice.per_category));
    check_number_of_pairs(Some(&choice.from), categories, per_category)?;
    let (set, list) = settings.catalog().pairs(choice)?.open()?;
    let path = list.write_manifest(&set, &folder(settings).join("pairs"))?;
    let (sp, ap) = (list.hash(PairKind::Semantic), list.hash(PairKind::Augmented));
    let same = list.same_pictures(&set);
    if json {
        setup::print_json(&json!({
            "file": path, "set": list.set, "set_hash": list.set_hash, "categories": list.categories.len(),
            "pairs": list.pairs.len(), "sp_hash": sp, "ap_hash": ap, "same_pictures": same,
        }))?;
    } else {
        say!("{} semantic pairs of {} categories of {}", list.pairs.len(), list.categories.len(), list.set);
        if same > 0 {
            say!("  note: in {same} of them both images are the same picture");
        }
        say!("  SP {sp}\n  AP {ap} (the first image of every pair)\n  in {}", path.display());
        let list = shell(&format!("pairs.list={}", path.display()));
        say!("train on them with `--set pairs.from={} --set {list}`", choice.from);
    }
    Ok(Ending::Done)
}

/// Number of views next to each image.
const VIEWS: u64 = 3;

fn preview(settings: &Settings, name: &str, rows: usize, file: Option<PathBuf>) -> Result<Ending> {
    let (set, list) = pairs_to_show(settings, name, rows)?;
    let identity = Normalization { mean: [0.0; 3], std: [1.0; 3] };
    let Views { first, second } = &settings.augment;
    let size = settings.model.image;
    let pipelines = [first, second].map(|view: &Augmentation| {
        Pipeline::new(Views { first: view.clone(), second: view.clone() }, identity.clone(), size)
    });
    let key = Key::root(0).split("preview");
    let row = |pair: &Pair| {
        let mut shown = Vec::new();
        if settings.pairs.augmented == Making::Stored {
            // The stored view of the first image, as a training would keep it.
            let mut made = vec![0; set.size * set.size * 3];
            let by = &settings.pairs.stored;
            transformed(
                set.image(pair.first as usize),
                set.size,
                by,
                key.split("stored").at(pair.first.into()),
                &mut made,
            );
            shown.push((set.size, made));
        }
        for (index, pipeline) in [pair.first, pair.second].into_iter().zip(&pipelines) {
            let image = set.image(index as usize);
            let mut view = vec![0.0; size * size * 3];
            plain(image, set.size, size, &identity, &mut view);
            shown.push((size, bytes(&view)));
            for draw in 0..VIEWS {
                pipeline.view(image, set.size, 0, key.at(u64::from(index)).at(draw), &mut view);
                shown.push((size, bytes(&view)));
            }
        }
        shown
    };
    let sheet: Vec<_> = list.pairs.iter().take(rows).map(row).collect();
    let (width, height, rgb) = contact_sheet(&sheet, (96 / size).max(1));
    let path = file.unwrap_or_else(|| folder(settings).join(format!("preview-{name}.png")));
    write_png(&path, width, height, &rgb)?;
    let stored = if settings.pairs.augmented == Making::Stored { "a stored second image, then " } else { "" };
    say!("{} pairs of {}: {stored}each image with {VIEWS} views of it: {}", sheet.len(), set.name, path.display());
    Ok(Ending::Done)
}

/// Returns one pair from each of `rows` categories, or from all categories if there are fewer.
fn pairs_to_show(settings: &Settings, name: &str, rows: usize) -> Result<(ImageSet, PairList)> {
    if rows == 0 {
        return Err(Error::new("`--rows 0` shows nothing").hint("`--rows 10`"));
    }
    let catalog = settings.catalog();
    let categories = if name == SYNTH {
        rows.min(PRETRAINING_CATEGORIES as usize)
    } else {
        rows.min(catalog.set(name)?.split("train")?.classes.len())
    };
    let choice = PairSettings {
        from: name.into(),
        categories,
        per_category: 1,
        seed: 0,
        reuse: false,
        list: String::new(),
        false_share: 0.0,
        ..settings.pairs.clone()
    };
    catalog.pairs(&choice)?.open()
}

fn bytes(view: &[f32]) -> Vec<u8> {
    view.iter().map(|value| (value * 255.0).round().clamp(0.0, 255.0) as u8).collect()
}

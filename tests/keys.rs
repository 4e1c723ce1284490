//! Changes of the keys of stages: an edit of a module changes the keys of the stages that it affects, and no others.

#![expect(clippy::disallowed_methods, reason = "rustfmt is another program")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sempair::data::import::{Options, import};
use sempair::data::pairs::{Making, PairKind};
use sempair::data::world::Nuisance;
use sempair::harness::code::Exclusions;
use sempair::harness::code::Graph;
use sempair::harness::config::Layers;
use sempair::harness::stage::Stage;
use sempair::methods::Name;
use sempair::models::{Encoder, Stem};
use sempair::study::code::EXCLUDED;
use sempair::study::columns::{Measure, OnSet};
use sempair::study::line::Line;
use sempair::study::settings::{DetectionSettings, DeviceChoice, OwnSettings, Settings};
use sempair::study::stages::{self, Context, Representation};

#[path = "../build/graph.rs"]
mod graph;
#[path = "../build/tokens.rs"]
mod tokens;

/// A stage of every kind with a short name. Unless stated otherwise, trainings and features use SimCLR and a ResNet
/// on the embedded world. `photos` are features of an imported set, and `edited` measures the effect of a nuisance
/// factor on them; `detector` and `detections` are of a detector on the random encoder.
fn kinds() -> Vec<(&'static str, Arc<Stage>)> {
    let (mut simclr, folder) = (settings(), tempfile::tempdir().unwrap());
    simclr.paths.data = folder.path().join("sets").display().to_string();
    import_photos(folder.path());
    let mut vit = simclr.of(Name::Dino);
    (vit.model.encoder, vit.model.stem) = (Encoder::VitMini, Stem::Patch8);
    let mut stored = simclr.clone();
    stored.pairs.augmented = Making::Stored;
    let context = Context::new(&simclr).unwrap();
    let training = |settings: &Settings, kind| stages::training(&context, settings, kind, 0).unwrap();
    let by_neighbours = training(&simclr, PairKind::Neighbours);
    let mapping = |what| stages::mapping(&context, &simclr, what, 0).unwrap().0;
    let trained = mapping(Representation::Pretrained(PairKind::Semantic));
    let evaluation = |mapping, set| stages::evaluation(&context, &simclr, &mapping, set, 0).unwrap();
    let invariance =
        |mapping, set| stages::invariance(&context, &simclr, &mapping, (set, Nuisance::ALL[0]), 0).unwrap().stage;
    let probe = evaluation(trained.clone(), "synth-10");
    let detection = DetectionSettings::of("detection", &simclr).unwrap();
    let detector = stages::detector(&context, &simclr, &detection, &mapping(Representation::Random), 0);
    let detector = detector.unwrap().unwrap();
    vec![
        ("simclr", training(&simclr, PairKind::Semantic).stage),
        ("byol", training(&simclr.of(Name::Byol), PairKind::Semantic).stage),
        ("vit", training(&vit, PairKind::Semantic).stage),
        ("neighbours", by_neighbours.stage.description.after[0].clone()),
        ("pixels", evaluation(mapping(Representation::Pixels), "synth-10").extraction.stage),
        ("random", evaluation(mapping(Representation::Random), "synth-10").extraction.stage),
        ("features", probe.extraction.stage.clone()),
        ("probe", probe.stage),
        ("invariance", invariance(trained, "synth-10")),
        ("course", stages::time_to_accuracy(&context, &simclr, PairKind::Semantic, "synth-10", 0).unwrap().stage),
        ("factors", probe.factors.unwrap()),
        ("photos", evaluation(mapping(Representation::Random), "photos").extraction.stage),
        ("edited", invariance(mapping(Representation::Random), "photos")),
        ("stored", training(&stored, PairKind::Augmented).stage.description.after[0].clone()),
        ("on_stored", training(&stored, PairKind::Augmented).stage),
        ("import", stages::import_weights(&context, &simclr, &folder.path().join("photos/train/cat/0.png")).unwrap()),
        ("detector", detector.training.clone()),
        ("detections", detector.detections),
    ]
}

fn settings() -> Settings {
    let defaults = include_str!("../experiments/defaults.toml");
    let mut settings = Layers::new().embedded("defaults", defaults).resolve::<Settings>().unwrap().settings;
    settings.pretrain.snapshots = true;
    settings.device = DeviceChoice::Cpu; // tests of the GPU may have opened a simulated one
    settings
}

/// Imports a small set named `photos`.
fn import_photos(folder: &Path) {
    for (split, count) in [("train", 10), ("test", 1)] {
        for category in ["cat", "dog"] {
            let images = folder.join("photos").join(split).join(category);
            fs::create_dir_all(&images).unwrap();
            let image = |index: u8| image::RgbImage::from_pixel(16, 16, image::Rgb([index, 120, 40]));
            (0..count).for_each(|index| image(index).save(images.join(format!("{index}.png"))).unwrap());
        }
    }
    let options = Options { name: None, size: None, licence: None, replace: false, cancelled: &|| false };
    import(&[folder.join("photos")], &options, &folder.join("sets"), &|_, _| {}).unwrap();
}

const ALL: &str = "simclr byol vit neighbours pixels random features probe invariance course factors photos edited stored \
                   on_stored import detector detections";
/// All stages that train or evaluate.
const EVALUATIONS: &str = "simclr byol vit neighbours pixels random features probe invariance course photos edited on_stored detector detections";
/// All stages that use an encoder.
const NETWORKS: &str = "simclr byol vit neighbours random features probe invariance course photos edited on_stored import detector detections";
/// All stages that evaluate an encoder.
const ENCODERS: &str = "neighbours random features probe invariance course photos edited detector detections";
const TRAININGS: &str = "simclr byol vit neighbours features probe invariance course on_stored";
/// All SimCLR trainings and the stages that use them.
const OF_SIMCLR: &str = "simclr neighbours features probe invariance course on_stored";
/// All stages that use the renderer. `edited` uses its names of the nuisance factors.
const RENDERED: &str = "simclr byol vit neighbours pixels random features probe invariance course factors edited stored on_stored detector detections";
/// All stages that use a choice of pairs.
const PAIRED: &str = "simclr byol vit neighbours features probe invariance course stored on_stored";
/// All stages that train or use a detector. They are on an encoder before its first step.
const DETECTORS: &str = "detector detections";
/// All trainings, of encoders and of detectors, and the stages that use them.
const ALL_TRAININGS: &str = "simclr byol vit neighbours features probe invariance course on_stored detector detections";
/// All stages that fit a probe.
const PROBES: &str = "probe invariance course edited";
const NOTHING: &str = "";

/// For files of every module: the stages whose keys an edit of the file changes.
const MOVES: &[(&str, &str)] = &[
    ("error.rs", NOTHING),
    ("console.rs", NOTHING),
    ("threads.rs", NOTHING),
    ("files.rs", ALL),
    ("rng.rs", ALL),
    ("kernels/cpu/product.rs", NETWORKS),
    ("kernels/cpu/attention.rs", NETWORKS),
    ("kernels/cpu/peak.rs", NOTHING),
    ("kernels/cuda/product.rs", NOTHING),
    ("kernels/cuda/contrast.rs", NOTHING),
    ("tensor/any.rs", NOTHING),
    ("tensor/any/losses.rs", NOTHING),
    ("tensor/cpu.rs", NETWORKS),
    ("tensor/cuda.rs", NOTHING),
    ("tensor/cuda/losses.rs", NOTHING),
    ("tensor/profile.rs", NOTHING),
    ("nn/mod.rs", NETWORKS),
    ("nn/conv.rs", NETWORKS),
    ("nn/transformer.rs", "vit"),
    ("models/network.rs", NETWORKS),
    ("models/spec.rs", NOTHING),
    (
        "models/resnet.rs",
        "simclr byol neighbours random features probe invariance course photos edited on_stored import detector detections",
    ),
    ("models/detector.rs", DETECTORS),
    ("models/vit.rs", "vit"),
    ("optim/mod.rs", NETWORKS),
    (
        "data/augment/crop.rs",
        "simclr byol vit neighbours pixels random features probe invariance course photos edited stored on_stored import \
         detector detections",
    ),
    ("data/batches.rs", TRAININGS),
    ("data/pairs.rs", PAIRED),
    ("data/pairs/choice.rs", PAIRED),
    ("data/pairs/manifest.rs", PAIRED),
    ("data/world/scene.rs", RENDERED),
    ("data/world/domain.rs", RENDERED),
    ("data/world/edits.rs", "invariance edited"),
    ("data/world/crowd.rs", DETECTORS),
    ("data/store.rs", "photos edited stored on_stored"),
    ("data/store/write.rs", "stored on_stored"),
    ("data/store/file.rs", "photos edited stored on_stored"),
    ("data/store/annotated.rs", NOTHING),
    ("data/store/inventory.rs", NOTHING),
    ("data/annotated.rs", DETECTORS),
    ("data/annotated_batches.rs", DETECTORS),
    ("data/decode.rs", DETECTORS),
    ("data/import/tiny.rs", NOTHING),
    ("data/preview.rs", "stored on_stored detector detections"),
    ("data/catalog.rs", NOTHING),
    ("methods/mod.rs", NOTHING),
    ("methods/learner.rs", TRAININGS),
    ("methods/check.rs", NOTHING),
    ("methods/bank.rs", NOTHING),
    ("methods/simclr.rs", OF_SIMCLR),
    ("methods/byol.rs", "byol"),
    ("methods/target.rs", "byol vit"),
    ("methods/swav.rs", NOTHING),
    ("methods/supervised.rs", NOTHING),
    ("detection/losses.rs", DETECTORS),
    ("eval/probe.rs", PROBES),
    ("eval/knn.rs", "simclr byol vit neighbours features probe invariance course edited on_stored import"),
    ("eval/health.rs", "simclr byol vit neighbours features probe invariance course on_stored import"),
    ("eval/invariance.rs", "invariance edited"),
    ("harness/runner.rs", NOTHING),
    ("harness/cache.rs", NOTHING),
    ("harness/progress.rs", NOTHING),
    ("harness/clock.rs", ALL_TRAININGS),
    ("harness/outcome.rs", EVALUATIONS),
    ("train/training.rs", TRAININGS),
    ("train/monitor.rs", TRAININGS),
    ("train/checkpoint.rs", TRAININGS),
    ("train/network_state.rs", ALL_TRAININGS),
    ("train/detection.rs", DETECTORS),
    (
        "train/tensors.rs",
        "simclr byol vit neighbours pixels random features probe invariance course photos edited on_stored import \
         detector detections",
    ),
    ("train/weights.rs", NETWORKS),
    ("train/features.rs", ENCODERS),
    ("train/pixels.rs", "pixels"),
    ("bundle/mod.rs", NOTHING),
    ("lint/mod.rs", NOTHING),
    ("bench/step.rs", NOTHING),
    ("bench/peaks.rs", NOTHING),
    ("study/cost.rs", NOTHING),
    ("study/device.rs", NOTHING),
    ("study/settings.rs", NOTHING),
    ("study/encoder_table.rs", NOTHING),
    ("study/columns/set.rs", NOTHING),
    ("study/columns/detection.rs", NOTHING),
    ("study/columns/time_to_equal.rs", NOTHING),
    ("study/readings/training.rs", NOTHING),
    ("study/readings/probe.rs", NOTHING),
    ("study/readings/detection.rs", NOTHING),
    ("study/one_off.rs", NOTHING),
    ("study/weights_io.rs", "import"),
    ("study/stages/mod.rs", NOTHING),
    ("study/stages/pretrain.rs", TRAININGS),
    ("study/stages/features.rs", "pixels random features probe invariance course photos edited detector detections"),
    ("study/stages/encoder.rs", ENCODERS),
    ("study/stages/pixels.rs", "pixels"),
    ("study/stages/probe.rs", PROBES),
    ("study/stages/detector.rs", DETECTORS),
    ("study/stages/time_to_accuracy.rs", "course"),
    ("study/stages/invariance.rs", "invariance edited"),
    ("study/stages/neighbours.rs", "neighbours"),
    ("study/stages/augmented.rs", "stored on_stored"),
    ("study/stages/factors.rs", "factors"),
    ("study/stages/import_weights.rs", "import"),
    ("report/claims.rs", NOTHING),
    ("report/figures/mod.rs", NOTHING),
    ("cli/run.rs", NOTHING),
    ("lib.rs", NOTHING),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The graph of a source tree, computed as in the build script.
fn graph_of(src: &Path) -> Graph {
    let crates = graph::crates(root()).unwrap();
    let modules = graph::modules(src, &crates.keys().cloned().collect()).unwrap();
    Graph::parse(&graph::text(&modules, &crates))
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The stages whose keys differ between `before` and `after`: their code differs, or the code of a stage before them.
fn moved(kinds: &[(&'static str, Arc<Stage>)], before: &Graph, after: &Graph) -> String {
    fn has_moved(stage: &Stage, before: &Graph, after: &Graph) -> bool {
        let roots: Vec<&str> = stage.description.code.roots.iter().map(String::as_str).collect();
        let version = |graph: &Graph| graph.code(&roots, &EXCLUDED).version;
        version(before) != version(after) || stage.description.after.iter().any(|stage| has_moved(stage, before, after))
    }
    let moved = kinds.iter().filter(|(_, stage)| has_moved(stage, before, after));
    moved.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

fn in_order(names: &str) -> String {
    let names: BTreeSet<&str> = names.split_whitespace().collect();
    ALL.split_whitespace().filter(|name| names.contains(name)).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_edit_moves_the_keys_of_the_stages_that_it_decides() {
    let kinds = kinds();
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("src"), folder.path());
    let before = graph_of(folder.path());
    let mut wrong = Vec::new();
    for (file, expected) in MOVES {
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\nconst EDITED: u8 = 1;\n")).unwrap();
        let moved = moved(&kinds, &before, &graph_of(folder.path()));
        println!("{file}: {}", if moved.is_empty() { "none" } else { &moved });
        if moved != in_order(expected) {
            wrong.push(format!("{file}: moved `{moved}`, expected `{}`", in_order(expected)));
        }
        fs::write(&path, text).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Every module has a line.
    let rooms = fs::read_dir(root().join("src")).unwrap().flatten().map(|entry| entry.path());
    for room in rooms.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())) {
        let has = MOVES.iter().any(|(file, _)| file.starts_with(&format!("{room}/")) || *file == format!("{room}.rs"));
        assert!(has, "no file of `{room}` is edited");
    }
}

#[test]
fn what_is_read_from_stages_moves_cells_and_no_stage() {
    let settings = settings();
    let context = Context::new(&settings).unwrap();
    let code = |line| OnSet::new("synth-10").cell(&line, 0, &context).unwrap().unwrap().code;
    let codes = [code(Line::pixels(&settings)), code(Line::pretrained(settings.clone(), PairKind::Semantic))];
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("src"), folder.path());
    let versions = || {
        let graph = graph_of(folder.path());
        codes.each_ref().map(|code| {
            let roots: Vec<&str> = code.roots.iter().map(String::as_str).collect();
            graph.code(&roots, &EXCLUDED).version
        })
    };
    let before = versions();
    for (file, of_pixels, of_training) in
        [("probe", true, true), ("training", false, true), ("time_to_accuracy", false, false)]
    {
        let path = folder.path().join(format!("study/readings/{file}.rs"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\nconst EDITED: u8 = 1;\n")).unwrap();
        let after = versions();
        assert_eq!((before[0] != after[0], before[1] != after[1]), (of_pixels, of_training), "{file}");
        fs::write(&path, text).unwrap();
    }
}

#[test]
fn the_program_has_the_graph_of_its_sources() {
    let (program, sources) = (Graph::of_program(), graph_of(&root().join("src")));
    for (name, stage) in kinds() {
        let roots: Vec<&str> = stage.description.code.roots.iter().map(String::as_str).collect();
        let (own, read) = (program.code(&roots, &EXCLUDED), sources.code(&roots, &EXCLUDED));
        let read: BTreeMap<_, _> = read.parts.iter().collect();
        let own: BTreeMap<_, _> = own.parts.iter().filter(|(name, _)| read.contains_key(name)).collect();
        assert_eq!(own, read, "{name}");
    }
}

#[test]
fn comments_documentation_lints_tests_and_formatting_move_no_key() {
    let kinds = kinds();
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("src"), folder.path());
    let before = graph_of(folder.path());
    let files = |change: &dyn Fn(&Path, String) -> String| {
        for file in walk(folder.path()) {
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, change(&file, text)).unwrap();
        }
        moved(&kinds, &before, &graph_of(folder.path()))
    };
    assert_eq!(files(&|_, text| text.replace("\n//! ", "\n//! Truly, ").replace("    /// ", "    /// Indeed: ")), "");
    assert_eq!(
        files(&|_, text| format!("{text}\n// The end.\n/* Really. */\n#[cfg(test)]\nmod more {{ fn f() {{}} }}\n")),
        ""
    );
    assert_eq!(files(&|_, text| format!("{text}\n#[cfg(test)]\nuse std::fmt::Debug;\n")), "");
    let there = Command::new("rustfmt").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: rustfmt is not installed");
        return;
    }
    for config in ["max_width=78", "max_width=200,use_small_heuristics=Max", "max_width=100,use_small_heuristics=Off"] {
        // rustfmt reaches all files from `lib.rs`.
        let lib = folder.path().join("lib.rs");
        let output = Command::new("rustfmt").args(["--edition", "2024", "--config", config]).arg(lib).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(moved(&kinds, &before, &graph_of(folder.path())), "", "{config}");
    }
    // An edit that is not formatting does change keys.
    let tile = folder.path().join("kernels/cpu/tile.rs");
    let text = fs::read_to_string(&tile).unwrap();
    fs::write(&tile, text.replacen("const ", "pub const ", 1)).unwrap();
    assert_eq!(moved(&kinds, &before, &graph_of(folder.path())), in_order(NETWORKS));
}

/// Every file below a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The modules that a file's `use` declarations refer to, found from the text alone. A name that a `mod.rs`
/// re-exports refers to the module that it comes from.
fn imported(src: &Path, module: &str) -> BTreeSet<String> {
    let text_of = |module: &str| {
        let path = src.join(module.replace("::", "/"));
        let text = fs::read_to_string(path.with_extension("rs")).or_else(|_| fs::read_to_string(path.join("mod.rs")));
        text.ok().filter(|_| !module.is_empty())
    };
    let own = text_of(module).unwrap();
    let own = own.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = own.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let above = module.rsplit_once("::").map_or("", |(above, _)| above);
    let mut found = BTreeSet::new();
    for declaration in code.split(';') {
        let Some((_, path)) = declaration.rsplit_once("use ").filter(|(before, _)| before.trim().is_empty()) else {
            continue;
        };
        let path = path.split_whitespace().collect::<String>();
        let path = match path.split_once("::") {
            Some(("crate", rest)) => rest.to_owned(),
            Some(("super", rest)) => format!("{above}::{rest}"),
            Some(("self", rest)) => format!("{module}::{rest}"),
            _ => continue,
        };
        let (path, names) = path.split_once("::{").unwrap_or_else(|| path.rsplit_once("::").unwrap_or(("", &path)));
        for name in names.trim_end_matches('}').split(',').filter(|name| !["self", "*", ""].contains(name)) {
            let whole = format!("{path}::{name}").trim_start_matches("::").to_owned();
            if let Some(text) = text_of(&whole) {
                // A module that only re-exports names does not count; the names are followed where they are used.
                let words = ["fn ", "struct ", "enum ", "trait ", "const ", "type ", "macro_rules"];
                let code = |line: &&str| !line.trim_start().starts_with("//");
                if text.lines().filter(code).any(|line| words.iter().any(|word| line.contains(word))) {
                    found.insert(whole);
                }
            } else if let Some(text) = text_of(path) {
                let gives = |line: &&str| {
                    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                    line.contains("use ") && words.any(|word| word == name)
                };
                let giver = text.lines().find(gives).and_then(|line| line.split_once("use "));
                let child = giver.and_then(|(_, rest)| rest.split("::").next()).unwrap_or_default();
                let whole = format!("{path}::{child}");
                let is_child = !child.is_empty() && text_of(&whole).is_some();
                found.insert(if is_child { whole } else { path.to_owned() });
            }
        }
    }
    found
}

/// The modules that the imports of a stage's code refer to and that are missing from its code.
fn missing(stage: &Stage, apart: &Exclusions) -> BTreeSet<String> {
    let roots: Vec<&str> = stage.description.code.roots.iter().map(String::as_str).collect();
    let parts = Graph::of_program().code(&roots, &EXCLUDED).parts;
    let modules =
        parts.keys().filter(|name| !name.contains(' ') && !["rustc", "rustflags", "target"].contains(&name.as_str()));
    let reached = modules.flat_map(|module| imported(&root().join("src"), module)).collect::<BTreeSet<_>>();
    reached.into_iter().filter(|module| !apart.has(module) && !parts.contains_key(module)).collect()
}

#[test]
fn no_import_of_a_stages_code_is_missing_from_it() {
    for (name, stage) in kinds() {
        assert_eq!(missing(&stage, &EXCLUDED), BTreeSet::new(), "{name}");
    }
    // With fewer modules declared in `Exclusions`, the check finds the missing modules.
    let (_, simclr) = kinds().swap_remove(0);
    let less = Exclusions { modules: &["error", "harness::*", "study::*"], ..EXCLUDED };
    assert!(missing(&simclr, &less).contains("models::spec"), "{:?}", missing(&simclr, &less));
}

/// The losses are an `impl` in a third file, neither that of the trait nor that of the type.
#[test]
fn losses_of_a_gpu_are_in_its_code() {
    let parts = Graph::of_program().code(&["tensor::cuda"], &EXCLUDED).parts;
    for module in ["tensor::cuda::losses", "kernels::cuda::contrast", "kernels::cuda::upload"] {
        assert!(parts.contains_key(module), "{module}");
    }
}

#[test]
fn one_tuples_closures_and_arms_are_what_they_were() {
    let text = |code: &str| tokens::File::read(code).unwrap().text();
    let same = [
        ("fn f() { g(a, b,) }", "fn f() { g(a, b) }"),
        ("match x { A => { y } B => z, }", "match x { A => y, B => z }"),
        ("f(|x| { x + 1 },)", "f(|x| x + 1)"),
        ("use b::c; use a::{d, e};", "use a::d;\nuse a::e;\nuse b::c;"),
        ("const A: &str = \"a \\\n   b\";", "const A: &str = \"a b\";"),
        ("/// Doc.\n#[must_use]\nfn f() {}", "fn f() {}"),
        ("struct A<B, C,> {}", "struct A<B, C> {}"),
        ("let Some(a) = b else { return };", "let Some(a) = b else {\n    return;\n};"),
        ("match a { B => { f(); return c; } D => return e, }", "match a { B => { f(); return c } D => { return e; } }"),
    ];
    for (one, other) in same {
        assert_eq!(text(one), text(other));
    }
    let different = [
        ("let a = (b,);", "let a = (b);"),
        ("match x { A => { y; z } }", "match x { A => { y } }"),
        ("f(|x| { x; })", "f(|x| { x })"),
        ("const A: &str = r\"a \\\n b\";", "const A: &str = r\"a b\";"),
        ("#[inline]\nfn f() {}", "fn f() {}"),
        ("pub fn f() {}", "fn f() {}"),
    ];
    for (one, other) in different {
        assert_ne!(text(one), text(other));
    }
}

//! Checks of the rules in `ARCHITECTURE.md` that can be read from the sources: which modules may use which, where
//! `unsafe` is allowed, and that every file states its purpose and stays small.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms (top-level modules) of `src`, each with the rooms that it may use. Every room may also use itself,
/// `console`, `error`, `files` and `threads`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("console", &[]),
    ("files", &[]),
    ("threads", &[]),
    ("kernels", &[]),
    ("tensor", &["kernels"]),
    ("nn", &["tensor", "rng"]),
    ("models", &["nn", "tensor", "rng"]),
    ("optim", &["nn", "tensor", "rng"]),
    ("rng", &[]),
    ("data", &["rng"]),
    ("methods", &["kernels", "models", "nn", "optim", "rng", "tensor"]),
    ("detection", &["kernels", "models", "nn", "optim", "rng", "tensor"]),
    ("eval", &["kernels", "rng"]),
    ("harness", &[]),
    (
        "train",
        &["kernels", "tensor", "nn", "models", "optim", "rng", "data", "methods", "detection", "eval", "harness"],
    ),
    ("bench", &["kernels", "tensor", "models", "methods", "optim", "rng", "train"]),
    (
        "study",
        &[
            "kernels",
            "tensor",
            "nn",
            "models",
            "methods",
            "optim",
            "rng",
            "data",
            "detection",
            "eval",
            "harness",
            "train",
            "bench",
        ],
    ),
    ("report", &["harness"]),
    ("bundle", &["data", "harness", "report"]),
    ("lint", &["harness", "report"]),
    (
        "cli",
        &[
            "harness",
            "report",
            "bundle",
            "lint",
            "bench",
            "data",
            "detection",
            "train",
            "study",
            "kernels",
            "methods",
            "models",
            "rng",
        ],
    ),
];

/// Where `unsafe` is allowed: the kernels, and the memory map of imported images.
const MAY_BE_UNSAFE: &[&str] = &["src/kernels/", "src/data/store.rs"];

/// The largest number of lines of a file; a longer file must be split.
const LINES: usize = 600;

/// Longer files, each with the reason.
const LONG: &[(&str, &str)] = &[
    ("src/kernels/cpu/vector.rs", "the same operations, one after the other, for four instruction sets"),
    ("src/kernels/cpu/product.rs", "forward product and both gradients share blocking and packing"),
    ("src/kernels/cpu/winograd.rs", "forward, input gradient and weight gradient share the transforms"),
];

/// A source file: its path from the repository's root, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// `data` for `src/data/store.rs`, `rng` for `src/rng.rs`.
    fn room(&self) -> &str {
        let inner = self.path.split('/').nth(1).unwrap_or_default();
        inner.strip_suffix(".rs").unwrap_or(inner)
    }

    /// The lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
    }
}

/// Every `.rs` file below the folders.
fn sources(folders: &[&str]) -> Vec<Source> {
    fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    folders.iter().for_each(|folder| collect(root, &root.join(folder), &mut found));
    found
}

/// The names that follow `prefix`, such as `data` after `crate::`; empty if a brace or nothing follows.
fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let name = |rest: &'a str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    line.match_indices(prefix).map(|(at, _)| name(&line[at + prefix.len()..])).collect()
}

fn forbidden_imports(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}: the room `{room}` is not in MAY_IMPORT", source.path)];
    };
    let permitted = |name: &str| {
        name == room || ["console", "error", "files", "threads"].contains(&name) || allowed.contains(&name)
    };
    let check = |(line, code)| {
        let forbidden = names_after(code, "crate::").into_iter().filter(|name| !permitted(name));
        forbidden.map(move |name| format!("{}:{line}: `{room}` may not use `crate::{name}`", source.path))
    };
    source.code().flat_map(check).collect()
}

fn misplaced_unsafe(source: &Source) -> Vec<String> {
    if MAY_BE_UNSAFE.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let is_unsafe =
        |code: &str| ["{", "fn", "impl", "trait", "extern"].iter().any(|next| code.contains(&format!("unsafe {next}")));
    source.code().filter(|(_, code)| is_unsafe(code)).map(|(line, _)| format!("{}:{line}", source.path)).collect()
}

fn imported_tables(source: &Source, tables: &[&str]) -> Vec<String> {
    let check = |(line, code)| {
        let names = names_after(code, "crate::").into_iter().chain(names_after(code, "super::"));
        let others = names.filter(|name| *name != source.room() && tables.contains(name));
        others.map(move |name| format!("{}:{line}: uses the table `{name}`", source.path))
    };
    source.code().flat_map(check).collect()
}

fn assert_none(violations: Vec<String>, rule: &str) {
    assert!(violations.is_empty(), "{rule}:\n{}", violations.join("\n"));
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let rooms = sources(&["src"]).into_iter().filter(|source| source.path != "src/lib.rs");
    let violations = rooms.flat_map(|source| forbidden_imports(&source)).collect();
    assert_none(violations, "each room uses the rooms in MAY_IMPORT, one `use crate::room::..` per line");
}

/// The module of a source: `data::import::tar` for `src/data/import/tar.rs`.
fn module_of(path: &str) -> String {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.strip_suffix("/mod").unwrap_or(inner).replace('/', "::")
}

/// The paths that start with `crate` or `super` in a source without its unit tests, with `super` resolved. A path into
/// braces ends before them; what the braces name is added one by one.
fn paths(source: &Source, module: &str) -> Vec<String> {
    let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code = lines.collect::<Vec<_>>().join(" ");
    let starts = code.match_indices("crate::").chain(code.match_indices("super::")).map(|(at, _)| at);
    let is_whole = |at: &usize| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    let mut found = Vec::new();
    for at in starts.filter(is_whole) {
        let path: String = code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
        let mut base: Vec<&str> = module.split("::").collect();
        let mut parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
        while let Some(&first @ ("crate" | "super")) = parts.first() {
            match first {
                "crate" => base.clear(),
                _ => base.truncate(base.len().saturating_sub(1)),
            }
            parts.remove(0);
        }
        let prefix = [base, parts].concat().join("::");
        let rest = &code[at + path.len()..];
        let named = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        found.extend(
            named
                .split([',', '{'])
                .map(|name| format!("{prefix}::{}", name.trim()).trim_start_matches("::").to_owned()),
        );
        found.push(prefix);
    }
    found
}

/// Modules that each other use, directly or through others. A folder's own module and those inside it do not count:
/// it names what they share.
fn circles(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<String> = sources.iter().map(|source| module_of(&source.path)).collect();
    let longest = |path: &str| {
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).filter(|part| modules.contains(*part)).last().map(str::to_owned)
    };
    let inside = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}::"));
    let uses = |source: &Source| {
        let own = module_of(&source.path);
        let others = paths(source, &own).into_iter().filter_map(|path| longest(&path));
        let others = others.filter(|other| !inside(other, &own) && !inside(&own, other)).collect::<BTreeSet<_>>();
        (own, others)
    };
    let uses: BTreeMap<String, BTreeSet<String>> = sources.iter().map(uses).collect();
    let reached = |from: &String| {
        let (mut open, mut seen) = (vec![from], BTreeSet::new());
        while let Some(module) = open.pop() {
            open.extend(uses[module].iter().filter(|next| seen.insert((*next).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = uses.keys().map(|module| (module, reached(module))).collect();
    let pair = |(a, b): &(&String, String)| *a < b && reached[b].contains(*a);
    let pairs = reached.iter().flat_map(|(a, all)| all.iter().map(move |b| (*a, b.clone())));
    pairs.filter(pair).map(|(a, b)| format!("{a} and {b}")).collect()
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    assert_none(circles(&sources(&["src"])), "move what both need into a file that uses neither");
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let three = [
        source("src/data/mod.rs", "mod a;\nuse a::X;"),
        source("src/data/a.rs", "use super::b::{C, D};\nuse super::Y;"),
        source("src/data/b.rs", "use crate::rng;\n// use super::a;"),
        source("src/rng.rs", "fn f() { crate::{data::a}; }\n#[cfg(test)]\nuse crate::data::b;"),
    ];
    assert_eq!(circles(&three), ["data::a and data::b", "data::a and rng", "data::b and rng"]);
    assert_eq!(circles(&three[..3]), [""; 0]);
}

#[test]
fn experiments_do_not_import_each_other() {
    let files = sources(&["experiments"]);
    let tables: Vec<&str> = files.iter().map(Source::room).filter(|room| *room != "main").collect();
    let violations = files.iter().filter(|file| file.room() != "main").flat_map(|file| imported_tables(file, &tables));
    assert_none(violations.collect(), "code that two tables need belongs in src");
}

#[test]
fn unsafe_stays_in_its_places() {
    let violations = sources(&["src", "experiments"]).iter().flat_map(misplaced_unsafe).collect();
    assert_none(violations, "`unsafe` is allowed only in MAY_BE_UNSAFE");
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    let mut violations = Vec::new();
    for Source { path, text } in sources(&["src", "build", "experiments", "tests"]) {
        let lines = text.lines().count();
        if !text.starts_with("//! ") {
            violations.push(format!("{path}: does not start with `//! `"));
        }
        if lines > LINES && !LONG.iter().any(|(long, _)| *long == path) {
            violations.push(format!("{path}: {lines} lines"));
        }
    }
    assert_none(violations, "a file starts with its purpose and has at most 600 lines");
}

#[test]
fn violations_are_seen() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let data = source(
        "src/data/store.rs",
        "//! crate::train\nuse crate::rng::Key;\nuse crate::{nn, rng};\nlet x = crate::eval::f();",
    );
    assert_eq!(
        forbidden_imports(&data),
        ["src/data/store.rs:3: `data` may not use `crate::`", "src/data/store.rs:4: `data` may not use `crate::eval`"]
    );
    let text = "let a = unsafe { b };";
    assert_eq!(misplaced_unsafe(&source("src/nn/linear.rs", text)), ["src/nn/linear.rs:1"]);
    assert!(misplaced_unsafe(&source("src/kernels/cpu/matmul.rs", text)).is_empty());
    let table =
        source("experiments/vit.rs", "use super::transfer::PAPER;\nuse crate::vit::X;\nlet s = crate::transfer_all;");
    assert_eq!(imported_tables(&table, &["vit", "transfer"]), ["experiments/vit.rs:1: uses the table `transfer`"]);
}

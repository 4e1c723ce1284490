//! Which files of `src` use which others, and the hash of each file. The code version of a stage is computed from them.
//!
//! A name is followed to the file that defines it, through all re-exports, so that a new child in a `mod.rs` changes
//! nothing for code that does not use the child. An `impl` of a type and a trait that both come from other files
//! belongs to the type: code that uses the type uses the `impl`, too.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml_edit::Document;
use toml_edit::Item;

use super::tokens::File;
use super::tokens::Import;
use super::tokens::Token;

/// A file of `src`, in the form that the program stores.
#[derive(Debug, Default, PartialEq)]
pub struct Module {
    /// BLAKE3 of the tokens and of the targets of the imports.
    pub hash: String,
    /// Modules whose names it uses.
    pub uses: BTreeSet<String>,
    /// External crates that it uses.
    pub crates: BTreeSet<String>,
}

/// All modules by name, such as `data::pairs` for `src/data/pairs.rs` or `src/data/pairs/mod.rs`; `lib.rs` is left out.
pub type Modules = BTreeMap<String, Module>;

type Files = BTreeMap<String, File>;

/// Reads every file below `src`, given the names of the external crates.
///
/// # Errors
/// When a file cannot be read or is not valid Rust.
pub fn modules(src: &Path, external: &BTreeSet<String>) -> Result<Modules, String> {
    let mut files = Files::new();
    collect(src, "", &mut files)?;
    let names = Names { files: &files, external };
    let mut modules: Modules = files.iter().map(|(name, file)| (name.clone(), names.module(name, file))).collect();
    for (name, file) in &files {
        for owner in names.owners_of_foreign_impls(name, file) {
            modules.entry(owner).or_default().uses.insert(name.clone());
        }
    }
    modules.remove("");
    Ok(modules)
}

/// The crates that `Cargo.toml` names, each with a hash of its features, its version and the
/// versions of all its dependencies.
///
/// # Errors
/// When a file cannot be read or is not valid TOML.
pub fn crates(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let manifest = document(&root.join("Cargo.toml"))?;
    let lock = document(&root.join("Cargo.lock"))?;
    let packages: Vec<Package> =
        lock.get("package").and_then(Item::as_array_of_tables).into_iter().flatten().map(package).collect();
    let dependencies = manifest.get("dependencies").and_then(Item::as_table_like);
    let named = dependencies.into_iter().flat_map(|table| table.iter());
    Ok(named.map(|(name, item)| (name.replace('-', "_"), hash_of_crate(name, item, &packages))).collect())
}

/// A package of `Cargo.lock`: its identity, and the names of its dependencies.
struct Package {
    name: String,
    version: String,
    checksum: String,
    needs: Vec<String>,
}

fn document(path: &Path) -> Result<Document<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Document::parse(text).map_err(|error| format!("{}: {error}", path.display()))
}

fn package(table: &toml_edit::Table) -> Package {
    let text = |key: &str| table.get(key).and_then(Item::as_str).unwrap_or_default().to_owned();
    let needs = table.get("dependencies").and_then(Item::as_array).into_iter().flatten();
    let needs = needs.filter_map(|need| need.as_str().map(str::to_owned)).collect();
    Package { name: text("name"), version: text("version"), checksum: text("checksum"), needs }
}

/// `1.8.7 0123456789ab`: the version, and the hash of everything.
fn hash_of_crate(name: &str, item: &Item, packages: &[Package]) -> String {
    let mut hasher = blake3::Hasher::new();
    for key in ["features", "default-features"] {
        let value = item.get(key).map(|value| value.to_string().split_whitespace().collect::<String>());
        add(&mut hasher, value.unwrap_or_default().as_bytes());
    }
    // A dependency is a name, or a name and a version if there are several versions.
    let is = |package: &Package, need: &str| {
        let mut words = need.split(' ');
        words.next() == Some(&package.name) && words.next().is_none_or(|version| version == package.version)
    };
    let mut found: BTreeMap<(&str, &str), &Package> = BTreeMap::new();
    let mut open = vec![name];
    while let Some(need) = open.pop() {
        for package in packages.iter().filter(|package| is(package, need)) {
            if found.insert((&package.name, &package.version), package).is_none() {
                open.extend(package.needs.iter().map(String::as_str));
            }
        }
    }
    for ((name, version), package) in &found {
        [*name, version, &package.checksum].iter().for_each(|part| add(&mut hasher, part.as_bytes()));
    }
    let version = found.keys().find(|(of, _)| *of == name).map_or("", |(_, version)| version);
    format!("{version} {}", short(&hasher))
}

/// The text that is built into the program: one line for each module and crate, in order.
pub fn text(modules: &Modules, crates: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, Module { hash, uses, crates }) in modules {
        let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        text += &format!("module\t{name}\t{hash}\t{}\t{}\n", list(uses), list(crates));
    }
    crates.iter().for_each(|(name, hash)| text += &format!("crate\t{name}\t{hash}\n"));
    text
}

fn collect(folder: &Path, prefix: &str, files: &mut Files) -> Result<(), String> {
    let place = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(place)? {
        let path = entry.map_err(place)?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let child = if prefix.is_empty() { stem.clone() } else { format!("{prefix}::{stem}") };
        if path.is_dir() {
            collect(&path, &child, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = if ["mod", "lib"].contains(&stem.as_str()) { prefix.to_owned() } else { child };
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let file = File::read(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            files.insert(name, file);
        }
    }
    Ok(())
}

/// Resolves names.
struct Names<'a> {
    files: &'a Files,
    external: &'a BTreeSet<String>,
}

/// The target of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// An item that a file defines.
    Item(String, String),
    /// A file as a whole.
    File(String),
    External(String),
}

/// The maximum depth of re-exports of re-exports.
const DEEPEST: usize = 16;

impl Names<'_> {
    fn module(&self, name: &str, file: &File) -> Module {
        let mut hasher = blake3::Hasher::new();
        add(&mut hasher, file.text().as_bytes());
        let mut targets = BTreeSet::new();
        let mut meant = BTreeSet::new();
        for import in file.imports.iter().filter(|import| is_used(import, file)) {
            let found = self.targets(name, file, &import.path);
            meant.insert(format!("{} {found:?}", import.name));
            targets.extend(found);
        }
        for path in paths(&file.tokens) {
            targets.extend(self.targets(name, file, &path));
        }
        meant.iter().for_each(|line| add(&mut hasher, line.as_bytes()));
        let mut module = Module { hash: short(&hasher), ..Module::default() };
        for target in targets {
            match target {
                Target::External(of) => module.crates.insert(of),
                Target::Item(of, _) | Target::File(of) => of != name && module.uses.insert(of),
            };
        }
        module
    }

    /// The targets of a path in the file `name`. There are several if the path names both a module and an item.
    fn targets(&self, name: &str, file: &File, path: &[String]) -> BTreeSet<Target> {
        let mut found = BTreeSet::new();
        if let Some(path) = self.absolute(name, file, path, 0) {
            self.follow(&path, 0, &mut found);
        }
        found
    }

    /// The path from the crate's root or from an external crate; `None` for names of the file
    /// itself or of the language.
    fn absolute(&self, name: &str, file: &File, path: &[String], depth: usize) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let here = || name.split("::").filter(|part| !part.is_empty()).map(str::to_owned);
        let from = |start: Vec<String>| Some([&["crate".to_owned()][..], &start, rest].concat());
        match first.as_str() {
            "crate" => from(Vec::new()),
            "self" => from(here().collect()),
            "super" => {
                let above = rest.iter().take_while(|part| *part == "super").count();
                let start: Vec<String> = here().collect();
                let kept = start.len().checked_sub(1 + above)?;
                Some([&["crate".to_owned()][..], &start[..kept], &rest[above..]].concat())
            }
            first if self.external.contains(first) => Some(path.to_vec()),
            first => {
                let child = if name.is_empty() { first.to_owned() } else { format!("{name}::{first}") };
                if self.files.contains_key(&child) {
                    return from(child.split("::").map(str::to_owned).collect());
                }
                let import = file.imports.iter().find(|import| import.name == first && depth < DEEPEST)?;
                // A name that is imported under itself from an external crate ends here.
                let start = self.absolute(name, file, &import.path, depth + 1)?;
                Some([&start[..], rest].concat())
            }
        }
    }

    fn follow(&self, path: &[String], depth: usize, found: &mut BTreeSet<Target>) {
        if path[0] != "crate" {
            found.insert(Target::External(path[0].clone()));
            return;
        }
        let mut module = String::new();
        let mut at = 1;
        while let Some(part) = path.get(at) {
            let child = if module.is_empty() { part.clone() } else { format!("{module}::{part}") };
            if !self.files.contains_key(&child) {
                break;
            }
            // An item may have the same name as a private module next to it, and mostly comes from that module.
            if at + 1 == path.len() {
                self.through(&module, &path[at..], depth, found);
            }
            module = child;
            at += 1;
        }
        match path.get(at) {
            None => {}
            Some(item) if item == "*" => drop(found.insert(Target::File(module))),
            Some(_) if self.through(&module, &path[at..], depth, found) => {}
            Some(item) => drop(found.insert(Target::Item(module, item.clone()))),
        }
    }

    /// Follows the imports of `module` that have the path's first name. Returns whether there are any.
    fn through(&self, module: &str, path: &[String], depth: usize, found: &mut BTreeSet<Target>) -> bool {
        let file = &self.files[module];
        let named = file.imports.iter().filter(|import| import.name == path[0]);
        let globs = file.imports.iter().filter(|import| import.name == "*" && import.public);
        let mut any = false;
        for import in named.filter(|_| depth < DEEPEST) {
            let Some(start) = self.absolute(module, file, &import.path, 0) else { continue };
            self.follow(&[&start[..], &path[1..]].concat(), depth + 1, found);
            any = true;
        }
        for import in globs.filter(|_| depth < DEEPEST) {
            let Some(mut start) = self.absolute(module, file, &import.path, 0) else { continue };
            start.pop();
            self.follow(&[&start[..], path].concat(), depth + 1, found);
        }
        any
    }

    /// The files whose types get an `impl` in the file `name`, if `name` defines neither the type nor the trait. If the
    /// type is not of this program, the file of the trait.
    fn owners_of_foreign_impls(&self, name: &str, file: &File) -> BTreeSet<String> {
        let own = defined(&file.tokens);
        let mut owners = BTreeSet::new();
        for heads in impls(&file.tokens) {
            if heads.iter().any(|head| head.len() == 1 && own.contains(&head[0])) {
                continue;
            }
            let files_of = |head: &Vec<String>| -> BTreeSet<String> {
                let file_of = |target| match target {
                    Target::Item(of, _) | Target::File(of) => Some(of),
                    _ => None,
                };
                self.targets(name, file, head).into_iter().filter_map(file_of).collect()
            };
            // The type comes last. One that is not of this program, such as `Vec<f32>`, leaves the `impl` to the trait.
            owners.extend(heads.iter().rev().map(files_of).find(|files| !files.is_empty()).unwrap_or_default());
        }
        owners.remove(name);
        owners
    }
}

/// Whether the file itself needs the import. A re-export may be only for other files.
fn is_used(import: &Import, file: &File) -> bool {
    fn has(tokens: &[Token], name: &str) -> bool {
        tokens.iter().any(|token| match token {
            Token::Ident(word) => word == name,
            Token::Group(_, inner, _) => has(inner, name),
            _ => false,
        })
    }
    !import.public || has(&file.tokens, &import.name)
}

/// Every path of two or more names, such as `a::b`. A single name comes from an import, which is followed separately.
fn paths(tokens: &[Token]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Group(_, inner, _) => found.extend(paths(inner)),
            // A field or a method is not a path; a name after `..` may be one.
            Token::Ident(_) if is_member(tokens, at) => {}
            Token::Ident(first) => {
                let mut path = vec![first.clone()];
                let colon = |at: usize| tokens.get(at) == Some(&Token::Punct(':'));
                while colon(at + 1) && colon(at + 2) {
                    let Some(Token::Ident(next)) = tokens.get(at + 3) else { break };
                    path.push(next.clone());
                    at += 3;
                }
                if path.len() > 1 {
                    found.insert(path);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether the name at `at` follows a single dot.
fn is_member(tokens: &[Token], at: usize) -> bool {
    let dot = |back: usize| at.checked_sub(back).is_some_and(|at| tokens[at] == Token::Punct('.'));
    dot(1) && !dot(2)
}

/// The types and traits that the tokens define.
fn defined(tokens: &[Token]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Ident(word) if ["struct", "enum", "trait", "union", "type"].contains(&word.as_str()) => {
                found.extend(tokens.get(at + 1).and_then(Token::ident).map(str::to_owned));
            }
            Token::Group('{', inner, _) => found.extend(defined(inner)),
            _ => {}
        }
    }
    found
}

/// For each `impl`, the paths of its trait, if there is one, and of its type.
fn impls(tokens: &[Token]) -> Vec<Vec<Vec<String>>> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Ident(word) if word == "impl" => {
                let end = tokens[at..].iter().position(|token| matches!(token, Token::Group('{', ..)));
                let Some(end) = end else { continue };
                found.push(heads(&tokens[at + 1..at + end]));
            }
            Token::Group('{', inner, _) => found.extend(impls(inner)),
            _ => {}
        }
    }
    found
}

/// The paths `Trait` and `Type` of `<T> Trait<U> for Type<T> where ..`.
fn heads(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut depth = 0_usize;
    let (mut heads, mut path) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let is_arrow = || at > 0 && tokens[at - 1] == Token::Punct('-');
        match token {
            Token::Punct('<') => depth += 1,
            Token::Punct('>') if !is_arrow() => depth = depth.saturating_sub(1),
            Token::Ident(word) if depth == 0 && word == "for" => heads.push(std::mem::take(&mut path)),
            Token::Ident(word) if depth == 0 && word == "where" => break,
            Token::Ident(word) if depth == 0 && !["dyn", "mut", "const"].contains(&word.as_str()) => {
                path.push(word.clone());
            }
            _ => {}
        }
    }
    heads.push(path);
    heads.retain(|path| !path.is_empty());
    heads
}

/// Adds the length before the bytes, so that different lists of parts have different hashes.
fn add(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// The first twelve hex digits. They distinguish the few hundred versions of a file in a project.
fn short(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..12].to_owned()
}

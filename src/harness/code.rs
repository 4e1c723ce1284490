//! The code that decides a result: some modules, all that they use, their external crates, and the compiler. Its
//! version is part of the key of a stage.

use crate::harness::canonical;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::LazyLock;

/// Which module uses which, and the hash of each part, as found by the build script (`build/graph.rs`).
#[derive(Debug, Default)]
pub struct Graph {
    modules: BTreeMap<String, Module>,
    /// Version and hash of each external crate, with everything that it needs.
    crates: BTreeMap<String, String>,
    /// Compiler, flags, target.
    toolchain: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Module {
    hash: String,
    uses: Vec<String>,
    crates: Vec<String>,
}

/// Parts of the program that decide no result, no matter which code uses them.
#[derive(Clone, Copy, Debug)]
pub struct Exclusions {
    /// Modules: `a::b` is that one file, `a::b::*` is that file and everything below it.
    pub modules: &'static [&'static str],
    /// Exceptions: modules among those above that do decide results.
    pub but: &'static [&'static str],
    /// External crates.
    pub crates: &'static [&'static str],
}

/// The code of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// The modules that do the work.
    pub roots: Vec<String>,
    /// The hash of all parts.
    pub version: String,
    /// The hash of each part by its name, such as `eval::probe`, `crate rayon`, `rustc`.
    pub parts: Arc<BTreeMap<String, String>>,
}

impl Graph {
    /// The graph of this program.
    pub fn of_program() -> &'static Self {
        static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
            let toolchain = [
                ("rustc", env!("BUILD_RUSTC")),
                ("rustflags", env!("BUILD_RUSTFLAGS")),
                ("target", env!("BUILD_TARGET")),
            ];
            let toolchain = toolchain.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Graph { toolchain, ..Graph::parse(include_str!(concat!(env!("OUT_DIR"), "/code.tsv"))) }
        });
        &GRAPH
    }

    /// Reads the text of the build script, in which each line is a module or a crate.
    ///
    /// # Panics
    /// When a line has another format.
    pub fn parse(text: &str) -> Self {
        let mut graph = Self::default();
        let words = |field: &str| field.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        for line in text.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["module", name, hash, uses, crates] => {
                    let module = Module { hash: hash.to_owned(), uses: words(uses), crates: words(crates) };
                    graph.modules.insert(name.to_owned(), module);
                }
                ["crate", name, hash] => drop(graph.crates.insert(name.to_owned(), hash.to_owned())),
                _ => panic!("not a line of the build script: `{line}`"),
            }
        }
        graph
    }

    /// The code of `roots` and of everything that they use, except what is `excluded`.
    ///
    /// # Panics
    /// When there is no such module.
    pub fn code(&self, roots: &[&str], excluded: &Exclusions) -> Code {
        let roots: Vec<String> = roots.iter().map(|&root| root.to_owned()).collect();
        let mut open = roots.clone();
        let mut parts = self.toolchain.clone();
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            if excluded.has(&name) || !seen.insert(name.clone()) {
                continue;
            }
            let module = self.modules.get(&name).unwrap_or_else(|| panic!("there is no module `{name}`"));
            open.extend(module.uses.iter().cloned());
            for of in module.crates.iter().filter(|name| !excluded.crates.contains(&name.as_str())) {
                parts.insert(format!("crate {of}"), self.crates[of].clone());
            }
            parts.insert(name, module.hash.clone());
        }
        let all = parts.iter().map(|(name, hash)| serde_json::json!([name, hash]));
        Code { version: canonical::key(&all.collect()), roots, parts: Arc::new(parts) }
    }
}

impl Exclusions {
    /// Whether a module is excluded.
    pub fn has(&self, module: &str) -> bool {
        let covers = |entry: &&str| match entry.strip_suffix("::*") {
            Some(above) => module.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")),
            None => *entry == module,
        };
        self.modules.iter().any(covers) && !self.but.contains(&module)
    }
}

/// Returns the names of the parts that both codes have, but with different hashes. If there are none, results of both
/// may be shown together: a part that only one of them has, such as the file of a method, says nothing about the
/// other.
pub fn differing<'a>(a: &'a BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<&'a str> {
    let differs = |(name, hash): &(&'a String, &String)| b.get(*name).is_some_and(|other| other != *hash);
    a.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "module\ta\th1\tb c\trayon\nmodule\tb\th2\t\t\nmodule\tc\th3\ta c::d\tserde\nmodule\tc::d\th4\t\t\n\
                        module\te\th5\tb\t\ncrate\trayon\t1.0 r\ncrate\tserde\t1.0 s\n";
    const NOTHING: Exclusions = Exclusions { modules: &[], but: &[], crates: &[] };

    #[test]
    fn a_code_has_what_its_roots_use_and_nothing_else() {
        let parts = |roots: &[&str], excluded| {
            let code = Graph::parse(TEXT).code(roots, &excluded);
            code.parts.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(parts(&["a"], NOTHING), "a b c c::d crate rayon crate serde");
        assert_eq!(parts(&["e"], NOTHING), "b e");
        assert_eq!(parts(&["a"], Exclusions { modules: &["c::*"], crates: &["rayon"], ..NOTHING }), "a b");
        assert_eq!(
            parts(&["a"], Exclusions { modules: &["c"], ..NOTHING }),
            "a b crate rayon",
            "reached through `c` alone"
        );
        assert_eq!(
            parts(&["a", "c::d"], Exclusions { modules: &["c::*"], but: &["c::d"], ..NOTHING }),
            "a b c::d crate rayon"
        );
    }

    #[test]
    fn the_version_moves_with_any_part_and_the_differing_are_named() {
        let [one, other] = ["h2", "hx"].map(|hash| Graph::parse(&TEXT.replace("h2", hash)).code(&["a"], &NOTHING));
        assert_ne!(one.version, other.version);
        assert_eq!(differing(&one.parts, &other.parts), ["b"]);
        let less = Graph::parse(TEXT).code(&["e"], &NOTHING);
        assert!(differing(&one.parts, &less.parts).is_empty());
    }
}

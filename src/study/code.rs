//! Which code decides a stage's files. A stage names the modules that do its work; what these use is found by the build
//! script, so that no list can be forgotten. What is listed here decides no result, whoever uses it.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::harness::code::{Apart, Code, Graph};

/// What decides no result. Where it chooses, the choice is in a stage's inputs, and the stage names what was chosen.
pub const APART: Apart = Apart {
    modules: &[
        "error",                 // what is refused, and in which words
        "harness::*",            // how stages are kept, shown, scheduled and recorded
        "tensor::profile",       // how long operations take
        "threads",               // which threads work, and how many
        "data::catalog",         // finds a dataset by its name; `Set::made_by` is named
        "methods",               // finds a method by its name; `Name::module` is named
        "methods::check",        // which hyperparameters are refused
        "models::spec",          // finds an encoder by its name; `ModelSpec::module` is named
        "study::code",           // this list
        "study::cost",           // what a stage is predicted to take
        "study::settings",       // whose values are in the inputs
        "study::stages",         // puts stages together
        "study::stages::metric", // names what is measured
    ],
    but: &[
        "harness::clock",   // how long a training took is a figure
        "harness::outcome", // which items a probe got right is in its files
    ],
    // A hash function that is defined once and for all, and what takes values to files and back.
    crates: &["blake3", "memmap2", "safetensors", "serde", "serde_json", "tempfile"],
};

/// The code of a stage whose work is in these modules. It is found once for the same roots: a table has many such stages.
pub fn code(roots: &[&str]) -> Code {
    static KNOWN: LazyLock<Mutex<HashMap<Vec<String>, Code>>> = LazyLock::new(Mutex::default);
    let mut roots = roots.to_vec();
    roots.sort_unstable();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = roots.iter().map(|&root| root.to_owned()).collect();
    known.entry(key).or_insert_with(|| Graph::of_program().code(&roots, &APART)).clone()
}

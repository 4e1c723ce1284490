//! The code that determines a stage's files. A stage names the modules that do its work. The build script
//! finds everything that these modules use, so no list of dependencies has to be maintained. The code
//! listed here never affects a result.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::harness::code::{Code, Exclusions, Graph};

/// Code that does not affect results. Where such code makes a choice, the choice is in the stage's inputs, and the
/// stage names the chosen module.
pub const EXCLUDED: Exclusions = Exclusions {
    modules: &[
        "error",                 // error messages
        "harness::*",            // caches, displays, schedules and records stages
        "tensor::any",           // passes calls on; stages name `AnyDevice::module`
        "tensor::profile",       // times operations
        "threads",               // chooses threads and their number
        "data::catalog",         // finds a dataset by its name; stages name `Set::made_by`
        "methods",               // finds a method by its name; stages name `Name::module`
        "methods::check",        // rejects invalid hyperparameters
        "models::spec",          // finds an encoder by its name; stages name `ModelSpec::module`
        "study::code",           // this list
        "study::cost",           // predicts the cost of stages
        "study::settings",       // their values are in the inputs
        "study::stages",         // connects stages
        "study::stages::metric", // ids of metrics
    ],
    but: &[
        "harness::clock",   // the training time is a reported figure
        "harness::outcome", // a probe's files hold which items it classified correctly
    ],
    // A hash function with a fixed definition, and crates that write values to files and read them back.
    crates: &["blake3", "memmap2", "safetensors", "serde", "serde_json", "tempfile"],
};

/// The code of a stage whose work is in these modules. The result is cached by `roots`, because a table has
/// many stages with the same roots.
pub fn code(roots: &[&str]) -> Code {
    static KNOWN: LazyLock<Mutex<HashMap<Vec<String>, Code>>> = LazyLock::new(Mutex::default);
    let mut roots = roots.to_vec();
    roots.sort_unstable();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = roots.iter().map(|&root| root.to_owned()).collect();
    known.entry(key).or_insert_with(|| Graph::of_program().code(&roots, &EXCLUDED)).clone()
}

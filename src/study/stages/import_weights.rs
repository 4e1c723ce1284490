//! Stage `import-weights`: imports an encoder from a file of another program.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::error::Result;
use crate::files;
use crate::harness::stage::{Cost, Stage};
use crate::study::settings::Settings;
use crate::study::weights_io;
use crate::train::Trained;

use super::Context;

/// The stage for a file with the weights of the settings' encoder.
///
/// # Errors
/// When the file cannot be read.
pub fn import_weights(context: &Context, settings: &Settings, file: &Path) -> Result<Arc<Stage>> {
    let mut run = settings.pretraining(0);
    run.method = run.method.for_epochs(0);
    let trained = Trained { run, normalization: settings.normalization.clone() };
    let hint = "give a safetensors file and name its encoder: `sempair import-weights FILE --encoder resnet50`";
    let hash = files::hash(file).map_err(|error| error.hint(hint))?;
    let inputs = json!({ "file": hash, "trained": trained });
    let roots = ["study::stages::import_weights", settings.model.module()];
    let description = context.describe("import-weights", inputs, &roots, &[], Cost::default());
    let file = file.to_owned();
    Ok(Stage::new(description, move |site| {
        weights_io::import(&file, &trained, site.dir, &|note| site.progress.line(note))
    }))
}

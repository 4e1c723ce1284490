//! Export and import of encoders as safetensors files, with the names and layouts of torchvision's ResNets
//! and timm's vision transformers.

use std::path::Path;

use serde_json::json;

use crate::error::{Context, Result};
use crate::files;
use crate::harness::experiment::Row;
use crate::models;
use crate::nn::{Entry, ParamKind, Parameters};
use crate::rng::Key;
use crate::tensor::{AnyDevice, Cpu, Device, Precision};
use crate::train::tensors::{self, Named};
use crate::train::weights::{load_weights, save_weights};
use crate::train::{ENCODER, HISTORY, History, Trained};

use super::foreign;

/// File of an exported encoder.
pub const WEIGHTS: &str = "encoder.safetensors";
/// File next to an exported encoder that describes it.
pub const CARD: &str = "card.json";

/// Writes the encoder in the folder `from`, without its heads, and a card to the folder `to`. The card names the run by
/// which the encoder was found, and that run's row.
///
/// # Errors
/// When the encoder is damaged or the folder cannot be written.
pub fn export(from: &Path, (run, row): (&str, &Row), to: &Path) -> Result<()> {
    let trained = Trained::read(from)?;
    let backbone = models::open(&trained.run.model, &AnyDevice::Cpu(Cpu { precision: Precision::F32 }), Key::root(0))?;
    load_weights(&from.join(ENCODER), &mut backbone.parameters())?;
    let tensors = named(&backbone.read());
    files::create_folder(to).context(format!("cannot make the folder {}", to.display()))?;
    let file = to.join(WEIGHTS);
    tensors::write(&file, &tensors, None)?;
    let card = json!({
        "schema": "sempair.encoder/1",
        "weights": WEIGHTS,
        "blake3": files::hash(&file)?,
        "names": if trained.run.model.is_transformer() { "timm" } else { "torchvision" },
        "input": {
            "size": trained.run.model.image, "range": [0, 1], "layout": "NCHW, red green blue",
            "mean": trained.normalization.mean, "std": trained.normalization.std,
        },
        "features": backbone.width(),
        "run": run,
        "row": row,
        "pretraining": trained.run,
    });
    files::write_whole(&to.join(CARD), &serde_json::to_vec_pretty(&card).context("the card is not JSON")?)
}

/// The named tensors of an encoder. Kernels are stored as (O, K, K, I) in memory and as (O, I, K, K) in the file.
fn named(parameters: &Parameters<AnyDevice>) -> Vec<Named> {
    let (values, statistics) =
        (parameters.device.host(&parameters.values), parameters.device.host(&parameters.statistics));
    let tensor = |entry: &Entry| {
        let arena = if entry.kind == ParamKind::Statistic { &statistics } else { &values };
        let data = &arena[entry.slot.start..][..entry.slot.len];
        Named::floats(&entry.name, entry.shape.clone(), &reorder(data, &entry.shape, from_channels_last))
    };
    parameters.layout.entries.iter().map(tensor).collect()
}

/// Reorders a kernel of shape (O, I, K, K): `place` copies each element (o, i, y, x) from or to its place in memory.
/// Data of other shapes are copied unchanged.
fn reorder(data: &[f32], shape: &[usize], place: fn([usize; 4], usize, &[f32], &mut [f32])) -> Vec<f32> {
    let &[o, i, h, w] = shape else { return data.to_vec() };
    let mut out = vec![0.0; data.len()];
    for index in 0..o * i * h * w {
        place([o, i, h, w], index, data, &mut out);
    }
    out
}

/// The offset in (O, K, K, I) of the element whose offset in (O, I, K, K) is `index`.
fn channels_last([_, i, h, w]: [usize; 4], index: usize) -> usize {
    let (x, y, channel, out) = (index % w, index / w % h, index / (w * h) % i, index / (w * h * i));
    ((out * h + y) * w + x) * i + channel
}

fn from_channels_last(sizes: [usize; 4], index: usize, data: &[f32], out: &mut [f32]) {
    out[index] = data[channels_last(sizes, index)];
}

fn to_channels_last(sizes: [usize; 4], index: usize, data: &[f32], out: &mut [f32]) {
    out[channels_last(sizes, index)] = data[index];
}

/// Reads an encoder from `file` and writes it to `dir` in the same form as a training does. Other tensors in the file,
/// such as a classifier, are ignored. `note` is called with messages for the user about how the file was read.
///
/// # Errors
/// As [`foreign::read`]; or when the folder cannot be written.
pub fn import(file: &Path, trained: &Trained, dir: &Path, note: &dyn Fn(&str)) -> Result<()> {
    let backbone = models::open(&trained.run.model, &AnyDevice::Cpu(Cpu { precision: Precision::F32 }), Key::root(0))?;
    {
        let parameters = &mut *backbone.parameters();
        let device = &parameters.device;
        let mut values = device.host(&parameters.values);
        let mut statistics = device.host(&parameters.statistics);
        let (read, notes) = foreign::read(file, &parameters.layout.entries)?;
        notes.iter().for_each(|text| note(&format!("{}: {text}", file.display())));
        for (entry, data) in parameters.layout.entries.iter().zip(read) {
            let arena = if entry.kind == ParamKind::Statistic { &mut statistics } else { &mut values };
            let place = &mut arena[entry.slot.start..][..entry.slot.len];
            place.copy_from_slice(&reorder(&data, &entry.shape, to_channels_last));
        }
        (parameters.values, parameters.statistics) = (device.arena(values), device.arena(statistics));
    }
    save_weights(&dir.join(ENCODER), &backbone.parameters())?;
    trained.write(dir)?;
    files::write_json(&dir.join(HISTORY), &History::default())
}

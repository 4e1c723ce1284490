//! Reads weights that other programs wrote: safetensors files in any of the usual float formats, with the prefixes that
//! wrappers and checkpoints put before the parameter names.

use std::collections::BTreeSet;
use std::path::Path;

use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Context, Error, Result};
use crate::files;
use crate::nn::Entry;

/// Prefixes of the network to evaluate when a file holds two: MoCo's query encoder, DINO's teacher and BYOL's
/// online network have such prefixes.
const PREFERRED: [&str; 4] = ["encoder_q.", "teacher.", "online_encoder.", "online."];

/// A hint with Python code that converts PyTorch's own format to safetensors. This program never loads a pickle.
const CONVERT: &str = "in Python: `import torch, safetensors.torch; d = torch.load(\"FILE\", map_location=\"cpu\", \
    weights_only=True); d = d.get(\"state_dict\", d); safetensors.torch.save_file({k: v.contiguous().clone() for k, v in \
    d.items() if torch.is_tensor(v)}, \"weights.safetensors\")`";

/// Reads the values of these parameters from a file, in order. Also returns notes for the user
/// about how the file was read.
///
/// # Errors
/// When the file is not a safetensors file, when a parameter is missing or has another shape or type,
/// or when a value is not finite.
pub fn read(file: &Path, entries: &[Entry]) -> Result<(Vec<Vec<f32>>, Vec<String>)> {
    let bytes =
        files::plain(file).and_then(|_| std::fs::read(file)).context(format!("cannot read {}", file.display()))?;
    let tensors = parse(file, &bytes)?;
    let names: BTreeSet<&str> = tensors.names().into_iter().collect();
    let prefix = prefix(file, &names, entries)?;
    let mut notes = Vec::new();
    if !prefix.is_empty() {
        notes.push(format!("names are taken without their prefix `{prefix}`"));
    }
    let mut formats = BTreeSet::new();
    let mut values = Vec::new();
    for entry in entries {
        let name = format!("{prefix}{}", entry.name);
        let tensor = found(file, &tensors, &name, entry)?;
        if tensor.dtype() != Dtype::F32 {
            formats.insert(format!("{:?}", tensor.dtype()));
        }
        values.push(floats(file, &name, &tensor)?);
    }
    if !formats.is_empty() {
        let formats: Vec<String> = formats.into_iter().collect();
        notes.push(format!("values in {} are converted to F32", formats.join(" and ")));
    }
    let used: BTreeSet<String> = entries.iter().map(|entry| format!("{prefix}{}", entry.name)).collect();
    let counters = |name: &&&str| name.ends_with("num_batches_tracked");
    let others: Vec<&str> = names.iter().filter(|name| !used.contains(**name) && !counters(name)).copied().collect();
    if let Some(first) = others.first() {
        notes.push(format!(
            "left out, since the encoder has no such parameters: {} tensors, such as `{first}`",
            others.len()
        ));
    }
    Ok((values, notes))
}

fn parse<'b>(file: &Path, bytes: &'b [u8]) -> Result<SafeTensors<'b>> {
    let place = file.display();
    match bytes {
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => {
            Err(Error::new(format!("{place} is a pickle (PyTorch's format), which can run any code")).hint(CONVERT))
        }
        _ => SafeTensors::deserialize(bytes)
            .map_err(|error| Error::new(format!("{place} is not a safetensors file: {error}")).hint(CONVERT)),
    }
}

/// The prefix before the encoder's parameter names: the one with which the file has all parameters, or else
/// the one with which it has most.
fn prefix(file: &Path, names: &BTreeSet<&str>, entries: &[Entry]) -> Result<String> {
    let Some(first) = entries.first() else { return Ok(String::new()) };
    let candidate = |name: &&str| name.strip_suffix(first.name.as_str()).map(str::to_owned);
    let ends_a_part = |prefix: &String| prefix.is_empty() || prefix.ends_with('.');
    let candidates: BTreeSet<String> = names.iter().filter_map(candidate).filter(ends_a_part).collect();
    let has = |prefix: &str| {
        entries.iter().filter(|entry| names.contains(format!("{prefix}{}", entry.name).as_str())).count()
    };
    let whole: Vec<&String> = candidates.iter().filter(|prefix| has(prefix) == entries.len()).collect();
    let preferred = |prefix: &&&String| prefix.is_empty() || PREFERRED.iter().any(|part| prefix.contains(part));
    match (whole.as_slice(), whole.iter().find(preferred)) {
        ([], _) => Ok(candidates.into_iter().max_by_key(|prefix| has(prefix)).unwrap_or_default()),
        ([one], _) | (_, Some(one)) => Ok((*one).clone()),
        (many, None) => {
            let many: Vec<String> = many.iter().map(|prefix| format!("`{prefix}`")).collect();
            Err(Error::new(format!("{} holds {} matching encoders: {}", file.display(), many.len(), many.join(", ")))
                .hint("keep one of them: write only the tensors with one of these prefixes to another file"))
        }
    }
}

/// Looks up a parameter by its name and checks its shape.
fn found<'t>(file: &Path, tensors: &'t SafeTensors<'_>, name: &str, entry: &Entry) -> Result<TensorView<'t>> {
    let tensor = tensors.tensor(name).map_err(|_| {
        Error::new(format!("{} has no `{name}`", file.display()))
            .hint("name the encoder in the file: `--encoder resnet50`; tensors need torchvision's or timm's names")
    })?;
    if tensor.shape() != entry.shape {
        return Err(Error::new(format!(
            "{}: `{name}` has the shape {:?}, and the encoder's is {:?}",
            file.display(),
            tensor.shape(),
            entry.shape
        ))
        .hint("choose the encoder, stem and image size of the file: `--encoder`, `--stem`, `--image`"));
    }
    Ok(tensor)
}

/// The values of a tensor as f32. All must be finite.
fn floats(file: &Path, name: &str, tensor: &TensorView) -> Result<Vec<f32>> {
    let data = tensor.data();
    let two = |convert: fn([u8; 2]) -> f32| data.as_chunks::<2>().0.iter().map(|bytes| convert(*bytes)).collect();
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F64 => data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        Dtype::F16 => two(|bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => two(|bytes| bf16::from_le_bytes(bytes).to_f32()),
        other => {
            let what = format!("{}: `{name}` holds {other:?}; F32, F16, BF16 and F64 are read", file.display());
            return Err(Error::new(what).hint("write the file in F32"));
        }
    };
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(at) => Err(Error::new(format!("{}: `{name}` holds {} at index {at}", file.display(), values[at]))
            .hint("its features cannot be computed: give a checkpoint from before the training diverged")),
    }
}

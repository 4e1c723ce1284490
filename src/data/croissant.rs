//! A description of semantic pairs and their image set for machines: Croissant 1.1
//! (<https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html>), next to the pairs as CSV.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;

use crate::data::catalog::Set;
use crate::data::image_set::ImageSet;
use crate::data::pairs::Pair;
use crate::data::pairs::PairList;
use crate::error::Context;
use crate::error::Result;
use crate::files;
use crate::files::sha256;

/// The columns of the CSV file, with their types and what they hold.
const COLUMNS: [(&str, &str, &str); 7] = [
    ("category", "sc:Text", "The category of both images"),
    ("first", "sc:Integer", "The position of the first image in the split, counted from 0"),
    ("second", "sc:Integer", "The position of the second image in the split, counted from 0"),
    ("first_hash", "sc:Text", "BLAKE3 of the pixels of the first image"),
    ("second_hash", "sc:Text", "BLAKE3 of the pixels of the second image"),
    ("first_name", "sc:Text", "The name of the first image in the archive that it was imported from"),
    ("second_name", "sc:Text", "The name of the second image in that archive"),
];

/// The id of the image set's file in the description.
const IMAGES: &str = "images";

/// Writes the pairs as CSV and their description as JSON-LD next to `manifest`, the list of these pairs. An imported set
/// is a file of `data_dir`. Returns the path of the description.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(set: &Set, (images, list): (&ImageSet, &PairList), manifest: &Path, data_dir: &Path) -> Result<PathBuf> {
    let csv = csv(images, list).context("writing the pairs as CSV")?;
    let (bytes, sha256) = sha256::of(&*csv).context("the hash of the pairs")?;
    let path = manifest.with_extension("csv");
    files::write_whole(&path, &csv)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut distribution = vec![json!({
        "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name, "encodingFormat": "text/csv",
        "contentSize": format!("{bytes} B"), "sha256": sha256,
        "description": "The pairs, one in each line.",
    })];
    if !set.is_embedded() {
        distribution.push(file_of_images(set, data_dir)?);
    }
    let description = described(set, images, list, &name, distribution);
    let path = manifest.with_extension("croissant.json");
    files::write_whole(&path, (serde_json::to_string_pretty(&description).context(path.display())? + "\n").as_bytes())?;
    Ok(path)
}

fn csv(images: &ImageSet, list: &PairList) -> csv::Result<Vec<u8>> {
    let names = images.names();
    let name = |image: u32| names.as_ref().map_or("", |names| names[image as usize]).to_owned();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS.map(|(name, ..)| name))?;
    for &Pair { category, first, second } in &list.pairs {
        let [a, b] = [first, second].map(|image| images.image_hash(image as usize));
        let category = list.categories[category as usize].clone();
        writer.write_record([category, first.to_string(), second.to_string(), a, b, name(first), name(second)])?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// The file of an imported set.
fn file_of_images(set: &Set, data_dir: &Path) -> Result<Value> {
    let name = format!("{}.safetensors", set.name);
    let path = data_dir.join(&name);
    let read = File::open(&path).and_then(sha256::of);
    let (bytes, sha256) = read.context(format!("cannot read {}", path.display()))?;
    Ok(json!({
        "@type": "cr:FileObject", "@id": IMAGES, "name": name, "contentUrl": format!("../{name}"),
        "encodingFormat": "application/octet-stream", "contentSize": format!("{bytes} B"), "sha256": sha256,
        "description": "The images in the format safetensors: for each split, pixels (number, height, width, 3) of bytes and \
                        labels.",
    }))
}

fn described(set: &Set, images: &ImageSet, list: &PairList, csv: &str, distribution: Vec<Value>) -> Value {
    let field = |(name, kind, what): (&str, &str, &str)| {
        json!({
            "@type": "cr:Field", "@id": format!("pairs/{name}"), "name": name, "description": what, "dataType": kind,
            "source": { "fileObject": { "@id": csv }, "extract": { "column": name } },
        })
    };
    let drawn = match list.seed {
        Some(seed) => format!("drawn with seed {seed}"),
        None => "made by hand".to_owned(),
    };
    let about = if set.description.is_empty() { String::new() } else { format!(" {}", set.description) };
    let stated = |text: &str| if text.is_empty() { "not stated".to_owned() } else { text.to_owned() };
    json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": csv.trim_end_matches(".csv"),
        "description": format!(
            "{} semantic pairs, {drawn}: two different images of one category of {}, of which {} categories have pairs. The \
             images are {1} (BLAKE3 {}), {} pixels high and wide.{about}",
            list.pairs.len(), list.set, list.categories.len(), images.hash, images.size,
        ),
        "license": stated(&set.licence),
        "version": "1.0.0",
        "distribution": distribution,
        "recordSet": [{
            "@type": "cr:RecordSet", "@id": "pairs", "name": "pairs", "description": "The pairs, in the order of the list.",
            "field": COLUMNS.map(field),
        }],
    })
}

/// The names that descriptions use, as the standard gives them.
fn context() -> Value {
    let mut context = json!({
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": { "@id": "cr:data", "@type": "@json" },
        "dataType": { "@id": "cr:dataType", "@type": "@vocab" },
        "examples": { "@id": "cr:examples", "@type": "@json" },
        "description": { "@container": "@language" },
        "name": { "@container": "@language" },
    });
    let same = [
        "arrayShape",
        "citeAs",
        "column",
        "containedIn",
        "equivalentProperty",
        "extract",
        "field",
        "fileProperty",
        "fileObject",
        "fileSet",
        "format",
        "includes",
        "isArray",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
        "parentField",
        "path",
        "recordSet",
        "references",
        "regex",
        "repeated",
        "replace",
        "samplingRate",
        "separator",
        "source",
        "subField",
        "transform",
    ];
    for name in same {
        context[name] = format!("cr:{name}").into();
    }
    context
}

//! `data pairs --croissant`: the description of pairs for machines.

use sempair::bundle::manifest::sha256;

use super::degenerate::pictures;
use super::*;

#[test]
fn pairs_are_described_with_their_files_and_hashes() {
    let place = Place::new();
    let files = [("cat, tabby/1.ppm", 1), ("cat, tabby/2.ppm", 2), ("dog/1.ppm", 3), ("dog/2.ppm", 4)];
    pictures(&place, "pets", &files);
    place.stdout(&["data", "import", "pets", "--size", "8", "--licence", "for \"research\""]);
    let pairs =
        ["data", "pairs", "--from", "pets", "--categories", "2", "--per-category", "1", "--croissant", "--json"];
    let path = place.json(&pairs)["croissant"].as_str().unwrap().to_owned();
    let read = |path: &str| fs::read(place.path().join(path)).unwrap();
    let json: Value = serde_json::from_slice(&read(&path)).unwrap();
    assert_eq!(
        (&json["conformsTo"], &json["license"]),
        (&"http://mlcommons.org/croissant/1.1".into(), &"for \"research\"".into())
    );
    let description = json["description"].as_str().unwrap();
    assert!(description.starts_with("2 semantic pairs, drawn with seed 0: "), "{description}");
    let folder = Path::new(&path).parent().unwrap();
    let distribution = json["distribution"].as_array().unwrap();
    assert_eq!(distribution.len(), 2);
    for file in distribution {
        let bytes = read(folder.join(file["contentUrl"].as_str().unwrap()).to_str().unwrap());
        assert_eq!(file["sha256"], sha256(&bytes));
        assert_eq!(file["contentSize"], format!("{} B", bytes.len()));
    }
    let table = String::from_utf8(read(folder.join(distribution[0]["contentUrl"].as_str().unwrap()).to_str().unwrap()))
        .unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("\"cat, tabby\",") && lines[2].starts_with("dog,"), "{table}");
    let columns: Vec<&str> = lines[0].split(',').collect();
    let fields = json["recordSet"][0]["field"].as_array().unwrap();
    let extracted = fields.iter().map(|field| field["source"]["extract"]["column"].as_str().unwrap());
    assert_eq!(extracted.collect::<Vec<_>>(), columns);
    assert!(fields.iter().all(|field| field["source"]["fileObject"]["@id"] == distribution[0]["@id"]));
    assert!(place.stdout(&pairs[..pairs.len() - 1]).contains("  described in "));

    // Embedded images have no file, and nothing is written without the option.
    let embedded = ["data", "pairs", "--from", "synth", "--categories", "2", "--per-category", "1", "--json"];
    assert_eq!(place.json(&embedded)["croissant"], Value::Null);
    let path = place.json(&[&embedded[..], &["--croissant"]].concat())["croissant"].as_str().unwrap().to_owned();
    let json: Value = serde_json::from_slice(&read(&path)).unwrap();
    assert_eq!(json["distribution"].as_array().unwrap().len(), 1);
}

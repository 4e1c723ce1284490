//! `config KEY` (or `explain KEY`): what one setting means, where its value is from, and what depends on it.

use super::*;

#[test]
fn a_setting_is_explained_with_what_it_replaced_and_who_reads_it() {
    let place = Place::new();
    fs::write(place.path().join("sempair.toml"), "[pairs]\nper_category = 16\n").unwrap();
    let text = place.stdout(&["explain", "pairs.per_category", "--set", "pairs.per_category=8"]);
    let lines: Vec<&str> = text.lines().collect();
    let defaults = include_str!("../../experiments/defaults.toml");
    let line = 1 + defaults.lines().position(|line| line == "per_category = 64").unwrap();
    let expected = [
        "pairs.per_category = 8".to_owned(),
        "# Number of pairs of each category.".to_owned(),
        "from      command line (--set)".to_owned(),
        "replaces  16 from sempair.toml:2".to_owned(),
        format!("          64 from defaults.toml:{line}"),
    ];
    assert_eq!(lines[..5], expected);
    assert_eq!(lines[5], "decides   results: it is in the keys of the stages that read it");
    assert_eq!(lines[6], "used by   with 9, these cells would change:");
    let transfer = lines.iter().find(|line| line.starts_with("  transfer ")).unwrap_or_else(|| panic!("{text}"));
    assert!(transfer.contains("; read by factors, pretrain, followed by features, probe"), "{transfer}");
    // Untrained encoders do not read pairs.
    let counts: Vec<usize> = transfer.split([' ', ';']).filter_map(|word| word.parse().ok()).collect();
    assert!(counts[0] < counts[1], "{transfer}");

    // A setting of one method, and one of one table.
    let json = |key: &str| place.json(&["config", key, "--json"]);
    let tables = |facts: &Value| -> Vec<String> {
        let tables = facts[0]["effects"]["tables"].as_array().unwrap();
        tables.iter().map(|table| table["table"].as_str().unwrap().to_owned()).collect()
    };
    // The transformer has a recipe of its own.
    assert_eq!(tables(&json("methods.dino.recipe.epochs")), ["transfer", "invariance"]);
    let seeds = json("seeds");
    assert_eq!((&seeds[0]["role"], &seeds[0]["effects"]), (&"nothing".into(), &Value::Null));
    let samples = json("samples.values");
    assert_eq!((tables(&samples), &samples[0]["role"]), (vec!["samples".to_owned()], &"rows".into()));
    let precision = json("precision");
    assert_eq!(precision[0]["effects"]["tables"][0]["table"], "transfer", "one of the other names has an effect");
    let probe = json("probe.iterations");
    assert_eq!(probe[0]["effects"]["tables"][0]["read_by"], serde_json::json!(["probe"]));

    // The start of several keys lists them, and a wrong key is an error.
    assert!(place.stdout(&["config", "pairs."]).lines().filter(|line| line.starts_with("pairs.")).count() > 5);
    let error = place.error(&["explain", "pairs.per_categorie"]);
    assert!(error.contains("no key starts with `pairs.per_categorie`"), "{error}");
}

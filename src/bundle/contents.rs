//! The files of a bundle as a function of its records: made again from the same records, they are the same bytes.

use serde_json::Value;

use crate::bundle::About;
use crate::bundle::CONFIGURATION;
use crate::bundle::Files;
use crate::bundle::JOURNALS;
use crate::bundle::PLANS;
use crate::bundle::RECORDS;
use crate::bundle::REPORT;
use crate::bundle::Texts;
use crate::bundle::crate_metadata;
use crate::bundle::manifest;
use crate::bundle::manifest::Facts;
use crate::bundle::manifest::Program;
use crate::bundle::readme;
use crate::error::Result;
use crate::harness::config::Role;
use crate::harness::plan_store::PlanTexts;
use crate::harness::record::Record;
use crate::report::Input;
use crate::report::pages;
use crate::report::results;

/// The list of hashes in the format of `sha256sum`, for readers without this program.
const SUMS: &str = "SHA256SUMS";

/// The files of a bundle, except the manifest. `input` is the report of exactly these texts. `code` are files of the code of
/// the runs: the `Cargo.lock` and what the ledger keeps, as far as they are there.
///
/// # Errors
/// When the report cannot be rendered.
pub fn files(facts: &Facts, input: &Input, texts: &Texts, code: Files) -> Result<Files> {
    let results = results(input);
    let report = pages::files(input, &results)?;
    let named = |(name, text): (std::path::PathBuf, String)| (path(REPORT, &name.to_string_lossy()), text.into_bytes());
    let mut files: Files = report.into_iter().map(named).collect();
    let Texts { records, plans: PlanTexts { plans, journals } } = texts;
    for (folder, texts, end) in [(RECORDS, records, "json"), (PLANS, plans, "json"), (JOURNALS, journals, "journal")] {
        files.extend(texts.iter().map(|(id, text)| (path(folder, &format!("{id}.{end}")), text.clone().into_bytes())));
    }
    for (table, runs) in &input.tables {
        if let Some(newest) = runs.last() {
            files.insert(path(CONFIGURATION, &format!("{}.toml", table.id)), configuration(&table.id, newest, input));
        }
    }
    let about = About {
        facts,
        generated: &input.generated,
        commits: &results.git.commits,
        runs: &input.all_records,
        used: results.compute.used,
        renderer: (Program::current(), None),
    };
    files.extend(code);
    Ok(described(&about, files))
}

/// The files of a bundle whose records are not here: those of the report as they are, and those of the code.
pub fn files_without_records(about: &About, report: Files, code: Files) -> Files {
    let report = report.into_iter().map(|(name, bytes)| (path(REPORT, &name), bytes));
    described(about, report.chain(code).collect())
}

/// Adds the files that describe the others.
fn described(about: &About, mut files: Files) -> Files {
    files.insert(readme::NAME.to_owned(), readme::text(about, &files).into_bytes());
    let metadata = crate_metadata::text(about, &files);
    files.insert(crate_metadata::NAME.to_owned(), metadata.into_bytes());
    let sums = files.iter().map(|(name, bytes)| format!("{}  {name}\n", manifest::sha256(bytes)));
    let sums: String = sums.collect();
    files.insert(SUMS.to_owned(), sums.into_bytes());
    files
}

fn path(folder: &str, name: &str) -> String {
    format!("{folder}{}", name.replace('\\', "/"))
}

/// The settings of a run as TOML, each with its origin, without the places of files.
fn configuration(table: &str, run: &Record, input: &Input) -> Vec<u8> {
    let mut text = format!(
        "# The settings of the table `{table}`: those of its newest run, {}. After each value stands its origin.\n\
         # As `sempair.toml` in the folder of the program, this file sets them again.\n",
        run.id
    );
    for setting in run.settings.iter().filter(|setting| input.roles.of(&setting.key) != Role::Place) {
        let origin: String = setting.origin.chars().filter(|c| !c.is_control()).collect();
        text += &format!("{} = {}  # {origin}\n", key(&setting.key), value(&setting.value));
    }
    text.into_bytes()
}

fn key(key: &str) -> String {
    let is_bare = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let quoted = |part: &str| if is_bare(part) { part.to_owned() } else { Value::from(part).to_string() };
    key.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

/// A value as TOML: texts, numbers and lists are written as in JSON.
fn value(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(self::value).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries = map.iter().map(|(name, inner)| format!("{} = {}", key(name), self::value(inner)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        // TOML has no other way to write what is left out.
        Value::Null => "\"\"".to_owned(),
        // DEL is the one character that JSON may leave as it is and TOML may not.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_written_as_toml() {
        let text = json!({ "a": [1, 0.5, true], "b c": "x \"y\" \u{7f}\n", "d": null, "e": [[1e-9], "ü"] });
        let written = value(&text);
        let read: toml_edit::Value = written.parse().unwrap_or_else(|error| panic!("{written}: {error}"));
        let table = read.as_inline_table().unwrap();
        assert_eq!(table.get("b c").and_then(toml_edit::Value::as_str), Some("x \"y\" \u{7f}\n"));
        assert_eq!(table.get("a").and_then(toml_edit::Value::as_array).map(toml_edit::Array::len), Some(3));
        assert_eq!(key("methods.moco-v3.recipe"), "methods.moco-v3.recipe");
        assert_eq!(key("a.b c"), "a.\"b c\"");
    }
}

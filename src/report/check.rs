//! Compares a report on disk with the one that the ledger gives, byte for byte, and its figures one by one.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::error::Context;
use crate::error::Result;
use crate::files;
use crate::report::facts::Input;
use crate::report::pages;
use crate::report::results;

/// How many characters of a line are shown on each side of a difference.
const AROUND: usize = 24;

/// The most figures that are listed.
const MOST: usize = 10;

/// How a report on disk compares with its runs.
#[derive(Clone, Debug, Serialize)]
pub struct ReportCheck {
    /// The folder of the report.
    pub folder: PathBuf,
    /// The number of files that were compared.
    pub files: usize,
    /// The number of figures in `results.json`: the value of each run and the mean of each cell.
    pub figures: usize,
    /// The number of runs in the tables.
    pub used: usize,
    /// Runs and files that are left out, each with the reason.
    pub left_out: Vec<(String, String)>,
    /// Files in the folder that are not of this report, such as those of earlier reports.
    pub others: Vec<PathBuf>,
    /// Files that differ from what the runs give, each with its first difference.
    #[serde(skip)]
    pub differing: Vec<(PathBuf, String)>,
    /// Figures that do not follow from the runs.
    #[serde(skip)]
    pub wrong: Vec<String>,
}

/// Renders the report of these runs again, and compares it with the one in `folder`.
///
/// # Errors
/// When a template cannot be filled in, or the folder cannot be read.
pub fn check(input: &Input, folder: &Path) -> Result<ReportCheck> {
    let results = results::results(input);
    let files = pages::files(input, &results)?;
    let given = |(name, text): (&PathBuf, &String)| Some((folder.join(name), difference(&folder.join(name), text)?));
    let ours = serde_json::to_value(&results).context("the figures of the report")?;
    let ours = figures(&ours);
    let theirs = files::read_json::<Value>(&folder.join("results.json")).unwrap_or_default();
    let theirs = figures(&theirs);
    let mut names = Vec::new();
    list(folder, &mut names)?;
    names.retain(|name| !files.contains_key(name.strip_prefix(folder).unwrap_or(name)));
    let left_out = results.excluded.iter().map(|left| (left.run.clone(), left.reason.clone())).collect();
    Ok(ReportCheck {
        folder: folder.to_path_buf(),
        files: files.len(),
        figures: ours.len(),
        used: results.compute.used,
        left_out,
        others: names,
        differing: files.iter().filter_map(given).collect(),
        wrong: wrong(&ours, &theirs),
    })
}

/// All plain files below a folder, sorted by folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let place = || format!("cannot read {}", folder.display());
    let entries = std::fs::read_dir(folder).context(place())?.collect::<std::io::Result<Vec<_>>>().context(place())?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.is_symlink() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// The first difference of a file from what it should be.
fn difference(path: &Path, expected: &str) -> Option<String> {
    let found = match files::plain(path).and_then(|_| std::fs::read(path)) {
        Ok(found) => found,
        Err(error) => return Some(format!("cannot read it: {error}")),
    };
    if found == expected.as_bytes() {
        return None;
    }
    let at = found.iter().zip(expected.as_bytes()).take_while(|(a, b)| a == b).count();
    let line = expected.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
    let [shown, wanted] = [&found[..], expected.as_bytes()].map(|text| excerpt(text, at));
    Some(format!("line {line} has `{shown}`, and the records give `{wanted}`"))
}

/// What is around a position of a text, within its line.
fn excerpt(text: &[u8], at: usize) -> String {
    let start = text[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |before| before + 1);
    let end = text[at..].iter().position(|&byte| byte == b'\n').map_or(text.len(), |after| at + after);
    let (from, to) = (start.max(at.saturating_sub(AROUND)), end.min(at + AROUND));
    let [before, after] = [if from > start { ".." } else { "" }, if to < end { ".." } else { "" }];
    format!("{before}{}{after}", String::from_utf8_lossy(&text[from..to]))
}

/// The place of a figure in words, and its value.
pub type Figures = BTreeMap<String, Value>;

/// The figures in the `results.json` of a report: the value of each run in each cell, and its mean.
pub fn figures(results: &Value) -> Figures {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut figures = Figures::new();
    for table in list(&results["tables"]) {
        for cell in list(&table["cells"]) {
            let row: Vec<String> =
                cell["row"].as_object().into_iter().flatten().map(|(_, label)| text(label)).collect();
            let [column, metric] = ["column", "metric"].map(|key| text(&cell[key]));
            let place = format!("{} {} {column} {metric}", text(&table["id"]), row.join(" "));
            figures.insert(format!("{place} mean"), cell["mean"].clone());
            for ((seed, value), run) in list(&cell["seeds"]).iter().zip(list(&cell["values"])).zip(list(&cell["runs"]))
            {
                figures.insert(format!("{place} seed {seed} of run {}", text(&run)), value);
            }
        }
    }
    figures
}

/// The figures of a report that differ from those that the records give. A figure that the report does not have may be of
/// a newer run.
fn wrong(ours: &Figures, theirs: &Figures) -> Vec<String> {
    let differing = theirs.iter().filter(|(place, value)| ours.get(*place) != Some(value));
    let words = |(place, value): (&String, &Value)| {
        let given = ours.get(place).map_or("nothing".to_owned(), ToString::to_string);
        format!("{place} is {value}, and the records give {given}")
    };
    differing.map(words).take(MOST).collect()
}

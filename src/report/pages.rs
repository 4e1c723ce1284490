//! The report's folder: all formats are rendered first, then each file is written whole or not at all.

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::report::facts::Input;
use crate::report::facts::Results;
use crate::report::facts::TableResults;
use crate::report::figures::picture;
use crate::report::results;
use crate::report::text;
use crate::report::view;
use crate::report::view::ReportView;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use tera::Kwargs;
use tera::State;
use tera::Tera;
use tera::Value;

/// A report on disk.
pub struct Rendered {
    /// The folder of the report, such as `reports/quick`.
    pub dir: PathBuf,
    /// Relative to `dir`.
    pub files: Vec<PathBuf>,
    /// The facts of the report.
    pub results: Results,
    pub(super) view: ReportView,
}

/// Writes `report.html`, `report.md`, `results.json`, `main.tex`, `tables/<id>.{tex,csv}` and `figures/<name>.svg`
/// under `out_dir`.
///
/// Nothing is written before everything is rendered, and each file is renamed into place, so that a reader never sees
/// half a file. Files of an earlier report that this report does not have are kept.
pub fn render(input: &Input, out_dir: &Path) -> Result<Rendered> {
    let selections = results::selections(input);
    let results = results::of(input, &selections);
    let view = view::view(&results, &selections);
    let mut files = contents(&results, &view)?;
    let write = |(name, text): (&PathBuf, &String)| {
        files::write_whole(&out_dir.join(name), text.as_bytes())
            .map_err(|error| error.hint("choose another folder with `--out DIR`"))
    };
    // The page is written last, so that a new page refers only to new files. The other files are written in parallel.
    let page = files.remove_entry(Path::new("report.html"));
    files.par_iter().map(write).collect::<Vec<_>>().into_iter().collect::<Result<()>>()?;
    page.iter().try_for_each(|(name, text)| write((name, text)))?;
    files.extend(page);
    Ok(Rendered { dir: out_dir.to_path_buf(), files: files.into_keys().collect(), results, view })
}

/// Renders the files of the report of these runs, by their paths in the report's folder, without writing them.
///
/// # Errors
/// If a template cannot be filled in.
pub(crate) fn files(input: &Input, results: &Results) -> Result<BTreeMap<PathBuf, String>> {
    contents(results, &view::view(results, &results::selections(input)))
}

/// Every file of a report, by name.
pub(super) fn contents(results: &Results, view: &ReportView) -> Result<BTreeMap<PathBuf, String>> {
    let tera = templates()?;
    let mut context = tera::Context::from_serialize(view).context("filling the report")?;
    let fill = |name: &str, context: &tera::Context| {
        tera.render(name, context).map_err(|e| Error::new(format!("template {name}: {}", with_sources(&e))))
    };
    let mut files = BTreeMap::new();
    for (table, facts) in view.tables.iter().zip(&results.tables) {
        let stem = Path::new("tables").join(&table.id);
        let mut of_table = tera::Context::from_serialize(table).context("filling a table")?;
        for (key, words) in
            [("profile", &view.profile), ("generated", &view.generated), ("provenance", &view.provenance)]
        {
            of_table.insert(key, words);
        }
        files.insert(stem.with_extension("tex"), fill("table.tex", &of_table)?);
        if files.insert(stem.with_extension("csv"), csv(facts)?).is_some() {
            return Err(Error::new(format!("two tables would both be written to tables/{}.csv", table.id)));
        }
        if !facts.categories.is_empty() {
            let name = Path::new("tables").join(format!("{}-categories.csv", table.id));
            files.insert(name, csv_of_categories(facts)?);
        }
        let figures = table.figure.iter().chain(&table.beyond_figure).chain(&table.courses).chain(&table.other_courses);
        let figures = figures.chain(&table.scenes);
        for figure in figures {
            let stem = Path::new("figures").join(&figure.name);
            files.insert(stem.with_extension("svg"), figure.file.clone());
            if !figure.tikz.is_empty() {
                files.insert(stem.with_extension("tex"), figure.tikz.clone() + "\n");
            }
        }
    }
    // The page shows how its first table looks in LaTeX.
    let first = view.tables.first().map(|table| Path::new("tables").join(&table.id).with_extension("tex"));
    context.insert("latex", first.and_then(|name| files.get(&name)).map_or("", String::as_str));
    let pages: Vec<Result<_>> = ["report.html", "report.md", "main.tex"]
        .into_par_iter()
        .map(|name| Ok((PathBuf::from(name), fill(name, &context)?)))
        .collect();
    files.extend(pages.into_iter().collect::<Result<Vec<_>>>()?);
    files.insert("results.json".into(), serde_json::to_string_pretty(results).context("writing results.json")? + "\n");
    Ok(files)
}

/// Tera with the embedded templates: HTML is escaped automatically, the other formats by the filters `md` and `tex`.
fn templates() -> Result<Tera> {
    let mut tera = Tera::new();
    tera.set_escape_fn(|words, out| out.write_all(text::xml(words).as_bytes()));
    tera.register_filter("md", |words: &str, _: Kwargs, _: &State| Value::safe_string(&text::markdown(words)));
    tera.register_filter("tex", |words: &str, _: Kwargs, _: &State| Value::safe_string(&text::latex(words)));
    tera.add_raw_templates([
        ("tokens.css", picture::TOKENS),
        ("figure.css", picture::STYLE),
        ("style.css", include_str!("../../templates/style.css")),
        ("page.js", include_str!("../../templates/page.js")),
        ("parts.html", include_str!("../../templates/parts.html")),
        ("report.html", include_str!("../../templates/report.html")),
        ("report.md", include_str!("../../templates/report.md")),
        ("main.tex", include_str!("../../templates/main.tex")),
        ("table.tex", include_str!("../../templates/table.tex")),
    ])
    .map_err(|e| Error::new(format!("an embedded template is wrong: {}", with_sources(&e))))?;
    Ok(tera)
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        words += &format!(": {inner}");
        source = inner.source();
    }
    words
}

/// Tidy data: one line per value, that is, per row, column, metric and seed. Each label of a row is a separate column.
fn csv(table: &TableResults) -> Result<String> {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in table.cells.iter().flat_map(|c| &c.row) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let fixed = ["baseline", "column", "substitute", "paper_column", "metric", "unit", "seed", "value", "paper", "run"];
    let mut lines = vec![keys.iter().chain(&fixed).map(|s| (*s).to_string()).collect::<Vec<_>>()];
    for cell in &table.cells {
        let row = |key: &str| cell.row.iter().find(|(k, _)| k == key).map_or_else(String::new, |(_, v)| v.clone());
        for ((seed, value), run) in cell.seeds.iter().zip(&cell.values).zip(&cell.runs) {
            let facts = [
                cell.baseline.to_string(),
                cell.column.clone(),
                cell.substitute.to_string(),
                cell.paper_column.clone().unwrap_or_default(),
                cell.metric.clone(),
                cell.unit.clone(),
                seed.to_string(),
                value.to_string(),
                cell.paper.map_or_else(String::new, |p| p.to_string()),
                run.clone(),
            ];
            lines.push(keys.iter().map(|key| row(key)).chain(facts).collect());
        }
    }
    written(table, &lines)
}

/// One line per category, row, column, metric and seed.
fn csv_of_categories(table: &TableResults) -> Result<String> {
    let heads = ["row", "column", "metric", "category", "items", "seed", "value"].map(String::from);
    let mut lines = vec![heads.to_vec()];
    for of in &table.categories {
        for (seed, value) in &of.values {
            let value = value.map_or_else(String::new, |value| value.to_string());
            let [items, seed] = [of.items, *seed].map(|number| number.to_string());
            let names = [text::name(&of.row), of.column.clone(), of.metric.clone(), of.category.clone()];
            lines.push(names.into_iter().chain([items, seed, value]).collect());
        }
    }
    written(table, &lines)
}

fn written(table: &TableResults, lines: &[Vec<String>]) -> Result<String> {
    let place = || format!("writing the CSV of table {}", table.id);
    let mut writer = csv::Writer::from_writer(Vec::new());
    lines.iter().try_for_each(|line| writer.write_record(line)).context(place())?;
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error).context(place())?;
    String::from_utf8(bytes).context(place())
}

//! The report's folder: every format filled in first, then each file written whole or not at all.

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::report::in_order;
use crate::report::results;
use crate::report::results::Input;
use crate::report::results::Results;
use crate::report::results::TableResults;
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
    pub dir: PathBuf,
    /// Relative to `dir`.
    pub files: Vec<PathBuf>,
    /// What it says.
    pub results: Results,
    view: ReportView,
}

/// Writes `report.html`, `report.md`, `results.json`, `main.tex`, `tables/<id>.{tex,csv}` and `figures/<name>.svg` under
/// `out_dir`.
///
/// Nothing is written before everything is rendered, and each file is renamed into place, so that a reader never sees
/// half a file. Files of an earlier report that this one does not have stay.
pub fn render(input: &Input, out_dir: &Path) -> Result<Rendered> {
    let selections = results::selections(input);
    let results = results::of(input, &selections);
    let view = view::view(&results, &selections)?;
    let mut files = contents(&results, &view)?;
    let write = |(name, text): (&PathBuf, &String)| {
        files::write_whole(&out_dir.join(name), text.as_bytes())
            .map_err(|error| error.hint("choose another folder with `--out DIR`"))
    };
    // The page comes last: once it is new, everything it speaks of is. The disk takes many files at once.
    let page = files.remove_entry(Path::new("report.html"));
    in_order(files.par_iter().map(write))?;
    page.iter().try_for_each(|(name, text)| write((name, text)))?;
    files.extend(page);
    Ok(Rendered { dir: out_dir.to_path_buf(), files: files.into_keys().collect(), results, view })
}

/// Every file of a report, by name.
pub(super) fn contents(results: &Results, view: &ReportView) -> Result<BTreeMap<PathBuf, String>> {
    let tera = templates()?;
    let context = tera::Context::from_serialize(view).context("filling the report")?;
    let fill = |name: &str, context: &tera::Context| {
        tera.render(name, context).map_err(|e| Error::new(format!("template {name}: {}", with_sources(&e))))
    };
    let pages = ["report.html", "report.md", "main.tex"].into_par_iter();
    let pages = in_order(pages.map(|name| Ok((PathBuf::from(name), fill(name, &context)?))))?;
    let mut files = BTreeMap::from_iter(pages);
    files.insert("results.json".into(), serde_json::to_string_pretty(results).context("writing results.json")? + "\n");
    for (table, facts) in view.tables.iter().zip(&results.tables) {
        let mut context = tera::Context::from_serialize(table).context("filling a table")?;
        context.insert("profile", &view.profile);
        context.insert("generated", &view.generated);
        context.insert("provenance", &view.provenance);
        let stem = Path::new("tables").join(&table.id);
        files.insert(stem.with_extension("tex"), fill("table.tex", &context)?);
        if files.insert(stem.with_extension("csv"), csv(facts)).is_some() {
            return Err(Error::new(format!("two tables would both be written to tables/{}.csv", table.id)));
        }
        for figure in &table.figures {
            files.insert(Path::new("figures").join(&figure.name).with_extension("svg"), figure.svg.clone());
        }
    }
    Ok(files)
}

/// Tera with the embedded templates: HTML escapes on its own, the other formats by the filters `md` and `tex`.
fn templates() -> Result<Tera> {
    let mut tera = Tera::new();
    tera.set_escape_fn(|words, out| out.write_all(text::xml(words).as_bytes()));
    tera.register_filter("md", |words: &str, _: Kwargs, _: &State| Value::safe_string(&text::markdown(words)));
    tera.register_filter("tex", |words: &str, _: Kwargs, _: &State| Value::safe_string(&text::latex(words)));
    tera.add_raw_templates([
        ("style.css", include_str!("../../templates/style.css")),
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

/// Tidy: one line per value, that is, per row, column, metric and seed. Row fields are columns of their own.
fn csv(table: &TableResults) -> String {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in table.cells.iter().flat_map(|c| &c.row) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let fixed = ["baseline", "column", "substitute", "paper_column", "metric", "unit", "seed", "value", "paper", "run"];
    let line =
        |fields: &mut dyn Iterator<Item = String>| fields.map(|f| text::csv(&f)).collect::<Vec<_>>().join(",") + "\n";
    let mut out = line(&mut keys.iter().chain(&fixed).map(|s| (*s).to_string()));
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
            out += &line(&mut keys.iter().map(|key| row(key)).chain(facts));
        }
    }
    out
}

impl Rendered {
    /// A few lines for the terminal about the tables that are to be told of: the claims and each table's first metric.
    pub fn summary(&self, is_told: impl Fn(&str) -> bool) -> String {
        let mut lines = Vec::new();
        let tables = || self.view.tables.iter().filter(|table| is_told(&table.id));
        for table in tables() {
            lines.push(format!("{} ({} profile)", text::clean(&table.title), text::clean(&self.results.profile)));
            lines.extend(grid(table).into_iter().map(|line| format!("  {line}")));
            lines.push(String::new());
        }
        for claim in self.view.claims.iter().filter(|of| is_told(&of.id)).flat_map(|of_table| &of_table.claims) {
            lines.push(format!("{} {}{}: {}", claim.mark, claim.verdict, claim.place, text::clean(&claim.text)));
            lines.push(format!("  {}", text::clean(&claim.evidence)));
        }
        let told = self.results.tables.iter().filter(|table| is_told(&text::file_stem(&table.id)));
        let tally = view::tally_of(told.cloned().collect());
        let [reproduced, not, inconclusive, not_run, untestable] = tally;
        if tally.iter().sum::<usize>() > 0 {
            lines.push(format!(
                "claims: {reproduced} reproduced, {not} not reproduced, {inconclusive} inconclusive, {not_run} not run, \
                 {untestable} not testable"
            ));
        }
        let missing: usize = tables().map(|t| t.missing.len()).sum();
        if missing > 0 {
            lines.push(format!("{missing} cells lack runs; the report names them."));
        }
        lines.push(format!("report: {}", self.dir.join("report.html").display()));
        lines.join("\n")
    }
}

/// The table's own first metric per data set, in aligned columns.
fn grid(table: &view::TableView) -> Vec<String> {
    let shown: Vec<usize> = (0..table.heads.len()).filter(|&i| table.heads[i].first).collect();
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(shown.iter().map(|&i| text::shorten(&text::clean(&table.heads[i].long), 28)));
    for row in &table.rows {
        let mut line = vec![text::shorten(&text::clean(&row.label), 28)];
        line.extend(shown.iter().map(|&i| format!("{}{}", row.cells[i].text, row.cells[i].spread)));
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=shown.len()).map(width).collect();
    let padded = |line: &Vec<String>| {
        let fields = line.iter().enumerate().map(|(i, field)| {
            let gap = " ".repeat(widths[i] - field.chars().count());
            if i == 0 { format!("{field}{gap}") } else { format!("{gap}{field}") }
        });
        fields.collect::<Vec<_>>().join("   ").trim_end().to_string()
    };
    lines.iter().map(padded).collect()
}

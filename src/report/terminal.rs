//! The summary of a report on the terminal: the answer, the gains, what to do next, and where the page is.

use crate::error::shell;
use crate::harness::experiment::Family;
use crate::harness::git::Tree;
use crate::harness::progress::duration;
use crate::harness::record::short;
use crate::report::facts::ClaimResult;
use crate::report::facts::TableResults;
use crate::report::findings;
use crate::report::findings::Tally;
use crate::report::grid::Grid;
use crate::report::grid::Line;
use crate::report::matrix::CellView;
use crate::report::matrix::Matrix;
use crate::report::pages::Rendered;
use crate::report::plans;
use crate::report::text;
use crate::report::view::TableView;
use crate::report::view::is_own;

/// The width of a line.
const WIDTH: usize = 92;
/// The width of a row's name.
const NAME: usize = 18;
/// With more tables than this, each has one line.
const FEW: usize = 3;
/// The most seeds that are suggested.
const SEEDS: usize = 30;

impl Rendered {
    /// A short summary of the tables for which `is_told` is true.
    pub fn summary(&self, is_told: impl Fn(&str) -> bool) -> String {
        let told: Vec<(&TableView, &TableResults)> =
            self.view.tables.iter().zip(&self.results.tables).filter(|(table, _)| is_told(&table.id)).collect();
        let matrix = self.view.matrix.as_ref();
        let main = matrix.and_then(|matrix| told.iter().find(|(table, _)| table.id == matrix.table));
        let mut lines = self.head(&told);
        lines.push(String::new());
        if let (Some(matrix), Some((table, results))) = (matrix, main) {
            let answer: Vec<String> =
                self.view.answer.iter().map(|clause| format!("{} {}", clause.lead, clause.words)).collect();
            lines.extend(wrapped(&answer.join(" "), 0));
            lines.push(String::new());
            lines.extend(gains(matrix, table, told.len() <= FEW));
            lines.extend(others(results));
            lines.push(String::new());
        }
        for (table, results) in told.iter().filter(|(table, _)| matrix.is_none_or(|matrix| matrix.table != table.id)) {
            lines.extend(wrapped(&format!("{}: {}.", table.id, table.finding), 2));
            if told.len() <= FEW {
                lines.extend(others(results));
            }
        }
        if !self.view.planned.is_empty() {
            lines.extend(wrapped(&self.view.planned, 0));
        }
        lines.extend(self.signs(&told));
        lines.extend(self.next(&told));
        let missing: usize = told.iter().map(|(table, _)| table.missing.len()).sum();
        if missing > 0 {
            lines.push(format!("{missing} cells lack runs; the report names them."));
        }
        lines.push(format!("Report: {} ({})", self.dir.join("report.html").display(), self.cost()));
        lines.iter().map(|line| text::clean(line).trim_end().to_string()).collect::<Vec<_>>().join("\n")
    }

    fn head(&self, told: &[(&TableView, &TableResults)]) -> Vec<String> {
        let ids: Vec<String> = told.iter().map(|(table, _)| table.id.clone()).collect();
        let stand_in: Vec<String> =
            told.iter().filter(|(table, _)| table.stand_in).map(|(table, _)| table.id.clone()).collect();
        let place = if stand_in.len() < ids.len() { format!(" in {}", text::list(&stand_in)) } else { String::new() };
        let why = match (stand_in.is_empty(), self.view.distance.same) {
            (false, _) => format!("Stand-in images{place}"),
            (true, false) => "Not the paper's setting".to_owned(),
            (true, true) => String::new(),
        };
        let how = if why.is_empty() { why } else { format!(" {why}: interpret directions, not effect sizes.") };
        let what = if ids.is_empty() { "No table".to_string() } else { text::list(&ids) };
        wrapped(&format!("{what}, profile {}.{how}", self.results.profile), 0)
    }

    fn signs(&self, told: &[(&TableView, &TableResults)]) -> Option<String> {
        let claims = || told.iter().flat_map(|(_, results)| &results.claims);
        let tested = claims().filter(|claim| claim.difference.is_some());
        let own = is_own(claims());
        let (yes, no) = if own { ("reproduced", "not reproduced") } else { ("as claimed", "opposite") };
        (tested.count() > 0).then(|| {
            format!("✓ {yes}  ✗ {no} (✓✓ ✗✗ also after Holm correction)  ? open: the 95 % CI contains 0, or one seed")
        })
    }

    /// Suggests the number of seeds that would decide the most claims per seed.
    fn next(&self, told: &[(&TableView, &TableResults)]) -> Option<String> {
        let best = |results: &TableResults| {
            let open: Vec<&ClaimResult> =
                results.claims.iter().filter(|claim| claim.would_decide().is_some()).collect();
            let mut seeds: Vec<usize> = open.iter().filter_map(|c| c.seeds_to_decide).filter(|n| *n <= SEEDS).collect();
            seeds.sort_unstable();
            let decided = (1..).zip(&seeds).map(|(count, n)| (count, *n));
            let (count, n) = decided.min_by(|a, b| (a.1 * b.0, b.0).cmp(&(b.1 * a.0, a.0)))?;
            let post_hoc = results.plan.as_ref().filter(|plan| !(0..n as u64).all(|seed| plan.seeds.contains(&seed)));
            let aside = post_hoc.map_or_else(String::new, |plan| {
                format!(" (post hoc: plan {} does not have all of these seeds)", short(&plan.id))
            });
            Some((count, n, open.len(), shell(&results.id), aside))
        };
        let mut next = told.iter().filter_map(|(view, results)| Some((best(results)?, &view.sets)));
        let ((count, n, open, id, aside), sets) = next.next()?;
        let profile = shell(&self.results.profile);
        Some(format!(
            "Next: {n} seeds would decide {count} of {open} open claims{aside}: sempair table {id} --profile {profile} \
             --seeds {n}{sets}"
        ))
    }

    fn cost(&self) -> String {
        let compute = &self.results.compute;
        let tree = match self.results.git.tree {
            Tree::Clean => "clean",
            Tree::Unknown => "uncommitted changes unknown",
            Tree::Dirty => "uncommitted changes",
        };
        let mut parts = vec![text::counted(compute.runs, "run"), duration(compute.seconds)];
        if let (Some(commit), false) = (&self.results.git.commit, self.results.anonymous) {
            parts.push(commit.chars().take(12).collect());
        }
        parts.push(tree.to_string());
        parts.join(", ")
    }
}

/// The gains with their intervals, and if `whole` also the accuracies. A single set has one table for both.
fn gains(matrix: &Matrix, table: &TableView, whole: bool) -> Vec<String> {
    let Some(grid) = &table.grid else { return Vec::new() };
    if matrix.columns.len() == 1 {
        return one_set(matrix, grid);
    }
    let titles = matrix.columns.iter().map(|column| column.title.clone());
    let mut lines = vec![row("  SP − AP, points", titles)];
    let columns = matrix.columns.len();
    for of in &matrix.rows {
        let cell = |i: usize| of.cells.get(i).map_or_else(String::new, |cell| gain(cell, columns <= 3));
        lines.push(row(&format!("  {}", of.label), (0..columns).map(cell)));
    }
    let paper = |i: usize| matrix.rows.first().and_then(|row| row.cells.get(i)).map_or("", |cell| cell.paper.as_str());
    if let (Some(first), true) = (matrix.rows.first(), (0..columns).any(|i| !paper(i).is_empty())) {
        lines.push(row(&format!("  paper, {}", first.label), (0..columns).map(|i| format!("   {}", paper(i)))));
    }
    if !matrix.beyond.is_empty() {
        lines.push(beyond(matrix));
    }
    if !whole {
        return lines;
    }
    lines.push(String::new());
    lines.push("  top-1 %".to_string());
    for block in &grid.blocks {
        let [Some(ap), Some(sp)] = ["ap", "sp"].map(|mark| block.lines.iter().find(|line| line.mark == mark)) else {
            continue;
        };
        let value = |line: &Line, i: usize| line.cells.get(i).map_or(String::new(), |cell| cell.value.clone());
        let both = |i: usize| match (value(ap, i), value(sp, i)) {
            (ap, sp) if ap.is_empty() && sp.is_empty() => "   not run".to_string(),
            (ap, sp) => format!("   {ap} → {sp}"),
        };
        lines.push(row(&format!("  {}", block.label), (0..columns).map(both)));
    }
    for line in &grid.baselines {
        let value = |i: usize| format!("   {}", line.cells.get(i).map_or("", |cell| cell.value.as_str()));
        lines.push(row(&format!("  {}", name(line)), (0..columns).map(value)));
    }
    lines
}

fn one_set(matrix: &Matrix, grid: &Grid) -> Vec<String> {
    let title = format!("  {}", matrix.columns[0].title);
    let mut lines =
        vec![row_of(&title, &["AP, %", "SP, %", "   SP − AP, points", "paper"].map(String::from), &[16, 16, 26, 8])];
    for of in &matrix.rows {
        let block = grid.blocks.iter().find(|block| block.label == of.label);
        let value = |mark: &str| {
            let line = block.and_then(|block| block.lines.iter().find(|line| line.mark == mark));
            line.and_then(|line| line.cells.first()).map_or_else(String::new, |cell| {
                let below = if cell.below { " ▾" } else { "" };
                format!("{} {}{below}", cell.value, cell.spread)
            })
        };
        let cell = &of.cells[0];
        let cells = [value("ap"), value("sp"), gain(cell, true), cell.paper.clone()];
        lines.push(row_of(&format!("  {}", of.label), &cells, &[16, 16, 26, 8]));
    }
    for line in &grid.baselines {
        let value = line.cells.first().map_or_else(String::new, |cell| format!("{} {}", cell.value, cell.spread));
        lines.push(row_of(&format!("  {}", name(line)), &[value], &[16]));
    }
    if !matrix.beyond.is_empty() {
        lines.push(beyond(matrix));
    }
    lines
}

/// The name of a row without the mark of what is not planned: the summary has a sentence about it.
fn name(line: &Line) -> &str {
    line.label.trim_end_matches(plans::MARK)
}

/// The outcome for the methods that the paper does not measure.
fn beyond(matrix: &Matrix) -> String {
    let more = if matrix.beyond.len() == 1 { "method" } else { "methods" };
    format!("  {} more {more}: {}", text::number(matrix.beyond.len()), matrix.beyond_line)
}

/// `✓✓ +5.8`, or `not run`; with the interval, `[+5.0, +6.6]`, if there is room.
fn gain(cell: &CellView, with_interval: bool) -> String {
    match &cell.badge {
        None => "   not run".to_string(),
        Some(badge) => {
            let sign = if badge.strong { badge.sign.repeat(2) } else { format!(" {}", badge.sign) };
            let interval = if with_interval { cell.interval.as_str() } else { "" };
            format!("{sign} {} {interval}", cell.value)
        }
    }
}

/// The outcomes of the table's other statements, one line each.
fn others(table: &TableResults) -> Vec<String> {
    let mut lines = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for claim in table.claims.iter().filter(|claim| !findings::is_main(claim)) {
        if seen.contains(&claim.family.id.as_str()) || claim.family.id == Family::MAIN {
            continue;
        }
        seen.push(&claim.family.id);
        let of: Vec<&ClaimResult> = table.claims.iter().filter(|other| other.family == claim.family).collect();
        let line = findings::line(&of);
        // The heading of a table already gives the outcome of its statement.
        if table.finding.contains(&claim.family.title) || Tally::of(of.iter().copied()).tested() == 0 {
            continue;
        }
        lines.extend(wrapped(&format!("{}: {line}.", claim.family.title), 2));
    }
    lines
}

/// A name and columns of equal width.
fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    let width = (WIDTH - NAME - 2) / cells.len().max(1);
    row_of(name, &cells, &vec![width.clamp(12, 24); cells.len()])
}

fn row_of(name: &str, cells: &[String], widths: &[usize]) -> String {
    let padded = |words: &str, width: usize| {
        let words = text::shorten(words, width);
        let gap = " ".repeat(width - words.chars().count());
        format!("{words}{gap}")
    };
    let cells: String = cells.iter().zip(widths).map(|(cell, width)| padded(cell, *width)).collect();
    format!("{}{cells}", padded(name, NAME + 2))
}

/// Wraps words into lines of at most [`WIDTH`], each indented by `indent` spaces.
fn wrapped(words: &str, indent: usize) -> Vec<String> {
    let mut lines = vec![" ".repeat(indent)];
    for word in words.split(' ') {
        let last = lines.len() - 1;
        if lines[last].chars().count() + word.chars().count() + 1 > WIDTH && lines[last].len() > indent {
            lines.push(" ".repeat(indent));
        }
        let last = lines.len() - 1;
        if lines[last].len() > indent {
            lines[last].push(' ');
        }
        lines[last].push_str(word);
    }
    lines
}

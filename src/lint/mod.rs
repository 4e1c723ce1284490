//! Checks a manuscript against the ledger: which of its numbers match no recorded value, and which match only a value
//! that is no longer current.

mod manuscript;
mod numbers;
mod recorded;
mod tex;

use crate::error::Result;
use crate::report::facts::Input;
use crate::report::facts::Results;
use crate::report::pages;
use crate::report::results;
use crate::report::text;
use manuscript::Manuscript;
use manuscript::WrittenTable;
use recorded::Figures;
use serde::Serialize;
use std::path::Path;

pub use manuscript::Trouble;
pub use numbers::Number;
pub use numbers::Role;
pub use numbers::numbers;
pub use recorded::Figure;

/// The most matching values that are named for a number.
const MOST_NAMED: usize = 3;

/// The result of checking a manuscript.
#[derive(Clone, Debug, Serialize)]
pub struct Lint {
    /// The profile whose report the manuscript is checked against, such as `quick`.
    pub profile: String,
    /// Sorted by file and place.
    pub numbers: Vec<Checked>,
    /// The tables of reports that the manuscript includes, sorted by file.
    pub tables: Vec<CheckedTable>,
    /// Problems that prevented checking everything, sorted by file and place.
    pub trouble: Vec<Trouble>,
}

/// A number of the manuscript and its finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// The path of the file that has the number, such as `paper/results.tex`.
    pub file: String,
    /// The number and its place in the file.
    #[serde(flatten)]
    pub number: Number,
    /// How the number compares with the recorded values.
    #[serde(flatten)]
    pub finding: Finding,
}

/// How a number compares with the recorded values.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "finding", rename_all = "lowercase")]
pub enum Finding {
    /// These recorded values round to the number, and `more` others.
    Match {
        /// The first of these values, in the order of their kinds; at most 3.
        figures: Vec<Figure>,
        /// How many further values round to the number.
        more: usize,
    },
    /// Only this value of runs that the report no longer uses rounds to the number. `now` is the current value.
    Stale {
        /// The value of the runs that are no longer used.
        figure: Figure,
        /// The report's value of the same name; `None` if it has none.
        now: Option<f64>,
    },
    /// No recorded value rounds to the number. If it is the spread of a number that matches, `of` is that number.
    Unmatched {
        /// The closest recorded value that it could be, such as a spread for a spread; `None` if there is none.
        nearest: Option<Figure>,
        /// That number as written, such as `83.6`; `None` if this is no such spread.
        of: Option<String>,
    },
    /// A comment exempts it.
    Ignored,
}

/// A table of a report that the manuscript includes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedTable {
    /// The path of the included file, such as `paper/tables/transfer.tex`.
    pub file: String,
    /// The table's id, such as `transfer`, from the first line of the file.
    pub table: String,
    /// The profile of the report that wrote the table, from the first line of the file.
    pub profile: String,
    /// How the table compares with what the report would write now.
    #[serde(flatten)]
    pub state: TableState,
}

/// How a table compares with what the report would write now.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum TableState {
    /// The table is what the report would write, apart from comments.
    Current,
    /// The table differs from this line on.
    Stale {
        /// Counted from 1; the last line of the file if only the end is missing.
        line: usize,
    },
    /// The report of this profile has no such table.
    Unknown,
}

/// Checks the manuscript `main` against the report of `now`. `before` holds the runs that this report leaves out
/// because their circumstances differ, as inputs of the reports that they would have made.
///
/// # Errors
/// The manuscript cannot be read, or the file is not a manuscript.
pub fn lint(main: &Path, now: &Input, before: &[Input]) -> Result<Lint> {
    let Manuscript { numbers, tables, mut trouble } = Manuscript::read(main)?;
    let current = results::results(now);
    let earlier: Vec<_> = before.iter().map(|input| (input, results::results(input))).collect();
    let earlier: Vec<_> = earlier.iter().map(|(input, results)| (*input, results)).collect();
    let judge = Judge { now: Figures::current(now, &current), before: Figures::earlier(&earlier, (now, &current)) };
    let check = |(file, numbers): (String, Vec<Number>)| {
        let findings = judge.findings(&numbers);
        let checked = move |(number, finding)| Checked { file: file.clone(), number, finding };
        numbers.into_iter().zip(findings).map(checked).collect::<Vec<_>>()
    };
    let mut numbers: Vec<Checked> = numbers.into_iter().flat_map(check).collect();
    numbers.sort_by(|a, b| place(a).cmp(&place(b)));
    let mut tables = checked_tables(&tables, now, &current)?;
    tables.sort_by(|a, b| a.file.cmp(&b.file));
    trouble.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Ok(Lint { profile: now.profile.clone(), numbers, tables, trouble })
}

fn place(checked: &Checked) -> (&str, usize, usize) {
    (&checked.file, checked.number.line, checked.number.column)
}

struct Judge {
    now: Figures,
    before: Figures,
}

impl Judge {
    /// A finding for each number. A spread is checked together with the number before it.
    fn findings(&self, numbers: &[Number]) -> Vec<Finding> {
        let mut findings = Vec::with_capacity(numbers.len());
        let mut rest = numbers;
        while let Some((number, after)) = rest.split_first() {
            rest = after;
            match rest.split_first().filter(|(next, _)| next.of_previous && !next.ignored && !number.ignored) {
                Some((spread, after)) => {
                    rest = after;
                    findings.extend(self.pair(number, spread));
                }
                None if number.ignored => findings.push(Finding::Ignored),
                None => findings.push(self.single(number)),
            }
        }
        findings
    }

    fn single(&self, number: &Number) -> Finding {
        let now = self.now.matching(number);
        if !now.is_empty() {
            return matched(&now);
        }
        match self.before.matching(number).first() {
            Some(figure) => self.stale(figure),
            None => Finding::Unmatched { nearest: self.now.nearest(number).cloned(), of: None },
        }
    }

    /// Checks a number and its spread, which must belong to the same cell. If only the number matches, the spread is
    /// unmatched.
    fn pair(&self, number: &Number, spread: &Number) -> [Finding; 2] {
        let (values, spreads) = self.now.matching_pair(number, spread);
        if !values.is_empty() {
            return [matched(&values), matched(&spreads)];
        }
        let (values, spreads) = self.before.matching_pair(number, spread);
        if let (Some(value), Some(of_value)) = (values.first(), spreads.first()) {
            return [self.compared(number, value), self.compared(spread, of_value)];
        }
        let values = self.now.matching(number);
        if values.is_empty() {
            return [self.single(number), self.single(spread)];
        }
        let nearest = self.now.nearest_spread(spread, &values).cloned();
        [matched(&values), Finding::Unmatched { nearest, of: Some(number.text.clone()) }]
    }

    /// Checks one number of a pair that matched an earlier cell: the number may still be current.
    fn compared(&self, number: &Number, before: &Figure) -> Finding {
        match self.now.named(&before.of, &before.part) {
            Some(now) if now.rounds_to(number) => matched(&[now]),
            _ => self.stale(before),
        }
    }

    fn stale(&self, figure: &Figure) -> Finding {
        let now = self.now.named(&figure.of, &figure.part).map(|now| now.value);
        Finding::Stale { figure: figure.clone(), now }
    }
}

fn matched(figures: &[&Figure]) -> Finding {
    let named: Vec<Figure> = figures.iter().take(MOST_NAMED).map(|figure| (*figure).clone()).collect();
    Finding::Match { more: figures.len() - named.len(), figures: named }
}

/// Compares tables with what the report would write. Renders nothing if there are no tables.
fn checked_tables(tables: &[WrittenTable], now: &Input, results: &Results) -> Result<Vec<CheckedTable>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let files = pages::files(now, results)?;
    let check = |table: &WrittenTable| {
        let rendered = files.get(&Path::new("tables").join(&table.id).with_extension("tex"));
        let state = match rendered.filter(|_| table.profile == now.profile) {
            Some(rendered) => {
                difference(&table.text, rendered).map_or(TableState::Current, |line| TableState::Stale { line })
            }
            None => TableState::Unknown,
        };
        CheckedTable { file: table.file.clone(), table: table.id.clone(), profile: table.profile.clone(), state }
    };
    Ok(tables.iter().map(check).collect())
}

/// The first line that differs. Comments are ignored: they name the newest run of all tables, which may belong to
/// another table.
fn difference(text: &str, rendered: &str) -> Option<usize> {
    let lines = |text| str::lines(text).enumerate().filter(|(_, line)| !line.starts_with('%'));
    let (mut ours, mut theirs) = (lines(text), lines(rendered));
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return None,
            (Some((_, a)), Some((_, b))) if a == b => {}
            (Some((line, _)), _) => return Some(line + 1),
            (None, Some(_)) => return Some(text.lines().count()),
        }
    }
}

impl Lint {
    /// Whether every number matches or is exempted, every table is current and there was no trouble.
    pub fn is_clean(&self) -> bool {
        let good = |checked: &Checked| matches!(checked.finding, Finding::Match { .. } | Finding::Ignored);
        let current = self.tables.iter().all(|table| table.state == TableState::Current);
        self.numbers.iter().all(good) && current && self.trouble.is_empty()
    }

    /// A line for each finding, sorted by file and place. Matches are listed only if `all` is set.
    pub fn lines(&self, all: bool) -> Vec<String> {
        let mut lines: Vec<(&str, usize, usize, String)> = Vec::new();
        for table in &self.tables {
            if let Some((line, words)) = table_words(table, &self.profile, all) {
                lines.push((&table.file, line, 1, words));
            }
        }
        lines.extend(self.trouble.iter().map(|t| (t.file.as_str(), t.line, t.column, t.what.clone())));
        for checked in self.numbers.iter().filter(|checked| all || !matches!(checked.finding, Finding::Match { .. })) {
            let (file, line, column) = place(checked);
            lines.extend(words(checked).map(|words| (file, line, column, words)));
        }
        lines.sort();
        lines.into_iter().map(|(file, line, column, words)| format!("{file}:{line}:{column}: {words}")).collect()
    }

    /// The number of findings of each kind.
    pub fn summary(&self) -> String {
        let count = |is: fn(&Finding) -> bool| self.numbers.iter().filter(|checked| is(&checked.finding)).count();
        let mut summary = format!(
            "{} numbers: {} match, {} stale, {} unmatched, {} ignored",
            self.numbers.len(),
            count(|finding| matches!(finding, Finding::Match { .. })),
            count(|finding| matches!(finding, Finding::Stale { .. })),
            count(|finding| matches!(finding, Finding::Unmatched { .. })),
            count(|finding| matches!(finding, Finding::Ignored)),
        );
        if !self.tables.is_empty() {
            let current = self.tables.iter().filter(|table| table.state == TableState::Current).count();
            summary += &format!("; {current} of {} tables up to date", self.tables.len());
        }
        summary
    }
}

fn table_words(table: &CheckedTable, profile: &str, all: bool) -> Option<(usize, String)> {
    let CheckedTable { table: id, profile: theirs, .. } = table;
    let id = text::clean(id);
    match table.state {
        TableState::Current => all.then(|| (1, format!("table {id} is up to date"))),
        TableState::Stale { line } => Some((
            line,
            format!("stale: table {id} differs from here on; `sempair report --profile {profile}` rewrites it"),
        )),
        TableState::Unknown => {
            let (theirs, profile) = (text::clean(theirs), text::clean(profile));
            Some((1, format!("table {id} of the profile {theirs} is not in the report of the profile {profile}")))
        }
    }
}

/// The message about a number; `None` if it is exempted.
fn words(Checked { number, finding, .. }: &Checked) -> Option<String> {
    let said = &number.text;
    match finding {
        Finding::Ignored => None,
        Finding::Match { figures, more } => {
            let names: Vec<String> = figures.iter().map(|figure| with_name(number, figure)).collect();
            let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
            let verb = if number.role == Role::Bound { "bounds" } else { "matches" };
            Some(format!("{said} {verb} {}{more}", names.join(", ")))
        }
        Finding::Stale { figure, now } => {
            let now = now.map_or("the report no longer has this value".to_owned(), |now| {
                format!("the report now has {}", rounded(number, now, 0))
            });
            let name = figure.name();
            Some(format!("stale: {said} is from {} ({name}); {now}", runs(&figure.runs)))
        }
        Finding::Unmatched { nearest, of } => {
            let what =
                of.as_ref().map_or("matches no recorded figure".to_owned(), |of| format!("is not the spread of {of}"));
            let nearest = nearest.as_ref().map(|figure| format!("; nearest {}", with_name(number, figure)));
            Some(format!("{said} {what}{}", nearest.unwrap_or_default()))
        }
    }
}

/// `83.60 (transfer, SimCLR (SP) on cifar-10, linear, the paper's)`.
fn with_name(number: &Number, figure: &Figure) -> String {
    format!("{} ({})", rounded(number, figure.value, 1), figure.name())
}

/// Formats a value with `more` decimals than the number has, and with a sign if the number has one.
fn rounded(number: &Number, value: f64, more: usize) -> String {
    let decimals = (-number.step.log10()).round().clamp(0.0, 15.0) as usize + more;
    if number.role == Role::Change { format!("{value:+.decimals$}") } else { format!("{value:.decimals$}") }
}

fn runs(ids: &[String]) -> String {
    match ids {
        [] => "older runs".into(),
        [id] => format!("run {id}"),
        _ => {
            let more = ids.len().saturating_sub(MOST_NAMED);
            let named = ids[..ids.len() - more].join(", ");
            format!("runs {named}{}", if more > 0 { format!(" and {more} more") } else { String::new() })
        }
    }
}

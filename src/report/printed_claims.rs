//! The claims of a report on disk, as it prints them: which one a text means, which runs are behind it, and what values
//! of these runs say about it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::harness::experiment::Expected;
use crate::harness::experiment::Row;
use crate::report::gains;
use crate::report::stats;
use crate::report::stats::Verdict;
use crate::report::text;

/// A difference of more than this, relative to the larger number, is none of rounding.
const ROUNDING: f64 = 1e-9;

/// What the runs say about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// By [`stats::VERDICT_RULE`].
    pub verdict: Verdict,
    /// Mean over seeds, in the unit of the claim's metric; `None` if the claim was not tested.
    pub difference: Option<f64>,
    /// 95 % confidence interval of `difference`; `None` for one seed.
    pub ci95: Option<(f64, f64)>,
}

impl Judgement {
    /// In words, such as `reproduced, +7.2 points [+3.1, +11.3]`.
    pub fn words(&self, unit: &str) -> String {
        let verdict = self.verdict.name();
        let Some(difference) = self.difference else { return verdict.to_owned() };
        let (change, interval) = text::change(difference, self.ci95, unit);
        format!("{verdict}, {change}{} {interval}", text::unit_of_difference(unit)).trim_end().to_owned()
    }

    /// Whether it says the same, up to rounding.
    pub fn is_close_to(&self, other: &Self) -> bool {
        let numbers = |of: &Self| {
            let (low, high) = of.ci95.unzip();
            [of.difference, low, high]
        };
        let close = |pair: (Option<f64>, Option<f64>)| match pair {
            (Some(a), Some(b)) => (a - b).abs() <= ROUNDING * a.abs().max(b.abs()).max(1.0),
            (a, b) => a.is_none() && b.is_none(),
        };
        self.verdict == other.verdict && numbers(self).into_iter().zip(numbers(other)).all(close)
    }
}

/// The labels of a row, as a report states them: without their order.
type Labels = BTreeMap<String, String>;

fn labels(row: &Row) -> Labels {
    row.iter().cloned().collect()
}

/// A claim in the `results.json` of a report.
#[derive(Clone, Debug, Deserialize)]
pub struct PrintedClaim {
    /// The id of its table.
    #[serde(skip)]
    pub table: String,
    /// Its wording.
    pub text: String,
    /// The statement that it is a case of.
    #[serde(default)]
    family: Statement,
    /// Which case of the statement.
    #[serde(default)]
    case: String,
    /// The column's id.
    pub column: String,
    /// The metric's id.
    pub metric: String,
    /// The metric's unit; empty if it has none.
    pub unit: String,
    /// What it says about the difference.
    pub expected: Expected,
    /// What the report prints.
    #[serde(flatten)]
    pub printed: Judgement,
    /// The seeds from which the difference is computed.
    pub seeds: Vec<u64>,
    /// The ids of the runs from which it is computed.
    #[serde(skip)]
    pub runs: BTreeSet<String>,
    plus: Vec<Labels>,
    minus: Vec<Labels>,
}

/// A statement of the paper.
#[derive(Clone, Debug, Default, Deserialize)]
struct Statement {
    title: String,
}

/// What is read of a report.
#[derive(Deserialize)]
struct Report {
    tables: Vec<Table>,
}

#[derive(Deserialize)]
struct Table {
    id: String,
    claims: Vec<PrintedClaim>,
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    row: Labels,
    column: String,
    metric: String,
    seeds: Vec<u64>,
    runs: Vec<String>,
}

impl PrintedClaim {
    /// Finds the claim of a report whose wording contains `part`, in any case. A claim whose whole wording it is comes
    /// before claims that contain it; the table's id and a colon may stand before the wording. If there is none, it is the
    /// claim that has all words of `part`, in any order, in its wording, statement, case and set.
    ///
    /// # Errors
    /// When the report cannot be read, when no claim or more than one matches, and when the claim was not tested.
    pub fn find(results: &Path, part: &str) -> Result<Self> {
        let place = results.display();
        if !results.exists() {
            return Err(Error::new(format!("there is no report {place}, which states the claims"))
                .hint("`sempair report` renders it from the ledger; `--profile NAME` chooses another one"));
        }
        let report: Report =
            files::read_json(results).context("cannot read the claims of the report").map_err(|error: Error| {
                error.hint("`sempair report` renders it again from the ledger, if that has its runs")
            })?;
        let of_table = |table: Table| {
            let Table { id, claims, cells } = table;
            claims.into_iter().map(move |claim| {
                let runs = claim.runs_in(&cells);
                Self { table: id.clone(), runs, ..claim }
            })
        };
        one_of(report.tables.into_iter().flat_map(of_table).collect(), part, &place.to_string())
    }

    /// Table and wording.
    pub fn name(&self) -> String {
        format!("{}: {}", self.table, self.text)
    }

    /// The words by which it can be found.
    fn words(&self) -> Vec<String> {
        let Self { table, text, family, case, column, .. } = self;
        words(&format!("{table} {text} {} {case} {column}", family.title))
    }

    /// What values say about it, given the value of a row and seed; `None` if a value is missing.
    pub fn judge(&self, value: impl Fn(&dyn Fn(&Row) -> bool, u64) -> Option<f64>) -> Option<Judgement> {
        let of_seed = |&seed: &u64| {
            let values = |rows: &[Labels]| {
                let value = |row: &Labels| value(&|other| labels(other) == *row, seed);
                rows.iter().map(value).collect::<Option<Vec<f64>>>()
            };
            Some(gains::contrast_of(&values(&self.plus)?, &values(&self.minus)?))
        };
        let differences = self.seeds.iter().map(of_seed).collect::<Option<Vec<f64>>>()?;
        let difference = stats::paired(&differences)?.difference;
        let verdict = stats::verdict(&difference, self.expected);
        Some(Judgement { verdict, difference: Some(difference.mean), ci95: difference.ci95 })
    }

    fn runs_in(&self, cells: &[Cell]) -> BTreeSet<String> {
        let is_behind = |cell: &&Cell| {
            let is_its_row = self.plus.iter().chain(&self.minus).any(|row| *row == cell.row);
            is_its_row && cell.column == self.column && cell.metric == self.metric
        };
        let of_cell = |cell: &Cell| -> Vec<String> {
            let runs = cell.seeds.iter().zip(&cell.runs).filter(|(seed, _)| self.seeds.contains(seed));
            runs.map(|(_, run)| run.clone()).collect()
        };
        cells.iter().filter(is_behind).flat_map(of_cell).collect()
    }
}

/// The only claim that `part` means.
fn one_of(claims: Vec<PrintedClaim>, part: &str, place: &str) -> Result<PrintedClaim> {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let wanted = plain(part);
    // The report prints a full stop after the wording.
    let wanted = wanted.strip_suffix('.').unwrap_or(&wanted);
    let (tested, others): (Vec<_>, Vec<_>) =
        claims.into_iter().partition(|claim| claim.printed.difference.is_some() && !claim.runs.is_empty());
    let whole = |claim: &&PrintedClaim| [plain(&claim.text), plain(&claim.name())].iter().any(|name| name == wanted);
    let contains = |claim: &&PrintedClaim| plain(&claim.name()).contains(wanted);
    let asked = words(part);
    let has_all = |claim: &&PrintedClaim| {
        let its = claim.words();
        !asked.is_empty() && asked.iter().all(|word| its.contains(word))
    };
    let mut found: Vec<&PrintedClaim> = tested.iter().filter(whole).collect();
    if found.is_empty() {
        found = tested.iter().filter(contains).collect();
    }
    if found.is_empty() {
        found = tested.iter().filter(has_all).collect();
    }
    match &found[..] {
        [one] => return Ok((*one).clone()),
        [] => {}
        several => {
            return Err(Error::new(format!("{} claims match `{part}`:{}", several.len(), lines(several)))
                .hint("give more of its wording, or its whole line as above"));
        }
    }
    if let Some(claim) = others.iter().find(contains).or_else(|| others.iter().find(has_all)) {
        return Err(Error::new(format!(
            "the claim `{}` has no result in {place}: {}",
            claim.name(),
            claim.printed.verdict.name()
        ))
        .hint(format!("`sempair table {}` runs what it needs, if its data are here", claim.table)));
    }
    match tested.is_empty() {
        true => Err(Error::new(format!("{place} has no claim with a result")).hint("`sempair reproduce` tests them")),
        false => {
            let all: Vec<&PrintedClaim> = tested.iter().collect();
            Err(Error::new(format!("no claim of {place} contains `{part}`; there are:{}", lines(&all)))
                .hint("give a part of one of these lines; `--profile NAME` chooses another report"))
        }
    }
}

/// The words of a text, in small letters and without the marks around them.
fn words(text: &str) -> Vec<String> {
    let words = text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
    words.filter(|word| !word.is_empty()).collect()
}

fn lines(claims: &[&PrintedClaim]) -> String {
    claims.iter().map(|claim| format!("\n  {}", claim.name())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(text: &str, seeds: &[u64]) -> PrintedClaim {
        let [sp, ap] = ["SP", "AP"].map(|pairs| json!({ "method": "SimCLR", "pairs": pairs }));
        let read = json!({
            "text": text, "column": "c", "metric": "top1", "unit": "%", "expected": { "at-least": 0.0 },
            "verdict": "reproduced", "difference": 5.0, "ci95": [4.0, 6.0], "seeds": seeds, "plus": [sp], "minus": [ap],
        });
        let claim: PrintedClaim = serde_json::from_value(read).unwrap();
        let cell = |pairs: &str, column: &str, metric: &str| Cell {
            row: [("method", "SimCLR"), ("pairs", pairs)].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
            column: column.into(),
            metric: metric.into(),
            seeds: vec![0, 1, 2],
            runs: (0..3).map(|seed| format!("{pairs} {column} {seed}")).collect(),
        };
        let cells = [cell("SP", "c", "top1"), cell("AP", "c", "top1"), cell("AP", "d", "top1"), cell("SP", "c", "knn")];
        let runs = claim.runs_in(&cells);
        PrintedClaim { table: "transfer".into(), runs, ..claim }
    }

    #[test]
    fn the_runs_behind_a_claim_are_those_of_its_rows_column_and_seeds() {
        let runs: Vec<String> = claim("one", &[0, 2]).runs.into_iter().collect();
        assert_eq!(runs, ["AP c 0", "AP c 2", "SP c 0", "SP c 2"]);
    }

    #[test]
    fn a_text_means_the_claim_with_this_wording_or_the_only_one_that_contains_it() {
        let all =
            || ["SP beat AP on cifar-10", "SP beat AP on cifar-100", "AP lose"].map(|text| claim(text, &[0])).to_vec();
        let of = |part: &str| one_of(all(), part, "the report").map(|claim| claim.text);
        for part in ["sp beat  AP on CIFAR-10", "SP beat AP on cifar-10.", "transfer: SP beat AP on cifar-10"] {
            assert_eq!(of(part).unwrap(), "SP beat AP on cifar-10", "{part}");
        }
        assert_eq!(of("fer: ap L").unwrap(), "AP lose");
        let mut all = all();
        (all[0].family.title, all[0].case) = ("SP are better".into(), "SimCLR".into());
        for part in ["cifar-10: SP", "Are better: SIMCLR, cifar-10", "simclr"] {
            assert_eq!(one_of(all.clone(), part, "the report").unwrap().text, "SP beat AP on cifar-10", "{part}");
        }
        let several = of("cifar").unwrap_err();
        assert_eq!(
            several.what(),
            "2 claims match `cifar`:\n  transfer: SP beat AP on cifar-10\n  transfer: SP beat AP on cifar-100"
        );
        let none = of("mnist").unwrap_err();
        assert!(none.what().starts_with("no claim of the report contains `mnist`; there are:\n  transfer: SP beat"));
        let untested = one_of(vec![claim("SP beat AP", &[])], "beat", "the report").unwrap_err();
        assert!(untested.what().contains("`transfer: SP beat AP` has no result"), "{untested}");
        let untested = one_of(vec![claim("SP beat AP", &[])], "transfer: AP, SP", "the report").unwrap_err();
        assert!(untested.what().contains("`transfer: SP beat AP` has no result"), "{untested}");
        assert!(one_of(Vec::new(), "beat", "the report").unwrap_err().what().contains("no claim with a result"));
    }

    #[test]
    fn values_give_verdict_difference_and_interval() {
        let claim = claim("one", &[0, 1, 2]);
        let sp = labels(&vec![("method".into(), "SimCLR".into()), ("pairs".into(), "SP".into())]);
        let row = |pairs: &str| -> Row { vec![("pairs".into(), pairs.into()), ("method".into(), "SimCLR".into())] };
        assert_eq!(labels(&row("SP")), sp, "the order of labels says nothing");
        let value = |is: &dyn Fn(&Row) -> bool, seed: u64| match (is(&row("SP")), seed) {
            (true, seed) => Some([55.0, 56.0, 57.5][seed as usize]),
            (false, seed) => Some([50.0, 50.5, 52.0][seed as usize]),
        };
        let judged = claim.judge(value).unwrap();
        assert_eq!(judged.verdict, Verdict::Reproduced);
        assert!((judged.difference.unwrap() - 16.0 / 3.0).abs() < 1e-12);
        assert!(judged.words("%").starts_with("reproduced, +5.3 points [+"), "{}", judged.words("%"));
        assert!(judged.is_close_to(&judged) && !judged.is_close_to(&claim.printed));
        assert!(claim.judge(|is, seed| value(is, seed).filter(|_| seed < 2)).is_none());
    }
}

//! The findings, each in a sentence: of the whole report, of each table, and of each statement of the paper.

use crate::harness::experiment::Expected;
use crate::harness::experiment::Family;
use crate::harness::experiment::Table;
use crate::report::captions;
use crate::report::facts::ClaimResult;
use crate::report::facts::Results;
use crate::report::facts::TableResults;
use crate::report::gains;
use crate::report::stats::Verdict;
use crate::report::text;
use crate::report::words;
use serde::Serialize;

/// The number of claims by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub yes: usize,
    pub no: usize,
    pub open: usize,
    pub not_run: usize,
    pub out: usize,
}

impl Tally {
    /// Counts these claims.
    pub fn of<'a>(claims: impl IntoIterator<Item = &'a ClaimResult>) -> Self {
        let mut tally = Self::default();
        for claim in claims {
            *match claim.verdict {
                Verdict::Reproduced => &mut tally.yes,
                Verdict::NotReproduced => &mut tally.no,
                Verdict::Inconclusive => &mut tally.open,
                Verdict::NotRun => &mut tally.not_run,
                Verdict::NotTestable => &mut tally.out,
            } += 1;
        }
        tally
    }

    /// The number of claims that were tested.
    pub fn tested(&self) -> usize {
        self.yes + self.no + self.open
    }
}

/// A sentence of the answer: a lead such as `On photographs, no:`, and the words after it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Clause {
    pub lead: String,
    pub words: String,
}

/// What kind of data a column has, in the words of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FindingKind {
    Photographs,
    StandIn,
    Other,
}

impl FindingKind {
    const ALL: [Self; 3] = [Self::Photographs, Self::StandIn, Self::Other];

    fn of(table: &TableResults, claim: &ClaimResult) -> Self {
        match table.columns.iter().find(|column| column.id == claim.column) {
            Some(column) if captions::is_stand_in(column) => Self::StandIn,
            Some(column) if column.substitute => Self::Other,
            _ => Self::Photographs,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Photographs => "photographs",
            Self::StandIn => "stand-in images",
            Self::Other => "other images",
        }
    }
}

/// Whether a claim is a case of the paper's main statement.
pub(super) fn is_main(claim: &ClaimResult) -> bool {
    claim.family.id == Family::MAIN && claim.in_paper
}

/// The answer: a sentence for each kind of data on which the paper's main statement was tested; empty if it was not
/// tested.
pub(super) fn answer(results: &Results) -> Vec<Clause> {
    let main: Vec<(FindingKind, &TableResults, &ClaimResult)> = results
        .tables
        .iter()
        .flat_map(|table| table.claims.iter().map(move |claim| (table, claim)))
        .filter(|(_, claim)| is_main(claim) && claim.difference.is_some())
        .map(|(table, claim)| (FindingKind::of(table, claim), table, claim))
        .collect();
    let of_kind = |kind| {
        let of: Vec<(&TableResults, &ClaimResult)> =
            main.iter().filter(|(of, ..)| *of == kind).map(|&(_, table, claim)| (table, claim)).collect();
        (!of.is_empty()).then(|| clause(kind, &of))
    };
    FindingKind::ALL.into_iter().filter_map(of_kind).collect()
}

fn clause(kind: FindingKind, of: &[(&TableResults, &ClaimResult)]) -> Clause {
    let claims: Vec<&ClaimResult> = of.iter().map(|(_, claim)| *claim).collect();
    let Tally { yes, no, open, .. } = Tally::of(claims.iter().copied());
    let all = claims.len();
    let by = by_sizes(&claims);
    let in_all = if all == 1 { "in the one comparison".to_string() } else { format!("in all {all} comparisons") };
    let still = |open: usize| match open {
        0 => String::new(),
        1 => "; 1 is open".to_string(),
        open => format!("; {open} are open"),
    };
    let (word, words) = if yes == all {
        ("yes", format!("semantic pairs were ahead {in_all}{by}"))
    } else if no == all {
        let where_ = match one_column(of) {
            Some(column) if all > 1 => format!("{in_all}{by} on {column}"),
            _ => format!("{in_all}{by}"),
        };
        ("no", format!("augmented pairs were ahead {where_}"))
    } else if open == all {
        let range = range(&claims);
        match claims.iter().any(|claim| claim.ci95.is_some()) {
            true if claims.iter().filter_map(|claim| claim.ci95).all(|(low, high)| low <= 0.0 && high >= 0.0) => {
                ("open", format!("every interval contains 0; {range}"))
            }
            true => ("open", format!("no interval decides; {range}")),
            false => ("open", format!("one seed decides nothing; {range}")),
        }
    } else if no == 0 {
        let word = if 3 * yes >= 2 * all { "mostly" } else { "partly" };
        (
            word,
            format!("semantic pairs were ahead in {yes} of {all} comparisons{by}, and behind in none{}", still(open)),
        )
    } else if yes == 0 {
        (
            "rather no",
            format!("semantic pairs were behind in {no} of {all} comparisons{by}, and ahead in none{}", still(open)),
        )
    } else {
        (
            "mixed",
            format!("semantic pairs were ahead in {yes} and behind in {no} of {all} comparisons{by}{}", still(open)),
        )
    };
    Clause { lead: format!("On {}, {word}:", kind.words()), words: format!("{words}.") }
}

fn one_column(of: &[(&TableResults, &ClaimResult)]) -> Option<String> {
    let (table, first) = of.first()?;
    of.iter().all(|(_, claim)| claim.column == first.column).then(|| words::column_title(&table.columns, &first.column))
}

/// The range of sizes of the decided claims, as `, by 3.8 to 6.3 points`; empty if no claim is decided.
fn by_sizes(claims: &[&ClaimResult]) -> String {
    let decided = claims.iter().filter(|claim| matches!(claim.verdict, Verdict::Reproduced | Verdict::NotReproduced));
    let mut sizes: Vec<f64> = decided.filter_map(|claim| Some(claim.difference?.abs())).collect();
    sizes.sort_by(f64::total_cmp);
    let unit = claims.first().map_or("", |claim| claim.unit.as_str());
    let (Some(&low), Some(&high)) = (sizes.first(), sizes.last()) else { return String::new() };
    let [low, high] = [low, high].map(|value| text::size(value, unit));
    let unit = text::unit_of_difference(unit);
    if low == high { format!(", by {low}{unit}") } else { format!(", by {low} to {high}{unit}") }
}

/// The range of all gains, as `gains from −0.2 to +7.6 points`.
fn range(claims: &[&ClaimResult]) -> String {
    let mut all: Vec<f64> = claims.iter().filter_map(|claim| claim.difference).collect();
    all.sort_by(f64::total_cmp);
    let unit = claims.first().map_or("", |claim| claim.unit.as_str());
    let (Some(&low), Some(&high)) = (all.first(), all.last()) else { return String::new() };
    let [low, high] = [low, high].map(|value| text::change(value, None, unit).0);
    let unit = text::unit_of_difference(unit);
    if low == high { format!("a gain of {low}{unit}") } else { format!("gains from {low} to {high}{unit}") }
}

/// The finding of a table, as its heading. It is about the statement of the first tested claim: which pairs lead, if
/// all its claims are gains, otherwise how often it came out as claimed.
pub(super) fn finding(table: &Table, claims: &[ClaimResult]) -> String {
    let of_paper = |claim: &&ClaimResult| claim.in_paper || !table.in_paper;
    let tested: Vec<&ClaimResult> = claims.iter().filter(of_paper).filter(|claim| claim.difference.is_some()).collect();
    let Some(first) = tested.first() else { return table.title.clone() };
    let of_family: Vec<&ClaimResult> = tested.iter().copied().filter(|claim| claim.family == first.family).collect();
    let is_lead = |claim: &&ClaimResult| match (&claim.plus[..], &claim.minus[..]) {
        ([plus], [minus]) => gains::is_gain(plus, minus) && claim.unit == "%",
        _ => false,
    };
    if of_family.iter().all(is_lead) { lead(table, &of_family) } else { outcome(&of_family) }
}

/// Which pairs lead, and in how many comparisons.
fn lead(table: &Table, claims: &[&ClaimResult]) -> String {
    let Tally { yes, no, open, .. } = Tally::of(claims.iter().copied());
    let all = claims.len();
    let column = claims.first().filter(|first| claims.iter().all(|claim| claim.column == first.column));
    let place =
        column.map_or_else(String::new, |claim| format!("on {}, ", words::column_title(&table.columns, &claim.column)));
    let everywhere = match (all, column) {
        (1, _) => String::new(),
        _ => format!(" in all {all} comparisons"),
    };
    let words = if yes == all {
        format!("semantic pairs lead{everywhere}")
    } else if no == all {
        format!("augmented pairs lead{everywhere}")
    } else if open == all {
        "nothing decided yet".to_string()
    } else {
        match (yes, no) {
            (0, no) => format!("augmented pairs lead in {no} of {all} comparisons"),
            (yes, 0) => format!("semantic pairs lead in {yes} of {all} comparisons"),
            (yes, no) => format!("semantic pairs lead in {yes} of {all} comparisons, augmented pairs in {no}"),
        }
    };
    text::capital(&format!("{place}{words}"))
}

/// How often a statement came out as claimed.
fn outcome(claims: &[&ClaimResult]) -> String {
    let Tally { yes, no, open, .. } = Tally::of(claims.iter().copied());
    let all = claims.len();
    let title = claims.first().map_or("", |claim| claim.family.title.as_str());
    let word = |verdict| claims.iter().find(|claim| claim.verdict == verdict).map_or("", |claim| words::word(claim));
    let (as_claimed, opposite) = (word(Verdict::Reproduced), word(Verdict::NotReproduced));
    let words = if open == all {
        "nothing decided yet".to_string()
    } else if yes == all || no == all {
        let word = if yes == all { as_claimed } else { opposite };
        if all == 1 { word.to_string() } else { format!("{word} in all {all} comparisons") }
    } else {
        match (yes, no) {
            (0, no) => format!("{opposite} in {no} of {all}"),
            (yes, 0) => format!("{as_claimed} in {yes} of {all}"),
            (yes, no) => format!("{as_claimed} in {yes} of {all}, {opposite} in {no}"),
        }
    };
    format!("{title}: {words}")
}

/// The outcome of a statement of the paper, in one line.
pub(super) fn line(claims: &[&ClaimResult]) -> String {
    let Tally { yes, no, open, not_run, out } = Tally::of(claims.iter().copied());
    let tested: Vec<&ClaimResult> = claims.iter().copied().filter(|claim| claim.difference.is_some()).collect();
    if let [only] = tested[..] {
        return single(only);
    }
    if tested.is_empty() {
        return if out > 0 && not_run == 0 {
            "out of scope: sempair does not measure it".into()
        } else {
            "not run".into()
        };
    }
    let of = |verdict| tested.iter().copied().filter(move |claim| claim.verdict == verdict).collect::<Vec<_>>();
    let all = tested.len();
    let mut parts = Vec::new();
    for (count, verdict) in [(yes, Verdict::Reproduced), (no, Verdict::NotReproduced)] {
        if let (Some(first), claims) = (of(verdict).first(), of(verdict)) {
            parts.push(format!("{} in {count} of {all}{}", words::word(first), by_sizes(&claims)));
        }
    }
    match (open, open == all) {
        (_, true) => parts.push(format!("open in all {all}; {}", range(&tested))),
        (0, _) => {}
        (open, _) => parts.push(format!("{open} open")),
    }
    parts.join("; ")
}

fn single(claim: &ClaimResult) -> String {
    let Some(difference) = claim.difference else { return String::new() };
    let (change, interval) = text::change(difference, claim.ci95, &claim.unit);
    let unit = text::unit_of_difference(&claim.unit);
    let none = match claim.expected {
        Expected::Within(margin) => format!("; a difference of up to {margin} counts as none"),
        Expected::AtLeast(_) => String::new(),
    };
    format!("{}: {change}{unit} {interval}{none}", words::word(claim)).replace(" ;", ";").trim_end().to_string()
}

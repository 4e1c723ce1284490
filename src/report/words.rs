//! Verdicts in plain words: marks, words and whole sentences, the same in every format.

use crate::harness::experiment::Column;
use crate::harness::experiment::Expected;
use crate::harness::experiment::Row;
use crate::report::facts::ClaimResult;
use crate::report::facts::Gain;
use crate::report::facts::TableResults;
use crate::report::gains;
use crate::report::stats::Verdict;
use crate::report::text;
use serde::Serialize;

/// A verdict as a mark: its class, its sign, and a word for readers who cannot see the mark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Badge {
    /// `yes`, `no`, `open`, `none` or `out`.
    pub class: &'static str,
    /// Whether it is significant after Holm's adjustment over all tested claims of the table.
    pub strong: bool,
    pub sign: &'static str,
    pub word: String,
}

/// The mark of a claim.
pub(super) fn badge(claim: &ClaimResult) -> Badge {
    let strong = claim.stands();
    let word = match strong {
        true => format!("{}, also after Holm correction", word(claim)),
        false => word(claim).to_string(),
    };
    Badge { class: class(claim.verdict), strong, sign: sign(claim.verdict), word }
}

pub(super) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "yes",
        Verdict::NotReproduced => "no",
        Verdict::Inconclusive => "open",
        Verdict::NotRun => "none",
        Verdict::NotTestable => "out",
    }
}

pub(super) fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "✓",
        Verdict::NotReproduced => "✗",
        Verdict::Inconclusive => "?",
        Verdict::NotRun | Verdict::NotTestable => "–",
    }
}

/// The verdict as a word. A claim is called reproduced or not reproduced only in the paper's own setting.
pub(super) fn word(claim: &ClaimResult) -> &'static str {
    match (claim.verdict, claim.own_setting) {
        (Verdict::Reproduced, true) => "reproduced",
        (Verdict::NotReproduced, true) => "not reproduced",
        (Verdict::Reproduced, false) => "as claimed",
        (Verdict::NotReproduced, false) => match (claim.expected, claim.difference) {
            (Expected::AtLeast(margin), Some(difference)) if margin > 0.0 && difference > 0.0 => "smaller than claimed",
            (Expected::AtLeast(_), Some(difference)) if difference < 0.0 => "opposite",
            _ => "not as claimed",
        },
        (Verdict::Inconclusive, _) => "open",
        (Verdict::NotRun, _) => "not run",
        (Verdict::NotTestable, _) => "out of scope",
    }
}

/// The paper's size of the contrast: `+0.8`, `> 0`, or nothing.
pub(super) fn paper(claim: &ClaimResult) -> String {
    match claim.paper.stated.or(claim.paper.by_figures) {
        Some(gain) => text::paper_gain(gain),
        None if claim.paper.sign_only => "> 0".to_string(),
        None => String::new(),
    }
}

/// One or two sentences about a claim.
pub(super) fn sentence(table: &TableResults, claim: &ClaimResult) -> String {
    let Some(difference) = claim.difference else {
        let what = text::sentence(&claim.text);
        return match claim.verdict {
            Verdict::NotTestable => format!("Out of scope: {what}"),
            _ => format!("Not run: {what}"),
        };
    };
    let verdict = text::capital(word(claim));
    let how = match claim.verdict {
        Verdict::Reproduced if is_smaller_loss(table, claim) => ", as the smaller loss",
        Verdict::Reproduced | Verdict::NotReproduced if claim.holm_p.is_some() && !claim.stands() => ", uncorrected",
        _ => "",
    };
    let tested = table.claims.iter().filter(|other| other.holm_p.is_some()).count();
    let after = match (claim.verdict, claim.holm_p) {
        (Verdict::Reproduced | Verdict::NotReproduced, Some(p)) if tested > 1 => {
            let p = text::p_value(p);
            match claim.stands() {
                true => format!(", also after Holm correction for the table's {tested} comparisons (p {p})"),
                false => format!("; not significant after Holm correction for {tested} comparisons (p {p})"),
            }
        }
        _ => String::new(),
    };
    let decide = claim.would_decide().map_or_else(String::new, |seeds| match claim.seeds_to_decide {
        Some(_) => format!("; about {seeds} seeds would decide"),
        None => "; not even 200 seeds would decide".to_string(),
    });
    let paper = paper(claim);
    let paper = if paper.is_empty() { String::new() } else { format!(" Paper: {paper}.") };
    let none = match claim.expected {
        Expected::Within(margin) => format!("; a difference of up to {margin} counts as none"),
        Expected::AtLeast(margin) if margin > 0.0 => format!("; the claim is {margin} or more"),
        Expected::AtLeast(_) => String::new(),
    };
    format!("{verdict}{how}: {}{none}{after}{decide}.{paper}", contrast(table, claim, difference))
}

/// What was measured: `SimCLR gains 5.8 points [+5.0, +6.6] on synth-100`, or the claim with its difference.
fn contrast(table: &TableResults, claim: &ClaimResult, difference: f64) -> String {
    let unit = text::unit_of_difference(&claim.unit);
    let (change, interval) = text::change(difference, claim.ci95, &claim.unit);
    let interval = if interval.is_empty() { ", no interval".to_string() } else { format!(" {interval}") };
    let column = column_title(&table.columns, &claim.column);
    match (&claim.plus[..], &claim.minus[..]) {
        ([plus], [minus]) if gains::is_gain(plus, minus) && claim.unit == "%" && !claim.case.is_empty() => {
            let verb = if difference < 0.0 { "loses" } else { "gains" };
            let size = change.trim_start_matches(['+', '−']);
            let with = if difference < 0.0 { " with semantic pairs" } else { "" };
            format!("{} {verb} {size}{unit}{interval}{with} on {column}", claim.case)
        }
        _ => format!("{}: {change}{unit}{interval}", claim.text.trim_end_matches('.')),
    }
}

/// Whether a claim of a larger gain holds because both gains are losses.
fn is_smaller_loss(table: &TableResults, claim: &ClaimResult) -> bool {
    let ([a, b], [c, d]) = (&claim.plus[..], &claim.minus[..]) else { return false };
    let loses = |plus: &Row, minus: &Row| {
        let of = |gain: &&Gain| gain.plus == *plus && gain.minus == *minus && gain.columns == [claim.column.clone()];
        table.gains.iter().filter(of).find(|gain| gain.metric == claim.metric).is_some_and(|gain| gain.difference < 0.0)
    };
    loses(a, c) && loses(d, b)
}

/// The title of a table's column.
pub(super) fn column_title(columns: &[Column], id: &str) -> String {
    columns.iter().find(|column| column.id == id).map_or_else(|| text::brief(id), |column| text::brief(&column.title))
}

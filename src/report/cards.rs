//! Tables that were not run: only the paper's values, and the command that runs the table.

use crate::error::shell;
use crate::harness::experiment::Row;
use crate::report::captions;
use crate::report::facts::ClaimResult;
use crate::report::facts::Results;
use crate::report::facts::TableResults;
use crate::report::facts::paper_column;
use crate::report::gains;
use crate::report::stats::Verdict;
use crate::report::text;
use crate::report::words;
use serde::Serialize;

/// A small table of the paper's values.
#[derive(Serialize)]
pub(super) struct Card {
    pub number: usize,
    pub id: String,
    pub title: String,
    pub heads: Vec<String>,
    pub rows: Vec<CardRow>,
    pub notes: Vec<String>,
    /// Empty if sempair cannot measure it.
    pub command: String,
}

#[derive(Serialize)]
pub(super) struct CardRow {
    pub label: String,
    pub figures: Vec<String>,
}

/// Cards for the tables without runs, and for the quantities that the paper reports and sempair does not measure,
/// numbered from `first`.
pub(super) fn cards(results: &Results, first: usize) -> Vec<Card> {
    let command =
        |table: &TableResults| format!("sempair table {} --profile {}", shell(&table.id), shell(&results.profile));
    let mut cards: Vec<Card> =
        results.not_run.iter().map(|table| card(table, &table.title, &|_| true, command(table))).collect();
    for table in results.tables.iter().chain(&results.not_run) {
        let mut seen: Vec<&str> = Vec::new();
        for claim in table.claims.iter().filter(|claim| claim.verdict == Verdict::NotTestable) {
            if !seen.contains(&claim.family.id.as_str()) {
                seen.push(&claim.family.id);
                let column = &claim.column;
                let title = format!("{}: {}", claim.family.title, claim.family.paper);
                let card = card(table, &title, &|of| of == column, String::new());
                if !card.rows.is_empty() {
                    cards.push(card);
                }
            }
        }
    }
    (first..).zip(&mut cards).for_each(|(number, card)| card.number = number);
    cards
}

fn card(table: &TableResults, title: &str, is_column: &dyn Fn(&str) -> bool, command: String) -> Card {
    let out_of_scope = command.is_empty();
    let is_known = |column: &str, metric: &str| {
        let known = table.columns.iter().any(|of| paper_column(of) == Some(column));
        (known || column.is_empty()) && table.metrics.iter().any(|of| of.id == metric)
    };
    let figures: Vec<_> = table
        .paper
        .iter()
        .filter(|figure| is_column(&figure.column) && is_known(&figure.column, &figure.metric) != out_of_scope)
        .collect();
    let mut heads: Vec<(&str, &str)> = Vec::new();
    let mut rows: Vec<&Row> = Vec::new();
    for figure in &figures {
        let head = (figure.column.as_str(), figure.metric.as_str());
        if !heads.contains(&head) {
            heads.push(head);
        }
        if !rows.contains(&&figure.row) {
            rows.push(&figure.row);
        }
    }
    let digits = figures.iter().filter_map(|figure| figure.value).map(text::decimals).max().unwrap_or(1);
    let value = |row: &Row, (column, metric): (&str, &str)| {
        let mut of = figures.iter().filter(|of| of.row == *row && of.column == column && of.metric == metric);
        let value = of.next().and_then(|figure| figure.value);
        value.map_or_else(|| text::DASH.to_string(), |value| text::printed(value, digits))
    };
    let mut lines: Vec<CardRow> = rows
        .iter()
        .map(|row| CardRow { label: text::name(row), figures: heads.iter().map(|head| value(row, *head)).collect() })
        .collect();
    let gain = |(column, metric): &(&str, &str)| {
        let is = |claim: &&ClaimResult| {
            let theirs = table.columns.iter().find(|of| of.id == claim.column).and_then(paper_column);
            theirs.unwrap_or(&claim.column) == *column
                && claim.metric == *metric
                && claim.in_paper
                && matches!((&claim.plus[..], &claim.minus[..]), ([plus], [minus]) if gains::is_gain(plus, minus))
        };
        table.claims.iter().find(is).map_or_else(String::new, words::paper)
    };
    let gains: Vec<String> = heads.iter().map(gain).collect();
    if gains.iter().any(|gain| !gain.is_empty()) {
        lines.push(CardRow { label: "SP − AP".to_string(), figures: gains });
    }
    let title_of = |(column, metric): &(&str, &str)| match (*column, out_of_scope) {
        ("", _) => "set not named".to_string(),
        (column, false) => captions::paper_set(column),
        (_, true) => (*metric).to_string(),
    };
    Card {
        number: 0,
        id: text::file_stem(&table.id),
        title: title.to_string(),
        heads: heads.iter().map(title_of).collect(),
        rows: lines,
        notes: if out_of_scope { Vec::new() } else { table.notes.iter().map(|note| note.text.clone()).collect() },
        command,
    }
}

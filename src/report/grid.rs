//! A table as readers see it: in the paper's form, our values next to the paper's, the baselines in a separate part.

use crate::harness::experiment::Column;
use crate::harness::experiment::MetricInfo;
use crate::harness::experiment::Row;
use crate::report::captions;
use crate::report::captions::UNTRAINED;
use crate::report::captions::baseline_name;
use crate::report::facts::Cell;
use crate::report::facts::ClaimResult;
use crate::report::facts::TableResults;
use crate::report::facts::paper_column;
use crate::report::gains;
use crate::report::gains::Block;
use crate::report::lineage;
use crate::report::plans;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::text;
use crate::report::words;
use crate::report::words::Badge;
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
pub(super) struct Grid {
    /// The heading above the labels of the blocks.
    pub row_title: String,
    pub groups: Vec<Group>,
    pub heads: Vec<Head>,
    pub blocks: Vec<BlockView>,
    pub baselines: Vec<Line>,
    /// The number of cells of an HTML line after its two labels.
    pub width: usize,
}

/// The heading of a data set, above what is measured on it.
#[derive(Serialize)]
pub(super) struct Group {
    pub title: String,
    pub stand_in: bool,
    /// `for CIFAR-10`, or `not run`.
    pub note: String,
    pub asked: bool,
    /// The number of HTML cells that it spans.
    pub span: usize,
    /// Its columns in a LaTeX table: the first and the last, counted from 1.
    pub from: usize,
    pub to: usize,
}

/// The heading of a column and a metric.
#[derive(Serialize)]
pub(super) struct Head {
    /// `ours`, or the name of the metric if there are several.
    pub title: String,
    pub column: String,
    pub stand_in: bool,
    /// Whether it is measured. If not, it has only the paper's values.
    pub asked: bool,
    /// Whether the paper's values are shown next to it.
    pub paper: bool,
    /// Whether our values are comparable with the paper's.
    pub difference: bool,
    #[serde(skip)]
    id: String,
    #[serde(skip)]
    metric: String,
    #[serde(skip)]
    unit: String,
}

#[derive(Serialize)]
pub(super) struct BlockView {
    pub label: String,
    pub lines: Vec<Line>,
}

#[derive(Serialize)]
pub(super) struct Line {
    pub label: String,
    /// `ap`, `sp`, or nothing.
    pub mark: &'static str,
    /// Whether it is a difference of two rows.
    pub gain: bool,
    pub cells: Vec<CellView>,
}

#[derive(Clone, Serialize)]
pub(super) struct CellView {
    pub asked: bool,
    /// Empty if nothing was run or there is nothing to run.
    pub value: String,
    pub spread: String,
    pub not_run: bool,
    pub best: bool,
    /// Whether it is below the untrained encoder.
    pub below: bool,
    /// The anchor of the lineage with the runs of this value; empty if there are none.
    pub lineage: String,
    pub badge: Option<Badge>,
    /// The class of the verdict, or of the side of 0 on which the interval lies.
    pub class: &'static str,
    pub has_paper: bool,
    pub paper: String,
    pub notes: Vec<usize>,
    pub has_difference: bool,
    pub difference: String,
}

/// A part of a table.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// The blocks and metrics that the paper has.
    Paper,
    /// The blocks that we added.
    Beyond,
    /// The metric that the paper does not use, on all blocks.
    Aside,
}

struct Filled<'a> {
    table: &'a TableResults,
    selection: &'a Selection<'a>,
    part: Part,
    digits: usize,
}

/// A part of a table; `None` if it is empty.
pub(super) fn grid(table: &TableResults, selection: &Selection, part: Part) -> Option<Grid> {
    let blocks = gains::blocks(selection.table);
    let blocks: Vec<&Block> =
        blocks.iter().filter(|block| part == Part::Aside || block.beyond == (part == Part::Beyond)).collect();
    let digits = table.cells.iter().filter_map(|cell| cell.paper.or(cell.paper_elsewhere)).map(text::decimals).max();
    let filled = Filled { table, selection, part, digits: digits.unwrap_or(1) };
    let heads = filled.heads();
    if heads.is_empty() || blocks.is_empty() {
        return None;
    }
    let groups = filled.groups(&heads);
    let lines: Vec<BlockView> = blocks.iter().map(|block| filled.block(block, &heads)).collect();
    let baselines = table_baselines(selection).map(|row| filled.baseline(row, &heads)).collect();
    let width = heads.iter().map(Head::span).sum();
    Some(Grid { row_title: row_title(selection), groups, heads, blocks: lines, baselines, width })
}

fn table_baselines<'a>(selection: &'a Selection) -> impl Iterator<Item = &'a Row> {
    select::rows(selection.table).filter(|(_, baseline)| *baseline).map(|(row, _)| row)
}

/// The heading of the blocks' labels: the first key other than `pairs` whose values differ.
fn row_title(selection: &Selection) -> String {
    let rows = || selection.table.rows.iter().filter(|row| !selection.table.baselines.contains(row));
    let keys = || rows().flat_map(|row| row.iter().map(|(key, _)| key.as_str())).filter(|key| *key != "pairs");
    let values =
        |key: &str| rows().flatten().filter(|(of, _)| of == key).map(|(_, value)| value).collect::<BTreeSet<_>>();
    let differing = keys().find(|key| values(key).len() > 1).or_else(|| keys().next());
    text::capital(differing.unwrap_or("row"))
}

impl Head {
    fn span(&self) -> usize {
        if self.asked { 2 + usize::from(self.paper) + usize::from(self.difference) } else { 1 }
    }
}

impl Filled<'_> {
    fn metrics(&self, column: &Column) -> Vec<&MetricInfo> {
        let is_aside = |metric: &&MetricInfo| (metric.id == gains::ASIDE) == (self.part == Part::Aside);
        self.table.metrics.iter().filter(is_aside).filter(|metric| column.has(&metric.id)).collect()
    }

    fn heads(&self) -> Vec<Head> {
        let several = self.table.columns.iter().any(|column| self.metrics(column).len() > 1)
            || self
                .table
                .columns
                .iter()
                .filter_map(|column| self.metrics(column).first().map(|m| &m.id))
                .collect::<BTreeSet<_>>()
                .len()
                > 1;
        let mut heads = Vec::new();
        for column in &self.table.columns {
            let asked = !self.table.unasked.contains(&column.id);
            for metric in self.metrics(column) {
                let is = |id: &str, of: &str| id == column.id && of == metric.id;
                let stated = |cell: &Cell| cell.paper.is_some() || cell.paper_elsewhere.is_some();
                let paper = self.part == Part::Paper
                    && (self.table.cells.iter().any(|cell| is(&cell.column, &cell.metric) && stated(cell))
                        || self
                            .table
                            .claims
                            .iter()
                            .any(|c| is(&c.column, &c.metric) && c.in_paper && !words::paper(c).is_empty()));
                let exact = self.table.cells.iter().any(|cell| is(&cell.column, &cell.metric) && cell.paper.is_some());
                if !asked && !paper {
                    continue;
                }
                let unit = if metric.unit.is_empty() { String::new() } else { format!(", {}", metric.unit) };
                heads.push(Head {
                    title: if several { format!("{}{unit}", text::brief(&metric.title)) } else { "ours".to_string() },
                    column: text::brief(&column.title),
                    stand_in: captions::is_stand_in(column),
                    asked,
                    paper,
                    difference: paper && exact && asked && !column.substitute,
                    id: column.id.clone(),
                    metric: metric.id.clone(),
                    unit: metric.unit.clone(),
                });
            }
        }
        heads
    }

    fn groups(&self, heads: &[Head]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut from = 3;
        for column in &self.table.columns {
            let of: Vec<&Head> = heads.iter().filter(|head| head.id == column.id).collect();
            if of.is_empty() {
                continue;
            }
            let asked = of.iter().any(|head| head.asked);
            // In LaTeX our values take two columns and the paper's one; differences are not shown.
            let printed: usize = of.iter().map(|head| if head.asked { 2 + usize::from(head.paper) } else { 1 }).sum();
            let note = match (&column.stands_for, captions::is_stand_in(column)) {
                _ if !asked => "not run".to_string(),
                (Some(theirs), true) => format!("for {}", captions::paper_set(theirs)),
                _ => String::new(),
            };
            let span = of.iter().map(|head| head.span()).sum();
            let (title, stand_in) = (text::brief(&column.title), captions::is_stand_in(column));
            groups.push(Group { title, stand_in, note, asked, span, from, to: from + printed - 1 });
            from += printed;
        }
        groups
    }

    fn block(&self, block: &Block, heads: &[Head]) -> BlockView {
        let mut lines = Vec::new();
        let has_figures = block.rows.iter().any(|row| {
            self.selection
                .table
                .paper
                .iter()
                .any(|figure| figure.row == *row && heads.iter().any(|head| head.metric == figure.metric))
        });
        if block.asked || has_figures {
            lines.extend(block.rows.iter().map(|row| self.row(row, heads)));
        }
        if let Some((sp, ap)) = block.gain() {
            lines.push(self.gain(sp, ap, heads));
        }
        for (plus, minus) in self.contrasts(block) {
            lines.push(self.gain(&plus, &minus, heads));
        }
        BlockView { label: text::brief(&block.label), lines }
    }

    /// The other pairs of rows that claims compare, if the second row is in this block.
    fn contrasts(&self, block: &Block) -> Vec<(Row, Row)> {
        let mut pairs: Vec<(Row, Row)> = Vec::new();
        for claim in self.table.claims.iter().filter(|claim| self.part != Part::Aside && claim.asked) {
            let ([plus], [minus]) = (&claim.plus[..], &claim.minus[..]) else { continue };
            let pair = (plus.clone(), minus.clone());
            if block.rows.contains(minus) && !gains::is_gain(plus, minus) && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        pairs
    }

    fn row(&self, row: &Row, heads: &[Head]) -> Line {
        let (label, mark) = match gains::pairs(row) {
            gains::AP => ("AP", "ap"),
            gains::SP => ("SP", "sp"),
            other => (other, ""),
        };
        Line {
            label: format!("{}{}", text::brief(label), self.mark_of(row)),
            mark,
            gain: false,
            cells: heads.iter().map(|head| self.cell(row, head)).collect(),
        }
    }

    fn baseline(&self, row: &Row, heads: &[Head]) -> Line {
        let name = text::label(row);
        let label = format!("{}{}", text::brief(baseline_name(&name)), self.mark_of(row));
        Line { label, mark: "", gain: false, cells: heads.iter().map(|head| self.cell(row, head)).collect() }
    }

    /// The mark of a row that has runs that are not planned.
    fn mark_of(&self, row: &Row) -> &'static str {
        let runs = || self.table.cells.iter().filter(|cell| cell.row == *row).flat_map(|cell| &cell.runs);
        let is_marked = self.table.plan.as_ref().is_some_and(|plan| runs().any(|run| plan.standing(run).is_some()));
        if is_marked { plans::MARK } else { "" }
    }

    fn find(&self, row: &Row, head: &Head) -> Option<&Cell> {
        self.table.cells.iter().find(|cell| cell.row == *row && cell.column == head.id && cell.metric == head.metric)
    }

    fn blank(head: &Head) -> CellView {
        CellView {
            asked: head.asked,
            value: String::new(),
            spread: String::new(),
            not_run: false,
            best: false,
            below: false,
            lineage: String::new(),
            badge: None,
            class: "",
            has_paper: head.paper,
            paper: String::new(),
            notes: Vec::new(),
            has_difference: head.difference,
            difference: String::new(),
        }
    }

    fn cell(&self, row: &Row, head: &Head) -> CellView {
        let blank = Self::blank(head);
        let Some(cell) = self.find(row, head) else {
            // A row of the paper that was not requested.
            let figure = self.selection.table.paper.iter().find(|figure| {
                let column = self.table.columns.iter().find(|column| column.id == head.id);
                let theirs = column.and_then(paper_column);
                figure.row == *row && Some(figure.column.as_str()) == theirs && figure.metric == head.metric
            });
            let paper = figure
                .and_then(|figure| figure.value)
                .map_or_else(|| text::DASH.to_string(), |v| text::printed(v, self.digits));
            return CellView { not_run: head.asked, paper, ..blank };
        };
        let paper = match cell.paper.or(cell.paper_elsewhere) {
            Some(value) => text::printed(value, self.digits),
            None if cell.baseline => String::new(),
            None => text::DASH.to_string(),
        };
        let with_paper = CellView { paper, notes: cell.notes.clone(), ..blank };
        let Some(mean) = cell.mean else {
            return CellView { not_run: head.asked && self.is_measured(row, head), ..with_paper };
        };
        let measured = text::measured(mean, cell.interval(), &cell.unit, cell.decimals);
        let difference = cell.paper.filter(|_| head.difference).map_or_else(String::new, |p| text::signed(mean - p, 1));
        let rows: Vec<&Row> = select::rows(self.selection.table).map(|(row, _)| row).collect();
        let place = rows.iter().position(|of| *of == row).unwrap_or_default();
        let column = self.table.columns.iter().position(|column| column.id == head.id).unwrap_or_default();
        let is_lone = cell.baseline && cell.ci95.is_none();
        CellView {
            value: measured.mean,
            spread: if is_lone { "one seed".to_string() } else { measured.spread },
            best: cell.best,
            below: cell.below.iter().any(|name| name == UNTRAINED),
            lineage: lineage::anchor(&self.table.id, place, column),
            difference,
            ..with_paper
        }
    }

    /// Whether a value is expected: baselines are only measured by the table's first metric.
    fn is_measured(&self, row: &Row, head: &Head) -> bool {
        let first = self.table.metrics.iter().find(|metric| metric.id != gains::ASIDE);
        !self.selection.table.baselines.contains(row) || first.is_none_or(|metric| metric.id == head.metric)
    }

    fn gain(&self, plus: &Row, minus: &Row, heads: &[Head]) -> Line {
        let cells = heads.iter().map(|head| self.gain_cell(plus, minus, head)).collect();
        Line { label: gains::contrast_label(plus, minus), mark: "", gain: true, cells }
    }

    fn gain_cell(&self, plus: &Row, minus: &Row, head: &Head) -> CellView {
        let is = |claim: &&ClaimResult| {
            claim.column == head.id
                && claim.metric == head.metric
                && claim.plus == std::slice::from_ref(plus)
                && claim.minus == std::slice::from_ref(minus)
        };
        let claim = self.table.claims.iter().find(is);
        let gain = self.table.gains.iter().find(|gain| {
            gain.plus == *plus
                && gain.minus == *minus
                && gain.columns == [head.id.clone()]
                && gain.metric == head.metric
        });
        let paper = claim.map_or_else(String::new, words::paper);
        let with_paper = CellView { paper, ..Self::blank(head) };
        let measured = claim.and_then(|claim| Some((claim.difference?, claim.ci95)));
        let measured = measured.or(gain.map(|gain| (gain.difference, gain.ci95)));
        let Some((difference, ci95)) = measured else {
            let is_missing = claim.is_some() || gains::is_gain(plus, minus);
            return CellView { not_run: head.asked && is_missing, ..with_paper };
        };
        let (value, spread) = text::change(difference, ci95, &head.unit);
        let theirs = claim.and_then(|claim| claim.paper.stated.or(claim.paper.by_figures));
        let class = match (claim, gains::ahead(ci95)) {
            (Some(claim), _) => words::class(claim.verdict),
            (None, 1) => "yes",
            (None, -1) => "no",
            (None, _) => "open",
        };
        CellView {
            value,
            spread,
            badge: claim.map(words::badge),
            class,
            difference: theirs
                .filter(|_| head.difference)
                .map_or_else(String::new, |p| text::signed(difference - p, 1)),
            ..with_paper
        }
    }
}

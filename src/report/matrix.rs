//! The gains of the paper's main statement at a glance: methods by sets, each with its verdict, its confidence interval
//! and the paper's gain.

use crate::harness::experiment::Column;
use crate::harness::experiment::Family;
use crate::harness::experiment::Row;
use crate::report::captions;
use crate::report::facts::ClaimResult;
use crate::report::facts::Gain;
use crate::report::facts::Results;
use crate::report::facts::TableResults;
use crate::report::findings;
use crate::report::findings::Tally;
use crate::report::gains;
use crate::report::gains::Block;
use crate::report::select::Selection;
use crate::report::text;
use crate::report::words;
use crate::report::words::Badge;
use serde::Serialize;

/// The width of a bar.
const WIDTH: f64 = 140.0;
/// The margin at the ends of a bar.
const MARGIN: f64 = 4.0;

#[derive(Serialize)]
pub(super) struct Matrix {
    /// The id of its table.
    pub table: String,
    pub columns: Vec<ColumnView>,
    /// The kinds of data above the columns, if there are several.
    pub kinds: Vec<KindView>,
    /// The heading of the mean, such as `mean of the three`; empty if there is no mean.
    pub mean: String,
    pub rows: Vec<RowView>,
    /// Methods that the paper does not measure.
    pub beyond: Vec<RowView>,
    pub ticks: Vec<Tick>,
    /// The notes after the matrix: the range of the bars, the Holm correction, and the k-NN results.
    pub after: String,
    pub beyond_line: String,
}

#[derive(Serialize)]
pub(super) struct ColumnView {
    pub title: String,
    pub stand_in: bool,
    /// Such as `for CIFAR-10`.
    pub note: String,
    #[serde(skip)]
    id: String,
}

#[derive(Serialize)]
pub(super) struct KindView {
    pub title: &'static str,
    pub stand_in: bool,
    pub span: usize,
}

#[derive(Serialize)]
pub(super) struct RowView {
    pub label: String,
    pub cells: Vec<CellView>,
}

#[derive(Serialize)]
pub(super) struct CellView {
    /// The title of the column, for narrow pages that show it next to the value.
    pub column: String,
    /// The class of the verdict; `pool` for a mean over columns.
    pub class: &'static str,
    pub badge: Option<Badge>,
    /// Empty if nothing was run.
    pub value: String,
    pub interval: String,
    pub paper: String,
    pub bar: Option<Bar>,
}

/// Positions on a bar, in its units.
#[derive(Serialize)]
pub(super) struct Bar {
    pub class: &'static str,
    pub zero: String,
    pub low: String,
    pub high: String,
    pub at: String,
    /// The paper's gain; empty if it states none, or one outside the bar.
    pub paper: String,
}

#[derive(Serialize)]
pub(super) struct Tick {
    pub at: String,
    pub label: String,
}

/// The range of values of the bars.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((-1.0_f64, 1.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        Self { low: low.floor(), high: high.ceil() }
    }

    fn place(&self, value: f64) -> String {
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        format!("{:.1}", MARGIN + share * (WIDTH - 2.0 * MARGIN))
    }

    fn bar(&self, class: &'static str, (mean, ci95): (f64, Option<(f64, f64)>), paper: Option<f64>) -> Bar {
        let (low, high) = ci95.unwrap_or((mean, mean));
        let paper = paper.filter(|paper| (self.low..=self.high).contains(paper));
        Bar {
            class,
            zero: self.place(0.0),
            low: self.place(low),
            high: self.place(high),
            at: self.place(mean),
            paper: paper.map_or_else(String::new, |paper| self.place(paper)),
        }
    }

    /// Zero and a round value on either side, if there is room.
    fn ticks(&self) -> Vec<Tick> {
        let most = self.high.max(-self.low);
        let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].into_iter().rfind(|step| *step <= 0.75 * most).unwrap_or(1.0);
        let far = |tick: &f64| {
            (self.low..=self.high).contains(tick) && (*tick == 0.0 || step > 0.15 * (self.high - self.low))
        };
        let ticks = [-step, 0.0, step].into_iter().filter(far);
        ticks.map(|tick| Tick { at: self.place(tick), label: text::signed(tick, 0) }).collect()
    }
}

/// The matrix; `None` if the report does not test the paper's main statement.
pub(super) fn matrix(results: &Results, selections: &[Selection]) -> Option<Matrix> {
    let is_tested = |table: &TableResults| table.claims.iter().any(|c| findings::is_main(c) && c.difference.is_some());
    let (table, selection) = results.tables.iter().zip(selections).find(|(table, _)| is_tested(table))?;
    let metric = table.claims.iter().find(|claim| findings::is_main(claim))?.metric.clone();
    let of: Vec<&Column> = table.columns.iter().filter(|c| c.has(&metric) && !table.unasked.contains(&c.id)).collect();
    let columns: Vec<ColumnView> = of.iter().map(|column| column_view(column)).collect();
    let blocks = gains::blocks(selection.table);
    let claims: Vec<&ClaimResult> = table.claims.iter().filter(|claim| claim.family.id == Family::MAIN).collect();
    let ends = claims.iter().filter_map(|claim| Some(claim.ci95.unwrap_or((claim.difference?, claim.difference?))));
    // Only the means over the first kind of data.
    let of_metric = || table.pooled.iter().filter(|gain| gain.metric == metric);
    let pooled: Vec<&Gain> =
        of_metric().filter(|gain| of_metric().next().is_some_and(|first| first.columns == gain.columns)).collect();
    let of_pooled = pooled.iter().map(|gain| gain.ci95.unwrap_or((gain.difference, gain.difference)));
    let scale = Scale::of(ends.chain(of_pooled).flat_map(|(low, high)| [low, high]));
    let rows = |beyond: bool| -> Vec<RowView> {
        let blocks = blocks.iter().filter(|block| block.beyond == beyond && block.gain().is_some());
        blocks.map(|block| row(block, &columns, &claims, &pooled, &scale)).collect()
    };
    let (main, beyond) = (rows(false), rows(true));
    let beyond_claims = claims.iter().copied().filter(|claim| !claim.in_paper).collect::<Vec<_>>();
    Some(Matrix {
        table: text::file_stem(&table.id),
        kinds: kinds(&of),
        mean: pooled.first().map_or_else(String::new, |gain| mean_of(&columns, gain)),
        after: after(table, &claims, &scale),
        beyond_line: findings::line(&beyond_claims),
        ticks: scale.ticks(),
        rows: main,
        beyond,
        columns,
    })
}

fn column_view(column: &Column) -> ColumnView {
    let stand_in = captions::is_stand_in(column);
    let theirs = column.stands_for.as_deref().filter(|_| stand_in);
    ColumnView {
        title: text::brief(&column.title),
        stand_in,
        note: theirs.map_or_else(String::new, |theirs| format!("for {}", captions::paper_set(theirs))),
        id: column.id.clone(),
    }
}

/// Groups adjacent columns of the same kind of data; empty if all columns are of one kind.
fn kinds(columns: &[&Column]) -> Vec<KindView> {
    let mut kinds: Vec<KindView> = Vec::new();
    for column in columns {
        let stand_in = captions::is_stand_in(column);
        match kinds.last_mut().filter(|last| last.stand_in == stand_in) {
            Some(last) => last.span += 1,
            None => {
                let title = match (stand_in, column.substitute) {
                    (true, _) => "Stand-in images †",
                    (false, true) => "Other images",
                    (false, false) => "Photographs",
                };
                kinds.push(KindView { title, stand_in, span: 1 });
            }
        }
    }
    if kinds.len() > 1 { kinds } else { Vec::new() }
}

/// `mean of the three`, or `mean of three stand-ins` if there are other sets as well.
fn mean_of(columns: &[ColumnView], gain: &Gain) -> String {
    let n = text::number(gain.columns.len());
    let is_of = |column: &&ColumnView| gain.columns.contains(&column.id);
    match columns.iter().find(is_of) {
        _ if gain.columns.len() == columns.len() => format!("mean of the {n}"),
        Some(column) if column.stand_in => format!("mean of {n} stand-ins"),
        _ => format!("mean of {n} sets"),
    }
}

fn row(block: &Block, columns: &[ColumnView], claims: &[&ClaimResult], pooled: &[&Gain], scale: &Scale) -> RowView {
    let (sp, ap) = block.gain().unwrap_or((&block.rows[0], &block.rows[0]));
    let of_block = |plus: &[Row], minus: &[Row]| plus == std::slice::from_ref(sp) && minus == std::slice::from_ref(ap);
    let cell = |column: &ColumnView| {
        let claim = claims.iter().find(|claim| claim.column == column.id && of_block(&claim.plus, &claim.minus));
        claim.map_or_else(|| empty(column), |claim| cell(column, claim, scale))
    };
    let mut cells: Vec<CellView> = columns.iter().map(cell).collect();
    let mean = pooled.iter().find(|gain| gain.plus == *sp && gain.minus == *ap);
    if let Some(gain) = mean {
        let (value, interval) = text::change(gain.difference, gain.ci95, "%");
        let bar = Some(scale.bar("pl", (gain.difference, gain.ci95), None));
        let column = mean_of(columns, gain);
        cells.push(CellView { column, class: "pool", badge: None, value, interval, paper: String::new(), bar });
    } else if let Some(gain) = pooled.first() {
        let column = mean_of(columns, gain);
        cells.push(CellView { column, class: "none", ..blank() });
    }
    RowView { label: text::brief(&block.label), cells }
}

fn cell(column: &ColumnView, claim: &ClaimResult, scale: &Scale) -> CellView {
    let paper = words::paper(claim);
    let Some(difference) = claim.difference else { return CellView { paper, ..empty(column) } };
    let class = words::class(claim.verdict);
    let (value, interval) = text::change(difference, claim.ci95, &claim.unit);
    let bar = Some(scale.bar(class, (difference, claim.ci95), claim.paper.stated.or(claim.paper.by_figures)));
    CellView { column: column.title.clone(), class, badge: Some(words::badge(claim)), value, interval, paper, bar }
}

fn empty(column: &ColumnView) -> CellView {
    CellView { column: column.title.clone(), ..blank() }
}

fn blank() -> CellView {
    let (column, value, interval, paper) = Default::default();
    CellView { column, class: "none", badge: None, value, interval, paper, bar: None }
}

/// The notes after the matrix: what it shows, which comparisons are significant after Holm correction, and the k-NN
/// results.
fn after(table: &TableResults, claims: &[&ClaimResult], scale: &Scale) -> String {
    let seeds: Vec<usize> = claims.iter().map(|claim| claim.seeds.len()).filter(|n| *n > 0).collect();
    let (least, most) = (seeds.iter().min().copied().unwrap_or(0), seeds.iter().max().copied().unwrap_or(0));
    let n = if least == most { text::counted(least, "seed") } else { format!("{least} to {most} seeds") };
    let spread = match claims.iter().any(|claim| claim.ci95.is_some()) {
        true => format!("brackets and bars: 95 % confidence interval over {n}, paired by seed"),
        false => format!("{n}, so no intervals"),
    };
    let mut said = vec![format!(
        "Gain of SP over AP in points of top-1 accuracy, linear probe on frozen features; {spread}; bars run from {} to {}.",
        text::signed(scale.low, 0),
        text::signed(scale.high, 0)
    )];
    let main: Vec<&&ClaimResult> = claims.iter().filter(|claim| claim.in_paper).collect();
    let stand: Vec<String> = main
        .iter()
        .filter(|claim| claim.stands())
        .map(|claim| format!("{} on {}", claim.case, words::column_title(&table.columns, &claim.column)))
        .collect();
    let tested = table.claims.iter().filter(|claim| claim.holm_p.is_some()).count();
    let decided = Tally::of(main.iter().map(|claim| **claim));
    if decided.yes + decided.no > 0 {
        let what = match stand.len() {
            0 => "none of these is significant".to_string(),
            n if n == decided.yes + decided.no => "all decided comparisons are significant".to_string(),
            n if n <= 3 => format!("{} {} significant", text::list(&stand), if n == 1 { "is" } else { "are" }),
            n => format!("{n} of {} are significant", decided.yes + decided.no),
        };
        said.push(format!("After Holm correction for the table's {}, {what}.", text::counted(tested, "comparison")));
    }
    let compared: Vec<Row> = main.iter().flat_map(|claim| claim.plus.iter().chain(&claim.minus)).cloned().collect();
    let once = |(i, row): (usize, &Row)| (!compared[..i].contains(row)).then(|| row.clone());
    let rows: Vec<Row> = compared.iter().enumerate().filter_map(once).collect();
    said.extend(captions::stuck(&rows, &table.cells));
    said.extend(aside(table, &main));
    said.join(" ")
}

/// The k-NN results on the same features for the same comparisons.
fn aside(table: &TableResults, main: &[&&ClaimResult]) -> Option<String> {
    let of: Vec<i8> = main
        .iter()
        .filter(|claim| claim.difference.is_some())
        .filter_map(|claim| {
            let is = |gain: &&Gain| {
                gain.metric == gains::ASIDE
                    && claim.plus == [gain.plus.clone()]
                    && claim.minus == [gain.minus.clone()]
                    && gain.columns == [claim.column.clone()]
            };
            table.gains.iter().find(is).map(|gain| gains::ahead(gain.ci95))
        })
        .collect();
    let count = |side: i8| of.iter().filter(|ahead| **ahead == side).count();
    (!of.is_empty()).then(|| {
        format!(
            "k-NN on the same features, which the paper does not use: SP ahead in {}, AP in {} of {}, the rest open.",
            count(1),
            count(-1),
            of.len()
        )
    })
}

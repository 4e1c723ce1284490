//! The data that the templates are filled with: the results as text, in the order of the page.

use crate::harness::outcome::DataRef;
use crate::harness::progress::duration;
use crate::report::captions;
use crate::report::captions::Caption;
use crate::report::cards;
use crate::report::cards::Card;
use crate::report::categories;
use crate::report::categories::CategoriesView;
use crate::report::checklist;
use crate::report::checklist::Answer;
use crate::report::distance;
use crate::report::distance::DistanceView;
use crate::report::facts::ClaimResult;
use crate::report::facts::Excluded;
use crate::report::facts::Results;
use crate::report::facts::TableResults;
use crate::report::figures;
use crate::report::figures::Figure;
use crate::report::findings;
use crate::report::findings::Clause;
use crate::report::findings::Tally;
use crate::report::grid;
use crate::report::grid::Grid;
use crate::report::grid::Part;
use crate::report::lineage;
use crate::report::lineage::DataView;
use crate::report::lineage::LineageView;
use crate::report::lineage::MachineView;
use crate::report::lineage::SettingsView;
use crate::report::matrix;
use crate::report::matrix::Matrix;
use crate::report::plans;
use crate::report::select::Selection;
use crate::report::stats::Verdict;
use crate::report::text;
use crate::report::text::sentence;
use crate::report::words;
use crate::report::words::Badge;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// The question that the paper asks.
const QUESTION: &str = "Do semantic pairs beat augmented pairs?";

#[derive(Serialize)]
pub(super) struct ReportView {
    pub question: &'static str,
    pub profile: String,
    pub profile_description: String,
    pub generated: String,
    /// The day of `generated`, if that is a time.
    pub day: String,
    pub provenance: String,
    pub anonymous: bool,
    pub stand_ins: bool,
    pub answer: Vec<Clause>,
    /// How far the setting is from the paper's.
    pub caveat: String,
    /// How many comparisons were planned; empty without a plan.
    pub planned: String,
    pub matrix: Option<Matrix>,
    pub statements: Vec<StatementView>,
    /// The statements that the paper argues but does not measure.
    pub argued: Vec<StatementView>,
    /// How the encoders compare with the baselines, in words.
    pub standing: String,
    pub distance: DistanceView,
    pub tables: Vec<TableView>,
    pub not_run: Vec<Card>,
    /// The number of the last card of `not_run`.
    pub last_number: usize,
    /// The number of comparisons by verdict, in words.
    pub tally: String,
    pub claims: Vec<FamilyView>,
    /// How verdicts are reached.
    pub rules: &'static [&'static str],
    pub data: Vec<DataView>,
    pub checklist: Vec<Answer>,
    pub compute: String,
    pub machines: Vec<MachineView>,
    pub codes: Vec<String>,
    pub settings: Vec<SettingsView>,
    pub ledger: LedgerView,
    pub excluded: Vec<ExcludedView>,
    /// The number of runs in `excluded`.
    pub left_out: usize,
}

#[derive(Serialize)]
pub(super) struct LedgerView {
    pub records: String,
    pub hash: String,
    pub short: String,
}

/// Runs that were not used for the same reason.
#[derive(Serialize)]
pub(super) struct ExcludedView {
    pub reason: String,
    /// The first of these runs.
    pub runs: Vec<String>,
    /// The number of further runs.
    pub more: usize,
}

/// A statement of the paper and its outcome.
#[derive(Serialize)]
pub(super) struct StatementView {
    pub title: String,
    pub paper: String,
    pub badges: Vec<Badge>,
    pub line: String,
    /// `none` or `out` if nothing was tested.
    pub class: &'static str,
}

/// Every claim of one statement.
#[derive(Serialize)]
pub(super) struct FamilyView {
    pub title: String,
    pub in_paper: bool,
    pub claims: Vec<ClaimView>,
}

#[derive(Serialize)]
pub(super) struct ClaimView {
    /// The case, or the text of the claim.
    pub case: String,
    pub text: String,
    pub column: String,
    pub badge: Badge,
    pub word: &'static str,
    pub difference: String,
    /// For sorting.
    pub value: String,
    pub interval: String,
    pub paper: String,
    pub p: String,
    pub holm: String,
    pub sign_flip: String,
    pub decide: String,
    pub mcnemar: String,
    /// The claim and its result as a sentence.
    pub sentence: String,
}

#[derive(Serialize)]
pub(super) struct TableView {
    /// Also the stem of the table's files.
    pub id: String,
    pub number: usize,
    pub title: String,
    pub finding: String,
    /// The kinds of data it has: `stand-in images`, `photographs`.
    pub kind: &'static str,
    pub stand_in: bool,
    /// The verdicts of the paper's claims in it.
    pub badges: Vec<Badge>,
    pub caption: Caption,
    pub whole_caption: String,
    /// Whether the page shows the figure further up.
    pub figure_above: bool,
    pub figure: Option<Figure>,
    pub grid: Option<Grid>,
    pub beyond: Option<Grid>,
    pub beyond_figure: Option<Figure>,
    pub aside: Option<Grid>,
    pub categories: Vec<CategoriesView>,
    pub scenes: Vec<Figure>,
    pub courses: Vec<Figure>,
    #[serde(skip)]
    pub other_courses: Vec<Figure>,
    pub other_course_names: Vec<String>,
    pub sentences: Vec<String>,
    pub notes: Vec<String>,
    pub missing: Vec<String>,
    pub rerun: Vec<String>,
    /// The options that give its settings to a command, for the terminal.
    #[serde(skip)]
    pub sets: String,
    pub cost: String,
    pub lineage: Vec<LineageView>,
    /// The number of numbers in the lineage, and the number of their runs.
    pub counts: (usize, usize),
    /// The commit of all of its runs; empty if they differ.
    pub revision: String,
}

/// Turns the results and their runs into text for the templates.
pub(super) fn view(results: &Results, selections: &[Selection]) -> ReportView {
    let of_tables = || results.tables.par_iter().zip(selections);
    let main = results.tables.iter().position(|table| table.claims.iter().any(findings::is_main));
    let settings = lineage::settings(results, selections);
    let mut tables: Vec<TableView> =
        of_tables().map(|(table, selection)| table_view(results, table, selection, &settings)).collect();
    (1..).zip(&mut tables).for_each(|(number, table)| table.number = number);
    let matrix = matrix::matrix(results, selections);
    if let Some(main) = main.filter(|_| matrix.is_some()) {
        tables[main].figure_above = tables[main].figure.is_some();
    }
    let (statements, argued) = statements(results);
    let not_run = cards::cards(results, tables.len() + 1);
    ReportView {
        question: QUESTION,
        profile: results.profile.clone(),
        profile_description: sentence(&results.profile_description),
        generated: results.generated.clone(),
        day: day(&results.generated),
        provenance: lineage::provenance(results),
        anonymous: results.anonymous,
        stand_ins: results.tables.iter().any(|t| t.columns.iter().any(captions::is_stand_in)),
        answer: answer(results),
        caveat: distance::caveat(results),
        planned: plans::summary(results),
        matrix,
        statements,
        argued,
        standing: main.map_or_else(String::new, |main| standing(&results.tables[main])),
        distance: distance::distance(results, selections),
        last_number: tables.len() + not_run.len(),
        not_run,
        tables,
        tally: tally(results),
        claims: families(results),
        rules: results.verdict_rule,
        data: data(results),
        checklist: checklist::answers(results, selections),
        compute: lineage::spent(&results.compute),
        machines: results.compute.machines.iter().map(lineage::machine).collect(),
        codes: results.git.codes.iter().map(|code| lineage::short(code, 12)).collect(),
        settings,
        ledger: ledger(results),
        excluded: excluded(&results.excluded),
        left_out: results.excluded.len(),
    }
}

/// The answer, or the statement that nothing was tested.
fn answer(results: &Results) -> Vec<Clause> {
    let answer = findings::answer(results);
    if !answer.is_empty() {
        return answer;
    }
    let ids: Vec<String> = results.tables.iter().map(|table| table.id.clone()).collect();
    let what =
        if ids.is_empty() { "nothing was run".to_string() } else { format!("this report has {}", text::list(&ids)) };
    let words = format!("{what}, and no run of the paper's main comparison (table `transfer`).");
    vec![Clause { lead: "Not tested:".to_string(), words }]
}

/// The day of a time such as `2026-11-27T06:33:54.085Z`.
fn day(time: &str) -> String {
    time.split_once('T').map_or(time, |(day, _)| day).to_string()
}

fn ledger(results: &Results) -> LedgerView {
    let hash = results.ledger.blake3.clone().unwrap_or_default();
    LedgerView { records: text::counted(results.ledger.records, "record"), short: lineage::short(&hash, 12), hash }
}

/// The most runs that are named for one reason not to use them; `results.json` names all.
const NAMED: usize = 20;

fn excluded(runs: &[Excluded]) -> Vec<ExcludedView> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    runs.iter().for_each(|of| by_reason.entry(&of.reason).or_default().push(&of.run));
    let view = |(reason, runs): (&str, Vec<&str>)| ExcludedView {
        reason: reason.to_string(),
        more: runs.len().saturating_sub(NAMED),
        runs: runs.into_iter().take(NAMED).map(String::from).collect(),
    };
    by_reason.into_iter().map(view).collect()
}

/// The claims of all tables, including tables without runs, by statement, in the order in which the statements first
/// occur.
fn by_family(results: &Results) -> Vec<(bool, Vec<(&TableResults, &ClaimResult)>)> {
    let mut families: Vec<(bool, Vec<(&TableResults, &ClaimResult)>)> = Vec::new();
    for table in results.tables.iter().chain(&results.not_run) {
        for claim in &table.claims {
            let is = |(in_paper, of): &&mut (bool, Vec<(&TableResults, &ClaimResult)>)| {
                *in_paper == claim.in_paper && of.first().is_some_and(|(_, first)| first.family == claim.family)
            };
            match families.iter_mut().find(is) {
                Some((_, of)) => of.push((table, claim)),
                None => families.push((claim.in_paper, vec![(table, claim)])),
            }
        }
    }
    families
}

/// The statements that the paper measures, and the statements that it only argues.
fn statements(results: &Results) -> (Vec<StatementView>, Vec<StatementView>) {
    let mut measured = Vec::new();
    let mut argued = Vec::new();
    for (in_paper, of) in by_family(results) {
        let Some((table, first)) = of.first() else { continue };
        // Our additions to a table of the paper are shown with that table.
        if !in_paper && table.in_paper {
            continue;
        }
        let claims: Vec<&ClaimResult> = of.iter().map(|(_, claim)| *claim).collect();
        let tested = claims.iter().filter(|claim| claim.difference.is_some());
        let badges: Vec<Badge> = tested.map(|claim| words::badge(claim)).collect();
        let Tally { not_run, out, .. } = Tally::of(claims.iter().copied());
        let class = match (badges.is_empty(), not_run, out) {
            (true, 0, 1..) => "out",
            (true, ..) => "none",
            _ => "",
        };
        let statement = StatementView {
            title: first.family.title.clone(),
            paper: first.family.paper.clone(),
            badges: sorted(badges),
            line: findings::line(&claims),
            class,
        };
        if in_paper { &mut measured } else { &mut argued }.push(statement);
    }
    (together(measured), together(argued))
}

/// Combines the statements without runs into one line after the others.
fn together(statements: Vec<StatementView>) -> Vec<StatementView> {
    let (not_run, mut others): (Vec<_>, Vec<_>) = statements.into_iter().partition(|of| of.class == "none");
    let titles: Vec<&str> = not_run.iter().map(|of| of.title.trim_start_matches("… and ")).collect();
    let title = titles.join("; ");
    others.extend(not_run.into_iter().next().map(|first| StatementView { title, paper: String::new(), ..first }));
    others
}

/// Sorts badges: as claimed first, then opposite, then open; within these, significant after Holm correction first.
fn sorted(mut badges: Vec<Badge>) -> Vec<Badge> {
    let order = ["yes", "no", "open"];
    badges.sort_by_key(|badge| (order.iter().position(|class| *class == badge.class), !badge.strong));
    badges
}

/// How the trained encoders compare with an untrained one and with raw pixels.
fn standing(table: &TableResults) -> String {
    let of = |name: &str| {
        let rows = || table.baselines.iter().filter(|of| of.row.first().is_some_and(|(_, method)| method == name));
        let (above, all) = (rows().map(|of| of.above).sum::<usize>(), rows().map(|of| of.of).sum::<usize>());
        let what = captions::a_baseline(name);
        match above {
            _ if all == 0 => None,
            n if n == all => Some(format!("all {all} are above {what}")),
            n => Some(format!("{n} of {all} are above {what}")),
        }
    };
    let said: Vec<String> = captions::FLOORS.into_iter().filter_map(of).collect();
    if said.is_empty() {
        return String::new();
    }
    format!(
        "A gain means little if both encoders are poor. Of the trained encoders, counted by set, {}.",
        text::list(&said)
    )
}

/// Whether there are tested claims and all of them were tested in the paper's own setting, so that they are called
/// reproduced or not reproduced.
pub(super) fn is_own<'a>(claims: impl Iterator<Item = &'a ClaimResult>) -> bool {
    let mut tested = claims.filter(|claim| claim.difference.is_some()).peekable();
    tested.peek().is_some() && tested.all(|claim| claim.own_setting)
}

/// The number of comparisons by verdict, in words. A measurement that tables share is counted once.
fn tally(results: &Results) -> String {
    let all = results.tables.iter().flat_map(|table| &table.claims);
    let of = |in_paper: bool| Tally::of(all.clone().filter(move |c| c.in_paper == in_paper && c.same_as.is_none()));
    let own = is_own(all.clone());
    let (yes, no) = if own { ("reproduced", "not reproduced") } else { ("as claimed", "opposite") };
    let words = |tally: Tally| {
        let Tally { yes: as_claimed, no: opposite, open, not_run, out } = tally;
        let counts = [(as_claimed, yes), (opposite, no), (open, "open"), (not_run, "not run"), (out, "out of scope")];
        let counts = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
        counts.collect::<Vec<_>>().join(", ")
    };
    let all_of = |tally: Tally| tally.tested() + tally.not_run + tally.out;
    let (paper, ours) = (of(true), of(false));
    let mut said = Vec::new();
    if all_of(paper) > 0 {
        said.push(format!("The paper's claims make {}: {}.", text::counted(all_of(paper), "comparison"), words(paper)));
    }
    if all_of(ours) > 0 {
        said.push(format!("Not measured in the paper: {}.", words(ours)));
    }
    said.join(" ")
}

fn families(results: &Results) -> Vec<FamilyView> {
    let view = |(in_paper, of): (bool, Vec<(&TableResults, &ClaimResult)>)| {
        let of: Vec<_> =
            of.into_iter().filter(|(table, _)| results.tables.iter().any(|other| other.id == table.id)).collect();
        let (_, first) = of.first()?;
        let title = first.family.title.clone();
        Some(FamilyView { title, in_paper, claims: of.iter().map(|(table, claim)| claim_view(table, claim)).collect() })
    };
    by_family(results).into_iter().filter_map(view).collect()
}

fn claim_view(table: &TableResults, claim: &ClaimResult) -> ClaimView {
    let (difference, interval) =
        claim.difference.map_or_else(Default::default, |difference| text::change(difference, claim.ci95, &claim.unit));
    let p = |p: Option<f64>| p.map_or_else(String::new, |p| text::p_value(p).trim_start_matches("= ").to_string());
    let unit = text::unit_of_difference(&claim.unit);
    let stand_in = table.columns.iter().any(|column| column.id == claim.column && captions::is_stand_in(column));
    let dagger = if stand_in { " †" } else { "" };
    let mcnemar: Vec<String> = claim.mcnemar.iter().map(|test| p(Some(test.p))).collect();
    let same = claim.same_as.as_ref().map_or_else(String::new, |other| format!(" The same measurement as in {other}."));
    ClaimView {
        case: format!("{}{}", if claim.case.is_empty() { &claim.text } else { &claim.case }, plans::mark(claim)),
        text: claim.text.clone(),
        column: format!("{}{dagger}", words::column_title(&table.columns, &claim.column)),
        badge: words::badge(claim),
        word: words::word(claim),
        value: claim.difference.map_or_else(String::new, |difference| format!("{difference:.4}")),
        difference: if difference.is_empty() || unit == " points" { difference } else { format!("{difference}{unit}") },
        interval,
        paper: words::paper(claim),
        p: p(claim.t_p),
        holm: p(claim.holm_p),
        sign_flip: p(claim.p),
        decide: claim.would_decide().unwrap_or_default(),
        mcnemar: mcnemar.join(", "),
        sentence: format!("{}{same}{}", words::sentence(table, claim), plans::aside(claim)),
    }
}

/// Every data set once, or once for each of its descriptions if they differ.
fn data(results: &Results) -> Vec<DataView> {
    let mut sets: Vec<&DataRef> = Vec::new();
    for set in results.tables.iter().flat_map(|table| &table.data) {
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets.sort_by(|a, b| (&a.name, &a.hash).cmp(&(&b.name, &b.hash)));
    sets.into_iter().map(lineage::data).collect()
}

fn table_view(results: &Results, table: &TableResults, selection: &Selection, settings: &[SettingsView]) -> TableView {
    let caption = captions::caption(selection.table, &table.cells, table.plan.as_ref());
    let (courses, other_courses) = figures::courses(selection, table);
    let stand_in = table.columns.iter().any(captions::is_stand_in);
    let photographs = table.columns.iter().any(|c| !c.substitute && !table.unasked.contains(&c.id));
    let of_paper = |claim: &&ClaimResult| claim.in_paper || !table.in_paper;
    let decided = [Verdict::Reproduced, Verdict::NotReproduced, Verdict::Inconclusive];
    let claims = table.claims.iter().filter(of_paper).filter(|claim| decided.contains(&claim.verdict));
    let lineage = lineage::lineage(results, table, selection, settings);
    let runs = lineage.iter().map(|line| line.runs.len()).sum();
    TableView {
        id: text::file_stem(&table.id),
        number: 0,
        title: table.title.clone(),
        finding: table.finding.clone(),
        kind: match (photographs, stand_in) {
            (true, true) => "photographs and stand-in images",
            (true, false) => "photographs",
            (false, true) => "stand-in images",
            (false, false) => "other images",
        },
        stand_in,
        badges: sorted(claims.map(words::badge).collect()),
        caption,
        whole_caption: table.caption.clone(),
        figure_above: false,
        figure: figures::reached(selection, table),
        grid: grid::grid(table, selection, Part::Paper),
        beyond: grid::grid(table, selection, Part::Beyond),
        beyond_figure: figures::beyond(selection, table),
        aside: grid::grid(table, selection, Part::Aside),
        categories: categories::views(selection, &table.categories),
        scenes: figures::scenes(selection),
        courses,
        other_course_names: other_courses.iter().map(|figure| figure.name.clone()).collect(),
        other_courses,
        sentences: table
            .claims
            .iter()
            .filter(|claim| claim.difference.is_some())
            .map(|claim| claim_view(table, claim).sentence)
            .collect(),
        notes: table.notes.iter().map(|note| note.text.clone()).collect(),
        missing: table.missing.clone(),
        rerun: lineage::rerun(results, table, selection),
        sets: text::clean(&lineage::sets(results, table, selection)),
        cost: cost(table),
        counts: (lineage.len(), runs),
        lineage,
        revision: lineage::one_revision(results, selection).unwrap_or_default(),
    }
}

/// What a table cost, shown next to the command that reruns it.
fn cost(table: &TableResults) -> String {
    let spent = &table.compute;
    let cores: Vec<String> =
        spent.machines.iter().map(|machine| machine.cores).filter(|n| *n > 0).map(|n| format!("{n} cores")).collect();
    let mut parts = vec![
        format!("it took {}", duration(spent.seconds)),
        spent.by_status.iter().map(|(status, n)| format!("{n} {status}")).collect::<Vec<_>>().join(", "),
    ];
    parts.extend(cores.into_iter().take(1));
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

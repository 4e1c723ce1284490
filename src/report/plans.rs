//! What was planned before the runs: how each run and each claim of a table stands to the newest plan that has the table,
//! and the words for it. Without a plan there are no words.

use crate::harness::experiment::Note;
use crate::harness::experiment::Row;
use crate::harness::frozen_plan;
use crate::harness::frozen_plan::KnownPlan;
use crate::harness::frozen_plan::Standing;
use crate::harness::record::Record;
use crate::harness::record::short;
use crate::report::facts::ClaimResult;
use crate::report::facts::Input;
use crate::report::facts::PlanState;
use crate::report::facts::Results;
use crate::report::facts::TablePlan;
use crate::report::facts::TableResults;
use crate::report::facts::Unplanned;
use crate::report::select::Selection;
use crate::report::stats;
use crate::report::text;
use std::collections::BTreeMap;
use std::collections::HashSet;

/// The mark of rows and claims that are not planned.
pub(super) const MARK: &str = " ‡";

/// The most reasons that a note names.
const NAMED: usize = 4;

/// How the runs of a table stand to its plan, and its plan; `None` without a plan or without runs.
pub(super) fn of_table<'a>(input: &'a Input, selection: &Selection) -> Option<(&'a KnownPlan, TablePlan)> {
    let id = &selection.table.id;
    let known = frozen_plan::of_table(&input.plans, id, &input.profile).filter(|_| !selection.records.is_empty())?;
    let others = selection.records.iter().filter_map(|run| match known.standing(run, &input.roles) {
        Standing::Planned => None,
        standing => Some(Unplanned { run: run.id.clone(), standing }),
    });
    let others: Vec<Unplanned> = others.collect();
    let is_planned = |run: &&&Record| others.iter().all(|other| other.run != run.id);
    let earlier = input.all_records.iter().filter(|run| run.experiment == *id && !known.after.contains(&run.id));
    let here: HashSet<(&Row, &str, u64)> =
        selection.records.iter().map(|run| (&run.row, run.column.as_str(), run.seed)).collect();
    let cells = known.plan.table(id).map_or(&[][..], |table| &table.cells);
    let places = || cells.iter().flat_map(|cell| cell.keys.keys().map(|seed| (&cell.row, cell.column.as_str(), *seed)));
    let plan = TablePlan {
        missing: places().filter(|place| !here.contains(place)).count(),
        id: known.plan.id.clone(),
        day: known.plan.day().to_owned(),
        seeds: places().map(|(_, _, seed)| seed).collect(),
        planned: selection.records.len() - others.len(),
        moved: selection.records.iter().filter(is_planned).filter(|run| known.has_moved(run)).count(),
        earlier: earlier.count(),
        others,
    };
    Some((known, plan))
}

/// Sets how each claim of a table stands to its plan: as the worst of its runs, and post hoc if the plan does not have it.
pub(super) fn judge(claims: &mut [ClaimResult], selection: &Selection, known: &KnownPlan, plan: &TablePlan) {
    let planned = known.plan.table(&selection.table.id);
    for (result, claim) in claims.iter_mut().zip(&selection.table.claims) {
        if !planned.is_some_and(|table| table.has(claim)) {
            result.standing = Some(Standing::PostHoc { why: "the claim is not in the plan".to_owned() });
            continue;
        }
        let is_of_claim = |run: &&&Record| {
            let is_row = result.plus.contains(&run.row) || result.minus.contains(&run.row);
            is_row && run.column == result.column && result.seeds.contains(&run.seed)
        };
        let runs = selection.records.iter().filter(is_of_claim);
        let worst = runs.filter_map(|run| plan.standing(&run.id)).max();
        result.standing = Some(worst.cloned().unwrap_or(Standing::Planned));
    }
}

/// The plans of the profile, oldest first.
pub(super) fn states(input: &Input) -> Vec<PlanState> {
    let of_profile = || input.plans.iter().filter(|known| known.plan.profile == input.profile);
    let state = |known: &KnownPlan| {
        let plan = &known.plan;
        let counts = |table: &&str| {
            frozen_plan::of_table(&input.plans, table, &input.profile).is_some_and(|newest| newest.plan.id == plan.id)
        };
        let ids = || plan.tables.iter().map(|table| table.id.as_str());
        let (counts, replaced): (Vec<&str>, Vec<&str>) = ids().partition(counts);
        let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect::<Vec<String>>();
        PlanState {
            id: plan.id.clone(),
            frozen: plan.frozen.clone(),
            hash: (!input.anonymous).then(|| plan.hash.clone()),
            commit: plan.git.commit.clone().filter(|_| !input.anonymous),
            settings: plan.settings.len(),
            settings_hash: plan.settings_hash.clone(),
            tables: owned(counts),
            replaced: owned(replaced),
            same_rule: plan.rule.iter().eq(stats::VERDICT_RULE.iter()),
        }
    };
    of_profile().map(state).collect()
}

/// The sentences for a caption, such as `Planned on 2026-11-30 (plan 3f2a91c0, frozen before the first run).`
pub(super) fn caption(plan: &TablePlan) -> String {
    let (id, day) = (short(&plan.id), &plan.day);
    let said = match (plan.others.len(), plan.earlier) {
        (0, 0) => format!("Planned on {day} (plan {id}, frozen before the first run)."),
        (0, n) => {
            let earlier = text::counted(n, "other run");
            format!("Planned on {day} (plan {id}, frozen before these runs and after {earlier}).")
        }
        (others, _) => {
            let runs = text::counted(plan.planned + others, "run");
            format!("Planned on {day} (plan {id}): {} of {runs}{}.", plan.planned, rest(plan))
        }
    };
    format!("{said}{}", missing(plan))
}

/// A sentence about planned runs without a result: whoever stops early may stop when the figures please.
fn missing(plan: &TablePlan) -> String {
    match plan.missing {
        0 => String::new(),
        n => format!(" Planned and without a result: {}.", text::counted(n, "run")),
    }
}

/// `; 2 began before the plan, 1 is post hoc`.
fn rest(plan: &TablePlan) -> String {
    let post_hoc = plan.post_hoc();
    let before = plan.others.len() - post_hoc;
    let is = |n: usize| if n == 1 { "is" } else { "are" };
    let said = [
        (before > 0).then(|| format!("{before} began before the plan")),
        (post_hoc > 0).then(|| format!("{post_hoc} {} post hoc", is(post_hoc))),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() { String::new() } else { format!("; {}", said.join(", ")) }
}

/// The footnote of the marked rows and claims of a table; `None` if all are planned.
pub(super) fn note(plan: &TablePlan, claims: &[ClaimResult]) -> Option<Note> {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let of_runs = plan.others.iter().map(|other| &other.standing);
    for why in of_runs.filter_map(why) {
        *reasons.entry(why).or_default() += 1;
    }
    let claims = claims.iter().filter(|claim| claim.difference.is_some() && why_of_claim(claim) == Some(CLAIM)).count();
    let mut said: Vec<String> =
        reasons.iter().map(|(why, runs)| format!("{why} ({})", text::counted(*runs, "run"))).collect();
    if said.len() > NAMED {
        let more = said.len() - NAMED;
        said.truncate(NAMED);
        said.push(format!("{more} more reasons, which results.json names"));
    }
    if claims > 0 {
        said.push(format!("{CLAIM} ({})", text::counted(claims, "comparison")));
    }
    let before = plan.others.iter().filter(|other| other.standing == Standing::BeforeThePlan).count();
    let mut parts = Vec::new();
    if !said.is_empty() {
        parts.push(format!("Post hoc: {}.", said.join("; ")));
    }
    if before > 0 {
        parts.push(format!("Begun before the plan was frozen: {}.", text::counted(before, "run")));
    }
    let words = format!("‡ Not as plan {} says. {}", short(&plan.id), parts.join(" "));
    (!parts.is_empty()).then(|| words.into())
}

/// Why a claim is post hoc if its runs are not the reason.
const CLAIM: &str = "the claim is not in the plan";

fn why(standing: &Standing) -> Option<&str> {
    if let Standing::PostHoc { why } = standing { Some(why) } else { None }
}

fn why_of_claim(claim: &ClaimResult) -> Option<&str> {
    claim.standing.as_ref().and_then(why)
}

/// What follows the case of a claim: the mark, unless it is planned or its table has no plan.
pub(super) fn mark(claim: &ClaimResult) -> &'static str {
    let is_marked = claim.difference.is_some() && claim.standing.as_ref().is_some_and(|of| *of != Standing::Planned);
    if is_marked { MARK } else { "" }
}

/// What follows the sentence of a claim: that it is not planned, and why.
pub(super) fn aside(claim: &ClaimResult) -> String {
    match claim.standing.as_ref().filter(|_| claim.difference.is_some()) {
        None | Some(Standing::Planned) => String::new(),
        Some(Standing::BeforeThePlan) => " Begun before the plan was frozen.".to_owned(),
        Some(Standing::PostHoc { why }) => format!(" Post hoc: {why}."),
    }
}

/// How many comparisons were planned, in one or two sentences; empty without a plan.
pub(super) fn summary(results: &Results) -> String {
    let used: Vec<String> = results
        .plans
        .iter()
        .filter(|plan| results.tables.iter().any(|table| table.plan.as_ref().is_some_and(|of| of.id == plan.id)))
        .map(|plan| format!("{} of {}", short(&plan.id), plan.frozen.split('T').next().unwrap_or_default()))
        .collect();
    if used.is_empty() {
        return String::new();
    }
    let tested = || results.tables.iter().flat_map(|table| &table.claims).filter(|claim| claim.difference.is_some());
    let count = |is: &dyn Fn(Option<&Standing>) -> bool| tested().filter(|claim| is(claim.standing.as_ref())).count();
    let (all, planned) = (tested().count(), count(&|of| of == Some(&Standing::Planned)));
    let plans = format!("{} {}", if used.len() == 1 { "plan" } else { "plans" }, text::list(&used));
    if all == 0 {
        return format!("There is a plan, and no comparison yet ({plans}).");
    }
    if planned == all {
        return match all {
            1 => format!("The one comparison was planned before its runs ({plans})."),
            all => format!("All {all} comparisons were planned before their runs ({plans})."),
        };
    }
    let others = [
        (count(&|of| of.and_then(why).is_some()), "post hoc"),
        (count(&|of| of == Some(&Standing::BeforeThePlan)), "from before the plan"),
        (count(&|of| of.is_none()), "of tables without a plan"),
    ];
    let others = others.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    let others = others.collect::<Vec<_>>().join(", ");
    format!("Planned before their runs: {planned} of {} ({plans}); {others}.", text::counted(all, "comparison"))
}

/// The facts for the checklist; empty without a plan.
pub(super) fn facts(results: &Results) -> Vec<String> {
    let mut facts: Vec<String> = results.plans.iter().flat_map(|plan| facts_of(plan, results)).collect();
    let without = |table: &&TableResults| table.plan.is_none();
    let without: Vec<String> = results.tables.iter().filter(without).map(|table| table.id.clone()).collect();
    if !facts.is_empty() && !without.is_empty() {
        facts.push(format!("Without a plan: {}.", text::list(&without)));
    }
    facts
}

fn facts_of(plan: &PlanState, results: &Results) -> Vec<String> {
    let commit = match (&plan.commit, results.anonymous) {
        (_, true) => "commit withheld for review".to_owned(),
        (Some(commit), _) => format!("commit {commit}"),
        (None, _) => "no commit".to_owned(),
    };
    let replaced = match plan.replaced[..] {
        [] => String::new(),
        _ => format!(" A later plan replaces it for {}.", text::list(&plan.replaced)),
    };
    let mut facts = vec![format!(
        "Plan {}, frozen {} at {commit}, states rows, columns, seeds, claims with their margins, the test and {} settings \
         (BLAKE3 {}).{replaced}",
        short(&plan.id),
        plan.frozen,
        plan.settings,
        plan.settings_hash.get(..16).unwrap_or(&plan.settings_hash),
    )];
    let tables = results.tables.iter().filter_map(|table| Some((table, table.plan.as_ref()?)));
    for (table, of) in tables.filter(|(_, of)| of.id == plan.id) {
        let runs = of.planned + of.others.len();
        let runs = text::counted(runs, "run");
        facts.push(format!("{}: planned {} of {runs}{}.{}", table.id, of.planned, rest(of), missing(of)));
        if of.moved > 0 {
            facts.push(format!(
                "{}: {} had other code, another machine or other data than when the plan was frozen.",
                table.id,
                text::counted(of.moved, "planned run")
            ));
        }
    }
    if !plan.same_rule {
        facts.push(format!("Plan {} words the rule of verdicts differently from this report.", short(&plan.id)));
    }
    facts
}

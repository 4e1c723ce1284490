//! Whether a claim of a report comes out again when the runs behind it are repeated.

use std::sync::Arc;

use serde::Serialize;

use crate::harness::record::Record;
use crate::report::{Judgement, PrintedClaim};

/// How what the repetitions say about a claim agrees with what the recorded runs say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ClaimAgreement {
    /// Verdict, difference and interval are the same, to the last bit.
    Identical,
    /// The verdict is the same.
    SameVerdict,
    /// The verdict is another.
    Different,
    /// A run behind it has no repetition.
    NotRepeated,
}

/// A claim with what the report, the recorded runs and the repetitions say about it.
#[derive(Debug, Serialize)]
pub(super) struct ClaimCheck {
    table: String,
    text: String,
    column: String,
    metric: String,
    unit: String,
    seeds: Vec<u64>,
    /// As the report prints it.
    printed: Judgement,
    /// By the recorded runs; `None` if one of them has no such figure.
    recorded: Option<Judgement>,
    /// Whether the report prints what the recorded runs give, up to rounding.
    follows: bool,
    repeated: Option<Judgement>,
    agreement: ClaimAgreement,
}

impl ClaimCheck {
    /// Compares what the recorded runs and their repetitions say about a claim.
    pub(super) fn new(claim: &PrintedClaim, recorded: &[Arc<Record>], again: &[Record]) -> Self {
        let of = |runs: &[&Record]| {
            claim.judge(|is_row, seed| {
                let is_its = |run: &&&Record| is_row(&run.row) && run.column == claim.column && run.seed == seed;
                runs.iter().find(is_its)?.metrics.get(&claim.metric).copied()
            })
        };
        let was = of(&recorded.iter().map(Arc::as_ref).collect::<Vec<_>>());
        let is = of(&again.iter().collect::<Vec<_>>());
        let agreement = match (was, is) {
            (Some(was), Some(is)) if is_same(&was, &is) => ClaimAgreement::Identical,
            (Some(was), Some(is)) if was.verdict == is.verdict => ClaimAgreement::SameVerdict,
            (Some(_), Some(_)) => ClaimAgreement::Different,
            _ => ClaimAgreement::NotRepeated,
        };
        Self {
            table: claim.table.clone(),
            text: claim.text.clone(),
            column: claim.column.clone(),
            metric: claim.metric.clone(),
            unit: claim.unit.clone(),
            seeds: claim.seeds.clone(),
            printed: claim.printed,
            recorded: was,
            follows: was.is_some_and(|was| was.is_close_to(&claim.printed)),
            repeated: is,
            agreement,
        }
    }

    /// Whether the report prints what its runs give, and the repetitions lead to the same verdict.
    pub(super) fn holds(&self) -> bool {
        self.follows && matches!(self.agreement, ClaimAgreement::Identical | ClaimAgreement::SameVerdict)
    }

    pub(super) fn print(&self) {
        let words = |judgement: &Option<Judgement>| match judgement {
            Some(judgement) => judgement.words(&self.unit),
            None => "no result: a run or its figure is missing".to_owned(),
        };
        say!("claim: {} ({})", self.text, self.table);
        if !self.follows {
            say!("  in the report: {}, WHICH DOES NOT FOLLOW FROM ITS RUNS", self.printed.words(&self.unit));
        }
        say!("  recorded: {}", words(&self.recorded));
        say!("  repeated: {}", words(&self.repeated));
        let times = if self.unit == "s" { "; times differ between any two runs" } else { "" };
        match self.agreement {
            ClaimAgreement::Identical => say!("  verdict, difference and interval come out again, to the last bit"),
            ClaimAgreement::SameVerdict => say!("  the verdict comes out again; difference or interval differ{times}"),
            ClaimAgreement::Different => say!("  the verdict is DIFFERENT{times}"),
            ClaimAgreement::NotRepeated => say!("  NOT REPEATED: not all runs behind it have a result"),
        }
    }
}

fn is_same(a: &Judgement, b: &Judgement) -> bool {
    let bits = |of: &Judgement| {
        let (low, high) = of.ci95.unzip();
        [of.difference, low, high].map(|number| number.map(f64::to_bits))
    };
    a.verdict == b.verdict && bits(a) == bits(b)
}

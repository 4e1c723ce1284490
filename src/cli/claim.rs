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

    /// Whether everything about it comes out again, to the last bit.
    pub(super) fn is_identical(&self) -> bool {
        self.agreement == ClaimAgreement::Identical
    }

    /// Table and wording.
    pub(super) fn name(&self) -> String {
        format!("{}: {}", self.table, self.text)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim() -> PrintedClaim {
        let row = |pairs: &str| json!([{ "pairs": pairs }]);
        let claim = json!({
            "text": "SP beat AP", "column": "c", "metric": "top1", "unit": "%", "expected": { "at-least": 0.0 },
            "verdict": "reproduced", "difference": 5.0, "ci95": [5.0, 5.0], "seeds": [0, 1],
            "plus": row("SP"), "minus": row("AP"),
        });
        serde_json::from_value(claim).unwrap()
    }

    /// The runs of both rows with these accuracies, by seed.
    fn runs(sp: [f64; 2], ap: [f64; 2]) -> Vec<Record> {
        let run = |pairs: &str, seed: usize, value: f64| -> Value {
            json!({
                "schema": "sempair.run/1", "id": format!("{pairs} {seed}"), "experiment": "transfer", "key": "",
                "status": "completed", "started": "", "row": [["pairs", pairs]], "column": "c", "seed": seed,
                "metrics": { "top1": value },
            })
        };
        let of = |pairs: &'static str, values: [f64; 2]| (0..2).map(move |seed| run(pairs, seed, values[seed]));
        of("SP", sp).chain(of("AP", ap)).map(|run| serde_json::from_value(run).unwrap()).collect()
    }

    #[test]
    fn a_claim_comes_out_again_with_all_numbers_or_with_its_verdict_or_not() {
        let was: Vec<Arc<Record>> = runs([55.0, 55.5], [50.0, 50.4]).into_iter().map(Arc::new).collect();
        let of = |again: &[Record]| {
            // The report prints what the runs give.
            let printed = ClaimCheck::new(&claim(), &was, again).recorded.unwrap();
            let mut claim = claim();
            claim.printed = printed;
            ClaimCheck::new(&claim, &was, again)
        };
        let check = |sp, ap| of(&runs(sp, ap));
        let same = check([55.0, 55.5], [50.0, 50.4]);
        assert_eq!((same.agreement, same.holds()), (ClaimAgreement::Identical, true), "{same:?}");
        let close = check([55.2, 55.5], [50.0, 50.4]);
        assert_eq!((close.agreement, close.holds()), (ClaimAgreement::SameVerdict, true), "{close:?}");
        let other = check([50.0, 50.4], [55.0, 55.5]);
        assert_eq!((other.agreement, other.holds()), (ClaimAgreement::Different, false), "{other:?}");
        let missing = of(&runs([55.0, 55.5], [50.0, 50.4])[..3]);
        assert_eq!((missing.agreement, missing.holds()), (ClaimAgreement::NotRepeated, false), "{missing:?}");
        // The report prints something else.
        let again = runs([55.0, 55.5], [50.0, 50.4]);
        let forged = ClaimCheck::new(&claim(), &was, &again);
        assert_eq!((forged.follows, forged.agreement, forged.holds()), (false, ClaimAgreement::Identical, false));
    }
}

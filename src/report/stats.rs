//! Statistics over seeds: means with t intervals, paired differences, exact sign-flip tests, verdicts.
//!
//! Nothing here knows about tables or records; every function is a formula over slices.

use serde::Serialize;
use statrs::distribution::ContinuousCDF;
use statrs::distribution::StudentsT;

/// With more pairs than this the sign-flip test is not enumerated (2^20 patterns take a few milliseconds).
const MOST_PAIRS_ENUMERATED: usize = 20;

/// The rule behind every verdict, in the words that the report prints.
///
/// The difference is the mean over common seeds of (better minus worse), its interval the 95 % t interval of that
/// mean, the margin the one that the claim states (0 where it only says "better").
pub const VERDICT_RULE: &str = "A claim says that one row exceeds another by at least a margin (0 where the paper \
    only says better). Both rows are compared seed by seed: the difference is the mean over the seeds that both \
    have, with its 95 % t interval. Reproduced: the difference reaches the margin and the whole interval lies above \
    0. Not reproduced: the whole interval lies at or below the margin. Inconclusive: everything else, and always \
    with fewer than two common seeds.";

/// What the runs say about a claim; see [`VERDICT_RULE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    #[serde(rename = "reproduced")]
    Reproduced,
    #[serde(rename = "not reproduced")]
    NotReproduced,
    #[serde(rename = "inconclusive")]
    Inconclusive,
}

/// Mean of one cell over its seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub n: usize,
    pub mean: f64,
    /// Sample standard deviation (n - 1); none for one value.
    pub sd: Option<f64>,
    /// 95 % t interval of the mean; none for one value.
    pub ci95: Option<(f64, f64)>,
}

/// A paired comparison on common seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    pub difference: Summary,
    /// Two-sided p of the paired t test; none for one pair.
    pub t_p: Option<f64>,
    /// Two-sided p of the exact sign-flip test; none for more than 20 pairs.
    pub sign_flip_p: Option<f64>,
    /// The smallest p that the sign-flip test can give with this many pairs, 2 / 2^n.
    pub sign_flip_floor: f64,
}

/// Mean, sample standard deviation and 95 % t interval; none of an empty slice.
pub fn summary(values: &[f64]) -> Option<Summary> {
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let sd = (n > 1).then(|| (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt());
    let ci95 = sd.map(|sd| {
        let half = t_distribution(n).inverse_cdf(0.975) * sd / (n as f64).sqrt();
        (mean - half, mean + half)
    });
    Some(Summary { n, mean, sd, ci95 })
}

/// Compares two rows on common seeds, given the differences (one per seed); none of an empty slice.
pub fn paired(differences: &[f64]) -> Option<Paired> {
    let difference = summary(differences)?;
    Some(Paired {
        difference,
        t_p: difference.sd.map(|sd| t_test_p(&difference, sd)),
        sign_flip_p: sign_flip_p(differences),
        sign_flip_floor: 2.0_f64.powi(1 - difference.n as i32).min(1.0),
    })
}

/// Applies [`VERDICT_RULE`].
pub fn verdict(difference: &Summary, margin: f64) -> Verdict {
    match difference.ci95 {
        Some((low, _)) if difference.mean >= margin && low > 0.0 => Verdict::Reproduced,
        Some((_, high)) if high <= margin => Verdict::NotReproduced,
        _ => Verdict::Inconclusive,
    }
}

/// Holm's step-down adjustment, in the order given: `adj_(i) = max_{j<=i} min(1, (m - j + 1) p_(j))`.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max(((p.len() - rank) as f64 * p[i]).min(1.0));
        adjusted[i] = largest;
    }
    adjusted
}

/// Two-sided exact sign-flip test: the share of the 2^n sign patterns whose mean is at least as far from zero.
/// Ties up to rounding count as equal.
fn sign_flip_p(differences: &[f64]) -> Option<f64> {
    let n = differences.len();
    if n > MOST_PAIRS_ENUMERATED {
        return None;
    }
    let observed = differences.iter().sum::<f64>().abs();
    let tolerance = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    // Flipping all signs gives the same distance from zero, so half of the patterns are enough.
    let patterns = 1_u32 << (n - 1);
    let as_far = (0..patterns).filter(|pattern| {
        let sum: f64 = differences.iter().enumerate().map(|(i, d)| if pattern >> i & 1 == 1 { -d } else { *d }).sum();
        sum.abs() >= observed - tolerance
    });
    Some(as_far.count() as f64 / f64::from(patterns))
}

fn t_test_p(difference: &Summary, sd: f64) -> f64 {
    if sd == 0.0 {
        // All seeds differ by the same amount: certain unless that amount is zero.
        return if difference.mean == 0.0 { 1.0 } else { 0.0 };
    }
    let t = difference.mean / (sd / (difference.n as f64).sqrt());
    2.0 * t_distribution(difference.n).cdf(-t.abs())
}

fn t_distribution(n: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, (n - 1) as f64).expect("two or more values give at least one degree of freedom")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SP: [f64; 5] = [54.2, 55.9, 53.1, 54.8, 56.4];
    const AP: [f64; 5] = [50.4, 52.3, 51.0, 50.1, 53.3];

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} is not {b}");
    }

    fn differences() -> Vec<f64> {
        SP.iter().zip(AP).map(|(a, b)| a - b).collect()
    }

    // x = np.array([54.2, 55.9, 53.1, 54.8, 56.4]); SciPy 1.17
    // x.mean(), x.std(ddof=1)                              -> 54.88, 1.3217412757419644
    // stats.t.interval(0.95, 4, x.mean(), stats.sem(x))    -> 53.238841442971285, 56.521158557028706
    // stats.t.interval(0.95, 2, x[:3].mean(), stats.sem(x[:3])) -> 50.89569251632068, 57.90430748367932
    #[test]
    fn summary_agrees_with_scipy() {
        let s = summary(&SP).unwrap();
        close(s.mean, 54.88);
        close(s.sd.unwrap(), 1.3217412757419644);
        close(s.ci95.unwrap().0, 53.238841442971285);
        close(s.ci95.unwrap().1, 56.521158557028706);
        let three = summary(&SP[..3]).unwrap().ci95.unwrap();
        close(three.0, 50.89569251632068);
        close(three.1, 57.90430748367932);
    }

    // y = np.array([50.4, 52.3, 51.0, 50.1, 53.3]); r = stats.ttest_rel(x, y)
    // (x - y).mean(), r.pvalue       -> 3.46, 0.0012645291879856489
    // r.confidence_interval(0.95)    -> 2.2735772173084863, 4.646422782691515
    // stats.permutation_test((x, y), lambda a, b: np.mean(a - b), permutation_type="samples",
    //     n_resamples=np.inf, alternative="two-sided").pvalue -> 0.0625
    #[test]
    fn paired_agrees_with_scipy() {
        let p = paired(&differences()).unwrap();
        close(p.difference.mean, 3.46);
        close(p.t_p.unwrap(), 0.0012645291879856489);
        close(p.difference.ci95.unwrap().0, 2.2735772173084863);
        close(p.difference.ci95.unwrap().1, 4.646422782691515);
        close(p.sign_flip_p.unwrap(), 0.0625);
        close(p.sign_flip_floor, 0.0625);
    }

    // a = np.array([1.0, 2.0, -0.5, 0.25, 3.0, -1.5, 0.75]), b = np.zeros(7): the same calls
    // -> sign-flip p 0.28125, t test p 0.2553384418109652
    #[test]
    fn mixed_signs_agree_with_scipy() {
        let p = paired(&[1.0, 2.0, -0.5, 0.25, 3.0, -1.5, 0.75]).unwrap();
        close(p.sign_flip_p.unwrap(), 0.28125);
        close(p.t_p.unwrap(), 0.2553384418109652);
        close(p.sign_flip_floor, 2.0 / 128.0);
    }

    // statsmodels' multipletests(method="holm") written out with NumPy: [.01, .04, .03, .005] -> [.03, .06, .06, .02]
    #[test]
    fn holm_keeps_the_order_given() {
        for (got, want) in holm(&[0.01, 0.04, 0.03, 0.005]).iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(*got, want);
        }
    }

    #[test]
    fn one_value_has_no_interval_and_none_has_no_mean() {
        let one = summary(&[54.2]).unwrap();
        assert_eq!((one.n, one.sd, one.ci95), (1, None, None));
        assert_eq!(summary(&[]), None);
        assert_eq!(verdict(&one, 0.0), Verdict::Inconclusive);
        assert_eq!(paired(&[1.0]).unwrap().sign_flip_floor, 1.0);
    }

    #[test]
    fn verdicts_follow_the_rule() {
        let of = |mean: f64, low: f64, high: f64, margin: f64| {
            verdict(&Summary { n: 3, mean, sd: Some(1.0), ci95: Some((low, high)) }, margin)
        };
        assert_eq!(of(3.0, 1.0, 5.0, 0.8), Verdict::Reproduced);
        assert_eq!(of(0.4, 0.2, 0.6, 0.8), Verdict::NotReproduced); // better, but by less than the margin
        assert_eq!(of(0.7, 0.2, 1.2, 0.8), Verdict::Inconclusive); // the margin lies inside the interval
        assert_eq!(of(3.0, -0.1, 6.1, 0.8), Verdict::Inconclusive);
        assert_eq!(of(-2.0, -3.0, -1.0, 0.0), Verdict::NotReproduced);
        assert_eq!(of(0.0, 0.0, 0.0, 0.0), Verdict::NotReproduced); // equal is not better
    }
}

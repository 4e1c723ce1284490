//! Statistics over seeds: means with confidence intervals (Student's t), paired differences, exact sign-flip tests,
//! verdicts. Statistics over the items of one test set: Wilson's score interval, McNemar's test.
//!
//! Nothing here depends on tables or records; every function is a formula over slices.

use crate::harness::experiment::Expected;
use serde::Deserialize;
use serde::Serialize;
use statrs::distribution::Binomial;
use statrs::distribution::ContinuousCDF;
use statrs::distribution::DiscreteCDF;
use statrs::distribution::Normal;
use statrs::distribution::StudentsT;

/// With more pairs than this there is no sign-flip test: its smallest p is far below any that is printed.
const MOST_PAIRS_ENUMERATED: usize = 20;

/// The rule behind every verdict, in the words that the report prints.
pub const VERDICT_RULE: &[&str] = &[
    "A claim is about a difference: one row or a sum of rows minus another, paired by seed over the seeds that all of \
     these rows have. Its mean has a 95 % confidence interval (Student's t). Most claims say that the difference is at \
     least a margin, which is 0 unless the claim names one: the verdict is about the direction, and the size that the \
     paper states is shown next to it.",
    "As claimed (in the paper's own setting: reproduced): the mean is at least the margin and the whole interval lies \
     above 0. Opposite (not reproduced): the whole interval lies below the margin.",
    "A claim of practically no difference names a margin: the largest difference that counts as none. As claimed: both \
     one-sided t tests against the margin (TOST) reject at 5 %, so that the 90 % confidence interval lies within the \
     margin. Not as claimed: the whole 95 % confidence interval lies outside the margin.",
    "Open: everything else. A claim is always open with fewer than two common seeds, or if all seeds differ by the \
     same amount up to rounding, since a few seeds may agree by chance and then do not show the spread. The number of \
     seeds that would decide assumes that mean and standard deviation stay the same.",
    "Each verdict is about its claim alone. A filled square is also significant after Holm correction over all tested \
     claims of its table, at 0.05. p values are shown next to it. Sign-flip: exact, two-sided test of no difference, \
     without assuming a distribution. t test: paired, two-sided test of no difference, or the larger p of two \
     one-sided tests for practically no difference. McNemar: two rows on the same test images, separately for each \
     seed; it does not cover the variation between trainings.",
];

/// What the runs say about a claim; see [`VERDICT_RULE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The runs show what the claim says; outside the paper's own setting the report says `as claimed`.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// The whole 95 % confidence interval contradicts the claim.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// The claim stays open: too few seeds, equal differences, or an interval that decides neither way.
    #[serde(rename = "inconclusive")]
    Inconclusive,
    /// No seed has completed runs of all its rows.
    #[serde(rename = "not run")]
    NotRun,
    /// The table has no such column or metric: other data, or other settings, would test it.
    #[serde(rename = "not testable on these data")]
    NotTestable,
}

impl Verdict {
    /// The verdict in words, as `results.json` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::Inconclusive => "inconclusive",
            Self::NotRun => "not run",
            Self::NotTestable => "not testable on these data",
        }
    }
}

/// Mean and spread of one cell over its seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of values, at least 1.
    pub n: usize,
    /// Their mean; 0 if it is within the rounding error of the values.
    pub mean: f64,
    /// Sample standard deviation (n - 1); `None` for one value.
    pub sd: Option<f64>,
    /// 95 % confidence interval of the mean (Student's t); `None` for one value.
    pub ci95: Option<(f64, f64)>,
}

/// A paired comparison on common seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Mean and spread of the differences, one per seed.
    pub difference: Summary,
    /// Two-sided p of the paired t test; `None` for one pair, if all pairs differ by the same amount other than 0, or
    /// if mean or standard deviation are not finite.
    pub t_p: Option<f64>,
    /// Two-sided p of the exact sign-flip test; `None` for more than 20 pairs, or if their sum is not finite.
    pub sign_flip_p: Option<f64>,
    /// The smallest p that the sign-flip test can give with this many pairs, 2 / 2^n.
    pub sign_flip_floor: f64,
}

/// Mean, sample standard deviation and 95 % confidence interval (Student's t); `None` for an empty slice. A mean or a
/// standard deviation that is within the rounding error of the values is 0.
pub fn summary(values: &[f64]) -> Option<Summary> {
    if values.is_empty() {
        return None;
    }
    let n = values.len();
    let exact = without_rounding(values);
    let mean = exact(values.iter().sum::<f64>() / n as f64);
    let sd = (n > 1).then(|| exact((values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt()));
    let ci95 = sd.map(|sd| (mean - half_width(n, sd), mean + half_width(n, sd)));
    Some(Summary { n, mean, sd, ci95 })
}

/// Returns a function that replaces a number within the rounding error of `values` by 0.
fn without_rounding(values: &[f64]) -> impl Fn(f64) -> f64 + use<> {
    let rounding = 1e-9 * values.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
    move |x| if x.abs() <= rounding { 0.0 } else { x }
}

/// Compares two rows on common seeds, given the differences (one per seed); `None` for an empty slice.
pub fn paired(differences: &[f64]) -> Option<Paired> {
    let exact = without_rounding(differences);
    let differences: Vec<f64> = differences.iter().map(|&difference| exact(difference)).collect();
    let difference = summary(&differences)?;
    Some(Paired {
        difference,
        t_p: difference.sd.filter(|_| !agrees_by_chance(&difference)).and_then(|sd| t_test_p(&difference, sd)),
        sign_flip_p: sign_flip_p(&differences),
        sign_flip_floor: 2.0_f64.powi(1 - difference.n as i32).min(1.0),
    })
}

/// Applies [`VERDICT_RULE`].
pub fn verdict(difference: &Summary, expected: Expected) -> Verdict {
    let Some((low, high)) = difference.ci95 else { return Verdict::Inconclusive };
    if agrees_by_chance(difference) {
        return Verdict::Inconclusive;
    }
    match expected {
        Expected::AtLeast(margin) if difference.mean >= margin && low > 0.0 => Verdict::Reproduced,
        Expected::AtLeast(margin) if high < margin => Verdict::NotReproduced,
        Expected::Within(margin) if equivalence_p(difference, margin).is_some_and(|p| p < 0.05) => Verdict::Reproduced,
        Expected::Within(margin) if low >= margin || high <= -margin => Verdict::NotReproduced,
        _ => Verdict::Inconclusive,
    }
}

/// The larger p of two one-sided t tests (TOST, Schuirmann 1987) of the null hypotheses that the mean is at most
/// -margin and that it is at least margin; `None` for one value, or if all values are the same number other than 0.
pub fn equivalence_p(difference: &Summary, margin: f64) -> Option<f64> {
    let Summary { n, mean, sd, .. } = *difference;
    if agrees_by_chance(difference) {
        return None;
    }
    let error = sd? / (n as f64).sqrt();
    // The bound that is closer to the mean decides.
    let room = margin - mean.abs();
    if error == 0.0 {
        return Some(if room > 0.0 { 0.0 } else { 1.0 });
    }
    below(-room / error, n)
}

/// The most seeds that [`seeds_to_decide`] considers.
pub const MOST_SEEDS: usize = 200;

/// The smallest number of seeds with which the same mean and standard deviation would give another verdict than
/// inconclusive; `None` if 200 seeds are not enough.
pub fn seeds_to_decide(difference: &Summary, expected: Expected) -> Option<usize> {
    let Summary { n, mean, sd, .. } = *difference;
    let sd = sd?;
    (n.max(2)..=MOST_SEEDS).find(|&n| {
        let half = half_width(n, sd);
        verdict(&Summary { n, mean, sd: Some(sd), ci95: Some((mean - half, mean + half)) }, expected)
            != Verdict::Inconclusive
    })
}

/// Wilson's 95 % score interval (1927) of an accuracy of `right` among `items` test items, in percent; `None` without
/// items. It covers the sampling of test items, not the variation between trainings.
pub fn wilson(right: usize, items: usize) -> Option<(f64, f64)> {
    if items == 0 {
        return None;
    }
    let (n, share) = (items as f64, right as f64 / items as f64);
    let z = Normal::standard().inverse_cdf(0.975);
    let centre = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let end = |sum: f64| (100.0 * sum / (1.0 + z * z / n)).clamp(0.0, 100.0);
    Some((end(centre - half), end(centre + half)))
}

/// Two-sided p of McNemar's exact test (1947). Among the items that exactly one of two classifiers gets right, one
/// classifier is right on `a` and the other on `b`. If both are equally good, each of these items is a fair coin toss.
pub fn mcnemar_p(a: usize, b: usize) -> f64 {
    let tosses = Binomial::new(0.5, (a + b) as u64).expect("a coin's probability is within 0 and 1");
    (2.0 * tosses.cdf(a.min(b) as u64)).min(1.0)
}

/// The difference of two accuracies on the same items, and its 95 % interval, in percentage points: the second minus
/// the first, where `a` items are right only in the first and `b` only in the second, of `items`. The interval is Wald's
/// with half an item added to each of the four counts (Agresti and Min, "Simple improved confidence intervals for
/// comparing matched proportions", 2005). It covers the sampling of test items, not the variation between trainings.
pub fn paired_accuracy(a: usize, b: usize, items: usize) -> Option<(f64, [f64; 2])> {
    if items == 0 {
        return None;
    }
    let [a, b, items] = [a, b, items].map(|count| count as f64);
    let (centre, all) = ((b - a) / (items + 2.0), items + 2.0);
    let half = Normal::standard().inverse_cdf(0.975) * ((a + b + 1.0) - (b - a).powi(2) / all).sqrt() / all;
    Some((100.0 * (b - a) / items, [100.0 * (centre - half).max(-1.0), 100.0 * (centre + half).min(1.0)]))
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

/// Two-sided exact sign-flip test: the fraction of the 2^n sign patterns whose mean is at least as far from zero.
/// Ties up to rounding count as equal.
///
/// The sum of a pattern is a sum of the first half plus a sum of the second half; each half has 2^(n/2) sums. For each
/// sum of the first half, the sums of the second half that make the total far enough from zero are at the ends of their
/// sorted list.
fn sign_flip_p(differences: &[f64]) -> Option<f64> {
    if differences.len() > MOST_PAIRS_ENUMERATED {
        return None;
    }
    let tolerance = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    let far = differences.iter().sum::<f64>().abs() - tolerance;
    if !far.is_finite() {
        return None;
    }
    if far <= 0.0 {
        return Some(1.0);
    }
    let (first, second) = differences.split_at(differences.len() / 2);
    let (first, mut second) = (sums_of_signs(first), sums_of_signs(second));
    second.sort_by(f64::total_cmp);
    let as_far = first.iter().map(|sum| {
        let below = second.partition_point(|other| sum + other <= -far);
        let above = second.len() - second.partition_point(|other| sum + other < far);
        below + above
    });
    Some(as_far.sum::<usize>() as f64 / (first.len() * second.len()) as f64)
}

/// The sum for each of the 2^n patterns of signs.
fn sums_of_signs(values: &[f64]) -> Vec<f64> {
    values.iter().fold(vec![0.0], |sums, value| sums.iter().flat_map(|sum| [sum + value, sum - value]).collect())
}

/// The half-width of the 95 % confidence interval (Student's t) of a mean of n values.
fn half_width(n: usize, sd: f64) -> f64 {
    t_distribution(n).inverse_cdf(0.975) * sd / (n as f64).sqrt()
}

/// Whether all seeds differ by the same amount other than 0. Accuracies are counted in whole items, so a few seeds may
/// agree by chance, and a standard deviation of 0 is not a valid estimate. If all differences are 0, the rows are
/// identical, which is a different case.
fn agrees_by_chance(difference: &Summary) -> bool {
    difference.sd == Some(0.0) && difference.mean != 0.0
}

fn t_test_p(difference: &Summary, sd: f64) -> Option<f64> {
    if sd == 0.0 {
        return Some(1.0);
    }
    let t = difference.mean / (sd / (difference.n as f64).sqrt());
    Some(2.0 * below(-t.abs(), difference.n)?)
}

/// The probability that Student's t of n values is below `t`; `None` if `t` is not finite.
fn below(t: f64, n: usize) -> Option<f64> {
    t.is_finite().then(|| t_distribution(n).cdf(t))
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

    #[test]
    fn sign_flips_are_counted_as_one_by_one() {
        for n in 1..=11_u32 {
            for values in [3, 12, 9973] {
                // Few different values, so that many patterns tie.
                let value = |i: u32| (f64::from((i * 7919 + n * 3571 + 17) % values) - f64::from(values) / 3.0) / 7.0;
                let differences: Vec<f64> = (0..n).map(value).collect();
                let observed = differences.iter().sum::<f64>().abs();
                let sum = |pattern: u32| -> f64 {
                    differences.iter().enumerate().map(|(i, d)| if pattern >> i & 1 == 1 { -d } else { *d }).sum()
                };
                let as_far = (0..1_u32 << n).filter(|&pattern| sum(pattern).abs() >= observed - 1e-9).count();
                assert_eq!(sign_flip_p(&differences), Some(as_far as f64 / f64::from(1 << n)), "{differences:?}");
            }
        }
        assert_eq!((sign_flip_p(&[1.0; 20]), sign_flip_p(&[1.0; 21])), (Some(2.0_f64.powi(-19)), None));
    }

    // statsmodels' multipletests(method="holm") written out with NumPy: [.01, .04, .03, .005] -> [.03, .06, .06, .02]
    #[test]
    fn holm_keeps_the_order_given() {
        for (got, want) in holm(&[0.01, 0.04, 0.03, 0.005]).iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(*got, want);
        }
    }

    // x = np.array([0.4, -0.9, 0.7, -0.2, 0.3]); SciPy 1.17
    // max(stats.ttest_1samp(x, -m, alternative="greater").pvalue, stats.ttest_1samp(x, m, alternative="less").pvalue)
    // -> 0.001144429610151219 for m = 2, 0.09581578094328035 for m = 0.5
    #[test]
    fn equivalence_agrees_with_scipy() {
        let small = summary(&[0.4, -0.9, 0.7, -0.2, 0.3]).unwrap();
        close(equivalence_p(&small, 2.0).unwrap(), 0.001144429610151219);
        close(equivalence_p(&small, 0.5).unwrap(), 0.09581578094328035);
        assert_eq!(verdict(&small, Expected::Within(2.0)), Verdict::Reproduced);
        assert_eq!(verdict(&small, Expected::Within(0.5)), Verdict::Inconclusive);
        let large = summary(&[3.0, 3.2, 2.9]).unwrap();
        assert_eq!(verdict(&large, Expected::Within(2.0)), Verdict::NotReproduced);
        let same = summary(&[0.0; 3]).unwrap();
        assert_eq!((equivalence_p(&same, 2.0), equivalence_p(&same, 0.0)), (Some(0.0), Some(1.0)));
    }

    // x = np.array([1.0, 2.0, -0.5, 0.25, 3.0, -1.5, 0.75]); the first n from 7 on for which
    // stats.t.interval(0.95, n - 1, x.mean(), x.std(ddof=1) / np.sqrt(n)) lies above 0 -> 20; for the five values
    // above it is 422, more than anyone will run
    #[test]
    fn more_seeds_of_the_same_spread_decide() {
        let mixed = summary(&[1.0, 2.0, -0.5, 0.25, 3.0, -1.5, 0.75]).unwrap();
        assert_eq!(seeds_to_decide(&mixed, Expected::AtLeast(0.0)), Some(20));
        let small = summary(&[0.4, -0.9, 0.7, -0.2, 0.3]).unwrap();
        assert_eq!(seeds_to_decide(&small, Expected::AtLeast(0.0)), None);
    }

    // stats.binomtest(k, n).proportion_ci(0.95, method="wilson"), times 100; SciPy 1.17
    #[test]
    fn wilson_agrees_with_scipy() {
        for (right, items, low, high) in [
            (497, 1000, 46.60816352651897, 52.794132528572355),
            (0, 50, 0.0, 7.134759913335873),
            (80, 80, 95.41818704644729, 100.0),
            (1, 7, 2.567962434474358, 51.31278292743189),
        ] {
            let interval = wilson(right, items).unwrap();
            close(interval.0, low);
            close(interval.1, high);
        }
        assert_eq!(wilson(0, 0), None);
    }

    // stats.binomtest(a, a + b).pvalue; SciPy 1.17
    #[test]
    fn mcnemar_agrees_with_scipy() {
        for (a, b, p) in [(10, 3, 0.09228515625), (120, 85, 0.017351090463147357), (5, 5, 1.0), (0, 4, 0.125)] {
            close(mcnemar_p(a, b), p);
            close(mcnemar_p(b, a), p);
        }
        assert_eq!(mcnemar_p(0, 0), 1.0);
    }

    // d, n = b - a, n + 2
    // h = scipy.stats.norm.ppf(.975) * ((a + b + 1 - d * d / n) ** .5) / n; (d / n - h, d / n + h)
    #[test]
    fn paired_accuracies_have_the_interval_of_agresti_and_min() {
        for (a, b, items, low, high) in [
            (16, 54, 155, 14.38969568617831, 34.0179476259236),
            (120, 85, 4000, -1.576958211667489, -0.17216722561387063),
            (0, 0, 50, -3.769161508730872, 3.769161508730872),
            (3, 0, 3, -100.0, -1.8580722523682702),
        ] {
            let (difference, interval) = paired_accuracy(a, b, items).unwrap();
            close(difference, 100.0 * (b as f64 - a as f64) / items as f64);
            close(interval[0], low);
            close(interval[1], high);
        }
        assert_eq!(paired_accuracy(0, 0, 0), None);
    }

    #[test]
    fn one_value_has_no_interval_and_none_has_no_mean() {
        let one = summary(&[54.2]).unwrap();
        assert_eq!((one.n, one.sd, one.ci95), (1, None, None));
        assert_eq!(summary(&[]), None);
        assert_eq!(verdict(&one, Expected::AtLeast(0.0)), Verdict::Inconclusive);
        assert_eq!(paired(&[1.0]).unwrap().sign_flip_floor, 1.0);
    }

    #[test]
    fn verdicts_follow_the_rule() {
        let of = |mean: f64, low: f64, high: f64, margin: f64| {
            verdict(&Summary { n: 3, mean, sd: Some(1.0), ci95: Some((low, high)) }, Expected::AtLeast(margin))
        };
        assert_eq!(of(3.0, 1.0, 5.0, 0.8), Verdict::Reproduced);
        assert_eq!(of(0.4, 0.2, 0.6, 0.8), Verdict::NotReproduced); // better, but by less than the margin
        assert_eq!(of(0.7, 0.2, 1.2, 0.8), Verdict::Inconclusive); // the margin lies inside the interval
        assert_eq!(of(3.0, -0.1, 6.1, 0.8), Verdict::Inconclusive);
        assert_eq!(of(-2.0, -3.0, -1.0, 0.0), Verdict::NotReproduced);
        assert_eq!(of(0.0, 0.0, 0.0, 0.0), Verdict::Inconclusive); // equal is neither
    }

    #[test]
    fn seeds_that_agree_up_to_rounding_decide_nothing() {
        let rounded = [(46.55, 42.67), (46.31, 42.43), (46.79, 42.91)].map(|(a, b): (f64, f64)| a - b);
        assert!(rounded[0] != rounded[1] || rounded[1] != rounded[2], "these differ in their last bits");
        for differences in [&[-2.75, -2.75][..], &rounded] {
            let same = paired(differences).unwrap();
            assert_eq!((same.difference.sd, same.t_p), (Some(0.0), None));
            assert_eq!(equivalence_p(&same.difference, 5.0), None);
            assert_eq!(verdict(&same.difference, Expected::AtLeast(0.0)), Verdict::Inconclusive);
            assert_eq!(verdict(&same.difference, Expected::Within(5.0)), Verdict::Inconclusive);
        }
        let none = paired(&[0.1 + 0.2 - 0.3, 0.0, 0.3 - 0.1 - 0.2]).unwrap();
        assert_eq!((none.difference.mean, none.t_p, none.sign_flip_p), (0.0, Some(1.0), Some(1.0)));
        assert_eq!(verdict(&none.difference, Expected::AtLeast(0.0)), Verdict::Inconclusive);
    }

    #[test]
    fn values_beyond_numbers_have_no_p() {
        let infinite = paired(&[1.7e308, 1.6e308, 1.7e308]).unwrap();
        assert_eq!((infinite.t_p, equivalence_p(&infinite.difference, 2.0)), (None, None));
        for p in [infinite, paired(&[f64::MAX, -f64::MAX, f64::MAX]).unwrap()] {
            assert_eq!(verdict(&p.difference, Expected::AtLeast(0.0)), Verdict::Inconclusive);
            assert_eq!(verdict(&p.difference, Expected::Within(2.0)), Verdict::Inconclusive);
        }
    }
}

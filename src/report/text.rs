//! Words and numbers as a reader sees them, and the escapes of each format.

use crate::harness::experiment::Row;
use crate::harness::record::Status;
use crate::report::stats::Verdict;

/// What stands where there is no number.
pub(super) const DASH: &str = "–";

/// A row's name: its first value, the others in brackets, as in `SimCLR (SP)`, without those that are none.
pub(super) fn label(row: &Row) -> String {
    let mut values = row.iter().map(|(_, value)| value.as_str()).filter(|v| !v.is_empty() && *v != "none");
    let first = values.next().unwrap_or("(unnamed)");
    let rest: Vec<&str> = values.collect();
    if rest.is_empty() { first.to_string() } else { format!("{first} ({})", rest.join(", ")) }
}

/// Longer names of rows and columns are cut on pages; `results.json` and the CSV have them whole.
const LONGEST_NAME: usize = 60;

/// A row's name, cut where it would break a page.
pub(super) fn name(row: &Row) -> String {
    brief(&label(row))
}

/// A name of anything, cut where it would break a page.
pub(super) fn brief(name: &str) -> String {
    shorten(name, LONGEST_NAME)
}

/// With a full stop where a sentence lacks its end.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '!', '?']) { text.to_string() } else { format!("{text}.") }
}

/// A status as the end of a sentence that begins with `the run`.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Running => "is still running",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Interrupted => "was interrupted",
        Status::Killed => "was killed",
    }
}

/// A mean with its interval, cut to the uncertainty: one decimal, none where the half-width is 10 or more, two
/// where it is below 0.05 or mean and half-width are small, as those of shares and cosines are. An interval that the
/// valid range cuts short is given by its ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub mean: String,
    pub plus_minus: Option<String>,
    pub ends: Option<(String, String)>,
}

/// Formats a mean with its interval. Of a metric with several `decimals` none of these is cut.
pub(super) fn measured(mean: f64, ci95: Option<(f64, f64)>, decimals: usize) -> Measured {
    let least = if decimals > 1 { decimals } else { 0 };
    let Some((low, high)) = ci95 else {
        let digits = least.max(if is_small(mean) { 2 } else { 1 });
        return Measured { mean: fixed(mean, digits), plus_minus: None, ends: None };
    };
    let half = (mean - low).max(high - mean);
    let digits = least.max(if is_small(mean.abs().max(half)) { 2 } else { decimals_of(half) });
    let symmetric = ((mean - low) - (high - mean)).abs() <= 1e-9 * half.max(1.0);
    Measured {
        mean: fixed(mean, digits),
        plus_minus: symmetric.then(|| fixed(half, digits)),
        ends: (!symmetric).then(|| (fixed(low, digits), fixed(high, digits))),
    }
}

impl Measured {
    /// `54.2 ± 1.1`, `3.0 (0.0 to 7.1)` or `54.2`.
    pub fn plain(&self) -> String {
        format!("{}{}", self.mean, self.spread())
    }

    /// What follows the mean, with a leading space; empty for one seed.
    pub fn spread(&self) -> String {
        match (&self.plus_minus, &self.ends) {
            (Some(half), _) => format!(" ± {half}"),
            (None, Some((low, high))) => format!(" ({low} to {high})"),
            (None, None) => String::new(),
        }
    }
}

/// A verdict as a word, a class and a mark.
pub(super) fn verdict(verdict: Verdict) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Verdict::Reproduced => ("Reproduced", "reproduced", "✓"),
        Verdict::NotReproduced => ("Not reproduced", "not-reproduced", "✗"),
        Verdict::Inconclusive => ("Inconclusive", "inconclusive", "?"),
        Verdict::NotRun => ("Not run", "not-run", "–"),
        Verdict::NotTestable => ("Not testable on these data", "not-testable", "–"),
    }
}

/// What follows a difference of two values that have this unit.
pub(super) fn unit_of_difference(unit: &str) -> String {
    match unit {
        "" => String::new(),
        "%" => " points".to_string(),
        unit => format!(" {unit}"),
    }
}

/// A signed difference with its interval, as in `+3.5 points, 95 % interval +2.3 to +4.6`.
pub(super) fn difference(mean: f64, ci95: Option<(f64, f64)>, unit: &str) -> String {
    // What has no unit is a share or a cosine.
    let digits = |half: f64| if unit.is_empty() { 2 } else { decimals_of(half) };
    let is_lost =
        |value: f64, digits: usize| value != 0.0 && signed(value, digits).chars().all(|c| !('1'..='9').contains(&c));
    match ci95 {
        None => format!("{}{unit}, no interval", signed(mean, digits(1.0))),
        Some((low, high)) => {
            let enough = digits((high - low) / 2.0);
            // On which side of 0 an end lies is what a verdict hangs on: it must not be rounded away.
            let digits = (enough..enough + 3).find(|&digits| !is_lost(low, digits) && !is_lost(high, digits));
            let [mean, low, high] = [mean, low, high].map(|v| signed(v, digits.unwrap_or(enough)));
            format!("{mean}{unit}, 95 % interval {low} to {high}")
        }
    }
}

/// A p value as `= 0.25`, or `< 0.001` below that.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_string() } else { format!("= {}", fixed(p, if p < 0.1 { 3 } else { 2 })) }
}

/// `n` with narrow spaces between groups of three digits.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A fixed number of decimals with a real minus sign, and never a negative zero.
pub(super) fn fixed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_string(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

pub(super) fn signed(value: f64, digits: usize) -> String {
    let text = fixed(value, digits);
    if text.starts_with('−') || text.chars().all(|c| c == '0' || c == '.') { text } else { format!("+{text}") }
}

/// Below 2 either way, where one decimal says little.
fn is_small(value: f64) -> bool {
    value.abs() < 2.0
}

fn decimals_of(half: f64) -> usize {
    if half >= 9.95 {
        0
    } else if (1e-9..0.05).contains(&half) {
        2
    } else {
        1
    }
}

/// The first `most` characters, with an ellipsis where some were cut.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_string();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

/// Text for every format: control characters, which XML forbids and terminals obey, and the marks that reorder the
/// text around them become visible. Right-to-left letters need no marks and stay.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' | '\r' => ' ',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Text inside HTML and XML elements and quoted attributes.
pub(super) fn xml(text: &str) -> String {
    let text = clean(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Text inside Markdown: also safe in a table cell and at the start of a line.
pub(super) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in clean(text).chars().enumerate() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => out.extend(['\\', c]),
            '#' | '-' | '+' | '=' if i == 0 => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// Latin letters that LaTeX's own fonts cannot put together of a letter and an accent.
const NOT_IN_LATEX: &str = "ÐÞðþĄąĐđĘęĦħĮįĸĿŀŊŋŉŦŧŲų";

/// Text inside LaTeX, for every engine: what its own fonts lack stands as its code point.
pub(super) fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            // Two hyphens would become a dash; the end of a row would take a bracket or a star as its own.
            '-' if out.ends_with('-') => out.push_str("{}-"),
            '[' | '*' if out.is_empty() => out.extend(['{', c, '}']),
            '`' => out.push_str(r"\textasciigrave{}"),
            '\\' => out.push_str(r"\textbackslash{}"),
            '{' | '}' | '$' | '&' | '#' | '%' | '_' => out.extend(['\\', c]),
            '^' => out.push_str(r"\textasciicircum{}"),
            '~' => out.push_str(r"\textasciitilde{}"),
            '<' => out.push_str(r"\textless{}"),
            '>' => out.push_str(r"\textgreater{}"),
            '|' => out.push_str(r"\textbar{}"),
            '"' => out.push_str("''"),
            '±' => out.push_str(r"$\pm$"),
            '−' => out.push_str(r"$-$"),
            '×' | '✗' => out.push_str(r"$\times$"),
            '✓' => out.push_str(r"$\surd$"),
            '≤' => out.push_str(r"$\leq$"),
            '≥' => out.push_str(r"$\geq$"),
            '→' => out.push_str(r"$\to$"),
            'µ' | 'μ' => out.push_str(r"$\mu$"),
            '°' => out.push_str(r"$^\circ$"),
            '·' => out.push_str(r"$\cdot$"),
            '†' => out.push_str(r"\dag{}"),
            '‡' => out.push_str(r"\ddag{}"),
            '…' => out.push_str(r"\dots{}"),
            '–' => out.push_str("--"),
            '—' => out.push_str("---"),
            '“' => out.push_str("``"),
            '”' => out.push_str("''"),
            '‘' => out.push('`'),
            '’' => out.push('\''),
            '\u{a0}' => out.push('~'),
            '\u{202f}' => out.push_str(r"\,"),
            ' '..='~' => out.push(c),
            'À'..='ž' if !NOT_IN_LATEX.contains(c) => out.push(c),
            c => out.push_str(&format!(r"\texttt{{U+{:04X}}}", u32::from(c))),
        }
    }
    out
}

/// One field of a CSV line (RFC 4180).
pub(super) fn csv(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

/// A name that is safe as a file name on every system and cannot leave its folder.
pub(super) fn file_stem(text: &str) -> String {
    let stem: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' })
        .take(80)
        .collect();
    if stem.is_empty() { "table".to_string() } else { stem }
}

/// One word of a shell command, quoted where it must be.
pub(super) fn shell(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c));
    if plain { word.to_string() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_to_their_uncertainty() {
        assert_eq!(measured(54.237, Some((53.1, 55.374)), 1).plain(), "54.2 ± 1.1");
        assert_eq!(measured(54.237, Some((34.2, 74.274)), 1).plain(), "54 ± 20");
        assert_eq!(measured(54.237, Some((54.217, 54.257)), 1).plain(), "54.24 ± 0.02");
        assert_eq!(measured(54.237, None, 1).plain(), "54.2");
        assert_eq!(measured(54.237, Some((34.2, 74.274)), 3).plain(), "54.237 ± 20.037");
        assert_eq!(measured(0.704, Some((0.6, 0.808)), 1).plain(), "0.70 ± 0.10");
        assert_eq!(measured(0.704, None, 1).plain(), "0.70");
        assert_eq!(measured(3.0, Some((0.0, 7.1)), 1).plain(), "3.0 (0.0 to 7.1)");
        assert_eq!(measured(5.0, Some((5.0, 5.0)), 1).plain(), "5.0 ± 0.0");
        assert_eq!(fixed(-0.04, 1), "0.0");
        assert_eq!(difference(-1.23, Some((-2.5, 0.04)), " points"), "−1.23 points, 95 % interval −2.50 to +0.04");
        assert_eq!(difference(0.0, Some((-1e-9, 1e-9)), ""), "0.00, 95 % interval 0.00 to 0.00");
        assert_eq!(difference(0.024, None, ""), "+0.02, no interval");
        assert_eq!(difference(0.2, Some((0.1, 0.3)), ""), "+0.20, 95 % interval +0.10 to +0.30");
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(count(1234567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn escapes_leave_nothing_active() {
        let hostile = "<script>|`$x_1` & 100% \\input{a} \"é\"\u{0}";
        assert_eq!(xml(hostile), "&lt;script&gt;|`$x_1` &amp; 100% \\input{a} &quot;é&quot;\u{fffd}");
        assert_eq!(markdown(hostile), "&lt;script&gt;\\|\\`\\$x\\_1\\` &amp; 100% \\\\input{a} \"é\"\u{fffd}");
        assert_eq!(
            latex(hostile),
            "\\textless{}script\\textgreater{}\\textbar{}\\textasciigrave{}\\$x\\_1\\textasciigrave{} \\& 100\\% \\textbackslash{}input\\{a\\} ''é''\\texttt{U+FFFD}"
        );
        assert_eq!(
            latex("[--set] ×1 “שׁ” ≤ 2…"),
            r"{[}-{}-set] $\times$1 ``\texttt{U+05E9}\texttt{U+05C1}'' $\leq$ 2\dots{}"
        );
        assert_eq!(csv("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(file_stem("../../etc"), "------etc");
        assert_eq!(shell("a b'c"), r"'a b'\''c'");
    }

    #[test]
    fn labels_read_as_in_the_paper() {
        let row = |values: &[&str]| values.iter().map(|v| ("k".to_string(), v.to_string())).collect::<Row>();
        assert_eq!(label(&row(&["SimCLR", "SP"])), "SimCLR (SP)");
        assert_eq!(label(&row(&["raw pixels", "none"])), "raw pixels");
        assert_eq!(label(&row(&["", "x"])), "x");
    }
}

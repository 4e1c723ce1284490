//! Words and numbers as a reader sees them, and escaping for each format.

use crate::harness::experiment::Row;
use crate::harness::record::Status;

/// Printed in place of a missing number.
pub(super) const DASH: &str = "–";

/// A row's name: its first value, the others in brackets, as in `SimCLR (SP)`, without values that are empty or `none`.
pub(super) fn label(row: &Row) -> String {
    let mut values = row.iter().map(|(_, value)| value.as_str()).filter(|v| !v.is_empty() && *v != "none");
    let first = values.next().unwrap_or("(unnamed)");
    let rest: Vec<&str> = values.collect();
    if rest.is_empty() { first.to_string() } else { format!("{first} ({})", rest.join(", ")) }
}

/// Longer names of rows and columns are cut on pages; `results.json` and the CSV have them in full.
const LONGEST_NAME: usize = 60;

/// A row's name, cut where it would break a page.
pub(crate) fn name(row: &Row) -> String {
    brief(&label(row))
}

/// A name of anything, cut where it would break a page.
pub(super) fn brief(name: &str) -> String {
    shorten(name, LONGEST_NAME)
}

/// The text with a full stop, unless it already ends a sentence.
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

/// A mean with its interval: one decimal, or two if there is no unit. An interval that is clipped to the valid range is
/// given by its ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub mean: String,
    /// `± 0.6`, `[0.0, 7.1]`, or nothing for one seed.
    pub spread: String,
}

/// Formats a mean with its interval. If `decimals` is above 1, that many decimals are printed.
pub(super) fn measured(mean: f64, ci95: Option<(f64, f64)>, unit: &str, decimals: usize) -> Measured {
    let digits = if decimals > 1 { decimals } else { decimals_of(unit) };
    let spread = ci95.map_or_else(String::new, |(low, high)| {
        let half = (mean - low).max(high - mean);
        let is_symmetric = ((mean - low) - (high - mean)).abs() <= 1e-9 * half.max(1.0);
        if is_symmetric {
            format!("± {}", fixed(half, digits))
        } else {
            format!("[{}, {}]", fixed(low, digits), fixed(high, digits))
        }
    });
    Measured { mean: fixed(mean, digits), spread }
}

impl Measured {
    /// `54.2 ± 1.1`, `3.0 [0.0, 7.1]` or `54.2`.
    pub fn plain(&self) -> String {
        format!("{} {}", self.mean, self.spread).trim_end().to_string()
    }
}

/// A signed difference and its interval, as `+3.5` and `[+2.3, +4.6]`; the interval is empty for one seed. There is one
/// decimal, or two if there is no unit, and more only if rounding would make an end 0: the verdict depends on the side
/// of 0 on which an end lies.
pub(super) fn change(mean: f64, ci95: Option<(f64, f64)>, unit: &str) -> (String, String) {
    let least = decimals_of(unit);
    let Some((low, high)) = ci95 else { return (signed(mean, least), String::new()) };
    let is_lost =
        |value: f64, digits: usize| value != 0.0 && signed(value, digits).chars().all(|c| !('1'..='9').contains(&c));
    let enough = (least..least + 3).find(|&digits| !is_lost(low, digits) && !is_lost(high, digits)).unwrap_or(least);
    (signed(mean, enough), format!("[{}, {}]", signed(low, enough), signed(high, enough)))
}

/// The decimals of a value: a value without a unit is a fraction or a cosine.
fn decimals_of(unit: &str) -> usize {
    if unit.is_empty() { 2 } else { 1 }
}

/// A size without its sign, as in `by 3.8 points`.
pub(super) fn size(value: f64, unit: &str) -> String {
    fixed(value.abs(), decimals_of(unit))
}

/// What is printed after a difference of two values with this unit.
pub(super) fn unit_of_difference(unit: &str) -> String {
    match unit {
        "" => String::new(),
        "%" => " points".to_string(),
        unit => format!(" {unit}"),
    }
}

/// A value of the paper as it is printed there: with as many decimals as the most precise value of its table.
pub(super) fn printed(value: f64, digits: usize) -> String {
    fixed(value, digits)
}

/// The decimals of a number in its shortest exact form.
pub(super) fn decimals(value: f64) -> usize {
    format!("{value}").split_once('.').map_or(0, |(_, digits)| digits.len())
}

/// A gain that the paper states or that follows from its values, with at least one decimal and no more than two.
pub(super) fn paper_gain(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    signed(rounded, decimals(rounded).clamp(1, 2))
}

/// Several names as a phrase: `a, b and c`.
pub(super) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `n` with the noun in singular or plural.
pub(crate) fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("{n} {what}") } else { format!("{n} {what}s") }
}

/// Small numbers as words.
pub(super) fn number(n: usize) -> String {
    let words =
        ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    words.get(n).map_or_else(|| n.to_string(), |word| (*word).to_string())
}

/// The text with its first letter in upper case.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
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

/// An energy in joules as watt-hours or kilowatt-hours, with three digits.
pub(super) fn energy(joules: f64) -> String {
    let (value, unit) = if joules < 3.6e6 { (joules / 3.6e3, "Wh") } else { (joules / 3.6e6, "kWh") };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{} {unit}", fixed(value, digits))
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

/// The first `most` characters, with an ellipsis where some were cut.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_string();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

/// Text for every format: control characters, which XML forbids and terminals obey, and the marks that reorder the
/// text around them become visible. Right-to-left letters need no marks and are kept.
pub(crate) fn clean(text: &str) -> String {
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

/// Latin letters that LaTeX's own fonts cannot compose from a letter and an accent.
const NOT_IN_LATEX: &str = "ÐÞðþĄąĐđĘęĦħĮįĸĿŀŊŋŉŦŧŲų";

/// Text inside LaTeX, for every engine: a character that its own fonts lack is written as its code point.
pub(crate) fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            // Two hyphens would become a dash; the end of a row would take a bracket or a star as its argument.
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
            '▾' => out.push_str(r"$\downarrow$"),
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

/// A name that is safe as a file name on every system and cannot leave its folder.
pub(super) fn file_stem(text: &str) -> String {
    let stem: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' })
        .take(80)
        .collect();
    if stem.is_empty() { "table".to_string() } else { stem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_decimal_and_more_only_beside_zero() {
        assert_eq!(measured(54.237, Some((53.1, 55.374)), "%", 1).plain(), "54.2 ± 1.1");
        assert_eq!(measured(54.237, Some((34.2, 74.274)), "%", 1).plain(), "54.2 ± 20.0");
        assert_eq!(measured(54.237, None, "%", 1).plain(), "54.2");
        assert_eq!(measured(54.237, Some((34.2, 74.274)), "%", 3).plain(), "54.237 ± 20.037");
        assert_eq!(measured(0.704, Some((0.6, 0.808)), "", 1).plain(), "0.70 ± 0.10");
        assert_eq!(measured(3.0, Some((0.0, 7.1)), "%", 1).plain(), "3.0 [0.0, 7.1]");
        assert_eq!(measured(5.0, Some((5.0, 5.0)), "%", 1).plain(), "5.0 ± 0.0");
        assert_eq!(fixed(-0.04, 1), "0.0");
        let both = |of: (String, String)| format!("{} {}", of.0, of.1);
        assert_eq!(both(change(7.566, Some((-3.0, 18.13)), "%")), "+7.6 [−3.0, +18.1]");
        assert_eq!(both(change(-1.23, Some((-2.5, 0.04)), "%")), "−1.23 [−2.50, +0.04]");
        assert_eq!(both(change(0.0, Some((-1e-9, 1e-9)), "")), "0.00 [0.00, 0.00]");
        assert_eq!(both(change(0.024, None, "")), "+0.02 ");
        assert_eq!([0.8, 1.8399999, 4.15, 3.0].map(paper_gain), ["+0.8", "+1.84", "+4.15", "+3.0"]);
    }

    #[test]
    fn counts_and_energies_read_well() {
        assert_eq!(count(1234567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            [0.0, 9e3, 9e4, 9e5, 9e6, 9e8].map(energy),
            ["0.00 Wh", "2.50 Wh", "25.0 Wh", "250 Wh", "2.50 kWh", "250 kWh"]
        );
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
        assert_eq!(file_stem("../../etc"), "------etc");
    }

    #[test]
    fn labels_read_as_in_the_paper() {
        let row = |values: &[&str]| values.iter().map(|v| ("k".to_string(), v.to_string())).collect::<Row>();
        assert_eq!(label(&row(&["SimCLR", "SP"])), "SimCLR (SP)");
        assert_eq!(label(&row(&["raw pixels", "none"])), "raw pixels");
        assert_eq!(label(&row(&["", "x"])), "x");
    }
}

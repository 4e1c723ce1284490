//! The numbers of a LaTeX text that state a result: decimal numbers, and whole numbers of percent or points. Versions,
//! identifiers, lengths, indices, section numbers and confidence levels are not results.

use crate::error::Error;
use crate::error::Result;
use crate::lint::tex;
use crate::lint::tex::Cursor;
use crate::lint::tex::Stripped;
use crate::report::text;
use serde::Serialize;

/// More numbers than this are data, not a manuscript.
const MOST_NUMBERS: usize = 100_000;

/// The number of bytes after a number in which a `\pm` and its spread are looked for.
const NEAR: usize = 64;

/// Words before a number that make it the number of a section, table or other part, or a version.
const NAMES: &[&str] = &[
    "section",
    "sections",
    "table",
    "tables",
    "figure",
    "figures",
    "equation",
    "equations",
    "chapter",
    "chapters",
    "appendix",
    "algorithm",
    "theorem",
    "lemma",
    "definition",
    "proposition",
    "corollary",
    "listing",
    "version",
    "versions",
    "python",
    "pytorch",
    "torchvision",
    "torch",
    "timm",
    "cuda",
    "cudnn",
    "rust",
    "ubuntu",
    "linux",
    "numpy",
    "scipy",
    "tensorflow",
    "jax",
    "gcc",
    "sec",
    "secs",
    "fig",
    "figs",
    "eq",
    "eqs",
    "tab",
];

/// Abbreviations with a full stop that do the same. Some of [`NAMES`] are abbreviations without a full stop.
const ABBREVIATIONS: &[&str] =
    &["sec", "secs", "fig", "figs", "eq", "eqs", "tab", "alg", "ch", "app", "v", "ver", "no", "thm", "def"];

/// Words after a percentage that make it a confidence or significance level.
const LEVELS: &[&str] = &["confidence", "interval", "intervals", "ci", "cis", "level", "significance", "credible"];

/// Words after a whole number that make it a percentage.
const PERCENT: &[&str] = &["points", "point", "percent", "percentage", "pp", "ppt", "pts", "pct"];

/// Endings of the names of lengths, such as `\linewidth`.
const MEASURES: &[&str] = &["width", "height", "skip", "sep", "size", "indent", "depth"];

const PLUS_MINUS: &[&str] = &["\\pm", "\\textpm", "±", "+-", "+/-"];

/// Separators between groups of three digits.
const GROUPS: &[&str] = &[",", "{,}", "\\,", "{\\,}", "'", "\u{2009}", "\u{202f}"];

/// Decimal separators.
const POINTS: &[&str] = &[".", ",", "{,}", "{.}", "·"];

/// Percent signs after a number.
const PERCENT_SIGNS: &[&str] = &["\\%", "\\percent", "\\textpercent", "％", "per cent"];

/// The role of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A value.
    Value,
    /// A value with a sign: a difference.
    Change,
    /// A spread, which follows `\pm`.
    Spread,
    /// An upper bound of a p value, as in `p < 0.05`.
    Bound,
}

/// A number that states a result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Number {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// As written, with its sign.
    pub text: String,
    /// With its sign: 83.6 for `83.6\%`, 0.4 for the spread in `83.6(4)`.
    pub value: f64,
    /// The value of one unit in its last digit.
    #[serde(skip)]
    pub step: f64,
    /// Decides which recorded values it may match.
    pub role: Role,
    /// Whether it is the spread of the number before it.
    #[serde(skip)]
    pub of_previous: bool,
    /// Whether a comment exempts it.
    #[serde(skip)]
    pub ignored: bool,
}

/// The numbers of a text that state a result, in order.
///
/// # Errors
/// The text has more numbers than any manuscript.
pub fn numbers(text: &str) -> Result<Vec<Number>> {
    of_stripped(text, &tex::strip(text))
}

/// Like [`numbers`], for a text that is already stripped.
pub(super) fn of_stripped(text: &str, stripped: &Stripped) -> Result<Vec<Number>> {
    let kept = stripped.kept.as_slice();
    let mut cursor = Cursor::new(text);
    let mut found: Vec<Number> = Vec::new();
    // The ends of the last number that was found, and of the last number of a part.
    let (mut previous, mut named, mut at) = (None, None, 0);
    while at < kept.len() {
        let Some(token) = Token::at(kept, at) else {
            at += 1;
            continue;
        };
        at = token.end;
        let of_previous = previous.is_some_and(|end| token.is_spread_after(end));
        if token.names_a_part(named) {
            named = Some(token.end);
        } else if let Some(role) = token.role(of_previous) {
            if found.len() == MOST_NUMBERS {
                return Err(Error::new(format!("holds more than {MOST_NUMBERS} numbers"))
                    .hint("give a manuscript to `sempair lint`, not its data"));
            }
            let (line, column) = cursor.place(token.start);
            found.push(Number {
                line,
                column,
                text: text::clean(&text::shorten(&text[token.start..token.end], 24)),
                value: token.value(text),
                step: 10_f64.powi(token.exponent - token.decimals as i32),
                role,
                of_previous,
                ignored: stripped.ignored.contains(line),
            });
            previous = Some(token.end);
            if let Some(spread) = token.spread_in_brackets(found.last()) {
                found.push(spread);
            }
        }
    }
    Ok(found)
}

/// A number within its text.
struct Token<'a> {
    kept: &'a [u8],
    /// Where it starts, with its sign.
    start: usize,
    digits: usize,
    /// The end of its last digit, before an exponent.
    mantissa: usize,
    end: usize,
    negative: bool,
    /// Digits before the decimal point.
    whole: usize,
    /// Digits after it.
    decimals: usize,
    exponent: i32,
    /// Whether it has several points, like a version.
    dotted: bool,
}

impl<'a> Token<'a> {
    /// The number whose first digit or decimal point is at `digits`.
    fn at(kept: &'a [u8], digits: usize) -> Option<Self> {
        let number = &kept[digits..];
        let begins_with_a_point = number.first() == Some(&b'.') && !kept[..digits].ends_with(b".");
        let starts = number.first()?.is_ascii_digit() || begins_with_a_point && run(&number[1..]) > 0;
        if !starts {
            return None;
        }
        let first = run(number);
        let mut whole = first;
        // `29,359` and `1,234.5` are each one number; `0,512` has a decimal comma.
        while (1..=3).contains(&first)
            && &number[..first] != b"0"
            && let Some((mark, 3)) = digits_behind(&number[whole..], GROUPS)
        {
            whole += mark + 3;
        }
        let (start, negative) = sign(&kept[..digits]).unwrap_or((digits, false));
        let (mut end, mut decimals) = (whole, 0);
        if let Some((mark, digits)) = digits_behind(&number[whole..], POINTS) {
            let pair = number[whole] == b',' && is_pair(&kept[..start], &number[whole + mark + digits..]);
            if !pair {
                (end, decimals) = (whole + mark + digits, digits);
            }
        }
        let more = |end: usize| digits_behind(&number[end..], POINTS).filter(|_| decimals > 0);
        let dotted = more(end).is_some();
        while let Some((mark, digits)) = more(end) {
            end += mark + digits;
        }
        let (exponent, tail) = exponent(&number[end..]);
        Some(Self {
            kept,
            start,
            digits,
            mantissa: digits + end,
            end: digits + end + tail,
            negative,
            whole,
            decimals,
            exponent,
            dotted,
        })
    }

    fn value(&self, text: &str) -> f64 {
        let digits: String = text[self.digits..self.mantissa].chars().filter(char::is_ascii_digit).collect();
        let exponent = i64::from(self.exponent) - self.decimals as i64;
        let value: f64 = format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN);
        if self.negative { -value } else { value }
    }

    /// The spread of `83.6(4)`, as in siunitx: in units of the last digit.
    fn spread_in_brackets(&self, of: Option<&Number>) -> Option<Number> {
        let of = of.filter(|number| number.role == Role::Value && self.decimals > 0)?;
        let inner = self.after().strip_prefix(b"(")?;
        let digits = run(inner);
        let text = String::from_utf8_lossy(&inner[..digits]).into_owned();
        let last: f64 = text.parse().ok().filter(|_| inner.get(digits) == Some(&b')'))?;
        let column =
            of.column + self.kept[self.start..self.end].iter().filter(|byte| !is_continued(**byte)).count() + 1;
        Some(Number { column, text, value: last * of.step, role: Role::Spread, of_previous: true, ..of.clone() })
    }

    fn before(&self) -> &'a [u8] {
        &self.kept[..self.start]
    }

    fn after(&self) -> &'a [u8] {
        &self.kept[self.end..]
    }

    /// The role of the number; `None` if it does not state a result.
    fn role(&self, of_previous: bool) -> Option<Role> {
        let spread = of_previous || strip_plus_minus(trim_end(self.before())).is_some();
        let none = self.dotted
            || self.is_part_of_a_word()
            || self.is_length()
            || self.is_identifier()
            || self.is_level()
            || !spread && self.is_index();
        let result = self.decimals > 0 || spread || self.is_percentage() || self.has_spread();
        let role = if spread {
            Role::Spread
        } else if self.is_bound() {
            Role::Bound
        } else if self.start < self.digits {
            Role::Change
        } else {
            Role::Value
        };
        (result && !none).then_some(role)
    }

    /// `GPT-3.5`, `v1.2`, `2.5GB`.
    fn is_part_of_a_word(&self) -> bool {
        let before = self.before();
        let hyphened = before.strip_suffix(b"-").is_some_and(|word| word.last().is_some_and(u8::is_ascii_alphabetic));
        let (word, command) = last_word(before);
        let unit = first_word(self.after());
        hyphened
            || !word.is_empty() && (!command || word == b"S")
            || before.last().is_some_and(|byte| b".@#".contains(byte))
            || !unit.is_empty() && unit != b"s" && !PERCENT.contains(&lower(unit).as_str())
    }

    /// `x_{0.5}`.
    fn is_index(&self) -> bool {
        let before = self.before();
        before.strip_suffix(b"{").unwrap_or(before).last().is_some_and(|byte| b"_^".contains(byte))
    }

    /// `0.8\linewidth`; `1.5em` is part of a word.
    fn is_length(&self) -> bool {
        let after = self.after().trim_ascii_start();
        let command = after.strip_prefix(b"\\").map(first_word);
        command.is_some_and(|name| MEASURES.iter().any(|measure| name.ends_with(measure.as_bytes())))
    }

    /// An arXiv id such as `2510.08722`, or the start of a DOI such as `10.1109/CVPR`.
    fn is_identifier(&self) -> bool {
        let doi = &self.kept[self.digits..self.digits + self.whole] == b"10" && self.after().starts_with(b"/");
        self.whole == 4 && (4..=5).contains(&self.decimals) || doi && self.decimals >= 4
    }

    /// `84\%`, `3 points`.
    fn is_percentage(&self) -> bool {
        let after = trim_start(self.after());
        PERCENT_SIGNS.iter().any(|sign| after.starts_with(sign.as_bytes()))
            || PERCENT.contains(&lower(first_word(after)).as_str())
    }

    /// `95\% confidence interval`, `the 5\% level`.
    fn is_level(&self) -> bool {
        let after = trim_start(self.after());
        let percent = PERCENT_SIGNS.iter().find_map(|sign| after.strip_prefix(sign.as_bytes()));
        let rest = trim_start(percent.unwrap_or(after));
        let ends = |byte: &u8| byte.is_ascii_digit() || b".,;:&\\".contains(byte);
        let clause = rest[..rest.len().min(NEAR)].split(ends).next().unwrap_or_default();
        let words = clause.split(|byte| !byte.is_ascii_alphabetic());
        self.is_percentage()
            && words.filter(|word| !word.is_empty()).take(4).any(|word| LEVELS.contains(&lower(word).as_str()))
    }

    /// `p < 0.05`.
    fn is_bound(&self) -> bool {
        let before = trim_end(self.before());
        let than = ["<", "\\lt", "\\le", "\\leq"].iter().find_map(|sign| before.strip_suffix(sign.as_bytes()));
        than.is_some_and(|name| ["p", "value", "values"].contains(&lower(last_word(trim_end(name)).0).as_str()))
    }

    /// Whether a `\pm` follows.
    fn has_spread(&self) -> bool {
        let near = &self.after()[..self.after().len().min(NEAR)];
        PLUS_MINUS.iter().filter_map(|mark| position(near, mark.as_bytes())).any(|at| is_layout(&near[..at]))
    }

    /// Whether between `end`, the end of another number, and this one there is a `\pm` or the start of an index, and no
    /// other visible text.
    fn is_spread_after(&self, end: usize) -> bool {
        let Some(between) = self.kept.get(end..self.start).filter(|between| between.len() <= NEAR) else {
            return false;
        };
        let unsigned = self.start == self.digits;
        unsigned && (between == b"_" || between == b"_{") || strip_plus_minus(trim_end(between)).is_some_and(is_layout)
    }

    /// `Section 3.2`, `PyTorch 2.1`, and `3.3` in `Sections 3.2 and 3.3`, where `named` is the end of `3.2`.
    fn names_a_part(&self, named: Option<usize>) -> bool {
        let links = ["and", "or", "to", "-", "--", ",", "–"];
        let linked = |end: usize| {
            let between = self.kept.get(end..self.start).filter(|between| between.len() <= 16);
            between.is_some_and(|between| links.iter().any(|link| trim_start(trim_end(between)) == link.as_bytes()))
        };
        let ties = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'~';
        let before = self.before();
        let before = &before[..before.iter().rposition(|byte| !ties(byte)).map_or(0, |last| last + 1)];
        let abbreviated = before.strip_suffix(b".");
        let (word, command) = last_word(abbreviated.unwrap_or(before));
        let word = lower(word);
        let listed = if abbreviated.is_some() { ABBREVIATIONS } else { NAMES };
        named.is_some_and(linked)
            || listed.contains(&word.as_str()) && !command
            || word == "s" && command
            || before.ends_with("§".as_bytes())
    }
}

/// Whether a byte continues the UTF-8 character of the byte before it.
fn is_continued(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// The number of digits at the start.
fn run(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The length of the mark at the start, which is one of `marks`, and the number of digits after it; `None` without a
/// mark or digits.
fn digits_behind(bytes: &[u8], marks: &[&str]) -> Option<(usize, usize)> {
    let mark = marks.iter().find(|mark| bytes.starts_with(mark.as_bytes()))?;
    let digits = run(&bytes[mark.len()..]);
    (digits > 0).then_some((mark.len(), digits))
}

/// `(2,5)` and `[2,5]` are two numbers.
fn is_pair(before: &[u8], after: &[u8]) -> bool {
    let opened = before.last().is_some_and(|byte| b"([".contains(byte));
    opened && after.first().is_some_and(|byte| b")]".contains(byte))
}

/// The power of ten after a number, and its length: `e-4`, `\times 10^{-4}`.
fn exponent(bytes: &[u8]) -> (i32, usize) {
    let letter = bytes.strip_prefix(b"e").or_else(|| bytes.strip_prefix(b"E"));
    let times = ["\\times", "\\cdot", "×"].iter().find_map(|sign| trim_start(bytes).strip_prefix(sign.as_bytes()));
    let power = letter.or_else(|| trim_start(times?).strip_prefix(b"10^"));
    let parsed = power.and_then(|power| {
        let braced = power.strip_prefix(b"{");
        let inner = braced.unwrap_or(power);
        let signed = usize::from(inner.first().is_some_and(|byte| b"+-".contains(byte)));
        let length = signed + run(&inner[signed..]).min(3);
        let value: i32 = std::str::from_utf8(&inner[..length]).ok()?.parse().ok()?;
        let tail = bytes.len() - inner.len() + length;
        Some((value, tail + usize::from(braced.is_some() && inner.get(length) == Some(&b'}'))))
    });
    parsed.unwrap_or((0, 0))
}

/// The start of the sign at the end of `before`, and whether it is a minus. After another number it is not a sign but
/// an operator or a dash.
fn sign(before: &[u8]) -> Option<(usize, bool)> {
    let marks = [
        ("$-$", true),
        ("$+$", false),
        ("{-}", true),
        ("{+}", false),
        ("\\textminus{}", true),
        ("\\textminus ", true),
        ("\\textminus", true),
        ("−", true),
        ("–", true),
        ("-", true),
        ("+", false),
    ];
    marks.into_iter().find_map(|(mark, negative)| {
        let left = before.strip_suffix(mark.as_bytes())?;
        let operand = |byte: &u8| byte.is_ascii_alphanumeric() || b")]}-+/%".contains(byte);
        let (word, command) = last_word(left);
        let unary = !left.last().is_some_and(operand) || command && !word.is_empty();
        unary.then_some((left.len(), negative))
    })
}

/// Removes the `\pm` at the end; `None` if there is none.
fn strip_plus_minus(bytes: &[u8]) -> Option<&[u8]> {
    PLUS_MINUS.iter().find_map(|mark| bytes.strip_suffix(mark.as_bytes()))
}

/// The letters at the end, and whether they are a command.
fn last_word(bytes: &[u8]) -> (&[u8], bool) {
    let letters = bytes.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (left, word) = bytes.split_at(bytes.len() - letters);
    (word, left.ends_with(b"\\"))
}

fn first_word(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()]
}

/// A word in lower case. Long words are cut; none of the words that are looked for is that long.
fn lower(word: &[u8]) -> String {
    word.iter().take(16).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

fn position(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

/// Whether a byte is a blank, a dollar or a brace, which a reader does not see.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"~${}".contains(&byte)
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    loop {
        bytes = match bytes {
            [rest @ .., b'\\', b',' | b';' | b'!' | b' '] => rest,
            [rest @ .., last] if is_blank(*last) => rest,
            _ => return bytes,
        };
    }
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    loop {
        bytes = match bytes {
            [b'\\', b',' | b';' | b'!' | b' ', rest @ ..] => rest,
            [first, rest @ ..] if is_blank(*first) => rest,
            _ => return bytes,
        };
    }
}

/// Whether there is no visible text: only blanks and commands.
fn is_layout(mut bytes: &[u8]) -> bool {
    loop {
        bytes = match bytes {
            [] => return true,
            [b'\\', b'\\', ..] => return false,
            [b'\\', rest @ ..] => &rest[first_word(rest).len().max(1).min(rest.len())..],
            [first, rest @ ..] if is_blank(*first) || b"_^(".contains(first) => rest,
            _ => return false,
        };
    }
}

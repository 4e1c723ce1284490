//! Removes the parts of LaTeX that are not prose: comments, verbatim, labels, lengths, colours, file names. They are
//! blanked byte for byte, so that every place in the rest is its place in the file.
//!
//! A single pass without backtracking: an argument that is not closed ends at the next blank line, as in TeX.

use std::ops::RangeInclusive;

/// Replaces every removed byte. No text contains this byte.
const GONE: u8 = 0;

/// Environments whose content is skipped, since it does not state results in prose.
const SKIPPED: &[&str] = &[
    "verbatim",
    "verbatim*",
    "Verbatim",
    "lstlisting",
    "minted",
    "comment",
    "filecontents",
    "filecontents*",
    "tikzpicture",
    "picture",
    "thebibliography",
];

/// Environments, each with the number of arguments in braces after its name that hold lengths or columns.
const ENVIRONMENTS: &[(&str, usize)] = &[
    ("tabular", 1),
    ("tabular*", 2),
    ("tabularx", 2),
    ("tabulary", 2),
    ("longtable", 1),
    ("tblr", 1),
    ("array", 1),
    ("minipage", 1),
    ("subfigure", 1),
    ("subtable", 1),
    ("wrapfigure", 2),
    ("wraptable", 2),
    ("adjustbox", 1),
    ("multicols", 1),
    ("spacing", 1),
];

/// Commands, each with the number of arguments in braces that are not prose. `\..cite..` and `\..ref` have one, too.
const COMMANDS: &[(&str, usize)] = &[
    ("label", 1),
    ("bibitem", 1),
    ("bibliography", 1),
    ("bibliographystyle", 1),
    ("addbibresource", 1),
    ("includegraphics", 1),
    ("includesvg", 1),
    ("includepdf", 1),
    ("graphicspath", 1),
    ("usepackage", 1),
    ("RequirePackage", 1),
    ("documentclass", 1),
    ("PassOptionsToPackage", 2),
    ("url", 1),
    ("path", 1),
    ("vspace", 1),
    ("hspace", 1),
    ("setlength", 2),
    ("addtolength", 2),
    ("setcounter", 2),
    ("addtocounter", 2),
    ("rule", 2),
    ("resizebox", 2),
    ("scalebox", 1),
    ("rotatebox", 1),
    ("raisebox", 1),
    ("parbox", 1),
    ("makebox", 0),
    ("framebox", 0),
    ("hyperref", 0),
    ("phantom", 1),
    ("hphantom", 1),
    ("vphantom", 1),
    ("multicolumn", 2),
    ("multirow", 2),
    ("color", 1),
    ("textcolor", 1),
    ("colorbox", 1),
    ("cellcolor", 1),
    ("rowcolor", 1),
    ("columncolor", 1),
    ("definecolor", 3),
    ("colorlet", 2),
    ("geometry", 1),
    ("hypersetup", 1),
    ("captionsetup", 1),
    ("sisetup", 1),
    ("lstset", 1),
    ("pgfplotsset", 1),
    ("tikzset", 1),
    ("fontsize", 2),
    ("linespread", 1),
    ("setstretch", 1),
];

/// Names that `\renewcommand` and `\def` set to a factor, not to a text.
const FACTORS: &[&str] = &[
    "arraystretch",
    "baselinestretch",
    "textfraction",
    "topfraction",
    "bottomfraction",
    "floatpagefraction",
    "dbltopfraction",
    "dblfloatpagefraction",
];

/// The most bytes in the name of an environment or a file.
const MOST_NAME: usize = 256;

/// A place in a file: line and column, both counted from 1, the column in characters.
pub(super) type Place = (usize, usize);

/// A file that is included at this place.
pub(super) struct Inclusion {
    pub place: Place,
    /// The name as written.
    pub name: String,
}

/// The rest of a file after stripping.
pub(super) struct Stripped {
    /// The bytes of the file, with removed bytes blanked.
    pub kept: Vec<u8>,
    pub inclusions: Vec<Inclusion>,
    pub ignored: Ignored,
    /// The place of a `% sempair: ignore begin` without an end.
    pub unclosed: Option<Place>,
}

/// Ranges of lines that `% sempair: ignore` exempts, sorted and disjoint.
#[derive(Default)]
pub(super) struct Ignored(Vec<RangeInclusive<usize>>);

impl Ignored {
    pub fn contains(&self, line: usize) -> bool {
        let after = self.0.partition_point(|lines| *lines.start() <= line);
        after.checked_sub(1).is_some_and(|i| self.0[i].contains(&line))
    }
}

/// Walks through a text and keeps track of line and column.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    place: Place,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, place: (1, 1) }
    }

    /// The place of the byte at `at`, which must not be before the bytes of earlier calls.
    pub fn place(&mut self, at: usize) -> Place {
        for c in self.text[self.at..at].chars() {
            self.place = if c == '\n' { (self.place.0 + 1, 1) } else { (self.place.0, self.place.1 + 1) };
        }
        self.at = at;
        self.place
    }
}

/// Strips a file.
pub(super) fn strip(text: &str) -> Stripped {
    let mut stripper = Stripper {
        text,
        at: 0,
        cursor: Cursor::new(text),
        kept: text.as_bytes().to_vec(),
        inclusions: Vec::new(),
        ignored: Ignored::default(),
        open: None,
    };
    while let Some(byte) = stripper.byte() {
        match byte {
            b'%' => stripper.comment(),
            b'\\' => stripper.command(),
            _ => stripper.at += 1,
        }
    }
    if let Some((line, _)) = stripper.open {
        stripper.ignored.0.push(line..=usize::MAX);
    }
    let Stripper { kept, inclusions, ignored, open, .. } = stripper;
    Stripped { kept, inclusions, ignored, unclosed: open }
}

struct Stripper<'a> {
    text: &'a str,
    at: usize,
    cursor: Cursor<'a>,
    kept: Vec<u8>,
    inclusions: Vec<Inclusion>,
    ignored: Ignored,
    open: Option<Place>,
}

impl<'a> Stripper<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Advances by `bytes`, at most to the end.
    fn advance(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.text.len());
    }

    /// Advances to the end of the line and returns the rest of the line.
    fn line(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
        self.advance(line.len());
        line
    }

    /// Blanks the bytes from `from` to here, except line breaks.
    fn blank(&mut self, from: usize) {
        self.kept[from..self.at].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = GONE);
    }

    fn comment(&mut self) {
        let from = self.at;
        let words = self.line();
        self.blank(from);
        if let Some(order) = words.trim_start_matches('%').trim_start().strip_prefix("sempair:") {
            self.order(order, from);
        }
    }

    /// Applies a `sempair:` comment. `ignore` exempts its line, or the next line if the comment is alone on its line.
    /// `ignore begin` and `ignore end` exempt the lines between them.
    fn order(&mut self, order: &str, from: usize) {
        let mut words = order.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        if words.next() != Some("ignore") {
            return;
        }
        let place = self.cursor.place(from);
        match (words.next(), self.open) {
            (Some("begin"), None) => self.open = Some(place),
            (Some("end"), Some((line, _))) => {
                self.ignored.0.push(line..=place.0);
                self.open = None;
            }
            (_, None) => {
                let alone = self.text[..from].bytes().rev().find(|byte| !b" \t".contains(byte));
                let line = place.0 + usize::from(alone.is_none_or(|byte| byte == b'\n'));
                self.ignored.0.push(line..=line);
            }
            _ => {}
        }
    }

    fn command(&mut self) {
        let from = self.at;
        match self.name() {
            "verb" => self.verbatim(from),
            "lstinline" => {
                self.options();
                if self.byte() == Some(b'{') {
                    self.group(b'}');
                    self.blank(from);
                } else {
                    self.verbatim(from);
                }
            }
            "begin" => self.environment(from),
            "end" if self.text[self.at..].starts_with("{document}") => {
                self.at = self.text.len();
                self.blank(from);
            }
            "iffalse" => self.until("\\fi", from),
            "input" | "include" | "subfile" => self.inclusion(from),
            name if FACTORS.contains(&name) => {
                // The name may be in its own braces.
                self.advance(usize::from(self.byte() == Some(b'}')));
                self.arguments(1);
            }
            name => {
                let listed = COMMANDS.iter().find(|(command, _)| *command == name).map(|(_, braces)| *braces);
                let one = (name.contains("cite") || name.ends_with("ref")).then_some(1);
                if let Some(braces) = listed.or(one) {
                    self.arguments(braces);
                }
            }
        }
    }

    /// Skips a command and a star after it. Returns the letters of the command, which has none if it is like `\%`.
    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.at + 1..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        if letters == 0 {
            self.advance(1 + rest.chars().next().map_or(0, char::len_utf8));
            return "";
        }
        self.advance(1 + letters);
        self.advance(usize::from(self.byte() == Some(b'*')));
        &rest[..letters]
    }

    fn verbatim(&mut self, from: usize) {
        let rest = &self.text[self.at..];
        let Some(delimiter) = rest.chars().next() else { return };
        let inner = &rest[delimiter.len_utf8()..];
        let end = inner.find([delimiter, '\n']).unwrap_or(inner.len());
        let closed = inner[end..].starts_with(delimiter);
        self.advance(delimiter.len_utf8() * (1 + usize::from(closed)) + end);
        self.blank(from);
    }

    fn environment(&mut self, from: usize) {
        let Some(name) = self.braced() else { return };
        if SKIPPED.contains(&name) {
            self.until(&format!("\\end{{{name}}}"), from);
        } else {
            let braces = ENVIRONMENTS.iter().find(|(environment, _)| *environment == name).map_or(0, |(_, n)| *n);
            self.arguments(braces);
            self.blank(from);
        }
    }

    /// Blanks everything up to the end of the first `pattern` that is not followed by a letter.
    fn until(&mut self, pattern: &str, from: usize) {
        let rest = &self.text[self.at..];
        let whole = |end: &usize| !rest.as_bytes().get(*end).is_some_and(u8::is_ascii_alphabetic);
        let end = rest.match_indices(pattern).map(|(i, _)| i + pattern.len()).find(whole).unwrap_or(rest.len());
        self.advance(end);
        self.blank(from);
    }

    fn inclusion(&mut self, from: usize) {
        self.space();
        let name = self.braced().unwrap_or_else(|| {
            let rest = &self.text[self.at..];
            let word = &rest[..rest.find(|c: char| c.is_whitespace() || "\\{}%".contains(c)).unwrap_or(rest.len())];
            self.advance(word.len());
            word
        });
        self.blank(from);
        if !name.is_empty() {
            self.inclusions.push(Inclusion { place: self.cursor.place(from), name: name.trim().into() });
        }
    }

    /// Skips a name in braces and returns it.
    fn braced(&mut self) -> Option<&'a str> {
        let inner = self.text[self.at..].strip_prefix('{')?;
        let end = inner.bytes().take(MOST_NAME).position(|byte| byte == b'}' || byte == b'\n')?;
        let name = inner[end..].starts_with('}').then_some(&inner[..end])?;
        self.advance(end + 2);
        Some(name)
    }

    /// Blanks arguments in brackets and up to `braces` arguments in braces.
    fn arguments(&mut self, braces: usize) {
        let from = self.at;
        self.options();
        for _ in 0..braces {
            let before = self.at;
            self.space();
            if self.byte() != Some(b'{') {
                self.at = before;
                break;
            }
            self.group(b'}');
            self.options();
        }
        self.blank(from);
    }

    fn options(&mut self) {
        while self.byte() == Some(b'[') {
            self.group(b']');
        }
    }

    /// Skips blanks and at most one line break.
    fn space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let blanks = |bytes: &[u8]| bytes.iter().take_while(|byte| b" \t\r".contains(byte)).count();
        let first = blanks(rest);
        let second = if rest.get(first) == Some(&b'\n') { 1 + blanks(&rest[first + 1..]) } else { 0 };
        self.advance(first + second);
    }

    /// Skips the group that starts here, up to its closing byte or a blank line.
    fn group(&mut self, close: u8) {
        self.at += 1;
        let mut depth = 0_usize;
        while let Some(byte) = self.byte() {
            match byte {
                b'\\' => {
                    self.name();
                }
                b'%' => {
                    self.line();
                }
                _ if byte == close && depth == 0 => return self.at += 1,
                b'}' if depth == 0 => return,
                b'\n' if self.ends_paragraph() => return,
                _ => {
                    depth = depth + usize::from(byte == b'{') - usize::from(byte == b'}');
                    self.at += 1;
                }
            }
        }
    }

    /// Whether the line after this line break is blank.
    fn ends_paragraph(&self) -> bool {
        self.text.as_bytes()[self.at + 1..].iter().find(|byte| !b" \t\r".contains(byte)) == Some(&b'\n')
    }
}

//! The files of a manuscript: the main file and the files that it includes, each read once.

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::lint::numbers;
use crate::lint::numbers::Number;
use crate::lint::tex;
use crate::lint::tex::Inclusion;
use crate::report::text;
use serde::Serialize;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::path::Path;
use std::path::PathBuf;

/// The largest file that is read. Files of manuscripts are much smaller.
const MAX_BYTES: u64 = 64 << 20;

/// The most files that are read. Manuscripts have far fewer.
const MOST_FILES: usize = 1000;

/// The parts of the line with which a file in a report's `tables` starts.
const TABLE_HEAD: [&str; 2] = ["% Table ", " of sempair, profile "];

/// A problem that prevents checking everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The path of the file that has the problem, such as `paper/main.tex`.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The problem in words, such as `there is no file a.tex, which is included here`.
    pub what: String,
}

/// A table that a report wrote.
pub(super) struct WrittenTable {
    pub file: String,
    pub id: String,
    pub profile: String,
    pub text: String,
}

/// The content of a manuscript.
#[derive(Default)]
pub(super) struct Manuscript {
    /// The numbers of each file, in the order of the text.
    pub numbers: Vec<(String, Vec<Number>)>,
    pub tables: Vec<WrittenTable>,
    pub trouble: Vec<Trouble>,
}

impl Manuscript {
    /// Reads `main` and the files that it includes, relative to its folder.
    pub fn read(main: &Path) -> Result<Self> {
        let folder = main.parent().unwrap_or(Path::new(""));
        let mut manuscript = Self::default();
        let mut seen = HashSet::from([identity(main)]);
        let mut inclusions = manuscript.file(main, open(main)?, false)?;
        while let Some((from, inclusion, ignored)) = inclusions.pop_front() {
            let found = resolve(folder, &inclusion.name);
            let path = found.clone().unwrap_or_else(|| folder.join(&inclusion.name));
            if !seen.insert(identity(&path)) {
                continue;
            }
            if seen.len() > MOST_FILES {
                return Err(Error::new(format!("{} includes more than {MOST_FILES} files", shown(main)))
                    .hint("give the main file of one manuscript to `sempair lint`"));
            }
            let there =
                found.ok_or_else(|| Error::new(format!("there is no file {}, which is included here", shown(&path))));
            match there.and_then(|path| open(&path)) {
                Ok(text) => inclusions.extend(manuscript.file(&path, text, ignored)?),
                Err(error) => manuscript.object(&from, inclusion.place, error.what()),
            }
        }
        Ok(manuscript)
    }

    /// Adds the numbers of a file, or the whole file if it is a report's table. Returns the files that it includes,
    /// each with the name of this file and whether a comment exempts it.
    fn file(&mut self, path: &Path, text: String, ignored: bool) -> Result<VecDeque<(String, Inclusion, bool)>> {
        let file = shown(path);
        if let Some((id, profile)) = table_head(&text).filter(|_| !ignored) {
            let (id, profile) = (id.to_owned(), profile.to_owned());
            self.tables.push(WrittenTable { file, id, profile, text });
            return Ok(VecDeque::new());
        }
        let stripped = tex::strip(&text);
        let mut numbers = numbers::of_stripped(&text, &stripped).map_err(|error| error.context(&file))?;
        numbers.iter_mut().for_each(|number| number.ignored |= ignored);
        if let Some(place) = stripped.unclosed {
            self.object(&file, place, "`% sempair: ignore begin` has no `% sempair: ignore end`");
        }
        let inclusion = |inclusion: Inclusion| {
            let ignored = ignored || stripped.ignored.contains(inclusion.place.0);
            (file.clone(), inclusion, ignored)
        };
        let inclusions = stripped.inclusions.into_iter().map(inclusion).collect();
        self.numbers.push((file, numbers));
        Ok(inclusions)
    }

    fn object(&mut self, file: &str, (line, column): (usize, usize), what: &str) {
        self.trouble.push(Trouble { file: file.into(), line, column, what: what.into() });
    }
}

/// A path as it is shown on one line of a terminal.
fn shown(path: &Path) -> String {
    text::clean(&path.display().to_string())
}

/// A path that is the same for every name of a file.
fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// The file that TeX would read: with `.tex` appended to its name, otherwise as it is named.
fn resolve(folder: &Path, name: &str) -> Option<PathBuf> {
    let there = |name: String| Some(folder.join(name)).filter(|path| path.is_file());
    there(format!("{name}.tex")).or_else(|| there(name.to_owned()))
}

/// Id and profile of a report's table, from its first line.
fn table_head(text: &str) -> Option<(&str, &str)> {
    let (id, rest) = text.lines().next()?.strip_prefix(TABLE_HEAD[0])?.split_once(TABLE_HEAD[1])?;
    Some((id, rest.split_once(',')?.0))
}

/// The text of a file. Bytes that are not UTF-8 are replaced: old manuscripts have other encodings, and numbers look
/// the same in all of them.
fn open(path: &Path) -> Result<String> {
    let shown = shown(path);
    let hint = "give the main file of a manuscript, as in `sempair lint paper.tex`";
    let kind = std::fs::metadata(path).context(format!("cannot read {shown}")).map_err(|error| error.hint(hint))?;
    if !kind.is_file() {
        let what = if kind.is_dir() { "a folder" } else { "not a plain file" };
        return Err(Error::new(format!("{shown} is {what}")).hint(hint));
    }
    if kind.len() > MAX_BYTES {
        return Err(
            Error::new(format!("{shown} has {} bytes; a manuscript has at most {MAX_BYTES}", kind.len())).hint(hint)
        );
    }
    let bytes = std::fs::read(path).context(format!("cannot read {shown}"))?;
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Error::new(format!("{shown} is not a text file: byte {at} is 0")).hint(hint));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

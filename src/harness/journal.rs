//! The journals of a ledger: which runs were begun, how their records ended, and in which order.
//!
//! # Design
//! A record states its own hash, so an edit without a new hash is found. The journals also find a record that was
//! removed, added, or replaced together with its hash.
//!
//! Each command that begins a run writes a journal of its own, `journal/<id>.journal` in the ledger, with one line for
//! each event: `<hash> <event> <name> <state>`. The hash is BLAKE3 of the hash of the line before, a space, and the rest
//! of the line; the first line follows from the journal's id. Lines are appended and synced, one after the other, under
//! the ledger's lock:
//! - `after JOURNAL HASH`, the first lines: the last lines of all journals that no other journal follows yet.
//! - `begun RUN HASH`, `ended RUN HASH`, `killed RUN HASH`: the record was written with this hash. A command that finds
//!   a dead run writes `killed`, or the end that a crash prevented, to the journal in which the run began.
//! - `found RUN HASH`: the record was there when the first journal of the ledger was started by a version that knows
//!   journals.
//! - `deleted RUN HASH`: a user deleted the record with this hash.
//! - `frozen PLAN HASH`: a plan with this hash was frozen (`frozen_plan`). A run is after a plan if its `begun` follows
//!   this line, in one journal or through `after`. Its time proves nothing: anyone can set a clock.
//!
//! A line with another event is of a newer version. It is part of the chain, and its meaning is not checked. (The first
//! versions with journals know no `frozen`: they name that line as `not a line of a journal`, and nothing else, because
//! `plan freeze` writes a journal of its own.)
//!
//! One journal for each command, and not one file for all, because git merges files that only one side has: two clones
//! or two branches never write to the same journal, and `after` joins their histories as a merge commit does. A journal,
//! and not a field of records, because a record is replaced when its run ends: its successors would hold the hash of a
//! text that no longer exists, and a forged record would look like one that was merged. A record states its journal, so
//! a missing journal is found, too.
//!
//! **Found, and named**: a record that was removed, added, edited (also with a new hash), or put back to an earlier
//! state; a line of a journal that was removed, reordered or edited, or added with events in another order than a run has
//! them; a journal that was removed or renamed, if
//! one of its runs or a later journal is there.
//!
//! **Not found**, because the hashes have no secret: an end of the history that was removed or written again, records with
//! their lines; a ledger that was written again completely. The last line of a journal states the whole history before it, so a copy of it elsewhere proves more
//! (`sempair audit . --head HASH`). A report states the hash of all records of its profile, a commit holds all of it.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use rayon::iter::IntoParallelRefIterator;
use rayon::iter::ParallelIterator;

use crate::error::Context;
use crate::error::Result;
use crate::files;

/// The folder of the journals in a ledger.
const FOLDER: &str = "journal";

/// The end of a journal's file name.
const EXTENSION: &str = "journal";

/// The largest file that is read as a journal, in bytes; a run takes about 350.
const MAX_BYTES: u64 = 256 << 20;

/// More bytes than a line has.
const LINE: u64 = 1024;

/// What a line of a journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// This journal follows a line of another one.
    After,
    /// The record was there before the ledger had journals.
    Found,
    /// A run began.
    Begun,
    /// A run ended with a result or an error.
    Ended,
    /// A run's process died.
    Killed,
    /// A user deleted the record.
    Deleted,
    /// A plan was frozen.
    Frozen,
    /// An event that this version does not know. It is only read, never written.
    Newer,
}

impl Event {
    const ALL: [(&'static str, Self); 7] = [
        ("after", Self::After),
        ("found", Self::Found),
        ("begun", Self::Begun),
        ("ended", Self::Ended),
        ("killed", Self::Killed),
        ("deleted", Self::Deleted),
        ("frozen", Self::Frozen),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, event)| *event == self).map_or("", |(name, _)| name)
    }

    /// The event with this name; `None` if it is not the name of an event of any version.
    fn of_name(name: &str) -> Option<Self> {
        let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
        let known = Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, event)| event);
        known.or(is_word.then_some(Self::Newer))
    }

    /// Whether it is about a run.
    fn is_of_run(self) -> bool {
        !matches!(self, Self::After | Self::Frozen | Self::Newer)
    }
}

/// A line without its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub event: Event,
    /// The run, the plan, or the journal that this one follows.
    pub name: String,
    /// The hash of the run's record, of the plan, or of the line that this journal follows.
    pub state: String,
}

impl Entry {
    pub fn new(event: Event, name: &str, state: &str) -> Self {
        Self { event, name: name.to_owned(), state: state.to_owned() }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let [event, name, state] = [words.next()?, words.next()?, words.next()?];
        let event = Event::of_name(event)?;
        (words.next().is_none() && is_hash(state) && !name.is_empty()).then(|| Self::new(event, name, state))
    }

    fn text(&self) -> String {
        format!("{} {} {}", self.event.name(), self.name, self.state)
    }
}

/// A journal as it was read.
#[derive(Debug)]
pub(super) struct Journal {
    /// The id of its first run.
    pub id: String,
    /// Its file.
    pub path: PathBuf,
    /// Its readable lines: number, hash and entry.
    pub lines: Vec<(usize, String, Entry)>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

impl Journal {
    /// The hash of the last line; empty if there is none.
    pub fn head(&self) -> &str {
        self.lines.last().map_or("", |(_, hash, _)| hash)
    }

    /// The entries about runs, each with its line's number.
    pub fn of_runs(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.lines.iter().map(|(line, _, entry)| (*line, entry)).filter(|(_, entry)| entry.event.is_of_run())
    }

    /// Reads a journal from the text of its file.
    pub fn parse(id: &str, path: PathBuf, text: &str) -> Self {
        let mut journal = Self { id: id.to_owned(), path, lines: Vec::new(), problems: Vec::new() };
        let mut previous = id;
        for (number, line) in text.split_inclusive('\n').enumerate().map(|(i, line)| (i + 1, line)) {
            let Some(line) = line.strip_suffix('\n') else {
                journal.problems.push(format!("line {number} is incomplete: it was cut off"));
                break;
            };
            let line = line.strip_suffix('\r').unwrap_or(line); // git may have changed the ends of lines
            let (hash, rest) = line.split_once(' ').unwrap_or((line, ""));
            if let Some(entry) = Entry::parse(rest) {
                if hash != chained(previous, rest) {
                    journal.problems.push(format!(
                        "line {number} does not follow from the line before it: a line was changed, removed, added or moved"
                    ));
                }
                journal.lines.push((number, hash.to_owned(), entry));
            } else {
                journal.problems.push(format!("line {number} is not a line of a journal"));
            }
            previous = hash;
        }
        if text.is_empty() {
            journal.problems.push("it is empty".to_owned());
        }
        journal
    }
}

/// The hash of a line.
fn chained(previous: &str, rest: &str) -> String {
    blake3::hash(format!("{previous} {rest}").as_bytes()).to_hex().to_string()
}

/// Whether it has the form of a hash.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The folder of the journals of a ledger.
pub(super) fn folder(ledger: &Path) -> PathBuf {
    ledger.join(FOLDER)
}

/// The file of a journal.
pub(super) fn path(ledger: &Path, id: &str) -> PathBuf {
    folder(ledger).join(format!("{id}.{EXTENSION}"))
}

/// Reads all journals of a ledger, oldest first.
pub(super) fn read_all(ledger: &Path) -> Result<Vec<Journal>> {
    Ok(files_in(&folder(ledger), EXTENSION)?.par_iter().map(|path| read(path)).collect())
}

/// The files in a folder whose names end so, sorted; none if there is no folder.
pub(super) fn files_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let place = || format!("cannot read {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(place()),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().context(place())?;
    paths.retain(|path| path.extension().is_some_and(|end| end == extension));
    paths.sort();
    Ok(paths)
}

/// The last line about a run in a journal; `None` if there is none.
pub(super) fn last_entry(path: &Path, run: &str) -> Option<Entry> {
    read(path).of_runs().filter(|(_, entry)| entry.name == run).last().map(|(_, entry)| entry.clone())
}

/// Whether a journal has a line.
pub(super) fn is_begun(path: &Path) -> bool {
    !read(path).lines.is_empty()
}

/// Reads one journal.
pub(super) fn read(path: &Path) -> Journal {
    let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let text = || -> io::Result<String> {
        let facts = std::fs::symlink_metadata(path)?;
        if !facts.is_file() || facts.len() > MAX_BYTES {
            return Err(io::Error::other("it is not a plain file of a journal's size"));
        }
        std::fs::read_to_string(path)
    };
    match text() {
        Ok(text) => Journal::parse(id, path.to_owned(), &text),
        Err(error) => {
            let problems = vec![format!("cannot read it: {error}")];
            Journal { id: id.to_owned(), path: path.to_owned(), lines: Vec::new(), problems }
        }
    }
}

/// The first lines of a new journal: it follows the last lines of the journals that no other journal follows.
pub(super) fn follows(journals: &[Journal]) -> Vec<Entry> {
    let lines = journals.iter().flat_map(|journal| &journal.lines).map(|(_, _, entry)| entry);
    let followed: HashSet<&str> =
        lines.filter(|entry| entry.event == Event::After).map(|entry| entry.state.as_str()).collect();
    let last = journals.iter().filter(|journal| !journal.lines.is_empty() && !followed.contains(journal.head()));
    last.map(|journal| Entry::new(Event::After, &journal.id, journal.head())).collect()
}

/// Writes the first lines of a journal, whole or not at all.
pub(super) fn start(path: &Path, entries: &[Entry]) -> Result<()> {
    let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    files::write_whole(path, lines(id, entries).as_bytes())
}

/// The text of lines that follow a line with the hash `previous`.
fn lines(previous: &str, entries: &[Entry]) -> String {
    let (mut previous, mut text) = (previous.to_owned(), String::new());
    for entry in entries {
        let rest = entry.text();
        previous = chained(&previous, &rest);
        text += &format!("{previous} {rest}\n");
    }
    text
}

/// Adds lines to the end of a journal and syncs it. The caller holds the lock of the ledger. A line that was cut off by
/// a loss of power is replaced.
pub(super) fn append(path: &Path, entries: &[Entry]) -> Result<()> {
    let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        files::create_folder(folder)?;
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(2 * LINE)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        let whole = end.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let cut = (end.len() - whole) as u64;
        let last = String::from_utf8_lossy(&end[..whole]);
        let previous = last.lines().next_back().map_or(id, |line| line.split(' ').next().unwrap_or_default());
        let text = lines(previous, entries);
        let start = length - cut;
        file.set_len(start)?;
        file.seek(SeekFrom::Start(start))?;
        // Half a line must not stay if the disk is full.
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).inspect_err(|_| drop(file.set_len(start)))?;
        if length == 0 { files::sync_folder(folder) } else { Ok(()) }
    };
    write().map_err(|error| files::not_written(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn journal(folder: &Path, runs: &[&str]) -> PathBuf {
        let path = path(folder, runs[0]);
        for run in runs {
            append(&path, &[Entry::new(Event::Begun, run, &state('a')), Entry::new(Event::Ended, run, &state('b'))])
                .unwrap();
        }
        path
    }

    #[test]
    fn lines_follow_from_each_other_and_any_change_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path(), &["1", "2"]);
        let whole = read(&path);
        assert_eq!((whole.lines.len(), whole.problems.len(), whole.id.as_str()), (4, 0, "1"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let problems = |lines: &[&str]| {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            Journal::parse("1", path.clone(), &text).problems
        };
        let [a, b, c, d] = lines[..] else { panic!("four lines") };
        assert_eq!(problems(&[a, b, c, d]), Vec::<String>::new());
        for (changed, number) in
            [(vec![b, c, d], 1), (vec![a, c, d], 2), (vec![a, c, b, d], 2), (vec![a, a, b, c, d], 2)]
        {
            let found = problems(&changed);
            let expected = format!(
                "line {number} does not follow from the line before it: a line was changed, removed, added or moved"
            );
            assert_eq!(found.first(), Some(&expected), "{changed:?}");
        }
        // Every bit of every byte counts.
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(!Journal::parse("1", path.clone(), &changed).problems.is_empty(), "byte {at}, bit {bit}");
            }
        }
        assert_eq!(Journal::parse("2", path.clone(), &text).problems.len(), 1, "a renamed journal");
    }

    #[test]
    fn a_line_that_was_cut_off_is_replaced_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path(), &["1"]);
        let text = std::fs::read_to_string(&path).unwrap();
        for cut in [1, 20, 120] {
            std::fs::write(&path, &text[..text.len() - cut]).unwrap();
            assert_eq!(read(&path).problems, ["line 2 is incomplete: it was cut off"]);
            append(&path, &[Entry::new(Event::Ended, "1", &state('b'))]).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::write(&path, &text[..30]).unwrap();
        journal(folder.path(), &["1"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_new_journal_follows_the_ends_of_all_histories() {
        let folder = tempfile::tempdir().unwrap();
        let add = |run: &str| {
            let entries = follows(&read_all(folder.path()).unwrap());
            append(&path(folder.path(), run), &entries).unwrap();
            journal(folder.path(), &[run]);
            entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        journal(folder.path(), &["1"]);
        journal(folder.path(), &["2"]);
        assert_eq!(add("3"), ["1", "2"]);
        assert_eq!(add("4"), ["3"]);
        // The second journal goes on after another one has followed it.
        append(&path(folder.path(), "2"), &[Entry::new(Event::Begun, "5", &state('c'))]).unwrap();
        assert_eq!(add("6"), ["2", "4"]);
    }

    #[test]
    fn what_is_no_journal_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| path(folder.path(), name);
        std::fs::create_dir_all(at("folder")).unwrap();
        std::fs::write(at("empty"), "").unwrap();
        std::fs::write(at("bytes"), [0xff, b'\n']).unwrap();
        std::fs::write(at("words"), "some words\n").unwrap();
        let problems: Vec<String> =
            read_all(folder.path()).unwrap().into_iter().flat_map(|journal| journal.problems).collect();
        let expected = [
            "cannot read it: stream did not contain valid UTF-8",
            "it is empty",
            "cannot read it: it is not a plain file of a journal's size",
            "line 1 is not a line of a journal",
        ];
        assert_eq!(problems, expected);
    }
}

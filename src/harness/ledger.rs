//! The folder of all run records, one file each. A record is written atomically, changes once (when its run ends), and is
//! only deleted by a user. Each of these events is entered in a `journal`. An advisory lock shows whether a run is alive;
//! the system releases it when the process dies.

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::harness::clock;
use crate::harness::journal;
use crate::harness::journal::Entry;
use crate::harness::journal::Event;
use crate::harness::journal::Journal;
use crate::harness::record;
use crate::harness::record::Record;
use crate::harness::record::Seal;
use crate::harness::record::Status;
use rayon::iter::IntoParallelRefIterator;
use rayon::iter::ParallelIterator;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::fs::File;
use std::fs::TryLockError;
use std::io::Read;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

/// The largest file that is read as a record, in bytes. All records are far smaller.
const MAX_BYTES: u64 = 16 << 20;

/// The records of one project.
#[derive(Clone, Debug)]
pub struct Ledger {
    dir: PathBuf,
    locks: PathBuf,
    /// The id of the journal of this process: that of the first run that it begins.
    journal: Arc<OnceLock<String>>,
}

/// A file of the ledger that is not a readable record, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's path in the ledger.
    pub file: PathBuf,
    /// The reason, such as `not a plain file of a record's size`.
    pub what: String,
}

/// Records, each with how it compares with its own hash.
pub type Checked = Vec<(Record, Seal)>;

/// What one process knows of a ledger that other processes may write to at the same time.
#[derive(Debug)]
pub struct Watch<'a> {
    ledger: &'a Ledger,
    /// Files that will not change again.
    ended: HashSet<PathBuf>,
    /// The newest completed run of each key.
    completed: HashMap<String, String>,
    /// The greatest id of all runs that were seen.
    newest: String,
}

/// The result of a request to run a cell.
#[derive(Debug)]
pub enum Claimed {
    /// This process runs the cell and must finish the run.
    Mine(Running),
    /// The run with this id has the result.
    Done(String),
    /// Another process runs it now.
    Busy,
}

/// The right to finish a run. While it exists, other processes see the run as alive.
#[derive(Debug)]
pub struct Running {
    _lock: File,
    lock_path: PathBuf,
    /// The id of the journal in which its begin is entered.
    journal: String,
}

impl Ledger {
    /// Opens the ledger in `dir`, such as `reports/ledger`. Its locks are in `locks`, outside of `dir`. Neither
    /// folder needs to exist yet; nothing is written before the first run.
    pub fn open(dir: impl Into<PathBuf>, locks: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), locks: locks.into(), journal: Arc::default() }
    }

    /// The folder of the records, such as `reports/ledger`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All folders in which files of the ledger are written.
    pub fn folders(&self) -> [PathBuf; 2] {
        [self.dir.clone(), journal::folder(&self.dir)]
    }

    /// Starts to watch for new runs. `records` are all records that were read from this ledger, oldest first.
    pub fn watch(&self, records: &[Record]) -> Watch<'_> {
        let ended = records.iter().filter(|record| record.status != Status::Running);
        let completed = records.iter().filter(|record| record.status == Status::Completed);
        Watch {
            ledger: self,
            ended: ended.map(|record| self.path(&record.id)).collect(),
            completed: completed.map(|record| (record.key.clone(), record.id.clone())).collect(),
            newest: records.last().map_or_else(String::new, |record| record.id.clone()),
        }
    }

    /// Writes the record of a run that starts now.
    pub fn begin(&self, record: &Record) -> Result<Running> {
        let _lock = self.lock_claims()?;
        self.begin_locked(record)
    }

    /// As [`Ledger::begin`]; the caller holds the lock of [`Ledger::lock_claims`]. A crash between two steps leaves the
    /// lock file, by which [`Ledger::bury_killed`] finds the run.
    fn begin_locked(&self, record: &Record) -> Result<Running> {
        let lock_path = self.lock_path(&record.id);
        let lock = || -> std::io::Result<File> {
            files::create_folder(&self.locks)?;
            let file = File::create_new(&lock_path)?;
            file.lock()?;
            // After a loss of power, it leads to the run.
            files::sync_folder(&self.locks)?;
            Ok(file)
        };
        let lock = lock().map_err(|error| files::not_written(&lock_path, &error))?;
        let text = record.to_text();
        files::write_whole(&self.path(&record.id), text.as_bytes())?;
        let journal = record.journal.as_ref().unwrap_or_else(|| self.journal(&record.id)).clone();
        self.enter(&journal, vec![Entry::new(Event::Begun, &record.id, record::stated_hash(&text))])?;
        Ok(Running { _lock: lock, lock_path, journal })
    }

    /// Replaces the record of a running run with its final record.
    pub fn finish(&self, running: Running, record: &Record) -> Result<()> {
        let text = record.to_text();
        files::write_whole(&self.path(&record.id), text.as_bytes())?;
        let _lock = self.lock_claims()?;
        self.enter(&running.journal, vec![Entry::new(Event::Ended, &record.id, record::stated_hash(&text))])?;
        // The lock file belongs to this run only, and its record no longer says running: no process looks for it
        // again.
        std::fs::remove_file(&running.lock_path).ok();
        Ok(())
    }

    /// Deletes the record of a run. Its journal keeps that it ran, and that it was deleted.
    ///
    /// # Errors
    /// When the run is alive, or the record or the journal cannot be written.
    pub fn delete(&self, record: &Record) -> Result<()> {
        let _lock = self.lock_claims()?;
        if self.is_alive(&record.id) {
            return Err(Error::new(format!("run {} is running", record.short())).hint("stop it, or wait for its end"));
        }
        let journal = self.journal(&record::id_at(clock::utc()?)).to_owned();
        let path = self.path(&record.id);
        // A damaged record may state anything.
        let state = if journal::is_hash(&record.hash) { record.hash.clone() } else { files::hash(&path)? };
        self.enter(&journal, vec![Entry::new(Event::Deleted, &record.id, &state)])?;
        let removed = std::fs::remove_file(&path).and_then(|()| files::sync_folder(&self.dir));
        removed.context(format!("cannot remove {}", path.display()))
    }

    /// Writes the file of a new plan, enters that it was frozen, and returns the journal's path. A crash between the two
    /// steps leaves a plan that no journal knows: it counts for nothing.
    pub(super) fn freeze(&self, id: &str, file: &Path, text: &str) -> Result<PathBuf> {
        let _lock = self.lock_claims()?;
        files::write_whole(file, text.as_bytes())?;
        let journal = self.journal(id);
        let entered = self.enter(journal, vec![Entry::new(Event::Frozen, id, record::stated_hash(text))]);
        entered.inspect_err(|_| drop(std::fs::remove_file(file)))?;
        Ok(journal::path(&self.dir, journal))
    }

    /// The number of runs whose records a user deleted, by the journals.
    pub fn deleted(&self) -> Result<usize> {
        let journals = journal::read_all(&self.dir)?;
        let entries = journals.iter().flat_map(Journal::of_runs).map(|(_, entry)| entry);
        let deleted = entries.filter(|entry| entry.event == Event::Deleted && !self.path(&entry.name).exists());
        Ok(deleted.map(|entry| &entry.name).collect::<HashSet<_>>().len())
    }

    /// Whether a journal has a line about a run whose id begins or ends so, even if its record is not there.
    ///
    /// # Errors
    /// When a journal cannot be read.
    pub fn has_entered(&self, id: &str) -> Result<bool> {
        let journals = journal::read_all(&self.dir)?;
        let mut entries = journals.iter().flat_map(Journal::of_runs).map(|(_, entry)| entry);
        Ok(entries.any(|entry| entry.name.starts_with(id) || entry.name.ends_with(id)))
    }

    /// The id of the journal of this process, which `first` names if nothing is entered yet.
    fn journal(&self, first: &str) -> &String {
        self.journal.get_or_init(|| first.to_owned())
    }

    /// Adds lines to a journal. The caller holds the lock of [`Ledger::lock_claims`].
    fn enter(&self, journal: &str, entries: Vec<Entry>) -> Result<()> {
        let path = journal::path(&self.dir, journal);
        if journal::is_begun(&path) {
            return journal::append(&path, &entries);
        }
        journal::start(&path, &[self.opening(&entries)?, entries].concat())
    }

    /// The first lines of a new journal: it follows the others. The first journal of a ledger lists the records that are
    /// there already.
    fn opening(&self, entries: &[Entry]) -> Result<Vec<Entry>> {
        let journals = journal::read_all(&self.dir)?;
        if journals.iter().any(|journal| !journal.lines.is_empty()) {
            return Ok(journal::follows(&journals));
        }
        let is_new = |record: &Record| entries.iter().any(|entry| entry.name == record.id);
        let is_old = |record: &Record| {
            !is_new(record) && !self.lock_path(&record.id).exists() && !record.id.contains(char::is_whitespace)
        };
        let (records, _) = self.all()?;
        let found = records.into_iter().filter(|(record, seal)| *seal != Seal::Broken && is_old(record));
        Ok(found.map(|(record, _)| Entry::new(Event::Found, &record.id, &record.hash)).collect())
    }

    /// Returns all records, oldest first, and the files that are not records or have changed since they were written.
    /// No figure comes from these files. A run that is recorded as running but whose lock is free was killed, and is
    /// returned as killed.
    pub fn records(&self) -> Result<(Vec<Record>, Vec<Problem>)> {
        let (all, mut problems) = self.all()?;
        let (intact, edited): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, seal)| *seal != Seal::Broken);
        problems.extend(edited.into_iter().map(|(record, _)| self.edited(&record)));
        problems.sort_by(|a, b| a.file.cmp(&b.file));
        let mut records: Vec<Record> = intact.into_iter().map(|(record, _)| record).collect();
        records.sort_by(|a, b| a.id.cmp(&b.id));
        mark_superseded(&mut records);
        Ok((records, problems))
    }

    /// Returns all records, each with how it compares with its own hash, and the files that are not records.
    pub fn all(&self) -> Result<(Checked, Vec<Problem>)> {
        let paths = self.paths()?;
        let read: Vec<Result<(Record, Seal), Problem>> = paths
            .par_iter()
            .map_init(String::new, |text, path| {
                let record = self.read(path, text);
                let record = record.map_err(|error| Problem { file: path.clone(), what: error.what().to_owned() })?;
                Ok((record, record::seal(text)))
            })
            .collect();
        let (mut records, mut problems) = (Vec::new(), Vec::new());
        for result in read {
            match result {
                Ok(record) => records.push(record),
                Err(problem) => problems.push(problem),
            }
        }
        records.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        Ok((records, problems))
    }

    /// The problem of a record that is not as it was written, to the byte.
    pub(super) fn unsealed(&self, record: &Record, seal: Seal) -> Option<Problem> {
        match seal {
            Seal::Whole => None,
            Seal::Broken => Some(self.edited(record)),
            Seal::Reformatted => Some(Problem {
                file: self.path(&record.id),
                what: "its white space or the order of its fields was changed; its facts are as they were written"
                    .into(),
            }),
        }
    }

    fn edited(&self, record: &Record) -> Problem {
        Problem {
            file: self.path(&record.id),
            what: "its hash does not match: it was changed after it was written".into(),
        }
    }

    /// Returns the one run whose id starts or ends with `part`. Its record must be as it was written.
    pub fn find(&self, part: &str) -> Result<Record> {
        match self.look_up(part)? {
            (record, true) => Ok(record),
            (record, false) => {
                let Problem { file, what } = self.edited(&record);
                Err(Error::new(format!("{}: {what}", file.display()))
                    .hint(format!("`sempair show {}` shows what it contains now", record.short())))
            }
        }
    }

    /// As [`Ledger::find`], but also returns a changed record. The flag says whether the record's own hash matches.
    pub fn look_up(&self, part: &str) -> Result<(Record, bool)> {
        let paths = self.paths()?;
        let matches = |path: &&PathBuf| {
            let id = stem(path);
            !part.is_empty() && (id.starts_with(part) || id.ends_with(part))
        };
        let found: Vec<&PathBuf> = paths.iter().filter(matches).collect();
        match found.as_slice() {
            [path] => {
                let mut text = String::new();
                let record = self.read(path, &mut text).map_err(|error| error.context(path.display()))?;
                Ok((record, record::is_intact(&text)))
            }
            [] => {
                Err(Error::new(format!("no run `{part}` in {}", self.dir.display())).hint("`sempair runs` lists all"))
            }
            many => {
                let ids: Vec<String> = many.iter().take(8).map(|path| format!("`{}`", stem(path))).collect();
                let more = if many.len() > ids.len() { " and others" } else { "" };
                let error = Error::new(format!("{} runs match `{part}`", many.len()));
                Err(error.hint(format!("give more of the id: {}{more}", ids.join(", "))))
            }
        }
    }

    /// Records that the dead runs of this machine were killed, and returns how many there were.
    ///
    /// Runs without a lock file here were started elsewhere (in another clone) and are left alone.
    pub fn bury_killed(&self) -> Result<usize> {
        let mut buried = 0;
        let Ok(entries) = std::fs::read_dir(&self.locks) else { return Ok(0) };
        // A run that begins now creates its lock file a moment before it takes the lock.
        let _lock = self.lock_claims()?;
        let is_lock = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lock");
        for lock_path in entries.flatten().map(|entry| entry.path()).filter(is_lock) {
            let Ok(lock) = File::open(&lock_path) else { continue };
            if lock.try_lock().is_err() {
                continue;
            }
            let path = self.path(stem(&lock_path));
            if !path.exists() {
                // Ledgers may share the folder of the locks: it is another one's.
                continue;
            }
            if let Ok(text) = std::fs::read_to_string(&path)
                && let Ok(value) = serde_json::from_str::<Value>(&text)
                && record::is_intact(&text)
            {
                buried += usize::from(self.bury(&path, value)?);
            }
            std::fs::remove_file(&lock_path).ok();
        }
        Ok(buried)
    }

    /// Brings the record of a dead run and its journal to their end, and returns whether the run was killed. The crash
    /// may have come between the record and its line in the journal.
    fn bury(&self, path: &Path, mut record: Value) -> Result<bool> {
        let (id, hash) = (stem(path).to_owned(), record["hash"].as_str().unwrap_or_default().to_owned());
        let journal = match record["journal"].as_str() {
            // A record may come from anyone, so nothing outside of the ledger is written.
            Some(journal) if Path::new(journal).components().eq([Component::Normal(journal.as_ref())]) => {
                journal.to_owned()
            }
            _ => self.journal(&id).clone(),
        };
        let entered = journal::last_entry(&journal::path(&self.dir, &journal), &id);
        let was_killed = record["status"] == "running";
        let is_other = |entry: &Entry| entry.event != Event::Begun || was_killed && entry.state != hash;
        if entered.as_ref().is_some_and(is_other) {
            // The end is entered already, or the record was changed while the run ran: its hash must not become that of
            // the run.
            return Ok(false);
        }
        let mut entries = Vec::new();
        if entered.is_none() {
            entries.push(Entry::new(Event::Begun, &id, &hash));
        }
        if was_killed {
            record["status"] = Value::from("killed");
            record["error"] = Value::from("the process ended without finishing the run");
            let text = record::text(record);
            files::write_whole(path, text.as_bytes())?;
            entries.push(Entry::new(Event::Killed, &id, record::stated_hash(&text)));
        } else if entered.is_some_and(|entered| entered.state != hash) {
            entries.push(Entry::new(Event::Ended, &id, &hash));
        }
        if !entries.is_empty() {
            self.enter(&journal, entries)?;
        }
        Ok(was_killed)
    }

    /// The files that should be records, sorted.
    fn paths(&self) -> Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(format!("cannot read {}", self.dir.display())),
        };
        let is_record = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_record).collect();
        paths.sort();
        Ok(paths)
    }

    /// Reads the record in a file. A run that is recorded as running but is not alive was killed. `text` is a buffer
    /// for the text of the file: reusing it for many files avoids an allocation for each.
    fn read(&self, path: &Path, text: &mut String) -> Result<Record> {
        let mut record = Self::parse(path, text)?;
        if record.status == Status::Running && !self.is_alive(&record.id) {
            // The run may have ended between the two checks: its end is written before its lock is released.
            record = Self::parse(path, text)?;
            if record.status == Status::Running {
                record.status = Status::Killed;
            }
        }
        Ok(record)
    }

    /// Reads the record in a file, if there is one and its hash matches.
    fn read_intact(&self, path: &Path, text: &mut String) -> Option<Record> {
        self.read(path, text).ok().filter(|_| record::is_intact(text))
    }

    fn parse(path: &Path, text: &mut String) -> Result<Record> {
        let kind = std::fs::symlink_metadata(path).context("cannot read it")?;
        if !kind.is_file() || kind.len() > MAX_BYTES {
            return Err(Error::new("not a plain file of a record's size"));
        }
        text.clear();
        File::open(path).and_then(|mut file| file.read_to_string(text)).context("cannot read it")?;
        let record = Record::parse(text)?;
        if record.id != stem(path) {
            return Err(Error::new(format!("a copy: the record inside is `{}`", record.id)));
        }
        Ok(record)
    }

    /// Takes the lock that a process holds while it looks for a run of a key and begins one if there is none. The
    /// lock file stays.
    fn lock_claims(&self) -> Result<File> {
        let path = self.locks.join("claims");
        let lock = || -> std::io::Result<File> {
            files::create_folder(&self.locks)?;
            let file = File::options().create(true).append(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error| files::not_written(&path, &error))
    }

    /// Whether a run is alive. Trying a shared lock is enough to detect an exclusive one, and readers do not mistake
    /// each other for the owner.
    fn is_alive(&self, id: &str) -> bool {
        let Ok(lock) = File::open(self.lock_path(id)) else { return false };
        matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// The runs that have a lock file here: they are alive, or their end is not entered yet.
    pub(super) fn locked(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&self.locks).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Some(name.strip_suffix(".lock")?.to_owned())).collect()
    }

    /// The file of a record.
    pub(super) fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn lock_path(&self, id: &str) -> PathBuf {
        self.locks.join(format!("{id}.lock"))
    }
}

impl Watch<'_> {
    /// The newest completed run of a key among the runs that were seen.
    pub fn completed(&self, key: &str) -> Option<&str> {
        self.completed.get(key).map(String::as_str)
    }

    /// Forgets the completed runs, so that their cells run again.
    pub fn forget(&mut self) {
        self.completed.clear();
    }

    /// Begins the run, unless its key has a completed run or another process runs it now. If two processes ask at the
    /// same time, one of them begins. The id of the run sorts after those of all runs seen, so that the newest run is
    /// the last one begun even if a clock was set back.
    pub fn claim(&mut self, record: &mut Record) -> Result<Claimed> {
        if let Some(id) = self.completed.get(&record.key) {
            return Ok(Claimed::Done(id.clone()));
        }
        let _lock = self.ledger.lock_claims()?;
        let running = self.look()?;
        Ok(match self.completed.get(&record.key) {
            Some(id) => Claimed::Done(id.clone()),
            None if running.contains(&record.key) => Claimed::Busy,
            None => {
                if record.id <= self.newest {
                    record.id = record::id_after(&self.newest).unwrap_or_else(|| record.id.clone());
                }
                self.newest.clone_from(&record.id);
                record.journal = Some(self.ledger.journal(&record.id).clone());
                Claimed::Mine(self.ledger.begin_locked(record)?)
            }
        })
    }

    /// Reads the new records, and returns the keys that are being run.
    fn look(&mut self) -> Result<HashSet<String>> {
        let paths: Vec<PathBuf> = self.ledger.paths()?.into_iter().filter(|path| !self.ended.contains(path)).collect();
        let records: Vec<Option<Record>> =
            paths.par_iter().map_init(String::new, |text, path| self.ledger.read_intact(path, text)).collect();
        let mut running = HashSet::new();
        // The paths are in order of time, so the newest run is kept.
        for (path, record) in paths.into_iter().zip(records) {
            if let Some(record) = record.as_ref().filter(|record| record.id > self.newest) {
                self.newest.clone_from(&record.id);
            }
            match record {
                Some(record) if record.status == Status::Running => drop(running.insert(record.key)),
                record => {
                    self.ended.insert(path);
                    if let Some(record) = record.filter(|record| record.status == Status::Completed) {
                        self.completed.insert(record.key, record.id);
                    }
                }
            }
        }
        Ok(running)
    }
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// Marks superseded runs in `records`, which are sorted oldest first: of the completed runs with the same key, the
/// last one supersedes the others.
pub(crate) fn mark_superseded(records: &mut [Record]) {
    let mut newest: HashMap<String, String> = HashMap::new();
    for record in records.iter_mut().rev().filter(|record| record.status == Status::Completed) {
        match newest.get(&record.key) {
            Some(id) => record.superseded_by = Some(id.clone()),
            None => drop(newest.insert(record.key.clone(), record.id.clone())),
        }
    }
}

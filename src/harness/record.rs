//! The record of one run: a small JSON file that must stay readable for ever. Its fields are copied by hand from what
//! they describe, so that renaming a setting does not change old records. Fields are added, never renamed or given a
//! new meaning.

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::harness::canonical;
use crate::harness::git::Git;
use crate::harness::interned::Interned;
use crate::harness::interned::Kept;
use crate::harness::outcome::CategoryValue;
use crate::harness::outcome::Curve;
use crate::harness::outcome::DataRef;
use crate::harness::outcome::Hits;
use crate::harness::outcome::Scene;
use crate::harness::provenance::Build;
use crate::harness::provenance::Compute;
use crate::harness::provenance::Host;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

use chrono::DateTime;
use chrono::Utc;
use uuid::NoContext;
use uuid::Timestamp;
use uuid::Uuid;

/// Names a row by its labels, in order, such as `[("method", "SimCLR"), ("pairs", "AP")]`.
pub type Row = Vec<(String, String)>;

/// The schema of [`RecordV1`].
pub const SCHEMA: &str = "sempair.run/1";

/// The record that this program writes.
pub type Record = RecordV1;

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Begun and not yet ended.
    Running,
    /// Ended with a result.
    Completed,
    /// Ended with an error or a panic, or with values that are not finite.
    Failed,
    /// Stopped by Ctrl-C; the same command resumes it.
    Interrupted,
    /// The process ended without finishing the run: SIGKILL, power loss, or a crash.
    Killed,
}

impl Status {
    /// The word for it in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Killed => "killed",
        }
    }
}

/// A setting and where it came from, such as `sempair.toml:12` or `--set`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The setting's key, such as `pretrain.epochs`.
    pub key: String,
    /// The value as JSON, without secrets.
    pub value: Value,
    /// The place that the value came from, or its layer if it has no place.
    pub origin: String,
    /// The values that it replaced, the nearest first. Empty in records from before they were recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadowed: Vec<Shadowed>,
}

impl Setting {
    /// Whether it is a default, such as of `defaults.toml:12`.
    pub fn is_default(&self) -> bool {
        self.origin.starts_with("default")
    }

    /// Whether it is a default or of the profile, such as of `profiles/quick.toml:3`, and was not given for this run.
    pub fn is_built_in(&self) -> bool {
        self.is_default() || self.origin.starts_with("profile")
    }
}

/// A value of a setting that another one replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shadowed {
    /// The value as JSON, without secrets.
    pub value: Value,
    /// The place that it came from, or its layer.
    pub origin: String,
}

/// A file of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// Path within the stage's folder, with `/`.
    pub name: String,
    /// The file's size in bytes.
    pub bytes: u64,
    /// BLAKE3.
    pub hash: String,
}

/// A stage that the run computed or found in the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageUse {
    /// The stage's name, such as `pretrain`.
    pub name: String,
    /// The hash of everything that determines its files, which names its folder in the cache.
    pub key: String,
    /// Whether this run computed it. If not, it was in the cache.
    pub computed: bool,
    /// The run that computed it, if it was in the cache.
    #[serde(default)]
    pub from: Option<String>,
    /// The time of computing it, in seconds, in whichever run that was.
    #[serde(default)]
    pub seconds: f64,
    /// Predicted seconds, before earlier runs correct them; 0 if there was no prediction.
    #[serde(default, rename = "reckoned")]
    pub predicted: f64,
    /// The threads that it was computed on; 0 in records from before cells ran in parallel, when it was all of them.
    #[serde(default)]
    pub threads: usize,
    /// The largest number of other runs of the same command that were computed at the same time.
    #[serde(default)]
    pub beside: usize,
    /// All its files except the cache's manifest, sorted by name.
    #[serde(default)]
    pub files: Vec<FileHash>,
}

impl StageUse {
    /// A stage that is not computed yet.
    pub(super) fn to_come(name: &str, key: &str) -> Self {
        let (name, key) = (name.to_owned(), key.to_owned());
        let (from, files) = (None, Vec::new());
        Self { name, key, computed: false, from, seconds: 0.0, predicted: 0.0, threads: 0, beside: 0, files }
    }
}

/// One run. Unknown fields are ignored; all but the first few may be absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordV1 {
    /// The format of the record: [`SCHEMA`].
    pub schema: String,
    /// UUID, version 7: ordered by time. Also the name of the file.
    pub id: String,
    /// The table's id.
    pub experiment: String,
    /// BLAKE3 of everything that determines the result.
    pub key: String,
    /// How the run ended, or that it still runs.
    pub status: Status,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC; `None` while the run is running, and if it was killed.
    #[serde(default)]
    pub ended: Option<String>,
    /// The time that the run took, in seconds, without pauses of the process; 0 until it ends.
    #[serde(default)]
    pub seconds: f64,
    /// Why the run failed or was stopped, if that is known; `None` for a completed run.
    #[serde(default)]
    pub error: Option<String>,
    /// The table's title, in one line; `None` if the record does not state it.
    #[serde(default)]
    pub title: Option<String>,
    /// The name of the profile that the settings start from, such as `quick`.
    #[serde(default)]
    pub profile: String,
    /// The labels of the run's row.
    #[serde(default)]
    pub row: Row,
    /// The column's id, such as `synth-10`.
    #[serde(default)]
    pub column: String,
    /// The run's seed, counted from 0.
    #[serde(default)]
    pub seed: u64,
    /// All settings with their origins, in the order of the defaults.
    #[serde(default)]
    pub settings: Interned<Vec<Setting>>,
    /// The inputs of the cell's last stage, without secrets; null if it has no stages.
    #[serde(default)]
    pub inputs: Interned<Value>,
    /// The parts of the code that decide the result, with the hash of each; empty in records from before stages had
    /// their own code versions, which only have [`Build::code`].
    #[serde(default)]
    pub code: Interned<BTreeMap<String, String>>,
    /// The state of the repository when the command started.
    #[serde(default)]
    pub git: Git,
    /// The program that ran.
    #[serde(default)]
    pub build: Build,
    /// The machine that it ran on.
    #[serde(default)]
    pub host: Host,
    /// The device, the instruction set and the number format.
    #[serde(default)]
    pub compute: Compute,
    /// The largest memory that the process had held when the run ended, in bytes; earlier runs of the same process
    /// count.
    #[serde(default)]
    pub peak_memory: Option<u64>,
    /// The threads that the run had, out of [`Host::threads`]; 0 in records from before cells ran in parallel, when
    /// it had all of them.
    #[serde(default)]
    pub threads: usize,
    /// The largest number of other runs of the command that were computed at the same time as one of its stages.
    #[serde(default)]
    pub beside: usize,
    /// The energy that processors and memory of the machine took while it ran, in joules, or its share if others of the
    /// command ran beside it (see [`energy::of_run`](crate::harness::energy::of_run)); `None` where the machine does not
    /// tell it, and until the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_joules: Option<f64>,
    /// The command line, without secrets and without the folder of the program.
    #[serde(default)]
    pub args: Vec<String>,
    /// The environment variables that could matter, without secrets; empty in records from before they were recorded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The data that the run used; empty unless it completed.
    #[serde(default)]
    pub data: Vec<DataRef>,
    /// Values by the id of the metric, in its unit; empty unless the run completed.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Lines of at most [`Curve::MAX_POINTS`] points; empty unless the run completed.
    #[serde(default)]
    pub curves: Vec<Curve>,
    /// BLAKE3 of the encoder's file; `None` if there is no such file, or the run did not complete.
    #[serde(default)]
    pub checkpoint: Option<String>,
    /// BLAKE3 of the file of per-item predictions; `None` without a probe, or if the run did not complete.
    #[serde(default)]
    pub predictions: Option<String>,
    /// For metrics that are accuracies, by id: which items were right.
    #[serde(default)]
    pub hits: BTreeMap<String, Hits>,
    /// For metrics that are means over categories, by id: the value on each category. Not in records of other metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_category: BTreeMap<String, Vec<CategoryValue>>,
    /// A few test images with what was found in them. Only in records of some detectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scenes: Vec<Scene>,
    /// Further facts for readers, by name, such as `penalty`.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    /// The stages that were computed or found, in this order; those before the failure if the run failed.
    #[serde(default)]
    pub stages: Vec<StageUse>,
    /// The journal of the ledger in which the run is entered; `None` in records from before there were journals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// A later completed run with the same key. Found when the ledger is read, never written: records do not change.
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// BLAKE3 of the canonical JSON of all other fields.
    #[serde(default)]
    pub hash: String,
}

/// The end of a run's id, which messages and tables show. It is random and so distinct; the ledger finds a run by it.
pub fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(8)..).unwrap_or(id)
}

/// An id that sorts after all ids of earlier times, and is unique across machines: a UUID of version 7 (RFC 9562).
pub fn id_at(time: DateTime<Utc>) -> String {
    let (seconds, nanoseconds) = (u64::try_from(time.timestamp()).unwrap_or(0), time.timestamp_subsec_nanos());
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanoseconds)).to_string()
}

/// An id that sorts after this one: its time is one millisecond later. `None` if `id` is not such an id.
pub(super) fn id_after(id: &str) -> Option<String> {
    let (seconds, nanoseconds) = Uuid::try_parse(id).ok()?.get_timestamp()?.to_unix();
    let time = DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)?;
    time.checked_add_signed(chrono::Duration::milliseconds(1)).map(id_at)
}

impl RecordV1 {
    /// See [`short`].
    pub fn short(&self) -> &str {
        short(&self.id)
    }

    /// The seconds of the whole machine that the run took: its time multiplied by its share of the threads.
    pub fn machine_seconds(&self) -> f64 {
        let (had, all) = (self.threads, self.host.threads);
        if (1..all).contains(&had) { self.seconds * had as f64 / all as f64 } else { self.seconds }
    }

    /// Reads a record from the text of its file.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(record) = Self::of_lines(text)
            && record.schema == SCHEMA
        {
            return Ok(record);
        }
        // The file was not written by this program, or it is damaged: the errors below say what is wrong.
        let value: Value = serde_json::from_str(text).context("not JSON")?;
        match value.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => {}
            Some(other) => return Err(Error::new(format!("of schema `{other}`, which this version cannot read"))),
            None => return Err(Error::new("not a run record: it has no schema")),
        }
        serde_json::from_value(value).context("damaged")
    }

    /// Reads a record from a file with one line for each field. The longest lines are those of settings, inputs and
    /// code, which are the same in many records of a ledger: a line that was parsed before is not parsed again.
    fn of_lines(text: &str) -> Option<Self> {
        static SETTINGS: Kept<Vec<Setting>> = Kept::new();
        static INPUTS: Kept<Value> = Kept::new();
        static CODE: Kept<BTreeMap<String, String>> = Kept::new();
        // The placeholder for such a line. The parsed record has it if the line was a field of the record itself.
        let stand_in =
            Setting { key: "a line".into(), value: Value::Null, origin: String::new(), shadowed: Vec::new() };
        let (mut settings, mut inputs, mut code) = (None, None, None);
        let mut rest = String::with_capacity(1 << 13);
        for line in text.split_inclusive('\n') {
            let value = |name: &str| line.strip_prefix(name)?.strip_suffix(",\n");
            if let Some(value) = value("\"settings\": ") {
                settings = Some(SETTINGS.read(value).ok()?);
                rest += "\"settings\": [{\"key\": \"a line\", \"value\": null, \"origin\": \"\"}],\n";
            } else if let Some(value) = value("\"inputs\": ") {
                inputs = Some(INPUTS.read(value).ok()?);
                rest += "\"inputs\": \"a line\",\n";
            } else if let Some(value) = value("\"code\": ") {
                code = Some(CODE.read(value).ok()?);
                rest += "\"code\": {\"a line\": \"\"},\n";
            } else {
                rest += line;
            }
        }
        let record: Self = serde_json::from_str(&rest).ok()?;
        let (settings, inputs) = (settings?, inputs?);
        let is_stand_in = record.code.len() == 1 && record.code.contains_key("a line");
        let whole = **record.settings == [stand_in] && *record.inputs == "a line" && code.is_some() == is_stand_in;
        let code = code.unwrap_or_else(|| record.code.clone());
        whole.then_some(Self { settings, inputs, code, ..record })
    }

    /// The text of the record's file, with its hash.
    pub(crate) fn to_text(&self) -> String {
        text(serde_json::to_value(self).expect("a record has a JSON form"))
    }
}

/// The text of a record's file: one line for each field, so that differences between records are easy to read. Sets
/// the hash.
pub(super) fn text(mut record: Value) -> String {
    let hash = Value::from(hash(&record));
    let fields = record.as_object_mut().expect("a record is an object");
    fields.insert("hash".to_owned(), hash);
    let lines: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// The hash in a text that [`text`] made.
pub(super) fn stated_hash(text: &str) -> &str {
    let stated = text.lines().find_map(|line| line.strip_prefix("\"hash\": \""));
    stated.and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// How the text of a record's file compares with its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Every byte is as it was written.
    Whole,
    /// The facts are as they were written, but not the white space or the order of the fields.
    Reformatted,
    /// Something was changed.
    Broken,
}

/// Compares the text of a record's file with its hash, including fields unknown to this version.
pub(super) fn seal(text: &str) -> Seal {
    // The lines that `text` writes are those of the canonical JSON: nothing needs to be parsed.
    if hash_of_lines(text).is_some_and(|(stored, hash)| stored == hash) {
        return Seal::Whole;
    }
    let is_same =
        |record: Value| record.get("hash").and_then(Value::as_str).is_some_and(|stored| stored == hash(&record));
    if serde_json::from_str(text).is_ok_and(is_same) { Seal::Reformatted } else { Seal::Broken }
}

/// Whether the facts of a record are as they were written.
pub(crate) fn is_intact(text: &str) -> bool {
    seal(text) != Seal::Broken
}

/// The hash that a file states and the hash of its other lines, if it has one line for each field.
fn hash_of_lines(text: &str) -> Option<(&str, String)> {
    let lines = text.strip_prefix("{\n")?.strip_suffix("\n}\n")?.split('\n');
    // Hashed in one piece, which is several times as fast as part by part.
    let (mut stored, mut canonical, mut between) = (None, Vec::with_capacity(text.len()), "{");
    for line in lines {
        let (name, value) = line.strip_suffix(',').unwrap_or(line).split_once(':')?;
        let value = value.strip_prefix(' ')?;
        if name == "\"hash\"" {
            stored = Some(value.strip_prefix('"')?.strip_suffix('"')?);
        } else {
            for part in [between, name, ":", value] {
                canonical.extend_from_slice(part.as_bytes());
            }
            between = ",";
        }
    }
    canonical.push(b'}');
    Some((stored?, blake3::hash(&canonical).to_hex().to_string()))
}

fn hash(record: &Value) -> String {
    let fields = record.as_object().into_iter().flatten().filter(|(name, _)| *name != "hash");
    canonical::key(&fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

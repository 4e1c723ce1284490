//! Why a repetition differs from its run. Factor by factor, the run is repeated with that factor as it was recorded and
//! all others as they are now: the factor with which the result is identical is the cause.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{ErrorKind, Result};
use crate::harness::difference::{self, Section};
use crate::harness::record::{Record, short};

/// What a further repetition does in another way than the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Toggle {
    /// As `--device` names it.
    pub(super) device: Option<String>,
    pub(super) isa: Option<String>,
    pub(super) precision: Option<String>,
    pub(super) threads: Option<usize>,
    /// Whether the program of the run's commit repeats it.
    pub(super) rebuilt: bool,
}

/// What a further repetition gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gave {
    /// What was recorded.
    Recorded,
    /// What the first repetition gave.
    Repeated,
    /// Neither.
    Other,
}

/// Whether the program of the run's commit may repeat the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitProgram {
    /// It may be built.
    Allowed,
    /// It may not: `--quick`.
    Forbidden,
    /// The run names no commit.
    Unknown,
    /// It was the one that repeated the run.
    Used,
}

/// What may explain a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Factor {
    Data,
    Device,
    InstructionSet,
    Precision,
    /// Device, instruction set and precision.
    Compute,
    Threads,
    Code,
}

impl Factor {
    fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Device => "device",
            Self::InstructionSet => "instruction set",
            Self::Precision => "precision",
            Self::Compute => "device, instruction set and precision together",
            Self::Threads => "number of threads",
            Self::Code => "code",
        }
    }
}

/// What came of a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It is now as it was then.
    Same,
    /// Set as it was, the result is identical.
    Cause,
    /// With it, the result is not the recorded one either.
    NotTheCause,
    /// It differs, and it was not set as it was, for the reason that is given.
    NotTried,
}

/// A factor, its values, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Trial {
    pub(super) factor: Factor,
    /// In the recorded run; empty if the record does not state it.
    pub(super) was: String,
    /// In the repetition.
    pub(super) is: String,
    pub(super) outcome: Outcome,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

impl Trial {
    fn named(&self) -> String {
        let Self { factor, was, is, .. } = self;
        match (was.is_empty() && is.is_empty(), was == is) {
            (true, _) => factor.name().to_owned(),
            (_, true) => format!("{} ({was})", factor.name()),
            _ => format!("{} ({} then, {} now)", factor.name(), or_unknown(was), or_unknown(is)),
        }
    }

    fn words(&self) -> String {
        let came = match self.outcome {
            Outcome::Same => "as it was",
            Outcome::Cause => "set as it was, the result is identical",
            Outcome::NotTheCause => "the result is not the recorded one either",
            Outcome::NotTried => "not tried",
        };
        match self.reason.is_empty() {
            true => format!("{}: {came}", self.named()),
            false => format!("{}: {came}: {}", self.named(), self.reason),
        }
    }
}

fn or_unknown(value: &str) -> &str {
    if value.is_empty() { "not recorded" } else { value }
}

/// The cause of a difference, and what was tried to find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    /// The run for which the cause was searched.
    pub(super) run: String,
    /// The cause in words; begins with `not found` or `not searched for` if it is not known.
    pub(super) factor: String,
    pub(super) tried: Vec<Trial>,
}

impl Cause {
    /// That no cause was searched for.
    pub(super) fn not_searched(run: &Record, reason: &str) -> Self {
        Self { run: run.id.clone(), factor: format!("not searched for, since {reason}"), tried: Vec::new() }
    }

    pub(super) fn print(&self) {
        say!("cause: {}", self.factor);
        if !self.tried.is_empty() {
            say!("  looked at in run {}:", short(&self.run));
        }
        self.tried.iter().for_each(|trial| say!("  - {}", trial.words()));
    }
}

/// Searches for the cause of the difference between a run and its repetition `other`. `repeat` repeats the run once more.
///
/// # Errors
/// When the user interrupts a repetition. A repetition that fails is a trial without a result.
pub(super) fn search<'a>(
    run: &'a Record,
    other: &'a Record,
    program: CommitProgram,
    repeat: &'a dyn Fn(&Toggle) -> Result<Gave>,
) -> Result<Cause> {
    let mut search = Search { run, other, program, repeat, tried: Vec::new() };
    let factors: [Look<'a>; 4] = [Search::data, Search::compute, Search::threads, Search::code];
    let mut found = None;
    for factor in factors {
        found = factor(&mut search)?;
        if found.is_some() {
            break;
        }
    }
    let unknown = || "not found: two repetitions agree with each other, and differ from the record".to_owned();
    Ok(Cause { run: run.id.clone(), factor: found.unwrap_or_else(unknown), tried: search.tried })
}

/// Looks at a factor. Returns the cause in words if it is found.
type Look<'a> = fn(&mut Search<'a>) -> Result<Option<String>>;

struct Search<'a> {
    run: &'a Record,
    other: &'a Record,
    program: CommitProgram,
    repeat: &'a dyn Fn(&Toggle) -> Result<Gave>,
    tried: Vec<Trial>,
}

impl Search<'_> {
    fn note(&mut self, factor: Factor, (was, is): (&str, &str), outcome: Outcome, reason: &str) {
        let [was, is, reason] = [was, is, reason].map(str::to_owned);
        self.tried.push(Trial { factor, was, is, outcome, reason });
    }

    /// Repeats the run. If that fails, this is noted of the factor, and there is no result.
    fn repeated(&mut self, factor: Factor, values: (&str, &str), toggle: &Toggle) -> Result<Option<Gave>> {
        match (self.repeat)(toggle) {
            Ok(gave) => Ok(Some(gave)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.note(factor, values, Outcome::NotTried, &format!("not possible here: {}", error.what()));
                Ok(None)
            }
        }
    }

    /// Repeats the run with a factor as it was. Returns whether the result is the recorded one.
    fn explains(&mut self, factor: Factor, values: (&str, &str), toggle: &Toggle) -> Result<bool> {
        let Some(gave) = self.repeated(factor, values, toggle)? else { return Ok(false) };
        let outcome = if gave == Gave::Recorded { Outcome::Cause } else { Outcome::NotTheCause };
        self.note(factor, values, outcome, "");
        Ok(gave == Gave::Recorded)
    }

    /// Whether a dataset here is not the recorded one. Then nothing else can be found by repetitions.
    fn data(&mut self) -> Result<Option<String>> {
        let [was, is] = [self.run, self.other].map(sets);
        if was.is_empty() {
            self.note(Factor::Data, ("", ""), Outcome::NotTried, "the record does not state its data");
            return Ok(None);
        }
        let changed: Vec<(String, String)> = was
            .iter()
            .filter(|(name, hash)| is.get(*name) != Some(*hash))
            .map(|(name, hash)| {
                let now = is.get(name).map_or("none".to_owned(), |hash| digits(hash));
                (format!("{name} {}", digits(hash)), format!("{name} {now}"))
            })
            .collect();
        let all = |values: &BTreeMap<&str, &str>| values.keys().copied().collect::<Vec<_>>().join(", ");
        if changed.is_empty() {
            self.note(Factor::Data, (&all(&was), &all(&was)), Outcome::Same, "");
            return Ok(None);
        }
        let (then, now): (Vec<String>, Vec<String>) = changed.into_iter().unzip();
        let (then, now) = (then.join(", "), now.join(", "));
        self.note(Factor::Data, (&then, &now), Outcome::NotTried, "the recorded data are not here");
        let others = self.others();
        Ok(Some(match others.is_empty() {
            true => format!("the data ({then} then, {now} now): everything else is as it was"),
            false => format!(
                "the data ({then} then, {now} now), or what else differs: {}. Only with the recorded data could they be \
                 told apart",
                others.join(", ")
            ),
        }))
    }

    /// What differs besides the data.
    fn others(&self) -> Vec<String> {
        let changes = difference::causes(self.run, self.other, |_| false);
        let decides = |section: Section| match section {
            Section::Code => !self.run.code.is_empty(),
            section => section == Section::Machine,
        };
        changes.into_iter().filter(|change| decides(change.section)).map(|change| change.name).collect()
    }

    /// Device, instruction set and precision, each as it was, and then all together.
    fn compute(&mut self) -> Result<Option<String>> {
        let (was, is) = (&self.run.compute, &self.other.compute);
        let device = device_of(self.run).map(str::to_owned);
        let (mut together, mut count) = (Toggle::default(), 0);
        for (factor, was, is, toggle) in [
            (Factor::Device, &was.device, &is.device, Toggle { device, ..Toggle::default() }),
            (Factor::InstructionSet, &was.isa, &is.isa, Toggle { isa: Some(was.isa.clone()), ..Toggle::default() }),
            (
                Factor::Precision,
                &was.precision,
                &is.precision,
                Toggle { precision: Some(was.precision.clone()), ..Toggle::default() },
            ),
        ] {
            let values = (was.as_str(), is.as_str());
            match self.obstacle(factor, values) {
                Some(reason) => self.note(factor, values, Outcome::NotTried, reason),
                None if was == is => self.note(factor, values, Outcome::Same, ""),
                None if self.explains(factor, values, &toggle)? => return Ok(self.last()),
                None => {}
            }
            if was != is && !was.is_empty() && !self.is_of_gpu(factor) {
                (together, count) = (together.with(&toggle), count + 1);
            }
        }
        let found = count > 1 && self.explains(Factor::Compute, ("", ""), &together)?;
        Ok(if found { self.last() } else { None })
    }

    /// Why a factor cannot be set as it was, alone.
    fn obstacle(&self, factor: Factor, (was, is): (&str, &str)) -> Option<&'static str> {
        let other_device = self.run.compute.device != self.other.compute.device;
        match factor {
            _ if was.is_empty() => Some("the record does not state it"),
            _ if was == is => None,
            Factor::InstructionSet if self.is_of_gpu(factor) => Some("that of a GPU cannot be chosen"),
            Factor::InstructionSet if other_device => Some("it is that of the other device"),
            _ => None,
        }
    }

    fn is_of_gpu(&self, factor: Factor) -> bool {
        factor == Factor::InstructionSet && self.run.compute.device != "cpu"
    }

    /// The number of threads: that of the record, and 1. Results must not depend on it. If they do, or if there is no
    /// other number, the same repetition again shows whether any two repetitions agree.
    fn threads(&mut self) -> Result<Option<String>> {
        let now = self.other.threads;
        let recorded = if self.run.threads > 0 { self.run.threads } else { self.run.host.threads };
        let mut counts = vec![recorded, 1];
        counts.dedup();
        counts.retain(|count| *count != now && *count > 0);
        let mut agree = false;
        for count in counts {
            let values = format!("{count} instead of {now}");
            let toggle = Toggle { threads: Some(count), ..Toggle::default() };
            match self.repeated(Factor::Threads, (&values, &values), &toggle)? {
                None => {}
                Some(Gave::Repeated) => {
                    self.note(Factor::Threads, (&values, &values), Outcome::NotTheCause, "");
                    agree = true;
                }
                Some(gave) => {
                    let outcome = if gave == Gave::Recorded { Outcome::Cause } else { Outcome::NotTheCause };
                    self.note(Factor::Threads, (&values, &values), outcome, "");
                    let text = format!(
                        "the number of threads ({values}), which gives another result: a defect of this program, since \
                         results must not depend on it"
                    );
                    return Ok(self.disagreement()?.or(Some(text)));
                }
            }
        }
        if agree { Ok(None) } else { self.disagreement() }
    }

    /// Whether the same repetition gives another result.
    fn disagreement(&self) -> Result<Option<String>> {
        let gave = (self.repeat)(&Toggle::default())?;
        Ok((gave != Gave::Repeated).then(|| {
            "two repetitions with the same program differ from each other: a defect of this program".to_owned()
        }))
    }

    /// The code: the program of the run's commit repeats the run, if that is allowed.
    fn code(&mut self) -> Result<Option<String>> {
        let changes = difference::causes(self.run, self.other, |_| false);
        let is_code = |section| section == Section::Code && !self.run.code.is_empty();
        let modules: Vec<String> =
            changes.into_iter().filter(|change| is_code(change.section)).map(|change| change.name).collect();
        let modules = modules.join(", ");
        let [was, is] =
            [self.run, self.other].map(|of| of.build.binary_hash.as_deref().map(digits).unwrap_or_default());
        let programs = (format!("program {}", or_unknown(&was)), format!("program {}", or_unknown(&is)));
        let values = (programs.0.as_str(), programs.1.as_str());
        if modules.is_empty() && !was.is_empty() && was == is {
            self.note(Factor::Code, values, Outcome::Same, "");
            return Ok(None);
        }
        let differs = (!modules.is_empty()).then(|| format!("the code differs: {modules}"));
        let (more, reason) = match self.program {
            CommitProgram::Allowed => {
                let toggle = Toggle { rebuilt: true, ..Toggle::default() };
                if !self.explains(Factor::Code, values, &toggle)? {
                    return Ok(differs);
                }
                let what = match modules.is_empty() {
                    true => "the build, or code that is in no version of a stage".to_owned(),
                    false => format!("the code ({modules})"),
                };
                return Ok(Some(format!("{what}: with the program of the commit, the result is identical")));
            }
            CommitProgram::Forbidden => {
                (" (without `--quick`, the program of the commit repeats the run)", "`--quick` uses this program only")
            }
            CommitProgram::Unknown => ("", "the run names no commit"),
            CommitProgram::Used => {
                (", although the program is that of the commit", "the program of the commit repeated the run")
            }
        };
        self.note(Factor::Code, values, Outcome::NotTried, reason);
        Ok(differs.map(|differs| differs + more))
    }

    /// The last trial in words.
    fn last(&self) -> Option<String> {
        self.tried.last().map(|trial| format!("the {}", trial.words()))
    }
}

impl Toggle {
    /// What it changes, such as `with precision f32`.
    pub(super) fn words(&self) -> String {
        let threads = self.threads.map(|count| format!("{count} threads"));
        let parts = [
            self.device.as_ref().map(|device| format!("device {device}")),
            self.isa.as_ref().map(|isa| format!("instruction set {isa}")),
            self.precision.as_ref().map(|precision| format!("precision {precision}")),
            threads,
            self.rebuilt.then(|| "the program of its commit".to_owned()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "in the same way".to_owned() } else { format!("with {}", parts.join(", ")) }
    }

    /// This and the other.
    fn with(self, other: &Self) -> Self {
        Self {
            device: other.device.clone().or(self.device),
            isa: other.isa.clone().or(self.isa),
            precision: other.precision.clone().or(self.precision),
            threads: other.threads.or(self.threads),
            rebuilt: self.rebuilt || other.rebuilt,
        }
    }
}

/// The hash of each dataset of a run, by name. Pairs are drawn from a dataset by the code, so they are no data of their
/// own.
fn sets(run: &Record) -> BTreeMap<&str, &str> {
    let sets = run.data.iter().filter(|data| !data.name.contains(" pairs of "));
    sets.map(|data| (data.name.as_str(), data.hash.as_str())).collect()
}

/// The first digits of a hash.
fn digits(hash: &str) -> String {
    hash.get(..12).unwrap_or(hash).to_owned()
}

/// The device of a run, as `--device` names it.
pub(super) fn device_of(run: &Record) -> Option<&str> {
    run.compute.device.split(':').next().filter(|device| !device.is_empty())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::{Value, json};

    use super::*;
    use crate::error::Error;

    /// A record with these fields.
    fn record(fields: &Value) -> Record {
        let mut record = json!({
            "schema": "sempair.run/1", "id": "0123456789", "experiment": "transfer", "key": "", "status": "completed",
            "started": "", "threads": 2, "code": { "methods::simclr": "a" }, "build": { "binary_hash": "b" },
            "compute": { "device": "cpu", "isa": "avx2", "precision": "f32" },
            "data": [{ "name": "set/test", "description": "", "hash": "h", "images": 1 }],
        });
        for (name, value) in fields.as_object().unwrap() {
            record[name] = value.clone();
        }
        serde_json::from_value(record).unwrap()
    }

    /// The cause between a record and its repetition, and the trials, if repetitions give what `gives` says.
    fn cause(
        fields: [Value; 2],
        program: CommitProgram,
        gives: impl Fn(&Toggle) -> Result<Gave>,
    ) -> (String, Vec<String>, Vec<Toggle>) {
        let [was, is] = fields.map(|fields| record(&fields));
        let toggles = RefCell::new(Vec::new());
        let repeat = |toggle: &Toggle| {
            toggles.borrow_mut().push(toggle.clone());
            gives(toggle)
        };
        let found = search(&was, &is, program, &repeat).unwrap();
        (found.factor, found.tried.iter().map(Trial::words).collect(), toggles.into_inner())
    }

    fn compute(device: &str, isa: &str, precision: &str) -> Value {
        json!({ "compute": { "device": device, "isa": isa, "precision": precision } })
    }

    fn recorded_if(is_it: bool) -> Result<Gave> {
        Ok(if is_it { Gave::Recorded } else { Gave::Repeated })
    }

    #[test]
    fn other_data_are_named_and_nothing_is_repeated() {
        let data = |hash: &str| json!([{ "name": "set/test", "description": "", "hash": hash, "images": 1 }]);
        let of = |other: Value| cause([json!({ "data": data("then") }), other], CommitProgram::Allowed, |_| panic!());
        let (found, tried, _) = of(json!({ "data": data("now") }));
        assert_eq!(found, "the data (set/test then then, set/test now now): everything else is as it was");
        assert_eq!(tried.len(), 1);
        let (found, ..) = of(json!({ "data": data("now"), "code": { "methods::simclr": "c" } }));
        assert!(found.contains("or what else differs: methods::simclr."), "{found}");
        // Pairs follow from the code.
        let pairs = |hash: &str| json!({ "data": [{ "name": "8 pairs of set", "description": "", "hash": hash, "images": 1 }] });
        let (found, ..) = cause([pairs("then"), pairs("now")], CommitProgram::Used, |_| Ok(Gave::Repeated));
        assert!(found.starts_with("not found"), "{found}");
    }

    #[test]
    fn device_instruction_set_and_precision_are_set_alone_and_then_together() {
        let both = || [compute("cpu", "avx2", "f32"), compute("cpu", "portable", "bf16")];
        let (found, tried, toggles) = cause(both(), CommitProgram::Allowed, |toggle| {
            recorded_if(toggle.isa.is_some() && toggle.precision.is_some())
        });
        assert_eq!(found, "the device, instruction set and precision together: set as it was, the result is identical");
        assert_eq!((tried.len(), toggles.len()), (5, 3), "{tried:?}");
        assert!(tried[2].starts_with("instruction set (avx2 then, portable now): the result is not"), "{tried:?}");
        let (found, _, toggles) = cause(both(), CommitProgram::Allowed, |toggle| recorded_if(toggle.isa.is_some()));
        assert_eq!((found.starts_with("the instruction set (avx2 then"), toggles.len()), (true, 1), "{found}");

        // Recorded on the processor, repeated on a GPU, and the other way round.
        let devices = || [compute("cpu", "avx2", "f32"), compute("cuda: N, 4 multiprocessors", "sm_90", "bf16")];
        let (found, tried, toggles) =
            cause(devices(), CommitProgram::Allowed, |toggle| recorded_if(toggle.isa.is_some()));
        assert!(found.starts_with("the device, instruction set and precision together"), "{found}");
        assert_eq!(toggles[0], Toggle { device: Some("cpu".into()), ..Toggle::default() });
        let all = Toggle { isa: Some("avx2".into()), precision: Some("f32".into()), ..toggles[0].clone() };
        assert_eq!(toggles.last(), Some(&all), "{tried:?}");
        let [was, is] = devices();
        let (found, tried, _) = cause([is, was], CommitProgram::Forbidden, |toggle| match &toggle.device {
            Some(device) => Err(Error::new(format!("no GPU `{device}`"))),
            None => Ok(Gave::Repeated),
        });
        assert!(found.starts_with("not found"), "{found}");
        assert!(tried[1].ends_with("not tried: not possible here: no GPU `cuda`"), "{tried:?}");
        assert!(tried[2].ends_with("not tried: that of a GPU cannot be chosen"), "{tried:?}");
    }

    #[test]
    fn threads_that_change_a_result_are_a_defect() {
        let threads = |was: usize, is: usize| [json!({ "threads": was }), json!({ "threads": is })];
        let of = |gives: fn(&Toggle) -> Result<Gave>| cause(threads(8, 2), CommitProgram::Allowed, gives);
        let (found, tried, toggles) = of(|_| Ok(Gave::Repeated));
        assert!(found.starts_with("not found: two repetitions agree"), "{found}");
        assert_eq!(toggles.iter().map(|toggle| toggle.threads).collect::<Vec<_>>(), [Some(8), Some(1)]);
        assert!(tried[4].starts_with("number of threads (8 instead of 2): "), "{tried:?}");
        let (found, ..) = of(|toggle| recorded_if(toggle.threads == Some(1)));
        assert!(
            found.starts_with("the number of threads (1 instead of 2), which gives another result: a defect"),
            "{found}"
        );
        let (found, ..) = of(|_| Ok(Gave::Other));
        assert!(found.starts_with("two repetitions with the same program differ"), "{found}");
        // With one thread in both, the same repetition again is the proof.
        let (found, _, toggles) = cause(threads(1, 1), CommitProgram::Allowed, |_| Ok(Gave::Other));
        assert_eq!((found.starts_with("two repetitions"), toggles), (true, vec![Toggle::default()]), "{found}");
    }

    #[test]
    fn the_program_of_the_commit_shows_whether_the_code_is_the_cause() {
        let code = || [json!({}), json!({ "code": { "methods::simclr": "z" }, "build": { "binary_hash": "c" } })];
        let by = |program, gives: fn(&Toggle) -> Result<Gave>| cause(code(), program, gives);
        let (found, _, toggles) = by(CommitProgram::Allowed, |toggle| recorded_if(toggle.rebuilt));
        assert_eq!(found, "the code (methods::simclr): with the program of the commit, the result is identical");
        assert!(toggles.last().is_some_and(|toggle| toggle.rebuilt));
        let (found, tried, _) = by(CommitProgram::Allowed, |toggle| match toggle.rebuilt {
            true => Err(Error::new("it does not build")),
            false => Ok(Gave::Repeated),
        });
        assert_eq!(found, "the code differs: methods::simclr");
        assert_eq!(
            tried.last().unwrap(),
            "code (program b then, program c now): not tried: not possible here: it does not build"
        );
        for (program, expected) in [
            (CommitProgram::Forbidden, "the code differs: methods::simclr (without `--quick`"),
            (CommitProgram::Unknown, "the code differs: methods::simclr"),
            (CommitProgram::Used, "the code differs: methods::simclr, although the program is that of the commit"),
        ] {
            let (found, _, toggles) = by(program, |_| Ok(Gave::Repeated));
            assert!(found.starts_with(expected) && toggles.iter().all(|toggle| !toggle.rebuilt), "{found}");
        }
        // The same modules in another build.
        let build = [json!({}), json!({ "build": { "binary_hash": "c" } })];
        let (found, ..) = cause(build, CommitProgram::Allowed, |toggle| recorded_if(toggle.rebuilt));
        assert!(found.starts_with("the build, or code that is in no version"), "{found}");
        let (found, ..) = cause([json!({}), json!({})], CommitProgram::Allowed, |toggle| recorded_if(toggle.rebuilt));
        assert!(found.starts_with("not found"), "the same program: {found}");
    }

    #[test]
    fn an_interruption_ends_the_search() {
        let [was, is] = [record(&json!({})), record(&compute("cpu", "portable", "f32"))];
        let repeat = |_: &Toggle| Err(Error::interrupted("stopped"));
        assert_eq!(search(&was, &is, CommitProgram::Used, &repeat).unwrap_err().kind(), ErrorKind::Interrupted);
    }
}

//! `bundle`: writes a report with the records of its runs to one zip file, and verifies such files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bundle::archive::{self, Archive};
use crate::bundle::contents;
use crate::bundle::manifest::{self, Difference, Facts, Manifest, Program, Unreadable};
use crate::bundle::signature::{self, Trust};
use crate::bundle::{About, Files, JOURNALS, LOCK, PLANS, RECORDS, REPORT, SOURCE, Texts};
use crate::error::{Context as _, Error, Result, shell};
use crate::files;
use crate::harness::evaluations::{Evaluations, evaluations};
use crate::harness::git;
use crate::harness::ledger::{Problem, mark_superseded};
use crate::harness::plan_store::{self, PlanTexts};
use crate::harness::record::{self, Record, Status};
use crate::harness::source;
use crate::report::{self, Input};
use crate::study::settings::Settings;

use super::comparable_runs::{comparable_runs, not_run};
use super::{App, ConfigArgs, Ending, run, setup};

/// The `Cargo.lock` that this program was built from.
const OWN_LOCK: &[u8] = include_bytes!("../../Cargo.lock");

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct BundleArgs {
    #[command(subcommand)]
    command: Option<BundleCommand>,
    #[command(flatten)]
    make: MakeArgs,
}

#[derive(Subcommand)]
enum BundleCommand {
    /// Check a bundle against its manifest, its records and its signature, without a repository or a ledger
    ///
    /// The exit code is 1 if something differs, which is named, and 2 if the file is not a bundle or could harm who
    /// unpacks it.
    Verify(VerifyArgs),
}

#[derive(Args)]
struct MakeArgs {
    /// Bundle the report of this profile: quick, thorough, standard or paper
    #[arg(long, default_value = "quick", value_name = "NAME")]
    profile: String,
    /// Set one value, such as `paths.reports=DIR` for another ledger
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Write this file [default: sempair-<profile>.zip]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// For double-blind review: without names of people, machines and places, in the records, too
    #[arg(long)]
    anonymous: bool,
    /// State who started the runs
    #[arg(long, value_name = "NAME", conflicts_with = "anonymous")]
    author: Option<String>,
    /// Sign with this SSH key, by `ssh-keygen`
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
}

#[derive(Args)]
struct VerifyArgs {
    /// The zip file
    file: PathBuf,
    /// Accept only a signature of someone in this file of allowed signers (see `man ssh-keygen`)
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    signer: Option<PathBuf>,
    /// Accept only a signature of this public key, such as id_ed25519.pub
    #[arg(long, value_name = "PUBLIC_KEY")]
    key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `sempair bundle`.
pub(super) fn run(app: &App, args: BundleArgs) -> Result<Ending> {
    match &args.command {
        Some(BundleCommand::Verify(args)) => verify(app, args),
        None => make(app, &args.make),
    }
}

/// The arguments of a command with this profile and nothing else.
fn of_profile(profile: &str) -> ConfigArgs {
    let (before, sets) = (Vec::new(), Vec::new());
    ConfigArgs {
        profile: profile.into(),
        before,
        sets,
        methods: None,
        seeds: None,
        data: None,
        out: None,
        device: None,
    }
}

fn make(app: &App, args: &MakeArgs) -> Result<Ending> {
    let config = ConfigArgs { sets: args.sets.clone(), ..of_profile(&args.profile) };
    let settings = setup::resolve(app, &config)?.settings;
    let (facts, mut files) = match Recorded::read(&settings, args)? {
        Some(recorded) => recorded.files(app, args)?,
        None => of_folder(&settings, args)?,
    };
    let has_records = files.keys().any(|name| name.starts_with(RECORDS));
    let manifest = Manifest::new(facts, &files).to_text();
    if let Some(key) = &args.sign {
        if args.anonymous {
            talk!("warning: the signature contains the public key, and who knows its owner knows who signed");
        }
        files.insert(manifest::SIGNATURE.to_owned(), signature::sign(manifest.as_bytes(), key)?.into_bytes());
    }
    files.insert(manifest::NAME.to_owned(), manifest.into_bytes());
    let zip = archive::write(&files)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("sempair-{}.zip", args.profile)));
    files::write_whole(&out, &zip).map_err(|error| error.hint("choose another place with `--out FILE`"))?;
    let name = out.display().to_string();
    say!("{name}: {} files, {:.1} MB, SHA-256 {}", files.len(), zip.len() as f64 / 1e6, manifest::sha256(&zip));
    if !has_records {
        say!("The ledger has no runs of the profile `{}`: the bundle has the report without records.", args.profile);
    }
    say!("`sempair bundle verify {}` checks it", shell(&name));
    Ok(Ending::Done)
}

/// The records of a profile.
struct Recorded {
    texts: Texts,
    problems: Vec<Problem>,
    /// The number of records that a user deleted.
    deleted: usize,
    /// The folder of the ledger.
    ledger: PathBuf,
    evaluations: BTreeMap<String, Evaluations>,
}

impl Recorded {
    /// Reads the records of the profile. `None` if no run completed.
    fn read(settings: &Settings, args: &MakeArgs) -> Result<Option<Self>> {
        let ledger = setup::ledger(settings);
        let (records, mut problems) = ledger.records()?;
        problems.extend(plan_store::read(&ledger)?.problems);
        let of_profile: Vec<&Record> = records.iter().filter(|run| run.profile == args.profile).collect();
        if !of_profile.iter().any(|run| run.status == Status::Completed) {
            return Ok(None);
        }
        let mut texts = Texts { plans: plan_store::texts(&ledger, &args.profile)?, ..Texts::default() };
        for run in of_profile {
            if run.status == Status::Running {
                talk!("left out run {}, which has not ended", run.short());
                continue;
            }
            let file = ledger.dir().join(format!("{}.json", run.id));
            texts.records.insert(run.id.clone(), files::read_text(&file)?);
        }
        let (dir, evaluations) = (ledger.dir().to_path_buf(), evaluations(records.iter()));
        Ok(Some(Self { texts, problems, deleted: ledger.deleted()?, ledger: dir, evaluations }))
    }

    fn files(self, app: &App, args: &MakeArgs) -> Result<(Facts, Files)> {
        let Self { texts, problems, deleted, ledger, evaluations } = self;
        let unreadable = problems.iter().map(Unreadable::from).collect();
        let (profile, author) = (args.profile.clone(), args.author.clone());
        let facts = Facts { profile, anonymous: false, author, unreadable, deleted, evaluations };
        let input = report_of(app, &facts, &texts)?;
        let lock = newest(&input).and_then(|run| lock_of(&run.build.lock_hash, run.git.commit.as_deref()));
        let lock = lock.filter(|lock| !args.anonymous || names_nobody(lock));
        let mut code: Files = lock.into_iter().map(|lock| (LOCK.to_owned(), lock)).collect();
        if code.is_empty() {
            talk!(
                "left out {LOCK}: neither this program nor the repository has that of the newest run, or it names a person's repository"
            );
        }
        if !args.anonymous {
            let kept = source::kept(&ledger, input.all_records.iter().map(|record| &**record));
            code.extend(kept.into_iter().map(|(name, content)| (format!("{SOURCE}{name}"), content)));
            return Ok((facts.clone(), contents::files(&facts, &input, &texts, code)?));
        }
        let shown = report::anonymous(&input);
        let records = input.all_records.iter().zip(&shown.all_records).map(anonymous).collect();
        let plans = shown.plans.iter().map(|known| (known.plan.id.clone(), known.plan.to_text())).collect();
        let texts = Texts { records, plans: PlanTexts { plans, ..texts.plans } };
        let is_run = |id: &String| texts.records.contains_key(id);
        let unreadable = shown.excluded.iter().filter(|(id, _)| !is_run(id));
        let unreadable = unreadable.map(|(file, what)| Unreadable { file: file.clone(), what: what.clone() }).collect();
        let evaluations = shown.evaluations.clone();
        let facts = Facts { anonymous: true, unreadable, evaluations, ..facts };
        // Made from the records that are in the bundle, as the reader can make it again.
        let input = report_of(app, &facts, &texts)?;
        let files = contents::files(&facts, &input, &texts, code)?;
        Ok((facts, files))
    }
}

/// The text of the anonymous record, with its id. The hashes of code and inputs stay: they decide which runs a table
/// may show together, and name nobody.
fn anonymous((named, shown): (&Arc<Record>, &Arc<Record>)) -> (String, String) {
    let (key, code) = (named.key.clone(), named.code.clone());
    let record = Record { key, code, ..(**shown).clone() };
    (record.id.clone(), record.to_text())
}

/// The records in these texts, as the ledger would read them.
///
/// # Errors
/// The files that are not intact records.
fn records_of(texts: &BTreeMap<String, String>) -> Result<Vec<Record>, Vec<Difference>> {
    let (mut records, mut differences) = (Vec::new(), Vec::new());
    for (id, text) in texts {
        let differs = |what: &str| Difference::new(&format!("{RECORDS}{id}.json"), what);
        match Record::parse(text) {
            Ok(record) if record.id != *id => differences.push(differs(&format!("is the record of run {}", record.id))),
            Ok(_) if !record::is_intact(text) => {
                differences.push(differs("its own hash does not match: it was changed after it was written"));
            }
            Ok(mut record) => {
                if record.status == Status::Running {
                    record.status = Status::Killed;
                }
                records.push(record);
            }
            Err(error) => differences.push(differs(error.what())),
        }
    }
    mark_superseded(&mut records);
    if differences.is_empty() { Ok(records) } else { Err(differences) }
}

/// What the report of these records is made of. It depends on nothing else: neither on settings of this folder nor on
/// the command line.
fn report_of(app: &App, facts: &Facts, texts: &Texts) -> Result<Input> {
    let records = records_of(&texts.records).map_err(|found| {
        let Difference { file, what } = &found[0];
        Error::new(format!("{file}: {what}")).hint("run the same command again; another process may have written it")
    })?;
    let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
    let problems: Vec<Problem> = facts.unreadable.iter().cloned().map(Problem::from).collect();
    let config = of_profile(&facts.profile);
    let settings = setup::resolve_above(app, &config, Vec::new(), &setup::roles(app))?;
    let (tables, excluded) = comparable_runs(app, &config, &settings, &records, &problems)?;
    let not_run = not_run(app, &config, &settings, &tables);
    let profile = setup::profile(app, &facts.profile)?;
    let input = run::input(app, profile, tables, excluded, records);
    let plans = plan_store::of_texts(&texts.plans, facts.anonymous).known;
    let evaluations = facts.evaluations.clone();
    let input = Input { not_run, deleted: facts.deleted, plans, evaluations, ..input };
    Ok(if facts.anonymous { report::anonymous(&input) } else { input })
}

/// The newest run that the report uses.
fn newest(input: &Input) -> Option<&Arc<Record>> {
    input.tables.iter().flat_map(|(_, runs)| runs).max_by(|a, b| a.id.cmp(&b.id))
}

/// The `Cargo.lock` with this hash: that of this program or that of the commit. With an empty hash, that of the commit.
fn lock_of(hash: &str, commit: Option<&str>) -> Option<Vec<u8>> {
    let is_it = |bytes: &[u8]| blake3::hash(bytes).to_hex().as_str() == hash;
    if is_it(OWN_LOCK) {
        return Some(OWN_LOCK.to_vec());
    }
    git::file_at(Path::new("."), commit?, LOCK).filter(|bytes| hash.is_empty() || is_it(bytes))
}

/// Whether all packages of a `Cargo.lock` come from crates.io: the address of another source may name a person.
fn names_nobody(lock: &[u8]) -> bool {
    let text = String::from_utf8_lossy(lock);
    let mut sources = text.lines().filter_map(|line| line.strip_prefix("source = "));
    sources.all(|source| source == "\"registry+https://github.com/rust-lang/crates.io-index\"")
}

/// The bundle of a report whose records are not here.
fn of_folder(settings: &Settings, args: &MakeArgs) -> Result<(Facts, Files)> {
    let folder = Path::new(&settings.paths.reports).join(&args.profile);
    let ledger = setup::ledger(settings).dir().display().to_string();
    let run_it = format!("`sempair reproduce --profile {}` runs them", args.profile);
    if args.anonymous {
        return Err(Error::new(format!(
            "{ledger} has no completed run of the profile `{}`, and an anonymous report is made from records",
            args.profile
        ))
        .hint(run_it));
    }
    let results = folder.join("results.json");
    if !results.exists() {
        let what =
            format!("{ledger} has no completed run of the profile `{}`, and there is no report of it", args.profile);
        return Err(Error::new(what).hint(run_it));
    }
    let results: Value = files::read_json(&results)?;
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (commits, codes) = (texts(&results["git"]["commits"]), texts(&results["git"]["codes"]));
    let facts = Facts {
        profile: args.profile.clone(),
        anonymous: false,
        author: args.author.clone(),
        unreadable: Vec::new(),
        ..Facts::default()
    };
    let commit = results["git"]["commit"].as_str();
    let code = if let [code] = &codes[..] { code.clone() } else { "several".to_owned() };
    let about = About {
        facts: &facts,
        generated: results["generated"].as_str().unwrap_or_default(),
        commits: &commits,
        runs: &[],
        used: 0,
        renderer: (Program { version: String::new(), code }, commit),
    };
    let code = lock_of("", commit).into_iter().map(|lock| (LOCK.to_owned(), lock)).collect();
    let files = contents::files_without_records(&about, report_in(&folder)?, code);
    Ok((facts.clone(), files))
}

/// The files of a report's folder.
fn report_in(folder: &Path) -> Result<Files> {
    let mut found = Files::new();
    let formats = ["html", "md", "json", "tex", "csv", "svg"];
    for below in ["", "tables/", "figures/"] {
        let place = folder.join(below);
        let Ok(entries) = std::fs::read_dir(&place) else { continue };
        for entry in entries {
            let path = entry.context(place.display())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_of_report = path.extension().is_some_and(|end| formats.iter().any(|format| end == *format));
            if is_of_report && files::plain(&path).is_ok() {
                found.insert(format!("{below}{name}"), std::fs::read(&path).context(path.display())?);
            }
        }
    }
    Ok(found)
}

/// Whether the report follows from the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Rendering {
    /// Rendered again, all files are the same.
    Same,
    /// Rendered again by another version of the program, all figures are the same.
    SameFigures,
    /// Files differ, or figures if another version of the program made the bundle.
    Different,
    /// The bundle has no records.
    NoRecords,
    /// Files that it is made from are changed.
    NotCompared,
}

fn verify(app: &App, args: &VerifyArgs) -> Result<Ending> {
    let archive = archive::read(&args.file)?;
    let name = args.file.display().to_string();
    let bytes = archive.files.get(manifest::NAME).map(Vec::as_slice);
    let damage = archive.damaged.iter().find(|(name, _)| name == manifest::NAME);
    let manifest = match (bytes, damage) {
        (Some(bytes), _) => Manifest::read(bytes).map_err(|error| error.what().to_owned()),
        (None, Some((_, what))) => Err(format!("cannot be unpacked: {what}")),
        (None, None) => {
            return Err(Error::new(format!("{name}: it has no {}, so it is not a bundle", manifest::NAME))
                .hint("`sempair bundle` writes one"));
        }
    };
    let (manifest, mut differences) = match manifest {
        Ok(manifest) => {
            let differences = manifest.differences(&archive);
            (Some(manifest), differences)
        }
        Err(what) => (None, vec![Difference::new(manifest::NAME, what)]),
    };
    let same_program = manifest.as_ref().is_some_and(|manifest| manifest.program == Program::current());
    let report = match &manifest {
        Some(manifest) if differences.is_empty() => {
            let (report, more) = render_again(app, manifest, &archive)?;
            differences.extend(more);
            report
        }
        _ => Rendering::NotCompared,
    };
    let trust = args.signer.as_deref().map(Trust::Signers).or(args.key.as_deref().map(Trust::Key));
    let signed = signed(&archive, bytes.unwrap_or_default(), trust.as_ref())?;
    let (signature, invalid) = match signed {
        Ok(said) => (said, None),
        Err(what) => (what.clone(), Some(Difference::new(manifest::SIGNATURE, what))),
    };
    differences.extend(invalid);
    let (listed, records) = (manifest.as_ref().map_or(0, |manifest| manifest.files.len()), archive.files.keys());
    let records = records.filter(|name| name.starts_with(RECORDS)).count();
    if args.json {
        setup::print_json(&json!({
            "file": name, "profile": manifest.as_ref().map(|manifest| &manifest.facts.profile), "files": listed,
            "records": records, "differences": differences, "report": report, "same_program": same_program,
            "signature": signature,
        }))?;
    } else {
        differences.iter().for_each(|Difference { file, what }| say!("{file}: {what}"));
        say!("report     {}", words(report, records, same_program));
        say!("signature  {signature}");
        match differences.as_slice() {
            [] => say!("verified: all {listed} files are as the manifest states"),
            found => say!("NOT VERIFIED: {} of {listed} files differ", found.len()),
        }
    }
    Ok(if differences.is_empty() { Ending::Done } else { Ending::Found })
}

/// Renders the report again from the records of a bundle, and compares.
fn render_again(app: &App, manifest: &Manifest, archive: &Archive) -> Result<(Rendering, Vec<Difference>)> {
    let texts = texts_in(archive);
    if texts.records.is_empty() {
        return Ok((Rendering::NoRecords, Vec::new()));
    }
    if let Err(found) = records_of(&texts.records) {
        return Ok((Rendering::NotCompared, found));
    }
    let plans = plan_store::of_texts(&texts.plans, manifest.facts.anonymous).problems;
    if !plans.is_empty() {
        let differs = |of: Problem| Difference::new(&of.file.display().to_string(), of.what);
        return Ok((Rendering::NotCompared, plans.into_iter().map(differs).collect()));
    }
    let input = match report_of(app, &manifest.facts, &texts) {
        Ok(input) => input,
        Err(error) => return Ok((Rendering::Different, vec![Difference::new(RECORDS, error.what())])),
    };
    let lock = archive.files.get(LOCK);
    let is_of_runs = |bytes: &Vec<u8>| {
        newest(&input).is_some_and(|run| blake3::hash(bytes).to_hex().as_str() == run.build.lock_hash)
    };
    let mut differences = Vec::new();
    if lock.is_some_and(|bytes| !is_of_runs(bytes)) {
        differences.push(Difference::new(LOCK, "is not that of the program of the runs"));
    }
    let is_code = |name: &str| name == LOCK || name.starts_with(SOURCE);
    let code: Files =
        archive.files.iter().filter(|(name, _)| is_code(name)).map(|(a, b)| (a.clone(), b.clone())).collect();
    for (name, content) in &code {
        if name.strip_prefix(SOURCE).is_some_and(|of| !source::is_named_by_content(of, content)) {
            differences.push(Difference::new(name, "is not what its name says"));
        }
    }
    let again = contents::files(&manifest.facts, &input, &texts, code)?;
    if manifest.program != Program::current() {
        let results = format!("{REPORT}results.json");
        let figures = |of: &Vec<u8>| report::figures(&serde_json::from_slice(of).unwrap_or_default());
        let [was, is] = [archive.files.get(&results), again.get(&results)].map(|bytes| bytes.map(figures));
        return Ok(match was == is {
            true if differences.is_empty() => (Rendering::SameFigures, differences),
            true => (Rendering::Different, differences),
            false => {
                differences.push(Difference::new(
                    &results,
                    "this version of the program has other figures from these records",
                ));
                (Rendering::Different, differences)
            }
        });
    }
    let names: BTreeSet<&String> = archive.files.keys().chain(again.keys()).collect();
    let made = names.into_iter().filter(|name| ![manifest::NAME, manifest::SIGNATURE].contains(&name.as_str()));
    let differ = made.filter(|name| archive.files.get(*name) != again.get(*name));
    differences.extend(differ.map(|name| Difference::new(name, "is not what these records give")));
    let rendering = if differences.is_empty() { Rendering::Same } else { Rendering::Different };
    Ok((rendering, differences))
}

/// The texts in a bundle that its report is made from.
fn texts_in(archive: &Archive) -> Texts {
    let of = |folder: &str, end: &str| -> BTreeMap<String, String> {
        let named = archive.files.iter().filter_map(|(name, bytes)| {
            let id = name.strip_prefix(folder)?;
            Some((id.strip_suffix(end).unwrap_or(id).to_owned(), String::from_utf8_lossy(bytes).into_owned()))
        });
        named.collect()
    };
    let plans = PlanTexts { plans: of(PLANS, ".json"), journals: of(JOURNALS, ".journal") };
    Texts { records: of(RECORDS, ".json"), plans }
}

/// What the signature of a bundle says, or why it is not accepted.
fn signed(archive: &Archive, manifest: &[u8], trust: Option<&Trust>) -> Result<Result<String, String>> {
    let Some(signature) = archive.files.get(manifest::SIGNATURE) else {
        return Ok(match trust {
            None => Ok("none".to_owned()),
            Some(_) => Err("is missing: the bundle is not signed".to_owned()),
        });
    };
    let said = match signature::verify(manifest, &String::from_utf8_lossy(signature), trust) {
        Ok(said) => said,
        Err(error) if trust.is_none() => return Ok(Ok(format!("NOT CHECKED: {}", error.what()))),
        Err(error) => return Err(error),
    };
    let whose = if trust.is_none() { "; whose key it is was not asked (`--key`, `--signer`)" } else { "" };
    Ok(match said {
        Ok(said) => Ok(format!("{}{whose}", said.trim_end())),
        Err(what) => Err(format!("not accepted: {what}")),
    })
}

fn words(report: Rendering, records: usize, same_program: bool) -> String {
    let program = if same_program { "this program" } else { "another version of this program" };
    let says = match report {
        Rendering::Same => format!("follows from the {records} records: rendered again, every file is the same"),
        Rendering::SameFigures => {
            format!(
                "rendered again from the {records} records, the figures in results.json are the same; pages and tables were NOT compared"
            )
        }
        Rendering::Different => format!("does NOT follow from the {records} records"),
        Rendering::NoRecords => "not compared with records, which the bundle does not have".to_owned(),
        Rendering::NotCompared => "not compared with records, because files are changed".to_owned(),
    };
    format!("{says}; {program} made the bundle")
}

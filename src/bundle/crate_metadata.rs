//! The description of a bundle for archives: RO-Crate 1.1 (<https://w3id.org/ro/crate/1.1>) with the profile Process Run
//! Crate 0.5 (<https://w3id.org/ro/wfrun/process/0.5>).

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use crate::bundle::About;
use crate::bundle::Files;
use crate::bundle::LOCK;
use crate::bundle::RECORDS;
use crate::bundle::REPORT;
use crate::bundle::manifest;
use crate::bundle::manifest::Program;
use crate::harness::git::Tree;
use crate::harness::outcome::DataRef;
use crate::harness::record::Record;
use crate::harness::record::Status;

/// The file's name, which the standard states.
pub const NAME: &str = "ro-crate-metadata.json";

const CRATE: &str = "https://w3id.org/ro/crate/1.1";
const PROFILE: &str = "https://w3id.org/ro/wfrun/process/0.5";
const AUTHOR: &str = "#author";
const LICENCE: &str = "#licence";

/// The description as JSON-LD.
pub fn text(about: &About, files: &Files) -> String {
    let mut graph = Graph::default();
    let runs: Vec<Value> = about.runs.iter().map(|run| graph.run(about, run)).collect();
    let report = graph.report(about, files);
    let facts = about.facts;
    let mut root = json!({
        "@id": "./",
        "@type": "Dataset",
        "name": format!("Report of the profile `{}` of sempair", facts.profile),
        "description": "The report of a reproduction of \"Enhancing Self-Supervised Learning with Semantic Pairs\" \
                        (arXiv 2510.08722), with the records of its runs.",
        "datePublished": about.generated,
        "license": { "@id": LICENCE },
        "conformsTo": { "@id": PROFILE },
        "hasPart": references(files.keys()),
        "mentions": references(runs.iter().chain([&report]).filter_map(|action| action["@id"].as_str())),
    });
    let descriptor = json!({
        "@id": NAME, "@type": "CreativeWork", "conformsTo": { "@id": CRATE }, "about": { "@id": "./" },
    });
    let profile = json!({
        "@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5",
    });
    let licence = json!({
        "@id": LICENCE, "@type": "CreativeWork", "name": "No licence is stated for the report",
        "description": "Ask the authors how the report may be used. The licences of the data are stated with the data.",
    });
    let author = facts.author.as_ref().map(|name| json!({ "@id": AUTHOR, "@type": "Person", "name": name }));
    if author.is_some() {
        root["author"] = json!({ "@id": AUTHOR });
    }
    let described = files.iter().map(|(name, bytes)| file(name, bytes));
    let all = [descriptor, root, profile, licence].into_iter().chain(author).chain(described);
    let all = all.chain(graph.others.into_values()).chain(runs).chain([report]);
    let context = json!([format!("{CRATE}/context"), { "sha256": "https://w3id.org/ro/terms/workflow-run#sha256" }]);
    let json = json!({ "@context": context, "@graph": all.collect::<Vec<_>>() });
    serde_json::to_string_pretty(&json).expect("a description has a JSON form") + "\n"
}

fn file(name: &str, bytes: &[u8]) -> Value {
    let format = match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html",
        "md" => "text/markdown",
        "json" => "application/json",
        "tex" => "application/x-tex",
        "csv" => "text/csv",
        "svg" => "image/svg+xml",
        "toml" | "lock" => "application/toml",
        _ => "text/plain",
    };
    json!({
        "@id": name, "@type": "File", "name": name, "encodingFormat": format, "contentSize": bytes.len().to_string(),
        "sha256": manifest::sha256(bytes),
    })
}

/// The programs and the data that runs refer to, by id.
#[derive(Default)]
struct Graph {
    others: BTreeMap<String, Value>,
}

impl Graph {
    /// The action of a run: what it used, and what came of it.
    fn run(&mut self, about: &About, run: &Record) -> Value {
        // A changed tree is not that of its commit.
        let commit = run.git.commit.as_deref().filter(|_| run.git.tree() == Tree::Clean);
        let program = Program { version: run.build.version.clone(), code: run.build.code.clone() };
        let instrument = self.program(&program, commit);
        let data: Vec<String> = run.data.iter().map(|data| self.data(data)).collect();
        let row: Vec<&str> = run.row.iter().map(|(_, label)| label.as_str()).collect();
        let place = format!("{} {} seed {}", row.join(" "), run.column, run.seed);
        let how = match run.args.is_empty() {
            true => format!("A cell of the table `{}`.", run.experiment),
            false => format!("A cell of the table `{}`, by the command: {}", run.experiment, run.args.join(" ")),
        };
        let mut action = json!({
            "@id": format!("#{}", run.id),
            "@type": "CreateAction",
            "name": format!("Run of {}: {place}", run.experiment),
            "description": how,
            "instrument": { "@id": instrument },
            "object": references(data),
            "result": { "@id": format!("{RECORDS}{}.json", run.id) },
            "startTime": time(&run.started),
            "actionStatus": status(run.status),
        });
        if let Some(ended) = &run.ended {
            action["endTime"] = time(ended).into();
        }
        if let (Some(error), true) = (&run.error, run.status != Status::Completed) {
            action["error"] = error.as_str().into();
        }
        by(about, action)
    }

    /// The action that rendered the report.
    fn report(&mut self, about: &About, files: &Files) -> Value {
        let (program, commit) = &about.renderer;
        let instrument = self.program(program, *commit);
        let inputs = files.keys().filter(|name| name.starts_with(RECORDS) || *name == LOCK);
        let outputs = files.keys().filter(|name| name.starts_with(REPORT));
        by(
            about,
            json!({
                "@id": "#report",
                "@type": "CreateAction",
                "name": "Rendering of the report",
                "description": "The report is computed from the records.",
                "instrument": { "@id": instrument },
                "object": references(inputs),
                "result": references(outputs),
                "endTime": time(about.generated),
                "actionStatus": status(Status::Completed),
            }),
        )
    }

    /// The id of a program. One whose commit is known has the Software Heritage identifier of that commit
    /// (<https://www.swhid.org>).
    fn program(&mut self, program: &Program, commit: Option<&str>) -> String {
        let Program { version, code } = program;
        let id = match commit {
            Some(commit) => format!("swh:1:rev:{commit}"),
            None => format!("#sempair-{}", code.get(..16).unwrap_or(code)),
        };
        let version = if version.is_empty() { commit.unwrap_or("unknown") } else { version };
        let entity = json!({
            "@id": id, "@type": "SoftwareApplication", "name": "sempair", "softwareVersion": version,
            "identifier": format!("blake3 of the sources: {code}"),
        });
        self.others.entry(id.clone()).or_insert(entity);
        id
    }

    /// The id of a dataset.
    fn data(&mut self, data: &DataRef) -> String {
        let id = format!("#data-{}", data.hash);
        let mut entity = json!({
            "@id": id, "@type": "Dataset", "name": data.name, "description": data.description,
            "identifier": format!("blake3: {}", data.hash),
        });
        if !data.licence.is_empty() {
            entity["license"] = data.licence.as_str().into();
        }
        self.others.entry(id.clone()).or_insert(entity);
        id
    }
}

/// References to entities: one, or a list of them.
fn references(ids: impl IntoIterator<Item: AsRef<str>>) -> Value {
    let mut all: Vec<Value> = ids.into_iter().map(|id| json!({ "@id": id.as_ref() })).collect();
    if all.len() == 1 { all.remove(0) } else { all.into() }
}

/// The action with its agent, if it is known.
fn by(about: &About, mut action: Value) -> Value {
    if about.facts.author.is_some() {
        action["agent"] = json!({ "@id": AUTHOR });
    }
    action
}

/// A time in the form of ISO 8601 that the profile's validators accept: with the offset in digits.
fn time(time: &str) -> String {
    time.strip_suffix('Z').map_or_else(|| time.to_owned(), |time| format!("{time}+00:00"))
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Completed => "http://schema.org/CompletedActionStatus",
        _ => "http://schema.org/FailedActionStatus",
    }
}

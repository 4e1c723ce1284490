//! The text that a reader of a bundle sees first.

use std::collections::BTreeMap;

use crate::bundle::About;
use crate::bundle::Files;
use crate::bundle::LOCK;
use crate::bundle::PLANS;
use crate::bundle::RECORDS;
use crate::bundle::SOURCE;

/// The file's name.
pub const NAME: &str = "README.txt";

/// What is in the bundle, where its figures come from, and how to check it.
pub fn text(about: &About, files: &Files) -> String {
    let has_records = files.keys().any(|name| name.starts_with(RECORDS));
    let mut text = format!(
        "Report of the profile `{}`{}\n\n\
         This folder is a report with everything that it was made from. Nothing has to be installed to read it:\n\
         open report/report.html in a browser. It needs no network.\n\n\
         WHAT IS HERE\n\n\
         report/report.html       the report: the answer, every table and figure, a checklist for reviewers\n\
         report/report.md         the same as Markdown\n\
         report/main.tex          the same for LaTeX: `pdflatex main.tex` in the folder report\n\
         report/results.json      every number of the report, with the ids of its runs\n\
         report/tables/           each table as LaTeX, and each single value as CSV\n\
         report/figures/          each figure as SVG and, if it has one, as TikZ\n",
        about.facts.profile,
        if has_records { ", with the records of its runs" } else { "" },
    );
    if has_records {
        text += "records/                 one JSON file for each run: commit, settings with their origins, hashes of data,\n\
                 \x20                        program and files, machine, results\n\
                 configuration/           the settings of each table, as TOML\n";
    }
    if files.keys().any(|name| name.starts_with(PLANS)) {
        text += "plans/                   what was to be run and how it was to be judged, frozen before the runs\n\
                 journal/                 the order in which plans were frozen and runs began: a line states the hash of a plan\n\
                 \x20                        or record, and the hash of a line states all lines before it\n";
    }
    if files.contains_key(LOCK) {
        text += "Cargo.lock               the versions of all crates that the program was built from\n";
    }
    if files.keys().any(|name| name.starts_with(SOURCE)) {
        text += "source/                  the code of runs as far as it was not published, as git bundles, named by their BLAKE3:\n\
                 \x20                        `git bundle list-heads FILE` prints REF, `git fetch FILE REF` gets the commit\n";
    }
    text += "ro-crate-metadata.json   a description for archives (RO-Crate 1.1, Process Run Crate 0.5)\n\
             SHA256SUMS               the SHA-256 of every file above\n\
             manifest.json            the SHA-256 and the BLAKE3 of every file, for `sempair bundle verify`\n\n\
             HOW TO CHECK IT\n\n\
             sha256sum --check SHA256SUMS\n\
             \x20   in this folder: no file was changed. On macOS, `shasum -a 256 --check SHA256SUMS`.\n\
             sempair bundle verify FILE.zip\n\
             \x20   on the zip file: no file was changed, added or removed";
    text += match has_records {
        true => {
            ", each record is as it was written,\n    and the report follows from the records: it is rendered again and compared.\n"
        }
        false => ".\n",
    };
    text += "If there is a file manifest.json.sig, the manifest is signed:\n\
             ssh-keygen -Y check-novalidate -n sempair -s manifest.json.sig < manifest.json\n\
             \x20   prints the key. `sempair bundle verify FILE.zip --key KEY.pub` accepts the signature of that key only.\n\n\
             WHERE THE FIGURES COME FROM\n\n";
    text += &match has_records {
        true => runs(about),
        false => "The records of the runs are not in this bundle, because they were not where it was made. So the report cannot\n\
                  be compared with them. The runs can be repeated with the program: `sempair verify TABLE`.\n"
            .to_owned(),
    };
    for commit in about.commits {
        text += &format!("Commit: {commit}\n");
    }
    if about.facts.anonymous {
        text += "For double-blind review, names of people, machines and remotes, file paths and commits are left out. Each\n\
                 record is therefore a shortened copy with a hash of its own.\n";
    }
    text
}

/// How many runs there are, and how they ended.
fn runs(about: &About) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    about.runs.iter().for_each(|run| *counts.entry(run.status.name()).or_default() += 1);
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    format!(
        "{} runs ({}); the report uses {} of them. Every mean in report.html links to its runs, and the record of the run\n\
         ID is records/ID.json. Runs that are not used are listed in the report, each with the reason.\n",
        about.runs.len(),
        counts.join(", "),
        about.used,
    )
}

//! `lint`: checks the numbers of a manuscript against the ledger.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::error::{Error, Result};
use crate::harness::record::Record;
use crate::lint::lint;
use crate::report::Input;
use crate::study::settings::Settings;

use super::comparable_runs::{self, ComparableRuns};
use super::{App, ConfigArgs, Ending, run, setup};

const HELP: &str = "\
Checked: decimal numbers (83.60, 83.6\\%, +1.84), numbers around \\pm, and whole numbers with \\% or points. Each must \
match a figure of the profile's report after rounding: a mean, the value of a seed, the paper's figure, a difference \
or its interval, a p value, a number in a table's notes, or a setting as it is written. A spread after \\pm must \
belong to the same cell. A difference must be one of a claim or of a gain in a table.

Not checked: other whole numbers (batches, epochs), comments, verbatim, drawings, the bibliography, lengths, versions, \
section numbers, confidence levels. Files named by \\input, \\include and \\subfile are also read. A table that \
`sempair report` wrote is compared as a whole.

`% sempair: ignore` excludes its line (alone on a line: the next line; with \\input: that file). \
`% sempair: ignore begin` and `% sempair: ignore end` exclude everything between them.

Choose the profile of the report with `--profile`. Exit code 0: all numbers match. 1: a number is stale or unmatched, \
or a file could not be read in. 2: an error.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct LintArgs {
    /// The manuscript's main file
    paper: PathBuf,
    /// Also print what each number matches
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `sempair lint`.
pub(super) fn check(app: &App, args: &LintArgs) -> Result<Ending> {
    // A mistyped file name is more likely than an empty ledger, so the file is checked first.
    std::fs::metadata(&args.paper).map_err(|error| {
        Error::new(format!("cannot read {}: {error}", args.paper.display()))
            .hint("give the manuscript's main file: `sempair lint paper.tex`")
    })?;
    let settings = setup::resolve(app, &args.config)?.settings;
    let profile = setup::profile(app, &args.config.profile)?;
    let (records, problems) = setup::ledger(&settings).records()?;
    let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
    let (tables, excluded) = comparable_runs::comparable_runs(app, &args.config, &settings, &records, &problems)?;
    let earlier = earlier(app, &args.config, &settings, &records, &tables)?;
    // The total cost of the earlier runs is not a figure of a manuscript, so their records are not needed.
    let before: Vec<Input> =
        earlier.into_iter().map(|table| run::input(app, profile, vec![table], Vec::new(), Vec::new())).collect();
    let lint = lint(&args.paper, &run::input(app, profile, tables, excluded, records), &before)?;
    if args.json {
        setup::print_json(&lint)?;
    } else {
        lint.lines(args.all).iter().for_each(|line| say!("{line}"));
        say!("{}", lint.summary());
    }
    Ok(if lint.is_clean() { Ending::Done } else { Ending::Found })
}

/// Returns the runs that are not in `current`: each table once per group of runs that are comparable with each other,
/// newest first.
fn earlier(
    app: &App,
    args: &ConfigArgs,
    settings: &Settings,
    records: &[Arc<Record>],
    current: &ComparableRuns,
) -> Result<ComparableRuns> {
    let grounds = comparable_runs::Grounds::new(app);
    let mut used: HashSet<String> = current.iter().flat_map(|(_, runs)| runs).map(|run| run.id.clone()).collect();
    let mut tables = ComparableRuns::new();
    for &experiment in app.experiments {
        let of_table = records.iter().filter(|record| record.experiment == experiment.id());
        let mut rest: Vec<Arc<Record>> = of_table.cloned().collect();
        loop {
            rest.retain(|record| !used.contains(&record.id));
            let (group, _) = comparable_runs::comparable(&rest, experiment.id(), &grounds, &args.profile);
            if group.is_empty() {
                break;
            }
            used.extend(group.iter().map(|run| run.id.clone()));
            tables.push((comparable_runs::table(app, args, settings, (experiment, &group), &grounds)?, group));
        }
    }
    Ok(tables)
}

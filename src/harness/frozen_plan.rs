//! A plan that is frozen before the first run: which cells will run, with which settings, and how each claim will be
//! decided. What a report shows is then either planned, or it is not. A plan is a small JSON file that must stay readable
//! for ever: fields are added, never renamed.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::harness::canonical;
use crate::harness::config::Role;
use crate::harness::config::Roles;
use crate::harness::experiment::Better;
use crate::harness::experiment::Cell;
use crate::harness::experiment::Claim;
use crate::harness::experiment::Row;
use crate::harness::experiment::Table;
use crate::harness::git::Git;
use crate::harness::provenance::Build;
use crate::harness::provenance::Compute;
use crate::harness::record;
use crate::harness::record::Record;
use crate::harness::record::Setting;

/// The schema of [`FrozenPlan`].
pub const SCHEMA: &str = "sempair.plan/1";

/// What will be run, and how it will be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrozenPlan {
    /// The format of the plan: [`SCHEMA`].
    pub schema: String,
    /// UUID, version 7: ordered by time. Also the name of the file.
    pub id: String,
    /// When it was frozen: RFC 3339, UTC. Only the journals prove that it was before a run.
    pub frozen: String,
    /// The name of the profile that the settings start from, such as `quick`.
    pub profile: String,
    /// What its author says about it; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The tables, in the paper's order.
    pub tables: Vec<PlannedTable>,
    /// Every setting that decides results, in the order of the defaults.
    pub settings: Vec<Setting>,
    /// BLAKE3 of the canonical JSON of these settings' keys and values.
    pub settings_hash: String,
    /// The ids of all tables of the program. A setting whose key begins with such an id concerns that table alone.
    pub groups: Vec<String>,
    /// How each claim is decided: the statistical test, its level, and what the margin of a claim means.
    pub rule: Vec<String>,
    /// The state of the repository.
    #[serde(default)]
    pub git: Git,
    /// The program, with the hash of its code.
    #[serde(default)]
    pub build: Build,
    /// The device, the instruction set and the number format. Runs on another machine are planned, too.
    #[serde(default)]
    pub compute: Compute,
    /// Of an anonymous copy: the hash of the plan that it is made from, which a journal states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// BLAKE3 of the canonical JSON of all other fields.
    #[serde(default)]
    pub hash: String,
}

/// A table of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTable {
    /// The table's id, such as `transfer`.
    pub id: String,
    /// The table's title.
    pub title: String,
    /// The rows on the columns that are measured, in the order in which they run.
    pub cells: Vec<PlannedCell>,
    /// What is measured, and which direction is good.
    pub metrics: Vec<PlannedMetric>,
    /// The claims: their wording, the rows that are compared, the direction and the margin.
    pub claims: Vec<Claim>,
}

/// A row on a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedCell {
    /// The labels of the row.
    pub row: Row,
    /// The column's id.
    pub column: String,
    /// For each seed, the key of the run: the hash of everything that determines the result, as in the run's record.
    pub keys: BTreeMap<u64, String>,
}

/// A quantity that is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedMetric {
    /// Such as `top1`.
    pub id: String,
    /// Such as `%`.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
}

/// How a run or a claim stands to a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Standing {
    /// After the plan, as the plan says.
    Planned,
    /// No journal shows that it began after the plan was frozen.
    BeforeThePlan,
    /// After the plan, and not as the plan says.
    PostHoc {
        /// What is not as the plan says, such as `seed 3 is not in the plan`.
        why: String,
    },
}

/// A plan that is as it was frozen, with the runs that began after it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownPlan {
    /// The plan.
    pub plan: FrozenPlan,
    /// The runs of which the journals show that they began after it.
    pub after: BTreeSet<String>,
}

impl Standing {
    /// In a word or two.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::BeforeThePlan => "before the plan",
            Self::PostHoc { .. } => "post hoc",
        }
    }
}

impl PlannedTable {
    /// The plan of a table with these cells.
    pub fn new(table: &Table, cells: &[Cell]) -> Self {
        let mut planned: Vec<PlannedCell> = Vec::new();
        for cell in cells {
            let key = (cell.seed, cell.key(&table.id));
            match planned.iter_mut().find(|other| other.row == cell.row && other.column == cell.column) {
                Some(other) => drop(other.keys.insert(key.0, key.1)),
                None => planned.push(PlannedCell {
                    row: cell.row.clone(),
                    column: cell.column.clone(),
                    keys: BTreeMap::from([key]),
                }),
            }
        }
        let metrics = table.metrics.iter();
        let metrics =
            metrics.map(|of| PlannedMetric { id: of.id.clone(), unit: of.unit.clone(), better: of.better }).collect();
        let (id, title, claims) = (table.id.clone(), table.title.clone(), table.claims.clone());
        Self { id, title, cells: planned, metrics, claims }
    }

    /// The number of its cells, counted by seed.
    pub fn runs(&self) -> usize {
        self.cells.iter().map(|cell| cell.keys.len()).sum()
    }

    /// The key that a run of this place would have had when the plan was frozen.
    pub fn key(&self, row: &Row, column: &str, seed: u64) -> Option<&str> {
        let cell = self.cells.iter().find(|cell| cell.row == *row && cell.column == column)?;
        cell.keys.get(&seed).map(String::as_str)
    }

    /// Whether it has the claim: the same contrast with the same direction and margin. Its wording is not compared.
    pub fn has(&self, claim: &Claim) -> bool {
        let decides =
            |of: &Claim| (of.column.clone(), of.metric.clone(), of.plus.clone(), of.minus.clone(), of.expected);
        self.claims.iter().any(|planned| decides(planned) == decides(claim))
    }

    /// Why a run has no place in the table.
    fn misplaced(&self, run: &Record) -> Option<String> {
        let of_row = || self.cells.iter().filter(|cell| cell.row == run.row);
        if of_row().next().is_none() {
            return Some("its row is not in the plan".to_owned());
        }
        let Some(cell) = of_row().find(|cell| cell.column == run.column) else {
            return Some(format!("the plan has no column {} for its row", run.column));
        };
        (!cell.keys.contains_key(&run.seed)).then(|| format!("seed {} is not in the plan", run.seed))
    }
}

impl FrozenPlan {
    /// The end of the id, which messages and reports show.
    pub fn short(&self) -> &str {
        record::short(&self.id)
    }

    /// The day on which it was frozen.
    pub fn day(&self) -> &str {
        self.frozen.split_once('T').map_or(&self.frozen, |(day, _)| day)
    }

    /// The plan of a table.
    pub fn table(&self, id: &str) -> Option<&PlannedTable> {
        self.tables.iter().find(|table| table.id == id)
    }

    /// Reads a plan from the text of its file.
    ///
    /// # Errors
    /// When it is not a plan that this version can read.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("not JSON")?;
        match value.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => {}
            Some(other) => return Err(Error::new(format!("of schema `{other}`, which this version cannot read"))),
            None => return Err(Error::new("not a plan: it has no schema")),
        }
        serde_json::from_value(value).context("damaged")
    }

    /// The text of the plan's file, with its hash.
    pub fn to_text(&self) -> String {
        record::text(serde_json::to_value(self).expect("a plan has a JSON form"))
    }

    /// The hash of settings, without their origins.
    pub fn hash_of(settings: &[Setting]) -> String {
        let values = settings.iter().map(|setting| (setting.key.clone(), setting.value.clone()));
        canonical::key(&Value::Object(values.collect()))
    }

    /// What in a run is not as the plan says.
    fn deviation(&self, run: &Record, roles: &Roles) -> Option<String> {
        if run.profile != self.profile {
            return Some(format!("its profile is `{}`, and that of the plan `{}`", run.profile, self.profile));
        }
        match self.table(&run.experiment) {
            None => Some("its table is not in the plan".to_owned()),
            Some(table) => table.misplaced(run).or_else(|| self.other_setting(run, roles)),
        }
    }

    /// The first setting that decides results and is not that of the plan.
    fn other_setting(&self, run: &Record, roles: &Roles) -> Option<String> {
        let is_of_other_table = |key: &str| {
            let group = key.split_once('.').map_or("", |(group, _)| group);
            group != run.experiment && self.groups.iter().any(|of| of == group)
        };
        let planned: BTreeMap<&str, &Value> =
            self.settings.iter().map(|setting| (setting.key.as_str(), &setting.value)).collect();
        let decides =
            |key: &str| !is_of_other_table(key) && (planned.contains_key(key) || roles.of(key) == Role::Results);
        let had: BTreeMap<&str, &Value> =
            run.settings.iter().map(|setting| (setting.key.as_str(), &setting.value)).collect();
        let keys = planned.keys().chain(had.keys().filter(|key| !planned.contains_key(*key)));
        let mut different = keys.filter(|key| decides(key) && planned.get(*key) != had.get(*key));
        let first = different.next()?;
        let value = |of: &BTreeMap<&str, &Value>| of.get(first).map_or("not set".to_owned(), ToString::to_string);
        let more = match different.count() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Some(format!("run with `{first}` {}{more}, and the plan has {}", value(&had), value(&planned)))
    }
}

impl KnownPlan {
    /// How a run stands to the plan. `roles` say which settings decide results.
    pub fn standing(&self, run: &Record, roles: &Roles) -> Standing {
        match self.plan.deviation(run, roles) {
            _ if !self.after.contains(&run.id) => Standing::BeforeThePlan,
            Some(why) => Standing::PostHoc { why },
            None => Standing::Planned,
        }
    }

    /// Whether a planned run was computed by other code, on another machine or from other data than when the plan was
    /// frozen. Unknown, and so false, without the key of the run.
    pub fn has_moved(&self, run: &Record) -> bool {
        let key = self.plan.table(&run.experiment).and_then(|table| table.key(&run.row, &run.column, run.seed));
        key.is_some_and(|key| !run.key.is_empty() && run.key != key)
    }
}

/// The plan that counts for a table: the newest one that has it.
pub fn of_table<'a>(plans: &'a [KnownPlan], table: &str, profile: &str) -> Option<&'a KnownPlan> {
    let has_it = |known: &&KnownPlan| known.plan.profile == profile && known.plan.table(table).is_some();
    plans.iter().filter(has_it).max_by(|a, b| a.plan.id.cmp(&b.plan.id))
}

/// The plan that counts for a run's table, and how the run stands to it; `None` without such a plan.
pub fn standing<'a>(plans: &'a [KnownPlan], run: &Record, roles: &Roles) -> Option<(&'a KnownPlan, Standing)> {
    let known = of_table(plans, &run.experiment, &run.profile)?;
    Some((known, known.standing(run, roles)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> KnownPlan {
        let row = json!([["method", "SimCLR"], ["pairs", "SP"]]);
        let claim = json!({ "text": "a", "column": "c", "metric": "top1", "plus": [row], "minus": [], "expected": { "at-least": 0.0 } });
        let plan = json!({
            "schema": SCHEMA, "id": "1", "frozen": "2026-11-30T10:00:00.000Z", "profile": "quick", "rule": [],
            "tables": [{ "id": "transfer", "title": "t", "metrics": [], "claims": [claim],
                         "cells": [{ "row": row, "column": "c", "keys": { "0": "k0", "1": "k1" } }] }],
            "settings": [{ "key": "pretrain.epochs", "value": 6, "origin": "--set" },
                         { "key": "vit.encoder", "value": "vit", "origin": "default" }],
            "settings_hash": "", "groups": ["transfer", "vit"],
        });
        KnownPlan { plan: serde_json::from_value(plan).unwrap(), after: ["a".to_owned()].into() }
    }

    fn run(change: Value) -> Record {
        let mut record = json!({
            "schema": "sempair.run/1", "id": "a", "experiment": "transfer", "key": "k1", "status": "completed",
            "started": "", "profile": "quick", "row": [["method", "SimCLR"], ["pairs", "SP"]], "column": "c", "seed": 1,
            "settings": [{ "key": "pretrain.epochs", "value": 6, "origin": "sempair.toml" }],
        });
        change.as_object().unwrap().iter().for_each(|(key, value)| record[key] = value.clone());
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_run_is_planned_or_says_why_not() {
        let known = plan();
        let roles = Roles::of_defaults("pretrain.epochs = 1\nprobe.x = 1\nseeds = 1 # decides no result\n");
        let standing = |change: Value| known.standing(&run(change), &roles);
        let post_hoc = |why: &str| Standing::PostHoc { why: why.to_owned() };
        let settings = |key: &str, value: u64| json!({ "settings": [{ "key": "pretrain.epochs", "value": 6, "origin": "" }, { "key": key, "value": value, "origin": "" }] });
        assert_eq!(standing(json!({})), Standing::Planned);
        assert_eq!(standing(json!({ "id": "b", "seed": 9 })), Standing::BeforeThePlan);
        assert_eq!(standing(json!({ "seed": 2 })), post_hoc("seed 2 is not in the plan"));
        assert_eq!(standing(json!({ "column": "d" })), post_hoc("the plan has no column d for its row"));
        assert_eq!(standing(json!({ "row": [["method", "BYOL"]] })), post_hoc("its row is not in the plan"));
        assert_eq!(standing(json!({ "experiment": "epochs" })), post_hoc("its table is not in the plan"));
        assert_eq!(
            standing(json!({ "settings": [{ "key": "pretrain.epochs", "value": 7, "origin": "" }] })),
            post_hoc("run with `pretrain.epochs` 7, and the plan has 6")
        );
        assert_eq!(standing(settings("probe.x", 2)), post_hoc("run with `probe.x` 2, and the plan has not set"));
        assert_eq!(
            [settings("seeds", 9), settings("vit.encoder", 3)].map(standing),
            [Standing::Planned, Standing::Planned]
        );
        assert_eq!(
            [json!({}), json!({ "key": "x" }), json!({ "key": "" })].map(|of| known.has_moved(&run(of))),
            [false, true, false]
        );
    }

    #[test]
    fn a_claim_is_its_contrast_and_its_margin_not_its_wording() {
        let known = plan();
        let table = known.plan.table("transfer").unwrap();
        let planned = &table.claims[0];
        assert!(table.has(&Claim { text: "b".into(), ..planned.clone() }));
        assert!(!table.has(&Claim { metric: "knn".into(), ..planned.clone() }));
        let (plus, minus) = (planned.minus.clone(), planned.plus.clone());
        assert!(!table.has(&Claim { plus, minus, ..planned.clone() }), "the other direction");
    }

    #[test]
    fn a_plan_says_what_is_wrong_with_its_file() {
        let text = plan().plan.to_text();
        let FrozenPlan { hash, .. } = FrozenPlan::parse(&text).unwrap();
        assert_eq!((hash.len(), record::seal(&text)), (64, record::Seal::Whole));
        let error = |text: &str| FrozenPlan::parse(text).unwrap_err().what().to_owned();
        assert!(error("{").starts_with("not JSON: ") && error("[1]").starts_with("not a plan: "));
        assert_eq!(
            error(&text.replace("plan/1", "plan/9")),
            "of schema `sempair.plan/9`, which this version cannot read"
        );
        assert!(error(&text.replace("\"tables\"", "\"table\"")).starts_with("damaged: "));
    }
}

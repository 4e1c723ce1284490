//! Reports of a synthetic ledger: the printed text, hostile names that stay text, records in any order.

use sempair::harness::config::Roles;
use sempair::harness::experiment::Expected;
use sempair::harness::experiment::Row;
use sempair::harness::experiment::Table;
use sempair::harness::record::Record;
use sempair::harness::record::Setting;
use sempair::report::Input;
use sempair::report::render;
use sempair::report::results;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

mod anonymous; // the report for double-blind review
mod answer; // the opening of a report, for all kinds of results
mod claims; // the text about claims, and what claims are based on
mod figures; // the drawings and text of figures
mod hostile; // names that could act as markup
mod items;
mod latex; // the report set by pdfLaTeX
mod order; // records in any order and state
mod planned; // what was planned before the runs
mod shape; // the contents of `results.json` and the CSV

const COLUMNS: [(&str, &str); 3] = [("synth-10", "cifar-10"), ("synth-100", "cifar-100"), ("synth-stl", "stl-10")];
const HOSTILE: &str = "<script>alert('é')</script>|*_&%$#\\{} \u{1f984} \u{202e}שלום\u{0} ~^";

fn row(labels: &[(&str, &str)]) -> Row {
    labels.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
}

fn simclr(pairs: &str) -> Row {
    row(&[("method", "SimCLR"), ("pairs", pairs)])
}

fn baseline(name: &str) -> Row {
    row(&[("method", name)])
}

/// Table `transfer` on stand-ins: AP and SP, two baselines, two metrics, two claims.
fn table() -> Table {
    let column = |(id, paper): &(&str, &str)| json!({"id": id, "title": id, "stands_for": paper, "substitute": true});
    let figure = |pairs: &str, column: &str, value: Value| json!({"row": simclr(pairs), "column": column, "metric": "top1", "value": value});
    let family = json!({"id": "main", "title": "Semantic pairs transfer better", "paper": "all sets"});
    let claim = |text: &str, column: &str, margin: f64, stated: Value| json!({"text": text, "column": column, "metric": "top1", "plus": [simclr("SP")], "minus": [simclr("AP")], "expected": {"at-least": margin}, "family": family, "case": "SimCLR", "stated": stated});
    serde_json::from_value(json!({
        "id": "transfer", "title": "Linear evaluation",
        "caption": "Top-1 accuracy of a linear classifier and of 20 nearest neighbours on frozen features.",
        "rows": [simclr("AP"), simclr("SP")],
        "baselines": [baseline("random initialisation"), baseline("raw pixels")],
        "columns": COLUMNS.iter().map(column).collect::<Vec<_>>(),
        "metrics": [
            {"id": "top1", "title": "linear", "unit": "%", "better": "more"},
            {"id": "knn", "title": "k-NN", "unit": "%", "better": "more"},
        ],
        "paper": [
            figure("AP", "cifar-10", json!(81.76)), figure("SP", "cifar-10", json!(83.6)),
            figure("AP", "cifar-100", json!(null)), figure("SP", "cifar-100", json!(59.58)),
            figure("AP", "stl-10", json!(81.76)), figure("SP", "stl-10", json!(85.59)),
        ],
        "claims": [
            claim("SimCLR learns better features from SP than from AP on CIFAR-10", "cifar-10", 0.8, json!({"gain": 0.8})),
            claim("SimCLR learns better features from SP than from AP on STL-10", "synth-stl", 30.0, json!("sign")),
        ],
        "setting": "Pretrained for 40 epochs.",
        "notes": [{"text": "CIFAR-10: 83.60 - 81.76 = +1.84, but the paper states +0.8.", "at": [simclr("AP"), "cifar-10"]}],
        "varies": "initialisation, order of the data and augmentation", "in_paper": true, "substitute": false,
    }))
    .unwrap()
}

/// One completed run.
fn record(row: &Row, column: &str, seed: u64) -> Record {
    let c = COLUMNS.iter().position(|(id, _)| *id == column).unwrap_or(0);
    let label = format!("{}{}", row[0].1, row.get(1).map_or("", |(_, v)| v));
    let base = match label.as_str() {
        "SimCLRAP" => 56.3,
        "SimCLRSP" => 66.7,
        "raw pixels" => 38.0,
        _ => 46.7,
    };
    let noise = ((seed * 7 + c as u64 * 3 + label.len() as u64 * 5 + label.as_bytes()[label.len() - 2] as u64) % 11)
        as f64
        / 5.0;
    let top1 = base - 8.0 * c as f64 + noise;
    let steps: Vec<f64> = (0..=40).map(f64::from).collect();
    let floor = if label == "SimCLRSP" { 4.2 } else { 3.1 };
    let loss: Vec<f64> =
        steps.iter().map(|t| floor + 1.35 * (-t / 11.0).exp() + 0.02 * ((t + seed as f64) * 2.1).sin()).collect();
    let curves = json!([{"name": "loss", "x_title": "epoch", "y_title": "NT-Xent loss", "x": steps, "y": loss}]);
    let id = format!("0193-{label}-{column}-{seed}").replace(' ', "-");
    serde_json::from_value(json!({
        "schema": "sempair.run/1", "id": id, "experiment": "transfer", "key": "k", "status": "completed",
        "profile": "quick", "row": row, "column": column, "seed": seed,
        "started": format!("2026-11-23T10:0{seed}:00Z"), "ended": "2026-11-23T10:09:00Z", "seconds": 31.0 + seed as f64,
        "metrics": {"top1": top1, "knn": top1 - 6.25},
        "curves": if label.starts_with("SimCLR") { curves } else { json!([]) },
        "data": [{"name": column, "description": "procedural, unseen categories", "hash": "4f1a".repeat(16), "images": 12000}],
        "checkpoint": "c0ffee".repeat(10),
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": false},
        "build": {"rustc": "rustc 1.95.0"}, "host": {"cpu": "Xeon", "cores": 2, "threads": 2},
        "compute": {"device": "cpu", "isa": "avx512", "precision": "f32"},
        "settings": [
            {"key": "epochs", "value": 40, "origin": "profiles/quick.toml:3"},
            {"key": "method.temperature", "value": 0.2, "origin": "defaults.toml:9"},
            {"key": "augment.crop", "value": "0.2 1", "origin": "--set"},
        ],
    }))
    .unwrap()
}

fn records() -> Vec<Record> {
    let mut records = Vec::new();
    for (column, _) in COLUMNS {
        for seed in 0..3 {
            for row in [simclr("AP"), simclr("SP"), baseline("random initialisation")] {
                records.push(record(&row, column, seed));
            }
        }
        records.push(record(&baseline("raw pixels"), column, 0));
    }
    records
}

fn input(table: Table, records: Vec<Record>, all: &[Record]) -> Input {
    let shared = |records: &[Record]| records.iter().cloned().map(Arc::new).collect::<Vec<_>>();
    Input {
        profile: "quick".to_string(),
        description_of_profile: "embedded data, two cores, minutes".to_string(),
        tables: vec![(table, shared(&records))],
        deleted: 0,
        not_run: vec![],
        excluded: vec![],
        all_records: shared(all),
        generated: "2026-11-23".to_string(),
        anonymous: false,
        plans: vec![],
        evaluations: BTreeMap::new(),
        roles: Roles::of_defaults("paths.data = '' # a place\nsamples.values = [] # chooses rows or columns\n"),
    }
}

/// Every file of the report by name, and the terminal's summary.
fn rendered(table: Table, records: Vec<Record>, all: &[Record]) -> (BTreeMap<String, String>, String) {
    let dir = tempfile::tempdir().unwrap();
    let rendered = render(&input(table, records, all), dir.path()).unwrap();
    let read = |name: &Path| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let files = rendered.files.iter().map(|name| (name.display().to_string(), read(name))).collect();
    (files, rendered.summary(|_| true).replace(&dir.path().display().to_string(), "DIR"))
}

fn sample() -> (BTreeMap<String, String>, String) {
    let all = records();
    rendered(table(), all.clone(), &all)
}

/// The lines of a Markdown report from `from` up to, not including, `to`.
fn part<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from:?} in {text}"));
    let end = text[start..].find(to).map_or(text.len(), |i| start + i);
    &text[start..end]
}

#[test]
fn a_report_has_every_file() {
    let names: Vec<String> = sample().0.into_keys().collect();
    assert_eq!(
        names,
        [
            "figures/transfer-loss.svg",
            "figures/transfer.svg",
            "figures/transfer.tex",
            "main.tex",
            "report.html",
            "report.md",
            "results.json",
            "tables/transfer.csv",
            "tables/transfer.tex",
        ]
    );
}

#[test]
fn the_markdown_report_opens_with_the_answer_and_has_the_table_in_the_papers_form() {
    let (files, _) = sample();
    let report = &files["report.md"];
    insta::assert_snapshot!(part(report, "## The answer", "## Where the encoders"), @r"
    ## The answer

    **On stand-in images, mixed:** semantic pairs were ahead in 1 and behind in 1 of 2 comparisons, by 10.3 points.

    The paper reports semantic pairs ahead with all four methods on every set. The data are not the paper's. Interpret directions, not effect sizes.

    SP − AP in points:

    | Method | synth-10 † | synth-100 † | synth-stl † | mean of the three, not a claim |
    |:---|:---|:---|:---|:---|
    | SimCLR | ✓✓ **\+10.3** \[+7.2, +13.5\] *paper \+0.8* | not run | ✗✗ **\+10.3** \[+7.2, +13.5\] *paper \+3.83* | **\+10.3** \[+10.3, +10.3\] |

    ✓ as claimed, ✗ opposite (✓✓ ✗✗ also after Holm correction), ? open: the 95 % confidence interval contains 0, or one seed. † Stand-in data: not comparable with the paper's figures. Gain of SP over AP in points of top-1 accuracy, linear probe on frozen features; brackets and bars: 95 % confidence interval over 3 seeds, paired by seed; bars run from −1 to +14. After Holm correction for the table's 2 comparisons, all decided comparisons are significant. k-NN on the same features, which the paper does not use: SP ahead in 2, AP in 0 of 2, the rest open.

    ## The paper's claims at a glance

    | claim | in the paper | here |
    |:---|:---|:---|
    | Semantic pairs transfer better | all sets | ✓✗ as claimed in 1 of 2, by 10.3 points; smaller than claimed in 1 of 2, by 10.3 points |
    ");
    insta::assert_snapshot!(part(report, "| Method | Pairs |", "Notes:"), @r"
    | Method | Pairs | synth-10 † ours | paper | synth-100 † ours | paper | synth-stl † ours | paper |
    |:---|:---|---:|---:|---:|---:|---:|---:|
    | SimCLR | AP | 57.4 ± 1.7 | *81.76* (note 1) | 49.3 ± 2.0 | *–* | 41.2 ± 1.7 | *81.76* |
    |  | SP | **67.8** ± 1.7 | *83.60* | **59.6** ± 1.7 | *59.58* | **51.5** ± 2.0 | *85.59* |
    |  | SP − AP | ✓ \+10.3 \[+7.2, +13.5\] | *\+0.8* | \+10.3 \[+7.2, +13.5\] |  | ✗ \+10.3 \[+7.2, +13.5\] | *\+3.83* |
    | untrained encoder | | 48.0 ± 1.7 |  | 39.9 ± 2.0 |  | 31.8 ± 1.7 |  |
    | raw pixels | | 38.8 one seed |  | 31.4 one seed |  | 24.0 one seed |  |
    ");
    for words in [
        "## Table 1. Semantic pairs lead in 1 of 2 comparisons, augmented pairs in 1\n",
        "1. CIFAR-10: 83.60 - 81.76 = +1.84, but the paper states +0.8.\n",
        "Rerun this table (it took 15 min 57 s, 30 completed, 2 cores):\n\n```sh\ngit checkout 0123456789abcdef0123456789abcdef01234567\n\
         SEMPAIR_ISA=avx512 cargo run --release -- table transfer --profile quick --seeds 3 --device cpu --set \
         precision=f32 --set \
         'augment.crop=0.2 1'\n```",
        "| SimCLR (SP) | synth-10 | 0: 67.10 (",
        "Runs behind each number, all at commit 0123456789ab, clean tree:",
        "| SimCLR | synth-10 † | ✓ as claimed | \\+10.3 | \\[+7.2, +13.5\\] | \\+0.8 | 0.005 | 0.010 | 0.25 |  |  |",
        "| SimCLR | synth-stl † | ✗ smaller than claimed | \\+10.3 |",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
}

#[test]
fn the_checklist_is_answered_from_the_records() {
    let (files, _) = sample();
    insta::assert_snapshot!(part(&files["report.md"], "## Checklist", "## Provenance"), @r#"
    ## Checklist

    The questions of the NeurIPS paper checklist (their numbers in brackets) that the records can answer, answered from the records alone.

    **Code (5): which version gave the results?**

    - Commit: 0123456789abcdef0123456789abcdef01234567. Uncommitted changes: none.
    - Sources that determine results, BLAKE3: not recorded.
    - Cargo.lock, BLAKE3: not recorded.
    - Compiler: rustc 1.95.0.

    **Experimental setting (6): are all details given?**

    - Every run records 3 settings with their origins; the provenance lists those that are not defaults.
    - How the settings were chosen: not recorded.
    - How the settings given for these runs (see the provenance) were chosen: not recorded.

    **Error bars (7): what do they show, and what varies?**

    - Seeds of transfer: 0, 1, 2.
    - What varies between the seeds of transfer: initialisation, order of the data and augmentation.
    - Error bars: half-width of the two-sided 95 % confidence interval (Student's t) of the mean over seeds, not standard deviation or standard error. It assumes normally distributed errors. It is clipped to 0 and 100 for percentages, at 0 for times.

    **Compute (8): which resources, in total?**

    - Machine: Xeon, 2 cores, memory not recorded, device cpu (avx512, f32).
    - A run took 31 s to 33 s, median 32 s.
    - 30 runs started (30 completed), 15 min 57 s in total, including failed and killed runs; 15 min 57 s of it in the 30 whose results are shown. Work that runs share is done once and counted in the run that did it.
    - Runs outside this ledger: not recorded.

    **Data and licences (5, 12): which assets were used?**

    - synth-10 (procedural, unseen categories): 12 000 images, BLAKE3 4f1a4f1a4f1a4f1a, licence not recorded.
    - synth-100 (procedural, unseen categories): 12 000 images, BLAKE3 4f1a4f1a4f1a4f1a, licence not recorded.
    - synth-stl (procedural, unseen categories): 12 000 images, BLAKE3 4f1a4f1a4f1a4f1a, licence not recorded.
    "#);
}

#[test]
fn the_latex_table_is_whole() {
    let (files, _) = sample();
    insta::assert_snapshot!(files["tables/transfer.tex"], @r"
    % Table transfer of sempair, profile quick, commit 0123456789ab, 2026-11-23.
    % Needs \usepackage{booktabs,graphicx}. Letters that LaTeX's own fonts lack are written as their code points.
    \begin{table}[t]
      \centering\small
      \setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{6pt}
      \caption{Linear evaluation. Top-1 accuracy of a linear classifier and of 20 nearest neighbours on frozen features. Mean $\pm$ half-width of the 95 \% confidence interval, 3 seeds. Bold: the better of two compared rows where the interval of their paired difference excludes 0. Paper: -- means not stated; \textgreater{} 0 means ahead, size not stated. \dag{} Stand-in data: not comparable with the paper's figures; only the order of the rows is. Pretrained for 40 epochs.}
      \label{tab:transfer}
      \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\begin{tabular}{@{}llr@{\,}lrr@{\,}lrr@{\,}lr@{}}
        \toprule
        &  & \multicolumn{3}{c}{synth-10\,\dag} & \multicolumn{3}{c}{synth-100\,\dag} & \multicolumn{3}{c}{synth-stl\,\dag} \\
        \cmidrule(lr){3-5}\cmidrule(lr){6-8}\cmidrule(lr){9-11}
        method & pairs & \multicolumn{2}{c}{ours} & \textit{paper} & \multicolumn{2}{c}{ours} & \textit{paper} & \multicolumn{2}{c}{ours} & \textit{paper} \\
        \midrule
        SimCLR & AP & 57.4 & {\scriptsize $\pm$ 1.7} & \textit{81.76} & 49.3 & {\scriptsize $\pm$ 2.0} & \textit{--} & 41.2 & {\scriptsize $\pm$ 1.7} & \textit{81.76} \\
         & SP & \textbf{67.8} & {\scriptsize $\pm$ 1.7} & \textit{83.60} & \textbf{59.6} & {\scriptsize $\pm$ 1.7} & \textit{59.58} & \textbf{51.5} & {\scriptsize $\pm$ 2.0} & \textit{85.59} \\
         & SP $-$ AP & +10.3 & {\scriptsize {[}+7.2, +13.5]} & \textit{+0.8} & +10.3 & {\scriptsize {[}+7.2, +13.5]} &  & +10.3 & {\scriptsize {[}+7.2, +13.5]} & \textit{+3.83} \\[2pt]
        \midrule
        \multicolumn{2}{@{}l}{untrained encoder} & 48.0 & {\scriptsize $\pm$ 1.7} &  & 39.9 & {\scriptsize $\pm$ 2.0} &  & 31.8 & {\scriptsize $\pm$ 1.7} &  \\
        \multicolumn{2}{@{}l}{raw pixels} & 38.8 & {\scriptsize one seed} &  & 31.4 & {\scriptsize one seed} &  & 24.0 & {\scriptsize one seed} &  \\
        \bottomrule
      \end{tabular}}
    \end{table}
    ");
}

#[test]
fn the_terminal_sees_a_short_summary() {
    insta::assert_snapshot!(sample().1, @r"
    transfer, profile quick. Stand-in images: interpret directions, not effect sizes.

    On stand-in images, mixed: semantic pairs were ahead in 1 and behind in 1 of 2 comparisons,
    by 10.3 points.

      SP − AP, points   synth-10                synth-100               synth-stl
      SimCLR            ✓✓ +10.3 [+7.2, +13.5]     not run              ✗✗ +10.3 [+7.2, +13.5]
      paper, SimCLR        +0.8                                            +3.83

      top-1 %
      SimCLR               57.4 → 67.8             49.3 → 59.6             41.2 → 51.5
      untrained encoder    48.0                    39.9                    31.8
      raw pixels           38.8                    31.4                    24.0

    ✓ as claimed  ✗ opposite (✓✓ ✗✗ also after Holm correction)  ? open: the 95 % CI contains 0, or one seed
    Report: DIR/report.html (30 runs, 15 min 57 s, 0123456789ab, clean)
    ");
}

#[test]
fn the_terminal_names_the_tables_with_stand_in_images() {
    let mut photographs = table();
    photographs.id = "photographs".into();
    photographs.columns.iter_mut().for_each(|column| column.substitute = false);
    let mut input = input(photographs, records(), &records());
    input.tables.push((table(), input.tables[0].1.clone()));
    let dir = tempfile::tempdir().unwrap();
    let said = render(&input, dir.path()).unwrap().summary(|_| true);
    let head = "photographs and transfer, profile quick. Stand-in images in transfer: interpret directions,\n\
                not effect sizes.\n";
    assert!(said.starts_with(head), "{said}");
}

#[test]
fn a_table_without_runs_still_renders() {
    let mut failed = record(&simclr("SP"), "synth-10", 1);
    failed.status = serde_json::from_value(json!("failed")).unwrap();
    failed.error = Some("the loss is not finite at step 12".to_string());
    let all = [failed.clone()];
    let (files, summary) = rendered(table(), vec![failed], &all);
    let markdown = &files["report.md"];
    assert!(
        markdown
            .contains("SimCLR (SP), synth-10: no completed run (seed 1 failed: the loss is not finite at step 12).")
    );
    assert!(markdown.contains("No completed run yet."));
    assert!(markdown.contains("1 run started (1 failed)"));
    assert!(summary.contains("lack runs"));
}

#[test]
fn a_seed_that_was_planned_and_nowhere_run_is_named() {
    let mut records = records();
    let planned =
        |seeds: u64| Setting { key: "seeds".into(), value: json!(seeds), origin: "--set".into(), shadowed: Vec::new() };
    for (record, seeds) in records.iter_mut().zip((0..).map(|i| if i == 20 { 4 } else { 9 })) {
        record.settings = [planned(seeds)].into_iter().collect();
    }
    // The newest run's setting counts.
    records[20].id = "0194".into();
    let missing = results(&input(table(), records.clone(), &records)).tables.remove(0).missing;
    let all = missing.iter().filter(|hole| hole.ends_with("no completed run for seed 3.")).count();
    assert_eq!((all, missing.len()), (6, 6), "{missing:?}");
}

#[test]
fn a_missing_seed_is_named_and_a_newer_run_wins() {
    let mut all = records();
    all.retain(|r| !(r.row == simclr("SP") && r.column == "synth-10" && r.seed == 2));
    let mut newer = record(&simclr("AP"), "synth-10", 0);
    (newer.id, newer.started) = ("newer".to_string(), "2026-11-24T10:00:00Z".to_string());
    newer.metrics.insert("top1".to_string(), 10.0);
    newer.metrics.insert("knn".to_string(), f64::NAN);
    all.push(newer);
    let results = results(&input(table(), all.clone(), &all));
    assert_eq!(results.tables[0].missing, ["SimCLR (SP), synth-10: no completed run for seed 2."]);
    let cell = |row: &Row, metric: &str| {
        let of = |c: &&sempair::report::Cell| c.row == *row && c.column == "synth-10" && c.metric == metric;
        results.tables[0].cells.iter().find(of).unwrap().clone()
    };
    assert_eq!(cell(&simclr("AP"), "top1").values[0], 10.0);
    assert_eq!(cell(&simclr("AP"), "knn").seeds, [1, 2]); // NaN does not count as a value
    assert_eq!(results.tables[0].claims[0].seeds, [0, 1]);
    assert_eq!(results.excluded.len(), 1);
    assert_eq!(results.excluded[0].reason, "superseded by a newer run of its cell and seed");
    assert_eq!(results.excluded[0].superseded_by.as_deref(), Some("newer"));
}

//! A synthetic ledger, rendered: what is printed, that hostile names stay text, that order does not matter.

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
mod claims; // what they say and stand on
mod figures; // what they draw and say
mod hostile; // names that would be markup
mod items;
mod latex; // what pdfLaTeX makes of it
mod order; // records in any order and state

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
    let claim = |text: &str, column: &str, margin: f64| json!({"text": text, "column": column, "metric": "top1", "plus": [simclr("SP")], "minus": [simclr("AP")], "expected": {"at-least": margin}});
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
            claim("SimCLR learns better features from SP than from AP on CIFAR-10", "cifar-10", 0.8),
            claim("SimCLR learns better features from SP than from AP on STL-10", "synth-stl", 30.0),
        ],
        "notes": ["CIFAR-10: 83.60 - 81.76 = +1.84, but the paper states +0.8."],
        "varies": "initialisation, order of the data and augmentation", "in_paper": true, "substitute": false,
    }))
    .unwrap()
}

/// One completed run; later changes of a field go through `with`.
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
        excluded: vec![],
        all_records: shared(all),
        generated: "2026-11-23".to_string(),
        anonymous: false,
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
            "figures/transfer-knn.svg",
            "figures/transfer-loss.svg",
            "figures/transfer-top1-claims.svg",
            "figures/transfer-top1.svg",
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
fn the_markdown_table_reads_as_a_paper() {
    let (files, _) = sample();
    insta::assert_snapshot!(part(&files["report.md"], "## Claims", "## Checklist"), @r#"
    ## Claims

    | table | reproduced | not reproduced | inconclusive | not run | not testable |
    |:---|---:|---:|---:|---:|---:|
    | `transfer` | 1 | 1 | 0 | 0 | 0 |
    | all | **1** | **1** | **0** | **0** | **0** |

    The sums count a measurement once that tables share.

    Trained rows whose mean is above random initialisation: 6 of 6 in transfer; whose mean is above raw pixels: 6 of 6 in transfer.

    ### Linear evaluation: claims

    - **✓ Reproduced on stand-in data.** SimCLR learns better features from SP than from AP on CIFAR-10. synth-10, linear. SimCLR (SP) minus SimCLR (AP): +10.3 points, 95 % interval +7.2 to +13.5, margin 0.8; 3 common seeds; sign-flip p = 0.25 (smallest possible 0.25); t test p = 0.005, Holm = 0.010.
    - **✗ Not reproduced on stand-in data.** SimCLR learns better features from SP than from AP on STL-10. synth-stl, linear. SimCLR (SP) minus SimCLR (AP): +10.3 points, 95 % interval +7.2 to +13.5, margin 30; 3 common seeds; sign-flip p = 0.25 (smallest possible 0.25); t test p = 0.005, Holm = 0.010.

    ### How verdicts are reached

    A claim is about a difference: one row or a sum of rows less another, seed by seed over the seeds that all of them have; its mean has a 95 % t interval. Most claims say that it is at least some margin, which is 0 unless the claim names one: the verdict is about the direction, and how much the paper states stands in the tables. Reproduced: the mean reaches the margin and the whole interval lies above 0. Not reproduced: the whole interval lies at or below the margin. A claim of practically no difference names the most that counts as none. Reproduced: both one-sided t tests against it reject at 5 %, so that the 90 % interval lies within. Not reproduced: the whole 95 % interval lies outside. Inconclusive: everything else, and always with fewer than two common seeds, or where all seeds differ by the same amount but for rounding, since a few that agree by chance say nothing of their spread; the number of seeds that would decide supposes that mean and spread stay as they are. Each verdict is about its claim alone, with no allowance for how many claims there are. Beside it stand p values. Sign-flip: exact, two-sided, of no difference, supposing no distribution, with the smallest value that this number of seeds can give. t test: paired, two-sided, of no difference, whatever the margin; equivalence test: the larger of the two one-sided ones. Holm: the same, adjusted over all claims of the table, for readers of several claims. McNemar: two rows on the same test images, each seed for itself, which says nothing of another training.

    ## Linear evaluation

    **Table `transfer`.** Top-1 accuracy of a linear classifier and of 20 nearest neighbours on frozen features. Mean ± half-width of the 95 % t interval over n = 3 seeds; between seeds vary: initialisation, order of the data and augmentation. Bold: of the rows with more than one seed the best mean of a column, and every row that is not significantly worse than it (paired t test on common seeds, Holm-adjusted over the column, p of at least 0.05; few seeds tell few rows apart). Columns headed “paper” repeat the paper's figures; – there means not stated. † Stand-in data, not the paper's (synth-10 for cifar-10; synth-100 for cifar-100; synth-stl for stl-10): these figures are not comparable with the paper's; only the order of the rows is.

    | method (pairs) | synth-10 † linear, % | paper: cifar-10 linear, % | synth-10 † k-NN, % | synth-100 † linear, % | paper: cifar-100 linear, % | synth-100 † k-NN, % | synth-stl † linear, % | paper: stl-10 linear, % | synth-stl † k-NN, % |
    |:---|---:|---:|---:|---:|---:|---:|---:|---:|---:|
    | SimCLR (AP) | 57.4 ± 1.7 | *81.76* | 51.2 ± 1.7 | 49.3 ± 2.0 | *–* | 43.0 ± 2.0 | 41.2 ± 1.7 | *81.76* | 34.9 ± 1.7 |
    | SimCLR (SP) | **67.8** ± 1.7 | *83.60* | **61.5** ± 1.7 | **59.6** ± 1.7 | *59.58* | **53.4** ± 1.7 | **51.5** ± 2.0 | *85.59* | **45.2** ± 2.0 |
    | random initialisation | 48.0 ± 1.7 |  | 41.8 ± 1.7 | 39.9 ± 2.0 |  | 33.7 ± 2.0 | 31.8 ± 1.7 |  | 25.5 ± 1.7 |
    | raw pixels | 38.8 |  | 32.5 | 31.4 |  | 25.1 | 24.0 |  | 17.8 |

    Notes:

    - CIFAR-10: 83.60 - 81.76 = +1.84, but the paper states +0.8.

    ![Linear evaluation: linear, %. Bars: mean over seeds; whiskers: 95 % t interval; grey: baselines.](figures/transfer-top1.svg)

    ![Linear evaluation: what the claims come to, linear, points. Circles: mean difference on common seeds; whiskers: 95 % t interval; grey: what counts as none; ✓ reproduced, ✗ not reproduced, ? inconclusive.](figures/transfer-top1-claims.svg)

    ![Linear evaluation: k-NN, %. Bars: mean over seeds; whiskers: 95 % t interval; grey: baselines.](figures/transfer-knn.svg)

    ![Linear evaluation: NT-Xent loss against epoch. Thick: mean over seeds; thin: each seed.](figures/transfer-loss.svg)

    | set | what it is | images in the set | hash |
    |:---|:---|---:|:---|
    | synth-10 | procedural, unseen categories | 12 000 | 4f1a4f1a4f1a4f1a |
    | synth-100 | procedural, unseen categories | 12 000 | 4f1a4f1a4f1a4f1a |
    | synth-stl | procedural, unseen categories | 12 000 | 4f1a4f1a4f1a4f1a |

    Compute spent on this table: 30 runs started (30 completed), 15 min 57 s in all, failed and killed ones included; 15 min 57 s of it in the 30 whose results are shown. Work that runs share is done once and counted in the run that did it.

    Rerun this table:

    ```sh
    git checkout 0123456789abcdef0123456789abcdef01234567
    SEMPAIR_ISA=avx512 cargo run --release -- table transfer --profile quick --seeds 3 --set precision=f32 --set 'augment.crop=0.2 1'
    ```
    "#);
}

#[test]
fn the_checklist_is_answered_from_the_records() {
    let (files, _) = sample();
    insta::assert_snapshot!(part(&files["report.md"], "## Checklist", "## Compute spent"), @r#"
    ## Checklist

    The questions of the NeurIPS paper checklist (their numbers in brackets) that records can answer, answered from them alone.

    **Code (5): which version gave the results?**

    - Commit: 0123456789abcdef0123456789abcdef01234567. Uncommitted changes: none.
    - Sources that determine results, BLAKE3: not recorded.
    - Cargo.lock, BLAKE3: not recorded.
    - Compiler: rustc 1.95.0.

    **Experimental setting (6): are all details given?**

    - Every run records 3 settings, each with its origin; the lineage shows those that are no defaults.
    - How the settings were chosen: not recorded.
    - How those were chosen that were given for these runs (see the lineage): not recorded.

    **Error bars (7): what do they show, and what varies?**

    - Seeds of transfer: 0, 1, 2.
    - Between the seeds of transfer vary: initialisation, order of the data and augmentation.
    - Error bars: half-width of the two-sided 95 % t interval of the mean over seeds, neither standard deviation nor standard error. It supposes normal errors; for percentages it is cut at 0 and 100, for times at 0.

    **Compute (8): which resources, in all?**

    - Machine: Xeon, 2 cores, memory not recorded, device cpu (avx512, f32).
    - A run took 31 s to 33 s, the median 32 s.
    - 30 runs started (30 completed), 15 min 57 s in all, failed and killed ones included; 15 min 57 s of it in the 30 whose results are shown. Work that runs share is done once and counted in the run that did it.
    - Runs outside of this ledger: not recorded.

    **Data and licences (5, 12): which assets were used?**

    - synth-10 (procedural, unseen categories): 12 000 images, BLAKE3 4f1a4f1a4f1a4f1a, licence not recorded.
    - synth-100 (procedural, unseen categories): 12 000 images, BLAKE3 4f1a4f1a4f1a4f1a, licence not recorded.
    - synth-stl (procedural, unseen categories): 12 000 images, BLAKE3 4f1a4f1a4f1a4f1a, licence not recorded.
    "#);
}

#[test]
fn the_latex_table_is_whole() {
    let (files, _) = sample();
    insta::assert_snapshot!(files["tables/transfer.tex"], @r#"
    % Table transfer of sempair, profile quick, commit 0123456789ab, 2026-11-23.
    % Needs \usepackage{booktabs,graphicx}: the table is scaled down only where it is wider than the line.
    % Letters that LaTeX's own fonts lack stand as their code points.
    \begin{table}[t]
      \centering\small
      \setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{6pt}
      \caption{Top-1 accuracy of a linear classifier and of 20 nearest neighbours on frozen features. Mean $\pm$ half-width of the 95 \% t interval over n = 3 seeds; between seeds vary: initialisation, order of the data and augmentation. Bold: of the rows with more than one seed the best mean of a column, and every row that is not significantly worse than it (paired t test on common seeds, Holm-adjusted over the column, p of at least 0.05; few seeds tell few rows apart). Columns headed ``paper'' repeat the paper's figures; -- there means not stated. \dag{} Stand-in data, not the paper's (synth-10 for cifar-10; synth-100 for cifar-100; synth-stl for stl-10): these figures are not comparable with the paper's; only the order of the rows is.}
      \label{tab:transfer}
      \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\begin{tabular}{@{}lrrrrrrrrr@{}}
        \toprule
         & \multicolumn{3}{c}{synth-10\,\dag} & \multicolumn{3}{c}{synth-100\,\dag} & \multicolumn{3}{c}{synth-stl\,\dag} \\
        \cmidrule(lr){2-4}\cmidrule(lr){5-7}\cmidrule(lr){8-10}
        method (pairs) & linear, \% & \textit{paper} & k-NN, \% & linear, \% & \textit{paper} & k-NN, \% & linear, \% & \textit{paper} & k-NN, \% \\
        \midrule
        SimCLR (AP) & 57.4\ {\scriptsize $\pm$ 1.7} & \textit{81.76} & 51.2\ {\scriptsize $\pm$ 1.7} & 49.3\ {\scriptsize $\pm$ 2.0} & \textit{--} & 43.0\ {\scriptsize $\pm$ 2.0} & 41.2\ {\scriptsize $\pm$ 1.7} & \textit{81.76} & 34.9\ {\scriptsize $\pm$ 1.7} \\
        SimCLR (SP) & \textbf{67.8}\ {\scriptsize $\pm$ 1.7} & \textit{83.60} & \textbf{61.5}\ {\scriptsize $\pm$ 1.7} & \textbf{59.6}\ {\scriptsize $\pm$ 1.7} & \textit{59.58} & \textbf{53.4}\ {\scriptsize $\pm$ 1.7} & \textbf{51.5}\ {\scriptsize $\pm$ 2.0} & \textit{85.59} & \textbf{45.2}\ {\scriptsize $\pm$ 2.0} \\
        \midrule
        random initialisation & 48.0\ {\scriptsize $\pm$ 1.7} &  & 41.8\ {\scriptsize $\pm$ 1.7} & 39.9\ {\scriptsize $\pm$ 2.0} &  & 33.7\ {\scriptsize $\pm$ 2.0} & 31.8\ {\scriptsize $\pm$ 1.7} &  & 25.5\ {\scriptsize $\pm$ 1.7} \\
        raw pixels & 38.8\phantom{\ {\scriptsize $\pm$ 0.0}} &  & 32.5\phantom{\ {\scriptsize $\pm$ 0.0}} & 31.4\phantom{\ {\scriptsize $\pm$ 0.0}} &  & 25.1\phantom{\ {\scriptsize $\pm$ 0.0}} & 24.0\phantom{\ {\scriptsize $\pm$ 0.0}} &  & 17.8\phantom{\ {\scriptsize $\pm$ 0.0}} \\
        \bottomrule
      \end{tabular}}
    \end{table}
    "#);
}

#[test]
fn the_terminal_sees_a_short_summary() {
    insta::assert_snapshot!(sample().1, @r#"
    Linear evaluation (quick profile)
                              synth-10 † linear, %   synth-100 † linear, %   synth-stl † linear, %
      SimCLR (AP)                       57.4 ± 1.7              49.3 ± 2.0              41.2 ± 1.7
      SimCLR (SP)                       67.8 ± 1.7              59.6 ± 1.7              51.5 ± 2.0
      random initialisation             48.0 ± 1.7              39.9 ± 2.0              31.8 ± 1.7
      raw pixels                              38.8                    31.4                    24.0

    ✓ Reproduced on stand-in data: SimCLR learns better features from SP than from AP on CIFAR-10.
      synth-10, linear. SimCLR (SP) minus SimCLR (AP): +10.3 points, 95 % interval +7.2 to +13.5, margin 0.8; 3 common seeds; sign-flip p = 0.25 (smallest possible 0.25); t test p = 0.005, Holm = 0.010.
    ✗ Not reproduced on stand-in data: SimCLR learns better features from SP than from AP on STL-10.
      synth-stl, linear. SimCLR (SP) minus SimCLR (AP): +10.3 points, 95 % interval +7.2 to +13.5, margin 30; 3 common seeds; sign-flip p = 0.25 (smallest possible 0.25); t test p = 0.005, Holm = 0.010.
    claims: 1 reproduced, 1 not reproduced, 0 inconclusive, 0 not run, 0 not testable
    report: DIR/report.html
    "#);
}

#[test]
fn results_json_has_the_published_shape() {
    let all = records();
    let value = serde_json::to_value(results(&input(table(), all.clone(), &all))).unwrap();
    assert_eq!(value["schema"], "sempair.results/1");
    insta::assert_snapshot!(serde_json::to_string_pretty(&value["tables"][0]["cells"][1]).unwrap(), @r#"
    {
      "baseline": false,
      "best": true,
      "ci95": [
        66.02186567963965,
        69.51146765369369
      ],
      "column": "synth-10",
      "mean": 67.76666666666667,
      "metric": "top1",
      "paper": 83.6,
      "paper_column": "cifar-10",
      "row": {
        "method": "SimCLR",
        "pairs": "SP"
      },
      "runs": [
        "0193-SimCLRSP-synth-10-0",
        "0193-SimCLRSP-synth-10-1",
        "0193-SimCLRSP-synth-10-2"
      ],
      "sd": 0.7023769168568451,
      "seeds": [
        0,
        1,
        2
      ],
      "substitute": true,
      "unit": "%",
      "values": [
        67.10000000000001,
        68.5,
        67.7
      ],
      "wilson95": []
    }
    "#);
    insta::assert_snapshot!(serde_json::to_string_pretty(&value["tables"][0]["claims"]).unwrap(), @r#"
    [
      {
        "ci95": [
          7.178054664850404,
          13.488612001816279
        ],
        "column": "synth-10",
        "difference": 10.333333333333341,
        "expected": {
          "at-least": 0.8
        },
        "holm_p": 0.009997377377749897,
        "mcnemar": [],
        "metric": "top1",
        "minus": [
          {
            "method": "SimCLR",
            "pairs": "AP"
          }
        ],
        "p": 0.25,
        "p_floor": 0.25,
        "plus": [
          {
            "method": "SimCLR",
            "pairs": "SP"
          }
        ],
        "seeds": [
          0,
          1,
          2
        ],
        "seeds_to_decide": null,
        "substitute": true,
        "t_p": 0.004998688688874949,
        "text": "SimCLR learns better features from SP than from AP on CIFAR-10",
        "unit": "%",
        "verdict": "reproduced"
      },
      {
        "ci95": [
          7.178054664850396,
          13.488612001816279
        ],
        "column": "synth-stl",
        "difference": 10.333333333333337,
        "expected": {
          "at-least": 30.0
        },
        "holm_p": 0.009997377377749897,
        "mcnemar": [],
        "metric": "top1",
        "minus": [
          {
            "method": "SimCLR",
            "pairs": "AP"
          }
        ],
        "p": 0.25,
        "p_floor": 0.25,
        "plus": [
          {
            "method": "SimCLR",
            "pairs": "SP"
          }
        ],
        "seeds": [
          0,
          1,
          2
        ],
        "seeds_to_decide": null,
        "substitute": true,
        "t_p": 0.004998688688874962,
        "text": "SimCLR learns better features from SP than from AP on STL-10",
        "unit": "%",
        "verdict": "not reproduced"
      }
    ]
    "#);
    insta::assert_snapshot!(serde_json::to_string_pretty(&value["compute"]).unwrap(), @r#"
    {
      "by_status": {
        "completed": 30
      },
      "machines": [
        {
          "cores": 2,
          "cpu": "Xeon",
          "device": "cpu",
          "isa": "avx512",
          "precision": "f32",
          "rustc": "rustc 1.95.0",
          "threads": 2
        }
      ],
      "runs": 30,
      "seconds": 957.0,
      "seconds_used": 957.0,
      "used": 30
    }
    "#);
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    insta::assert_snapshot!(keys(&value), @r#"anonymous compute excluded generated git profile profile_description schema tables verdict_rule"#);
    insta::assert_snapshot!(keys(&value["tables"][0]), @r#"baselines caption cells claims columns compute data id in_paper metrics missing notes title varies"#);
}

#[test]
fn tidy_values_carry_their_run() {
    let (files, _) = sample();
    let lines: Vec<&str> = files["tables/transfer.csv"].lines().collect();
    assert_eq!(lines[0], "method,pairs,baseline,column,substitute,paper_column,metric,unit,seed,value,paper,run");
    assert_eq!(lines[1], "SimCLR,AP,false,synth-10,true,cifar-10,top1,%,0,57.5,81.76,0193-SimCLRAP-synth-10-0");
    assert_eq!(lines.len(), 1 + 2 * 3 * 10);
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
    let planned = |seeds: u64| Setting { key: "seeds".into(), value: json!(seeds), origin: "--set".into() };
    for (record, seeds) in records.iter_mut().zip((0..).map(|i| if i == 20 { 4 } else { 9 })) {
        record.settings = [planned(seeds)].into_iter().collect();
    }
    // The newest run's word counts.
    records[20].started = "2026-11-24T00:00:00Z".into();
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
    assert_eq!(cell(&simclr("AP"), "knn").seeds, [1, 2]); // a value that is not a number is no value
    assert_eq!(results.tables[0].claims[0].seeds, [0, 1]);
    assert_eq!(results.excluded.len(), 1);
    assert_eq!(results.excluded[0].reason, "superseded by a newer run of its cell and seed");
    assert_eq!(results.excluded[0].superseded_by.as_deref(), Some("newer"));
}

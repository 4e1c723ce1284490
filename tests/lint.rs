//! Manuscripts against a ledger: which numbers of a LaTeX text are results, and what `sempair lint` reports about them.

use crate::sealed::sealed;
use std::fs;
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use sempair::lint::{Role, numbers};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The settings of the report that all tests lint against.
const SETTINGS: [&str; 4] = ["--methods", "simclr", "--set", "evaluation.sets=[\"synth-10\"]"];

/// The numbers of a snippet, each with its role unless it is a plain value.
fn found(snippet: &str) -> Vec<String> {
    let said = |role| match role {
        Role::Value => "",
        Role::Change => " change",
        Role::Spread => " spread",
        Role::Bound => " bound",
    };
    numbers(snippet).unwrap().iter().map(|number| format!("{}{}", number.text, said(number.role))).collect()
}

#[test]
fn results_are_told_from_other_numbers() {
    let cases: &[(&str, &[&str])] = &[
        // Numbers that state a result.
        (r"from 81.76 to 83.60 on CIFAR-10", &["81.76", "83.60"]),
        (r"83.6\%, 84\%, 84~\%, $84$\%, \textbf{84}\,\%, \SI{84}{\percent}", &["83.6", "84", "84", "84", "84", "84"]),
        (r"3 points, 2 percentage points, 1.5 pp", &["3", "2", "1.5"]),
        (
            r"gains +1.84 or $-2.1$ points, $-$0.5, (−0.4), $\approx-0.3$",
            &["+1.84 change", "-2.1 change", "$-$0.5 change", "−0.4 change", "-0.3 change"],
        ),
        (r"83.6-81.7 and 7.2--13.5 and $83.6$-$81.7$", &["83.6", "81.7", "7.2", "13.5", "83.6", "81.7"]),
        (
            r"$83.6 \pm 0.4$, 83.6±0.4, $83.6_{\pm 0.4}$, $83.6_{0.4}$, \num{83.6 +- 0.4}",
            &[
                "83.6",
                "0.4 spread",
                "83.6",
                "0.4 spread",
                "83.6",
                "0.4 spread",
                "83.6",
                "0.4 spread",
                "83.6",
                "0.4 spread",
            ],
        ),
        (r"\textbf{42}\ {\scriptsize $\pm$ 12} & $\pm0.5$", &["42", "12 spread", "0.5 spread"]),
        (r"$p < 0.05$, p $\leq$ .001, p-value < 0.01, $p = 0.25$", &["0.05 bound", ".001 bound", "0.01 bound", "0.25"]),
        (r"1,234.5 s and $1.5\times10^{-6}$ and 2.5e-3", &["1,234.5", r"1.5\times10^{-6}", "2.5e-3"]),
        (r"\newcommand{\best}{83.6} \caption[Short 1.5]{Long 2.5}", &["83.6", "1.5", "2.5"]),
        (r"\multirow{2}{*}{83.6} & \multicolumn{2}{c}{81.7} \\[2pt] 5.5", &["83.6", "81.7", "5.5"]),
        (r"\resizebox{0.9\linewidth}{!}{\begin{tabular}{@{}lr@{\hspace{0.5em}}}83.6\end{tabular}}", &["83.6"]),
        (
            r"\textcolor{gray!50.5}{83.6} \href{https://a.b/1.5}{84.5} see Table~\ref{t}, 83.6",
            &["83.6", "84.5", "83.6"],
        ),
        (r"\end{table}  83.6", &["83.6"]),
        // Number formats that authors use.
        (r"99,5\%, 99{,}5\%, 99·5\%, 0,512, 12,3 auf 13{,}4", &["99,5", "99{,}5", "99·5", "0,512", "12,3", "13{,}4"]),
        (
            r"1\,234.5, 29\,359, 1{,}234.5, 1'234.5, 1{\,}234{,}5 and 2024,25",
            &[r"1\,234.5", "1{,}234.5", "1'234.5", r"1{\,}234{,}5", "2024,25"],
        ),
        (r"\qty{83,6}{\percent}, 84 per cent, 84\textpercent, 84％, 3 pct", &["83,6", "84", "84", "84", "3"]),
        (
            r"\textminus{}0.4, {-}0.5, (–0.6), $83.6\textpm0.4$, 7.2–13.5",
            &[r"\textminus{}0.4 change", "{-}0.5 change", "–0.6 change", "83.6", "0.4 spread", "7.2", "13.5"],
        ),
        (r"\num{83.6(4)}, 81.72(13)", &["83.6", "4 spread", "81.72", "13 spread"]),
        (r"points (2,5) and [3,4], seeds 0,1,2, $x_{1,2}$", &[]),
        // Numbers that do not state a result.
        (r"batch 256 for 200 epochs on 29,359 pairs, ResNet-18, 20-NN, seeds 0 to 2", &[]),
        (
            r"\label{a1.5} \ref{b2.5} \Cref{c3.5} \citep[p.~2.1][4.5]{d5.5} \includegraphics[width=0.5\linewidth]{f1.5}",
            &[],
        ),
        (r"\vspace{-1.5em} \hspace*{.5ex} 2.5pt 0.8\linewidth 0.9 \textwidth \kern0.5em \rule{0.5pt}{1.5ex}", &[]),
        (
            r"\renewcommand{\arraystretch}{1.25} \def\baselinestretch{1.5} \setlength{\x}{1.5 cm} \fontsize{9.5}{11.5}",
            &[],
        ),
        (r"Section 3.2, Sections 4.1 and 4.2, Fig.~2.1, Table 5.3--5.5, §~6.1, \S~6.2, \S6.3", &[]),
        (r"PyTorch 2.1, CUDA 11.8, v1.2, version 0.3, 1.2.3, GPT-3.5, CIFAR-10.1, 2.5GB, mAP@0.5, $x_{0.5}$", &[]),
        (r"arXiv:2510.08722, 2510.08722, 10.1109/CVPR.2020.1", &[]),
        (r"95\% confidence interval, 95\,\% t interval, at the 5\% level, 90\% two-sided CI", &[]),
        ("% 83.6\n\\% 1.5 % 2.5\n\\\\% 3.5", &["1.5"]),
        (r"\verb|83.6| \verb*+1.5+ \lstinline[x=1.5]!2.5! \lstinline{4.5{1}6.5} 3.5", &["3.5"]),
        ("\\begin{verbatim}\n83.6 % \\end{verb}\n\\end{verbatim} 1.5", &["1.5"]),
        (r"\begin{tikzpicture}\draw (0.5,1.5);\end{tikzpicture}\begin{minipage}[t]{0.5\x}2.5\end{minipage}", &["2.5"]),
        (r"\iffalse 1.5 \fill 2.5 \fi 3.5 \end{document} 4.5", &["3.5"]),
        // Text that TeX would not accept.
        ("\\label{a 1.5\n\n2.5", &["2.5"]),
        ("}} {{ \\cite[ 1.5\n \n 2.5 $ \\", &["2.5"]),
        ("\\begin{verbatim} 1.5", &[]),
        ("\\verb", &[]),
        ("83.", &[]),
    ];
    for (snippet, expected) in cases {
        assert_eq!(found(snippet), *expected, "{snippet}");
    }
}

#[test]
fn values_and_places_are_read() {
    let text = "é 1,234.5\n  x $-$0.5 $1.5\\times10^{-6}$\n% sempair: ignore\n2.5\n3.5 % sempair: ignore, theirs\n4.5\n\
                % sempair: ignore begin\n5.5\n% sempair: ignore end\n6.5";
    let read = numbers(text).unwrap();
    let places: Vec<_> = read.iter().map(|n| (n.line, n.column, n.value, n.ignored)).collect();
    assert_eq!(
        places,
        [
            (1, 3, 1234.5, false),
            (2, 5, -0.5, false),
            (2, 13, 1.5e-6, false),
            (4, 1, 2.5, true),
            (5, 1, 3.5, true),
            (6, 1, 4.5, false),
            (8, 1, 5.5, true),
            (10, 1, 6.5, false)
        ]
    );
    let values = |text: &str| numbers(text).unwrap().iter().map(|number| number.value).collect::<Vec<f64>>();
    assert_eq!(values(r"99,5 99{,}5 99·5 1\,234{,}5 1'234.5 0,512"), [99.5, 99.5, 99.5, 1234.5, 1234.5, 0.512]);
    assert_eq!(
        values(r"83.6(4) 81.72(13)").iter().map(|x| (x * 1e6).round() / 1e6).collect::<Vec<_>>(),
        [83.6, 0.4, 81.72, 0.13]
    );
    assert!((read[2].step - 1e-7).abs() < 1e-20 && (read[0].step - 0.1).abs() < 1e-12);
}

#[test]
fn large_hostile_texts_are_read_in_one_pass() {
    // A search that starts again at each of these pieces would not end before the test is stopped.
    for piece in
        ["\\label{", "\\cite[", "\\begin{verbatim", "\\begin{tabular}{", "% x", "{", "\\", "a ", "1,111", "$~", "\\S "]
    {
        let text = piece.repeat((4 << 20) / piece.len());
        assert!(numbers(&text).unwrap().is_empty(), "{piece}");
    }
    let error = numbers(&"0.5 ".repeat(100_001)).unwrap_err();
    assert_eq!(error.what(), "holds more than 100000 numbers");
}

proptest! {
    /// No text causes a panic, and each number is at its reported place.
    #[test]
    fn numbers_stand_where_they_are_said_to(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "8", "3.6", ".", ",", "{,}", "·", "(4)", "'", "\\textminus", "–", "-", "+", "$", "%", "\\%", "\\", "{", "}", "[", "]", "\n", " ", "~", "_", "e", "±", "é", "−",
                "\\pm", "\\cite", "\\begin{tabular}", "\\verb", "\\times10^", "% sempair: ignore", "\\input", "p<", "Table",
            ]),
            0..40,
        )
    ) {
        let text = pieces.concat();
        for number in numbers(&text).unwrap() {
            let line = text.split('\n').nth(number.line - 1).unwrap();
            let rest: String = line.chars().skip(number.column - 1).collect();
            let first = number.text.split(' ').next().unwrap();
            prop_assert!(rest.starts_with(first.trim_end_matches('…')), "{:?} in {:?}", number, text);
            prop_assert!(number.value.is_finite());
        }
    }
}

/// A folder with a ledger: SimCLR on synth-10 with three seeds, and runs of an older version of the program.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        let cells = [
            ("old", "SP", [50.6, 50.7, 50.95]),
            ("old", "AP", [48.0, 48.2, 48.1]),
            ("new", "AP", [49.0, 49.2, 50.3]),
            ("new", "SP", [51.0, 51.3, 51.9]),
        ];
        for (at, (code, pairs, values)) in cells.into_iter().enumerate() {
            for (seed, top1) in values.into_iter().enumerate() {
                let id = format!("0193{at}{seed}-{code}-{pairs}{seed}run00");
                place.record(&id, code, pairs, seed, top1);
            }
        }
        place
    }

    fn record(&self, id: &str, code: &str, pairs: &str, seed: usize, top1: f64) {
        let record = json!({
            "schema": "sempair.run/1", "id": id, "experiment": "transfer", "key": id, "status": "completed",
            "profile": "quick", "row": [["method", "SimCLR"], ["pairs", pairs]], "column": "synth-10", "seed": seed,
            "started": if code == "old" { "2026-11-23T10:00:00Z" } else { "2026-11-24T10:00:00Z" },
            "ended": "2026-11-24T11:00:00Z", "metrics": {"top1": top1, "knn": top1 - 20.0},
            "settings": [{"key": "simclr.temperature", "value": if code == "old" { 0.5 } else { 0.2 }, "origin": "defaults"}],
            "build": {"code": code},
        });
        self.write(&format!("reports/ledger/{id}.json"), sealed(record));
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "these tests are about the program")]
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sempair"));
        command.args(arguments).args(SETTINGS).current_dir(self.0.path()).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Exit code and standard output of `lint`.
    fn lint(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(&[&["lint"], arguments].concat());
        let (out, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(errors, "", "{arguments:?}");
        (output.status.code().unwrap(), out)
    }

    /// Exit code and standard output of `lint` on a manuscript with this text.
    fn words(&self, words: &str) -> (i32, String) {
        self.write("paper.tex", words);
        self.lint(&["paper.tex"])
    }

    fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

const PAPER: &str = r"\documentclass[11pt]{article}
\begin{document}
% 99.9 of a draft
SP reaches $51.4 \pm 1.1$\%, AP 49.5\%: a gain of $+1.9$ points (95\% interval 1.2 to 2.6, $p < 0.05$).
The paper has 83.60, and not 83.7, at temperature 0.2; its gain is 1.84 points.
It was $50.8 \pm 0.4$ once, 50.75 exactly, at temperature 0.5, and one run gave 48.2.
The spread is not $51.4 \pm 1.7$; 70.0 is nothing. % sempair: ignore
The spread is not $51.4 \pm 1.7$; 49.9\% is nothing, a gain of $-1.9$ neither.
\input{sections/more}
\input{sections/none}
\end{document}
";

#[test]
fn each_number_is_found_or_said() {
    let place = Place::new();
    place.write("sections/more.tex", "51.3 is a seed.\n\\input{paper}\n\\input{sections/more.tex} 12.34");
    let (code, said) = place.words(PAPER);
    assert_eq!(code, 1);
    insta::assert_snapshot!(said, @r"
    paper.tex:5:30: 83.7 matches no recorded figure; nearest 83.60 (transfer, SimCLR (SP) on cifar-10, linear, the paper's)
    paper.tex:6:9: stale: 50.8 is from runs SP0run00, SP1run00, SP2run00 (transfer, SimCLR (SP) on synth-10, linear, mean); the report now has 51.4
    paper.tex:6:18: stale: 0.4 is from runs SP0run00, SP1run00, SP2run00 (transfer, SimCLR (SP) on synth-10, linear, half-width of the 95 % CI); the report now has 1.1
    paper.tex:6:29: stale: 50.75 is from runs SP0run00, SP1run00, SP2run00 (transfer, SimCLR (SP) on synth-10, linear, mean); the report now has 51.40
    paper.tex:6:59: stale: 0.5 is from older runs (transfer's settings, simclr.temperature); the report now has 0.2
    paper.tex:6:81: stale: 48.2 is from run AP1run00 (transfer, SimCLR (AP) on synth-10, linear, seed 1); the report now has 49.2
    paper.tex:8:29: 1.7 is not the spread of 51.4; nearest 1.14 (transfer, SimCLR (SP) on synth-10, linear, half-width of the 95 % CI)
    paper.tex:8:35: 49.9 matches no recorded figure; nearest 50.26 (transfer, SimCLR (SP) on synth-10, linear, lower end of the 95 % CI)
    paper.tex:8:65: -1.9 matches no recorded figure; nearest +1.90 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, linear, difference)
    paper.tex:10:1: there is no file sections/none, which is included here
    sections/more.tex:3:27: 12.34 matches no recorded figure; nearest 3.830 (transfer, SimCLR (SP) minus SimCLR (AP) on STL-10, linear, the paper's difference)
    25 numbers: 12 match, 5 stale, 5 unmatched, 3 ignored
    ");
    let (code, said) = place.lint(&["paper.tex", "--all"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(said.lines().take(11).collect::<Vec<_>>().join("\n"), @r"
    paper.tex:4:13: 51.4 matches 51.40 (transfer, SimCLR (SP) on synth-10, linear, mean)
    paper.tex:4:22: 1.1 matches 1.14 (transfer, SimCLR (SP) on synth-10, linear, half-width of the 95 % CI)
    paper.tex:4:33: 49.5 matches 49.50 (transfer, SimCLR (AP) on synth-10, linear, mean)
    paper.tex:4:52: +1.9 matches +1.90 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, linear, difference), +1.90 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, k-NN, difference)
    paper.tex:4:80: 1.2 matches 1.24 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, linear, lower end of the 95 % CI), 1.24 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, k-NN, lower end of the 95 % CI)
    paper.tex:4:87: 2.6 matches 2.56 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, linear, upper end of the 95 % CI), 2.56 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, k-NN, upper end of the 95 % CI)
    paper.tex:4:97: 0.05 bounds 0.006 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, linear, p of the t test), 0.006 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, linear, p after Holm)
    paper.tex:5:15: 83.60 matches 83.600 (transfer, SimCLR (SP) on cifar-10, linear, the paper's)
    paper.tex:5:30: 83.7 matches no recorded figure; nearest 83.60 (transfer, SimCLR (SP) on cifar-10, linear, the paper's)
    paper.tex:5:51: 0.2 matches 0.20 (transfer's settings, simclr.temperature)
    paper.tex:5:68: 1.84 matches 1.840 (transfer, SimCLR (SP) minus SimCLR (AP) on synth-10, linear, the paper's difference)
    ");
}

#[test]
fn clean_manuscripts_end_with_0_and_json_has_the_facts() {
    let place = Place::new();
    let (code, said) = place.words("SP: 51.4, 83.6. % sempair: ignore\nAP: 49.5, 49, $-$0.5 % sempair: ignore");
    assert_eq!((code, said.as_str()), (0, "4 numbers: 0 match, 0 stale, 0 unmatched, 4 ignored\n"));
    // A gain that the paper states, in a note of the table.
    let (code, said) = place.words("The paper states +0.8 points, a gain of 0.8.");
    assert_eq!((code, said.as_str()), (0, "2 numbers: 2 match, 0 stale, 0 unmatched, 0 ignored\n"));
    let (code, said) = place.words("SP has 51.40, before 50.75.");
    assert_eq!(code, 1, "{said}");
    let (code, said) = place.lint(&["paper.tex", "--json"]);
    let facts: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, 1);
    let now = &facts["numbers"][0];
    assert_eq!(
        (&now["finding"], &now["text"], &now["file"], &now["column"]),
        (&json!("match"), &json!("51.40"), &json!("paper.tex"), &json!(8))
    );
    assert_eq!(now["figures"][0]["runs"].as_array().unwrap().len(), 3);
    let before = &facts["numbers"][1];
    assert_eq!((&before["finding"], &before["figure"]["value"]), (&json!("stale"), &json!(50.75)));
    assert!((before["now"].as_f64().unwrap() - 51.4).abs() < 1e-9, "{before}");
}

#[test]
fn a_run_that_a_newer_one_supersedes_is_stale() {
    let place = Place::new();
    place.record("01935-again-SP0run01", "new", "SP", 0, 51.06);
    let (_, said) = place.words("A seed has 51.00.");
    insta::assert_snapshot!(said, @r"
    paper.tex:1:12: stale: 51.00 is from run SP0run00 (transfer, SimCLR (SP) on synth-10, linear, seed 0); the report now has 51.06
    1 numbers: 0 match, 1 stale, 0 unmatched, 0 ignored
    ");
}

#[test]
fn settings_that_there_are_no_more_are_named_and_no_error() {
    let place = Place::new();
    for entry in fs::read_dir(place.0.path().join("reports/ledger")).unwrap() {
        let file = entry.unwrap().path();
        let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let gone = json!({"key": "model.encoder", "value": "resnet19", "origin": "--set"});
        record["settings"].as_array_mut().unwrap().push(gone);
        fs::write(&file, sealed(record)).unwrap();
    }
    assert_eq!(place.run(&["report"]).status.code(), Some(0));
    let report = fs::read_to_string(place.0.path().join("reports/quick/report.md")).unwrap();
    assert!(report.contains("This version does not accept the settings") && report.contains("resnet19"), "{report}");
}

#[test]
fn a_table_of_the_report_is_compared_as_a_whole() {
    let place = Place::new();
    assert_eq!(place.run(&["report"]).status.code(), Some(0));
    let table = fs::read_to_string(place.0.path().join("reports/quick/tables/transfer.tex")).unwrap();
    place.write("paper/transfer.tex", &table);
    place.write("paper/main.tex", "51.4\n\\input{transfer}");
    let (code, said) = place.lint(&["paper/main.tex"]);
    let clean = "1 numbers: 1 match, 0 stale, 0 unmatched, 0 ignored; 1 of 1 tables up to date\n";
    assert_eq!((code, said.as_str()), (0, clean));

    // Without its first line it is checked like any other text, and all numbers that a report writes match.
    place.write("paper/main.tex", table.split_once('\n').unwrap().1);
    let (code, said) = place.lint(&["paper/main.tex"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("15 numbers: 15 match, "), "{said}");
    place.write("paper/main.tex", "51.4\n\\input{transfer}");

    // A report of the same runs on another system, with other line ends.
    let (head, body) = table.split_once('\n').unwrap();
    assert!(head.starts_with("% Table transfer of sempair, profile quick, "), "{head}");
    place.write("paper/transfer.tex", format!("{head}\r\n{}", body.replace('\n', "\r\n")));
    assert_eq!(place.lint(&["paper/main.tex"]), (0, clean.to_owned()));

    assert!(body.contains("51.4"), "{body}");
    place.write("paper/transfer.tex", table.replace("51.4", "51.5"));
    let line = 1 + table.lines().position(|line| line.contains("51.4")).unwrap();
    let stale = "stale: table transfer differs from here on; `sempair report --profile quick` rewrites it";
    let (code, said) = place.lint(&["paper/main.tex"]);
    assert_eq!(code, 1);
    assert_eq!(
        said,
        format!(
            "paper/transfer.tex:{line}:1: {stale}\n1 numbers: 1 match, 0 stale, 0 unmatched, 0 ignored; 0 of 1 tables \
             up to date\n"
        )
    );
    place.write("paper/main.tex", "51.4\n\\input{transfer} % sempair: ignore");
    let (code, said) = place.lint(&["paper/main.tex"]);
    assert_eq!(code, 0, "{said}");

    place.write("paper/main.tex", "\\input{transfer}");
    place.write("paper/transfer.tex", table.replace("profile quick", "profile standard"));
    let (code, said) = place.lint(&["paper/main.tex"]);
    let unknown =
        "paper/transfer.tex:1:1: table transfer of the profile standard is not in the report of the profile quick\n";
    assert!(code == 1 && said.starts_with(unknown), "{said}");
}

#[test]
fn what_is_no_manuscript_is_an_error() {
    let place = Place::new();
    let missing = place.error(&["lint", "none.tex"]);
    assert!(missing.starts_with("error: cannot read none.tex: ") && missing.contains("hint: "), "{missing}");
    assert_eq!(
        place.error(&["lint", "reports"]),
        "error: reports is a folder\n\nhint: give the main file of a manuscript, as in `sempair lint paper.tex`\n"
    );
    place.write("paper.pdf", b"%PDF\0");
    assert!(place.error(&["lint", "paper.pdf"]).starts_with("error: paper.pdf is not a text file: byte 4 is 0\n"));
    place.write("data.tex", "0.5 ".repeat(100_001));
    assert!(place.error(&["lint", "data.tex"]).starts_with("error: data.tex: holds more than 100000 numbers\n"));
    let large = fs::File::create(place.0.path().join("large.tex")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let said = place.error(&["lint", "large.tex"]);
    assert!(said.starts_with("error: large.tex has 67108865 bytes; a manuscript has at most 67108864\n"), "{said}");
    let unknown = place.error(&["lint", "paper.pdf", "--profile", "paper"]);
    assert!(unknown.contains("has no completed run of the profile `paper`"), "{unknown}");
}

#[test]
fn hostile_text_and_open_regions_are_said_where_they_stand() {
    let place = Place::new();
    // Latin-1, unbalanced braces, a folder, and a file that is not text.
    place.write(
        "paper.tex",
        b"caf\xe9 51.4 }{ \\input{reports} \\input{binary}\n% sempair: ignore begin\n70.7 \\input{\\x}",
    );
    place.write("binary.tex", b"\0");
    let (code, said) = place.lint(&["paper.tex"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(said, @r"
    paper.tex:1:14: there is no file reports, which is included here
    paper.tex:1:30: binary.tex is not a text file: byte 0 is 0
    paper.tex:2:1: `% sempair: ignore begin` has no `% sempair: ignore end`
    paper.tex:3:6: there is no file \x, which is included here
    2 numbers: 1 match, 0 stale, 0 unmatched, 1 ignored
    ");
    let many: String = (0..1001).map(|i| format!("\\input{{f{i}}}")).collect();
    place.write("paper.tex", many);
    let said = place.error(&["lint", "paper.tex"]);
    assert!(said.starts_with("error: paper.tex includes more than 1000 files\n"), "{said}");
}

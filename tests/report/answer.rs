//! The opening of a report: its words depend on the results, the data and the setting.

use super::*;

/// The main table with a claim for each column, and runs in which semantic pairs gain `gains` points in the columns.
/// The seeds differ by `noise`.
struct Case {
    gains: [f64; 3],
    noise: f64,
    seeds: u64,
    change: fn(&mut Table),
}

impl Default for Case {
    fn default() -> Self {
        Self { gains: [3.0, 5.0, 7.0], noise: 0.1, seeds: 3, change: |_| () }
    }
}

impl Case {
    fn table(&self) -> Table {
        let mut table = table();
        let claim = |(column, _): &(&str, &str)| {
            let mut claim = table.claims[0].clone();
            (claim.column, claim.expected) = (column.to_string(), Expected::AtLeast(0.0));
            claim
        };
        table.claims = COLUMNS.iter().map(claim).collect();
        (self.change)(&mut table);
        table
    }

    fn records(&self) -> Vec<Record> {
        let mut all = records();
        all.retain(|record| record.seed < self.seeds);
        for record in &mut all {
            let column = COLUMNS.iter().position(|(id, _)| *id == record.column).unwrap();
            let noise = self.noise * (record.seed as f64 - 1.0);
            let top1 = match record.row[0].1.as_str() {
                "SimCLR" if record.row[1].1 == "SP" => 50.0 + self.gains[column] + noise,
                "SimCLR" => 50.0,
                _ => continue,
            };
            record.metrics.insert("top1".into(), top1);
        }
        all
    }

    fn rendered(&self) -> (BTreeMap<String, String>, String) {
        let all = self.records();
        rendered(self.table(), all.clone(), &all)
    }

    /// The sentence of the answer in Markdown. Asserts that the page and the terminal have the same sentence.
    fn answer(&self) -> String {
        let (files, said) = self.rendered();
        let answer = part(&files["report.md"], "## The answer", "\n\nThe paper").to_string();
        let answer = answer.trim_start_matches("## The answer").trim().replace("**", "");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&answer), "{said} has not {answer}");
        let page = files["report.html"].replace("<strong>", "").replace("</strong>", "");
        assert!(page.contains(&format!("<p class=\"say\">{answer}</p>")), "{answer}");
        answer
    }
}

/// Turns the columns into the paper's own sets.
fn own(table: &mut Table) {
    table.columns.iter_mut().for_each(|column| column.substitute = false);
}

#[test]
fn the_answer_has_effect_sizes_and_words_by_what_came_out() {
    let answer = |gains: [f64; 3], noise: f64| Case { gains, noise, ..Case::default() }.answer();
    assert_eq!(
        answer([3.0, 5.0, 7.0], 0.1),
        "On stand-in images, yes: semantic pairs were ahead in all 3 comparisons, by 3.0 to 7.0 points."
    );
    assert_eq!(
        answer([-3.0, -5.0, -7.0], 0.1),
        "On stand-in images, no: augmented pairs were ahead in all 3 comparisons, by 3.0 to 7.0 points."
    );
    assert_eq!(
        answer([-3.0, 5.0, 7.0], 0.1),
        "On stand-in images, mixed: semantic pairs were ahead in 2 and behind in 1 of 3 comparisons, by 3.0 to 7.0 points."
    );
    assert_eq!(
        answer([0.1, 5.0, 7.0], 0.1),
        "On stand-in images, mostly: semantic pairs were ahead in 2 of 3 comparisons, by 5.0 to 7.0 points, and behind in \
         none; 1 is open."
    );
    assert_eq!(
        answer([0.1, 0.1, 7.0], 0.1),
        "On stand-in images, partly: semantic pairs were ahead in 1 of 3 comparisons, by 7.0 points, and behind in none; 2 \
         are open."
    );
    assert_eq!(
        answer([0.1, 0.1, -7.0], 0.1),
        "On stand-in images, rather no: semantic pairs were behind in 1 of 3 comparisons, by 7.0 points, and ahead in none; \
         2 are open."
    );
    assert_eq!(
        answer([1.0, -1.0, 2.0], 9.0),
        "On stand-in images, open: every interval contains 0; gains from −1.0 to +2.0 points."
    );
}

#[test]
fn one_seed_decides_nothing() {
    let case = Case { seeds: 1, noise: 0.0, ..Case::default() };
    assert_eq!(case.answer(), "On stand-in images, open: one seed decides nothing; gains from +3.0 to +7.0 points.");
    let (files, said) = case.rendered();
    assert!(said.contains("? +3.0"), "{said}");
    assert!(!files["report.html"].contains("<td class=\"v yes\">"), "nothing is decided");
}

#[test]
fn photographs_and_stand_ins_have_a_sentence_each() {
    let change = |table: &mut Table| table.columns[0].substitute = false;
    let case = Case { gains: [-3.0, 5.0, 7.0], change, ..Case::default() };
    assert_eq!(
        case.answer(),
        "On photographs, no: augmented pairs were ahead in the one comparison, by 3.0 points. On stand-in images, yes: \
         semantic pairs were ahead in all 2 comparisons, by 5.0 to 7.0 points."
    );
    let page = &case.rendered().0["report.html"];
    assert!(page.contains(">Photographs</th>") && page.contains(">Stand-in images †</th>"), "kinds above the matrix");
    // Our figures may be compared with the paper's only on the paper's own set.
    assert_eq!(page.matches("ours − paper").count(), 1);
}

#[test]
fn reproduced_is_said_in_the_papers_own_setting_alone() {
    let case = Case { gains: [3.0, -5.0, 0.1], change: own, ..Case::default() };
    let report = &case.rendered().0["report.md"];
    for word in ["✓ reproduced", "✗ not reproduced", "? open", "The setting is the paper's"] {
        assert!(report.contains(word), "{word}: {report}");
    }
    assert!(!report.contains("as claimed |"), "{report}");
    let far = |table: &mut Table| {
        own(table);
        let fact = json!({"what": "Epochs", "paper": "200 to 800", "here": "40", "same": false, "brief": "40 epochs, not 200 to 800"});
        table.distance = vec![serde_json::from_value(fact).unwrap()];
    };
    let report = Case { gains: [3.0, -5.0, 0.1], change: far, ..Case::default() }.rendered().0["report.md"].clone();
    for word in ["✓ as claimed", "✗ opposite", "This is not the paper's setting: 40 epochs, not 200 to 800. Interpret"]
    {
        assert!(report.contains(word), "{word}: {report}");
    }
    assert!(!report.contains("reproduced |") && report.contains("| Epochs | 200 to 800 | 40 |"), "{report}");
}

#[test]
fn what_was_left_out_keeps_the_papers_figures() {
    let change = |table: &mut Table| {
        table.unasked = vec!["synth-stl".into()];
        let vicreg = |pairs: &str| row(&[("method", "VICReg"), ("pairs", pairs)]);
        let mut claim = table.claims[0].clone();
        (claim.plus, claim.minus, claim.case) = (vec![vicreg("SP")], vec![vicreg("AP")], "VICReg".into());
        claim.stated = serde_json::from_value(json!("sign")).unwrap();
        table.claims.push(claim);
    };
    let case = Case { change, ..Case::default() };
    let mut all = case.records();
    all.retain(|record| record.column != "synth-stl");
    let (files, _) = rendered(case.table(), all.clone(), &all);
    let table = part(&files["report.md"], "| Method | Pairs |", "\n\n");
    assert!(table.contains("paper: synth-stl, not run here |"), "{table}");
    assert!(table.contains("| VICReg | SP − AP | not run | *&gt; 0* |"), "{table}");
    assert!(table.contains("| *81.76* |") && table.contains("| *85.59* |"), "{table}");
    assert!(files["report.md"].contains("| VICReg | not run *paper &gt; 0* |"), "the matrix: {}", files["report.md"]);
    let facts: Value = serde_json::from_str(&files["results.json"]).unwrap();
    let of = |claim: usize| {
        (facts["tables"][0]["claims"][claim]["verdict"].clone(), facts["tables"][0]["claims"][claim]["asked"].clone())
    };
    assert_eq!(
        [of(0), of(2), of(3)],
        [("reproduced", true), ("not run", false), ("not run", false)].map(|(v, a)| (json!(v), json!(a)))
    );
    assert_eq!(facts["tables"][0]["missing"], json!([]), "these were not asked for");
}

#[test]
fn tables_that_were_not_run_have_the_papers_figures_and_their_command() {
    let all = records();
    let mut input = input(table(), all.clone(), &all);
    input.not_run = vec![Table { id: "epochs".into(), title: "For longer".into(), ..Case::default().table() }];
    let dir = tempfile::tempdir().unwrap();
    render(&input, dir.path()).unwrap();
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    let cards = part(&page, "<div id=\"not-run\"", "</section>");
    for words in ["2 <bdi>For longer</bdi>", "not run", "81.76", "59.58", "sempair table epochs --profile quick"] {
        assert!(cards.contains(words), "{words}: {cards}");
    }
}

#[test]
fn without_claims_or_runs_a_report_says_so() {
    let none = Case { change: |table| table.claims.clear(), ..Case::default() };
    let (files, said) = none.rendered();
    assert!(
        files["report.md"].contains("**Not tested:** this report has transfer, and no run"),
        "{}",
        files["report.md"]
    );
    assert!(!files["report.html"].contains("id=\"claims\"") && !files["report.html"].contains("class=\"matrix"));
    assert!(said.starts_with("transfer, profile quick. Stand-in images"), "{said}");
}

#[test]
fn sentences_say_who_is_ahead_by_how_much_and_how_sure() {
    let report = Case { gains: [3.0, -5.0, 0.4], noise: 0.3, ..Case::default() }.rendered().0["report.md"].clone();
    for sentence in [
        "- As claimed: SimCLR gains 3.0 points \\[+2.3, +3.7\\] on synth-10, also after Holm correction for the table's 3 comparisons (p",
        "- Opposite: SimCLR loses 5.0 points \\[−5.7, −4.3\\] with semantic pairs on synth-100",
        "- Open: SimCLR gains 0.4 points \\[−0.3, +1.1\\] on synth-stl; about 5 seeds would decide. Paper: +0.8.",
    ] {
        assert!(report.contains(sentence), "{sentence}: {report}");
    }
    // A small gain with large noise stays open, and the sentence says that even 200 seeds would not be enough.
    let flat = Case { gains: [0.01, 3.0, 3.0], noise: 9.0, ..Case::default() }.rendered().0["report.md"].clone();
    assert!(flat.contains("; not even 200 seeds would decide."), "{flat}");
}

#[test]
fn means_over_sets_are_no_claims() {
    let case = Case { gains: [2.0, 4.0, 6.0], ..Case::default() };
    let all = case.records();
    let facts = serde_json::to_value(results(&input(case.table(), all.clone(), &all))).unwrap();
    let pooled = &facts["tables"][0]["pooled"];
    assert_eq!((&pooled[0]["columns"].as_array().unwrap().len(), &pooled[0]["metric"]), (&3, &json!("top1")));
    assert!((pooled[0]["difference"].as_f64().unwrap() - 4.0).abs() < 1e-9, "{pooled}");
    assert_eq!(pooled[1]["metric"], "knn");
    assert!(case.rendered().0["report.html"].contains("mean of the three<small>not a claim</small>"));
}

#[test]
fn rows_of_ordered_steps_are_drawn_as_lines() {
    let mut steps = table();
    let step = |pairs: &str, epochs: &str| row(&[("method", "SimCLR"), ("pairs", pairs), ("epochs", epochs)]);
    steps.rows = vec![step("AP", "6 epochs"), step("SP", "6 epochs"), step("AP", "24 epochs"), step("SP", "24 epochs")];
    steps.claims.clear();
    let axis = json!({"label": "epochs", "title": "epochs", "scale": "log", "steps": [{"label": "6 epochs", "at": 6.0}, {"label": "24 epochs", "at": 24.0}]});
    steps.axis = Some(serde_json::from_value(axis).unwrap());
    let mut all = Vec::new();
    for (of, top1) in steps.rows.iter().zip([40.0, 41.0, 50.0, 53.0]) {
        for seed in 0..3 {
            let mut run = record(of, "synth-10", seed);
            run.id = format!("{top1}-{seed}");
            run.metrics.insert("top1".into(), top1 + seed as f64);
            all.push(run);
        }
    }
    let (files, _) = rendered(steps, all.clone(), &all);
    let svg = &files["figures/transfer.svg"];
    assert_eq!((svg.matches("class=\"ln ap\"").count(), svg.matches("class=\"ln sp\"").count()), (1, 1));
    assert!(
        svg.contains("AP: 6 epochs 41.0 ± 2.5, 24 epochs 51.0 ± 2.5. SP: 6 epochs 42.0 ± 2.5, 24 epochs 54.0 ± 2.5."),
        "{svg}"
    );
    assert!(files["report.md"].contains("| 6 epochs | AP | 41.0 ± 2.5 |"), "{}", files["report.md"]);
}

#[test]
fn a_table_says_first_which_rows_learned_too_little() {
    // The untrained encoder of these runs has 48.0, 39.9 and 31.8; raw pixels are lower.
    let first_words = |gains: [f64; 3], seeds: u64| {
        let (files, _) = Case { gains, seeds, ..Case::default() }.rendered();
        let table = part(&files["report.md"], "## Table 1.", "Top-1 accuracy").to_string();
        table.split_once(".**").map(|(_, said)| said.trim().to_string()).unwrap()
    };
    assert_eq!(first_words([3.0, 5.0, 7.0], 3), "");
    assert_eq!(
        first_words([-5.0, -5.0, -5.0], 3),
        "Mean below an untrained encoder: SimCLR (SP) on synth-10. These rows learned too little in this training time."
    );
}

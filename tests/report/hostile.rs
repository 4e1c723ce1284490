//! Names that could act as markup, code or a new line stay text in every format.

use sempair::harness::record::Setting;
use serde_json::{Value, json};

use super::{HOSTILE, part, record, records, rendered, row, table};

/// The fields of each line (RFC 4180), without the quotes around them.
fn csv_lines(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut field, mut quoted) = (vec![vec![]], String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => lines.last_mut().unwrap().push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                lines.last_mut().unwrap().push(std::mem::take(&mut field));
                lines.push(vec![]);
            }
            c => field.push(c),
        }
    }
    lines
}

#[test]
fn hostile_names_stay_text_in_every_format() {
    let mut table = table();
    let long = format!("{HOSTILE}{}", "x".repeat(300));
    let evil = row(&[("method", &long), ("</style>", HOSTILE)]);
    table.rows.push(evil.clone());
    let claim = &mut table.claims[0];
    for text in [
        &mut table.title,
        &mut table.caption,
        &mut table.setting,
        &mut table.varies,
        &mut table.notes[0].text,
        &mut claim.text,
        &mut claim.case,
        &mut claim.family.title,
        &mut claim.family.paper,
    ] {
        *text = HOSTILE.to_string();
    }
    let fact = json!({"what": HOSTILE, "paper": HOSTILE, "here": HOSTILE, "same": false, "brief": HOSTILE});
    table.distance = vec![serde_json::from_value(fact).unwrap()];
    table.columns[0].title = HOSTILE.to_string();
    table.metrics[0].title = HOSTILE.to_string();
    table.id = "../<b>".to_string();
    let mut all = records();
    let curves = all[0].curves.clone();
    for seed in 0..3 {
        let mut run = record(&evil, "synth-10", seed);
        run.curves = curves.clone();
        (run.id, run.data[0].name, run.data[0].description) =
            (format!("{HOSTILE}{seed}"), HOSTILE.into(), HOSTILE.into());
        run.settings = run.settings.iter().map(|set| Setting { origin: HOSTILE.to_string(), ..set.clone() }).collect();
        (run.host.cpu, run.curves[0].name, run.curves[0].y_title) = (HOSTILE.into(), HOSTILE.into(), HOSTILE.into());
        all.push(run);
    }
    let (files, _) = rendered(table, all.clone(), &all);
    for (name, text) in &files {
        assert!(!name.contains(".."), "{name} leaves the folder");
        if let Some(lines) = name.ends_with(".csv").then(|| csv_lines(text)) {
            let lines: Vec<_> = lines.into_iter().filter(|line| line.contains(&long)).collect();
            assert!(!lines.is_empty() && lines.iter().all(|line| line.len() == 13), "{name}: {lines:?}");
            assert!(lines.iter().all(|line| line[12].starts_with(HOSTILE)), "{name}: {lines:?}");
            continue;
        }
        assert!(!text.contains('\0'), "{name} holds a control character");
        if name.ends_with(".json") {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(
                (&value["tables"][0]["title"], &value["tables"][0]["columns"][0]["title"]),
                (&json!(HOSTILE), &json!(HOSTILE))
            );
            continue;
        }
        // The page has one script, its own.
        assert_eq!(text.matches("<script").count(), usize::from(name == "report.html"), "{name} holds an active tag");
    }
    let tex = files.iter().find(|(name, _)| name.starts_with("tables") && name.ends_with(".tex")).unwrap().1;
    assert!(tex.contains(r"|*\_\&\%\$\#\textbackslash{}\{\}".trim_start_matches('|')), "{tex}");
    let table_lines = part(&files["report.md"], "| Method | Pairs", "\n\n").lines();
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let counts: Vec<usize> = table_lines.map(bars).collect();
    assert!(counts.windows(2).all(|w| w[0] == w[1]), "a cell broke the Markdown table: {counts:?}");
    for svg in files.iter().filter(|(name, _)| name.ends_with(".svg")) {
        assert_eq!(svg.1.matches("<svg").count(), svg.1.matches("</svg>").count());
    }
}

//! The LaTeX of a report, set by pdfLaTeX if it is installed.

use super::*;
use std::process::Command;

/// The log of pdfLaTeX on `main.tex` of the files; `None` if the program is not installed.
#[expect(clippy::disallowed_methods, reason = "pdfLaTeX is another program")]
fn set(files: &BTreeMap<String, String>) -> Option<String> {
    if Command::new("pdflatex").arg("--version").output().is_err() {
        println!("skipped: pdflatex is not installed");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    ["tables", "figures"].iter().for_each(|folder| std::fs::create_dir(dir.path().join(folder)).unwrap());
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".tex")) {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let arguments = ["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"];
    let output = Command::new("pdflatex").args(arguments).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    Some(said)
}

/// How far each overfull box exceeds its line, in points.
fn overfull(log: &str) -> Vec<f64> {
    let widths = log.split("Overfull \\hbox (").skip(1).filter_map(|rest| rest.split("pt").next()?.parse().ok());
    widths.collect()
}

#[test]
fn the_whole_report_is_set_by_pdflatex() {
    let Some(log) = set(&sample().0) else { return };
    assert!(overfull(&log).iter().all(|points| *points < 20.0), "{log}");
    assert!(!log.contains("Missing character"), "{log}");
}

#[test]
fn pdflatex_sets_hostile_names_too() {
    let mut all = records();
    let mut table = table();
    let evil = row(&[("method", &format!("[*{HOSTILE}{}", "x".repeat(300))), ("pairs", "*\\item[")]);
    table.rows.push(evil.clone());
    // Every letter that the fonts should have, and a few that they lack.
    let letters: String = (0xa0..0x180).filter_map(char::from_u32).chain("ΑβЖ中あ✓✗×≤≥→µ°·†‡…–—“”‘’".chars()).collect();
    let spaced: Vec<String> = letters.chars().map(String::from).collect();
    (table.title, table.caption, table.varies) =
        (HOSTILE.into(), format!("{HOSTILE} {}", spaced.join(" ")), HOSTILE.into());
    table.notes = vec![format!("[{HOSTILE}").into(), "* ?` !` -- ---".into()];
    table.claims[0].text = format!("[{HOSTILE}");
    all.extend((0..3).map(|seed| record(&evil, "synth-10", seed)));
    let mut failed = record(&evil, "synth-stl", 1);
    failed.status = serde_json::from_value(json!("failed")).unwrap();
    failed.error = Some(HOSTILE.to_string());
    all.push(failed);
    let Some(log) = set(&rendered(table, all.clone(), &all).0) else { return };
    assert!(!log.contains("Missing character"), "{log}");
}

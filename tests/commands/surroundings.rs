//! The environment of a command: streams that cannot be written, signals that were ignored when it started,
//! repositories that cannot be read.

use super::*;
use crate::sealed::resealed;

/// A pretraining that takes a second.
const PRETRAIN: &[&str] = &[
    "pretrain",
    "--epochs",
    "1",
    "--set",
    "pairs.categories=4",
    "--set",
    "pairs.per_category=4",
    "--set",
    "pretrain.batch=8",
];

/// A stream that accepts no bytes, like a full disk.
fn full() -> Stdio {
    fs::File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader is closed.
fn abandoned() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn records(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path().join("reports/ledger")).unwrap();
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect()
}

#[test]
#[cfg(target_os = "linux")]
fn talk_that_cannot_be_written_stops_no_work() {
    for stderr in [full, abandoned] {
        let place = Place::new();
        let output = place.command(PRETRAIN).stderr(stderr()).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let record = fs::read_to_string(&records(&place)[0]).unwrap();
        assert!(record.contains("\"status\": \"completed\""), "{record}");
        assert_eq!(place.command(&["audit", "nope"]).stderr(stderr()).status().unwrap().code(), Some(2));
        assert_eq!(place.command(&["no-such-command"]).stderr(stderr()).status().unwrap().code(), Some(2));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn facts_that_cannot_be_written_are_an_error_and_a_reader_who_left_is_none() {
    let place = Place::new();
    place.stdout(&[PRETRAIN, &["--quiet"]].concat());
    let ends = |arguments: &[&str], stdout: Stdio| {
        let output = place.command(arguments).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let lost = "error: standard output cannot be written: No space left on device (os error 28)\n";
    for arguments in
        [&["config"][..], &["runs", "--json"], &["list"], &["--help"], &["table", "--help"], &["--version"]]
    {
        assert_eq!(ends(arguments, full()), (Some(2), lost.into()), "{arguments:?}");
        assert_eq!(ends(arguments, abandoned()), (Some(0), String::new()), "{arguments:?}");
    }
    // The work is still done and recorded, and the exit code says that its output was lost.
    let again = [PRETRAIN, &["--seed", "1", "--quiet"]].concat();
    assert_eq!(ends(&again, full()), (Some(2), lost.into()));
    assert_eq!(records(&place).len(), 2);

    // A finding and an error keep their exit codes.
    fs::write(place.path().join("p.tex"), "\\documentclass{article}\\begin{document}99.5\\%\\end{document}\n").unwrap();
    let lint = ["lint", "p.tex"];
    let found = place.run(&lint).status.code();
    assert_eq!([full, abandoned].map(|stdout| ends(&lint, stdout()).0), [found; 2]);
    assert_eq!([full, abandoned].map(|stdout| ends(&["show", "nope"], stdout()).0), [Some(2); 2]);
}

/// Starts a long pretraining through a shell, waits for its checkpoint and sends it a signal.
#[cfg(target_os = "linux")]
fn signalled(place: &Place, before: &str, signal: &str, epochs: &str) -> (Option<i32>, String) {
    let command = format!("{before} exec \"$@\"");
    let arguments = [PRETRAIN, &["--set", "checkpoint_seconds=0", "--epochs", epochs]].concat();
    // A second `--epochs` would be refused, so the first one is removed.
    let arguments: Vec<&str> =
        arguments.iter().enumerate().filter(|&(i, _)| i != 1 && i != 2).map(|(_, a)| *a).collect();
    let mut child = program("sh")
        .args(["-c", &command, "sh", env!("CARGO_BIN_EXE_sempair")])
        .args(arguments)
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(wait_for_checkpoint(&place.path().join(".sempair/cache/pretrain"), &mut child));
    assert!(program("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for (ignored, signal) in [("HUP", "-HUP"), ("INT", "-INT"), ("TERM", "-TERM")] {
        let place = Place::new();
        let (code, text) = signalled(&place, &format!("trap '' {ignored};"), signal, "60");
        assert_eq!(code, Some(0), "{signal}: {text}");
        assert!(place.stdout(&["runs"]).contains("completed"));
    }
    let place = Place::new();
    let (code, text) = signalled(&place, "", "-HUP", "100000");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("stopping at the next safe point"), "{text}");
    assert!(place.stdout(&["runs"]).contains("interrupted"));
}

#[test]
#[cfg(target_os = "linux")]
fn what_git_cannot_tell_is_said_to_be_unknown() {
    let place = Place::new();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
        assert!(
            program("git").args(identity).args(arguments).current_dir(place.path()).output().unwrap().status.success()
        );
    };
    git(&["init", "-q"]);
    fs::write(place.path().join("code.py"), "1").unwrap();
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "first"]);
    // An index that neither libgit2 nor the program `git` can read.
    fs::write(place.path().join(".git/index"), "no index").unwrap();
    let output = place.run(PRETRAIN);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("warning: it is unknown whether the files are those of the commit: "), "{text}");
    let [run] = &records(&place)[..] else { panic!("one record") };
    let shown = place.stdout(&["show", run.file_stem().unwrap().to_str().unwrap()]);
    assert!(shown.contains(", changes unknown ("), "{shown}");
    assert!(place.stdout(&["audit", "HEAD"]).contains(", tree unknown, "));
    assert!(!place.run(&["runs"]).stdout.is_empty());
}

#[test]
fn an_encoder_whose_files_were_removed_is_made_again_by_the_same_command() {
    let place = Place::new();
    let train = [PRETRAIN, &["--quiet"]].concat();
    place.stdout(&train);
    let run = records(&place)[0].file_stem().unwrap().to_str().unwrap().to_owned();
    let export = ["export", &run, "--to", "out"];
    place.stdout(&export);
    let weights = fs::read(place.path().join("out/encoder.safetensors")).unwrap();
    fs::remove_dir_all(place.path().join(".sempair/cache")).unwrap();
    let gone = place.run(&export);
    assert_eq!(gone.status.code(), Some(2));
    place.stdout(&train);
    place.stdout(&export);
    assert_eq!(fs::read(place.path().join("out/encoder.safetensors")).unwrap(), weights);
    // An existing encoder is trained again only with `--force`.
    let runs = records(&place).len();
    place.stdout(&train);
    assert_eq!(records(&place).len(), runs);
    place.stdout(&[&train[..], &["--force"]].concat());
    assert_eq!(records(&place).len(), runs + 1);

    // With one flipped bit, the error names the file, and the command in the hint repairs it.
    let stages = fs::read_dir(place.path().join(".sempair/cache/pretrain")).unwrap();
    let file =
        stages.flatten().map(|stage| stage.path().join("encoder.safetensors")).find(|file| file.exists()).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let refused = place.run(&export);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text.contains("encoder.safetensors has changed since run") && text.contains("`--force`"), "{text}");
    place.stdout(&[&train[..], &["--force"]].concat());
    place.stdout(&export);
    assert_eq!(fs::read(place.path().join("out/encoder.safetensors")).unwrap(), weights);
}

/// The commands in backticks in the strings of the sources.
fn commands_in_messages() -> BTreeSet<String> {
    fn collect(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                // A string may continue on the next line.
                let code = code.join("\n").replace("\\\"", "\"");
                let joined: Vec<&str> = code.split("\\\n").map(str::trim_start).collect();
                let joined = joined.concat();
                let starts = joined.match_indices("`sempair ").map(|(at, _)| at + 1);
                found.extend(starts.filter_map(|at| Some(joined[at..].split_once('`')?.0.to_owned())));
            }
        }
    }
    let mut found = BTreeSet::new();
    for folder in ["src", "experiments"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    }
    found
}

/// The arguments of a command, with `{name}` and `..` replaced by a value.
fn words(command: &str) -> Vec<String> {
    let mut filled = String::new();
    let mut rest = command;
    while let Some((before, behind)) = rest.split_once('{') {
        filled += before;
        filled += "1";
        rest = behind.split_once('}').map_or("", |(_, behind)| behind);
    }
    filled += rest;
    filled.split_whitespace().skip(1).map(|word| word.replace("..", "1")).collect()
}

#[test]
fn commands_in_messages_are_commands() {
    let place = Place::new();
    let commands = commands_in_messages();
    assert!(commands.len() > 20, "{commands:?}");
    for command in &commands {
        let mut words = words(command);
        // Arguments before `--help` are parsed first, so an unknown argument is still an error.
        words.push("--help".into());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = place.run(&words);
        assert!(output.status.success(), "`{command}`: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Commands that need no data succeed.
    for command in commands.iter().filter(|command| !command.contains(['{', '='])) {
        let harmless = ["list", "config", "runs", "data list"].map(|start| format!("sempair {start}"));
        let capitals = command.split_whitespace().any(|word| word.len() > 1 && word.chars().all(char::is_uppercase));
        if harmless.iter().any(|start| command.starts_with(start.as_str())) && !capitals {
            let words = words(command);
            place.stdout(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn paths_are_taken_as_they_are() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let place = Place::new();
    // A combining accent, a non-breaking space, quotes, a backslash, and text that TOML or a shell would interpret.
    let names = ["donne\u{301}es", "nbsp\u{a0}x", "\"quoted\"", "back\\slash", "a = [1]", "1.5", "true", "$HOME 'x'"];
    for name in names {
        place.stdout(&["data", "list", "--data", name]);
        place.stdout(&[PRETRAIN, &["--quiet", "--out", name]].concat());
        assert!(place.path().join(name).join("ledger").is_dir(), "{name}");
        let value = place.json(&["config", "--json", "--out", name]);
        let setting = value.as_array().unwrap().iter().find(|setting| setting["key"] == "paths.reports").unwrap();
        assert_eq!(setting["value"], name);
    }
    let mut command = place.command(PRETRAIN);
    let output = command.arg("--out").arg(OsStr::from_bytes(b"x\xff")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: --out \"x\\xFF\": the path is not UTF-8, as settings must be\n"), "{text}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), names.len() + 1, "the reports, and .sempair");
}

#[test]
fn what_records_hold_commands_no_terminal() {
    let place = Place::new();
    place.stdout(&[PRETRAIN, &["--quiet"]].concat());
    let record = records(&place).remove(0);
    let text = fs::read_to_string(&record).unwrap();
    let row = "[\"method\",\"SimCLR\"]";
    assert!(text.contains(row), "{text}");
    let forged = "[\"method\",\"\\u001b]0;owned\\u0007\\u001b[31m\u{9b}SimCLR\u{202e}\"]";
    fs::write(&record, resealed(&text.replace(row, forged))).unwrap();
    fs::write(record.with_file_name("x\u{1b}[2J.json"), "no record").unwrap();
    let run = record.file_stem().unwrap().to_str().unwrap();
    for arguments in
        [&["runs"][..], &["runs", "--json"], &["show", run], &["show", run, "--json"], &["export", run, "--to", "o"]]
    {
        let output = place.run(arguments);
        for stream in [output.stdout, output.stderr] {
            let text = String::from_utf8(stream).unwrap();
            let obeyed = |c: char| c.is_control() && !"\n\t".contains(c) || c == '\u{202e}';
            assert!(!text.contains(obeyed), "{arguments:?}: {text:?}");
        }
    }
    // The JSON output is escaped, but its value is that of the record.
    let shown = place.json(&["show", run, "--json"]);
    assert_eq!(shown["row"][0][1], "\u{1b}]0;owned\u{7}\u{1b}[31m\u{9b}SimCLR\u{202e}");
}

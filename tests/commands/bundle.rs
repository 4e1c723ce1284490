//! `bundle`: one zip file with a report and its records, and what `bundle verify` finds in a changed one.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};

use sempair::bundle::archive::{self, Archive};
use sempair::bundle::manifest::{self, Manifest};
use sempair::bundle::{Files, RECORDS};
use sempair::rng::Key;
use zip::write::SimpleFileOptions;

use super::*;
use crate::keys::copy;
use crate::sealed::resealed;

/// The folder of the committed reports and their ledger.
fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reports")
}

/// A place with the committed ledger, whose runs are of the profile `standard`.
pub(super) fn with_ledger() -> Place {
    let place = Place::new();
    copy(&committed().join("ledger"), &place.path().join("reports/ledger"));
    place
}

/// The records of the ledger, in order.
pub(super) fn records(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path().join("reports/ledger")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    files
}

fn bundle(place: &Place, name: &str, more: &[&str]) -> Vec<u8> {
    place.stdout(&[&["bundle", "--profile", "standard", "--out", name], more].concat());
    fs::read(place.path().join(name)).unwrap()
}

fn unpacked(place: &Place, name: &str) -> Files {
    let Archive { files, damaged } = archive::read(&place.path().join(name)).unwrap();
    assert_eq!(damaged, []);
    files
}

/// Writes files as a zip file.
fn pack(place: &Place, name: &str, files: &Files) {
    fs::write(place.path().join(name), archive::write(files).unwrap()).unwrap();
}

/// The exit code of `bundle verify`, and what it prints on both streams.
fn verify(place: &Place, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = place.run(&[&["bundle", "verify"], arguments].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Replaces the manifest by one that fits these files.
fn fitted(files: &Files) -> Files {
    let manifest: Manifest = serde_json::from_slice(&files[manifest::NAME]).unwrap();
    let mut rest = files.clone();
    rest.remove(manifest::NAME);
    let manifest = Manifest::new(manifest.facts, &rest).to_text();
    rest.insert(manifest::NAME.into(), manifest.into());
    rest
}

#[test]
fn a_bundle_is_the_same_each_time_and_verifies_in_any_folder() {
    let place = with_ledger();
    let first = bundle(&place, "a.zip", &[]);
    assert_eq!(first, bundle(&place, "b.zip", &[]), "the same ledger gives the same bytes");
    // Neither settings of the folder nor the time zone change it.
    fs::write(place.path().join("sempair.toml"), "seeds = 7\n").unwrap();
    let mut again = place.command(&["bundle", "--profile", "standard", "--out", "c.zip"]);
    assert!(again.env("TZ", "Asia/Tokyo").env("SEMPAIR_PRETRAIN__EPOCHS", "3").status().unwrap().success());
    assert_eq!(first, fs::read(place.path().join("c.zip")).unwrap());
    fs::remove_file(place.path().join("sempair.toml")).unwrap();

    let files = unpacked(&place, "a.zip");
    for name in ["README.txt", "SHA256SUMS", "ro-crate-metadata.json", "report/report.html", "report/report.md"] {
        assert!(files.contains_key(name), "{name}");
    }
    for name in
        ["report/main.tex", "report/tables/transfer.tex", "configuration/transfer.toml", "report/figures/transfer.svg"]
    {
        assert!(files.contains_key(name), "{name}");
    }
    let count = records(&place).len();
    assert_eq!(files.keys().filter(|name| name.starts_with(RECORDS)).count(), count);
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with(RECORDS)) {
        let file = place.path().join("reports/ledger").join(&name[RECORDS.len()..]);
        assert_eq!(*bytes, fs::read(file).unwrap(), "{name}");
    }
    place.stdout(&["report", "--profile", "standard"]);
    for file in ["report.html", "results.json"] {
        let report = fs::read(place.path().join("reports/standard").join(file)).unwrap();
        assert!(files[&format!("report/{file}")] == report, "{file} is that of `sempair report`");
    }

    let json = place.json(&["bundle", "verify", "a.zip", "--json"]);
    let facts = ["profile", "files", "records", "report", "same_program", "signature"].map(|key| json[key].clone());
    let stated = files.len() - 1; // all but the manifest
    let expected: [Value; 6] =
        ["standard".into(), stated.into(), count.into(), "same".into(), true.into(), "none".into()];
    assert_eq!((facts, &json["differences"]), (expected, &serde_json::json!([])));

    // A folder that only its owner can enter, without other programs, a ledger or a repository.
    let elsewhere = Place::new();
    let folder = elsewhere.path().join("private");
    let script =
        format!("umask 077; mkdir private; cd private; PATH=; exec '{}' bundle verify ../a.zip", program_path());
    fs::write(elsewhere.path().join("a.zip"), &first).unwrap();
    let output = program("/bin/sh").args(["-c", &script]).current_dir(elsewhere.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        said,
        format!(
            "report     follows from the {count} records: rendered again, every file is the same; this program made the \
             bundle\nsignature  none\nverified: all {stated} files are as the manifest states\n"
        )
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is written");
}

fn program_path() -> &'static str {
    env!("CARGO_BIN_EXE_sempair")
}

#[test]
fn each_change_is_found_and_its_file_named() {
    let place = with_ledger();
    bundle(&place, "a.zip", &[]);
    let files = unpacked(&place, "a.zip");
    let names: Vec<&String> = files.keys().collect();
    let mut draws = Key::root(1).stream();
    let mut changed: Vec<(String, usize)> = Vec::new();
    for _ in 0..10 {
        let name = names[draws.below(names.len())].clone();
        let at = draws.below(files[&name].len());
        changed.push((name, at));
    }
    // Every byte of the manifest counts, too.
    changed.extend([3, 200].map(|at| (manifest::NAME.to_owned(), at)));
    for (name, at) in changed {
        let mut other = files.clone();
        other.get_mut(&name).unwrap()[at] ^= 1;
        pack(&place, "b.zip", &other);
        let (code, said, _) = verify(&place, &["b.zip"]);
        assert_eq!(code, Some(1), "byte {at} of {name}: {said}");
        assert!(said.starts_with(&format!("{name}: ")) && said.contains("NOT VERIFIED: 1 of "), "{name}: {said}");
    }
    let record = names.iter().find(|name| name.starts_with(RECORDS)).unwrap().to_string();
    let said = |files: &Files| {
        pack(&place, "b.zip", files);
        let (code, said, _) = verify(&place, &["b.zip"]);
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let mut less = files.clone();
    less.remove(&record);
    assert!(said(&less).starts_with(&format!("{record}: is missing\n")));
    let mut more = files.clone();
    more.insert("report/more.svg".into(), b"x".to_vec());
    assert!(said(&more).starts_with("report/more.svg: is not in the manifest\n"));

    // A manifest that fits does not help: the record's own hash, and the report, which is rendered again.
    let mut better: Value = serde_json::from_slice(&files[&record]).unwrap();
    better["metrics"]["top1"] = (better["metrics"]["top1"].as_f64().unwrap() + 9.0).into();
    let better = better.to_string();
    let mut edited = files.clone();
    edited.insert(record.clone(), better.clone().into());
    let heard = said(&fitted(&edited));
    assert!(heard.starts_with(&format!("{record}: its own hash does not match")), "{heard}");
    edited.insert(record.clone(), resealed(&better).into());
    let heard = said(&fitted(&edited));
    for file in ["report/report.html", "report/results.json", "report/tables/transfer.csv"] {
        assert!(heard.contains(&format!("{file}: is not what these records give\n")), "{file}: {heard}");
    }
    let count = records(&place).len();
    assert!(heard.contains(&format!("report     does NOT follow from the {count} records")), "{heard}");
    let mut page = files.clone();
    page.get_mut("report/report.md").unwrap().extend(b"More.\n");
    assert!(said(&fitted(&page)).starts_with("report/report.md: is not what these records give\n"));
    let mut fewer = files.clone();
    fewer.remove(&record);
    let follows = format!("report     does NOT follow from the {} records", count - 1);
    assert!(said(&fitted(&fewer)).contains(&follows));

    // A byte of the zip file itself.
    let mut bytes = fs::read(place.path().join("a.zip")).unwrap();
    let name = b"report/report.md";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len() + 500;
    bytes[at] ^= 4;
    fs::write(place.path().join("b.zip"), bytes).unwrap();
    let (code, said, _) = verify(&place, &["b.zip"]);
    assert!(code == Some(1) && said.starts_with("report/report.md: cannot be unpacked: "), "{said}");
}

#[test]
fn a_bundle_of_another_version_is_compared_by_its_figures() {
    let place = with_ledger();
    bundle(&place, "a.zip", &[]);
    let mut files = unpacked(&place, "a.zip");
    let made_elsewhere = |files: &Files, place: &Place| {
        let mut manifest: Value = serde_json::from_slice(&fitted(files)[manifest::NAME]).unwrap();
        manifest["program"]["code"] = "0".repeat(64).into();
        manifest["hash"] = "".into();
        manifest["hash"] = sempair::harness::canonical::key(&manifest).into();
        let mut files = files.clone();
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        files.insert(manifest::NAME.into(), manifest.to_text().into());
        pack(place, "b.zip", &files);
        verify(place, &["b.zip"])
    };
    files.get_mut("report/report.md").unwrap().extend(b"Other words.\n");
    let (code, said, _) = made_elsewhere(&files, &place);
    assert_eq!(code, Some(0), "{said}");
    let again = format!(
        "report     rendered again from the {} records, the figures in results.json are the same; pages and tables were NOT compared; another version",
        records(&place).len()
    );
    assert!(said.starts_with(&again), "{said}");
    let results = String::from_utf8(files["report/results.json"].clone()).unwrap();
    let other = results.replacen("\"mean\": 3", "\"mean\": 4", 1);
    assert_ne!(results, other);
    files.insert("report/results.json".into(), other.into());
    let (code, said, _) = made_elsewhere(&files, &place);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("report/results.json: this version of the program has other figures"), "{said}");
}

#[test]
fn an_anonymous_bundle_names_nobody_and_verifies() {
    let place = with_ledger();
    bundle(&place, "a.zip", &["--anonymous"]);
    let files = unpacked(&place, "a.zip");
    let record: Value = serde_json::from_slice(&fs::read(&records(&place)[0]).unwrap()).unwrap();
    let secrets = [record["git"]["commit"].as_str().unwrap(), record["build"]["binary_hash"].as_str().unwrap()];
    for (name, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        for secret in secrets.into_iter().chain(["\"hostname\": \"vm\"", "\"hostname\":\"vm\"", "@"]) {
            let is_context = secret == "@" && ["ro-crate-metadata.json", "Cargo.lock"].contains(&name.as_str());
            assert!(is_context || !text.contains(secret) || name.starts_with("report/"), "{name} has {secret}");
        }
    }
    let count = records(&place).len();
    assert_eq!(files.keys().filter(|name| name.starts_with(RECORDS)).count(), count);
    place.stdout(&["report", "--profile", "standard", "--anonymous"]);
    let report = fs::read(place.path().join("reports/standard-anonymous/report.html")).unwrap();
    assert!(files["report/report.html"] == report, "the page is that of `sempair report --anonymous`");
    let (code, said, _) = verify(&place, &["a.zip"]);
    let follows = format!("report     follows from the {count} records");
    assert_eq!((code, said.starts_with(&follows)), (Some(0), true), "{said}");
    let error = place.error(&["bundle", "--anonymous", "--author", "Jane Doe"]);
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn what_the_ledger_keeps_of_the_code_is_in_the_bundle() {
    let place = with_ledger();
    let header = |commit: &str, needs: &str| format!("# v2 git bundle\n{needs}{commit} refs/sempair/{commit}\n\nPACK");
    let [first, second, other] = ["1", "2", "3"].map(|digit| digit.repeat(40));
    let bundles = [header(&first, ""), header(&second, &format!("-{first} first\n")), header(&other, "")];
    let names = bundles.each_ref().map(|text| format!("{}.bundle", blake3::hash(text.as_bytes())));
    let folder = place.path().join("reports/ledger/source");
    fs::create_dir(&folder).unwrap();
    names.iter().zip(&bundles).for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    // The record names the second one, which needs the first one.
    let file = records(&place).remove(0);
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["git"]["bundle"] = names[1].trim_end_matches(".bundle").into();
    fs::write(&file, resealed(&record.to_string())).unwrap();
    bundle(&place, "a.zip", &[]);
    let mut files = unpacked(&place, "a.zip");
    let kept: BTreeSet<&str> = files.keys().filter_map(|name| name.strip_prefix("source/")).collect();
    assert_eq!(kept, names[..2].iter().map(String::as_str).collect());
    let name = format!("source/{}", names[0]);
    assert!(String::from_utf8_lossy(&files["README.txt"]).contains("\nsource/  "));
    assert_eq!(verify(&place, &["a.zip"]).0, Some(0));
    // Another content, with a manifest that fits it.
    files.insert(name.clone(), bundles[2].clone().into_bytes());
    pack(&place, "b.zip", &fitted(&files));
    let (code, said, _) = verify(&place, &["b.zip"]);
    assert!(code == Some(1) && said.contains(&format!("{name}: is not what its name says\n")), "{said}");
    bundle(&place, "c.zip", &["--anonymous"]);
    assert!(!unpacked(&place, "c.zip").keys().any(|name| name.starts_with("source/")));
}

#[test]
fn a_report_without_records_is_bundled_as_it_is() {
    let place = Place::new();
    let reports = format!("paths.reports={}", committed().display());
    let said = place.stdout(&["bundle", "--set", &reports]);
    assert!(
        said.contains("sempair-quick.zip: ") && said.contains("the bundle has the report without records."),
        "{said}"
    );
    let files = unpacked(&place, "sempair-quick.zip");
    assert_eq!(files["report/report.html"], fs::read(committed().join("quick/report.html")).unwrap());
    let (code, said, _) = verify(&place, &["sempair-quick.zip"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("report     not compared with records, which the bundle does not have"), "{said}");
    let error = place.error(&["bundle", "--set", &reports, "--anonymous"]);
    assert!(error.contains("an anonymous report is made from records"), "{error}");
    let error = place.error(&["bundle"]);
    assert!(
        error.contains("no completed run") && error.contains("hint: `sempair reproduce --profile quick`"),
        "{error}"
    );
    let error = place.error(&["bundle", "--profile", "fast"]);
    assert!(error.contains("there is no profile `fast`"), "{error}");
}

#[test]
fn the_description_has_what_the_profile_of_runs_asks_for() {
    let place = with_ledger();
    bundle(&place, "a.zip", &["--author", "Jane Doe"]);
    let files = unpacked(&place, "a.zip");
    let json: Value = serde_json::from_slice(&files["ro-crate-metadata.json"]).unwrap();
    let graph = json["@graph"].as_array().unwrap();
    let by_id: std::collections::HashMap<&str, &Value> =
        graph.iter().map(|entity| (entity["@id"].as_str().unwrap(), entity)).collect();
    assert_eq!(by_id.len(), graph.len(), "ids are distinct");
    let of_type = |name: &str| graph.iter().filter(|entity| entity["@type"] == *name).collect::<Vec<_>>();
    let root = by_id["./"];
    assert_eq!(root["conformsTo"]["@id"], "https://w3id.org/ro/wfrun/process/0.5");
    let actions = of_type("CreateAction");
    assert_eq!(actions.len(), records(&place).len() + 1, "the runs and the report");
    for action in &actions {
        assert_eq!(by_id[action["instrument"]["@id"].as_str().unwrap()]["@type"], "SoftwareApplication");
        assert_eq!(action["agent"]["@id"], "#author");
        assert_eq!(action["actionStatus"], "http://schema.org/CompletedActionStatus");
        assert!(action["endTime"].as_str().unwrap().ends_with("+00:00"));
        assert!(root["mentions"].as_array().unwrap().iter().any(|id| id["@id"] == action["@id"]));
    }
    // Whatever an entity refers to is described.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) if map.len() == 1 && map.contains_key("@id") => {
                found.push(map["@id"].as_str().unwrap().to_owned());
            }
            Value::Object(map) => map.values().for_each(|value| references(value, found)),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    graph.iter().for_each(|entity| references(entity, &mut found));
    found.retain(|id| id != "https://w3id.org/ro/crate/1.1" && !by_id.contains_key(id.as_str()));
    assert_eq!(found, [""; 0]);
    for file in of_type("File") {
        let bytes = &files[file["@id"].as_str().unwrap()];
        assert_eq!(file["sha256"], manifest::sha256(bytes));
    }
}

/// Writes a zip file to memory.
type Writer = zip::ZipWriter<Cursor<Vec<u8>>>;

#[test]
fn harmful_zip_files_are_refused_by_name() {
    let place = Place::new();
    let refused = |bytes: Vec<u8>, what: &str| {
        fs::write(place.path().join("b.zip"), bytes).unwrap();
        let (code, said, error) = verify(&place, &["b.zip"]);
        assert_eq!((code, said.as_str()), (Some(2), ""), "{what}: {error}");
        assert!(error.starts_with("error: b.zip: ") && error.contains(what), "{what}: {error}");
    };
    let zip = |fill: &dyn Fn(&mut Writer)| {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        fill(&mut writer);
        writer.finish().unwrap().into_inner()
    };
    let with = |name: &str| {
        let mut bytes = zip(&|writer| {
            writer.start_file("x".repeat(name.len()), SimpleFileOptions::default()).unwrap();
            writer.write_all(b"text").unwrap();
        });
        let wrong = "x".repeat(name.len());
        while let Some(at) = bytes.windows(name.len()).position(|window| window == wrong.as_bytes()) {
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
        bytes
    };
    refused(with("../../etc/passwd"), "../../etc/passwd: a path that leaves the folder");
    refused(with("/etc/passwd"), "/etc/passwd: a name that means different files on different systems");
    refused(with("C:/windows"), "C:/windows: a name that means");
    refused(with("a\\..\\b"), "a name that means");
    refused(with("a//b"), "a//b: a path that is not in its shortest form");
    refused(with("a\u{1b}b"), "a\\u{1b}b: a name that means");
    refused(
        zip(&|writer| writer.add_symlink("report", "/etc", SimpleFileOptions::default()).unwrap()),
        "report: a link",
    );
    let mut twice = zip(&|writer| {
        for name in ["one.txt", "two.txt"] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
        }
    });
    while let Some(at) = twice.windows(7).position(|window| window == b"two.txt") {
        twice[at..at + 3].copy_from_slice(b"one");
    }
    refused(twice, "two members have the same name: one.txt");
    refused(b"not a zip file".to_vec(), "it is not a whole zip file");
    refused(zip(&|_| {}), "it has no manifest.json, so it is not a bundle");

    // Sizes that are absurd or not true, stated in both headers.
    let large = zip(&|writer| {
        writer.start_file("large.txt", SimpleFileOptions::default()).unwrap();
        writer.write_all(&[0; 7777]).unwrap();
    });
    let stated_as = |size: u32| {
        let (mut bytes, stated) = (large.clone(), 7777u32.to_le_bytes());
        while let Some(at) = bytes.windows(4).position(|window| window == stated) {
            bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
        }
        bytes
    };
    refused(stated_as(0xffff_fff0), "large.txt: with this member, more than 1073741824 bytes would be unpacked");
    let damaged = |bytes: Vec<u8>| {
        fs::write(place.path().join("b.zip"), bytes).unwrap();
        archive::read(&place.path().join("b.zip")).unwrap().damaged
    };
    for size in [0, 7776, 7778, 900 << 20] {
        let damaged = damaged(stated_as(size));
        assert!(damaged.len() == 1 && damaged[0].0 == "large.txt", "{size}: {damaged:?}");
    }
    let (code, _, error) = verify(&place, &["missing.zip"]);
    assert!(code == Some(2) && error.contains("cannot read missing.zip"), "{error}");
}

#[test]
fn a_signature_holds_for_its_key_only() {
    let place = with_ledger();
    let keygen = |arguments: &[&str]| {
        let output = program("ssh-keygen").args(arguments).current_dir(place.path()).stdin(Stdio::null()).output();
        output.map(|output| assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)))
    };
    if keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "jane@lab", "-f", "mine"]).is_err() {
        println!("skipped: ssh-keygen is not installed");
        return;
    }
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", "other"]).unwrap();
    bundle(&place, "a.zip", &["--sign", "mine"]);
    let mine = fs::read_to_string(place.path().join("mine.pub")).unwrap();
    fs::write(place.path().join("signers"), format!("jane@lab.example namespaces=\"sempair\" {mine}")).unwrap();
    fs::write(place.path().join("strangers"), format!("jane@lab.example namespaces=\"git\" {mine}")).unwrap();
    let said = |arguments: &[&str], code: i32, what: &str| {
        let (is, said, error) = verify(&place, arguments);
        assert_eq!(is, Some(code), "{arguments:?}: {said}{error}");
        assert!(said.contains(what) || error.contains(what), "{arguments:?}: {said}{error}");
    };
    said(
        &["a.zip", "--key", "mine.pub"],
        0,
        "signature  Good \"sempair\" signature for signer with ED25519 key SHA256:",
    );
    said(&["a.zip", "--signer", "signers"], 0, "signature  Good \"sempair\" signature for jane@lab.example with");
    said(&["a.zip"], 0, "; whose key it is was not asked (`--key`, `--signer`)\n");
    said(
        &["a.zip", "--key", "other.pub"],
        1,
        "manifest.json.sig: not accepted: its key is not that of an accepted signer\n",
    );
    said(&["a.zip", "--signer", "strangers"], 1, "manifest.json.sig: not accepted: ");
    said(&["a.zip", "--key", "mine"], 2, "hint: `ssh-keygen -y -f mine`");
    said(&["a.zip", "--key", "nowhere"], 2, "cannot read nowhere");
    bundle(&place, "unsigned.zip", &[]);
    said(&["unsigned.zip", "--key", "mine.pub"], 1, "manifest.json.sig: is missing: the bundle is not signed\n");

    // A manifest that was made again does not fit the signature, and neither does a changed signature.
    let mut files = unpacked(&place, "a.zip");
    let signature = files.remove(manifest::SIGNATURE).unwrap();
    let mut other = files.clone();
    other.insert("report/report.md".into(), b"Other words.\n".to_vec());
    let mut other = fitted(&other);
    other.insert(manifest::SIGNATURE.into(), signature.clone());
    pack(&place, "b.zip", &other);
    said(&["b.zip", "--key", "mine.pub"], 1, "manifest.json.sig: not accepted: ");
    for at in [40, 150, signature.len() - 1] {
        let mut changed = signature.clone();
        changed[at] ^= 1;
        files.insert(manifest::SIGNATURE.into(), changed);
        pack(&place, "b.zip", &files);
        said(&["b.zip"], 1, "manifest.json.sig: not accepted: ");
    }

    // Without the program, signing is refused, and everything but the signature is verified.
    let bare = |arguments: &[&str]| place.command(arguments).env("PATH", "").output().unwrap();
    let output = bare(&["bundle", "--profile", "standard", "--sign", "mine"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && error.contains("hint: `apt-get install openssh-client`"), "{error}");
    let output = bare(&["bundle", "verify", "a.zip", "--key", "mine.pub"]);
    assert_eq!(output.status.code(), Some(2));
    let output = bare(&["bundle", "verify", "a.zip"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("signature  NOT CHECKED: cannot run ssh-keygen"), "{text}");
}

//! Programs of earlier commits are built from the repository alone.

use std::fs;
use std::path::Path;

use sempair::harness::progress::Progress;
use sempair::harness::rebuild::program_of;
use sempair::harness::source::Trust;
use serde_json::json;
use tempfile::TempDir;

use crate::commands::program;

/// Runs git in a folder and returns what it prints.
pub(super) fn git(folder: &Path, arguments: &[&str]) -> String {
    let names = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    let done = program("git").args(names).args(arguments).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Writes a program that prints `word`, without dependencies.
fn write(folder: &Path, word: &str) {
    let manifest = "[package]\nname = \"sempair\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("Cargo.lock"), "version = 4\n\n[[package]]\nname = \"sempair\"\nversion = \"0.0.0\"\n")
        .unwrap();
    fs::write(folder.join("src/main.rs"), format!("fn main() {{ println!(\"{word}\") }}")).unwrap();
}

#[test]
fn a_program_is_that_of_the_commit_and_the_working_tree_is_left_alone() {
    let (repository, builds) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let folder = repository.path();
    git(folder, &["init", "-q"]);
    let mut commits = Vec::new();
    for word in ["first", "broken", "third"] {
        write(folder, if word == "broken" { "\") } no Rust {" } else { word });
        git(folder, &["add", "-A"]);
        git(folder, &["commit", "-q", "-m", word]);
        commits.push(git(folder, &["rev-parse", "HEAD"]));
    }
    write(folder, "not committed");
    let build = |commit: &str| {
        let git = serde_json::from_value(json!({ "commit": commit })).unwrap();
        let places = (folder, Path::new("no ledger"));
        program_of(places, &git, Trust::Repository, builds.path(), &Progress::quiet()).map(|built| built.path)
    };
    let built = build(&commits[0]).unwrap();
    let said = program(built.to_str().unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "first\n");
    assert!(fs::read_to_string(folder.join("src/main.rs")).unwrap().contains("not committed"));
    assert_eq!(git(folder, &["status", "--porcelain"]), "M src/main.rs");
    assert_eq!(git(folder, &["rev-parse", "HEAD"]), commits[2]);

    // The second time it is found.
    fs::write(&built, "kept").unwrap();
    assert_eq!(fs::read(build(&commits[0]).unwrap()).unwrap(), b"kept");

    let error = build(&commits[1]).unwrap_err();
    assert!(error.what().contains("does not build: error"), "{}", error.what());
    assert!(error.hint_text().is_some_and(|hint| hint.contains("cargo build --release --locked")), "{error:?}");
    // A record is not trusted to name a path.
    for path in ["/bin", "../../bin", "", "0123"] {
        assert!(build(path).unwrap_err().what().contains("is not the full hash of a commit"), "{path}");
    }
    let error = build("0123456789012345678901234567890123456789").unwrap_err();
    assert!(error.what().contains("has the files of commit 0123456"), "{}", error.what());
}

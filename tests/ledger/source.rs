//! The code of a run is kept in the ledger, and comes back from it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sempair::error::Error;
use sempair::harness::audit::{Subject, audit};
use sempair::harness::git::{Git, Holder, Tree};
use sempair::harness::record::Record;
use sempair::harness::runner;
use sempair::harness::source::{DirtyTree, Policy, Trust, check_out, difference};
use tempfile::TempDir;

use super::Project;
use super::rebuild::git;

const KEEP: Policy = Policy { dirty: DirtyTree::Record, keep_mib: 16 };

/// A project in a repository, and the remote that has its first commit.
struct Case {
    project: Project,
    remote: TempDir,
}

type Files = Vec<(String, Vec<u8>)>;

impl Case {
    fn new() -> Self {
        let case = Self { project: Project::new(), remote: TempDir::new().unwrap() };
        git(case.remote.path(), &["init", "-q", "--bare", "-b", "main"]);
        git(case.root(), &["init", "-q", "-b", "main"]);
        case.write(".gitignore", b"/reports\n/locks\n/cache\nignored*\n");
        case.write("code.rs", b"one\n");
        case.write("deep/unchanged.rs", b"of the first commit\n");
        case.commit("first");
        git(case.root(), &["remote", "add", "origin", &format!("file://{}", case.remote.path().display())]);
        git(case.root(), &["push", "-q", "origin", "main"]);
        case
    }

    fn root(&self) -> &Path {
        self.project.folder.path()
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn commit(&self, message: &str) -> String {
        git(self.root(), &["add", "-A"]);
        git(self.root(), &["commit", "-q", "-m", message]);
        git(self.root(), &["rev-parse", "HEAD"])
    }

    /// Runs the table again. Returns the newest record.
    fn run(&self, source: Policy) -> Result<Record, Error> {
        let options = runner::Options { source, ..self.project.options(true) };
        self.project.run_experiment(&self.project.count, &options)?;
        Ok(self.project.ledger().records().unwrap().0.pop().unwrap())
    }

    /// A repository that has only what the remote has.
    fn clone(&self) -> TempDir {
        let clone = TempDir::new().unwrap();
        git(clone.path(), &["clone", "-q", self.remote.path().to_str().unwrap(), "."]);
        clone
    }

    /// The files of a run as `repo` and the ledger give them, and what is not whole.
    fn rebuilt(&self, repo: &Path, run: &Git) -> (Option<String>, Files) {
        let to = TempDir::new().unwrap();
        let made = check_out((repo, self.project.ledger().dir()), run, Trust::Ledger, to.path()).unwrap();
        (made.not_whole, files(to.path()))
    }

    fn bundle(&self, run: &Git) -> std::path::PathBuf {
        let name = run.kept.bundle.as_ref().unwrap();
        self.project.ledger().dir().join(format!("source/{name}.bundle"))
    }
}

/// The files below a folder except those of git and of the project's outputs, with their contents, links and modes.
fn files(root: &Path) -> Files {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = String::from_utf8_lossy(path.strip_prefix(root).unwrap().as_os_str().as_bytes()).into_owned();
            let facts = fs::symlink_metadata(&path).unwrap();
            if facts.is_symlink() {
                found.push((name, fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec()));
            } else if facts.is_dir() {
                let is_output = [".git", "reports", "locks", "cache"].contains(&&*name);
                open.extend((!is_output).then_some(path));
            } else {
                let mark = if facts.permissions().mode() & 0o100 > 0 { " (program)" } else { "" };
                found.push((name + mark, fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_commit_on_a_remote_needs_nothing_kept() {
    let case = Case::new();
    let record = case.run(KEEP).unwrap();
    assert_eq!((record.git.tree(), record.git.on_remote.as_deref()), (Tree::Clean, Some("origin/main")));
    assert_eq!(record.git.remotes["origin"], format!("file://{}", case.remote.path().display()));
    assert_eq!(record.git.kept, Default::default());
    assert!(!case.project.ledger().dir().join("source").exists());
    // What a clone calls `origin/HEAD` is that branch.
    git(case.root(), &["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]);
    assert_eq!(case.run(KEEP).unwrap().git.on_remote.as_deref(), Some("origin/main"));
    git(case.root(), &["remote", "set-url", "origin", "https://me:pass@example.org/x?private_token=abc"]);
    assert_eq!(case.run(KEEP).unwrap().git.remotes["origin"], "https://[redacted]@example.org/x");
}

#[test]
fn files_that_are_not_committed_come_back() {
    let case = Case::new();
    let root = case.root();
    case.write("binary", &(0..=255).cycle().take(3000).collect::<Vec<u8>>());
    for name in ["gone.rs", "becomes-a-folder", "untracked-again.rs", "moved.rs"] {
        case.write(name, format!("{name}\n").as_bytes());
    }
    case.commit("second");
    git(root, &["push", "-q", "origin", "main"]);
    // Settings of users that change what `git diff` prints, and line ends.
    for (key, value) in [("diff.noprefix", "true"), ("diff.submodule", "log"), ("core.autocrlf", "input")] {
        git(root, &["config", key, value]);
    }
    case.write("code.rs", b"two, without an end of line");
    case.write("binary", &(0..=254).rev().cycle().take(2000).collect::<Vec<u8>>());
    fs::remove_file(root.join("gone.rs")).unwrap();
    fs::remove_file(root.join("becomes-a-folder")).unwrap();
    case.write("becomes-a-folder/file.rs", b"in it\n");
    git(root, &["rm", "-q", "--cached", "untracked-again.rs"]);
    git(root, &["mv", "moved.rs", "moved-there.rs"]);
    case.write("new/below/a.rs", b"untracked\n");
    case.write("new/empty.rs", b"");
    for name in ["ü.rs", "trail ", "-dash", "a\tb\n\"c\\d", "!x", "#y"] {
        case.write(name, b"an odd name\n");
    }
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff.rs")), "not UTF-8").unwrap();
    case.write("script.sh", b"#!/bin/sh\n");
    fs::set_permissions(root.join("script.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("code.rs", root.join("link")).unwrap();
    for i in 0..150 {
        case.write(&format!("many/m{i:03}.rs"), format!("{i}\n").as_bytes());
    }
    case.write("staged.rs", b"staged\n");
    git(root, &["add", "staged.rs"]);
    case.write("ignored.rs", b"not seen");
    let status = git(root, &["status", "--porcelain"]);

    let run = case.run(KEEP).unwrap().git;
    assert_eq!((run.tree(), &run.kept.note, run.kept.untracked_files.len()), (Tree::Dirty, &None, 100));
    assert!(run.kept.untracked_files.iter().all(|file| file.kept));
    assert_eq!(git(root, &["status", "--porcelain"]), status);
    assert_eq!(git(root, &["for-each-ref", "refs/sempair"]), "", "nothing is written to the repository");
    let (not_whole, found) = case.rebuilt(case.clone().path(), &run);
    fs::remove_file(root.join("ignored.rs")).unwrap();
    assert_eq!((not_whole, found), (None, files(root)));
    let patch = difference(root, case.project.ledger().dir(), &run).unwrap();
    assert!(patch.contains("--- a/code.rs\n+++ b/code.rs\n") && patch.contains("+++ b/new/below/a.rs\n"), "{patch}");
    // The same files give the same bundle, and it is written once.
    assert_eq!(case.run(KEEP).unwrap().git.kept, run.kept);
    assert_eq!(fs::read_dir(case.project.ledger().dir().join("source")).unwrap().count(), 1);
}

#[test]
fn what_is_large_or_secret_is_listed_and_not_kept() {
    let case = Case::new();
    case.write("tracked.env", b"");
    case.commit("second");
    git(case.root(), &["push", "-q", "origin", "main"]);
    let token = format!("curl -H ghp_{}", "a1B2".repeat(9));
    let secrets: [(&str, &[u8]); 10] = [
        (".env", b"API=SECRET"),
        ("mine", b"-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET"),
        ("token.txt", b"SECRET"),
        ("secrets.yaml", b"SECRET"),
        (".streamlit/secrets.toml", b"SECRET"),
        ("secrets/db.json", b"SECRET"),
        ("api_keys.txt", b"SECRET"),
        ("deploy.sh", token.as_bytes()),
        ("tracked.env", b"SECRET"),
        ("staged-credentials.json", b"SECRET"),
    ];
    secrets.iter().for_each(|(name, content)| case.write(name, content));
    git(case.root(), &["add", "staged-credentials.json"]);
    case.write("large.bin", &vec![7; 100_000]);
    case.write("src/keys.rs", b"struct Key; // ghp_ is how tokens begin\n");
    case.write("nested/lib.rs", b"of another repository");
    git(&case.root().join("nested"), &["init", "-q"]);
    let run = case.run(KEEP).unwrap().git;
    let is_kept = |name: &str| run.kept.untracked_files.iter().find(|file| file.path == name).map(|file| file.kept);
    assert_eq!((is_kept("src/keys.rs"), is_kept("large.bin"), is_kept(".env")), (Some(true), Some(false), Some(false)));
    assert!(run.kept.untracked_files.iter().all(|file| file.hash.is_some()));
    let note = run.kept.note.clone().unwrap();
    let expected = ".env, .streamlit/secrets.toml, api_keys.txt and 7 more: may be a secret";
    let expected = [expected, "nested/: a repository of its own", "large.bin: untracked and large, or one of many"];
    for part in expected {
        assert!(note.split("; ").any(|found| found.split(": ").nth(1) == part.split(": ").nth(1)), "{part} in {note}");
    }
    let (not_whole, found) = case.rebuilt(case.root(), &run);
    assert_eq!(not_whole, Some(note));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [".gitignore", "code.rs", "deep/unchanged.rs", "src/keys.rs", "tracked.env"]);
    let bundle = fs::read(case.bundle(&run)).unwrap();
    let clone = case.clone();
    git(clone.path(), &["fetch", "-q", case.bundle(&run).to_str().unwrap(), "refs/sempair/*:refs/x/*"]);
    assert!(!git(clone.path(), &["log", "-p", "--all", "--format="]).contains("SECRET") && !bundle.is_empty());
    // Another content of a file that is not kept is another state.
    case.write("large.bin", &vec![8; 100_000]);
    assert_ne!(case.run(KEEP).unwrap().git.kept.untracked_files, run.kept.untracked_files);
    assert_eq!(case.run(Policy { keep_mib: 0, ..KEEP }).unwrap().git.kept, Default::default());
}

#[test]
fn a_commit_on_no_remote_is_kept_as_a_thin_bundle() {
    let case = Case::new();
    let root = case.root();
    let random: Vec<u8> = (0..1u32 << 13).flat_map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes()).collect();
    case.write("large", &random);
    case.commit("second");
    git(root, &["push", "-q", "origin", "main"]);
    for message in ["third", "fourth"] {
        case.write("code.rs", message.as_bytes());
        case.commit(message);
    }
    let tree = git(root, &["rev-parse", "HEAD^{tree}"]);
    let unpushed = case.run(KEEP).unwrap().git;
    assert_eq!((unpushed.tree(), &unpushed.on_remote, &unpushed.kept.note), (Tree::Clean, &None, &None));
    assert!(fs::metadata(case.bundle(&unpushed)).unwrap().len() < 4096, "it is thin");

    // Someone who has only what the remote has gets the same tree, also with `git`.
    let (clone, id) = (case.clone(), unpushed.commit.clone().unwrap());
    assert_eq!(case.rebuilt(clone.path(), &unpushed), (None, files(root)));
    let bundle = case.bundle(&unpushed);
    git(clone.path(), &["bundle", "verify", "-q", bundle.to_str().unwrap()]);
    git(clone.path(), &["fetch", "-q", bundle.to_str().unwrap(), &format!("refs/sempair/{id}")]);
    assert_eq!(git(clone.path(), &["rev-parse", "FETCH_HEAD^{tree}"]), tree);
    // Who does not trust the ledger is asked first. Without the commits that it needs it gives nothing, and names them.
    let (to, ledger) = (TempDir::new().unwrap(), case.project.ledger());
    let asked = check_out((case.clone().path(), ledger.dir()), &unpushed, Trust::Repository, to.path()).unwrap_err();
    assert!(asked.hint_text().unwrap().contains("--trust-ledger"), "{asked}");
    let outside = check_out((to.path(), ledger.dir()), &unpushed, Trust::Ledger, &to.path().join("to")).unwrap_err();
    assert!(outside.what().contains(&format!("it needs {}", git(root, &["rev-parse", "HEAD~2"]))), "{outside}");

    // A second run writes no second bundle, and a further commit needs only what the first bundle does not have.
    assert_eq!(case.run(KEEP).unwrap().git.kept, unpushed.kept);
    case.write("deep/more.rs", b"fifth");
    case.commit("fifth");
    let next = case.run(KEEP).unwrap().git;
    assert_ne!(next.kept.bundle, unpushed.kept.bundle);
    assert_eq!(case.rebuilt(case.clone().path(), &next), (None, files(root)));
    case.write("code.rs", b"and not committed");
    let changed = case.run(KEEP).unwrap().git;
    assert_eq!(case.rebuilt(case.clone().path(), &changed), (None, files(root)));
    git(root, &["checkout", "-q", "code.rs"]);
    // Once it is pushed, nothing needs to be kept.
    git(root, &["push", "-q", "origin", "main"]);
    assert_eq!(case.run(KEEP).unwrap().git.kept, Default::default());
}

#[test]
fn histories_that_are_not_lines_are_kept() {
    let case = Case::new();
    let root = case.root();
    // A file that an earlier commit had, with another mode; a link.
    fs::remove_file(root.join("code.rs")).unwrap();
    case.commit("removed");
    git(root, &["push", "-q", "origin", "main"]);
    case.write("code.rs", b"one\n");
    fs::set_permissions(root.join("code.rs"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("code.rs", root.join("link")).unwrap();
    case.commit("again");
    let run = case.run(KEEP).unwrap().git;
    assert_eq!(case.rebuilt(case.clone().path(), &run), (None, files(root)));
    git(root, &["push", "-q", "origin", "main"]);
    // A commit that was picked from a branch of the remote: its files are there, but not below it.
    git(root, &["checkout", "-q", "-b", "topic/x"]);
    case.write("topic.rs", &[b't'; 5000]);
    case.commit("topic");
    git(root, &["push", "-q", "origin", "topic/x"]);
    git(root, &["checkout", "-q", "main"]);
    case.write("other.rs", b"other\n");
    case.commit("other");
    git(root, &["cherry-pick", "topic/x"]);
    let picked = case.run(KEEP).unwrap().git;
    assert_eq!((&picked.kept.note, case.rebuilt(case.clone().path(), &picked)), (&None, (None, files(root))));
    // A merge that is not pushed, in a worktree with no branch, with a clone that has no history.
    git(root, &["merge", "-q", "--no-ff", "-m", "merge", "topic/x~0"]);
    let merged = case.run(KEEP).unwrap().git;
    assert_eq!(case.rebuilt(case.clone().path(), &merged), (None, files(root)));
    git(root, &["checkout", "-q", "--detach"]);
    assert_eq!(case.run(KEEP).unwrap().git.kept, merged.kept);
    // Without a remote, the whole history is kept, unless it is too large.
    git(root, &["remote", "remove", "origin"]);
    fs::remove_dir_all(case.project.ledger().dir().join("source")).unwrap();
    let whole = case.run(KEEP).unwrap().git;
    assert_eq!(case.rebuilt(TempDir::new().unwrap().path(), &whole), (None, files(root)));
    fs::remove_dir_all(case.project.ledger().dir().join("source")).unwrap();
    let random: Vec<u8> = (0..1u32 << 16).flat_map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes()).collect();
    case.write("large", &random);
    let large = case.commit("large");
    let none = case.run(Policy { keep_mib: 1, ..KEEP }).unwrap().git.kept;
    let expected =
        format!("commit {} is on no remote, and its bundle would be larger than `source.keep_mib`", &large[..12]);
    assert_eq!((none.note, none.bundle), (Some(expected), None));
}

#[test]
fn submodules_and_other_formats_of_repositories_are_kept_as_far_as_possible() {
    let case = Case::new();
    let (root, other) = (case.root(), Case::new());
    let address = other.remote.path().to_str().unwrap();
    git(root, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", address, "sub"]);
    case.commit("submodule");
    git(root, &["push", "-q", "origin", "main"]);
    let clean = case.run(KEEP).unwrap().git;
    let (not_whole, found) = case.rebuilt(root, &clean);
    assert_eq!((clean.tree(), not_whole.as_deref()), (Tree::Clean, Some("the submodule sub is not there")));
    assert!(found.iter().any(|(name, _)| name == "code.rs"));
    case.write("sub/code.rs", b"changed inside");
    case.write("code.rs", b"changed\n");
    let changed = case.run(KEEP).unwrap().git;
    let note = "sub: a repository of its own";
    assert_eq!((changed.kept.note.as_deref(), changed.kept.snapshot.is_some()), (Some(note), true));
    let (_, found) = case.rebuilt(root, &changed);
    assert!(found.iter().any(|(name, content)| name == "code.rs" && content == b"changed\n"));

    for option in ["--object-format=sha256", "--ref-format=reftable"] {
        let project = Project::new();
        let root = project.folder.path();
        git(root, &["init", "-q", option]);
        fs::write(root.join(".gitignore"), "/reports\n/locks\n/cache\n").unwrap();
        git(root, &["add", "-A"]);
        git(root, &["commit", "-q", "-m", "first"]);
        fs::write(root.join("new.rs"), "new\n").unwrap();
        let case = Case { project, remote: TempDir::new().unwrap() };
        let run = case.run(KEEP).unwrap().git;
        assert_eq!(case.rebuilt(TempDir::new().unwrap().path(), &run), (None, files(case.root())), "{option}");
    }
}

#[test]
fn a_policy_refuses_a_dirty_tree_or_commits_it_to_a_reference_of_its_own() {
    let case = Case::new();
    let root = case.root();
    let refuse = Policy { dirty: DirtyTree::Refuse, ..KEEP };
    let snapshot = Policy { dirty: DirtyTree::Snapshot, ..KEEP };
    let clean = case.run(refuse).unwrap().git;
    assert_eq!(case.run(snapshot).unwrap().git, clean);
    let runs = case.project.ledger().records().unwrap().0.len();
    case.write("code.rs", b"two\n");
    case.write("new.rs", b"untracked\n");
    let error = case.run(refuse).unwrap_err();
    let commit = clean.commit.as_ref().unwrap();
    let what = format!("files are not those of commit {}, and `source.dirty` is `refuse`", &commit[..12]);
    assert_eq!((error.what(), case.project.ledger().records().unwrap().0.len()), (&*what, runs));
    assert!(error.hint_text().unwrap().contains("`--set source.dirty=snapshot`"));

    let status = git(root, &["status", "--porcelain"]);
    let taken = case.run(snapshot).unwrap().git;
    let id = taken.kept.snapshot.clone().unwrap();
    assert_eq!((git(root, &["rev-parse", "HEAD"]), git(root, &["status", "--porcelain"])), (commit.clone(), status));
    assert_eq!(git(root, &["rev-parse", &format!("refs/sempair/{id}^")]), *commit);
    assert_eq!(git(root, &["show", &format!("{id}:new.rs")]), "untracked");
    // The same files give the same commit.
    assert_eq!(case.run(snapshot).unwrap().git, taken);
    assert_eq!(case.rebuilt(case.clone().path(), &taken), (None, files(root)));

    case.write("code.rs", &vec![7; 3 << 20]);
    let error = case.run(Policy { keep_mib: 1, ..snapshot }).map(|record| record.git.kept.note);
    assert_eq!(error.unwrap().as_deref(), Some("code.rs: larger than `source.keep_mib`"));
    let outside = Case { project: Project::new(), remote: TempDir::new().unwrap() };
    for (policy, name) in [(refuse, "refuse"), (snapshot, "snapshot")] {
        let what = format!("no commit can be recorded: not a git repository, and `source.dirty` is `{name}`");
        assert_eq!(outside.run(policy).unwrap_err().what(), what);
    }
}

#[test]
fn an_audit_names_bundles_that_changed_and_commits_that_only_a_bundle_has() {
    let case = Case::new();
    let root = case.root();
    case.write("code.rs", b"two\n");
    let lost = case.commit("second");
    case.write("code.rs", b"three\n");
    let run = case.run(KEEP).unwrap().git;
    git(root, &["checkout", "-q", "code.rs"]);
    let clean = case.run(KEEP).unwrap().git;
    git(root, &["reset", "-q", "--hard", "origin/main"]);
    git(root, &["reflog", "expire", "--expire=now", "--all"]);
    git(root, &["gc", "-q", "--prune=now"]);
    let ledger = case.project.ledger();
    let check = || audit(&ledger, &case.project.cache(), root, Subject::Everything, false).unwrap();
    let holder = |commit: &str| {
        let found = check();
        found.commits.into_iter().find(|of| of.commit.as_deref() == Some(commit)).map(|of| of.holder)
    };
    assert!(check().holds(), "{:?}", check().problems);
    assert_eq!(holder(&lost), Some(Holder::Bundle(format!("{}.bundle", clean.kept.bundle.as_ref().unwrap()))));
    for bundle in [case.bundle(&run), case.bundle(&clean)] {
        let whole = fs::read(&bundle).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&bundle, changed).unwrap();
            let problems = check().problems;
            let named =
                problems.iter().any(|it| it.file == bundle && it.what.starts_with("changed since it was written"));
            assert!(named, "{}: {problems:?}", bundle.display());
        }
        fs::remove_file(&bundle).unwrap();
        assert!(check().problems.iter().any(|it| it.file == bundle && it.what.starts_with("missing; run ")));
        fs::write(&bundle, whole).unwrap();
    }
    // Bundles that only look like some: for this commit, and for another one. They prove nothing, and hide nothing.
    for id in [&lost, &"0".repeat(40)] {
        let junk = format!("# v2 git bundle\n{id} refs/sempair/{id}\n\njunk");
        let name = blake3::hash(junk.as_bytes()).to_hex();
        fs::write(ledger.dir().join(format!("source/{name}.bundle")), junk).unwrap();
    }
    assert!(check().holds());
    assert_eq!(case.rebuilt(case.clone().path(), &clean).0, None);
    fs::remove_file(case.bundle(&clean)).unwrap();
    fs::remove_file(case.bundle(&run)).unwrap();
    assert_eq!(holder(&lost), Some(Holder::Unknown));
}

//! The code of a run is kept in the ledger, and comes back from it.

use std::fs;
use std::path::Path;

use sempair::harness::audit::{Subject, audit};
use sempair::harness::git::{Git, Holder, Tree};
use sempair::harness::record::Record;
use sempair::harness::runner;
use sempair::harness::source::{CheckedOut, DirtyTree, Policy, check_out};
use tempfile::TempDir;

use super::Project;
use super::rebuild::git;

/// A project in a repository with a remote that has its first commit.
fn with_remote() -> (Project, TempDir) {
    let (project, remote) = (Project::new(), TempDir::new().unwrap());
    let root = project.folder.path();
    git(remote.path(), &["init", "-q", "--bare"]);
    git(root, &["init", "-q", "-b", "main"]);
    fs::write(root.join(".gitignore"), "/reports\n/locks\n/cache\nignored*\n").unwrap();
    fs::write(root.join("code.rs"), "one\n").unwrap();
    fs::create_dir(root.join("deep")).unwrap();
    fs::write(root.join("deep/unchanged.rs"), "of the first commit\n").unwrap();
    commit(root, "first");
    git(root, &["remote", "add", "origin", &format!("file://{}", remote.path().display())]);
    git(root, &["push", "-q", "origin", "main"]);
    (project, remote)
}

fn commit(root: &Path, message: &str) -> String {
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "-m", message]);
    git(root, &["rev-parse", "HEAD"])
}

/// Runs the project's table again, and returns the newest record.
fn run(project: &Project, policy: Policy) -> Result<Record, sempair::error::Error> {
    project.run_experiment(&project.count, &runner::Options { source: policy, ..project.options(true) })?;
    Ok(project.ledger().records().unwrap().0.pop().unwrap())
}

const KEEP: Policy = Policy { dirty: DirtyTree::Record, keep_mib: 16 };

/// The files below a folder except those of git and of the project's outputs, with their contents.
fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && ![".git", "reports", "locks", "cache"].contains(&&*name) {
                open.push(path);
            } else if path.is_file() {
                found.push((name, fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// What [`check_out`] makes of a run, from the repository in `repo` and the project's ledger.
fn rebuilt(project: &Project, repo: &Path, run: &Git) -> (CheckedOut, Vec<(String, Vec<u8>)>) {
    let to = TempDir::new().unwrap();
    let checked_out = check_out(repo, project.ledger().dir(), run, to.path()).unwrap();
    (checked_out, files(to.path()))
}

#[test]
fn a_commit_on_a_remote_needs_nothing_kept() {
    let (project, remote) = with_remote();
    let record = run(&project, KEEP).unwrap();
    assert_eq!((record.git.tree(), record.git.on_remote.as_deref()), (Tree::Clean, Some("origin/main")));
    assert_eq!(record.git.remotes["origin"], format!("file://{}", remote.path().display()));
    assert_eq!(record.git.kept, Default::default());
    assert!(!project.ledger().dir().join("source").exists());
    git(project.folder.path(), &["remote", "set-url", "origin", "https://me:pass@example.org/x"]);
    assert_eq!(run(&project, KEEP).unwrap().git.remotes["origin"], "https://[redacted]@example.org/x");
}

#[test]
fn changes_are_kept_as_a_patch_that_gives_the_files_back() {
    let (project, _remote) = with_remote();
    let root = project.folder.path();
    fs::write(root.join("binary"), (0..=255).cycle().take(3000).collect::<Vec<u8>>()).unwrap();
    fs::write(root.join("gone.rs"), "gone\n").unwrap();
    commit(root, "second");
    git(root, &["push", "-q", "origin", "main"]);
    fs::write(root.join("code.rs"), "two, without an end of line").unwrap();
    fs::write(root.join("binary"), (0..=254).rev().cycle().take(2000).collect::<Vec<u8>>()).unwrap();
    fs::remove_file(root.join("gone.rs")).unwrap();
    fs::create_dir_all(root.join("new/below")).unwrap();
    fs::write(root.join("new/below/a.rs"), "untracked\n").unwrap();
    fs::write(root.join("new/empty.rs"), "").unwrap();
    fs::write(root.join("ü.rs"), "untracked, too\n").unwrap();
    fs::write(root.join("ignored.rs"), "not seen").unwrap();
    let run = run(&project, KEEP).unwrap();
    assert_eq!((run.git.tree(), &run.git.kept.bundle, &run.git.kept.note), (Tree::Dirty, &None, &None));
    let listed: Vec<_> = run.git.untracked_files.iter().map(|file| (&*file.path, file.bytes, file.kept)).collect();
    assert_eq!(listed, [("new/below/a.rs", 10, true), ("new/empty.rs", 0, true), ("ü.rs", 15, true)]);

    let (checked_out, found) = rebuilt(&project, root, &run.git);
    fs::remove_file(root.join("ignored.rs")).unwrap();
    assert_eq!((checked_out, found), (CheckedOut::Whole, files(root)));
    // The program `git` makes the same of it.
    let (clone, patch) = (TempDir::new().unwrap(), run.git.kept.patch.as_ref().unwrap());
    git(clone.path(), &["clone", "-q", root.to_str().unwrap(), "."]);
    let patch = project.ledger().dir().join(format!("source/{patch}.patch"));
    git(clone.path(), &["apply", "--index", patch.to_str().unwrap()]);
    assert_eq!(files(clone.path()), files(root));
    // Nothing was written to the repository.
    assert_eq!(git(root, &["for-each-ref", "refs/sempair"]), "");
}

#[test]
fn what_is_large_or_secret_is_listed_and_not_kept() {
    let (project, _remote) = with_remote();
    let root = project.folder.path();
    fs::write(root.join("large.bin"), vec![7; 100_000]).unwrap();
    fs::write(root.join(".env"), "API_KEY=abcdef").unwrap();
    fs::write(root.join("mine"), "-----BEGIN OPENSSH PRIVATE KEY-----\nabcdef").unwrap();
    fs::write(root.join("token.txt"), "abcdef").unwrap();
    fs::write(root.join("key.rs"), "struct Key;").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
    let record = run(&project, KEEP).unwrap();
    let kept: Vec<_> =
        record.git.untracked_files.iter().map(|file| (&*file.path, file.kept, file.hash.is_some())).collect();
    let expected = [
        (".env", false, true),
        ("key.rs", true, true),
        ("large.bin", false, true),
        ("link", false, false),
        ("mine", false, true),
        ("token.txt", false, true),
    ];
    assert_eq!(kept, expected);
    let note = "5 untracked files are large, secret or unreadable";
    assert_eq!(record.git.kept.note.as_deref(), Some(note));
    let patch = record.git.kept.patch.as_ref().unwrap();
    let patch = fs::read_to_string(project.ledger().dir().join(format!("source/{patch}.patch"))).unwrap();
    assert!(patch.contains("+struct Key;") && !patch.contains("abcdef") && !patch.contains("passwd"), "{patch}");
    assert_eq!(rebuilt(&project, root, &record.git).0, CheckedOut::Partly(note.to_owned()));
    // Another content of a file that is not kept is another difference.
    fs::write(root.join("large.bin"), vec![8; 100_000]).unwrap();
    assert_ne!(run(&project, KEEP).unwrap().git.diff_hash, record.git.diff_hash);
    let none = run(&project, Policy { keep_mib: 0, ..KEEP }).unwrap().git.kept;
    assert!(none.patch.is_none() && none.note.unwrap().contains("more than `source.keep_mib` allows"));
}

#[test]
fn a_commit_on_no_remote_is_kept_as_a_thin_bundle() {
    let (project, remote) = with_remote();
    let root = project.folder.path();
    for message in ["second", "third"] {
        fs::write(root.join("code.rs"), message).unwrap();
        commit(root, message);
    }
    let tree = git(root, &["rev-parse", "HEAD^{tree}"]);
    let unpushed = run(&project, KEEP).unwrap().git;
    assert_eq!((unpushed.tree(), &unpushed.on_remote, &unpushed.kept.note), (Tree::Clean, &None, &None));
    let bundle = unpushed.kept.bundle.clone().unwrap();
    let bundle = project.ledger().dir().join(format!("source/{bundle}.bundle"));
    assert!(!fs::read(&bundle).unwrap().is_empty());

    // Someone who has only what the remote has gets the same tree, also from `git`.
    let (clone, commit_id) = (TempDir::new().unwrap(), unpushed.commit.clone().unwrap());
    git(clone.path(), &["clone", "-q", "-b", "main", remote.path().to_str().unwrap(), "."]);
    assert_eq!(git(clone.path(), &["log", "--format=%s"]), "first");
    let (checked_out, found) = rebuilt(&project, clone.path(), &unpushed);
    assert_eq!((checked_out, &found), (CheckedOut::Whole, &files(root)));
    git(clone.path(), &["bundle", "verify", "-q", bundle.to_str().unwrap()]);
    git(clone.path(), &["fetch", "-q", bundle.to_str().unwrap(), &format!("refs/sempair/{commit_id}")]);
    assert_eq!(git(clone.path(), &["rev-parse", "FETCH_HEAD^{tree}"]), tree);
    // It is thin: without the first commit it gives nothing.
    let empty = TempDir::new().unwrap();
    assert!(check_out(empty.path(), project.ledger().dir(), &unpushed, &empty.path().join("to")).is_err());

    // A second run writes no second bundle, and a further commit needs only what the first bundle does not have.
    assert_eq!(run(&project, KEEP).unwrap().git.kept.bundle, unpushed.kept.bundle);
    fs::write(root.join("deep/more.rs"), "fourth").unwrap();
    commit(root, "fourth");
    let next = run(&project, KEEP).unwrap().git;
    assert_ne!(next.kept.bundle, unpushed.kept.bundle);
    assert_eq!(rebuilt(&project, clone.path(), &next), (CheckedOut::Whole, files(root)));
    fs::write(root.join("code.rs"), "and not committed").unwrap();
    let changed = run(&project, KEEP).unwrap().git;
    assert_eq!(changed.kept.bundle, next.kept.bundle);
    assert_eq!(rebuilt(&project, clone.path(), &changed), (CheckedOut::Whole, files(root)));
    // Once it is pushed, nothing needs to be kept.
    git(root, &["push", "-q", "origin", "main"]);
    assert_eq!(run(&project, KEEP).unwrap().git.kept.bundle, None);
}

#[test]
fn a_file_that_an_old_commit_had_is_in_the_bundle_again() {
    let (project, remote) = with_remote();
    let root = project.folder.path();
    fs::remove_file(root.join("code.rs")).unwrap();
    commit(root, "removed");
    git(root, &["push", "-q", "origin", "main"]);
    fs::write(root.join("code.rs"), "one\n").unwrap();
    fs::set_permissions(root.join("code.rs"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("code.rs", root.join("link")).unwrap();
    commit(root, "again");
    let run = run(&project, KEEP).unwrap().git;
    let clone = TempDir::new().unwrap();
    git(clone.path(), &["clone", "-q", "-b", "main", remote.path().to_str().unwrap(), "."]);
    assert_eq!(rebuilt(&project, clone.path(), &run), (CheckedOut::Whole, files(root)));
}

#[test]
fn without_a_remote_the_history_is_kept_unless_it_is_too_large() {
    let (project, _remote) = with_remote();
    let root = project.folder.path();
    git(root, &["remote", "remove", "origin"]);
    let whole = run(&project, KEEP).unwrap().git;
    let empty = TempDir::new().unwrap();
    assert_eq!(rebuilt(&project, empty.path(), &whole), (CheckedOut::Whole, files(root)));
    fs::remove_dir_all(project.ledger().dir().join("source")).unwrap();
    let random: Vec<u8> =
        (0..3u32 << 18).flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..4].to_vec()).collect();
    fs::write(root.join("large"), random).unwrap();
    commit(root, "large");
    let none = run(&project, Policy { keep_mib: 2, ..KEEP }).unwrap().git;
    let note = none.kept.note.unwrap();
    assert!(note.contains("is on no remote, and its bundle has 4 MiB, more than `source.keep_mib` allows"), "{note}");
    assert_eq!(none.kept.bundle, None);
}

#[test]
fn a_policy_refuses_a_dirty_tree_or_commits_it_to_a_reference_of_its_own() {
    let (project, remote) = with_remote();
    let root = project.folder.path();
    let refuse = Policy { dirty: DirtyTree::Refuse, ..KEEP };
    let snapshot = Policy { dirty: DirtyTree::Snapshot, ..KEEP };
    let clean = run(&project, refuse).unwrap().git;
    assert_eq!(run(&project, snapshot).unwrap().git, clean);
    let runs = project.ledger().records().unwrap().0.len();
    fs::write(root.join("code.rs"), "two\n").unwrap();
    fs::write(root.join("new.rs"), "untracked\n").unwrap();
    let error = run(&project, refuse).unwrap_err();
    let commit_id = clean.commit.as_ref().unwrap();
    let what = format!("files are not those of commit {}, and `source.dirty` is `refuse`", &commit_id[..12]);
    assert_eq!((error.what(), project.ledger().records().unwrap().0.len()), (&*what, runs));
    assert!(error.hint_text().unwrap().contains("`--set source.dirty=snapshot`"));

    let status = git(root, &["status", "--porcelain"]);
    let taken = run(&project, snapshot).unwrap().git;
    let id = taken.kept.snapshot.clone().unwrap();
    assert_eq!((git(root, &["rev-parse", "HEAD"]), git(root, &["status", "--porcelain"])), (commit_id.clone(), status));
    assert_eq!(git(root, &["rev-parse", &format!("refs/sempair/{id}^")]), *commit_id);
    assert_eq!(git(root, &["show", &format!("{id}:new.rs")]), "untracked");
    // The same files give the same commit, and it is in a bundle.
    assert_eq!(run(&project, snapshot).unwrap().git, taken);
    let clone = TempDir::new().unwrap();
    git(clone.path(), &["clone", "-q", "-b", "main", remote.path().to_str().unwrap(), "."]);
    assert_eq!(rebuilt(&project, clone.path(), &taken), (CheckedOut::Whole, files(root)));

    fs::write(root.join("large.bin"), vec![7; 100_000]).unwrap();
    let error = run(&project, snapshot).unwrap_err();
    let what = "cannot make a snapshot: untracked files are large, secret or unreadable: large.bin";
    assert_eq!(error.what(), what);
    let (outside, no_repository) = (Project::new(), "no commit can be recorded: not a git repository");
    assert_eq!(run(&outside, refuse).unwrap_err().what(), no_repository);
    assert!(run(&outside, snapshot).is_ok());
}

#[test]
fn an_audit_names_kept_files_that_changed_and_commits_that_only_a_bundle_has() {
    let (project, _remote) = with_remote();
    let root = project.folder.path();
    fs::write(root.join("code.rs"), "two\n").unwrap();
    let lost = commit(root, "second");
    fs::write(root.join("code.rs"), "three\n").unwrap();
    let run = run(&project, KEEP).unwrap();
    fs::write(root.join("code.rs"), "one\n").unwrap();
    git(root, &["reset", "-q", "--hard", "origin/main"]);
    git(root, &["reflog", "expire", "--expire=now", "--all"]);
    git(root, &["gc", "-q", "--prune=now"]);
    let check = || audit(&project.ledger(), &project.cache(), root, Subject::Everything, false).unwrap();
    let found = check();
    assert!(found.holds(), "{found:?}");
    let holder = &found.commits.iter().find(|commit| commit.commit.as_ref() == Some(&lost)).unwrap().holder;
    let [bundle, patch] = [&run.git.kept.bundle, &run.git.kept.patch].map(|name| name.clone().unwrap());
    assert_eq!(*holder, Holder::Bundle(format!("{bundle}.bundle")));
    for name in [format!("{bundle}.bundle"), format!("{patch}.patch")] {
        let file = project.ledger().dir().join("source").join(&name);
        let whole = fs::read(&file).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, changed).unwrap();
            let problems = check().problems;
            let named =
                problems.iter().any(|it| it.file == file && it.what.starts_with("changed since it was written"));
            assert!(named, "{name}: {problems:?}");
        }
        fs::remove_file(&file).unwrap();
        assert!(check().problems.iter().any(|it| it.file == file && it.what.starts_with("missing; run ")));
        fs::write(&file, whole).unwrap();
    }
    assert!(check().holds());
}

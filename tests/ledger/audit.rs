//! The recorded git state, and the changes that an audit finds.

use super::Project;
use crate::commands::program;
use sempair::harness::audit::Subject;
use sempair::harness::audit::audit;
use sempair::harness::cache::Held;
use sempair::harness::git::Git;
use sempair::harness::git::Holder;
use sempair::harness::git::Tree;
use std::fs;
use std::path::Path;

pub(super) fn commit(repository: &git2::Repository) -> String {
    let mut index = repository.index().unwrap();
    index.add_all(["."], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let who = git2::Signature::now("a", "a@b").unwrap();
    repository.commit(Some("HEAD"), &who, &who, "first", &tree, &[]).unwrap().to_string()
}

/// The git state of a folder whose output folders have their default names.
fn read(root: &Path) -> Git {
    Git::read(root, &["reports", ".sempair"].map(|name| root.join(name)))
}

#[test]
fn git_is_described_and_its_absence_too() {
    let project = Project::new();
    let root = project.folder.path();
    assert_eq!(read(root).note.as_deref(), Some("not a git repository"));
    assert!(!read(root).is_unreadable() && read(root).tree() == Tree::Unknown);
    let repository = git2::Repository::init(root).unwrap();
    let unborn = read(root);
    assert_eq!((unborn.note.as_deref(), unborn.tree()), (Some("no commit yet"), Tree::Unknown));
    fs::write(root.join("code.rs"), "one").unwrap();
    let id = commit(&repository);
    fs::create_dir_all(root.join("reports/ledger")).unwrap();
    fs::write(root.join("reports/ledger/a.json"), "{}").unwrap();
    let clean = read(root);
    assert_eq!((clean.tree(), clean.commit, clean.diff_hash), (Tree::Clean, Some(id.clone()), None));
    fs::write(root.join("code.rs"), "two").unwrap();
    let dirty = read(root);
    assert!(dirty.tree() == Tree::Dirty && dirty.untracked.is_empty());
    fs::write(root.join("new.rs"), "").unwrap();
    let more = read(root);
    assert_eq!(more.untracked, ["new.rs"]);
    assert_ne!(more.diff_hash, dirty.diff_hash);
    let bare = root.join("bare");
    let options = &mut git2::build::RepoBuilder::new();
    options.bare(true).clone(root.to_str().unwrap(), &bare).unwrap();
    let bare = read(&bare);
    assert_eq!((bare.tree(), bare.commit), (Tree::Unknown, Some(id)));
    assert_eq!(bare.note.as_deref(), Some("a repository without a working tree"));
}

/// A repository that the `git` program made, with one committed file.
fn made_by_git(options: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &[&["init", "-q"], options].concat());
    fs::write(folder.path().join("code.py"), "1").unwrap();
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-q", "-m", "first"]);
    folder
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-C"];
    let done = program("git").args(identity).arg(folder).args(arguments).output().unwrap();
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn repositories_that_libgit2_does_not_read_are_asked_of_git() {
    for options in [&["--object-format=sha256"][..], &["--ref-format=reftable"]] {
        let folder = made_by_git(options);
        let clean = read(folder.path());
        assert_eq!((clean.tree(), clean.note.as_ref()), (Tree::Clean, None), "{options:?}");
        let commit = clean.commit.unwrap();
        assert_eq!(commit.len(), if options[0].ends_with("sha256") { 64 } else { 40 });
        assert_eq!(sempair::harness::git::resolve(folder.path(), "HEAD").unwrap().as_ref(), Some(&commit));
        assert_eq!(sempair::harness::git::resolve(folder.path(), "nope").unwrap(), None);
        fs::write(folder.path().join("code.py"), "2").unwrap();
        assert_eq!(read(folder.path()).tree(), Tree::Dirty, "{options:?}");
    }
    let split = made_by_git(&[]);
    git(split.path(), &["update-index", "--split-index"]);
    assert_eq!(read(split.path()).tree(), Tree::Clean);
    fs::write(split.path().join("code.py"), "2").unwrap();
    let dirty = read(split.path());
    fs::write(split.path().join("code.py"), "3").unwrap();
    assert_eq!(dirty.tree(), Tree::Dirty);
    assert_ne!(dirty.diff_hash, read(split.path()).diff_hash);
}

#[test]
fn what_git_calls_clean_is_clean() {
    // A filter that changes the stored content, like large-file storage.
    let filtered = made_by_git(&[]);
    git(filtered.path(), &["config", "filter.upper.clean", "tr a-z A-Z"]);
    fs::write(filtered.path().join(".gitattributes"), "*.txt filter=upper\n").unwrap();
    fs::write(filtered.path().join("a.txt"), "text").unwrap();
    git(filtered.path(), &["add", "-A"]);
    git(filtered.path(), &["commit", "-q", "-m", "second"]);
    fs::write(filtered.path().join("a.txt"), "TEXT").unwrap();
    assert_eq!(read(filtered.path()).tree(), Tree::Clean);
    fs::write(filtered.path().join("a.txt"), "other").unwrap();
    assert_eq!(read(filtered.path()).tree(), Tree::Dirty);

    let sparse = made_by_git(&[]);
    fs::create_dir(sparse.path().join("far")).unwrap();
    fs::write(sparse.path().join("far/b.py"), "1").unwrap();
    git(sparse.path(), &["add", "-A"]);
    git(sparse.path(), &["commit", "-q", "-m", "second"]);
    git(sparse.path(), &["sparse-checkout", "set", "--no-cone", "/code.py"]);
    assert!(!sparse.path().join("far/b.py").exists());
    assert_eq!(read(sparse.path()).tree(), Tree::Clean);
}

#[test]
fn outputs_make_no_tree_dirty_wherever_they_are() {
    let folder = made_by_git(&[]);
    let root = folder.path();
    for output in ["results", "deep/below/results", "deep/cache"] {
        fs::create_dir_all(root.join(output)).unwrap();
        fs::write(root.join(output).join("a"), "").unwrap();
    }
    let outputs = ["results", "deep/below/results", "deep/cache"].map(|output| root.join(output));
    assert_eq!(Git::read(root, &outputs).tree(), Tree::Clean);
    assert_eq!(Git::read(&root.join("deep"), &outputs).tree(), Tree::Clean);
    // The paths of the outputs may also go through a link.
    std::os::unix::fs::symlink(root, root.join("results/link")).unwrap();
    assert_eq!(
        Git::read(root, &outputs.clone().map(|path| root.join("results/link").join(path.strip_prefix(root).unwrap())))
            .tree(),
        Tree::Clean
    );
    fs::write(root.join("deep/below/code.py"), "1").unwrap();
    assert_eq!(Git::read(root, &outputs).untracked, ["deep/below/code.py"]);
    // The whole repository does not count as an output.
    fs::remove_file(root.join("deep/below/code.py")).unwrap();
    assert_eq!(Git::read(root, &[root.to_owned()]).tree(), Tree::Dirty);
}

#[test]
fn an_audit_notices_edited_records_and_changed_files() {
    let project = Project::new();
    let root = project.folder.path();
    let repository = git2::Repository::init(root).unwrap();
    fs::write(root.join("code.rs"), "one").unwrap();
    let id = commit(&repository);
    fs::write(root.join("code.rs"), "two").unwrap();
    project.run(false).unwrap();
    let check = |rev: &str| audit(&project.ledger(), &project.cache(), root, Subject::Named(rev), true);
    let all = check("HEAD").unwrap();
    assert!(all.holds(), "{all:?}");
    assert_eq!((all.commit.as_ref(), all.runs.len(), all.runs[0].tree), (Some(&id), 2, Tree::Dirty));
    assert_eq!(all.runs[0].stages[0].held, Held::Ok);
    assert_eq!(check(&id[..7]).unwrap().runs.len(), 2);
    let elsewhere = tempfile::tempdir().unwrap();
    let there = audit(&project.ledger(), &project.cache(), elsewhere.path(), Subject::Named(&id[..7]), true).unwrap();
    assert_eq!((there.runs.len(), &there.commits[0].holder), (2, &Holder::NotAsked));
    assert!(check("nope").unwrap_err().to_string().starts_with("no commit `nope`, neither in the repository nor"));

    let stage = &project.records()[0].stages[0];
    fs::write(project.cache().folder("shared", &stage.key).join("out"), "sharad").unwrap();
    let held = check("HEAD").unwrap().runs[1].stages[0].held.clone();
    assert_eq!(held, Held::Changed(vec!["out".to_owned()]));
    fs::remove_dir_all(project.cache().root()).unwrap();
    assert_eq!(check("HEAD").unwrap().runs[1].stages[0].held, Held::Missing);
    assert!(check("HEAD").unwrap().holds());

    let file = project.ledger().dir().join(format!("{}.json", all.runs[1].id));
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("54.2", "64.2")).unwrap();
    let after = check("HEAD").unwrap();
    assert_eq!((after.runs[0].intact, after.runs[1].intact, after.holds()), (true, false, false));
}

#[test]
fn no_figure_comes_from_a_record_that_was_edited() {
    let project = Project::new();
    project.run(false).unwrap();
    let ledger = project.ledger();
    let [first, second] = &project.records()[..] else { panic!("two records") };
    let file = ledger.dir().join(format!("{}.json", second.id));
    let text = fs::read_to_string(&file).unwrap();
    for edited in
        [text.replace("54.2", "64.2"), text.replacen("\"seed\": ", "\"seed\": 1", 1), text.replace(",\n", ", \n") + " "]
    {
        fs::write(&file, &edited).unwrap();
        let (records, problems) = ledger.records().unwrap();
        let same = serde_json::from_str::<serde_json::Value>(&edited).unwrap()
            == serde_json::from_str::<serde_json::Value>(&text).unwrap();
        if same {
            // Other white space has the same meaning.
            assert_eq!((records.len(), problems.len()), (2, 0));
            continue;
        }
        assert_eq!(records, std::slice::from_ref(first));
        assert_eq!(problems[0].what, "its hash does not match: it was changed after it was written");
        assert!(ledger.find(&second.id).unwrap_err().to_string().contains("its hash does not match"));
        assert!(!ledger.look_up(&second.id).unwrap().1);
    }
    // The cell no longer has a result, so it is run again.
    fs::write(&file, text.replace("54.2", "64.2")).unwrap();
    project.run(false).unwrap();
    assert_eq!(ledger.all().unwrap().0.len(), 3);
    assert_eq!(ledger.records().unwrap().0.len(), 2);
}

#[test]
#[cfg(unix)]
fn an_audit_opens_plain_files_of_the_cache_alone() {
    let project = Project::new();
    project.run(false).unwrap();
    let (cache, root) = (project.cache(), project.folder.path());
    let stage = project.records()[0].stages[0].clone();
    let folder = cache.folder(&stage.name, &stage.key);
    assert_eq!(cache.check(&stage, true), Held::Ok);
    let outside = root.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::copy(folder.join("out"), outside.join("out")).unwrap();
    fs::create_dir_all(cache.root().join("trap/k")).unwrap();
    // A pipe without a writer: a program that opens it waits for ever.
    assert!(program("mkfifo").arg(cache.root().join("trap/k/out")).status().unwrap().success());
    std::os::unix::fs::symlink(&outside, cache.root().join("trap/k/linked")).unwrap();
    std::os::unix::fs::symlink(outside.join("out"), cache.root().join("trap/k/link")).unwrap();
    let with = |name: &str, key: &str, file: &str| {
        let mut stage = stage.clone();
        (stage.name, stage.key) = (name.to_owned(), key.to_owned());
        stage.files.retain(|found| found.name == "out");
        stage.files[0].name = file.to_owned();
        cache.check(&stage, true)
    };
    for file in ["out", "link", "linked/out", "../../outside/out", outside.join("out").to_str().unwrap(), "."] {
        assert_eq!(with("trap", "k", file), Held::Changed(vec![file.to_owned()]), "{file}");
    }
    for (name, key) in
        [(root.to_str().unwrap(), "outside"), ("..", "outside"), ("trap/k", "linked"), ("", "k"), ("trap", "")]
    {
        let Held::Changed(why) = with(name, key, "out") else { panic!("{name}/{key} was read") };
        assert!(why[0].ends_with("which is not the name of a stage"), "{why:?}");
    }
}

//! What is recorded of git, and what an audit notices.

use super::Project;
use sempair::harness::audit::audit;
use sempair::harness::cache::Held;
use sempair::harness::provenance::Git;
use std::fs;

fn commit(repository: &git2::Repository) -> String {
    let mut index = repository.index().unwrap();
    index.add_all(["."], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let who = git2::Signature::now("a", "a@b").unwrap();
    repository.commit(Some("HEAD"), &who, &who, "first", &tree, &[]).unwrap().to_string()
}

#[test]
fn git_is_described_and_its_absence_too() {
    let project = Project::new();
    let root = project.folder.path();
    let repository = git2::Repository::init(root).unwrap();
    assert_eq!(Git::read(root).note.as_deref(), Some("no commit yet"));
    fs::write(root.join("code.rs"), "one").unwrap();
    let id = commit(&repository);
    fs::create_dir_all(root.join("reports/ledger")).unwrap();
    fs::write(root.join("reports/ledger/a.json"), "{}").unwrap();
    let clean = Git::read(root);
    assert_eq!((clean.commit, clean.dirty, clean.diff_hash), (Some(id.clone()), false, None));
    fs::write(root.join("code.rs"), "two").unwrap();
    let dirty = Git::read(root);
    assert!(dirty.dirty && dirty.untracked.is_empty());
    fs::write(root.join("new.rs"), "").unwrap();
    let more = Git::read(root);
    assert_eq!(more.untracked, ["new.rs"]);
    assert_ne!(more.diff_hash, dirty.diff_hash);
    let bare = root.join("bare");
    let options = &mut git2::build::RepoBuilder::new();
    options.bare(true).clone(root.to_str().unwrap(), &bare).unwrap();
    let bare = Git::read(&bare);
    assert_eq!((bare.commit, bare.note.as_deref()), (Some(id), Some("a repository without a working tree")));
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
    let check = |rev: &str| audit(&project.ledger(), &project.cache(), root, rev);
    let all = check("HEAD").unwrap();
    assert!(all.holds());
    assert_eq!((all.commit.as_str(), all.runs.len(), all.runs[0].dirty), (id.as_str(), 2, true));
    assert_eq!(all.runs[0].stages[0].held, Held::Ok);
    assert_eq!(check(&id[..7]).unwrap().runs.len(), 2);
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(audit(&project.ledger(), &project.cache(), elsewhere.path(), &id[..7]).unwrap().runs.len(), 2);
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

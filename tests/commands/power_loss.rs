//! Disks that fail: a loss of power between any two syncs, and a disk that is full from some write on. `disk.c` watches and
//! fails the program's writes; where there is no C compiler on Linux, these tests say so and end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;

use sempair::harness::ledger::Ledger;
use sempair::harness::record::Status;

use super::*;

/// The library that is preloaded into the program, compiled once; `None` where it cannot be.
fn disk() -> Option<PathBuf> {
    let source = include_str!("disk.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join(format!("disk-{}.so", &blake3::hash(source.as_bytes()).to_hex()[..16]));
    if !cfg!(target_os = "linux")
        || !program("cc").arg("--version").output().is_ok_and(|output| output.status.success())
    {
        println!("skipped: failing disks need a C compiler on Linux");
        return None;
    }
    if !library.exists() {
        let building = tempfile::NamedTempFile::new_in(folder).unwrap().into_temp_path();
        let mut compiler = program("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-x", "c", "-", "-ldl", "-lpthread", "-o"]).arg(&building);
        let mut child = compiler.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        fs::rename(&building, &library).unwrap();
    }
    Some(library)
}

fn table() -> Vec<&'static str> {
    [&["reproduce", "--table", "transfer", "--quiet", "--threads", "1"], TINY].concat()
}

/// The command on the watched disk. Its own folders for temporary files are not on it.
fn watched(place: &Place, library: &Path) -> Command {
    let mut command = place.command(&table());
    command.env("LD_PRELOAD", library).env("DISK_ROOT", place.path().canonicalize().unwrap());
    command
}

/// Asserts that everything is as it was recorded.
fn assert_audited(place: &Place, what: &str) {
    let output = place.run(&["audit", ".", "--deep"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{what}: {text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text.contains(" runs in reports/ledger") && text.contains("everything is as it was recorded"),
        "{what}: {text}"
    );
}

/// What the completed runs of a place have measured, but for times.
fn figures(place: &Place) -> BTreeMap<String, String> {
    let Value::Array(runs) = place.json(&["runs", "--json"]) else { panic!("a list") };
    let completed = runs.iter().filter(|run| run["status"] == "completed");
    let of_run = |run: &Value| {
        let metrics = run["metrics"].as_object().unwrap().iter().filter(|(name, _)| !name.contains("seconds"));
        let metrics: Vec<_> = metrics.collect();
        (
            format!("{} {}", run["row"], run["column"]),
            format!("{metrics:?} {} {}", run["checkpoint"], run["predictions"]),
        )
    };
    completed.map(of_run).collect()
}

/// One name on the disk.
#[derive(Clone)]
struct Entry {
    folder: u64,
    inode: u64,
    is_folder: bool,
    name: String,
}

/// A sync: what is durable from now on, and all names at that moment.
struct Sync {
    inode: u64,
    /// The content of a file; `None` for a folder.
    content: Option<Vec<u8>>,
    entries: Vec<Entry>,
}

/// Reads the log of `disk.c`.
fn syncs(log: &[u8]) -> Vec<Sync> {
    let (mut rest, mut syncs) = (log, Vec::new());
    let line = |rest: &mut &[u8]| {
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap();
        let line = String::from_utf8(rest[..end].to_vec()).unwrap();
        *rest = &rest[end + 1..];
        line
    };
    while !rest.is_empty() {
        let first = line(&mut rest);
        let words: Vec<&str> = first.split(' ').collect();
        let content = (words[0] == "file").then(|| {
            let (content, after) = rest.split_at(words[2].parse().unwrap());
            rest = after;
            content.to_vec()
        });
        let mut sync = Sync { inode: words[1].parse().unwrap(), content, entries: Vec::new() };
        loop {
            let entry = line(&mut rest);
            if entry == "end" {
                break;
            }
            let words: Vec<&str> = entry.splitn(5, ' ').collect();
            let (folder, inode) = (words[1].parse().unwrap(), words[2].parse().unwrap());
            sync.entries.push(Entry { folder, inode, is_folder: words[3] == "d", name: words[4].into() });
        }
        syncs.push(sync);
    }
    syncs
}

/// What a disk holds after a loss of power: contents by path.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// What may be left after a loss of power.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// Only what was synced: a name only if its folder was synced after it was given.
    Synced,
    /// All names, but only the contents that were synced: others are empty.
    AllNames,
}

/// The states of the disk that a loss of power after each sync leaves.
fn states(syncs: &[Sync], root: u64, left: Left) -> Vec<Tree> {
    let mut contents: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut names: HashMap<u64, Vec<Entry>> = HashMap::new();
    let after = |sync: &Sync| {
        let there: BTreeSet<u64> = sync.entries.iter().map(|entry| entry.inode).collect();
        contents.retain(|inode, _| there.contains(inode));
        let of = |folder: u64| sync.entries.iter().filter(move |entry| entry.folder == folder).cloned().collect();
        match (&sync.content, left) {
            (Some(content), _) => drop(contents.insert(sync.inode, content.clone())),
            (None, Left::Synced) => drop(names.insert(sync.inode, of(sync.inode))),
            (None, Left::AllNames) => {}
        }
        if matches!(left, Left::AllNames) {
            names.clear();
            sync.entries.iter().for_each(|entry| names.entry(entry.folder).or_default().push(entry.clone()));
        }
        let mut tree = Tree::new();
        let mut folders = vec![(root, PathBuf::new())];
        while let Some((folder, path)) = folders.pop() {
            for entry in names.get(&folder).into_iter().flatten() {
                let path = path.join(&entry.name);
                if entry.is_folder {
                    folders.push((entry.inode, path));
                } else {
                    tree.insert(path, contents.get(&entry.inode).cloned().unwrap_or_default());
                }
            }
        }
        tree
    };
    syncs.iter().map(after).collect()
}

/// The runs of a ledger that was found on the disk, with whether each is completed. Nothing in it may be damaged.
fn runs(tree: &Tree, what: &str) -> BTreeMap<String, bool> {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in tree.iter().filter(|(path, _)| path.starts_with("reports/ledger")) {
        let name = path.file_name().unwrap();
        // Hidden files are not finished.
        if !name.to_string_lossy().starts_with('.') {
            fs::write(folder.path().join(name), content).unwrap();
        }
    }
    let (records, problems) = Ledger::open(folder.path(), folder.path().join("locks")).records().unwrap();
    assert!(problems.is_empty(), "{what}: {problems:?}");
    records.into_iter().map(|record| (record.id.clone(), record.status == Status::Completed)).collect()
}

#[test]
fn a_loss_of_power_loses_no_record_and_leaves_none_half_written() {
    use std::os::unix::fs::MetadataExt;
    let Some(library) = disk() else { return };
    let (place, log) = (Place::new(), tempfile::NamedTempFile::new().unwrap());
    let output = watched(&place, &library).env("DISK_LOG", log.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = figures(&place);
    let (syncs, root) = (syncs(&fs::read(log.path()).unwrap()), fs::metadata(place.path()).unwrap().ino());
    assert!(syncs.len() > 40, "{} syncs", syncs.len());
    for left in [Left::Synced, Left::AllNames] {
        let states = states(&syncs, root, left);
        let mut before = BTreeMap::new();
        for (index, state) in states.iter().enumerate() {
            let what = format!("{left:?}, after sync {index}");
            let now = runs(state, &what);
            for (id, completed) in &before {
                assert!(now.get(id).is_some_and(|now| now >= completed), "{what}: run {id} is lost or not completed");
            }
            before = now;
        }
        assert!(before.len() == expected.len() && before.values().all(|completed| *completed), "{left:?}: {before:?}");
        // The report is there, too, and the same command goes on from any state to the same figures.
        let report = PathBuf::from("reports/quick/report.html");
        assert!(states.last().unwrap()[&report] == fs::read(place.path().join(&report)).unwrap(), "{left:?}");
        for part in 1..4 {
            let (index, found) = (states.len() * part / 4, Place::new());
            for (path, content) in &states[index] {
                fs::create_dir_all(found.path().join(path).parent().unwrap()).unwrap();
                fs::write(found.path().join(path), content).unwrap();
            }
            found.stdout(&table());
            assert_eq!(figures(&found), expected, "{left:?}, after sync {index}");
            assert_audited(&found, &format!("{left:?}, after sync {index}"));
        }
    }
}

/// Runs the command on a disk that is full from the `first`-th write on, and then again with space.
fn assert_goes_on_after_a_full_disk(library: &Path, first: usize, expected: &BTreeMap<String, String>) {
    let place = Place::new();
    let output = watched(&place, library).env("DISK_FULL", first.to_string()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let what = format!("full from write {first} on: {text}");
    assert_eq!(output.status.code(), Some(2), "{what}");
    assert!(text.contains("error: ") && text.contains("hint: free space on the disk"), "{what}");
    assert!(!text.contains("panic"), "{what}");
    let ledger = Ledger::open(place.path().join("reports/ledger"), place.path().join(".sempair/locks"));
    let (records, problems) = ledger.records().unwrap();
    assert!(
        problems.is_empty() && records.iter().all(|record| record.status != Status::Running),
        "{what}: {problems:?}"
    );
    place.stdout(&table());
    assert_eq!(&figures(&place), expected, "{what}");
    assert_audited(&place, &what);
}

/// The number of writes of the command, and its figures.
fn writes(library: &Path) -> (usize, BTreeMap<String, String>) {
    let (place, count) = (Place::new(), tempfile::NamedTempFile::new().unwrap());
    let output = watched(&place, library).env("DISK_WRITES", count.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (fs::read_to_string(count.path()).unwrap().trim().parse().unwrap(), figures(&place))
}

#[test]
fn a_full_disk_is_an_error_and_the_same_command_goes_on() {
    let Some(library) = disk() else { return };
    let (writes, expected) = writes(&library);
    assert!(writes > 40, "{writes} writes");
    for part in 0..6 {
        assert_goes_on_after_a_full_disk(&library, 1 + (writes - 1) * part / 5, &expected);
    }
}

#[test]
#[ignore = "by hand: minutes, a command for each write"]
fn a_full_disk_at_any_write_is_an_error_and_the_same_command_goes_on() {
    let Some(library) = disk() else { return };
    let (writes, expected) = writes(&library);
    for first in 1..=writes {
        assert_goes_on_after_a_full_disk(&library, first, &expected);
    }
    println!("{writes} writes");
}

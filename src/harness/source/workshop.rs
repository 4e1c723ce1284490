//! A repository in a temporary folder that sees the objects of the user's repository, in which commits and bundles are
//! made, and the bundles of a ledger.

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::files;
use crate::harness::git;

/// The folder of bundles in a ledger.
const FOLDER: &str = "source";

/// The start of the name of a reference in a bundle; the hash of its commit follows.
const REFERENCES: &str = "refs/sempair/";

/// The largest tree of needed commits with which a bundle is proved, in bytes of git's objects.
const MAX_PROOF: u64 = 256 << 20;

/// A repository of its own in a temporary folder, which sees the objects of the user's repository, if there is one.
pub(super) struct Workshop {
    pub folder: TempDir,
    /// The top of the user's working tree.
    top: Option<PathBuf>,
    /// The folder of the user's objects.
    objects: PathBuf,
    /// `sha1` or `sha256`.
    format: String,
}

/// A bundle for a commit.
pub(super) enum Bundled {
    New(Vec<u8>),
    /// The ledger has it under this name.
    Before(String),
}

impl Workshop {
    /// For the repository around `repo`.
    pub fn new(repo: &Path) -> Result<Self, String> {
        let ask = |arguments: &[&str]| git::run(repo, &[&["rev-parse"], arguments].concat()).map(line).map_err(said);
        let objects = ask(&["--path-format=absolute", "--git-path", "objects"])?;
        let shallow = PathBuf::from(ask(&["--path-format=absolute", "--git-path", "shallow"])?);
        let top = Some(PathBuf::from(ask(&["--show-toplevel"])?));
        let shop = Self::empty(&ask(&["--show-object-format"])?)?;
        let write = || -> std::io::Result<()> {
            fs::write(shop.git_dir().join("objects/info/alternates"), format!("{objects}\n"))?;
            if shallow.exists() { fs::copy(&shallow, shop.git_dir().join("shallow")).map(drop) } else { Ok(()) }
        };
        write().map_err(|error| format!("no temporary repository: {error}"))?;
        Ok(Self { top, objects: objects.into(), ..shop })
    }

    /// Without a repository of the user.
    pub fn empty(format: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let option = format!("--object-format={format}");
        git::run(folder.path(), &["init", "-q", "--bare", "--template=", &option, "git"]).map_err(said)?;
        fs::create_dir_all(folder.path().join("git/objects/info"))
            .map_err(|error| format!("no temporary folder: {error}"))?;
        Ok(Self { folder, top: None, objects: PathBuf::new(), format: format.to_owned() })
    }

    pub fn git_dir(&self) -> PathBuf {
        self.folder.path().join("git")
    }

    /// Runs git in this repository.
    pub fn git(&self, arguments: &[&str]) -> Result<String, String> {
        git::run(&self.git_dir(), arguments).map(line).map_err(said)
    }

    /// As [`Workshop::git`], with this text as standard input.
    fn git_with(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
        git::run_with(&self.git_dir(), arguments, &[], Some(self.input(input)?)).map_err(said)
    }

    fn input(&self, text: &[u8]) -> Result<File, String> {
        let path = self.folder.path().join("input");
        let open = || fs::write(&path, text).and_then(|()| File::open(&path));
        open().map_err(|error| format!("no temporary file: {error}"))
    }

    pub fn has(&self, commit: &str) -> bool {
        self.git(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_ok()
    }

    pub fn tree_of(&self, commit: &str) -> Result<String, String> {
        self.git(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])
    }

    /// Commits the working tree at these paths, above `commit`, without the removed paths. The same files on the same commit give the same hash: the
    /// snapshot has the time of the commit.
    pub fn snapshot(&self, commit: &str, removed: &[PathBuf], paths: &[PathBuf]) -> Result<String, String> {
        let top = self.top.as_ref().ok_or("a repository without a working tree")?;
        let (index, objects) = (self.folder.path().join("index"), self.git_dir().join("objects"));
        // The user's repository, whose filters apply, with another index and another place for new objects.
        let variables = [
            ("GIT_INDEX_FILE", index.as_os_str()),
            ("GIT_OBJECT_DIRECTORY", objects.as_os_str()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.objects.as_os_str()),
        ];
        let git = |arguments: &[&str], input| git::run_with(top, arguments, &variables, input).map_err(said);
        git(&["read-tree", commit], None)?;
        for (option, paths) in [("--force-remove", removed), ("--add", paths)] {
            let paths: Vec<&[u8]> = paths.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect();
            git(&["update-index", "-z", option, "--stdin"], Some(self.input(&paths.join(&0))?))?;
        }
        let tree = line(git(&["write-tree"], None)?);
        let date = format!("@{} +0000", self.git(&["show", "-s", "--format=%ct", commit])?);
        let who = ["AUTHOR", "COMMITTER"].map(|who| ["NAME", "EMAIL", "DATE"].map(|what| format!("GIT_{who}_{what}")));
        let values = ["sempair", "sempair@localhost", &date].map(OsStr::new);
        let variables: Vec<(&str, &OsStr)> =
            who.iter().flat_map(|names| names.iter().map(String::as_str).zip(values)).collect();
        let message = format!("Files of a run at commit {}", short(commit));
        let made =
            git::run_with(&self.git_dir(), &["commit-tree", &tree, "-p", commit, "-m", &message], &variables, None);
        made.map(line).map_err(said)
    }

    /// A proved bundle of `commit`, at most this large: the ledger may have one.
    pub fn bundle(&self, commit: &str, ledger: &Path, most: u64) -> Result<Bundled, String> {
        let bundles = bundles(ledger);
        for (name, header) in bundles.iter().filter(|(_, header)| header.commit == commit) {
            if self.proves(&path(ledger, name), header, &self.tree_of(commit)?).is_ok() {
                return Ok(Bundled::Before(name.clone()));
            }
        }
        let what = || format!("commit {} is on no remote", short(commit));
        let remotes = match &self.top {
            Some(top) => git::run(top, &["for-each-ref", "--format=%(objectname)", "refs/remotes"]).map_err(said)?,
            None => Vec::new(),
        };
        let elsewhere = String::from_utf8_lossy(&remotes).lines().map(str::to_owned).collect::<Vec<_>>();
        let earlier = bundles.into_iter().map(|(_, header)| header.commit).filter(|id| id != commit && self.has(id));
        let reference = format!("{REFERENCES}{commit}");
        self.git(&["update-ref", &reference, commit])?;
        let known: String = elsewhere.into_iter().chain(earlier).map(|id| format!("^{id}\n")).collect();
        let revisions = format!("{reference}\n{known}");
        let size = self.git_with(&["rev-list", "--objects", "--disk-usage", "--stdin"], revisions.as_bytes())?;
        if number(size) > most {
            return Err(format!("{}, and its bundle would be larger than `source.keep_mib`", what()));
        }
        let arguments = ["-c", "pack.threads=1", "bundle", "create", "-q", "-", "--stdin"];
        let bytes = self.git_with(&arguments, revisions.as_bytes())?;
        if bytes.len() as u64 > most {
            return Err(format!("{}, and its bundle has {} bytes, more than `source.keep_mib`", what(), bytes.len()));
        }
        let (file, header) = (self.folder.path().join("bundle"), Header::read(&bytes).ok_or("git made no bundle")?);
        fs::write(&file, &bytes).map_err(|error| format!("no temporary file: {error}"))?;
        match self.proves(&file, &header, &self.tree_of(commit)?) {
            Ok(()) => Ok(Bundled::New(bytes)),
            Err(why) => Err(format!("{}, and a bundle of it does not give its files: {why}", what())),
        }
    }

    /// Whether the bundle gives this tree to a reader who has only the commits that it needs.
    pub fn proves(&self, bundle: &Path, header: &Header, tree: &str) -> Result<(), String> {
        let reader = Self::empty(&self.format)?;
        if !header.needs.is_empty() {
            let size = [&["rev-list", "--objects", "--disk-usage", "--no-walk"][..], &header.needs()].concat();
            if number(self.git(&size)?.into()) > MAX_PROOF {
                return Err("the commits below it are too large for a proof".to_owned());
            }
            let from = self.git_dir().display().to_string();
            let fetch = ["fetch", "-q", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", &from];
            // A reference keeps each of them, as a branch of a remote does.
            let wanted: Vec<String> = header.needs.iter().map(|id| format!("{id}:refs/needed/{id}")).collect();
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            reader.git(&[&fetch[..], &wanted].concat())?;
        }
        reader.fetch(bundle)?;
        match reader.tree_of(&header.commit)? == tree {
            true => Ok(()),
            false => Err("it gives another tree".to_owned()),
        }
    }

    /// Adds the commits of a bundle. Git refuses it unless all objects of these commits are there then.
    fn fetch(&self, bundle: &Path) -> Result<(), String> {
        let all = format!("{REFERENCES}*:{REFERENCES}*");
        let file = std::path::absolute(bundle).map_err(|error| error.to_string())?.display().to_string();
        self.git(&["fetch", "-q", "--no-tags", "--no-auto-gc", &file, &all]).map(drop)
    }

    /// Gives a commit of this bundle a reference in the user's repository.
    pub fn publish(&self, commit: &str, bundle: &Path) -> Result<(), String> {
        let top = self.top.as_ref().ok_or("a repository without a working tree")?;
        let file = std::path::absolute(bundle).map_err(|error| error.to_string())?.display().to_string();
        let reference = format!("{REFERENCES}{commit}:{REFERENCES}{commit}");
        let fetch = ["fetch", "-q", "--no-tags", "--no-auto-gc", "--no-write-fetch-head", &file, &reference];
        git::run(top, &fetch).map(drop).map_err(said)
    }

    /// Gets a commit from the bundles of a ledger, whichever are needed. The error says why there is none.
    pub fn get(&self, commit: &str, ledger: &Path) -> Result<(), String> {
        let mut open = bundles(ledger);
        let mut why = "no bundle in the ledger has it".to_owned();
        loop {
            let before = open.len();
            open.retain(|(name, header)| match self.fetch(&path(ledger, name)) {
                Ok(()) => false,
                Err(error) => {
                    if header.commit == commit {
                        let missing: Vec<&str> = header.needs().into_iter().filter(|id| !self.has(id)).collect();
                        let missing =
                            if missing.is_empty() { error } else { format!("it needs {}", missing.join(", ")) };
                        why = format!("{name}.bundle cannot be used: {missing}");
                    }
                    true
                }
            });
            if self.has(commit) {
                return Ok(());
            }
            if open.len() == before {
                return Err(why);
            }
        }
    }
}

/// What the first lines of a bundle say: <https://git-scm.com/docs/gitformat-bundle>.
#[derive(Clone, Debug, Default)]
pub(super) struct Header {
    /// The commit that it is made for.
    pub commit: String,
    /// The commits that the reader must have.
    pub needs: Vec<String>,
}

impl Header {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
        let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.lines();
        lines.next().filter(|line| line.starts_with("# v") && line.ends_with(" git bundle"))?;
        let mut header = Self::default();
        for line in lines.filter(|line| !line.starts_with('@')) {
            let id = line.trim_start_matches('-').split(' ').next().filter(|id| git::is_full_hash(id))?.to_owned();
            if line.starts_with('-') { header.needs.push(id) } else { header.commit = id }
        }
        (!header.commit.is_empty()).then_some(header)
    }

    pub fn needs(&self) -> Vec<&str> {
        self.needs.iter().map(String::as_str).collect()
    }
}

/// The bundles of a ledger by name. Files that are not what their name says are left out.
pub(super) fn bundles(ledger: &Path) -> Vec<(String, Header)> {
    let entries = fs::read_dir(ledger.join(FOLDER)).into_iter().flatten().flatten();
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".bundle")?.to_owned();
        Some((name.clone(), Header::read(&content(&path, &name)?)?))
    };
    let mut bundles: Vec<(String, Header)> = entries.filter_map(|entry| read(entry.path())).collect();
    bundles.sort_by(|(a, _), (b, _)| a.cmp(b));
    bundles
}

pub(super) fn path(ledger: &Path, name: &str) -> PathBuf {
    ledger.join(FOLDER).join(format!("{name}.bundle"))
}

/// The content of a bundle; `None` if it is not there or not as it was written.
pub(super) fn content(path: &Path, name: &str) -> Option<Vec<u8>> {
    if !is_name(name) {
        return None;
    }
    files::plain(path).ok()?;
    fs::read(path).ok().filter(|bytes| blake3::hash(bytes).to_hex().as_str() == name)
}

/// Whether this is the name of a bundle: a record may state any text.
pub(super) fn is_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// What git printed, without the end of the last line.
pub(super) fn line(text: Vec<u8>) -> String {
    String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned()
}

fn number(text: Vec<u8>) -> u64 {
    line(text).trim().parse().unwrap_or(u64::MAX)
}

/// What the `git` program complained about.
pub(super) fn said(error: Option<String>) -> String {
    error.unwrap_or_else(|| "the `git` program is not installed".to_owned())
}

//! The source of an import: a directory, a tar archive (plain or gzipped) or a zip archive, recognised by its bytes.
//!
//! A source is walked twice: once to list its members, once to read the images. Nothing is unpacked to disk, and
//! at most one member is in memory here.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::error::shell;

use super::UNDERSTOOD;
use super::names::ancestors;
use super::names::basename;
use super::names::is_text;
use super::stopped;
use super::tar;
use super::tar::{Members, Seekable, Skip, Stream};
use super::zip as directory;

/// The maximum size in bytes of all files of one source together that are read completely. For the 17,125 annotations of
/// VOC2012 it is 15 kB each.
const TEXT_LIMIT: u64 = 256 << 20;

/// The maximum size in bytes of an encoded image.
const IMAGE_LIMIT: u64 = 64 << 20;

/// The maximum depth of directories. A deeper directory is taken for a link that leads back to its parent.
const DEPTH_LIMIT: usize = 24;

/// A listed source. Member paths are relative, with `/` between their parts, and each occurs once.
pub struct Source {
    /// The path as the user gave it.
    pub path: PathBuf,
    /// Size in bytes of each file.
    pub files: BTreeMap<String, u64>,
    /// The directories that the source names or that hold a file.
    pub directories: BTreeSet<String>,
    /// Number of skipped members: hidden ones, and those that desktops leave behind.
    pub hidden: usize,
    format: Format,
    texts: BTreeMap<String, Vec<u8>>,
}

/// One file or directory on a walk.
pub struct Item<'a> {
    /// The checked, relative path.
    pub path: String,
    /// Size in bytes as the source states it.
    pub bytes: u64,
    kind: MemberKind,
    /// The content.
    pub reader: &'a mut dyn Read,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Directory,
    Tar,
    TarGz,
    Zip,
}

#[derive(Clone, Copy, PartialEq)]
enum MemberKind {
    File,
    Directory,
    /// A hidden file or directory, whose content is skipped.
    Hidden,
}

type Visit<'v> = &'v mut dyn FnMut(Item) -> Result<()>;

impl Source {
    /// Lists `path`, and checks every member's name and kind and, for a gzipped archive, the whole stream.
    pub fn list(path: &Path, cancelled: &dyn Fn() -> bool) -> Result<Self> {
        let mut source = Self {
            path: path.into(),
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
            hidden: 0,
            format: recognise(path)?,
            texts: BTreeMap::new(),
        };
        let (mut files, mut directories, mut texts) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (mut text_bytes, mut hidden) = (0, 0);
        let walked = source.walk(&mut |item| {
            if cancelled() {
                return Err(stopped(path));
            }
            match item.kind {
                MemberKind::File => {}
                MemberKind::Directory => {
                    directories.insert(item.path);
                    return Ok(());
                }
                MemberKind::Hidden => {
                    hidden += 1;
                    return Ok(());
                }
            }
            directories.extend(ancestors(&item.path).map(String::from));
            if is_text(&item.path) {
                text_bytes += item.bytes;
                if text_bytes > TEXT_LIMIT {
                    let what = format!("{} bytes; at most {TEXT_LIMIT} are read of such files", item.bytes);
                    return Err(source.member_error(&item.path, what));
                }
                texts.insert(item.path.clone(), source.read(&item.path, item.bytes, item.reader)?);
            }
            match files.insert(item.path.clone(), item.bytes) {
                Some(_) => Err(source.member_error(&item.path, "the archive has this member twice")),
                None => Ok(()),
            }
        });
        walked.map_err(|error| error.hint(source.hint()))?;
        if let Some(both) = directories.iter().find(|directory| files.contains_key(*directory)) {
            return Err(source.member_error(both, "both a file and a directory").hint(source.hint()));
        }
        if files.is_empty() {
            return Err(Error::new(format!("{}: there is no file in it", path.display())).hint(UNDERSTOOD));
        }
        (source.files, source.directories, source.texts, source.hidden) = (files, directories, texts, hidden);
        Ok(source)
    }

    /// Visits every file again, in the source's own order.
    pub fn visit(&self, visit: Visit) -> Result<()> {
        self.walk(&mut |item| if item.kind == MemberKind::File { visit(item) } else { Ok(()) })
    }

    /// Returns the content of a member that layouts read completely, such as `wnids.txt`.
    pub fn text(&self, path: &str) -> Option<&[u8]> {
        self.texts.get(path).map(Vec::as_slice)
    }

    /// Returns the name of the directory or archive itself.
    pub fn own_name(&self) -> String {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        // `.` has no name, but the directory that it stands for does.
        name(&self.path).or_else(|| name(&fs::canonicalize(&self.path).ok()?)).unwrap_or_default()
    }

    /// Returns the lines of such a member, trimmed, without empty lines.
    pub fn lines(&self, path: &str) -> Result<Option<Vec<&str>>> {
        let Some(bytes) = self.text(path) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| self.member_error(path, "is not UTF-8 text"))?;
        Ok(Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()))
    }

    /// Returns the directory (with a final `/`, or empty) nearest to the top that has a file whose name satisfies
    /// `is_it`.
    pub fn root_of(&self, is_it: impl Fn(&str) -> bool) -> Option<&str> {
        let root = |path: &'_ String| path.len() - basename(path).len();
        let found = self.files.keys().filter(|path| is_it(basename(path))).min_by_key(|path| path.matches('/').count());
        found.map(|path| &path[..root(path)])
    }

    /// Reads one encoded image.
    pub fn read_image(&self, item: Item) -> Result<Vec<u8>> {
        if item.bytes > IMAGE_LIMIT {
            let what = format!("{} bytes are more than the {IMAGE_LIMIT} that are read", item.bytes);
            return Err(self.member_error(&item.path, what));
        }
        self.read(&item.path, item.bytes, item.reader)
    }

    /// Reads one whole member, which must have exactly `bytes` bytes.
    fn read(&self, path: &str, bytes: u64, reader: &mut dyn Read) -> Result<Vec<u8>> {
        let mut content = Vec::with_capacity(bytes.min(1 << 20) as usize);
        reader.take(bytes + 1).read_to_end(&mut content).map_err(|error| self.member_error(path, error))?;
        if content.len() as u64 != bytes {
            let what = format!("read {} bytes, but it should have {bytes}", content.len());
            return Err(self.member_error(path, what));
        }
        Ok(content)
    }

    /// Returns an error about one member that also names the source.
    pub fn member_error(&self, member: &str, what: impl std::fmt::Display) -> Error {
        Error::new(format!("{}: {member}: {what}", self.path.display()))
    }

    /// Returns the hint for errors without a more specific one.
    pub fn hint(&self) -> String {
        match self.format {
            Format::Directory => {
                format!(
                    "repair or remove what is named, then run `sempair data import {}`",
                    shell(&self.path.to_string_lossy())
                )
            }
            _ => "download the archive again; or unpack it, repair or remove what is named, and run `sempair data \
                  import DIRECTORY`"
                .into(),
        }
    }

    /// Returns BLAKE3 of the archive's bytes in hexadecimal; `None` for a directory.
    pub fn hash(&self, cancelled: &dyn Fn() -> bool) -> Result<Option<String>> {
        if self.format == Format::Directory {
            return Ok(None);
        }
        let mut file = File::open(&self.path).context(self.path.display())?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).context(self.path.display())? {
                0 => return Ok(Some(hasher.finalize().to_hex().to_string())),
                _ if cancelled() => return Err(stopped(&self.path)),
                read => hasher.update(&buffer[..read]),
            };
        }
    }

    fn walk(&self, visit: Visit) -> Result<()> {
        let open = || File::open(&self.path).context(self.path.display());
        match self.format {
            Format::Directory => self.walk_directory(&self.path, "", visit),
            Format::Zip => self.walk_zip(open()?, visit),
            Format::Tar => {
                let file = BufReader::new(open()?);
                self.walk_tar(Members::new(Seekable(file)), visit)
            }
            Format::TarGz => {
                let content = MultiGzDecoder::new(BufReader::new(open()?));
                self.walk_tar(Members::new(Stream(content)), visit)
            }
        }
    }

    fn walk_tar<R: Skip>(&self, mut members: Members<R>, visit: Visit) -> Result<()> {
        let mut last = None;
        while let Some(member) = members.next().map_err(|fault| self.fault(fault, last.as_deref()))? {
            let kind = match member.kind {
                tar::EntryKind::File => MemberKind::File,
                tar::EntryKind::Directory => MemberKind::Directory,
                tar::EntryKind::Other(what) => return Err(self.refused(&member.name, what)),
            };
            let Some((path, kind)) = self.checked(&member.name, kind)? else { continue };
            last = Some(path.clone());
            visit(Item { path, bytes: member.bytes, kind, reader: &mut members })?;
        }
        Ok(())
    }

    fn fault(&self, fault: tar::Fault, last: Option<&str>) -> Error {
        match (fault, last) {
            (tar::Fault::Cut, Some(last)) => self.damaged(format!("it ends in or right after {last}")),
            (tar::Fault::Cut, None) => self.damaged("it ends in its first member"),
            (tar::Fault::Damaged(what), Some(last)) => self.damaged(format!("after {last}: {what}")),
            (tar::Fault::Damaged(what), None) => self.damaged(what),
            (tar::Fault::Refused(name, what), _) => self.refused(&name, what),
        }
    }

    fn walk_zip(&self, file: File, visit: Visit) -> Result<()> {
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| self.damaged(error))?;
        // The archive as a whole is checked once, when it is listed.
        let listing = self.files.is_empty();
        let fault = if listing { directory::fault(&self.path, &archive).context(self.path.display())? } else { None };
        if let Some(fault) = fault {
            return Err(self.damaged(fault));
        }
        for index in 0..archive.len() {
            // A zip states everything twice. If the two statements differ, other programs see other members than this
            // one.
            let options = zip::ZipReadOptions::new().enforce_header_consistency(true);
            let raw = archive.by_index_data(index).map(|entry| entry.name_raw().to_vec()).unwrap_or_default();
            let named = |error: zip::result::ZipError| self.member_error(&String::from_utf8_lossy(&raw), error);
            let mut member = archive.by_index_with_options(index, options).map_err(named)?;
            let raw = member.name().map_err(named)?.into_owned().into_bytes();
            let kind = self.zip_kind(&raw, &member.entry())?;
            let bytes = member.entry().size();
            let Some((path, kind)) = self.checked(&raw, kind)? else { continue };
            visit(Item { path, bytes, kind, reader: &mut member })?;
        }
        if listing { archive.validate_header_consistency().map_err(|error| self.damaged(error)) } else { Ok(()) }
    }

    /// Returns a member's kind, by its Unix mode or DOS attributes and by a final `/` in its name.
    fn zip_kind(&self, raw: &[u8], entry: &zip::read::ZipFileEntry) -> Result<MemberKind> {
        let by_name = raw.ends_with(b"/");
        let kind = match entry.unix_mode().unwrap_or_default() & 0o170_000 {
            0o040_000 => MemberKind::Directory,
            0 | 0o100_000 if by_name => MemberKind::Directory,
            0 | 0o100_000 => MemberKind::File,
            0o120_000 => return Err(self.refused(raw, "a link")),
            _ => return Err(self.refused(raw, "neither a file nor a directory")),
        };
        match kind {
            MemberKind::Directory if entry.size() > 0 => {
                Err(self.refused(raw, "named as a directory, but with content"))
            }
            kind => Ok(kind),
        }
    }

    fn walk_directory(&self, directory: &Path, prefix: &str, visit: Visit) -> Result<()> {
        if prefix.matches('/').count() > DEPTH_LIMIT {
            let what = format!("more than {DEPTH_LIMIT} directories deep; does a link lead back to its parent?");
            return Err(self.member_error(prefix, what));
        }
        let mut names = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>())
            .context(directory.display())?;
        names.sort();
        for name in names {
            let raw = [prefix.as_bytes(), name.as_encoded_bytes()].concat();
            let Some((path, kind)) = self.checked(&raw, MemberKind::File)? else { continue };
            let place = directory.join(&name);
            let mut file = Unopened { path: &place, file: None };
            if kind == MemberKind::Hidden {
                visit(Item { path, bytes: 0, kind, reader: &mut file })?;
                continue;
            }
            let facts = fs::metadata(&place).map_err(|error| self.member_error(&path, error))?;
            if facts.is_dir() {
                visit(Item { path: path.clone(), bytes: 0, kind: MemberKind::Directory, reader: &mut file })?;
                self.walk_directory(&place, &format!("{path}/"), visit)?;
            } else if facts.is_file() {
                visit(Item { path, bytes: facts.len(), kind: MemberKind::File, reader: &mut file })?;
            } else {
                return Err(self.refused(&raw, "neither a file nor a directory"));
            }
        }
        Ok(())
    }

    /// Checks a member's name. Returns its path, with `/` between the parts, and its kind, which is hidden for names
    /// that begin with a dot (`.DS_Store`) and for `__MACOSX`. Returns `None` for the top directory.
    fn checked(&self, raw: &[u8], kind: MemberKind) -> Result<Option<(String, MemberKind)>> {
        let text = std::str::from_utf8(raw).map_err(|_| self.refused(raw, "not named in UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(self.refused(raw, "named with a control character"));
        }
        // In a directory, such a name is a plain name. In an archive made on Windows, it names a drive.
        let drive = text.as_bytes().get(1) == Some(&b':') && self.format != Format::Directory;
        if text.starts_with('/') || text.starts_with('\\') || drive {
            return Err(self.refused(raw, "an absolute path"));
        }
        if text.split(['/', '\\']).any(|part| part == "..") {
            return Err(self.refused(raw, "a path that leaves the archive"));
        }
        if text.contains('\\') && self.format != Format::Directory {
            return Err(self.refused(raw, "named with a backslash, which may stand between a directory and a file"));
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let hidden = parts.iter().any(|part| part.starts_with('.') || *part == "__MACOSX");
        match (parts.is_empty(), kind) {
            (true, MemberKind::Directory) => Ok(None),
            (true, _) => Err(self.refused(raw, "a file without a name")),
            (false, kind) => Ok(Some((parts.join("/"), if hidden { MemberKind::Hidden } else { kind }))),
        }
    }

    fn refused(&self, raw: &[u8], what: &str) -> Error {
        let name = String::from_utf8_lossy(raw).escape_debug().to_string();
        self.member_error(&name, format!("{what}; such members are not imported"))
            .hint("unpack the source, remove what does not belong, and run `sempair data import DIRECTORY`")
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        damaged(&self.path, what)
    }
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(format!("{}: the archive is truncated or damaged: {what}", path.display()))
        .hint("download the archive again and compare its size or checksum with the publisher's")
}

fn recognise(path: &Path) -> Result<Format> {
    let place = path.display();
    let facts = fs::metadata(path).context(&place).map_err(|error| error.hint(UNDERSTOOD))?;
    if facts.is_dir() {
        return Ok(Format::Directory);
    }
    if !facts.is_file() {
        return Err(Error::new(format!("{place}: neither a file nor a directory")));
    }
    let head = head(File::open(path).context(&place)?).context(&place)?;
    let problem = match head.as_slice() {
        [] => "the file is empty".to_string(),
        [0x1f, 0x8b, ..] => {
            let inside = head_of_gzip(path).map_err(|error| damaged(path, error))?;
            if is_tar(&inside) {
                return Ok(Format::TarGz);
            }
            "gzipped, but what is inside is not a tar archive".to_string()
        }
        [b'P', b'K', 3 | 5, 4 | 6, ..] => return Ok(Format::Zip),
        head if is_tar(head) => return Ok(Format::Tar),
        head => {
            let bytes: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("not a tar, gzipped tar or zip archive: it begins with the bytes {}", bytes.join(" "))
        }
    };
    Err(Error::new(format!("{place}: {problem}")).hint(UNDERSTOOD))
}

fn head(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(tar::BLOCK as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn head_of_gzip(path: &Path) -> io::Result<Vec<u8>> {
    head(MultiGzDecoder::new(BufReader::new(File::open(path)?)))
}

/// Whether a first block has a valid checksum or only zeros (an archive without members).
fn is_tar(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; tar::BLOCK]>::try_from(block) else { return false };
    block.iter().all(|&byte| byte == 0) || tar::has_checksum(block)
}

/// A file that is opened when it is first read, so that a listing opens only the few texts.
struct Unopened<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl Read for Unopened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(self.path)?),
        };
        file.read(buffer)
    }
}

//! The zip file of a bundle: written with fixed times and sorted members, so that equal files give equal bytes, and read
//! with suspicion, because it may come from anyone.

use std::fs::File;
use std::io::BufReader;
use std::io::Cursor;
use std::io::Read;
use std::io::Write;
use std::path::Path;

use zip::CompressionMethod;
use zip::DateTime;
use zip::ZipArchive;
use zip::ZipReadOptions;
use zip::ZipWriter;
use zip::read::ZipFileEntry;
use zip::write::SimpleFileOptions;

use crate::bundle::Files;
use crate::data::import::zip as directory;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;

/// The largest number of members. A ledger of ten thousand runs has one for each.
const MOST_MEMBERS: usize = 200_000;

/// The largest size of all members together, in bytes. Ten thousand records have 300 MB.
const MOST_BYTES: u64 = 1 << 30;

/// The files of a zip file.
#[derive(Debug, Default)]
pub struct Archive {
    /// The files that could be unpacked.
    pub files: Files,
    /// The members that could not be unpacked, each with the reason.
    pub damaged: Vec<(String, String)>,
}

/// The bytes of a zip file with these files. They depend on nothing else.
///
/// # Errors
/// When the files are too large for a zip file.
pub fn write(files: &Files) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644);
    for (name, bytes) in files {
        writer.start_file(name.as_str(), options).context(name)?;
        writer.write_all(bytes).context(name)?;
    }
    Ok(writer.finish().context("the end of the zip file")?.into_inner())
}

/// Reads a zip file. Nothing is written to disk.
///
/// # Errors
/// When it is not a zip file, or could harm who unpacks it: a member leaves the folder, is a link, has the name of
/// another one, or all are too large. The error names the member.
pub fn read(path: &Path) -> Result<Archive> {
    let refused = |what: String| {
        Error::new(format!("{}: {what}", path.display()))
            .hint("`sempair bundle` writes such files; do not unpack this one")
    };
    files::plain(path).context(format!("cannot read {}", path.display()))?;
    let file = File::open(path).context(format!("cannot read {}", path.display()))?;
    let archive = ZipArchive::new(BufReader::new(file));
    let mut archive = archive.map_err(|error| refused(format!("it is not a whole zip file: {error}")))?;
    if let Some(fault) = directory::fault(path, &archive).context(path.display())? {
        return Err(refused(fault));
    }
    // A member that the directory does not list is seen by programs that read the file from its start.
    archive.validate_header_consistency().map_err(|error| refused(error.to_string()))?;
    if archive.len() > MOST_MEMBERS {
        return Err(refused(format!("{} members are more than the {MOST_MEMBERS} that are read", archive.len())));
    }
    let mut read = Archive::default();
    let mut left = MOST_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(|error| refused(error.to_string()))?;
        let raw = String::from_utf8_lossy(entry.name_raw()).escape_debug().to_string();
        let name = match checked(&entry).map_err(|what| refused(format!("{raw}: {what}")))? {
            Some(name) => name,
            None => continue,
        };
        if entry.size() > left {
            return Err(refused(format!("{name}: with this member, more than {MOST_BYTES} bytes would be unpacked")));
        }
        left -= entry.size();
        match unpacked(&mut archive, index) {
            Ok(bytes) => drop(read.files.insert(name, bytes)),
            Err(what) => read.damaged.push((name, what)),
        }
    }
    Ok(read)
}

/// The name of a member that is a file; `None` for a folder.
fn checked(entry: &ZipFileEntry) -> Result<Option<String>, String> {
    let name = String::from_utf8(entry.name_raw().to_vec()).map_err(|_| "its name is not UTF-8")?;
    let is_folder = name.ends_with('/');
    let parts = || name.strip_suffix('/').unwrap_or(&name).split('/');
    if name.starts_with('/') || name.contains([':', '\\']) || name.chars().any(char::is_control) {
        return Err("a name that means different files on different systems".to_owned());
    }
    if parts().any(|part| part == "..") {
        return Err("a path that leaves the folder".to_owned());
    }
    if parts().any(|part| part.is_empty() || part == ".") {
        return Err("a path that is not in its shortest form".to_owned());
    }
    match entry.unix_mode().unwrap_or_default() & 0o170_000 {
        0o120_000 => Err("a link".to_owned()),
        0o040_000 if !is_folder => Err("a folder with the name of a file".to_owned()),
        0 | 0o100_000 | 0o040_000 if is_folder && entry.size() == 0 => Ok(None),
        0 | 0o100_000 if !is_folder => Ok(Some(name)),
        _ => Err("neither a file nor a folder".to_owned()),
    }
}

/// The bytes of a member: as many as it states.
fn unpacked(archive: &mut ZipArchive<BufReader<File>>, index: usize) -> Result<Vec<u8>, String> {
    // A zip file states everything twice. If both differ, other programs see other files than this one.
    let options = ZipReadOptions::new().enforce_header_consistency(true);
    let member = archive.by_index_with_options(index, options).map_err(|error| error.to_string())?;
    let (stated, mut bytes) = (member.entry().size(), Vec::new());
    member.take(stated + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 == stated {
        true => Ok(bytes),
        false => Err(format!("it states {stated} bytes and has others")),
    }
}

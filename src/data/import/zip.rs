//! The directory at the end of a zip archive. It is read separately from the `zip` crate, because the crate does not
//! report which member occurs twice, which encoding a name has, or whether the directory has more members than the
//! archive's end states.
//!
//! PKWARE, "APPNOTE.TXT - .ZIP File Format Specification" 6.3.10, sections 4.3.12 and 4.4.4.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::Path;

use zip::ZipArchive;

/// The maximum number of bytes of the directory that are read. The directory of ImageNet's 1.3 million images has about
/// 150 MB.
const DIRECTORY_LIMIT: u64 = 1 << 30;

/// The first bytes of a record.
const SIGNATURE: &[u8] = b"PK\x01\x02";

/// The number of bytes of a record before its name.
const FIXED: usize = 46;

/// Bit 11 of the flags: the name is in UTF-8.
const IS_UTF8: u16 = 1 << 11;

/// The extra field with the name in UTF-8 (Info-ZIP, "Unicode Path").
const UNICODE_PATH: u16 = 0x7075;

/// Returns what is wrong with an archive as a whole, or `None`.
///
/// # Errors
/// When a read fails.
pub fn fault(path: &Path, archive: &ZipArchive<BufReader<File>>) -> io::Result<Option<String>> {
    if archive.offset() > 0 {
        let bytes = archive.offset();
        return Ok(Some(format!("{bytes} bytes precede the archive and may be another archive")));
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(archive.central_directory_start()))?;
    file.take(DIRECTORY_LIMIT).read_to_end(&mut bytes)?;
    let mut seen = BTreeSet::new();
    for record in Records(&bytes) {
        let shown = || String::from_utf8_lossy(record.name).escape_debug().to_string();
        if !seen.insert(record.name) {
            return Ok(Some(format!("two members have the same name: {}", shown())));
        }
        if !record.is_in_utf8() {
            return Ok(Some(format!("{}: a member's name is not UTF-8 or not marked as UTF-8", shown())));
        }
    }
    let (listed, said) = (seen.len(), archive.len());
    Ok((listed != said).then(|| format!("its directory lists {listed} members, but its end states {said}")))
}

/// The records of a directory, up to the first bytes that are not a record.
struct Records<'a>(&'a [u8]);

struct Record<'a> {
    flags: u16,
    name: &'a [u8],
    extra: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (fixed, rest) = self.0.split_at_checked(FIXED).filter(|(fixed, _)| fixed.starts_with(SIGNATURE))?;
        let (name, rest) = rest.split_at_checked(number(fixed, 28).into())?;
        let (extra, rest) = rest.split_at_checked(number(fixed, 30).into())?;
        self.0 = rest.get(usize::from(number(fixed, 32))..)?;
        Some(Record { flags: number(fixed, 8), name, extra })
    }
}

impl Record<'_> {
    /// Whether the name is in UTF-8. A name that is not marked is in the code page of its writer, which is not known.
    fn is_in_utf8(&self) -> bool {
        let marked = self.flags & IS_UTF8 != 0;
        self.name.is_ascii() || (marked && std::str::from_utf8(self.name).is_ok()) || self.has_unicode_path()
    }

    fn has_unicode_path(&self) -> bool {
        let mut extra = self.extra;
        while let Some((field, rest)) = extra.split_at_checked(4) {
            if number(field, 0) == UNICODE_PATH {
                return true;
            }
            extra = rest.get(usize::from(number(field, 2))..).unwrap_or_default();
        }
        false
    }
}

fn number(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

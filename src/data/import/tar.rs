//! A strict reader of the members of a tar archive (v7, ustar, GNU and pax), one after the other. An archive is
//! refused if two programs could read it differently, or if a file is stored in a form that is not its plain bytes.
//!
//! POSIX.1-2017, pax, "pax Interchange Format" and "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use std::collections::BTreeMap;
use std::io;
use std::io::Read;
use std::io::Seek;

/// The size in bytes of the blocks of an archive.
pub const BLOCK: usize = 512;

/// The maximum size in bytes of one extension header: a long name, or pax records.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// Beginnings of pax keys which mean that a member's content is not the file's plain bytes. The label of a volume
/// does not mean that.
const FORMS: [&str; 3] = ["GNU.sparse.", "GNU.volume.", "SCHILY.realsize"];
const LABEL: &str = "GNU.volume.label";

type Block = [u8; BLOCK];

/// The kind of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    /// Neither a file nor a directory, with a description.
    Other(&'static str),
}

/// A member's header. Extension headers replace its own fields.
#[derive(Debug)]
pub struct Member {
    /// The path as stored.
    pub name: Vec<u8>,
    pub kind: EntryKind,
    /// Bytes of content.
    pub bytes: u64,
}

/// The reason why reading stops.
#[derive(Debug)]
pub enum Fault {
    /// The archive ends without its final blocks of zeros.
    Cut,
    /// The archive is not valid.
    Damaged(String),
    /// The archive is valid, but this member is stored in a form that is not read.
    Refused(Vec<u8>, &'static str),
}

/// A reader that can skip bytes.
pub trait Skip: Read {
    /// Skips `bytes` bytes, also beyond the end.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// A plain archive, where skipping content costs nothing.
pub struct Seekable<R>(pub R);

/// A stream, such as that of a decompressor.
pub struct Stream<R>(pub R);

impl<R: Read> Read for Seekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read + Seek> Skip for Seekable<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let beyond = || io::Error::other(format!("a member of {bytes} bytes"));
        self.0.seek_relative(i64::try_from(bytes).map_err(|_| beyond())?)
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Skip for Stream<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        io::copy(&mut self.0.by_ref().take(bytes), &mut io::sink()).map(|_| ())
    }
}

/// An archive that is being read. As a reader, it gives the content of the last member that [`Members::next`] returned.
pub struct Members<R> {
    inner: R,
    /// Bytes of the current member's content that are not read yet.
    left: u64,
    /// Number of zeros after the content, up to a whole block.
    padding: u64,
}

/// The content of extension headers about the member that follows them.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: bool,
    pax: BTreeMap<String, Vec<u8>>,
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.by_ref().take(self.left).read(buffer)?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Skip> Members<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0 }
    }

    /// Returns the next member; `None` after the last, when only zeros follow.
    pub fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut extensions = Extensions::default();
        loop {
            for bytes in [std::mem::take(&mut self.left), std::mem::take(&mut self.padding)] {
                self.inner.skip(bytes).map_err(damaged)?;
            }
            let block = self.block()?.ok_or(Fault::Cut)?;
            if block.iter().all(|&byte| byte == 0) {
                return match extensions.is_empty() {
                    true => self.end().map(|()| None),
                    false => Err(damaged("a header that describes the next member is the last")),
                };
            }
            if !has_checksum(&block) {
                return Err(damaged("a header has a wrong checksum"));
            }
            let header = tar::Header::from_byte_slice(&block);
            match block[156] {
                b'g' => self.global(header, &extensions)?,
                b'x' => {
                    let (fresh, records) = (extensions.pax.is_empty(), self.extension(header)?);
                    extensions.pax = pax_records(&records)?;
                    if !fresh {
                        return Err(damaged("a member has two pax headers"));
                    }
                }
                b'L' => {
                    let name = self.extension(header)?;
                    if extensions.long_name.replace(up_to_zero(&name).to_vec()).is_some() {
                        return Err(damaged("a member has two long names"));
                    }
                }
                b'K' => {
                    self.extension(header)?;
                    extensions.long_link = true;
                }
                // The volume's label is not a member.
                b'V' if extensions.is_empty() => {}
                _ => return self.member(&block, extensions).map(Some),
            }
        }
    }

    /// Reads a whole block; `None` if the archive ends before that.
    fn block(&mut self) -> Result<Option<Block>, Fault> {
        let (mut block, mut filled) = ([0; BLOCK], 0);
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]).map_err(damaged)? {
                0 => return Ok(None),
                read => filled += read,
            }
        }
        Ok(Some(block))
    }

    /// Checks that only zeros follow the first block of zeros, because programs stop at different places.
    fn end(&mut self) -> Result<(), Fault> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.inner.read(&mut buffer).map_err(damaged)? {
                0 => return Ok(()),
                read if buffer[..read].iter().all(|&byte| byte == 0) => {}
                _ => {
                    return Err(damaged(
                        "more data follows after its end, as when two archives were joined or members were overwritten",
                    ));
                }
            }
        }
    }

    /// Reads the defaults for all members that follow. Defaults of times, owners and comments are ignored.
    fn global(&mut self, header: &tar::Header, extensions: &Extensions) -> Result<(), Fault> {
        if !extensions.is_empty() {
            return Err(damaged("a global header is between a member and the header that describes it"));
        }
        let records = pax_records(&self.extension(header)?)?;
        match records.keys().find(|key| ["path", "size", "linkpath"].contains(&key.as_str()) || is_form(key)) {
            Some(key) => Err(damaged(format!("a global header gives all members the same `{key}`"))),
            None => Ok(()),
        }
    }

    /// Reads the content of an extension header.
    fn extension(&mut self, header: &tar::Header) -> Result<Vec<u8>, Fault> {
        let bytes = size(header)?;
        if bytes > EXTENSION_LIMIT {
            return Err(damaged(format!("a member's name takes {bytes} bytes; at most {EXTENSION_LIMIT} are read")));
        }
        self.open(bytes);
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(damaged)?;
        if content.len() as u64 == bytes { Ok(content) } else { Err(Fault::Cut) }
    }

    fn open(&mut self, bytes: u64) {
        self.left = bytes;
        self.padding = bytes.wrapping_neg() % BLOCK as u64;
    }

    fn member(&mut self, block: &Block, extensions: Extensions) -> Result<Member, Fault> {
        let header = tar::Header::from_byte_slice(block);
        let Extensions { long_name, pax, .. } = extensions;
        let name = match pax.get("path") {
            Some(path) => path.clone(),
            None => long_name.unwrap_or_else(|| header_name(block)),
        };
        if pax.keys().any(|key| is_form(key)) {
            // The header of a sparse file has an invented name.
            let name = pax.get("GNU.sparse.name").cloned().unwrap_or(name);
            return Err(Fault::Refused(name, "stored sparse or in several parts"));
        }
        let kind = match block[156] {
            b'0' | 0 | b'7' => EntryKind::File,
            b'5' => EntryKind::Directory,
            b'1' | b'2' => EntryKind::Other("a link"),
            b'S' => EntryKind::Other("stored sparse"),
            b'M' => EntryKind::Other("a part of a file of several volumes"),
            _ => EntryKind::Other("neither a file nor a directory"),
        };
        // POSIX: a directory's size is the space for its content, and no content follows the header.
        let bytes = match (kind, pax.get("size")) {
            (EntryKind::File, Some(text)) => decimal(text).ok_or_else(|| damaged("the size is not a number")),
            (EntryKind::File, None) => size(header),
            _ => Ok(0),
        };
        let bytes = bytes.map_err(|fault| named(fault, &name))?;
        // v7 has no type for directories: a final slash marks them.
        let kind = match (kind, name.ends_with(b"/")) {
            (EntryKind::File, true) if bytes == 0 => EntryKind::Directory,
            (EntryKind::File, true) => return Err(Fault::Refused(name, "named as a directory, but with content")),
            (kind, _) => kind,
        };
        self.open(bytes);
        Ok(Member { name, kind, bytes })
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && !self.long_link && self.pax.is_empty()
    }
}

/// Whether a header's checksum is right: the sum of its bytes, with spaces in place of the checksum.
pub fn has_checksum(block: &Block) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let expected = sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..]);
    tar::Header::from_byte_slice(block).cksum().is_ok_and(|stated| stated == expected)
}

/// Returns the name in a header. POSIX puts the beginning of a long name into another field; GNU uses that field for
/// other data.
fn header_name(block: &Block) -> Vec<u8> {
    let name = up_to_zero(&block[..100]);
    let prefix = if &block[257..263] == b"ustar\0" { up_to_zero(&block[345..500]) } else { &[] };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn size(header: &tar::Header) -> Result<u64, Fault> {
    let field = &header.as_old().size;
    // The size is in base 256; at most 64 bits are read.
    if field[0] & 0x80 != 0 && (field[0] != 0x80 || field[1..4] != [0; 3]) {
        return Err(damaged("a member's size is negative or beyond 64 bits"));
    }
    header.entry_size().map_err(damaged)
}

/// Parses records `LENGTH KEY=VALUE\n`, where the length is that of the whole record. The last record of a key counts.
fn pax_records(mut bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Fault> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let (record, rest) = pax_record(bytes).ok_or_else(|| damaged("a pax header that cannot be read"))?;
        records.insert(record.0, record.1);
        bytes = rest;
    }
    Ok(records)
}

type Record = (String, Vec<u8>);

fn pax_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let blank = bytes.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..blank])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let key = std::str::from_utf8(&record[..equals]).ok()?;
    Some(((key.into(), record[equals + 1..].to_vec()), rest))
}

fn is_form(key: &str) -> bool {
    key != LABEL && FORMS.iter().any(|form| key.starts_with(form))
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

fn up_to_zero(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn damaged(what: impl ToString) -> Fault {
    Fault::Damaged(what.to_string())
}

fn named(fault: Fault, name: &[u8]) -> Fault {
    match fault {
        Fault::Damaged(what) => Fault::Damaged(format!("{}: {what}", shown(name))),
        fault => fault,
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

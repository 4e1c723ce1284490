//! Archives in all dialects of tar and zip are read as GNU tar and Python read them, or refused with the member's name.
//! An import never gives other images, fewer images or other names.

use std::io::Cursor;
use std::io::Write;

use tar::EntryType;
use zip::write::SimpleFileOptions;

use super::Place;
use super::labelled;
use super::sources;

/// A member: the name in its header, its kind, its content.
type Member<'a> = (&'a str, EntryType, Vec<u8>);

/// The blocks of an archive, without the end blocks.
fn blocks(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content) in members {
        bytes.extend(header(name, *kind, content.len() as u64, |_| ()));
        bytes.extend(padded(content));
    }
    bytes
}

/// A header. `change` may change its fields before the checksum is set.
fn header(name: &str, kind: EntryType, size: u64, change: impl Fn(&mut [u8; 512])) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    change(header.as_mut_bytes());
    header.set_cksum();
    *header.as_bytes()
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    content
}

fn ended(mut blocks: Vec<u8>) -> Vec<u8> {
    blocks.extend([0; 1024]);
    blocks
}

/// A pax record. Its length includes the length field itself.
fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (rest.len() + 1..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}").into_bytes()
}

fn image(name: &str, seed: u32) -> Member<'_> {
    (name, EntryType::Regular, sources::png(seed))
}

/// Two categories with one image each: the content of every archive that is imported.
fn two() -> Vec<Member<'static>> {
    vec![image("a/1.png", 1), image("b/1.png", 2)]
}

/// The names of an archive's images, or the error without its hint. Asserts that an error has a hint.
fn names(archive: &[u8]) -> Result<Vec<String>, String> {
    let place = Place::new();
    match place.import(&place.source(archive), Some(8)) {
        Ok(imported) => {
            Ok(labelled(imported).splits["train"].names().unwrap().iter().map(ToString::to_string).collect())
        }
        Err(error) => {
            assert!(error.hint_text().is_some(), "no hint: {error}");
            let what = place.plain(error.what());
            Err(what.strip_prefix("source.bin: ").map_or(what.clone(), str::to_owned))
        }
    }
}

fn refusal(members: &[Member]) -> String {
    names(&ended(blocks(members))).expect_err("the archive was imported")
}

fn plain() -> Result<Vec<String>, String> {
    Ok(["a/1.png", "b/1.png"].map(str::to_owned).into())
}

#[test]
fn names_that_do_not_fit_a_header_are_whole() {
    let long = format!("{}/1.png", "x".repeat(120));
    let expected = Ok(vec!["b/1.png".to_owned(), long.clone()]);
    let of = |kind: u8, content: Vec<u8>| -> Vec<Member> {
        vec![("name", EntryType::new(kind), content), image("cut.png", 1), image("b/1.png", 2)]
    };
    assert_eq!(names(&ended(blocks(&of(b'L', [long.as_bytes(), b"\0"].concat())))), expected);
    assert_eq!(names(&ended(blocks(&of(b'x', pax("path", &long))))), expected);
    // The last value of a key counts, whatever is between the values.
    let twice = [pax("path", "zz/9.png"), pax("SCHILY.xattr.note", "a\n\n18 path=evil/1.png\n"), pax("path", &long)];
    assert_eq!(names(&ended(blocks(&of(b'x', twice.concat())))), expected);
    // POSIX puts the first part of a long name into a separate field, even if the version field is empty.
    for version in [*b"00", [0, 0]] {
        let prefixed = header("1.png", EntryType::Regular, sources::png(1).len() as u64, |bytes| {
            bytes[263..265].copy_from_slice(&version);
            bytes[345..345 + long.len() - 6].copy_from_slice(&long.as_bytes()[..long.len() - 6]);
        });
        let archive = [prefixed.to_vec(), padded(&sources::png(1)), blocks(&[image("b/1.png", 2)])].concat();
        assert_eq!(names(&ended(archive)), expected);
    }
}

#[test]
fn what_is_no_file_takes_no_content() {
    // A directory's size does not mean content, a label is not a member, and attributes and comments change nothing.
    let directory = header("a", EntryType::Directory, 4096, |_| ());
    let with = [directory.to_vec(), blocks(&two())].concat();
    assert_eq!(names(&ended(with)), plain());
    let label = [("volume", EntryType::new(b'V'), Vec::new())];
    assert_eq!(names(&ended([blocks(&label), blocks(&two())].concat())), plain());
    let records = [pax("comment", "c0ffee"), pax("mtime", "1.5"), pax("GNU.volume.label", "pets")];
    let comment = [("g", EntryType::XGlobalHeader, records.concat())];
    assert_eq!(names(&ended([blocks(&comment), blocks(&two())].concat())), plain());
    // The v7 format has no type for directories.
    let old = header("a/", EntryType::new(0), 0, |bytes| bytes[257..265].fill(0));
    assert_eq!(names(&ended([old.to_vec(), blocks(&two())].concat())), plain());
    // Any number of zero bytes may follow.
    assert_eq!(names(&[ended(blocks(&two())), vec![0; 100_000]].concat()), plain());
}

#[test]
fn files_stored_otherwise_than_whole_are_refused_by_name() {
    let first = |kind: u8, content: Vec<u8>, then: &'static str| {
        let mut members = two();
        members[0] = (then, EntryType::Regular, sources::png(1));
        members.insert(0, ("header", EntryType::new(kind), content));
        refusal(&members)
    };
    let sparse = "stored sparse or in several parts; such members are not imported";
    for (key, value) in [("GNU.sparse.size", "512"), ("GNU.sparse.major", "1"), ("GNU.volume.filename", "a/1.png")] {
        assert_eq!(first(b'x', pax(key, value), "a/1.png"), format!("a/1.png: {sparse}"));
    }
    let named = [pax("GNU.sparse.name", "a/real.png"), pax("path", "a/GNUSparseFile.1/real.png")].concat();
    assert_eq!(first(b'x', named, "a/1.png"), format!("a/real.png: {sparse}"));
    let mut old = two();
    old[0].1 = EntryType::GNUSparse;
    assert_eq!(refusal(&old), "a/1.png: stored sparse; such members are not imported");
    old[0].1 = EntryType::new(b'M');
    assert_eq!(refusal(&old), "a/1.png: a part of a file of several volumes; such members are not imported");
    let what = "the archive is truncated or damaged: ";
    for key in ["path", "size", "linkpath", "GNU.sparse.name"] {
        let said = format!("{what}a global header gives all members the same `{key}`");
        assert_eq!(first(b'g', pax(key, "1"), "a/1.png"), said);
    }
    // A global header between a member and its name: programs disagree about which member the name belongs to.
    let between =
        [("x", EntryType::XHeader, pax("path", "a/1.png")), ("g", EntryType::XGlobalHeader, pax("mtime", "1"))];
    let said = format!("{what}a global header is between a member and the header that describes it");
    assert_eq!(refusal(&[&between[..], &two()].concat()), said);
    for broken in
        ["8 path=", "17 path=a/1.png\n", "path=a/1.png\n", "99999999999999999999 a=b\n", "6 a\nb\n", "0 a=b\n"]
    {
        let said = first(b'x', broken.into(), "a/1.png");
        assert_eq!(said, format!("{what}a pax header that cannot be read"), "{broken:?}");
    }
    assert_eq!(first(b'x', pax("size", "-1"), "a/1.png"), format!("{what}a/1.png: the size is not a number"));
    let huge = header("a/1.png", EntryType::Regular, 0, |bytes| {
        bytes[124..136].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
    });
    let said = format!("{what}a/1.png: a member's size is negative or beyond 64 bits");
    assert_eq!(names(&ended(huge.to_vec())).unwrap_err(), said);
}

#[test]
fn names_that_could_mean_two_things_are_refused() {
    let slash = refusal(&[image("a/1.png/", 1), image("b/1.png", 2)]);
    assert_eq!(slash, "a/1.png/: named as a directory, but with content; such members are not imported");
    let said = r"train\\cat\\1.png: named with a backslash, which may stand between a directory and a file; such members are not imported";
    assert_eq!(refusal(&[image(r"train\cat\1.png", 1)]), said);
    assert_eq!(names(&zip(&[(r"train\cat\1.png", sources::png(1))])).unwrap_err(), said);
    let nameless = "a file without a name; such members are not imported";
    assert_eq!(refusal(&[image("./", 1)]), "./: named as a directory, but with content; such members are not imported");
    assert_eq!(refusal(&[image(".", 1)]), format!(".: {nameless}"));
    assert_eq!(refusal(&[image("", 1), image("b/1.png", 2)]), format!(": {nameless}"));
    let both = [image("a/1.png", 1), image("a/1.png/2.png", 2)];
    assert_eq!(refusal(&both), "a/1.png: both a file and a directory");
}

#[test]
fn what_follows_an_archives_end_is_not_passed_over() {
    let what = "the archive is truncated or damaged: after b/1.png: more data follows after its end, as when two \
                archives were joined or members were overwritten";
    let (one, other) = (ended(blocks(&two())), ended(blocks(&[image("c/1.png", 3)])));
    let joined = [one.clone(), other].concat();
    assert_eq!(names(&joined).unwrap_err(), what);
    assert_eq!(names(&sources::gzip(&joined)).unwrap_err(), what);
    let mut hole = blocks(&two()[..1]);
    hole.extend([0; 512]);
    let said = names(&ended([hole, blocks(&two()[1..])].concat())).unwrap_err();
    assert!(said.starts_with("the archive is truncated or damaged: after a/1.png: more data follows"), "{said}");
    let mut marked = one;
    *marked.last_mut().unwrap() = 1;
    assert_eq!(names(&marked).unwrap_err(), what);
}

/// A zip of these members, with their names unchanged.
fn zip(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn two_zipped() -> Vec<u8> {
    zip(&[("a/1.png", sources::png(1)), ("b/1.png", sources::png(2))])
}

/// The position at which the directory of a zip begins.
fn directory(zip: &[u8]) -> usize {
    zip.windows(4).position(|four| four == b"PK\x01\x02").unwrap()
}

#[test]
fn a_zip_that_says_two_things_is_refused() {
    assert_eq!(names(&two_zipped()), plain());
    let what = "the archive is truncated or damaged: ";
    // Its end counts fewer members than its directory lists.
    let mut fewer = two_zipped();
    let end = fewer.len() - 22;
    fewer[end + 8] = 1;
    fewer[end + 10] = 1;
    assert_eq!(names(&fewer).unwrap_err(), format!("{what}its directory lists 2 members, but its end states 1"));
    // Another archive before it.
    let said = names(&[two_zipped(), two_zipped()].concat()).unwrap_err();
    let bytes = two_zipped().len();
    assert_eq!(said, format!("{what}{bytes} bytes precede the archive and may be another archive"));
    // A member that the directory does not list.
    let hidden = zip(&[("a/1.png", sources::png(1)), ("b/1.png", sources::png(2)), ("c/1.png", sources::png(3))]);
    let (at, record) = (directory(&hidden), 46 + "a/1.png".len());
    let mut unlisted = [&hidden[..at], &hidden[at + record..]].concat();
    let end = unlisted.len() - 22;
    unlisted[end + 8..end + 12].copy_from_slice(&[2, 0, 2, 0]);
    let size = u32::from_le_bytes(unlisted[end + 12..end + 16].try_into().unwrap()) - record as u32;
    unlisted[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    assert!(names(&unlisted).unwrap_err().starts_with(what), "{:?}", names(&unlisted));
}

#[test]
fn zip_names_in_an_unknown_encoding_are_refused() {
    let marked = zip(&[("é/1.png", sources::png(1)), ("b/1.png", sources::png(2))]);
    assert_eq!(names(&marked), Ok(vec!["b/1.png".to_owned(), "é/1.png".to_owned()]));
    let mut unmarked = marked;
    let at = directory(&unmarked);
    unmarked[7] &= !8;
    unmarked[at + 9] &= !8;
    let said = "the archive is truncated or damaged: é/1.png: a member's name is not UTF-8 or not marked as UTF-8";
    assert_eq!(names(&unmarked).unwrap_err(), said);
}

#[test]
fn zip_members_that_are_no_files_are_refused_or_directories() {
    let with_mode = |mode: u32, content: &[u8]| {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in [("a/1.png", sources::png(1)), ("b/1.png", sources::png(2)), ("a/odd", content.to_vec())]
        {
            writer.start_file(name, SimpleFileOptions::default().unix_permissions(0o644)).unwrap();
            writer.write_all(&content).unwrap();
        }
        let mut zip = writer.finish().unwrap().into_inner();
        let last = zip.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
        zip[last + 5] = 3;
        zip[last + 38..last + 42].copy_from_slice(&(mode << 16).to_le_bytes());
        names(&zip)
    };
    let other = "a/odd: neither a file nor a directory; such members are not imported";
    for mode in [0o010_644, 0o020_644, 0o060_644, 0o140_644] {
        assert_eq!(with_mode(mode, b"x").unwrap_err(), other, "{mode:o}");
    }
    assert_eq!(with_mode(0o100_644, b"x"), plain());
    assert_eq!(with_mode(0o040_755, b""), plain());
    let said = "a/odd: named as a directory, but with content; such members are not imported";
    assert_eq!(with_mode(0o040_755, b"x").unwrap_err(), said);
    let said = names(&zip(&[("a/1.png", sources::png(1)), ("b/", sources::png(2))])).unwrap_err();
    assert_eq!(said, "b/: named as a directory, but with content; such members are not imported");
}

//! Hostile annotations: each is refused with the file's name, in no time, and nothing is written.

use proptest::prelude::*;

use super::Place;
use super::sources;
use super::voc::{annotated, boxed, object, with_objects, xml};

const FILE: &str = "source.bin: VOCdevkit/VOC2007/Annotations/000005.xml: ";

/// The error of importing a set in which one annotation has these bytes.
fn refused(bytes: &[u8]) -> String {
    let mut tree = with_objects("");
    tree.retain(|(path, _)| !path.ends_with("Annotations/000005.xml"));
    tree.push(("VOCdevkit/VOC2007/Annotations/000005.xml".into(), bytes.into()));
    let said = Place::new().refusal(&sources::tar_bytes(&tree));
    said.strip_prefix(FILE).unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn what_is_no_annotation_is_refused() {
    let said = [
        &b""[..],
        b"no xml",
        b"<annotation>",
        b"<annotation><object>",
        b"<annotation></object>",
        b"<annotation/><annotation/>",
        b"<annotation/>and more",
        b"<annotations><annotation/></annotations>",
        b"<annotation a=\"",
        b"<annotation><name>a & b</name></annotation>",
        b"\xff\xfe<\0a\0",
        b"<?xml version=\"1.0\" encoding=\"latin1\"?><annotation><folder>\xe9</folder></annotation>",
    ]
    .map(refused);
    insta::assert_snapshot!(said.join("\n"), @r#"
    it has no `<annotation>`
    text outside of `<annotation>`: `no xml`
    it ends before its `<annotation>` does
    it ends before its `<annotation>` does
    not valid XML: ill-formed document: expected `</annotation>`, but `</object>` was found
    `<annotation>` is at the top, where one `<annotation>` belongs
    text outside of `<annotation>`: `and more`
    `<annotations>` is at the top, where one `<annotation>` belongs
    not valid XML: syntax error: attribute value not closed: `"` not found before end of input
    not valid XML: ill-formed document: entity or character reference not closed: `;` not found before end of input
    is not UTF-8 text
    is not UTF-8 text
    "#);
}

#[test]
fn entities_are_not_expanded() {
    let bomb =
        "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><annotation>&b;</annotation>";
    let external = "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><annotation/>";
    for text in [bomb, external, "<annotation/><!DOCTYPE a>"] {
        assert_eq!(refused(text.as_bytes()), "it has a document type (`<!DOCTYPE`), which annotations do not need");
    }
    let name = |name: &str| xml(&object(name, [1.0, 1.0, 2.0, 2.0]));
    let said = [name("&b;"), name("&#0;"), name("&#xD800;"), name("&#99999999;"), name("&#27;[31mred"), name("a\nb")];
    insta::assert_snapshot!(said.map(|bytes| refused(&bytes)).join("\n"), @r#"
    the entity `&b;` is not known
    not valid XML: invalid character reference: 0x0 character is not permitted in XML
    not valid XML: invalid character reference: `55296` is not a valid codepoint
    not valid XML: invalid character reference: `99999999` is not a valid codepoint
    object 1: `<name>` is `\u{1b}[31mred`, with a control character
    object 1: `<name>` is `a\nb`, with a control character
    "#);
}

#[test]
fn sizes_and_depths_are_bounded() {
    let deep = format!("<annotation>{}", "<a>".repeat(100_000));
    assert_eq!(refused(deep.as_bytes()), "more than 32 tags within each other");
    let many = object("cat", [1.0, 1.0, 2.0, 2.0]).repeat(10_000);
    assert_eq!(refused(&xml(&many)), "more than 4096 objects");
    let large = format!("<annotation>{}</annotation>", " ".repeat(4 << 20));
    assert_eq!(refused(large.as_bytes()), "4194329 bytes are more than the 4194304 that are read");
    let long = object(&"n".repeat(257), [1.0, 1.0, 2.0, 2.0]);
    assert_eq!(refused(&xml(&long)), "object 1: `<name>` has more than 256 bytes");
    // As many as are read are read.
    let place = Place::new();
    let most = with_objects(&object("cat", [1.0, 1.0, 2.0, 2.0]).repeat(4096));
    let dataset = annotated(place.import(&place.source(&sources::tar_bytes(&most)), None).unwrap());
    assert_eq!(dataset.splits["train"].objects(0).len(), 4096);
    // What a message repeats of a file is short and harmless.
    let number = boxed([1.0, 1.0, 2.0, 2.0]).replace("<xmin>1", &format!("<xmin>\u{1b}{}", "9".repeat(100_000)));
    let said = refused(&xml(&format!("<object><name>cat</name>{number}</object>")));
    assert_eq!(said, format!(r"object 1 (`cat`): `<xmin>` is `\u{{1b}}{}`, which is not a number", "9".repeat(39)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a file, the import takes it or refuses it by name.
    #[test]
    fn a_damaged_annotation_is_read_or_refused_by_name(at in 0_usize..400, value: u8, cut in 0_usize..800) {
        let objects = object("cat", [1.0, 2.0, 3.0, 4.0]) + &object("dog", [5.0, 6.0, 7.0, 8.0]);
        let mut bytes = xml(&objects);
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(cut.max(at));
        let mut tree = with_objects("");
        tree.retain(|(path, _)| !path.ends_with("Annotations/000005.xml"));
        tree.push(("VOCdevkit/VOC2007/Annotations/000005.xml".into(), bytes));
        let place = Place::new();
        match place.import(&place.source(&sources::tar_bytes(&tree)), None) {
            Ok(imported) => {
                for set in annotated(imported).splits.values() {
                    (0..set.len()).for_each(|image| assert!(set.pixels(image).is_ok()));
                }
            }
            Err(error) => prop_assert!(error.what().contains("000005") || error.what().starts_with("categories"), "{}", error),
        }
    }
}

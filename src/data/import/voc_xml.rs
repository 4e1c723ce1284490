//! One annotation file of PASCAL VOC: the objects in an image, in XML.
//!
//! Tags are found by their names and by the tags around them, never by their order, which differs from year to year and
//! from program to program. Tags that are not needed are passed over, and so are the boxes of an object's parts. No
//! entity is expanded but the five of XML itself and numbered characters, and a document type is refused.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::BytesRef;
use quick_xml::events::Event;

/// The maximum number of bytes of a file. VOC's have some thousands.
pub const FILE_LIMIT: u64 = 4 << 20;

/// The maximum number of objects in an image. VOC's have some dozens; a detector compares each with all its anchors.
const OBJECT_LIMIT: usize = 4096;

/// The maximum depth of tags. VOC's have 5.
const DEPTH_LIMIT: usize = 32;

/// The maximum number of bytes of the name of a category.
const NAME_LIMIT: usize = 256;

/// The maximum of a coordinate. Larger whole numbers are not exact in 32 bits.
const COORDINATE_LIMIT: f64 = (1 << 24) as f64;

/// The minimum height and width of a box, as in Detectron2.
pub const SMALLEST: f64 = 1e-5;

/// The content of a file.
#[derive(Debug, Default, PartialEq)]
pub struct Annotation {
    /// The year's folder that it was made for, such as `VOC2007`; empty if it states none.
    pub folder: String,
    /// The width and height of the image, as far as they are stated.
    pub size: [Option<f64>; 2],
    /// The objects, in order.
    pub objects: Vec<Annotated>,
}

/// One object, as it is written.
#[derive(Debug, Default, PartialEq)]
pub struct Annotated {
    /// The name of its category.
    pub name: String,
    /// The first column, first row, last column and last row of its box, counted from 1.
    pub sides: [f64; 4],
    /// Whether it is difficult, truncated and occluded.
    pub flags: [bool; 3],
}

/// Reads a file.
///
/// # Errors
/// In words, when it is not the XML of one annotation, or when an object lacks its name or has no box that can be.
pub fn parse(bytes: &[u8]) -> Result<Annotation, String> {
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(format!("{} bytes are more than the {FILE_LIMIT} that are read", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().expand_empty_elements = true;
    let mut state = State::default();
    loop {
        let event = reader.read_event().map_err(|error| format!("not valid XML: {error}"))?;
        match event {
            Event::Start(tag) => state.open(tag.name().into_inner())?,
            Event::End(_) => state.close()?,
            Event::Text(text) => state.text(&text.xml10_content())?,
            Event::CData(text) => state.text(&text.xml10_content())?,
            Event::GeneralRef(entity) => state.text(&character(&entity)?)?,
            Event::DocType(_) => {
                return Err("it has a document type (`<!DOCTYPE`), which annotations do not need".into());
            }
            Event::Eof => return state.finish(),
            _ => {}
        }
    }
}

/// Returns what a reference such as `&amp;` or `&#65;` stands for.
fn character(entity: &BytesRef) -> Result<String, String> {
    let name = entity.xml10_content();
    let number = entity.resolve_char_ref().map_err(|error| format!("not valid XML: {error}"))?;
    let known = number.map(String::from).or_else(|| resolve_predefined_entity(&name).map(String::from));
    known.ok_or_else(|| format!("the entity `&{};` is not known", shown(&name)))
}

/// A tag that is needed, or [`Tag::Other`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tag {
    Annotation,
    Folder,
    Size,
    /// 0: `width`, 1: `height`.
    Length(usize),
    Object,
    Name,
    /// 0: `difficult`, 1: `truncated`, 2: `occluded`.
    Flag(usize),
    Box,
    /// The position in [`SIDES`].
    Side(usize),
    Other,
}

const LENGTHS: [&str; 2] = ["width", "height"];
const FLAGS: [&str; 3] = ["difficult", "truncated", "occluded"];
const SIDES: [&str; 4] = ["xmin", "ymin", "xmax", "ymax"];

impl Tag {
    /// Returns the tag of this name within another.
    fn within(parent: Tag, name: &str) -> Tag {
        let position = |names: &[&str]| names.iter().position(|known| *known == name);
        match (parent, name) {
            (Tag::Annotation, "folder") => Tag::Folder,
            (Tag::Annotation, "size") => Tag::Size,
            (Tag::Annotation, "object") => Tag::Object,
            (Tag::Size, _) => position(&LENGTHS).map_or(Tag::Other, Tag::Length),
            (Tag::Object, "name") => Tag::Name,
            (Tag::Object, "bndbox") => Tag::Box,
            (Tag::Object, _) => position(&FLAGS).map_or(Tag::Other, Tag::Flag),
            (Tag::Box, _) => position(&SIDES).map_or(Tag::Other, Tag::Side),
            _ => Tag::Other,
        }
    }

    /// The name of a tag that holds a value.
    fn value(self) -> Option<&'static str> {
        match self {
            Tag::Folder => Some("folder"),
            Tag::Name => Some("name"),
            Tag::Length(at) => Some(LENGTHS[at]),
            Tag::Flag(at) => Some(FLAGS[at]),
            Tag::Side(at) => Some(SIDES[at]),
            _ => None,
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct State {
    open: Vec<Tag>,
    /// The text in the innermost tag that holds a value.
    text: String,
    /// Whether the annotation has ended.
    ended: bool,
    found: Annotation,
    draft: Draft,
}

/// An object that is being read.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    has_box: bool,
    sides: [Option<f64>; 4],
    flags: [Option<bool>; 3],
}

impl State {
    fn open(&mut self, name: &str) -> Result<(), String> {
        let tag = match self.open.last() {
            None if name == "annotation" && !self.ended => Tag::Annotation,
            None => return Err(format!("`<{}>` is at the top, where one `<annotation>` belongs", shown(name))),
            Some(&parent) => {
                if let Some(value) = parent.value() {
                    return Err(self.placed(&format!("`<{}>` is in `<{value}>`, which holds only text", shown(name))));
                }
                Tag::within(parent, name)
            }
        };
        if self.open.len() == DEPTH_LIMIT {
            return Err(format!("more than {DEPTH_LIMIT} tags within each other"));
        }
        if tag == Tag::Object && self.found.objects.len() == OBJECT_LIMIT {
            return Err(format!("more than {OBJECT_LIMIT} objects"));
        }
        if tag == Tag::Box && std::mem::replace(&mut self.draft.has_box, true) {
            return Err(self.placed("it has two `<bndbox>`, and it cannot be known which is meant"));
        }
        self.open.push(tag);
        self.text.clear();
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        match self.open.last() {
            Some(_) => self.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(format!("text outside of `<annotation>`: `{}`", shown(text))),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        // The reader has checked that the tag is open.
        let Some(tag) = self.open.pop() else { return Ok(()) };
        if tag == Tag::Object {
            let draft = std::mem::take(&mut self.draft);
            let object = draft.finish().map_err(|(name, what)| self.named(name.as_deref(), &what))?;
            self.found.objects.push(object);
        }
        self.ended = self.open.is_empty();
        let text = std::mem::take(&mut self.text);
        match tag.value() {
            Some(name) => self.value(tag, text.trim()).map_err(|what| self.placed(&format!("`<{name}>` {what}"))),
            None => Ok(()),
        }
    }

    fn value(&mut self, tag: Tag, text: &str) -> Result<(), String> {
        match tag {
            Tag::Folder => self.found.folder = text.into(),
            Tag::Length(at) => once(&mut self.found.size[at], number(text)?)?,
            Tag::Name => once(&mut self.draft.name, category(text)?)?,
            Tag::Flag(at) => once(&mut self.draft.flags[at], flag(text)?)?,
            Tag::Side(at) => once(&mut self.draft.sides[at], number(text)?)?,
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Annotation, String> {
        match (self.open.is_empty(), self.ended) {
            (true, true) => Ok(self.found),
            (true, false) => Err("it has no `<annotation>`".into()),
            (false, _) => Err("it ends before its `<annotation>` does".into()),
        }
    }

    /// Adds to a message the object in which it happened.
    fn placed(&self, what: &str) -> String {
        if self.open.contains(&Tag::Object) { self.named(self.draft.name.as_deref(), what) } else { what.into() }
    }

    fn named(&self, name: Option<&str>, what: &str) -> String {
        object_place(self.found.objects.len(), name) + what
    }
}

/// Returns the beginning of a message about an object, such as ``object 2 (`dog`): ``. `index` counts from 0.
pub fn object_place(index: usize, name: Option<&str>) -> String {
    let name = name.map(|name| format!(" (`{}`)", shown(name))).unwrap_or_default();
    format!("object {}{name}: ", index + 1)
}

impl Draft {
    /// Returns the object, or its name, if it has one, and what is wrong.
    fn finish(self) -> Result<Annotated, (Option<String>, String)> {
        let Some(name) = self.name else { return Err((None, "it has no `<name>`".into())) };
        let sides = match self.has_box {
            true => whole(self.sides),
            false => Err("it has no `<bndbox>`".into()),
        };
        match sides {
            Ok(sides) => Ok(Annotated { name, sides, flags: self.flags.map(Option::unwrap_or_default) }),
            Err(what) => Err((Some(name), what)),
        }
    }
}

/// Checks that a box has four sides in the right order. A box from column 5 to column 5 is one pixel wide.
fn whole(sides: [Option<f64>; 4]) -> Result<[f64; 4], String> {
    if let Some(missing) = sides.iter().position(Option::is_none) {
        return Err(format!("its box has no `<{}>`", SIDES[missing]));
    }
    let sides = sides.map(Option::unwrap_or_default);
    for (low, high) in [(0, 2), (1, 3)] {
        let length = sides[high] - (sides[low] - 1.0);
        if length < SMALLEST {
            let what = if length < 0.0 { "inverted" } else { "empty" };
            return Err(format!("its box is {what}: {} {}, {} {}", SIDES[low], sides[low], SIDES[high], sides[high]));
        }
    }
    Ok(sides)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("is there twice".into()),
    }
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|_| format!("is `{}`, which is not a number", shown(text)))?;
    // A number that is not finite is not in the range either.
    match (-COORDINATE_LIMIT..=COORDINATE_LIMIT).contains(&number) {
        true => Ok(number),
        false => Err(format!("is `{}`, which is not a place in an image", shown(text))),
    }
}

/// VOC writes 0 and 1. What is unknown is 0.
fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" | "" | "Unspecified" => Ok(false),
        _ => Err(format!("is `{}`, not 0 or 1", shown(text))),
    }
}

fn category(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".into()),
        text if text.len() > NAME_LIMIT => Err(format!("has more than {NAME_LIMIT} bytes")),
        text if text.chars().any(char::is_control) => Err(format!("is `{}`, with a control character", shown(text))),
        text => Ok(text.into()),
    }
}

/// Returns the beginning of a text, fit for a message.
fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

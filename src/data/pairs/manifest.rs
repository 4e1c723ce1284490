//! The text format of pair lists: facts as `# key: value` lines, then a table with named columns.
//!
//! ```text
//! # sempair.pairs/1
//! # set: tiny-imagenet/train
//! # set_hash: 5f0c..
//! category  first  second  first_hash  second_hash  first_name  second_name
//! ```
//! A list made by hand needs the first line, `set_hash`, and the columns `category`, `first` and `second` (positions
//! in the set). All other facts and columns are optional, and are checked if present. Columns are separated by tabs.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;

use crate::data::image_set::ImageSet;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;

use super::Pair;
use super::PairKind;
use super::PairList;
use super::from;

const SCHEMA: &str = "sempair.pairs/1";
const NO_PAIR: &str = "the list has no pair";
const COLUMNS: [&str; 7] = ["category", "first", "second", "first_hash", "second_hash", "first_name", "second_name"];

impl PairList {
    /// Writes the list into `dir` under a name that describes its content, and returns its path.
    ///
    /// # Errors
    /// When the write fails; then no part of the file is left.
    ///
    /// # Panics
    /// When `set` is not the list's set.
    pub fn write_manifest(&self, set: &ImageSet, dir: &Path) -> Result<PathBuf> {
        assert!(self.set_hash == set.hash, "write_manifest: {} is not the list's set {}", set.name, self.set);
        let path = dir.join(self.file_name());
        files::write_whole(&path, self.to_text(set).as_bytes())?;
        Ok(path)
    }

    fn file_name(&self) -> String {
        let drawn = match self.seed {
            Some(seed) => format!("seed{seed}{}", if self.reuse { "-reuse" } else { "" }),
            None => self.hash(PairKind::Semantic)[..8].to_string(),
        };
        let (set, categories) = (self.set.replace(['/', '\\'], "-"), self.categories.len());
        format!("pairs-{set}-{categories}x{}-{drawn}.tsv", self.per_category())
    }

    fn to_text(&self, set: &ImageSet) -> String {
        let seed = self.seed.map(|seed| format!("# seed: {seed}\n")).unwrap_or_default();
        let mut text = format!(
            "# {SCHEMA}\n# set: {}\n# set_hash: {}\n# categories: {}\n# per_category: {}\n{seed}# reuse: {}\n\
             # sp_hash: {}\n# ap_hash: {}\n{}\n",
            escape(&self.set),
            self.set_hash,
            self.categories.len(),
            self.per_category(),
            self.reuse,
            self.hash(PairKind::Semantic),
            self.hash(PairKind::Augmented),
            COLUMNS.join("\t"),
        );
        let names = set.names();
        let name = |image: u32| names.as_ref().map_or(String::new(), |names| escape(names[image as usize]));
        for &Pair { category, first, second } in &self.pairs {
            let category = escape(&self.categories[category as usize]);
            let [a, b] = [first, second].map(|image| set.image_hash(image as usize));
            text += &format!("{category}\t{first}\t{second}\t{a}\t{b}\t{}\t{}\n", name(first), name(second));
        }
        text
    }
}

/// Reads a list and checks it against its set.
///
/// # Errors
/// When the list is for another set; when a row's images are unknown, equal, of another category or used twice; or when
/// facts, hashes or names do not match. Each error names the file, and an error in a row also names the line.
pub fn read_manifest(path: &Path, set: &ImageSet) -> Result<PairList> {
    let text = files::read_text(path)?;
    parse_manifest(&text, path, set)
}

/// The same as [`read_manifest`], for a text that was read from `path`.
pub(super) fn parse_manifest(text: &str, path: &Path, set: &ImageSet) -> Result<PairList> {
    parse(text, set).map_err(|error| {
        error.context(path.display()).hint(format!(
            "`sempair data pairs --from {} --categories 10 --per-category 50 --seed 0` writes a list that fits",
            from(set)
        ))
    })
}

/// The size of a list and its seed, known without its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub pairs: usize,
    pub categories: usize,
    /// The seed that the pairs were drawn with; `None` for a list made by hand.
    pub seed: Option<u64>,
}

/// Counts pairs and categories.
///
/// # Errors
/// When the text is not a pair list.
pub(super) fn summary(text: &str) -> Result<Summary> {
    let (facts, columns, rows) = parts(text)?;
    let category = columns.split('\t').position(|name| name.trim() == COLUMNS[0]).unwrap_or(0);
    let categories: Vec<&str> = rows.map(|(_, row)| row.split('\t').nth(category).unwrap_or_default()).collect();
    if categories.is_empty() {
        return Err(Error::new(NO_PAIR));
    }
    let (pairs, categories) = (categories.len(), categories.into_iter().collect::<HashSet<_>>().len());
    Ok(Summary { pairs, categories, seed: seed(&facts)? })
}

/// Returns the number of categories and of pairs in each category, as a drawn list states them; `None` for a list
/// made by hand.
///
/// # Errors
/// When the text is not a pair list.
pub(super) fn drawn(text: &str) -> Result<Option<(usize, usize)>> {
    let facts = parts(text)?.0;
    let number = |key: &str| facts.get(key).and_then(|text| text.parse().ok());
    Ok(number("categories").zip(number("per_category")).filter(|_| facts.contains_key("seed")))
}

/// Splits a list into its facts, the line that names its columns, and its rows with their line numbers.
fn parts(text: &str) -> Result<(Facts<'_>, &str, impl Iterator<Item = (usize, &str)>)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let mut lines = lines.filter(|(_, line)| !line.trim().is_empty());
    match lines.next() {
        Some((_, line)) if line.trim_end().strip_prefix("# ") == Some(SCHEMA) => {}
        other => {
            let first = other.map_or("", |(_, line)| line).chars().take(40).collect::<String>();
            return Err(Error::new(format!("line 1: `{first}` is not `# {SCHEMA}`")));
        }
    }
    let mut facts = BTreeMap::new();
    let mut columns = "";
    for (_, line) in lines.by_ref() {
        let Some(fact) = line.strip_prefix('#') else {
            columns = line;
            break;
        };
        facts.extend(fact.split_once(':').map(|(key, value)| (key.trim(), value.trim())));
    }
    Ok((facts, columns, lines))
}

fn seed(facts: &Facts) -> Result<Option<u64>> {
    facts.get("seed").map(|seed| seed.parse().context(format!("seed `{seed}`"))).transpose()
}

fn parse(text: &str, set: &ImageSet) -> Result<PairList> {
    let (facts, columns, rows) = parts(text)?;
    check_set(&facts, set)?;
    let columns = Columns::new(columns, set)?;
    let rows = rows.map(|(number, line)| {
        columns.row(line).map(|row| (number, row)).map_err(|error| error.context(format!("line {number}")))
    });
    assemble(&facts, set, rows.collect::<Result<_>>()?)
}

type Facts<'t> = BTreeMap<&'t str, &'t str>;

fn check_set(facts: &Facts, set: &ImageSet) -> Result<()> {
    match facts.get("set_hash") {
        None => Err(Error::new("the list has no line `# set_hash: ..`, which identifies the set of the images")
            .hint(format!("for {} the line is `# set_hash: {}`", set.name, set.hash))),
        Some(&hash) if hash != set.hash => {
            let of = facts.get("set").copied().unwrap_or("another set");
            Err(Error::new(format!("the list is for {of} ({hash}), not for {} ({})", set.name, set.hash)))
        }
        Some(_) => Ok(()),
    }
}

/// Builds the list from its rows and checks what concerns all rows together.
fn assemble(facts: &Facts, set: &ImageSet, mut rows: Vec<(usize, (u32, u32))>) -> Result<PairList> {
    let label = |(first, _): (u32, u32)| set.labels[first as usize];
    let reuse = facts.get("reuse").is_some_and(|&value| value == "true");
    let (mut images, mut pairs) = (HashSet::new(), HashSet::new());
    for &(number, (first, second)) in &rows {
        let again = [first, second].into_iter().find(|&image| !images.insert(image));
        if let Some(image) = again.filter(|_| !reuse) {
            return Err(Error::new(format!("line {number}: image {image} is already in an earlier pair"))
                .hint("a line `# reuse: true` at the top of the list allows this"));
        }
        if !pairs.insert((first.min(second), first.max(second))) {
            return Err(Error::new(format!("line {number}: the pair {first}, {second} appears twice")));
        }
    }
    if rows.is_empty() {
        return Err(Error::new(NO_PAIR));
    }
    rows.sort_by_key(|&(_, pair)| label(pair));
    let mut labels: Vec<u32> = rows.iter().map(|&(_, pair)| label(pair)).collect();
    labels.dedup();
    let category = |pair| labels.partition_point(|&other| other < label(pair)) as u32;
    let pair = |(_, (first, second))| Pair { category: category((first, second)), first, second };
    let list = PairList {
        set: set.name.clone(),
        set_hash: set.hash.clone(),
        categories: labels.iter().map(|&label| set.classes[label as usize].clone()).collect(),
        seed: seed(facts)?,
        reuse,
        pairs: rows.into_iter().map(pair).collect(),
    };
    check_facts(facts, &list)?;
    Ok(list)
}

fn check_facts(facts: &Facts, list: &PairList) -> Result<()> {
    let found = [
        ("categories", list.categories.len().to_string()),
        ("per_category", list.per_category().to_string()),
        ("sp_hash", list.hash(PairKind::Semantic)),
        ("ap_hash", list.hash(PairKind::Augmented)),
    ];
    for (key, found) in found {
        if let Some(stated) = facts.get(key).filter(|stated| **stated != found) {
            return Err(Error::new(format!("the list says `{key}: {stated}`, but its rows give {found}"))
                .hint("a list changed by hand should leave this line out, and `seed` too"));
        }
    }
    Ok(())
}

/// The position of each column by name, and the set that rows are checked against.
struct Columns<'s> {
    at: BTreeMap<String, usize>,
    set: &'s ImageSet,
    names: Option<Vec<&'s str>>,
}

impl<'s> Columns<'s> {
    fn new(line: &str, set: &'s ImageSet) -> Result<Self> {
        let at: BTreeMap<String, usize> =
            line.split('\t').enumerate().map(|(i, name)| (name.trim().into(), i)).collect();
        if at.len() < line.split('\t').count() {
            return Err(Error::new("two columns have the same name"));
        }
        match COLUMNS[..3].iter().find(|name| !at.contains_key(**name)) {
            Some(name) => Err(Error::new(format!("there is no column `{name}` (columns are separated by tabs)"))),
            None => Ok(Self { at, set, names: set.names() }),
        }
    }

    fn row(&self, line: &str) -> Result<(u32, u32)> {
        let cells: Vec<String> = line.split('\t').map(unescape).collect();
        let cell = |name: &str| self.at.get(name).and_then(|&at| cells.get(at)).map_or("", String::as_str);
        let category = cell("category");
        let [first, second] = ["first", "second"].map(|side| {
            let image = self.image(cell(side), category)?;
            self.check(image, cell(&format!("{side}_hash")), cell(&format!("{side}_name")))?;
            Ok(image)
        });
        let (first, second) = (first?, second?);
        if first == second {
            return Err(Error::new(format!("image {first} is paired with itself")));
        }
        if self.set.labels[first as usize] != self.set.labels[second as usize] {
            return Err(Error::new(format!("images {first} and {second} are of two categories named `{category}`")));
        }
        Ok((first, second))
    }

    fn image(&self, text: &str, category: &str) -> Result<u32> {
        let image: u32 = text.trim().parse().map_err(|_| Error::new(format!("`{text}` is not an image's position")))?;
        let Some(&label) = self.set.labels.get(image as usize) else {
            return Err(Error::new(format!("{} has no image {image}, only {}", self.set.name, self.set.len())));
        };
        match self.set.classes[label as usize].as_str() {
            class if class == category => Ok(image),
            class => Err(Error::new(format!("image {image} is of category `{class}`, not `{category}`"))),
        }
    }

    fn check(&self, image: u32, hash: &str, name: &str) -> Result<()> {
        let found = self.set.image_hash(image as usize);
        if !hash.is_empty() && hash != found {
            return Err(Error::new(format!("image {image} has hash {found}, not {hash}")));
        }
        match self.names.as_ref().map(|names| names[image as usize]) {
            Some(found) if !name.is_empty() && name != found => {
                Err(Error::new(format!("image {image} is named `{found}`, not `{name}`")))
            }
            _ => Ok(()),
        }
    }
}

/// Escapes backslashes and the characters that would end a cell or a line.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> String {
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    plain
}

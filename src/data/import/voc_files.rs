//! The files of PASCAL VOC's layout in all sources of an import: lists, images and annotations. They may come from
//! different archives, as those of VOC2007 do. A file that is there twice must have the same content.

use std::collections::BTreeMap;
use std::collections::HashSet;

use crate::error::Error;
use crate::error::Result;

use super::annotated::differ;
use super::folder::is_image;
use super::left_out::others;
use super::names::VOC_ANNOTATIONS;
use super::names::VOC_LISTS;
use super::names::within;
use super::plan::LeftOut;
use super::plan::counted;
use super::source::Source;
use super::voc_xml;
use super::voc_xml::Annotation;

/// The directory of the images.
const IMAGES: &str = "JPEGImages";

/// The splits, each with the name of its list and the lists that are joined where that one is missing.
pub const SPLITS: [(&str, &str, &[&str]); 2] =
    [("test", "test.txt", &[]), ("train", "trainval.txt", &["train.txt", "val.txt"])];

/// The archives that VOC was published in: the folder in it, the split that it has, its name.
const PUBLISHED: [(&str, &str, &str); 3] = [
    ("VOC2007", "train", "VOCtrainval_06-Nov-2007.tar"),
    ("VOC2007", "test", "VOCtest_06-Nov-2007.tar"),
    ("VOC2012", "train", "VOCtrainval_11-May-2012.tar"),
];

/// A member of one of the sources.
#[derive(Clone, Copy)]
pub struct Member<'s> {
    /// The position of its source.
    pub index: usize,
    source: &'s Source,
    pub path: &'s str,
}

impl<'s> Member<'s> {
    /// Returns an error about it that also names its source.
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        self.source.member_error(self.path, what)
    }

    /// Returns source and path, as in an error.
    pub fn place(&self) -> String {
        format!("{}: {}", self.source.path.display(), self.path)
    }

    /// Returns its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.source.files[self.path]
    }

    /// Returns its content, if it is a list or an annotation.
    fn text(&self) -> Option<&'s [u8]> {
        self.source.text(self.path)
    }

    fn role(&self) -> Option<Role<'s>> {
        let of = |directory: &str| within(self.path, directory);
        let list = || of(VOC_LISTS).map(|(root, name)| Role::List(self.folder(root), name));
        let annotation = || of(VOC_ANNOTATIONS).map(|(_, name)| Role::Annotation(stem(name)));
        let image = || of(IMAGES).filter(|_| is_image(self.path)).map(|(_, name)| Role::Image(stem(name)));
        self.text().and_then(|_| list().or_else(annotation)).or_else(image)
    }

    /// Returns the name of a year's folder from the path to it. If the source begins in the folder, it has its name.
    fn folder(&self, root: &str) -> String {
        match root.trim_end_matches('/').rsplit('/').next() {
            Some("") | None => self.source.own_name(),
            Some(folder) => folder.into(),
        }
    }

    /// Returns the name of an image in the set, such as `VOC2007/JPEGImages/000005.jpg`.
    pub fn name(&self) -> String {
        let (root, name) = within(self.path, IMAGES).unwrap_or(("", self.path));
        format!("{}/{IMAGES}/{name}", self.folder(root))
    }
}

/// What a member is, with the folder or id that it is found by.
enum Role<'s> {
    List(String, &'s str),
    Annotation(&'s str),
    Image(&'s str),
}

/// The members of each id.
type ById<'s> = BTreeMap<&'s str, Vec<Member<'s>>>;

/// What the sources have together.
#[derive(Default)]
pub struct Found<'s> {
    /// The lists of each year's folder, by folder and name of the list.
    lists: BTreeMap<String, BTreeMap<&'s str, Vec<Member<'s>>>>,
    annotations: ById<'s>,
    images: ById<'s>,
    others: Vec<&'s str>,
    hidden: usize,
}

/// One line of a list.
struct Listed<'s> {
    id: &'s str,
    list: Member<'s>,
    folder: &'s str,
}

/// A listed image with its annotation.
pub struct Image<'s> {
    id: &'s str,
    /// Its members, all of one size.
    pub members: &'s [Member<'s>],
    /// The member that is its annotation.
    pub annotated: Member<'s>,
    /// The content of its annotation.
    pub annotation: Annotation,
    /// The folder of the list that names it.
    pub folder: &'s str,
}

impl<'s> Found<'s> {
    /// Finds the files in all sources.
    pub fn of(sources: &'s [Source]) -> Self {
        let mut found = Self { hidden: sources.iter().map(|source| source.hidden).sum(), ..Self::default() };
        for (index, source) in sources.iter().enumerate() {
            for path in source.files.keys() {
                let member = Member { index, source, path };
                match member.role() {
                    Some(Role::List(folder, name)) => {
                        found.lists.entry(folder).or_default().entry(name).or_default().push(member);
                    }
                    Some(Role::Annotation(id)) => found.annotations.entry(id).or_default().push(member),
                    Some(Role::Image(id)) => found.images.entry(id).or_default().push(member),
                    None => found.others.push(path),
                }
            }
        }
        // The order of the sources must not matter.
        found.images.values_mut().for_each(|members| members.sort_by_key(|member| member.path));
        found
    }

    /// Whether there are annotations.
    pub fn has_annotations(&self) -> bool {
        !self.annotations.is_empty()
    }

    /// Returns the names of the folders that have lists.
    pub fn folders(&self) -> Vec<&str> {
        self.lists.keys().map(String::as_str).collect()
    }

    /// Returns a list, if a folder has it.
    ///
    /// # Errors
    /// When two sources have different ones.
    fn list(&self, folder: &str, name: &str) -> Result<Option<Member<'s>>> {
        let members = self.lists.get(folder).and_then(|lists| lists.get(name)).map_or(&[][..], Vec::as_slice);
        same(members)?;
        Ok(members.first().copied())
    }

    /// Returns the lists of a split in one folder.
    fn lists_of(&self, split: &str, folder: &str) -> Result<Vec<Member<'s>>> {
        let mut lists = Vec::new();
        for (_, name, parts) in SPLITS.iter().filter(|(name, ..)| *name == split) {
            match self.list(folder, name)? {
                Some(list) => lists.push(list),
                None => {
                    for part in *parts {
                        lists.extend(self.list(folder, part)?);
                    }
                }
            }
        }
        Ok(lists)
    }

    /// Returns the images of a split, each once, in the order of the lists. Adds sentences about what is unusual.
    ///
    /// # Errors
    /// When an image or its annotation is missing, cannot be read, or is there twice with different content.
    pub fn split(&'s self, split: &str, findings: &mut Vec<String>) -> Result<Vec<Image<'s>>> {
        let (mut listed, mut seen, mut twice) = (Vec::new(), HashSet::new(), 0);
        for folder in self.lists.keys() {
            for list in self.lists_of(split, folder)? {
                let (ids, of_category) = self.ids(list)?;
                let what = "it is the list of one category; all its images are taken, whatever the number says";
                findings.extend(of_category.then(|| format!("{}: {what}", list.path)));
                let all = ids.len();
                let fresh: Vec<&str> = ids.into_iter().filter(|id| seen.insert(*id)).collect();
                twice += all - fresh.len();
                listed.extend(fresh.into_iter().map(|id| Listed { id, list, folder }));
            }
        }
        if twice > 0 {
            findings.push(format!("{} of `{split}` listed again; each image is taken once", counted(twice, "id")));
        }
        if listed.is_empty() {
            findings.push(self.no_split(split));
        }
        self.images(split, &listed)
    }

    /// Returns a sentence about a split of which no image is listed.
    fn no_split(&self, split: &str) -> String {
        let list = SPLITS.iter().find(|(name, ..)| *name == split).map_or("", |(_, list, _)| list);
        let what = format!("there is no split `{split}`, because no source has {VOC_LISTS}/{list} with an id in it");
        let known = self.lists.keys().filter_map(|folder| published(folder, split));
        [what].into_iter().chain(known).collect::<Vec<_>>().join("; ")
    }

    /// Returns the ids of a list, and whether a number behind each says whether the image has one category: 1, 0 or -1.
    fn ids(&self, list: Member<'s>) -> Result<(Vec<&'s str>, bool)> {
        let mut lines = list.source.lines(list.path)?.unwrap_or_default();
        if let Some(first) = lines.first_mut() {
            *first = first.trim_start_matches('\u{feff}');
        }
        let parted = |line: &&'s str| {
            let (id, number) = line.rsplit_once(char::is_whitespace)?;
            ["1", "0", "-1"].contains(&number).then(|| id.trim_end())
        };
        let of_category: Option<Vec<&str>> = lines.iter().map(parted).collect();
        let are_ids = || lines.iter().all(|line| self.images.contains_key(line));
        match of_category.filter(|ids| !ids.is_empty() && !are_ids()) {
            Some(ids) => Ok((ids, true)),
            None => Ok((lines, false)),
        }
    }

    fn images(&'s self, split: &str, listed: &[Listed<'s>]) -> Result<Vec<Image<'s>>> {
        for (directory, ending, there) in [(IMAGES, "jpg", &self.images), (VOC_ANNOTATIONS, "xml", &self.annotations)] {
            let missing: Vec<&Listed> = listed.iter().filter(|line| !there.contains_key(line.id)).collect();
            if let Some(first) = missing.first() {
                let named = format!("{directory}/{}.{ending}", first.id);
                return Err(self.missing(first, split, &named, missing.len() - 1));
            }
        }
        listed.iter().map(|line| self.image(line)).collect()
    }

    fn missing(&self, Listed { id, list, folder }: &Listed, split: &str, named: &str, more: usize) -> Error {
        let more =
            if more > 0 { format!(", and so are the files of {}", counted(more, "other id")) } else { String::new() };
        let ending = is_image(id) && self.images.contains_key(stem(id));
        let ending = if ending { "; an id has no ending" } else { "" };
        let hint = published(folder, split)
            .map_or("correct the list".into(), |archive| format!("{archive}; or correct the list"));
        list.error(format!("it lists `{id}`, but {named} is missing{more}{ending}"))
            .hint(format!("if it is in another source, give both: `sempair data import PATH PATH`; {hint}"))
    }

    fn image(&'s self, &Listed { id, folder, .. }: &Listed<'s>) -> Result<Image<'s>> {
        let (members, annotations) = (&self.images[id], &self.annotations[id]);
        same(annotations)?;
        // Whether images of one size are the same is known when they are read.
        if let Some(other) = members.iter().find(|member| member.bytes() != members[0].bytes()) {
            return Err(differ(&members[0].place(), &other.place()));
        }
        let annotated = annotations[0];
        let annotation = voc_xml::parse(annotated.text().unwrap_or_default()).map_err(|what| annotated.error(what))?;
        Ok(Image { id, members, annotated, annotation, folder })
    }

    /// Returns what is in the sources and not among these images.
    pub fn left_out<'i>(&self, images: impl Iterator<Item = &'i Image<'s>>) -> Vec<LeftOut>
    where
        's: 'i,
    {
        let used: HashSet<&str> = images.map(|image| image.id).collect();
        let named = [(&self.images, "image"), (&self.annotations, "annotation")].map(|(members, what)| {
            let unused = members.iter().filter(|(id, _)| !used.contains(*id));
            let files = unused.map(|(_, members)| members.len()).sum();
            LeftOut { files, what: format!("{} that no list names", counted(files, what)) }
        });
        named.into_iter().filter(|left| left.files > 0).chain(others(&self.others, self.hidden)).collect()
    }
}

/// Returns where the archive with a split of VOC is known to be.
fn published(folder: &str, split: &str) -> Option<String> {
    let archive = PUBLISHED.iter().find(|(of, has, _)| (*of, *has) == (folder, split)).map(|(.., archive)| archive);
    match archive {
        Some(archive) => Some(format!("{folder}'s `{split}` is in {archive}")),
        None if (folder, split) == ("VOC2012", "test") => {
            Some("VOC2012's test annotations are not published, so papers test on VOC2007's".into())
        }
        None => None,
    }
}

/// Checks that lists or annotations of one name have the same content.
fn same(members: &[Member]) -> Result<()> {
    match members.iter().find(|member| member.text() != members[0].text()) {
        None => Ok(()),
        Some(other) => Err(differ(&members[0].place(), &other.place())),
    }
}

/// Returns a file name without its ending.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

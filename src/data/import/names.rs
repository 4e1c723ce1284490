//! Names of members: their parts, and which members are read completely because they describe others.

/// Files that layouts read completely, because they describe the other files: names of categories, annotations, label
/// lists.
const TEXTS: [&str; 8] = [
    "batches.meta.txt",
    "fine_label_names.txt",
    "class_names.txt",
    "train_y.bin",
    "test_y.bin",
    "wnids.txt",
    "words.txt",
    "val_annotations.txt",
];

/// The directories of PASCAL VOC's layout whose files are read completely: lists of images, and one XML file for each
/// image.
pub const VOC_LISTS: &str = "ImageSets/Main";
pub const VOC_ANNOTATIONS: &str = "Annotations";

/// The lists of splits. VOC's lists of one category are not read.
const VOC_SPLITS: [&str; 4] = ["train.txt", "val.txt", "trainval.txt", "test.txt"];

/// Whether layouts of labelled images read this member as a list.
pub fn is_list(path: &str) -> bool {
    TEXTS.contains(&basename(path))
}

/// Whether a member is read completely when its source is listed.
pub fn is_text(path: &str) -> bool {
    let is_split = || within(path, VOC_LISTS).is_some_and(|(_, name)| VOC_SPLITS.contains(&name));
    let is_xml = || within(path, VOC_ANNOTATIONS).is_some_and(|(_, name)| name.to_ascii_lowercase().ends_with(".xml"));
    is_list(path) || is_split() || is_xml()
}

/// Returns the path above `directory` (with a final `/`, or empty) and the file's name, if a file is directly in a
/// directory of this name.
pub fn within<'p>(path: &'p str, directory: &str) -> Option<(&'p str, &'p str)> {
    let (above, name) = path.rsplit_once('/')?;
    let root = above.strip_suffix(directory)?;
    (root.is_empty() || root.ends_with('/')).then_some((root, name))
}

/// Returns the part of a path after its last `/`.
pub fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the directories above a path, longest first.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(parent, _)| parent.rsplit_once('/')).map(|(parent, _)| parent)
}

//! PASCAL VOC's layout: <http://host.robots.ox.ac.uk/pascal/VOC/>.
//!
//! In each year's folder, `ImageSets/Main/{trainval,test}.txt` list the images of the splits `train` and `test` by their
//! ids, `JPEGImages/ID.jpg` are the images, and `Annotations/ID.xml` have their objects. An id that no list has is left
//! out. The lists of several years are joined. The categories are those of the training images, in alphabetical order.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::error::Error;
use crate::error::Result;

use super::annotated::AnnotatedPlan;
use super::annotated::AnnotatedSplit;
use super::annotated::PlannedImage;
use super::annotated::PlannedObject;
use super::folder;
use super::names::VOC_LISTS;
use super::plan::LeftOut;
use super::plan::counted;
use super::plan::grouped;
use super::source::Source;
use super::voc_files::Found;
use super::voc_files::Image;
use super::voc_files::SPLITS;
use super::voc_xml::object_place;

type Split<'s> = (&'static str, Vec<Image<'s>>);

/// Returns the plan, if one of the sources has VOC's lists.
///
/// # Errors
/// When a listed image or annotation is missing, is there twice with different content, or cannot be used; names it.
pub fn plan(sources: &[Source]) -> Result<Option<AnnotatedPlan>> {
    let found = Found::of(sources);
    if found.folders().is_empty() { Ok(None) } else { laid_out(sources, &found).map(Some) }
}

/// Returns an error if one of the sources has VOC's annotations; none has its lists.
pub fn refuse_without_lists(sources: &[Source]) -> Result<()> {
    if !Found::of(sources).has_annotations() {
        return Ok(());
    }
    let lists = format!("{VOC_LISTS}/trainval.txt or test.txt");
    let what = format!("annotations as in PASCAL VOC, but no list of their images: {lists}");
    Err(Error::new(format!("{}: {what}", places(sources))).hint(
        "list the ids of the images, one a line; or give the source with the lists, too: `sempair data import PATH PATH`",
    ))
}

/// Returns the paths of the sources.
pub fn places(sources: &[Source]) -> String {
    sources.iter().map(|source| source.path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn laid_out(sources: &[Source], found: &Found) -> Result<AnnotatedPlan> {
    let mut findings = Vec::new();
    let mut splits: Vec<Split> = Vec::new();
    for (split, ..) in SPLITS {
        splits.push((split, found.split(split, &mut findings)?));
    }
    let classes = classes(&splits)?;
    findings.extend(other_folders(&splits));
    let mut left_out = found.left_out(splits.iter().flat_map(|(_, images)| images));
    left_out.extend(without_objects(&mut splits));
    splits.retain(|(_, images)| !images.is_empty());
    findings.extend(lonely(&splits, &classes));
    let mut plan = AnnotatedPlan {
        layout: "PASCAL VOC",
        name: default_name(&sources[0], &found.folders()),
        description: String::new(),
        years: found.folders().iter().filter_map(|folder| year(folder)).map(String::from).collect(),
        splits: splits.iter().map(|(split, images)| planned(split, images, &classes)).collect(),
        tasks: vec![BTreeMap::new(); sources.len()],
        classes,
        left_out,
        findings,
    };
    plan.description = describe(&plan, &found.folders());
    for (split, (_, images)) in splits.iter().enumerate() {
        for (position, image) in images.iter().enumerate() {
            for member in image.members {
                plan.tasks[member.index].entry(member.path.into()).or_default().push((split, position));
            }
        }
    }
    Ok(plan)
}

fn planned(split: &str, images: &[Image], classes: &[String]) -> AnnotatedSplit {
    let category = |name: &String| classes.binary_search(name).unwrap_or_default() as u32;
    let image = |image: &Image| PlannedImage {
        name: image.members[0].name(),
        bytes: image.members[0].bytes(),
        annotation: image.annotated.place(),
        size: image.annotation.size,
        objects: image
            .annotation
            .objects
            .iter()
            .map(|object| PlannedObject { category: category(&object.name), sides: object.sides, flags: object.flags })
            .collect(),
    };
    AnnotatedSplit { name: split.into(), images: images.iter().map(image).collect() }
}

/// Returns the names of the categories of the training images, sorted; those of the test images if there are no others.
fn classes(splits: &[Split]) -> Result<Vec<String>> {
    let of = |of: &str| -> BTreeSet<String> {
        names(splits.iter().filter(|(split, _)| *split == of).flat_map(|(_, images)| images)).collect()
    };
    let trained = of("train");
    let classes = if trained.is_empty() { of("test") } else { trained };
    if let Some(what) = folder::differ_little(classes.iter().map(String::as_str)) {
        return Err(Error::new(what).hint("give them one name in all annotations, and run `sempair data import PATH`"));
    }
    for image in splits.iter().flat_map(|(_, images)| images) {
        let mut objects = image.annotation.objects.iter().enumerate();
        if let Some((at, object)) = objects.find(|(_, object)| !classes.contains(&object.name)) {
            let known: Vec<&str> = classes.iter().take(30).map(String::as_str).collect();
            let more = if known.len() < classes.len() { ", .." } else { "" };
            let what = format!("no training image has its category; there are {}{more}", known.join(", "));
            return Err(image
                .annotated
                .error(object_place(at, Some(&object.name)) + &what)
                .hint("correct the name, or list a training image with it, and run `sempair data import PATH`"));
        }
    }
    Ok(classes.into_iter().collect())
}

/// Removes the training images without objects: nothing can be learned from them, and Detectron2 leaves them out, too.
fn without_objects(splits: &mut [Split]) -> Option<LeftOut> {
    let (_, images) = splits.iter_mut().find(|(split, _)| *split == "train")?;
    let all = images.len();
    images.retain(|image| !image.annotation.objects.is_empty());
    let files = all - images.len();
    let what = format!("{} without objects", counted(files, "training image"));
    (files > 0).then_some(LeftOut { files, what })
}

/// Returns a sentence for each folder whose annotations say that they are of another year: a folder was renamed, or
/// years were mixed.
fn other_folders(splits: &[Split]) -> Vec<String> {
    let mut said: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for image in splits.iter().flat_map(|(_, images)| images) {
        let of = image.annotation.folder.as_str();
        if year(of).is_some() && year(image.folder).is_some() && of != image.folder {
            *said.entry((image.folder, of)).or_default() += 1;
        }
    }
    let what = |((folder, of), count)| {
        format!("{} listed in {folder} with `<folder>{of}</folder>`, another year", counted(count, "annotation"))
    };
    said.into_iter().map(what).collect()
}

/// Returns a sentence about categories without an object in some split.
fn lonely(splits: &[Split], classes: &[String]) -> Option<String> {
    let names = |(split, images): &Split| -> (&str, BTreeSet<String>) { (split, names(images.iter()).collect()) };
    let there: Vec<(&str, BTreeSet<String>)> = splits.iter().map(names).collect();
    let lacks = |class: &String| there.iter().find(|(_, names)| !names.contains(class)).map(|(split, _)| *split);
    let all: Vec<(&String, &str)> = classes.iter().filter_map(|class| Some((class, lacks(class)?))).collect();
    let (class, split) = all.first()?;
    let categories = if all.len() == 1 { "1 category has".into() } else { format!("{} categories have", all.len()) };
    Some(format!("{categories} no object in some split, such as `{class}`: `{split}` has none"))
}

fn names<'i>(images: impl Iterator<Item = &'i Image<'i>>) -> impl Iterator<Item = String> {
    images.flat_map(|image| &image.annotation.objects).map(|object| object.name.clone())
}

/// Returns the year of a folder such as `VOC2007`.
fn year(folder: &str) -> Option<&str> {
    folder.strip_prefix("VOC").filter(|year| year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns `voc-2007` or `voc-2007-2012`, or the name of another folder.
fn default_name(source: &Source, folders: &[&str]) -> String {
    let years: Option<Vec<&str>> = folders.iter().map(|folder| year(folder)).collect();
    match (years, folders) {
        (Some(years), _) => format!("voc-{}", years.join("-")),
        (None, folders) => folder::default_name(source, folders.first().unwrap_or(&"")),
    }
}

fn describe(plan: &AnnotatedPlan, folders: &[&str]) -> String {
    let part = |split: &AnnotatedSplit| {
        let kind = if split.name == "train" { "training image" } else { "test image" };
        let objects = split.images.iter().map(|image| image.objects.len()).sum();
        format!("{} with {}", counted(split.images.len(), kind), counted(objects, "object"))
    };
    let parts: Vec<String> = plan.splits.iter().rev().map(part).collect();
    let categories = match plan.classes.len() {
        1 => "1 category".into(),
        many => format!("{} categories", grouped(many)),
    };
    format!("{}, {categories} ({})", parts.join(", "), folders.join(", "))
}

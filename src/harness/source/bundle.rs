//! Git bundles: commits in one file, which `git fetch FILE REF` reads. The file is thin: it has only what commits that
//! are known to be elsewhere do not have, and it names these ([`Bundle::needs`]).
//!
//! The format: <https://git-scm.com/docs/gitformat-bundle>, version 2.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use git2::Error;
use git2::ObjectType;
use git2::Oid;
use git2::PackBuilder;
use git2::Repository;

const SIGNATURE: &str = "# v2 git bundle\n";

/// The start of the name of a bundle's reference; the hash of the commit follows.
const REFERENCE: &str = "refs/sempair/";

/// A bundle of one commit with its history.
pub(super) struct Bundle {
    /// The commit that it is made for.
    pub commit: Oid,
    /// Commits that the reader must have.
    pub needs: Vec<Oid>,
    /// All objects that these commits do not have, as git packs them.
    pack: Vec<u8>,
}

impl Bundle {
    /// A bundle of `commit` for readers who have the commits `known`.
    pub fn new(repository: &Repository, commit: Oid, known: &[Oid]) -> Result<Self, Error> {
        let walk = || -> Result<git2::Revwalk, Error> {
            let mut walk = repository.revwalk()?;
            walk.push(commit)?;
            known.iter().try_for_each(|known| walk.hide(*known))?;
            Ok(walk)
        };
        let included: HashSet<Oid> = walk()?.collect::<Result<_, Error>>()?;
        let mut needs = Vec::new();
        for id in &included {
            needs.extend(repository.find_commit(*id)?.parent_ids().filter(|parent| !included.contains(parent)));
        }
        needs.sort_unstable();
        needs.dedup();
        let mut builder = repository.packbuilder()?;
        // With several threads, the bytes differ from one time to the next.
        builder.set_threads(1);
        builder.insert_walk(&mut walk()?)?;
        Ok(Self { commit, needs, pack: packed(&mut builder)? })
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let needs: String = self.needs.iter().map(|id| format!("-{id}\n")).collect();
        let header = format!("{SIGNATURE}{needs}{} {REFERENCE}{}\n\n", self.commit, self.commit);
        [header.as_bytes(), &self.pack].concat()
    }

    /// Reads a file that [`Bundle::to_bytes`] wrote. `None` if it is not such a file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
        let header = std::str::from_utf8(&bytes[..=end]).ok()?.strip_prefix(SIGNATURE)?;
        let (mut needs, mut commit) = (Vec::new(), None);
        for line in header.lines() {
            match line.strip_prefix('-') {
                Some(id) => needs.push(Oid::from_str(id).ok()?),
                None => commit = Some(Oid::from_str(line.split_once(' ')?.0).ok()?),
            }
        }
        Some(Self { commit: commit?, needs, pack: bytes[end + 2..].to_vec() })
    }

    /// Adds the objects to a repository. Their hashes are computed again.
    pub fn unpack(&self, repository: &Repository) -> Result<(), Error> {
        let odb = repository.odb()?;
        let mut writer = odb.packwriter()?;
        writer.write_all(&self.pack).map_err(|error| Error::from_str(&error.to_string()))?;
        writer.commit()?;
        odb.refresh()
    }

    /// Whether a reader with the commits that the bundle needs, and nothing else, gets every file of its commit: the
    /// objects are unpacked in the empty folder `place`, and what they lack must be in those commits of `repository`.
    pub fn rebuilds(&self, repository: &Repository, place: &Path) -> Result<bool, Error> {
        let unpacked = Repository::init_bare(place)?;
        self.unpack(&unpacked)?;
        let mut there = HashSet::new();
        for id in &self.needs {
            add_objects(repository, repository.find_commit(*id)?.tree_id(), &mut there)?;
        }
        let odb = unpacked.odb()?;
        let mut open = vec![(unpacked.find_commit(self.commit)?.tree_id(), ObjectType::Tree)];
        while let Some((id, kind)) = open.pop() {
            if there.contains(&id) {
                continue;
            }
            if !odb.exists(id) {
                return Ok(false);
            }
            if kind == ObjectType::Tree {
                open.extend(entries(&unpacked, id)?);
            }
        }
        Ok(true)
    }
}

/// The trees and files in a tree.
fn entries(repository: &Repository, tree: Oid) -> Result<Vec<(Oid, ObjectType)>, Error> {
    let tree = repository.find_tree(tree)?;
    let kinds = tree.iter().map(|entry| (entry.id(), entry.kind().unwrap_or(ObjectType::Any)));
    // A submodule is a commit of another repository.
    Ok(kinds.filter(|(_, kind)| matches!(kind, ObjectType::Tree | ObjectType::Blob)).collect())
}

fn add_objects(repository: &Repository, tree: Oid, to: &mut HashSet<Oid>) -> Result<(), Error> {
    let mut open = vec![(tree, ObjectType::Tree)];
    while let Some((id, kind)) = open.pop() {
        if to.insert(id) && kind == ObjectType::Tree {
            open.extend(entries(repository, id)?);
        }
    }
    Ok(())
}

fn packed(builder: &mut PackBuilder) -> Result<Vec<u8>, Error> {
    let mut buffer = git2::Buf::new();
    builder.write_buf(&mut buffer)?;
    Ok(buffer.to_vec())
}

//! Builds the program of an earlier run, from the repository and the ledger alone.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::harness::git::Git;
use crate::harness::progress::Progress;
use crate::harness::source;
use crate::harness::source::CheckedOut;
use crate::harness::source::Trust;

/// The program's file name.
const PROGRAM: &str = "sempair";

/// The program of a run.
pub struct Rebuilt {
    /// Its file.
    pub path: PathBuf,
    /// Why the run may have had other files than those it was built from.
    pub not_whole: Option<String>,
}

/// Builds the program of a run, with the toolchain and the dependencies that its files name. They come from the
/// repository around `repo` and, if that is trusted, from the ledger. The program is kept in `builds` and found there the
/// next time. The repository and its working tree are left as they are.
///
/// # Errors
/// When the run's commit is not a full hash, nothing that is trusted has its files, or the build fails.
pub fn program_of(
    places: (&Path, &Path),
    git: &Git,
    trust: Trust,
    builds: &Path,
    progress: &Progress,
) -> Result<Rebuilt> {
    let folder = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let tree = folder.path().join("tree");
    let CheckedOut { tree: hash, not_whole } = source::check_out(places, git, trust, &tree)?;
    if let Some(why) = &not_whole {
        progress.line(&format!("warning: the runs may have had other files: {why}"));
    }
    // The caller starts it in another folder.
    let builds = std::path::absolute(builds).context(builds.display())?;
    let kept = builds.join(&hash).join(PROGRAM);
    if kept.is_file() {
        return Ok(Rebuilt { path: kept, not_whole });
    }
    let commit = git.commit.as_deref().unwrap_or_default();
    let snapshot = git.kept.snapshot.as_ref().map_or("", |_| " with the files of its run");
    let start = commit.get(..12).unwrap_or(commit);
    progress.line(&format!("building the program of commit {start}{snapshot}, which takes some minutes"));
    let target = folder.path().join("target");
    // Without the network, if all dependencies are on this machine.
    let built = cargo(&tree, &target, &["--offline"]).or_else(|_| cargo(&tree, &target, &[]));
    if let Err(said) = built {
        let tree = folder.keep().join("tree");
        return Err(Error::new(format!("the program of commit {commit} does not build: {said}"))
            .hint(format!("`cd {} && cargo build --release --locked` shows all messages", tree.display())));
    }
    let program = target.join("release").join(PROGRAM);
    let bytes = std::fs::read(&program).context(program.display())?;
    make_folder(&builds.join(&hash))?;
    files::write_whole(&kept, &bytes)?;
    make_executable(&kept)?;
    Ok(Rebuilt { path: kept, not_whole })
}

/// Builds with cargo. The error is the last line that it printed.
#[expect(clippy::disallowed_methods, reason = "building an earlier commit is what the caller asks for")]
fn cargo(tree: &Path, target: &Path, more: &[&str]) -> std::result::Result<(), String> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--locked", "--quiet"]).args(more).current_dir(tree);
    command.env("CARGO_TARGET_DIR", target).stdin(Stdio::null()).stdout(Stdio::null());
    // The commit names its toolchain; that of the program which runs now is not passed on.
    command.env_remove("RUSTUP_TOOLCHAIN");
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let error = said.lines().find(|line| line.starts_with("error")).or_else(|| said.lines().last());
            Err(error.unwrap_or("cargo failed").to_owned())
        }
    }
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).context(folder.display())
}

#[cfg(unix)]
fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).context(file.display())
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

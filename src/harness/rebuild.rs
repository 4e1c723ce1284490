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

/// The program's file name.
const PROGRAM: &str = "sempair";

/// Builds the program of a run, with the toolchain and the dependencies that its files name. They come from the
/// repository around `repo` and from the ledger. The program is kept in `builds` and found there the next time. The
/// repository and its working tree are left as they are.
///
/// # Errors
/// When the run's commit is not a full hash, nothing has its files, or the build fails.
pub fn program_of((repo, ledger): (&Path, &Path), git: &Git, builds: &Path, progress: &Progress) -> Result<PathBuf> {
    let commit = git.kept.snapshot.as_deref().or(git.commit.as_deref()).unwrap_or_default();
    if commit.len() < 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::new(format!("`{commit}` is not the full hash of a commit")));
    }
    let patch = git.kept.patch.as_deref().filter(|_| git.kept.snapshot.is_none());
    let name =
        match patch.map(|patch| patch.get(..12).filter(|start| start.bytes().all(|byte| byte.is_ascii_hexdigit()))) {
            None => commit.to_owned(),
            Some(Some(start)) => format!("{commit}-{start}"),
            Some(None) => return Err(Error::new("the patch of the run is not named by a hash")),
        };
    // The caller starts it in another folder.
    let builds = std::path::absolute(builds).context(builds.display())?;
    let kept = builds.join(&name).join(PROGRAM);
    if kept.is_file() {
        return Ok(kept);
    }
    let folder = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let tree = folder.path().join("tree");
    if let CheckedOut::Partly(why) = source::check_out(repo, ledger, git, &tree)? {
        progress.line(&format!("warning: not all files are those of the runs: {why}"));
    }
    let with_patch = if patch.is_some() { " with the patch of its run" } else { "" };
    let start = commit.get(..12).unwrap_or(commit);
    progress.line(&format!("building the program of commit {start}{with_patch}, which takes some minutes"));
    let target = folder.path().join("target");
    // Without the network, if all dependencies are on this machine.
    let built = cargo(&tree, &target, &["--offline"]).or_else(|_| cargo(&tree, &target, &[]));
    built.map_err(|said| {
        Error::new(format!("the program of commit {commit} does not build: {said}"))
            .hint(format!("`git checkout {commit} && cargo build --release --locked` shows all messages"))
    })?;
    let program = target.join("release").join(PROGRAM);
    let bytes = std::fs::read(&program).context(program.display())?;
    make_folder(&builds.join(&name))?;
    files::write_whole(&kept, &bytes)?;
    make_executable(&kept)?;
    Ok(kept)
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

//! Builds the program of an earlier commit, from the repository alone.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use git2::Repository;
use git2::build::CheckoutBuilder;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::harness::progress::Progress;

/// The program's file name.
const PROGRAM: &str = "sempair";

/// Builds the program of a commit of the repository around `repo`, with the toolchain and the dependencies that the
/// commit names. The program is kept in `builds` and found there the next time. The repository and its working tree
/// are left as they are.
///
/// # Errors
/// When the commit is not a full hash, the repository does not have it, or the build fails.
pub fn program_of(repo: &Path, commit: &str, builds: &Path, progress: &Progress) -> Result<PathBuf> {
    if commit.len() < 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::new(format!("`{commit}` is not the full hash of a commit")));
    }
    // The caller starts it in another folder.
    let builds = std::path::absolute(builds).context(builds.display())?;
    let kept = builds.join(commit).join(PROGRAM);
    if kept.is_file() {
        return Ok(kept);
    }
    let folder = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let tree = folder.path().join("tree");
    check_out(repo, commit, &tree)?;
    progress.line(&format!(
        "building the program of commit {}, which takes some minutes",
        commit.get(..12).unwrap_or(commit)
    ));
    let target = folder.path().join("target");
    // Without the network, if all dependencies are on this machine.
    let built = cargo(&tree, &target, &["--offline"]).or_else(|_| cargo(&tree, &target, &[]));
    built.map_err(|said| {
        Error::new(format!("the program of commit {commit} does not build: {said}"))
            .hint(format!("`git checkout {commit} && cargo build --release --locked` shows all messages"))
    })?;
    let program = target.join("release").join(PROGRAM);
    let bytes = std::fs::read(&program).context(program.display())?;
    make_folder(&builds.join(commit))?;
    files::write_whole(&kept, &bytes)?;
    make_executable(&kept)?;
    Ok(kept)
}

/// Writes the files of a commit to a new folder.
fn check_out(repo: &Path, commit: &str, to: &Path) -> Result<()> {
    let missing = |error: git2::Error| {
        Error::new(format!("the repository does not have the files of commit {commit}: {}", error.message()))
            .hint("`git fetch --all --tags` fetches the commits of its remotes")
    };
    let repository = Repository::discover(repo).map_err(missing)?;
    let tree = git2::Oid::from_str(commit).and_then(|id| repository.find_commit(id)?.tree()).map_err(missing)?;
    make_folder(to)?;
    let mut options = CheckoutBuilder::new();
    options.target_dir(to).force().update_index(false).recreate_missing(true);
    repository.checkout_tree(tree.as_object(), Some(&mut options)).map_err(missing)
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

//! Signatures of a manifest with SSH keys, made and checked by OpenSSH's `ssh-keygen` (`man ssh-keygen`, under `-Y`).

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;

/// What the signature is for, so that it is valid for nothing else.
const NAMESPACE: &str = "sempair";

/// The name under which a single public key is trusted.
const SIGNER: &str = "signer";

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

/// Whose signatures are accepted.
pub enum Trust<'a> {
    /// The signers in this file (`man ssh-keygen`, under ALLOWED SIGNERS).
    Signers(&'a Path),
    /// The owner of the key in this file, such as `id_ed25519.pub`.
    Key(&'a Path),
}

/// Signs a text with the private key in a file, or with the agent's key whose public part is in it.
///
/// # Errors
/// When `ssh-keygen` is not installed or does not sign.
pub fn sign(text: &[u8], key: &Path) -> Result<String> {
    files::plain(key).context(format!("cannot read the key {}", key.display()))?;
    let output = keygen(&["-Y", "sign", "-n", NAMESPACE, "-f", &path(key)?], text)?;
    output.map_err(|said| {
        Error::new(format!("ssh-keygen does not sign with {}: {said}", key.display()))
            .hint("`ssh-keygen -t ed25519 -f KEY` makes a key; `ssh-add KEY` asks for its passphrase once")
    })
}

/// Checks a signature of a text. Returns who signed, with the key. Without `trust`, anyone may have signed.
///
/// # Errors
/// When `ssh-keygen` is not installed, or a file of keys cannot be read. The inner error says why the signature is not
/// valid.
pub fn verify(text: &[u8], signature: &str, trust: Option<&Trust>) -> Result<Result<String, String>> {
    if !is_armoured(signature) {
        return Ok(Err("it is not an SSH signature".to_owned()));
    }
    let folder = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let (signed, one) = (folder.path().join("signature"), folder.path().join("signers"));
    files::write_whole(&signed, signature.as_bytes())?;
    let signers = match trust {
        None => return keygen(&["-Y", "check-novalidate", "-n", NAMESPACE, "-s", &path(&signed)?], text),
        Some(Trust::Signers(signers)) => {
            files::read_text(signers)?;
            *signers
        }
        Some(Trust::Key(key)) => {
            let text = files::read_text(key)?;
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let public = lines.next().filter(|line| !line.contains("PRIVATE KEY"));
            let Some(public) = public else {
                return Err(Error::new(format!("{} is not a public key", key.display()))
                    .hint(format!("`ssh-keygen -y -f {}` prints the public part of a private key", key.display())));
            };
            files::write_whole(&one, format!("{SIGNER} namespaces=\"{NAMESPACE}\" {public}\n").as_bytes())?;
            &one
        }
    };
    let (signed, signers) = (path(&signed)?, path(signers)?);
    let found = keygen(&["-Y", "find-principals", "-s", &signed, "-f", &signers], &[])?;
    let Ok(names) = found else { return Ok(Err("its key is not that of an accepted signer".to_owned())) };
    let mut last = "no accepted signer is named".to_owned();
    for name in names.lines() {
        match keygen(&["-Y", "verify", "-n", NAMESPACE, "-s", &signed, "-f", &signers, "-I", name], text)? {
            Ok(said) => return Ok(Ok(said)),
            Err(said) => last = said,
        }
    }
    Ok(Err(last))
}

/// Whether a text is one signature in the form that `ssh-keygen` writes, without a byte more.
fn is_armoured(text: &str) -> bool {
    let Some(body) = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(&format!("{END}\n"))) else {
        return false;
    };
    let Ok(bytes) = BASE64_STANDARD.decode(body.replace('\n', "")) else { return false };
    let encoded = BASE64_STANDARD.encode(bytes);
    let lines = encoded.as_bytes().chunks(70).map(String::from_utf8_lossy);
    body == format!("\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

fn path(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| Error::new(format!("{path:?} is not UTF-8")).hint("rename the file"))?;
    // A path that begins with a hyphen would be an option.
    Ok(if text.starts_with('-') { format!("./{text}") } else { text.to_owned() })
}

/// Runs `ssh-keygen` with a text as its input. Returns what it prints, or if it fails, what it complains.
#[expect(clippy::disallowed_methods, reason = "signing a finished bundle takes no part in a run")]
fn keygen(arguments: &[&str], input: &[u8]) -> Result<Result<String, String>> {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        Error::new(format!("cannot run ssh-keygen, which signs and checks signatures: {error}"))
            .hint("`apt-get install openssh-client` installs it; without it, everything but the signature is checked")
    })?;
    let mut stdin = child.stdin.take().expect("the input is a pipe");
    // A program that ends early does not read its input; what it says is the reason.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().context("ssh-keygen")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => {
            let said = text(&[output.stderr, output.stdout].concat());
            Err(said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing").to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_of_a_signature_is_one() {
        let body = BASE64_STANDARD.encode([7; 90]);
        let (first, second) = body.split_at(70);
        let good = format!("{BEGIN}\n{first}\n{second}\n{END}\n");
        assert!(is_armoured(&good));
        for bad in [
            String::new(),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            good.replace(second, &format!("{second} ")),
            format!("{BEGIN}\n{body}\n{END}\n"),
            good.replace("SSH", "PGP"),
        ] {
            assert!(!is_armoured(&bad), "{bad}");
        }
    }
}

//! Keeps secrets out of records: values and files whose name looks like a secret, and credentials inside URLs.

use std::path::Path;

use serde_json::Value;

/// The text in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Words that make a name secret. `token` counts only in the singular: a number of `tokens` is a setting.
const SECRET_WORDS: [&str; 10] =
    ["password", "passwd", "passphrase", "secret", "token", "apikey", "credential", "credentials", "key", "jwt"];

/// Command-line arguments without their secrets: `--api-token X`, `--api-token=X`, `NAME_KEY=X`, `--set a.secret=X`.
pub fn arguments(args: &[String]) -> Vec<String> {
    let mut next_is_secret = false;
    args.iter()
        .map(|arg| {
            let hide = std::mem::take(&mut next_is_secret);
            match arg.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
                _ if hide && !arg.starts_with('-') => REDACTED.to_owned(),
                _ => {
                    next_is_secret = arg.starts_with('-') && !arg.contains('=') && is_secret(arg);
                    text(arg)
                }
            }
        })
        .collect()
}

/// A named value without its secrets, at any depth.
pub fn value(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, inner)| (key.clone(), self::value(key, inner))).collect(),
        Value::Null | Value::Bool(_) => value.clone(),
        _ if is_secret(name) => Value::from(REDACTED),
        Value::Array(items) => items.iter().map(|item| self::value(name, item)).collect(),
        Value::String(string) => Value::String(text(string)),
        Value::Number(_) => value.clone(),
    }
}

/// Text with the user part of every URL replaced: `https://me:pass@host` becomes `https://[redacted]@host`.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://").map(|at| at + 3) {
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        let authority = after.find(|c: char| "/?#".contains(c) || c.is_whitespace()).unwrap_or(after.len());
        rest = match after[..authority].rfind('@') {
            Some(at) => {
                out.push_str(REDACTED);
                &after[at..]
            }
            None => after,
        };
    }
    out + rest
}

/// How well-known tokens and private keys begin.
const TOKENS: [&str; 9] =
    ["ghp_", "gho_", "github_pat_", "glpat-", "hf_", "xoxb-", "xoxp-", "AKIA", "PRIVATE KEY-----"];

/// Whether a file may have secrets in it, by its path and by how its content begins.
pub fn is_secret_file(path: &Path, content: &[u8]) -> bool {
    let lower = path.to_string_lossy().to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or_default();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let begins = [".env", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".git-credentials", ".htpasswd", "id_"];
    let ends = ["env", "pem", "key", "p12", "pfx", "jks", "keystore", "kdbx"];
    // Not source code, in which a file may well be named after keys.
    let of_settings = ["", "txt", "json", "toml", "yaml", "yml", "ini", "cfg", "conf"].contains(&extension);
    let is_word = |word: &str| is_secret(word) || word.strip_suffix('s').is_some_and(is_secret);
    let is_named_so = |part: &str| part.split(|c: char| !c.is_alphanumeric()).any(is_word);
    let folders = lower.rsplit_once('/').map_or("", |(folders, _)| folders);
    let text = String::from_utf8_lossy(content);
    let is_token = |at: usize, token: &str| {
        let rest = text[at + token.len()..].bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        token.ends_with('-') || rest.count() >= 16
    };
    let has_token = TOKENS.iter().any(|token| text.match_indices(token).any(|(at, token)| is_token(at, token)));
    begins.iter().any(|begin| name.starts_with(begin))
        || ends.contains(&extension)
        || of_settings && (is_named_so(stem) || name.contains("service-account") || folders.split('/').any(is_named_so))
        || has_token
}

/// Whether the name of a flag, a variable or a key looks like a secret. Words are split at punctuation and changes of
/// case.
fn is_secret(name: &str) -> bool {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && previous_lower) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("one word at least").extend(c.to_lowercase());
        }
        previous_lower = c.is_lowercase();
    }
    words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
}

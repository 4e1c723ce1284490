//! SHA-256, for formats that ask for it. It stands beside `files`, because an edit of that moves the keys of all stages.

use std::io;

use sha2::Digest;
use sha2::Sha256;

/// The number of bytes and their SHA-256 in hexadecimal digits; [`crate::files::hash`] is faster.
///
/// # Errors
/// When the bytes cannot be read.
pub fn of(mut bytes: impl io::Read) -> io::Result<(u64, String)> {
    let (mut hasher, mut buffer, mut count) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        match bytes.read(&mut buffer)? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                count += read as u64;
            }
        }
    }
    Ok((count, hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

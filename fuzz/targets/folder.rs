//! Images in a folder for each category, in all formats that are read; the bytes decide the format, not the name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sempair_fuzz::imports_files;

const FILES: &[&str] = &["train/a/0.png", "train/b/0.jpg", "test/a/1.gif", "test/b/1.tif"];

fuzz_target!(|bytes: &[u8]| imports_files(FILES, bytes));

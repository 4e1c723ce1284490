//! STL-10: categories, labels and images of both splits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sempair_fuzz::imports_files;

const FILES: &[&str] = &["stl10_binary/class_names.txt", "stl10_binary/train_y.bin", "stl10_binary/train_X.bin", "stl10_binary/test_y.bin", "stl10_binary/test_X.bin"];

fuzz_target!(|bytes: &[u8]| imports_files(FILES, bytes));

//! CIFAR-10 in its binary version: names of the categories, one training batch, and the test batch.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sempair_fuzz::imports_files;

const FILES: &[&str] = &["cifar-10-batches-bin/batches.meta.txt", "cifar-10-batches-bin/data_batch_1.bin", "cifar-10-batches-bin/test_batch.bin"];

fuzz_target!(|bytes: &[u8]| imports_files(FILES, bytes));

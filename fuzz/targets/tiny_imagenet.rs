//! Tiny-ImageNet: the categories' ids and words, the annotations of the validation split, one image in each split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sempair_fuzz::imports_files;

const FILES: &[&str] = &["tiny-imagenet-200/wnids.txt", "tiny-imagenet-200/words.txt", "tiny-imagenet-200/val/val_annotations.txt", "tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG", "tiny-imagenet-200/val/images/val_0.JPEG"];

fuzz_target!(|bytes: &[u8]| imports_files(FILES, bytes));

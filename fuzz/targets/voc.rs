//! PASCAL VOC: the two lists, and an annotation and an image for each split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sempair_fuzz::imports_files;

const FILES: &[&str] = &["VOC2007/ImageSets/Main/trainval.txt", "VOC2007/ImageSets/Main/test.txt", "VOC2007/Annotations/1.xml", "VOC2007/Annotations/2.xml", "VOC2007/JPEGImages/1.jpg", "VOC2007/JPEGImages/2.jpg"];

fuzz_target!(|bytes: &[u8]| imports_files(FILES, bytes));

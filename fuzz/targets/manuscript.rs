//! A LaTeX manuscript with these bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sempair::lint::numbers;
use sempair_fuzz::refused;

fuzz_target!(|text: &str| {
    match numbers(text) {
        Err(error) => refused(&error),
        Ok(numbers) => {
            let lines = text.lines().count();
            for number in numbers {
                assert!((1..=lines).contains(&number.line), "{number:?} of {lines} lines");
                assert!(!number.text.is_empty() && !number.value.is_nan(), "{number:?}");
            }
        }
    }
});

//! The arithmetic. Slices and sizes in, slices out; nothing of the other rooms is known here.

pub mod cpu;

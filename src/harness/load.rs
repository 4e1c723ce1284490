//! A kind of work whose speed-up with threads can be measured.

use std::fmt::{Debug, Formatter};

use crate::error::Result;

/// A kind of work, with a small piece that can be timed.
pub struct Load {
    /// Such as `resnet-small 16x16, 32 pairs`. Work with the same name speeds up alike.
    pub name: String,
    /// The memory that one piece takes, in bytes.
    pub memory: u64,
    /// Makes a function that does one piece of the work on the threads of the caller.
    pub prepare: Prepare,
}

impl Debug for Load {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Makes a function that does one piece of some work.
pub type Prepare = Box<dyn Fn() -> Result<Box<dyn FnMut()>> + Send + Sync>;

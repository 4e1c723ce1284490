//! Images that wait until there are enough of them for all cores.

/// A batch is full when it has this many images or this many encoded bytes.
const IMAGES: usize = 1024;
const BYTES: usize = 32 << 20;

/// Images that were read and are not decoded yet.
pub struct Batch<J> {
    jobs: Vec<J>,
    bytes: usize,
}

impl<J> Default for Batch<J> {
    fn default() -> Self {
        Self { jobs: Vec::new(), bytes: 0 }
    }
}

impl<J> Batch<J> {
    /// Adds an image of so many bytes, and returns whether the batch is full.
    pub fn push(&mut self, job: J, bytes: usize) -> bool {
        self.jobs.push(job);
        self.bytes += bytes;
        self.jobs.len() == IMAGES || self.bytes >= BYTES
    }

    /// Returns the images, and empties the batch.
    pub fn take(&mut self) -> Vec<J> {
        std::mem::take(self).jobs
    }
}

//! Fixed partitions: the pieces depend on sizes alone, never on the number of threads.

use std::cell::RefCell;

use rayon::prelude::*;

/// Elements of one piece of an element-wise operation: 64 KiB per slice, so that a piece stays in the cache.
pub const PIECE: usize = 16 * 1024;

/// Runs `body(index)` for every index below `count`, in parallel. A single index runs on the calling thread.
pub fn for_each(count: usize, body: impl Fn(usize) + Sync + Send) {
    match count {
        0 => {}
        1 => body(0),
        _ => for_each_index(count, &body),
    }
}

/// One instance for all bodies: a parallel iterator is thousands of instructions, and a task takes far longer than the
/// call of a pointer.
fn for_each_index(count: usize, body: &(dyn Fn(usize) + Sync)) {
    (0..count).into_par_iter().with_max_len(1).for_each(body);
}

/// Returns the range of part `index` when `count` items are cut into `parts` nearly equal ranges.
#[inline]
pub fn part(count: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    count * index / parts..count * (index + 1) / parts
}

/// Returns the range of tile `index` when `count` rows are cut into `count.div_ceil(most)` tiles of at most `most`
/// rows.
///
/// All tiles are full except the last two, which share the remaining rows if the last tile would be small. No tile
/// has `most - 2` rows if that can be avoided: the compiler generates a slow loop for ten rows by two vectors.
#[inline]
pub fn tile_rows(count: usize, most: usize, index: usize) -> std::ops::Range<usize> {
    let tiles = count.div_ceil(most);
    let last = count - (tiles - 1) * most;
    let split = match tiles {
        2.. if last <= most / 2 || last + 2 == most => count - (most + last) / 2,
        _ => count - last,
    };
    match index + 1 {
        next if next == tiles => split..count,
        next if next + 1 == tiles => index * most..split,
        next => index * most..next * most,
    }
}

/// A mutable slice that parallel tasks share. Each task writes its own elements.
pub struct Shared<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: a `Shared` hands out raw pointers, and references only through an unsafe method. The code that uses them
// must ensure that no two tasks access the same element.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as for `Sync`.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    /// Shares `slice`; the borrow that the caller holds must outlive the tasks.
    pub fn new(slice: &mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len() }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `len` elements from `start` on.
    ///
    /// # Safety
    /// No two tasks may hold the same element.
    #[expect(clippy::mut_from_ref, reason = "the caller ensures that no two tasks hold the same element")]
    #[inline]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start + len <= self.len, "a task reaches beyond its slice");
        // SAFETY: the elements lie in the slice, and no other task holds them.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// A pointer to the element at `offset`.
    #[inline]
    pub fn pointer(&self, offset: usize) -> *mut T {
        assert!(offset <= self.len, "a task reaches beyond its slice");
        self.start.wrapping_add(offset)
    }
}

/// One cache line, so that packed operands are aligned to the widest vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `body` with an aligned buffer of `len` floats with arbitrary contents. The thread keeps the buffer between
/// calls.
///
/// The buffers form a stack. A nested call, inside `body` or in another task that this thread runs while `body`
/// waits, gets a different buffer. The next call at the same depth gets the same buffer again.
pub fn with_scratch<T>(len: usize, body: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut lines = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    let needed = len.div_ceil(16);
    if lines.len() < needed {
        lines.resize(needed, Line([0.0; 16]));
    }
    // SAFETY: `Line` is 16 floats without padding, and `len` floats fit in `needed` lines.
    let floats = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), len) };
    let result = body(floats);
    SCRATCH.with_borrow_mut(|free| free.push(lines));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_rows_follow_each_other_and_share_what_is_left() {
        for (count, most) in (1..100usize).flat_map(|count| [4, 6, 12].map(|most| (count, most))) {
            let tiles: Vec<_> = (0..count.div_ceil(most)).map(|index| tile_rows(count, most, index)).collect();
            assert!(tiles.iter().all(|tile| (1..=most).contains(&tile.len())), "{count} in tiles of {most}: {tiles:?}");
            assert!(tiles[0].start == 0 && tiles[tiles.len() - 1].end == count);
            assert!(tiles.windows(2).all(|two| two[0].end == two[1].start), "{count} in tiles of {most}: {tiles:?}");
        }
        let lens = |count| (0..6).map(|index| tile_rows(count, 12, index).len()).collect::<Vec<_>>();
        assert_eq!(lens(64), [12, 12, 12, 12, 8, 8]);
        assert_eq!(lens(70), [12, 12, 12, 12, 11, 11]);
    }
}

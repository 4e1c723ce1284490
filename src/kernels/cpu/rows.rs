//! How memory-bound kernels traverse a matrix of rows: in tiles of a few rows by one vector of columns, in pieces
//! that depend on sizes alone. Also sums over rows.

use std::ops::Range;

use super::isa::Isa;
use super::isa::isa;
use super::isa::with_wide_vectors;
use super::partition::Shared;
use super::partition::for_each;
use super::partition::part;
use super::partition::with_scratch;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// Elements of one piece: about 10 us of work. A piece of two operands stays in the second-level cache.
pub const PIECE: usize = 32 * 1024;

/// The maximum number of tasks of a sum over rows, so that the cost of joining them is negligible.
const TASKS: usize = 64;

/// The maximum number of columns of one block of a sum over rows: the sums stay in the first-level cache together
/// with the rows of a tile.
const WIDTH: usize = 1024;

/// Rows with more columns than this are processed one by one. Several rows at once are more streams than the
/// processor prefetches, and rows whose length is a power of two share one set of the first-level cache.
const NARROW: usize = 128;

/// Adjacent columns: a whole vector, or fewer at the end of a row.
#[derive(Clone, Copy)]
pub struct Span {
    pub start: usize,
    fewer: Option<usize>,
}

/// The start of a borrowed slice that tiles write to. Each tile writes its own elements.
#[derive(Debug)]
pub struct Output<E>(*mut E);

// SAFETY: an `Output` only hands out raw pointers. The code that writes through them must ensure that no two tasks
// access the same element.
unsafe impl<E: Send> Sync for Output<E> {}
// SAFETY: as for `Sync`.
unsafe impl<E: Send> Send for Output<E> {}

impl<E> Clone for Output<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Output<E> {}

impl<E> Output<E> {
    /// The borrow that the caller holds must outlive the tasks.
    pub fn new(slice: &mut [E]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// Returns the same slice from the element at `offset` on.
    pub fn from(self, offset: usize) -> Self {
        Self(self.0.wrapping_add(offset))
    }

    /// A pointer to the element at `offset`.
    #[inline(always)]
    pub fn at(self, offset: usize) -> *mut E {
        self.0.wrapping_add(offset)
    }
}

static ONES: [f32; 16] = [1.0; 16];

impl Span {
    /// Loads the elements from `at` + the span's start on. Lanes beyond the span are zero.
    ///
    /// # Safety
    /// The span must lie in the memory after `at`, with the instruction set of V enabled in the caller.
    #[inline(always)]
    pub unsafe fn load<E: Element, V: Vector>(self, at: *const E) -> V {
        unsafe {
            match self.fewer {
                None => E::load(at.add(self.start)),
                Some(count) => E::load_first(at.add(self.start), count),
            }
        }
    }

    /// # Safety
    /// As for `load`.
    #[inline(always)]
    pub unsafe fn store<E: Element, V: Vector>(self, at: *mut E, vector: V) {
        unsafe {
            match self.fewer {
                None => E::store(at.add(self.start), vector),
                Some(count) => E::store_first(at.add(self.start), vector, count),
            }
        }
    }

    /// # Safety
    /// As for `load`.
    #[inline(always)]
    pub unsafe fn load_bytes<V: Vector>(self, at: *const u8) -> V {
        unsafe {
            match self.fewer {
                None => V::load_bytes(at.add(self.start)),
                Some(count) => V::load_bytes_first(at.add(self.start), count),
            }
        }
    }

    /// # Safety
    /// As for `load`.
    #[inline(always)]
    pub unsafe fn store_bytes<V: Vector>(self, at: *mut u8, vector: V) {
        unsafe {
            match self.fewer {
                None => vector.store_bytes(at.add(self.start)),
                Some(count) => vector.store_bytes_first(at.add(self.start), count),
            }
        }
    }

    /// Returns the vector with `other` in the lanes beyond the span.
    ///
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    #[inline(always)]
    pub unsafe fn or<V: Vector>(self, vector: V, other: f32) -> V {
        match self.fewer {
            None => vector,
            // SAFETY: `fewer` is below the lanes of V, and no vector has more than 16.
            Some(count) => unsafe {
                V::load_first(ONES.as_ptr(), count).choose_if_larger(V::splat(0.5), vector, V::splat(other))
            },
        }
    }
}

/// The spans of `columns` in vectors of V, in order.
#[inline]
pub fn spans<V: Vector>(columns: Range<usize>) -> impl Iterator<Item = Span> {
    let whole = columns.len() / V::LANES;
    let rest = columns.len() % V::LANES;
    let end = columns.start + whole * V::LANES;
    let spans = (0..whole).map(move |index| Span { start: columns.start + index * V::LANES, fewer: None });
    spans.chain((rest > 0).then_some(Span { start: end, fewer: Some(rest) }))
}

/// Work on a matrix, tile by tile. The value holds the slices and numbers that the work needs, so that they stay in
/// registers while tiles are written. Mark `tile`, and everything that it calls, `#[inline(always)]`.
pub trait Tiled: Copy + Sync {
    /// Rows per tile if rows are short: values that are the same for all rows are then loaded once.
    const HEIGHT: usize;

    /// # Safety
    /// The tile must lie in the matrix, no other task may write to it, and the instruction set of V must be enabled in
    /// the caller.
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span);
}

/// Runs `work` on a part of its matrix, on this thread.
///
/// # Safety
/// The part must lie in the matrix, and no other task may write to it.
pub unsafe fn sweep<T: Tiled>(isa: Isa, work: T, rows: Range<usize>, columns: Range<usize>) {
    run(isa, Sweep { work, rows, columns });
}

/// Runs `work` on a whole matrix.
///
/// # Safety
/// The matrix must be `rows` by `columns`, and only `work` may write to it.
pub unsafe fn sweep_all<T: Tiled>(work: T, rows: usize, columns: usize) {
    let isa = isa();
    let height = (PIECE / columns.max(1)).next_multiple_of(T::HEIGHT).max(T::HEIGHT);
    for_each(rows.div_ceil(height), |piece| {
        let rows = piece * height..rows.min((piece + 1) * height);
        // SAFETY: the pieces are disjoint parts of the matrix.
        unsafe { sweep(isa, work, rows, 0..columns) };
    });
}

/// Runs `work` on a whole vector, a matrix of one row.
///
/// # Safety
/// The vector must be of length `len`, and only `work` may write to it.
pub unsafe fn sweep_vector<T: Tiled>(work: T, len: usize) {
    let isa = isa();
    for_each(len.div_ceil(PIECE), |piece| {
        // SAFETY: the pieces are disjoint parts of the vector.
        unsafe { sweep(isa, work, 0..1, piece * PIECE..len.min((piece + 1) * PIECE)) };
    });
}

struct Sweep<T> {
    work: T,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<T: Tiled> Kernel for Sweep<T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { work, rows, columns } = self;
        let mut row = rows.start;
        // The heights are constants, so that a tile's rows are unrolled.
        // SAFETY: `sweep`'s contract, and `run` enables the set.
        unsafe {
            while columns.len() <= NARROW && row + T::HEIGHT <= rows.end {
                strip::<V, T>(work, row, T::HEIGHT, columns.clone());
                row += T::HEIGHT;
            }
            while row < rows.end {
                strip::<V, T>(work, row, 1, columns.clone());
                row += 1;
            }
        }
    }
}

/// One tile after another, in the order of the columns.
#[inline(always)]
unsafe fn strip<V: Vector, T: Tiled>(work: T, row: usize, height: usize, columns: Range<usize>) {
    let mut column = columns.start;
    // SAFETY: `sweep`'s contract.
    unsafe {
        while column + V::LANES <= columns.end {
            work.tile::<V>(row..row + height, Span { start: column, fewer: None });
            column += V::LANES;
        }
        if column < columns.end {
            let fewer = Some(columns.end - column);
            work.tile::<V>(row..row + height, Span { start: column, fewer });
        }
    }
}

/// The contribution of the elements of a matrix to the K sums of their column.
pub trait Summand<const K: usize>: Copy + Sync {
    /// The sums over a tile; lanes beyond the span may hold anything.
    ///
    /// # Safety
    /// As for `Tiled::tile`.
    unsafe fn sums<V: Vector>(&self, rows: Range<usize>, span: Span) -> [V; K];

    /// Called before the sums over a block of whole rows are computed, for work on the same rows.
    ///
    /// # Safety
    /// No other task may work on these rows.
    unsafe fn prepare(&self, _isa: Isa, _rows: Range<usize>) {}
}

/// The elements of x (rows, columns) as summands.
#[derive(Clone, Copy)]
pub struct Rows<'a, E> {
    pub x: &'a [E],
    pub columns: usize,
}

impl<E: Element> Summand<1> for Rows<'_, E> {
    #[inline(always)]
    unsafe fn sums<V: Vector>(&self, rows: Range<usize>, span: Span) -> [V; 1] {
        // SAFETY: the caller guarantees that the tile lies in x.
        unsafe {
            let mut sum = V::splat(0.0);
            for row in rows {
                sum = sum.add(span.load(self.x.as_ptr().add(row * self.columns)));
            }
            [sum]
        }
    }
}

/// Returns the K sums of each column. With `whole`, blocks consist of whole rows; otherwise long rows are cut into
/// parts.
///
/// Each block is summed in f32. Blocks are joined in f64, in order.
///
/// # Safety
/// The matrix of `summand` must be `rows` by `columns`.
pub unsafe fn column_sums<const K: usize, S: Summand<K>>(
    summand: S,
    rows: usize,
    columns: usize,
    whole: bool,
) -> [Vec<f64>; K] {
    if rows * columns == 0 {
        return [(); K].map(|()| vec![0.0; columns]);
    }
    let isa = isa();
    let chunks = if whole { 1 } else { columns.div_ceil(WIDTH) };
    let height = (PIECE * chunks / columns).max(8).next_multiple_of(8);
    let blocks = rows.div_ceil(height);
    let tasks = blocks.min((TASKS / chunks).max(1));
    let mut partial = vec![0.0f64; tasks * K * columns];
    let shared = Shared::new(&mut partial);
    for_each(tasks * chunks, |index| {
        let (task, columns_of) = (index / chunks, part(columns, chunks, index % chunks));
        let width = columns_of.len();
        let mut totals = [(); K].map(|()| vec![0.0f64; width]);
        with_scratch(K * width, |sums| {
            for block in part(blocks, tasks, task) {
                let rows = block * height..rows.min((block + 1) * height);
                // SAFETY: the block lies in the matrix, and no other task has its rows if the block is whole.
                unsafe {
                    summand.prepare(isa, rows.clone());
                    block_sums(isa, summand, sums, rows, columns_of.clone());
                }
                with_wide_vectors(|| {
                    for (totals, sums) in totals.iter_mut().zip(sums.chunks_exact(width)) {
                        totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
                    }
                });
            }
        });
        for (k, totals) in totals.iter().enumerate() {
            let to = shared.pointer((task * K + k) * columns + columns_of.start);
            // SAFETY: no other task has this range of rows and columns.
            unsafe { to.copy_from_nonoverlapping(totals.as_ptr(), width) };
        }
    });
    let mut partial = partial.chunks_exact(columns);
    let mut totals = [(); K].map(|()| partial.next().expect("a task").to_vec());
    for (at, partial) in partial.enumerate() {
        totals[at % K].iter_mut().zip(partial).for_each(|(total, &sum)| *total += sum);
    }
    totals
}

/// sums (K, number of columns) = the sums over a block, in f32, on this thread.
///
/// # Safety
/// The block must lie in the matrix of `summand`.
pub unsafe fn block_sums<const K: usize, S: Summand<K>>(
    isa: Isa,
    summand: S,
    sums: &mut [f32],
    rows: Range<usize>,
    columns: Range<usize>,
) {
    let width = columns.len();
    assert!(sums.len() == K * width, "block_sums: {} sums of {width} columns", sums.len());
    sums.fill(0.0);
    let work = Accumulate { summand, sums: Output::new(sums), start: columns.start, width };
    // SAFETY: guaranteed by the caller, and the sums are borrowed.
    unsafe { sweep(isa, work, rows, columns) };
}

/// Adds the sums over tiles to `sums` (K, width), those of the columns from `start` on.
#[derive(Clone, Copy)]
struct Accumulate<S, const K: usize> {
    summand: S,
    sums: Output<f32>,
    start: usize,
    width: usize,
}

impl<const K: usize, S: Summand<K>> Tiled for Accumulate<S, K> {
    const HEIGHT: usize = 8;

    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, rows: Range<usize>, span: Span) {
        // SAFETY: the tile lies in the columns, and its sums belong to this task.
        unsafe {
            let added = self.summand.sums::<V>(rows, span);
            let place = Span { start: span.start - self.start, fewer: span.fewer };
            for (k, added) in added.into_iter().enumerate() {
                let sums = self.sums.at(k * self.width);
                place.store(sums, place.load::<f32, V>(sums).add(added));
            }
        }
    }
}

/// The contribution of the elements of a row to its K sums.
pub trait Terms<V: Vector, const K: usize> {
    /// Lanes beyond the span may hold anything.
    ///
    /// # Safety
    /// The span must lie in the row, with the instruction set of V enabled in the caller.
    unsafe fn of(&self, span: Span) -> [V; K];
}

/// Spans of a row that are summed in parallel: a single sum would wait for each addition.
const ABREAST: usize = 4;

/// Returns the K sums of a row of `columns`.
///
/// # Safety
/// The row must have `columns` elements, with the instruction set of V enabled in the caller.
#[inline(always)]
pub unsafe fn row_sums<V: Vector, const K: usize, T: Terms<V, K>>(terms: &T, columns: usize) -> [f32; K] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [[V::splat(0.0); K]; ABREAST];
        let mut column = 0;
        while column + ABREAST * V::LANES <= columns {
            for (index, sums) in sums.iter_mut().enumerate() {
                let added = terms.of(Span { start: column + index * V::LANES, fewer: None });
                for k in 0..K {
                    sums[k] = sums[k].add(added[k]);
                }
            }
            column += ABREAST * V::LANES;
        }
        for span in spans::<V>(column..columns) {
            let added = terms.of(span);
            for k in 0..K {
                sums[0][k] = sums[0][k].add(span.or(added[k], 0.0));
            }
        }
        let mut totals = [0.0; K];
        for k in 0..K {
            totals[k] = sums[0][k].add(sums[1][k]).add(sums[2][k].add(sums[3][k])).sum_lanes();
        }
        totals
    }
}

/// Returns the largest term of a row of `columns`. NaN is ignored.
///
/// # Safety
/// As for `row_sums`.
#[inline(always)]
pub unsafe fn row_max<V: Vector, T: Terms<V, 1>>(terms: &T, columns: usize) -> f32 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut largest = V::splat(f32::NEG_INFINITY);
        for span in spans::<V>(0..columns) {
            let [term] = terms.of(span);
            largest = span.or(term, f32::NEG_INFINITY).max(largest);
        }
        largest.max_lanes()
    }
}

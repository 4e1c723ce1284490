//! The register tile that every product is made of. A few rows of c by one or two vectors of columns stay in
//! registers during the loop over the inner dimension; elements of a are broadcast, elements of b are loaded as
//! vectors.
//!
//! Operands consist of 32-bit units. A unit is one f32, or two bf16 that are adjacent in the inner dimension, which
//! AVX-512 multiplies and adds in one instruction (`vdpbf16ps`); other instruction sets widen them in registers. So
//! one tile serves both formats:
//!
//!   c(r, j) = onto(r, j) + bias(j) + sum over segments and l of a(r, segment.a + l) b(segment.b + l, j)
//!
//! There are two layouts (`Operands`). Either a is read in place, in rows, and b is packed in rows of whole vectors;
//! or both are stored term by term, with the rows of one l next to each other.
//!
//! The loops over rows and columns use indices, not iterators: each of the hundreds of sizes would compile its own
//! iterators, and where the compiler does not inline one, the sums leave the registers.

#![expect(clippy::needless_range_loop, reason = "iterators over the sums are compiled for each size, see above")]

use std::marker::PhantomData;

use super::Isa;
use super::vector;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;

/// A run of the inner dimension, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its start in each row of a.
    pub a: usize,
    /// Its first row of b.
    pub b: usize,
    /// Its length.
    pub len: usize,
}

/// The operands of a tile. Pointers to units are pointers to f32, whatever the bits mean.
pub struct Tile<'s, E> {
    pub c: *mut E,
    /// The row stride of c, and of `onto`, in elements.
    pub c_stride: usize,
    /// The addend, with the layout of c, or null. It may be c itself.
    pub onto: *const E,
    /// The addend of each row, or null.
    pub bias: *const f32,
    pub a: *const f32,
    pub b: *const f32,
    pub operands: Operands,
    pub segments: &'s [Segment],
    pub rows: usize,
    pub columns: usize,
}

/// The memory layout of a and b; all values are in units.
#[derive(Clone, Copy, Debug)]
pub enum Operands {
    /// The rows of a are `stride` apart, and each l of b takes `Isa::width(columns)`.
    Rows { stride: usize },
    /// The distance from one l to the next is `a` in a, and `b` in b. Whole vectors of b are read.
    Terms { a: usize, b: usize },
}

/// Columns of the largest tile of any instruction set.
pub const MOST_COLUMNS: usize = 32;

impl Isa {
    /// Rows of the largest tile: as many as the registers hold next to b's two vectors.
    pub(super) fn rows(self) -> usize {
        match self {
            Self::Avx512Bf16 | Self::Avx512 => 12,
            Self::Avx2 => 6,
            Self::Portable => 4,
        }
    }

    /// Floats per vector.
    pub(super) fn lanes(self) -> usize {
        match self {
            Self::Avx512Bf16 | Self::Avx512 => 16,
            Self::Avx2 => 8,
            Self::Portable => 4,
        }
    }

    /// Columns of the largest tile.
    pub(super) fn columns(self) -> usize {
        2 * self.lanes()
    }

    /// Units of a packed row of b that holds `columns` columns of one tile.
    pub(super) fn width(self, columns: usize) -> usize {
        columns.next_multiple_of(self.lanes())
    }
}

/// Computes a tile whose operands hold elements of U.
///
/// # Safety
/// Every unit of a and every whole vector of b that the segments name must be valid for reads. For every row r <
/// `rows`, `c + r c_stride` must be valid for `columns` writes, and no other task may write there; `onto`, unless
/// null, must be valid for the same number of reads. `bias`, unless null, must be valid for `columns` reads. `rows`
/// and `columns` must be at least 1 and at most those of the largest tile. The processor must have `isa`.
pub unsafe fn tile<U: Element, E: Element>(isa: Isa, tile: &Tile<E>) {
    // Each size is a separate function, so that the compiler keeps its sums in registers.
    macro_rules! of_size {
        ($run:path, $($rows:literal)*) => {
            match (tile.rows, tile.columns.div_ceil(isa.lanes()), matches!(tile.operands, Operands::Terms { .. })) {
                $(
                    ($rows, 1, false) => $run(Sized::<U, E, $rows, 1, false>(tile, PhantomData)),
                    ($rows, 2, false) => $run(Sized::<U, E, $rows, 2, false>(tile, PhantomData)),
                    ($rows, 1, true) => $run(Sized::<U, E, $rows, 1, true>(tile, PhantomData)),
                    ($rows, 2, true) => $run(Sized::<U, E, $rows, 2, true>(tile, PhantomData)),
                )*
                (rows, vectors, _) => unreachable!("no tile of {rows} rows by {vectors} vectors"),
            }
        };
    }
    // SAFETY: guaranteed by the caller.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 if U::TERMS == 2 => of_size!(vector::run_avx512bf16, 1 2 3 4 5 6 7 8 9 10 11 12),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 | Isa::Avx512 => of_size!(vector::run_avx512, 1 2 3 4 5 6 7 8 9 10 11 12),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => of_size!(vector::run_avx2, 1 2 3 4 5 6),
            _ => of_size!(vector::run_portable, 1 2 3 4),
        }
    }
}

/// A tile of R rows by C vectors. Its operands are stored in rows or in terms.
struct Sized<'t, 's, U, E, const R: usize, const C: usize, const IN_TERMS: bool>(&'t Tile<'s, E>, PhantomData<U>);

impl<U: Element, E: Element, const R: usize, const C: usize, const IN_TERMS: bool> Kernel
    for Sized<'_, '_, U, E, R, C, IN_TERMS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller of `tile` guarantees every address and the instruction set of V.
        unsafe {
            let Tile { onto, c_stride, segments, .. } = self.0;
            if !onto.is_null() {
                // `onto` is needed only at the end, and then all at once.
                for r in 0..R {
                    for j in 0..C {
                        vector::fetch_to_second_level(onto.wrapping_add(r * c_stride + j * V::LANES));
                    }
                }
            }
            let mut sums = [[V::splat(0.0); C]; R];
            for segment in *segments {
                add_segment::<V, U, E, R, C, IN_TERMS>(&mut sums, self.0, segment);
            }
            finish(&sums, self.0);
        }
    }
}

/// # Safety
/// As for `tile`, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn add_segment<V: Vector, U: Element, E: Element, const R: usize, const C: usize, const IN_TERMS: bool>(
    sums: &mut [[V; C]; R],
    tile: &Tile<E>,
    segment: &Segment,
) {
    // SAFETY: the caller guarantees every address.
    unsafe {
        match tile.operands {
            Operands::Terms { a: a_pitch, b: b_pitch } if IN_TERMS => {
                let a = rows_from::<R>(tile.a.add(segment.a * a_pitch), 1);
                let mut b = tile.b.add(segment.b * b_pitch);
                for l in 0..segment.len {
                    add_outer::<V, U, R, C>(sums, &a, l * a_pitch, b);
                    // The last step may lead beyond the memory; nothing is read there.
                    b = b.wrapping_add(b_pitch);
                }
            }
            Operands::Rows { stride } if !IN_TERMS => {
                let a = rows_from::<R>(tile.a.add(segment.a), stride);
                let mut b = tile.b.add(segment.b * C * V::LANES);
                for l in 0..segment.len {
                    add_outer::<V, U, R, C>(sums, &a, l, b);
                    b = b.add(C * V::LANES);
                }
            }
            Operands::Terms { .. } | Operands::Rows { .. } => unreachable!("`tile` chose the size by the operands"),
        }
    }
}

/// The starts of R rows.
#[inline(always)]
fn rows_from<const R: usize>(start: *const f32, stride: usize) -> [*const f32; R] {
    let mut rows = [start; R];
    for r in 0..R {
        rows[r] = start.wrapping_add(r * stride);
    }
    rows
}

/// Adds the unit at `offset` of each row times the vectors of one row of b.
///
/// # Safety
/// As for `tile`, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn add_outer<V: Vector, U: Element, const R: usize, const C: usize>(
    sums: &mut [[V; C]; R],
    a: &[*const f32; R],
    offset: usize,
    b: *const f32,
) {
    // SAFETY: the caller guarantees every address.
    unsafe {
        let mut vectors = [V::splat(0.0); C];
        for c in 0..C {
            vectors[c] = V::load(b.add(c * V::LANES));
        }
        for r in 0..R {
            let factor = V::splat(a[r].add(offset).read_unaligned());
            for c in 0..C {
                sums[r][c] = U::add_units(sums[r][c], factor, vectors[c]);
            }
        }
    }
}

/// Adds `onto` and `bias`, and writes c.
///
/// The loops over the sums are small enough for the compiler to unroll them. An index that is unknown at compile time
/// would put the sums into memory and reduce the speed of the product itself to less than half.
///
/// # Safety
/// As for `tile`, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn finish<V: Vector, E: Element, const R: usize, const C: usize>(sums: &[[V; C]; R], tile: &Tile<E>) {
    let &Tile { c, c_stride, onto, bias, columns, .. } = tile;
    // SAFETY: the caller guarantees every address.
    unsafe {
        if columns == C * V::LANES && bias.is_null() && onto.is_null() {
            for r in 0..R {
                for j in 0..C {
                    E::store(c.add(r * c_stride + j * V::LANES), sums[r][j]);
                }
            }
        } else if columns == C * V::LANES && bias.is_null() {
            for r in 0..R {
                for j in 0..C {
                    let at = r * c_stride + j * V::LANES;
                    E::store(c.add(at), sums[r][j].add(E::load(onto.add(at))));
                }
            }
        } else {
            let mut spilled = [[V::splat(0.0); C]; R];
            for r in 0..R {
                for c in 0..C {
                    std::ptr::write_volatile(&raw mut spilled[r][c], sums[r][c]);
                }
            }
            finish_any(&spilled, tile);
        }
    }
}

/// As `finish`, for sums in memory and any number of columns.
///
/// # Safety
/// As for `tile`, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn finish_any<V: Vector, E: Element, const R: usize, const C: usize>(sums: &[[V; C]; R], tile: &Tile<E>) {
    let last = tile.columns - (C - 1) * V::LANES;
    for c in 0..C {
        let count = if c == C - 1 { last } else { V::LANES };
        // SAFETY: the caller guarantees every address.
        unsafe {
            let bias = match tile.bias.is_null() {
                true => V::splat(0.0),
                false => V::load_first(tile.bias.add(c * V::LANES), count),
            };
            for r in 0..R {
                let at = r * tile.c_stride + c * V::LANES;
                let mut sum = sums[r][c].add(bias);
                if !tile.onto.is_null() {
                    sum = sum.add(load_some::<V, E>(tile.onto.add(at), count));
                }
                store_some(tile.c.add(at), sum, count);
            }
        }
    }
}

/// # Safety
/// As for `Element::load_first`.
#[inline(always)]
unsafe fn load_some<V: Vector, E: Element>(from: *const E, count: usize) -> V {
    // SAFETY: guaranteed by the caller.
    unsafe { if count == V::LANES { E::load(from) } else { E::load_first(from, count) } }
}

/// # Safety
/// As for `Element::store_first`.
#[inline(always)]
unsafe fn store_some<V: Vector, E: Element>(to: *mut E, vector: V, count: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { if count == V::LANES { E::store(to, vector) } else { E::store_first(to, vector, count) } }
}

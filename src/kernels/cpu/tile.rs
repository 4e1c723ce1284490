//! The register tiles that every product is made of. A tile of c, a few rows by one or two vectors, stays in registers
//! while the inner dimension runs; elements of a are broadcast, elements of b are loaded as vectors.
//!
//! - `gather`: c(r, j) = sum over segments and l of a(r stride + segment + l) b(segment row + l, j), with b packed;
//! - `accumulate`: c(r, j) += sum over pairs of a(pair + r) b(pair + j), with both factors in place.

use super::Isa;

/// A run of the inner dimension: `len` consecutive elements of each row of a, from offset `a` on, meet `len`
/// consecutive rows of the packed b, from row `b` on.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub a: usize,
    pub b: usize,
    pub len: usize,
}

/// One term of `accumulate`: where its row of a and its row of b start.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub a: usize,
    pub b: usize,
}

/// The operands of `gather`. `packed` has rows of whole vectors: `Isa::vectors(columns) * Isa::lanes()` floats.
pub struct Gather<'s> {
    pub c: *mut f32,
    pub c_stride: usize,
    pub a: *const f32,
    pub a_stride: usize,
    pub packed: *const f32,
    pub segments: &'s [Segment],
    pub rows: usize,
    pub columns: usize,
}

/// The operands of `accumulate`.
pub struct Accumulate<'s> {
    pub c: *mut f32,
    pub c_stride: usize,
    pub a: *const f32,
    pub b: *const f32,
    pub pairs: &'s [Pair],
    pub rows: usize,
    pub columns: usize,
}

impl Isa {
    /// Rows of the largest tile: as many as the registers hold next to b's two vectors.
    pub(super) fn rows(self) -> usize {
        match self {
            Self::Avx512Bf16 | Self::Avx512 => 12,
            Self::Avx2 => 6,
            Self::Portable => 4,
        }
    }

    /// Floats of a vector.
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

    /// Floats of a packed row that holds `columns` columns of one tile.
    pub(super) fn width(self, columns: usize) -> usize {
        columns.next_multiple_of(self.lanes())
    }
}

/// c = a b over the segments.
///
/// # Safety
/// For every row r < `rows` and segment, `a + r a_stride + segment.a` must be valid for `segment.len` reads, the packed
/// rows for whole rows, and `c + r c_stride` for `columns` writes that nobody else makes; `rows` and `columns` are at
/// least 1 and at most the tile's, and the processor has `isa`.
pub unsafe fn gather(isa: Isa, tile: &Gather) {
    // SAFETY: the caller's promise is the callees'.
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 | Isa::Avx512 => unsafe { avx512::gather(tile) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::gather(tile) },
        _ => unsafe { portable::gather(tile) },
    }
}

/// c += aᵀ b over the pairs.
///
/// # Safety
/// For every pair, `a + pair.a` must be valid for `rows` reads and `b + pair.b` for `columns` reads, and `c + r c_stride`
/// for `columns` reads and writes that nobody else makes; `rows` and `columns` are at least 1 and at most the tile's,
/// and the processor has `isa`.
pub unsafe fn accumulate(isa: Isa, tile: &Accumulate) {
    // SAFETY: the caller's promise is the callees'.
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 | Isa::Avx512 => unsafe { avx512::accumulate(tile) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::accumulate(tile) },
        _ => unsafe { portable::accumulate(tile) },
    }
}

/// A vector register of floats.
///
/// # Safety
/// The methods need the vector's instruction set, and valid memory for the floats that they name.
trait Vector: Copy {
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// The first `count` floats, 1 to LANES; the other lanes are zero and not read.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// self + a b.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
}

/// `gather` for R rows by C vectors.
///
/// # Safety
/// As for `gather`, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn gather_tile<V: Vector, const R: usize, const C: usize>(tile: &Gather) {
    // SAFETY: every address is one that the caller promised.
    unsafe {
        let mut sums = [[V::zero(); C]; R];
        for segment in tile.segments {
            let a: [*const f32; R] = std::array::from_fn(|r| tile.a.add(segment.a + r * tile.a_stride));
            let mut b = tile.packed.add(segment.b * C * V::LANES);
            for l in 0..segment.len {
                let vectors: [V; C] = std::array::from_fn(|c| V::load(b.add(c * V::LANES)));
                for (sums, a) in sums.iter_mut().zip(&a) {
                    let factor = V::splat(*a.add(l));
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = sum.add_product(factor, vector);
                    }
                }
                b = b.add(C * V::LANES);
            }
        }
        store_tile(&sums, tile.c, tile.c_stride, tile.columns);
    }
}

/// `accumulate` for R rows by C vectors.
///
/// # Safety
/// As for `accumulate`, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn accumulate_tile<V: Vector, const R: usize, const C: usize>(tile: &Accumulate) {
    // SAFETY: every address is one that the caller promised.
    unsafe {
        let last = tile.columns - (C - 1) * V::LANES;
        let load = |from: *const f32, c: usize| match c {
            c if c == C - 1 => V::load_first(from.add(c * V::LANES), last),
            c => V::load(from.add(c * V::LANES)),
        };
        let mut sums: [[V; C]; R] =
            std::array::from_fn(|r| std::array::from_fn(|c| load(tile.c.add(r * tile.c_stride), c)));
        for pair in tile.pairs {
            let (a, b) = (tile.a.add(pair.a), tile.b.add(pair.b));
            let vectors: [V; C] = std::array::from_fn(|c| load(b, c));
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*a.add(r));
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = sum.add_product(factor, vector);
                }
            }
        }
        store_tile(&sums, tile.c, tile.c_stride, tile.columns);
    }
}

/// Writes a tile of which the first `columns` columns exist.
///
/// # Safety
/// Each row of c must be valid for `columns` writes, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn store_tile<V: Vector, const R: usize, const C: usize>(
    sums: &[[V; C]; R],
    c: *mut f32,
    c_stride: usize,
    columns: usize,
) {
    for (r, sums) in sums.iter().enumerate() {
        // SAFETY: every address is one that the caller promised.
        unsafe {
            let c = c.add(r * c_stride);
            for (j, sum) in sums[..C - 1].iter().enumerate() {
                sum.store(c.add(j * V::LANES));
            }
            sums[C - 1].store_first(c.add((C - 1) * V::LANES), columns - (C - 1) * V::LANES);
        }
    }
}

/// Compiles both tiles for one instruction set, for each number of rows and for one and two vectors.
macro_rules! tiles {
    ($vector:ty, $(#[$features:meta])?, $($rows:literal)*) => {
        use super::*;

        /// # Safety
        /// As for `super::gather`.
        pub unsafe fn gather(tile: &Gather) {
            // SAFETY: the caller's promise.
            unsafe {
                match (tile.rows, tile.columns.div_ceil(<$vector>::LANES)) {
                    $(($rows, 1) => gather_rows::<$rows, 1>(tile), ($rows, 2) => gather_rows::<$rows, 2>(tile),)*
                    (rows, vectors) => unreachable!("no tile of {rows} rows by {vectors} vectors"),
                }
            }
        }

        /// # Safety
        /// As for `super::accumulate`.
        pub unsafe fn accumulate(tile: &Accumulate) {
            // SAFETY: the caller's promise.
            unsafe {
                match (tile.rows, tile.columns.div_ceil(<$vector>::LANES)) {
                    $(($rows, 1) => accumulate_rows::<$rows, 1>(tile), ($rows, 2) => accumulate_rows::<$rows, 2>(tile),)*
                    (rows, vectors) => unreachable!("no tile of {rows} rows by {vectors} vectors"),
                }
            }
        }

        /// # Safety
        /// As for `super::gather`.
        $(#[$features])?
        unsafe fn gather_rows<const R: usize, const C: usize>(tile: &Gather) {
            // SAFETY: the caller's promise; the instruction set is enabled here.
            unsafe { gather_tile::<$vector, R, C>(tile) }
        }

        /// # Safety
        /// As for `super::accumulate`.
        $(#[$features])?
        unsafe fn accumulate_rows<const R: usize, const C: usize>(tile: &Accumulate) {
            // SAFETY: the caller's promise; the instruction set is enabled here.
            unsafe { accumulate_tile::<$vector, R, C>(tile) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;
    tiles!(__m512, #[target_feature(enable = "avx512f,avx2,fma")], 1 2 3 4 5 6 7 8 9 10 11 12);

    // SAFETY of all blocks: the trait's contract.
    impl Vector for __m512 {
        const LANES: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            unsafe { _mm512_maskz_loadu_ps(((1u32 << count) - 1) as __mmask16, from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as __mmask16, self) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;
    tiles!(__m256, #[target_feature(enable = "avx2,fma")], 1 2 3 4 5 6);

    /// Eight set words and then eight clear ones: a mask of `count` lanes starts `count` words before the middle.
    static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    // SAFETY of all blocks: the trait's contract; `mask` reads 8 of the 16 words for a count of 0 to 8.
    impl Vector for __m256 {
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            unsafe { _mm256_maskload_ps(from, mask(count)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            match count {
                Self::LANES => unsafe { _mm256_storeu_ps(to, self) },
                _ => unsafe { _mm256_maskstore_ps(to, mask(count), self) },
            }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }
    }

    #[inline(always)]
    unsafe fn mask(count: usize) -> __m256i {
        unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast()) }
    }
}

mod portable {
    tiles!([f32; 4], , 1 2 3 4);

    // SAFETY of all blocks: the trait's contract.
    impl Vector for [f32; 4] {
        const LANES: usize = 4;
        #[inline(always)]
        unsafe fn zero() -> Self {
            [0.0; 4]
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            [value; 4]
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { from.cast::<Self>().read() }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            match count {
                Self::LANES => unsafe { Self::load(from) },
                _ => std::array::from_fn(|lane| if lane < count { unsafe { *from.add(lane) } } else { 0.0 }),
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { to.cast::<Self>().write(self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            for (lane, value) in self.into_iter().enumerate().take(count) {
                unsafe { *to.add(lane) = value }
            }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            std::array::from_fn(|lane| self[lane] + a[lane] * b[lane])
        }
    }
}

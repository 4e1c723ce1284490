//! The building blocks of kernels: number formats (`Element`), vector registers of f32 lanes (`Vector`), and `run`,
//! which compiles a `Kernel` once for each instruction set.
//!
//! Arithmetic is in f32 for every format in memory: a bf16 is widened when it is loaded, and rounded to nearest even
//! when it is stored.

use half::bf16;

use super::Isa;

/// A number format of activations in memory.
pub trait Element: Copy + Default + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The name in messages and settings.
    const NAME: &'static str;
    /// Elements per unit. A unit is 32 bits of a product's operand and holds elements that are adjacent in the inner
    /// dimension.
    const TERMS: usize = size_of::<f32>() / size_of::<Self>();
    /// Rounds to the nearest number of this format, ties to even.
    fn from_f32(value: f32) -> Self;
    /// Converts to f32, exactly.
    fn to_f32(self) -> f32;
    /// # Safety
    /// `from` must be valid for `V::LANES` reads, with the instruction set of V enabled in the caller.
    unsafe fn load<V: Vector>(from: *const Self) -> V;
    /// Loads the first `count` elements, 1 to LANES. The other lanes are zero and not read.
    ///
    /// # Safety
    /// `from` must be valid for `count` reads, with the instruction set of V enabled in the caller.
    unsafe fn load_first<V: Vector>(from: *const Self, count: usize) -> V;
    /// # Safety
    /// `to` must be valid for `V::LANES` writes, with the instruction set of V enabled in the caller.
    unsafe fn store<V: Vector>(to: *mut Self, vector: V);
    /// # Safety
    /// `to` must be valid for `count` writes, with the instruction set of V enabled in the caller.
    unsafe fn store_first<V: Vector>(to: *mut Self, vector: V, count: usize);
    /// sum + the products of the elements in each lane's units.
    ///
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    unsafe fn add_units<V: Vector>(sum: V, a: V, b: V) -> V;
    /// Units whose terms are the lanes of `low` and `high`; for a single term, `low`.
    ///
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    unsafe fn units<V: Vector>(low: V, high: V) -> V;
    /// Loads LANES units whose terms are the elements from `low` and `high` on; for a single term, those from `low`
    /// on.
    ///
    /// # Safety
    /// Both must be valid for `V::LANES` reads, with the instruction set of V enabled in the caller.
    unsafe fn load_units<V: Vector>(low: *const Self, high: *const Self) -> V;
    /// Rounds the lanes to this format; the result is in f32 lanes.
    ///
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    unsafe fn rounded<V: Vector>(vector: V) -> V;
    /// Loads LANES units from consecutive floats, of which `count` exist; the rest are zero.
    ///
    /// # Safety
    /// `from` must be valid for `count` reads, with the instruction set of V enabled in the caller.
    unsafe fn units_in_row<V: Vector>(from: *const f32, count: usize) -> V;
}

/// Loads up to LANES floats. Lanes from `count` on are zero.
///
/// # Safety
/// `from` must be valid for `count` reads, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn load_up_to<V: Vector>(from: *const f32, count: usize) -> V {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match count {
            0 => V::splat(0.0),
            count if count < V::LANES => V::load_first(from, count),
            _ => V::load(from),
        }
    }
}

/// A vector register of f32 lanes.
///
/// # Safety
/// The methods need the vector's instruction set, and valid memory for the elements that they name.
pub trait Vector: Copy {
    /// Lanes of a register.
    const LANES: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// Loads the first `count` floats, 1 to LANES. The other lanes are zero and not read.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_first(self, to: *mut f32, count: usize);
    unsafe fn load_bf16(from: *const bf16) -> Self;
    unsafe fn load_bf16_first(from: *const bf16, count: usize) -> Self;
    unsafe fn store_bf16(self, to: *mut bf16);
    unsafe fn store_bf16_first(self, to: *mut bf16, count: usize);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// self + a b, rounded once if the instruction set has a fused multiply-add.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// self + the products of the two bf16 that the bits of each lane of a and b hold.
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self;
    /// Each lane rounded to bf16.
    unsafe fn rounded(self) -> Self;
    /// Lanes that hold a bf16 of `low` in the lower bits and one of `high` in the upper bits. Both arguments hold
    /// bf16 values.
    unsafe fn pair(low: Self, high: Self) -> Self;
    /// Loads lanes that hold the bf16 from `low` on in the lower bits and those from `high` on in the upper bits.
    unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> Self;
    /// 2 LANES consecutive bf16, as bits: `first` and then `second`, rounded.
    unsafe fn narrow(first: Self, second: Self) -> Self;
    /// Writes the first `rows` rows of the square block whose columns are `columns` (LANES of them). The rows are
    /// `stride` floats apart.
    unsafe fn store_columns(columns: &[Self; 16], to: *mut f32, stride: usize, rows: usize);
    /// The larger of both; `other` if one of them is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// self where gate > 0, else 0.
    unsafe fn where_positive(self, gate: Self) -> Self;
    /// self where a = b, else 0.
    unsafe fn where_equal(self, a: Self, b: Self) -> Self;
    /// `yes` where self > best or self is NaN, else `no`.
    unsafe fn choose_if_larger(self, best: Self, yes: Self, no: Self) -> Self;
    /// Loads bytes as numbers.
    unsafe fn load_bytes(from: *const u8) -> Self;
    unsafe fn load_bytes_first(from: *const u8, count: usize) -> Self;
    /// Stores whole numbers in [0, 255] as bytes.
    unsafe fn store_bytes(self, to: *mut u8);
    unsafe fn store_bytes_first(self, to: *mut u8, count: usize);
    /// The sum of the lanes, by halves.
    unsafe fn sum_lanes(self) -> f32;
    /// The largest lane, if none is NaN.
    unsafe fn max_lanes(self) -> f32;
    /// The nearest integer, ties to even.
    unsafe fn round(self) -> Self;
    /// 2^self for integers in [-126, 127].
    unsafe fn power_of_two(self) -> Self;
}

/// Work that is compiled for each instruction set. Mark `run`, and everything that it calls, `#[inline(always)]`.
pub trait Kernel {
    type Output;
    /// # Safety
    /// The instruction set of V must be enabled in the caller.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Runs a kernel on the vectors of an instruction set.
///
/// # Panics
/// If this processor lacks `isa`.
pub fn run<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    assert!(isa.is_available(), "this processor has no {}", isa.name());
    // SAFETY: the processor has the set, as just checked.
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => unsafe { x86::run_avx512bf16(kernel) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::run_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::run_avx2(kernel) },
        _ => unsafe { run_portable(kernel) },
    }
}

/// # Safety
/// None beyond the kernel's own.
pub unsafe fn run_portable<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: plain Rust needs no instruction set.
    unsafe { kernel.run::<[f32; 4]>() }
}

/// Prefetches the cache line of `value`, which is read soon.
#[inline(always)]
pub fn fetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the address is that of a value, and every x86-64 processor has the instruction.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Prefetches the cache line at an address, which need not be valid, for a read or write that follows soon. The line
/// goes to the second-level cache only, for use when the first-level cache has no room.
#[inline(always)]
pub fn fetch_to_second_level<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction ignores invalid addresses, and every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

impl Element for f32 {
    const NAME: &'static str = "f32";
    fn from_f32(value: f32) -> Self {
        value
    }
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        unsafe { V::load(from) }
    }
    #[inline(always)]
    unsafe fn load_first<V: Vector>(from: *const Self, count: usize) -> V {
        unsafe { V::load_first(from, count) }
    }
    #[inline(always)]
    unsafe fn store<V: Vector>(to: *mut Self, vector: V) {
        unsafe { vector.store(to) }
    }
    #[inline(always)]
    unsafe fn store_first<V: Vector>(to: *mut Self, vector: V, count: usize) {
        unsafe { vector.store_first(to, count) }
    }
    #[inline(always)]
    unsafe fn add_units<V: Vector>(sum: V, a: V, b: V) -> V {
        unsafe { sum.add_product(a, b) }
    }
    #[inline(always)]
    unsafe fn units<V: Vector>(low: V, _: V) -> V {
        low
    }
    #[inline(always)]
    unsafe fn load_units<V: Vector>(low: *const Self, _: *const Self) -> V {
        unsafe { V::load(low) }
    }
    #[inline(always)]
    unsafe fn rounded<V: Vector>(vector: V) -> V {
        vector
    }
    #[inline(always)]
    unsafe fn units_in_row<V: Vector>(from: *const f32, count: usize) -> V {
        unsafe { load_up_to(from, count) }
    }
}

impl Element for bf16 {
    const NAME: &'static str = "bf16";
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
    fn to_f32(self) -> f32 {
        Self::to_f32(self)
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        unsafe { V::load_bf16(from) }
    }
    #[inline(always)]
    unsafe fn load_first<V: Vector>(from: *const Self, count: usize) -> V {
        unsafe { V::load_bf16_first(from, count) }
    }
    #[inline(always)]
    unsafe fn store<V: Vector>(to: *mut Self, vector: V) {
        unsafe { vector.store_bf16(to) }
    }
    #[inline(always)]
    unsafe fn store_first<V: Vector>(to: *mut Self, vector: V, count: usize) {
        unsafe { vector.store_bf16_first(to, count) }
    }
    #[inline(always)]
    unsafe fn add_units<V: Vector>(sum: V, a: V, b: V) -> V {
        unsafe { sum.add_pairs(a, b) }
    }
    #[inline(always)]
    unsafe fn units<V: Vector>(low: V, high: V) -> V {
        unsafe { V::pair(low, high) }
    }
    #[inline(always)]
    unsafe fn load_units<V: Vector>(low: *const Self, high: *const Self) -> V {
        unsafe { V::load_pairs(low, high) }
    }
    #[inline(always)]
    unsafe fn rounded<V: Vector>(vector: V) -> V {
        unsafe { vector.rounded() }
    }
    #[inline(always)]
    unsafe fn units_in_row<V: Vector>(from: *const f32, count: usize) -> V {
        unsafe {
            let rest = count.saturating_sub(V::LANES);
            V::narrow(load_up_to(from, count), load_up_to(from.wrapping_add(V::LANES), rest))
        }
    }
}

/// Four lanes. The standard library's functions of arrays are not always inlined.
#[inline(always)]
fn lanes(lane: impl Fn(usize) -> f32) -> [f32; 4] {
    [lane(0), lane(1), lane(2), lane(3)]
}

/// Four lanes of plain Rust.
// SAFETY (all blocks): the trait's contract.
impl Vector for [f32; 4] {
    const LANES: usize = 4;
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
        lanes(|lane| if lane < count { unsafe { *from.add(lane) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<Self>().write(self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        self.into_iter().take(count).enumerate().for_each(|(lane, value)| unsafe { *to.add(lane) = value });
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        lanes(|lane| unsafe { *from.add(lane) }.to_f32())
    }
    #[inline(always)]
    unsafe fn load_bf16_first(from: *const bf16, count: usize) -> Self {
        lanes(|lane| if lane < count { unsafe { *from.add(lane) }.to_f32() } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        unsafe { self.store_bf16_first(to, 4) }
    }
    #[inline(always)]
    unsafe fn store_bf16_first(self, to: *mut bf16, count: usize) {
        let values = self.into_iter().take(count).enumerate();
        values.for_each(|(lane, value)| unsafe { *to.add(lane) = bf16::from_f32(value) });
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        lanes(|lane| self[lane] + other[lane])
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        lanes(|lane| self[lane] - other[lane])
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        lanes(|lane| self[lane] * other[lane])
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        lanes(|lane| self[lane] / other[lane])
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        lanes(|lane| self[lane].sqrt())
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        lanes(|lane| self[lane] + a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        let low = |x: f32| f32::from_bits(x.to_bits() << 16);
        let high = |x: f32| f32::from_bits(x.to_bits() & 0xffff_0000);
        lanes(|lane| self[lane] + high(a[lane]) * high(b[lane]) + low(a[lane]) * low(b[lane]))
    }
    #[inline(always)]
    unsafe fn rounded(self) -> Self {
        lanes(|lane| bf16::from_f32(self[lane]).to_f32())
    }
    #[inline(always)]
    unsafe fn pair(low: Self, high: Self) -> Self {
        lanes(|lane| f32::from_bits(low[lane].to_bits() >> 16 | high[lane].to_bits() & 0xffff_0000))
    }
    #[inline(always)]
    unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> Self {
        let half = |from: *const bf16, lane: usize| u32::from(unsafe { *from.add(lane) }.to_bits());
        lanes(|lane| f32::from_bits(half(low, lane) | half(high, lane) << 16))
    }
    #[inline(always)]
    unsafe fn narrow(first: Self, second: Self) -> Self {
        let half = |at: usize| u32::from(bf16::from_f32(if at < 4 { first[at] } else { second[at - 4] }).to_bits());
        lanes(|lane| f32::from_bits(half(2 * lane) | half(2 * lane + 1) << 16))
    }
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "a row takes one lane of each column")]
    unsafe fn store_columns(columns: &[Self; 16], to: *mut f32, stride: usize, rows: usize) {
        for row in 0..rows {
            unsafe { to.add(row * stride).cast::<Self>().write(lanes(|lane| columns[lane][row])) }
        }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        lanes(|lane| if self[lane] > other[lane] { self[lane] } else { other[lane] })
    }
    #[inline(always)]
    unsafe fn where_positive(self, gate: Self) -> Self {
        lanes(|lane| if gate[lane] > 0.0 { self[lane] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> Self {
        lanes(|lane| if a[lane] == b[lane] { self[lane] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn choose_if_larger(self, best: Self, yes: Self, no: Self) -> Self {
        let larger = |lane: usize| self[lane] > best[lane] || self[lane].is_nan();
        lanes(|lane| if larger(lane) { yes[lane] } else { no[lane] })
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        lanes(|lane| f32::from(unsafe { *from.add(lane) }))
    }
    #[inline(always)]
    unsafe fn load_bytes_first(from: *const u8, count: usize) -> Self {
        lanes(|lane| if lane < count { f32::from(unsafe { *from.add(lane) }) } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        unsafe { self.store_bytes_first(to, 4) }
    }
    #[inline(always)]
    unsafe fn store_bytes_first(self, to: *mut u8, count: usize) {
        self.into_iter().take(count).enumerate().for_each(|(lane, value)| unsafe { *to.add(lane) = value as u8 });
    }
    #[inline(always)]
    unsafe fn sum_lanes(self) -> f32 {
        (self[0] + self[2]) + (self[1] + self[3])
    }
    #[inline(always)]
    unsafe fn max_lanes(self) -> f32 {
        self[0].max(self[2]).max(self[1].max(self[3]))
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        lanes(|lane| self[lane].round_ties_even())
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        lanes(|lane| f32::from_bits(((self[lane] as i32 + 127) as u32) << 23))
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{run_avx2, run_avx512, run_avx512bf16};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use half::bf16;

    use super::{Kernel, Vector};

    /// Sixteen lanes.
    #[derive(Clone, Copy)]
    pub struct Avx512(pub __m512);
    /// Sixteen lanes, with the processor's own rounding to bf16.
    #[derive(Clone, Copy)]
    pub struct Avx512Bf16(pub __m512);
    /// Eight lanes.
    #[derive(Clone, Copy)]
    pub struct Avx2(pub __m256);

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
    pub fn run_avx512bf16<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the set is enabled here.
        unsafe { kernel.run::<Avx512Bf16>() }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    pub fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the set is enabled here.
        unsafe { kernel.run::<Avx512>() }
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the set is enabled here.
        unsafe { kernel.run::<Avx2>() }
    }

    /// Rounds the sixteen lanes of a register to bf16 by integer arithmetic: adds half of the part that is cut off,
    /// minus one if the kept part is even. NaN stays NaN.
    #[inline(always)]
    unsafe fn rounded(vector: __m512) -> __m256i {
        unsafe {
            let bits = _mm512_castps_si512(vector);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(vector, vector);
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(sum, nan, quiet)))
        }
    }

    #[inline(always)]
    unsafe fn rounded_by_the_processor(vector: __m512) -> __m256i {
        unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(vector)) }
    }

    /// Transposes rows to columns: first pairs of lanes, then pairs of those pairs, then the quarters of the
    /// registers are exchanged.
    #[inline(always)]
    unsafe fn transposed(rows: [__m512; 16]) -> [__m512; 16] {
        unsafe {
            let zero = _mm512_setzero_ps();
            let (mut twos, mut fours, mut out) = ([zero; 16], [zero; 16], [zero; 16]);
            for i in 0..8 {
                twos[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                twos[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            }
            for i in 0..4 {
                for half in 0..2 {
                    let upper = _mm512_castps_pd(twos[4 * i + half]);
                    let lower = _mm512_castps_pd(twos[4 * i + 2 + half]);
                    fours[4 * i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(upper, lower));
                    fours[4 * i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(upper, lower));
                }
            }
            // fours[4 i + j] holds columns j, 4 + j, 8 + j, 12 + j of rows 4 i .. 4 i + 4, a quarter each.
            for j in 0..4 {
                let low = _mm512_shuffle_f32x4::<0x88>(fours[j], fours[4 + j]);
                let high = _mm512_shuffle_f32x4::<0x88>(fours[8 + j], fours[12 + j]);
                out[j] = _mm512_shuffle_f32x4::<0x88>(low, high);
                out[8 + j] = _mm512_shuffle_f32x4::<0xdd>(low, high);
                let low = _mm512_shuffle_f32x4::<0xdd>(fours[j], fours[4 + j]);
                let high = _mm512_shuffle_f32x4::<0xdd>(fours[8 + j], fours[12 + j]);
                out[4 + j] = _mm512_shuffle_f32x4::<0x88>(low, high);
                out[12 + j] = _mm512_shuffle_f32x4::<0xdd>(low, high);
            }
            out
        }
    }

    #[inline(always)]
    unsafe fn add_pairs(sum: __m512, a: __m512, b: __m512) -> __m512 {
        unsafe {
            let mask = _mm512_castsi512_ps(_mm512_set1_epi32(0xffff_0000u32 as i32));
            let sum = _mm512_fmadd_ps(_mm512_and_ps(a, mask), _mm512_and_ps(b, mask), sum);
            let a = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(a)));
            let b = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(b)));
            _mm512_fmadd_ps(a, b, sum)
        }
    }

    #[inline(always)]
    unsafe fn add_pairs_by_the_processor(sum: __m512, a: __m512, b: __m512) -> __m512 {
        unsafe {
            let a = std::mem::transmute::<__m512, __m512bh>(a);
            let b = std::mem::transmute::<__m512, __m512bh>(b);
            _mm512_dpbf16_ps(sum, a, b)
        }
    }

    #[inline(always)]
    fn first(count: usize) -> __mmask16 {
        ((1u32 << count) - 1) as __mmask16
    }

    macro_rules! sixteen_lanes {
        ($vector:ident, $rounded:path, $add_pairs:path) => {
            // SAFETY (all blocks): the trait's contract.
            impl Vector for $vector {
                const LANES: usize = 16;
                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    unsafe { Self(_mm512_set1_ps(value)) }
                }
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    unsafe { Self(_mm512_loadu_ps(from)) }
                }
                #[inline(always)]
                unsafe fn load_first(from: *const f32, count: usize) -> Self {
                    unsafe { Self(_mm512_maskz_loadu_ps(first(count), from)) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    unsafe { _mm512_storeu_ps(to, self.0) }
                }
                #[inline(always)]
                unsafe fn store_first(self, to: *mut f32, count: usize) {
                    unsafe { _mm512_mask_storeu_ps(to, first(count), self.0) }
                }
                #[inline(always)]
                unsafe fn load_bf16(from: *const bf16) -> Self {
                    unsafe {
                        let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
                        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
                    }
                }
                #[inline(always)]
                unsafe fn load_bf16_first(from: *const bf16, count: usize) -> Self {
                    unsafe {
                        let wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(count), from.cast()));
                        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
                    }
                }
                #[inline(always)]
                unsafe fn store_bf16(self, to: *mut bf16) {
                    unsafe { _mm256_storeu_si256(to.cast(), $rounded(self.0)) }
                }
                #[inline(always)]
                unsafe fn store_bf16_first(self, to: *mut bf16, count: usize) {
                    unsafe { _mm256_mask_storeu_epi16(to.cast(), first(count), $rounded(self.0)) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    unsafe { Self(_mm512_add_ps(self.0, other.0)) }
                }
                #[inline(always)]
                unsafe fn sub(self, other: Self) -> Self {
                    unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
                }
                #[inline(always)]
                unsafe fn mul(self, other: Self) -> Self {
                    unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
                }
                #[inline(always)]
                unsafe fn div(self, other: Self) -> Self {
                    unsafe { Self(_mm512_div_ps(self.0, other.0)) }
                }
                #[inline(always)]
                unsafe fn sqrt(self) -> Self {
                    unsafe { Self(_mm512_sqrt_ps(self.0)) }
                }
                #[inline(always)]
                unsafe fn add_product(self, a: Self, b: Self) -> Self {
                    unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
                }
                #[inline(always)]
                unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
                    unsafe { Self($add_pairs(self.0, a.0, b.0)) }
                }
                #[inline(always)]
                unsafe fn rounded(self) -> Self {
                    unsafe {
                        let wide = _mm512_cvtepu16_epi32($rounded(self.0));
                        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
                    }
                }
                #[inline(always)]
                unsafe fn pair(low: Self, high: Self) -> Self {
                    unsafe {
                        let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(low.0));
                        let high = _mm512_castps_si512(high.0);
                        // 0xAC: the bit of `high` if the mask is set, else that of `low`.
                        let mask = _mm512_set1_epi32(0xffff_0000u32 as i32);
                        Self(_mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xAC>(mask, low, high)))
                    }
                }
                #[inline(always)]
                unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> Self {
                    unsafe {
                        let low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(low.cast()));
                        let high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(high.cast()));
                        Self(_mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32::<16>(high))))
                    }
                }
                #[inline(always)]
                unsafe fn narrow(first: Self, second: Self) -> Self {
                    unsafe {
                        let first = _mm512_castsi256_si512($rounded(first.0));
                        let second = $rounded(second.0);
                        Self(_mm512_castsi512_ps(_mm512_inserti64x4::<1>(first, second)))
                    }
                }
                #[inline(always)]
                unsafe fn store_columns(columns: &[Self; 16], to: *mut f32, stride: usize, rows: usize) {
                    unsafe {
                        let mut raw = [_mm512_setzero_ps(); 16];
                        for (column, vector) in columns.iter().enumerate() {
                            raw[column] = vector.0;
                        }
                        for (row, vector) in transposed(raw).into_iter().enumerate().take(rows) {
                            _mm512_storeu_ps(to.add(row * stride), vector);
                        }
                    }
                }
                #[inline(always)]
                unsafe fn max(self, other: Self) -> Self {
                    unsafe { Self(_mm512_max_ps(self.0, other.0)) }
                }
                #[inline(always)]
                unsafe fn where_positive(self, gate: Self) -> Self {
                    unsafe {
                        let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate.0, _mm512_setzero_ps());
                        Self(_mm512_maskz_mov_ps(positive, self.0))
                    }
                }
                #[inline(always)]
                unsafe fn where_equal(self, a: Self, b: Self) -> Self {
                    unsafe { Self(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a.0, b.0), self.0)) }
                }
                #[inline(always)]
                unsafe fn choose_if_larger(self, best: Self, yes: Self, no: Self) -> Self {
                    unsafe {
                        let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, best.0);
                        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
                        Self(_mm512_mask_mov_ps(no.0, larger | nan, yes.0))
                    }
                }
                #[inline(always)]
                unsafe fn load_bytes(from: *const u8) -> Self {
                    unsafe { Self(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())))) }
                }
                #[inline(always)]
                unsafe fn load_bytes_first(from: *const u8, count: usize) -> Self {
                    unsafe {
                        let bytes = _mm_maskz_loadu_epi8(first(count), from.cast());
                        Self(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))
                    }
                }
                #[inline(always)]
                unsafe fn store_bytes(self, to: *mut u8) {
                    unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(self.0))) }
                }
                #[inline(always)]
                unsafe fn store_bytes_first(self, to: *mut u8, count: usize) {
                    unsafe {
                        let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(self.0));
                        _mm_mask_storeu_epi8(to.cast(), first(count), bytes);
                    }
                }
                #[inline(always)]
                unsafe fn sum_lanes(self) -> f32 {
                    unsafe { _mm512_reduce_add_ps(self.0) }
                }
                #[inline(always)]
                unsafe fn max_lanes(self) -> f32 {
                    unsafe { _mm512_reduce_max_ps(self.0) }
                }
                #[inline(always)]
                unsafe fn round(self) -> Self {
                    unsafe { Self(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT }>(self.0)) }
                }
                #[inline(always)]
                unsafe fn power_of_two(self) -> Self {
                    unsafe {
                        let biased = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
                        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased)))
                    }
                }
            }
        };
    }
    sixteen_lanes!(Avx512, rounded, add_pairs);
    sixteen_lanes!(Avx512Bf16, rounded_by_the_processor, add_pairs_by_the_processor);

    /// Eight set words and then eight clear words: a mask of `count` lanes starts `count` words before the middle.
    static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[inline(always)]
    unsafe fn mask(count: usize) -> __m256i {
        debug_assert!(count <= 8);
        // SAFETY: a count of 0 to 8 leaves 8 words after its start.
        unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast()) }
    }

    // SAFETY (all blocks): the trait's contract.
    impl Vector for Avx2 {
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm256_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm256_loadu_ps(from)) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            unsafe { Self(_mm256_maskload_ps(from, mask(count))) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm256_maskstore_ps(to, mask(count), self.0) }
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Self {
            unsafe {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide)))
            }
        }
        #[inline(always)]
        unsafe fn load_bf16_first(from: *const bf16, count: usize) -> Self {
            let mut all = [bf16::ZERO; 8];
            unsafe {
                std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
                Self::load_bf16(all.as_ptr())
            }
        }
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut bf16) {
            unsafe {
                let bits = _mm256_castps_si256(self.0);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let sum = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
                let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
                let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
                let words = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(sum, quiet, nan));
                let packed = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                _mm_storeu_si128(to.cast(), packed);
            }
        }
        #[inline(always)]
        unsafe fn store_bf16_first(self, to: *mut bf16, count: usize) {
            let mut all = [bf16::ZERO; 8];
            unsafe {
                self.store_bf16(all.as_mut_ptr());
                std::ptr::copy_nonoverlapping(all.as_ptr(), to, count);
            }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Self(_mm256_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Self(_mm256_sub_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Self(_mm256_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            unsafe { Self(_mm256_div_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            unsafe { Self(_mm256_sqrt_ps(self.0)) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0)) }
        }
        #[inline(always)]
        unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
            unsafe {
                let mask = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000u32 as i32));
                let sum = _mm256_fmadd_ps(_mm256_and_ps(a.0, mask), _mm256_and_ps(b.0, mask), self.0);
                let a = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(a.0)));
                let b = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(b.0)));
                Self(_mm256_fmadd_ps(a, b, sum))
            }
        }
        #[inline(always)]
        unsafe fn rounded(self) -> Self {
            unsafe {
                let mut all = [bf16::ZERO; 8];
                self.store_bf16(all.as_mut_ptr());
                Self::load_bf16(all.as_ptr())
            }
        }
        #[inline(always)]
        unsafe fn pair(low: Self, high: Self) -> Self {
            unsafe {
                let low = _mm256_srli_epi32::<16>(_mm256_castps_si256(low.0));
                let halves = _mm256_blend_epi16::<0xaa>(low, _mm256_castps_si256(high.0));
                Self(_mm256_castsi256_ps(halves))
            }
        }
        #[inline(always)]
        unsafe fn load_pairs(low: *const bf16, high: *const bf16) -> Self {
            unsafe {
                let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(low.cast()));
                let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(high.cast()));
                Self(_mm256_castsi256_ps(_mm256_or_si256(low, _mm256_slli_epi32::<16>(high))))
            }
        }
        #[inline(always)]
        unsafe fn narrow(first: Self, second: Self) -> Self {
            let mut all = [bf16::ZERO; 16];
            unsafe {
                first.store_bf16(all.as_mut_ptr());
                second.store_bf16(all.as_mut_ptr().add(8));
                Self(_mm256_loadu_ps(all.as_ptr().cast()))
            }
        }
        #[inline(always)]
        #[expect(clippy::needless_range_loop, reason = "a row takes one lane of each column")]
        unsafe fn store_columns(columns: &[Self; 16], to: *mut f32, stride: usize, rows: usize) {
            unsafe {
                let mut block = [[0.0f32; 8]; 8];
                for (column, vector) in columns.iter().take(8).enumerate() {
                    _mm256_storeu_ps(block[column].as_mut_ptr(), vector.0);
                }
                for row in 0..rows {
                    let mut values = [0.0f32; 8];
                    for column in 0..8 {
                        values[column] = block[column][row];
                    }
                    _mm256_storeu_ps(to.add(row * stride), _mm256_loadu_ps(values.as_ptr()));
                }
            }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { Self(_mm256_max_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn where_positive(self, gate: Self) -> Self {
            unsafe { Self(_mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(gate.0, _mm256_setzero_ps()))) }
        }
        #[inline(always)]
        unsafe fn where_equal(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0))) }
        }
        #[inline(always)]
        unsafe fn choose_if_larger(self, best: Self, yes: Self, no: Self) -> Self {
            unsafe {
                let larger = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, best.0);
                let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0);
                Self(_mm256_blendv_ps(no.0, yes.0, _mm256_or_ps(larger, nan)))
            }
        }
        #[inline(always)]
        unsafe fn load_bytes(from: *const u8) -> Self {
            unsafe { Self(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())))) }
        }
        #[inline(always)]
        unsafe fn load_bytes_first(from: *const u8, count: usize) -> Self {
            let mut all = [0; 8];
            unsafe {
                std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
                Self::load_bytes(all.as_ptr())
            }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8) {
            unsafe {
                let words = _mm256_cvtps_epi32(self.0);
                let halves = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves));
            }
        }
        #[inline(always)]
        unsafe fn store_bytes_first(self, to: *mut u8, count: usize) {
            let mut all = [0; 8];
            unsafe {
                self.store_bytes(all.as_mut_ptr());
                std::ptr::copy_nonoverlapping(all.as_ptr(), to, count);
            }
        }
        #[inline(always)]
        unsafe fn sum_lanes(self) -> f32 {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }
        #[inline(always)]
        unsafe fn max_lanes(self) -> f32 {
            unsafe {
                let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }
        #[inline(always)]
        unsafe fn round(self) -> Self {
            unsafe { Self(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)) }
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            unsafe {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
                Self(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
            }
        }
    }
}

//! The peak speed of products: a register tile whose operands never leave the first-level cache.

use std::hint::black_box;
use std::marker::PhantomData;

use super::Isa;
use super::vector;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;

/// Vectors per row.
const COLUMNS: usize = 2;
/// Inner steps after which the units of a repeat.
const STEPS: usize = 16;

/// Multiplies and adds on this thread as products of `E` do, `rounds` times. Returns the number of operations:
/// multiplications plus additions.
pub fn multiply<E: Element>(isa: Isa, rounds: usize) -> usize {
    // 12 sums hide the latency of two units and fit into 16 registers together with their operands. Without a fused
    // multiply-add, the products themselves need some of these registers.
    black_box(match isa {
        Isa::Portable => vector::run(isa, Rounds::<E, 4>(rounds, PhantomData)),
        _ => vector::run(isa, Rounds::<E, 6>(rounds, PhantomData)),
    })
}

/// Rounds of a tile of ROWS rows.
struct Rounds<E, const ROWS: usize>(usize, PhantomData<E>);

impl<E: Element, const ROWS: usize> Kernel for Rounds<E, ROWS> {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> usize {
        // Read as one f32 or as two bf16: numbers whose sums stay finite.
        let unit = f32::from_bits(0x3f00_3f00);
        let a = black_box([[unit; ROWS]; STEPS]);
        let mut sums = black_box([[0.0; COLUMNS]; ROWS]);
        // SAFETY: the arrays have the lengths that are read, and the caller enabled the instruction set.
        unsafe {
            let mut b = [V::splat(0.0); COLUMNS];
            for (column, unit) in black_box([unit; COLUMNS]).iter().enumerate() {
                b[column] = V::splat(*unit);
            }
            let mut tile = [[V::splat(0.0); COLUMNS]; ROWS];
            for _ in 0..self.0 {
                for a in &a {
                    for row in 0..ROWS {
                        let factor = V::splat(a[row]);
                        for column in 0..COLUMNS {
                            tile[row][column] = E::add_units(tile[row][column], factor, b[column]);
                        }
                    }
                }
            }
            for row in 0..ROWS {
                for column in 0..COLUMNS {
                    sums[row][column] = tile[row][column].sum_lanes();
                }
            }
        }
        black_box(sums);
        2 * E::TERMS * V::LANES * COLUMNS * ROWS * STEPS * self.0
    }
}

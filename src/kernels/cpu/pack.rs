//! Packing: operands of products rewritten as rows of units that tiles stream through.

use super::Isa;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// Units that hold `terms` neighbours.
pub fn units<U: Element>(terms: usize) -> usize {
    terms.div_ceil(U::TERMS)
}

/// Packs columns that are given as rows of floats, their terms in a row: packed(u, j) = unit u of `columns[j]`, rounded
/// to U. Columns beyond those given, up to `width`, are zero. All have one length, a packed row for each of its units.
pub fn columns<U: Element>(isa: Isa, packed: &mut [f32], width: usize, columns: &[&[f32]]) {
    let terms = columns.first().map_or(0, |column| column.len());
    assert!(packed.len() == units::<U>(terms) * width && columns.len() <= width, "pack: sizes do not fit");
    assert!(columns.iter().all(|column| column.len() == terms), "pack: columns of different lengths");
    run(isa, Columns::<U> { packed, width, columns, format: std::marker::PhantomData });
}

struct Columns<'a, U> {
    packed: &'a mut [f32],
    width: usize,
    columns: &'a [&'a [f32]],
    format: std::marker::PhantomData<U>,
}

impl<U: Element> Kernel for Columns<'_, U> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let terms = self.columns.first().map_or(0, |column| column.len());
        let rows = units::<U>(terms);
        for first in (0..self.width).step_by(V::LANES) {
            for row in (0..rows).step_by(V::LANES) {
                // SAFETY: a column is read behind its first `row` units for at most the terms that are left of it; the
                // rows written are the `rows` of `packed`, whole vectors of `width`, as checked by the caller.
                unsafe {
                    let mut block = [V::splat(0.0); 16];
                    let given = self.columns.iter().skip(first).take(V::LANES);
                    for (vector, column) in block.iter_mut().zip(given) {
                        *vector = U::units_in_row(column.as_ptr().add(row * U::TERMS), terms - row * U::TERMS);
                    }
                    let to = self.packed.as_mut_ptr().add(row * self.width + first);
                    V::store_columns(&block, to, self.width, V::LANES.min(rows - row));
                }
            }
        }
    }
}

/// Packs rows that are given as elements of E, their columns in a row: the terms of a unit come from neighbouring rows.
/// packed(u, j) holds column j of rows TERMS u, .. rounded to U; a missing row, and columns up to `pitch`, are zero.
/// `row(r)` is row r, of `count` elements, for r below `rows`.
pub fn rows<'a, U: Element, E: Element>(
    isa: Isa,
    packed: &mut [f32],
    pitch: usize,
    rows: usize,
    count: usize,
    row: impl Fn(usize) -> &'a [E],
) {
    assert!(packed.len() == units::<U>(rows) * pitch && count <= pitch, "pack: sizes do not fit");
    run(isa, Rows::<U, E, _> { packed, pitch, rows, count, row, formats: std::marker::PhantomData });
}

struct Rows<'p, U, E, F> {
    packed: &'p mut [f32],
    pitch: usize,
    rows: usize,
    count: usize,
    row: F,
    formats: std::marker::PhantomData<(U, E)>,
}

impl<'a, U: Element, E: Element, F: Fn(usize) -> &'a [E]> Kernel for Rows<'_, U, E, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (unit, packed) in self.packed.chunks_exact_mut(self.pitch).enumerate() {
            let low = (self.row)(unit * U::TERMS);
            let high = if U::TERMS == 2 && unit * 2 + 1 < self.rows { Some((self.row)(unit * 2 + 1)) } else { None };
            assert!(low.len() == self.count && high.is_none_or(|high| high.len() == self.count), "pack: a row's length");
            for at in (0..self.pitch).step_by(V::LANES) {
                let there = self.count.saturating_sub(at).min(V::LANES);
                let written = (self.pitch - at).min(V::LANES);
                // SAFETY: `there` elements of the rows lie behind `at`, and `written` units of this packed row.
                unsafe {
                    let load = |row: &[E]| match there {
                        0 => V::splat(0.0),
                        there if there < V::LANES => E::load_first::<V>(row.as_ptr().add(at), there),
                        _ => E::load::<V>(row.as_ptr().add(at)),
                    };
                    let [low, high] = [Some(low), high].map(|row| row.map_or(V::splat(0.0), load));
                    // What is a U already needs no rounding.
                    let same = size_of::<U>() == size_of::<E>();
                    let [low, high] = [low, high].map(|row| if same { row } else { U::rounded(row) });
                    let units = U::units(low, high);
                    let to = packed.as_mut_ptr().add(at);
                    if written == V::LANES { units.store(to) } else { units.store_first(to, written) }
                }
            }
        }
    }
}

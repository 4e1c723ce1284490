//! Packing: rewrites operands of products as rows of units, in the order in which tiles read them.

use std::marker::PhantomData;

use super::Isa;
use super::partition::Shared;
use super::vector::Element;
use super::vector::Kernel;
use super::vector::Vector;
use super::vector::run;

/// The number of units that hold `terms` adjacent elements.
pub fn units<U: Element>(terms: usize) -> usize {
    terms.div_ceil(U::TERMS)
}

/// Packs columns. Each column is given as a slice of floats, its terms in order: packed(u, j) = unit u of
/// `columns[j]`, rounded to U. Columns after the given ones, up to `width`, are zero. All columns have the same
/// length, and `packed` has one row for each unit of a column.
pub fn columns<U: Element>(isa: Isa, packed: &mut [f32], width: usize, columns: &[&[f32]]) {
    let terms = columns.first().map_or(0, |column| column.len());
    assert!(packed.len() == units::<U>(terms) * width && columns.len() <= width, "pack: sizes do not fit");
    assert!(columns.iter().all(|column| column.len() == terms), "pack: columns of different lengths");
    run(isa, Columns::<U> { packed, width, columns, format: PhantomData });
}

struct Columns<'a, U> {
    packed: &'a mut [f32],
    width: usize,
    columns: &'a [&'a [f32]],
    format: PhantomData<U>,
}

impl<U: Element> Kernel for Columns<'_, U> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let terms = self.columns.first().map_or(0, |column| column.len());
        let rows = units::<U>(terms);
        for first in (0..self.width).step_by(V::LANES) {
            for row in (0..rows).step_by(V::LANES) {
                // SAFETY: a column is read from its unit `row` on, for at most its remaining terms. The rows written
                // are the `rows` of `packed`, whole vectors of `width`, as checked by the caller.
                unsafe {
                    let mut block = [V::splat(0.0); 16];
                    let given = self.columns.iter().skip(first).take(V::LANES);
                    for (index, column) in given.enumerate() {
                        block[index] = U::units_in_row(column.as_ptr().add(row * U::TERMS), terms - row * U::TERMS);
                    }
                    let to = self.packed.as_mut_ptr().add(row * self.width + first);
                    V::store_columns(&block, to, self.width, V::LANES.min(rows - row));
                }
            }
        }
    }
}

/// The destination of the columns from `first` on. Each packed row takes `pitch` units, whole vectors, from `start`
/// on. `pitch` columns are packed even if the tile has fewer; columns after the last one of the matrix are zero.
#[derive(Clone, Debug)]
pub struct Panel {
    pub first: usize,
    pub start: usize,
    pub pitch: usize,
}

/// Packs rows of elements of E into panels. The terms of a unit come from adjacent rows: unit u of column j holds the
/// rows TERMS u, .. rounded to U; a missing row is zero. `row(r)` is row r, for r below `rows`. Each row is read
/// once, from left to right.
///
/// # Safety
/// No other task may access the packed rows during the call.
pub unsafe fn rows<'a, U: Element, E: Element>(
    isa: Isa,
    packed: &Shared<f32>,
    panels: &[Panel],
    rows: usize,
    row: impl Fn(usize) -> &'a [E],
) {
    let units = units::<U>(rows);
    let fits = |panel: &Panel| {
        panel.start + units * panel.pitch <= packed.len() && panel.pitch.is_multiple_of(isa.lanes()) && panel.pitch > 0
    };
    assert!(panels.iter().all(fits), "pack: a panel does not fit: {panels:?}");
    run(isa, Rows::<U, E, _> { packed, panels, rows, row, formats: PhantomData });
}

struct Rows<'p, U, E, F> {
    packed: &'p Shared<f32>,
    panels: &'p [Panel],
    rows: usize,
    row: F,
    formats: PhantomData<(U, E)>,
}

impl<'a, U: Element, E: Element, F: Fn(usize) -> &'a [E]> Kernel for Rows<'_, U, E, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for unit in 0..units::<U>(self.rows) {
            let low = (self.row)(unit * U::TERMS);
            let high = if U::TERMS == 2 && unit * 2 + 1 < self.rows { Some((self.row)(unit * 2 + 1)) } else { None };
            assert!(high.is_none_or(|high| high.len() == low.len()), "pack: rows of different lengths");
            for panel in self.panels {
                let to = self.packed.pointer(panel.start + unit * panel.pitch);
                // SAFETY: the packed row lies in the panel, as `rows` checked, and whole vectors are read only where
                // the rows have them.
                unsafe {
                    match high {
                        Some(high) if size_of::<U>() == size_of::<E>() && panel.first + panel.pitch <= low.len() => {
                            let (low, high) = (low.as_ptr().add(panel.first), high.as_ptr().add(panel.first));
                            let mut at = 0;
                            while at < panel.pitch {
                                E::load_units::<V>(low.add(at), high.add(at)).store(to.add(at));
                                at += V::LANES;
                            }
                        }
                        _ => pack_slowly::<V, U, E>(to, panel, low, high),
                    }
                }
            }
        }
    }
}

/// Packs one row of a panel, with rounding and with zeros for missing elements.
///
/// # Safety
/// `to` must be valid for `pitch` writes, with the instruction set of V enabled in the caller.
#[inline(always)]
unsafe fn pack_slowly<V: Vector, U: Element, E: Element>(to: *mut f32, panel: &Panel, low: &[E], high: Option<&[E]>) {
    for at in (0..panel.pitch).step_by(V::LANES) {
        let from = panel.first + at;
        // SAFETY: guaranteed by the caller.
        unsafe {
            let high = match high {
                Some(high) => load_rounded::<V, U, E>(high, from),
                None => V::splat(0.0),
            };
            U::units(load_rounded::<V, U, E>(low, from), high).store(to.add(at));
        }
    }
}

/// Loads the elements of a row from `at` on, rounded to U. Lanes beyond the row are zero.
///
/// # Safety
/// The instruction set of V must be enabled in the caller.
#[inline(always)]
unsafe fn load_rounded<V: Vector, U: Element, E: Element>(row: &[E], at: usize) -> V {
    let there = row.len().saturating_sub(at);
    // SAFETY: only existing elements are read.
    unsafe {
        let vector: V = match there {
            0 => V::splat(0.0),
            there if there < V::LANES => E::load_first(row.as_ptr().add(at), there),
            _ => E::load(row.as_ptr().add(at)),
        };
        // Elements that already have the format U need no rounding.
        if size_of::<U>() == size_of::<E>() { vector } else { U::rounded(vector) }
    }
}

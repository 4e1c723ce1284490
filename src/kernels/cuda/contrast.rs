//! Contrast of queries with candidates that have no gradient, and the rows that methods keep for it
//! (`source/contrast.cu`). `tensor::Losses` states them.

use super::launch::Argument;
use super::pending::Pending;
use super::{Kernels, Span, check};

/// What the loss of a query is multiplied by, and the candidate that does not count for it, as in `tensor::Term`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Term {
    /// Multiplies the loss.
    pub weight: f32,
    /// The index of a candidate; `u32::MAX` if all count.
    pub excluded: u32,
}

/// Queries in neighbouring rows, and what they are compared with, as in `tensor::Comparison`.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The first row.
    pub first: usize,
    /// One for each row.
    pub terms: &'a [Term],
    /// (candidates, width), of unit length.
    pub candidates: Span,
    /// The row's positive, (rows, width), of unit length.
    pub positives: Span,
    /// Whether candidates that are mistaken for the positive count once more, as in PIRL.
    pub mistaken: bool,
}

impl Kernels {
    /// Rows of x at unit length, in f32.
    pub fn unit_floats(&self, unit: Span, x: Span, width: usize) {
        let rows = x.len / width;
        check("unit_floats", "unit", unit, x.len);
        check("unit_floats", "x", x, rows * width);
        let length = self.floats(rows);
        self.unit_floats_with(unit, length.floats(), x, rows, width);
    }

    fn unit_floats_with(&self, unit: Span, length: Span, x: Span, rows: usize, width: usize) {
        self.launch_rows("unit_floats", rows, &[&unit, &length, &x, &(rows as u64), &(width as u32)]);
    }

    /// Copies rows of `width` numbers.
    pub fn gather_rows(&self, to: Span, from: Span, places: &[u32], width: usize) {
        check("gather_rows", "to", to, places.len() * width);
        check_places("gather_rows", places, from, width);
        let places_there = self.gpu.upload(places);
        let (rows, columns) = (places.len() as u64, width as u32);
        self.launch_rows("gather_rows", places.len(), &[&to, &from, &places_there.of::<u32>(), &rows, &columns]);
    }

    /// Row places[i] of `kept` becomes share kept + (1 - share) from[i], at unit length. Places differ.
    pub fn mix_rows(&self, kept: Span, from: Span, places: &[u32], width: usize, share: f32) {
        check("mix_rows", "from", from, places.len() * width);
        check_places("mix_rows", places, kept, width);
        let places_there = self.gpu.upload(places);
        let (rows, columns) = (places.len() as u64, width as u32);
        let arguments: [&dyn Argument; 6] = [&kept, &from, &places_there.of::<u32>(), &rows, &columns, &share];
        self.launch_rows("mix_rows", places.len(), &arguments);
    }

    /// The sum of all comparisons of queries (rows, `width`), and its gradient.
    pub fn info_nce(
        &self,
        gradient: Span,
        queries: Span,
        width: usize,
        temperature: f32,
        comparisons: &[Comparison<'_>],
    ) -> Pending {
        let rows = queries.len / width;
        check("info_nce", "gradient", gradient, queries.len);
        check("info_nce", "queries", queries, rows * width);
        let [unit, slopes] = [(); 2].map(|()| self.floats(queries.len));
        let (unit, slopes, length) = (unit.floats(), slopes.floats(), self.floats(rows));
        self.unit_floats_with(unit, length.floats(), queries, rows, width);
        self.gpu.clear(slopes);
        let terms = self.terms(comparisons.iter().map(|comparison| comparison.terms.len()).sum());
        let (mut done, columns, scale) = (0, width as u32, 1.0 / temperature);
        for &Comparison { first, terms: of_rows, candidates, positives, mistaken } in comparisons {
            let (rows, count) = (of_rows.len(), candidates.len / width);
            check("info_nce", "candidates", candidates, count * width);
            check("info_nce", "positives", positives, rows * width);
            let [unit, slopes] = [unit, slopes].map(|all| all.part(first * width, rows * width));
            let similarities = self.floats(rows * count);
            let (similarities, of_rows) = (similarities.floats(), self.gpu.upload(of_rows));
            self.matmul_nt(similarities, unit, candidates, rows, width, count);
            let (of_this, mistaken, count_there) = (terms.span().part(done, rows), u32::from(mistaken), count as u32);
            let arguments: [&dyn Argument; 10] = [
                &of_this,
                &slopes,
                &similarities,
                &unit,
                &positives,
                &of_rows.of::<Term>(),
                &count_there,
                &columns,
                &scale,
                &mistaken,
            ];
            self.launch_block_per_row("info_nce", rows, &arguments);
            self.add_matmul(slopes, similarities, candidates, rows, count, width);
            done += rows;
        }
        let arguments: [&dyn Argument; 7] =
            [&gradient, &slopes, &unit, &length.floats(), &(rows as u64), &columns, &1.0_f32];
        self.launch_rows("unit_floats_backward", rows, &arguments);
        self.sum_terms(&terms)
    }

    /// The cross-entropy of scores (rows, `classes`) with the rows' categories, averaged, and its gradient.
    pub fn category_cross_entropy(&self, gradient: Span, scores: Span, categories: &[u32], classes: usize) -> Pending {
        let rows = categories.len();
        check("category_cross_entropy", "gradient", gradient, scores.len);
        check("category_cross_entropy", "scores", scores, rows * classes);
        let most = categories.iter().max().map_or(0, |&category| category as usize);
        assert!(most < classes, "category_cross_entropy: category {most} of {classes}");
        let (terms, categories) = (self.terms(rows), self.gpu.upload(categories));
        let (count, columns) = (rows as u64, classes as u32);
        let arguments: [&dyn Argument; 6] =
            [&gradient, &terms.span(), &scores, &categories.of::<u32>(), &count, &columns];
        self.launch_block_per_row("category_cross_entropy", rows, &arguments);
        self.sum_terms(&terms)
    }
}

/// Panics if a place is not a row of `rows`.
fn check_places(operation: &str, places: &[u32], rows: Span, width: usize) {
    let (rows, most) = (rows.len / width, places.iter().max().map_or(0, |&place| place as usize));
    assert!(places.is_empty() || most < rows, "{operation}: row {most} of {rows}");
}

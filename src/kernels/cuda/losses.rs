//! Losses and their gradients (`source/loss.cu`). `tensor::Losses` states them.

use super::norm::Parts;
use super::pending::Pending;
use super::{Kernels, Memory, Span, check};

/// Columns of a block of a sum over rows in f64.
const COLUMNS: usize = 32;

/// The terms of a loss, in f64.
pub(super) struct Terms(Memory);

impl Terms {
    pub(super) fn span(&self) -> Span {
        self.0.of::<f64>()
    }
}

/// Barlow Twins's weights, as in `tensor::TwinWeights`.
#[derive(Clone, Copy, Debug)]
pub struct Twin {
    /// Of the squared correlations of different variables.
    pub redundancy: f64,
    /// Of the whole loss.
    pub scale: f64,
}

/// How scores share their rows among classes, as in `tensor::ViewTargets::Shared`.
#[derive(Clone, Copy, Debug)]
pub struct Sharing {
    /// Into how many equal parts the rows are cut.
    pub groups: usize,
    /// The rows of each part, from its first on, that give targets.
    pub given: usize,
    /// Divides the scores.
    pub epsilon: f32,
    /// Rounds of scaling.
    pub rounds: usize,
}

/// VICReg's weights, as in `tensor::VicregWeights`.
#[derive(Clone, Copy, Debug)]
pub struct Vicreg {
    /// Of the mean squared distance of pairs.
    pub invariance: f64,
    /// Of the missing deviation.
    pub variance: f64,
    /// Of the squared covariances.
    pub covariance: f64,
}

impl Kernels {
    fn doubles(&self, len: usize) -> Memory {
        self.gpu.memory(len * size_of::<f64>())
    }

    pub(super) fn terms(&self, len: usize) -> Terms {
        Terms(self.doubles(len))
    }

    /// Adds up the terms, in a fixed order.
    pub(super) fn sum_terms(&self, terms: &Terms) -> Pending {
        let (value, terms) = (self.doubles(1), terms.span());
        self.launch_blocks("sum_terms", [1, 1], 0, &[&value.of::<f64>(), &terms, &(terms.len as u64)]);
        self.gpu.read_later(value.of::<f64>())
    }

    /// Runs a kernel with a block for each of `rows` rows.
    pub(super) fn launch_block_per_row(&self, kernel: &'static str, rows: usize, arguments: &[&dyn super::Argument]) {
        self.launch_blocks(kernel, [rows as u64, 1], 0, arguments);
    }

    /// NT-Xent of projections z (2N, `width`), and its gradient dz.
    pub fn nt_xent(&self, dz: Span, z: Span, width: usize, temperature: f32) -> Pending {
        let views = z.len / width;
        check("nt_xent", "dz", dz, z.len);
        check("nt_xent", "z", z, views / 2 * 2 * width);
        let [unit, slopes] = [(); 2].map(|()| self.floats(z.len));
        let (length, similarities, terms) = (self.floats(views), self.floats(views * views), self.terms(views));
        let (unit, slopes, length, similarities) =
            (unit.floats(), slopes.floats(), length.floats(), similarities.floats());
        let (rows, columns) = (views as u64, width as u32);
        self.launch_rows("unit_floats", views, &[&unit, &length, &z, &rows, &columns]);
        self.matmul_nt(similarities, unit, unit, views, width, views);
        let scale = 1.0 / temperature;
        self.launch_block_per_row("contrast", views, &[&terms.span(), &similarities, &(views as u32), &scale]);
        self.matmul(slopes, similarities, unit, views, views, width);
        self.add_matmul_tn(slopes, similarities, unit, views, views, width);
        let factor = scale / views as f32;
        let arguments: [&dyn super::Argument; 7] = [&dz, &slopes, &unit, &length, &rows, &columns, &factor];
        self.launch_rows("unit_floats_backward", views, &arguments);
        self.sum_terms(&terms)
    }

    /// `slope` times the mean cosine of predictions p (2N, `width`) and the targets of their pairs, and its gradient dp.
    pub fn mean_cosine(&self, dp: Span, p: Span, targets: Span, width: usize, slope: f64) -> Pending {
        let rows = p.len / width;
        check("mean_cosine", "dp", dp, p.len);
        check("mean_cosine", "targets", targets, p.len);
        check("mean_cosine", "p", p, rows / 2 * 2 * width);
        let (terms, weight) = (self.terms(rows), slope / rows as f64);
        let (count, columns) = (rows as u64, width as u32);
        let arguments: [&dyn super::Argument; 7] = [&dp, &terms.span(), &p, &targets, &count, &columns, &weight];
        self.launch_rows("mean_cosine", rows, &arguments);
        self.sum_terms(&terms)
    }

    /// VICReg's loss of projections z (2N, `width`), and its gradient dz.
    pub fn vicreg(&self, dz: Span, z: Span, width: usize, weights: Vicreg) -> Pending {
        let pairs = z.len / width / 2;
        check("vicreg", "dz", dz, z.len);
        check("vicreg", "z", z, 2 * pairs * width);
        assert!(pairs > 1, "vicreg: {pairs} pairs");
        let [centred, through] = [(); 2].map(|()| self.floats(z.len));
        let (own, terms) = (self.floats(2 * width), self.terms(2 * width + pairs));
        let (centred, through, own) = (centred.floats(), through.floats(), own.floats());
        let (rows, columns) = (pairs as u64, width as u32);
        let (mu, nu) = (weights.variance / width as f64, weights.covariance / width as f64);
        let blocks = [width.div_ceil(COLUMNS) as u64, 2];
        let of_columns = terms.span().part(0, 2 * width);
        self.launch_blocks("vicreg_columns", blocks, 0, &[&centred, &own, &of_columns, &z, &rows, &columns, &mu, &nu]);
        for side in 0..2 {
            let [centred, through] = [centred, through].map(|both| both.part(side * pairs * width, pairs * width));
            self.through(through, centred, centred, pairs, width);
        }
        let rest = pairs as f64 - 1.0;
        let (invariance, covariance) = (weights.invariance / (pairs * width) as f64, nu / (rest * rest));
        let of_rows = terms.span().part(2 * width, pairs);
        self.launch_block_per_row(
            "vicreg_rows",
            pairs,
            &[&dz, &of_rows, &z, &centred, &through, &own, &rows, &columns, &invariance, &covariance],
        );
        self.sum_terms(&terms)
    }

    /// Barlow Twins's loss of projections z (2N, `width`), and its gradient dz.
    pub fn barlow_twins(&self, dz: Span, z: Span, width: usize, weights: Twin) -> Pending {
        let pairs = z.len / width / 2;
        check("barlow_twins", "dz", dz, z.len);
        check("barlow_twins", "z", z, 2 * pairs * width);
        let [standardised, through] = [(); 2].map(|()| self.floats(z.len));
        let (standardised, through) = (standardised.floats(), through.floats());
        let (inverse, terms) = (self.doubles(2 * width), self.terms(2 * width));
        let inverse = inverse.of::<f64>();
        let (rows, columns, blocks) = (pairs as u64, width as u32, [width.div_ceil(COLUMNS) as u64, 2]);
        self.launch_blocks("twin_columns", blocks, 0, &[&standardised, &inverse, &z, &rows, &columns]);
        let of_side = |span: Span, side: usize| span.part(side * pairs * width, pairs * width);
        for side in 0..2 {
            let [a, b] = [side, 1 - side].map(|side| of_side(standardised, side));
            self.through(of_side(through, side), b, a, pairs, width);
        }
        let Twin { redundancy, scale } = weights;
        let arguments: [&dyn super::Argument; 9] =
            [&dz, &terms.span(), &standardised, &through, &inverse, &rows, &columns, &redundancy, &scale];
        self.launch_blocks("twin_gradient", blocks, 0, &arguments);
        self.sum_terms(&terms)
    }

    /// through = b b' a of a and b (rows, columns), by the smaller of the two square matrices.
    fn through(&self, through: Span, b: Span, a: Span, rows: usize, columns: usize) {
        let smaller = rows.min(columns);
        let products = self.floats(smaller * smaller);
        let products = products.floats();
        if rows <= columns {
            self.matmul_nt(products, b, b, rows, columns, rows);
            self.matmul(through, products, a, rows, rows, columns);
        } else {
            self.gpu.clear(products);
            self.add_matmul_tn(products, b, a, columns, rows, columns);
            self.matmul(through, b, products, rows, columns, columns);
        }
    }

    /// targets = softmax((scores - centre) / temperature) of each row. Then moves the centre to momentum centre +
    /// (1 - momentum) mean of the rows.
    pub fn centred_targets(&self, targets: Span, scores: Span, centre: Span, temperature: f32, momentum: f32) {
        let (classes, rows) = (centre.len, scores.len / centre.len);
        check("centred_targets", "scores", scores, rows * classes);
        check("centred_targets", "targets", targets, scores.len);
        let (columns, scale) = (classes as u32, 1.0 / temperature);
        self.launch_block_per_row("centred_targets", rows, &[&targets, &scores, &centre, &columns, &scale]);
        let Parts { partial, rows, rows_of_part, columns, parts, blocks } = &self.parts(rows, classes, 1);
        let partial = &partial.floats();
        self.launch_blocks("sum_parts", *blocks, 0, &[partial, &scores, rows, rows_of_part, columns]);
        self.launch_rows("move_centre", classes, &[&centre, partial, parts, rows, columns, &momentum]);
    }

    /// Targets that share each part of the rows among the classes.
    pub fn shared_targets(&self, targets: Span, scores: Span, classes: usize, sharing: Sharing) {
        let Sharing { groups, given, epsilon, rounds } = sharing;
        let rows = scores.len / classes;
        check("shared_targets", "scores", scores, rows / groups * groups * classes);
        check("shared_targets", "targets", targets, groups * given * classes);
        assert!(rounds > 0 && given * groups <= rows, "shared_targets: {sharing:?} of {rows} rows");
        let (of_group, columns, inverse) = ((rows / groups) as u64, classes as u32, 1.0 / f64::from(epsilon));
        let (shares, of_row, of_column) =
            (self.doubles(scores.len), self.doubles(rows), self.doubles(groups * classes));
        let [shares, of_row, of_column] = [&shares, &of_row, &of_column].map(|memory| memory.of::<f64>());
        let largest = self.floats(rows);
        let largest = largest.floats();
        self.launch_block_per_row("sinkhorn_shares", rows, &[&shares, &largest, &scores, &columns, &inverse]);
        self.launch_block_per_row("sinkhorn_start", groups, &[&of_row, &largest, &of_group, &inverse]);
        let blocks = [classes.div_ceil(COLUMNS) as u64, groups as u64];
        for round in 1..=rounds {
            let sums: [&dyn super::Argument; 5] = [&of_column, &shares, &of_row, &of_group, &columns];
            self.launch_blocks("sinkhorn_columns", blocks, 0, &sums);
            let last = (round == rounds).then_some(targets);
            let masses: [&dyn super::Argument; 7] =
                [&of_row, &last, &shares, &of_column, &of_group, &(given as u64), &columns];
            self.launch_block_per_row("sinkhorn_rows", rows, &masses);
        }
    }

    /// The cross-entropy of views' scores (V N, `classes`) with targets (2N, `classes`) of the other of the first two
    /// views, averaged, and its gradient.
    pub fn view_cross_entropy(
        &self,
        gradient: Span,
        scores: Span,
        targets: Span,
        classes: usize,
        temperature: f32,
    ) -> Pending {
        let batch = targets.len / classes / 2;
        let views = scores.len / classes / batch;
        check("view_cross_entropy", "gradient", gradient, scores.len);
        check("view_cross_entropy", "scores", scores, views * batch * classes);
        check("view_cross_entropy", "targets", targets, 2 * batch * classes);
        assert!(views > 1, "view_cross_entropy: {views} views");
        let (terms, weight) = (self.terms(views * batch), 1.0 / (2 * (views - 1) * batch) as f64);
        let (count, columns, scale) = (batch as u64, classes as u32, 1.0 / temperature);
        self.launch_block_per_row(
            "view_cross_entropy",
            views * batch,
            &[&gradient, &terms.span(), &scores, &targets, &count, &columns, &scale, &weight],
        );
        self.sum_terms(&terms)
    }
}

//! Batch and layer normalisation (`source/norm.cu`). Contracts are those of the CPU's kernels.

use super::launch::Value;
use super::{Argument, Kernels, Memory, Span, check, check_each};

/// The number of blocks among which sums over rows are split. A constant, so that results do not depend on the GPU's
/// size.
const BLOCKS: usize = 1024;

/// The fewest rows of a part.
const FEWEST_ROWS: usize = 64;

/// Columns of a block of a sum over rows.
const COLUMNS: usize = 64;

/// Partial sums over rows: where they go, and how they are split.
pub(super) struct Parts {
    /// (parts, terms, columns).
    pub(super) partial: Memory,
    pub(super) rows: u64,
    pub(super) rows_of_part: u64,
    pub(super) columns: u32,
    pub(super) parts: u32,
    pub(super) blocks: [u64; 2],
}

/// The numbers that a normalisation y = gamma (x - mean) inv_std + beta uses, a number for each column (batch
/// normalisation).
#[derive(Clone, Copy, Debug)]
pub struct Normalization {
    /// The means.
    pub mean: Span,
    /// 1 / sqrt(variance + epsilon) of each.
    pub inv_std: Span,
    /// Scale and shift; 1 and 0 if `None`.
    pub affine: Option<[Span; 2]>,
}

/// As in `norm.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Norm([u64; 4]);
impl Value for Norm {}

impl Normalization {
    fn argument(&self, columns: usize) -> Norm {
        check("batch norm", "mean", self.mean, columns);
        check("batch norm", "inv_std", self.inv_std, columns);
        let [gamma, beta] = self.affine.map_or([0; 2], |affine| {
            affine.map(|span| {
                check("batch norm", "scale or shift", span, columns);
                span.address()
            })
        });
        Norm([self.mean.address(), self.inv_std.address(), gamma, beta])
    }
}

/// Which elements of dy pass back through the ReLU after a normalisation.
#[derive(Clone, Copy, Debug)]
pub enum Gate {
    /// All: there is no ReLU.
    Open,
    /// Those whose normalised x, recomputed, is positive.
    Recomputed,
    /// Those whose output is positive.
    Output(Span),
}

impl Gate {
    fn number(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::Recomputed => 1,
            Self::Output(_) => 2,
        }
    }

    fn output(self) -> Option<Span> {
        match self {
            Self::Output(y) => Some(y),
            Self::Open | Self::Recomputed => None,
        }
    }
}

/// What a batch normalisation's backward pass adds to and depends on.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Which elements of dy count.
    pub gate: Gate,
    /// Whether the moments are constant: those of a frozen normalisation.
    pub frozen: bool,
    /// The gradients of scale and shift, if they are trained.
    pub gradients: Option<[Span; 2]>,
}

impl Kernels {
    /// Splits a sum over rows of `terms` terms of each column.
    pub(super) fn parts(&self, rows: usize, columns: usize, terms: usize) -> Parts {
        let across = columns.div_ceil(COLUMNS);
        let parts = (BLOCKS / across.max(1)).clamp(1, rows.div_ceil(FEWEST_ROWS).max(1));
        let rows_of_part = rows.div_ceil(parts).max(1);
        let parts = rows.div_ceil(rows_of_part).max(1);
        Parts {
            partial: self.floats(parts * terms * columns),
            rows: rows as u64,
            rows_of_part: rows_of_part as u64,
            columns: columns as u32,
            parts: parts as u32,
            blocks: [across as u64, parts as u64],
        }
    }

    /// Computes the moments of each column of x, and moves the running moments (means, then variances) towards them.
    pub fn batch_moments(&self, [mean, inv_std]: [Span; 2], running: Span, x: Span, epsilon: f32, momentum: f32) {
        let columns = mean.len;
        check("batch_moments", "inv_std", inv_std, columns);
        check("batch_moments", "running", running, 2 * columns);
        check("batch_moments", "x", x, x.len / columns * columns);
        assert!(x.len > 0, "batch_moments: no rows");
        let Parts { partial, rows, rows_of_part, columns: width, parts, blocks } =
            &self.parts(x.len / columns, columns, 2);
        let partial = &partial.floats();
        self.launch_blocks("moment_parts", *blocks, 0, &[partial, &x, rows, rows_of_part, width]);
        self.launch_rows(
            "batch_moments",
            columns,
            &[&mean, &inv_std, &running, partial, &x, parts, rows, width, &epsilon, &momentum],
        );
    }

    /// The running moments, as a normalisation uses them.
    pub fn running_moments(&self, [mean, inv_std]: [Span; 2], running: Span, epsilon: f32) {
        check("running_moments", "inv_std", inv_std, mean.len);
        check("running_moments", "running", running, 2 * mean.len);
        let columns = mean.len as u32;
        self.launch("running_moments", mean.len, &[&mean, &inv_std, &running, &columns, &epsilon]);
    }

    /// y = gamma (x - mean) inv_std + beta, plus `shortcut` if it is given, then a ReLU if `rectify` is set.
    pub fn normalize(&self, y: Span, x: Span, norm: &Normalization, shortcut: Option<Span>, rectify: bool) {
        check("normalize", "y", y, x.len);
        check_each("normalize", [("shortcut", shortcut)], x.len);
        let (columns, rectify) = (norm.mean.len, u32::from(rectify));
        let (len, width, norm) = (x.len as u64, columns as u32, norm.argument(columns));
        self.launch_eights("normalize", x.len, &[&y, &x, &shortcut, &norm, &len, &width, &rectify]);
    }

    /// The gradient of x, and of the shortcut (`dz`) if it is given.
    pub fn batch_norm_backward(
        &self,
        dx: Span,
        dz: Option<Span>,
        dy: Span,
        x: Span,
        norm: &Normalization,
        how: Backward,
    ) {
        let columns = norm.mean.len;
        let spans = [("dx", Some(dx)), ("dz", dz), ("dy", Some(dy)), ("y", how.gate.output())];
        check_each("batch_norm_backward", spans, x.len);
        let (len, width, norm, gate) = (x.len as u64, columns as u32, norm.argument(columns), how.gate.number());
        let y = how.gate.output();
        let means = (!how.frozen).then(|| self.floats(2 * columns));
        let means = means.as_ref().map(Memory::floats);
        if means.is_some() || how.gradients.is_some() {
            let Parts { partial, rows, rows_of_part, parts, blocks, .. } = &self.parts(x.len / columns, columns, 2);
            let partial = &partial.floats();
            let arguments: [&dyn Argument; 9] = [partial, &dy, &x, &y, &norm, rows, rows_of_part, &width, &gate];
            self.launch_blocks("backward_parts", *blocks, 0, &arguments);
            self.norm_gradients(means, how.gradients, partial, *parts, *rows, columns);
        }
        self.launch_eights("norm_backward", x.len, &[&dx, &dz, &dy, &x, &y, &means, &norm, &len, &width, &gate]);
    }

    /// From partial sums of dz and dz x̂: their means over the rows, and the gradients of shift and scale.
    fn norm_gradients(
        &self,
        means: Option<Span>,
        gradients: Option<[Span; 2]>,
        partial: &Span,
        parts: u32,
        rows: u64,
        columns: usize,
    ) {
        let [dgamma, dbeta] = gradients.map_or([None; 2], |gradients| gradients.map(Some));
        check_each("norm_gradients", [("dgamma", dgamma), ("dbeta", dbeta)], columns);
        let width = columns as u32;
        self.launch_rows("norm_gradients", columns, &[&means, &dgamma, &dbeta, partial, &parts, &rows, &width]);
    }

    /// Layer normalisation of each row of x, and the moments of each row.
    pub fn layer_norm(&self, y: Span, [mean, inv_std]: [Span; 2], x: Span, [gamma, beta]: [Span; 2], epsilon: f32) {
        let (rows, columns) = (mean.len, gamma.len);
        check("layer_norm", "x", x, rows * columns);
        check("layer_norm", "y", y, rows * columns);
        check("layer_norm", "inv_std", inv_std, rows);
        check("layer_norm", "beta", beta, columns);
        let (count, width) = (rows as u64, columns as u32);
        self.launch_rows("layer_norm", rows, &[&y, &mean, &inv_std, &x, &gamma, &beta, &count, &width, &epsilon]);
    }

    /// The gradient of x, plus `onto` if it is given. Adds the gradients of gamma and beta.
    #[expect(clippy::too_many_arguments, reason = "x, its gradients, moments and parameters")]
    pub fn layer_norm_backward(
        &self,
        dx: Span,
        gradients: [Span; 2],
        dy: Span,
        x: Span,
        [mean, inv_std]: [Span; 2],
        gamma: Span,
        onto: Option<Span>,
    ) {
        let (rows, columns) = (mean.len, gamma.len);
        let spans = [("dx", Some(dx)), ("dy", Some(dy)), ("x", Some(x)), ("onto", onto)];
        check_each("layer_norm_backward", spans, rows * columns);
        check("layer_norm_backward", "inv_std", inv_std, rows);
        let (count, width) = (rows as u64, columns as u32);
        self.launch_rows("layer_norm_backward", rows, &[&dx, &dy, &x, &onto, &mean, &inv_std, &gamma, &count, &width]);
        let Parts { partial, rows_of_part, parts, blocks, .. } = &self.parts(rows, columns, 2);
        let partial = &partial.floats();
        self.launch_blocks(
            "layer_norm_parts",
            *blocks,
            0,
            &[partial, &dy, &x, &mean, &inv_std, &count, rows_of_part, &width],
        );
        self.norm_gradients(None, Some(gradients), partial, *parts, count, columns);
    }
}

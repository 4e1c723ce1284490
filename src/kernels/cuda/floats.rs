//! Products of f32, whatever the format of activations is (`product_floats` in `source/product.cu`).

use super::product::{Added, BLOCKS, Key, Mode, Operand, Outputs, PIECE, Product};
use super::{Kernels, Span, check};

/// Rows and columns of a tile.
const TILE: usize = 64;

impl Kernels {
    /// c (m, n) = a b, or is added to, with any strides. Where there are few tiles, sums are cut into parts.
    fn product_of_floats(&self, operands: [Operand; 2], [m, n]: [usize; 2], inner: usize, c: Span, mode: Mode) {
        let tiles = m.div_ceil(TILE) * n.div_ceil(TILE);
        let parts = (BLOCKS / tiles.max(1)).clamp(1, inner.div_ceil(PIECE).max(1));
        let launch = |table, c, mode| {
            let product = Product::new(table, operands, [m, n], [TILE; 2], (c, n, mode), Added::default());
            self.launch_blocks("product_floats", [product.blocks(table), 1], 0, &[&product]);
        };
        if parts == 1 {
            return launch(&*self.single(inner), c, mode);
        }
        let (strides, len) = (operands.map(|operand| operand.inner), m * n);
        let table = self.table(Key::Parts { inner, strides, len, parts }, || {
            let mut outputs = Outputs::default();
            let cut = |part: usize| inner * part / parts;
            for part in 0..parts {
                let first = cut(part);
                outputs.push(part * len, [[first * strides[0], first * strides[1], cut(part + 1) - first]]);
            }
            (outputs, parts)
        });
        let partial = self.floats(parts * len);
        launch(&*table, partial.floats(), Mode::Keep);
        if mode == Mode::Keep {
            self.gpu.clear(c);
        }
        self.launch("add_parts", len, &[&c, &partial.floats(), &(parts as u32), &(len as u64)]);
    }

    /// c (m, n) = a (m, inner) b (inner, n).
    pub fn matmul(&self, c: Span, a: Span, b: Span, m: usize, inner: usize, n: usize) {
        check_sizes("matmul", [c, a, b], [m, inner, n]);
        let operands = [Operand { span: a, row: inner, inner: 1 }, Operand { span: b, row: 1, inner: n }];
        self.product_of_floats(operands, [m, n], inner, c, Mode::Keep);
    }

    /// c (m, n) += a (m, inner) b (inner, n).
    pub fn add_matmul(&self, c: Span, a: Span, b: Span, m: usize, inner: usize, n: usize) {
        check_sizes("add_matmul", [c, a, b], [m, inner, n]);
        let operands = [Operand { span: a, row: inner, inner: 1 }, Operand { span: b, row: 1, inner: n }];
        self.product_of_floats(operands, [m, n], inner, c, Mode::Add);
    }

    /// c (m, n) = a bᵀ with a (m, inner) and b (n, inner).
    pub fn matmul_nt(&self, c: Span, a: Span, b: Span, m: usize, inner: usize, n: usize) {
        check_sizes("matmul_nt", [c, a, b], [m, inner, n]);
        let operands = [a, b].map(|span| Operand { span, row: inner, inner: 1 });
        self.product_of_floats(operands, [m, n], inner, c, Mode::Keep);
    }

    /// c (m, n) += aᵀ b with a (inner, m) and b (inner, n).
    pub fn add_matmul_tn(&self, c: Span, a: Span, b: Span, m: usize, inner: usize, n: usize) {
        check_sizes("add_matmul_tn", [c, a, b], [m, inner, n]);
        let operands = [Operand { span: a, row: 1, inner: m }, Operand { span: b, row: 1, inner: n }];
        self.product_of_floats(operands, [m, n], inner, c, Mode::Add);
    }
}

fn check_sizes(operation: &str, [c, a, b]: [Span; 3], [m, inner, n]: [usize; 3]) {
    for (name, span, len) in [("c", c, m * n), ("a", a, m * inner), ("b", b, inner * n)] {
        check(operation, name, span, len);
    }
}

//! Self-attention: its products are sums over segments (`product`), its softmax is in `source/attention.cu`. Tokens are
//! (T, N, ..), as on the CPU.

use crate::kernels::shapes::AttentionShape;

use super::product::{Added, Key, Mode, Operand, Outputs, Side};
use super::{Argument, Kernels, Span, check};

impl Kernels {
    /// The elements of a row of attention's squares, (N, heads, T, stride).
    fn square_stride(shape: &AttentionShape) -> usize {
        shape.tokens.next_multiple_of(8)
    }

    /// The number of elements of attention's probabilities.
    pub fn probabilities_len(&self, shape: &AttentionShape) -> usize {
        shape.batch * shape.heads * shape.tokens * Self::square_stride(shape)
    }

    /// Attention of qkv (T, N, 3 C): the probabilities and y (T, N, C).
    pub fn attention(&self, y: Span, probabilities: Span, qkv: Span, shape: &AttentionShape) {
        check("attention", "qkv", qkv, 3 * shape.output_len());
        check("attention", "y", y, shape.output_len());
        check("attention", "probabilities", probabilities, self.probabilities_len(shape));
        let attended = Attended::new(self, shape);
        let [q, k, v] = attended.parts(qkv);
        let scores = self.floats(probabilities.len);
        attended.product((Side::Qkv, q, false), (Side::Qkv, k, false), (Side::Square, scores.floats(), Mode::Keep));
        let arguments: [&dyn Argument; 2] = [&probabilities, &scores.floats()];
        attended.softmax("attention_softmax", &arguments);
        attended.product((Side::Square, probabilities, false), (Side::Qkv, v, true), (Side::Tokens, y, Mode::Write));
    }

    /// The gradient of qkv.
    pub fn attention_backward(&self, dqkv: Span, dy: Span, qkv: Span, probabilities: Span, shape: &AttentionShape) {
        check("attention_backward", "qkv", qkv, 3 * shape.output_len());
        check("attention_backward", "dqkv", dqkv, qkv.len);
        check("attention_backward", "dy", dy, shape.output_len());
        check("attention_backward", "probabilities", probabilities, self.probabilities_len(shape));
        let attended = Attended::new(self, shape);
        let ([q, k, v], [dq, dk, dv]) = (attended.parts(qkv), attended.parts(dqkv));
        let (dp, ds) = (self.floats(probabilities.len), self.activations(probabilities.len));
        let ds = ds.numbers(self.format);
        attended.product((Side::Tokens, dy, false), (Side::Qkv, v, false), (Side::Square, dp.floats(), Mode::Keep));
        attended.softmax("attention_softmax_backward", &[&ds, &dp.floats(), &probabilities]);
        attended.product((Side::Square, ds, false), (Side::Qkv, k, true), (Side::Qkv, dq, Mode::Write));
        attended.product((Side::Square, ds, true), (Side::Qkv, q, true), (Side::Qkv, dk, Mode::Write));
        attended.product((Side::Square, probabilities, true), (Side::Tokens, dy, true), (Side::Qkv, dv, Mode::Write));
    }
}

/// The products of one attention layer: for each head of each image, matrices whose rows are tokens.
struct Attended<'a> {
    kernels: &'a Kernels,
    shape: &'a AttentionShape,
    stride: usize,
}

impl<'a> Attended<'a> {
    fn new(kernels: &'a Kernels, shape: &'a AttentionShape) -> Self {
        Self { kernels, shape, stride: Kernels::square_stride(shape) }
    }

    /// Where queries, keys and values begin.
    fn parts(&self, qkv: Span) -> [Span; 3] {
        let channels = self.shape.heads * self.shape.width;
        [0, 1, 2].map(|part| qkv.part(part * channels, qkv.len - part * channels))
    }

    /// Elements from token to token.
    fn row(&self, side: Side) -> usize {
        let &AttentionShape { batch, heads, width, .. } = self.shape;
        match side {
            Side::Qkv => batch * 3 * heads * width,
            Side::Tokens => batch * heads * width,
            Side::Square => self.stride,
        }
    }

    /// Elements of a row that count.
    fn columns(&self, side: Side) -> usize {
        if side == Side::Square { self.shape.tokens } else { self.shape.width }
    }

    /// c = A Bᵀ for each head, with A and B transposed where their flag says so.
    fn product(
        &self,
        (of_a, a, a_transposed): (Side, Span, bool),
        (of_b, b, b_transposed): (Side, Span, bool),
        (of_c, c, mode): (Side, Span, Mode),
    ) {
        let &AttentionShape { tokens, batch, heads, width } = self.shape;
        let inner = if a_transposed { tokens } else { self.columns(of_a) };
        let begin = |side: Side, image: usize, head: usize| match side {
            Side::Qkv => image * 3 * heads * width + head * width,
            Side::Tokens => (image * heads + head) * width,
            Side::Square => (image * heads + head) * tokens * self.stride,
        };
        let key = Key::Attention(*self.shape, of_a, of_b, 2 * inner + usize::from(of_c == Side::Qkv));
        let table = self.kernels.table(key, || {
            let mut outputs = Outputs::default();
            for (image, head) in (0..batch).flat_map(|image| (0..heads).map(move |head| (image, head))) {
                let [a, b, c] = [of_a, of_b, of_c].map(|side| begin(side, image, head));
                outputs.push(c, [[a, b, inner]]);
            }
            (outputs, 1)
        });
        let operand = |side, span, transposed| {
            let row = self.row(side);
            if transposed { Operand { span, row: 1, inner: row } } else { Operand { span, row, inner: 1 } }
        };
        let operands = [operand(of_a, a, a_transposed), operand(of_b, b, b_transposed)];
        let n = if b_transposed { self.columns(of_b) } else { tokens };
        // Along the inner index, only squares may end within eight elements, and they are padded.
        let padded = of_a == Side::Square || width % 8 == 0;
        self.kernels.product(&table, operands, [tokens, n], c, self.row(of_c), mode, Added::default(), padded);
    }

    /// Runs a softmax over the rows of all squares.
    fn softmax(&self, kernel: &'static str, spans: &[&dyn Argument]) {
        let &AttentionShape { tokens, batch, heads, width } = self.shape;
        let (rows, columns, stride) = (batch * heads * tokens, tokens as u32, self.stride as u32);
        let (count, scale) = (rows as u64, 1.0 / (width as f32).sqrt());
        let sizes: [&dyn Argument; 4] = [&count, &columns, &stride, &scale];
        self.kernels.launch_rows(kernel, rows, &[spans, &sizes].concat());
    }
}

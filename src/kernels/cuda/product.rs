//! Products: convolutions, linear maps and the products of attention, as sums over segments (`source/product.cu`).
//! Contracts are those of the CPU's kernels: outputs and activation gradients are written (=), parameter gradients added
//! (+=).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::kernels::shapes::{AttentionShape, ConvShape, Layout};

use super::launch::Value;
use super::norm::Parts;
use super::{Format, Kernels, Memory, Span, check, check_each};

/// The inner step of the product on tensor cores.
const STEP: usize = 32;

/// The largest number of rows of a piece, when a sum over rows is split.
pub(super) const PIECE: usize = 256;

/// Outputs of a sum over rows are split until this many blocks share the work: twice the multiprocessors of a large GPU.
/// A constant, so that results do not depend on the GPU's size.
pub(super) const BLOCKS: usize = 264;

/// The largest total size of the tables, in bytes. Beyond it, all are dropped, and made again when they are used.
const MOST_TABLES: usize = 256 << 20;

/// The weights of a layer as products read them: (rows, columns) with `stride` elements from row to row.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// The elements, in the format of activations.
    pub span: Span,
    /// Elements from row to row.
    pub stride: usize,
}

/// What is added to a product.
#[derive(Clone, Copy, Debug, Default)]
pub struct Added {
    /// A matrix like the result.
    pub onto: Option<Span>,
    /// A number for each column, in f32.
    pub bias: Option<Span>,
}

/// A matrix operand: its place, and the elements from row to row and along the inner index.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) span: Span,
    pub(super) row: usize,
    pub(super) inner: usize,
}

/// What is done with the results.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    /// Written in the format of activations.
    Write = 0,
    /// Added to f32.
    Add = 1,
    /// Written in f32.
    Keep = 2,
}

/// The segments of each output.
#[derive(Debug)]
pub(super) struct Table {
    segments: Memory,
    ends: Memory,
    outs: Memory,
    outputs: usize,
    /// Whether all segments begin at multiples of eight elements.
    aligned: bool,
    /// Whether all inner sizes are multiples of eight.
    whole: bool,
    /// Whether all outputs begin at even elements.
    even: bool,
    /// For sums over rows: into how many parts each is split.
    parts: usize,
}

/// The tables that were made before.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<HashMap<Key, Arc<Table>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Forward(ConvShape),
    Input(ConvShape),
    Weight(ConvShape),
    Single(usize),
    /// One output, whose sum is cut into parts: the inner size, the operands' inner strides, and the output's size.
    Parts {
        inner: usize,
        strides: [usize; 2],
        len: usize,
        parts: usize,
    },
    Rows {
        sizes: [usize; 3],
        stride: usize,
    },
    Attention(AttentionShape, Side, Side, usize),
}

/// How an operand of attention's products is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// Within (T, N, 3 C).
    Qkv,
    /// Within (T, N, C).
    Tokens,
    /// (N, heads, T, stride).
    Square,
}

/// As `Segment` in `product.cu`: where A and B begin, and how long the sum is.
type Segment = [u32; 4];

/// As in `product.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Product {
    a: u64,
    b: u64,
    onto: u64,
    bias: u64,
    c: u64,
    segments: u64,
    ends: u64,
    outs: u64,
    m: u32,
    n: u32,
    a_row: u32,
    a_inner: u32,
    b_row: u32,
    b_inner: u32,
    ldc: u32,
    tiles_m: u32,
    tiles_n: u32,
    mode: u32,
    pairs: u32,
    unused: u32,
}
impl Value for Product {}

impl Product {
    pub(super) fn new(
        table: &Table,
        [a, b]: [Operand; 2],
        [m, n]: [usize; 2],
        [tile_m, tile_n]: [usize; 2],
        (c, ldc, mode): (Span, usize, Mode),
        Added { onto, bias }: Added,
    ) -> Self {
        let address = |span: Option<Span>| span.map_or(0, Span::address);
        Self {
            a: a.span.address(),
            b: b.span.address(),
            onto: address(onto),
            bias: address(bias),
            c: c.address(),
            segments: table.segments.floats().address(),
            ends: table.ends.floats().address(),
            outs: table.outs.floats().address(),
            m: element(m),
            n: element(n),
            a_row: element(a.row),
            a_inner: element(a.inner),
            b_row: element(b.row),
            b_inner: element(b.inner),
            ldc: element(ldc),
            tiles_m: element(m.div_ceil(tile_m)),
            tiles_n: element(n.div_ceil(tile_n)),
            mode: mode as u32,
            pairs: u32::from(table.even && ldc.is_multiple_of(2)),
            unused: 0,
        }
    }

    pub(super) fn blocks(&self, table: &Table) -> u64 {
        table.outputs as u64 * u64::from(self.tiles_m) * u64::from(self.tiles_n)
    }
}

/// Collects the segments of outputs.
#[derive(Default)]
pub(super) struct Outputs {
    segments: Vec<Segment>,
    ends: Vec<[u32; 2]>,
    outs: Vec<u32>,
}

impl Outputs {
    /// Adds an output that begins at `out` and is the sum over these segments (a, b, inner).
    pub(super) fn push(&mut self, out: usize, segments: impl IntoIterator<Item = [usize; 3]>) {
        let first = self.segments.len();
        self.segments.extend(segments.into_iter().map(|[a, b, inner]| [element(a), element(b), element(inner), 0]));
        let steps: u32 = self.segments[first..].iter().map(|segment| segment[2].div_ceil(STEP as u32)).sum();
        self.ends.push([element(self.segments.len()), steps]);
        self.outs.push(element(out));
    }

    fn finish(self, kernels: &Kernels, parts: usize) -> Table {
        let Self { mut segments, ends, outs } = self;
        let all = |test: fn(&Segment) -> bool| segments.iter().all(test);
        let (aligned, whole) = (all(|s| s[0] % 8 == 0 && s[1] % 8 == 0), all(|s| s[2] % 8 == 0));
        let even = outs.iter().all(|out| out % 2 == 0);
        segments.push([0; 4]); // memory is never empty
        let gpu = kernels.gpu();
        let (segments, outputs) = (gpu.upload(&segments), outs.len());
        Table { segments, ends: gpu.upload(&ends), outs: gpu.upload(&outs), outputs, aligned, whole, even, parts }
    }
}

/// An index of an element; kernels have 32 bits for it.
fn element(index: usize) -> u32 {
    u32::try_from(index).unwrap_or_else(|_| {
        Error::new(format!("a tensor of {index} elements; the GPU's kernels take up to 2^32"))
            .hint("a smaller batch has smaller tensors: `--set pretrain.batch=128`")
            .raise()
    })
}

impl Table {
    fn bytes(&self) -> usize {
        self.segments.bytes() + self.ends.bytes() + self.outs.bytes()
    }
}

impl Kernels {
    pub(super) fn table(&self, key: Key, make: impl FnOnce() -> (Outputs, usize)) -> Arc<Table> {
        let mut tables = self.tables.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&key) {
            return table.clone();
        }
        let (outputs, parts) = make();
        let table = Arc::new(outputs.finish(self, parts));
        if tables.values().map(|table| table.bytes()).sum::<usize>() + table.bytes() > MOST_TABLES {
            tables.clear();
        }
        tables.insert(key, table.clone());
        table
    }

    /// c = the sums of a table over operands with m and n rows. `padded`: operands end with zeros up to a multiple of
    /// eight along the inner index.
    #[expect(clippy::too_many_arguments, reason = "the sizes and operands of a product")]
    pub(super) fn product(
        &self,
        table: &Table,
        [a, b]: [Operand; 2],
        [m, n]: [usize; 2],
        c: Span,
        ldc: usize,
        mode: Mode,
        added: Added,
        padded: bool,
    ) {
        let (of_a, of_b) = (contiguous(a), contiguous(b));
        let aligned = table.aligned && a.span.address() % 16 == 0 && b.span.address() % 16 == 0;
        let whole = padded || table.whole || (of_a, of_b) == (Some(Along::Outer), Some(Along::Outer));
        let kernel = match (self.format, of_a.filter(|_| aligned && whole), of_b) {
            (Format::Bf16, Some(Along::Inner), Some(Along::Inner)) => ["product_nt_64", "product_nt_128"],
            (Format::Bf16, Some(Along::Inner), Some(Along::Outer)) => ["product_nn_64", "product_nn_128"],
            (Format::Bf16, Some(Along::Outer), Some(Along::Outer)) => ["product_tn_64", "product_tn_128"],
            _ => ["product_plain"; 2],
        };
        let (tile_m, tile_n) = match (kernel[0], n) {
            ("product_plain", _) => (64, 64),
            (_, ..=64) => (128, 64),
            _ => (128, 128),
        };
        let shared = if kernel[0] == "product_plain" { 0 } else { 4 * (tile_m + tile_n) * STEP * 2 };
        let product = Product::new(table, [a, b], [m, n], [tile_m, tile_n], (c, ldc, mode), added);
        self.launch_blocks(kernel[usize::from(tile_n == 128)], [product.blocks(table), 1], shared, &[&product]);
    }

    /// The table of one output with one segment.
    pub(super) fn single(&self, inner: usize) -> Arc<Table> {
        self.table(Key::Single(inner), || {
            let mut outputs = Outputs::default();
            outputs.push(0, [[0, 0, inner]]);
            (outputs, 1)
        })
    }

    /// y (rows, outputs) = x (rows, inputs) wᵀ, plus what is added.
    pub fn linear(&self, y: Span, x: Span, w: Weights, added: Added, [rows, inputs, outputs]: [usize; 3]) {
        check("linear", "x", x, rows * inputs);
        check("linear", "y", y, rows * outputs);
        check("linear", "w", w.span, outputs * w.stride);
        check_each("linear", [("onto", added.onto)], y.len);
        check_each("linear", [("bias", added.bias)], outputs);
        let operands = [Operand { span: x, row: inputs, inner: 1 }, Operand { span: w.span, row: w.stride, inner: 1 }];
        self.product(&self.single(inputs), operands, [rows, outputs], y, outputs, Mode::Write, added, false);
    }

    /// dx (rows, inputs) = dy (rows, outputs) w, plus `onto` if it is given.
    pub fn linear_input(
        &self,
        dx: Span,
        dy: Span,
        w: Weights,
        onto: Option<Span>,
        [rows, inputs, outputs]: [usize; 3],
    ) {
        check("linear_input", "dy", dy, rows * outputs);
        check("linear_input", "dx", dx, rows * inputs);
        check("linear_input", "w", w.span, outputs * w.stride);
        check_each("linear_input", [("onto", onto)], dx.len);
        let operands =
            [Operand { span: dy, row: outputs, inner: 1 }, Operand { span: w.span, row: 1, inner: w.stride }];
        let added = Added { onto, bias: None };
        self.product(&self.single(outputs), operands, [rows, inputs], dx, inputs, Mode::Write, added, false);
    }

    /// dw (outputs, inputs) += dyᵀ x. The rows of x have `stride` elements, of which `inputs` count.
    pub fn linear_weight(&self, dw: Span, x: Span, dy: Span, stride: usize, [rows, inputs, outputs]: [usize; 3]) {
        check("linear_weight", "x", x, rows * stride);
        check("linear_weight", "dy", dy, rows * outputs);
        check("linear_weight", "dw", dw, outputs * inputs);
        let table = self.table(Key::Rows { sizes: [rows, inputs, outputs], stride }, || {
            let segments = [pieces([0, 0, rows], outputs, stride)];
            sums_over_rows(&segments, &[0], tiles(outputs, inputs), outputs * inputs)
        });
        self.sums(&table, dw, [dy, x], [outputs, inputs], [outputs, stride], inputs);
    }

    /// sums += the sums over rows of a table: dyᵀ x for each output, with their numbers of columns and strides.
    fn sums(&self, table: &Table, sums: Span, [dy, x]: [Span; 2], sizes: [usize; 2], strides: [usize; 2], ldc: usize) {
        let operands =
            [Operand { span: dy, row: 1, inner: strides[0] }, Operand { span: x, row: 1, inner: strides[1] }];
        if table.parts == 1 {
            self.product(table, operands, sizes, sums, ldc, Mode::Add, Added::default(), false);
            return;
        }
        let partial = self.floats(table.parts * sums.len);
        self.product(table, operands, sizes, partial.floats(), ldc, Mode::Keep, Added::default(), false);
        let (parts, len) = (table.parts as u32, sums.len as u64);
        self.launch("add_parts", sums.len, &[&sums, &partial.floats(), &parts, &len]);
    }

    /// The elements of a row of an image's windows: padded to a multiple of eight where products need it.
    fn window_stride(&self, shape: &ConvShape) -> usize {
        let row = shape.kernel * shape.kernel * shape.in_channels;
        if self.format == Format::Bf16 { row.next_multiple_of(8) } else { row }
    }

    /// y = x * w, plus what is added; weights (O, K, K, I).
    pub fn conv2d(&self, y: Span, x: Span, w: Weights, bias: Option<Span>, shape: &ConvShape) {
        check("conv2d", "x", x, shape.input_len());
        check("conv2d", "y", y, shape.output_len());
        check("conv2d", "w", w.span, shape.out_channels * w.stride);
        check_each("conv2d", [("bias", bias)], shape.out_channels);
        let shape = &shape.flattened();
        let (ci, co, added) = (shape.in_channels, shape.out_channels, Added { onto: None, bias });
        if shape.layout == Layout::Images {
            let stride = self.window_stride(shape);
            let rows = self.unfold(x, shape, stride);
            let x = rows.numbers(self.format);
            return self.linear(y, x, w, added, [x.len / stride, stride, co]);
        }
        let table = self.table(Key::Forward(*shape), || {
            let (from, to) = (shape.batch * ci, shape.batch * co);
            let mut outputs = Outputs::default();
            for position in 0..shape.out_positions() {
                let taps = (0..shape.kernel * shape.kernel).filter_map(|tap| Some((tap, shape.source(tap, position)?)));
                outputs.push(position * to, taps.map(|(tap, source)| [source * from, tap * ci, ci]));
            }
            (outputs, 1)
        });
        let operands = [Operand { span: x, row: ci, inner: 1 }, Operand { span: w.span, row: w.stride, inner: 1 }];
        self.product(&table, operands, [shape.batch, co], y, co, Mode::Write, added, false);
    }

    /// dx = the gradient of the convolution's input, plus `onto` if it is given.
    pub fn conv2d_input(&self, dx: Span, dy: Span, w: Weights, onto: Option<Span>, shape: &ConvShape) {
        check("conv2d_input", "dy", dy, shape.output_len());
        check("conv2d_input", "dx", dx, shape.input_len());
        check("conv2d_input", "w", w.span, shape.out_channels * w.stride);
        check_each("conv2d_input", [("onto", onto)], dx.len);
        let shape = &shape.flattened();
        let (ci, co) = (shape.in_channels, shape.out_channels);
        if shape.layout == Layout::Images {
            let stride = self.window_stride(shape);
            let rows = dy.len / co;
            let windows = self.activations(rows * stride);
            self.linear_input(windows.numbers(self.format), dy, w, None, [rows, stride, co]);
            return self.fold(dx, windows.numbers(self.format), onto, shape, stride);
        }
        let table = self.table(Key::Input(*shape), || {
            let (from, to) = (shape.batch * co, shape.batch * ci);
            let mut outputs = Outputs::default();
            for position in 0..shape.height * shape.width {
                let taps = (0..shape.kernel * shape.kernel).filter_map(|tap| Some((tap, shape.target(tap, position)?)));
                outputs.push(position * to, taps.map(|(tap, target)| [target * from, tap * ci, co]));
            }
            (outputs, 1)
        });
        let operands = [Operand { span: dy, row: co, inner: 1 }, Operand { span: w.span, row: 1, inner: w.stride }];
        let added = Added { onto, bias: None };
        self.product(&table, operands, [shape.batch, ci], dx, ci, Mode::Write, added, false);
    }

    /// dw += the gradient of the convolution's weights.
    pub fn conv2d_weight(&self, dw: Span, x: Span, dy: Span, shape: &ConvShape) {
        check("conv2d_weight", "x", x, shape.input_len());
        check("conv2d_weight", "dy", dy, shape.output_len());
        check("conv2d_weight", "dw", dw, shape.weight_len());
        let (ci, co, taps) = (shape.in_channels, shape.out_channels, shape.kernel * shape.kernel);
        if shape.layout == Layout::Images {
            let stride = self.window_stride(shape);
            let rows = self.unfold(x, shape, stride);
            let x = rows.numbers(self.format);
            return self.linear_weight(dw, x, dy, stride, [x.len / stride, taps * ci, co]);
        }
        let table = self.table(Key::Weight(*shape), || {
            let (of_dy, of_x) = (shape.batch * co, shape.batch * ci);
            let of_tap = |tap| {
                let meetings =
                    (0..shape.out_positions()).filter_map(|position| Some((position, shape.source(tap, position)?)));
                meetings
                    .flat_map(|(position, source)| pieces([position * of_dy, source * of_x, shape.batch], co, ci))
                    .collect()
            };
            let segments: Vec<Vec<[usize; 3]>> = (0..taps).map(of_tap).collect();
            let outs: Vec<usize> = (0..taps).map(|tap| tap * ci).collect();
            sums_over_rows(&segments, &outs, tiles(co, ci), shape.weight_len())
        });
        self.sums(&table, dw, [dy, x], [co, ci], [co, ci], taps * ci);
    }

    fn unfold(&self, x: Span, shape: &ConvShape, stride: usize) -> Memory {
        let len = shape.batch * shape.out_positions() * stride;
        let (rows, _) = (self.activations(len), element(len));
        self.launch("unfold", len, &[&rows.numbers(self.format), &x, &Windows::of(shape, stride)]);
        rows
    }

    fn fold(&self, dx: Span, rows: Span, onto: Option<Span>, shape: &ConvShape, stride: usize) {
        element(dx.len);
        self.launch("fold", dx.len, &[&dx, &rows, &onto, &Windows::of(shape, stride)]);
    }
}

/// As in `product.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Windows([u32; 10]);
impl Value for Windows {}

impl Windows {
    fn of(shape: &ConvShape, stride: usize) -> Self {
        let &ConvShape { batch, height, width, in_channels, kernel, stride: step, padding, .. } = shape;
        let sizes =
            [batch, height, width, in_channels, kernel, step, padding, shape.out_height(), shape.out_width(), stride];
        Self(sizes.map(element))
    }
}

/// The direction in which an operand is contiguous, with rows of a multiple of eight elements.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    Inner,
    Outer,
}

fn contiguous(operand: Operand) -> Option<Along> {
    match operand {
        Operand { inner: 1, row, .. } if row % 8 == 0 => Some(Along::Inner),
        Operand { row: 1, inner, .. } if inner % 8 == 0 => Some(Along::Outer),
        _ => None,
    }
}

/// The number of tiles of a matrix.
fn tiles(m: usize, n: usize) -> usize {
    m.div_ceil(128) * n.div_ceil(128)
}

/// Cuts a segment over many rows into pieces; A and B have these numbers of elements from row to row.
fn pieces([a, b, rows]: [usize; 3], stride_a: usize, stride_b: usize) -> Vec<[usize; 3]> {
    let firsts = (0..rows).step_by(PIECE);
    firsts.map(|first| [a + first * stride_a, b + first * stride_b, PIECE.min(rows - first)]).collect()
}

/// Outputs that are sums over rows, each split into equal numbers of pieces until there is enough to do at once. Part p of
/// an output begins `p * len` elements after it.
fn sums_over_rows(segments: &[Vec<[usize; 3]>], outs: &[usize], tiles: usize, len: usize) -> (Outputs, usize) {
    let fewest = segments.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let parts = (BLOCKS / (tiles * outs.len())).clamp(1, fewest);
    let mut outputs = Outputs::default();
    for part in 0..parts {
        for (segments, out) in segments.iter().zip(outs) {
            let cut = |part: usize| segments.len() * part / parts;
            outputs.push(part * len + out, segments[cut(part)..cut(part + 1)].iter().copied());
        }
    }
    (outputs, parts)
}

/// Places of rows of weights to be rounded for products; as `Rows` in `product.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RoundedRows {
    from: u64,
    to: u64,
    rows: u32,
    columns: u32,
    stride: u32,
    first: u32,
}

impl RoundedRows {
    /// Rows at `from` in an arena of f32 go to `to`; `first` is the number of blocks before them.
    pub fn new(from: usize, to: usize, [rows, columns]: [usize; 2], first: usize) -> Self {
        let stride = columns.next_multiple_of(8);
        let [rows, columns, stride, first] = [rows, columns, stride, first].map(element);
        Self { from: from as u64, to: to as u64, rows, columns, stride, first }
    }

    /// Elements of the rounded rows.
    pub fn elements(&self) -> usize {
        self.rows as usize * self.stride as usize
    }

    /// Elements from row to row.
    pub fn stride(&self) -> usize {
        self.stride as usize
    }

    /// Blocks that round them.
    pub fn blocks(&self) -> usize {
        self.elements().div_ceil(8 * super::THREADS as usize)
    }
}

/// A list of rows to be rounded, in device memory.
#[derive(Debug)]
pub struct Rounding {
    table: Memory,
    entries: u32,
    blocks: u64,
    /// Elements of the arena that they are read from, and of what they are written to, at least.
    reach: [usize; 2],
}

impl Kernels {
    /// Prepares a list of rows.
    pub fn rounding(&self, entries: &[RoundedRows]) -> Rounding {
        let from = entries.iter().map(|entry| entry.from as usize + entry.rows as usize * entry.columns as usize);
        let to = entries.iter().map(|entry| entry.to as usize + entry.elements());
        let reach = [from.max().unwrap_or(0), to.max().unwrap_or(0)];
        let blocks = entries.iter().map(|entry| entry.blocks() as u64).sum();
        Rounding { table: self.gpu.upload(entries), entries: element(entries.len()), blocks, reach }
    }

    /// Rounds rows of f32 weights to bf16, each padded with zeros to a multiple of eight.
    pub fn round_rows(&self, to: Span, from: Span, rounding: &Rounding) {
        let Rounding { table, entries, blocks, reach } = rounding;
        assert!(reach[0] <= from.len && reach[1] <= to.len, "round_rows: {rounding:?} of {} to {}", from.len, to.len);
        self.launch_blocks("round_rows", [*blocks, 1], 0, &[&to, &from, &table.of::<RoundedRows>(), entries]);
    }

    /// sums += the sum of the rows of x (rows, columns).
    pub fn add_column_sums(&self, sums: Span, x: Span, columns: usize) {
        check("add_column_sums", "sums", sums, columns);
        let sums_of = self.parts(x.len / columns, columns, 1);
        let Parts { partial, rows, rows_of_part, columns: width, parts, blocks } = &sums_of;
        self.launch_blocks("sum_parts", *blocks, 0, &[&partial.floats(), &x, rows, rows_of_part, width]);
        self.launch_rows("add_column_parts", columns, &[&sums, &partial.floats(), parts, width]);
    }
}

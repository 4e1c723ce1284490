//! An NVIDIA GPU as a device: arithmetic from `kernels::cuda`, memory from its free lists.

mod arena;
mod losses;
mod open;
mod rule;

use std::ops::Range;
use std::sync::Arc;

use half::bf16;

use crate::kernels::cuda::norm::{Backward, Gate, Normalization};
use crate::kernels::cuda::product::Added;
use crate::kernels::cuda::update::Rule;
use crate::kernels::cuda::{Description, Format, Kernels, Memory, Span};

pub use arena::Arena;

use rule::rule;

use super::{
    AttentionShape, ConvShape, Device, EmbeddingSlots, LayerNormOptions, NormOptions, Norms, PoolShape, Precision,
    Reading, Region, RoiShape, Slot, Update,
};

/// A GPU that computes in one number format. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Cuda {
    kernels: Arc<Kernels>,
}

/// Activations in device memory. They do not change after they are computed, so cloning shares them.
#[derive(Clone, Debug)]
pub struct Buffer(Arc<Memory>);

/// Means and inverse deviations of channels or rows.
#[derive(Clone, Debug)]
pub struct Moments([Arc<Memory>; 2]);

impl Buffer {
    /// The size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl Moments {
    fn spans(&self) -> [Span; 2] {
        [self.0[0].floats(), self.0[1].floats()]
    }
}

impl Cuda {
    /// What the GPU is.
    pub fn description(&self) -> &Description {
        self.kernels.gpu().description()
    }

    /// The number format of activations.
    pub fn precision(&self) -> Precision {
        match self.kernels.format() {
            Format::F32 => Precision::F32,
            Format::Bf16 => Precision::Bf16,
        }
    }

    /// Waits until all work is done.
    pub fn synchronize(&self) {
        self.kernels.gpu().synchronize();
    }

    /// Starts a stopwatch in the stream of work. The returned function stops it there and gives the seconds.
    pub(super) fn stopwatch(&self) -> Box<dyn FnOnce() -> Reading> {
        let watch = self.kernels.gpu().stopwatch();
        Box::new(move || {
            let lap = watch.stop();
            Reading::Pending(Box::new(move || lap.seconds()))
        })
    }

    /// The kernels of its number format.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    fn span(&self, buffer: &Buffer) -> Span {
        buffer.0.numbers(self.kernels.format())
    }

    /// Activations that `fill` writes completely.
    fn filled(&self, len: usize, fill: impl FnOnce(&Kernels, Span)) -> Buffer {
        let memory = self.kernels.activations(len);
        fill(&self.kernels, memory.numbers(self.kernels.format()));
        Buffer(Arc::new(memory))
    }

    /// Activations of the length of `x` that `fill` writes completely from it.
    fn mapped(&self, x: &Buffer, fill: impl FnOnce(&Kernels, Span, Span)) -> Buffer {
        let x = self.span(x);
        self.filled(x.len, |kernels, y| fill(kernels, y, x))
    }

    fn moments(&self, len: usize) -> Moments {
        Moments([(); 2].map(|()| Arc::new(self.kernels.floats(len))))
    }

    fn arena_of(&self, memory: Memory) -> Arena {
        Arena::new(self.kernels.clone(), memory)
    }

    /// The positions of patches, resampled from those of another grid: (T, C).
    fn resampled(&self, positions: Span, matrix: &Arena, channels: usize) -> Memory {
        let (from, to) = grid(positions, matrix, channels);
        let all = self.kernels.floats((1 + to) * channels);
        let (class, patches) = (positions.part(0, channels), positions.part(channels, from * channels));
        self.kernels.gpu().copy(all.floats().part(0, channels), class);
        let resampled = all.floats().part(channels, to * channels);
        self.kernels.matmul(resampled, matrix.floats(), patches, to, from, channels);
        all
    }
}

/// The number of patches of the grid that the positions are for, and of the grid that `matrix` resamples them to.
fn grid(positions: Span, matrix: &Arena, channels: usize) -> (usize, usize) {
    let from = positions.len / channels - 1;
    (from, matrix.floats().len / from)
}

/// Scale and shift of a normalisation in an arena, if it has them.
fn affine(norm: &NormOptions, arena: &Arena) -> Option<[Span; 2]> {
    let channels = norm.channels();
    norm.affine.map(|slot| [0, channels].map(|first| arena.part(slot).part(first, channels)))
}

fn normalization(norm: &NormOptions, moments: &Moments, values: &Arena) -> Normalization {
    let [mean, inv_std] = moments.spans();
    Normalization { mean, inv_std, affine: affine(norm, values) }
}

/// What the backward pass of a batch normalisation adds to. The gradients are those of `gradients`.
fn backward(norm: &NormOptions, gate: Gate, gradients: &Arena) -> Backward {
    let trained = norm.norms != Norms::Frozen;
    let gradients = affine(norm, gradients).filter(|_| trained);
    Backward { gate, frozen: norm.norms != Norms::Trained, gradients }
}

impl Device for Cuda {
    type Buffer = Buffer;
    type Arena = Arena;
    type Moments = Moments;
    type Places = Memory;

    fn upload(&self, host: &[f32]) -> Buffer {
        let gpu = self.kernels.gpu();
        Buffer(Arc::new(match self.kernels.format() {
            Format::F32 => gpu.receive(host, |x| x),
            Format::Bf16 => gpu.receive(host, bf16::from_f32),
        }))
    }

    fn download(&self, buffer: &Buffer) -> Vec<f32> {
        self.kernels.download(self.span(buffer))
    }

    fn arena(&self, host: Vec<f32>) -> Arena {
        self.arena_of(self.kernels.floats_of(&host))
    }

    fn zeros(&self, len: usize) -> Arena {
        let memory = self.kernels.floats(len);
        self.kernels.gpu().clear(memory.floats());
        self.arena_of(memory)
    }

    fn host(&self, arena: &Arena) -> Vec<f32> {
        self.kernels.download_floats(arena.floats())
    }

    fn clear(&self, arena: &mut Arena, at: Slot) {
        let part = arena.part_mut(at);
        self.kernels.gpu().clear(part);
    }

    fn write(&self, arena: &mut Arena, at: Slot, from: &Arena) {
        let part = arena.part_mut(at);
        self.kernels.gpu().copy(part, from.floats());
    }

    fn conv2d(&self, shape: &ConvShape, x: &Buffer, values: &Arena, w: Slot, bias: Option<Slot>) -> Buffer {
        let weights = values.weights(w, w.len / shape.out_channels);
        let bias = bias.map(|bias| values.part(bias));
        self.filled(shape.output_len(), |kernels, y| kernels.conv2d(y, self.span(x), weights, bias, shape))
    }

    fn conv2d_input(&self, shape: &ConvShape, dy: &Buffer, values: &Arena, w: Slot, onto: Option<&Buffer>) -> Buffer {
        let weights = values.weights(w, w.len / shape.out_channels);
        let onto = onto.map(|onto| self.span(onto));
        self.filled(shape.input_len(), |kernels, dx| kernels.conv2d_input(dx, self.span(dy), weights, onto, shape))
    }

    fn conv2d_weight(
        &self,
        shape: &ConvShape,
        x: &Buffer,
        dy: &Buffer,
        gradients: &mut Arena,
        w: Slot,
        bias: Option<Slot>,
    ) {
        let dy = self.span(dy);
        self.kernels.conv2d_weight(gradients.part_mut(w), self.span(x), dy, shape);
        if let Some(bias) = bias {
            self.kernels.add_column_sums(gradients.part_mut(bias), dy, bias.len);
        }
    }

    fn linear(
        &self,
        x: &Buffer,
        values: &Arena,
        w: Slot,
        bias: Option<Slot>,
        onto: Option<&Buffer>,
        outputs: usize,
    ) -> Buffer {
        let (x, inputs) = (self.span(x), w.len / outputs);
        let (rows, weights) = (x.len / inputs, values.weights(w, inputs));
        let added = Added { onto: onto.map(|onto| self.span(onto)), bias: bias.map(|bias| values.part(bias)) };
        self.filled(rows * outputs, |kernels, y| kernels.linear(y, x, weights, added, [rows, inputs, outputs]))
    }

    fn linear_input(&self, dy: &Buffer, values: &Arena, w: Slot, onto: Option<&Buffer>, outputs: usize) -> Buffer {
        let (dy, inputs) = (self.span(dy), w.len / outputs);
        let (rows, weights) = (dy.len / outputs, values.weights(w, inputs));
        let onto = onto.map(|onto| self.span(onto));
        self.filled(rows * inputs, |kernels, dx| kernels.linear_input(dx, dy, weights, onto, [rows, inputs, outputs]))
    }

    fn linear_weight(
        &self,
        x: &Buffer,
        dy: &Buffer,
        gradients: &mut Arena,
        w: Slot,
        bias: Option<Slot>,
        outputs: usize,
    ) {
        let (x, dy, inputs) = (self.span(x), self.span(dy), w.len / outputs);
        self.kernels.linear_weight(gradients.part_mut(w), x, dy, inputs, [dy.len / outputs, inputs, outputs]);
        if let Some(bias) = bias {
            self.kernels.add_column_sums(gradients.part_mut(bias), dy, outputs);
        }
    }

    fn batch_norm(
        &self,
        norm: &NormOptions,
        x: &Buffer,
        shortcut: Option<&Buffer>,
        values: &Arena,
        statistics: &mut Arena,
    ) -> (Buffer, Moments) {
        let moments = self.moments(norm.channels());
        let running = statistics.part_mut(norm.running);
        match norm.norms {
            Norms::Trained => {
                self.kernels.batch_moments(moments.spans(), running, self.span(x), norm.epsilon, norm.momentum);
            }
            Norms::FrozenMoments | Norms::Frozen => {
                self.kernels.running_moments(moments.spans(), running, norm.epsilon);
            }
        }
        (self.normalized(norm, x, shortcut, &moments, values), moments)
    }

    fn batch_norm_running(
        &self,
        norm: &NormOptions,
        x: &Buffer,
        shortcut: Option<&Buffer>,
        values: &Arena,
        statistics: &Arena,
    ) -> Buffer {
        let moments = self.moments(norm.channels());
        self.kernels.running_moments(moments.spans(), statistics.part(norm.running), norm.epsilon);
        self.normalized(norm, x, shortcut, &moments, values)
    }

    fn batch_norm_backward(
        &self,
        norm: &NormOptions,
        dy: &Buffer,
        x: &Buffer,
        moments: &Moments,
        values: &Arena,
        gradients: &mut Arena,
    ) -> Buffer {
        let gate = if norm.rectify { Gate::Recomputed } else { Gate::Open };
        let (how, dy) = (backward(norm, gate, gradients), self.span(dy));
        gradients.changed();
        self.mapped(x, |kernels, dx, x| {
            kernels.batch_norm_backward(dx, None, dy, x, &normalization(norm, moments, values), how);
        })
    }

    fn batch_norm_shortcut_backward(
        &self,
        norm: &NormOptions,
        dy: &Buffer,
        x: &Buffer,
        y: &Buffer,
        moments: &Moments,
        values: &Arena,
        gradients: &mut Arena,
    ) -> (Buffer, Buffer) {
        let gate = if norm.rectify { Gate::Output(self.span(y)) } else { Gate::Open };
        let (how, dy) = (backward(norm, gate, gradients), self.span(dy));
        gradients.changed();
        let dz = Buffer(Arc::new(self.kernels.activations(dy.len)));
        let dx = self.mapped(x, |kernels, dx, x| {
            kernels.batch_norm_backward(dx, Some(self.span(&dz)), dy, x, &normalization(norm, moments, values), how);
        });
        (dx, dz)
    }

    fn layer_norm(&self, norm: &LayerNormOptions, x: &Buffer, values: &Arena) -> (Buffer, Moments) {
        let moments = self.moments(self.span(x).len / norm.gamma.len);
        let affine = [norm.gamma, norm.beta].map(|slot| values.part(slot));
        let y = self.mapped(x, |kernels, y, x| kernels.layer_norm(y, moments.spans(), x, affine, norm.epsilon));
        (y, moments)
    }

    fn layer_norm_backward(
        &self,
        norm: &LayerNormOptions,
        dy: &Buffer,
        x: &Buffer,
        moments: &Moments,
        onto: Option<&Buffer>,
        values: &Arena,
        gradients: &mut Arena,
    ) -> Buffer {
        let gradients = [norm.gamma, norm.beta].map(|slot| gradients.part_mut(slot));
        let (dy, onto, gamma) = (self.span(dy), onto.map(|onto| self.span(onto)), values.part(norm.gamma));
        self.mapped(x, |kernels, dx, x| {
            kernels.layer_norm_backward(dx, gradients, dy, x, moments.spans(), gamma, onto);
        })
    }

    fn unit_rows(&self, x: &Buffer, columns: usize) -> Buffer {
        self.mapped(x, |kernels, y, x| kernels.unit_rows(y, x, columns))
    }

    fn unit_rows_backward(&self, dy: &Buffer, x: &Buffer, columns: usize) -> Buffer {
        let dy = self.span(dy);
        self.mapped(x, |kernels, dx, x| kernels.unit_rows_backward(dx, dy, x, columns))
    }

    fn unit_weight(&self, values: &Arena, w: Slot, columns: usize) -> Arena {
        let unit = self.kernels.floats(w.len);
        self.kernels.unit_weight(unit.floats(), values.part(w), columns);
        self.arena_of(unit)
    }

    fn unit_weight_backward(&self, dunit: &Arena, values: &Arena, gradients: &mut Arena, w: Slot, columns: usize) {
        self.kernels.unit_weight_backward(gradients.part_mut(w), dunit.floats(), values.part(w), columns);
    }

    fn attention(&self, shape: &AttentionShape, qkv: &Buffer) -> (Buffer, Buffer) {
        let probabilities = Buffer(Arc::new(self.kernels.activations(self.kernels.probabilities_len(shape))));
        let y = self.filled(shape.output_len(), |kernels, y| {
            kernels.attention(y, self.span(&probabilities), self.span(qkv), shape);
        });
        (y, probabilities)
    }

    fn attention_backward(&self, shape: &AttentionShape, dy: &Buffer, qkv: &Buffer, probabilities: &Buffer) -> Buffer {
        let (dy, probabilities) = (self.span(dy), self.span(probabilities));
        self.mapped(qkv, |kernels, dqkv, qkv| kernels.attention_backward(dqkv, dy, qkv, probabilities, shape))
    }

    fn embed_patches(
        &self,
        slots: &EmbeddingSlots,
        patches: &Buffer,
        values: &Arena,
        resampling: Option<&Arena>,
    ) -> Buffer {
        let [class, bias, learned] = [slots.class, slots.bias, slots.positions].map(|slot| values.part(slot));
        let resampled = resampling.map(|matrix| self.resampled(learned, matrix, class.len));
        let positions = resampled.as_ref().map_or(learned, Memory::floats);
        let patches = self.span(patches);
        let images = patches.len / (positions.len - class.len);
        self.filled(images * positions.len, |kernels, y| {
            kernels.embed_patches(y, patches, [class, bias, positions], images);
        })
    }

    fn embed_patches_backward(
        &self,
        slots: &EmbeddingSlots,
        dy: &Buffer,
        gradients: &mut Arena,
        resampling: Option<&Arena>,
    ) -> Buffer {
        let (channels, dy) = (slots.class.len, self.span(dy));
        let [class, bias, positions] = [slots.class, slots.bias, slots.positions].map(|slot| gradients.part_mut(slot));
        let from = positions.len / channels - 1;
        let patches = resampling.map_or(from, |matrix| matrix.floats().len / from);
        let images = dy.len / ((1 + patches) * channels);
        // Where positions are resampled, only the class token's own gets its sum as it is.
        let direct = if resampling.is_some() { positions.part(0, channels) } else { positions };
        let sums = self.kernels.embed_patches_backward([class, bias, direct], dy, images);
        if let Some(matrix) = resampling {
            let of_patches = sums.floats().part(channels, patches * channels);
            let learned = positions.part(channels, from * channels);
            self.kernels.add_matmul_tn(learned, matrix.floats(), of_patches, from, patches, channels);
        }
        self.copy_of(dy.part(images * channels, dy.len - images * channels))
    }

    fn scale_images(&self, x: &Buffer, scales: &[f32], onto: Option<&Buffer>, channels: usize) -> Buffer {
        let onto = onto.map(|onto| self.span(onto));
        self.mapped(x, |kernels, y, x| kernels.scale_images(y, x, scales, onto, channels))
    }

    fn slice(&self, x: &Buffer, range: Range<usize>) -> Buffer {
        self.copy_of(self.span(x).part(range.start, range.len()))
    }

    fn concat(&self, a: &Buffer, b: &Buffer) -> Buffer {
        let (a, b) = (self.span(a), self.span(b));
        self.filled(a.len + b.len, |kernels, y| {
            kernels.gpu().copy(y.part(0, a.len), a);
            kernels.gpu().copy(y.part(a.len, b.len), b);
        })
    }

    fn first_backward(&self, dy: &Buffer, len: usize) -> Buffer {
        let dy = self.span(dy);
        self.filled(len, |kernels, dx| {
            kernels.gpu().copy(dx.part(0, dy.len), dy);
            kernels.gpu().clear(dx.part(dy.len, len - dy.len));
        })
    }

    fn gelu(&self, x: &Buffer) -> Buffer {
        self.mapped(x, Kernels::gelu)
    }

    fn gelu_backward(&self, dy: &Buffer, x: &Buffer) -> Buffer {
        let dy = self.span(dy);
        self.mapped(x, |kernels, dx, x| kernels.gelu_backward(dx, dy, x))
    }

    fn relu(&self, x: &Buffer) -> Buffer {
        self.mapped(x, Kernels::relu)
    }

    fn relu_backward(&self, dy: &Buffer, y: &Buffer) -> Buffer {
        let dy = self.span(dy);
        self.mapped(y, |kernels, dx, y| kernels.relu_backward(dx, dy, y))
    }

    fn add(&self, a: &Buffer, b: &Buffer) -> Buffer {
        let b = self.span(b);
        self.mapped(a, |kernels, y, a| kernels.add(y, a, b))
    }

    fn max_pool(&self, shape: &PoolShape, x: &Buffer) -> (Buffer, Memory) {
        let places = self.kernels.gpu().memory(shape.output_len());
        let y = self.filled(shape.output_len(), |kernels, y| {
            kernels.max_pool(y, places.bytes_span(), self.span(x), shape);
        });
        (y, places)
    }

    fn max_pool_backward(&self, shape: &PoolShape, dy: &Buffer, places: &Memory) -> Buffer {
        self.filled(shape.input_len(), |kernels, dx| {
            kernels.max_pool_backward(dx, self.span(dy), places.bytes_span(), shape);
        })
    }

    fn average_pool(&self, x: &Buffer, batch: usize, channels: usize) -> Buffer {
        let (x, row) = (self.span(x), batch * channels);
        self.filled(row, |kernels, y| kernels.average_pool(y, x, x.len / row))
    }

    fn average_pool_backward(&self, dy: &Buffer, pixels: usize, batch: usize, channels: usize) -> Buffer {
        self.filled(batch * pixels * channels, |kernels, dx| kernels.average_pool_backward(dx, self.span(dy), pixels))
    }

    fn roi_align(&self, shape: &RoiShape, x: &Buffer, regions: &[Region]) -> Buffer {
        self.filled(shape.output_len(regions.len()), |kernels, y| kernels.roi_align(y, self.span(x), regions, shape))
    }

    fn roi_align_backward(&self, shape: &RoiShape, dy: &Buffer, regions: &[Region]) -> Buffer {
        self.filled(shape.input_len(), |kernels, dx| kernels.roi_align_backward(dx, self.span(dy), regions, shape))
    }

    fn update(&self, updates: &[(Slot, Update)], values: &mut Arena, gradients: &Arena, state: &mut [&mut Arena]) {
        values.changed();
        state.iter_mut().for_each(|state| state.changed());
        let ranges: Vec<Range<usize>> = updates.iter().map(|(slot, _)| range(*slot)).collect();
        let rules: Vec<Rule> = updates.iter().map(|(_, update)| rule(update)).collect();
        let (first, second) = match state {
            [velocity] => (velocity.floats(), None),
            [first, second] => (first.floats(), Some(second.floats())),
            state => panic!("update: {} arenas of state", state.len()),
        };
        self.kernels.update(&ranges, &rules, values.floats(), gradients.floats(), first, second);
    }

    fn clip(&self, ranges: &[Slot], arena: &mut Arena, limit: f64) {
        arena.changed();
        let ranges: Vec<Range<usize>> = ranges.iter().copied().map(range).collect();
        self.kernels.clip(&ranges, arena.floats(), limit);
    }

    fn average(&self, at: Slot, target: &mut Arena, online: &Arena, momentum: f64) {
        self.kernels.average(target.part_mut(at), online.part(at), (1.0 - momentum) as f32);
    }
}

impl Cuda {
    fn normalized(
        &self,
        norm: &NormOptions,
        x: &Buffer,
        shortcut: Option<&Buffer>,
        moments: &Moments,
        values: &Arena,
    ) -> Buffer {
        let shortcut = shortcut.map(|shortcut| self.span(shortcut));
        self.mapped(x, |kernels, y, x| {
            kernels.normalize(y, x, &normalization(norm, moments, values), shortcut, norm.rectify);
        })
    }

    fn copy_of(&self, span: Span) -> Buffer {
        self.filled(span.len, |kernels, y| kernels.gpu().copy(y, span))
    }
}

fn range(slot: Slot) -> Range<usize> {
    slot.start..slot.start + slot.len
}

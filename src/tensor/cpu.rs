//! The CPU as a device: buffers from a pool, arithmetic from `kernels::cpu`.

mod norm;

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use crate::kernels::cpu::Element;
use crate::kernels::cpu::batch_norm::{self, Gate, Normalization};
use crate::kernels::cpu::linear::Added;
use crate::kernels::cpu::update::AdamWStep;
use crate::kernels::cpu::{
    attention, conv2d, elementwise, layer_norm, linear, matmul, pool, roi_align, tokens, unit_rows, update,
};

use super::buffer::{Buffer, Format, Pooled, filled, with_format};
use norm::{affine, batch_moments, layer_norm_gradients, normalized, running_moments, with_mode};

use super::{
    AttentionShape, ConvShape, Device, EmbeddingSlots, LayerNormOptions, NormOptions, Norms, PoolShape, Precision,
    Region, RoiShape, Slot, Update,
};

/// The processor and its memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// Number format of all buffers.
    pub precision: Precision,
}

/// Moments of each channel or row.
#[derive(Clone, Debug)]
pub struct Moments {
    mean: Pooled<f32>,
    inv_std: Pooled<f32>,
}

/// Floats of an arena that one task sets to zero.
const CLEARED: usize = 1 << 18;

fn of(arena: &[f32], slot: Slot) -> &[f32] {
    &arena[slot.start..][..slot.len]
}

fn of_mut(arena: &mut [f32], slot: Slot) -> &mut [f32] {
    &mut arena[slot.start..][..slot.len]
}

impl Device for Cpu {
    type Buffer = Buffer;
    type Arena = Vec<f32>;
    type Moments = Moments;
    type Places = Pooled<u8>;

    fn upload(&self, host: &[f32]) -> Buffer {
        with_format!(self.precision, E => filled(host.len(), |buffer: &mut [E]| {
            buffer.iter_mut().zip(host).for_each(|(value, &host)| *value = E::from_f32(host));
        }))
    }

    fn download(&self, buffer: &Buffer) -> Vec<f32> {
        with_format!(buffer.precision(), E => E::values(buffer).iter().map(|value| value.to_f32()).collect())
    }

    fn arena(&self, host: Vec<f32>) -> Vec<f32> {
        host
    }

    fn zeros(&self, len: usize) -> Vec<f32> {
        vec![0.0; len]
    }

    fn host(&self, arena: &Vec<f32>) -> Vec<f32> {
        arena.clone()
    }

    fn clear(&self, arena: &mut Vec<f32>, at: Slot) {
        of_mut(arena, at).par_chunks_mut(CLEARED).for_each(|piece| piece.fill(0.0));
    }

    fn write(&self, arena: &mut Vec<f32>, at: Slot, from: &Vec<f32>) {
        of_mut(arena, at).copy_from_slice(from);
    }

    fn conv2d(&self, shape: &ConvShape, x: &Buffer, values: &Vec<f32>, w: Slot, bias: Option<Slot>) -> Buffer {
        let bias = bias.map(|bias| of(values, bias));
        with_format!(x.precision(), E => filled(shape.output_len(), |y| {
            conv2d::forward(y, E::values(x), of(values, w), bias, shape);
        }))
    }

    fn conv2d_input(
        &self,
        shape: &ConvShape,
        dy: &Buffer,
        values: &Vec<f32>,
        w: Slot,
        onto: Option<&Buffer>,
    ) -> Buffer {
        with_format!(dy.precision(), E => filled(shape.input_len(), |dx| {
            conv2d::input_gradient(dx, E::values(dy), of(values, w), onto.map(E::values), shape);
        }))
    }

    fn conv2d_weight(
        &self,
        shape: &ConvShape,
        x: &Buffer,
        dy: &Buffer,
        gradients: &mut Vec<f32>,
        w: Slot,
        bias: Option<Slot>,
    ) {
        with_format!(x.precision(), E => {
            let (x, dy) = (E::values(x), E::values(dy));
            conv2d::weight_gradient(of_mut(gradients, w), x, dy, shape);
            if let Some(bias) = bias {
                linear::bias_gradient(of_mut(gradients, bias), dy, dy.len() / bias.len, bias.len);
            }
        });
    }

    fn linear(
        &self,
        x: &Buffer,
        values: &Vec<f32>,
        w: Slot,
        bias: Option<Slot>,
        onto: Option<&Buffer>,
        outputs: usize,
    ) -> Buffer {
        let inputs = w.len / outputs;
        let rows = x.len() / inputs;
        let bias = bias.map(|bias| of(values, bias));
        with_format!(x.precision(), E => filled(rows * outputs, |y| {
            let added = Added { onto: onto.map(E::values), bias };
            linear::forward(y, E::values(x), of(values, w), added, rows, inputs, outputs);
        }))
    }

    fn linear_input(&self, dy: &Buffer, values: &Vec<f32>, w: Slot, onto: Option<&Buffer>, outputs: usize) -> Buffer {
        let inputs = w.len / outputs;
        let rows = dy.len() / outputs;
        with_format!(dy.precision(), E => filled(rows * inputs, |dx| {
            linear::input_gradient(dx, E::values(dy), of(values, w), onto.map(E::values), rows, inputs, outputs);
        }))
    }

    fn linear_weight(
        &self,
        x: &Buffer,
        dy: &Buffer,
        gradients: &mut Vec<f32>,
        w: Slot,
        bias: Option<Slot>,
        outputs: usize,
    ) {
        let inputs = w.len / outputs;
        let rows = dy.len() / outputs;
        with_format!(dy.precision(), E => {
            let (x, dy) = (E::values(x), E::values(dy));
            linear::weight_gradient(of_mut(gradients, w), x, dy, rows, inputs, outputs);
            if let Some(bias) = bias {
                linear::bias_gradient(of_mut(gradients, bias), dy, rows, outputs);
            }
        });
    }

    fn batch_norm(
        &self,
        norm: &NormOptions,
        x: &Buffer,
        shortcut: Option<&Buffer>,
        values: &Vec<f32>,
        statistics: &mut Vec<f32>,
    ) -> (Buffer, Moments) {
        let moments = match norm.norms {
            Norms::Trained => batch_moments(norm, x, statistics),
            Norms::FrozenMoments | Norms::Frozen => running_moments(norm, statistics),
        };
        (normalized(norm, x, shortcut, &moments, values), moments)
    }

    fn batch_norm_running(
        &self,
        norm: &NormOptions,
        x: &Buffer,
        shortcut: Option<&Buffer>,
        values: &Vec<f32>,
        statistics: &Vec<f32>,
    ) -> Buffer {
        normalized(norm, x, shortcut, &running_moments(norm, statistics), values)
    }

    fn batch_norm_backward(
        &self,
        norm: &NormOptions,
        dy: &Buffer,
        x: &Buffer,
        moments: &Moments,
        values: &Vec<f32>,
        gradients: &mut Vec<f32>,
    ) -> Buffer {
        let Moments { mean, inv_std } = moments;
        let [gamma, beta] = &affine(norm, values);
        let affine = Normalization { mean, inv_std, gamma, beta };
        with_format!(x.precision(), E => filled(x.len(), |dx| {
            let gate = if norm.rectify { Gate::Recomputed } else { Gate::Open };
            with_mode(norm, gradients, |mode| {
                batch_norm::backward(dx, None, mode, E::values(dy), E::values(x), &affine, gate);
            });
        }))
    }

    fn batch_norm_shortcut_backward(
        &self,
        norm: &NormOptions,
        dy: &Buffer,
        x: &Buffer,
        y: &Buffer,
        moments: &Moments,
        values: &Vec<f32>,
        gradients: &mut Vec<f32>,
    ) -> (Buffer, Buffer) {
        let Moments { mean, inv_std } = moments;
        let [gamma, beta] = &affine(norm, values);
        let affine = Normalization { mean, inv_std, gamma, beta };
        with_format!(x.precision(), E => {
            let gate = if norm.rectify { Gate::Output(E::values(y)) } else { Gate::Open };
            let mut dz = Pooled::<E>::new(x.len());
            let dx = filled(x.len(), |dx| with_mode(norm, gradients, |mode| {
                batch_norm::backward(dx, Some(&mut dz), mode, E::values(dy), E::values(x), &affine, gate);
            }));
            (dx, E::buffer(dz))
        })
    }

    fn layer_norm(&self, norm: &LayerNormOptions, x: &Buffer, values: &Vec<f32>) -> (Buffer, Moments) {
        let rows = x.len() / norm.gamma.len;
        let (mut mean, mut inv_std) = (Pooled::new(rows), Pooled::new(rows));
        let affine = (of(values, norm.gamma), of(values, norm.beta));
        let y = with_format!(x.precision(), E => filled(x.len(), |y| {
            layer_norm::forward(y, &mut mean, &mut inv_std, E::values(x), affine, norm.epsilon);
        }));
        (y, Moments { mean, inv_std })
    }

    fn layer_norm_backward(
        &self,
        norm: &LayerNormOptions,
        dy: &Buffer,
        x: &Buffer,
        Moments { mean, inv_std }: &Moments,
        onto: Option<&Buffer>,
        values: &Vec<f32>,
        gradients: &mut Vec<f32>,
    ) -> Buffer {
        let affine = Normalization { mean, inv_std, gamma: of(values, norm.gamma), beta: of(values, norm.beta) };
        with_format!(x.precision(), E => filled(x.len(), |dx| {
            let gradients = layer_norm_gradients(norm, gradients);
            layer_norm::backward(dx, gradients, E::values(dy), E::values(x), &affine, onto.map(E::values));
        }))
    }

    fn unit_rows(&self, x: &Buffer, columns: usize) -> Buffer {
        with_format!(x.precision(), E => filled(x.len(), |y| unit_rows::forward(y, E::values(x), columns)))
    }

    fn unit_rows_backward(&self, dy: &Buffer, x: &Buffer, columns: usize) -> Buffer {
        with_format!(x.precision(), E => filled(x.len(), |dx| {
            unit_rows::backward(dx, E::values(dy), E::values(x), columns);
        }))
    }

    fn unit_weight(&self, values: &Vec<f32>, w: Slot, columns: usize) -> Vec<f32> {
        let mut unit = vec![0.0; w.len];
        unit_rows::forward(&mut unit, of(values, w), columns);
        unit
    }

    fn unit_weight_backward(
        &self,
        dunit: &Vec<f32>,
        values: &Vec<f32>,
        gradients: &mut Vec<f32>,
        w: Slot,
        columns: usize,
    ) {
        unit_rows::add_backward(of_mut(gradients, w), dunit, of(values, w), columns);
    }

    fn attention(&self, shape: &AttentionShape, qkv: &Buffer) -> (Buffer, Buffer) {
        with_format!(qkv.precision(), E => {
            let mut probabilities = Pooled::<E>::new(shape.probabilities_len::<E>());
            let y = filled(shape.output_len(), |y| {
                attention::forward(y, &mut probabilities, E::values(qkv), shape);
            });
            (y, E::buffer(probabilities))
        })
    }

    fn attention_backward(&self, shape: &AttentionShape, dy: &Buffer, qkv: &Buffer, probabilities: &Buffer) -> Buffer {
        with_format!(dy.precision(), E => filled(qkv.len(), |dqkv| {
            attention::backward(dqkv, E::values(dy), E::values(qkv), E::values(probabilities), shape);
        }))
    }

    fn embed_patches(
        &self,
        slots: &EmbeddingSlots,
        patches: &Buffer,
        values: &Vec<f32>,
        resampling: Option<&Vec<f32>>,
    ) -> Buffer {
        let channels = slots.class.len;
        let [class, bias, learned] = [slots.class, slots.bias, slots.positions].map(|slot| of(values, slot));
        let positions = positions(learned, resampling, channels);
        let images = patches.len() / (positions.len() - channels);
        with_format!(patches.precision(), E => filled(images * positions.len(), |y| {
            tokens::embed(y, E::values(patches), class, bias, &positions, images);
        }))
    }

    fn embed_patches_backward(
        &self,
        slots: &EmbeddingSlots,
        dy: &Buffer,
        gradients: &mut Vec<f32>,
        resampling: Option<&Vec<f32>>,
    ) -> Buffer {
        let (channels, learned) = (slots.class.len, slots.positions.len);
        let len = resampling.map_or(learned, |matrix| (1 + grid(matrix, learned, channels).1) * channels);
        let images = dy.len() / len;
        let mut sums = vec![0.0; len];
        with_format!(dy.precision(), E => tokens::add_token_sums(&mut sums, E::values(dy), images, channels));
        let mut add = |slot, sums: &[f32]| of_mut(gradients, slot).iter_mut().zip(sums).for_each(|(g, sum)| *g += sum);
        let (of_class, of_patches) = sums.split_at(channels);
        add(slots.class, of_class);
        of_patches.chunks_exact(channels).for_each(|sums| add(slots.bias, sums));
        match resampling {
            None => add(slots.positions, &sums),
            Some(matrix) => {
                let (from, to) = grid(matrix, learned, channels);
                let mut positions = of_class.to_vec();
                positions.resize(learned, 0.0);
                matmul::tn(&mut positions[channels..], matrix, of_patches, from, to, channels);
                add(slots.positions, &positions);
            }
        }
        with_format!(dy.precision(), E => filled(dy.len() - images * channels, |dx: &mut [E]| {
            dx.copy_from_slice(&E::values(dy)[images * channels..]);
        }))
    }

    fn slice(&self, x: &Buffer, range: Range<usize>) -> Buffer {
        with_format!(x.precision(), E => filled(range.len(), |y: &mut [E]| y.copy_from_slice(&E::values(x)[range])))
    }

    fn concat(&self, a: &Buffer, b: &Buffer) -> Buffer {
        with_format!(a.precision(), E => filled(a.len() + b.len(), |y: &mut [E]| {
            let (first, rest) = y.split_at_mut(a.len());
            first.copy_from_slice(E::values(a));
            rest.copy_from_slice(E::values(b));
        }))
    }

    fn scale_images(&self, x: &Buffer, scales: &[f32], onto: Option<&Buffer>, channels: usize) -> Buffer {
        with_format!(x.precision(), E => filled(x.len(), |y| {
            tokens::scale_images(y, E::values(x), scales, onto.map(E::values), channels);
        }))
    }

    fn first_backward(&self, dy: &Buffer, len: usize) -> Buffer {
        with_format!(dy.precision(), E => filled(len, |dx: &mut [E]| {
            let (first, rest) = dx.split_at_mut(dy.len());
            first.copy_from_slice(E::values(dy));
            rest.fill(E::default());
        }))
    }

    fn gelu(&self, x: &Buffer) -> Buffer {
        with_format!(x.precision(), E => filled(x.len(), |y| elementwise::gelu(y, E::values(x))))
    }

    fn gelu_backward(&self, dy: &Buffer, x: &Buffer) -> Buffer {
        with_format!(x.precision(), E => filled(x.len(), |dx| {
            elementwise::gelu_backward(dx, E::values(dy), E::values(x));
        }))
    }

    fn relu(&self, x: &Buffer) -> Buffer {
        with_format!(x.precision(), E => filled(x.len(), |y| elementwise::relu(y, E::values(x))))
    }

    fn relu_backward(&self, dy: &Buffer, y: &Buffer) -> Buffer {
        with_format!(y.precision(), E => filled(y.len(), |dx| {
            elementwise::relu_backward(dx, E::values(dy), E::values(y));
        }))
    }

    fn add(&self, a: &Buffer, b: &Buffer) -> Buffer {
        with_format!(a.precision(), E => filled(a.len(), |y| elementwise::add(y, E::values(a), E::values(b))))
    }

    fn max_pool(&self, shape: &PoolShape, x: &Buffer) -> (Buffer, Pooled<u8>) {
        let len = shape.output_len();
        let mut places = Pooled::new(len);
        let y = with_format!(x.precision(), E => filled(len, |y| {
            pool::max_forward(y, &mut places, E::values(x), shape);
        }));
        (y, places)
    }

    fn max_pool_backward(&self, shape: &PoolShape, dy: &Buffer, places: &Pooled<u8>) -> Buffer {
        let len = shape.input_len();
        with_format!(dy.precision(), E => filled(len, |dx| pool::max_backward(dx, E::values(dy), places, shape)))
    }

    fn average_pool(&self, x: &Buffer, batch: usize, channels: usize) -> Buffer {
        let pixels = x.len() / (batch * channels);
        with_format!(x.precision(), E => filled(batch * channels, |y| {
            pool::average_forward(y, E::values(x), batch, pixels, channels);
        }))
    }

    fn average_pool_backward(&self, dy: &Buffer, pixels: usize, batch: usize, channels: usize) -> Buffer {
        with_format!(dy.precision(), E => filled(batch * pixels * channels, |dx| {
            pool::average_backward(dx, E::values(dy), batch, pixels, channels);
        }))
    }

    fn roi_align(&self, shape: &RoiShape, x: &Buffer, regions: &[Region]) -> Buffer {
        let (len, format) = (shape.output_len(regions.len()), x.precision());
        with_format!(format, E => filled(len, |y| roi_align::forward(y, E::values(x), regions, shape)))
    }

    fn roi_align_backward(&self, shape: &RoiShape, dy: &Buffer, regions: &[Region]) -> Buffer {
        let (len, format) = (shape.input_len(), dy.precision());
        with_format!(format, E => filled(len, |dx| roi_align::backward(dx, E::values(dy), regions, shape)))
    }

    fn update(
        &self,
        updates: &[(Slot, Update)],
        values: &mut Vec<f32>,
        gradients: &Vec<f32>,
        state: &mut [&mut Vec<f32>],
    ) {
        for &(at, update) in updates {
            let (values, gradients) = (of_mut(values, at), of(gradients, at));
            match (update, &mut *state) {
                (Update::Sgd { learning_rate, momentum, weight_decay, nesterov, trust }, [velocity]) => {
                    let velocity = of_mut(velocity, at);
                    let scale = trust.map_or(1.0, |trust| update::trust_ratio(values, gradients, trust, weight_decay));
                    update::sgd(values, velocity, gradients, learning_rate, momentum, weight_decay, nesterov, scale);
                }
                (Update::AdamW { learning_rate, betas, epsilon, weight_decay, step }, [first, second]) => {
                    let (first, second) = (of_mut(first, at), of_mut(second, at));
                    let step = AdamWStep::new(learning_rate, betas, epsilon, weight_decay, step);
                    update::adamw(values, first, second, gradients, &step);
                }
                (update, state) => panic!("update: {update:?} with {} arenas of state", state.len()),
            }
        }
    }

    fn clip(&self, ranges: &[Slot], arena: &mut Vec<f32>, limit: f64) {
        for &at in ranges {
            let range = of_mut(arena, at);
            let factor = limit / (update::norm(range) + 1e-6);
            if factor < 1.0 {
                update::scale(range, factor as f32);
            }
        }
    }

    fn average(&self, at: Slot, target: &mut Vec<f32>, online: &Vec<f32>, momentum: f64) {
        update::average(of_mut(target, at), of(online, at), momentum);
    }
}

/// The vector added to each token: that of the class token, then those of the patches, resampled if `matrix` is
/// given.
fn positions<'a>(learned: &'a [f32], matrix: Option<&Vec<f32>>, channels: usize) -> Cow<'a, [f32]> {
    let Some(matrix) = matrix else { return learned.into() };
    let (class, patches) = learned.split_at(channels);
    let (from, to) = grid(matrix, learned.len(), channels);
    let mut all = class.to_vec();
    all.resize((1 + to) * channels, 0.0);
    matmul::nn(&mut all[channels..], matrix, patches, to, from, channels);
    all.into()
}

/// The number of patches of the grid that `len` position values are for, and of the grid that `matrix` resamples them
/// to.
fn grid(matrix: &[f32], len: usize, channels: usize) -> (usize, usize) {
    let from = len / channels - 1;
    (from, matrix.len() / from)
}

//! The CPU as a device: buffers from a pool, arithmetic from `kernels::cpu`.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::kernels::cpu::{batch_norm, conv2d, elementwise, linear, pool, update};

use super::{Affine, ConvShape, Device, Moments, NormSettings, PoolShape, Slot, Update};

/// The processor and its memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// Activations in host memory. Dropped buffers are kept for the next one of their length: a training step asks for
/// the same sizes again and again, and fresh pages cost more than the arithmetic on them.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

static FREE: LazyLock<Mutex<HashMap<usize, Vec<Vec<f32>>>>> = LazyLock::new(Mutex::default);

impl Buffer {
    /// A buffer of unspecified content.
    fn new(len: usize) -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        Self(free.get_mut(&len).and_then(Vec::pop).unwrap_or_else(|| vec![0.0; len]))
    }

    /// A buffer that `fill` writes whole.
    fn filled(len: usize, fill: impl FnOnce(&mut [f32])) -> Self {
        let mut buffer = Self::new(len);
        fill(&mut buffer.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let vec = std::mem::take(&mut self.0);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).entry(vec.len()).or_default().push(vec);
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::filled(self.len(), |copy| copy.copy_from_slice(self))
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

fn of(arena: &[f32], slot: Slot) -> &[f32] {
    &arena[slot.start..][..slot.len]
}

fn of_mut(arena: &mut [f32], slot: Slot) -> &mut [f32] {
    &mut arena[slot.start..][..slot.len]
}

impl Device for Cpu {
    type Buffer = Buffer;
    type Arena = Vec<f32>;

    fn upload(&self, host: &[f32]) -> Buffer {
        Buffer::filled(host.len(), |buffer| buffer.copy_from_slice(host))
    }

    fn download(&self, buffer: &Buffer) -> Vec<f32> {
        buffer.to_vec()
    }

    fn arena(&self, host: Vec<f32>) -> Vec<f32> {
        host
    }

    fn host(&self, arena: &Vec<f32>) -> Vec<f32> {
        arena.clone()
    }

    fn clear(&self, arena: &mut Vec<f32>) {
        arena.fill(0.0);
    }

    fn conv2d(&self, shape: &ConvShape, x: &Buffer, values: &Vec<f32>, w: Slot) -> Buffer {
        Buffer::filled(shape.output_len(), |y| conv2d::forward(y, x, of(values, w), shape))
    }

    fn conv2d_input(&self, shape: &ConvShape, dy: &Buffer, values: &Vec<f32>, w: Slot) -> Buffer {
        Buffer::filled(shape.input_len(), |dx| conv2d::input_gradient(dx, dy, of(values, w), shape))
    }

    fn conv2d_weight(&self, shape: &ConvShape, x: &Buffer, dy: &Buffer, gradients: &mut Vec<f32>, w: Slot) {
        conv2d::weight_gradient(of_mut(gradients, w), x, dy, shape);
    }

    fn linear(&self, x: &Buffer, values: &Vec<f32>, w: Slot, bias: Option<Slot>, outputs: usize) -> Buffer {
        let inputs = w.len / outputs;
        let rows = x.len() / inputs;
        Buffer::filled(rows * outputs, |y| {
            linear::forward(y, x, of(values, w), bias.map(|b| of(values, b)), rows, inputs, outputs);
        })
    }

    fn linear_input(&self, dy: &Buffer, values: &Vec<f32>, w: Slot, outputs: usize) -> Buffer {
        let inputs = w.len / outputs;
        let rows = dy.len() / outputs;
        Buffer::filled(rows * inputs, |dx| linear::input_gradient(dx, dy, of(values, w), rows, inputs, outputs))
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
        let rows = dy.len() / outputs;
        linear::weight_gradient(of_mut(gradients, w), x, dy, rows, w.len / outputs, outputs);
        if let Some(bias) = bias {
            linear::bias_gradient(of_mut(gradients, bias), dy, rows, outputs);
        }
    }

    fn batch_norm(
        &self,
        x: &Buffer,
        values: &Vec<f32>,
        affine: Affine,
        running: &mut Vec<f32>,
        at: Slot,
        settings: NormSettings,
    ) -> (Buffer, Moments<Self>) {
        let channels = affine.gamma.len;
        let rows = x.len() / channels;
        let mut mean = Buffer::new(channels);
        let mut variance = Buffer::new(channels);
        batch_norm::statistics(&mut mean, &mut variance, x, rows, channels);
        let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
        let (running_mean, running_variance) = of_mut(running, at).split_at_mut(channels);
        for c in 0..channels {
            running_mean[c] += settings.momentum * (mean[c] - running_mean[c]);
            running_variance[c] += settings.momentum * (variance[c] * unbiased - running_variance[c]);
        }
        let inv_std = inverse_deviation(&variance, settings.epsilon);
        let y = Buffer::filled(x.len(), |y| {
            let (gamma, beta) = (of(values, affine.gamma), of(values, affine.beta));
            batch_norm::normalize(y, x, &mean, &inv_std, gamma, beta, rows, channels);
        });
        (y, Moments { mean, inv_std })
    }

    fn batch_norm_running(
        &self,
        x: &Buffer,
        values: &Vec<f32>,
        affine: Affine,
        running: &Vec<f32>,
        at: Slot,
        settings: NormSettings,
    ) -> Buffer {
        let channels = affine.gamma.len;
        let (mean, variance) = of(running, at).split_at(channels);
        let inv_std = inverse_deviation(variance, settings.epsilon);
        Buffer::filled(x.len(), |y| {
            let (gamma, beta) = (of(values, affine.gamma), of(values, affine.beta));
            batch_norm::normalize(y, x, mean, &inv_std, gamma, beta, x.len() / channels, channels);
        })
    }

    fn batch_norm_backward(
        &self,
        dy: &Buffer,
        x: &Buffer,
        moments: &Moments<Self>,
        values: &Vec<f32>,
        gradients: &mut Vec<f32>,
        affine: Affine,
    ) -> Buffer {
        let channels = affine.gamma.len;
        // Scale and shift are neighbours in the arena, so that one split gives both.
        assert!(affine.beta.start == affine.gamma.start + channels, "batch_norm: beta does not follow gamma");
        let (dgamma, dbeta) = gradients[affine.gamma.start..][..2 * channels].split_at_mut(channels);
        Buffer::filled(x.len(), |dx| {
            let gamma = of(values, affine.gamma);
            let rows = x.len() / channels;
            batch_norm::backward(dx, dgamma, dbeta, dy, x, &moments.mean, &moments.inv_std, gamma, rows, channels);
        })
    }

    fn relu(&self, x: &Buffer) -> Buffer {
        Buffer::filled(x.len(), |y| elementwise::relu(y, x))
    }

    fn relu_backward(&self, dy: &Buffer, y: &Buffer) -> Buffer {
        Buffer::filled(y.len(), |dx| elementwise::relu_backward(dx, dy, y))
    }

    fn add(&self, a: &Buffer, b: &Buffer) -> Buffer {
        Buffer::filled(a.len(), |y| elementwise::add(y, a, b))
    }

    fn max_pool(&self, shape: &PoolShape, x: &Buffer) -> (Buffer, Vec<u8>) {
        let PoolShape { batch, side, channels, kernel, stride, padding } = *shape;
        let len = batch * shape.out_side() * shape.out_side() * channels;
        let mut places = vec![0; len];
        let y = Buffer::filled(len, |y| {
            pool::max_forward(y, &mut places, x, batch, side, side, channels, kernel, stride, padding);
        });
        (y, places)
    }

    fn max_pool_backward(&self, shape: &PoolShape, dy: &Buffer, places: &[u8]) -> Buffer {
        let PoolShape { batch, side, channels, kernel, stride, padding } = *shape;
        Buffer::filled(batch * side * side * channels, |dx| {
            pool::max_backward(dx, dy, places, batch, side, side, channels, kernel, stride, padding);
        })
    }

    fn average_pool(&self, x: &Buffer, batch: usize, channels: usize) -> Buffer {
        let pixels = x.len() / (batch * channels);
        Buffer::filled(batch * channels, |y| pool::average_forward(y, x, batch, pixels, channels))
    }

    fn average_pool_backward(&self, dy: &Buffer, pixels: usize, batch: usize, channels: usize) -> Buffer {
        Buffer::filled(batch * pixels * channels, |dx| pool::average_backward(dx, dy, batch, pixels, channels))
    }

    fn update(&self, update: &Update, at: Slot, values: &mut Vec<f32>, gradients: &Vec<f32>, state: &mut [Vec<f32>]) {
        let (values, gradients) = (of_mut(values, at), of(gradients, at));
        match (*update, state) {
            (Update::Sgd { learning_rate, momentum, weight_decay, nesterov, scale }, [velocity]) => {
                let velocity = of_mut(velocity, at);
                update::sgd(values, velocity, gradients, learning_rate, momentum, weight_decay, nesterov, scale);
            }
            (Update::AdamW { learning_rate, betas, epsilon, weight_decay, step }, [first, second]) => {
                let (first, second) = (of_mut(first, at), of_mut(second, at));
                update::adamw(values, first, second, gradients, learning_rate, betas, epsilon, weight_decay, step);
            }
            (update, state) => panic!("update: {update:?} with {} arenas of state", state.len()),
        }
    }

    fn norm(&self, arena: &Vec<f32>, at: Slot) -> f64 {
        update::norm(of(arena, at))
    }
}

fn inverse_deviation(variance: &[f32], epsilon: f32) -> Buffer {
    Buffer::filled(variance.len(), |inv_std| {
        for (inv, var) in inv_std.iter_mut().zip(variance) {
            *inv = 1.0 / (var + epsilon).sqrt();
        }
    })
}

//! Clipping of gradients by their global norm (Pascanu et al. 2013, <https://arxiv.org/abs/1211.5063>, algorithm 1).

use crate::nn::Parameters;
use crate::tensor::Device;

/// Scales all gradients so that their norm together is at most `limit`, as PyTorch's `clip_grad_norm_` does. Returns
/// the norm that they had.
pub fn clip<D: Device>(parameters: &mut Parameters<D>, limit: f64) -> f64 {
    let at = parameters.all();
    let norm = parameters.device.norm(&parameters.gradients, at);
    if norm > limit {
        parameters.device.scale(at, &mut parameters.gradients, (limit / (norm + 1e-6)) as f32);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Builder, Kind};
    use crate::rng::Key;
    use crate::tensor::{Cpu, Precision};

    // torch.nn.utils.clip_grad_norm_ by hand: the norm of (3, 4) is 5, and 1 / (5 + 1e-6) scales it to a limit of 1.
    #[test]
    fn gradients_are_scaled_together_or_left() {
        let key = Key::root(1);
        let mut builder = Builder::new(&key);
        builder.parameter("weight", &[1, 1], Kind::Weight, |_| 0.0);
        builder.parameter("bias", &[1], Kind::Vector, |_| 0.0);
        let mut parameters = builder.finish(&Cpu { precision: Precision::F32 });
        parameters.gradients = vec![3.0, 4.0];
        assert_eq!(clip(&mut parameters, 5.0), 5.0);
        assert_eq!(parameters.gradients, [3.0, 4.0]);
        assert_eq!(clip(&mut parameters, 1.0), 5.0);
        for (ours, expected) in parameters.gradients.iter().zip([0.6, 0.8]) {
            assert!((ours - expected).abs() < 1e-6, "{ours} for {expected}");
        }
        assert_eq!(parameters.values, [0.0, 0.0]);
    }
}

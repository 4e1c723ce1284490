//! Clipping of gradients, parameter by parameter, as the authors of DINO do (Caron et al. 2021,
//! <https://arxiv.org/abs/2104.14294>; `utils.clip_gradients` of their code).

use crate::nn::{ParamKind, Parameters};
use crate::tensor::{Device, Slot};

/// Scales the gradient of each parameter down to the norm `limit` if its norm is larger. PyTorch's `clip_grad_norm_`
/// limits the norm of all gradients together, which is far stricter for the same number.
pub fn clip<D: Device>(parameters: &mut Parameters<D>, limit: f64) {
    let Parameters { gradients, layout, device, .. } = parameters;
    let learned = layout.entries.iter().filter(|entry| entry.kind != ParamKind::Statistic);
    let slots: Vec<Slot> = learned.map(|entry| entry.slot).collect();
    device.clip(&slots, gradients, limit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Builder;
    use crate::rng::Key;
    use crate::tensor::{Cpu, Precision};

    // By hand: the weight's norm is 5, and 2 / (5 + 1e-6) scales it to a limit of 2; the bias is shorter.
    #[test]
    fn each_parameter_is_shortened_alone() {
        let key = Key::root(1);
        let mut builder = Builder::new(&key);
        builder.parameter("weight", &[1, 2], ParamKind::Weight, |_| 0.0);
        builder.statistic("running_mean", 1, 9.0);
        builder.parameter("bias", &[1], ParamKind::Vector, |_| 0.0);
        let mut parameters = builder.finish(&Cpu { precision: Precision::F32 });
        parameters.gradients = vec![3.0, 4.0, 1.5];
        clip(&mut parameters, 5.1);
        assert_eq!(parameters.gradients, [3.0, 4.0, 1.5]);
        clip(&mut parameters, 2.0);
        for (ours, expected) in parameters.gradients.iter().zip([1.2, 1.6, 1.5]) {
            assert!((ours - expected).abs() < 1e-6, "{ours} for {expected}");
        }
        assert_eq!((parameters.values, parameters.statistics), (vec![0.0; 3], vec![9.0]));
    }
}

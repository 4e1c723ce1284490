//! Target networks: a second set of parameters that follows the online parameters as their exponential moving average
//! (Grill et al. 2020, <https://arxiv.org/abs/2006.07733>). A momentum that rises does so along a [`super::Cosine`]
//! from its first value to 1.

use crate::nn::Parameters;
use crate::tensor::Device;

/// target = momentum target + (1 - momentum) online, for weights and vectors. Running statistics do not change here:
/// the target network has its own, from its own forward passes.
pub fn follow<D: Device>(target: &mut Parameters<D>, online: &Parameters<D>, momentum: f64) {
    assert!(target.layout == online.layout, "follow: the networks differ");
    let at = target.all();
    online.device.average(at, &mut target.values, &online.values, momentum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Builder, ParamKind};
    use crate::rng::Key;
    use crate::tensor::{Cpu, Precision};

    #[test]
    fn values_follow_and_statistics_stay() {
        let device = Cpu { precision: Precision::F32 };
        let network = |value: f32| {
            let key = Key::root(1);
            let mut builder = Builder::new(&key);
            builder.parameter("weight", &[3, 2], ParamKind::Weight, |_| value);
            builder.parameter("bias", &[3], ParamKind::Vector, |_| -value);
            builder.statistic("running_mean", 3, value);
            builder.finish(&device)
        };
        let (mut target, online) = (network(1.0), network(3.0));
        follow(&mut target, &online, 0.75);
        assert_eq!(target.values, [1.5, 1.5, 1.5, 1.5, 1.5, 1.5, -1.5, -1.5, -1.5]);
        assert_eq!(target.statistics, [1.0; 3]);
    }
}

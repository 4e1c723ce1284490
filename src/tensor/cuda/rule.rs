//! An optimiser's step as a GPU's kernels take it.

use crate::kernels::cpu::update::AdamWStep;
use crate::kernels::cuda::update::Rule;
use crate::tensor::Update;

/// The rule of an update.
pub(super) fn rule(update: &Update) -> Rule {
    match *update {
        Update::Sgd { learning_rate, momentum, weight_decay, nesterov, trust } => Rule {
            kind: 0,
            nesterov: u32::from(nesterov),
            learning_rate,
            momentum,
            weight_decay,
            trust: trust.unwrap_or(Rule::NO_TRUST),
            ..Rule::default()
        },
        Update::AdamW { learning_rate, betas, epsilon, weight_decay, step } => {
            let AdamWStep { betas, step_size, root_correction, epsilon, keep } =
                AdamWStep::new(learning_rate, betas, epsilon, weight_decay, step);
            let (trust, betas) = (Rule::NO_TRUST, [betas.0, betas.1]);
            Rule { kind: 1, trust, betas, step_size, root_correction, epsilon, keep, ..Rule::default() }
        }
    }
}

//! Optimisers, clipping and moving averages over f32 arenas (`source/update.cu`): many ranges in a few launches, without
//! a synchronisation.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Argument, Kernels, Memory, Span, check, check_each};

/// The largest number of elements that one block updates.
const CHUNK: usize = 4096;

/// As `Chunk` in `update.cu`: the place of some elements of a range.
#[derive(Clone, Copy)]
#[repr(C)]
struct Chunk {
    start: u64,
    len: u32,
    range: u32,
}

/// How one range is updated; as in `update.cu`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Rule {
    /// 0 for SGD, 1 for AdamW.
    pub kind: u32,
    /// Whether SGD's momentum is Nesterov's.
    pub nesterov: u32,
    /// SGD's step size.
    pub learning_rate: f32,
    /// SGD's momentum.
    pub momentum: f32,
    /// SGD's L2 penalty.
    pub weight_decay: f32,
    /// LARS's trust coefficient, or [`Rule::NO_TRUST`].
    pub trust: f32,
    /// AdamW's averaging coefficients.
    pub betas: [f32; 2],
    /// AdamW's step size, with the correction of the first moment's bias.
    pub step_size: f32,
    /// The factor that corrects the bias of the second moment's root.
    pub root_correction: f32,
    /// AdamW's epsilon.
    pub epsilon: f32,
    /// The factor of a value that decay leaves.
    pub keep: f32,
}

impl Rule {
    /// The trust coefficient of a rule that does not scale its step.
    pub const NO_TRUST: f32 = -1.0;
}

/// The chunks of a list of ranges, in device memory.
#[derive(Debug)]
struct Plan {
    chunks: Memory,
    /// The first chunk of each range and the first after it.
    ranges: Memory,
    count: usize,
    blocks: usize,
}

/// The plans that were made before, by their ranges.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<HashMap<Vec<Range<usize>>, Arc<Plan>>>);

impl Kernels {
    fn plan(&self, ranges: &[Range<usize>]) -> Arc<Plan> {
        let mut plans = self.chunks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(ranges) {
            return plan.clone();
        }
        let (mut chunks, mut ends) = (Vec::new(), Vec::new());
        for (index, range) in ranges.iter().enumerate() {
            let first = chunks.len() as u32;
            chunks.extend(range.clone().step_by(CHUNK).map(|start| Chunk {
                start: start as u64,
                len: CHUNK.min(range.end - start) as u32,
                range: index as u32,
            }));
            ends.push([first, chunks.len() as u32]);
        }
        let (count, blocks) = (ranges.len(), chunks.len());
        let plan = Plan { chunks: self.gpu.upload(&chunks), ranges: self.gpu.upload(&ends), count, blocks };
        let plan = Arc::new(plan);
        plans.insert(ranges.to_vec(), plan.clone());
        plan
    }

    /// Sums of squares of the chunks of values and gradients, (2, chunks).
    fn square_sums(&self, plan: &Plan, values: Option<Span>, gradients: Option<Span>) -> Memory {
        let sums = self.gpu.memory(2 * plan.blocks * size_of::<f64>());
        let arguments: [&dyn Argument; 4] = [&sums.of::<f64>(), &values, &gradients, &plan.chunks.of::<Chunk>()];
        self.launch_blocks("square_sums", [plan.blocks as u64, 1], 0, &arguments);
        sums
    }

    /// One step of the optimiser: each range by its rule. `first` and `second` are the optimiser's own arenas; SGD has
    /// only the first.
    pub fn update(
        &self,
        ranges: &[Range<usize>],
        rules: &[Rule],
        values: Span,
        gradients: Span,
        first: Span,
        second: Option<Span>,
    ) {
        assert!(ranges.len() == rules.len(), "update: {} ranges, {} rules", ranges.len(), rules.len());
        check("update", "gradients", gradients, values.len);
        check("update", "first", first, values.len);
        check_each("update", [("second", second)], values.len);
        assert!(ranges.iter().all(|range| range.end <= values.len), "update: a range beyond {} values", values.len);
        assert!(second.is_some() || rules.iter().all(|rule| rule.kind == 0), "update: AdamW with one arena of state");
        let plan = self.plan(ranges);
        let (chunks, rules_there) = (plan.chunks.of::<Chunk>(), self.gpu.upload(rules));
        let rules_there = rules_there.of::<Rule>();
        let factors = self.floats(plan.count);
        let needs_norms = rules.iter().any(|rule| rule.trust >= 0.0);
        let sums = needs_norms.then(|| self.square_sums(&plan, Some(values), Some(gradients)));
        let sums = sums.as_ref().map(Memory::of::<f64>);
        let (count, blocks) = (plan.count as u32, plan.blocks as u32);
        let arguments: [&dyn Argument; 6] =
            [&factors.floats(), &sums, &plan.ranges.of::<[u32; 2]>(), &rules_there, &count, &blocks];
        self.launch_rows("trust_ratios", plan.count, &arguments);
        let arguments: [&dyn Argument; 7] =
            [&values, &gradients, &first, &second, &chunks, &rules_there, &factors.floats()];
        self.launch_blocks("update_chunks", [plan.blocks as u64, 1], 0, &arguments);
    }

    /// Scales each range down to the norm `limit`, if its norm is larger.
    pub fn clip(&self, ranges: &[Range<usize>], values: Span, limit: f64) {
        assert!(ranges.iter().all(|range| range.end <= values.len), "clip: a range beyond {} values", values.len);
        let plan = self.plan(ranges);
        let (sums, factors) = (self.square_sums(&plan, Some(values), None), self.floats(plan.count));
        let count = plan.count as u32;
        let arguments: [&dyn Argument; 5] =
            [&factors.floats(), &sums.of::<f64>(), &plan.ranges.of::<[u32; 2]>(), &count, &limit];
        self.launch_rows("clip_factors", plan.count, &arguments);
        let arguments: [&dyn Argument; 3] = [&values, &plan.chunks.of::<Chunk>(), &factors.floats()];
        self.launch_blocks("scale_chunks", [plan.blocks as u64, 1], 0, &arguments);
    }

    /// target += pull (online - target).
    pub fn average(&self, target: Span, online: Span, pull: f32) {
        check("average", "online", online, target.len);
        let len = target.len as u64;
        self.launch("average", target.len, &[&target, &online, &pull, &len]);
    }
}

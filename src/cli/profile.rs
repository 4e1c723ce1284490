//! `bench step --profile`: where the time of a step goes, compared with the peak rates of the machine.

use serde_json::{Value, json};

use crate::bench::peaks::Peaks;
use crate::bench::step::{Entry, Steps};

/// The name of the time that no timed operation takes.
const REST: &str = "loss, tape and the rest";

/// A profile of timed steps.
pub(super) struct Profile<'a> {
    measured: &'a Steps,
    machine: Peaks,
    /// Peak floating-point operations per second of products in the number format of the steps.
    peak: f64,
}

impl<'a> Profile<'a> {
    /// Compares the steps with the peak rates of their device.
    pub(super) fn new(measured: &'a Steps, machine: Peaks) -> Self {
        Self { measured, machine, peak: machine.flops(measured.precision) }
    }

    fn wall(&self) -> f64 {
        self.measured.seconds.iter().sum()
    }

    /// The share that an operation's lower bound has in its time: its products at the peak, or its bytes at the speed of
    /// copies in memory, whichever takes longer.
    fn share_of_floor(&self, entry: &Entry) -> f64 {
        (entry.flops / self.peak).max(entry.bytes / self.machine.memory_bytes) / entry.seconds
    }

    fn rest(&self) -> f64 {
        self.wall() - self.measured.profile.iter().map(|entry| entry.seconds).sum::<f64>()
    }

    /// The totals of all steps, as JSON.
    pub(super) fn json(&self) -> Value {
        let Peaks { f32_flops, bf16_flops, cache_bytes, memory_bytes } = self.machine;
        let kinds: Vec<Value> = (self.measured.profile.iter())
            .map(|entry| {
                let rate = entry.flops / entry.seconds;
                let product = entry.flops > 0.0;
                json!({
                    "kind": entry.kind, "calls": entry.calls, "seconds": entry.seconds,
                    "share_of_step": entry.seconds / self.wall(), "flops": entry.flops,
                    "gflops": product.then_some(rate / 1e9), "share_of_peak": product.then_some(rate / self.peak),
                    "bytes": entry.bytes, "gb_per_second": entry.bytes / entry.seconds / 1e9,
                    "share_of_floor": self.share_of_floor(entry),
                })
            })
            .collect();
        json!({
            "wall_seconds": self.wall(), "rest_seconds": self.rest(), "kinds": kinds,
            "peaks": {
                "f32_gflops": f32_flops / 1e9, "bf16_gflops": bf16_flops / 1e9,
                "cache_copy_gb_per_second": cache_bytes / 1e9, "memory_copy_gb_per_second": memory_bytes / 1e9,
            },
        })
    }

    /// Prints a table of the mean step.
    pub(super) fn print(&self) {
        let steps = self.measured.seconds.len() as f64;
        let Peaks { f32_flops, bf16_flops, cache_bytes, memory_bytes } = self.machine;
        let time = |seconds: f64| [format!("{:.2}", 1e3 * seconds / steps), percent(seconds / self.wall())];
        let head = ["", "ms", "of step", "GFLOP/s", "of peak", "MB", "GB/s", "of floor"].map(String::from);
        let mut lines = vec![head];
        for entry in &self.measured.profile {
            let rate = entry.flops / entry.seconds;
            let [rate, of_peak] = match entry.flops > 0.0 {
                true => [format!("{:.1}", rate / 1e9), percent(rate / self.peak)],
                false => Default::default(),
            };
            let megabytes = format!("{:.1}", entry.bytes / steps / 1e6);
            let speed = format!("{:.1}", entry.bytes / entry.seconds / 1e9);
            let [milliseconds, of_step] = time(entry.seconds);
            let of_floor = percent(self.share_of_floor(entry));
            lines.push([entry.kind.clone(), milliseconds, of_step, rate, of_peak, megabytes, speed, of_floor]);
        }
        let [milliseconds, of_step] = time(self.rest());
        let none = String::new;
        lines.push([REST.into(), milliseconds, of_step, none(), none(), none(), none(), none()]);
        let [milliseconds, of_step] = time(self.wall());
        let flops: f64 = self.measured.profile.iter().map(|entry| entry.flops).sum();
        let (rate, of_peak) = (flops / self.wall(), percent(flops / self.wall() / self.peak));
        lines.push([
            "step".into(),
            milliseconds,
            of_step,
            format!("{:.1}", rate / 1e9),
            of_peak,
            none(),
            none(),
            none(),
        ]);
        say!("");
        print_aligned(&lines);
        say!("");
        say!("peaks: {:.1} GFLOP/s in f32, {:.1} in bf16;", f32_flops / 1e9, bf16_flops / 1e9);
        say!("copies: {:.1} GB/s in the second-level cache, {:.1} in memory", cache_bytes / 1e9, memory_bytes / 1e9);
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Prints a table: names are aligned left, figures right.
fn print_aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) {
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0));
    for line in lines {
        let name = format!("{:width$}", line[0], width = widths[0]);
        let figures = line.iter().zip(widths).skip(1).map(|(figure, width)| format!("  {figure:>width$}"));
        say!("{}", (name + &figures.collect::<String>()).trim_end());
    }
}

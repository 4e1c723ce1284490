//! The program: its tables, its embedded configuration, and its command line.

mod detection;
mod epochs;
mod invariance;
mod legibility;
mod pairing;
mod positives;
mod samples;
mod tiny_imagenet;
mod transfer;
mod transforms;
mod vit;

use std::process::ExitCode;

use sempair::cli::{App, Profile};
use sempair::harness::experiment::Experiment;
use sempair::study::settings::Settings;

/// The tables of the paper, in its order, and then the tables of statements that it argues but does not measure.
const EXPERIMENTS: &[&dyn Experiment<Settings>] = &[
    &transfer::TABLE,
    &epochs::TABLE,
    &tiny_imagenet::TABLE,
    &transforms::TABLE,
    &vit::TABLE,
    &detection::TABLE,
    &samples::TABLE,
    &invariance::TABLE,
    &positives::TABLE,
    &pairing::TABLE,
    &legibility::TABLE,
];

const PROFILES: &[Profile] = &[
    Profile {
        name: "quick",
        layer: "profile quick",
        toml: include_str!("profiles/quick.toml"),
        description: "Embedded procedural data and a small encoder, trained briefly on two cores. These data stand in \
                      for the paper's photographs, so the figures cannot be compared with the paper's. Only the \
                      answer to the question whether semantic pairs help can be compared.",
    },
    Profile {
        name: "thorough",
        layer: "profile thorough",
        toml: include_str!("profiles/thorough.toml"),
        description: "Embedded procedural data and a small encoder; all eleven methods, five seeds, and how the gain \
                      depends on the length of training and on the images. These data stand in for the paper's \
                      photographs, so the figures cannot be compared with the paper's. Only the answer to the \
                      question whether semantic pairs help can be compared.",
    },
    Profile {
        name: "standard",
        layer: "profile standard",
        toml: include_str!("profiles/standard.toml"),
        description: "Imported photographs and a small encoder. Pairs and network are not the paper's, and there are \
                      fewer pairs.",
    },
    Profile {
        name: "paper",
        layer: "profile paper",
        toml: include_str!("profiles/paper.toml"),
        description: "The paper's settings, as far as it states them.",
    },
];

fn main() -> ExitCode {
    let app = App { experiments: EXPERIMENTS, defaults: include_str!("defaults.toml"), profiles: PROFILES };
    sempair::cli::main(&app)
}

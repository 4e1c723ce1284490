//! Table `legibility`: SimCLR by how clearly objects stand out in the embedded images, augmented pairs (AP) against
//! semantic pairs (SP). In harsh images, surfaces and backgrounds have more contrast than outlines. The strengths of
//! the embedded world were chosen once. This table shows how the gain of SP depends on that choice.
//!
//! Cost: one pretraining for each legibility, kind of pairs and seed. Those of legibility 1 are those of `transfer`.

use sempair::data::catalog::SYNTH;
use sempair::error::{Error, Result};
use sempair::harness::experiment::{Axis, Family};
use sempair::methods::Name;
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, rows};
use sempair::study::settings::{OwnSettings, Settings, each_once};
use serde::Deserialize;

/// The keys `legibility.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Legibilities in the order of the rows; an empty list leaves the table empty.
    values: Vec<f32>,
    /// The evaluation sets.
    sets: Vec<String>,
}

impl OwnSettings for Own {
    fn check(&self, id: &str, _: &Settings) -> Result<()> {
        let Self { values, .. } = self;
        if !each_once(values) || !values.iter().all(|value| (0.0..=1.0).contains(value)) {
            return Err(Error::new(format!("`{id}.values` is {values:?}; it needs different numbers from 0 to 1"))
                .hint(format!("`--set {id}.values=[0,0.5,1]`")));
        }
        Ok(())
    }
}

/// The table.
pub const TABLE: Evaluations<Own> =
    Evaluations { id: "legibility", title: "SimCLR by how clearly objects stand out", encoder_table };

fn encoder_table(settings: &Settings, Own { values, sets }: &Own) -> EncoderTable {
    let simclr = settings.of(Name::Simclr);
    let mut baselines = Vec::new();
    let mut lines = Vec::new();
    let mut of_values = Vec::new();
    // Photographs have no legibility to vary.
    let values = if settings.pairs.from == SYNTH { &values[..] } else { &[] };
    for &legibility in values {
        let mut world = simclr.clone();
        world.world = simclr.world.with_legibility(legibility);
        let label = ("legibility", legibility.to_string());
        baselines.extend([Line::pixels(&world), Line::random(&world)].map(|line| line.labelled(label.0, &label.1)));
        let both = both_pairs(&world, Some((label.0, &label.1)));
        of_values.push((legibility, rows(&both)));
        lines.extend(both);
    }
    baselines.extend(lines);
    let mut table = EncoderTable::new(&simclr, sets, baselines);
    table.in_paper = false;
    let steps = of_values.iter().map(|(legibility, _)| (legibility.to_string(), f64::from(*legibility)));
    table.axis = Some(Axis::new("legibility", "legibility: 0 harsh, 1 clear", steps.collect::<Vec<_>>()));
    let family = Family::new("legibility", "Semantic pairs lead however clearly objects stand out", "no statement");
    for (legibility, [ap, sp]) in of_values {
        table
            .claim(&[sp], &[ap], |set| {
                format!("Semantic pairs beat augmented pairs with SimCLR at legibility {legibility} on {set}")
            })
            .of(&family, &format!("legibility {legibility}"));
    }
    table.about_rows = "Legibility 1 is the embedded world of all other tables: surfaces and backgrounds of low \
                        contrast, and objects that differ from the background in brightness. Legibility 0 is harsh: \
                        surfaces and backgrounds of full contrast. The evaluation sets have the legibility of their \
                        row."
        .into();
    table
}

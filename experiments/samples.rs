//! Table `samples`: SimCLR by the number of pairs of each category, augmented pairs (AP) against semantic pairs (SP).
//!
//! Cost: one pretraining for each number, kind of pairs and seed. Its length is proportional to the number of pairs.

use std::slice::from_ref;

use sempair::error::Result;
use sempair::harness::experiment::{Axis, Family, Stated};
use sempair::methods::Name;
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, rows};
use sempair::study::settings::{OwnSettings, Settings, some_above_zero};
use serde::Deserialize;

/// The paper's gain of SP over AP in points, by pairs of each category.
const PAPER: [(usize, f64); 2] = [(50, 4.20), (157, 3.83)];

/// The keys `samples.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Numbers of pairs of each category, in the order of the rows.
    values: Vec<usize>,
    /// The evaluation sets.
    sets: Vec<String>,
}

impl OwnSettings for Own {
    fn check(&self, id: &str, _: &Settings) -> Result<()> {
        some_above_zero(&format!("{id}.values"), &self.values)
    }
}

/// The table.
pub const TABLE: Evaluations<Own> =
    Evaluations { id: "samples", title: "SimCLR by the number of pairs of each category", encoder_table };

fn encoder_table(settings: &Settings, Own { values, sets }: &Own) -> EncoderTable {
    let simclr = settings.of(Name::Simclr);
    let mut lines = vec![Line::random(&simclr)];
    let mut gains = Vec::new();
    for &number in values {
        let mut fewer = simclr.clone();
        fewer.pairs.per_category = number;
        let both = both_pairs(&fewer, Some(("per category", &format!("{number} each"))));
        gains.push((number, rows(&both)));
        lines.extend(both);
    }
    let mut table = EncoderTable::new(&simclr, sets, lines);
    let steps = gains.iter().map(|(number, _)| (format!("{number} each"), *number));
    table.axis = Some(Axis::counts("per category", "pairs of each category", steps.collect::<Vec<_>>()));
    let family =
        Family::new("samples", "Semantic pairs lead with any number of pairs", "+4.20 with 50, +3.83 with 157");
    for (number, [ap, sp]) in &gains {
        let stated = PAPER.iter().find(|(of, _)| of == number).map_or(Stated::Nothing, |(_, gain)| Stated::Gain(*gain));
        table
            .claim(from_ref(sp), from_ref(ap), |set| {
                format!("Semantic pairs beat augmented pairs with {number} of each category, on {set}")
            })
            .of(&family, &format!("{number} each"))
            .stated(|_| stated);
    }
    let [fewest, most] = [gains.iter().min_by_key(|gain| gain.0), gains.iter().max_by_key(|gain| gain.0)];
    if let (Some((few, [few_ap, few_sp])), Some((many, [many_ap, many_sp]))) = (fewest, most)
        && few < many
    {
        let family = Family::new("fewer", "Fewer pairs, larger lead", "+4.20 with 50, +3.83 with 157");
        table
            .claim(&[few_sp.clone(), many_ap.clone()], &[few_ap.clone(), many_sp.clone()], |set| {
                format!("Semantic pairs lead by more with {few} of each category than with {many}, on {set}")
            })
            .of(&family, &format!("{few} against {many}"))
            .stated(|_| Stated::Sign);
    }
    table.about_rows =
        "The images of fewer pairs are some of the images of more pairs. All rows have the same number of epochs, so \
                        fewer pairs mean fewer steps."
            .into();
    let stated = PAPER.map(|(number, gain)| format!("{gain:+.2} points with {number} images of each category"));
    let note =
        format!("The paper states the gain of SP over AP, on a set that it does not name: {}.", stated.join(", "));
    table.notes = vec![note.into()];
    table
}

//! Table `positives`: how exact must semantic pairs be? It compares pairs by category, pairs of which a share is
//! false, and pairs of nearest neighbours, which need no categories. The paper makes its pairs by hand, "to avoid the
//! errors of automatic matching", and does not measure what such errors cost.
//!
//! Cost: for each seed, one pretraining for each share and one for the neighbours. The trainings on exact and on
//! augmented pairs are those of `transfer`.

use std::slice::from_ref;

use sempair::data::pairs::PairKind;
use sempair::error::Result;
use sempair::harness::experiment::{Axis, Family};
use sempair::methods::Name;
use sempair::study::columns::PairExactness;
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, rows};
use sempair::study::settings::{OwnSettings, Settings, shares};
use serde::Deserialize;

/// The label of pairs that are made by category.
const EXACT: &str = "by category";

/// The keys `positives.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Shares of false pairs, each above 0 and at most 1, in the order of the rows.
    values: Vec<f32>,
    /// The evaluation sets.
    sets: Vec<String>,
}

impl OwnSettings for Own {
    fn check(&self, id: &str, _: &Settings) -> Result<()> {
        shares(&format!("{id}.values"), &self.values)
    }
}

/// The table.
pub const TABLE: Evaluations<Own> =
    Evaluations { id: "positives", title: "SimCLR by how exact its pairs are", encoder_table };

fn encoder_table(settings: &Settings, own: &Own) -> EncoderTable {
    let simclr = settings.of(Name::Simclr);
    let both = both_pairs(&simclr, Some(("made", EXACT)));
    let [_, sp] = rows(&both);
    let neighbours =
        Line::pretrained(simclr.clone(), PairKind::Neighbours).labelled("made", "nearest by the AP encoder");
    let nearest = neighbours.row.clone();
    let falsified: Vec<Line> = own.values.iter().map(|&share| with_false(&simclr, share)).collect();
    let mut lines = vec![Line::random(&simclr)];
    lines.extend(both);
    lines.push(neighbours);
    let wrong: Vec<_> = falsified.iter().map(|line| line.row.clone()).collect();
    lines.extend(falsified);
    let mut table = EncoderTable::new(&simclr, &own.sets, lines);
    table.measure(PairExactness);
    table.in_paper = false;
    let falsified = own.values.iter().map(|&share| (false_label(share), f64::from(percent(share))));
    let steps = [(EXACT.to_string(), 0.0)].into_iter().chain(falsified);
    table.axis = Some(Axis::new("made", "% of pairs that are false", steps.collect::<Vec<_>>()));
    let family = Family::new("exact-pairs", "Exact pairs beat inexact ones", "argued, not measured");
    table
        .claim(from_ref(&sp), &[nearest], |set| format!("Exact pairs beat pairs of nearest neighbours on {set}"))
        .of(&family, "than nearest neighbours");
    for (share, row) in own.values.iter().zip(wrong) {
        table
            .claim(from_ref(&sp), &[row], |set| {
                format!("Exact pairs beat pairs of which {} % are false on {set}", percent(*share))
            })
            .of(&family, &format!("than {}", false_label(*share)));
    }
    table.about_rows = "A false pair has two images of different categories. All rows of semantic pairs have the same \
                        images. “nearest”: each first image is paired with the image, among all of them, that SimCLR \
                        trained on AP finds most similar. The column “pairs” has the share of pairs whose two images \
                        are of one category."
        .into();
    table.notes = vec![
        "The paper made its pairs by hand, which took six months, to avoid the errors of automatic matching. It does \
         not measure what such errors cost."
            .into(),
    ];
    table
}

fn with_false(simclr: &Settings, share: f32) -> Line {
    let mut settings = simclr.clone();
    settings.pairs.false_share = share;
    Line::pretrained(settings, PairKind::Semantic).labelled("made", false_label(share))
}

fn false_label(share: f32) -> String {
    format!("{} % false", percent(share))
}

fn percent(share: f32) -> f32 {
    (1e4 * share).round() / 100.0
}

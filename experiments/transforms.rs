//! Table `transforms`: SimCLR with transformations taken away, augmented pairs (AP) against semantic pairs (SP).
//!
//! Cost: one pretraining for each set of transformations, kind of pairs and seed. That of the full set is that of
//! `transfer`.

use sempair::data::augment::Augmentation;
use sempair::harness::experiment::{Axis, Family, Stated};
use sempair::methods::Name;
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, rows};
use sempair::study::settings::{OwnSettings, Settings};
use serde::Deserialize;

/// Removes transformations from those of a view.
type Change = fn(&mut Augmentation);

/// Sets of transformations by label; both views have the same set.
const SETS: [(&str, Change); 4] = [
    ("all", |_| {}),
    ("no grayscale", |augment| augment.grayscale = 0.0),
    ("no colour jitter", |augment| augment.jitter.probability = 0.0),
    ("crop only", |augment| {
        *augment = Augmentation { crop: augment.crop.clone(), ..Augmentation::none() };
    }),
];

/// Points of accuracy that count as "almost no loss". The paper gives no figure. This is a fifth of what AP loses in
/// the paper.
const ALMOST_NOTHING: f64 = 2.0;

/// The paper's figures for random crops only, top-1 in percent, on a set that it does not name: AP and SP.
const CROP_ONLY: (f64, f64) = (24.25, 64.23);

/// The keys `transforms.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// The evaluation sets.
    sets: Vec<String>,
}

impl OwnSettings for Own {}

/// The table.
pub const TABLE: Evaluations<Own> =
    Evaluations { id: "transforms", title: "SimCLR with transformations taken away", encoder_table };

fn encoder_table(settings: &Settings, Own { sets }: &Own) -> EncoderTable {
    let simclr = settings.of(Name::Simclr);
    let of_sets = SETS.map(|(label, change)| {
        let mut changed = simclr.clone();
        change(&mut changed.augment.first);
        change(&mut changed.augment.second);
        both_pairs(&changed, Some(("transformations", label)))
    });
    let [[full_ap, full_sp], [gray_ap, gray_sp], _, [crop_ap, crop_sp]] = of_sets.each_ref().map(rows);
    let mut lines = vec![Line::random(&simclr)];
    lines.extend(of_sets.into_iter().flatten());
    let mut table = EncoderTable::new(&simclr, sets, lines);
    let steps = SETS.map(|(label, _)| label.to_string());
    table.axis = Some(Axis::categories("transformations", "transformations", steps));
    for (row, value) in [(&crop_ap, CROP_ONLY.0), (&crop_sp, CROP_ONLY.1)] {
        table.state(row.clone(), "", Some(value));
    }
    let crops = Family::new("crop-only", "With crops only, AP lose more", "AP falls to 24.25, SP keeps 64.23");
    table
        .claim(&[full_ap.clone(), crop_sp], &[crop_ap, full_sp.clone()], |set| {
            format!("Augmented pairs lose more than semantic pairs with crops only, on {set}")
        })
        .of(&crops, "crop only")
        .stated(|_| Stated::Sign);
    let grayscale = Family::new("grayscale", "Without grayscale, AP lose more", "AP loses 9.69");
    table
        .claim(&[full_ap, gray_sp.clone()], &[gray_ap, full_sp.clone()], |set| {
            format!("Augmented pairs lose more than semantic pairs without grayscale, on {set}")
        })
        .of(&grayscale, "no grayscale")
        .stated(|_| Stated::Sign);
    let hardly = Family::new("grayscale-sp", "… and SP hardly change", "“almost nothing”");
    table
        .claim(&[gray_sp], &[full_sp], |set| {
            format!("Without grayscale almost nothing changes for semantic pairs, on {set}")
        })
        .of(&hardly, "SP without grayscale")
        .within(ALMOST_NOTHING);
    table.about_rows = "“all”: flips, crops, colour jitter, grayscale and all other transformations of the settings. \
                        “crop only”: only random resized crops."
        .into();
    table.notes = vec![
        "The paper does not name the set of these figures, so no difference to them is computed. In the paper, AP \
         loses 9.69 points without grayscale, and SP loses almost nothing."
            .into(),
        format!(
            "The paper gives no bound for “almost nothing”. Here it means at most {ALMOST_NOTHING} points, a fifth of \
             what AP loses in the paper."
        )
        .into(),
    ];
    table
}

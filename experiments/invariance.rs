//! Table `invariance`: what each of the paper's nuisance factors does to an encoder's features, augmented pairs (AP)
//! against semantic pairs (SP). The paper argues that SP makes features invariant to them, but does not measure this.
//!
//! Cost: the encoders are those of `transfer`. The features of the changed images take seconds.

use std::slice::from_ref;

use sempair::data::pairs::PairKind;
use sempair::data::world::{EVALUATION_SETS, Nuisance};
use sempair::harness::experiment::Family;
use sempair::study::columns::{COSINE, Varied};
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, trained};
use sempair::study::settings::{OwnSettings, Settings};
use serde::Deserialize;

/// The keys `invariance.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// The set whose test images are changed.
    set: String,
}

impl OwnSettings for Own {}

/// The table.
pub const TABLE: Evaluations<Own> =
    Evaluations { id: "invariance", title: "What a change of one nuisance factor does to features", encoder_table };

fn encoder_table(settings: &Settings, Own { set }: &Own) -> EncoderTable {
    let methods = &settings.transfer.methods;
    let mut lines = vec![Line::pixels(settings), Line::random(settings)];
    lines.extend(methods.iter().flat_map(|&method| both_pairs(&settings.of(method), None)));
    let mut table = EncoderTable::new(settings, from_ref(set), lines);
    Nuisance::ALL.iter().for_each(|&nuisance| table.measure(Varied { set: set.clone(), nuisance }));
    table.in_paper = false;
    let family = Family::new("invariance", "Semantic pairs make features more invariant", "argued, not measured");
    for &method in methods {
        let [ap, sp] = [PairKind::Augmented, PairKind::Semantic].map(|kind| trained(method, kind));
        table
            .claim_of(COSINE, &[sp], &[ap], |factor| {
                format!("Semantic pairs make features of {} more invariant to {factor}", method.title())
            })
            .of(&family, method.title());
    }
    let changed = if EVALUATION_SETS.contains(&set.as_str()) {
        "rendered again with only that factor redrawn, until the picture changes (an occlusion is always present)"
    } else {
        "edited: a colour covers a part from one side; the surroundings come from an image of another category; a \
         pattern is painted on the middle; or brightness, its gradient, colour cast and contrast are changed. The \
         object is assumed to be in the middle, so these edits change a factor only roughly"
    };
    table.about_columns = format!(
        "Mean cosine between features of the test images of {set} and of the same images with one factor changed, and \
         the accuracy in percent of a linear probe on the changed images."
    );
    table.about_rows = format!(
        "The changed images are {changed}. The mean feature of the training images is subtracted, so that unrelated \
         images have a cosine of about 0. The probe is fitted on unchanged training images. The first column is for \
         the unchanged images."
    );
    table.notes = vec![
        "The paper names these four factors and measures none of them. A high cosine means that features change \
         little. Features that do not distinguish images change little, too, so the cosine must be read together with \
         the accuracies."
            .into(),
    ];
    table
}

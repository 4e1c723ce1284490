//! Table `invariance`: what each of the paper's nuisance factors does to an encoder's features, augmented pairs (AP)
//! against semantic pairs (SP). The paper argues that SP makes features invariant to them, but does not measure this.
//!
//! Cost: the encoders are those of `transfer`. The features of the changed images take seconds.

use std::slice::from_ref;

use sempair::data::pairs::Kind;
use sempair::data::world::{EVALUATION_SETS, Nuisance};
use sempair::harness::experiment::Family;
use sempair::study::columns::{COSINE, Varied};
use sempair::study::settings::{OwnSettings, Settings};
use sempair::study::sheet::{Evaluations, Line, Sheet, both_pairs, trained};
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
    Evaluations { id: "invariance", title: "What a change of one nuisance factor does to features", sheet };

fn sheet(settings: &Settings, Own { set }: &Own) -> Sheet {
    let methods = &settings.transfer.methods;
    let mut lines = vec![Line::pixels(settings), Line::random(settings)];
    lines.extend(methods.iter().flat_map(|&method| both_pairs(&settings.of(method), None)));
    let mut sheet = Sheet::new(settings, from_ref(set), lines);
    Nuisance::ALL.iter().for_each(|&nuisance| sheet.measure(Varied { set: set.clone(), nuisance }));
    sheet.in_paper = false;
    let family = Family::new("invariance", "Semantic pairs make features more invariant", "argued, not measured");
    for &method in methods {
        let [ap, sp] = [Kind::Augmented, Kind::Semantic].map(|kind| trained(method, kind));
        sheet
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
    sheet.about_columns = format!(
        "Mean cosine between features of the test images of {set} and of the same images with one factor changed, and \
         the accuracy in percent of a linear probe on the changed images."
    );
    sheet.about_rows = format!(
        "The changed images are {changed}. The mean feature of the training images is subtracted, so that unrelated \
         images have a cosine of about 0. The probe is fitted on unchanged training images. The first column is for \
         the unchanged images."
    );
    sheet.notes = vec![
        "The paper names these four factors and measures none of them. A high cosine means that features change \
         little. Features that do not distinguish images change little, too, so the cosine must be read together with \
         the accuracies."
            .into(),
    ];
    sheet
}

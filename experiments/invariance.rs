//! Table `invariance`: what each of the paper's nuisance factors does to an encoder's features, augmented pairs (AP)
//! against semantic pairs (SP). The paper argues that SP makes features invariant to them and measures none.
//!
//! Cost: the encoders are those of `transfer`; the features of the changed images take seconds.

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
        "rendered again with only that factor drawn again, until it shows (an occlusion always there)"
    } else {
        "edited: something reaches in from a side; the surroundings of an image of another category; a pattern on the \
         middle; other brightness, gradient, cast and contrast. The object is taken to lie in the middle, so these \
         edits change a factor only roughly"
    };
    sheet.about_columns = format!(
        "Mean cosine between features of the test images of {set} and of the same images with one factor changed, and the \
         accuracy in percent of a linear probe on the changed images."
    );
    sheet.about_rows = format!(
        "The changed images are {changed}. The mean of the training images is taken off, so that unrelated images have a \
         cosine of about 0; the probe is fitted on unchanged training images. The first column is of the unchanged images."
    );
    sheet.notes = vec![
        "The paper names these four factors and measures none of them. A cosine says how little features move; features \
         that tell nothing apart move little, too, so it is to be read with the accuracies."
            .into(),
    ];
    sheet
}

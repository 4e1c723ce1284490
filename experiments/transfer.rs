//! Table `transfer`: linear evaluation of frozen features on sets that pretraining never saw, augmented pairs (AP)
//! against semantic pairs (SP), method by method.
//!
//! Cost: one pretraining for each method, kind of pairs and seed, shared by all sets; the probes take seconds.

use sempair::data::pairs::Kind;
use sempair::harness::experiment::Claim;
use sempair::methods::Name;
use sempair::study::columns::title_of_set;
use sempair::study::settings::Settings;
use sempair::study::sheet::{Evaluations, Line, Sheet, both_pairs, trained};

/// The paper's figures for SimCLR, top-1 in percent: AP, SP and the gain that it states, by column. It states none for
/// VICReg and BYOL, only that SP beats AP on every set; DINO's are of a ViT and stand in the table `vit`.
const PAPER: [(&str, Option<f64>, Option<f64>, f64); 3] = [
    ("cifar-10", Some(81.76), Some(83.60), 0.8),
    ("cifar-100", None, Some(59.58), 0.9),
    ("stl-10", Some(81.76), Some(85.59), 3.8),
];

/// The table.
pub const TABLE: Evaluations = Evaluations {
    id: "transfer",
    title: "Linear evaluation of features from augmented and from semantic pairs",
    sheet,
};

fn sheet(settings: &Settings, (): &()) -> Sheet {
    let mut lines = vec![Line::pixels(settings), Line::random(settings), Line::supervised(settings)];
    lines.extend(settings.transfer.methods.iter().flat_map(|&method| both_pairs(&settings.of(method), None)));
    let mut sheet = Sheet::new(settings, &settings.evaluation.sets, lines);
    for (column, ap, sp, _) in PAPER {
        sheet.state(trained(Name::Simclr, Kind::Augmented), column, ap);
        sheet.state(trained(Name::Simclr, Kind::Semantic), column, sp);
    }
    for &method in &settings.transfer.methods {
        let [ap, sp] = [Kind::Augmented, Kind::Semantic].map(|kind| trained(method, kind));
        sheet
            .claim(&[sp], &[ap], |set| format!("Semantic pairs beat augmented pairs with {} on {set}", method.title()));
    }
    claim_that_simclr_gains_most(&mut sheet, &settings.transfer.methods);
    claim_of_detection(&mut sheet);
    sheet.notes = notes();
    sheet
}

/// Against each other method that the paper compares.
fn claim_that_simclr_gains_most(sheet: &mut Sheet, methods: &[Name]) {
    let compared = [Name::Vicreg, Name::Byol, Name::Dino].into_iter().filter(|method| methods.contains(method));
    for method in compared.filter(|_| methods.contains(&Name::Simclr)) {
        let [ap, sp] = [Kind::Augmented, Kind::Semantic].map(|kind| [Name::Simclr, method].map(|m| trained(m, kind)));
        let [[simclr_ap, other_ap], [simclr_sp, other_sp]] = [ap, sp];
        sheet.claim(&[simclr_sp, other_ap], &[simclr_ap, other_sp], |set| {
            format!("SimCLR gains more from semantic pairs than {}, or loses less, on {set}", method.title())
        });
    }
}

/// What the paper measures besides, and sempair does not.
fn claim_of_detection(sheet: &mut Sheet) {
    let [ap, sp] = [Kind::Augmented, Kind::Semantic].map(|kind| trained(Name::Simclr, kind));
    let text = "Semantic pairs beat augmented pairs with SimCLR in object detection on PASCAL VOC".to_string();
    sheet.claims.push(Claim::contrast(text, "PASCAL VOC", "AP50", vec![sp], vec![ap]));
}

/// Where the paper's figures contradict each other, and what it leaves out.
fn notes() -> Vec<String> {
    let mut notes = Vec::new();
    for (column, ap, sp, gain) in PAPER {
        let title = title_of_set(column);
        match (ap, sp) {
            (Some(ap), Some(sp)) if (sp - ap - gain).abs() > 0.051 => notes.push(format!(
                "The paper's figures for {title} do not agree: {sp:.2} - {ap:.2} = {:+.2}, but the gain that it states \
                 is {gain:+.1}. The same {ap:.2} stands for STL-10, where it does match the stated gain, so here it may \
                 be a slip ({sp:.2} - {gain:.1} would be {:.1}).",
                sp - ap,
                sp - gain
            )),
            (None, _) => notes.push(format!(
                "The paper does not state AP on {title}; it states a gain of {gain:+.1} there."
            )),
            _ => {}
        }
    }
    notes.push(
        "The paper also measures object detection on PASCAL VOC with SimCLR, which no table here does: AP50 75.02 with SP \
         and 73.82 with AP, AP 50.30 and 48.9, AP75 55.22 and 53.72."
            .into(),
    );
    notes
}

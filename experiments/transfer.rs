//! Table `transfer`: linear evaluation of frozen features on sets that pretraining never saw, augmented pairs (AP)
//! against semantic pairs (SP), method by method.
//!
//! Cost: one pretraining for each method, kind of pairs and seed, which all sets share. The probes take seconds.

use sempair::data::pairs::PairKind;
use sempair::harness::experiment::{Family, Row, Stated};
use sempair::methods::Name;
use sempair::study::columns::title_of_set;
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, trained};
use sempair::study::settings::Settings;

/// The paper's figures for SimCLR, top-1 in percent: AP, SP and the gain that it states, by column. It states no
/// figures for VICReg and BYOL, only that SP beats AP on every set. Its figures for DINO are of a ViT, and the table
/// `vit` has them.
const PAPER: [(&str, Option<f64>, Option<f64>, f64); 3] = [
    ("cifar-10", Some(81.76), Some(83.60), 0.8),
    ("cifar-100", None, Some(59.58), 0.9),
    ("stl-10", Some(81.76), Some(85.59), 3.8),
];

/// The methods that the paper compares.
const METHODS: [Name; 4] = [Name::Simclr, Name::Vicreg, Name::Byol, Name::Dino];

/// The table.
pub const TABLE: Evaluations = Evaluations {
    id: "transfer",
    title: "Linear evaluation of features from augmented and from semantic pairs",
    encoder_table,
};

fn encoder_table(settings: &Settings, (): &()) -> EncoderTable {
    let mut lines = vec![Line::pixels(settings), Line::random(settings), Line::supervised(settings)];
    lines.extend(settings.transfer.methods.iter().flat_map(|&method| both_pairs(&settings.of(method), None)));
    let mut table = EncoderTable::new(settings, &settings.evaluation.sets, lines);
    for (column, ap, sp, _) in PAPER {
        table.state(trained(Name::Simclr, PairKind::Augmented), column, ap);
        table.state(trained(Name::Simclr, PairKind::Semantic), column, sp);
    }
    claim_that_semantic_pairs_transfer(&mut table, &settings.transfer.methods);
    claim_that_simclr_gains_most(&mut table);
    note_what_does_not_agree(&mut table);
    table
}

fn both(method: Name) -> [Row; 2] {
    [PairKind::Augmented, PairKind::Semantic].map(|kind| trained(method, kind))
}

/// Claims this for every method: first for the paper's methods, whether or not they are rows here, then for our own.
fn claim_that_semantic_pairs_transfer(table: &mut EncoderTable, methods: &[Name]) {
    let family = Family::new(Family::MAIN, "Semantic pairs transfer better", "all four methods, all sets");
    let ours = methods.iter().copied().filter(|method| !METHODS.contains(method));
    for method in METHODS.into_iter().chain(ours) {
        let [ap, sp] = both(method);
        let cases = table
            .claim(&[sp], &[ap], |set| format!("Semantic pairs beat augmented pairs with {} on {set}", method.title()))
            .of(&family, method.title())
            .stated(|column| stated(method, column));
        if !METHODS.contains(&method) {
            cases.ours();
        }
    }
}

fn stated(method: Name, column: &str) -> Stated {
    let of_simclr = PAPER.iter().find(|(of, ..)| method == Name::Simclr && *of == column);
    match of_simclr {
        Some(&(.., gain)) => Stated::Gain(gain),
        None if METHODS.contains(&method) && PAPER.iter().any(|(of, ..)| *of == column) => Stated::Sign,
        None => Stated::Nothing,
    }
}

/// Claims this against each other method that the paper compares.
fn claim_that_simclr_gains_most(table: &mut EncoderTable) {
    let family = Family::new("simclr-most", "SimCLR gains most", "more than VICReg, BYOL and DINO");
    for method in METHODS.into_iter().filter(|method| *method != Name::Simclr) {
        let [[simclr_ap, simclr_sp], [other_ap, other_sp]] = [Name::Simclr, method].map(both);
        table
            .claim(&[simclr_sp, other_ap], &[simclr_ap, other_sp], |set| {
                format!("SimCLR gains more from semantic pairs than {}, or loses less, on {set}", method.title())
            })
            .of(&family, &format!("than {}", method.title()))
            .stated(|_| Stated::Sign);
    }
}

/// Adds a note to each of the paper's figures that contradict each other.
fn note_what_does_not_agree(table: &mut EncoderTable) {
    for (column, ap, sp, gain) in PAPER {
        if let (Some(ap), Some(sp)) = (ap, sp)
            && (sp - ap - gain).abs() > 0.051
        {
            let note = format!(
                "The paper's figures for {} do not agree: {sp:.2} − {ap:.2} = {:+.2}, but the gain that it states is \
                 {gain:+.1}. The paper also gives {ap:.2} for STL-10, where it matches the stated gain, so here it may \
                 be an error ({sp:.2} − {gain:.1} would be {:.1}).",
                title_of_set(column),
                sp - ap,
                sp - gain
            );
            table.note_at(&trained(Name::Simclr, PairKind::Augmented), column, note);
        }
    }
}

//! Table `detection`: object detection with a detector on each encoder, fine-tuned. The paper gives average precision on
//! PASCAL VOC for SimCLR on a ResNet-50, and does not state detector, split or schedule; sempair assumes the protocol
//! that papers on self-supervised learning share (`detection`, `models::detector`).
//!
//! Cost: one detector for each row and seed. The encoders are those of `transfer` and `pairing`.

use sempair::data::catalog::SYNTH;
use sempair::data::pairs::PairKind;
use sempair::harness::experiment::{Family, PaperFigure, Stated};
use sempair::methods::Name;
use sempair::models::Learns;
use sempair::study::columns::{AVERAGE_PRECISION, DetectedOn, KINDS, VOC};
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, trained};
use sempair::study::settings::{DetectionSettings, Settings};

/// The paper's figures for SimCLR: column, AP, SP and the gain that it states.
const PAPER: [(&str, f64, f64, f64); 3] =
    [("ap50", 73.82, 75.02, 1.2), ("ap", 48.9, 50.30, 1.4), ("ap75", 53.72, 55.22, 1.5)];

/// The table.
pub const TABLE: Evaluations<DetectionSettings> =
    Evaluations { id: "detection", title: "Object detection with a detector on each encoder", encoder_table };

fn encoder_table(settings: &Settings, own: &DetectionSettings) -> EncoderTable {
    let mut lines = vec![Line::random(settings), Line::supervised(settings)];
    lines.extend(own.methods.iter().flat_map(|&method| both_pairs(&settings.of(method), None)));
    let mut table = EncoderTable::new(settings, &[], lines);
    for kind in KINDS {
        table.measure(DetectedOn { settings: own.clone(), kind });
    }
    let [ap, sp] = [PairKind::Augmented, PairKind::Semantic].map(|kind| trained(Name::Simclr, kind));
    for (column, of_ap, of_sp, _) in PAPER {
        for (row, value) in [(&ap, of_ap), (&sp, of_sp)] {
            let (row, column, metric) = (row.clone(), column.into(), AVERAGE_PRECISION.id.into());
            table.paper.push(PaperFigure { row, column, metric, value: Some(value) });
        }
    }
    let family = Family::new("detection", "Semantic pairs help object detection", "PASCAL VOC");
    for &method in &own.methods {
        let [ap, sp] = [PairKind::Augmented, PairKind::Semantic].map(|kind| trained(method, kind));
        let text = |column: &str| {
            format!("Semantic pairs beat augmented pairs with {} in object detection, {column}", method.title())
        };
        let cases =
            table.claim_of(AVERAGE_PRECISION, &[sp], &[ap], text).of(&family, method.title()).stated(|column| {
                let of_paper = PAPER.iter().find(|(of, ..)| method == Name::Simclr && *of == column);
                of_paper.map_or(Stated::Nothing, |&(.., gain)| Stated::Gain(gain))
            });
        if method != Name::Simclr {
            cases.ours();
        }
    }
    let DetectionSettings { recipe, protocol, .. } = own;
    table.about_columns = format!(
        "Average precision in percent of Faster R-CNN on each encoder, on the test images of {}: at an IoU of 0.5, the \
         mean over ten IoUs from 0.5 to 0.95, and at 0.75, each by PASCAL VOC's eleven points. {} steps of {} images, \
         learning rate {}, anchors of {:?} pixels, {} regions of an image in a step.",
        own.set, recipe.steps, recipe.batch, recipe.learning_rate, protocol.anchor_sizes, protocol.regions_sampled
    );
    let learned = match recipe.learns {
        Learns::All => "all its stages are fine-tuned",
        Learns::Head => "only this stage of it is fine-tuned",
        Learns::New => "none of its stages is fine-tuned",
    };
    table.about_rows = format!(
        "The encoder's last stage runs on each region, {learned}, and the new layers start from random values. “random \
         initialisation”: the encoder's weights, too."
    );
    table.varies = "new layers, order, flips and samples of the detector".into();
    table.may_lack_data = true;
    if own.set != VOC && settings.pairs.from != SYNTH {
        table.notes.push(
            "Objects may be of categories that pretraining has seen, which flatters all trained rows. With few objects of \
             each category in training, average precision is low."
                .into(),
        );
    }
    table.notes.push(
        "The paper does not state detector, split and schedule. The protocol assumed here is that of MoCo, which papers \
         on self-supervised learning share; its sizes and lengths are settings."
            .into(),
    );
    table
}

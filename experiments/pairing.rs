//! Table `pairing`: does the gain come from the pairs, or from more images? Semantic pairs (SP) have twice as many
//! different images as augmented pairs (AP), which have only the first image of each semantic pair. Here, AP is also
//! trained on both images of every semantic pair.
//!
//! Cost: for each method and seed, one pretraining with as many steps as the others, and one with twice as many
//! steps. AP, SP and the encoder trained with labels are those of `transfer`.

use std::slice::from_ref;

use sempair::data::pairs::PairKind;
use sempair::error::{Error, Result};
use sempair::harness::experiment::Family;
use sempair::methods::Name;
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::Line;
use sempair::study::settings::{OwnSettings, Settings};
use serde::Deserialize;

/// The keys `pairing.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// The methods, in the order of the rows.
    methods: Vec<Name>,
    /// The evaluation sets.
    sets: Vec<String>,
}

impl OwnSettings for Own {
    fn check(&self, id: &str, _: &Settings) -> Result<()> {
        if self.methods.is_empty() || !self.methods.iter().all(|method| method.is_self_supervised()) {
            return Err(Error::new(format!("`{id}.methods` needs one or more methods that learn without labels"))
                .hint(format!("`--set '{id}.methods=[\"simclr\"]'`")));
        }
        Ok(())
    }
}

/// The table.
pub const TABLE: Evaluations<Own> =
    Evaluations { id: "pairing", title: "Pairs of images, or more images?", encoder_table };

/// The rows of one method.
struct OfMethod {
    ap: Line,
    /// AP on both images of each semantic pair, for as many steps as the other rows.
    same_steps: Line,
    /// The same, but for as many epochs as the other rows, which means twice as many steps.
    same_epochs: Line,
    sp: Line,
}

impl OfMethod {
    fn new(settings: &Settings) -> Self {
        let line = |settings: &Settings, kind, images: &str| {
            Line::pretrained(settings.clone(), kind).labelled("images", images)
        };
        // Each image with itself is an augmented pair.
        let both = |settings: &Settings, images: &str| {
            line(settings, PairKind::Unpaired, images).relabelled("pairs", PairKind::Augmented.title())
        };
        let mut half = settings.clone();
        half.pretrain.epochs = settings.epochs().div_ceil(2);
        Self {
            ap: line(settings, PairKind::Augmented, "first"),
            same_steps: both(&half, "both, same steps"),
            same_epochs: both(settings, "both, same epochs"),
            sp: line(settings, PairKind::Semantic, "both"),
        }
    }
}

fn encoder_table(settings: &Settings, own: &Own) -> EncoderTable {
    let of_methods: Vec<OfMethod> = own.methods.iter().map(|&method| OfMethod::new(&settings.of(method))).collect();
    let rows: Vec<_> =
        of_methods.iter().map(|of| [&of.same_steps, &of.same_epochs, &of.sp].map(|line| line.row.clone())).collect();
    let mut lines = vec![Line::pixels(settings), Line::random(settings), Line::supervised(settings)];
    lines.extend(of_methods.into_iter().flat_map(|of| [of.ap, of.same_steps, of.same_epochs, of.sp]));
    let mut table = EncoderTable::new(settings, &own.sets, lines);
    table.in_paper = false;
    let family = Family::new("pairing", "Semantic pairs beat the same images unpaired", "no statement");
    for (method, [same_steps, same_epochs, sp]) in own.methods.iter().zip(&rows) {
        let title = method.title();
        for (other, length) in [(same_steps, "steps"), (same_epochs, "epochs")] {
            table
                .claim(from_ref(sp), from_ref(other), |set| {
                    format!(
                        "Semantic pairs beat augmented pairs of the same images in as many {length} with {title} on {set}"
                    )
                })
                .of(&family, &format!("{title}, same {length}"));
        }
    }
    table.about_rows =
        "“first”: the first image of each semantic pair. “both”: every image of the semantic pairs. With AP, \
                        each image is paired with itself, so there are twice as many pairs, which are trained for half \
                        the epochs, rounded up (same steps), or for the same number of epochs (twice the steps). \
                        “supervised”: the same encoder trained with the labels of the semantic pairs' images, which \
                        shows what is possible with them."
            .into();
    table.notes = vec![
        "Semantic pairs have twice as many different images as the augmented pairs of the paper's comparison. The \
         paper does not say how much of its gain comes from that."
            .into(),
    ];
    table
}

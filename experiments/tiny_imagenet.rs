//! Table `tiny-imagenet`: SimCLR on semantic pairs against SimCLR on a larger set of single images: accuracy, training
//! time, and time to equal accuracy.
//!
//! Cost: for each seed, one pretraining on the larger set, which takes about three times as long as that of
//! `transfer`, and one on the pairs. Both also save their encoder during training, and each saved encoder is probed.

use std::slice::from_ref;

use sempair::data::pairs::PairKind;
use sempair::error::Result;
use sempair::harness::experiment::{Claim, Family, Stated};
use sempair::methods::Name;
use sempair::study::columns::{SECONDS, TimeToEqual, TrainingTime};
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::Line;
use sempair::study::settings::{OwnSettings, Settings, drawable, positive};
use serde::Deserialize;

/// The paper's figures, top-1 in percent: semantic pairs and Tiny-ImageNet, by column.
const PAPER: [(&str, f64, f64); 2] = [("cifar-10", 83.60, 79.43), ("stl-10", 85.59, 79.61)];

/// The keys `tiny-imagenet.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// The larger set.
    from: String,
    /// The number of its categories.
    categories: usize,
    /// The number of images of each category.
    images: usize,
    /// The evaluation sets.
    sets: Vec<String>,
    /// The set for the time to equal accuracy.
    set: String,
}

impl OwnSettings for Own {
    fn check(&self, id: &str, _: &Settings) -> Result<()> {
        let key = format!("{id}.categories");
        positive(&key, self.categories as u64)?;
        drawable(&self.from, &key, self.categories)?;
        positive(&format!("{id}.images"), self.images as u64)
    }
}

/// The table.
pub const TABLE: Evaluations<Own> = Evaluations {
    id: "tiny-imagenet",
    title: "SimCLR on semantic pairs and on more images without pairs",
    encoder_table,
};

fn encoder_table(settings: &Settings, own: &Own) -> EncoderTable {
    let mut simclr = settings.of(Name::Simclr);
    simclr.pretrain.snapshots = true;
    let pairs = Line::pretrained(simclr.clone(), PairKind::Semantic);
    let mut all = simclr.clone();
    all.pairs.from.clone_from(&own.from);
    all.pairs.list.clear();
    all.pairs.reuse = false;
    (all.pairs.categories, all.pairs.per_category) = (own.categories, own.images.div_ceil(2));
    let images = own.categories * 2 * all.pairs.per_category;
    let trained = vec![(simclr.clone(), PairKind::Semantic), (all.clone(), PairKind::Unpaired)];
    let single = Line::pretrained(all, PairKind::Unpaired).labelled("images", format!("{images} images"));
    let (sp, unpaired) = (pairs.row.clone(), single.row.clone());
    let mut table = EncoderTable::new(&simclr, &own.sets, vec![Line::random(&simclr), pairs, single]);
    table.measure(TrainingTime);
    table.measure(TimeToEqual { set: own.set.clone(), trainings: trained });
    for (column, of_pairs, of_images) in PAPER {
        table.state(sp.clone(), column, Some(of_pairs));
        table.state(unpaired.clone(), column, Some(of_images));
    }
    let better = Family::new("tiny-imagenet", "Few pairs beat more single images", "83.60 against 79.43 on CIFAR-10");
    table
        .claim(from_ref(&sp), from_ref(&unpaired), |set| {
            format!("Semantic pairs beat more images without pairs on {set}")
        })
        .of(&better, "SP against single images")
        .stated(|_| Stated::Sign);
    let faster = "Semantic pairs take less training time than more images without pairs".to_string();
    let claim = Claim::contrast(faster, TrainingTime::ID, SECONDS.id, vec![unpaired], vec![sp]);
    let family = Family::new("time", "… and train in less time", "4.5 h against 13 h");
    table.claims.push(Claim { family, case: "time saved".into(), stated: Stated::Sign, ..claim });
    table.about_rows = format!(
        "“unpaired”: {images} images of {} categories of {}, each paired with itself, for the same number of epochs. \
         “Time to equal accuracy”: the training time until the linear accuracy on {} first reaches the final accuracy \
         of the less accurate of the two trainings. It is measured at most ten times during a training.",
        own.categories, own.from, own.set
    );
    table.notes = vec![
        "The paper trains on 29.4K semantic pairs of 187 categories for 4.5 h, and on the 100K images of \
         Tiny-ImageNet, 200 categories, for 13 h, on one A100. Times here were measured on this machine, and other \
         programs that ran on it affect them."
            .into(),
        "For the same number of epochs, the larger set takes more steps, so the total training times differ only \
         because of the number of images. The column “time to equal accuracy” compares the sets by the time that they \
         need."
            .into(),
    ];
    table
}

//! Describes in words how the rows of a table were trained, and how this differs from the paper's training.

use serde::Serialize;

use crate::data::catalog::SYNTH;
use crate::data::pairs::Making;
use crate::data::world;
use crate::harness::experiment::Distance;
use crate::methods::Name;

use super::settings::Settings;

/// The paper's pairs: the number of categories, and of pairs per category.
const PAIRS: (usize, usize) = (187, 157);
/// The epochs of the paper's shortest and longest training.
const EPOCHS: (usize, usize) = (200, 800);
/// The paper's batch size.
const BATCH: usize = 256;
/// The side of the paper's images in pixels.
const IMAGE: usize = 64;
/// The paper's encoders: the name in the settings, and the name in the paper.
const RESNET: (&str, &str) = ("resnet50", "ResNet-50");
const VIT: (&str, &str) = ("vit-s8", "ViT-S/8");

/// The settings that the trained rows of a table share.
pub struct Setup<'a> {
    settings: &'a Settings,
    /// Training lengths in epochs, each with its methods. The length of most methods is first.
    lengths: Vec<(usize, Vec<Name>)>,
}

impl<'a> Setup<'a> {
    /// The setup of rows with these methods, which may repeat.
    pub fn new(settings: &'a Settings, methods: impl IntoIterator<Item = Name>) -> Self {
        let mut lengths: Vec<(usize, Vec<Name>)> = Vec::new();
        for method in methods {
            let epochs = settings.of(method).epochs();
            match lengths.iter_mut().find(|(length, _)| *length == epochs) {
                Some((_, methods)) if methods.contains(&method) => {}
                Some((_, methods)) => methods.push(method),
                None => lengths.push((epochs, vec![method])),
            }
        }
        lengths.sort_by_key(|(_, methods)| std::cmp::Reverse(methods.len()));
        Self { settings, lengths }
    }

    /// One sentence for the caption.
    pub fn sentence(&self) -> String {
        format!(
            "Pretrained, unless a row says otherwise, for {} on {} from {}, with encoder {} at {size} × {size} pixels.",
            self.length(),
            self.counted(),
            self.source(),
            self.encoder(),
            size = self.settings.model.image,
        )
    }

    /// How long the rows are trained: `24 epochs (BYOL, DINO: 72)`.
    fn length(&self) -> String {
        let Some(((most, _), others)) = self.lengths.split_first() else { return "no epochs".into() };
        let other = |(epochs, methods): &(usize, Vec<Name>)| {
            let titles: Vec<&str> = methods.iter().map(|method| method.title()).collect();
            format!("{}: {epochs}", titles.join(", "))
        };
        let others: Vec<String> = others.iter().map(other).collect();
        if others.is_empty() { format!("{most} epochs") } else { format!("{most} epochs ({})", others.join("; ")) }
    }

    /// The shortest and the longest training in epochs.
    fn range(&self) -> (usize, usize) {
        let epochs = || self.lengths.iter().map(|(epochs, _)| *epochs);
        (epochs().min().unwrap_or(0), epochs().max().unwrap_or(0))
    }

    /// The number of pairs, in words. A report is rendered without the list file; the data of each run hold
    /// the number of the list's pairs.
    fn counted(&self) -> String {
        let pairs = &self.settings.pairs;
        if !pairs.list.is_empty() {
            return format!("the pairs of the list {}", pairs.list);
        }
        let (categories, each) = (pairs.categories, pairs.per_category);
        format!("{} pairs ({categories} categories × {each})", thousands(categories * each))
    }

    /// Where the pairs come from.
    fn source(&self) -> String {
        match self.settings.pairs.from.as_str() {
            SYNTH => format!(
                "the embedded procedural world (version {}), which stands in for the paper's photographs",
                world::VERSION
            ),
            // Only the run records know the contents of a list.
            set if !self.settings.pairs.list.is_empty() => set.to_owned(),
            set => format!("{set}, which is not the paper's hand-made set of pairs"),
        }
    }

    fn encoder(&self) -> String {
        let model = &self.settings.model;
        format!("{} (stem {})", name(&model.encoder), name(&model.stem))
    }

    /// Compares the settings with the paper's.
    pub fn distance(&self) -> Vec<Distance> {
        let mut facts = vec![self.pairs()];
        facts.extend(self.pairs_seen());
        facts.extend([self.second_view(), self.encoder_beside(), self.image(), self.epochs(), self.batch()]);
        facts.iter_mut().filter(|fact| fact.same).for_each(|fact| fact.brief.clear());
        facts
    }

    fn pairs(&self) -> Distance {
        let of_paper = thousands(PAIRS.0 * PAIRS.1);
        Distance {
            what: "Pairs".into(),
            paper: format!("{of_paper} pairs ({} categories × {}) of ImageNet-1K, matched by hand", PAIRS.0, PAIRS.1),
            here: format!("{} from {}", self.counted(), self.source()),
            // Only the run records know the contents of a list. They say whether it may be the paper's.
            same: !self.settings.pairs.list.is_empty(),
            brief: format!("{}, not {of_paper} matched by hand", self.counted()),
        }
    }

    /// Pairs times epochs; `None` for a list, whose pairs are counted later.
    fn pairs_seen(&self) -> Option<Distance> {
        let pairs = &self.settings.pairs;
        let number = pairs.categories * pairs.per_category;
        let (shortest, longest) = self.range();
        let of_paper = PAIRS.0 * PAIRS.1;
        let share = 100.0 * (number * shortest) as f64 / (of_paper * EPOCHS.0) as f64;
        let millions = |epochs: usize| (of_paper * epochs) as f64 / 1e6;
        let (here, from) = match shortest == longest {
            true => (thousands(number * shortest), ""),
            false => (format!("{} to {}", thousands(number * shortest), thousands(number * longest)), "from "),
        };
        let words = if share < 100.0 { format!(": {from}{share:.1} % of the paper's least") } else { String::new() };
        pairs.list.is_empty().then(|| Distance {
            what: "Pairs seen in training".into(),
            paper: format!("{:.1} to {:.1} million", millions(EPOCHS.0), millions(EPOCHS.1)),
            here: here + &words,
            same: share >= 100.0,
            brief: String::new(),
        })
    }

    fn second_view(&self) -> Distance {
        let of_paper = "made by crop, rotation, flip and colour jitter, then transformed like the first";
        let here = match self.settings.pairs.augmented {
            Making::Live => "the first image again, transformed at random",
            Making::Stored => of_paper,
        };
        Distance {
            what: "Second view of AP".into(),
            paper: of_paper.into(),
            here: here.into(),
            // More transformations of the same kind do not make a different experiment.
            same: true,
            brief: String::new(),
        }
    }

    fn encoder_beside(&self) -> Distance {
        let here = name(&self.settings.model.encoder);
        let (of_paper, title) = if here.starts_with("vit") { VIT } else { RESNET };
        Distance {
            what: "Encoder".into(),
            paper: title.into(),
            here: self.encoder(),
            same: here == of_paper,
            brief: format!("encoder {here}, not {title}"),
        }
    }

    fn image(&self) -> Distance {
        let image = self.settings.model.image;
        Distance {
            what: "Image size".into(),
            paper: format!("{IMAGE} × {IMAGE}"),
            here: format!("{image} × {image}"),
            same: image == IMAGE,
            brief: format!("images of {image} pixels, not {IMAGE}"),
        }
    }

    fn epochs(&self) -> Distance {
        let (shortest, longest) = self.range();
        let here = if shortest == longest { longest.to_string() } else { format!("{shortest} to {longest}") };
        Distance {
            what: "Epochs".into(),
            paper: format!("{} to {}", EPOCHS.0, EPOCHS.1),
            here: self.length(),
            same: EPOCHS.0 <= shortest && longest <= EPOCHS.1,
            brief: format!("{here} epochs, not {} to {}", EPOCHS.0, EPOCHS.1),
        }
    }

    fn batch(&self) -> Distance {
        let batch = self.settings.pretrain.batch;
        Distance {
            what: "Batch".into(),
            paper: BATCH.to_string(),
            here: batch.to_string(),
            same: batch == BATCH,
            brief: format!("batches of {batch}, not {BATCH}"),
        }
    }
}

/// A count with commas between groups of three digits.
fn thousands(n: usize) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", thousands(n / 1000), n % 1000) }
}

/// A setting as the configuration writes it.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}

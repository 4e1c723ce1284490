//! Stage `neighbours`: the second images of the pairs of [`PairKind::Neighbours`]. For each first image it finds the most
//! similar image among all images of the semantic pairs, by the features of the encoder trained on augmented pairs.

use std::sync::Arc;

use serde_json::json;

#[cfg(doc)]
use crate::data::pairs::PairKind;
use crate::error::Result;
use crate::eval;
use crate::files::write_json;
use crate::harness::stage::Stage;
use crate::study::cost;
use crate::study::settings::Settings;

use super::mapping::Mapping;
use super::{Context, pretrain};

/// The stage for an encoder.
///
/// # Errors
/// When the set of the pairs is missing.
pub fn neighbours(context: &Context, settings: &Settings, by: &Arc<Stage>, mapping: &Mapping) -> Result<Arc<Stage>> {
    let (pairs, mapping) = (context.catalog.pairs(&settings.pairs)?, mapping.clone());
    let roots = [&["study::stages::neighbours", "data::pairs::choice", pairs.set.made_by()], &mapping.code[..]];
    let cost = cost::features(&context.device, mapping.model.as_ref(), 2 * pairs.chosen.count());
    let inputs = json!({ "encoder": mapping.identity });
    let description = context.describe("neighbours", inputs, &roots.concat(), &[by], cost);
    Ok(Stage::new(description, move |site| {
        let (set, list) = pairs.open()?;
        let images = list.images();
        let shown = set.subset(&format!("{}, paired", set.name), &images);
        let features = mapping.features(&shown, site)?;
        let place = |image: &u32| images.binary_search(image).unwrap_or_else(|_| unreachable!("of the list"));
        let firsts: Vec<usize> = list.pairs.iter().map(|pair| place(&pair.first)).collect();
        let seconds = eval::most_similar(&features, &firsts).into_iter().map(|place| images[place]);
        write_json(&site.dir.join(pretrain::SECONDS_OF_PAIRS), &seconds.collect::<Vec<u32>>())
    }))
}

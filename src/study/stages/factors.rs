//! Stage `factors`: the nuisance factors of an embedded set, with one table for each split and one row for each image.
//! No figure depends on it; it documents what each image shows.

use std::sync::Arc;

use serde_json::json;

use crate::data::catalog::{SYNTH, Set};
use crate::data::world;
use crate::harness::stage::{Cost, Stage};
use crate::study::cost;
use crate::study::settings::Settings;

use super::Context;

/// The stage for a set; `None` where the set is imported.
pub fn factors(context: &Context, settings: &Settings, set: &Arc<Set>) -> Option<Arc<Stage>> {
    let world = context.catalog.world().clone();
    let describe = |inputs, images: usize| {
        let cost: Cost = cost::rendering(&world, images);
        context.describe("factors", inputs, &["study::stages::factors"], &[], cost)
    };
    if set.name == SYNTH {
        let (categories, images) = context.catalog.pairs(&settings.pairs).ok()?.chosen.rendered();
        let inputs = json!({ "set": set.identity, "categories": categories, "images": images });
        let description = describe(inputs, categories * images);
        return Some(Stage::new(description, move |site| {
            let (_, factors) = world::pretraining(&world, categories, images);
            world::write_factors(&site.dir.join("train.tsv"), &factors)
        }));
    }
    if !set.is_embedded() {
        return None;
    }
    let name = set.name.clone();
    let description = describe(json!({ "set": set.identity }), set.extent.train + set.extent.test);
    Some(Stage::new(description, move |site| {
        let factors = world::evaluation_with_factors(&world, &name).map(|(_, factors)| factors).unwrap_or_default();
        factors.iter().try_for_each(|(split, rows)| world::write_factors(&site.dir.join(format!("{split}.tsv")), rows))
    }))
}

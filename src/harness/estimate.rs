//! How long what is missing will take: the predicted costs of its stages, corrected by what such stages took in earlier
//! runs.

use std::collections::HashMap;
use std::collections::HashSet;

use crate::harness::cache::Cache;
use crate::harness::experiment::Cell;
use crate::harness::provenance::Compute;
use crate::harness::record::Record;
use crate::harness::stage::Stage;

/// Estimates the time of cells. A stage that several cells need counts once.
#[derive(Clone)]
pub struct Estimate<'a> {
    cache: &'a Cache,
    /// Measured over predicted seconds, by the stage's name.
    rates: HashMap<String, f64>,
    counted: HashSet<String>,
    /// Whether what is in the cache is computed all the same.
    again: bool,
}

impl<'a> Estimate<'a> {
    /// Learns from the profile's runs on the same processor, instruction set and precision. Without any, predictions are
    /// used as they are: they are closer than what other networks and sets took.
    pub fn new(records: &[Record], profile: &str, cpu: &str, cache: &'a Cache, compute: &Compute) -> Self {
        let mut sums: HashMap<&str, (f64, f64)> = HashMap::new();
        let of_profile = records.iter().filter(|record| record.profile == profile);
        let alike = of_profile.filter(|record| record.compute == *compute && record.host.cpu == cpu);
        for stage in alike.flat_map(|record| &record.stages).filter(|stage| stage.computed && stage.predicted > 0.0) {
            let (measured, predicted) = sums.entry(&stage.name).or_default();
            (*measured, *predicted) = (*measured + stage.seconds, *predicted + stage.predicted);
        }
        let rates =
            sums.into_iter().map(|(name, (measured, predicted))| (name.to_owned(), measured / predicted)).collect();
        Self { cache, rates, counted: HashSet::new(), again: false }
    }

    /// As if nothing were in the cache.
    #[must_use]
    pub fn again(self, again: bool) -> Self {
        Self { again, ..self }
    }

    /// Seconds of the cell's stages that are not in the cache.
    pub fn seconds(&self, cell: &Cell) -> f64 {
        self.missing(cell).map(|(_, seconds)| seconds).sum()
    }

    /// The same without the stages that were counted before; counts them.
    pub fn count(&mut self, cell: &Cell) -> f64 {
        let fresh: Vec<(String, f64)> = self.missing(cell).filter(|(key, _)| !self.counted.contains(key)).collect();
        let seconds = fresh.iter().map(|(_, seconds)| seconds).sum();
        self.counted.extend(fresh.into_iter().map(|(key, _)| key));
        seconds
    }

    /// The most memory that one of the cell's missing stages is predicted to take, in bytes.
    pub fn memory(&self, cell: &Cell) -> u64 {
        self.absent(cell).map(|stage| stage.description.cost.memory).max().unwrap_or(0)
    }

    fn missing(&self, cell: &Cell) -> impl Iterator<Item = (String, f64)> {
        self.absent(cell).map(|stage| (stage.key().to_owned(), self.of(stage)))
    }

    fn absent<'c>(&self, cell: &'c Cell) -> impl Iterator<Item = &'c Stage> {
        let stages = cell.stages().map(AsRef::as_ref);
        stages.filter(|stage| self.again || !self.cache.has(stage.name(), stage.key()))
    }

    fn of(&self, stage: &Stage) -> f64 {
        stage.description.cost.seconds * self.rates.get(stage.name()).copied().unwrap_or(1.0)
    }
}

//! Checks that the embedded world meets its criteria ([`sempair::data::world::SOUND`]), with a short training on
//! augmented pairs. No row of semantic pairs is used.

use sempair::data::pairs::PairKind;
use sempair::data::world::SOUND;
use sempair::harness::cache::Cache;
use sempair::harness::config::Layers;
use sempair::harness::interrupt::Interrupt;
use sempair::harness::progress::Progress;
use sempair::harness::stage_runner::StageRunner;
use sempair::methods::Name;
use sempair::study::settings::{DeviceChoice, Settings};
use sempair::study::stages::{self, Context, Representation};
use serde_json::Value;

/// Epochs on augmented pairs: half of the profile's epochs are enough.
const EPOCHS: usize = 12;

/// Linear accuracies in percent on synth-10 and synth-stl, the sets of ten categories.
fn accuracies(settings: &Settings, what: Representation, lab: &mut StageRunner<'_>) -> [f64; 2] {
    let context = Context::new(settings).unwrap();
    let (mapping, _) = stages::mapping(&context, settings, what, 0).unwrap();
    ["synth-10", "synth-stl"].map(|set| {
        let probe = stages::evaluation(&context, settings, &mapping, set, 0).unwrap().stage;
        let mut needed = Vec::new();
        probe.gather(&mut needed);
        for stage in &needed {
            lab.run(stage).unwrap();
        }
        let text = std::fs::read_to_string(lab.done().of(&probe).dir.join("probe.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["linear"].as_f64().unwrap()
    })
}

#[test]
fn outlines_decide_the_category_and_can_be_learned() {
    let defaults = include_str!("../experiments/defaults.toml");
    let mut settings = Layers::new().embedded("defaults", defaults).resolve::<Settings>().unwrap().settings;
    settings.methods.simclr.recipe.epochs = EPOCHS;
    settings.device = DeviceChoice::Cpu; // tests of the GPU may have opened a simulated one
    let folder = tempfile::tempdir().unwrap();
    let (cache, progress, interrupt) = (Cache::open(folder.path()), Progress::quiet(), Interrupt::never());
    let mut lab = StageRunner::new(&cache, &progress, &interrupt, "soundness");
    let mut of = |method: Name, what| accuracies(&settings.of(method), what, &mut lab);
    let raw = of(Name::Simclr, Representation::Pixels);
    let untrained = of(Name::Simclr, Representation::Random);
    let supervised = of(Name::Supervised, Representation::Pretrained(PairKind::Semantic));
    let ap = of(Name::Simclr, Representation::Pretrained(PairKind::Augmented));
    assert!(raw.iter().all(|&raw| raw <= SOUND.raw_at_most), "raw pixels {raw:?}");
    assert!(untrained.iter().all(|&untrained| untrained <= SOUND.untrained_at_most), "untrained {untrained:?}");
    assert!(supervised[0] >= SOUND.supervised_at_least, "supervised {supervised:?}");
    for set in 0..2 {
        let least = raw[set].max(untrained[set]) + SOUND.gain_at_least;
        assert!(ap[set] >= least, "AP {ap:?}, raw {raw:?}, untrained {untrained:?}");
    }
    println!("raw {raw:?}, untrained {untrained:?}, supervised {supervised:?}, AP {ap:?}");
}

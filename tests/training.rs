//! Training with every method: a checkpoint holds everything that the method needs to continue.

use safetensors::SafeTensors;
use sempair::harness::config::Layers;
use sempair::methods::{Learner, Method, MethodBatch, Name, Start, StepInfo};
use sempair::models::{Encoder, Stem};
use sempair::optim::{Optimizer, OptimizerSettings, ParamOverrides, StepRates};
use sempair::rng::Key;
use sempair::study::settings::Settings;
use sempair::tensor::{AnyDevice, Cpu, Precision};
use sempair::train::checkpoint::{self, Position};

const PAIRS: usize = 12;
const BATCH: usize = 6;
const SIDE: usize = 16;
const STEPS: usize = 8;

pub fn settings() -> Settings {
    let defaults = include_str!("../experiments/defaults.toml");
    let smaller = [
        "methods.moco-v2.queue=16",
        "methods.pirl.negatives=7",
        "methods.deepcluster-v2.clusters=[3,4]",
        "methods.swav.queue=8",
        "methods.swav.crops=2",
        "methods.dino.crops=3",
    ];
    let layers = Layers::new().embedded("defaults", defaults).set(&smaller.map(String::from));
    let mut settings = layers.resolve::<Settings>().unwrap().settings;
    settings.model.image = SIDE;
    settings
}

/// A method with its optimiser.
pub struct Training {
    learner: Box<dyn Learner<AnyDevice>>,
    optimizer: Optimizer<AnyDevice>,
    crops: usize,
}

impl Training {
    fn start(settings: &Settings, method: &Method) -> Self {
        Self::start_on(Cpu { precision: Precision::Bf16 }.into(), settings, method)
    }

    pub fn start_on(device: AnyDevice, settings: &Settings, method: &Method) -> Self {
        let learner = method
            .start(&Start {
                spec: settings.model,
                device,
                initialisation: Key::root(1),
                draws: Key::root(2),
                pairs: PAIRS,
                categories: PAIRS,
                batch: BATCH,
            })
            .unwrap();
        let common: &OptimizerSettings = &settings.optimizer;
        let frozen = learner.frozen().map(|(prefix, epochs)| (prefix, (epochs * (PAIRS / BATCH)) as u64));
        let apart = ParamOverrides { steady: learner.steady(), frozen };
        let optimizer = Optimizer::new(method.recipe().rule, common, apart, &learner.network().backbone().parameters());
        let crops = method.crops().count();
        let mut training = Self { learner, optimizer, crops };
        if training.learner.remembers() {
            (0..PAIRS / BATCH).for_each(|step| training.with_batch(step, |learner, batch| learner.warm_up(batch)));
        }
        training
    }

    /// Shows the learner the batch of a step.
    fn with_batch<R>(
        &mut self,
        step: usize,
        see: impl FnOnce(&mut dyn Learner<AnyDevice>, &MethodBatch<'_>) -> R,
    ) -> R {
        let mut stream = Key::root(3).at(step as u64).stream();
        let mut pixels = |len: usize| std::iter::repeat_with(|| stream.normal()).take(len).collect::<Vec<f32>>();
        let images = pixels(2 * BATCH * SIDE * SIDE * 3);
        let crops = pixels(self.crops * BATCH * (SIDE / 2) * (SIDE / 2) * 3);
        let first = (step % 2 * BATCH) as u32;
        let pairs: Vec<u32> = (first..first + BATCH as u32).collect();
        let categories: Vec<u32> = pairs.iter().map(|pair| pair / 2).collect();
        let batch = MethodBatch { images: &images, crops: &crops, pairs: &pairs, categories: &categories };
        see(&mut *self.learner, &batch)
    }

    pub fn step(&mut self, step: usize) -> f64 {
        self.step_at(step, StepRates { rate: 0.02, peak_rate: 0.05, weight_decay: 1e-4 })
    }

    fn step_at(&mut self, step: usize, pace: StepRates) -> f64 {
        let moment = StepInfo { step, steps: STEPS, steps_per_epoch: PAIRS / BATCH };
        self.learner.network().backbone().parameters().clear_gradients();
        let loss = self.with_batch(step, |learner, batch| learner.step(batch, moment)).value();
        self.optimizer.step(&mut self.learner.network().backbone().parameters(), pace);
        self.learner.after_step(moment);
        loss
    }

    /// The values of the parameters whose names begin with `prefix`.
    pub fn values(&self, prefix: &str) -> Vec<f32> {
        self.learner.network().backbone().read().host_of(prefix)
    }

    /// Goes on from a checkpoint that [`Training::saved`] wrote.
    pub fn load(&mut self, folder: &std::path::Path) {
        checkpoint::load(&folder.join("checkpoint"), &mut *self.learner, &mut self.optimizer).unwrap();
    }

    pub fn saved(&mut self, folder: &std::path::Path) -> Vec<u8> {
        let path = folder.join("checkpoint");
        checkpoint::save(&path, &mut *self.learner, &self.optimizer, &Position::default()).unwrap();
        std::fs::read(path).unwrap()
    }
}

#[test]
fn every_method_goes_on_from_a_checkpoint_with_the_same_bits() {
    let settings = settings();
    let folder = tempfile::tempdir().unwrap();
    for &name in Name::ALL {
        let method = settings.methods.get(name);
        let mut whole = Training::start(&settings, &method);
        let losses: Vec<f64> = (0..STEPS).map(|step| whole.step(step)).collect();
        assert!(losses.iter().all(|loss| loss.is_finite()), "{name:?}: {losses:?}");
        // In the first, second and third epoch, so that queues have wrapped around.
        for cut in [1, 3, 5] {
            let mut first = Training::start(&settings, &method);
            (0..cut).for_each(|step| assert_eq!(first.step(step), losses[step], "{name:?}"));
            first.saved(folder.path());
            let mut second = Training::start(&settings, &method);
            second.load(folder.path());
            let rest: Vec<f64> = (cut..STEPS).map(|step| second.step(step)).collect();
            assert_eq!(rest, losses[cut..], "{name:?} from step {cut}");
            assert!(second.saved(folder.path()) == whole.saved(folder.path()), "{name:?} from step {cut}");
        }
    }
}

#[test]
fn every_method_trains_a_vision_transformer() {
    let mut settings = settings();
    (settings.model.encoder, settings.model.stem) = (Encoder::VitMini, Stem::Patch8);
    for &name in Name::ALL {
        let mut training = Training::start(&settings, &settings.methods.get(name));
        let before = training.values("patch_embed");
        // Without decay, so that only gradients change parameters.
        let pace = StepRates { rate: 0.02, peak_rate: 0.02, weight_decay: 0.0 };
        let losses: Vec<f64> = (0..3).map(|step| training.step_at(step, pace)).collect();
        assert!(losses.iter().all(|loss| loss.is_finite()), "{name:?}: {losses:?}");
        let length = training.values("patch_embed").iter().zip(&before).map(|(a, b)| (a - b).abs()).sum::<f32>();
        assert!(length > 0.0 && length.is_finite(), "{name:?}: the first layer has not moved");
    }
}

#[test]
fn what_is_frozen_stays_for_its_epochs_and_then_moves() {
    let mut settings = settings();
    (settings.methods.dino.freeze_epochs, settings.methods.swav.freeze_epochs) = (1, 1);
    let prefix = "predictor.";
    for name in [Name::Dino, Name::Swav] {
        let mut training = Training::start(&settings, &settings.methods.get(name));
        let (start, first_layer) = (training.values(prefix), training.values("conv1"));
        for step in 0..2 {
            training.step(step);
        }
        let after_an_epoch = training.values(prefix);
        if name == Name::Swav {
            // SwAV scales its prototypes to unit length before each step, which rounds them.
            for (row, start) in after_an_epoch.chunks(128).zip(start.chunks(128)) {
                let length = start.iter().map(|x| x * x).sum::<f32>().sqrt();
                assert!(row.iter().zip(start).all(|(a, b)| (a - b / length).abs() < 1e-6), "SwAV's prototypes moved");
            }
        } else {
            assert!(after_an_epoch == start, "{name:?}: frozen parameters moved");
        }
        assert!(training.values("conv1") != first_layer, "{name:?}: nothing moves in the first epoch");
        training.step(2);
        assert!(training.values(prefix) != after_an_epoch, "{name:?}: still frozen after the first epoch");
    }
}

#[test]
fn what_is_remembered_before_the_first_epoch_is_not_learned_from() {
    let settings = settings();
    let method = settings.methods.get(Name::DeepclusterV2);
    let mut training = Training::start(&settings, &method);
    let weights = training.values("");
    let folder = tempfile::tempdir().unwrap();
    let memories = |training: &mut Training| {
        let file = training.saved(folder.path());
        let tensors = SafeTensors::deserialize(&file).unwrap();
        ["method.memory.0", "method.memory.1"].map(|name| tensors.tensor(name).unwrap().data().to_vec())
    };
    let before = memories(&mut training);
    training.with_batch(2, |learner, batch| learner.warm_up(batch));
    let after = memories(&mut training);
    assert!(after[0] != before[0] && after[1] != before[1] && training.values("") == weights);
    // The clusters exist from the first step on.
    assert!(training.step(0) > 0.0 && training.values("") != weights);
}

#[test]
fn the_predictor_of_simsiam_has_a_constant_multiple_of_the_peak_rate() {
    let mut settings = settings();
    // How far a step moves the predictor. The schedule's rate is 0, so nothing else may move.
    let mut moved = |factor: f32, peak_rate: f32| {
        settings.methods.simsiam.predictor_rate_factor = factor;
        let mut training = Training::start(&settings, &settings.methods.get(Name::Simsiam));
        let before = ["", "predictor."].map(|prefix| training.values(prefix));
        training.step_at(0, StepRates { rate: 0.0, peak_rate, weight_decay: 0.0 });
        let after = ["", "predictor."].map(|prefix| training.values(prefix));
        let [all, predictor] = [0, 1].map(|i| {
            after[i].iter().zip(&before[i]).map(|(a, b)| f64::from(a - b)).filter(|d| *d != 0.0).collect::<Vec<f64>>()
        });
        assert_eq!(all, predictor, "something else moved");
        predictor.iter().map(|d| d * d).sum::<f64>().sqrt()
    };
    let once = moved(1.0, 0.05);
    for (factor, peak_rate) in [(3.0, 0.05), (1.0, 0.15)] {
        let thrice = moved(factor, peak_rate);
        assert!(once > 0.0 && (thrice / once - 3.0).abs() < 1e-3, "{factor} x {peak_rate}: {once}, {thrice}");
    }
}

#[test]
fn label_aware_variants_see_the_categories() {
    let mut settings = settings();
    let losses = |settings: &Settings, name| {
        let mut training = Training::start(settings, &settings.methods.get(name));
        (0..4).map(|step| training.step(step)).collect::<Vec<f64>>()
    };
    let names = [Name::Simclr, Name::MocoV2, Name::MocoV3, Name::Pirl];
    let plain = names.map(|name| losses(&settings, name));
    settings.methods.simclr.mask_same_category = true;
    settings.methods.moco_v2.mask_same_category = true;
    settings.methods.moco_v3.mask_same_category = true;
    settings.methods.pirl.mask_same_category = true;
    for (name, plain) in names.into_iter().zip(plain) {
        let masked = losses(&settings, name);
        assert!(masked != plain, "{name:?}: {plain:?}");
    }
}

#[test]
fn a_checkpoint_of_another_method_is_refused() {
    let settings = settings();
    let folder = tempfile::tempdir().unwrap();
    let mut simclr = Training::start(&settings, &settings.methods.get(Name::Simclr));
    simclr.saved(folder.path());
    for name in [Name::Byol, Name::MocoV2, Name::Pirl, Name::Dino, Name::DeepclusterV2] {
        let mut other = Training::start(&settings, &settings.methods.get(name));
        let path = folder.path().join("checkpoint");
        let error = checkpoint::load(&path, &mut *other.learner, &mut other.optimizer).unwrap_err();
        // The checkpoint has a parameter of another size, or lacks one.
        let (said, path) = (error.to_string(), path.display().to_string());
        assert!(said.starts_with(&path) && said.contains("remove it and run the command again"), "{name:?}: {said}");
    }
}

#[test]
fn training_with_labels_says_how_many_categories_it_knows() {
    let settings = settings();
    let categories = sempair::methods::supervised::CATEGORIES;
    let start = |categories| {
        let (device, keys) = (Cpu { precision: Precision::F32 }, [Key::root(1), Key::root(2)]);
        let [initialisation, draws] = keys;
        settings.methods.get(Name::Supervised).start(&Start {
            spec: settings.model,
            device,
            initialisation,
            draws,
            pairs: PAIRS,
            categories,
            batch: BATCH,
        })
    };
    assert!(start(categories).is_ok());
    let error = start(categories + 1).err().unwrap();
    assert_eq!(error.what(), "training with labels knows 1024 categories, and the pairs' set has 1025");
}

#[test]
fn byol_s_predictor_has_a_rate_of_its_own_unless_it_is_0() {
    let mut settings = settings();
    for (factor, steady) in [(4.0, Some(("predictor.", 4.0))), (0.0, None)] {
        settings.methods.byol.predictor_rate_factor = factor;
        let training = Training::start(&settings, &settings.methods.get(Name::Byol));
        assert_eq!(training.learner.steady(), steady);
    }
}

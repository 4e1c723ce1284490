//! The network of a detector: gradients of both stages through every layer, with regions held fixed.

use sempair::models::{
    AnyDetector, DetectorShape, Encoder, Learns, ModelSpec, OWN, Pixels, Predictions, Stem, Targets, detector,
};
use sempair::nn::{Builder, Parameters};
use sempair::rng::Key;
use sempair::tensor::{Cpu, Region};

use super::{F32, dot, moved, normals};

const SHAPE: DetectorShape = DetectorShape { anchors: 2, categories: 3, side: 4, samples: 0 };
const HEIGHT: usize = 32;
const WIDTH: usize = 24;

fn built(encoder: Encoder, stem: Stem) -> (Box<dyn AnyDetector<Cpu>>, Parameters<Cpu>) {
    let key = Key::root(1);
    let mut builder = Builder::new(&key);
    let spec = ModelSpec { encoder, stem, image: 32, drop_path: 0.0 };
    let built = detector(&spec, &SHAPE, &mut builder).unwrap();
    let mut parameters = builder.finish(&F32);
    let mut stream = key.split("moved").stream();
    parameters.values.iter_mut().for_each(|value| *value += 0.02 * stream.normal());
    (built, parameters)
}

fn regions() -> Vec<Region> {
    let region = |image, edges| Region { image, edges };
    vec![
        region(0, [2.0, 3.0, 20.0, 30.0]),
        region(1, [0.0, 0.0, 24.0, 32.0]),
        region(1, [8.0, 9.0, 15.0, 21.0]),
        region(0, [10.0, 1.0, 23.5, 12.0]),
    ]
}

/// The loss is the sum of all predictions times fixed weights, so the weights are its gradient.
struct Fixed {
    weights: [Predictions; 2],
    loss: f64,
}

impl Fixed {
    fn new((height, width): (usize, usize)) -> Self {
        let mut stream = Key::root(2).stream();
        let anchors = height * width * 2 * SHAPE.anchors;
        let mut weights =
            |logits, deltas| Predictions { logits: normals(&mut stream, logits), deltas: normals(&mut stream, deltas) };
        let count = regions().len();
        let weights =
            [weights(anchors, 4 * anchors), weights(count * (SHAPE.categories + 1), 4 * count * SHAPE.categories)];
        Self { weights, loss: 0.0 }
    }

    fn add(&mut self, stage: usize, predictions: &Predictions) -> Predictions {
        let weights = &self.weights[stage];
        self.loss += dot(&weights.logits, &predictions.logits) + dot(&weights.deltas, &predictions.deltas);
        weights.clone()
    }
}

impl Targets for Fixed {
    fn first(&mut self, map: (usize, usize), predictions: &Predictions) -> (Predictions, Vec<Region>) {
        assert_eq!(map.0 * map.1 * 2 * SHAPE.anchors, predictions.logits.len());
        (self.add(0, predictions), regions())
    }

    fn second(&mut self, predictions: &Predictions) -> Predictions {
        self.add(1, predictions)
    }
}

fn check(encoder: Encoder, stem: Stem, stride: usize) {
    let (detector, mut parameters) = built(encoder, stem);
    assert_eq!(detector.stride(), stride);
    let mut stream = Key::root(3).stream();
    let images = normals(&mut stream, 2 * HEIGHT * WIDTH * 3);
    let pixels = Pixels { values: &images, height: HEIGHT, width: WIDTH };
    let map = (HEIGHT.div_ceil(stride), WIDTH.div_ceil(stride));
    let loss = |parameters: &mut Parameters<Cpu>, learns| {
        let mut fixed = Fixed::new(map);
        detector.train(pixels, learns, &mut fixed, parameters);
        fixed.loss
    };
    loss(&mut parameters, Learns::All);
    let (all, values) = (parameters.gradients.clone(), parameters.values.clone());
    for _ in 0..4 {
        let direction = normals(&mut stream, values.len());
        let length = dot(&direction, &direction).sqrt() as f32;
        let direction: Vec<f32> = direction.iter().map(|d| d / length).collect();
        let at =
            |h: f32| loss(&mut Parameters { values: moved(&values, &direction, h), ..parameters.clone() }, Learns::All);
        let h = 2e-2;
        let (numeric, exact) = ((at(h) - at(-h)) / f64::from(2.0 * h), dot(&all, &direction));
        let scale = dot(&all, &all).sqrt() / f64::from(length);
        assert!((numeric - exact).abs() < 0.05 * scale.max(exact.abs()), "{encoder:?}: {numeric} is not {exact}");
    }

    // What does not learn has no gradient, and the statistics of what is evaluated do not move.
    for (learns, last) in [(Learns::Head, true), (Learns::New, false)] {
        let before = parameters.statistics.clone();
        parameters.clear_gradients();
        loss(&mut parameters, learns);
        let last_stage = if encoder == Encoder::ResnetSmall { "layer3." } else { "layer4." };
        for entry in &parameters.layout.entries {
            let learned = entry.name.starts_with(OWN) || (last && entry.name.starts_with(last_stage));
            let range = entry.slot.start..entry.slot.start + entry.slot.len;
            if entry.name.contains("running") {
                let moved = parameters.statistics[range.clone()] != before[range];
                assert_eq!(moved, learned, "{learns:?} {}", entry.name);
            } else {
                let learns_here = parameters.gradients[range].iter().any(|g| *g != 0.0);
                assert_eq!(learns_here, learned, "{learns:?} {}", entry.name);
            }
        }
    }
}

#[test]
fn a_detector_agrees_with_finite_differences() {
    check(Encoder::ResnetSmall, Stem::Half, 4);
    check(Encoder::Resnet18, Stem::Imagenet, 16);
}

/// In evaluation mode, predictions of a region do not depend on the other regions, and no region gives no prediction.
#[test]
fn a_detector_evaluates_region_by_region() {
    let (detector, parameters) = built(Encoder::ResnetSmall, Stem::Half);
    let images = normals(&mut Key::root(4).stream(), 2 * HEIGHT * WIDTH * 3);
    let pixels = Pixels { values: &images, height: HEIGHT, width: WIDTH };
    let predict = |regions: &[Region]| detector.infer(pixels, &mut |_, _| regions.to_vec(), &parameters);
    let (all, alone) = (predict(&regions()), predict(&regions()[2..3]));
    let width = SHAPE.categories + 1;
    for (a, b) in all.logits[2 * width..3 * width].iter().zip(&alone.logits) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    assert_eq!(predict(&[]), Predictions::default());
}

/// All parameters of an encoder but those of its head have the same names and shapes in a detector on it.
#[test]
fn a_detector_has_the_parameters_of_its_encoder() {
    for (encoder, stem) in
        [(Encoder::ResnetSmall, Stem::Small), (Encoder::Resnet18, Stem::Half), (Encoder::Resnet50, Stem::Imagenet)]
    {
        let spec = ModelSpec { encoder, stem, image: 32, drop_path: 0.0 };
        let encoder = sempair::models::open(&spec, &F32, Key::root(0)).unwrap();
        let (_, parameters) = built(spec.encoder, spec.stem);
        let described = |parameters: &Parameters<Cpu>| {
            let of_encoder = parameters.layout.entries.iter().filter(|entry| !entry.name.starts_with(OWN));
            let mut all: Vec<_> = of_encoder.map(|entry| (entry.name.clone(), entry.shape.clone())).collect();
            all.sort();
            all
        };
        assert_eq!(described(&encoder.read()), described(&parameters));
    }
    let transformer = ModelSpec { encoder: Encoder::VitMini, stem: Stem::Patch8, image: 32, drop_path: 0.0 };
    let key = Key::root(0);
    let refused = detector::<Cpu>(&transformer, &SHAPE, &mut Builder::new(&key)).err().unwrap();
    assert!(refused.to_string().contains("needs the stages of a ResNet"), "{refused}");
}

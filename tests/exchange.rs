//! Encoders to and from other programs: weights with torchvision's and timm's names, whose features agree with theirs.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use sempair::harness::config::Layers;
use sempair::models::{Encoder, ModelSpec, Stem, open};
use sempair::nn::Entry;
use sempair::rng::Key;
use sempair::study::exchange;
use sempair::study::settings::Settings;
use sempair::tensor::{Cpu, Precision};
use sempair::train::{Trained, weights};
use std::path::Path;

const F32: Cpu = Cpu { precision: Precision::F32 };
const SIDE: usize = 64;

fn settings(encoder: Encoder, stem: Stem) -> Settings {
    let defaults = include_str!("../experiments/defaults.toml");
    let mut settings = Layers::new().embedded("defaults", defaults).resolve::<Settings>().unwrap().settings;
    settings.model = ModelSpec { encoder, stem, image: SIDE, drop_path: 0.0 };
    settings
}

/// What an encoder of these settings is.
fn trained(settings: &Settings) -> Trained {
    Trained { run: settings.pretraining(0), normalization: settings.normalization.clone() }
}

/// The values of a parameter as `tests/exchange.py` fills it, in the layout of the peers.
fn formula(entry: &Entry) -> Vec<f32> {
    let name = &entry.name;
    let start = name.bytes().map(f64::from).sum::<f64>();
    let is_weight = entry.shape.len() > 1 && !name.contains("token") && !name.contains("pos_embed");
    let fan_in: usize = entry.shape[1..].iter().product();
    let scale = if is_weight { (4.0 / fan_in as f64).sqrt() } else { 0.2 };
    let norm = name.contains("norm") || name.contains("bn") || name.contains("downsample.1");
    let one = (norm && name.ends_with("weight")) || name.contains("running_var");
    let value = |i: usize| {
        let i = i as f64;
        (f64::from(u8::from(one)) + scale * (0.7 * i * i + start).sin()) as f32
    };
    (0..entry.slot.len).map(value).collect()
}

/// A file of those, as PyTorch would save it, with a classifier besides.
fn write(path: &Path, model: &ModelSpec, change: impl Fn(&Entry, &mut Vec<usize>)) {
    let backbone = open(model, &F32, Key::root(0)).unwrap();
    let tensor = |entry: &Entry| {
        let bytes: Vec<u8> = formula(entry).into_iter().flat_map(f32::to_le_bytes).collect();
        let mut shape = entry.shape.clone();
        change(entry, &mut shape);
        (entry.name.clone(), shape, bytes)
    };
    let mut tensors: Vec<_> = backbone.read().layout.entries.iter().map(tensor).collect();
    tensors.push(("fc.weight".into(), vec![1, 2], vec![0; 8]));
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// What `tests/exchange.py` prints: the norm of one image's features, and eight of them.
const REFERENCES: [(Encoder, Stem, f64, [f64; 8]); 3] = [
    (
        Encoder::Resnet18,
        Stem::Imagenet,
        405.528768,
        [49.17957, 8.749843, 4.193817, 2.105571, 5.989745, 17.84062, 12.31839, 12.50025],
    ),
    (
        Encoder::Resnet50,
        Stem::Imagenet,
        71013.1406,
        [0.0, 425.1782, 1065.066, 323.999, 2019.547, 27.37052, 2144.323, 1084.814],
    ),
    (
        Encoder::VitS8,
        Stem::Patch8,
        20.3369413,
        [0.5975594, 0.5572896, 0.0724241, 0.2233409, -0.2433453, 1.360907, -0.5886322, -0.07055102],
    ),
];

#[test]
fn imported_weights_give_the_features_that_pytorch_gives() {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<f32> = (0..3 * SIDE * SIDE).map(|i| (0.3 * i as f64).sin() as f32).collect();
    for (encoder, stem, norm, expected) in REFERENCES {
        let settings = settings(encoder, stem);
        let file = folder.path().join("peer.safetensors");
        write(&file, &settings.model, |_, _| {});
        let stage = folder.path().join("stage");
        std::fs::create_dir_all(&stage).unwrap();
        exchange::import(&file, &trained(&settings), &stage).unwrap();
        let backbone = open(&settings.model, &F32, Key::root(1)).unwrap();
        weights::load_weights(&stage.join("encoder.safetensors"), &mut backbone.parameters()).unwrap();
        let features = backbone.features(&pixels);
        let ours = features.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        assert!((ours - norm).abs() <= 1e-4 * norm, "{encoder:?}: norm {ours}, PyTorch has {norm}");
        // Relative to a feature of mean size: a small one is a difference of large ones.
        let size = norm / (features.len() as f64).sqrt();
        for (feature, expected) in features.iter().step_by(features.len() / 8).zip(expected) {
            let error = (f64::from(*feature) - expected).abs();
            assert!(error <= 1e-4 * size, "{encoder:?}: {feature}, PyTorch has {expected}");
        }
        // What is exported is what was imported, without the classifier.
        let to = folder.path().join("exported");
        exchange::export(&stage, ("run", &Vec::new()), &to).unwrap();
        let (peer, ours) = (std::fs::read(&file).unwrap(), std::fs::read(to.join(exchange::WEIGHTS)).unwrap());
        let (peer, ours) = (
            safetensors::SafeTensors::deserialize(&peer).unwrap(),
            safetensors::SafeTensors::deserialize(&ours).unwrap(),
        );
        for (name, tensor) in peer.tensors() {
            if name == "fc.weight" {
                assert!(ours.tensor(&name).is_err());
            } else {
                let exported = ours.tensor(&name).unwrap();
                assert!(exported.shape() == tensor.shape() && exported.data() == tensor.data(), "{name}");
            }
        }
        let card: serde_json::Value = serde_json::from_slice(&std::fs::read(to.join(exchange::CARD)).unwrap()).unwrap();
        assert_eq!(card["features"], features.len());
        assert_eq!(card["input"]["size"], SIDE);
    }
}

#[test]
fn files_of_another_network_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("peer.safetensors");
    let settings = settings(Encoder::Resnet18, Stem::Imagenet);
    let refused = |why: &str| {
        let error = exchange::import(&file, &trained(&settings), folder.path()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("peer.safetensors") && error.contains("hint:"), "{error}");
        assert!(!folder.path().join("encoder.safetensors").exists());
    };
    std::fs::write(&file, b"PK\x03\x04 no weights").unwrap();
    refused("is no safetensors file");
    let small = ModelSpec { encoder: Encoder::ResnetSmall, stem: Stem::Imagenet, ..settings.model };
    write(&file, &small, |_, _| {});
    refused("the shape");
    write(&file, &settings.model, |entry, shape| {
        if entry.name == "layer1.0.conv1.weight" {
            shape.swap(0, 1);
            shape.reverse();
        }
    });
    refused("layer1.0.conv1.weight");
    let transformer = ModelSpec { encoder: Encoder::VitS8, stem: Stem::Patch8, ..settings.model };
    write(&file, &transformer, |_, _| {});
    refused("has no `conv1.weight`");
}

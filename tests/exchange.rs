//! Exchange of encoders with other programs: weights have torchvision's and timm's names, and the features agree.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use sempair::harness::config::Layers;
use sempair::models::{Encoder, ModelSpec, Stem, open};
use sempair::nn::Entry;
use sempair::rng::Key;
use sempair::study::settings::Settings;
use sempair::study::weights_io;
use sempair::tensor::{AnyDevice, Cpu, Precision};
use sempair::train::{Trained, weights};
use std::path::Path;

const F32: AnyDevice = AnyDevice::Cpu(Cpu { precision: Precision::F32 });
const SIDE: usize = 64;

fn settings(encoder: Encoder, stem: Stem) -> Settings {
    let defaults = include_str!("../experiments/defaults.toml");
    let mut settings = Layers::new().embedded("defaults", defaults).resolve::<Settings>().unwrap().settings;
    settings.model = ModelSpec { encoder, stem, image: SIDE, drop_path: 0.0 };
    settings
}

/// The description of an encoder that was trained with these settings.
fn trained(settings: &Settings) -> Trained {
    Trained { run: settings.pretraining(0), normalization: settings.normalization.clone() }
}

/// The values of a parameter as `tests/exchange.py` fills it, in the layout of torchvision and timm.
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

/// Writes a file of these values as PyTorch would save it, with an additional classifier weight.
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

/// The output of `tests/exchange.py`: the norm of one image's features, and eight of the features.
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
        weights_io::import(&file, &trained(&settings), &stage, &|_| ()).unwrap();
        let backbone = open(&settings.model, &F32, Key::root(1)).unwrap();
        weights::load_weights(&stage.join("encoder.safetensors"), &mut backbone.parameters()).unwrap();
        let features = backbone.features(&pixels);
        let ours = features.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        assert!((ours - norm).abs() <= 1e-4 * norm, "{encoder:?}: norm {ours}, PyTorch has {norm}");
        // The tolerance is relative to a feature of mean size, since a small feature is a difference of large numbers.
        let size = norm / (features.len() as f64).sqrt();
        for (feature, expected) in features.iter().step_by(features.len() / 8).zip(expected) {
            let error = (f64::from(*feature) - expected).abs();
            assert!(error <= 1e-4 * size, "{encoder:?}: {feature}, PyTorch has {expected}");
        }
        // The exported tensors are the imported ones, without the classifier.
        let to = folder.path().join("exported");
        weights_io::export(&stage, ("run", &Vec::new()), &to).unwrap();
        let (peer, ours) = (std::fs::read(&file).unwrap(), std::fs::read(to.join(weights_io::WEIGHTS)).unwrap());
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
        let card: serde_json::Value =
            serde_json::from_slice(&std::fs::read(to.join(weights_io::CARD)).unwrap()).unwrap();
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
        let error = weights_io::import(&file, &trained(&settings), folder.path(), &|_| ()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("peer.safetensors") && error.contains("hint:"), "{error}");
        assert!(!folder.path().join("encoder.safetensors").exists());
    };
    std::fs::write(&file, b"PK\x03\x04 no weights").unwrap();
    refused("is a pickle");
    std::fs::write(&file, b"\x80\x02}q\x00.").unwrap();
    refused("is a pickle");
    std::fs::write(&file, b"no weights").unwrap();
    refused("is not a safetensors file");
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

/// Writes a file of these values in another format, with one copy of the encoder for each prefix in `copies`.
fn write_as(path: &Path, model: &ModelSpec, copies: &[&str], dtype: Dtype, bytes_of: fn(f32) -> Vec<u8>) {
    let backbone = open(model, &F32, Key::root(0)).unwrap();
    let entries = &backbone.read().layout.entries;
    let tensors = copies.iter().flat_map(|prefix| {
        entries.iter().map(move |entry| {
            let bytes: Vec<u8> = formula(entry).into_iter().flat_map(bytes_of).collect();
            (format!("{prefix}{}", entry.name), entry.shape.clone(), bytes)
        })
    });
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors.collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn weights_are_taken_as_people_have_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("peer.safetensors");
    let settings = settings(Encoder::ResnetSmall, Stem::Half);
    let imported = || {
        let notes = std::cell::RefCell::new(Vec::new());
        let note = |text: &str| notes.borrow_mut().push(text.rsplit_once(".safetensors: ").unwrap().1.to_owned());
        let result = weights_io::import(&file, &trained(&settings), folder.path(), &note);
        result.map(|()| (std::fs::read(folder.path().join("encoder.safetensors")).unwrap(), notes.into_inner()))
    };
    let f32_bytes = |x: f32| x.to_le_bytes().to_vec();
    write_as(&file, &settings.model, &[""], Dtype::F32, f32_bytes);
    let (plain, notes) = imported().unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    for prefix in ["module.", "backbone.", "encoder.", "model.", "module.encoder_q.", "state_dict.online_network.net."]
    {
        write_as(&file, &settings.model, &[prefix], Dtype::F32, f32_bytes);
        let (taken, notes) = imported().unwrap();
        assert_eq!(taken, plain, "{prefix}");
        assert_eq!(notes, [format!("names are taken without their prefix `{prefix}`")]);
    }
    write_as(&file, &settings.model, &["module.encoder_q.", "module.encoder_k."], Dtype::F32, f32_bytes);
    let notes = imported().unwrap().1;
    assert_eq!(notes[0], "names are taken without their prefix `module.encoder_q.`");
    assert!(notes[1].starts_with("left out, since the encoder has no such parameters: "), "{notes:?}");
    write_as(&file, &settings.model, &["a.", "b."], Dtype::F32, f32_bytes);
    let error = imported().unwrap_err().to_string();
    assert!(error.contains("holds 2 matching encoders: `a.`, `b.`"), "{error}");

    type Format = (Dtype, fn(f32) -> Vec<u8>, f32);
    let formats: [Format; 3] = [
        (Dtype::F64, |x| f64::from(x).to_le_bytes().to_vec(), 0.0),
        (Dtype::F16, |x| half::f16::from_f32(x).to_le_bytes().to_vec(), 1e-3),
        (Dtype::BF16, |x| half::bf16::from_f32(x).to_le_bytes().to_vec(), 1e-2),
    ];
    let floats = |bytes: &[u8]| -> Vec<f32> {
        let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let mut names = file.names();
        names.sort_unstable();
        let data = names.iter().flat_map(|name| file.tensor(name).unwrap().data().to_vec()).collect::<Vec<u8>>();
        data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    for (dtype, bytes_of, tolerance) in formats {
        write_as(&file, &settings.model, &[""], dtype, bytes_of);
        let (taken, notes) = imported().unwrap();
        assert_eq!(notes, [format!("values in {dtype:?} are converted to F32")]);
        for (taken, exact) in floats(&taken).into_iter().zip(floats(&plain)) {
            assert!((taken - exact).abs() <= tolerance * (exact.abs() + 1e-3), "{dtype:?}: {taken}, {exact}");
        }
    }
    write_as(&file, &settings.model, &[""], Dtype::I32, |x| (x as i32).to_le_bytes().to_vec());
    assert!(imported().unwrap_err().to_string().contains("holds I32; F32, F16, BF16 and F64 are read"));
    for wrong in [f32::NAN, f32::INFINITY] {
        let bytes_of: fn(f32) -> Vec<u8> = if wrong.is_nan() {
            |x| if x == 0.0 { 1.0_f32 } else { f32::NAN }.to_le_bytes().to_vec()
        } else {
            // Too large for F32.
            |x| (f64::from(x) * 1e300).to_le_bytes().to_vec()
        };
        let dtype = if wrong.is_nan() { Dtype::F32 } else { Dtype::F64 };
        write_as(&file, &settings.model, &[""], dtype, bytes_of);
        let error = imported().unwrap_err().to_string();
        assert!(error.contains("` holds ") && error.contains(" at ") && !error.contains("remove"), "{error}");
    }
}

//! Layers of settings, error messages of wrong settings, keys, secrets.

use super::DEFAULTS;
use super::Optimiser;
use super::Pretrain;
use super::Settings;
use super::layers;
use super::resolve;
use sempair::harness::canonical;
use sempair::harness::config;
use sempair::harness::config::Layers;
use sempair::harness::redact;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;
use std::fs;

/// The whole error message of settings that must not resolve.
fn message(layers: Layers) -> String {
    resolve(layers).expect_err("must not resolve").to_string()
}

fn set(assignments: &[&str]) -> Layers {
    layers().set(&assignments.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
}

fn variables(pairs: &[(&str, &str)]) -> Layers {
    layers().variables("SEMPAIR_", &["ISA"], pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

#[test]
fn later_layers_win_and_every_value_knows_where_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sempair.toml");
    fs::write(&file, "# mine\n[pretrain]\nepochs = 9\nrate = 1\n").unwrap();
    let env = [("SEMPAIR_PRETRAIN__EPOCHS", "10"), ("SEMPAIR_ISA", "avx2"), ("HOME", "/"), ("SEMPAIR_DEVICE", "7")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let all = layers().file(&file).variables("SEMPAIR_", &["ISA"], env).set(&["pretrain.optimiser=adamw".to_owned()]);
    let resolved = resolve(all.file(&folder.path().join("absent.toml"))).unwrap();

    let pretrain = Pretrain { epochs: 10, rate: 1.0, optimiser: Optimiser::AdamW };
    assert_eq!(resolved.settings, Settings { seeds: 2, device: "7".to_owned(), pretrain });
    let shown: Vec<String> = resolved
        .values
        .iter()
        .map(|v| {
            let places = v.shadowed.iter().map(|other| other.origin.place.clone().unwrap());
            let place = v.origin.place.clone().unwrap();
            let line =
                format!("{} = {} ({}: {place}) over {:?}", v.key, v.value, v.origin.layer, places.collect::<Vec<_>>());
            line.replace(&folder.path().display().to_string(), "")
        })
        .collect();
    assert_eq!(
        shown.join("\n"),
        r#"seeds = 2 (profile quick: profiles/quick.toml:1) over ["defaults.toml:2"]
device = "7" (environment: SEMPAIR_DEVICE) over ["defaults.toml:5"]
pretrain.epochs = 10 (environment: SEMPAIR_PRETRAIN__EPOCHS) over ["/sempair.toml:3", "profiles/quick.toml:3", "defaults.toml:9"]
pretrain.rate = 1 (/sempair.toml: /sempair.toml:4) over ["defaults.toml:11"]
pretrain.optimiser = "adamw" (command line: --set) over ["defaults.toml:13"]"#
    );
    assert_eq!(resolved.values[1].doc, "Where to compute:\na name.");
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    assert_eq!(
        message(set(&["pretrain.epoch=3"])),
        "unknown key `pretrain.epoch` in `--set pretrain.epoch=3`\n\n\
         hint: did you mean `pretrain.epochs`? `sempair config` lists all keys"
    );
    assert_eq!(
        message(variables(&[("SEMPAIR_PRETRIAN__RATE", "1")])),
        "unknown key `pretrian.rate` in `SEMPAIR_PRETRIAN__RATE`\n\n\
         hint: did you mean `pretrain.rate`? `sempair config` lists all keys"
    );
    assert_eq!(
        message(set(&["rate=3"])),
        "unknown key `rate` in `--set rate=3`\n\nhint: did you mean `pretrain.rate`? `sempair config` lists all keys"
    );
    assert_eq!(
        message(set(&["colour=red"])),
        "unknown key `colour` in `--set colour=red`\n\nhint: `sempair config` lists all keys"
    );
    assert_eq!(
        message(set(&["pretrain=3"])),
        "`pretrain` is a group of keys and has no value of its own, in `--set pretrain=3`\n\n\
         hint: set one of its keys, such as `pretrain.epochs`; `sempair config` lists all keys"
    );
    assert_eq!(
        message(set(&["seeds.of.all=3"])),
        "unknown key `seeds.of.all` in `--set seeds.of.all=3`\n\nhint: `sempair config` lists all keys"
    );
    assert_eq!(
        message(set(&["seeds"])),
        "`--set seeds` has no `=`\n\nhint: write `--set KEY=VALUE`, such as `--set seeds=5`"
    );
}

#[test]
fn a_wrong_type_is_an_error_that_names_key_and_place() {
    assert_eq!(
        message(set(&["pretrain.epochs=many"])),
        "`pretrain.epochs` is the text `many`, but a whole number from 0 up is expected, in `--set pretrain.epochs=many`\
         \n\nhint: `sempair config pretrain.epochs` shows what it means and what it is by default"
    );
    assert_eq!(
        message(variables(&[("SEMPAIR_SEEDS", "-1")])),
        "`seeds` is -1, but a whole number from 0 up is expected, in `SEMPAIR_SEEDS`\n\n\
         hint: `sempair config seeds` shows what it means and what it is by default"
    );
    assert_eq!(
        message(set(&["pretrain.optimiser=adam"])),
        "`pretrain.optimiser` is `adam`, but one of `sgd`, `adamw` is expected, in `--set pretrain.optimiser=adam`\n\n\
         hint: did you mean `adamw`?"
    );
}

#[test]
fn a_file_that_is_not_toml_is_an_error_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sempair.toml");
    let check = |text: &str, expected: &str| {
        fs::write(&file, text).unwrap();
        let message = message(layers().file(&file)).replace(&format!("{}/", folder.path().display()), "");
        assert!(message.starts_with(expected), "{message}");
    };
    check("seeds = 1\nseeds = = 2\n", "`sempair.toml:2` is not TOML: ");
    check("seeds = 1\nseeds = 2\n", "`sempair.toml:2` is not TOML: duplicate key");
    check("[pretran]\n", "unknown key `pretran` in `sempair.toml:1`\n");
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(message(layers().file(&file)).contains("cannot read"));
    assert!(message(layers().file(folder.path())).contains("cannot read"));
}

#[test]
fn defaults_without_comments_or_readers_are_noticed() {
    assert_eq!(config::complaints::<Settings>(DEFAULTS).unwrap(), Vec::<String>::new());
    #[derive(Serialize, Deserialize)]
    struct Two {
        a: u8,
        b: u8,
    }
    let complaints = config::complaints::<Two>("# One.\na = 1\nb = 2\n# Nobody's.\nc = 3").unwrap();
    assert_eq!(complaints, ["`b` has no comment above it", "`c` is read by no field"]);
}

#[test]
fn a_key_does_not_depend_on_the_order_of_fields() {
    let a: serde_json::Value = serde_json::from_str(r#"{"b": [1, 2.5, "x\n"], "a": {"d": null, "c": true}}"#).unwrap();
    let b: serde_json::Value = serde_json::from_str(r#"{"a": {"c": true, "d": null}, "b": [1, 2.5, "x\n"]}"#).unwrap();
    assert_eq!(canonical::text(&a), r#"{"a":{"c":true,"d":null},"b":[1,2.5,"x\n"]}"#);
    assert_eq!(canonical::key(&a), canonical::key(&b));
    // printf '{"a":1}' | b3sum
    assert_eq!(canonical::key(&json!({"a": 1})), blake3::hash(br#"{"a":1}"#).to_hex().to_string());
    assert_ne!(canonical::key(&a), canonical::key(&json!({"b": [1, 2.5, "x"], "a": {"d": null, "c": true}})));
}

#[test]
fn secrets_do_not_reach_a_record() {
    let args = "sempair reproduce --api-token abc --seeds 3 --password=x WANDB_API_KEY=y --set hub.secretKey=z \
                --mirror https://me:pw@host/a?b=c@d --token --quiet --max-tokens 5 https://host/@b";
    let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
    assert_eq!(
        redact::arguments(&args).join(" "),
        "sempair reproduce --api-token [redacted] --seeds 3 --password=[redacted] WANDB_API_KEY=[redacted] \
         --set hub.secretKey=[redacted] --mirror https://[redacted]@host/a?b=c@d --token --quiet --max-tokens 5 \
         https://host/@b"
    );
    let settings = json!({"hub": {"token": "abc", "url": "ftp://u@h", "epochs": 3}, "keys": ["a"], "key": [1]});
    assert_eq!(
        redact::value("settings", &settings),
        json!({"hub": {"token": "[redacted]", "url": "ftp://[redacted]@h", "epochs": 3}, "keys": ["a"],
               "key": "[redacted]"})
    );
}

#[test]
fn defaults_say_what_a_key_decides() {
    let text = "# A.\na = 1\n# B.\nb = [1,\n  2] # chooses rows or columns\n[c]\n# D.\nd = \"x # y\" # a place\n# E.\n\
                e = \"\"\"\\\n  text\"\"\" # decides no result\n# F.\nf = 1 # no role\n";
    let roles = config::Roles::of_defaults(text);
    use config::Role::{Nothing, Place, Results, Rows};
    assert_eq!(
        ["a", "b", "c.d", "c.e", "c.f", "gone"].map(|key| roles.of(key)),
        [Results, Rows, Place, Nothing, Results, Results]
    );
    let places = config::Roles::of_defaults("[p]\na = 1 # a place\nb = 2 # a place\n");
    assert_eq!(["p.a", "p.of another version", "q.a"].map(|key| places.of(key)), [Place, Place, Results]);
    let complaints =
        config::complaints::<serde_json::Value>(Box::leak(text.replace("no role", "its role").into_boxed_str()))
            .unwrap();
    assert_eq!(complaints, ["`c.f` has no role `its role`"]);
}

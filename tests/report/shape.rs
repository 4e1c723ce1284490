//! The contents of `results.json` and the CSV, for other programs.

use super::*;

#[test]
fn results_json_has_the_published_shape() {
    let all = records();
    let value = serde_json::to_value(results(&input(table(), all.clone(), &all))).unwrap();
    assert_eq!(value["schema"], "sempair.results/1");
    insta::assert_snapshot!(serde_json::to_string_pretty(&value["tables"][0]["cells"][1]).unwrap(), @r#"
    {
      "baseline": false,
      "below": [],
      "best": true,
      "ci95": [
        66.02186567963965,
        69.51146765369369
      ],
      "column": "synth-10",
      "mean": 67.76666666666667,
      "metric": "top1",
      "notes": [],
      "paper": 83.6,
      "paper_column": "cifar-10",
      "paper_elsewhere": null,
      "row": {
        "method": "SimCLR",
        "pairs": "SP"
      },
      "runs": [
        "0193-SimCLRSP-synth-10-0",
        "0193-SimCLRSP-synth-10-1",
        "0193-SimCLRSP-synth-10-2"
      ],
      "sd": 0.7023769168568451,
      "seeds": [
        0,
        1,
        2
      ],
      "substitute": true,
      "unit": "%",
      "values": [
        67.10000000000001,
        68.5,
        67.7
      ],
      "wilson95": []
    }
    "#);
    let claim = &value["tables"][0]["claims"][0];
    insta::assert_snapshot!(serde_json::to_string(&claim["family"]).unwrap(), @r#"{"id":"main","paper":"all sets","title":"Semantic pairs transfer better"}"#);
    insta::assert_snapshot!(serde_json::to_string(&claim["expected"]).unwrap(), @r#"{"at-least":0.8}"#);
    insta::assert_snapshot!(serde_json::to_string(&claim["plus"]).unwrap(), @r#"[{"method":"SimCLR","pairs":"SP"}]"#);
    assert_eq!(["stated", "sign_only"].map(|key| claim["paper"][key].clone()), [json!(0.8), json!(false)]);
    assert!((claim["paper"]["by_figures"].as_f64().unwrap() - 1.84).abs() < 1e-9);
    assert_eq!(
        ["column", "verdict", "asked", "in_paper", "substitute", "own_setting", "seeds_to_decide", "seeds"]
            .map(|key| claim[key].clone()),
        [
            json!("synth-10"),
            json!("reproduced"),
            json!(true),
            json!(true),
            json!(true),
            json!(false),
            json!(null),
            json!([0, 1, 2])
        ]
    );
    for (key, number) in [
        ("difference", 10.333333333333341),
        ("t_p", 0.004998688688874949),
        ("holm_p", 0.009997377377749897),
        ("p", 0.25),
    ] {
        assert!((claim[key].as_f64().unwrap() - number).abs() < 1e-12, "{key}");
    }
    assert_eq!(value["tables"][0]["claims"][1]["verdict"], "not reproduced");
    insta::assert_snapshot!(serde_json::to_string(&value["tables"][0]["gains"][0]["columns"]).unwrap(), @r#"["synth-10"]"#);
    insta::assert_snapshot!(serde_json::to_string_pretty(&value["compute"]).unwrap(), @r#"
    {
      "by_status": {
        "completed": 30
      },
      "machines": [
        {
          "cores": 2,
          "cpu": "Xeon",
          "device": "cpu",
          "isa": "avx512",
          "precision": "f32",
          "rustc": "rustc 1.95.0",
          "threads": 2
        }
      ],
      "runs": 30,
      "seconds": 957.0,
      "seconds_used": 957.0,
      "used": 30
    }
    "#);
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    insta::assert_snapshot!(keys(&value), @"anonymous compute excluded generated git ledger not_run profile profile_description schema tables verdict_rule");
    assert_eq!(value["ledger"]["blake3"].as_str().map(str::len), Some(64));
    insta::assert_snapshot!(keys(&value["tables"][0]), @"baselines caption cells claims columns compute data distance finding gains health id in_paper metrics missing notes paper pooled title unasked varies");
}

#[test]
fn tidy_values_carry_their_run() {
    let (files, _) = sample();
    let lines: Vec<&str> = files["tables/transfer.csv"].lines().collect();
    assert_eq!(lines[0], "method,pairs,baseline,column,substitute,paper_column,metric,unit,seed,value,paper,run");
    assert_eq!(lines[1], "SimCLR,AP,false,synth-10,true,cifar-10,top1,%,0,57.5,81.76,0193-SimCLRAP-synth-10-0");
    assert_eq!(lines.len(), 1 + 2 * 3 * 10);
}

#[test]
fn energy_is_added_over_the_runs_that_record_it() {
    let mut all = records();
    all.iter_mut().take(4).for_each(|record| record.energy_joules = Some(9000.5));
    let (files, _) = rendered(table(), all.clone(), &all);
    let said = "Energy of processors and memory, as 4 runs recorded it: 10.0 Wh.";
    for name in ["report.html", "report.md", "main.tex"] {
        assert!(files[name].contains(said), "{name}");
    }
    let results: Value = serde_json::from_str(&files["results.json"]).unwrap();
    assert_eq!(
        (&results["compute"]["energy_joules"], &results["compute"]["energy_runs"]),
        (&json!(36002.0), &json!(4))
    );
    let (files, _) = rendered(table(), records(), &records());
    assert!(files.values().all(|text| !text.contains("nergy")), "without a record of it there are no words");
}

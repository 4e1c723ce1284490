//! What `results.json` and the CSV hold, for other programs.

use super::*;

#[test]
fn results_json_has_the_published_shape() {
    let all = records();
    let value = serde_json::to_value(results(&input(table(), all.clone(), &all))).unwrap();
    assert_eq!(value["schema"], "sempair.results/1");
    insta::assert_snapshot!(serde_json::to_string_pretty(&value["tables"][0]["cells"][1]).unwrap(), @r#"
    {
      "baseline": false,
      "best": true,
      "ci95": [
        66.02186567963965,
        69.51146765369369
      ],
      "column": "synth-10",
      "mean": 67.76666666666667,
      "metric": "top1",
      "paper": 83.6,
      "paper_column": "cifar-10",
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
    insta::assert_snapshot!(serde_json::to_string_pretty(&value["tables"][0]["claims"]).unwrap(), @r#"
    [
      {
        "ci95": [
          7.178054664850404,
          13.488612001816279
        ],
        "column": "synth-10",
        "difference": 10.333333333333341,
        "expected": {
          "at-least": 0.8
        },
        "holm_p": 0.009997377377749897,
        "mcnemar": [],
        "metric": "top1",
        "minus": [
          {
            "method": "SimCLR",
            "pairs": "AP"
          }
        ],
        "p": 0.25,
        "p_floor": 0.25,
        "plus": [
          {
            "method": "SimCLR",
            "pairs": "SP"
          }
        ],
        "seeds": [
          0,
          1,
          2
        ],
        "seeds_to_decide": null,
        "substitute": true,
        "t_p": 0.004998688688874949,
        "text": "SimCLR learns better features from SP than from AP on CIFAR-10",
        "unit": "%",
        "verdict": "reproduced"
      },
      {
        "ci95": [
          7.178054664850396,
          13.488612001816279
        ],
        "column": "synth-stl",
        "difference": 10.333333333333337,
        "expected": {
          "at-least": 30.0
        },
        "holm_p": 0.009997377377749897,
        "mcnemar": [],
        "metric": "top1",
        "minus": [
          {
            "method": "SimCLR",
            "pairs": "AP"
          }
        ],
        "p": 0.25,
        "p_floor": 0.25,
        "plus": [
          {
            "method": "SimCLR",
            "pairs": "SP"
          }
        ],
        "seeds": [
          0,
          1,
          2
        ],
        "seeds_to_decide": null,
        "substitute": true,
        "t_p": 0.004998688688874962,
        "text": "SimCLR learns better features from SP than from AP on STL-10",
        "unit": "%",
        "verdict": "not reproduced"
      }
    ]
    "#);
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
    insta::assert_snapshot!(keys(&value), @r#"anonymous compute excluded generated git profile profile_description schema tables verdict_rule"#);
    insta::assert_snapshot!(keys(&value["tables"][0]), @r#"baselines caption cells claims columns compute data id in_paper metrics missing notes title varies"#);
}

#[test]
fn tidy_values_carry_their_run() {
    let (files, _) = sample();
    let lines: Vec<&str> = files["tables/transfer.csv"].lines().collect();
    assert_eq!(lines[0], "method,pairs,baseline,column,substitute,paper_column,metric,unit,seed,value,paper,run");
    assert_eq!(lines[1], "SimCLR,AP,false,synth-10,true,cifar-10,top1,%,0,57.5,81.76,0193-SimCLRAP-synth-10-0");
    assert_eq!(lines.len(), 1 + 2 * 3 * 10);
}

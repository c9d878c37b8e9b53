//! The settings against PEFT's own: every one it knows, and what its rules say of VGG19's modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Settings;
use crate::nn::arch::VGG19;

/// A fixture of tests/fixtures/adapters.py.
fn fixture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/peft");
    let text = std::fs::read_to_string(folder.join(name)).expect("the fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// Plain settings with others.
fn read(more: Value) -> Result<Settings, String> {
    let mut config =
        object(json!({"peft_type": "LORA", "r": 4, "target_modules": ["features.0", "6"]}));
    config.extend(object(more));
    Settings::from_json(&config)
}

/// For each of PEFT's settings: values that change nothing of what is computed or are read, and values that are refused.
fn rows() -> Vec<(&'static str, Vec<Value>, Vec<Value>)> {
    let some = json!({"a": 1});
    vec![
        (
            "peft_type",
            vec![json!("LORA")],
            vec![json!("LOHA"), json!(null)],
        ),
        ("task_type", vec![json!("FEATURE_EXTRACTION")], vec![]),
        (
            "auto_mapping",
            vec![json!({"base_model_class": "VGG"})],
            vec![],
        ),
        ("peft_version", vec![json!("0.9.0")], vec![]),
        ("base_model_name_or_path", vec![json!("vgg19")], vec![]),
        ("revision", vec![json!("main")], vec![]),
        ("inference_mode", vec![json!(true)], vec![]),
        (
            "r",
            vec![json!(1), json!(65536)],
            vec![
                json!(0),
                json!(-1),
                json!(1e9),
                json!(1_000_000_000),
                json!(4.0),
                json!("4"),
                json!(true),
                json!(null),
            ],
        ),
        (
            "lora_alpha",
            vec![json!(-3), json!(0), json!(0.5), json!(1e30)],
            vec![json!("much"), json!(null), json!(true)],
        ),
        (
            "rank_pattern",
            vec![json!({"0": 1}), json!({}), json!(null)],
            vec![
                json!({"0": 0}),
                json!({"0": 1.5}),
                json!({"(": 1}),
                json!(["0"]),
            ],
        ),
        (
            "alpha_pattern",
            vec![json!({"0": -1.5})],
            vec![json!({"0": "1"}), json!({"0": null}), json!({"(?i)0": 1})],
        ),
        (
            "target_modules",
            vec![
                json!(["0"]),
                json!("features.0"),
                json!("all-linear"),
                json!("ALL-LINEAR"),
            ],
            vec![json!(null), json!(""), json!([1]), json!("("), json!(3)],
        ),
        (
            "exclude_modules",
            vec![json!(["0"]), json!("features.0"), json!([]), json!("")],
            vec![json!("("), json!([null]), json!({})],
        ),
        ("lora_dropout", vec![json!(0.5)], vec![]),
        ("fan_in_fan_out", vec![json!(true)], vec![json!("yes")]),
        (
            "bias",
            vec![json!("none")],
            vec![json!("all"), json!("lora_only"), json!(null)],
        ),
        (
            "use_rslora",
            vec![json!(true)],
            vec![json!(1), json!("true")],
        ),
        (
            "modules_to_save",
            vec![json!([]), json!(["classifier.6"])],
            vec![json!("classifier.6"), json!([6]), json!([""])],
        ),
        (
            "init_lora_weights",
            vec![
                json!(false),
                json!("gaussian"),
                json!("eva"),
                json!("orthogonal"),
                json!("mica"),
            ],
            vec![
                json!("pissa"),
                json!("pissa_niter_16"),
                json!("olora"),
                json!("corda"),
                json!("loftq"),
                json!("lora_ga"),
                json!("a new one"),
                json!(1),
            ],
        ),
        (
            "layers_to_transform",
            vec![json!(1), json!([1, 2]), json!([])],
            vec![json!("1"), json!([1.5])],
        ),
        (
            "layers_pattern",
            vec![json!([]), json!("")],
            vec![json!("layers"), json!(["a|b"])],
        ),
        ("megatron_config", vec![json!({})], vec![some.clone()]),
        (
            "megatron_core",
            vec![json!("elsewhere"), json!(null)],
            vec![],
        ),
        ("trainable_token_indices", vec![json!([])], vec![json!([1])]),
        ("loftq_config", vec![json!({"loftq_bits": 4})], vec![]),
        ("eva_config", vec![json!({"rho": 2.0})], vec![]),
        ("corda_config", vec![json!({"corda_method": "kpm"})], vec![]),
        (
            "lora_ga_config",
            vec![json!({"direction": "ArB2r"})],
            vec![],
        ),
        ("use_dora", vec![], vec![json!(true)]),
        ("velora_config", vec![], vec![some.clone()]),
        ("alora_invocation_tokens", vec![], vec![json!([1])]),
        ("use_qalora", vec![], vec![json!(true)]),
        ("qalora_group_size", vec![json!(4)], vec![]),
        ("monteclora_config", vec![], vec![some.clone()]),
        ("layer_replication", vec![], vec![json!([[0, 4]])]),
        (
            "runtime_config",
            vec![json!({"ephemeral_gpu_offload": true})],
            vec![],
        ),
        ("lora_bias", vec![], vec![json!(true)]),
        (
            "target_parameters",
            vec![json!([])],
            vec![json!(["weight"])],
        ),
        ("use_bdlora", vec![], vec![some.clone()]),
        ("arrow_config", vec![], vec![some.clone()]),
        ("kasa_config", vec![], vec![some]),
        ("ensure_weight_tying", vec![json!(true)], vec![]),
    ]
}

#[test]
fn every_setting_of_peft_is_read_ignored_or_refused_by_name() {
    let defaults = object(fixture("settings.json"));
    let rows = rows();
    let named: BTreeSet<&str> = rows.iter().map(|row| row.0).collect();
    let known: BTreeSet<&str> = defaults.keys().map(String::as_str).collect();
    assert_eq!(named, known, "one row for each of PEFT's settings");
    for (setting, accepted, refused) in rows {
        let default = defaults[setting].clone();
        // No target is the one default that says nothing.
        let default = Some(default).filter(|_| setting != "target_modules");
        for value in default.into_iter().chain(accepted) {
            read(json!({ setting: value })).unwrap_or_else(|e| panic!("{setting}: {value}: {e}"));
        }
        for value in refused {
            let error = read(json!({ setting: value }));
            let error = error
                .err()
                .unwrap_or_else(|| panic!("{setting}: {value} is read"));
            assert!(error.contains(setting), "{setting}: {value}: {error}");
        }
    }
    let error = read(json!({"a_new_one": 16})).expect_err("what might it mean?");
    assert!(error.contains("a_new_one"), "{error}");
    read(json!({"a_new_one": null})).expect("not set");
    // What a file leaves out has PEFT's default.
    let least = Settings::from_json(&object(
        json!({"peft_type": "LORA", "target_modules": ["0"]}),
    ));
    let least = least.expect("the least");
    assert_eq!(
        (json!(least.rank), json!(least.alpha as u64)),
        (defaults["r"].clone(), defaults["lora_alpha"].clone())
    );
}

#[test]
fn only_the_last_layer_is_kept_whole() {
    let head = |names: Value| {
        let settings = read(json!({"modules_to_save": names})).expect("a list of names");
        settings.head(VGG19)
    };
    assert_eq!(head(json!([])), Ok(false));
    for names in [json!(["classifier.6"]), json!(["r.6", "classifier.6"])] {
        assert_eq!(head(names), Ok(true));
    }
    for (names, part) in [
        (json!(["6"]), "features.6"),
        (json!(["classifier"]), "names classifier,"),
        (json!(["classifier.3"]), "classifier.3"),
        (json!(["classifier.6", "features.0"]), "features.0"),
        (json!(["fc"]), "no layer of this network"),
    ] {
        let error = head(names).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
}

/// Both read the same, or both refuse; the empty expression, which fits no module, is refused here at once.
#[test]
fn modules_ranks_and_alphas_are_pefts() {
    for case in fixture("rules.json").as_array().expect("cases") {
        let mut config = object(case["settings"].clone());
        config.insert("peft_type".into(), json!("LORA"));
        let (found, expected) = (Settings::from_json(&config), &case["modules"]);
        let settings = match (found, expected) {
            (Err(_), Value::String(_)) => continue,
            (Ok(_), Value::String(error)) => panic!("{config:?} is read and PEFT says {error}"),
            (Err(error), _) => {
                assert_eq!(config["target_modules"], "", "{error}");
                continue;
            }
            (Ok(settings), _) => settings,
        };
        let layers = crate::nn::arch::VGG19.layers().into_iter();
        let targets = layers.filter(|layer| settings.targets(&layer.name, !layer.is_conv()));
        let found: BTreeMap<String, (f64, f64)> = targets
            .map(|layer| {
                let rank = settings.rank_of(&layer.name) as f64;
                (layer.name.clone(), (rank, settings.alpha_of(&layer.name)))
            })
            .collect();
        let expected: BTreeMap<String, (f64, f64)> =
            serde_json::from_value(expected.clone()).expect("ranks and alphas by module");
        assert_eq!(found, expected, "{config:?}");
    }
}

#[test]
fn expressions_that_python_and_rust_read_differently_are_refused() {
    for expression in [
        r"features\.0++",
        "a*+",
        "a?+",
        "a{2}+",
        "(?i)features",
        "(?i:features)",
        "[[:alpha:]]+",
        "[a&&b]",
        "[a-z--b]",
        r"\<features",
        r"\b{start}features",
        r"\x{30}",
        r"\z",
        r"(?=0)",
        r"(?!0)",
        r"(0)\1",
        r"[\p{L}]",
        "[a[b]]",
        "(?s-i:0)",
        "(a{1000}){1000}",
        &"(".repeat(2000),
        &"a".repeat(5000),
        "(?U)a",
        "a{,3}",
    ] {
        for setting in ["rank_pattern", "target_modules", "exclude_modules"] {
            let value = match setting {
                "rank_pattern" => json!({ expression: 2 }),
                _ => json!(expression),
            };
            let error = read(json!({ setting: value })).expect_err(expression);
            assert!(
                error.contains(setting) && error.contains("not read"),
                "{error}"
            );
        }
    }
    let many: Map<String, Value> = (0..1000).map(|i| (format!("m{i}"), json!(1))).collect();
    let error = read(json!({"rank_pattern": many})).expect_err("too many");
    assert!(error.contains("1000 entries"), "{error}");
}

use super::*;

/// A model whose metadata says what a build writes, between entries of another program.
fn model(metadata: &Metadata) -> ModelProto {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    let mut model = ModelProto { metadata_props: vec![entry("other", "first")], ..Default::default() };
    metadata.write_into(&mut model);
    model.metadata_props.push(entry("resnextish", "last"));
    model
}

#[test]
fn what_is_written_is_read() {
    let origin = |weights| Provenance { variant: Some("50_32x4d".into()), weights: Some(weights) };
    let checkpoint = origin(Weights::Checkpoint { sha256: "ab".repeat(32) });
    let random = origin(Weights::Random { seed: u64::MAX });
    let labels = Labels { names: vec!["a \"b\"".into(), "ü".into()], ids: vec!["n1".into(), "n2".into()] };
    let wide = Preprocess { crop: Crop::of(200, 320), interpolation: Interpolation::Bicubic, ..IMAGENET_V1 };
    for (origin, file, preprocess) in
        [(&checkpoint, "w.pth", Preprocess::imagenet(Recipe::V2, 224)), (&random, "", wide)]
    {
        let mut metadata = Metadata::default();
        metadata.set_origin(origin, file);
        metadata.set_json(Key::Preprocess, &preprocess);
        metadata.set_labels(&labels);
        for key in [Key::Target, Key::Lowering, Key::Passes, Key::Optimized, Key::Dtype, Key::KeepF32] {
            metadata.set(key, format!("value of {key}"));
        }
        let model = model(&metadata);
        let found = Metadata::of(&model);
        assert_eq!(found, metadata);
        assert_eq!(found.origin().unwrap(), *origin);
        assert_eq!(found.preprocess().unwrap(), Some(preprocess));
        assert_eq!(found.labels().unwrap(), labels);
        assert_eq!(found.get(Key::Target), Some("value of resnext.target"));
        assert_eq!(found.get(Key::LicenseNote), None);
        assert_eq!(found.has_random_weights(), *origin == random);
        // Once more over it: nothing is there twice, and nothing of others is lost.
        let mut again = model.clone();
        metadata.write_into(&mut again);
        assert_eq!(again, model);
        assert_eq!(
            (model.metadata_props[0].value.as_str(), model.metadata_props.len()),
            ("first", metadata.0.len() + 2)
        );
    }
}

#[test]
fn the_json_of_preprocessing_and_origin_is_that_of_older_files() {
    let json = serde_json::to_string(&Preprocess::imagenet(Recipe::V2, 224)).unwrap();
    let expected =
        r#"{"resize":232,"crop":224,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}"#;
    assert_eq!(json, expected);
    let json = r#"{"variant":"50_32x4d","source_sha256":null,"random_seed":7}"#;
    let origin: Provenance = serde_json::from_str(json).unwrap();
    assert_eq!(origin.weights, Some(Weights::Random { seed: 7 }));
    assert_eq!(serde_json::to_string(&origin).unwrap(), json);
    assert_eq!(origin.to_string(), "50_32x4d with random weights of seed 7");
    let both: Provenance = serde_json::from_str(r#"{"source_sha256":"ab","random_seed":7}"#).unwrap();
    assert_eq!(both, Provenance { variant: None, weights: Some(Weights::Checkpoint { sha256: "ab".into() }) });
}

#[test]
fn a_model_that_says_nothing_has_no_metadata() {
    let metadata = Metadata::of(&ModelProto::default());
    assert_eq!((metadata.preprocess().unwrap(), metadata.origin().unwrap()), (None, Provenance::default()));
    assert_eq!(metadata.labels().unwrap(), Labels::default());
    assert!(!metadata.has_random_weights());
}

#[test]
fn what_holds_something_else_is_an_error_that_names_its_key() {
    let with = |key, value: &str| {
        let mut metadata = Metadata::default();
        metadata.set(key, value);
        metadata
    };
    let labels = with(Key::Labels, "cat, dog").labels().unwrap_err().to_string();
    assert!(labels.starts_with("property resnext.labels: no JSON array of strings"), "{labels}");
    let ids = with(Key::LabelIds, "[1]").labels().unwrap_err().to_string();
    assert!(ids.starts_with("property resnext.label_ids: "), "{ids}");
    let seed = with(Key::Seed, "-1").origin().unwrap_err().to_string();
    assert!(seed.starts_with("property resnext.seed: "), "{seed}");
    let preprocess = with(Key::Preprocess, "{}").preprocess().unwrap_err().to_string();
    assert!(preprocess.starts_with("property resnext.preprocess: missing field"), "{preprocess}");
}

#[test]
fn every_key_has_one_name_and_no_source_spells_one_out() {
    for key in Key::ALL {
        assert_eq!(Key::of(key.name()), Some(key));
    }
    assert_eq!(Key::of("variant"), None);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let home = root.join("onnx/src/metadata.rs").canonicalize().unwrap();
    let mut folders: Vec<_> = ["onnx", "builder", "runner"].map(|name| root.join(name).join("src")).into();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path().canonicalize().unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && path != home {
                let text = std::fs::read_to_string(&path).unwrap();
                let own = path.ends_with("onnx/src/metadata/tests.rs");
                let spelled = Key::ALL.into_iter().find(|key| text.contains(key.name()));
                assert!(own || spelled.is_none(), "{} spells {spelled:?} out", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen} sources");
}

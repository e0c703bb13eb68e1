//! No output replaces a file that the build reads, in whatever way the file was named.

use std::path::Path;

use crate::common::program::fail;

#[test]
fn files_of_a_folder_and_shards_of_an_index_are_inputs_too() {
    let home = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/as_people_have");
    for (source, folder) in [("timm_hub", "fold"), ("sharded", "sh")] {
        std::fs::create_dir(home.path().join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(source)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), home.path().join(folder).join(entry.file_name())).unwrap();
        }
    }
    let index = "sh/model.safetensors.index.json";
    let data = ["-o", "fold/m.onnx", "--external-data", "always", "--external-data-name"];
    let cases: [(&str, &[&str], &str); 9] = [
        ("fold", &[&data[..], &["model.safetensors"]].concat(), "fold/model.safetensors"),
        ("fold", &[&data[..], &["config.json"]].concat(), "fold/config.json"),
        ("fold", &["-o", "fold/model.safetensors"], "fold/model.safetensors"),
        ("fold", &["-o", "fold/config.json"], "fold/config.json"),
        ("fold/model.safetensors", &["-o", "fold/config.json"], "fold/config.json"),
        (index, &["-o", "sh/model-00001-of-00002.safetensors"], "sh/model-00001-of-00002.safetensors"),
        ("sh", &["-o", "sh/model-00002-of-00002.safetensors"], "sh/model-00002-of-00002.safetensors"),
        ("sh", &["-o", index], index),
        (index, &["-o", index], index),
    ];
    for (weights, output, victim) in cases {
        let victim = home.path().join(victim);
        let before = std::fs::read(&victim).unwrap();
        fail(home.path(), &[&["--weights", weights, "--force"][..], output].concat(), 2, &["give another"]);
        assert!(std::fs::read(&victim).unwrap() == before, "{weights} {output:?}");
        assert!(!home.path().join("fold/m.onnx").exists());
    }
}

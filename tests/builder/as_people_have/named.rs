//! What of a file is the network, and what is said of the rest.

use super::*;

#[test]
fn what_is_left_out_and_taken_off_is_said_as_the_file_has_it() {
    let metrics = open("metrics.ckpt", &[]).unwrap();
    assert_eq!(metrics.left_out(), ["train_acc.tp", "val_loss.mean_value", "center_loss.centers", "step"]);
    let deep = open("fsdp_three_deep.pth", &[]).unwrap();
    assert_eq!(deep.nested_under(), Some("checkpoint.state.model"));
    assert_eq!(deep.stripped_prefix(), Some("_fsdp_wrapped_module.model."));
}

/// A safetensors file with the tensors of `plain`, renamed, and `more` of zeros.
fn renamed(rename: impl Fn(&str) -> String, more: &[(&str, &[usize])]) -> tempfile::NamedTempFile {
    let bytes = std::fs::read(folder().join("prefix_model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let own = tensors.tensors().into_iter().map(|(name, view)| (rename(name.strip_prefix("model.").unwrap()), view));
    let zeros = vec![0; 1 << 16];
    let more = more.iter().map(|(name, shape)| {
        let bytes = 4 * shape.iter().product::<usize>();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), &zeros[..bytes]);
        ((*name).to_owned(), view.unwrap())
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), safetensors::serialize(own.chain(more), None).unwrap()).unwrap();
    file
}

#[test]
fn linear_layers_of_other_names_are_not_strung_together() {
    let undecided = |file: &tempfile::NamedTempFile, flags: &[&str]| {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        Checkpoint::open_with(file.path(), &choice(&flags)).unwrap().decided().map_err(|error| error.fault.to_string())
    };
    // An embedding before the weights of a loss: its scores are no logits of the network with ReLU between.
    let margin = renamed(str::to_owned, &[("margin.weight", &[100, 5])]);
    let said = undecided(&margin, &[]).unwrap_err();
    assert!(said.contains("`fc (64 to 5)`, `margin (5 to 100)`"), "{said}");
    undecided(&margin, &["--drop-head", "margin"]).unwrap();
    let numbered = renamed(|name| name.replace("fc.", "fc1."), &[("fc2.weight", &[7, 5]), ("fc2.bias", &[7])]);
    undecided(&numbered, &[]).unwrap();
    let normalised = renamed(|name| name.replace("fc.", "fc.1."), &[("fc.0.weight", &[64]), ("fc.0.bias", &[64])]);
    let said = undecided(&normalised, &[]).unwrap_err();
    assert!(said.contains("fc (64 to 5, and other layers beside it)"), "{said}");
}

use super::*;
use onnx_file::element::ElementType;
use onnx_file::port::Port;

fn port(name: &str, element: ElementType) -> Port {
    Port { name: name.into(), element_type: Some(element), shape: Some(vec![None, Some(3), Some(8), Some(8)]) }
}

/// A plain file of these programs.
fn plain() -> Facts {
    Facts {
        ir: 8,
        opset: 17,
        operators: [("Conv".into(), 3), ("MaxPool".into(), 1), ("GlobalAveragePool".into(), 1)].into(),
        inputs: vec![port("input", ElementType::F32)],
        outputs: vec![port("logits", ElementType::F32)],
        padded_pool: Some("maxpool".into()),
        grouped: Some("layer1.0.conv2".into()),
        has_open_batch: true,
        ..Facts::default()
    }
}

fn codes(stack: &str, facts: &Facts) -> Vec<&'static str> {
    super::named(stack).unwrap().answer(facts).objections.iter().map(|objection| objection.code).collect()
}

#[test]
fn a_plain_file_is_taken_by_all_but_those_that_refused_it() {
    let facts = plain();
    let refusing: Vec<&str> = STACKS
        .iter()
        .map(|stack| stack.answer(&facts))
        .filter(|answer| !answer.takes)
        .map(|answer| answer.stack)
        .collect();
    assert_eq!(refusing, ["optimum", "transformers.js", "onnx2tf", "candle"]);
    assert_eq!(codes("candle", &facts), ["padded-pool", "operator"]);
    assert_eq!(codes("optimum", &facts), ["input-name"]);
}

#[test]
fn each_refusal_that_was_seen_is_told_with_what_helps() {
    let half = Facts { has_f16: true, f16_gemm: Some("fc".into()), ..plain() };
    assert_eq!(codes("tract", &half), ["f16-gemm"]);
    let answer = super::named("tract").unwrap().answer(&half);
    assert_eq!(answer.objections[0].fix.as_deref(), Some("keep it in f32: --keep-f32 fc"));
    let late = Facts { opset: 25, ir: 13, ..plain() };
    assert_eq!(codes("onnx2torch", &late), ["opset"]);
    assert_eq!(codes("onnxruntime", &late), [""; 0]);
    let later = Facts { ir: 15, ..late };
    assert_eq!(codes("onnxruntime", &later), ["ir"]);
    let apart = Facts { external: Some("w".into()), ..plain() };
    assert_eq!(codes("opencv4", &apart), ["external-data"]);
    let foreign = Facts { domains: ["com.microsoft".into()].into(), ..plain() };
    assert_eq!((codes("openvino", &foreign), codes("onnxruntime", &foreign)), (vec!["domain"], vec![]));
    let named = Facts { inputs: vec![port("pixel_values", ElementType::F16)], ..plain() };
    assert_eq!(codes("optimum", &named), ["images"]);
    let triton = super::named("triton").unwrap().answer(&named);
    assert!(triton.takes && triton.hints[0].code == "f16-ends");
}

#[test]
fn names_are_unique_and_of_the_letters_of_flags() {
    let mut names: Vec<&str> = STACKS.iter().map(|stack| stack.name).collect();
    assert!(
        names
            .iter()
            .all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)))
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), STACKS.len());
}

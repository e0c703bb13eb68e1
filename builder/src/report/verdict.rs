//! What a comparison with a checkpoint found, to be read.

use onnx_file::text::Lines;

use crate::verify::{Basis, Verdict};

/// The text of `verify`.
pub fn verdict(verdict: &Verdict) -> String {
    let mut text = Lines::default();
    for output in &verdict.outputs {
        let verdict_of = if output.equal() { "equal" } else { "DIFFERENT" };
        let _ = writeln!(
            text,
            "{:<10} against {:<8} {:<10} relative L2 {:.2e} (at most {:.0e}): {verdict_of}",
            output.output,
            output.against,
            if output.leaky { "leaky ReLU" } else { "" },
            output.relative_l2,
            output.tolerance
        );
    }
    let basis = match verdict.basis {
        Basis::Exact => "",
        Basis::Quantized => "compared with the checkpoint in the same integers",
        Basis::Rounded => "compared with the checkpoint's weights rounded to f16, as this program rounds",
        Basis::WithinRounding => "another program's rounding: at most twice what rounding as here does",
    };
    if let Some(constants) = &verdict.constants {
        constants.different.iter().take(10).for_each(|layer| {
            let _ = writeln!(text, "{layer}");
        });
        if constants.unmatched > 0 {
            let _ = writeln!(
                text,
                "{} of the layers could not be compared by weights, by their outputs alone: the checkpoint's network has none like them",
                constants.unmatched
            );
        }
    }
    let _ = write!(text, "{basis}");
    let rounding = verdict.outputs.iter().filter_map(|output| output.rounding_l2).fold(0.0, f64::max);
    if verdict.basis != Basis::Exact {
        let _ = writeln!(text, "; rounding moves an output by up to {rounding:.2e}");
    }
    let [height, width] = verdict.image_size;
    let _ = writeln!(
        text,
        "{} {} {} ({}), in f64 on {height}x{width} images of seed {}",
        verdict.model,
        if verdict.equal { "computes what" } else { "does not compute what" },
        verdict.weights,
        verdict.variant,
        verdict.seed
    );
    text.into()
}

//! The sentences of what to do next.

use std::fmt;

use super::shell_word;
use crate::next::Next;

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Next::Layers => f.write_str("the same command with --layers finds the first block whose output differs"),
            Next::Doctor => {
                f.write_str("`resnext-run doctor` tells which providers work here, and how to fix those that do not")
            }
            Next::DoctorAfterSetup { library } => {
                let flag = library.iter().map(|library| format!(" --ort-lib {}", shell_word(library))).collect::<String>();
                write!(f, "`resnext-run doctor{flag}` tells which providers work here, and whether their kernels compute rightly")
            }
            Next::Tune { model, provider } => write!(
                f,
                "`resnext-run tune {} --ep {provider} -o tuned.onnx` measures whether wider convolutions are faster here",
                shell_word(model)
            ),
            Next::Int8 { model, ranges } => write!(
                f,
                "`resnext-build optimize {} --dtype int8 --calibration {} -o int8.onnx` writes an int8 model by these ranges",
                shell_word(model),
                shell_word(ranges)
            ),
            Next::Ranges { model } => write!(
                f,
                "`resnext-run calibrate {} --images DIR -o ranges.json` keeps ranges that an int8 model can be made by",
                shell_word(model)
            ),
            Next::Preprocess => {
                f.write_str("--preprocess v1, v2 or a JSON file says how the images are to be prepared")
            }
            Next::ClassesByName => f.write_str(
                "should top-1 be higher: --class-order name numbers the folders in the order of their names, as torchvision's ImageFolder does",
            ),
            Next::NameClasses => f.write_str(
                "should top-1 be higher: --labels FILE names the model's classes in its own order, and folders are then matched by name",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_words_of_a_shell() {
        let next = Next::Int8 { model: "my net.onnx".into(), ranges: "$(rm x).json".into() };
        let text = next.to_string();
        assert!(text.contains("optimize 'my net.onnx' --dtype int8 --calibration '$(rm x).json' -o"), "{text}");
    }
}

//! What a mistyped command line was probably meant to be, where that is not a matter of letters: habits of other tools.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Error};

use super::cli::Cli;

/// What a flag of another tool is here.
enum Meant {
    /// This flag, with what follows it, in the verbs that have it.
    Flag(&'static str, &'static str),
    /// No flag.
    Otherwise(&'static str),
}

use Meant::{Flag, Otherwise};

const PRECISION: Meant = Otherwise(
    "decided by the model's file, unless a provider can compute otherwise (`--precision`): `resnext-build optimize MODEL --dtype f16 -o f16.onnx` writes one in f16, `resnext-run quantize` one in int8",
);
const WEIGHTS: Meant = Otherwise(
    "for resnext-build, which makes a model of a checkpoint: `resnext-build --weights FILE -o model.onnx`; this program runs .onnx files",
);
const MODEL: Meant = Otherwise("not needed: the model is named without a flag, right after the verb");
const PROVIDER: Meant = Flag("ep", " cpu, openvino, cuda or tensorrt");
const THREADS: Meant = Flag("intra-op-threads", " N (or --threads)");
const TOP: Meant = Flag("top-k", " K");
const BATCH: Meant = Flag("batch-size", " N");
const RUNS: Meant = Flag("iterations", " N");
const IMAGES: Meant = Flag("images", " IMAGE, or a folder");

/// Flags of other tools.
const FLAGS: [(&[&str], Meant); 19] = [
    (&["--fp16", "--half", "--f16", "--fp32", "--int8", "--dtype"], PRECISION),
    (&["--bf16", "--tf32", "--infer-precision"], Flag("precision", " f32, bf16, f16 or tf32")),
    (&["--checkpoint", "--weights", "--pretrained", "--ckpt"], WEIGHTS),
    (&["--model", "-m", "--onnx", "--model-path", "--network", "--arch", "--variant"], MODEL),
    (&["--device", "-d", "--provider", "--execution-provider", "--backend", "--gpu", "--cuda", "--use-gpu"], PROVIDER),
    (
        &["--num-threads", "--num_threads", "--nthreads", "--nt", "-t", "-j", "--jobs", "--workers", "--num-workers"],
        THREADS,
    ),
    (&["-k", "-K", "--topk", "--top_k", "--top", "--top5"], TOP),
    (&["--batch", "--batch_size", "--batchsize", "--bs", "--batches"], BATCH),
    (&["--iters", "--iter", "--runs", "-n", "--num-runs", "--repeat", "--repetitions", "--loops", "-r"], RUNS),
    (&["--time", "--seconds", "--min-time"], Flag("duration", " TIME")),
    (&["--warm-up", "--warmUp", "--warmup-runs", "--warmup-iters", "-w"], Flag("warmup", " N, or a time")),
    (&["--image", "--img", "--source", "--input", "--inputs", "-i", "--data", "--data-dir", "--dataset"], IMAGES),
    (&["--img-size", "--imgsz", "--img_size", "--input-size", "--size", "--crop"], Flag("image-size", " HxW")),
    (
        &["--shapes", "--input-shape", "--input-shapes", "--input_shape", "--optShapes"],
        Flag("shape", " NAME:1x3x224x224"),
    ),
    (&["--loadInputs", "--load-input", "--input-data"], Flag("load-inputs", " FILE")),
    (&["--class-names", "--classes", "--names", "--class-map", "--label"], Flag("labels", " FILE")),
    (
        &["--mean", "--std", "--normalize", "--transform", "--interpolation", "--resize"],
        Flag("preprocess", " FILE (or v1, v2)"),
    ),
    (&["--csv", "--exportTimes", "--save-csv"], Flag("export-csv", " FILE")),
    (&["--percentiles"], Flag("percentile", " P,...")),
];

/// Verbs of other tools.
const VERBS: [(&[&str], &str); 6] = [
    (&["benchmark", "perf", "time", "speed"], "bench"),
    (&["predict", "classify", "run", "inference", "detect"], "infer"),
    (&["evaluate", "validate", "val", "test", "accuracy"], "eval"),
    (&["diff", "check", "polygraphy"], "compare"),
    (&["install"], "setup"),
    (&["quantise", "int8"], "quantize"),
];

/// What resnext-build does.
const BUILDER: [&str; 7] = ["build", "export", "convert", "optimize", "inspect", "verify", "list"];

/// Values of other tools.
const VALUES: [(&[&str], &str); 2] =
    [(&["gpu", "nvidia", "cuda:0", "0"], "cuda or tensorrt"), (&["intel", "vino"], "openvino")];

/// What was probably meant, as a line without its end; takes away a suggestion of clap's that goes by letters alone.
pub fn tip(error: &mut Error, arguments: &[String]) -> Option<String> {
    let said = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let mut program = Cli::command();
    program.build();
    let (meant, replaces) = match error.kind() {
        ErrorKind::UnknownArgument => {
            let typed = said(ContextKind::InvalidArg)?;
            let verb = arguments.iter().find_map(|word| program.find_subcommand(word))?;
            (flag(&program, verb, &typed)?, ContextKind::SuggestedArg)
        }
        ErrorKind::InvalidSubcommand => {
            (verb(&said(ContextKind::InvalidSubcommand)?)?, ContextKind::SuggestedSubcommand)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation
            if said(ContextKind::InvalidArg).is_some_and(|flag| flag.starts_with("--ep ")) =>
        {
            let typed = said(ContextKind::InvalidValue)?;
            let (_, meant) = VALUES.iter().find(|(others, _)| others.contains(&typed.to_ascii_lowercase().as_str()))?;
            (format!("for '{typed}' write {meant}"), ContextKind::SuggestedValue)
        }
        _ => return None,
    };
    error.remove(replaces);
    // That a flag could be passed as a value is no help to whoever means a flag.
    error.remove(ContextKind::Suggested);
    Some(format!("tip: {meant}"))
}

/// What does in `verb` what the flag `typed` does elsewhere.
fn flag(program: &Command, verb: &Command, typed: &str) -> Option<String> {
    // What stands behind an equals sign is its value.
    let typed = typed.split('=').next().unwrap_or(typed);
    let (_, meant) = FLAGS.iter().find(|(others, _)| others.contains(&typed))?;
    let (name, follows) = match meant {
        Otherwise(text) => return Some(format!("{typed} is {text}")),
        Flag(name, follows) => (*name, *follows),
    };
    if has(verb, name) {
        return Some(format!("{typed} is --{name}{follows}"));
    }
    if name == "images" && verb.get_positionals().count() > 1 {
        return Some(format!("{typed} is not needed: images are named without a flag, after the model"));
    }
    let others: Vec<&str> = program.get_subcommands().filter(|other| has(other, name)).map(Command::get_name).collect();
    let verb = verb.get_name();
    (!others.is_empty())
        .then(|| format!("{typed} is --{name}{follows} in {}; {verb} has no such flag", listed(&others)))
}

fn has(verb: &Command, flag: &str) -> bool {
    verb.get_arguments().any(|argument| argument.get_long() == Some(flag))
}

/// `bench`; `bench and infer`; `bench, eval and infer`.
fn listed(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

/// The command that does what stands where a verb would.
fn verb(word: &str) -> Option<String> {
    if let Some((_, verb)) = VERBS.iter().find(|(others, _)| others.contains(&word)) {
        return Some(format!("'{word}' is `resnext-run {verb}`"));
    }
    if BUILDER.contains(&word) {
        return Some(format!("'{word}' is for the other program: `resnext-build --help`"));
    }
    let is_model =
        word == "-" || std::path::Path::new(word).extension().is_some_and(|end| end.eq_ignore_ascii_case("onnx"));
    is_model.then(|| format!("a verb comes before the model: `resnext-run bench {word}`, or infer {word} IMAGE"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn tip_of(line: &str) -> Option<String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut error = Cli::try_parse_from(&arguments).expect_err(line);
        tip(&mut error, &arguments[1..])
    }

    #[test]
    fn flags_of_other_tools_lead_to_what_the_verb_has() {
        for (line, expected) in [
            ("infer m.onnx i.png -k 3", "-k is --top-k K"),
            ("infer m.onnx i.png --topk=3", "--topk is --top-k K"),
            ("bench m.onnx --device cuda", "--device is --ep cpu, openvino, cuda or tensorrt"),
            ("bench m.onnx --batch 4", "--batch is --batch-size N"),
            ("bench m.onnx --num-threads 4", "--num-threads is --intra-op-threads N"),
            ("bench m.onnx -k 3", "-k is --top-k K in infer; bench has no such flag"),
            ("eval m.onnx d --iters 3", "--iters is --iterations N in bench; eval has no such flag"),
            ("bench m.onnx --fp16", "resnext-build optimize MODEL --dtype f16"),
            ("infer --model m.onnx i.png", "the model is named without a flag"),
            ("infer m.onnx --image i.png", "images are named without a flag"),
            ("compare m.onnx --image i.png", "--image is --images"),
            ("compare --checkpoint m.pth", "resnext-build --weights FILE"),
            ("benchmark m.onnx", "`resnext-run bench`"),
            ("m.onnx", "resnext-run bench m.onnx"),
            ("export m.pth", "the other program"),
            ("bench m.onnx --ep gpu", "write cuda or tensorrt"),
        ] {
            let line = format!("resnext-run {line}");
            let found = tip_of(&line).unwrap_or_default();
            assert!(found.starts_with("tip: ") && found.contains(expected), "{line}: {found}");
        }
    }

    #[test]
    fn what_is_no_habit_gets_no_tip_of_ours() {
        for line in ["bench m.onnx --frobnicate", "bench", "frobnicate m.txt", "bench m.onnx --ep frobnicate"] {
            assert_eq!(tip_of(&format!("resnext-run {line}")), None, "{line}");
        }
    }

    #[test]
    fn no_flag_of_others_is_one_of_every_verb_and_every_flag_meant_is_one_of_some_verb() {
        let mut program = Cli::command();
        program.build();
        for (others, meant) in &FLAGS {
            if let Flag(name, _) = meant {
                assert!(program.get_subcommands().any(|verb| has(verb, name)), "{name}");
            }
            for other in *others {
                let long = other.trim_start_matches("--");
                assert!(!program.get_subcommands().all(|verb| has(verb, long)), "{other} is a flag here");
            }
        }
    }
}

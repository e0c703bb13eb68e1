//! Runs a parsed command line: results to one writer, all else to the other.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::CommandFactory as _;
use onnx_file::budget;
use onnx_file::exit::Exit;
use onnx_file::read::read_whole;
use onnx_file::stream::{Source, is_stream};
use onnx_file::text::{self, Terminal};

use crate::assemble::obtain::{check_sha256, unasked};
use crate::build::{BuildError, Destination, Document, External, Progress, Weights, build};
use crate::bundle::{BundleError, bundle};
use crate::check::{CheckError, check};
use crate::cli::{BuildArgs, Cli, Command, OptimizeArgs, weights_only};
use crate::hub;
use crate::inspect::{InspectError, inspect};
use crate::list::{ListError, list};
use crate::optimize::{OptimizeError, Optimized, optimize};
use crate::progress::Display;
use crate::report;
use crate::streams::Sink;
use crate::suggest;
use crate::verify::{VerifyError, verify};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Building.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Inspecting.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Verifying.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Rewriting.
    #[error(transparent)]
    Optimize(#[from] OptimizeError),
    /// Checking.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A stack that must take the file does not.
    #[error("a stack of --for does not take the file")]
    NotTaken,
    /// Bundling.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The model is not the checkpoint's.
    #[error(
        "the model does not compute what the checkpoint means; build it again, or verify it with the checkpoint it was made from"
    )]
    Different,
    /// Listing.
    #[error(transparent)]
    List(#[from] ListError),
    /// Standard input.
    #[error("cannot read standard input: {0}")]
    Input(#[source] io::Error),
    /// Printing.
    #[error("cannot write the result: {0}")]
    Print(#[from] io::Error),
}

impl CommandError {
    /// How the program ends with this error. That the reader of a pipe has closed it is none.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Build(error) => error.exit(),
            Self::Optimize(error) => error.exit(),
            Self::Bundle(error) => error.exit(),
            Self::Different | Self::NotTaken => Exit::Mismatch,
            Self::Check(error) => error.exit(),
            Self::Verify(error) => error.exit(),
            Self::List(_) => Exit::Internal,
            Self::Inspect(_) | Self::Input(_) => Exit::BadInput,
            Self::Print(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Self::Print(_) => Exit::Output,
        }
    }
}

/// Runs `cli`. Results go to `out`; notes, the summary and the progress bar to `err`.
///
/// # Errors
/// [`CommandError`], not yet printed.
pub fn run(cli: &Cli, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), CommandError> {
    let (out, err): (&mut dyn Write, &mut dyn Write) = (&mut Terminal::new(out), &mut Terminal::new(err));
    if let Some(bytes) = cli.max_memory {
        budget::set_limit(bytes);
    }
    match &cli.command {
        None => run_build(&cli.build, out, err)?,
        Some(Command::List { json }) => {
            let listing = list()?;
            let text = if *json { json_of("list", &listing) } else { report::list(&listing) };
            out.write_all(text.as_bytes())?;
        }
        Some(Command::Inspect { file, variant, selection, sha256, tensors, json }) => {
            let choice = selection.choice()?;
            let source = if is_stream(file) {
                Source::of(file)
            } else {
                Source::of(&local_file(weights_only(file, variant.as_deref(), None)?, None, err)?)
            };
            let source = source.map_err(CommandError::Input)?;
            let file = source.path();
            let mut found = inspect(file, &choice)?;
            found.file = source.name();
            let found = if *sha256 { found.with_sha256(file)? } else { found };
            let found = if *tensors { found } else { found.without_tensors() };
            let text = if *json { json_text(&found) } else { report::inspection(&found) };
            out.write_all(text.as_bytes())?;
        }
        Some(Command::Verify { model, weights, sha256, variant, stride_in, selection, seed, json }) => {
            let choice = selection.choice()?;
            let source = Source::of(model).map_err(CommandError::Input)?;
            let weights = weights_only(weights, variant.as_deref(), sha256.as_deref())?;
            if is_away(&weights) {
                // What cannot be compared is refused before weights are downloaded for it.
                read_whole(source.path()).map_err(VerifyError::from)?;
            }
            let weights = local_file(weights, sha256.as_deref(), err)?;
            let mut display = Display::new(err, false);
            let mut progress = |done, total| display.show(Progress::Comparing { done, total });
            let mut verdict = verify(source.path(), &weights, &choice, *stride_in, *seed, &mut progress)?;
            verdict.model = source.name();
            drop(display);
            let text = if *json { json_of("verify", &verdict) } else { report::verdict(&verdict) };
            out.write_all(text.as_bytes())?;
            out.flush()?;
            return if verdict.equal { Ok(()) } else { Err(CommandError::Different) };
        }
        Some(Command::Optimize(args)) => {
            let summary = run_optimize(args)?;
            if args.json {
                out.write_all(json_of("optimize", &summary).as_bytes())?;
            } else if !args.quiet {
                tell(err, &report::optimized(&summary));
            }
        }
        Some(Command::Check { file, stacks, json }) => {
            let source = Source::of(file).map_err(CommandError::Input)?;
            let mut found = check(source.path(), stacks)?;
            found.file = source.name();
            let text = if *json { json_of("check", &found) } else { report::checked(&found) };
            out.write_all(text.as_bytes())?;
            out.flush()?;
            return if found.taken || stacks.is_empty() { Ok(()) } else { Err(CommandError::NotTaken) };
        }
        Some(Command::Bundle(args)) => {
            let done = bundle(&args.plan()?)?;
            if args.json {
                out.write_all(json_of("bundle", &done).as_bytes())?;
            } else if !args.quiet {
                tell(err, &report::bundled(&done));
            }
        }
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "resnext-build", &mut script);
            out.write_all(&script)?;
        }
        Some(Command::Man { command }) => out.write_all(&man(command.as_deref())?)?,
    }
    out.flush()?;
    Ok(())
}

/// The man page of the program, or of the command of that name.
fn man(command: Option<&str>) -> Result<Vec<u8>, CommandError> {
    let mut program = Cli::command();
    program.build();
    let names: Vec<String> = program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let page = match command {
        None => program,
        Some(name) => program.find_subcommand(name).cloned().ok_or_else(|| {
            let near = suggest::question(&suggest::nearest(name, names.iter().map(String::as_str)));
            BuildError::Request(format!("no command '{name}'{near}; there are {}", names.join(", ")))
        })?,
    };
    let title = page.get_display_name().unwrap_or("resnext-build").to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(page).title(title).render(&mut text)?;
    Ok(text)
}

fn run_optimize(args: &OptimizeArgs) -> Result<Optimized, CommandError> {
    let mut plan = args.plan()?;
    let source = Source::of(&plan.input).map_err(CommandError::Input)?;
    plan.input = source.path().to_owned();
    if !is_stream(&plan.output) {
        let mut summary = optimize(&plan)?;
        summary.input = source.name();
        return Ok(summary);
    }
    let only_one = match (args.json, plan.external) {
        (true, _) => Some("--json and the model would both go to standard output; write the model to a file"),
        (_, External::Always) => Some("--external-data always needs a file for the model; write it to one with -o"),
        _ => None,
    };
    if let Some(reason) = only_one {
        return Err(BuildError::Request(reason.into()).into());
    }
    let sink = Sink::new()?;
    (plan.output, plan.external) = (sink.path(), External::Never);
    let mut summary = optimize(&plan)?;
    sink.send()?;
    (summary.input, summary.files) = (source.name(), Vec::new());
    Ok(summary)
}

fn run_build(args: &BuildArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), CommandError> {
    let plan = args.plan()?;
    if plan.destination == Destination::Stdout {
        Sink::check()?;
    }
    let mut display = Display::new(err, args.quiet);
    let summary = build(&plan, &mut |progress| display.show(progress))?;
    drop(display);
    if args.json {
        let document = Document::of(&summary)?;
        out.write_all(json_of("build", &document).as_bytes())?;
        return Ok(());
    }
    let text = if args.quiet { report::random_weights(&summary) } else { report::summary(&summary) };
    tell(err, &text);
    Ok(())
}

/// Says what was done. The output is whole by now, so where nobody listens that is no failure.
fn tell(err: &mut dyn Write, text: &str) {
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Whether `weights` may have to be downloaded.
fn is_away(weights: &Weights) -> bool {
    match weights {
        Weights::Published { known, hub } => !hub.folder.join(known.file_name()).exists(),
        Weights::Remote { .. } => true,
        Weights::File(_) | Weights::Random { .. } => false,
    }
}

/// The file or folder of `weights` on this machine.
fn local_file(weights: Weights, sha256: Option<&str>, err: &mut dyn Write) -> Result<PathBuf, CommandError> {
    let mut display = Display::new(err, false);
    let mut on = |event: hub::Event<'_>| display.show(Progress::Fetching(event));
    match weights {
        Weights::Published { known, hub } => {
            Ok(hub::fetch(&known.into(), &hub, &mut on).map_err(BuildError::from)?.path)
        }
        Weights::Remote { remote, hub } => {
            let fetched = hub::fetch_remote(&remote, &hub, &mut on).map_err(BuildError::from)?;
            drop(display);
            if let Some(note) = unasked(&fetched) {
                tell(err, &report::note(&note));
            }
            Ok(fetched.path)
        }
        Weights::File(path) => {
            check_sha256(&path, sha256)?;
            Ok(path)
        }
        // Nothing that is typed for a checkpoint means them.
        Weights::Random { .. } => Err(BuildError::Internal("random weights have no file".into()).into()),
    }
}

/// The result of a verb, which says whose it is.
fn json_of(kind: &'static str, result: &impl serde::Serialize) -> String {
    #[derive(serde::Serialize)]
    struct Result<'a, T> {
        kind: &'static str,
        #[serde(flatten)]
        result: &'a T,
    }
    json_text(&Result { kind, result })
}

fn json_text(value: &impl serde::Serialize) -> String {
    // Maps with string or number keys and plain structs have no way to fail.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text::json(&text).into_owned() + "\n"
}

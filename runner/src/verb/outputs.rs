//! The files that a run writes: none of them twice, and none that the run reads.
//!
//! What counts is the file, by whatever name or link it is reached: a result that takes the place of the model it is
//! about costs more than the run.

use std::path::{Path, PathBuf};

use onnx_file::atomic;
use onnx_file::exit::Exit;
use onnx_file::open;

use super::flags::Exports;
use crate::exit::Failure;
use crate::input;
use crate::input::arrays;
use crate::model::file::ModelFile;

/// What a run writes, each with the flag that names it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outputs<'a> {
    named: Vec<(&'static str, &'a Path)>,
    /// Those of them that hold arrays.
    arrays: Vec<(&'static str, &'a Path)>,
    /// What is read besides the inputs that are told of when this is checked.
    read: Vec<PathBuf>,
    /// Whether what exists may be replaced.
    force: bool,
}

/// The name of standard output.
const STANDARD_OUTPUT: &str = "-";

/// Whether a result goes to standard output instead of a file.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    path == Path::new(STANDARD_OUTPUT)
}

impl Exports {
    /// The files asked for.
    pub(crate) fn outputs(&self) -> Outputs<'_> {
        Outputs { force: self.force, ..Outputs::default() }
            .with("--json", self.json.then_some(Path::new(STANDARD_OUTPUT)))
            .with("--export-json", self.export_json.as_deref())
            .with("--export-csv", self.export_csv.as_deref())
            .with("--export-markdown", self.export_markdown.as_deref())
    }
}

impl<'a> Outputs<'a> {
    /// None yet, of which those that exist may be replaced, or not.
    pub(crate) fn forced(force: bool) -> Self {
        Outputs { force, ..Outputs::default() }
    }

    /// One file more, where it is asked for.
    pub(crate) fn with(mut self, flag: &'static str, path: Option<&'a Path>) -> Self {
        self.named.extend(path.map(|path| (flag, path)));
        self
    }

    /// One file of arrays more, where it is asked for.
    pub(crate) fn with_arrays(mut self, flag: &'static str, path: Option<&'a Path>) -> Self {
        self.arrays.extend(path.map(|path| (flag, path)));
        self.with(flag, path)
    }

    /// More files that the run reads.
    pub(crate) fn apart_from_also(mut self, read: &[PathBuf]) -> Self {
        self.read.extend_from_slice(read);
        self
    }

    /// Refuses outputs that cannot be written or would replace what is there, that are one file, whose name says no format
    /// that arrays are kept in, or that are a file of `models` or one of `inputs`; of a folder among the inputs, its
    /// images.
    ///
    /// # Errors
    /// A usage error that names both.
    pub(crate) fn apart_from(&self, models: &[ModelFile], inputs: &[PathBuf]) -> Result<(), Failure> {
        for (flag, path) in &self.arrays {
            arrays::check_name(path).map_err(|error| usage(format!("{flag}: {error}")))?;
        }
        // A device or a pipe takes what comes, and keeps nothing.
        let files: Vec<_> = self.named.iter().filter(|(_, path)| !is_device(path)).collect();
        for (at, (flag, path)) in files.iter().enumerate() {
            if let Some((other, _)) = files[..at].iter().find(|(_, before)| is_same(before, path)) {
                return Err(usage(format!("{other} and {flag} name the same file, {}", path.display())));
            }
        }
        let files: Vec<_> = files.into_iter().filter(|(_, path)| !is_standard_output(path)).collect();
        files.iter().try_for_each(|(flag, path)| writable(flag, path))?;
        let partials: Vec<PathBuf> = files.iter().filter_map(|(_, path)| atomic::partial(path).ok()).collect();
        let there = files.iter().any(|(_, path)| path.exists()) || partials.iter().any(|partial| partial.exists());
        if !there {
            return Ok(());
        }
        let read = models.iter().flat_map(ModelFile::files);
        // What is wrong with a folder is told where it is read.
        let given = inputs
            .iter()
            .chain(&self.read)
            .flat_map(|path| input::expand(std::slice::from_ref(path)).unwrap_or_default());
        for input in read.chain(given) {
            if let Some((flag, path)) = files.iter().find(|(_, path)| writes(path, &input)) {
                let (path, input) = (path.display(), input.display());
                return Err(usage(format!(
                    "{flag} {path} would replace {input}, which this run reads; give another file"
                )));
            }
        }
        match files.iter().find(|(_, path)| !self.force && path.exists()) {
            Some((flag, path)) => {
                Err(usage(format!("{flag}: {} exists; give another file, or --force to replace it", path.display())))
            }
            None => Ok(()),
        }
    }
}

/// Whether a file can come to lie there, told before anything is measured.
fn writable(flag: &str, path: &Path) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::new(Exit::Output, format!("{flag} {}: {why}", path.display())));
    if path.is_dir() {
        return refused("it is a folder; name a file".to_owned());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(about) if about.is_dir() => Ok(()),
        Ok(_) => refused(format!("{} is no folder", folder.display())),
        Err(error) => refused(format!("the folder {}: {error}; make it first", folder.display())),
    }
}

fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Whether writing to `output` spoils `input`: it is the file itself, or the one that becomes it.
fn writes(output: &Path, input: &Path) -> bool {
    open::same(output, input) || atomic::partial(output).is_ok_and(|partial| open::same(&partial, input))
}

fn is_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

/// Whether both are one file, be it there already or not.
fn is_same(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        folder.canonicalize().ok().map(|folder| (folder, path.file_name().map(ToOwned::to_owned)))
    };
    a == b || open::same(a, b) || matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(outputs: &Outputs<'_>, inputs: &[PathBuf]) -> Option<String> {
        outputs.apart_from(&[], inputs).err().map(|failure| failure.message)
    }

    #[test]
    fn an_output_is_no_other_output_however_both_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let both = |a: &Path, b: &Path| {
            refusal(&Outputs::default().with("--export-json", Some(a)).with("--export-csv", Some(b)), &[])
        };
        std::fs::create_dir(at("sub")).unwrap();
        assert_eq!(both(&at("a"), &at("b")), None);
        for again in [at("a"), at("./a"), at("sub/../a")] {
            let text = both(&at("a"), &again).unwrap();
            assert!(text.starts_with("--export-json and --export-csv name the same file"), "{text}");
        }
        assert_eq!(both(Path::new("/dev/null"), Path::new("/dev/null")), None);
        assert!(both(Path::new("-"), Path::new("-")).is_some(), "two results on standard output are none");
        assert_eq!(both(Path::new("-"), &at("a")), None);
    }

    #[test]
    fn an_output_that_cannot_be_written_is_refused_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("there"), "x").unwrap();
        let to = |name: &str, force: bool| {
            let path = at(name);
            let failure =
                Outputs { force, ..Outputs::default() }.with("--export-csv", Some(&path)).apart_from(&[], &[]);
            failure.err().map(|failure| (failure.exit, failure.message))
        };
        for (name, why) in [("none/a", "make it first"), (".", "it is a folder"), ("there/a", "there is no folder")] {
            let (exit, text) = to(name, true).unwrap();
            assert!(exit == Exit::Output && text.contains(why), "{name}: {text}");
        }
        let (exit, text) = to("there", false).unwrap();
        assert!(exit == Exit::Usage && text.contains("--force"), "{text}");
        assert_eq!((to("there", true), to("new", false)), (None, None));
    }

    #[cfg(unix)]
    #[test]
    fn an_output_is_no_input_by_whatever_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("images")).unwrap();
        for name in ["model", "images/a.png", ".new.partial"] {
            std::fs::write(at(name), "x").unwrap();
        }
        std::fs::hard_link(at("model"), at("hard")).unwrap();
        std::os::unix::fs::symlink("model", at("soft")).unwrap();
        let to = |name: &str, input: &str| {
            let path = at(name);
            refusal(&Outputs { force: true, ..Outputs::default() }.with("--export-csv", Some(&path)), &[at(input)])
        };
        for (output, input) in [
            ("model", "model"),
            ("hard", "model"),
            ("soft", "model"),
            ("model", "soft"),
            ("images/a.png", "images"),
            ("new", ".new.partial"),
        ] {
            let text = to(output, input).unwrap_or_default();
            assert!(text.starts_with("--export-csv") && text.contains("which this run reads"), "{output}: {text}");
        }
        assert_eq!((to("images/b.csv", "images"), to("other", "model")), (None, None));
    }
}

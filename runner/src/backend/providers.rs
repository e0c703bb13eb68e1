//! From flags to candidates: every model on every provider, each to be opened in a worker of its own.

use super::kserve::{self, Address};
use super::onnxruntime::served::OnnxRuntime;
use super::open::Backend;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::onnxruntime::known::cache;
use super::onnxruntime::provider::tensorrt::{Profile, TensorRt};
use super::onnxruntime::provider::{Kind, Provider};
use super::onnxruntime::runtime::find::{Library, Search};
use super::onnxruntime::spec::{SessionOptions, Source, Spec};
use super::onnxruntime::worker::Launcher;
use crate::host::machine::{Host, memory};
use crate::model::candidate::{Candidate, Candidates};
use crate::model::demand::Demand;
use crate::model::file::ModelFile;
use crate::model::opened::ModelError;
use crate::note::Note;

use super::onnxruntime::options::ProviderOptions;
use crate::exit::Failure;
use crate::terminal::args::Global;
use onnx_file::exit::Exit;
use onnx_file::stream::is_stream;

/// The providers asked for, each with the library that serves it.
pub(crate) struct Providers {
    launcher: Launcher,
    each: Vec<(Provider, Library)>,
    served: Vec<Address>,
    /// How long a server may take to answer.
    patience: Duration,
    session: SessionOptions,
    copies: usize,
    allow_fallback: bool,
    verbose: bool,
}

/// How long a server may take to answer where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(60);

impl Providers {
    /// Chooses the libraries.
    pub(crate) fn of(global: &Global, options: &ProviderOptions) -> Result<Providers, Failure> {
        let mut providers = options.providers.clone();
        for provider in &mut providers {
            if let Provider::TensorRt(tensorrt) = provider {
                tensorrt.cache = TensorRt::default_cache();
            }
        }
        let kinds: Vec<Kind> = providers.iter().map(Provider::kind).collect();
        let libraries = Search::new(options.library.ort_lib.clone()).choose(&kinds)?;
        Ok(Providers {
            launcher: super::onnxruntime::launch::launcher(global, &options.library)?,
            each: providers.into_iter().zip(libraries).collect(),
            served: options.served.clone(),
            patience: options.library.timeout.unwrap_or(PATIENCE),
            session: options.session.clone(),
            copies: 1,
            allow_fallback: options.allow_fallback,
            verbose: global.verbose,
        })
    }

    /// What is known of the libraries that results should carry: kernels that `doctor` found to be wrong.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let host = Host::read();
        let mut notes = Vec::new();
        for (_, library) in &self.each {
            let known = cache::look_up(library, &host).into_iter();
            let note = known.map(|known| known.wrong().map(|answer| answer.name.clone()).collect::<Vec<_>>());
            let library = library.path.display().to_string();
            notes.extend(
                note.filter(|operators| !operators.is_empty())
                    .map(|operators| Note::WrongKernels { library: library.clone(), operators })
                    .filter(|note| !notes.contains(note))
                    .collect::<Vec<_>>(),
            );
        }
        notes
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.each.len() + self.served.len()
    }

    /// Opens every model once for each thread, or for each of the `batch` images at once that the copies share where
    /// these are fewer, and divides the threads among them, where that does more in all: on the CPU provider, and as far
    /// as memory goes. Returns how many copies there are, and how many there would be with more memory.
    pub(crate) fn copy_models(&mut self, files: &[ModelFile], demands: &[Demand], batch: usize) -> (usize, usize) {
        if self.each.iter().any(|(provider, _)| provider.kind() != Kind::Cpu) {
            return (1, 1);
        }
        let wanted = self.session.intra_op_threads.clamp(1, batch.max(1));
        let each = |copies: usize| {
            let bytes =
                |(file, demand): (&ModelFile, &Demand)| memory::copy_bytes(file.weight_bytes(), demand.bytes(copies));
            files.iter().zip(demands).map(bytes).fold(0, u64::saturating_add)
        };
        self.copies = memory::copies_that_fit(wanted, each, memory::available());
        (self.copies, wanted)
    }

    /// Threads within a node.
    pub(crate) fn threads(&self) -> usize {
        self.session.intra_op_threads
    }

    /// Every model on every provider: all providers of the first model, then of the next. `demands` are the shapes
    /// that each model will be asked for.
    pub(crate) fn candidates<'a>(&'a self, files: &'a [ModelFile], demands: &[Demand]) -> Vec<Candidate<'a>> {
        let models = files.iter().zip(demands);
        let of = move |(file, demand): (&'a ModelFile, &Demand)| {
            let here = self.each.iter().map(|each| self.candidate(file, each, demand));
            here.chain(self.served.iter().map(|address| self.on_server(file, address))).collect::<Vec<_>>()
        };
        models.flat_map(of).collect()
    }

    fn on_server<'a>(&'a self, file: &'a ModelFile, address: &'a Address) -> Candidate<'a> {
        let open = move |path: &Path| {
            if path != file.path {
                let text = format!("{address} runs its own file, and tells nothing of the values inside");
                return Err(ModelError::Unavailable(text));
            }
            let mut model = kserve::open(address, file, self.patience)?;
            if let Some(golden) = &file.golden {
                golden.check(&mut *model)?;
            }
            Ok(model)
        };
        Candidate::of_file(file, address.to_string(), Box::new(open))
    }

    fn candidate<'a>(
        &'a self,
        file: &'a ModelFile,
        (provider, library): &'a (Provider, Library),
        demand: &Demand,
    ) -> Candidate<'a> {
        let mut provider = provider.clone();
        if let Provider::TensorRt(tensorrt) = &mut provider {
            tensorrt.profiles = profile(demand).into_iter().collect();
        }
        // TensorRT has an engine for the shapes asked for alone, and so has a model whose shapes were fixed.
        let bound = provider.kind() == Kind::TensorRt || !file.shaped.is_empty();
        let golden = file.golden.as_ref().map(|golden| if bound { golden.within(demand) } else { golden.clone() });
        let label = provider.label();
        let spec = Spec {
            library: library.clone(),
            provider,
            session: self.session.clone(),
            model: Source::Probe,
            outputs: file.fetched.clone(),
            shapes: file.shaped.clone(),
            allow_fallback: self.allow_fallback,
            verbose: self.verbose,
        };
        let copies = if file.batch_divides() { self.copies } else { 1 };
        let backend = OnnxRuntime { launcher: &self.launcher, spec, copies };
        let open = move |path: &Path| {
            let mut model = backend.open(path)?;
            // A search for a layer opens other files than the candidate's own.
            if let Some(golden) = golden.as_ref().filter(|_| path == file.path) {
                golden.check(&mut *model)?;
            }
            Ok(model)
        };
        Candidate::of_file(file, label, Box::new(open))
    }
}

impl Candidates for Providers {
    fn of<'a>(&'a self, files: &'a [ModelFile], demands: &[Demand]) -> Vec<Candidate<'a>> {
        self.candidates(files, demands)
    }
}

/// The range of shapes that will be asked for, so that TensorRT builds one engine for all of them; none where the model
/// leaves nothing open.
fn profile(demand: &Demand) -> Option<Profile> {
    let Demand { input, least, most, is_open } = demand;
    is_open.then(|| Profile { input: input.clone(), min: least.clone(), opt: most.clone(), max: most.clone() })
}

/// Reads what every model file says of itself; one of them may come from standard input.
pub(crate) fn read_models(paths: &[PathBuf]) -> Result<Vec<ModelFile>, Failure> {
    if paths.iter().filter(|path| is_stream(path)).count() > 1 {
        let text = "'-' stands for one model: standard input ends with it; write the others to files";
        return Err(Failure::new(Exit::Usage, text));
    }
    paths.iter().map(|path| Ok(ModelFile::read(path)?)).collect()
}

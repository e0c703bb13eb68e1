//! One child process for each provider and model, so that what takes a process down takes a row down and no more.
//!
//! The parent starts its own program again as `worker` and speaks [`protocol`] with it over a socket that stands in for
//! the child's standard input. The child's standard output and error are one pipe, of which the end is kept: whatever
//! onnxruntime, a plugin or a driver prints there is shown when the worker dies and can spoil nothing before.

pub mod copies;
pub(crate) mod limit;
pub mod protocol;
pub mod serve;
pub(crate) mod tail;
pub mod transport;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use onnx_file::budget;

use super::runtime::Description;
use super::runtime::find::Library;
use super::spec::Spec;
use crate::model::coverage::Coverage;
use crate::model::opened::{Block, Loaded, Memory, Model, ModelError, OutputRange, Part, Ports};
use crate::model::tensor::{Data, Tensor};

use super::worker::limit::{Limit, Watch};
use super::worker::protocol::{ProtocolError, Reply, Request};
use super::worker::tail::Tail;

/// How long a worker may take to leave once its work is over; engine caches are written then.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program that understands `worker`: this one, unless a library user or a test names another.
    pub program: PathBuf,
    /// Time limit for loading a model, its first run included. Building a TensorRT engine takes minutes.
    pub load_limit: Duration,
    /// Time limit for one run.
    pub run_limit: Duration,
    /// Bytes of memory that each worker may take.
    pub memory: u64,
    /// Let what workers print through to standard error too, instead of only keeping its end.
    pub show_output: bool,
}

impl Launcher {
    /// Workers of this very program, with limits that only a hang exceeds.
    ///
    /// # Errors
    /// When the system does not tell where the running program lies.
    pub fn this_program() -> io::Result<Launcher> {
        Ok(Launcher {
            program: std::env::current_exe()?,
            load_limit: Duration::from_secs(900),
            run_limit: Duration::from_secs(300),
            memory: budget::limit(),
            show_output: false,
        })
    }

    /// Loads a model in a worker of its own.
    ///
    /// # Errors
    /// As [`super::session::LocalModel::load`], and [`ModelError::Crashed`] or [`ModelError::TimedOut`] when the worker
    /// dies or takes too long.
    pub fn load(&self, spec: &Spec) -> Result<Worker, ModelError> {
        let kind = spec.provider.kind();
        let threads = spec.session.intra_op_threads.saturating_add(spec.session.inter_op_threads);
        let limit = Limit::of(self.memory, kind, threads);
        let mut process = Process::start(self, (kind.name(), limit), &spec.library, &spec.provider.environment())?;
        match process.ask(&Request::Load(Box::new(spec.clone())), &[], None, self.load_limit)? {
            (Reply::Loaded(loaded, ports), _) => {
                tracing::debug!(
                    model = loaded.model,
                    provider = loaded.provider,
                    library_version = loaded.library_version,
                    options = ?loaded.options,
                    placement = ?loaded.placement,
                    "model loaded"
                );
                let (run_limit, load_limit) = (self.run_limit, self.load_limit);
                Ok(Worker { process, loaded: *loaded, ports, run_limit, load_limit })
            }
            _ => Err(process.protocol_violation()),
        }
    }

    /// Loads a library in a worker and asks what it is.
    ///
    /// # Errors
    /// As [`Launcher::load`].
    pub fn describe(&self, library: &Library) -> Result<Description, ModelError> {
        // It loads a library and no model; what the library opens besides is its own.
        let limit = Limit { bytes: self.memory, addresses: None };
        let mut process = Process::start(self, ("library", limit), library, &[])?;
        let request = Request::Describe { library: library.clone(), verbose: self.show_output };
        match process.ask(&request, &[], None, self.load_limit)? {
            (Reply::Description(description), _) => Ok(description),
            _ => Err(process.protocol_violation()),
        }
    }
}

/// A model loaded in a worker.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    loaded: Loaded,
    ports: Ports,
    run_limit: Duration,
    load_limit: Duration,
}

impl Worker {
    /// The worker's process id.
    pub fn process_id(&self) -> u32 {
        self.process.child.id()
    }

    /// Runs some rows of the inputs, counted along their first dimension.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub(crate) fn run_rows(
        &mut self,
        inputs: &[Tensor],
        rows: Option<&Range<usize>>,
    ) -> Result<Vec<Tensor>, ModelError> {
        match self.process.ask(&Request::Run, inputs, rows, self.run_limit)? {
            (Reply::Tensors, outputs) => Ok(outputs),
            _ => Err(self.process.protocol_violation()),
        }
    }
}

impl Model for Worker {
    fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        self.run_rows(inputs, None)
    }

    fn ranges(&mut self, inputs: &[Tensor], part: Part) -> Result<Vec<OutputRange>, ModelError> {
        match self.process.ask(&Request::Ranges(part), inputs, None, self.run_limit)? {
            (Reply::Ranges(ranges), _) => Ok(ranges),
            _ => Err(self.process.protocol_violation()),
        }
    }

    fn time(&mut self, inputs: &[Tensor], block: Block) -> Result<Vec<f64>, ModelError> {
        // The worker gives heartbeat between runs; its own interval for them must fit into the limit.
        let limit = self.run_limit + serve::HEARTBEAT;
        let (reply, mut tensors) = self.process.ask(&Request::Time(block), inputs, None, limit)?;
        match (reply, tensors.pop()) {
            (Reply::Tensors, Some(Tensor { data: Data::F64(seconds), .. })) => Ok(seconds),
            _ => Err(self.process.protocol_violation()),
        }
    }

    fn coverage(&mut self) -> Result<Option<Coverage>, ModelError> {
        match self.process.ask(&Request::Coverage, &[], None, self.load_limit)? {
            (Reply::Coverage(coverage), _) => Ok(coverage),
            _ => Err(self.process.protocol_violation()),
        }
    }

    fn memory(&mut self) -> Result<Memory, ModelError> {
        match self.process.ask(&Request::Memory, &[], None, self.run_limit)? {
            (Reply::Memory(memory), _) => Ok(memory),
            _ => Err(self.process.protocol_violation()),
        }
    }
}

type Answer = Result<(Reply, Vec<Tensor>), ProtocolError>;

/// A worker process and the thread that speaks with it: speaking may block for as long as the worker likes, waiting for
/// the thread does not.
#[derive(Debug)]
struct Process {
    name: String,
    child: Child,
    limit: Limit,
    watch: Watch,
    requests: Option<Sender<Vec<u8>>>,
    /// Frames that were sent, for the buffer they take.
    sent: Receiver<Vec<u8>>,
    answers: Receiver<Answer>,
    output: Tail,
    /// Why the worker is gone; every later request gets the same answer.
    dead: Option<ModelError>,
}

impl Process {
    fn start(
        launcher: &Launcher,
        (name, limit): (&str, Limit),
        library: &Library,
        environment: &[(&str, &str)],
    ) -> Result<Process, ModelError> {
        let failed = |error: io::Error| {
            ModelError::Unavailable(format!("the worker {} could not be started: {error}", launcher.program.display()))
        };
        let mut command = Command::new(&launcher.program);
        // Set for the child alone and from its start: onnxruntime reads it while it is loaded.
        command
            .arg("worker")
            .arg(std::process::id().to_string())
            .args(limit.arguments())
            .env("ORT_DISABLE_TELEMETRY", "1")
            .envs(environment.iter().copied());
        add_library_folders(&mut command, library);
        let (reader, writer) = io::pipe().map_err(failed)?;
        command.stdout(Stdio::from(writer.try_clone().map_err(failed)?)).stderr(Stdio::from(writer));
        let output = Tail::of(reader, launcher.show_output);
        // An interrupt from the keyboard is for the parent to handle: it keeps what was measured.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let (child, mut stream) = transport::spawn(command).map_err(failed)?;
        let watch = Watch::over(&child, limit);
        let (requests, to_send) = mpsc::channel::<Vec<u8>>();
        let (give, answers) = mpsc::channel();
        let (give_back, sent) = mpsc::channel();
        thread::spawn(move || {
            for frame in to_send {
                let sent = io::Write::write_all(&mut stream, &frame).and_then(|()| io::Write::flush(&mut stream));
                let _ = give_back.send(frame);
                // A worker that died reads nothing more, but may have answered.
                let mut answer = protocol::receive(&mut stream, Vec::new()).map_err(|error| match (sent, error) {
                    (Err(error), ProtocolError::Ended) if error.kind() != io::ErrorKind::BrokenPipe => error.into(),
                    (_, error) => error,
                });
                while matches!(answer, Ok((Reply::Working, _))) {
                    let _ = give.send(answer);
                    answer = protocol::receive(&mut stream, Vec::new());
                }
                if give.send(answer).is_err() {
                    break;
                }
            }
        });
        let (name, requests) = (name.to_owned(), Some(requests));
        Ok(Process { name, child, limit, watch, requests, sent, answers, output, dead: None })
    }

    fn ask(
        &mut self,
        request: &Request,
        tensors: &[Tensor],
        rows: Option<&Range<usize>>,
        limit: Duration,
    ) -> Result<(Reply, Vec<Tensor>), ModelError> {
        if let Some(reason) = &self.dead {
            return Err(reason.clone());
        }
        let buffer = self.sent.try_recv().unwrap_or_default();
        let frame = protocol::encode(request, tensors, rows, buffer).map_err(|error| error.of_inputs())?;
        let sent = self.requests.as_ref().is_some_and(|requests| requests.send(frame).is_ok());
        let mut answer = if sent { self.answers.recv_timeout(limit) } else { Err(RecvTimeoutError::Disconnected) };
        while matches!(answer, Ok(Ok((Reply::Working, _)))) {
            answer = self.answers.recv_timeout(limit);
        }
        let reason = match answer {
            Ok(Ok((Reply::Failed(error), _))) => return Err(error),
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(ProtocolError::Budget(over))) => {
                self.kill();
                ModelError::OutOfMemory(format!("what the {} worker answered: {over}", self.name))
            }
            Ok(Err(ProtocolError::Ended)) | Err(RecvTimeoutError::Disconnected) => self.crashed("ended"),
            Ok(Err(error)) => {
                self.kill();
                ModelError::Crashed(format!("the {} worker sent {error}{}", self.name, self.output.end()))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.kill();
                let seconds = limit.as_secs_f64();
                let hint = "hint: --timeout sets another limit";
                let output = self.output.end();
                ModelError::TimedOut(format!(
                    "the {} worker gave no answer within {seconds} s{output}\n{hint}",
                    self.name
                ))
            }
        };
        self.dead = Some(reason.clone());
        Err(reason)
    }

    /// A reply that answers another question.
    fn protocol_violation(&mut self) -> ModelError {
        self.kill();
        let reason =
            ModelError::Crashed(format!("the {} worker answered something else{}", self.name, self.output.end()));
        self.dead = Some(reason.clone());
        reason
    }

    fn crashed(&mut self, otherwise: &str) -> ModelError {
        let end = self.wait(EXIT_GRACE).map_or_else(|| otherwise.to_owned(), describe_end);
        self.kill();
        if self.watch.has_ended_it() {
            return self.limit.exceeded(&self.name, "");
        }
        ModelError::Crashed(format!("the {} worker {end}{}", self.name, self.output.end()))
    }

    fn kill(&mut self) {
        self.requests = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the process to end by itself.
    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                _ => return None,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without requests the thread ends and closes the stream, upon which the worker leaves by itself.
        self.requests = None;
        if self.wait(EXIT_GRACE).is_none() {
            self.kill();
        }
    }
}

/// Lets the dynamic loader find NVIDIA's libraries where `setup cuda` put them: provider libraries open some of them by
/// name, long after they were loaded themselves.
fn add_library_folders(command: &mut Command, library: &Library) {
    let folders = library.nvidia_folders();
    if folders.is_empty() {
        return;
    }
    let variable = if cfg!(windows) { "PATH" } else { "LD_LIBRARY_PATH" };
    let before = std::env::var_os(variable).unwrap_or_default();
    let all = std::env::split_paths(&before).filter(|folder| !folder.as_os_str().is_empty()).chain(folders);
    if let Ok(joined) = std::env::join_paths(all) {
        command.env(variable, joined);
    }
}

/// How a process ended, as the end of a sentence.
fn describe_end(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = match signal {
            4 => "SIGILL, an instruction that this processor does not have or does not grant",
            6 => "SIGABRT",
            7 | 10 => "SIGBUS",
            8 => "SIGFPE",
            9 => "SIGKILL; when memory runs out, the kernel kills this way",
            11 => "SIGSEGV",
            15 => "SIGTERM",
            _ => return format!("was killed by signal {signal}"),
        };
        return format!("was killed by {name}");
    }
    match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => "ended".to_owned(),
    }
}

//! From a specification to onnxruntime's session: every option set, exactly the provider asked for.

use std::collections::BTreeMap;
use std::path::Path;

use ort::ErrorCode;
use ort::ep::{ArbitrarilyConfigurableExecutionProvider, ExecutionProvider};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::backend::onnxruntime::known::graph;
use crate::backend::onnxruntime::native;
use crate::backend::onnxruntime::native::PlacedNode;
use crate::backend::onnxruntime::provider::arithmetic::Arithmetic;
use crate::backend::onnxruntime::provider::{Kind, Provider};
use crate::backend::onnxruntime::runtime::Runtime;
use crate::backend::onnxruntime::runtime::said;
use crate::model::opened::ModelError;

use super::error::out_of_memory;
use super::{convert, probe};
use crate::backend::onnxruntime::spec::{Source, Spec};

/// Makes OpenVINO's plugin known to the environment.
pub(crate) fn register_plugin(runtime: &Runtime, plugin: &Path) -> Result<(), ModelError> {
    runtime.environment.register_ep_library("resnext-openvino", plugin).map_err(|error| {
        ModelError::Unavailable(format!(
            "the OpenVINO plugin {} could not be loaded: {}",
            plugin.display(),
            said(&error)
        ))
    })
}

/// Makes the session and reads where its nodes went.
pub(crate) fn commit(
    runtime: &Runtime,
    spec: &Spec,
    provider: &Provider,
    strict: bool,
) -> Result<(Session, Vec<PlacedNode>), ModelError> {
    let unavailable = |error: ort::Error| {
        let hint = hint(provider.kind(), spec);
        ModelError::Unavailable(format!("{} could not be registered: {}\nhint: {hint}", provider.kind(), said(&error)))
    };
    let builder = configured(runtime, spec, strict).map_err(|error| ModelError::Failed(said(&error)))?;
    let builder = with_provider(runtime, builder, provider, spec).map_err(unavailable)?;
    let session = opened(builder, provider, &spec.model)?;
    let placed = native::placement(&session).map_err(|error| ModelError::Failed(said(&error)))?;
    Ok((session, placed))
}

/// Makes a session like that of [`commit`], with `more` set, for something else than measuring.
pub(crate) fn recorded(
    runtime: &Runtime,
    spec: &Spec,
    provider: &Provider,
    more: impl FnOnce(SessionBuilder) -> Result<SessionBuilder, ort::Error>,
) -> Result<Session, ModelError> {
    let builder = configured(runtime, spec, false)
        .and_then(|builder| with_provider(runtime, builder, provider, spec))
        .and_then(more)
        .map_err(|error| ModelError::Failed(said(&error)))?;
    opened(builder, provider, &spec.model)
}

fn opened(mut builder: SessionBuilder, provider: &Provider, model: &Source) -> Result<Session, ModelError> {
    let committed = match model {
        Source::File(path) => builder.commit_from_file(path),
        Source::Probe => builder.commit_from_memory(&probe::model()),
        Source::Known => builder.commit_from_memory(&graph::model()),
    };
    committed.map_err(|error| load_failed(&error, provider.kind(), model))
}

/// What to do about a provider that does not register.
fn hint(kind: Kind, spec: &Spec) -> String {
    if spec.library.has(kind) {
        return "`resnext-run doctor` tells what it misses".to_owned();
    }
    let library = spec.library.path.display();
    format!("{library} does not hold it; install one that does with `resnext-run setup {}`", kind.package())
}

/// A builder with everything that does not depend on the provider.
fn configured(runtime: &Runtime, spec: &Spec, strict: bool) -> Result<SessionBuilder, ort::Error> {
    let mut builder = SessionBuilder::new(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(spec.session.intra_op_threads)?
        .with_inter_threads(spec.session.inter_op_threads)?
        .with_parallel_execution(spec.session.inter_op_threads > 1)?;
    for (key, value) in session_config(spec) {
        builder = builder.with_config_entry(key, value)?;
    }
    builder = builder.with_config_entry("session.record_ep_graph_assignment_info", "1")?;
    if strict {
        builder = builder.with_config_entry("session.disable_cpu_ep_fallback", "1")?;
    }
    Ok(builder)
}

fn session_config(spec: &Spec) -> BTreeMap<String, String> {
    let spinning = ("session.intra_op.allow_spinning".to_owned(), "1".to_owned());
    let mut config = BTreeMap::from([spinning]);
    config.extend(spec.session.config.clone());
    config
}

/// Registers exactly the provider asked for. A session builder left alone picks devices by itself, and once a plugin is
/// registered it picks the plugin's, so even the CPU provider has to be named.
fn with_provider(
    runtime: &Runtime,
    mut builder: SessionBuilder,
    provider: &Provider,
    spec: &Spec,
) -> Result<SessionBuilder, ort::Error> {
    let settings = provider.settings();
    let devices = || {
        let wanted = provider.kind().onnxruntime_name();
        runtime.environment.devices().filter(move |device| device.ep().is_ok_and(|name| name == wanted))
    };
    match provider {
        Provider::Cpu(cpu) => {
            ort::ep::CPU::default().with_arena_allocator(cpu.arena).register(&mut builder)?;
            Ok(builder.with_devices(devices(), None)?)
        }
        Provider::OpenVino(_) if spec.library.openvino_plugin().is_none() => {
            arbitrary(ort::ep::OpenVINO::default(), &settings).register(&mut builder)?;
            Ok(builder)
        }
        Provider::OpenVino(openvino) => {
            let wanted = convert::device_type(&openvino.device)?;
            let chosen: Vec<_> = devices().filter(|device| device.hardware_device().ty() == wanted).take(1).collect();
            if chosen.is_empty() {
                let device = &openvino.device;
                return Err(ort::Error::new(format!(
                    "OpenVINO's plugin offers no {device} here; it knows Intel's processors only"
                )));
            }
            // The device is chosen above; the plugin refuses to be told again.
            let prefix = provider.kind().onnxruntime_name();
            let options: Vec<_> = settings
                .into_iter()
                .filter(|(key, _)| key != "device_type")
                .map(|(key, value)| (format!("{prefix}.{key}"), value))
                .collect();
            Ok(builder.with_devices(chosen, Some(&options))?)
        }
        Provider::Cuda(_) => {
            arbitrary(ort::ep::CUDA::default(), &settings).register(&mut builder)?;
            Ok(builder)
        }
        Provider::TensorRt(_) => {
            arbitrary(ort::ep::TensorRT::default(), &settings).register(&mut builder)?;
            if spec.allow_fallback {
                let cuda = Provider::new(Kind::Cuda).settings();
                arbitrary(ort::ep::CUDA::default(), &cuda).register(&mut builder)?;
            }
            Ok(builder)
        }
    }
}

/// A provider with these options.
fn arbitrary<P: ArbitrarilyConfigurableExecutionProvider>(provider: P, settings: &BTreeMap<String, String>) -> P {
    settings.iter().fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value))
}

/// Every option in force, for the record.
pub(crate) fn options_in_force(spec: &Spec, provider: &Provider) -> BTreeMap<String, String> {
    let kind = provider.kind();
    let mut options: BTreeMap<_, _> =
        provider.settings().into_iter().map(|(key, value)| (format!("{kind}.{key}"), value)).collect();
    options.extend(session_config(spec));
    // Some providers are told by an environment variable that is not there.
    if provider.arithmetic() != Arithmetic::F32 {
        options.insert(format!("{kind}.precision"), provider.arithmetic().name().to_owned());
    }
    let mode = if spec.session.inter_op_threads > 1 { "parallel" } else { "sequential" };
    let rest = [
        ("intra_op_num_threads", spec.session.intra_op_threads.to_string()),
        ("inter_op_num_threads", spec.session.inter_op_threads.to_string()),
        ("execution_mode", mode.to_owned()),
        ("graph_optimization_level", "all".to_owned()),
    ];
    options.extend(rest.map(|(key, value)| (key.to_owned(), value)));
    options.extend(provider.environment().iter().map(|(key, value)| (format!("env.{key}"), (*value).to_owned())));
    options
}

/// Which error a refused model is. onnxruntime's codes tell a broken file from a provider that cannot run it; the CPU
/// provider runs whatever is valid, so what it refuses is the file's fault in any case.
fn load_failed(error: &ort::Error, kind: Kind, model: &Source) -> ModelError {
    if let Some(out) = out_of_memory(error) {
        return out;
    }
    let broken = matches!(
        error.code(),
        ErrorCode::InvalidProtobuf
            | ErrorCode::InvalidGraph
            | ErrorCode::NoSuchFile
            | ErrorCode::NoModel
            | ErrorCode::InvalidArgument
    );
    match model {
        Source::File(path) if broken || kind == Kind::Cpu => {
            ModelError::BadModel(format!("{}: {}", Path::display(path), said(error)))
        }
        _ => ModelError::Failed(format!("{kind} could not load the model: {}", said(error))),
    }
}

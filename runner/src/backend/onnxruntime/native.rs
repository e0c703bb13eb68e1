//! The calls to onnxruntime's C interface that the `ort` crate has no safe wrapper for: the version string of a library
//! before it is accepted, and the placement of nodes on providers. The only file with `unsafe` in it.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::ptr;

use ort::AsPointer;
use ort::session::Session;
use ort::sys::{OrtApiBase, OrtEpAssignedNode, OrtEpAssignedSubgraph};

use super::runtime::error::RuntimeError;

/// A node and the provider it was placed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedNode {
    /// onnxruntime's name of the provider, such as `CPUExecutionProvider`.
    pub(crate) provider: String,
    /// Operator, such as `Conv`.
    pub(crate) operator: String,
    /// Name of the node.
    pub(crate) name: String,
}

/// Loads the library at `path` and returns the version it reports, such as `1.32.0`.
///
/// # Errors
/// [`RuntimeError::Unloadable`] and [`RuntimeError::NotOnnxruntime`].
pub(crate) fn library_version(path: &Path) -> Result<String, RuntimeError> {
    // SAFETY: loading a library runs its initialisers; the file was named by the user or found where onnxruntime is
    // installed, and this runs in a worker process that is meant to survive nothing.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| RuntimeError::Unloadable { path: path.to_path_buf(), reason: format!("{error:?}") })?;
    // SAFETY: this is the signature of the symbol in every onnxruntime since 1.0; the name is onnxruntime's own.
    let base = unsafe { library.get::<unsafe extern "system" fn() -> *const OrtApiBase>(b"OrtGetApiBase\0") }
        .map_err(|_| RuntimeError::NotOnnxruntime { path: path.to_path_buf() })?;
    // SAFETY: the function takes nothing and returns a pointer to a static table, null only if the library is broken.
    let base = unsafe { base().as_ref() }.ok_or_else(|| RuntimeError::NotOnnxruntime { path: path.to_path_buf() })?;
    // SAFETY: the table's second entry returns a static, NUL-terminated string.
    let version = unsafe { text((base.GetVersionString)()) };
    // Kept loaded: the provider libraries and the environment refer to it until the process ends.
    std::mem::forget(library);
    Ok(version)
}

/// Lists where each node of the session was placed; the session must have been made with
/// `session.record_ep_graph_assignment_info=1`.
///
/// # Errors
/// onnxruntime's own, when nothing was recorded.
pub(crate) fn placement(session: &Session) -> Result<Vec<PlacedNode>, ort::Error> {
    let api = ort::api();
    let mut graphs: *const *const OrtEpAssignedSubgraph = ptr::null();
    let mut count = 0;
    // SAFETY: the session is alive, and so is what it hands out: both are borrowed until this function returns.
    unsafe {
        let status = (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut graphs, &raw mut count);
        ort::Error::result_from_status(status)?;
        let mut placed = Vec::new();
        for &graph in array(graphs, count) {
            let mut provider = ptr::null();
            ort::Error::result_from_status((api.EpAssignedSubgraph_GetEpName)(graph, &raw mut provider))?;
            let provider = text(provider);
            let mut nodes: *const *const OrtEpAssignedNode = ptr::null();
            let mut node_count = 0;
            let status = (api.EpAssignedSubgraph_GetNodes)(graph, &raw mut nodes, &raw mut node_count);
            ort::Error::result_from_status(status)?;
            for &node in array(nodes, node_count) {
                let (mut name, mut operator) = (ptr::null(), ptr::null());
                ort::Error::result_from_status((api.EpAssignedNode_GetName)(node, &raw mut name))?;
                ort::Error::result_from_status((api.EpAssignedNode_GetOperatorType)(node, &raw mut operator))?;
                placed.push(PlacedNode { provider: provider.clone(), operator: text(operator), name: text(name) });
            }
        }
        Ok(placed)
    }
}

/// An array that may be null when it is empty.
///
/// # Safety
/// `pointer` is null or points at `count` elements that outlive the result.
unsafe fn array<'a, T>(pointer: *const T, count: usize) -> &'a [T] {
    if pointer.is_null() {
        return &[];
    }
    // SAFETY: by this function's own condition.
    unsafe { std::slice::from_raw_parts(pointer, count) }
}

/// A C string as text, empty where it is null.
///
/// # Safety
/// `pointer` is null or points at a NUL-terminated string.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: by this function's own condition.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

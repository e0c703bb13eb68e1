//! The kinds that are told apart.

/// A kind of file that is met where a network is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing in it.
    Empty,
    /// An ONNX model, as far as its first fields tell.
    Onnx,
    /// Weights as `torch.save` writes them: a zip archive since torch 1.6, pickles in a row before.
    Torch,
    /// A program of torch's: what `torch.jit.save` writes.
    TorchScript,
    /// What `torch.export.save` writes.
    TorchExport,
    /// Weights in a safetensors file.
    Safetensors,
    /// A Python pickle that torch did not write.
    Pickle,
    /// A pointer that Git LFS leaves where the file was not fetched.
    LfsPointer,
    /// A web page, such as a server's refusal.
    Html,
    /// OpenVINO's description of a network; its numbers lie in a file beside it.
    OpenVino,
    /// XML of another sort.
    Xml,
    /// The list of the files that a sharded checkpoint is spread over.
    ShardIndex,
    /// JSON of another sort.
    Json,
    /// Other text.
    Text,
    /// A compressed file or an archive, by the name of its format.
    Compressed(&'static str),
    /// A zip archive that torch did not write, with some of its entries.
    Zip(Vec<String>),
    /// A network of another framework, or a network made for one machine: what, and where it can be turned into ONNX.
    Framework(&'static str, &'static str),
    /// Something that is no network, by its name.
    Other(&'static str),
    /// Not known, with the first bytes.
    Unknown(Vec<u8>),
}

//! What can be wrong with a checkpoint: each fault says what, where, and what to do next.

use super::DType;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A checkpoint that was refused: the file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct CheckpointError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Box<Fault>,
}

/// A position in one of the pickles that a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which pickle: the zip entry's name, or its part in a legacy file.
    pub pickle: String,
    /// Bytes from the start of the zip entry, or of the legacy file.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.pickle, self.offset)
    }
}

/// The cure for most files that are sound but not plain weights.
macro_rules! resave {
    () => {
        "if you trust the file, load it with torch and save the weights alone, torch.save(model.state_dict(), \"weights.pth\")"
    };
}

/// The cure for files that are damaged.
macro_rules! refetch {
    () => {
        "the file is damaged or was tampered with: fetch or save it again"
    };
}

/// Why a checkpoint is refused. `tensor` is always the name in the state_dict, without a nesting key or prefix once
/// those are known.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    // ---- The file as a whole ----
    /// The operating system could not read it.
    #[error("cannot {action}: {error}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The operating system's answer.
        error: io::Error,
    },
    /// A folder, pipe or device.
    #[error("not a regular file: name the checkpoint itself")]
    NotAFile,
    /// No bytes at all.
    #[error("the file is empty: the download or save did not finish; fetch or save it again")]
    Empty,
    /// A text file, most often an error page saved under the checkpoint's name.
    #[error("the file is {kind}, not a checkpoint: download the file itself (the link may need a login or `raw` form)")]
    Text {
        /// "an HTML or XML page", ...
        kind: &'static str,
    },
    /// The stub that git keeps in place of a large file.
    #[error("the file is a Git LFS pointer, not the checkpoint it stands for: run `git lfs pull`")]
    LfsPointer,
    /// Nothing that is known.
    #[error(
        "not a checkpoint: it begins with {start}, which is neither a zip archive, a torch pickle nor safetensors; give \
         a .pth, .pt, .bin or .safetensors file"
    )]
    Unrecognised {
        /// The first bytes, in hexadecimal.
        start: String,
    },
    /// A tar container.
    #[error("a tar checkpoint, as torch wrote before 0.1.10: load it with torch and save it again with torch.save")]
    Tar,
    /// A pickle that `torch.save` did not write.
    #[error("a plain pickle holding a {holds}, not a file written by torch.save: save the state_dict with torch.save")]
    PlainPickle {
        /// Type of its value.
        holds: &'static str,
    },
    /// Stored on a big-endian machine.
    #[error("the tensors are stored big-endian ({place}): load it with torch and save it on a little-endian machine")]
    BigEndian {
        /// Where the file says so.
        place: String,
    },
    /// Bytes that belong to nothing.
    #[error("{count} bytes after the end of {after}, at offset {offset}, belong to nothing: {}", refetch!())]
    TrailingBytes {
        /// What had ended.
        after: String,
        /// Where they begin.
        offset: u64,
        /// How many there are.
        count: u64,
    },

    // ---- Pickles: opcodes and globals ----
    /// A global outside the allow-list, used or not.
    #[error(
        "{place} refers to `{global}`{}, which weights have no use for and which could run code (nothing was run): {}", at_key(key.as_deref()), resave!()
    )]
    Global {
        /// Where.
        place: Place,
        /// `module.name`.
        global: String,
        /// The dictionary key whose value was being built.
        key: Option<String>,
    },
    /// A pickled `nn.Module` instead of its weights.
    #[error("a whole pickled model (`{class}`, {place}), not a state_dict: {}", resave!())]
    WholeModule {
        /// Where its class is named.
        place: Place,
        /// The class.
        class: String,
    },
    /// A TorchScript archive.
    #[error(
        "a TorchScript archive (it has `{entry}`), not a state_dict: torch.save(torch.jit.load(file).state_dict(), \"weights.pth\")"
    )]
    TorchScript {
        /// The entry that tells.
        entry: String,
    },
    /// A header of the legacy container that is computed instead of written.
    #[error("{place} holds {what}, where torch writes a plain value: {}", refetch!())]
    NotLiteral {
        /// Where.
        place: Place,
        /// The opcode or global.
        what: String,
    },
    /// An opcode that is unknown, or that no checkpoint needs.
    #[error("{place} has opcode 0x{opcode:02x} ({name}), which no checkpoint needs: {}", refetch!())]
    Opcode {
        /// Where.
        place: Place,
        /// The byte.
        opcode: u8,
        /// Its name, or `unknown`.
        name: &'static str,
    },
    /// A pickle protocol that does not exist yet.
    #[error("{place} declares pickle protocol {version}; 0 to 5 are known: save it again with pickle_protocol=2")]
    PickleProtocol {
        /// Where.
        place: Place,
        /// What it declares.
        version: u8,
    },
    /// The bytes end inside a pickle.
    #[error("{place} is cut short: {}", refetch!())]
    PickleCut {
        /// Where more was expected.
        place: Place,
    },
    /// A length that reaches beyond the pickle.
    #[error("{place} declares {declared} bytes where {left} are left: {}", refetch!())]
    PickleLength {
        /// Where.
        place: Place,
        /// The declared length.
        declared: u64,
        /// The bytes left.
        left: u64,
    },
    /// A pickle that does not follow the rules of pickles, or calls something with the wrong arguments.
    #[error("{place}: {what}; {}", refetch!())]
    Malformed {
        /// Where.
        place: Place,
        /// What is wrong.
        what: String,
    },
    /// More values than any checkpoint has.
    #[error("{place} exceeds the limit of {limit} {what}, as only an attack or an odd file does; {}", resave!())]
    PickleLimit {
        /// Where.
        place: Place,
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },

    // ---- The dictionary of weights ----
    /// A key that occurs twice in a dictionary.
    #[error("the key `{key}` occurs twice in one dictionary (second time: {place}), so one value hides the other; {}", resave!())]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where the second one is.
        place: Place,
    },
    /// A key of the weights that is no string.
    #[error("{key} is a key among the weights ({place}), where only names belong; {}", resave!())]
    KeyNotString {
        /// The key, with its type.
        key: String,
        /// Where.
        place: Place,
    },
    /// No weights where they are looked for.
    #[error("{}", no_weights(keys))]
    NoWeights {
        /// The keys of the outermost dictionary.
        keys: Vec<String>,
    },
    /// The outermost value is no dictionary.
    #[error("holds a {holds}, not a dictionary of weights: torch.save(model.state_dict(), \"weights.pth\")")]
    NotADictionary {
        /// Type of its value.
        holds: &'static str,
    },

    // ---- Tensors ----
    /// No tensor of that name.
    #[error("has no tensor `{tensor}`")]
    NoSuchTensor {
        /// The name asked for.
        tensor: String,
    },
    /// A tensor of a kind that holds no plain real numbers.
    #[error("tensor `{tensor}` is {kind}: {mend}")]
    TensorKind {
        /// Its name.
        tensor: String,
        /// "sparse", "quantized", "complex64", ...
        kind: String,
        /// What to do.
        mend: &'static str,
    },
    /// A weight of an integer type.
    #[error(
        "tensor `{tensor}` holds {dtype}, but weights are real numbers: convert it with .float() and save it again"
    )]
    IntegerTensor {
        /// Its name.
        tensor: String,
        /// Its type.
        dtype: DType,
    },
    /// Sizes, strides or an offset that make no sense.
    #[error("tensor `{tensor}`: {what}; {}", refetch!())]
    Geometry {
        /// Its name.
        tensor: String,
        /// What is wrong, with the numbers.
        what: String,
    },
    /// A view that reaches beyond its storage.
    #[error("tensor `{tensor}` needs {needs} elements of storage `{storage}`, which has {has}: {}", refetch!())]
    BeyondStorage {
        /// Its name.
        tensor: String,
        /// The storage's key.
        storage: String,
        /// Elements that the view reaches.
        needs: u64,
        /// Elements that there are.
        has: u64,
    },
    /// A view whose elements share memory.
    #[error(
        "tensor `{tensor}` of shape {shape:?} with strides {stride:?} uses stored numbers more than once, as expand() \
         does: save it after .contiguous()"
    )]
    SelfOverlap {
        /// Its name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in elements.
        stride: Vec<usize>,
    },
    /// Two weights in one storage.
    #[error(
        "tensors `{first}` and `{second}` share the storage `{storage}`: save separate copies, \
         torch.save({{k: v.clone() for k, v in state_dict.items()}}, \"weights.pth\")"
    )]
    SharedStorage {
        /// The first name.
        first: String,
        /// The second name.
        second: String,
        /// The storage's key.
        storage: String,
    },
    /// A storage that the file lacks.
    #[error("tensor `{tensor}` needs `{storage}`, which the file lacks: {}", refetch!())]
    StorageMissing {
        /// Its name.
        tensor: String,
        /// The entry or key.
        storage: String,
    },
    /// A storage whose length is not the declared one.
    #[error("tensor `{tensor}`: storage `{storage}` is declared as {declared} bytes but holds {found}: {}", refetch!())]
    StorageLength {
        /// Its name.
        tensor: String,
        /// The entry or key.
        storage: String,
        /// Bytes by the pickle.
        declared: u64,
        /// Bytes by the container.
        found: u64,
    },
    /// One storage, declared in two ways.
    #[error("{place} declares storage `{storage}` in two ways: {}", refetch!())]
    StorageRedeclared {
        /// The pickle.
        place: Place,
        /// The storage's key.
        storage: String,
    },
    /// NaN or an infinity.
    #[error(
        "tensor `{tensor}` holds {value} at element {index} (row-major): the training diverged or the file is damaged; use a checkpoint with \
         finite weights"
    )]
    NotFinite {
        /// Its name.
        tensor: String,
        /// The element, row-major.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// A number that f32 cannot hold.
    #[error(
        "tensor `{tensor}` holds {value:e} at element {index} (row-major), beyond the range of f32: rescale the weights"
    )]
    BeyondF32 {
        /// Its name.
        tensor: String,
        /// The element, row-major.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// A variance below zero.
    #[error(
        "tensor `{tensor}` holds the negative variance {value:e} at element {index}: the batch statistics are broken; \
         use another checkpoint"
    )]
    NegativeVariance {
        /// Its name.
        tensor: String,
        /// The element.
        index: usize,
        /// Its value.
        value: f64,
    },

    // ---- Zip ----
    /// The archive's end or directory makes no sense.
    #[error(
        "damaged zip archive at offset {offset}: {what}; the download or save may not have finished, fetch or save it again"
    )]
    Zip {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A zip archive without the pickle that names the tensors.
    #[error("a zip archive without `data.pkl` (it holds {holds}), so not a file written by torch.save")]
    NoDataPkl {
        /// Its first entries.
        holds: String,
    },
    /// More than one tree of files.
    #[error("the zip archive has two roots, `{first}` and `{second}`, so readers may disagree about what it holds; {}", resave!())]
    TwoRoots {
        /// An entry of the first.
        first: String,
        /// An entry of the second.
        second: String,
    },
    /// A name that occurs twice.
    #[error("the zip entry `{entry}` occurs twice, so readers may disagree about what it holds; {}", resave!())]
    DuplicateEntry {
        /// Its name.
        entry: String,
    },
    /// Entries that share bytes.
    #[error("the zip entries `{first}` and `{second}` overlap at offset {offset}: {}", refetch!())]
    OverlappingEntries {
        /// The one before.
        first: String,
        /// The one after, or the directory.
        second: String,
        /// Where the second begins.
        offset: u64,
    },
    /// An encrypted entry.
    #[error("the zip entry `{entry}` is encrypted: decrypt the archive first")]
    Encrypted {
        /// Its name.
        entry: String,
    },
    /// A compression that torch does not read.
    #[error(
        "the zip entry `{entry}` uses compression method {method}; stored (0) and deflate (8) are read: save it again with torch.save"
    )]
    Compression {
        /// Its name.
        entry: String,
        /// The method's number.
        method: u16,
    },
    /// Two descriptions of one entry that differ.
    #[error("the zip entry `{entry}` says {field} {local} at offset {offset} but {central} in the directory: {}", refetch!())]
    HeadersDisagree {
        /// Its name.
        entry: String,
        /// What differs.
        field: &'static str,
        /// The value beside the data.
        local: String,
        /// The value in the directory.
        central: String,
        /// Where the first one is.
        offset: u64,
    },
    /// A checksum that does not fit.
    #[error("the zip entry `{entry}`{} has CRC-32 {found:08x}, but {expected:08x} is recorded: {}", of_tensor(tensor.as_deref()), refetch!())]
    Checksum {
        /// Its name.
        entry: String,
        /// The tensor stored in it, if one is.
        tensor: Option<String>,
        /// The recorded one.
        expected: u32,
        /// That of the bytes.
        found: u32,
    },
    /// More bytes after decompression than sensible.
    #[error("the zip entry `{entry}` expands from {from} to {to} bytes; {limit} are allowed in a file of this size: {}", resave!())]
    Inflates {
        /// Its name.
        entry: String,
        /// Compressed bytes.
        from: u64,
        /// Declared bytes of this entry and those before it.
        to: u64,
        /// The limit on them.
        limit: u64,
    },
    /// A deflate stream that is broken or of another length than declared.
    #[error("the zip entry `{entry}` does not decompress to the {declared} bytes it declares: {}", refetch!())]
    Deflate {
        /// Its name.
        entry: String,
        /// The declared length.
        declared: u64,
    },

    // ---- Legacy ----
    /// A legacy file of an unknown version.
    #[error("legacy protocol version {found} at offset {offset}, where torch wrote 1001: {}", refetch!())]
    LegacyProtocol {
        /// What it says.
        found: String,
        /// Where.
        offset: u64,
    },
    /// A storage whose stored count is not the declared one.
    #[error("storage `{storage}` at offset {offset} counts {found} elements where {declared} are declared: {}", refetch!())]
    LegacyCount {
        /// Its key.
        storage: String,
        /// Where the count is.
        offset: u64,
        /// The stored count.
        found: i64,
        /// Elements by the pickle.
        declared: u64,
    },
    /// The list of storages and the tensors' own storages differ.
    #[error("the storage list at offset {offset} and the tensors do not match: storage `{storage}` is {problem}; {}", refetch!())]
    LegacyKeys {
        /// The key.
        storage: String,
        /// "listed twice", ...
        problem: &'static str,
        /// Where the list begins.
        offset: u64,
    },
    /// The file ends inside a storage.
    #[error("cut short: storage `{storage}` at offset {offset} needs {needs} bytes, the file has {left} more; {}", refetch!())]
    LegacyCut {
        /// Its key.
        storage: String,
        /// Where it begins.
        offset: u64,
        /// Bytes that it takes.
        needs: u64,
        /// Bytes that there are.
        left: u64,
    },

    // ---- safetensors ----
    /// A header longer than the file, or than the format allows.
    #[error("the safetensors header declares {declared} bytes at offset 0; {limit} are possible here: {}", refetch!())]
    HeaderLength {
        /// The declared length.
        declared: u64,
        /// What is possible.
        limit: u64,
    },
    /// A header that is no proper JSON.
    #[error("the safetensors header at offset 8 is broken: {what}; {}", refetch!())]
    Header {
        /// What is wrong.
        what: String,
    },
    /// A tensor that does not begin where the one before it ended.
    #[error("tensor `{tensor}` of the safetensors file leaves a hole or overlaps the one before it (bytes {begin} to {end} of the data): {}", refetch!())]
    SafetensorsOffsets {
        /// Its name.
        tensor: String,
        /// Its first byte.
        begin: usize,
        /// One past its last byte.
        end: usize,
    },
    /// A tensor whose bytes are not as many as its shape and type need.
    #[error("tensor `{tensor}` of shape {shape:?} and type {dtype} does not take the {found} bytes that the safetensors header gives it: {}", refetch!())]
    SafetensorsSize {
        /// Its name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its type.
        dtype: String,
        /// The bytes given.
        found: usize,
    },
    /// A file that ends before its last tensor does.
    #[error("the safetensors file ends at {found} bytes, its header describes {declared}: {}", refetch!())]
    SafetensorsCut {
        /// The length by the header.
        declared: u64,
        /// The file's length.
        found: u64,
    },
}

fn at_key(key: Option<&str>) -> String {
    key.map_or_else(String::new, |key| format!(" (in the value of `{key}`)"))
}

fn of_tensor(tensor: Option<&str>) -> String {
    tensor.map_or_else(String::new, |tensor| format!(", tensor `{tensor}`,"))
}

/// At most this many keys are listed.
const LISTED: usize = 20;

fn no_weights(keys: &[String]) -> String {
    if keys.is_empty() {
        return "the dictionary is empty: save the weights with torch.save(model.state_dict(), \"weights.pth\")"
            .to_owned();
    }
    let mut list: Vec<String> = keys.iter().take(LISTED).map(|key| format!("`{key}`")).collect();
    if keys.len() > LISTED {
        list.push(format!("and {} more", keys.len() - LISTED));
    }
    format!(
        "no weights found, neither at the top nor under {}; the keys are {}. Save the part that holds them: \
         torch.save(torch.load(file)[KEY], \"weights.pth\")",
        super::state_dict::NESTING_KEYS.map(|key| format!("`{key}`")).join(", "),
        list.join(", ")
    )
}

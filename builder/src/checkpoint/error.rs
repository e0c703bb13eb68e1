//! What can be wrong with a checkpoint: each fault says what, where, and what to do next.

use onnx_file::element::ElementType;
use onnx_file::kind::Kind;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::suggest;

/// A checkpoint that was refused: the file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", path.display(), legible(&fault.to_string()))]
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

/// Why a checkpoint is refused.
///
/// Fields are what the message says: `tensor`, a name in the state_dict, without the key it is nested under; `entry`,
/// a name in the zip archive; `storage`, the key of a storage; `place`, a position in a pickle; `offset`, bytes from
/// the start of the file; `declared`, what one part of the file says of another; `found`, what is there; `index`, an
/// element in row-major order.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // of the fields: see above
pub enum Fault {
    // ---- The file as a whole ----
    /// The operating system could not read it.
    #[error("cannot {action}: {error}")]
    Io { action: &'static str, error: io::Error },
    /// A folder, pipe or device.
    #[error("not a regular file: name the checkpoint itself")]
    NotAFile,
    /// An index of shards that makes no sense, or shards that do not match it.
    #[error("the index of shards and its files do not match: {what}; fetch all of them again")]
    Index { what: String },
    /// No bytes at all.
    #[error("the file is empty: the download or save did not finish; fetch or save it again")]
    Empty,
    /// A text file, most often an error page saved under the checkpoint's name.
    #[error("the file is {kind}, not a checkpoint: download the file itself (the link may need a login or `raw` form)")]
    Text { kind: &'static str },
    /// The stub that git keeps in place of a large file.
    #[error("the file is a Git LFS pointer, not the checkpoint it stands for: run `git lfs pull`")]
    LfsPointer,
    /// Nothing that is known.
    #[error(
        "not a checkpoint: it begins with {start}, which is neither a zip archive, a torch pickle nor safetensors; give \
         a .pth, .pt, .bin or .safetensors file"
    )]
    Unrecognised { start: String },
    /// A file of another kind.
    #[error("it is {kind}, not a checkpoint; {advice}")]
    OtherKind { kind: Kind, advice: String },
    /// A tar container.
    #[error("a tar checkpoint, as torch wrote before 0.1.10: load it with torch and save it again with torch.save")]
    Tar,
    /// A pickle that `torch.save` did not write.
    #[error("a plain pickle holding a {holds}, not a file written by torch.save: save the state_dict with torch.save")]
    PlainPickle { holds: &'static str },
    /// Stored on a big-endian machine.
    #[error("the tensors are stored big-endian ({place}): load it with torch and save it on a little-endian machine")]
    BigEndian { place: String },
    /// Bytes that belong to nothing.
    #[error("{count} bytes after the end of {after}, at offset {offset}, belong to nothing: {}", refetch!())]
    TrailingBytes { after: String, offset: u64, count: u64 },

    // ---- Pickles: opcodes and globals ----
    /// A global outside the allow-list, used or not. `offer`: the names that `--skip-objects` would have to have; none
    /// where the name is refused in any case.
    #[error(
        "{place} refers to `{global}`{}, which weights have no use for and which could run code (nothing was run): {}{}",
        at_key(key.as_deref()), offered(offer), resave!()
    )]
    Global { place: Place, global: String, key: Option<String>, offer: Vec<String> },
    /// An object that is passed over, where only weights belong.
    #[error("{key} among the weights is a `{class}`, which is passed over beside weights but is none: {}", resave!())]
    ObjectAmongWeights { key: String, class: String },
    /// Weights that share something with an object that is passed over.
    #[error("{key} among the weights is also part of an object that is passed over unread, so it is not certain what it holds: {}", resave!())]
    PartOfObject { key: String },
    /// A pickled `nn.Module` instead of its weights.
    #[error("a whole pickled model (`{class}`, {place}), not a state_dict: {}", resave!())]
    WholeModule { place: Place, class: String },
    /// A TorchScript archive.
    #[error(
        "a TorchScript archive (it has `{entry}`), not a state_dict: torch.save(torch.jit.load(file).state_dict(), \"weights.pth\")"
    )]
    TorchScript { entry: String },
    /// A header of the legacy container that is computed instead of written.
    #[error("{place} holds {what}, where torch writes a plain value: {}", refetch!())]
    NotLiteral { place: Place, what: String },
    /// An opcode that is unknown, or that no checkpoint needs.
    #[error("{place} has opcode 0x{opcode:02x} ({name}), which no checkpoint needs: {}", refetch!())]
    Opcode { place: Place, opcode: u8, name: &'static str },
    /// A pickle protocol that does not exist yet.
    #[error("{place} declares pickle protocol {version}; 0 to 5 are known: save it again with pickle_protocol=2")]
    PickleProtocol { place: Place, version: u8 },
    /// The bytes end inside a pickle.
    #[error("{place} is cut short: {}", refetch!())]
    PickleCut { place: Place },
    /// A length that reaches beyond the pickle.
    #[error("{place} declares {declared} bytes where {left} are left: {}", refetch!())]
    PickleLength { place: Place, declared: u64, left: u64 },
    /// A pickle that does not follow the rules of pickles, or calls something with the wrong arguments.
    #[error("{place}: {what}; {}", refetch!())]
    Malformed { place: Place, what: String },
    /// More values than any checkpoint has.
    #[error("{place} exceeds the limit of {limit} {what}, as only an attack or an odd file does; {}", resave!())]
    PickleLimit { place: Place, what: &'static str, limit: u64 },

    // ---- The dictionary of weights ----
    /// A key that occurs twice in a dictionary.
    #[error("the key `{key}` occurs twice in one dictionary (second time: {place}), so one value hides the other; {}", resave!())]
    DuplicateKey { key: String, place: Place },
    /// A key of the weights that is no string.
    #[error("{key} is a key among the weights ({place}), where only names belong; {}", resave!())]
    KeyNotString { key: String, place: Place },
    /// No weights where they are looked for.
    #[error("{}", no_weights(keys, candidates))]
    NoWeights { keys: Vec<String>, candidates: Vec<String> },
    /// No weights under the key that was asked for.
    #[error(
        "no weights under the key `{key}`; {}",
        known_ones(key, "weights lie under", known, "no key leads to weights")
    )]
    NoSuchKey { key: String, known: Vec<String> },
    /// Several prefixes under which there is a network.
    #[error("two or more networks are in the file, their names under {}: choose one with --prefix", quoted(known))]
    Prefixes { known: Vec<String> },
    /// No network under the prefix that was asked for.
    #[error(
        "no network of the family under the prefix `{prefix}`; {}",
        known_ones(prefix, "there is one under", known, "none is found under any prefix")
    )]
    NoSuchPrefix { prefix: String, known: Vec<String> },
    /// Linear layers that are not one plain classifier.
    #[error(
        "no single classifier of linear layers fits the network's {features} features among {}: leave out those that are none with --drop-head NAME, \
         or all with --no-top",
        quoted(known)
    )]
    Heads { features: usize, known: Vec<String> },
    /// Two tensors that come to have one name.
    #[error(
        "two tensors are called `{tensor}` once prefixes and wrappers are taken off their names; choose with --prefix"
    )]
    SameName { tensor: String },
    /// No head of the name that was asked for.
    #[error(
        "no head `{head}` to drop; {}",
        known_ones(head, "linear layers beside the stages are", known, "there are no linear layers beside the stages")
    )]
    NoSuchHead { head: String, known: Vec<String> },
    /// The outermost value is no dictionary.
    #[error("holds a {holds}, not a dictionary of weights: torch.save(model.state_dict(), \"weights.pth\")")]
    NotADictionary { holds: &'static str },

    // ---- Tensors ----
    /// No tensor of that name.
    #[error("has no tensor `{tensor}`")]
    NoSuchTensor { tensor: String },
    /// A tensor of a kind that holds no plain real numbers.
    #[error("tensor `{tensor}` is {kind}: {fix}")]
    TensorKind { tensor: String, kind: String, fix: &'static str },
    /// A weight of an integer type.
    #[error(
        "tensor `{tensor}` holds {dtype}, but weights are real numbers: convert it with .float() and save it again"
    )]
    IntegerTensor { tensor: String, dtype: ElementType },
    /// Sizes, strides or an offset that make no sense.
    #[error("tensor `{tensor}`: {what}; {}", refetch!())]
    Geometry { tensor: String, what: String },
    /// A view that reaches beyond its storage.
    #[error("tensor `{tensor}` needs {needs} elements of storage `{storage}`, which has {has}: {}", refetch!())]
    BeyondStorage { tensor: String, storage: String, needs: u64, has: u64 },
    /// A view whose elements share memory.
    #[error(
        "tensor `{tensor}` of shape {shape:?} with strides {stride:?} uses stored numbers more than once, as expand() \
         does: save it after .contiguous()"
    )]
    SelfOverlap { tensor: String, shape: Vec<usize>, stride: Vec<usize> },
    /// Two weights in one storage.
    #[error(
        "tensors `{first}` and `{second}` share the storage `{storage}`: save separate copies, \
         torch.save({{k: v.clone() for k, v in state_dict.items()}}, \"weights.pth\")"
    )]
    SharedStorage { first: String, second: String, storage: String },
    /// A storage that the file lacks.
    #[error("tensor `{tensor}` needs `{storage}`, which the file lacks: {}", refetch!())]
    StorageMissing { tensor: String, storage: String },
    /// A storage whose length is not the declared one.
    #[error("tensor `{tensor}`: storage `{storage}` is declared as {declared} bytes but holds {found}: {}", refetch!())]
    StorageLength { tensor: String, storage: String, declared: u64, found: u64 },
    /// One storage, declared in two ways.
    #[error("{place} declares storage `{storage}` in two ways: {}", refetch!())]
    StorageRedeclared { place: Place, storage: String },
    /// NaN or an infinity.
    #[error(
        "tensor `{tensor}` holds {value} at element {index} (row-major): the training diverged or the file is damaged; use a checkpoint with \
         finite weights"
    )]
    NotFinite { tensor: String, index: usize, value: f64 },
    /// A number that f32 cannot hold.
    #[error(
        "tensor `{tensor}` holds {value:e} at element {index} (row-major), beyond the range of f32: rescale the weights"
    )]
    BeyondF32 { tensor: String, index: usize, value: f64 },
    /// A variance below zero.
    #[error(
        "tensor `{tensor}` holds the negative variance {value:e} at element {index}: the batch statistics are broken; \
         use another checkpoint"
    )]
    NegativeVariance { tensor: String, index: usize, value: f64 },

    // ---- Zip ----
    /// The archive's end or directory makes no sense.
    #[error(
        "damaged zip archive at offset {offset}: {what}; the download or save may not have finished, fetch or save it again"
    )]
    Zip { offset: u64, what: String },
    /// A zip archive without the pickle that names the tensors.
    #[error("a zip archive without `data.pkl` (it holds {holds}), so not a file written by torch.save")]
    NoDataPkl { holds: String },
    /// More than one tree of files.
    #[error("the zip archive has two roots, `{first}` and `{second}`, so readers may disagree about what it holds; {}", resave!())]
    TwoRoots { first: String, second: String },
    /// A name that occurs twice.
    #[error("the zip entry `{entry}` occurs twice, so readers may disagree about what it holds; {}", resave!())]
    DuplicateEntry { entry: String },
    /// Entries that share bytes.
    #[error("the zip entries `{first}` and `{second}` overlap at offset {offset}: {}", refetch!())]
    OverlappingEntries { first: String, second: String, offset: u64 },
    /// An encrypted entry.
    #[error("the zip entry `{entry}` is encrypted: decrypt the archive first")]
    Encrypted { entry: String },
    /// A compression that torch does not read.
    #[error(
        "the zip entry `{entry}` uses compression method {method}; stored (0) and deflate (8) are read: save it again with torch.save"
    )]
    Compression { entry: String, method: u16 },
    /// Two descriptions of one entry that differ.
    #[error("the zip entry `{entry}` says {field} {local} at offset {offset} but {central} in the directory: {}", refetch!())]
    HeadersDisagree { entry: String, field: &'static str, local: String, central: String, offset: u64 },
    /// A checksum that does not fit.
    #[error("the zip entry `{entry}`{} has CRC-32 {found:08x}, but {expected:08x} is recorded: {}", of_tensor(tensor.as_deref()), refetch!())]
    Checksum { entry: String, tensor: Option<String>, expected: u32, found: u32 },
    /// More bytes after decompression than the limit allows.
    #[error("the zip entry `{entry}` expands from {from} to {to} bytes; {limit} are allowed in a file of this size: {}", resave!())]
    Inflates { entry: String, from: u64, to: u64, limit: u64 },
    /// A deflate stream that is broken or of another length than declared.
    #[error("the zip entry `{entry}` does not decompress to the {declared} bytes it declares: {}", refetch!())]
    Deflate { entry: String, declared: u64 },

    // ---- Legacy ----
    /// A legacy file of an unknown version.
    #[error("legacy protocol version {found} at offset {offset}, where torch wrote 1001: {}", refetch!())]
    LegacyProtocol { found: String, offset: u64 },
    /// A storage whose stored count is not the declared one.
    #[error("storage `{storage}` at offset {offset} counts {found} elements where {declared} are declared: {}", refetch!())]
    LegacyCount { storage: String, offset: u64, found: i64, declared: u64 },
    /// The list of storages and the tensors' own storages differ.
    #[error("the storage list at offset {offset} and the tensors do not match: storage `{storage}` is {problem}; {}", refetch!())]
    LegacyKeys { storage: String, problem: &'static str, offset: u64 },
    /// The file ends inside a storage.
    #[error("cut short: storage `{storage}` at offset {offset} needs {needs} bytes, the file has {left} more; {}", refetch!())]
    LegacyCut { storage: String, offset: u64, needs: u64, left: u64 },

    // ---- safetensors ----
    /// A header longer than the file, or than the format allows.
    #[error("the safetensors header declares {declared} bytes at offset 0; {limit} are possible here: {}", refetch!())]
    HeaderLength { declared: u64, limit: u64 },
    /// A header that is no proper JSON.
    #[error("the safetensors header at offset 8 is broken: {what}; {}", refetch!())]
    Header { what: String },
    /// A tensor that does not begin where the one before it ended.
    #[error("tensor `{tensor}` of the safetensors file leaves a hole or overlaps the one before it (bytes {begin} to {end} of the data): {}", refetch!())]
    SafetensorsOffsets { tensor: String, begin: usize, end: usize },
    /// A tensor whose bytes are not as many as its shape and type need.
    #[error("tensor `{tensor}` of shape {shape:?} and type {dtype} does not take the {found} bytes that the safetensors header gives it: {}", refetch!())]
    SafetensorsSize { tensor: String, shape: Vec<usize>, dtype: String, found: usize },
    /// A file that ends before its last tensor does.
    #[error("the safetensors file ends at {found} bytes, its header describes {declared}: {}", refetch!())]
    SafetensorsCut { declared: u64, found: u64 },
}

/// Most characters of a message from its start and from its end, where the fix is.
const LEGIBLE: (usize, usize) = (1500, 500);

/// `text` on one line, whatever names a file brings into it: no control characters, not without end.
fn legible(text: &str) -> String {
    let cut = match text.char_indices().nth(LEGIBLE.0) {
        Some((end, _)) => text.char_indices().rev().nth(LEGIBLE.1).map(|(start, _)| (end, start)),
        None => None,
    };
    let (start, end) = match cut {
        Some((end, start)) if end < start => (&text[..end], &text[start..]),
        _ => (text, ""),
    };
    let mut line = String::new();
    for part in [start, if end.is_empty() { "" } else { " ... " }, end] {
        for character in part.chars() {
            if character.is_control() {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
        }
    }
    line
}

fn at_key(key: Option<&str>) -> String {
    key.map_or_else(String::new, |key| format!(" (in the value of `{key}`)"))
}

fn offered(names: &[String]) -> String {
    match names {
        [] => "no option allows it; ".to_owned(),
        names => format!(
            "if it is something of the training script's that you do without, --skip-objects {} passes over it unbuilt; or, ",
            names.join(",")
        ),
    }
}

fn of_tensor(tensor: Option<&str>) -> String {
    tensor.map_or_else(String::new, |tensor| format!(", tensor `{tensor}`,"))
}

/// At most this many keys are listed.
const LISTED: usize = 20;

fn quoted(names: &[String]) -> String {
    let mut list: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED {
        list.push(format!("and {} more", names.len() - LISTED));
    }
    list.join(", ")
}

/// What there is in place of `asked`, and which of it may have been meant.
fn known_ones(asked: &str, some: &str, names: &[String], none: &str) -> String {
    let near = suggest::nearest(asked, names.iter().map(String::as_str));
    if names.is_empty() { none.to_owned() } else { format!("{some} {}{}", quoted(names), suggest::question(&near)) }
}

fn no_weights(keys: &[String], candidates: &[String]) -> String {
    if keys.is_empty() {
        return "the dictionary is empty: save the weights with torch.save(model.state_dict(), \"weights.pth\")"
            .to_owned();
    }
    let place = match candidates {
        [] => String::new(),
        [first, ..] => {
            format!(
                "Weights seem to lie under {}: choose with --weights-key {first}. Otherwise save ",
                quoted(candidates)
            )
        }
    };
    format!(
        "no weights found, neither at the top nor under one of the usual keys; the keys are {}. {}the part that holds them: \
         torch.save(torch.load(file)[KEY], \"weights.pth\")",
        quoted(keys),
        if place.is_empty() { "Save " } else { &place }
    )
}

//! What the command line asks of a checkpoint, where the file alone does not settle it.

/// Which part of a checkpoint is meant, and what may be passed over. The default lets the file decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Key of the weights, dots between one and the next.
    pub key: Option<String>,
    /// Prefix of the network's tensors.
    pub prefix: Option<String>,
    /// Heads to leave out.
    pub drop_heads: Vec<String>,
    /// Leave every head out.
    pub no_head: bool,
    /// Exact `module.Name`s of objects to pass over unbuilt, beside those known to be harmless.
    pub skip: Vec<String>,
}

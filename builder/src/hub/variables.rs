//! The server there is, and the environment variables that say otherwise.

/// Where torchvision's files are published.
pub const BASE_URL: &str = "https://download.pytorch.org/models";

/// Environment variable that names a mirror in place of [`BASE_URL`].
pub const URL_VARIABLE: &str = "RESNEXT_WEIGHTS_URL";

/// Environment variable that sets how long a server may be silent, in seconds.
pub const TIMEOUT_VARIABLE: &str = "RESNEXT_WEIGHTS_TIMEOUT";

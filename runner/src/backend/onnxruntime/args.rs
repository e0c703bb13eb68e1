//! Flags that choose the library, the providers and their options.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::options::{LibraryOptions, ProviderOptions};
use super::provider;
use super::provider::arithmetic::Arithmetic;
use super::provider::{Kind, OptionError, Provider};
use super::spec::SessionOptions;
use crate::backend::kserve::address::{self, Address};
use crate::host::machine as host;
use clap::Args;

/// Which library, and how long to wait for it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LibraryArgs {
    /// The onnxruntime library, or a folder that holds it; otherwise ORT_DYLIB_PATH, beside this program, where `setup`
    /// installs, or the system's
    #[arg(long, value_name = "PATH", help_heading = "Provider")]
    pub(crate) ort_lib: Option<PathBuf>,
    /// Time limit (30, 90s, 5m) for loading a model and for each run
    #[arg(long, value_name = "TIME", value_parser = seconds, help_heading = "Provider")]
    pub(crate) timeout: Option<Duration>,
}

/// Which providers, with what options.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProviderArgs {
    /// Providers: cpu, openvino, cuda, tensorrt; or the same model on a server, kserve=http://HOST:PORT/NAME
    #[arg(
        short,
        long,
        visible_alias = "providers",
        value_name = "PROVIDER,...",
        value_delimiter = ',',
        default_value = "cpu",
        help_heading = "Provider"
    )]
    pub(crate) ep: Vec<Place>,
    /// A provider's option in onnxruntime's own key; may be repeated
    #[arg(long = "ep-option", value_name = "PROVIDER.KEY=VALUE", help_heading = "Provider")]
    pub(crate) ep_options: Vec<String>,
    /// What to compute an f32 file in, for providers that can; several make a row each
    #[arg(long, value_enum, value_name = "PRECISION,...", value_delimiter = ',', help_heading = "Provider")]
    pub(crate) precision: Vec<Arithmetic>,
    /// A session option in onnxruntime's own key; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Provider")]
    pub(crate) session_config: Vec<(String, String)>,
    /// Threads that share one node's work; one for each usable core unless given
    #[arg(long, visible_alias = "threads", value_name = "N", value_parser = threads, help_heading = "Provider")]
    pub(crate) intra_op_threads: Option<usize>,
    /// Threads that run nodes side by side
    #[arg(long, value_name = "N", value_parser = threads, default_value = "1", help_heading = "Provider")]
    pub(crate) inter_op_threads: usize,
    /// Accept nodes on other providers than asked for; results say how many
    #[arg(long, help_heading = "Provider")]
    pub(crate) allow_fallback: bool,
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

/// Where a model runs.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// On a provider of this machine's onnxruntime.
    Here(Kind),
    /// On a server.
    Served(Address),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.starts_with(address::PREFIX) {
            true => text.parse().map(Place::Served).map_err(|error: address::AddressError| error.to_string()),
            false => text.parse().map(Place::Here).map_err(|error: OptionError| error.to_string()),
        }
    }
}

impl ProviderArgs {
    /// What was asked for.
    ///
    /// # Errors
    /// [`OptionError`] for an option of a provider that is not asked for, or that no provider takes.
    pub(crate) fn options(&self) -> Result<ProviderOptions, OptionError> {
        let (mut kinds, mut served): (Vec<Kind>, Vec<Address>) = (Vec::new(), Vec::new());
        for place in &self.ep {
            match place {
                Place::Here(kind) if !kinds.contains(kind) => kinds.push(*kind),
                Place::Served(address) if !served.contains(address) => served.push(address.clone()),
                _ => {}
            }
        }
        Ok(ProviderOptions {
            providers: self.in_each_precision(provider::configure(&kinds, &self.ep_options)?)?,
            served,
            session: SessionOptions {
                intra_op_threads: self.intra_op_threads.unwrap_or_else(host::default_threads),
                inter_op_threads: self.inter_op_threads,
                config: self.session_config.iter().cloned().collect(),
            },
            threads_asked: self.intra_op_threads.is_some(),
            allow_fallback: self.allow_fallback,
            library: self.library.options(),
        })
    }
}

impl ProviderArgs {
    /// Each provider in each precision asked for.
    fn in_each_precision(&self, providers: Vec<Provider>) -> Result<Vec<Provider>, OptionError> {
        if self.precision.is_empty() {
            return Ok(providers);
        }
        let host = host::Host::read();
        let instructions: Vec<&str> = host.instruction_sets.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        for provider in providers {
            for &precision in &self.precision {
                let asked = provider.clone().computing_in(precision, &instructions)?;
                if !found.contains(&asked) {
                    found.push(asked);
                }
            }
        }
        Ok(found)
    }
}

impl LibraryArgs {
    /// What was asked for.
    pub(crate) fn options(&self) -> LibraryOptions {
        LibraryOptions { ort_lib: self.ort_lib.clone(), timeout: self.timeout }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !text.contains('\0') => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must be KEY=VALUE, as in session.intra_op.allow_spinning=0".to_owned()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("it must be a number from 1 to 1024".to_owned()),
    }
}

/// A time above 0: seconds, or with a unit.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = |number: f64| Duration::try_from_secs_f64(number).ok();
    let duration = text.parse().ok().and_then(seconds).or_else(|| duration(text));
    let some = duration.filter(|duration| !duration.is_zero());
    some.ok_or_else(|| "it must be a time above 0, such as 3, 1.5s, 200ms or 2m".to_owned())
}

/// A time with its unit: `1.5s`, `200ms`, `2m`, `1h`, `2m 30s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    // The library takes whole numbers alone.
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    match (text[..unit_at].trim().parse::<f64>(), &text[unit_at..]) {
        (Ok(number), "ms") => Duration::try_from_secs_f64(number / 1e3).ok(),
        (Ok(number), "s") => Duration::try_from_secs_f64(number).ok(),
        (Ok(number), "m" | "min") => Duration::try_from_secs_f64(number * 60.0).ok(),
        _ => humantime::parse_duration(text).ok(),
    }
}

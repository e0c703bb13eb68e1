//! Flags of the verbs that run models on inputs: `infer`, `compare`, `bench`.

use std::path::PathBuf;

use clap::Args;

/// Where results go besides standard output.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Exports {
    /// Write JSON to standard output instead of text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Write everything as JSON, raw samples included; `-` is standard output, as for the other exports
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) export_json: Option<PathBuf>,
    /// Write a table as CSV
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) export_csv: Option<PathBuf>,
    /// Write a table as Markdown
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) export_markdown: Option<PathBuf>,
    /// Replace outputs that exist
    #[arg(long, help_heading = "Output")]
    pub(crate) force: bool,
}

/// Where randomness begins.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Seed {
    /// Seed of synthetic inputs, of the order of measurements and of resampling
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Input")]
    pub(crate) seed: u64,
}

/// Batch size, of verbs that take one size.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Batch {
    /// Batch size: images in each run of a model; copies of a model that run side by side share them
    #[arg(short, long, value_name = "N", default_value = "64", value_parser = images_at_once, help_heading = "Input")]
    pub(crate) batch_size: usize,
}

/// Batch size, of verbs that measure several sizes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Batches {
    /// Batch sizes; the model's own where it is fixed, and 1 otherwise, unless given
    #[arg(short, long, value_name = "N,...", value_delimiter = ',', value_parser = images_at_once, help_heading = "Input")]
    batch_size: Vec<usize>,
}

impl Batches {
    /// The sizes, each once, in the order given; 1 where none is.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        if self.are_asked() { each_once(&self.batch_size) } else { vec![1] }
    }

    /// Whether there are any.
    pub(crate) fn are_asked(&self) -> bool {
        !self.batch_size.is_empty()
    }
}

pub(crate) fn each_once<T: Copy + PartialEq>(values: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for value in values {
        if !once.contains(value) {
            once.push(*value);
        }
    }
    once
}

/// What goes into the models.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Inputs {
    #[command(flatten)]
    pub(crate) seed: Seed,
    /// Take inputs from a file (.npz, .npy, .safetensors)
    #[arg(long, value_name = "FILE", conflicts_with = "images", help_heading = "Input")]
    pub(crate) load_inputs: Option<PathBuf>,
    /// Take images, or folders of them, as inputs
    #[arg(long, value_name = "IMAGE", num_args = 1.., help_heading = "Input")]
    pub(crate) images: Vec<PathBuf>,
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("it must be a number from 1 on".to_owned()),
    }
}

/// No machine holds the feature maps of more images than this.
const MOST_AT_ONCE: usize = 65_536;

pub(crate) fn images_at_once(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MOST_AT_ONCE) => Ok(number),
        _ => Err(format!("it must be a number from 1 to {MOST_AT_ONCE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_size_given_again_is_measured_once() {
        assert_eq!(Batches { batch_size: vec![8, 1, 8, 1, 2] }.sizes(), [8, 1, 2]);
    }

    #[test]
    fn so_many_images_at_once_that_no_memory_holds_them_are_refused() {
        assert_eq!((images_at_once("1"), images_at_once("65536")), (Ok(1), Ok(65_536)));
        for wrong in ["0", "65537", "18446744073709551615", "-1", "many"] {
            assert!(images_at_once(wrong).is_err(), "{wrong}");
        }
    }
}

//! Flags that say which part of a checkpoint is meant.

use clap::Args;

use crate::build::BuildError;
use crate::checkpoint::{ChannelOrder, Choice};

/// Which part of a checkpoint is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct SelectionArgs {
    /// Key of the weights where a file has several: model_ema, or ema.module with a dot between keys
    #[arg(help_heading = "Input", long, value_name = "KEY")]
    pub weights_key: Option<String>,
    /// Prefix of the network's tensors where it is not clear: encoder_q.
    #[arg(help_heading = "Input", long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Leave out a head that is not the classifier, by its name in the file; may be given several times
    #[arg(help_heading = "Input", long, value_name = "NAME", value_delimiter = ',')]
    pub drop_head: Vec<String>,
    /// Order of the colour channels that the checkpoint's network takes [default: bgr with Caffe2's and Detectron2's names,
    /// else rgb]; the model written takes RGB
    #[arg(help_heading = "Input", long, value_name = "ORDER", value_enum)]
    pub channel_order: Option<ChannelOrder>,
    /// Pass over objects of these classes beside the weights, unbuilt: exact names, module.Name
    #[arg(help_heading = "Input", long, value_name = "NAMES", value_delimiter = ',')]
    pub skip_objects: Vec<String>,
}

impl SelectionArgs {
    /// What the flags ask for.
    ///
    /// # Errors
    /// [`BuildError::Request`] for what is no exact name.
    pub fn choice(&self) -> Result<Choice, BuildError> {
        let exact = |name: &&String| {
            let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
            name.contains('.') && name.split('.').all(plain)
        };
        if let Some(name) = self.skip_objects.iter().find(|name| !exact(name)) {
            return Err(BuildError::Request(format!(
                "--skip-objects takes exact names such as mylib.config.Config, and '{name}' is none"
            )));
        }
        Ok(Choice {
            key: self.weights_key.clone(),
            prefix: self.prefix.clone(),
            drop_heads: self.drop_head.clone(),
            channel_order: self.channel_order,
            no_head: false,
            skip: self.skip_objects.clone(),
        })
    }
}

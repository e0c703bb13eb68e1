//! Flags of `eval`.

use super::options::Options;
use crate::backend::onnxruntime::args::ProviderArgs;
use crate::exit::Failure;
use crate::input::decode::Exif;
use crate::verb::about::About;
use crate::verb::flags::*;
use crate::verb::shapes::ImageSize;
use clap::Args;
use std::path::PathBuf;

use super::labels_file::lists_images;
use super::numbering::ClassOrder;

/// `eval`.
#[derive(Debug, Args)]
pub struct Eval {
    /// ONNX models (`-` for one from standard input), then the labelled images: a folder of class folders, or of images with a file of labels
    #[arg(required = true, num_args = 2.., value_names = ["MODEL", "DIR"])]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) about: About,
    /// File that says which image is of which class, where it does not lie in the folder
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) image_labels: Option<PathBuf>,
    /// How class folders are numbered whose names the model does not know
    #[arg(long, value_enum, value_name = "ORDER", help_heading = "Input")]
    pub(crate) class_order: Option<ClassOrder>,
    /// What becomes of an image whose EXIF orientation says that it lies on a side
    #[arg(long, value_enum, default_value = "ignore", help_heading = "Input")]
    pub(crate) exif: Exif,
    #[command(flatten)]
    size: ImageSize,
    #[command(flatten)]
    pub(crate) batch: Batch,
    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
    #[command(flatten)]
    pub(crate) exports: Exports,
}

impl Eval {
    /// What was asked for.
    ///
    /// # Errors
    /// [`Failure`] for options that no provider asked for takes, and for files of labels or preprocessing that cannot be
    /// read.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        let (folder, models) = self
            .paths
            .split_last()
            .map_or((PathBuf::new(), [].as_slice()), |(folder, models)| (folder.clone(), models));
        let (about, image_labels) = self.labels();
        Ok(Options {
            models: models.to_vec(),
            folder,
            image_labels,
            asked: about.asked()?,
            class_order: self.class_order,
            exif: self.exif,
            batch: self.batch.batch_size,
            image_size: self.size.image_size,
            providers: self.providers.options()?,
        })
    }

    /// What is said of the models, and the file that says which image is of which class. That file used to be given as
    /// `--labels`, and still may be: a list of images is told from one of names.
    fn labels(&self) -> (About, Option<PathBuf>) {
        let (mut about, mut images) = (self.about.clone(), self.image_labels.clone());
        if images.is_none() && about.labels.as_deref().is_some_and(lists_images) {
            images = about.labels.take();
        }
        (about, images)
    }
}

//! Archives of NumPy arrays.

use std::path::Path;

use super::TaskArg;
use super::npy::ChannelsArg;
use crate::formats::arrays::{self, ArrayOptions};
use crate::formats::dataset::{Dataset, Header};
use crate::formats::error::FormatError;
use crate::formats::files::Files;
use crate::item;
use crate::library::Source;
use crate::schema::Word;

item! {
    /// Reads samples and targets from two arrays of a NumPy archive.
    ///
    /// ```nnopt
    /// npz("data.npz", x = images, y = labels)
    /// ```
    "npz" => pub struct Npz: Source {
        /// The archive, relative to the pipeline's file.
        path: String,
        /// The name of the array of samples.
        x: Word = Word("x".to_owned()),
        /// The name of the array of targets.
        y: Word = Word("y".to_owned()),
        /// Whether a target is a class or a number.
        task: TaskArg = TaskArg::Classes,
        /// Where the channels of images are.
        channels: ChannelsArg = ChannelsArg::Auto,
    }
}

impl Npz {
    fn options(&self) -> ArrayOptions {
        ArrayOptions {
            labels: None,
            x: self.x.0.clone(),
            y: self.y.0.clone(),
            task: self.task.into(),
            channels: self.channels.into(),
        }
    }
}

impl Source for Npz {
    fn header(&self, files: &dyn Files, base: &Path) -> Result<Header, FormatError> {
        arrays::header(files, &base.join(&self.path), &self.options())
    }

    fn load(&self, files: &dyn Files, base: &Path) -> Result<Dataset, FormatError> {
        arrays::load(files, &base.join(&self.path), &self.options())
    }
}

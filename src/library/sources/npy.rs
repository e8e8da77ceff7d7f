//! Arrays of NumPy.

use std::path::Path;

use super::TaskArg;
use crate::formats::arrays::{self, ArrayOptions, Channels};
use crate::formats::dataset::{Dataset, Header};
use crate::formats::error::FormatError;
use crate::formats::files::Files;
use crate::item;
use crate::library::Source;
use crate::words;

words! {
    /// Where the channels of images are.
    pub enum ChannelsArg {
        /// The last axis if it has 1, 3 or 4 elements and the first does not; else the first.
        Auto = "auto",
        /// `[N, C, H, W]`
        First = "first",
        /// `[N, H, W, C]`
        Last = "last",
    }
}

impl From<ChannelsArg> for Channels {
    fn from(arg: ChannelsArg) -> Channels {
        match arg {
            ChannelsArg::Auto => Channels::Auto,
            ChannelsArg::First => Channels::First,
            ChannelsArg::Last => Channels::Last,
        }
    }
}

item! {
    /// Reads samples and targets from two NumPy files.
    ///
    /// Bytes stay bytes and are read as shares of 255; other numbers become `f32`.
    ///
    /// ```nnopt
    /// npy("x.npy", labels = "y.npy")
    /// ```
    "npy" => pub struct Npy: Source {
        /// The file of samples, relative to the pipeline's file.
        path: String,
        /// The file of targets.
        labels: String,
        /// Whether a target is a class or a number.
        task: TaskArg = TaskArg::Classes,
        /// Where the channels of images are.
        channels: ChannelsArg = ChannelsArg::Auto,
    }
}

impl Npy {
    fn options(&self, base: &Path) -> ArrayOptions {
        ArrayOptions {
            labels: Some(base.join(&self.labels)),
            task: self.task.into(),
            channels: self.channels.into(),
            ..ArrayOptions::default()
        }
    }
}

impl Source for Npy {
    fn header(&self, files: &dyn Files, base: &Path) -> Result<Header, FormatError> {
        arrays::header(files, &base.join(&self.path), &self.options(base))
    }

    fn load(&self, files: &dyn Files, base: &Path) -> Result<Dataset, FormatError> {
        arrays::load(files, &base.join(&self.path), &self.options(base))
    }
}

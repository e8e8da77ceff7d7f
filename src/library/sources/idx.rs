//! The format of MNIST.

use std::path::Path;

use crate::formats::dataset::{Dataset, Header};
use crate::formats::error::FormatError;
use crate::formats::files::Files;
use crate::formats::idx::{self, IdxOptions};
use crate::item;
use crate::library::{Source, count_classes};

item! {
    /// Reads images and labels in the IDX format of MNIST, plain or gzipped.
    ///
    /// The path is what both files begin with: `idx("data/train")` reads `data/train-images-idx3-ubyte` and
    /// `data/train-labels-idx1-ubyte`, or the same with `.gz`. With `labels` it is the file of images itself.
    ///
    /// ```nnopt
    /// idx("data/mnist/train")
    /// ```
    "idx" => pub struct Idx: Source {
        /// The beginning of both files' names, relative to the pipeline's file.
        path: String,
        /// The file of labels, if the names do not follow MNIST's.
        labels: Option<String> = None,
    }
}

impl Idx {
    fn options(&self, base: &Path) -> IdxOptions {
        IdxOptions { labels: self.labels.as_ref().map(|labels| base.join(labels)) }
    }
}

impl Source for Idx {
    fn header(&self, files: &dyn Files, base: &Path) -> Result<Header, FormatError> {
        idx::header(files, &base.join(&self.path), &self.options(base))
    }

    fn load(&self, files: &dyn Files, base: &Path) -> Result<Dataset, FormatError> {
        idx::load(files, &base.join(&self.path), &self.options(base))
    }

    fn class_counts(&self, files: &dyn Files, base: &Path, _header: &Header) -> Option<Vec<u64>> {
        count_classes(&idx::targets(files, &base.join(&self.path), &self.options(base)).ok()?)
    }
}

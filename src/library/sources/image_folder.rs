//! Folders of images.

use std::path::Path;

use crate::formats::dataset::{Dataset, Header};
use crate::formats::error::FormatError;
use crate::formats::files::Files;
use crate::formats::image_folder::{self, ImageFolderOptions};
use crate::item;
use crate::library::{Source, count_classes};
use crate::schema::{Count, Pair};

item! {
    /// Reads images (PNG, JPEG) from a folder that has one subfolder for each class.
    ///
    /// Images are kept as bytes and read as shares of 255. They need one size, or `resize`, which averages over the
    /// area that a pixel covers.
    ///
    /// ```nnopt
    /// image_folder("flowers", resize = 64)
    /// ```
    "image_folder" => pub struct ImageFolder: Source {
        /// The folder, relative to the pipeline's file.
        path: String,
        /// The height and width that images are brought to.
        resize: Option<Pair> = None,
        /// 1 for gray, 3 for colour; gray where all images are gray if `none`.
        channels: Option<Count> = None,
    }
}

impl ImageFolder {
    fn options(&self) -> ImageFolderOptions {
        ImageFolderOptions {
            resize: self.resize.map(|size| size.0),
            channels: self.channels.map(|channels| channels.0),
        }
    }
}

impl Source for ImageFolder {
    fn header(&self, files: &dyn Files, base: &Path) -> Result<Header, FormatError> {
        image_folder::header(files, &base.join(&self.path), &self.options())
    }

    fn load(&self, files: &dyn Files, base: &Path) -> Result<Dataset, FormatError> {
        image_folder::load(files, &base.join(&self.path), &self.options())
    }

    fn class_counts(&self, files: &dyn Files, base: &Path, _header: &Header) -> Option<Vec<u64>> {
        count_classes(&image_folder::targets(files, &base.join(&self.path)).ok()?)
    }
}

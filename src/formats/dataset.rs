//! Samples and targets, as every reader gives them.

use std::path::Path;
use std::sync::Arc;

use super::error::{FormatError, Place, count};

/// The most classes that a target may have.
pub const MAX_CLASSES: usize = 65_536;

/// What the targets mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Task {
    /// One class for each sample.
    #[default]
    Classes,
    /// One or more real numbers for each sample.
    Regression,
}

/// The inputs, row after row, in storage type.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Bytes 0..=255, read as `value / 255` by everything that computes.
    U8(Arc<Vec<u8>>),
    /// Finite numbers.
    F32(Arc<Vec<f32>>),
}

impl Samples {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Samples::U8(data) => data.len(),
            Samples::F32(data) => data.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an element is stored as one byte.
    pub fn is_bytes(&self) -> bool {
        matches!(self, Samples::U8(_))
    }
}

/// What is to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// One class for each row; each label is an index into `names`.
    Classes {
        /// `[rows]`.
        labels: Vec<u32>,
        /// The names in order of their index.
        names: Vec<String>,
    },
    /// Real numbers.
    Values {
        /// `[rows, width]`.
        data: Vec<f32>,
        /// How many numbers a row has.
        width: usize,
        /// One name for each of the `width` numbers.
        names: Vec<String>,
    },
}

impl Targets {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Values { data, width, .. } => data.len() / width.max(&1),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of samples with their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// `[rows, sample_shape...]`.
    pub samples: Samples,
    /// The shape of one sample; channels first for images: `[C, H, W]`.
    pub sample_shape: Vec<usize>,
    /// One for each row.
    pub targets: Targets,
    /// The names of the features, where the file has them.
    pub columns: Vec<String>,
    /// The path that it was read from.
    pub origin: String,
}

impl Dataset {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many elements one sample has.
    pub fn sample_size(&self) -> usize {
        self.sample_shape.iter().product()
    }

    /// All but the numbers.
    pub fn header(&self) -> Header {
        Header {
            rows: self.len(),
            sample_shape: self.sample_shape.clone(),
            bytes: self.samples.is_bytes(),
            target: match &self.targets {
                Targets::Classes { names, .. } => TargetHeader::Classes { names: names.clone() },
                Targets::Values { width, names, .. } => TargetHeader::Values { width: *width, names: names.clone() },
            },
            columns: self.columns.clone(),
        }
    }
}

/// What is known of a dataset before its numbers are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many rows there are.
    pub rows: usize,
    /// The shape of one sample.
    pub sample_shape: Vec<usize>,
    /// Whether a sample's element is stored as one byte.
    pub bytes: bool,
    /// The kind of target.
    pub target: TargetHeader,
    /// The names of the features, where the file has them.
    pub columns: Vec<String>,
}

/// What is known of the targets before they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetHeader {
    /// One class for each row.
    Classes {
        /// The names in order of their index.
        names: Vec<String>,
    },
    /// Real numbers.
    Values {
        /// How many numbers a row has.
        width: usize,
        /// One name for each.
        names: Vec<String>,
    },
}

impl TargetHeader {
    /// How many classes there are, if the target is a class.
    pub fn classes(&self) -> Option<usize> {
        match self {
            TargetHeader::Classes { names } => Some(names.len()),
            TargetHeader::Values { .. } => None,
        }
    }
}

/// Class targets from labels that count from 0; the names are the numbers up to the largest label.
///
/// Fails for a label of [`MAX_CLASSES`] or more.
pub fn numbered_classes(path: &Path, labels: Vec<u32>) -> Result<Targets, FormatError> {
    let classes = labels.iter().max().map_or(0, |largest| *largest as usize + 1);
    check_labels(path, &labels, classes.min(MAX_CLASSES))?;
    Ok(Targets::Classes { labels, names: (0..classes).map(|class| class.to_string()).collect() })
}

/// Fails at the first label that is not below `classes`.
pub fn check_labels(path: &Path, labels: &[u32], classes: usize) -> Result<(), FormatError> {
    match labels.iter().position(|label| *label as usize >= classes) {
        None => Ok(()),
        Some(row) => Err(FormatError::malformed(
            path,
            Place::Row(row),
            format!("the label {}", labels[row]),
            format!("a class below {classes}"),
            "number the classes from 0",
        )),
    }
}

/// Fails where samples and targets differ in number, or where there are none.
pub fn check_rows(path: &Path, samples: usize, target_path: &Path, targets: usize) -> Result<(), FormatError> {
    if samples == 0 {
        return Err(FormatError::malformed(path, Place::Whole, "0 samples", "1 or more", "add data to the file"));
    }
    if samples != targets {
        return Err(FormatError::malformed(
            path,
            Place::Whole,
            count(samples, "sample"),
            format!("{targets}, as many as `{}` has labels", target_path.display()),
            "pair the samples with their own labels",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_outside_the_classes_are_named_by_row() {
        let path = Path::new("a");
        assert_eq!(
            check_labels(path, &[0, 2, 3], 3).unwrap_err().to_string(),
            "`a`, row 2: found the label 3, expected a class below 3; number the classes from 0"
        );
        assert_eq!(
            numbered_classes(path, vec![1, 70_000]).unwrap_err().to_string(),
            "`a`, row 1: found the label 70000, expected a class below 65536; number the classes from 0"
        );
        assert!(check_labels(path, &[0, 2], 3).is_ok());
    }

    #[test]
    fn counts_must_agree() {
        let error = check_rows(Path::new("x"), 3, Path::new("y"), 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`x`: found 3 samples, expected 2, as many as `y` has labels; pair the samples with their own labels"
        );
        let error = check_rows(Path::new("x"), 0, Path::new("y"), 0).unwrap_err();
        assert_eq!(error.to_string(), "`x`: found 0 samples, expected 1 or more; add data to the file");
    }

    #[test]
    fn a_header_is_the_dataset_without_numbers() {
        let dataset = Dataset {
            samples: Samples::U8(Arc::new(vec![0; 8])),
            sample_shape: vec![1, 2, 2],
            targets: Targets::Values { data: vec![0.0; 2], width: 1, names: vec!["y".into()] },
            columns: vec![],
            origin: "a".into(),
        };
        let header = dataset.header();
        assert_eq!((header.rows, header.bytes, dataset.sample_size()), (2, true, 4));
        assert_eq!(header.target, TargetHeader::Values { width: 1, names: vec!["y".into()] });
    }
}

//! One numbering of classes for all splits: that of the training data.

use super::DataError;
use crate::formats::{Dataset, Targets};

/// Numbers the classes of `dataset` as `reference` does, by name; targets of real numbers only need the same width.
///
/// A file without some class numbers its own differently: the labels `a c` are 0 and 1 there, 0 and 2 in training.
/// Fails for a class that the reference does not have, and where the kinds of target differ.
pub fn align(dataset: &mut Dataset, reference: &Dataset) -> Result<(), DataError> {
    let unlike = |found: String, expected: String| DataError::UnlikeTargets {
        origin: dataset.origin.clone(),
        found,
        reference: reference.origin.clone(),
        expected,
    };
    let (labels, names, known) = match (&mut dataset.targets, &reference.targets) {
        (Targets::Classes { labels, names }, Targets::Classes { names: known, .. }) => (labels, names, known),
        (Targets::Values { width, .. }, Targets::Values { width: expected, .. }) if width == expected => return Ok(()),
        (found, expected) => return Err(unlike(kind(found), kind(expected))),
    };
    if names == known {
        return Ok(());
    }
    let mut new_label = Vec::with_capacity(names.len());
    for (label, name) in names.iter().enumerate() {
        new_label.push(match known.iter().position(|known| known == name) {
            Some(index) => index as u32,
            // Formats that only number their classes name those in between too.
            None if !labels.contains(&(label as u32)) => 0,
            None => {
                return Err(DataError::UnknownClass {
                    origin: dataset.origin.clone(),
                    class: name.clone(),
                    reference: reference.origin.clone(),
                });
            }
        });
    }
    labels.iter_mut().for_each(|label| *label = new_label[*label as usize]);
    names.clone_from(known);
    Ok(())
}

fn kind(targets: &Targets) -> String {
    match targets {
        Targets::Classes { .. } => "classes".into(),
        Targets::Values { width: 1, .. } => "1 real number a row".into(),
        Targets::Values { width, .. } => format!("{width} real numbers a row"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Samples;
    use std::sync::Arc;

    fn dataset(origin: &str, targets: Targets) -> Dataset {
        Dataset {
            samples: Samples::F32(Arc::default()),
            sample_shape: vec![1],
            targets,
            columns: vec![],
            origin: origin.into(),
        }
    }

    fn classes(origin: &str, labels: &[u32], names: &[&str]) -> Dataset {
        let names = names.iter().map(|name| name.to_string()).collect();
        dataset(origin, Targets::Classes { labels: labels.to_vec(), names })
    }

    #[test]
    fn labels_follow_the_names() {
        let reference = classes("train", &[0, 1, 2], &["a", "b", "c"]);
        let mut test = classes("test", &[1, 0, 1], &["a", "c"]);
        align(&mut test, &reference).unwrap();
        assert_eq!(test, classes("test", &[2, 0, 2], &["a", "b", "c"]));
    }

    #[test]
    fn strangers_are_named() {
        let reference = classes("train", &[0, 1], &["a", "b"]);
        let error = align(&mut classes("test", &[0, 1], &["a", "z"]), &reference).unwrap_err();
        assert_eq!(error.to_string(), "`test` has the class `z`, which `train` does not have");
        let mut values = dataset("test", Targets::Values { data: vec![], width: 1, names: vec![] });
        let error = align(&mut values, &reference).unwrap_err();
        assert_eq!(error.to_string(), "`test` has 1 real number a row, but `train` has classes");
    }
}

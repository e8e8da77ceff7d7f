//! Some rows of a dataset as a dataset of their own.

use std::sync::Arc;

use crate::formats::{Dataset, Samples, Targets};

/// The given rows, in the given order; classes keep their numbers and names.
///
/// # Panics
/// Every row must be one of the dataset's.
pub fn subset(dataset: &Dataset, rows: &[u32]) -> Dataset {
    let size = dataset.sample_size();
    Dataset {
        samples: match &dataset.samples {
            Samples::U8(data) => Samples::U8(Arc::new(take(data, size, rows))),
            Samples::F32(data) => Samples::F32(Arc::new(take(data, size, rows))),
        },
        sample_shape: dataset.sample_shape.clone(),
        targets: match &dataset.targets {
            Targets::Classes { labels, names } => {
                Targets::Classes { labels: take(labels, 1, rows), names: names.clone() }
            }
            Targets::Values { data, width, names } => {
                Targets::Values { data: take(data, *width, rows), width: *width, names: names.clone() }
            }
        },
        columns: dataset.columns.clone(),
        origin: dataset.origin.clone(),
    }
}

fn take<T: Copy>(data: &[T], width: usize, rows: &[u32]) -> Vec<T> {
    let mut taken = Vec::with_capacity(rows.len() * width);
    for row in rows {
        let start = *row as usize * width;
        taken.extend_from_slice(&data[start..start + width]);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_samples_and_targets() {
        let dataset = Dataset {
            samples: Samples::U8(Arc::new((0..6).collect())),
            sample_shape: vec![2],
            targets: Targets::Classes { labels: vec![0, 1, 2], names: vec!["a".into(), "b".into(), "c".into()] },
            columns: vec!["x".into(), "y".into()],
            origin: "t".into(),
        };
        let part = subset(&dataset, &[2, 0]);
        assert_eq!(part.samples, Samples::U8(Arc::new(vec![4, 5, 0, 1])));
        let Targets::Classes { labels, names } = part.targets else { unreachable!("the subset of classes is classes") };
        assert_eq!((labels, names.len()), (vec![2, 0], 3));
        let values = Targets::Values { data: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], width: 2, names: vec![] };
        let part = subset(&Dataset { targets: values, ..dataset }, &[1]);
        assert_eq!(part.targets, Targets::Values { data: vec![3.0, 4.0], width: 2, names: vec![] });
    }
}

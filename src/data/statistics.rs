//! Mean and standard deviation of samples, for normalization.

use rayon::prelude::*;

use crate::formats::{Dataset, Samples};

/// One mean and one standard deviation for each group of elements.
///
/// Groups are channels for samples `[C, H, W]`, features for samples `[F]`, and the whole sample for other shapes.
/// Bytes count as `value / 255`. The deviation is that of the population (division by `n`), which is what the usual
/// constants of image data sets are: 0.1307 and 0.3081 for MNIST.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// One for each group.
    pub mean: Vec<f64>,
    /// One for each group; 1 where all elements of the group are equal.
    pub std: Vec<f64>,
    /// What is worth telling: which groups do not vary.
    pub notes: Vec<String>,
}

/// Rows of numbers that are summed in one go; the sums of blocks are added in order, so that no bit depends on the
/// threads.
const BLOCK: usize = 1024;

/// Bytes of samples that are summed in one go; their sums are exact in any order.
const BLOCK_BYTES: usize = 1 << 18;

/// Bytes whose squares have a sum of 32 bits.
const SHORT: usize = 1 << 15;

/// Measures the given rows, or all.
///
/// # Panics
/// There must be a row, and every row must be one of the dataset's.
pub fn measure(dataset: &Dataset, rows: Option<&[u32]>) -> Statistics {
    let groups = Groups::new(&dataset.sample_shape);
    let all: Vec<u32>;
    let rows = match rows {
        Some(rows) => rows,
        None => {
            all = (0..dataset.len() as u32).collect();
            &all
        }
    };
    let (mean, variance) = match &dataset.samples {
        Samples::U8(data) => measure_bytes(data, rows, &groups),
        Samples::F32(data) => measure_numbers(data, rows, &groups),
    };
    let mut std: Vec<f64> = variance.into_iter().map(f64::sqrt).collect();
    let constant: Vec<usize> = (0..std.len()).filter(|group| std[*group] == 0.0).collect();
    constant.iter().for_each(|group| std[*group] = 1.0);
    let notes = constant.iter().map(|group| note(dataset, &groups, *group, mean[*group])).collect();
    Statistics { mean, std, notes }
}

/// `channel 2 is 0.5 in every row; its deviation is taken as 1`.
fn note(dataset: &Dataset, groups: &Groups, group: usize, value: f64) -> String {
    let name = match (dataset.sample_shape.len(), dataset.columns.get(group)) {
        (1, Some(name)) => format!("`{name}`"),
        (1, None) => format!("feature {}", group + 1),
        (3, _) if groups.count > 1 => format!("channel {}", group + 1),
        _ => "every element".into(),
    };
    format!("{name} is {value} in every row; its standard deviation is taken as 1")
}

/// Which elements of a sample belong together: `count` runs of `run` elements.
struct Groups {
    count: usize,
    run: usize,
}

impl Groups {
    fn new(shape: &[usize]) -> Groups {
        match shape {
            [features] => Groups { count: *features, run: 1 },
            [channels, height, width] => Groups { count: *channels, run: height * width },
            _ => Groups { count: 1, run: shape.iter().product() },
        }
    }

    /// Folds blocks of so many rows, each from `start`, side by side; the results in order.
    fn fold<T: Copy + Sync, S: Clone + Send + Sync>(
        &self,
        data: &[T],
        rows: &[u32],
        block: usize,
        start: S,
        add: impl Fn(usize, &mut S, &[T]) + Sync,
    ) -> Vec<Vec<S>> {
        let size = self.count * self.run;
        let fold = |rows: &[u32]| {
            let mut sums = vec![start.clone(); self.count];
            for row in rows {
                let sample = &data[*row as usize * size..][..size];
                for (group, (sum, run)) in sums.iter_mut().zip(sample.chunks_exact(self.run)).enumerate() {
                    add(group, sum, run);
                }
            }
            sums
        };
        rows.par_chunks(block).map(fold).collect()
    }
}

/// Mean and variance of bytes, by sums of whole numbers: exact until the last division.
fn measure_bytes(data: &[u8], rows: &[u32], groups: &Groups) -> (Vec<f64>, Vec<f64>) {
    let block = (BLOCK_BYTES / (groups.count * groups.run).max(1)).max(1);
    let blocks = groups.fold(data, rows, block, (0u64, 0u64), |_, (sum, squares), run| {
        for short in run.chunks(SHORT) {
            *sum += u64::from(short.iter().map(|byte| u32::from(*byte)).sum::<u32>());
            *squares += u64::from(short.iter().map(|byte| u32::from(*byte) * u32::from(*byte)).sum::<u32>());
        }
    });
    let n = (rows.len() * groups.run) as u128;
    let of = |group: usize| {
        let sum: u128 = blocks.iter().map(|block| u128::from(block[group].0)).sum();
        let squares: u128 = blocks.iter().map(|block| u128::from(block[group].1)).sum();
        let n_f64 = n as f64;
        (sum as f64 / n_f64 / 255.0, (n * squares - sum * sum) as f64 / n_f64 / n_f64 / (255.0 * 255.0))
    };
    (0..groups.count).map(of).unzip()
}

/// Mean and variance of numbers, in two passes: the second sums squared distances from the mean.
fn measure_numbers(data: &[f32], rows: &[u32], groups: &Groups) -> (Vec<f64>, Vec<f64>) {
    let n = (rows.len() * groups.run) as f64;
    let total = |blocks: Vec<Vec<f64>>| -> Vec<f64> {
        (0..groups.count).map(|group| blocks.iter().map(|block| block[group]).sum()).collect()
    };
    let sums =
        groups.fold(data, rows, BLOCK, 0.0, |_, sum, run| *sum += run.iter().map(|x| f64::from(*x)).sum::<f64>());
    let mean: Vec<f64> = total(sums).into_iter().map(|sum| sum / n).collect();
    let distances = groups.fold(data, rows, BLOCK, 0.0, |group, sum, run| {
        *sum += run.iter().map(|x| (f64::from(*x) - mean[group]).powi(2)).sum::<f64>();
    });
    let range = groups.fold(data, rows, BLOCK, (f32::INFINITY, f32::NEG_INFINITY), |_, (least, most), run| {
        for x in run {
            *least = least.min(*x);
            *most = most.max(*x);
        }
    });
    let mut variance: Vec<f64> = total(distances).into_iter().map(|sum| sum / n).collect();
    let mut mean = mean;
    for group in 0..groups.count {
        let least = range.iter().map(|block| block[group].0).fold(f32::INFINITY, f32::min);
        let most = range.iter().map(|block| block[group].1).fold(f32::NEG_INFINITY, f32::max);
        // The mean of equal numbers is rounded, and what that leaves of a variance is noise.
        if least == most {
            (mean[group], variance[group]) = (f64::from(least), 0.0);
        }
    }
    (mean, variance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Targets;
    use std::sync::Arc;

    fn dataset(samples: Samples, sample_shape: &[usize]) -> Dataset {
        let rows = samples.len() / sample_shape.iter().product::<usize>();
        Dataset {
            samples,
            sample_shape: sample_shape.to_vec(),
            targets: Targets::Classes { labels: vec![0; rows], names: vec!["a".into()] },
            columns: vec![],
            origin: "t".into(),
        }
    }

    fn check_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} is not {expected}");
        }
    }

    #[test]
    fn features_have_a_mean_each() {
        let data = dataset(Samples::F32(Arc::new(vec![1.0, 10.0, 2.0, 30.0, 3.0, 20.0])), &[2]);
        let found = measure(&data, None);
        check_close(&found.mean, &[2.0, 20.0]);
        check_close(&found.std, &[(2.0f64 / 3.0).sqrt(), (200.0f64 / 3.0).sqrt()]);
        let found = measure(&data, Some(&[0, 1]));
        check_close(&found.mean, &[1.5, 20.0]);
        check_close(&found.std, &[0.5, 10.0]);
    }

    #[test]
    fn channels_of_bytes_are_measured_as_shares_of_255() {
        let data = dataset(Samples::U8(Arc::new(vec![0, 255, 51, 51, 255, 0, 51, 51])), &[2, 1, 2]);
        let found = measure(&data, None);
        check_close(&found.mean, &[0.5, 0.2]);
        check_close(&found.std, &[0.5, 1.0]);
        assert_eq!(found.notes, ["channel 2 is 0.2 in every row; its standard deviation is taken as 1"]);
    }

    #[test]
    fn sums_of_many_bytes_do_not_overflow() {
        let size = BLOCK_BYTES + 3;
        let data: Vec<u8> = (0..2 * size).map(|at| if at < size { 255 } else { 0 }).collect();
        let found = measure(&dataset(Samples::U8(Arc::new(data)), &[1, 1, size]), None);
        check_close(&found.mean, &[0.5]);
        check_close(&found.std, &[0.5]);
    }

    #[test]
    fn a_column_that_does_not_vary_is_noted() {
        let mut data = dataset(Samples::F32(Arc::new([0.1, 1.0, 0.1, 2.0].repeat(700))), &[2]);
        let found = measure(&data, None);
        check_close(&found.std, &[1.0, 0.5]);
        let value = f64::from(0.1f32);
        assert_eq!(found.notes, [format!("feature 1 is {value} in every row; its standard deviation is taken as 1")]);
        data.columns = vec!["age".into(), "height".into()];
        let text = format!("`age` is {value} in every row; its standard deviation is taken as 1");
        assert_eq!(measure(&data, None).notes, [text]);
    }

    #[test]
    fn other_shapes_are_measured_as_a_whole() {
        let found = measure(&dataset(Samples::F32(Arc::new(vec![1.0, 3.0, 5.0, 7.0])), &[2, 2]), None);
        check_close(&found.mean, &[4.0]);
        check_close(&found.std, &[5.0f64.sqrt()]);
    }

    #[test]
    fn a_large_offset_leaves_the_deviation() {
        let numbers: Vec<f32> = (0..5000).map(|i| 1e6 + (i % 2) as f32).collect();
        let found = measure(&dataset(Samples::F32(Arc::new(numbers)), &[1]), None);
        check_close(&found.mean, &[1e6 + 0.5]);
        check_close(&found.std, &[0.5]);
    }
}

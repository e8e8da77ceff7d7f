//! Parting rows in two: by share or count, with or without keeping the mix of classes.

use std::fmt;

use super::{DataError, streams};
use crate::formats::Targets;
use crate::ir::random::Sequence;

/// How much is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// A share between 0 and 1; the count is rounded to the nearest, halves up.
    Fraction(f64),
    /// So many rows.
    Count(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The product carries the rounding of the share: 7% would show as 7.000000000000001%.
            Part::Fraction(share) => write!(out, "{}%", (share * 1e8).round() / 1e6),
            Part::Count(1) => write!(out, "1 row"),
            Part::Count(rows) => write!(out, "{rows} rows"),
        }
    }
}

/// The rows that stay and the rows that are taken, each in ascending order.
///
/// `classes` has the label of each row where the split is to be stratified: each class then gives its share, rounded so
/// that the sum is right (largest remainders, the lower class first). The same seed always takes the same rows.
///
/// Fails where one of the parts is empty.
pub fn split(rows: usize, part: Part, classes: Option<&[u32]>, seed: u64) -> Result<(Vec<u32>, Vec<u32>), DataError> {
    u32::try_from(rows).map_err(|_| DataError::TooManyRows { rows })?;
    let wanted = match part {
        Part::Fraction(share) => (rows as f64 * share + 0.5).floor() as usize,
        Part::Count(count) => count,
    };
    if wanted == 0 {
        return Err(DataError::EmptySplit { rows, part: part.to_string() });
    }
    if wanted >= rows {
        return Err(DataError::EmptyRest { rows, part: part.to_string() });
    }
    let mut sequence = Sequence::new(seed, streams::SPLIT, 0);
    let mut taken = vec![false; rows];
    let groups = match classes {
        None => vec![(0..rows as u32).collect()],
        Some(labels) => group_by_class(labels),
    };
    for (mut group, quota) in with_quotas(groups, wanted, rows) {
        sequence.shuffle(&mut group);
        group[..quota].iter().for_each(|row| taken[*row as usize] = true);
    }
    Ok((0..rows as u32).partition(|row| !taken[*row as usize]))
}

/// The labels to stratify by, if that is asked for; fails where the targets are not classes.
pub fn strata(targets: &Targets, stratified: bool) -> Result<Option<&[u32]>, DataError> {
    match targets {
        _ if !stratified => Ok(None),
        Targets::Classes { labels, .. } => Ok(Some(labels)),
        Targets::Values { .. } => Err(DataError::StratifiedValues),
    }
}

/// The rows of each class, ascending.
fn group_by_class(labels: &[u32]) -> Vec<Vec<u32>> {
    let classes = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut groups = vec![Vec::new(); classes];
    for (row, label) in labels.iter().enumerate() {
        groups[*label as usize].push(row as u32);
    }
    groups
}

/// Gives each group its part of `wanted` by largest remainders, in whole numbers so that nothing depends on rounding.
fn with_quotas(groups: Vec<Vec<u32>>, wanted: usize, rows: usize) -> impl Iterator<Item = (Vec<u32>, usize)> {
    let exact = |group: &Vec<u32>| group.len() as u128 * wanted as u128;
    let mut quotas: Vec<usize> = groups.iter().map(|group| (exact(group) / rows as u128) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..groups.len()).collect();
    by_remainder.sort_by_key(|index| std::cmp::Reverse(exact(&groups[*index]) % rows as u128));
    let missing = wanted - quotas.iter().sum::<usize>();
    by_remainder.iter().take(missing).for_each(|index| quotas[*index] += 1);
    groups.into_iter().zip(quotas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_rounded_and_kept_in_order() {
        let (rest, taken) = split(10, Part::Fraction(0.25), None, 42).unwrap();
        assert_eq!((rest.len(), taken.len()), (7, 3));
        assert!(rest.is_sorted() && taken.is_sorted());
        assert_eq!(split(10, Part::Count(3), None, 42).unwrap().1, taken);
        assert_ne!(split(1000, Part::Count(30), None, 43), split(1000, Part::Count(30), None, 42));
    }

    #[test]
    fn strata_keep_their_mix() {
        let labels: Vec<u32> = (0..150).map(|row| row % 3).collect();
        let (_, taken) = split(150, Part::Fraction(0.2), Some(&labels), 1).unwrap();
        for class in 0..3 {
            assert_eq!(taken.iter().filter(|row| labels[**row as usize] == class).count(), 10);
        }
    }

    #[test]
    fn empty_parts_are_refused() {
        let error = |part| split(3, part, None, 0).unwrap_err().to_string();
        assert_eq!(error(Part::Fraction(0.1)), "split of 3 rows at 10% is empty");
        assert_eq!(error(Part::Count(0)), "split of 3 rows at 0 rows is empty");
        assert_eq!(error(Part::Fraction(0.07)), "split of 3 rows at 7% is empty");
        assert_eq!(error(Part::Fraction(0.9)), "split of 3 rows at 90% leaves none for the rest");
        assert_eq!(error(Part::Count(4)), "split of 3 rows at 4 rows leaves none for the rest");
        let values = Targets::Values { data: vec![], width: 1, names: vec![] };
        assert_eq!(
            strata(&values, true).unwrap_err().to_string(),
            "`stratified` needs classes, found a target of real numbers; remove `stratified`"
        );
        assert_eq!(strata(&values, false), Ok(None));
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_complete(labels in prop::collection::vec(0u32..5, 2..200), seed: u64, share in 0.0..1.0) {
            for classes in [None, Some(&labels[..])] {
                let Ok((rest, taken)) = split(labels.len(), Part::Fraction(share), classes, seed) else { continue };
                let mut all = [rest, taken.clone()].concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());
                for class in classes.iter().flat_map(|_| 0..5) {
                    let of = |rows: &[u32]| rows.iter().filter(|row| labels[**row as usize] == class).count() as f64;
                    let exact = labels.iter().filter(|label| **label == class).count() as f64 * taken.len() as f64
                        / labels.len() as f64;
                    prop_assert!((of(&taken) - exact).abs() < 1.0);
                }
            }
        }
    }
}

//! Class labels from texts: which texts there are, and the number of each.

use std::collections::HashMap;
use std::path::Path;

use super::dataset::{MAX_CLASSES, Targets};
use super::error::{FormatError, Place};

/// Class labels in order of their first occurrence.
#[derive(Default)]
pub struct Labels {
    index: HashMap<String, u32>,
    names: Vec<String>,
    rows: Vec<u32>,
}

impl Labels {
    /// Adds the label of the next row; fails where there are more than [`MAX_CLASSES`] different ones.
    pub fn push(&mut self, path: &Path, text: &str) -> Result<(), FormatError> {
        if let Some(label) = self.index.get(text) {
            self.rows.push(*label);
            return Ok(());
        }
        if self.names.len() == MAX_CLASSES {
            return Err(FormatError::malformed(
                path,
                Place::Whole,
                format!("more than {MAX_CLASSES} different targets"),
                format!("at most {MAX_CLASSES} classes"),
                "set `task = regression`",
            ));
        }
        let label = self.names.len() as u32;
        self.index.insert(text.to_string(), label);
        self.names.push(text.to_string());
        self.rows.push(label);
        Ok(())
    }

    /// Numbers the classes in the order of their names; where all names are numbers, by value, and `1` and `1.0` are
    /// one class.
    pub fn finish(self) -> Targets {
        let (names, new_label) = match self.names.iter().map(|name| exact_number(name)).collect() {
            Some(numbers) => number_by_value(numbers),
            None => number_by_name(self.names),
        };
        Targets::Classes { labels: self.rows.iter().map(|label| new_label[*label as usize]).collect(), names }
    }
}

/// The number of a text, where `f64` tells it from its neighbours.
fn exact_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.abs() < 9e15)
}

/// Names and the new label of each old one.
fn number_by_value(numbers: Vec<f64>) -> (Vec<String>, Vec<u32>) {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    let mut names: Vec<String> = Vec::new();
    let mut new_label = vec![0; order.len()];
    let mut last = f64::NAN;
    for old in order {
        // Zero has two signs and one meaning.
        let number = numbers[old] + 0.0;
        if number != last {
            names.push(number.to_string());
            last = number;
        }
        new_label[old] = names.len() as u32 - 1;
    }
    (names, new_label)
}

/// Names and the new label of each old one.
fn number_by_name(mut names: Vec<String>) -> (Vec<String>, Vec<u32>) {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|a, b| names[*a].cmp(&names[*b]));
    let mut new_label = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, old)| new_label[*old] = new as u32);
    names.sort();
    (names, new_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], labels: &[u32], names: &[&str]) {
        let mut all = Labels::default();
        texts.iter().for_each(|text| all.push(Path::new("t"), text).unwrap());
        let names = names.iter().map(|name| name.to_string()).collect();
        assert_eq!(all.finish(), Targets::Classes { labels: labels.to_vec(), names });
    }

    #[test]
    fn names_are_sorted_by_value_or_by_text() {
        check(&["b", "a", "b"], &[1, 0, 1], &["a", "b"]);
        check(&["-0", "10", "0.0", "9", "-1"], &[1, 3, 1, 2, 0], &["-1", "0", "9", "10"]);
        check(&["9007199254740993", "9007199254740992"], &[1, 0], &["9007199254740992", "9007199254740993"]);
        check(&["nan", "1"], &[1, 0], &["1", "nan"]);
    }

    #[test]
    fn too_many_classes_are_refused() {
        let mut labels = Labels::default();
        let error = (0..=MAX_CLASSES).find_map(|n| labels.push(Path::new("t"), &n.to_string()).err());
        assert_eq!(
            error.map(|error| error.to_string()).unwrap_or_default(),
            "`t`: found more than 65536 different targets, expected at most 65536 classes; set `task = regression`"
        );
    }
}

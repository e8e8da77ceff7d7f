//! What holds for every item of every table.

use super::make;
use crate::library::{
    augmentations, initializers, layers, losses, metrics, optimizers, reference, regularizers, schedules,
};
use crate::schema::Schema;

fn check_table<T: ?Sized>(table: &[&'static Schema<T>]) {
    let mut names: Vec<&str> = table.iter().map(|schema| schema.name).collect();
    for schema in table {
        check_item(schema, table);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), table.len(), "a name is taken twice");
}

fn check_item<T: ?Sized>(schema: &Schema<T>, table: &[&'static Schema<T>]) {
    let name = schema.name;
    let snake_case = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    assert!(snake_case(name), "`{name}`");
    let summary = reference::summary(schema);
    assert!(summary.len() > 10 && summary.ends_with('.'), "`{name}`: {summary}");
    for param in schema.params {
        assert!(snake_case(param.name), "`{}` of `{name}`", param.name);
        assert!(param.docs.trim().ends_with('.'), "`{}` of `{name}`: {}", param.name, param.docs);
    }
    let example = schema.docs.split("```nnopt").nth(1).and_then(|rest| rest.split("```").next());
    let example = example.unwrap_or_else(|| panic!("`{name}` has no example")).trim();
    assert!(example.starts_with(name), "`{name}`: {example}");
    // Every value, given or default, is shown as text that reads back as itself.
    let shown = make(table, example).show();
    assert_eq!(make(table, &shown).show(), shown);
}

#[test]
fn every_item_is_documented_and_reads_back() {
    check_table(layers::ALL);
    check_table(losses::ALL);
    check_table(regularizers::ALL);
    check_table(initializers::ALL);
    check_table(optimizers::ALL);
    check_table(schedules::ALL);
    check_table(augmentations::ALL);
    check_table(metrics::ALL);
}

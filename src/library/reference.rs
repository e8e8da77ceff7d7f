//! The reference page of an item, from its entry in the table; and all items, whatever their kind.

use super::{augmentations, initializers, layers, losses, metrics, optimizers, regularizers, schedules, sources};
use crate::schema::{Param, Schema};

/// An item of any kind.
#[derive(Clone, Copy)]
pub struct Entry {
    /// What it is called in messages: "layer", "loss".
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its documentation.
    pub docs: &'static str,
    /// Its parameters in positional order.
    pub params: &'static [Param],
}

impl Entry {
    /// The entry of an item.
    pub const fn new<T: ?Sized>(kind: &'static str, schema: &Schema<T>) -> Entry {
        Entry { kind, name: schema.name, docs: schema.docs, params: schema.params }
    }

    /// The call with every parameter and its default.
    pub fn signature(&self) -> String {
        signature_of(self.name, self.params)
    }

    /// The first line of the documentation.
    pub fn summary(&self) -> &'static str {
        summary_of(self.docs)
    }

    /// The page as Markdown.
    pub fn markdown(&self) -> String {
        page(self.name, self.docs, self.params)
    }
}

/// All items of the tables, by kind, in the order of the reference.
pub fn entries() -> Vec<Entry> {
    fn of<T: ?Sized>(kind: &'static str, table: &[&'static Schema<T>], entries: &mut Vec<Entry>) {
        entries.extend(table.iter().map(|schema| Entry::new(kind, schema)));
    }
    let mut entries = Vec::new();
    of("source", sources::ALL, &mut entries);
    of("augmentation", augmentations::ALL, &mut entries);
    of("layer", layers::ALL, &mut entries);
    of("loss", losses::ALL, &mut entries);
    of("regularizer", regularizers::ALL, &mut entries);
    of("optimizer", optimizers::ALL, &mut entries);
    of("schedule", schedules::ALL, &mut entries);
    of("metric", metrics::ALL, &mut entries);
    of("initializer", initializers::ALL, &mut entries);
    entries
}

/// The call with every parameter and its default: `dropout(rate = 0.5)`.
pub fn signature<T: ?Sized>(schema: &Schema<T>) -> String {
    signature_of(schema.name, schema.params)
}

fn signature_of(name: &str, params: &[Param]) -> String {
    let params: Vec<String> = params
        .iter()
        .map(|param| match param.default {
            Some(default) => format!("{} = {}", param.name, default()),
            None => param.name.to_owned(),
        })
        .collect();
    if params.is_empty() { name.to_owned() } else { format!("{name}({})", params.join(", ")) }
}

/// The first line of the documentation.
pub fn summary<T: ?Sized>(schema: &Schema<T>) -> &'static str {
    summary_of(schema.docs)
}

fn summary_of(docs: &'static str) -> &'static str {
    docs.lines().next().unwrap_or_default().trim()
}

/// The page as Markdown: signature, documentation, parameters.
pub fn markdown<T: ?Sized>(schema: &Schema<T>) -> String {
    page(schema.name, schema.docs, schema.params)
}

fn page(name: &str, docs: &str, params: &[Param]) -> String {
    let mut page = format!("```nnopt\n{}\n```\n\n{}\n", signature_of(name, params), text(docs));
    if !params.is_empty() {
        page.push_str("\n| parameter | takes | default | |\n|---|---|---|---|\n");
    }
    for param in params {
        let default = param.default.map(|default| format!("`{}`", default())).unwrap_or_default();
        let docs = text(param.docs).replace('\n', " ");
        let cells = [format!("`{}`", param.name), (param.expected)(), default, docs];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        page.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    page
}

/// The page of one parameter on its own, as of a setting.
pub fn parameter_page(param: &Param) -> String {
    let default = match param.default {
        Some(default) => format!("; `{}` by default", default()),
        None => "; required".to_owned(),
    };
    format!("{}\n\nTakes {}{default}.\n", text(param.docs), (param.expected)())
}

/// Documentation as it was written: without the blank that doc comments put before each line.
pub fn text(docs: &str) -> String {
    let lines: Vec<&str> = docs.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{markdown, signature, summary};
    use crate::library::layers::{conv2d::Conv2d, dropout::Dropout, flatten::Flatten};

    #[test]
    fn a_page_has_signature_text_and_parameters() {
        let page = "\
```nnopt
dropout(rate = 0.5)
```

Zeroes a random share of the numbers while training.

Those that stay are scaled by `1/(1 − rate)`, so that evaluation changes nothing. As `torch.nn.Dropout`.

```nnopt
dropout(0.3)
```

| parameter | takes | default | |
|---|---|---|---|
| `rate` | a probability from 0 to below 1, such as `0.5` or `10%` | `0.5` | The share that is zeroed. |
";
        assert_eq!(markdown(&Dropout::SCHEMA), page);
    }

    #[test]
    fn signatures_show_defaults() {
        assert_eq!(signature(&Flatten::SCHEMA), "flatten");
        let conv = "conv2d(filters, kernel, stride = 1, padding = 0, dilation = 1, groups = 1, bias = true, \
                    init = kaiming_uniform(a = 2.23606797749979), regularization = none)";
        assert_eq!(signature(&Conv2d::SCHEMA), conv);
        assert_eq!(
            summary(&Flatten::SCHEMA),
            "Puts all numbers of a sample on one axis: `[C, H, W]` becomes `[C·H·W]`."
        );
    }
}

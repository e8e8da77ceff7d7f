//! Reference pages of sections and settings, from the same tables that check them.

use super::data::{GivenItem, SPLITS, SplitItem};
use super::load::TOP_SETTINGS;
use super::settings::{PatienceItem, Section, ShardsItem, TrainSettings};
use crate::library;
use crate::library::reference::{markdown, parameter_page, summary};
use crate::schema::Schema;

/// A page of the reference that is about no item of the library.
pub struct Topic {
    /// What it is: `section`, `setting of train` …
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub summary: String,
    /// Markdown without a title.
    pub page: String,
}

/// All pages: the sections, their settings, the settings at the top level, and the calls that only settings take.
pub fn topics() -> Vec<Topic> {
    let mut topics: Vec<Topic> = SECTIONS.iter().map(|&(name, text)| topic("section", name, text)).collect();
    topics.push(of_schema("section", &TrainSettings::SCHEMA));
    topics.extend(SPLITS.iter().map(|&name| topic("setting of data", name, &split_text(name))));
    topics.push(topic("setting of data", "normalize", NORMALIZE));
    topics.extend(TOP_SETTINGS.iter().map(|&name| topic("setting", name, &top_text(name))));
    topics.extend(TrainSettings::SCHEMA.params.iter().map(|param| Topic {
        kind: "setting of train",
        name: param.name,
        summary: param.docs.lines().next().unwrap_or_default().trim().to_owned(),
        page: parameter_page(param),
    }));
    topics.push(of_schema("value of a split", &SplitItem::SCHEMA));
    topics.push(of_schema("value of normalize", &GivenItem::SCHEMA));
    topics.push(of_schema("value of early_stop", &PatienceItem::SCHEMA));
    topics.push(of_schema("value of reproducible", &ShardsItem::SCHEMA));
    topics
}

const SECTIONS: [(&str, &str); 3] = [
    (
        "data",
        "Where the samples come from, how they are divided, and how they are normalized.\n\n\
         It has `train`, `val`, `test` and `normalize`; `train` is required. The shape of a sample and the number of \
         classes are read from the files.\n\n\
         ```nnopt\ndata {\n    train = csv(\"iris.csv\", target = species)\n    val   = split(train, 20%)\n}\n```\n",
    ),
    (
        "augment",
        "Transforms of the training images, in the order in which they are applied.\n\n\
         All of them together resample an image once. When measuring nothing is random, and a crop takes the centre.\n\n\
         ```nnopt\naugment {\n    horizontal_flip\n    random_crop(28, padding = 2)\n}\n```\n",
    ),
    (
        "model",
        "The layers, in the order of the data's way through them.\n\n\
         A new line or `->` goes on to the next layer. `residual { } shortcut { }`, `branch { } join concat` and labels \
         make other graphs, `repeat n { }` repeats, and `block name(x) { }` outside of it names a part. `classes` is the \
         number of classes in the data.\n\n\
         ```nnopt\nmodel {\n    linear(64) -> relu\n    linear(classes)\n}\n```\n",
    ),
];

const NORMALIZE: &str = "How samples are normalized: `(x − mean) / std` for each channel or feature.\n\n\
    `auto` measures the training split and keeps the figures with the weights, `given(mean = …, std = …)` takes given \
    ones, `none`, the default, does nothing. Bytes are shares of 255 before that, also with `none`.\n\n\
    ```nnopt\ndata {\n    train     = csv(\"iris.csv\", target = species)\n    normalize = auto\n}\n```\n";

fn split_text(name: &str) -> String {
    let about = match name {
        "train" => "The samples that the weights are fitted to; required.",
        "val" => "The samples that are measured after every epoch, and say which epoch is the best.",
        _ => "The samples that are measured once, at the end.",
    };
    let sources: Vec<String> = library::sources::ALL.iter().map(|schema| format!("`{}`", schema.name)).collect();
    let takes =
        if name == "train" { "a source" } else { "a source, or `split(train, …)`, which takes rows of another" };
    let value = if name == "train" { "csv(\"iris.csv\", target = species)" } else { "split(train, 20%)" };
    let train = if name == "train" { "" } else { "    train = csv(\"iris.csv\", target = species)\n" };
    format!(
        "{about}\n\nIt takes {takes}. Sources: {}.\n\n```nnopt\ndata {{\n{train}    {name} = {value}\n}}\n```\n",
        sources.join(", ")
    )
}

fn top_text(name: &str) -> String {
    fn names<T: ?Sized>(table: &[&'static Schema<T>]) -> String {
        table.iter().map(|schema| format!("`{}`", schema.name)).collect::<Vec<_>>().join(", ")
    }
    let (about, takes, example) = match name {
        "loss" => (
            "What the training makes small: the mean over the samples of a batch; required.",
            names(library::losses::ALL),
            "cross_entropy(label_smoothing = 0.1)",
        ),
        "regularization" => (
            "A penalty on all matrices and filters that is added to the loss; `none` by default.\n\n\
             A layer's own `regularization` is added to it.",
            names(library::regularizers::ALL),
            "l2(1e-4)",
        ),
        "optimizer" => (
            "The rule by which gradients change the weights; required.",
            names(library::optimizers::ALL),
            "adam(lr = 1e-3)",
        ),
        "schedule" => (
            "How the learning rate changes with the steps; `constant` by default.",
            names(library::schedules::ALL),
            "cosine(warmup = 100 steps)",
        ),
        _ => (
            "What is measured beside the loss: a list; `[accuracy]` for classes and `[mae]` for numbers by default.",
            names(library::metrics::ALL),
            "[accuracy, top_k(3)]",
        ),
    };
    format!("{about}\n\nIt takes {takes}.\n\n```nnopt\n{name} = {example}\n```\n")
}

fn topic(kind: &'static str, name: &'static str, text: &str) -> Topic {
    let summary = text.lines().next().unwrap_or_default().to_owned();
    Topic { kind, name, summary, page: text.to_owned() }
}

fn of_schema(kind: &'static str, schema: &'static Schema<dyn Section>) -> Topic {
    Topic { kind, name: schema.name, summary: summary(schema).to_owned(), page: markdown(schema) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::load::{SETTING_SECTIONS, STAGE_SECTIONS};

    #[test]
    fn every_section_and_setting_has_a_page() {
        let topics = topics();
        let has = |kind: &str, name: &str| {
            let found: Vec<&Topic> = topics.iter().filter(|topic| topic.kind == kind && topic.name == name).collect();
            assert_eq!(found.len(), 1, "{kind} `{name}`");
            assert!(found[0].page.len() > found[0].summary.len() && found[0].summary.ends_with('.'), "{kind} `{name}`");
        };
        SETTING_SECTIONS.iter().chain(&STAGE_SECTIONS).for_each(|name| has("section", name));
        SPLITS.iter().chain(&["normalize"]).for_each(|name| has("setting of data", name));
        TOP_SETTINGS.iter().for_each(|name| has("setting", name));
        TrainSettings::SCHEMA.params.iter().for_each(|param| has("setting of train", param.name));
        ["split"].iter().for_each(|name| has("value of a split", name));
    }

    #[test]
    fn the_page_of_a_setting_says_what_it_takes() {
        let topics = topics();
        let page = |name: &str| &topics.iter().find(|topic| topic.name == name).unwrap().page;
        assert!(page("batch").contains("Takes a count or `auto`; `32` by default."), "{}", page("batch"));
        assert!(page("optimizer").contains("`adamw`"), "{}", page("optimizer"));
    }
}

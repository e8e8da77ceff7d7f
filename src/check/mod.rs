//! The abstract syntax to a program: names, arguments, shapes, units and rules between sections.

mod across;
pub mod advice;
mod cascades;
mod data;
pub mod fix;
mod hints;
pub mod lints;
mod load;
mod model;
pub mod program;
pub mod reference;
mod scope;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Applicability, Code, Diagnostic, did_you_mean, has_errors};
use crate::formats::dataset::{Dataset, Header};
use crate::formats::error::Told;
use crate::formats::files::Files;
use crate::library::reference::Entry;
use crate::library::{
    self, Augmentation, Cost, Loss, Metric, Optimizer, Regularizer, Schedule, ShapeError, Source, TargetType, Type,
};
use crate::schema::{Given, GivenCall, GivenKind, Made, Origin, Schema, article, make_from_table};
use crate::source::{Sources, Span};
use crate::syntax;
use crate::syntax::ast::{Name, Stage};
use across::{ModelEnd, check_batches, check_ends};
pub use data::SPLITS;
use load::{Declarations, Loader};
pub use load::{SETTING_SECTIONS, STAGE_SECTIONS, TOP_SETTINGS};
pub use model::JOINS;
use model::{Flow, ModelChecker, shape_diagnostic};
use program::{Data, EarlyStop, Findings, ModelNode, Origins, Program, ResolvedSetting, SourceData, Training};
use scope::{Classes, Scope};
use settings::TrainSettings;

const UNKNOWN_SETTING: Code = Code("E0203");
const MISSING: Code = Code("E0209");
const SHAPE: Code = Code("E0301");
const LOSS: Code = Code("E0303");
const METRIC: Code = Code("E0304");
const OPTIMIZER: Code = Code("E0305");
const NOT_A_CALL: Code = Code("E0207");
const BATCH: Code = Code("E0403");
const ONE_VALUE: Code = Code("E0404");
const MONITOR: Code = Code("E0405");
const ACCUMULATE: Code = Code("E0406");
const BALANCE: Code = Code("E0306");
const SYNC: Code = Code("E0307");

/// What to compile.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The main file.
    pub path: PathBuf,
    /// Overrides, each `path=value`.
    pub sets: Vec<String>,
    /// The profile to apply.
    pub profile: Option<String>,
}

/// The result of compiling: the program if there are no errors, and everything that was said.
pub struct Compilation {
    /// All files that were read.
    pub sources: Sources,
    /// The main file's syntax.
    pub ast: Option<syntax::ast::File>,
    /// The program.
    pub program: Option<Program>,
    /// What was found out, also where there is no program.
    pub findings: Findings,
    /// Errors and warnings, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
    /// The files' paths.
    pub origins: Origins,
}

/// Where the checker learns what the headers of data files say.
pub trait Headers {
    /// What they say; `None` while they are still being read, so that nothing is known and nothing is wrong.
    /// An error says what is wrong with the data.
    fn header(&self, source: &Made<dyn Source>, base: &Path) -> Option<Result<Header, Told>>;

    /// [`Source::glance`], which may wait as the header does.
    fn glance(&self, source: &SourceData) -> Option<Arc<Dataset>>;

    /// [`Source::class_counts`], which may wait as the header does.
    fn class_counts(&self, source: &SourceData) -> Option<Arc<[u64]>>;
}

/// Reads headers when they are asked for.
struct ReadNow<'a>(&'a dyn Files);

impl Headers for ReadNow<'_> {
    fn header(&self, source: &Made<dyn Source>, base: &Path) -> Option<Result<Header, Told>> {
        Some(source.item.header(self.0, base).map_err(|error| error.tell(self.0)))
    }

    fn glance(&self, source: &SourceData) -> Option<Arc<Dataset>> {
        source.source.item.glance(self.0, &source.base, &source.header).map(Arc::new)
    }

    fn class_counts(&self, source: &SourceData) -> Option<Arc<[u64]>> {
        source.source.item.class_counts(self.0, &source.base, &source.header).map(Arc::from)
    }
}

/// Reads and checks a pipeline.
///
/// # Errors
/// When the main file cannot be read.
pub fn compile(request: &Request, files: &dyn Files) -> Result<Compilation, String> {
    compile_with(request, files, &ReadNow(files))
}

/// Reads and checks a pipeline with another way to the headers of its data.
///
/// # Errors
/// When the main file cannot be read.
pub fn compile_with(request: &Request, files: &dyn Files, headers: &dyn Headers) -> Result<Compilation, String> {
    let mut loader = Loader::new(files);
    let ast = loader.load_main(&request.path)?;
    loader.check_profiles();
    if let Some(profile) = &request.profile {
        loader.apply_profile(profile);
    }
    for set in &request.sets {
        loader.apply_set(set);
    }
    let Loader { sources, origins, mut diagnostics, declarations, .. } = loader;
    let base = request.path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut findings = Findings::default();
    let resolved = Vec::new();
    let checker = Checker { headers, base: &base, sources: &sources, resolved, findings: &mut findings };
    let program = checker.check(&declarations, &mut diagnostics).filter(|_| !has_errors(&diagnostics));
    if let Some(program) = &program {
        let context = lints::Context::new(program, &declarations, &sources, headers);
        diagnostics.extend(lints::silence(&context, lints::lint_program(&context)));
    }
    hints::add_hints(&sources, &declarations, &mut diagnostics);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span());
    diagnostics.dedup();
    cascades::drop_cascades(&sources, &mut diagnostics);
    Ok(Compilation { sources, ast: Some(ast), program, findings, diagnostics, origins })
}

struct Checker<'b> {
    headers: &'b dyn Headers,
    base: &'b Path,
    sources: &'b Sources,
    resolved: Vec<ResolvedSetting>,
    findings: &'b mut Findings,
}

impl Checker<'_> {
    fn check(mut self, declared: &Declarations, diagnostics: &mut Vec<Diagnostic>) -> Option<Program> {
        let mut scope = Scope::new(&declared.lets);
        let end = declared.end;
        for setting in &declared.settings {
            if !TOP_SETTINGS.contains(&setting.name.text.as_str()) {
                diagnostics.push(unknown_setting(&setting.name));
            }
        }
        let data = match declared.data.span {
            Some(section) => data::DataChecker {
                headers: self.headers,
                base: self.base,
                scope: &mut scope,
                diagnostics,
                resolved: &mut self.resolved,
            }
            .check(&declared.data.settings, section),
            None => {
                let help = "write `data { train = csv(\"file.csv\", target = label) }`";
                diagnostics.extend(missing(declared, "data", help));
                None
            }
        };
        scope.classes = match &data {
            Some(Data { targets: TargetType::Classes(classes), .. }) => Classes::Known(*classes),
            Some(_) => Classes::None,
            None => Classes::Unknown,
        };

        self.find_data(data.as_ref());
        self.find_lets(declared, &mut scope);
        let (augment, input) = self.augment(declared, &mut scope, data.as_ref(), diagnostics);
        self.findings.input = input.clone();
        let data_span = declared.data.span.unwrap_or(end);
        let flow = Flow { of: input.clone(), span: data_span, from: "the data".to_owned() };
        let (model, stages, output) = self.model(declared, &mut scope, flow, diagnostics);

        let loss = self.required::<dyn Loss>(declared, &mut scope, "loss", library::losses::ALL, diagnostics);
        let regularization = self.optional::<dyn Regularizer>(
            declared,
            &mut scope,
            "regularization",
            library::regularizers::ALL,
            diagnostics,
        );
        let optimizer =
            self.required::<dyn Optimizer>(declared, &mut scope, "optimizer", library::optimizers::ALL, diagnostics);
        let schedule = self
            .optional::<dyn Schedule>(declared, &mut scope, "schedule", library::schedules::ALL, diagnostics)
            .or_else(|| self.default_item("schedule", "constant", library::schedules::ALL, end));
        let metrics = self.metrics(declared, &mut scope, data.as_ref(), diagnostics);
        let rows = data.as_ref().map(|data| data.splits[0].rows);
        let train = self.train(declared, &mut scope, rows, &model, diagnostics);

        if let Some(optimizer) = &optimizer
            && let Err(error) = optimizer.item.check()
        {
            diagnostics.push(item_diagnostic(OPTIMIZER, &error, optimizer));
        }
        let (data, loss, train) = (data?, loss?, train?);
        let (input, output) = (input?, output?);
        if let Some(of) = &output.of {
            let end = ModelEnd { flow: &output, of, stages: &stages, sources: self.sources };
            check_ends(&data, &loss, &metrics, &end, diagnostics);
        }
        check_batches(&data, &train.0, &stages, &model, diagnostics);
        let early_stop = self.early_stop(&data, &metrics, &train, diagnostics);
        let of = output.of?;
        let training = Training { early_stop, ..train.0 };
        self.sort_resolved();
        let optimizer = optimizer?;
        Some(Program {
            data,
            augment,
            input,
            model,
            stages,
            output: of,
            loss,
            regularization,
            rate: optimizer.item.learning_rate(),
            optimizer,
            schedule: schedule?,
            metrics,
            train: training,
            resolved: self.resolved,
            settled: Vec::new(),
        })
    }

    fn find_data(&mut self, data: Option<&Data>) {
        let Some(data) = data else { return };
        self.findings.splits = data.splits.clone();
        self.findings.targets = Some(data.targets);
    }

    fn find_lets(&mut self, declared: &Declarations, scope: &mut Scope) {
        for setting in &declared.lets {
            // Its mistakes are reported where it is used.
            if let Some(given) = scope.evaluate(&setting.value, &mut Vec::new()) {
                self.findings.lets.push((setting.name.text.clone(), given.show()));
            }
        }
    }

    /// Puts the resolved settings in the order of the language.
    fn sort_resolved(&mut self) {
        let rank = |setting: &ResolvedSetting| {
            let top = TOP_SETTINGS.iter().position(|name| *name == setting.name).unwrap_or(0);
            match setting.section {
                "data" => 0,
                "augment" => 1,
                "model" => 2,
                "train" => 99,
                _ => 3 + top,
            }
        };
        self.resolved.sort_by_key(rank);
    }

    fn resolve(&mut self, section: &'static str, name: &str, value: String, origin: Origin) {
        self.resolved.push(ResolvedSetting { section, name: name.to_owned(), value, origin });
    }

    fn augment(
        &mut self,
        declared: &Declarations,
        scope: &mut Scope,
        data: Option<&Data>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> (Vec<Made<dyn Augmentation>>, Option<Type>) {
        let mut made = Vec::new();
        let mut flow = Flow {
            of: data.map(|data| Type::features(data.sample_shape.clone())),
            span: declared.data.span.unwrap_or(declared.end),
            from: "the data".to_owned(),
        };
        let Some(section) = &declared.augment else { return (made, flow.of) };
        for stage in &section.stages {
            let Stage::Call(call) = stage else {
                let message = "`augment` takes transforms only";
                diagnostics.push(Diagnostic::error(NOT_A_CALL, stage.span(), message));
                continue;
            };
            let given = scope.call(call, diagnostics);
            let Some(item) = make_from_table(&given, "augmentation", library::augmentations::ALL, diagnostics) else {
                flow.of = None;
                continue;
            };
            self.resolve("augment", "", item.show(), Origin::Given(item.span));
            if let Some(input) = &flow.of {
                match item.item.infer(input) {
                    Ok(out) => {
                        self.findings.wholes.push(program::Stage {
                            path: format!("augment.{}", made.len()),
                            text: call.name.text.clone(),
                            span: item.span,
                            input: input.clone(),
                            output: out.clone(),
                            known: true,
                            cost: Cost::default(),
                        });
                        flow = Flow { of: Some(out), span: item.span, from: format!("`{}`", call.name.text) };
                    }
                    Err(error) => {
                        diagnostics.push(shape_diagnostic(SHAPE, &error, &item, &flow));
                        flow.of = None;
                    }
                }
            }
            made.push(item);
        }
        (made, flow.of)
    }

    fn model<'a>(
        &mut self,
        declared: &'a Declarations,
        scope: &mut Scope<'a>,
        flow: Flow,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> (Vec<ModelNode>, Vec<program::Stage>, Option<Flow>) {
        let Some(section) = &declared.model else {
            diagnostics.extend(missing(declared, "model", "write `model { flatten -> linear(classes) }`"));
            return (Vec::new(), Vec::new(), None);
        };
        let mut nodes = Vec::new();
        let mut checker = ModelChecker::new(scope, self.sources, &declared.blocks, diagnostics);
        let known = flow.of.is_some();
        let out = checker.chain(&section.stages, "model", flow, &mut nodes);
        let stages = std::mem::take(&mut checker.stages);
        self.findings.wholes.append(&mut checker.wholes);
        self.resolved.append(&mut checker.resolved);
        self.findings.stages.clone_from(&stages);
        let has_weights = nodes.iter().any(|node| !matches!(node, ModelNode::Keep { .. } | ModelNode::Use { .. }));
        if !has_weights && known {
            let diagnostic =
                Diagnostic::error(MISSING, section.span, "`model` has no layers").help("end it with `linear(classes)`");
            diagnostics.push(diagnostic);
        }
        (nodes, stages, Some(out))
    }

    fn required<T: ?Sized>(
        &mut self,
        declared: &Declarations,
        scope: &mut Scope,
        name: &str,
        table: &[&'static Schema<T>],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Made<T>> {
        if declared.settings.iter().all(|setting| setting.name.text != name) {
            let help = format!("write `{name} = {}`", table[0].name);
            diagnostics.extend(missing(declared, name, &help));
            return None;
        }
        self.optional(declared, scope, name, table, diagnostics)
    }

    fn optional<T: ?Sized>(
        &mut self,
        declared: &Declarations,
        scope: &mut Scope,
        name: &str,
        table: &[&'static Schema<T>],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Made<T>> {
        let setting = declared.settings.iter().find(|setting| setting.name.text == name)?;
        let given = scope.evaluate(&setting.value, diagnostics)?;
        if name == "regularization" && matches!(&given.kind, GivenKind::Word(word) if word == "none") {
            self.resolve("", name, "none".to_owned(), Origin::Given(given.span));
            return None;
        }
        let call = as_call(&given, name, table.iter().map(|schema| schema.name), diagnostics)?;
        let made = make_from_table(&call, kind_of(name), table, diagnostics)?;
        self.resolve("", name, made.show(), Origin::Given(made.span));
        Some(made)
    }

    fn default_item<T: ?Sized>(
        &mut self,
        name: &str,
        item: &str,
        table: &[&'static Schema<T>],
        span: Span,
    ) -> Option<Made<T>> {
        let call = GivenCall { name: Name { text: item.to_owned(), span }, args: Vec::new(), span };
        let made = make_from_table(&call, kind_of(name), table, &mut Vec::new())?;
        self.resolve("", name, made.show(), Origin::Default);
        Some(made)
    }

    fn metrics(
        &mut self,
        declared: &Declarations,
        scope: &mut Scope,
        data: Option<&Data>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Made<dyn Metric>> {
        let table = library::metrics::ALL;
        let Some(setting) = declared.settings.iter().find(|setting| setting.name.text == "metrics") else {
            let Some(data) = data else { return Vec::new() };
            let name = if matches!(data.targets, TargetType::Classes(_)) { "accuracy" } else { "mae" };
            let span = declared.end;
            let call = GivenCall { name: Name { text: name.to_owned(), span }, args: Vec::new(), span };
            self.resolve("", "metrics", format!("[{name}]"), Origin::Default);
            return make_from_table(&call, "metric", table, &mut Vec::new()).into_iter().collect();
        };
        let Some(given) = scope.evaluate(&setting.value, diagnostics) else { return Vec::new() };
        let items = match given.kind.clone() {
            GivenKind::List(items) => items,
            _ => vec![given.clone()],
        };
        let mut made: Vec<Made<dyn Metric>> = Vec::new();
        for item in items {
            let Some(call) = as_call(&item, "metrics", table.iter().map(|schema| schema.name), diagnostics) else {
                continue;
            };
            if let Some(metric) = make_from_table(&call, "metric", table, diagnostics) {
                let name = metric.item.name();
                if name == "loss" || made.iter().any(|other| other.item.name() == name) {
                    let message = format!("the metric `{name}` is measured twice");
                    diagnostics.push(Diagnostic::error(Code("E0208"), call.span, message).help("remove it here"));
                    continue;
                }
                made.push(metric);
            }
        }
        let text: Vec<String> = made.iter().map(Made::show).collect();
        self.resolve("", "metrics", format!("[{}]", text.join(", ")), Origin::Given(given.span));
        made
    }

    fn train(
        &mut self,
        declared: &Declarations,
        scope: &mut Scope,
        rows: Option<usize>,
        model: &[ModelNode],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<(Training, TrainSettings, Made<dyn settings::Section>)> {
        let span = declared.train.span.unwrap_or(declared.end);
        let mut args = Vec::new();
        let mut complete = true;
        for setting in &declared.train.settings {
            match scope.evaluate(&setting.value, diagnostics) {
                Some(given) => args.push((Some(setting.name.clone()), given)),
                None => complete = false,
            }
        }
        let call = GivenCall { name: Name { text: "train".to_owned(), span }, args, span };
        let made = TrainSettings::SCHEMA.make(&call, "setting", diagnostics)?;
        let settings = (*made.item).as_any().downcast_ref::<TrainSettings>()?.clone();
        for value in &made.values {
            self.resolve("train", value.name, value.value.clone(), value.origin);
        }
        let given = settings.batch.given().map(|batch| batch.0);
        let mut training = Training {
            epochs: settings.epochs.0,
            batch: given.unwrap_or(1),
            batch_is_open: given.is_none(),
            accumulate: settings.accumulate.0,
            drop_last: settings.drop_last,
            precision: settings.precision,
            clip_norm: settings.clip_norm.map(|limit| limit.0),
            devices: settings.devices.0.clone(),
            devices_span: made.span_of("devices"),
            elsewhere: 0,
            shards: settings.reproducible.as_ref().map(|reproducible| reproducible.shards),
            balances: settings.balance == settings::Balance::Measured,
            early_stop: None,
            seed: settings.seed,
            batch_span: made.span_of("batch"),
        };
        if let Some(diagnostic) = across::check_balance(&training, &made) {
            diagnostics.push(diagnostic);
            training.balances = false;
        }
        diagnostics.extend(across::check_sync(&training, &made, model));
        let parts = training.parts();
        if training.batch_is_open {
            training.batch = program::auto_batches(rows.unwrap_or(1), parts, settings.drop_last, model)[0];
        }
        let batch = training.batch;
        if !batch.is_multiple_of(parts) {
            let message = format!("a batch of {batch} cannot be processed in {parts} equal parts");
            let factors = [
                ("accumulate", training.accumulate),
                ("reproducible", training.shards.unwrap_or(1)),
                ("devices", if training.shards.is_none() { training.replicas() } else { 1 }),
                ("balance", if training.balances { program::BALANCED_PARTS } else { 1 }),
            ];
            let mut given = factors.iter().filter(|(_, factor)| *factor > 1).map(|(name, _)| made.span_of(name));
            let first = given.next().unwrap_or(made.span_of("accumulate"));
            let several = given.clone().next().is_some();
            let label = if several { format!("{parts} parts in all") } else { "does not divide the batch".to_owned() };
            let mut diagnostic = Diagnostic::error(ACCUMULATE, first, message).label(label);
            for span in given {
                diagnostic = diagnostic.also(span, "times these");
            }
            let help = if training.parts() == training.accumulate {
                "choose a divisor of the batch".to_owned()
            } else {
                let (below, above) = (batch / parts * parts, batch.next_multiple_of(parts));
                if below == 0 {
                    format!("use a batch of {above}")
                } else {
                    format!("use a batch of {below} or {above}")
                }
            };
            let diagnostic = diagnostic.also(made.span_of("batch"), format!("the batch is {batch}")).help(help);
            diagnostics.push(diagnostic);
        }
        complete.then_some((training, settings, made))
    }

    fn early_stop(
        &mut self,
        data: &Data,
        metrics: &[Made<dyn Metric>],
        (_, settings, made): &(Training, TrainSettings, Made<dyn settings::Section>),
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<EarlyStop> {
        let patience = &settings.early_stop.as_ref()?.item;
        let span = made.span_of("early_stop");
        let splits: Vec<&str> = data.splits.iter().map(|split| split.name.as_str()).collect();
        let on = if patience.on.0 == "auto" {
            let split = if splits.contains(&"val") { "val" } else { "train" };
            let metric = metrics.iter().map(|metric| metric.item.name()).find(|name| name == "accuracy");
            format!("{split}.{}", metric.unwrap_or_else(|| "loss".to_owned()))
        } else {
            patience.on.0.clone()
        };
        let (split, metric) = on.split_once('.').unwrap_or(("", &on));
        let known: Vec<String> = splits
            .iter()
            .filter(|name| **name != "test")
            .flat_map(|split| {
                let names = metrics.iter().map(|metric| metric.item.name()).filter(|name| name != "confusion");
                ["loss".to_owned()].into_iter().chain(names).map(move |metric| format!("{split}.{metric}"))
            })
            .collect();
        if !known.contains(&on) {
            let message = format!("`{on}` is not measured after an epoch");
            let mut diagnostic = Diagnostic::error(MONITOR, span, message).label("watched here");
            diagnostic = match did_you_mean(&on, known.iter().map(String::as_str)) {
                _ if split == "val" && !splits.contains(&"val") => {
                    diagnostic.help("add `val = split(train, 10%)` to `data`")
                }
                Some(close) => diagnostic.help(format!("a similar metric is `{close}`")),
                None => diagnostic.help(format!("measured are `{}`", known.join("`, `"))),
            };
            diagnostics.push(diagnostic);
            return None;
        }
        let higher = metrics.iter().find(|made| made.item.name() == metric);
        Some(EarlyStop {
            patience: patience.duration,
            split: split.to_owned(),
            metric: metric.to_owned(),
            higher_is_better: higher.is_some_and(|made| made.item.higher_is_better()),
            min_delta: patience.min_delta.0,
        })
    }
}

/// The items that sections read themselves: settings of `train`, splits, normalizations, rules for stopping.
pub fn entries() -> Vec<Entry> {
    vec![
        Entry::new("section", &TrainSettings::SCHEMA),
        Entry::new("split", &data::SplitItem::SCHEMA),
        Entry::new("normalization", &data::GivenItem::SCHEMA),
        Entry::new("stopping rule", &settings::PatienceItem::SCHEMA),
        Entry::new("way to be reproducible", &settings::ShardsItem::SCHEMA),
    ]
}

/// What an item of a top-level setting is called in messages.
fn kind_of(setting: &str) -> &'static str {
    match setting {
        "loss" => "loss",
        "regularization" => "regularizer",
        "optimizer" => "optimizer",
        "schedule" => "schedule",
        _ => "metric",
    }
}

fn as_call<'a>(
    given: &Given,
    setting: &str,
    names: impl Iterator<Item = &'a str>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<GivenCall> {
    let call = given.as_call();
    if call.is_none() {
        let kind = kind_of(setting);
        let message = format!("`{setting}` is {} {kind}, found `{}`", article(kind), given.show());
        let names: Vec<&str> = names.collect();
        if let GivenKind::Text(text) = &given.kind
            && names.contains(&text.as_str())
        {
            let diagnostic = Diagnostic::error(NOT_A_CALL, given.span, message).label("a text, not a name");
            diagnostics.push(diagnostic.help("quotes are for paths and names of your own").fix(
                Applicability::Safe,
                format!("write `{text}`"),
                given.span,
                text.clone(),
            ));
            return None;
        }
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let help = format!("known are {}", names.join(", "));
        diagnostics.push(
            Diagnostic::error(NOT_A_CALL, given.span, message)
                .label(format!("not {} {kind}", article(kind)))
                .help(help),
        );
    }
    call
}

/// The diagnostic for a section or setting that every pipeline has, unless a misspelt name has been reported for it.
fn missing(declared: &Declarations, name: &str, help: &str) -> Option<Diagnostic> {
    let close = |setting: &&crate::syntax::ast::Setting| did_you_mean(&setting.name.text, TOP_SETTINGS) == Some(name);
    if declared.misspelt.contains(&name)
        || declared.settings.iter().any(|setting| close(&setting) || setting.name.text == name)
    {
        return None;
    }
    let message = format!("the pipeline has no `{name}`");
    Some(Diagnostic::error(MISSING, declared.end, message).label("the file ends here").help(help))
}

fn unknown_setting(name: &Name) -> Diagnostic {
    let text = name.text.as_str();
    if SETTING_SECTIONS.into_iter().chain(STAGE_SECTIONS).any(|section| section == text) {
        let message = format!("`{text}` is a section, found a setting");
        let help = format!("write `{text} {{ … }}`, without `=`");
        return Diagnostic::error(UNKNOWN_SETTING, name.span, message).label("not a setting").help(help);
    }
    if let Some(owner) = owner_of(text) {
        let message = format!("there is no setting `{text}` at the top level");
        let diagnostic = Diagnostic::error(UNKNOWN_SETTING, name.span, message).label("not known here");
        return diagnostic.help(format!("it belongs to {owner}"));
    }
    let message = format!("there is no setting `{text}` at the top level");
    let diagnostic = Diagnostic::error(UNKNOWN_SETTING, name.span, message).label("not known here");
    match did_you_mean(&name.text, TOP_SETTINGS) {
        Some(close) => diagnostic.help(format!("a similar setting is `{close}`")).fix(
            Applicability::Suggested,
            format!("write `{close}`"),
            name.span,
            close,
        ),
        None => diagnostic.help(format!("known are `{}`; other names are defined by `let`", TOP_SETTINGS.join("`, `"))),
    }
}

/// Where a setting or an argument of this name is at home, as one would write it.
fn owner_of(name: &str) -> Option<String> {
    if TrainSettings::SCHEMA.params.iter().any(|param| param.name == name) {
        return Some(format!("`train`: `train {{ {name} = … }}`"));
    }
    if SPLITS.contains(&name) || name == "normalize" {
        return Some(format!("`data`: `data {{ {name} = … }}`"));
    }
    let has = library::optimizers::ALL.iter().any(|schema| schema.params.iter().any(|param| param.name == name));
    has.then(|| format!("the optimizer: `optimizer = adam({name} = …)`"))
}

/// An item's own complaint as a diagnostic.
fn item_diagnostic<T: ?Sized>(code: Code, error: &ShapeError, made: &Made<T>) -> Diagnostic {
    let span = error.param.map_or(made.span, |param| made.span_of(param));
    let mut diagnostic = Diagnostic::error(code, span, error.message.clone()).label("does not fit");
    if let Some(note) = &error.note {
        diagnostic = diagnostic.note(note.clone());
    }
    if let Some(help) = &error.help {
        diagnostic = diagnostic.help(help.clone());
    }
    diagnostic
}

/// Visits every layer of a model with its number.
pub(crate) fn for_each_layer(nodes: &[ModelNode], visit: &mut dyn FnMut(usize, &Made<dyn library::Layer>)) {
    for node in nodes {
        match node {
            ModelNode::Layer { stage, layer } => visit(*stage, layer),
            ModelNode::Residual { main, shortcut, .. } => {
                for_each_layer(main, visit);
                for_each_layer(shortcut, visit);
            }
            ModelNode::Branch { arms, .. } => arms.iter().for_each(|arm| for_each_layer(arm, visit)),
            ModelNode::Keep { .. } | ModelNode::Use { .. } | ModelNode::Meet { .. } => {}
        }
    }
}

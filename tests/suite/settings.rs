//! Every parameter of every item is read: another value makes another program.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use nnoptc::check::{Request, compile};
use nnoptc::data::load::load;
use nnoptc::formats::files::Memory;
use nnoptc::ir::States;
use nnoptc::ir::print::print;
use nnoptc::library::{self, StepContext};
use nnoptc::lower::{Mode, StepSpec, lower};
use nnoptc::train::initialize::initial_words;
use nnoptc::train::prepare::prepare;

/// A parameter, and a call that differs from the kind's first call in it alone.
struct Row {
    item: &'static str,
    param: &'static str,
    before: &'static str,
    after: &'static str,
}

/// Written `item.param: before => after`.
fn rows(table: &'static str) -> Vec<Row> {
    let row = |line: &'static str| {
        let (name, calls) = line.trim().split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let (item, param) = name.split_once('.').unwrap_or_else(|| panic!("{line}"));
        let (before, after) = calls.split_once(" => ").unwrap_or_else(|| panic!("{line}"));
        Row { item, param, before, after }
    };
    table.lines().filter(|line| !line.trim().is_empty()).map(row).collect()
}

const LAYERS: &str = "
    linear.units: linear(4) => linear(5)
    linear.bias: linear(4) => linear(4, bias = false)
    linear.init: linear(4) => linear(4, init = zeros)
    linear.regularization: linear(4) => linear(4, regularization = l1(0.1))
    conv2d.filters: conv2d(2, 3) => conv2d(3, 3)
    conv2d.kernel: conv2d(2, 3) => conv2d(2, 2)
    conv2d.stride: conv2d(2, 3) => conv2d(2, 3, stride = 2)
    conv2d.padding: conv2d(2, 3) => conv2d(2, 3, padding = 1)
    conv2d.dilation: conv2d(2, 2) => conv2d(2, 2, dilation = 2)
    conv2d.groups: conv2d(4, 1) -> conv2d(4, 2) => conv2d(4, 1) -> conv2d(4, 2, groups = 2)
    conv2d.bias: conv2d(2, 3) => conv2d(2, 3, bias = false)
    conv2d.init: conv2d(2, 3) => conv2d(2, 3, init = xavier_normal)
    conv2d.regularization: conv2d(2, 3) => conv2d(2, 3, regularization = l2(0.1))
    max_pool.kernel: max_pool(2) => max_pool(3)
    max_pool.stride: max_pool(2) => max_pool(2, stride = 1)
    max_pool.padding: max_pool(2) => max_pool(2, padding = 1)
    avg_pool.kernel: avg_pool(2) => avg_pool(3)
    avg_pool.stride: avg_pool(2) => avg_pool(2, stride = 1)
    avg_pool.padding: avg_pool(2) => avg_pool(2, padding = 1)
    batch_norm.momentum: batch_norm => batch_norm(momentum = 0.2)
    batch_norm.eps: batch_norm => batch_norm(eps = 1e-3)
    batch_norm.affine: batch_norm => batch_norm(affine = false)
    layer_norm.eps: layer_norm => layer_norm(eps = 1e-3)
    layer_norm.affine: layer_norm => layer_norm(affine = false)
    dropout.rate: dropout => dropout(0.25)
    reshape.shape: reshape([16]) => reshape([4, 4])
    leaky_relu.slope: leaky_relu => leaky_relu(0.2)
    elu.alpha: elu => elu(0.5)
    gelu.approximate: gelu => gelu(approximate = tanh)
";

const AUGMENTATIONS: &str = "
    horizontal_flip.probability: horizontal_flip => horizontal_flip(0.25)
    random_crop.size: random_crop(3) => random_crop(2)
    random_crop.padding: random_crop(3) => random_crop(3, padding = 1)
    random_rotation.degrees: random_rotation(10) => random_rotation(20)
    random_rotation.interpolation: random_rotation(10) => random_rotation(10, interpolation = bilinear)
    random_affine.degrees: random_affine(10) => random_affine(20)
    random_affine.translate: random_affine(10) => random_affine(10, translate = 0.1)
    random_affine.scale: random_affine(10) => random_affine(10, scale = 0.9..1.1)
    random_affine.shear: random_affine(10) => random_affine(10, shear = 5)
    random_affine.interpolation: random_affine(10) => random_affine(10, interpolation = bilinear)
";

const LOSSES: &str = "
    cross_entropy.label_smoothing: cross_entropy => cross_entropy(label_smoothing = 0.1)
    cross_entropy.weights: cross_entropy => cross_entropy(weights = [1, 2, 1])
";

const BINARY_LOSSES: &str = "
    binary_cross_entropy.pos_weight: binary_cross_entropy => binary_cross_entropy(pos_weight = 2)
";

const REGULARIZERS: &str = "
    l1.factor: l1(0.1) => l1(0.2)
    l2.factor: l2(0.1) => l2(0.2)
    elastic.l1: elastic(l1 = 0.1, l2 = 0.2) => elastic(l1 = 0.3, l2 = 0.2)
    elastic.l2: elastic(l1 = 0.1, l2 = 0.2) => elastic(l1 = 0.1, l2 = 0.3)
";

const OPTIMIZERS: &str = "
    sgd.lr: sgd => sgd(lr = 0.1)
    sgd.momentum: sgd => sgd(momentum = 0.9)
    sgd.dampening: sgd(momentum = 0.9) => sgd(momentum = 0.9, dampening = 0.1)
    sgd.weight_decay: sgd => sgd(weight_decay = 0.1)
    sgd.nesterov: sgd(momentum = 0.9) => sgd(momentum = 0.9, nesterov = true)
    adagrad.lr: adagrad => adagrad(lr = 0.1)
    adagrad.lr_decay: adagrad => adagrad(lr_decay = 0.1)
    adagrad.weight_decay: adagrad => adagrad(weight_decay = 0.1)
    adagrad.initial_accumulator: adagrad => adagrad(initial_accumulator = 0.1)
    adagrad.eps: adagrad => adagrad(eps = 1e-5)
    rmsprop.lr: rmsprop => rmsprop(lr = 0.1)
    rmsprop.alpha: rmsprop => rmsprop(alpha = 0.9)
    rmsprop.eps: rmsprop => rmsprop(eps = 1e-5)
    rmsprop.weight_decay: rmsprop => rmsprop(weight_decay = 0.1)
    rmsprop.momentum: rmsprop => rmsprop(momentum = 0.9)
    rmsprop.centered: rmsprop => rmsprop(centered = true)
    adam.lr: adam => adam(lr = 0.1)
    adam.betas: adam => adam(betas = [0.8, 0.999])
    adam.eps: adam => adam(eps = 1e-5)
    adam.weight_decay: adam => adam(weight_decay = 0.1)
    adam.amsgrad: adam => adam(amsgrad = true)
    adamw.lr: adamw => adamw(lr = 0.1)
    adamw.betas: adamw => adamw(betas = [0.9, 0.99])
    adamw.eps: adamw => adamw(eps = 1e-5)
    adamw.weight_decay: adamw => adamw(weight_decay = 0.1)
    adamw.amsgrad: adamw => adamw(amsgrad = true)
";

const SCHEDULES: &str = "
    constant.warmup: constant => constant(warmup = 3 steps)
    step.every: step(every = 1 epochs) => step(every = 2 epochs)
    step.gamma: step(every = 1 epochs) => step(every = 1 epochs, gamma = 0.5)
    step.warmup: step(every = 1 epochs) => step(every = 1 epochs, warmup = 3 steps)
    cosine.over: cosine => cosine(over = 1 epochs)
    cosine.min: cosine => cosine(min = 1e-4)
    cosine.warmup: cosine => cosine(warmup = 3 steps)
";

const METRICS: &str = "
    top_k.k: top_k(1) => top_k(2)
";

const INITIALIZERS: &str = "
    kaiming_uniform.a: kaiming_uniform => kaiming_uniform(a = 1)
    kaiming_normal.a: kaiming_normal => kaiming_normal(a = 1)
    xavier_uniform.gain: xavier_uniform => xavier_uniform(gain = 2)
    xavier_normal.gain: xavier_normal => xavier_normal(gain = 2)
    normal.std: normal => normal(std = 0.1)
    uniform.bound: uniform => uniform(bound = 0.1)
";

const SOURCES: &str = "
    csv.path: csv(\"a.csv\", target = label) => csv(\"b.csv\", target = label)
    csv.target: csv(\"a.csv\", target = label) => csv(\"a.csv\", target = f0)
    csv.task: csv(\"a.csv\", target = label) => csv(\"a.csv\", target = label, task = regression)
    csv.shape: csv(\"a.csv\", target = label) => csv(\"a.csv\", target = label, shape = [1, 4, 4])
    csv.drop: csv(\"a.csv\", target = label) => csv(\"a.csv\", target = label, drop = f3)
    csv.header: csv(\"a.csv\", target = 17) => csv(\"a.csv\", target = 17, header = false)
    idx.path: idx(\"p\") => idx(\"q\")
    idx.labels: idx(\"p-images-idx3-ubyte\", labels = \"p-labels-idx1-ubyte\") => \
idx(\"p-images-idx3-ubyte\", labels = \"q-labels-idx1-ubyte\")
    npy.path: npy(\"x.npy\", \"y.npy\") => npy(\"x2.npy\", \"y.npy\")
    npy.labels: npy(\"x.npy\", \"y.npy\") => npy(\"x.npy\", \"none.npy\")
    npy.task: npy(\"x.npy\", \"y.npy\") => npy(\"x.npy\", \"y.npy\", task = regression)
    npy.channels: npy(\"i.npy\", \"l.npy\", channels = first) => npy(\"i.npy\", \"l.npy\", channels = last)
    npz.path: npz(\"xy.npz\") => npz(\"none.npz\")
    npz.x: npz(\"xy.npz\") => npz(\"xy.npz\", x = none_such)
    npz.y: npz(\"xy.npz\") => npz(\"xy.npz\", y = none_such)
    npz.task: npz(\"xy.npz\") => npz(\"xy.npz\", task = regression)
    npz.channels: npz(\"il.npz\", channels = first) => npz(\"il.npz\", channels = last)
    image_folder.path: image_folder(\"shapes\") => image_folder(\"none\")
    image_folder.resize: image_folder(\"shapes\") => image_folder(\"shapes\", resize = 4)
    image_folder.channels: image_folder(\"shapes\", channels = 1) => image_folder(\"shapes\", channels = 3)
";

/// What only devices that train together read.
const TOGETHER: &str = "
    batch_norm.sync: batch_norm => batch_norm(sync = true)
";

/// Settings of `train` and of `data`; the name of the item is the section.
const SETTINGS: &str = "
    train.epochs: batch = 6; epochs = 2 => batch = 6; epochs = 3
    train.batch: batch = 6 => batch = 12
    train.accumulate: batch = 6 => batch = 6; accumulate = 2
    train.drop_last: batch = 7 => batch = 7; drop_last = true
    train.clip_norm: batch = 6 => batch = 6; clip_norm = 1
    train.precision: batch = 6 => batch = 6; precision = mixed
    train.devices: batch = 6 => batch = 6; devices = gpu
    train.reproducible: batch = 6 => batch = 6; reproducible = shards(2)
    train.balance: batch = 8; devices = [cpu, cpu] => batch = 8; devices = [cpu, cpu]; balance = measured
    shards.n: batch = 6; reproducible = shards(2) => batch = 6; reproducible = shards(3)
    train.early_stop: batch = 6 => batch = 6; early_stop = patience(1 epochs)
    train.seed: batch = 6 => batch = 6; seed = 1
    patience.duration: batch = 6; early_stop = patience(1 epochs) => batch = 6; early_stop = patience(2 epochs)
    patience.on: batch = 6; early_stop = patience(1 epochs) => batch = 6; early_stop = patience(1 epochs, on = train.loss)
    patience.min_delta: batch = 6; early_stop = patience(1 epochs) => batch = 6; early_stop = patience(1 epochs, min_delta = 0.1)
";

const DATA: &str = "
    split.from: test = csv(\"b.csv\", target = label); val = split(train, 5) => \
test = csv(\"b.csv\", target = label); val = split(test, 5)
    split.size: val = split(train, 5) => val = split(train, 6)
    split.draw: val = split(train, 6) => val = split(train, 6, stratified)
    given.mean: normalize = given(mean = 1, std = 2) => normalize = given(mean = 2, std = 2)
    given.std: normalize = given(mean = 1, std = 2) => normalize = given(mean = 1, std = 3)
    data.normalize: normalize = none => normalize = auto
";

/// The parts of a pipeline, each as it is where another is tried.
struct Pipeline<'a> {
    data: &'a str,
    augment: &'a str,
    model: &'a str,
    settings: &'a str,
    train: &'a str,
}

const IMAGES: &str = "train = csv(\"a.csv\", target = label, shape = [1, 4, 4])";
const PLAIN: Pipeline = Pipeline {
    data: IMAGES,
    augment: "",
    model: "flatten -> linear(classes)",
    settings: "loss = cross_entropy; optimizer = adam",
    train: "epochs = 3; batch = 6",
};

impl Pipeline<'_> {
    fn text(&self) -> String {
        let Pipeline { data, augment, model, settings, train } = self;
        let augment = if augment.is_empty() { String::new() } else { format!("augment {{ {augment} }}\n") };
        format!("nnopt 1\ndata {{ {data} }}\n{augment}model {{ {model} }}\n{settings}\ntrain {{ {train} }}\n")
    }

    /// All that a pipeline leads to, as text; its mistakes, where it has some.
    fn outcome(&self, files: &Memory) -> Result<String, String> {
        let request = Request { path: "p.nnopt".into(), ..Request::default() };
        let compilation = compile(&request, files).unwrap();
        let Some(program) = compilation.program else {
            let said: Vec<String> = compilation.diagnostics.iter().map(|said| said.message.clone()).collect();
            return Err(said.join("\n"));
        };
        let loaded = load(&program, files).map_err(|error| error.to_string())?;
        let mut text = format!("{:?}\n{:?}\n", loaded.datasets, loaded.rows);
        let train = &program.train;
        let _ = writeln!(text, "{:?} {:?} {:?}", train.devices, train.early_stop, program.data.normalize);
        let mut states = States::default();
        let base = program.optimizer.item.learning_rate().unwrap();
        let run = program.run_shape();
        for step in 0..run.total_steps {
            let _ = writeln!(text, "{:e}", program.schedule.item.learning_rate(base, step, &run));
        }
        for prepared in prepare(&program, nnoptc::train::device::fusion(&program)).steps {
            let _ = writeln!(text, "{:?}", prepared.spec);
            let lowered = lower(&program, &prepared.spec, &mut states);
            text += &print(&lowered.graph, &states);
            for scalar in lowered.scalars {
                let at = |step| (scalar.value)(&StepContext { step, lr: base });
                let _ = writeln!(text, "{} {:e} {:e}", scalar.name, at(0), at(5));
            }
        }
        let batch = program.micro_batch();
        let spec = StepSpec { mode: Mode::Evaluate, split: "train".to_owned(), batch };
        text += &print(&lower(&program, &spec, &mut states).graph, &states);
        for info in states.infos() {
            let _ = writeln!(text, "{info:?} {:?}", initial_words(info, train.seed));
        }
        Ok(text)
    }
}

/// An array in NumPy's format, version 1.0.
fn npy(dtype: &str, shape: &str, data: impl Iterator<Item = u8>) -> Vec<u8> {
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(data);
    bytes
}

/// Tables of numbers, arrays, IDX files and pictures.
fn files() -> Memory {
    let table = |shift: usize| {
        let names: Vec<String> = (0..16).map(|column| format!("f{column}")).collect();
        let mut text = format!("{},label\n", names.join(","));
        for row in 0..30 {
            let numbers: Vec<String> = (0..16).map(|column| ((row * 7 + column * 3 + shift) % 4).to_string()).collect();
            let _ = writeln!(text, "{},{}", numbers.join(","), row % 3);
        }
        text
    };
    let mut files = Memory::new().with("a.csv", table(0).as_str()).with("b.csv", table(1).as_str());
    for (name, shift) in [("p", 0_u8), ("q", 1)] {
        let mut images = vec![0, 0, 8, 3, 0, 0, 0, 12, 0, 0, 0, 4, 0, 0, 0, 4];
        images.extend((0..12 * 16).map(|pixel: u8| pixel.wrapping_mul(7).wrapping_add(shift)));
        let mut labels = vec![0, 0, 8, 1, 0, 0, 0, 12];
        labels.extend((0..12).map(|row: u8| (row + shift) % 3));
        files =
            files.with(format!("{name}-images-idx3-ubyte"), images).with(format!("{name}-labels-idx1-ubyte"), labels);
    }
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for name in ["x.npy", "y.npy", "xy.npz"] {
        files = files.with(name, std::fs::read(data.join("npy").join(name)).unwrap());
    }
    let mut other = std::fs::read(data.join("npy/x.npy")).unwrap();
    *other.last_mut().unwrap() ^= 1;
    files = files.with("x2.npy", other);
    // Images whose axes differ, so that it shows which is taken for the channels.
    let images = npy("<f4", "(6, 2, 3, 4)", (0..144_u16).flat_map(|pixel| f32::from(pixel).to_le_bytes()));
    let labels = npy("<i8", "(6,)", (0..6_i64).flat_map(|row| (row % 2).to_le_bytes()));
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [("x.npy", &images), ("y.npy", &labels)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    files = files.with("il.npz", archive.finish().unwrap().into_inner());
    files = files.with("i.npy", images).with("l.npy", labels);
    for class in ["circle", "square"] {
        for number in 0..4 {
            let name = format!("shapes/{class}/{class}_{number:02}.png");
            let bytes = std::fs::read(data.join(&name)).unwrap();
            files = files.with(name, bytes);
        }
    }
    files
}

/// Compiles the pipeline that a call stands in, before and after the change.
fn check_rows(table: &'static str, known: &mut BTreeSet<String>, pipeline: impl Fn(&str) -> String) {
    for row in rows(table) {
        let name = format!("{}.{}", row.item, row.param);
        let outcome = |call: &str| {
            let files = files().with("p.nnopt", pipeline(call).as_str());
            PLAIN.outcome(&files)
        };
        let before = outcome(row.before).unwrap_or_else(|said| panic!("{name}: `{}`: {said}", row.before));
        let after = outcome(row.after);
        // A name of something that is not there is read where that is said; so is a header that is no row of numbers.
        let may_fail = row.after.contains("none") || row.param == "header";
        assert!(may_fail || after.is_ok(), "{name}: `{}`: {after:?}", row.after);
        assert!(after.as_ref() != Ok(&before), "{name}: `{}` is the same as `{}`", row.after, row.before);
        assert!(known.insert(name.clone()), "{name} is tried twice");
    }
}

#[test]
fn every_parameter_is_read() {
    let mut tried = BTreeSet::new();
    let tried = &mut tried;
    check_rows(LAYERS, tried, |call| {
        // A layer of features stands after `flatten`, one of images before it.
        let images = ["conv2d", "max_pool", "avg_pool"].iter().any(|name| call.contains(name));
        let model = if images { format!("{call} -> flatten") } else { format!("flatten -> {call} -> flatten") };
        Pipeline { model: &format!("{model} -> linear(classes)"), ..PLAIN }.text()
    });
    check_rows(TOGETHER, tried, |call| {
        let model = format!("flatten -> {call} -> linear(classes)");
        Pipeline { model: &model, train: "epochs = 3; batch = 6; devices = [cpu, cpu]", ..PLAIN }.text()
    });
    check_rows(AUGMENTATIONS, tried, |call| Pipeline { augment: call, ..PLAIN }.text());
    check_rows(LOSSES, tried, |call| {
        Pipeline { settings: &format!("loss = {call}; optimizer = adam"), ..PLAIN }.text()
    });
    check_rows(BINARY_LOSSES, tried, |call| {
        let data = "train = image_folder(\"shapes\", channels = 1)";
        let settings = format!("loss = {call}; optimizer = adam");
        Pipeline { data, model: "flatten -> linear(1)", settings: &settings, ..PLAIN }.text()
    });
    check_rows(REGULARIZERS, tried, |call| {
        let settings = format!("loss = cross_entropy; optimizer = adam; regularization = {call}");
        Pipeline { settings: &settings, ..PLAIN }.text()
    });
    check_rows(OPTIMIZERS, tried, |call| {
        Pipeline { settings: &format!("loss = cross_entropy; optimizer = {call}"), ..PLAIN }.text()
    });
    check_rows(SCHEDULES, tried, |call| {
        let settings = format!("loss = cross_entropy; optimizer = adam; schedule = {call}");
        Pipeline { settings: &settings, ..PLAIN }.text()
    });
    check_rows(METRICS, tried, |call| {
        let settings = format!("loss = cross_entropy; optimizer = adam; metrics = [{call}]");
        Pipeline { settings: &settings, ..PLAIN }.text()
    });
    check_rows(INITIALIZERS, tried, |call| {
        Pipeline { model: &format!("flatten -> linear(classes, init = {call})"), ..PLAIN }.text()
    });
    check_rows(SOURCES, tried, |call| {
        let numbers = call.contains("regression");
        let (model, loss) =
            if numbers { ("flatten -> linear(1)", "mse") } else { ("flatten -> linear(classes)", "cross_entropy") };
        let settings = format!("loss = {loss}; optimizer = adam");
        Pipeline { data: &format!("train = {call}"), model, settings: &settings, train: "batch = 2", ..PLAIN }.text()
    });
    check_rows(SETTINGS, tried, |train| {
        let data = format!("{IMAGES}; val = split(train, 6)");
        Pipeline { data: &data, train, ..PLAIN }.text()
    });
    check_rows(DATA, tried, |more| {
        let data = format!("train = csv(\"a.csv\", target = label); {more}");
        Pipeline { data: &data, ..PLAIN }.text()
    });

    let mut known = BTreeSet::new();
    fn params<T: ?Sized>(table: &[&'static nnoptc::schema::Schema<T>], known: &mut BTreeSet<String>) {
        for schema in table {
            known.extend(schema.params.iter().map(|param| format!("{}.{}", schema.name, param.name)));
        }
    }
    params(library::layers::ALL, &mut known);
    params(library::augmentations::ALL, &mut known);
    params(library::losses::ALL, &mut known);
    params(library::regularizers::ALL, &mut known);
    params(library::optimizers::ALL, &mut known);
    params(library::schedules::ALL, &mut known);
    params(library::metrics::ALL, &mut known);
    params(library::initializers::ALL, &mut known);
    params(library::sources::ALL, &mut known);
    for topic in nnoptc::check::reference::topics() {
        if topic.kind == "setting of train" {
            known.insert(format!("train.{}", topic.name));
        }
    }
    let missing: Vec<&String> = known.difference(tried).collect();
    assert!(missing.is_empty(), "parameters that nothing tries: {missing:?}");
}

//! `nnoptc devices`: what can train here.

use serde_json::json;

use crate::backend::gpu::{Adapter, adapters, self_test};
use crate::report::table::{Align, Table, bytes};

use super::args::{Devices, MessageFormat};
use super::output::{Exit, Failure, Output};

/// Lists the CPU and all adapters; with `--check`, lets each compute.
pub fn execute(args: &Devices, output: &Output) -> Result<Exit, Failure> {
    let adapters = adapters();
    let checked: Vec<(Adapter, Option<Result<(), String>>)> = adapters
        .into_iter()
        .map(|adapter| {
            let result = args.check.then(|| check(&adapter));
            (adapter, result)
        })
        .collect();
    if output.format == MessageFormat::Json {
        for (adapter, result) in &checked {
            output.json(&object(adapter, result.as_ref()))?;
        }
    } else {
        output.data(&list(&checked))?;
        if checked.is_empty() {
            output.say("no adapter was found: install the GPU's driver (Vulkan, Metal or Direct3D 12) to use one");
        }
    }
    let failed = checked.iter().any(|(_, result)| matches!(result, Some(Err(_))));
    Ok(if failed { Exit::World } else { Exit::Done })
}

/// What is wrong with an adapter, if anything.
fn check(adapter: &Adapter) -> Result<(), String> {
    if let Some(shortcoming) = adapter.shortcoming() {
        return Err(shortcoming);
    }
    let checks = self_test(adapter).map_err(|error| super::output::chain(&error))?;
    let problems: Vec<String> = checks
        .iter()
        .filter_map(|check| check.problem.as_ref().map(|problem| format!("{}: {problem}", check.name)))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn list(adapters: &[(Adapter, Option<Result<(), String>>)]) -> String {
    let mut table = Table::new([
        ("devices =", Align::Left),
        ("name", Align::Left),
        ("kind", Align::Left),
        ("driver", Align::Left),
        ("buffer", Align::Right),
        ("state", Align::Left),
    ]);
    let native = format!("native executor, {} threads", threads());
    table.row(["cpu", &native, "CPU", "", "", "ready"]);
    for (adapter, result) in adapters {
        let state = match (adapter.shortcoming(), result) {
            (_, Some(Ok(()))) => "computes correctly".to_owned(),
            (_, Some(Err(problem))) => format!("unusable: {problem}"),
            (Some(shortcoming), None) => format!("unusable: {shortcoming}"),
            // `auto` and `gpu` do not choose it.
            (None, None) if adapter.software => "only when named".to_owned(),
            (None, None) => "ready".to_owned(),
        };
        table.row([
            adapter.index.to_string(),
            adapter.name.clone(),
            adapter.kind.to_owned(),
            format!("{} {}", adapter.backend, adapter.driver).trim().to_owned(),
            bytes(adapter.max_binding_bytes.min(adapter.max_buffer_bytes)),
            state,
        ]);
    }
    table.to_string()
}

fn object(adapter: &Adapter, result: Option<&Result<(), String>>) -> serde_json::Value {
    json!({
        "event": "device",
        "index": adapter.index,
        "name": adapter.name,
        "kind": adapter.kind,
        "backend": adapter.backend,
        "driver": adapter.driver,
        "software": adapter.software,
        "max_buffer_bytes": adapter.max_buffer_bytes,
        "max_binding_bytes": adapter.max_binding_bytes,
        "max_workgroup_bytes": adapter.max_workgroup_bytes,
        "max_invocations": adapter.max_invocations,
        "features": adapter.features,
        "shortcoming": adapter.shortcoming(),
        "check": result.map(|result| match result {
            Ok(()) => "ok".to_owned(),
            Err(problem) => problem.clone(),
        }),
    })
}

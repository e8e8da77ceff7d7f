//! Puts launches together: what does not depend on each other runs side by side in one dispatch, and many small ones
//! after each other in one workgroup of it. A dispatch costs a driver more than most of them compute.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::ir::StateId;
use crate::plan::{BufferRef, Kernel, Place, Plan};

use super::launch::{Launch, Param, Target, lower};
use super::source::{ARENA_HALVES, Library, STATE_HALVES, binding_lines, declarations, param_expression};

/// What one workgroup does about as fast as a device takes to begin another dispatch, in units of [`Launch::work`].
pub(super) const SMALL: u64 = 64_000;
/// Launches of one dispatch, so that texts stay short for the driver's compiler.
const MOST_LAUNCHES: usize = 12;
/// Bytes of text of one dispatch.
const MOST_TEXT: usize = 20 << 10;
/// Workgroup memory of all launches of a dispatch; the rest of the guaranteed 16 KiB is for `lib/tree.wgsl`.
const WORKGROUP_BYTES: usize = 13 << 10;

/// One dispatch, ready to be compiled.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    /// The kernels that it runs.
    pub name: String,
    /// WGSL with the entry point `main`.
    pub text: String,
    /// The words of the parameters.
    pub params: Vec<Param>,
    /// Workgroups along x and y.
    pub groups: [u32; 2],
    /// Rough count of arithmetic operations and memory accesses.
    pub work: u64,
    /// The numbers of the states that it writes.
    pub states: Vec<u32>,
    /// The state that devices exchange when it is done.
    pub exchange: Option<StateId>,
}

/// The dispatches of a plan in order, and the words that they need from [`Target::scratch`] on.
pub(super) fn dispatches(plan: &Plan, target: &Target) -> Result<(Vec<Dispatch>, usize), String> {
    let mut tasks = Vec::new();
    let mut scratch_words = 0;
    // By how many tasks come before: where devices exchange a state, and the end. No dispatch reaches over such a place.
    let mut regions: Vec<(usize, Option<StateId>)> = Vec::new();
    for (number, kernel) in plan.kernels.iter().enumerate() {
        let lowered = lower(kernel, target)?;
        scratch_words = scratch_words.max(lowered.scratch_words);
        let scratch = Range::scratch(target.scratch, lowered.scratch_words);
        let count = lowered.launches.len();
        for (index, launch) in lowered.launches.into_iter().enumerate() {
            tasks.push(Task::new(kernel, launch, scratch, index > 0, index + 1 < count));
        }
        let exchange = plan.exchanges.iter().find(|(index, _)| *index == number);
        regions.extend(exchange.map(|(_, id)| (tasks.len(), Some(*id))));
    }
    regions.push((tasks.len(), None));
    let waits = waits(&tasks);
    let mut done = vec![false; tasks.len()];
    let mut all: Vec<Dispatch> = Vec::new();
    for (end, exchange) in regions {
        while done[..end].contains(&false) {
            let segments = choose(&tasks[..end], &waits, &done);
            for &index in segments.iter().flatten() {
                done[index] = true;
            }
            all.push(write(&tasks, &segments, target));
        }
        if let (Some(last), Some(_)) = (all.last_mut(), exchange) {
            last.exchange = exchange;
        }
    }
    Ok((all, scratch_words))
}

#[cfg(test)]
impl Dispatch {
    /// A launch alone.
    pub fn one(name: &str, launch: &Launch, target: &Target) -> Dispatch {
        let task = Task { name: name.to_owned(), launch: launch.clone(), reads: Vec::new(), writes: Vec::new() };
        write(&[task], &[vec![0]], target)
    }
}

/// A launch with what it touches.
struct Task {
    name: String,
    launch: Launch,
    reads: Vec<Range>,
    writes: Vec<Range>,
}

/// Words of the arena, or of a state.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    state: Option<u32>,
    start: usize,
    end: usize,
}

impl Range {
    fn of(buffer: &BufferRef) -> Option<Range> {
        match buffer.place {
            Place::Arena(start) => {
                let words = (buffer.len * buffer.dtype.size()).div_ceil(4);
                Some(Range { state: None, start, end: start + words })
            }
            Place::State(id) => Some(Range { state: Some(id.0), start: 0, end: buffer.len }),
            // Nobody writes these.
            Place::Data(_) | Place::Step(_) => None,
        }
    }

    fn scratch(start: usize, words: usize) -> Option<Range> {
        (words > 0).then_some(Range { state: None, start, end: start + words })
    }

    fn meets(&self, other: &Range) -> bool {
        self.state == other.state && self.start < other.end && other.start < self.end
    }
}

impl Task {
    /// A kernel's launches hand their intermediate results on in the scratch memory.
    fn new(kernel: &Kernel, launch: Launch, scratch: Option<Range>, takes: bool, gives: bool) -> Task {
        let mut reads: Vec<Range> = kernel.inputs().iter().filter_map(Range::of).collect();
        let mut writes: Vec<Range> = Vec::new();
        if takes {
            reads.extend(scratch);
        }
        if gives {
            writes.extend(scratch);
        } else {
            writes.extend(kernel.outputs().iter().filter_map(Range::of));
        }
        Task { name: kernel.name.clone(), launch, reads, writes }
    }

    /// Whether this must come after `earlier`.
    fn follows(&self, earlier: &Task) -> bool {
        let meet = |a: &[Range], b: &[Range]| a.iter().any(|range| b.iter().any(|other| range.meets(other)));
        meet(&self.reads, &earlier.writes) || meet(&self.writes, &earlier.reads) || meet(&self.writes, &earlier.writes)
    }
}

/// For each task, those that must come before it.
fn waits(tasks: &[Task]) -> Vec<Vec<usize>> {
    let before = |index: usize| (0..index).filter(|&earlier| tasks[index].follows(&tasks[earlier])).collect();
    (0..tasks.len()).map(before).collect()
}

/// The tasks of the next dispatch: segments side by side, the tasks of each after each other.
///
/// Those that share no dispatch come as early as they can, so that as many of the others as possible meet.
fn choose(tasks: &[Task], waits: &[Vec<usize>], done: &[bool]) -> Vec<Vec<usize>> {
    let open = || (0..tasks.len()).filter(|&index| !done[index]);
    let is_ready = |index: usize| waits[index].iter().all(|&other| done[other]);
    if let Some(index) = open().find(|&index| tasks[index].launch.is_alone && is_ready(index)) {
        return vec![vec![index]];
    }
    let mut budget = Budget::default();
    let (mut large, mut sequence) = (Vec::new(), Vec::new());
    for index in open().filter(|&index| !tasks[index].launch.is_alone) {
        let launch = &tasks[index].launch;
        if launch.work > SMALL {
            if is_ready(index) && budget.take(launch) {
                large.push(index);
            }
        } else if waits[index].iter().all(|&other| done[other] || sequence.contains(&other)) && budget.take(launch) {
            sequence.push(index);
        }
    }
    let mut segments: Vec<Vec<usize>> = large.into_iter().map(|index| vec![index]).collect();
    if !sequence.is_empty() {
        segments.push(sequence);
    }
    segments
}

/// What a dispatch can hold.
#[derive(Default)]
struct Budget {
    launches: usize,
    text: usize,
    workgroup_bytes: usize,
}

impl Budget {
    /// Whether there is room; the first launch always has it.
    fn take(&mut self, launch: &Launch) -> bool {
        let text = self.text + launch.head.len() + launch.body.len();
        let workgroup_bytes = self.workgroup_bytes + launch.workgroup_bytes;
        let fits = self.launches == 0
            || (self.launches < MOST_LAUNCHES && text <= MOST_TEXT && workgroup_bytes <= WORKGROUP_BYTES);
        if fits {
            *self = Budget { launches: self.launches + 1, text, workgroup_bytes };
        }
        fits
    }
}

/// The text and parameters of the segments.
fn write(tasks: &[Task], segments: &[Vec<usize>], target: &Target) -> Dispatch {
    let mut params: Vec<Param> = Vec::new();
    let (mut head, mut body) = (String::new(), String::new());
    let (mut bindings, mut libraries) = (BTreeSet::new(), BTreeSet::new());
    let mut groups = 0;
    let mut number = 0;
    let by_matrices = segments.iter().flatten().any(|&task| tasks[task].launch.by_matrices);
    let together = segments.len() > 1 || segments.iter().any(|segment| segment.len() > 1);
    for (index, segment) in segments.iter().enumerate() {
        let own_groups = if segment.len() == 1 { tasks[segment[0]].launch.groups } else { 1 };
        // Counts are parameters: a driver that knew the lengths of loops would unroll them.
        let count = |value: u64, params: &mut Vec<Param>| {
            params.push(Param::Word(value as u32));
            param_expression(params.len() - 1)
        };
        let begin = count(groups, &mut params);
        groups += own_groups;
        let end = count(groups, &mut params);
        let otherwise = if index == 0 { "    " } else { " else " };
        writeln!(body, "{otherwise}if (number < {end}) {{").expect("a string can be written to");
        if segment.len() == 1 {
            writeln!(body, "        let group = number - {begin};").expect("as above");
        }
        for &task in segment {
            let launch = &tasks[task].launch;
            let suffix = if together { format!("_{number}") } else { String::new() };
            number += 1;
            let first = params.len();
            let declared = declarations(&launch.head);
            let renamed = |text: &str| rename(text, &declared, &suffix, first);
            head.push_str(&renamed(&launch.head));
            params.extend(&launch.params);
            let program = renamed(&launch.body);
            if segment.len() == 1 {
                body.push_str(&indented(&program, 1));
            } else {
                let groups = count(launch.groups, &mut params);
                writeln!(body, "        for (var group = 0u; group < {groups}; group++) {{").expect("as above");
                body.push_str(&indented(&program, 2));
                body.push_str("        }\n        storageBarrier();\n");
            }
            bindings.extend(&launch.bindings);
            libraries.extend(&launch.libraries);
        }
        body.push_str("    }");
    }
    let mut names: Vec<&str> = segments.iter().flatten().map(|&task| tasks[task].name.as_str()).collect();
    names.dedup();
    Dispatch {
        name: names.join("; "),
        text: text(target, params.len(), &bindings, &libraries, &head, &body, by_matrices),
        params,
        groups: grid(groups),
        work: segments.iter().flatten().map(|&task| tasks[task].launch.work).sum(),
        states: segments
            .iter()
            .flatten()
            .flat_map(|&task| &tasks[task].writes)
            .filter_map(|range| range.state)
            .collect(),
        exchange: None,
    }
}

fn text(
    target: &Target,
    params: usize,
    bindings: &BTreeSet<u32>,
    libraries: &BTreeSet<Library>,
    head: &str,
    body: &str,
    by_matrices: bool,
) -> String {
    let mut text = String::new();
    let halves = [ARENA_HALVES, STATE_HALVES].iter().any(|halves| bindings.contains(halves));
    if by_matrices || (target.grants.native_halves && halves) {
        text.push_str("enable f16;\n");
    }
    let mut numbers = "";
    if by_matrices {
        text.push_str("enable wgpu_cooperative_matrix;\n");
        numbers = "    @builtin(subgroup_id) subgroup: u32,\n    @builtin(num_subgroups) subgroups: u32,\n";
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str("// Where buffers begin, in words; sizes.\n");
    let quads = params.div_ceil(4);
    writeln!(text, "struct Params {{\n    words: array<vec4<u32>, {quads}>,\n}}\n")
        .expect("a string can be written to");
    for line in binding_lines(bindings, target.grants.native_halves) {
        text.push_str(&line);
    }
    writeln!(text, "\n// Invocations of a workgroup.\nconst LANES = {}u;\n", target.lanes()).expect("as above");
    text.push_str(head);
    for library in libraries {
        text.push_str(&library.text(target));
        text.push('\n');
    }
    write!(
        text,
        "@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) place: vec3<u32>,
    @builtin(num_workgroups) size: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
{numbers}) {{
    let number = place.y * size.x + place.x;
{body}
}}
"
    )
    .expect("as above");
    text
}

/// The text with a suffix for each declared name, and parameters counted from `first`.
fn rename(text: &str, declared: &BTreeSet<String>, suffix: &str, first: usize) -> String {
    let mut result = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        let (before, from) = rest.split_at(start);
        result.push_str(before);
        let end = from.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        match word.strip_prefix("param_").and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => result.push_str(&param_expression(first + number)),
            None => {
                result.push_str(word);
                if declared.contains(word) && !before.ends_with('.') {
                    result.push_str(suffix);
                }
            }
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

fn indented(text: &str, levels: usize) -> String {
    let indent = "    ".repeat(levels);
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{indent}{line}\n") }).collect()
}

/// Workgroups along x and y for at least so many; a dimension allows 65,535.
fn grid(groups: u64) -> [u32; 2] {
    let y = groups.div_ceil(65_535).max(1);
    let x = groups.div_ceil(y).max(1);
    [x as u32, y as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_covers_all_groups_within_the_limit() {
        for groups in [0, 1, 65_535, 65_536, 70_001, 131_071, 4_000_000_000] {
            let [x, y] = grid(groups);
            assert!(x <= 65_535 && y <= 65_535, "{groups}");
            assert!(u64::from(x) * u64::from(y) >= groups, "{groups}");
        }
    }

    #[test]
    fn declared_names_get_the_suffix_and_nothing_else_does() {
        let head = "const COUNT = 4u;\nvar<workgroup> sums: array<f32, 4>;\nfn read_0(i: u32) -> f32 {\n";
        let declared = declarations(head);
        let text = "let x = read_0(COUNT) + v.COUNT + sums[param_2] + reads + 1.0f;";
        let renamed = rename(text, &declared, "_3", 4);
        assert_eq!(renamed, "let x = read_0_3(COUNT_3) + v.COUNT + sums_3[params.words[1].z] + reads + 1.0f;");
    }

    fn task(work: u64, reads: &[usize], writes: &[usize]) -> Task {
        let launch = Launch { work, groups: 1, ..Launch::default() };
        let ranges = |starts: &[usize]| {
            starts.iter().map(|&start| Range { state: None, start, end: start + 1 }).collect::<Vec<_>>()
        };
        Task { name: String::new(), launch, reads: ranges(reads), writes: ranges(writes) }
    }

    fn schedule(tasks: &[Task]) -> Vec<Vec<Vec<usize>>> {
        let waits = waits(tasks);
        let mut done = vec![false; tasks.len()];
        let mut all = Vec::new();
        while done.contains(&false) {
            let segments = choose(tasks, &waits, &done);
            segments.iter().flatten().for_each(|&index| done[index] = true);
            all.push(segments);
        }
        all
    }

    #[test]
    fn small_launches_follow_each_other_in_one_workgroup() {
        let tasks = [task(10, &[0], &[1]), task(10, &[1], &[2]), task(10, &[2], &[3])];
        assert_eq!(schedule(&tasks), [vec![vec![0, 1, 2]]]);
    }

    #[test]
    fn large_launches_run_side_by_side_if_neither_waits() {
        let large = SMALL + 1;
        let tasks =
            [task(large, &[0], &[1]), task(large, &[0], &[2]), task(large, &[1, 2], &[3]), task(10, &[0], &[4])];
        assert_eq!(schedule(&tasks), [vec![vec![0], vec![1], vec![3]], vec![vec![2]]]);
    }

    #[test]
    fn a_buffer_is_not_written_while_it_is_read() {
        let large = SMALL + 1;
        let tasks = [task(large, &[0], &[1]), task(large, &[2], &[0]), task(large, &[3], &[0])];
        assert_eq!(schedule(&tasks), [vec![vec![0]], vec![vec![1]], vec![vec![2]]]);
    }

    #[test]
    fn what_shares_no_dispatch_goes_first() {
        let mut tasks = [task(10, &[0], &[1]), task(10, &[0], &[2]), task(10, &[1, 2], &[3])];
        tasks[1].launch.is_alone = true;
        assert_eq!(schedule(&tasks), [vec![vec![1]], vec![vec![0, 2]]]);
    }
}

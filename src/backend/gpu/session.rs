//! Plans on a device: buffers, pipelines, and submissions of several steps.

mod times;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};

use wgpu::BufferUsages;

use crate::backend::{BackendError, DataBytes, LaunchTime, Meet, Session, Setup};
use crate::ir::StateId;
use crate::plan::{Place, Plan};

use super::adapters::Adapter;
use super::check;
use super::device::{Gpu, is_hung};
use super::dispatch;
use super::launch::{Param, Target};
use super::layout::{DataLayout, DataRange, StateLayout, StateRange};
use super::pipelines::{self, Bindings};
use super::source::{ARENA, ARENA_HALVES, BINDINGS, DATA, PARAMS, STATE_HALVES, STATES, STEP};
use super::tune::{self, Choice, Choices};

/// Submissions that may wait for the device; more would only hide an error for longer.
const IN_FLIGHT: usize = 3;
/// The same for drivers that compute on the CPU. A second submission would wait in some of them until the first is done,
/// without a bound.
const IN_FLIGHT_ON_SOFTWARE: usize = 1;
/// Rows that are uploaded at once take no more bytes than this, if there are several.
const ROWS_BYTES: u64 = 4 << 20;
/// Nor are there more than so many.
const ROWS: u64 = 256;

/// Prepares the plans on the adapter, once it has passed the self-test.
pub fn open(setup: &Setup, adapter: &Adapter, choice: Choice) -> Result<Box<dyn Session>, BackendError> {
    check::require(adapter, setup.plans.iter().any(Plan::has_halves))?;
    let mut gpu = Gpu::open(adapter)?;
    gpu.grants = check::grants(adapter)?;
    gpu.choices = tune::choices(adapter, gpu.grants, setup.plans, choice)?;
    #[cfg_attr(not(debug_assertions), allow(unused_mut))]
    let mut session = GpuSession::new(setup, gpu)?;
    #[cfg(debug_assertions)]
    {
        session.takes_faults = true;
    }
    Ok(Box::new(session))
}

/// A session on one device.
pub(super) struct GpuSession {
    gpu: Gpu,
    states: wgpu::Buffer,
    state_layout: StateLayout,
    rows: wgpu::Buffer,
    plans: Vec<Prepared>,
    in_flight: VecDeque<(wgpu::SubmissionIndex, String)>,
    /// Where the groups of states that are given while a plan runs are copied to.
    copies: Vec<Copied>,
    /// Bytes of the arena behind the largest plan's.
    scratch_bytes: u64,
    /// A submission ends once its kernels are estimated at more.
    pub submission_seconds: f64,
    /// How many submissions there have been.
    #[cfg(test)]
    pub submissions: usize,
    /// Whether what tests want to go wrong does so here.
    #[cfg(debug_assertions)]
    takes_faults: bool,
}

/// A plan ready to run.
struct Prepared {
    bind_group: wgpu::BindGroup,
    dispatches: Vec<Dispatch>,
    row_words: usize,
    row_stride: u64,
    /// By state: the number of dispatches after which it is written no more.
    last_writes: Vec<usize>,
}

/// A dispatch ready to run.
struct Dispatch {
    name: String,
    pipeline: wgpu::ComputePipeline,
    params_offset: u32,
    groups: [u32; 2],
    seconds: f64,
    /// The state that is exchanged when it is done.
    exchange: Option<StateId>,
}

/// A plan on its way to [`Prepared`].
struct Lowering {
    dispatches: Vec<dispatch::Dispatch>,
    /// Words needed behind the plan's arena.
    scratch: usize,
    /// Data buffers by slot.
    slots: Vec<usize>,
    /// Where the plan's data sets lie.
    data: Vec<DataRange>,
}

impl GpuSession {
    /// Compiles the plans and uploads the data; states are zero.
    pub fn new(setup: &Setup, gpu: Gpu) -> Result<GpuSession, BackendError> {
        let choices = gpu.choices.clone();
        GpuSession::with_choices(setup, gpu, &|_| &choices)
    }

    /// As [`GpuSession::new`], with tiles for each plan by its number.
    pub fn with_choices<'a>(
        setup: &Setup,
        gpu: Gpu,
        choices: &dyn Fn(usize) -> &'a Choices,
    ) -> Result<GpuSession, BackendError> {
        let state_layout = StateLayout::new(setup.states);
        let max_bytes = gpu.limits.max_storage_buffer_binding_size.min(gpu.limits.max_buffer_size);
        let data_layout = DataLayout::new(setup.data, max_bytes, &gpu.name)?;
        let lowerings: Vec<Lowering> = setup
            .plans
            .iter()
            .enumerate()
            .map(|(number, plan)| lower_plan(&gpu, plan, choices(number), setup.data, &data_layout))
            .collect::<Result<_, _>>()?;

        let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let states = gpu.buffer("the weights and other states", state_layout.words as u64 * 4, storage)?;
        let arena_words =
            setup.plans.iter().zip(&lowerings).map(|(plan, lowering)| plan.arena_words + lowering.scratch);
        let arena_bytes = arena_words.max().unwrap_or(0) as u64 * 4;
        let planned_bytes = setup.plans.iter().map(|plan| plan.arena_words).max().unwrap_or(0) as u64 * 4;
        let scratch_bytes = arena_bytes - planned_bytes;
        let arena = gpu.buffer("the arena of a step", arena_bytes, storage)?;
        let data = upload(&gpu, setup.data, &data_layout)?;

        let alignment = u64::from(gpu.limits.min_storage_buffer_offset_alignment).max(16);
        let stride = |plan: &Plan| (plan.step.words as u64 * 4).max(1).next_multiple_of(alignment);
        let rows_bytes = setup.plans.iter().map(|plan| stride(plan) * rows_at_once(stride(plan))).max().unwrap_or(0);
        let rows = gpu.buffer("the inputs of a step", rows_bytes, BufferUsages::STORAGE | BufferUsages::COPY_DST)?;

        let launches = || lowerings.iter().flat_map(|lowering| &lowering.dispatches);
        let uniform_alignment = u64::from(gpu.limits.min_uniform_buffer_offset_alignment).max(16);
        let most_params = launches().map(|launch| launch.params.len()).max().unwrap_or(0) as u64;
        let params_stride = (most_params * 4).max(1).next_multiple_of(uniform_alignment);
        if params_stride > gpu.limits.max_uniform_buffer_binding_size {
            return Err(BackendError::TooLarge {
                what: "the list of a kernel's buffers".to_owned(),
                needed: params_stride,
                allowed: gpu.limits.max_uniform_buffer_binding_size,
                device: gpu.name.clone(),
            });
        }
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let params = gpu.buffer("the kernels' parameters", params_stride * launches().count() as u64, usage)?;

        let bindings = Bindings::new(&gpu, params_stride);
        let texts: Vec<(&str, &str)> =
            launches().map(|dispatch| (dispatch.name.as_str(), dispatch.text.as_str())).collect();
        let mut pipelines = pipelines::compile(&gpu, &bindings, &texts)?.into_iter();

        let mut plans = Vec::new();
        let mut params_words: Vec<u32> = Vec::new();
        for (plan, lowering) in setup.plans.iter().zip(&lowerings) {
            let mut dispatches = Vec::new();
            for dispatch in &lowering.dispatches {
                let params_offset = params_words.len() as u32 * 4;
                let word = |param: &Param| match param {
                    Param::Word(word) => *word,
                    Param::Begin(Place::Arena(word) | Place::Step(word)) => *word as u32,
                    Param::Begin(Place::State(id)) => state_layout.ranges[id.index()].begin as u32,
                    Param::Begin(Place::Data(id)) => lowering.data[id.0 as usize].word as u32,
                };
                params_words.extend(dispatch.params.iter().map(word));
                params_words.resize((params_offset as usize + params_stride as usize) / 4, 0);
                dispatches.push(Dispatch {
                    name: dispatch.name.clone(),
                    pipeline: pipelines.next().expect("there is a pipeline for each text"),
                    params_offset,
                    groups: dispatch.groups,
                    seconds: estimate(&gpu, dispatch.work),
                    exchange: dispatch.exchange,
                });
            }
            let row_stride = stride(plan);
            let buffer = |binding: u32| match binding {
                PARAMS => (&params, Some(params_stride)),
                ARENA | ARENA_HALVES => (&arena, None),
                STATES | STATE_HALVES => (&states, None),
                STEP => (&rows, Some(row_stride)),
                slot => match lowering.slots.get((slot - DATA) as usize) {
                    Some(index) => (&data[*index], None),
                    // Nothing reads this binding, but every binding must have a buffer.
                    None => (&data[data.len() - 1], None),
                },
            };
            let entries: Vec<wgpu::BindGroupEntry> = (PARAMS..BINDINGS)
                .map(|binding| {
                    let (buffer, size) = buffer(binding);
                    let size = size.and_then(std::num::NonZeroU64::new);
                    let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size });
                    wgpu::BindGroupEntry { binding, resource }
                })
                .collect();
            let layout = &bindings.group;
            let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("nnoptc"),
                layout,
                entries: &entries,
            });
            let mut last_writes = vec![0; setup.states.infos().len()];
            for (index, dispatch) in lowering.dispatches.iter().enumerate() {
                dispatch.states.iter().for_each(|&state| last_writes[state as usize] = index + 1);
            }
            plans.push(Prepared { bind_group, dispatches, row_words: plan.step.words, row_stride, last_writes });
        }
        gpu.queue.write_buffer(&params, 0, bytemuck::cast_slice(&params_words));
        gpu.check()?;
        let submission_seconds = if gpu.software { 0.3 } else { 0.5 };
        let in_flight = VecDeque::new();
        Ok(GpuSession {
            gpu,
            states,
            state_layout,
            rows,
            plans,
            in_flight,
            copies: Vec::new(),
            scratch_bytes,
            submission_seconds,
            #[cfg(test)]
            submissions: 0,
            #[cfg(debug_assertions)]
            takes_faults: false,
        })
    }

    /// Launches of one step.
    #[cfg(test)]
    pub fn launches(&self, plan: usize) -> usize {
        self.plans[plan].dispatches.len()
    }

    /// Runs a plan that reads no step inputs so many times, at most [`ROWS`].
    pub fn repeat(&mut self, plan: usize, times: u64) -> Result<(), BackendError> {
        assert!(self.plans[plan].row_words == 0 && times <= ROWS, "all rows are one");
        self.run_uploaded(plan, times)
    }

    /// Runs steps whose rows are in the rows' buffer, in as few submissions as their length allows.
    fn run_uploaded(&mut self, plan: usize, steps: u64) -> Result<(), BackendError> {
        self.run_dispatches(plan, steps, &[], &mut |_| {}, None)
    }

    /// As [`GpuSession::run_uploaded`], with an end of a submission after each dispatch that writes the last of a group of
    /// states: the group is copied then, and given once the copy has come, while later submissions run. Where others are to
    /// be met at exchanges, a submission ends there, too.
    fn run_dispatches(
        &mut self,
        plan: usize,
        steps: u64,
        groups: &[Vec<StateId>],
        give: &mut dyn FnMut(Vec<u32>),
        mut meet: Option<Meet>,
    ) -> Result<(), BackendError> {
        let ready: Vec<usize> = groups
            .iter()
            .map(|group| group.iter().map(|id| self.plans[plan].last_writes[id.index()]).max().unwrap_or(0))
            .collect();
        let mut copied = 0;
        let mut given = 0;
        let mut open = Open::default();
        for step in 0..steps {
            for index in 0..self.plans[plan].dispatches.len() {
                self.encode(&mut open, plan, index, step);
                let is_ready = copied < groups.len() && ready[copied] <= index + 1;
                let exchange = meet.as_mut().zip(self.plans[plan].dispatches[index].exchange);
                if open.seconds > self.submission_seconds || is_ready || exchange.is_some() {
                    let last = self.plans[plan].dispatches[index].name.clone();
                    self.submit(std::mem::take(&mut open), &last)?;
                }
                if let Some((meet, id)) = exchange {
                    let sums = meet(bytemuck::cast_vec(self.read_state(id)?))?;
                    self.write_state(id, bytemuck::cast_slice(&sums))?;
                }
                while copied < groups.len() && ready[copied] <= index + 1 {
                    self.copy(plan, copied, &groups[copied], index)?;
                    copied += 1;
                }
                while given < copied && self.copies[given].has_come() {
                    give(self.take_copy(given)?);
                    given += 1;
                }
            }
        }
        if let Some(last) = self.plans[plan].dispatches.last() {
            let last = last.name.clone();
            self.submit(open, &last)?;
        }
        let last = self.plans[plan].dispatches.len().saturating_sub(1);
        for (group, states) in groups.iter().enumerate().skip(copied) {
            self.copy(plan, group, states, last)?;
        }
        for group in given..groups.len() {
            if let Some((submission, work)) = self.copies[group].submission.take() {
                self.gpu.wait_for(submission, &work)?;
            }
            give(self.take_copy(group)?);
        }
        Ok(())
    }

    /// Adds one launch of a step to what is not submitted yet.
    fn encode(&self, open: &mut Open, plan: usize, index: usize, step: u64) {
        let plan = &self.plans[plan];
        let dispatch = &plan.dispatches[index];
        let label = wgpu::CommandEncoderDescriptor { label: Some(&dispatch.name) };
        let encoder = open.encoder.get_or_insert_with(|| self.gpu.device.create_command_encoder(&label));
        let pass = open.pass.get_or_insert_with(|| {
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
        });
        let row_offset = (step * plan.row_stride) as u32;
        pass.set_pipeline(&dispatch.pipeline);
        pass.set_bind_group(0, &plan.bind_group, &[dispatch.params_offset, row_offset]);
        pass.dispatch_workgroups(dispatch.groups[0], dispatch.groups[1], 1);
        open.seconds += dispatch.seconds;
        open.first.get_or_insert_with(|| dispatch.name.clone());
        open.dispatches += 1;
    }

    /// Begins to copy a group of states to the host, after this dispatch of a plan.
    fn copy(&mut self, plan: usize, number: usize, group: &[StateId], after: usize) -> Result<(), BackendError> {
        // A copy does not wait behind a kernel for which nobody waits.
        while self.gpu.software && !self.in_flight.is_empty() {
            self.wait_for_oldest()?;
        }
        let ranges: Vec<StateRange> = group.iter().map(|id| self.state_layout.ranges[id.index()]).collect();
        let bytes = ranges.iter().map(|range| range.words() as u64 * 4).sum::<u64>();
        if self.copies.get(number).is_none_or(|copy| copy.bytes != bytes) {
            let usage = BufferUsages::COPY_DST | BufferUsages::MAP_READ;
            let buffer = self.gpu.buffer("a staging buffer", bytes, usage)?;
            self.copies.truncate(number);
            let ranges = Vec::new();
            self.copies.push(Copied { buffer, bytes, ranges, submission: None, come: None, result: None });
        }
        let copy = &mut self.copies[number];
        copy.ranges.clone_from(&ranges);
        if bytes == 0 {
            return Ok(());
        }
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut to = 0;
        for range in ranges.iter().filter(|range| range.len > 0) {
            let length = range.words() as u64 * 4;
            encoder.copy_buffer_to_buffer(&self.states, range.begin as u64 * 4, &copy.buffer, to, length);
            to += length;
        }
        let before = self.plans[plan].dispatches.get(after).map_or("nothing", |dispatch| dispatch.name.as_str());
        let work = format!("`{before}`, and reading back behind it,");
        copy.submission = Some((self.gpu.queue.submit([encoder.finish()]), work));
        let (sender, receiver) = channel();
        copy.buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only after another failure.
            sender.send(result).unwrap_or_default();
        });
        copy.come = Some(receiver);
        // Callbacks of what is done run in a poll, which this one does not wait for.
        self.gpu.device.poll(wgpu::PollType::Poll).ok();
        self.gpu.check()
    }

    /// The words of a copy that was begun and is done.
    fn take_copy(&mut self, number: usize) -> Result<Vec<u32>, BackendError> {
        let copy = &mut self.copies[number];
        if copy.bytes == 0 {
            return Ok(Vec::new());
        }
        copy.has_come();
        match copy.result.take() {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(self.gpu.failed(format!("could not read back: {error}"))),
            None => return Err(self.gpu.failed("could not read back: the driver did not answer".to_owned())),
        }
        let view = copy.buffer.get_mapped_range(..copy.bytes).map_err(|error| self.gpu.failed(error.to_string()))?;
        let words = bytemuck::pod_collect_to_vec::<u8, u32>(&view);
        drop(view);
        copy.buffer.unmap();
        let mut left = &words[..];
        let mut all = Vec::with_capacity(words.len());
        for range in &copy.ranges {
            let (stored, rest) = left.split_at(range.words());
            all.extend(range.elements(stored));
            left = rest;
        }
        Ok(all)
    }

    fn submit(&mut self, open: Open, last: &str) -> Result<(), BackendError> {
        let Open { encoder: Some(encoder), pass, first: Some(first), dispatches, .. } = open else {
            return Ok(());
        };
        let work = match dispatches {
            1 => format!("`{last}`"),
            // A submission ends with the kernel that makes it long.
            _ => format!("`{last}`, the last of {dispatches} launches from `{first}` on,"),
        };
        // The pass ends when it is dropped, which must come before the encoder's end.
        drop(pass);
        let most = if self.gpu.software { IN_FLIGHT_ON_SOFTWARE } else { IN_FLIGHT };
        while self.in_flight.len() >= most {
            self.wait_for_oldest()?;
        }
        self.gpu.check()?;
        #[cfg(test)]
        {
            self.submissions += 1;
        }
        #[cfg(debug_assertions)]
        let mut encoder = encoder;
        #[cfg(debug_assertions)]
        if self.takes_faults {
            super::fault::strike(&self.gpu, &mut encoder);
        }
        let submission = self.gpu.queue.submit([encoder.finish()]);
        self.in_flight.push_back((submission, work));
        self.gpu.check()
    }

    /// Waits until all work is done.
    fn drain(&mut self) -> Result<(), BackendError> {
        while !self.in_flight.is_empty() {
            self.wait_for_oldest()?;
        }
        self.gpu.check()
    }

    fn wait_for_oldest(&mut self) -> Result<(), BackendError> {
        match self.in_flight.pop_front() {
            Some((submission, work)) => self.gpu.wait_for(submission, &work),
            None => Ok(()),
        }
    }
}

impl Drop for GpuSession {
    fn drop(&mut self) {
        if !is_hung() {
            return;
        }
        // Some drivers lock the queue to destroy a pipeline, and hold that lock while a kernel runs, which may never end.
        std::mem::forget((self.states.clone(), self.rows.clone()));
        self.copies.iter().for_each(|copy| std::mem::forget(copy.buffer.clone()));
        for plan in &self.plans {
            std::mem::forget(plan.bind_group.clone());
            plan.dispatches.iter().for_each(|dispatch| std::mem::forget(dispatch.pipeline.clone()));
        }
        std::mem::forget(self.gpu.cache.take());
    }
}

/// A group of states on its way to the host.
struct Copied {
    buffer: wgpu::Buffer,
    bytes: u64,
    ranges: Vec<StateRange>,
    /// The last that it waits for, and what that runs.
    submission: Option<(wgpu::SubmissionIndex, String)>,
    come: Option<Receiver<Result<(), wgpu::BufferAsyncError>>>,
    result: Option<Result<(), wgpu::BufferAsyncError>>,
}

impl Copied {
    fn has_come(&mut self) -> bool {
        if self.result.is_none() {
            self.result = self.come.as_ref().and_then(|come| come.try_recv().ok());
        }
        self.bytes == 0 || self.result.is_some()
    }
}

/// Commands not yet submitted.
#[derive(Default)]
struct Open {
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    seconds: f64,
    /// The name of the first launch.
    first: Option<String>,
    /// How many launches there are.
    dispatches: usize,
}

impl Session for GpuSession {
    fn device(&self) -> String {
        self.gpu.name.clone()
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        let range = self.state_layout.ranges[id.index()];
        assert_eq!(words.len(), range.len, "a state is written as a whole");
        self.gpu.check()?;
        if !words.is_empty() {
            let stored = range.stored(words);
            self.gpu.queue.write_buffer(&self.states, range.begin as u64 * 4, bytemuck::cast_slice(&stored));
        }
        self.gpu.check()
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        self.read_states(&[id])
    }

    fn read_states(&mut self, ids: &[StateId]) -> Result<Vec<u32>, BackendError> {
        self.wait()?;
        let ranges = || ids.iter().map(|id| self.state_layout.ranges[id.index()]);
        let parts: Vec<_> = ranges().map(|range| (range.begin as u64 * 4, range.words() as u64 * 4)).collect();
        let bytes = self.gpu.read(&self.states, &parts)?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let mut left = &words[..];
        let mut all = Vec::new();
        for range in ranges() {
            let (stored, rest) = left.split_at(range.words());
            all.extend(range.elements(stored));
            left = rest;
        }
        Ok(all)
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        self.gpu.check()?;
        let Prepared { row_words, row_stride, .. } = self.plans[plan];
        if row_words == 0 {
            return self.run_uploaded(plan, 1);
        }
        assert_eq!(rows.len() % row_words, 0, "rows are given as a whole");
        for part in rows.chunks(rows_at_once(row_stride) as usize * row_words) {
            let steps = (part.len() / row_words) as u64;
            let mut padded = vec![0_u32; (steps * row_stride / 4) as usize];
            for (row, place) in part.chunks(row_words).zip(padded.chunks_mut((row_stride / 4) as usize)) {
                place[..row_words].copy_from_slice(row);
            }
            // Happens after what was submitted before and before what is submitted next.
            self.gpu.queue.write_buffer(&self.rows, 0, bytemuck::cast_slice(&padded));
            self.run_uploaded(plan, steps)?;
        }
        self.gpu.check()
    }

    fn run_and_give(
        &mut self,
        plan: usize,
        row: &[u32],
        groups: &[Vec<StateId>],
        give: &mut dyn FnMut(Vec<u32>),
        meet: Meet,
    ) -> Result<(), BackendError> {
        self.gpu.check()?;
        assert_eq!(row.len(), self.plans[plan].row_words, "a row is given as a whole");
        if !row.is_empty() {
            self.gpu.queue.write_buffer(&self.rows, 0, bytemuck::cast_slice(row));
        }
        self.run_dispatches(plan, 1, groups, give, Some(meet))?;
        self.gpu.check()
    }

    fn kind(&self) -> String {
        self.gpu.kind.clone()
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.drain()
    }

    fn times(&mut self, plan: usize, row: &[u32]) -> Result<Vec<LaunchTime>, BackendError> {
        self.launch_times(plan, row)
    }

    fn scratch_bytes(&self) -> u64 {
        self.scratch_bytes
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.gpu.device.generate_allocator_report().map(|report| report.total_allocated_bytes)
    }
}

fn lower_plan(
    gpu: &Gpu,
    plan: &Plan,
    choices: &Choices,
    data: &[DataBytes],
    layout: &DataLayout,
) -> Result<Lowering, BackendError> {
    let (slots, data) = layout.for_plan(plan, data, &gpu.name)?;
    let data_slots = data.iter().map(|range| range.buffer).collect();
    let (choices, scratch) = (choices.clone(), plan.arena_words);
    let target = Target { software: gpu.software, grants: gpu.grants, choices, data_slots, scratch };
    #[cfg_attr(not(test), allow(unused_mut))]
    let (mut dispatches, scratch) = dispatch::dispatches(plan, &target).map_err(|reason| gpu.failed(reason))?;
    #[cfg(test)]
    if let Some(rewrite) = gpu.rewrite {
        dispatches.iter_mut().for_each(|dispatch| dispatch.text = rewrite(&dispatch.text));
    }
    Ok(Lowering { dispatches, scratch, slots, data })
}

/// The data buffers; at least one.
fn upload(gpu: &Gpu, data: &[DataBytes], layout: &DataLayout) -> Result<Vec<wgpu::Buffer>, BackendError> {
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
    let sizes = if layout.buffers.is_empty() { &[0][..] } else { &layout.buffers };
    let buffers: Vec<wgpu::Buffer> =
        sizes.iter().map(|words| gpu.buffer("the data sets", *words as u64 * 4, usage)).collect::<Result<_, _>>()?;
    for (set, range) in data.iter().zip(&layout.ranges) {
        let mut offset = range.word as u64 * 4;
        // In parts, so that the staging memory stays small.
        for part in set.bytes.chunks(16 << 20) {
            let whole = part.len() / 4 * 4;
            gpu.queue.write_buffer(&buffers[range.buffer], offset, &part[..whole]);
            if whole < part.len() {
                let mut last = [0; 4];
                last[..part.len() - whole].copy_from_slice(&part[whole..]);
                gpu.queue.write_buffer(&buffers[range.buffer], offset + whole as u64, &last);
            }
            let submission = gpu.queue.submit([]);
            gpu.wait_for(submission, "the upload of the data sets")?;
            offset += part.len() as u64;
        }
    }
    Ok(buffers)
}

fn rows_at_once(stride: u64) -> u64 {
    (ROWS_BYTES / stride).clamp(1, ROWS)
}

/// A careful guess at the time of a launch, to bound the length of a submission.
fn estimate(gpu: &Gpu, work: u64) -> f64 {
    if gpu.software { 5e-5 + work as f64 / 1e9 } else { 1e-5 + work as f64 / 2e11 }
}

//! What the replicas of a gang exchange before an update, and how it is added up: in buckets, each as soon as all
//! replicas have it, in an order that does not depend on who was first.

use std::ops::Range;

use crate::backend::BackendError;
use crate::backend::peers::{Occasion, Peers};
use crate::ir::graph::{StateKind, count};
use crate::ir::{StateId, States};
use crate::lower::{GUARD, gradient_state};
use crate::plan::Plan;

/// Words of gradients that travel together, if there are several: 1 MiB.
const BUCKET_WORDS: usize = 1 << 18;
/// Words that all parts of a chunk have together at most, so that MPI can count them.
const CHUNK_WORDS: usize = 1 << 28;

/// The states that are exchanged.
pub(super) struct Exchanged {
    /// Sums of gradients, which are added up, in the order in which a part of an update finishes them.
    pub buckets: Vec<Bucket>,
    /// Running statistics, which are averaged.
    pub statistics: Vec<(StateId, usize)>,
    /// Which words of the statistics follow from what the replicas have exchanged in the middle of a step, so that those who
    /// had a part of the last round have the same.
    pub shared: Vec<Range<usize>>,
    /// The first step whose loss was not finite.
    pub guard: Option<StateId>,
    /// All of it as a replica sends it: each bucket, then statistics and guard.
    pub groups: Vec<Vec<StateId>>,
}

/// Gradients that travel together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bucket {
    pub states: Vec<(StateId, usize)>,
    pub words: usize,
}

/// What is exchanged beside gradients: of one part, or of all together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rest {
    pub guard: u32,
    pub statistics: Vec<f32>,
}

impl Exchanged {
    /// `part` is the plan of a part of an update, and `statistics` the running statistics that it changes.
    pub fn new(states: &States, part: Option<&Plan>, statistics: Vec<(StateId, usize)>) -> Exchanged {
        let weights = states.infos().iter().filter(|info| info.kind == StateKind::Weight);
        let mut gradients: Vec<(StateId, usize)> = weights
            .filter_map(|info| states.find(&gradient_state(&info.name)))
            .map(|id| (id, count(&states.info(id).shape)))
            .collect();
        if let Some(plan) = part {
            let last = plan.last_writes(states.infos().len());
            gradients.sort_by_key(|(id, _)| last[id.index()]);
        }
        let buckets = buckets(gradients, BUCKET_WORDS);
        let guard = states.find(GUARD);
        let ids = |states: &[(StateId, usize)]| states.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        let mut groups: Vec<Vec<StateId>> = buckets.iter().map(|bucket| ids(&bucket.states)).collect();
        groups.push(ids(&statistics).into_iter().chain(guard).collect());
        let layer = |id: StateId| states.info(id).layer;
        let met = part.map_or(&[][..], |plan| &plan.exchanges);
        let is_shared = |id: StateId| met.iter().any(|(_, other)| layer(*other) == layer(id));
        let mut shared = Vec::new();
        let mut start = 0;
        for &(id, words) in &statistics {
            shared.extend(is_shared(id).then_some(start..start + words));
            start += words;
        }
        Exchanged { buckets, statistics, shared, guard, groups }
    }

    /// Words of all running statistics.
    pub fn statistics_words(&self) -> usize {
        self.statistics.iter().map(|(_, words)| words).sum()
    }

    /// What the last group of a replica says.
    pub fn rest(&self, mut words: Vec<u32>) -> Rest {
        let guard = if self.guard.is_some() { words.pop().unwrap_or(0) } else { 0 };
        Rest { guard, statistics: bytemuck::cast_vec(words) }
    }
}

/// Puts states together, in their order, until there are so many words.
fn buckets(states: Vec<(StateId, usize)>, least: usize) -> Vec<Bucket> {
    let mut all: Vec<Bucket> = Vec::new();
    for (id, words) in states {
        match all.last_mut().filter(|bucket| bucket.words < least) {
            Some(bucket) => {
                bucket.states.push((id, words));
                bucket.words += words;
            }
            None => all.push(Bucket { states: vec![(id, words)], words }),
        }
    }
    all
}

/// Adds numbers to a sum.
pub(super) fn add(sum: &mut [f32], own: &[f32]) {
    sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
}

/// What all parts leave together: the average of the statistics, and the step that ended the training first. Of those that
/// are `shared`, those of the first replica, which has a part of every round.
pub(super) fn together(all: Vec<Rest>, shared: &[Range<usize>]) -> Option<Rest> {
    let terms = all.len();
    let first = all.first()?.statistics.clone();
    let mut sum = all.into_iter().reduce(|mut sum, own| {
        add(&mut sum.statistics, &own.statistics);
        sum.guard = first_of(sum.guard, own.guard);
        sum
    })?;
    sum.statistics.iter_mut().for_each(|sum| *sum /= terms as f32);
    shared.iter().for_each(|words| sum.statistics[words.clone()].copy_from_slice(&first[words.clone()]));
    Some(sum)
}

/// The earlier of two steps that ended the training; 0 is none.
fn first_of(a: u32, b: u32) -> u32 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}

/// What all processes have, each by itself, in order: that of the ranks, or the one in which parts were dealt to them.
pub(super) fn in_order<T>(all: Vec<Vec<T>>, dealt: Option<&[usize]>) -> Result<Vec<T>, BackendError> {
    let Some(ranks) = dealt else { return Ok(all.into_iter().flatten().collect()) };
    let mut queues: Vec<_> = all.into_iter().map(Vec::into_iter).collect();
    let missing = |rank: usize| BackendError::Peer { rank, reason: "it has lost a part of the batch".to_owned() };
    ranks.iter().map(|&rank| queues[rank].next().ok_or_else(|| missing(rank))).collect()
}

/// The sum of a bucket over the parts of all processes. Each process adds up its share, in the order of the parts, and
/// gives it to all: what it sends and receives does not grow with their number, and none needs room for all parts.
pub(super) fn sum_with(
    peers: &mut dyn Peers,
    own: &[Vec<u32>],
    words: usize,
    parts: usize,
    dealt: Option<&[usize]>,
) -> Result<Vec<f32>, BackendError> {
    let mut all = Vec::with_capacity(words);
    for chunk in chunks(words, parts) {
        let mine: Vec<&[u32]> = own.iter().map(|part| &part[chunk.clone()]).collect();
        let terms = in_order(peers.scatter(chunk.len(), &mine)?, dealt)?;
        let mut terms = terms.into_iter().map(bytemuck::cast_vec::<u32, f32>);
        let mut sum = terms.next().unwrap_or_default();
        terms.for_each(|own| add(&mut sum, &own));
        for share in peers.gather(Occasion::Exchange, bytemuck::cast_slice(&sum))? {
            all.extend(share.into_iter().map(f32::from_bits));
        }
    }
    Ok(all)
}

/// The chunks of a bucket that so many parts exchange at a time.
fn chunks(words: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let most = (CHUNK_WORDS / parts.max(1)).clamp(1, BUCKET_WORDS);
    (0..words.div_ceil(most)).map(move |index| index * most..((index + 1) * most).min(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_filled_in_order() {
        let states: Vec<(StateId, usize)> =
            [3, 1, 9, 2, 2].into_iter().enumerate().map(|(id, words)| (StateId(id as u32), words)).collect();
        let found: Vec<(usize, usize)> =
            buckets(states, 4).iter().map(|bucket| (bucket.states.len(), bucket.words)).collect();
        assert_eq!(found, [(2, 4), (1, 9), (2, 4)]);
    }

    #[test]
    fn chunks_are_all_words_and_can_be_counted() {
        for (words, parts) in [(0, 1), (7, 2), (BUCKET_WORDS * 3 + 1, 4), (BUCKET_WORDS, 100_000)] {
            let all: Vec<Range<usize>> = chunks(words, parts).collect();
            assert!(all.iter().all(|chunk| chunk.len() * parts <= i32::MAX as usize));
            let joined = all.iter().try_fold(0, |end, chunk| (chunk.start == end).then_some(chunk.end));
            assert_eq!(joined, Some(words), "{all:?}");
        }
    }

    #[test]
    fn parts_come_in_the_order_in_which_they_were_dealt() {
        let all = || vec![vec!["0", "2"], vec!["1", "3"]];
        assert_eq!(in_order(all(), Some(&[0, 1, 0, 1])).unwrap(), ["0", "1", "2", "3"]);
        assert_eq!(in_order(all(), None).unwrap(), ["0", "2", "1", "3"]);
        let error = in_order(all(), Some(&[0, 1, 1, 1])).unwrap_err();
        assert!(matches!(error, BackendError::Peer { rank: 1, .. }), "{error}");
    }

    #[test]
    fn statistics_are_averaged_and_the_first_bad_step_counts() {
        let rest = |guard, statistic| Rest { guard, statistics: vec![statistic] };
        let all = || vec![rest(0, 1.0), rest(9, 2.0), rest(4, 6.0)];
        assert_eq!(together(all(), &[]), Some(rest(4, 3.0)));
        let first = 0..1;
        assert_eq!(together(all(), &[first]), Some(rest(4, 1.0)));
        assert_eq!(together(Vec::new(), &[]), None);
    }
}

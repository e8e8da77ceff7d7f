//! A replica of a gang: a session on a thread of its own, which does what it is commanded.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::exchange::{Exchanged, Rest};
use super::meeting::Meeting;
use crate::backend::{BackendError, Session, alone};
use crate::ir::StateId;

/// Words of a [`Command::Digest`].
pub(super) const DIGEST_WORDS: usize = 8;

/// A plan and the inputs of a step.
pub(super) type Step = (usize, Vec<u32>);

/// Some of what a replica has after its part of an update.
pub(super) struct Piece {
    pub words: Vec<u32>,
    /// Seconds from the first part to here.
    pub seconds: f64,
}

pub(super) enum Command {
    Write(StateId, Arc<Vec<u32>>),
    Read(StateId, Sender<Result<Vec<u32>, BackendError>>),
    /// The SHA-256 of the words of some states.
    Digest(Arc<Vec<StateId>>, Sender<Result<[u32; DIGEST_WORDS], BackendError>>),
    Run(usize, Vec<u32>),
    /// Runs a part that others follow, and meets the other replicas of the round.
    RunTogether(Step, Meeting),
    /// Runs the last part, if it has not been given yet, and sends what is exchanged, group by group as it is ready. With
    /// `reset`, gradients then begin anew from zero, and statistics from these.
    Collect {
        last: Option<Step>,
        reset: Option<Arc<Vec<f32>>>,
        meeting: Option<Meeting>,
        to: Sender<Result<Piece, BackendError>>,
    },
    /// Takes the sums of a bucket of gradients over all replicas.
    Take(usize, Arc<Vec<f32>>),
    /// Takes the rest of what the replicas have together, and updates the weights.
    Apply {
        rest: Arc<Rest>,
        step: Step,
    },
    Wait(Sender<Result<(), BackendError>>),
}

/// A replica from outside.
pub(super) struct Replica {
    pub name: String,
    /// Devices of one kind compute the same bits.
    pub kind: String,
    pub scratch_bytes: u64,
    pub commands: Option<Sender<Command>>,
    pub thread: Option<JoinHandle<()>>,
    /// Parts of the present update that it has.
    pub parts: usize,
    /// The latest of them, which it is given when it is known whether it is the last.
    pub latest: Option<Step>,
    /// Seconds that it takes for one, once it is known.
    pub seconds_of_part: Option<f64>,
}

/// Does what is commanded until nobody commands any more. After a failure, only the failure is told.
pub(super) fn serve(mut session: Box<dyn Session>, commands: &Receiver<Command>, exchanged: &Exchanged) {
    let mut failure: Option<BackendError> = None;
    // When the first part of the present update began.
    let mut began: Option<Instant> = None;
    let fail = |result: Result<(), BackendError>, failure: &mut Option<BackendError>| {
        if let (Err(error), None) = (result, &failure) {
            *failure = Some(error);
        }
    };
    while let Ok(command) = commands.recv() {
        // Those who wait for an answer and have gone away have failed themselves.
        match (command, failure.clone()) {
            (Command::Read(_, to), Some(error)) => drop(to.send(Err(error))),
            (Command::Digest(_, to), Some(error)) => drop(to.send(Err(error))),
            (Command::RunTogether(_, meeting), Some(error)) => meeting.fail(error),
            (Command::Collect { to, meeting, .. }, Some(error)) => {
                meeting.into_iter().for_each(|meeting| meeting.fail(error.clone()));
                drop(to.send(Err(error)));
            }
            (Command::Wait(to), Some(error)) => drop(to.send(Err(error))),
            (Command::Write(..) | Command::Run(..) | Command::Take(..) | Command::Apply { .. }, Some(_)) => {}
            (Command::Write(id, words), None) => fail(session.write_state(id, &words), &mut failure),
            (Command::Run(plan, rows), None) => {
                began.get_or_insert_with(Instant::now);
                fail(session.run(plan, &rows), &mut failure);
            }
            (Command::RunTogether((plan, row), meeting), None) => {
                began.get_or_insert_with(Instant::now);
                let mut meet = |own| meeting.meet(own);
                let result = session.run_and_give(plan, &row, &[], &mut |_| {}, &mut meet);
                if let Err(error) = &result {
                    meeting.fail(error.clone());
                }
                fail(result, &mut failure);
            }
            (Command::Read(id, to), None) => drop(to.send(session.read_state(id))),
            (Command::Digest(ids, to), None) => drop(to.send(digest(session.as_mut(), &ids))),
            (Command::Wait(to), None) => drop(to.send(session.wait())),
            (Command::Collect { last, reset, meeting, to }, None) => {
                let began = began.take().unwrap_or_else(Instant::now);
                let mut result = give(session.as_mut(), exchanged, last, began, meeting.as_ref(), &to);
                if let (Ok(()), Some(base)) = (&result, reset) {
                    result = begin_anew(session.as_mut(), exchanged, &base);
                }
                if let Err(error) = &result {
                    meeting.into_iter().for_each(|meeting| meeting.fail(error.clone()));
                    drop(to.send(Err(error.clone())));
                }
                fail(result, &mut failure);
            }
            (Command::Take(bucket, sums), None) => {
                fail(write_floats(session.as_mut(), &exchanged.buckets[bucket].states, &sums), &mut failure);
            }
            (Command::Apply { rest, step }, None) => {
                began = None;
                fail(apply(session.as_mut(), exchanged, &rest, step), &mut failure);
            }
        }
    }
}

/// Sends the groups of what is exchanged, after the last part or while it runs.
fn give(
    session: &mut dyn Session,
    exchanged: &Exchanged,
    last: Option<Step>,
    began: Instant,
    meeting: Option<&Meeting>,
    to: &Sender<Result<Piece, BackendError>>,
) -> Result<(), BackendError> {
    let mut send = |words| drop(to.send(Ok(Piece { words, seconds: began.elapsed().as_secs_f64() })));
    match last {
        Some((plan, row)) => {
            let mut meet = |own| match meeting {
                Some(meeting) => meeting.meet(own),
                None => alone(own),
            };
            session.run_and_give(plan, &row, &exchanged.groups, &mut send, &mut meet)
        }
        None => exchanged.groups.iter().try_for_each(|group| {
            send(session.read_states(group)?);
            Ok(())
        }),
    }
}

fn begin_anew(session: &mut dyn Session, exchanged: &Exchanged, statistics: &[f32]) -> Result<(), BackendError> {
    for &(id, words) in exchanged.buckets.iter().flat_map(|bucket| &bucket.states) {
        session.write_state(id, &vec![0; words])?;
    }
    write_floats(session, &exchanged.statistics, statistics)
}

fn write_floats(
    session: &mut dyn Session,
    states: &[(StateId, usize)],
    mut numbers: &[f32],
) -> Result<(), BackendError> {
    for &(id, words) in states {
        let (own, rest) = numbers.split_at(words);
        session.write_state(id, bytemuck::cast_slice(own))?;
        numbers = rest;
    }
    Ok(())
}

fn apply(session: &mut dyn Session, exchanged: &Exchanged, rest: &Rest, (plan, row): Step) -> Result<(), BackendError> {
    #[cfg(debug_assertions)]
    crate::backend::faults::in_a_replica();
    write_floats(session, &exchanged.statistics, &rest.statistics)?;
    if let Some(id) = exchanged.guard {
        session.write_state(id, &[rest.guard])?;
    }
    session.run(plan, &row)
}

fn digest(session: &mut dyn Session, ids: &[StateId]) -> Result<[u32; DIGEST_WORDS], BackendError> {
    let hash: [u8; 4 * DIGEST_WORDS] = Sha256::digest(bytemuck::cast_slice(&session.read_states(ids)?)).into();
    Ok(bytemuck::cast(hash))
}

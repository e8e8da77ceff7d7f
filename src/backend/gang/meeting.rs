//! Where the replicas of a gang meet in the middle of a part of an update: each gives what it has, and all get the sum.
//!
//! Nobody waits for one who has failed: a failure is given in place of what was to be exchanged, and who ends without a word
//! is missed. The thread of the gang then waits no more, by which the others know that there will be no sum.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::panicked;
use crate::backend::BackendError;
use crate::backend::peers::{Occasion, Peers};

/// The meetings of a part, as its replica has them.
pub(super) struct Meeting {
    to: Sender<Result<Vec<f32>, BackendError>>,
    sums: Receiver<Arc<Vec<f32>>>,
    /// The replica.
    name: String,
}

/// The same for the thread of the gang.
pub(super) struct Met {
    own: Receiver<Result<Vec<f32>, BackendError>>,
    sums: Sender<Arc<Vec<f32>>>,
    /// The replica.
    name: String,
}

impl Meeting {
    /// Gives what the replica has, and waits for the sum.
    ///
    /// # Errors
    /// When another one has failed.
    pub fn meet(&self, own: Vec<f32>) -> Result<Vec<f32>, BackendError> {
        let sums = self.to.send(Ok(own)).ok().and_then(|()| self.sums.recv().ok());
        let reason = || "another one with which it trains has failed".to_owned();
        sums.map(|sums| sums.to_vec())
            .ok_or_else(|| BackendError::Failed { device: self.name.clone(), reason: reason() })
    }

    /// Says that the replica has failed.
    pub fn fail(&self, error: BackendError) {
        // Nobody listens any more if another one has failed first, or all meetings are over.
        drop(self.to.send(Err(error)));
    }
}

impl Met {
    /// Both sides of the meetings of a part.
    pub fn new(name: &str) -> (Met, Meeting) {
        let (to, own) = channel();
        let (sums, receiver) = channel();
        (Met { own, sums, name: name.to_owned() }, Meeting { to, sums: receiver, name: name.to_owned() })
    }

    fn own(&self, words: usize) -> Result<Vec<f32>, BackendError> {
        let own = self.own.recv().unwrap_or_else(|_| Err(panicked(&self.name)))?;
        assert_eq!(own.len(), words, "all replicas have the same exchanges");
        Ok(own)
    }
}

/// Meets the replicas of a round as often as there are numbers of words to exchange.
///
/// # Errors
/// That of the first replica that has failed, or of a peer.
pub(super) fn meet(
    meetings: &[usize],
    met: &[Met],
    mut peers: Option<&mut (dyn Peers + '_)>,
) -> Result<(), BackendError> {
    for &words in meetings {
        let mut all = Vec::with_capacity(met.len());
        for met in met {
            all.push(met.own(words)?);
        }
        if let Some(peers) = &mut peers {
            all = of_all(&mut **peers, words, &all)?;
        }
        let sums = Arc::new(sum_of(&all, words));
        for met in met {
            // One that has gone away is missed the next time.
            drop(met.sums.send(Arc::clone(&sums)));
        }
    }
    Ok(())
}

/// What the replicas of all processes have, in their order.
fn of_all(peers: &mut dyn Peers, words: usize, own: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, BackendError> {
    let message: Vec<u32> = own.iter().flatten().map(|number| number.to_bits()).collect();
    let mut all = Vec::new();
    for (rank, message) in peers.gather(Occasion::Exchange, &message)?.iter().enumerate() {
        if message.len() % words != 0 {
            return Err(BackendError::Peer { rank, reason: "it trains something else".to_owned() });
        }
        all.extend(message.chunks(words).map(|own| own.iter().map(|&word| f32::from_bits(word)).collect::<Vec<f32>>()));
    }
    Ok(all)
}

/// The sum, term by term in the order of the replicas.
fn sum_of(all: &[Vec<f32>], words: usize) -> Vec<f32> {
    let mut sum = vec![0.0; words];
    all.iter().for_each(|own| super::add(&mut sum, own));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a replica gets in the end.
    type Got = Result<Vec<f32>, BackendError>;

    /// Meets so many replicas twice; `act` is what one does.
    fn meetings(
        replicas: usize,
        act: fn(usize, &Meeting) -> Got,
    ) -> (Result<(), BackendError>, Vec<std::thread::Result<Got>>) {
        let (met, threads): (Vec<Met>, Vec<_>) = (0..replicas)
            .map(|replica| {
                let (here, there) = Met::new(&format!("replica {replica}"));
                (here, std::thread::spawn(move || act(replica, &there)))
            })
            .unzip();
        let result = meet(&[2, 1], &met, None);
        drop(met);
        (result, threads.into_iter().map(std::thread::JoinHandle::join).collect())
    }

    #[test]
    fn all_get_the_sums() {
        let (result, found) = meetings(3, |replica, meeting| {
            let first = meeting.meet(vec![replica as f32, 1.0])?;
            meeting.meet(vec![first[0] + first[1]])
        });
        assert!(result.is_ok());
        assert!(found.into_iter().all(|sums| sums.unwrap().unwrap() == [18.0]));
    }

    #[test]
    fn nobody_waits_for_one_that_fails() {
        let (result, found) = meetings(3, |replica, meeting| {
            let first = meeting.meet(vec![0.0; 2])?;
            if replica == 1 {
                let error = BackendError::Lost { device: "b".to_owned(), reason: "pulled out".to_owned() };
                meeting.fail(error.clone());
                return Err(error);
            }
            meeting.meet(first[1..].to_vec())
        });
        assert_eq!(result.unwrap_err().to_string(), "the device `b` was lost: pulled out");
        let messages: Vec<String> = found.into_iter().map(|found| found.unwrap().unwrap_err().to_string()).collect();
        let left =
            |replica| format!("the device `replica {replica}` failed: another one with which it trains has failed");
        assert_eq!(messages, [left(0), "the device `b` was lost: pulled out".to_owned(), left(2)]);
    }

    #[test]
    fn nobody_waits_for_one_that_panics() {
        let (result, found) = meetings(2, |replica, meeting| {
            assert!(replica == 0, "this replica is meant to panic");
            meeting.meet(vec![0.0; 2])
        });
        assert!(result.unwrap_err().to_string().contains("its thread has ended"));
        assert!(found[1].is_err() && found[0].as_ref().unwrap().is_err());
    }
}

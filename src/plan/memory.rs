//! Gives every buffer of a step a place in one arena, so that buffers whose lives do not meet share memory.

/// A buffer: its size, and the kernels between which it must keep its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// Words of 4 bytes.
    pub words: usize,
    /// The kernel that first writes it.
    pub first: usize,
    /// The kernel that last reads or writes it.
    pub last: usize,
}

/// Buffers begin at multiples of so many words: a cache line.
const ALIGNMENT: usize = 16;

/// Offsets at which no two buffers share memory.
pub(super) fn apart(lives: &[Life]) -> Vec<usize> {
    let words = lives.iter().map(|life| life.words.next_multiple_of(ALIGNMENT));
    words.scan(0, |end, words| Some(std::mem::replace(end, *end + words.max(ALIGNMENT)))).collect()
}

/// The offset of each buffer in words, and the words of the arena.
///
/// Largest first, each at the lowest offset that is free for its whole life.
pub(super) fn place(lives: &[Life]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(lives[index].words), index));
    let mut offsets = vec![0; lives.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for index in order {
        let life = lives[index];
        let words = life.words.next_multiple_of(ALIGNMENT);
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| lives[other].first <= life.last && life.first <= lives[other].last)
            .map(|&other| (offsets[other], offsets[other] + lives[other].words.next_multiple_of(ALIGNMENT)))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + words <= start {
                break;
            }
            offset = offset.max(end);
        }
        offsets[index] = offset;
        total = total.max(offset + words);
        placed.push(index);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_that_do_not_meet_share_memory() {
        let life = |words, first, last| Life { words, first, last };
        let (offsets, total) = place(&[life(100, 0, 1), life(100, 1, 2), life(100, 2, 3)]);
        assert_eq!(offsets[0], offsets[2]);
        assert_ne!(offsets[0], offsets[1]);
        assert_eq!(total, 224);
    }

    #[test]
    fn no_two_living_buffers_overlap() {
        let lives: Vec<Life> = (0..200)
            .map(|i| Life { words: 1 + (i * 7919) % 300, first: (i * 31) % 50, last: (i * 31) % 50 + (i * 17) % 9 })
            .collect();
        let (offsets, total) = place(&lives);
        for (i, a) in lives.iter().enumerate() {
            assert!(offsets[i] + a.words <= total);
            for (j, b) in lives.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last;
                let apart = offsets[i] + a.words <= offsets[j] || offsets[j] + b.words <= offsets[i];
                assert!(!together || apart, "{i} and {j}");
            }
        }
    }
}

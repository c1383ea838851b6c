//! Which of the numbers that were given are those that arrived.

/// Pairs of places, one in each sequence, in rising order: a longest common subsequence.
pub(super) fn align(given: &[u64], arrived: &[u64]) -> Vec<(usize, usize)> {
    let same = given.iter().zip(arrived).take_while(|(left, right)| left == right).count();
    let mut pairs: Vec<(usize, usize)> = (0..same).map(|at| (at, at)).collect();
    let (left, right) = (&given[same..], &arrived[same..]);
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(|(left, right)| left == right).count();
    let (left, right) = (&left[..left.len() - tail], &right[..right.len() - tail]);
    pairs.extend(middle(left, right).into_iter().map(|(at, there)| (same + at, same + there)));
    pairs.extend((0..tail).rev().map(|back| (given.len() - 1 - back, arrived.len() - 1 - back)));
    pairs
}

/// Where begin and end are the same in both, little is left.
fn middle(left: &[u64], right: &[u64]) -> Vec<(usize, usize)> {
    let width = right.len() + 1;
    // How long the longest one is of what is behind two places.
    let mut longest = vec![0_u32; (left.len() + 1) * width];
    for at in (0..left.len()).rev() {
        for there in (0..right.len()).rev() {
            let here = at * width + there;
            longest[here] = if left[at] == right[there] {
                longest[here + width + 1] + 1
            } else {
                longest[here + width].max(longest[here + 1])
            };
        }
    }
    let (mut at, mut there, mut pairs) = (0, 0, Vec::new());
    while at < left.len() && there < right.len() {
        let here = at * width + there;
        if left[at] == right[there] {
            pairs.push((at, there));
            (at, there) = (at + 1, there + 1);
        } else if longest[here + width] >= longest[here + 1] {
            at += 1;
        } else {
            there += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_begins_anew_is_told_from_one_that_repeats() {
        assert_eq!(align(&[1, 2, 3, 1, 2], &[1, 2, 3, 1, 2]).len(), 5);
        // 3 is lost, and the 1 of the second run is not taken for that of the first.
        assert_eq!(align(&[1, 2, 3, 1, 2], &[1, 2, 1, 2]), [(0, 0), (1, 1), (3, 2), (4, 3)]);
        // 2 came twice.
        assert_eq!(align(&[1, 2, 3], &[1, 2, 2, 3]), [(0, 0), (1, 1), (2, 3)]);
    }

    #[test]
    fn nothing_is_paired_where_nothing_is() {
        assert_eq!(align(&[], &[1]), []);
        assert_eq!(align(&[1], &[]), []);
        assert_eq!(align(&[1, 2], &[3]), []);
    }
}

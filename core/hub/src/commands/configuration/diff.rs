//! Lines that differ between two texts.

/// Lines around a difference.
const AROUND: usize = 2;
/// Larger tables are not made: the whole middle is shown as replaced.
const CELLS_MAX: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// Lines that differ, with `-` and `+`, and some around them.
pub(super) fn lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let all = compare(&old, &new);
    let differs = |place: usize| all.get(place).is_some_and(|line| !matches!(line, Line::Same(_)));
    let mut text = String::new();
    let mut is_gap = false;
    for (place, line) in all.iter().enumerate() {
        let is_near = (place.saturating_sub(AROUND)..=place + AROUND).any(differs);
        if !is_near {
            is_gap = true;
            continue;
        }
        if std::mem::take(&mut is_gap) {
            text.push_str("...\n");
        }
        let (mark, line) = match line {
            Line::Same(line) => (' ', line),
            Line::Gone(line) => ('-', line),
            Line::New(line) => ('+', line),
        };
        text.push(mark);
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_mid, new_mid) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut all: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    if old_mid.len().saturating_mul(new_mid.len()) > CELLS_MAX {
        all.extend(old_mid.iter().map(|line| Line::Gone(line)));
        all.extend(new_mid.iter().map(|line| Line::New(line)));
    } else {
        middle(old_mid, new_mid, &mut all);
    }
    all.extend(old_rest[old_rest.len() - tail..].iter().map(|line| Line::Same(line)));
    all
}

/// By the longest common subsequence.
fn middle<'a>(old: &[&'a str], new: &[&'a str], all: &mut Vec<Line<'a>>) {
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for row in (0..old.len()).rev() {
        for column in (0..new.len()).rev() {
            common[row * width + column] = if old[row] == new[column] {
                common[(row + 1) * width + column + 1] + 1
            } else {
                common[(row + 1) * width + column].max(common[row * width + column + 1])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    while row < old.len() && column < new.len() {
        if old[row] == new[column] {
            all.push(Line::Same(old[row]));
            (row, column) = (row + 1, column + 1);
        } else if common[(row + 1) * width + column] >= common[row * width + column + 1] {
            all.push(Line::Gone(old[row]));
            row += 1;
        } else {
            all.push(Line::New(new[column]));
            column += 1;
        }
    }
    all.extend(old[row..].iter().map(|line| Line::Gone(line)));
    all.extend(new[column..].iter().map(|line| Line::New(line)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown_with_some_lines_around() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10";
        assert_eq!(lines(old, new), "...\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n+10\n");
        assert_eq!(lines(old, old), "");
        assert_eq!(lines("", "a\nb"), "+a\n+b\n");
        assert_eq!(lines("a\nb", ""), "-a\n-b\n");
    }

    #[test]
    fn a_text_without_anything_in_common_is_replaced() {
        let text =
            |word: &str| (0..3000).map(|number| format!("{word} {number}")).collect::<Vec<_>>().join("\n");
        let shown = lines(&text("old"), &text("new"));
        assert_eq!(shown.lines().count(), 6000);
        assert!(shown.starts_with("-old 0\n") && shown.ends_with("+new 2999\n"));
    }
}

//! Options of a benchmark.

use crate::error::{Error, Result};

/// Reads `--name NUMBER` pairs into the numbers of those names.
pub(super) fn numbers(words: &[String], known: &mut [(&str, &mut u64)]) -> Result<()> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some((_, number)) = known.iter_mut().find(|(name, _)| name == word) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(Error::unknown_option(word, &names.join(", ")));
        };
        let text = words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")))?;
        let wrong = || Error::Usage(format!("{word}: `{text}` is no number above zero that fits"));
        **number = text.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_name_and_nothing_else_is_taken() {
        let read = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let (mut rounds, mut seconds) = (20, 10);
            numbers(&words, &mut [("--rounds", &mut rounds), ("--seconds", &mut seconds)])
                .map(|()| (rounds, seconds))
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(""), Ok((20, 10)));
        assert_eq!(read("--seconds 3"), Ok((20, 3)));
        assert_eq!(read("--seconds"), Err("--seconds needs a value".to_owned()));
        assert_eq!(
            read("--second 3"),
            Err("unknown option --second; there are: --rounds, --seconds".to_owned())
        );
        for wrong in ["0", "-1", "x", "99999999999999999999"] {
            let error = format!("--rounds: `{wrong}` is no number above zero that fits");
            assert_eq!(read(&format!("--rounds {wrong}")), Err(error));
        }
    }
}

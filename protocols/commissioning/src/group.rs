//! Group addresses, as projects and exports write them.

/// How group addresses of a project are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Style {
    /// Main, middle and sub group: 5, 3 and 8 bits.
    #[default]
    ThreeLevel,
    /// Main and sub group: 5 and 11 bits.
    TwoLevel,
    /// One number.
    Free,
}

impl Style {
    /// The word of the project file.
    pub(crate) fn from_project(word: &str) -> Option<Style> {
        match word {
            "ThreeLevel" => Some(Style::ThreeLevel),
            "TwoLevel" => Some(Style::TwoLevel),
            "Free" => Some(Style::Free),
            _ => None,
        }
    }

    /// How the report calls it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Style::ThreeLevel => "three-level",
            Style::TwoLevel => "two-level",
            Style::Free => "free",
        }
    }

    /// An address in this style.
    pub(crate) fn show(self, raw: u16) -> String {
        let main = raw >> 11;
        match self {
            Style::ThreeLevel => format!("{main}/{}/{}", raw >> 8 & 7, raw & 0xff),
            Style::TwoLevel => format!("{main}/{}", raw & 0x7ff),
            Style::Free => raw.to_string(),
        }
    }
}

/// Reads an address in any style; `None` if it is none, and for 0, which is the broadcast.
pub(crate) fn parse(text: &str) -> Option<(u16, Style)> {
    let number = |text: &str, max: u16| {
        let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| is_number && *number <= max)
    };
    let parts: Vec<&str> = text.trim().split('/').map(str::trim).collect();
    let (raw, style) = match parts[..] {
        [free] => (number(free, u16::MAX)?, Style::Free),
        [main, sub] => (number(main, 31)? << 11 | number(sub, 0x7ff)?, Style::TwoLevel),
        [main, middle, sub] => {
            (number(main, 31)? << 11 | number(middle, 7)? << 8 | number(sub, 255)?, Style::ThreeLevel)
        }
        _ => return None,
    };
    (raw != 0).then_some((raw, style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_in_every_style() {
        for (text, raw, style) in [
            ("1/2/3", 2563, Style::ThreeLevel),
            ("31/7/255", 65535, Style::ThreeLevel),
            ("1/515", 2563, Style::TwoLevel),
            ("2563", 2563, Style::Free),
        ] {
            assert_eq!(parse(text), Some((raw, style)), "{text}");
            assert_eq!(style.show(raw), text);
        }
        for text in
            ["", "0/0/0", "32/0/1", "1/8/1", "1/2/256", "1/2048", "1/2/3/4", "1/-/-", "a", "+1/2/3", "65536"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

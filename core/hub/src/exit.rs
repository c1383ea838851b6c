//! How a command ends.

use std::io::Write as _;
use std::process::ExitCode;

/// What a command ends with.
pub(crate) type Outcome = Result<Code, Failure>;

/// The exit code of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Ok,
    Error,
    Usage,
    NotActive,
    Unreachable,
    Configuration,
    Internal,
    /// The hub process is to be started again, as ordered.
    Restart,
}

impl Code {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Code::Ok => 0,
            Code::Error => 1,
            Code::Usage => 2,
            Code::NotActive => 3,
            Code::Unreachable => 4,
            Code::Configuration => 64,
            Code::Internal => 70,
            Code::Restart => 75,
        }
    }

    /// Whether a new attempt of the same would end the same.
    pub(crate) fn is_final(number: i32) -> bool {
        [Code::Ok, Code::Usage, Code::Configuration].iter().any(|code| i32::from(code.number()) == number)
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code.number())
    }
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// What is wrong and what to do, possibly on several lines.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into() }
    }

    /// With an error and everything that caused it.
    pub(crate) fn of(code: Code, error: &dyn std::error::Error) -> Failure {
        Failure::new(code, chain(error))
    }

    /// Prints it on stderr.
    pub(crate) fn show(self) -> ExitCode {
        let name = if self.text.contains('\n') { "error:\n" } else { "error: " };
        // Nobody is left to tell if stderr is closed.
        writeln!(std::io::stderr(), "{name}{}", self.text).ok();
        self.code.into()
    }
}

/// An error with its causes, as far as they say something new.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

//! How both programs end: one meaning of each exit code.

use std::process::ExitCode;

/// What a program tells whoever started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// All is well. That a pipe's reader has closed it is no fault either.
    Success = 0,
    /// A result whose numbers disagree, or a negative verdict.
    Mismatch = 1,
    /// Wrong arguments, or arguments that ask for what is impossible.
    Usage = 2,
    /// A file that is damaged, or is no file of its kind, or does not suit.
    BadInput = 3,
    /// Something that is needed is not here: a library, a provider, a device, a download.
    Unavailable = 4,
    /// A provider would leave part of the model to another.
    Fallback = 5,
    /// A result could not be written.
    Output = 6,
    /// A mistake of the program.
    Internal = 70,
    /// What a shell reports of a program that an interrupt from the keyboard ended.
    Interrupted = 130,
    /// Likewise, of one whose terminal is gone.
    HungUp = 129,
    /// Likewise, of one that was asked to end.
    Terminated = 143,
}

impl Exit {
    /// The number that the system is given.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<Exit> for i32 {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_that_scripts_rely_on() {
        let all = [
            Exit::Success,
            Exit::Mismatch,
            Exit::Usage,
            Exit::BadInput,
            Exit::Unavailable,
            Exit::Fallback,
            Exit::Output,
            Exit::Internal,
            Exit::Interrupted,
            Exit::HungUp,
            Exit::Terminated,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 70, 130, 129, 143]);
        assert_eq!(i32::from(Exit::Interrupted), 130);
    }
}

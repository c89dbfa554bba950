/// A kind of failure: its name in JSON, its exit code, and a hint about what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    name: &'static str,
    code: u8,
    hint: Option<&'static str>,
}

impl Kind {
    /// Any failure without a more specific kind.
    pub const FAILED: Self = Self::new("failure", 1);
    /// The command reached the time limit of the user.
    pub const TIME_OUT: Self =
        Self::new("time_out", 1).with_hint("repeat the command to resume; a larger --timeout allows more time");
    /// Invalid arguments or files.
    pub const BAD_INPUT: Self = Self::new("bad_input", 2);
    /// A name that does not exist.
    pub const NOT_FOUND: Self = Self::new("not_found", 2);
    /// Work that succeeded only in part.
    pub const INCOMPLETE: Self = Self::new("incomplete", 6);

    /// Creates a kind.
    pub const fn new(name: &'static str, code: u8) -> Self {
        Self { name, code, hint: None }
    }

    /// Sets the hint.
    pub const fn with_hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Returns the name in JSON.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the exit code.
    pub const fn code(&self) -> u8 {
        self.code
    }

    /// Returns the hint.
    pub const fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

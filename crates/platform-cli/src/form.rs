use clap::ValueEnum;
use terminal::Format;

/// The value of `--format`: the formats of all commands, and those of `auth token` for other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    #[value(alias = "text")]
    Table,
    Json,
    Jsonl,
    /// The `ExecCredential` of kubectl
    #[value(hide = true)]
    ExecCredential,
    /// Google's executable-sourced credentials
    #[value(hide = true)]
    Google,
    /// The `credential_process` of AWS tools
    #[value(hide = true)]
    Aws,
}

impl Form {
    /// Returns true for a format that only `auth token` has.
    pub(crate) fn is_for_tools(self) -> bool {
        matches!(self, Self::ExecCredential | Self::Google | Self::Aws)
    }
}

impl From<Form> for Format {
    fn from(form: Form) -> Self {
        match form {
            Form::Table => Self::Table,
            Form::Jsonl => Self::Jsonl,
            Form::Json | Form::ExecCredential | Form::Google | Form::Aws => Self::Json,
        }
    }
}

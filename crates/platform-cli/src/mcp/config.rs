use clap::Args;
use platform_mcp::Editor;
use terminal::arguments::choice;
use terminal::print_json;

use super::serve;
use crate::context::Context;
use crate::error::CliError;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Program that starts the server
    #[arg(value_name = "PROGRAM", value_parser = choice(Editor::ALL.map(|editor| (editor.name(), editor))))]
    editor: Editor,
    #[command(flatten)]
    serve: serve::ServerArgs,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<(), CliError> {
    let editor = arguments.editor;
    // The editor may run with another `PATH`, so the entry contains the full path of this executable.
    let executable = std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
    let executable = executable.unwrap_or_else(|| "aignostics".to_owned());
    // Fails for invalid limits.
    arguments.serve.limits()?;
    let mut server_arguments = vec!["mcp".to_owned(), "serve".to_owned()];
    server_arguments.extend(arguments.serve.to_arguments().map_err(CliError::bad_input)?);
    context.output.note(format!("paste this into {}", editor.file()));
    Ok(print_json(&editor.entry(&executable, &server_arguments), true)?)
}

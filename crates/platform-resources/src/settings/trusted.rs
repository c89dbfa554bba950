//! Files that determine where tokens are sent. They are rejected if other users can change them or their folder.

use std::path::Path;

use durable_fs::trusted;

/// The maximum size of a file, in bytes.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Returns the text of a file, or `None` if it does not exist. The error message does not contain the content.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, String> {
    let Some(bytes) = trusted::read(path, MAX_FILE_BYTES + 1).map_err(|error| read_error_message(&error))? else {
        return Ok(None);
    };
    if bytes.len() > MAX_FILE_BYTES {
        return Err("it is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8".to_owned())
}

fn read_error_message(error: &durable_fs::Error) -> String {
    if !error.is_open_to_others() {
        return error.to_string();
    }
    let path = error.path().display();
    format!(
        "other users can change '{path}': it must belong to you, and only you may write to it (`chmod go-w {path}`)"
    )
}

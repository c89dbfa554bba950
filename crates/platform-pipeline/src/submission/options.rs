use auth_core::{Clock, SystemClock};
use platform_resources::models::{RunSubmission, Scheduling};
use platform_resources::{JsonObject, JsonValue, MAX_CALLBACK_CONTEXT_BYTES, RunSdkMetadata, Timestamp};

use crate::error::Error;

/// The options of a run and its SDK metadata. Options are not part of the submission digest, except for the tags of a
/// submission with a key.
#[derive(Clone, Debug)]
pub struct RunOptions {
    sdk: RunSdkMetadata,
    tags: Vec<String>,
    due_date: Option<Timestamp>,
    deadline: Option<Timestamp>,
    callback_context: Option<JsonObject>,
}

impl RunOptions {
    /// Creates options for a run with this SDK metadata.
    pub fn new(sdk: RunSdkMetadata) -> Self {
        Self { sdk, tags: Vec::new(), due_date: None, deadline: None, callback_context: None }
    }

    /// Sets the tags of the run. They are part of the digest of a submission with a key.
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = String>) -> Self {
        self.tags = tags.into_iter().collect();
        self.sdk = self.tags.iter().fold(self.sdk, RunSdkMetadata::with_tag);
        self
    }

    /// Sets the time by which the platform should finish the run.
    pub fn with_due_date(mut self, due_date: Option<Timestamp>) -> Self {
        self.due_date = due_date;
        self
    }

    /// Sets the time at which the platform cancels the run if it is not finished.
    pub fn with_deadline(mut self, deadline: Option<Timestamp>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the context that the platform returns in its callbacks. The default is the context in the submission.
    pub fn with_callback_context(mut self, context: Option<JsonObject>) -> Self {
        self.callback_context = context;
        self
    }

    /// Parses the context of callbacks: a JSON object of at most [`MAX_CALLBACK_CONTEXT_BYTES`] bytes.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the text is not a JSON object, or is too long.
    pub fn parse_callback_context(text: &str) -> Result<JsonObject, Error> {
        let context: JsonObject =
            serde_json::from_str(text).map_err(|error| Error::input(format!("expected a JSON object: {error}")))?;
        let size = JsonValue::Object(context.clone()).to_string().len();
        if size > MAX_CALLBACK_CONTEXT_BYTES {
            return Err(Error::input(format!(
                "the JSON has {size} bytes; at most {MAX_CALLBACK_CONTEXT_BYTES} are allowed"
            )));
        }
        Ok(context)
    }

    pub(crate) fn tags(&self) -> Vec<String> {
        self.tags.clone()
    }

    /// Writes the options into a submission. A due date, deadline or callback context of the submission is replaced
    /// only if the option is set.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the resulting SDK metadata are invalid.
    pub fn apply(&self, submission: &mut RunSubmission) -> Result<(), Error> {
        if self.due_date.is_some() || self.deadline.is_some() {
            let scheduling: &mut Scheduling = submission.scheduling.get_or_insert_default();
            scheduling.due_date = self.due_date.or(scheduling.due_date);
            scheduling.deadline = self.deadline.or(scheduling.deadline);
        }
        if self.callback_context.is_some() {
            submission.callback_context.clone_from(&self.callback_context);
        }
        let sdk = submission.scheduling.iter().fold(self.sdk.clone(), RunSdkMetadata::with_scheduling);
        let outcome = sdk.write(submission.custom_metadata.get_or_insert_default(), SystemClock.now());
        outcome.map_err(|error| Error::inputs("invalid run options", error.problems().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    #[test]
    fn callback_context_of_the_options_takes_precedence() {
        let object = |value: serde_json::Value| value.as_object().unwrap().clone();
        let original = object(json!({ "original": 1 }));
        let options = RunOptions::new(RunSdkMetadata::new("test/1"));
        let mut submission = RunSubmission::new("tissue", vec![]).with_callback_context(original.clone());
        options.apply(&mut submission).unwrap();
        assert_eq!(submission.callback_context, Some(original));
        let replacement = object(json!({ "set": 2 }));
        options.with_callback_context(Some(replacement.clone())).apply(&mut submission).unwrap();
        assert_eq!(submission.callback_context, Some(replacement));
    }
}

//! The events of a streamed response.

use std::collections::VecDeque;

use auth_http::Response;
use futures_util::stream::{StreamExt, unfold};
use rmcp::model::{RequestId, ServerJsonRpcMessage};
use sse_stream::Sse;

use super::message::{self, IncomingMessage, Problem};
use super::sse::Parser;
use super::{EventStream, MAX_RESPONSE_BYTES};

const EVENT_TOO_LARGE: Problem = "an event of the stream is too large";
/// The minimum delay before a reconnection that a server can request, in milliseconds.
const MIN_RETRY_MILLIS: u64 = 100;
/// The maximum delay before a reconnection that a server can request, in milliseconds.
const MAX_RETRY_MILLIS: u64 = 60_000;
/// The maximum length of an event id, which is sent back in a header.
const MAX_ID_BYTES: usize = 1024;

/// A reader of the events in a response. It converts them to the form that the library expects.
pub(super) struct EventReader {
    response: Response,
    parser: Parser,
    events: VecDeque<Sse>,
    /// The request to which the stream responds. `None` for the stream of a session.
    request: Option<RequestId>,
    has_ended: bool,
}

impl EventReader {
    pub(super) fn new(response: Response, request: Option<RequestId>) -> Self {
        let parser = Parser::new(MAX_RESPONSE_BYTES);
        Self { response, parser, events: VecDeque::new(), request, has_ended: false }
    }

    /// Returns the events as a stream. A broken connection ends the stream without an error. The library then
    /// reconnects after the delay that the server has requested, if there is an event to resume from.
    pub(super) fn into_events(self) -> EventStream {
        let next = |mut reader: Self| async move { reader.next_event().await.map(|event| (Ok(event), reader)) };
        unfold(self, next).boxed()
    }

    /// Returns the response to the request. Other messages are discarded.
    pub(super) async fn response(mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let data = self.next_event().await?.data.unwrap_or_default();
            if let Ok(message @ (ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))) =
                serde_json::from_str(&data)
            {
                return Some(message);
            }
        }
    }

    async fn next_event(&mut self) -> Option<Sse> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(event) = self.usable_event(event) {
                    return Some(event);
                }
            }
            if self.has_ended {
                return None;
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => {
                    if self.parser.push(&chunk, &mut self.events).is_err() {
                        self.has_ended = true;
                        let error_message =
                            self.request.clone().map(|id| message::replacement_error(id, EVENT_TOO_LARGE));
                        self.events.extend(error_message.as_ref().and_then(message_event));
                    }
                }
                Ok(None) => {
                    self.has_ended = true;
                    self.events.extend(self.parser.finish());
                }
                Err(error) => {
                    self.has_ended = true;
                    tracing::debug!(%error, "an event stream ended early");
                }
            }
        }
    }

    /// Returns the parts of an event that the library can use. The data of events of other types than `message` is
    /// dropped, because it has other listeners; the id and the delay remain.
    fn usable_event(&self, event: Sse) -> Option<Sse> {
        let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
        let data = event.data.filter(|_| is_message).and_then(|data| self.message_json(&data));
        let is_sendable = |id: &String| {
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        let retry = event.retry.map(|delay| delay.clamp(MIN_RETRY_MILLIS, MAX_RETRY_MILLIS));
        let event = Sse { event: None, data, id: event.id.filter(is_sendable), retry };
        (event != Sse::default()).then_some(event)
    }

    /// Returns the JSON of a message for the library. Replaces an invalid response with an error response.
    fn message_json(&self, data: &str) -> Option<String> {
        // Servers send texts such as `ping` to keep a connection open.
        if !data.trim_start().starts_with(['{', '[']) {
            return None;
        }
        let json = IncomingMessage::parse(data.as_bytes()).and_then(|incoming| match &self.request {
            Some(id) if incoming.is_response() => incoming.check_id(id).and_then(|()| incoming.into_json(Some(id))),
            _ => incoming.into_json(None),
        });
        match (json, &self.request) {
            (Ok(json), _) => Some(json),
            (Err(problem), Some(id)) => serde_json::to_string(&message::replacement_error(id.clone(), problem)).ok(),
            (Err(problem), None) => {
                tracing::debug!(problem, "skipped an event");
                None
            }
        }
    }
}

fn message_event(message: &ServerJsonRpcMessage) -> Option<Sse> {
    Some(Sse { data: Some(serde_json::to_string(message).ok()?), ..Sse::default() })
}

//! The events of a streamed response.

use std::collections::VecDeque;

use auth_http::Response;
use futures_util::stream::{StreamExt, unfold};
use rmcp::model::{RequestId, ServerJsonRpcMessage};
use sse_stream::Sse;

use super::message::{self, Incoming, Problem};
use super::sse::Parser;
use super::{Events, MAX_RESPONSE_BYTES};

const TOO_LARGE: Problem = "an event of the stream is too large";
/// The minimum and maximum delay before a reconnection that a server may request, in milliseconds.
const MIN_RETRY: u64 = 100;
const MAX_RETRY: u64 = 60_000;
/// The maximum length of an event id, which is sent back in a header.
const MAX_ID_BYTES: usize = 1024;

/// The events of a response, as the library expects them.
pub(super) struct Reader {
    response: Response,
    parser: Parser,
    events: VecDeque<Sse>,
    /// The request that the stream responds to, if it is not the stream of a session.
    request: Option<RequestId>,
    has_ended: bool,
}

impl Reader {
    pub(super) fn new(response: Response, request: Option<RequestId>) -> Self {
        let parser = Parser::new(MAX_RESPONSE_BYTES);
        Self { response, parser, events: VecDeque::new(), request, has_ended: false }
    }

    /// Returns the events as a stream. A broken connection ends it without an error, so that the library reconnects after
    /// the delay that the server has requested, if there is an event to resume from.
    pub(super) fn into_events(self) -> Events {
        let next = |mut reader: Self| async move { reader.next().await.map(|event| (Ok(event), reader)) };
        unfold(self, next).boxed()
    }

    /// Returns the response to the request. Other messages are discarded.
    pub(super) async fn response(mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let data = self.next().await?.data.unwrap_or_default();
            if let Ok(message @ (ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))) =
                serde_json::from_str(&data)
            {
                return Some(message);
            }
        }
    }

    async fn next(&mut self) -> Option<Sse> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(event) = self.usable(event) {
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
                        let substitute = self.request.clone().map(|id| message::substitute(id, TOO_LARGE));
                        self.events.extend(substitute.as_ref().and_then(event));
                    }
                }
                Ok(None) => {
                    self.has_ended = true;
                    self.events.extend(self.parser.finish());
                }
                Err(error) => {
                    self.has_ended = true;
                    tracing::debug!(%error, "an event stream broke off");
                }
            }
        }
    }

    /// Returns an event without what the library cannot use. Events of other types than `message` have other listeners;
    /// only their id and their delay count.
    fn usable(&self, event: Sse) -> Option<Sse> {
        let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
        let data = event.data.filter(|_| is_message).and_then(|data| self.message(&data));
        let is_sendable = |id: &String| {
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        let retry = event.retry.map(|delay| delay.clamp(MIN_RETRY, MAX_RETRY));
        let event = Sse { event: None, data, id: event.id.filter(is_sendable), retry };
        (event != Sse::default()).then_some(event)
    }

    /// Returns the JSON of a message for the library. A response that is not valid becomes an error response.
    fn message(&self, data: &str) -> Option<String> {
        // Servers send texts such as `ping` to keep a connection open.
        if !data.trim_start().starts_with(['{', '[']) {
            return None;
        }
        let json = Incoming::parse(data.as_bytes()).and_then(|incoming| match &self.request {
            Some(id) if incoming.is_response() => incoming.check_id(id).and_then(|()| incoming.into_json(Some(id))),
            _ => incoming.into_json(None),
        });
        match (json, &self.request) {
            (Ok(json), _) => Some(json),
            (Err(problem), Some(id)) => serde_json::to_string(&message::substitute(id.clone(), problem)).ok(),
            (Err(problem), None) => {
                tracing::debug!(problem, "skipped an event");
                None
            }
        }
    }
}

fn event(message: &ServerJsonRpcMessage) -> Option<Sse> {
    Some(Sse { data: Some(serde_json::to_string(message).ok()?), ..Sse::default() })
}

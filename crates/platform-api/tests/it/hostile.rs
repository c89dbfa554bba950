//! Invalid responses: truncated, deeply nested, of wrong types, not UTF-8, very large. None of them causes a panic.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use platform_api::blocking::{Client, Transport};
use platform_api::models::{GrantCreation, MetadataUpdate, RunSubmission, ShareTokenCreation};
use platform_api::operations::*;
use platform_api::{ApiError, ApiRequest, ApiResponse, Operation, TransportError};
use serde_json::{Value, json};

use crate::document::{CANARY, JsonGenerator, operations, schemas};

/// The environment variables for the number of responses and for the seed of the first response.
const RESPONSES_VARIABLE: &str = "AIGNOSTICS_TEST_HOSTILE_RESPONSES";
const SEED_VARIABLE: &str = "AIGNOSTICS_TEST_SEED";

/// A transport that returns the prepared response.
#[derive(Debug, Default)]
struct PreparedResponse(Mutex<Option<ApiResponse>>);

#[derive(Clone, Debug)]
struct SharedTransport(Arc<PreparedResponse>);

impl Transport for SharedTransport {
    fn send(&self, _request: ApiRequest) -> Result<ApiResponse, TransportError> {
        Ok(self.0.0.lock().unwrap().take().unwrap())
    }
}

/// An operation: its id, its success status, and a function that sends it.
type Sender = (&'static str, u16, Box<dyn Fn(&Client) -> Result<(), ApiError>>);

fn sender<O: Operation + 'static>(operation: O) -> Sender {
    (O::ID, O::SUCCESS, Box::new(move |client| client.send(&operation).map(drop)))
}

fn senders() -> Vec<Sender> {
    let grant: GrantCreation = example_body("GrantCreation");
    let share_token: ShareTokenCreation = example_body("ShareTokenCreation");
    vec![
        sender(ListApplications::new()),
        sender(GetApplication::new("a")),
        sender(GetApplicationVersion::new("a", "1.0.0")),
        sender(ListRuns::new()),
        sender(SubmitRun::new(RunSubmission::new("a", vec![]))),
        sender(GetRun::new("r")),
        sender(CancelRun::new("r")),
        sender(ListRunItems::new("r")),
        sender(GetRunItem::new("r", "i")),
        sender(GetArtifactFile::new("r", "a")),
        sender(DeleteRunResults::new("r")),
        sender(UpdateRunMetadata::new("r", MetadataUpdate::new())),
        sender(UpdateItemMetadata::new("r", "i", MetadataUpdate::new())),
        sender(GetMe::new()),
        sender(ListDocuments::new("a", "1.0.0")),
        sender(GetDocument::new("a", "1.0.0", "d")),
        sender(GetDocumentFile::new("a", "1.0.0", "d")),
        sender(GetDocumentContent::new("a", "1.0.0", "d")),
        sender(CreateGrant::new(grant)),
        sender(ListGrants::new()),
        sender(GetGrant::new("g")),
        sender(RevokeGrant::new("g")),
        sender(CreateShareToken::new(share_token)),
        sender(ListShareTokens::new()),
        sender(GetShareToken::new("s")),
        sender(RevokeShareToken::new("s")),
    ]
}

fn example_body<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let mut generator =
        JsonGenerator { rng: Rng::with_seed(1), adds_unknown_fields: false, includes_optional_fields: false };
    serde_json::from_value(generator.value(&schemas()[name])).unwrap()
}

/// Returns JSON that is usually a valid response of the operation.
fn response_body(generator: &mut JsonGenerator, operation: &Value, success: u16) -> Value {
    let schema = &operation["responses"][success.to_string()]["content"]["application/json"]["schema"];
    if generator.rng.u8(..) < 16 { generator.any_value(4) } else { generator.value(schema) }
}

/// Replaces one value at a random depth.
fn replace_one(generator: &mut JsonGenerator, value: &mut Value) {
    let replaces_this = generator.rng.u8(..) < 64;
    match value {
        Value::Array(values) if !replaces_this && !values.is_empty() => {
            let index = generator.rng.usize(..values.len());
            replace_one(generator, &mut values[index]);
        }
        Value::Object(members) if !replaces_this && !members.is_empty() => {
            let index = generator.rng.usize(..members.len());
            replace_one(generator, members.values_mut().nth(index).unwrap());
        }
        value => {
            *value = match generator.rng.u8(..4) {
                0 => (0..200).fold(json!(1), |inner, _| json!([inner])),
                1 => json!(f64::MAX),
                2 => CANARY.repeat(1000).into(),
                _ => generator.any_value(2),
            }
        }
    }
}

/// Corrupts bytes, so that they are usually not valid JSON.
fn corrupt(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(..4) {
        let position = rng.usize(..bytes.len().max(1));
        match rng.u8(..6) {
            0 => bytes.truncate(position),
            1 => bytes.insert(position.min(bytes.len()), rng.u8(..)),
            2 => bytes.splice(position.min(bytes.len())..position.min(bytes.len()), [0xff, 0xc0, 0x80]).for_each(drop),
            3 => bytes.splice(..0, std::iter::repeat_n(b'[', 10_000)).for_each(drop),
            4 => bytes.extend_from_slice(&bytes.clone()),
            _ => bytes.clear(),
        }
    }
}

/// Prints the seed of a failed attempt, so that it can be repeated.
struct ReportOnPanic(u64, &'static str);

impl Drop for ReportOnPanic {
    #[expect(clippy::print_stderr, reason = "the test harness shows this output with a failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} with {SEED_VARIABLE}={}", self.1, self.0);
        }
    }
}

#[test]
fn invalid_response_is_an_error_that_shows_no_content() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (responses, first_seed) = (number(RESPONSES_VARIABLE).unwrap_or(1024), number(SEED_VARIABLE).unwrap_or(0));
    let senders = senders();
    let known: BTreeSet<_> = senders.iter().map(|sender| sender.0).collect();
    assert_eq!(known, operations().map(|(name, _)| name).collect());
    let transport = SharedTransport(Arc::default());
    let client = Client::new(transport.clone(), "https://platform.test".parse().unwrap());
    let (mut successes, mut failures) = (0_u64, 0_u64);
    for seed in first_seed..first_seed.saturating_add(responses) {
        let mut generator =
            JsonGenerator { rng: Rng::with_seed(seed), adds_unknown_fields: true, includes_optional_fields: false };
        let (name, success, send) = &senders[generator.rng.usize(..senders.len())];
        let _report_on_panic = ReportOnPanic(seed, name);
        let operation = operations().find(|(known, _)| known == name).unwrap().1;
        let mut value = response_body(&mut generator, operation, *success);
        (0..generator.rng.usize(..3)).for_each(|_| replace_one(&mut generator, &mut value));
        let mut bytes = serde_json::to_vec(&value).unwrap();
        corrupt(&mut generator.rng, &mut bytes);
        let status = if generator.rng.u8(..) < 200 { *success } else { generator.rng.u16(100..600) };
        let locations = ["https://storage.test/o?canary", "", "canary", "http://storage.test/canary"];
        let response =
            ApiResponse::new(status, bytes).with_header("location", *generator.rng.choice(&locations).unwrap());
        *transport.0.0.lock().unwrap() = Some(response);
        match send(&client) {
            Ok(()) => successes += 1,
            Err(error) => {
                failures += 1;
                let chain = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
                let printed: Vec<_> = chain.map(ToString::to_string).collect();
                assert!(!printed.concat().contains(CANARY), "{printed:?}");
                if status == *success {
                    assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
                }
            }
        }
    }
    // The responses are the same on every machine. Most lead to an error, and at least 2 % are valid.
    assert!(successes * 50 > responses && failures * 2 > responses, "{successes} successes, {failures} failures");
}

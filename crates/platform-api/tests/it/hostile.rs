//! Invalid responses: truncated, nested, of wrong types, not UTF-8, huge. Each leads to a result or an error.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use platform_api::blocking::{Client, Transport};
use platform_api::models::{GrantCreation, MetadataUpdate, RunSubmission, ShareTokenCreation};
use platform_api::operations::*;
use platform_api::{ApiError, ApiRequest, ApiResponse, Operation, TransportError};
use serde_json::{Value, json};

use crate::document::{CANARY, Maker, operations, schemas};

/// The variables for the number of responses, and for the seed of the first one.
const RESPONSES: &str = "AIGNOSTICS_TEST_HOSTILE_RESPONSES";
const SEED: &str = "AIGNOSTICS_TEST_SEED";

/// A transport that returns the prepared response.
#[derive(Debug, Default)]
struct Laid(Mutex<Option<ApiResponse>>);

#[derive(Clone, Debug)]
struct Shared(Arc<Laid>);

impl Transport for Shared {
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
    let grant: GrantCreation = example("GrantCreation");
    let share: ShareTokenCreation = example("ShareTokenCreation");
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
        sender(CreateShareToken::new(share)),
        sender(ListShareTokens::new()),
        sender(GetShareToken::new("s")),
        sender(RevokeShareToken::new("s")),
    ]
}

fn example<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let mut maker = Maker { rng: Rng::with_seed(1), novel: false, full: false };
    serde_json::from_value(maker.value(&schemas()[name])).unwrap()
}

/// Returns JSON that is usually a valid response of the operation.
fn answer(maker: &mut Maker, operation: &Value, success: u16) -> Value {
    let schema = &operation["responses"][success.to_string()]["content"]["application/json"]["schema"];
    if maker.rng.u8(..) < 16 { maker.anything(4) } else { maker.value(schema) }
}

/// Replaces one value.
fn replace_one(maker: &mut Maker, value: &mut Value) {
    let stops = maker.rng.u8(..) < 64;
    match value {
        Value::Array(values) if !stops && !values.is_empty() => {
            let chosen = maker.rng.usize(..values.len());
            replace_one(maker, &mut values[chosen]);
        }
        Value::Object(members) if !stops && !members.is_empty() => {
            let chosen = maker.rng.usize(..members.len());
            replace_one(maker, members.values_mut().nth(chosen).unwrap());
        }
        value => {
            *value = match maker.rng.u8(..4) {
                0 => (0..200).fold(json!(1), |inner, _| json!([inner])),
                1 => json!(f64::MAX),
                2 => CANARY.repeat(1000).into(),
                _ => maker.anything(2),
            }
        }
    }
}

/// Corrupts bytes, so that they are usually not valid JSON.
fn spoil(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(..4) {
        let at = rng.usize(..bytes.len().max(1));
        match rng.u8(..6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), rng.u8(..)),
            2 => bytes.splice(at.min(bytes.len())..at.min(bytes.len()), [0xff, 0xc0, 0x80]).for_each(drop),
            3 => bytes.splice(..0, std::iter::repeat_n(b'[', 10_000)).for_each(drop),
            4 => bytes.extend_from_slice(&bytes.clone()),
            _ => bytes.clear(),
        }
    }
}

/// Prints how to repeat a failed attempt.
struct Attempt(u64, &'static str);

impl Drop for Attempt {
    #[expect(clippy::print_stderr, reason = "that is where a failure is read")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} with {SEED}={}", self.1, self.0);
        }
    }
}

#[test]
fn invalid_response_is_an_error_that_shows_no_content() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (responses, first) = (number(RESPONSES).unwrap_or(1024), number(SEED).unwrap_or(0));
    let senders = senders();
    let known: BTreeSet<_> = senders.iter().map(|sender| sender.0).collect();
    assert_eq!(known, operations().map(|(name, _)| name).collect());
    let transport = Shared(Arc::default());
    let client = Client::new(transport.clone(), "https://platform.test".parse().unwrap());
    let (mut good, mut bad) = (0_u64, 0_u64);
    for seed in first..first.saturating_add(responses) {
        let mut maker = Maker { rng: Rng::with_seed(seed), novel: true, full: false };
        let (name, success, send) = &senders[maker.rng.usize(..senders.len())];
        let _attempt = Attempt(seed, name);
        let operation = operations().find(|(known, _)| known == name).unwrap().1;
        let mut value = answer(&mut maker, operation, *success);
        (0..maker.rng.usize(..3)).for_each(|_| replace_one(&mut maker, &mut value));
        let mut bytes = serde_json::to_vec(&value).unwrap();
        spoil(&mut maker.rng, &mut bytes);
        let status = if maker.rng.u8(..) < 200 { *success } else { maker.rng.u16(100..600) };
        let location = ["https://storage.test/o?canary", "", "canary", "http://storage.test/canary"];
        let response = ApiResponse::new(status, bytes).with_header("location", *maker.rng.choice(&location).unwrap());
        *transport.0.0.lock().unwrap() = Some(response);
        match send(&client) {
            Ok(()) => good += 1,
            Err(error) => {
                bad += 1;
                let chain = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
                let printed: Vec<_> = chain.map(ToString::to_string).collect();
                assert!(!printed.concat().contains(CANARY), "{printed:?}");
                if status == *success {
                    assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
                }
            }
        }
    }
    // The responses are the same on every machine: most are bad, and at least 2 % are good.
    assert!(good * 50 > responses && bad * 2 > responses, "{good} good, {bad} bad");
}

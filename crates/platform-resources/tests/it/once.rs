//! Submissions that are made only once, even if the response is lost or the process is killed.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{TokenError, TokenRequest, async_provider_fn};
use futures_util::TryStreamExt;
use platform_emulator::{Effect, Fault, Server};
use platform_resources::models::RunSubmission;
use platform_resources::{Client, SubmissionIntent, SubmissionJournal};
use platform_testkit::ManualClock;

use crate::lab::{Lab, settings};

/// A journal in memory.
#[derive(Debug, Default)]
struct Journal {
    intents: Mutex<BTreeMap<String, SubmissionIntent>>,
    is_disk_full: bool,
}

#[async_trait]
impl SubmissionJournal for Journal {
    async fn read(&self, key: &str) -> io::Result<Option<SubmissionIntent>> {
        Ok(self.intents.lock().unwrap().get(key).cloned())
    }

    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> io::Result<()> {
        if self.is_disk_full {
            return Err(io::Error::other("the disk is full"));
        }
        let mut intents = self.intents.lock().unwrap();
        match intent {
            Some(intent) => drop(intents.insert(key.to_owned(), intent.clone())),
            None => drop(intents.remove(key)),
        }
        Ok(())
    }
}

fn client(lab: &Lab) -> (Client, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let mut settings = settings(&lab.emulator);
    settings.run_submit_timeout = Duration::from_secs(2);
    settings.run.cache_lifetime = Duration::ZERO;
    let client = Client::builder(settings).with_tokens(lab.tokens.clone()).with_clock(clock.clone()).build().unwrap();
    (client, clock)
}

async fn submission(lab: &Lab) -> RunSubmission {
    let slides = lab.slides();
    lab.submission(&slides[..1]).await
}

async fn run_count(lab: &Lab) -> usize {
    lab.client.clone().no_cache().runs().list().try_collect::<Vec<_>>().await.unwrap().len()
}

/// Injects a fault into the next submission, such as the loss of the response.
async fn inject_submission_fault(lab: &Lab, effect: Effect) {
    let fault = Fault::new(effect).on(Server::Api).with_method("POST").with_path("/api/v1/runs").times(1);
    lab.emulator.control().unwrap().inject(&fault).await.unwrap();
}

#[tokio::test]
async fn key_is_submitted_once() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, _) = client(&lab);
    let submission = submission(&lab).await;
    let submit =
        async |key: &str| client.runs().submit_once(key, submission.clone(), &journal).submit().await.unwrap().run;
    let first_run = submit("batch-1").await;
    assert_eq!(submit("batch-1").await.id(), first_run.id());
    assert_ne!(submit("batch-2").await.id(), first_run.id());
    let metadata = first_run.wait(None).await.unwrap().custom_metadata.unwrap();
    assert!(metadata["submission_token"].as_str().unwrap().len() == 64 && !metadata.contains_key("sdk"));
    assert_eq!(run_count(&lab).await, 2);
}

#[tokio::test]
async fn run_is_found_after_a_lost_response() {
    for effect in
        [Effect::Truncate { after_bytes: 2 }, Effect::Stall { after_bytes: 0 }, Effect::Reset { after_bytes: 1 }]
    {
        let (lab, journal) = (Lab::open().await, Journal::default());
        let (client, _) = client(&lab);
        inject_submission_fault(&lab, effect.clone()).await;
        let submission = submission(&lab).await;
        let run = client.runs().submit_once("k", submission.clone(), &journal).submit().await.unwrap().run;
        assert_eq!((run_count(&lab).await, lab.submission_count().await), (1, 1), "{effect:?}");
        let second_run = client.runs().submit_once("k", submission, &journal).submit().await.unwrap().run;
        assert_eq!(second_run.id(), run.id());
    }
}

#[tokio::test]
async fn run_of_a_killed_process_is_found_by_the_next() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, _) = client(&lab);
    let submission = submission(&lab).await;
    let first_run = client.runs().submit_once("k", submission.clone(), &journal).submit().await.unwrap().run;
    // The process was killed before it wrote the run to the journal.
    journal.intents.lock().unwrap().get_mut("k").unwrap().run = None;
    let second_run = client.runs().submit_once("k", submission, &journal).submit().await.unwrap().run;
    assert_eq!((second_run.id(), run_count(&lab).await), (first_run.id(), 1));
}

#[tokio::test]
async fn missing_run_is_uncertain_only_after_the_lag() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, clock) = client(&lab);
    let submission = submission(&lab).await;
    // The submission never arrives.
    inject_submission_fault(&lab, Effect::Status { status: 503, body: None }).await;
    let submit_call = {
        let (client, submission) = (client.clone(), submission.clone());
        async move { client.runs().submit_once("k", submission, &journal).submit().await }
    };
    let mut submit_call = std::pin::pin!(submit_call);
    clock.advance(Duration::from_secs(1));
    let early_outcome = tokio::time::timeout(Duration::from_millis(1500), &mut submit_call).await;
    assert!(early_outcome.is_err(), "the maximum lag has not passed: {early_outcome:?}");
    clock.advance(Duration::from_secs(60));
    let error = submit_call.await.unwrap_err();
    assert!(error.is_submission_uncertain(), "{error:?}");
    assert_eq!((run_count(&lab).await, lab.submission_count().await), (0, 1));
}

/// Makes all look-ups fail, except the one before the submission.
async fn fail_look_ups(lab: &Lab, status: u16, times: Option<u32>) {
    let fault = Fault::new(Effect::Status { status, body: None }).on(Server::Api).with_method("GET");
    let fault = fault.with_path("/api/v1/runs").after(1);
    let fault = times.into_iter().fold(fault, Fault::times);
    lab.emulator.control().unwrap().inject(&fault).await.unwrap();
}

#[tokio::test]
async fn failed_look_ups_are_repeated_until_the_run_is_found() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, _) = client(&lab);
    inject_submission_fault(&lab, Effect::Truncate { after_bytes: 2 }).await;
    // Each look-up has four attempts.
    fail_look_ups(&lab, 503, Some(6)).await;
    let run = client.runs().submit_once("k", submission(&lab).await, &journal).submit().await.unwrap().run;
    assert_eq!((run_count(&lab).await, lab.submission_count().await), (1, 1));
    assert_eq!(journal.intents.lock().unwrap()["k"].run.as_ref(), Some(run.id()));
}

#[tokio::test]
async fn uncertain_submission_is_found_after_the_outage() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, clock) = client(&lab);
    let submission = submission(&lab).await;
    inject_submission_fault(&lab, Effect::Truncate { after_bytes: 2 }).await;
    fail_look_ups(&lab, 503, None).await;
    let submit = client.runs().submit_once("k", submission.clone(), &journal).submit();
    let clock_advance = async {
        // After the second look-up, the time of the submission is in the journal.
        while lab.look_up_count().await < 2 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(60));
    };
    let (outcome, ()) = tokio::join!(submit, clock_advance);
    let error = outcome.unwrap_err();
    assert!(error.is_submission_uncertain(), "{error:?}");
    assert!(journal.intents.lock().unwrap()["k"].run.is_none());
    lab.emulator.control().unwrap().clear_faults().await.unwrap();
    // The emulator's replicas lag behind in real time.
    while run_count(&lab).await == 0 {
        tokio::task::yield_now().await;
    }
    client.runs().submit_once("k", submission, &journal).submit().await.unwrap();
    assert_eq!((run_count(&lab).await, lab.submission_count().await), (1, 1));
}

#[tokio::test]
async fn failed_refresh_does_not_end_the_look_ups() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let submission = submission(&lab).await;
    let (calls, tokens) = (Arc::new(AtomicUsize::new(0)), lab.tokens.clone());
    let provider = async_provider_fn(move |_| {
        let (call, tokens) = (calls.fetch_add(1, SeqCst), tokens.clone());
        async move {
            if (1..=3).contains(&call) {
                return Err(TokenError::provider("503").into_transient());
            }
            let mut token = tokens.token().await?;
            if call > 0 {
                // The platform rejects the first token.
                tokens.reject(&TokenRequest::new(), &token);
                token = tokens.token().await?;
            }
            Ok(token.secret().expose().to_owned())
        }
    });
    let mut settings = settings(&lab.emulator);
    // Fewer attempts than failures: the look-up itself fails.
    settings.auth.attempts = Some(2);
    let client = Client::builder(settings).with_token_provider(provider).build().unwrap();
    inject_submission_fault(&lab, Effect::Truncate { after_bytes: 2 }).await;
    fail_look_ups(&lab, 401, Some(1)).await;
    client.runs().submit_once("k", submission, &journal).submit().await.unwrap();
    assert_eq!((run_count(&lab).await, lab.submission_count().await), (1, 1));
}

#[tokio::test]
async fn forced_resubmission_uses_the_same_token() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, clock) = client(&lab);
    let submission = submission(&lab).await;
    inject_submission_fault(&lab, Effect::Status { status: 503, body: None }).await;
    let submit_call =
        client.runs().submit_once("k", submission, &journal).with_resend_after(Duration::from_secs(60)).submit();
    let mut submit_call = std::pin::pin!(submit_call);
    assert!(tokio::time::timeout(Duration::from_millis(1500), &mut submit_call).await.is_err());
    let token = journal.intents.lock().unwrap()["k"].token.clone();
    clock.advance(Duration::from_secs(61));
    let run = submit_call.await.unwrap().run;
    let metadata = run.get().await.unwrap().custom_metadata.unwrap();
    assert_eq!(metadata["submission_token"], token.as_str());
    assert_eq!((run_count(&lab).await, lab.submission_count().await), (1, 2));
}

#[tokio::test]
async fn throttled_submission_is_sent_again() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, _) = client(&lab);
    let submission = submission(&lab).await;
    inject_submission_fault(&lab, Effect::Status { status: 429, body: None }).await;
    let submitted = client.runs().submit_once("k", submission, &journal).submit().await.unwrap();
    assert!(submitted.is_new);
    submitted.run.wait(None).await.unwrap();
    assert_eq!((run_count(&lab).await, lab.submission_count().await), (1, 2));
    assert_eq!(journal.intents.lock().unwrap()["k"].run.as_ref(), Some(submitted.run.id()));
}

#[tokio::test]
async fn throttled_submission_without_retries_leaves_no_intent() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let mut settings = settings(&lab.emulator);
    settings.retry.limit = Duration::ZERO;
    let client = Client::builder(settings).with_tokens(lab.tokens.clone()).build().unwrap();
    inject_submission_fault(&lab, Effect::Status { status: 429, body: None }).await;
    let error = client.runs().submit_once("k", submission(&lab).await, &journal).submit().await.unwrap_err();
    assert!(error.api().unwrap().is_throttled() && !error.is_submission_uncertain(), "{error:?}");
    assert!(journal.intents.lock().unwrap().is_empty());
    assert_eq!((run_count(&lab).await, lab.submission_count().await), (0, 1));
}

#[tokio::test]
async fn submission_with_status_408_is_looked_up() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, clock) = client(&lab);
    inject_submission_fault(&lab, Effect::Status { status: 408, body: None }).await;
    let submit_call = client.runs().submit_once("k", submission(&lab).await, &journal).submit();
    let mut submit_call = std::pin::pin!(submit_call);
    assert!(tokio::time::timeout(Duration::from_millis(1500), &mut submit_call).await.is_err());
    clock.advance(Duration::from_secs(61));
    let error = submit_call.await.unwrap_err();
    assert!(error.is_submission_uncertain(), "{error:?}");
    assert_eq!(lab.submission_count().await, 1);
}

#[tokio::test]
async fn submission_without_a_working_journal_is_not_sent() {
    let lab = Lab::open().await;
    let (client, _) = client(&lab);
    let submission = submission(&lab).await;
    let full_journal = Journal { is_disk_full: true, ..Journal::default() };
    let error = client.runs().submit_once("k", submission.clone(), &full_journal).submit().await.unwrap_err();
    assert!(error.is_journal() && !error.is_submission_uncertain(), "{error:?}");
    let journal = Journal::default();
    inject_submission_fault(&lab, Effect::Status { status: 402, body: None }).await;
    let error = client.runs().submit_once("k", submission.clone(), &journal).submit().await.unwrap_err();
    assert!(error.api().unwrap().is_quota_exceeded(), "{error:?}");
    assert!(journal.intents.lock().unwrap().is_empty(), "a refused submission leaves no intent");
    let invalid_submission = RunSubmission::new("tissue", vec![]);
    assert_eq!(
        client.runs().submit_once("k", invalid_submission, &journal).submit().await.unwrap_err().problems().len(),
        1
    );
    let run = client.runs().submit_once("k", submission, &journal).submit().await.unwrap().run;
    run.wait(None).await.unwrap();
    assert_eq!(run_count(&lab).await, 1);
}

#[tokio::test]
async fn failed_look_up_before_the_submission_prevents_it() {
    let (lab, journal) = (Lab::open().await, Journal::default());
    let (client, _) = client(&lab);
    let submission = submission(&lab).await;
    client.runs().dry_run(submission.clone()).await.unwrap();
    let control = lab.emulator.control().unwrap();
    let outage = Effect::Status { status: 503, body: None };
    control.inject(&Fault::new(outage).on(Server::Api).with_path("/api/v1/runs")).await.unwrap();
    let error = client.runs().submit_once("k", submission.clone(), &journal).submit().await.unwrap_err();
    assert!(!error.is_submission_uncertain(), "nothing was sent: {error:?}");
    assert!(journal.intents.lock().unwrap().is_empty());
    control.clear_faults().await.unwrap();
    let run = client.runs().submit_once("k", submission, &journal).submit().await.unwrap().run;
    run.wait(None).await.unwrap();
    assert_eq!(run_count(&lab).await, 1);
}

#[tokio::test]
async fn journal_error_after_the_submission_does_not_hide_the_run() {
    let (lab, journal) = (Lab::open().await, FailingJournal(Journal::default(), AtomicUsize::new(1)));
    let (client, _) = client(&lab);
    inject_submission_fault(&lab, Effect::Truncate { after_bytes: 2 }).await;
    let run = client.runs().submit_once("k", submission(&lab).await, &journal).submit().await.unwrap().run;
    assert_eq!(run_count(&lab).await, 1);
    assert!(run.get().await.is_ok());
}

#[tokio::test]
async fn intent_of_a_failed_write_is_removed() {
    let (lab, journal) = (Lab::open().await, UnsyncedJournal(Journal::default()));
    let (client, _) = client(&lab);
    let submission = submission(&lab).await;
    let error = client.runs().submit_once("k", submission.clone(), &journal).submit().await.unwrap_err();
    assert!(error.is_journal(), "{error:?}");
    let run = client.runs().submit_once("k", submission, &journal.0).submit().await.unwrap().run;
    run.wait(None).await.unwrap();
    assert_eq!((run_count(&lab).await, lab.submission_count().await), (1, 1));
}

/// A journal whose writes fail although they are visible to readers, like a folder that cannot be synced.
#[derive(Debug)]
struct UnsyncedJournal(Journal);

#[async_trait]
impl SubmissionJournal for UnsyncedJournal {
    async fn read(&self, key: &str) -> io::Result<Option<SubmissionIntent>> {
        self.0.read(key).await
    }

    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> io::Result<()> {
        self.0.write(key, intent).await?;
        Err(io::Error::other("the folder cannot be synced"))
    }
}

/// A journal that can be written a limited number of times.
#[derive(Debug)]
struct FailingJournal(Journal, AtomicUsize);

#[async_trait]
impl SubmissionJournal for FailingJournal {
    async fn read(&self, key: &str) -> io::Result<Option<SubmissionIntent>> {
        self.0.read(key).await
    }

    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> io::Result<()> {
        let remaining_writes = self.1.fetch_update(SeqCst, SeqCst, |count| count.checked_sub(1));
        remaining_writes.map_err(|_| io::Error::other("the disk is full"))?;
        self.0.write(key, intent).await
    }
}

impl Lab {
    async fn submission_count(&self) -> usize {
        self.run_request_count("POST").await
    }

    async fn look_up_count(&self) -> usize {
        self.run_request_count("GET").await
    }

    async fn run_request_count(&self, method: &str) -> usize {
        let journal = self.emulator.control().unwrap().journal(Server::Api).await.unwrap();
        journal.iter().filter(|entry| entry.path == "/api/v1/runs" && entry.method == method).count()
    }
}

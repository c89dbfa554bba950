//! Retries of requests to a failing host, with paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_http::retry::{Attempts, Hosts, RetriesExhausted, RetryEvent, RetryPolicy};
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

const SECOND: Duration = Duration::from_secs(1);

fn url() -> Url {
    "https://storage.test/bucket/key".parse().unwrap()
}

#[derive(Debug, thiserror::Error)]
#[error("the storage responded with 503")]
struct UnavailableError;

/// A host that fails until a certain time, and the number of failed requests.
#[derive(Clone)]
struct Server {
    available_at: Instant,
    failed: Arc<Mutex<u32>>,
}

#[expect(clippy::disallowed_methods, reason = "with paused time, this takes no real time")]
async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

impl Server {
    fn unavailable_for(time: Duration) -> Self {
        Self { available_at: Instant::now() + time, failed: Arc::default() }
    }

    fn failures(&self) -> u32 {
        *self.failed.lock().unwrap()
    }

    async fn request(&self, mut attempts: Attempts) -> Result<(), RetriesExhausted> {
        loop {
            attempts.wait_until_ready().await?;
            // Simulates network latency.
            sleep(Duration::from_millis(10)).await;
            if Instant::now() >= self.available_at {
                attempts.record_response();
                return Ok(());
            }
            *self.failed.lock().unwrap() += 1;
            attempts.record_failure_response(&UnavailableError, None)?;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn huge_retry_after_is_an_error() {
    for retry_after in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(i64::MAX.unsigned_abs())] {
        let mut attempts = Hosts::new().attempts(&url(), &RetryPolicy::default());
        let exhausted = attempts.record_failure_response(&UnavailableError, Some(retry_after)).unwrap_err();
        assert!(exhausted.to_string().contains("the server asks to wait"), "{exhausted}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_survives_an_outage_within_the_limit() {
    for outage in [6, 60, 290] {
        let (hosts, server) = (Hosts::new(), Server::unavailable_for(SECOND * outage));
        let start = Instant::now();
        server.request(hosts.attempts(&url(), &RetryPolicy::default())).await.unwrap();
        assert!(start.elapsed() <= SECOND * (outage + 31), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn request_fails_exactly_at_the_limit() {
    let (hosts, server) = (Hosts::new(), Server::unavailable_for(SECOND * 299));
    server.request(hosts.attempts(&url(), &RetryPolicy::default())).await.unwrap();
    let (hosts, server) = (Hosts::new(), Server::unavailable_for(SECOND * 1000));
    let start = Instant::now();
    let exhausted = server.request(hosts.attempts(&url(), &RetryPolicy::default())).await.unwrap_err();
    assert!((SECOND * 300..SECOND * 301).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert!(
        exhausted.to_string().starts_with("given up after") && exhausted.to_string().ends_with("in 300 s"),
        "{exhausted}"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_send_one_probe_at_a_time() {
    let (hosts, server) = (Hosts::new(), Server::unavailable_for(SECOND * 60));
    let mut requests = JoinSet::new();
    for _ in 0..2_000 {
        let (server, attempts) = (server.clone(), hosts.attempts(&url(), &RetryPolicy::default()));
        requests.spawn(async move { server.request(attempts).await });
    }
    let outcomes = requests.join_all().await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(
        server.failures() / 2_000,
        1,
        "each request failed once at the start; all other failures are probes: {}",
        server.failures()
    );
    assert!(server.failures() - 2_000 < 100, "{}", server.failures());
}

#[tokio::test(start_paused = true)]
async fn queued_requests_fail_when_the_limit_of_their_host_is_reached() {
    let (hosts, server) = (Hosts::new(), Server::unavailable_for(SECOND * 100_000));
    let start = Instant::now();
    let mut requests = JoinSet::new();
    let queue = Arc::new(tokio::sync::Semaphore::new(16));
    for _ in 0..2_000 {
        let (server, hosts, queue) = (server.clone(), hosts.clone(), queue.clone());
        requests.spawn(async move {
            let _worker = queue.acquire().await.unwrap();
            server.request(hosts.attempts(&url(), &RetryPolicy::default())).await
        });
    }
    let outcomes = requests.join_all().await;
    assert!(outcomes.iter().all(Result::is_err));
    assert!(start.elapsed() < SECOND * 305, "queued requests do not start another limit: {:?}", start.elapsed());
    let unsent_error =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).find(|exhausted| exhausted.is_unsent());
    let text = unsent_error.unwrap().to_string();
    assert!(text.contains("https://storage.test") && text.ends_with("the storage responded with 503"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn host_that_has_never_responded_has_a_shorter_limit() {
    let policy = RetryPolicy::default().with_first_response_limit(SECOND * 10);
    let fail = async |hosts: &Hosts| {
        let (start, mut attempts) = (Instant::now(), hosts.attempts(&url(), &policy));
        loop {
            attempts.wait_until_ready().await.unwrap();
            if let Err(exhausted) = attempts.record_failure(&UnavailableError, None) {
                return (start.elapsed(), exhausted.to_string());
            }
        }
    };
    let (elapsed, text) = fail(&Hosts::new()).await;
    assert!(
        (SECOND * 10..SECOND * 11).contains(&elapsed) && text.contains("not responded before"),
        "{elapsed:?} {text}"
    );
    let responding_hosts = Hosts::new();
    responding_hosts.attempts(&url(), &policy).record_response();
    assert_eq!(fail(&responding_hosts).await.0.as_secs(), 300);
    let marked_hosts = Hosts::new();
    marked_hosts.set_responded(&url());
    assert_eq!(fail(&marked_hosts).await.0.as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn retry_after_within_the_limit_delays_all_requests_to_the_host() {
    let hosts = Hosts::new();
    let (start, mut attempts) = (Instant::now(), hosts.attempts(&url(), &RetryPolicy::default()));
    attempts.record_failure_response(&UnavailableError, Some(SECOND * 70)).unwrap();
    let mut other = hosts.attempts(&url(), &RetryPolicy::default());
    tokio::join!(
        async {
            attempts.wait_until_ready().await.unwrap();
            assert_eq!(start.elapsed().as_secs(), 70);
            attempts.record_response();
        },
        async {
            other.wait_until_ready().await.unwrap();
            assert_eq!(start.elapsed().as_secs(), 70, "the pause applies to the host");
            other.record_response();
        }
    );
    let exhausted = hosts
        .attempts(&url(), &RetryPolicy::default())
        .record_failure_response(&UnavailableError, Some(SECOND * 3600))
        .unwrap_err();
    assert!(exhausted.to_string().contains("asks to wait for 3600 s, and only 300 s are left"), "{exhausted}");
    let exhausted = hosts.attempts(&url(), &RetryPolicy::default()).wait_until_ready().await.unwrap_err();
    assert!(
        exhausted.to_string().contains("asks to wait for 3600 s"),
        "other requests do not wait for it, either: {exhausted}"
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_are_limited_by_number_and_by_a_limit_of_zero() {
    let fail = async |policy: RetryPolicy| {
        let mut attempts = Hosts::new().attempts(&url(), &policy);
        loop {
            attempts.wait_until_ready().await.unwrap();
            if let Err(exhausted) = attempts.record_failure(&UnavailableError, None) {
                return exhausted.attempts();
            }
        }
    };
    assert_eq!(fail(RetryPolicy::default().with_attempts(4)).await, 4);
    assert_eq!(fail(RetryPolicy::default().with_attempts(1)).await, 1);
    assert_eq!(fail(RetryPolicy::default().with_limit(Duration::ZERO)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn request_limit_applies_while_other_requests_succeed() {
    let hosts = Hosts::new();
    let policy = RetryPolicy::default().with_request_limit(SECOND * 10);
    let (start, mut attempts) = (Instant::now(), hosts.attempts(&url(), &policy));
    let exhausted = loop {
        attempts.wait_until_ready().await.unwrap();
        hosts.attempts(&url(), &policy).record_response();
        if let Err(exhausted) = attempts.record_failure(&UnavailableError, None) {
            break exhausted;
        }
    };
    assert!(
        exhausted.is_request_limit() && start.elapsed() >= SECOND * 10 && start.elapsed() < SECOND * 41,
        "{exhausted:?}"
    );
    let mut later_attempts =
        hosts.attempts(&url(), &policy.with_limit(SECOND * 20)).with_failing_for(Some(SECOND * 30));
    assert!(
        !later_attempts.record_failure(&UnavailableError, None).unwrap_err().is_request_limit(),
        "the earlier failures count for the general limit"
    );
}

#[tokio::test(start_paused = true)]
async fn request_limit_applies_to_the_only_request_of_a_host() {
    let (hosts, policy) = (Hosts::new(), RetryPolicy::default().with_request_limit(SECOND * 10));
    let (start, mut attempts) = (Instant::now(), hosts.attempts(&url(), &policy));
    let exhausted = loop {
        attempts.wait_until_ready().await.unwrap();
        if let Err(exhausted) = attempts.record_failure(&UnavailableError, None) {
            break exhausted;
        }
    };
    assert!(exhausted.is_request_limit() && start.elapsed() < SECOND * 60, "{exhausted:?}");
    // Another request shows that the host responds.
    let mut other = hosts.attempts(&url(), &policy);
    other.wait_until_ready().await.unwrap();
    other.record_response();
    let start = Instant::now();
    hosts.attempts(&url(), &policy).wait_until_ready().await.unwrap();
    assert_eq!(Instant::now(), start, "the next request does not wait");
}

#[tokio::test(start_paused = true)]
async fn another_request_becomes_the_probe_if_the_probe_is_dropped() {
    let hosts = Hosts::new();
    hosts.attempts(&url(), &RetryPolicy::default()).record_failure_response(&UnavailableError, Some(SECOND)).unwrap();
    let mut probe = hosts.attempts(&url(), &RetryPolicy::default());
    probe.wait_until_ready().await.unwrap();
    let mut waiting = hosts.attempts(&url(), &RetryPolicy::default());
    tokio::join!(async { waiting.wait_until_ready().await.unwrap() }, async {
        sleep(SECOND * 5).await;
        drop(probe);
    });
}

#[tokio::test(start_paused = true)]
async fn observer_is_notified_once_of_a_long_wait_and_of_its_end() {
    let events: Arc<Mutex<Vec<RetryEvent>>> = Arc::default();
    let hosts = {
        let events = events.clone();
        Hosts::with_observer(SECOND * 10, move |event| events.lock().unwrap().push(event.clone()))
    };
    // Pauses are random, and with another seed, the short wait could exceed 10 s.
    fastrand::seed(1);
    let server = Server::unavailable_for(SECOND * 6);
    server.request(hosts.attempts(&url(), &RetryPolicy::default())).await.unwrap();
    assert_eq!(*events.lock().unwrap(), [], "a short wait is not an event");
    let server = Server::unavailable_for(SECOND * 60);
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (server, attempts) = (server.clone(), hosts.attempts(&url(), &RetryPolicy::default()));
        requests.spawn(async move { server.request(attempts).await });
    }
    requests.join_all().await.into_iter().for_each(|outcome| outcome.unwrap());
    let events = events.lock().unwrap();
    let [RetryEvent::Waiting(waiting), RetryEvent::Resumed(resumed)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        (waiting.host.as_str(), waiting.cause.as_str()),
        ("https://storage.test", "the storage responded with 503")
    );
    assert!((SECOND * 10..SECOND * 11).contains(&waiting.elapsed), "{waiting:?}");
    assert!(waiting.left > SECOND * 289 && waiting.next_attempt <= SECOND * 30, "{waiting:?}");
    assert!(resumed.elapsed >= SECOND * 59, "{resumed:?}");
}

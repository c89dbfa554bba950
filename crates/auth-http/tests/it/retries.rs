//! Retries of requests to a failing host, with paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_http::retry::{Attempts, GaveUp, Hosts, RetryEvent, RetryPolicy};
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

const SECOND: Duration = Duration::from_secs(1);

fn url() -> Url {
    "https://storage.test/bucket/key".parse().unwrap()
}

#[derive(Debug, thiserror::Error)]
#[error("the storage responded with 503")]
struct Unavailable;

/// A host that fails for a while, and the number of failed requests.
#[derive(Clone)]
struct Server {
    back_at: Instant,
    failed: Arc<Mutex<u32>>,
}

#[expect(clippy::disallowed_methods, reason = "paused time passes at once")]
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

impl Server {
    fn away_for(time: Duration) -> Self {
        Self { back_at: Instant::now() + time, failed: Arc::default() }
    }

    fn failures(&self) -> u32 {
        *self.failed.lock().unwrap()
    }

    async fn request(&self, mut attempts: Attempts) -> Result<(), GaveUp> {
        loop {
            attempts.ready().await?;
            // The network latency.
            pass(Duration::from_millis(10)).await;
            if Instant::now() >= self.back_at {
                attempts.answered();
                return Ok(());
            }
            *self.failed.lock().unwrap() += 1;
            attempts.refused(&Unavailable, None)?;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pause_beyond_all_times_is_an_error() {
    for asked in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(i64::MAX.unsigned_abs())] {
        let mut attempts = Hosts::new().attempts(&url(), &RetryPolicy::default());
        let gave_up = attempts.refused(&Unavailable, Some(asked)).unwrap_err();
        assert!(gave_up.to_string().contains("the server asks to wait"), "{gave_up}");
    }
}

#[tokio::test(start_paused = true)]
async fn outage_within_the_limit_costs_no_request() {
    for outage in [6, 60, 290] {
        let (hosts, server) = (Hosts::new(), Server::away_for(SECOND * outage));
        let start = Instant::now();
        server.request(hosts.attempts(&url(), &RetryPolicy::default())).await.unwrap();
        assert!(start.elapsed() <= SECOND * (outage + 31), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_limit_is_used_and_no_more() {
    let (hosts, server) = (Hosts::new(), Server::away_for(SECOND * 299));
    server.request(hosts.attempts(&url(), &RetryPolicy::default())).await.unwrap();
    let (hosts, server) = (Hosts::new(), Server::away_for(SECOND * 1000));
    let start = Instant::now();
    let gave_up = server.request(hosts.attempts(&url(), &RetryPolicy::default())).await.unwrap_err();
    assert!((SECOND * 300..SECOND * 301).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert!(
        gave_up.to_string().starts_with("given up after") && gave_up.to_string().ends_with("in 300 s"),
        "{gave_up}"
    );
}

#[tokio::test(start_paused = true)]
async fn many_requests_send_one_probe_at_a_time() {
    let (hosts, server) = (Hosts::new(), Server::away_for(SECOND * 60));
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
        "each was in flight when the outage began; then probes: {}",
        server.failures()
    );
    assert!(server.failures() - 2_000 < 100, "{}", server.failures());
}

#[tokio::test(start_paused = true)]
async fn queued_requests_end_with_the_outage_that_is_too_long() {
    let (hosts, server) = (Hosts::new(), Server::away_for(SECOND * 100_000));
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
    assert!(start.elapsed() < SECOND * 305, "the others do not begin anew: {:?}", start.elapsed());
    let unsent = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).find(|gave_up| gave_up.is_unsent());
    let text = unsent.unwrap().to_string();
    assert!(text.contains("https://storage.test") && text.ends_with("the storage responded with 503"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn host_that_never_answered_has_a_shorter_limit() {
    let policy = RetryPolicy::default().with_unanswered_limit(SECOND * 10);
    let refuse = async |hosts: &Hosts| {
        let (start, mut attempts) = (Instant::now(), hosts.attempts(&url(), &policy));
        loop {
            attempts.ready().await.unwrap();
            if let Err(gave_up) = attempts.failed(&Unavailable, None) {
                return (start.elapsed(), gave_up.to_string());
            }
        }
    };
    let (elapsed, text) = refuse(&Hosts::new()).await;
    assert!(
        (SECOND * 10..SECOND * 11).contains(&elapsed) && text.contains("not responded before"),
        "{elapsed:?} {text}"
    );
    let known = Hosts::new();
    known.attempts(&url(), &policy).answered();
    assert_eq!(refuse(&known).await.0.as_secs(), 300);
    let other = Hosts::new();
    other.set_answered(&url());
    assert_eq!(refuse(&other).await.0.as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn retry_after_within_the_limit_is_obeyed() {
    let hosts = Hosts::new();
    let (start, mut attempts) = (Instant::now(), hosts.attempts(&url(), &RetryPolicy::default()));
    attempts.refused(&Unavailable, Some(SECOND * 70)).unwrap();
    let mut other = hosts.attempts(&url(), &RetryPolicy::default());
    tokio::join!(
        async {
            attempts.ready().await.unwrap();
            assert_eq!(start.elapsed().as_secs(), 70);
            attempts.answered();
        },
        async {
            other.ready().await.unwrap();
            assert_eq!(start.elapsed().as_secs(), 70, "it is for the host");
            other.answered();
        }
    );
    let gave_up =
        hosts.attempts(&url(), &RetryPolicy::default()).refused(&Unavailable, Some(SECOND * 3600)).unwrap_err();
    assert!(gave_up.to_string().contains("asks to wait for 3600 s, and only 300 s are left"), "{gave_up}");
    let gave_up = hosts.attempts(&url(), &RetryPolicy::default()).ready().await.unwrap_err();
    assert!(gave_up.to_string().contains("asks to wait for 3600 s"), "nor do others wait for it: {gave_up}");
}

#[tokio::test(start_paused = true)]
async fn attempts_limit_and_zero_time_disable_retries() {
    let fail = async |policy: RetryPolicy| {
        let mut attempts = Hosts::new().attempts(&url(), &policy);
        loop {
            attempts.ready().await.unwrap();
            if let Err(gave_up) = attempts.failed(&Unavailable, None) {
                return gave_up.attempts();
            }
        }
    };
    assert_eq!(fail(RetryPolicy::default().with_attempts(4)).await, 4);
    assert_eq!(fail(RetryPolicy::default().with_attempts(1)).await, 1);
    assert_eq!(fail(RetryPolicy::default().with_limit(Duration::ZERO)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn one_request_that_fails_among_others_has_a_backoff_of_its_own() {
    let hosts = Hosts::new();
    let policy = RetryPolicy::default().with_single_limit(SECOND * 10);
    let (start, mut attempts) = (Instant::now(), hosts.attempts(&url(), &policy));
    let gave_up = loop {
        attempts.ready().await.unwrap();
        hosts.attempts(&url(), &policy).answered();
        if let Err(gave_up) = attempts.failed(&Unavailable, None) {
            break gave_up;
        }
    };
    assert!(gave_up.is_single() && start.elapsed() >= SECOND * 10 && start.elapsed() < SECOND * 41, "{gave_up:?}");
    let mut again = hosts.attempts(&url(), &policy.with_limit(SECOND * 20)).since(Some(SECOND * 30));
    assert!(!again.failed(&Unavailable, None).unwrap_err().is_single(), "the time of both counts");
}

#[tokio::test(start_paused = true)]
async fn only_request_has_a_limit_of_its_own_too() {
    let (hosts, policy) = (Hosts::new(), RetryPolicy::default().with_single_limit(SECOND * 10));
    let (start, mut attempts) = (Instant::now(), hosts.attempts(&url(), &policy));
    let gave_up = loop {
        attempts.ready().await.unwrap();
        if let Err(gave_up) = attempts.failed(&Unavailable, None) {
            break gave_up;
        }
    };
    assert!(gave_up.is_single() && start.elapsed() < SECOND * 60, "{gave_up:?}");
    // Another request shows that the host responds.
    let mut other = hosts.attempts(&url(), &policy);
    other.ready().await.unwrap();
    other.answered();
    let at = Instant::now();
    hosts.attempts(&url(), &policy).ready().await.unwrap();
    assert_eq!(Instant::now(), at, "nothing is waited for any more");
}

#[tokio::test(start_paused = true)]
async fn dropped_probe_lets_another_request_go() {
    let hosts = Hosts::new();
    hosts.attempts(&url(), &RetryPolicy::default()).refused(&Unavailable, Some(SECOND)).unwrap();
    let mut probe = hosts.attempts(&url(), &RetryPolicy::default());
    probe.ready().await.unwrap();
    let mut waiting = hosts.attempts(&url(), &RetryPolicy::default());
    tokio::join!(async { waiting.ready().await.unwrap() }, async {
        pass(SECOND * 5).await;
        drop(probe);
    });
}

#[tokio::test(start_paused = true)]
async fn observer_hears_of_a_long_wait_once_and_of_its_end() {
    let heard: Arc<Mutex<Vec<RetryEvent>>> = Arc::default();
    let hosts = {
        let heard = heard.clone();
        Hosts::with_observer(SECOND * 10, move |event| heard.lock().unwrap().push(event.clone()))
    };
    // Pauses are random. Another seed could lead to a wait of more than 10 s.
    fastrand::seed(1);
    let server = Server::away_for(SECOND * 6);
    server.request(hosts.attempts(&url(), &RetryPolicy::default())).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), [], "a short wait is not worth a line");
    let server = Server::away_for(SECOND * 60);
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (server, attempts) = (server.clone(), hosts.attempts(&url(), &RetryPolicy::default()));
        requests.spawn(async move { server.request(attempts).await });
    }
    requests.join_all().await.into_iter().for_each(|outcome| outcome.unwrap());
    let heard = heard.lock().unwrap();
    let [RetryEvent::Waiting(waiting), RetryEvent::Resumed(resumed)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(
        (waiting.host.as_str(), waiting.cause.as_str()),
        ("https://storage.test", "the storage responded with 503")
    );
    assert!((SECOND * 10..SECOND * 11).contains(&waiting.elapsed), "{waiting:?}");
    assert!(waiting.left > SECOND * 289 && waiting.next_attempt <= SECOND * 30, "{waiting:?}");
    assert!(resumed.elapsed >= SECOND * 59, "{resumed:?}");
}

//! A program that drops its source and exits while a login is being refreshed.
//!
//! The test binary runs itself again. The child reports its progress on a socket, so that the test needs no timing to
//! know what the exit of the program waits for.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Clock, SystemClock, TokenError, TokenRequest, TokenSource, begin_redemption,
};
use auth_oauth::FileTokenStore;
use tempfile::TempDir;
use tokio::sync::{Semaphore, oneshot};

use super::{HOUR, get, key, login, set};

const TEST: &str = "store::exits::program_ends_after_a_pending_refresh_is_stored";
const CHILD: &str = "AUTH_OAUTH_TEST_EXIT";

/// A provider that redeems at once, and returns the response after a signal.
#[derive(Debug)]
struct BlockingProvider {
    begun: Arc<Semaphore>,
    answer: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

#[async_trait]
impl AsyncTokenProvider for BlockingProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Err(TokenError::refused("the login is stored"))
    }

    async fn refresh(&self, _request: &TokenRequest, _previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let _redemption = begin_redemption()?;
        self.begun.add_permits(1);
        let answer = self.answer.lock().await.take();
        answer.ok_or_else(|| TokenError::provider("it was redeemed before"))?.await.map_err(TokenError::uncertain)?;
        Ok(login(2).with_expires_at(SystemClock.now() + HOUR))
    }

    fn needs_lease(&self) -> bool {
        true
    }

    fn announces_redemption(&self) -> bool {
        true
    }
}

/// Runs the program of the child. Its last statement drops the source.
fn program(words: &str) {
    let (address, folder) = words.split_once(' ').unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let (begun, (answer, answered)) = (Arc::new(Semaphore::new(0)), oneshot::channel());
    let provider = BlockingProvider { begun: begun.clone(), answer: Some(answered).into() };
    let store = Arc::new(FileTokenStore::new(folder));
    let source = TokenSource::builder(key(), provider).with_cache(store.clone()).with_lease(store).build().unwrap();
    source.prefetch(&TokenRequest::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    drop(runtime.block_on(begun.acquire()).unwrap());
    // The response of the identity provider arrives while the program exits.
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    std::thread::spawn(move || {
        reader.read_line(&mut String::new()).unwrap();
        answer.send(()).unwrap();
    });
    writeln!(&stream, "returning").unwrap();
    drop(source);
}

#[test]
fn program_ends_after_a_pending_refresh_is_stored() {
    if let Ok(words) = std::env::var(CHILD) {
        return program(&words);
    }
    let home = TempDir::new().unwrap();
    let (folder, listener) = (home.path().join("tokens"), TcpListener::bind("127.0.0.1:0").unwrap());
    set(&FileTokenStore::new(&folder), &key(), &login(1).with_expires_at(SystemClock.now() - HOUR));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([TEST, "--exact", "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env(CHILD, format!("{} {}", listener.local_addr().unwrap(), folder.display()));
    let mut child = command.spawn().unwrap();
    let stream = listener.accept().unwrap().0;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert_eq!(line, "returning\n");
    assert_eq!(child.try_wait().unwrap(), None, "the program waits for the response");
    writeln!(&stream, "answer").unwrap();
    assert!(child.wait().unwrap().success());
    let kept = get(&FileTokenStore::new(&folder), &key()).unwrap();
    assert_eq!(kept.refresh_token().unwrap().expose(), "refresh-2");
}

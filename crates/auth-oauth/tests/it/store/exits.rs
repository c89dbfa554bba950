//! A program that drops its source and exits while a login is being refreshed.
//!
//! The test binary runs itself again as a child. The child reports its progress on a socket, so the test does not
//! depend on timing.

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

/// A provider that starts a redemption immediately, and returns the token after a signal.
#[derive(Debug)]
struct GatedProvider {
    redemption_started: Arc<Semaphore>,
    response: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

#[async_trait]
impl AsyncTokenProvider for GatedProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Err(TokenError::refused("the login is stored"))
    }

    async fn refresh(&self, _request: &TokenRequest, _previous: &AccessToken) -> Result<AccessToken, TokenError> {
        let _redemption = begin_redemption()?;
        self.redemption_started.add_permits(1);
        let response = self.response.lock().await.take();
        response.ok_or_else(|| TokenError::provider("it was redeemed before"))?.await.map_err(TokenError::uncertain)?;
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
fn program(arguments: &str) {
    let (address, folder) = arguments.split_once(' ').unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let (redemption_started, (response_sender, response_receiver)) = (Arc::new(Semaphore::new(0)), oneshot::channel());
    let provider =
        GatedProvider { redemption_started: redemption_started.clone(), response: Some(response_receiver).into() };
    let store = Arc::new(FileTokenStore::new(folder));
    let source = TokenSource::builder(key(), provider).with_cache(store.clone()).with_lease(store).build().unwrap();
    source.prefetch(&TokenRequest::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    drop(runtime.block_on(redemption_started.acquire()).unwrap());
    // The response of the identity provider arrives while the program exits.
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    std::thread::spawn(move || {
        reader.read_line(&mut String::new()).unwrap();
        response_sender.send(()).unwrap();
    });
    writeln!(&stream, "returning").unwrap();
    drop(source);
}

#[test]
fn program_ends_after_a_pending_refresh_is_stored() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return program(&arguments);
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
    writeln!(&stream, "respond").unwrap();
    assert!(child.wait().unwrap().success());
    let stored_token = get(&FileTokenStore::new(&folder), &key()).unwrap();
    assert_eq!(stored_token.refresh_token().unwrap().expose(), "refresh-2");
}

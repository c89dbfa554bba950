//! One refresh at a time among real processes, some of which are killed at a critical step. `kills` kills them at each.
//!
//! The test binary runs itself again. A child reports its next step on a socket, and continues after a response. A test
//! therefore knows the state of a child when it kills the child, without timing.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Clock, RefreshLease, SystemClock, TokenError, TokenRequest, TokenSource,
};
use auth_oauth::{FileTokenStore, StoreError};
use tempfile::TempDir;

use super::leases::expect_acquired;
use super::{HOUR, get, key, login, set};

/// The test that acts as a child if these variables are set: the address of the stage, the folder, and the step to stop
/// at.
const CHILD: &str = "store::processes::sixteen_processes_refresh_one_login_once";
const STAGE: &str = "AUTH_OAUTH_TEST_STAGE";
const FOLDER: &str = "AUTH_OAUTH_TEST_FOLDER";
const STOP: &str = "AUTH_OAUTH_TEST_STOP";

/// The message that a child has ended.
pub(super) const ENDED: &str = "ended";

/// The timeout for a message. The tests need less than a hundredth of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The socket on which children report their steps, and their shared folder, which contains an expired login.
pub(super) struct Stage {
    home: TempDir,
    address: SocketAddr,
    message: mpsc::Receiver<Message>,
    pub(super) provider: RotatingProvider,
}

pub(super) struct Message {
    pub(super) line: String,
    stream: TcpStream,
}

/// A provider that accepts each refresh token once, and within its grace period also the previous one.
#[derive(Default)]
pub(super) struct RotatingProvider {
    /// The number of the refresh token that is not redeemed yet.
    live: u32,
    has_grace: bool,
    pub(super) redeemed: u32,
    pub(super) replayed: u32,
}

/// A child process that is killed when the test ends.
pub(super) struct Child(std::process::Child);

impl Stage {
    pub(super) fn open(has_grace: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (send, message) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let send = send.clone();
                std::thread::spawn(move || {
                    let mut line = String::new();
                    if BufReader::new(&stream).read_line(&mut line).is_ok_and(|length| length > 0) {
                        let _ = send.send(Message { line: line.trim_end().to_owned(), stream });
                    }
                });
            }
        });
        let provider = RotatingProvider { live: 1, has_grace, ..RotatingProvider::default() };
        let stage = Self { home: TempDir::new().unwrap(), address, message, provider };
        let ended = login(1).with_expires_at(SystemClock.now() - HOUR);
        set(&stage.store(), &key(), &ended);
        stage
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.home.path().join("tokens")
    }

    pub(super) fn store(&self) -> FileTokenStore {
        FileTokenStore::new(self.folder())
    }

    /// Starts a child that stops at `stop`, and waits until it is about to ask for a token.
    fn start(&self, stop: &str) -> (Child, Message) {
        let child = self.spawn(Command::new(std::env::current_exe().unwrap()), stop);
        (child, self.expect_message("ready"))
    }

    /// Starts a child by `command`, which runs its arguments as a program.
    pub(super) fn spawn(&self, mut command: Command, stop: &str) -> Child {
        command.args([CHILD, "--exact", "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null());
        command.env(STAGE, self.address.to_string()).env(FOLDER, self.folder()).env(STOP, stop);
        Child(command.spawn().unwrap())
    }

    /// Sends a message here when `child` has ended.
    pub(super) fn report_end_of(&self, mut child: Child) {
        let address = self.address;
        std::thread::spawn(move || {
            child.0.wait().unwrap();
            writeln!(TcpStream::connect(address).unwrap(), "{ENDED}").unwrap();
        });
    }

    pub(super) fn next(&self) -> Message {
        self.message.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no child sent a message in time"))
    }

    fn expect_message(&self, expected: &str) -> Message {
        let message = self.next();
        assert_eq!(message.line, expected);
        message
    }

    /// Responds to redemptions until `children` have ended. Returns how they ended.
    fn run_children(&mut self, children: usize) -> Vec<String> {
        let mut ends = Vec::new();
        while ends.len() < children {
            let message = self.next();
            match message.line.split_once(' ') {
                Some(("redeem", refresh)) => {
                    let reply = self.provider.redeem(refresh);
                    message.reply(&reply);
                }
                Some(("end", end)) => {
                    ends.push(end.to_owned());
                    message.reply("bye");
                }
                _ => panic!("unexpected line {:?}", message.line),
            }
        }
        ends
    }
}

impl Message {
    pub(super) fn reply(mut self, line: &str) {
        writeln!(self.stream, "{line}").unwrap();
    }
}

impl RotatingProvider {
    pub(super) fn redeem(&mut self, refresh: &str) -> String {
        if refresh == format!("refresh-{}", self.live) {
            self.redeemed += 1;
            self.live += 1;
        } else {
            self.replayed += 1;
            if !self.has_grace || refresh != format!("refresh-{}", self.live - 1) {
                return "refused".to_owned();
            }
        }
        format!("granted {}", self.live)
    }
}

impl Child {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The provider of a child, which sends its requests to the stage.
#[derive(Clone, Debug)]
struct StageProvider {
    stage: SocketAddr,
    stop: String,
}

impl StageProvider {
    /// Sends a line to the child process and waits for its response.
    fn send(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(self.stage).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).unwrap();
        reply.trim_end().to_owned()
    }

    fn stop_at(&self, place: &str) {
        if self.stop == place {
            self.send(place);
        }
    }
}

#[async_trait]
impl AsyncTokenProvider for StageProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.send("login");
        Err(TokenError::refused("no user can log in"))
    }

    async fn refresh(&self, _request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.stop_at("before");
        let reply = self.send(&format!("redeem {}", previous.refresh_token().unwrap().expose()));
        let granted = reply.strip_prefix("granted ").map(|number| number.parse().unwrap());
        self.stop_at("after");
        let granted = granted.ok_or_else(|| TokenError::grant_refused("the refresh token was used before"))?;
        Ok(login(granted).with_expires_at(SystemClock.now() + HOUR))
    }

    /// Returns true, so that one thread makes all system calls and they can be counted.
    fn needs_caller_runtime(&self) -> bool {
        true
    }
}

/// Runs the child. Returns false if this process is not a child.
fn is_child() -> bool {
    let Ok(stage) = std::env::var(STAGE) else { return false };
    let provider = StageProvider { stage: stage.parse().unwrap(), stop: std::env::var(STOP).unwrap() };
    let store = Arc::new(FileTokenStore::new(PathBuf::from(std::env::var_os(FOLDER).unwrap())));
    let source =
        TokenSource::builder(key(), provider.clone()).with_cache(store.clone()).with_lease(store).build().unwrap();
    provider.send("ready");
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_time().build().unwrap();
    let end = match runtime.block_on(source.token()) {
        Ok(token) => token.secret().expose().to_owned(),
        Err(error) if error.is_refused() => "refused".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    provider.send(&format!("end {end}"));
    true
}

#[test]
fn sixteen_processes_refresh_one_login_once() {
    if is_child() {
        return;
    }
    let mut stage = Stage::open(false);
    let (_children, ready): (Vec<_>, Vec<_>) = (0..16).map(|_| stage.start("")).unzip();
    for message in ready {
        message.reply("go");
    }
    assert_eq!(stage.run_children(16), vec!["access-2"; 16]);
    assert_eq!((stage.provider.redeemed, stage.provider.replayed), (1, 0));
    assert_eq!(get(&stage.store(), &key()).unwrap().refresh_token().unwrap().expose(), "refresh-2");
}

#[tokio::test]
async fn lock_of_a_killed_process_is_released() {
    let stage = Stage::open(false);
    let store = stage.store().with_lock_timeout(Duration::ZERO);
    let (child, ready) = stage.start("before");
    ready.reply("go");
    let _message = stage.expect_message("before");
    let error = store.acquire(&key(), None).await.unwrap_err();
    assert!(StoreError::of(&error).unwrap().is_timeout(), "{error:?}");
    child.kill();
    expect_acquired(store.acquire(&key(), None).await).release().await;
}

#[test]
fn next_process_redeems_if_the_leader_is_killed_before() {
    let mut stage = Stage::open(false);
    let (leader, ready) = stage.start("before");
    ready.reply("go");
    let _message = stage.expect_message("before");
    let (_next, ready) = stage.start("");
    ready.reply("go");
    leader.kill();
    assert_eq!(stage.run_children(1), ["access-2"]);
    assert_eq!((stage.provider.redeemed, stage.provider.replayed), (1, 0));
}

/// Kills a leader that has redeemed but not published.
fn kill_after_redemption(stage: &mut Stage) {
    let (leader, ready) = stage.start("after");
    ready.reply("go");
    stage.expect_message("redeem refresh-1").reply(&stage.provider.redeem("refresh-1"));
    let _message = stage.expect_message("after");
    leader.kill();
    assert_eq!(stage.provider.redeemed, 1);
    let kept = get(&stage.store(), &key()).unwrap();
    assert_eq!(kept.refresh_token().unwrap().expose(), "refresh-1", "nothing was published");
}

#[test]
fn login_survives_a_killed_leader_with_a_grace_period() {
    let mut stage = Stage::open(true);
    kill_after_redemption(&mut stage);
    let (_next, ready) = stage.start("");
    ready.reply("go");
    assert_eq!(stage.run_children(1), ["access-2"]);
    assert_eq!((stage.provider.redeemed, stage.provider.replayed), (1, 1));
    assert_eq!(get(&stage.store(), &key()).unwrap().refresh_token().unwrap().expose(), "refresh-2");
}

#[test]
fn killed_leader_ends_the_login_without_a_grace_period() {
    let mut stage = Stage::open(false);
    kill_after_redemption(&mut stage);
    let (_next, ready) = stage.start("");
    ready.reply("go");
    assert_eq!(stage.run_children(1), ["refused"]);
    assert_eq!((stage.provider.redeemed, stage.provider.replayed), (1, 1), "the refresh token is redeemed once");
    assert_eq!(get(&stage.store(), &key()), None, "the refused refresh token is deleted");

    let (_third, ready) = stage.start("");
    ready.reply("go");
    stage.expect_message("login").reply("no user");
    assert_eq!(stage.run_children(1), ["refused"]);
    assert_eq!(stage.provider.replayed, 1, "no process redeems it again");
}

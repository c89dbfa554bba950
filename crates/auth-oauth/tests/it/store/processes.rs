//! One refresh at a time among real processes. Some of them are killed at a critical step. The module `kills` kills a
//! process at each step.
//!
//! The test binary runs itself again as a child. The child reports its next step on a socket, and continues after a
//! response. The test therefore knows the state of the child when it kills it, and does not depend on timing.

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

/// The test that acts as a child if these variables are set: the address of the controller, the folder, and the step at
/// which the child stops.
const CHILD: &str = "store::processes::sixteen_processes_refresh_one_login_once";
const CONTROLLER: &str = "AUTH_OAUTH_TEST_STAGE";
const FOLDER: &str = "AUTH_OAUTH_TEST_FOLDER";
const STOP: &str = "AUTH_OAUTH_TEST_STOP";

/// The message that a child has ended.
pub(super) const ENDED: &str = "ended";

/// The timeout for a message. The tests need less than a hundredth of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The controller of child processes: the socket on which they report their steps, and their shared folder with an
/// expired login.
pub(super) struct ChildController {
    home: TempDir,
    address: SocketAddr,
    messages: mpsc::Receiver<Message>,
    pub(super) provider: RotatingProvider,
}

pub(super) struct Message {
    pub(super) line: String,
    stream: TcpStream,
}

/// A provider that accepts each refresh token once. With a grace period, it also accepts the previous refresh token.
#[derive(Default)]
pub(super) struct RotatingProvider {
    /// The number of the refresh token that is not redeemed yet.
    current_number: u32,
    has_grace_period: bool,
    pub(super) redemption_count: u32,
    pub(super) reuse_count: u32,
}

/// A child process that is killed when the test ends.
pub(super) struct Child(std::process::Child);

impl ChildController {
    pub(super) fn open(has_grace_period: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let mut line = String::new();
                    if BufReader::new(&stream).read_line(&mut line).is_ok_and(|length| length > 0) {
                        let _ = sender.send(Message { line: line.trim_end().to_owned(), stream });
                    }
                });
            }
        });
        let provider = RotatingProvider { current_number: 1, has_grace_period, ..RotatingProvider::default() };
        let controller = Self { home: TempDir::new().unwrap(), address, messages, provider };
        let expired_login = login(1).with_expires_at(SystemClock.now() - HOUR);
        set(&controller.store(), &key(), &expired_login);
        controller
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
        command.env(CONTROLLER, self.address.to_string()).env(FOLDER, self.folder()).env(STOP, stop);
        Child(command.spawn().unwrap())
    }

    /// Sends a message to this controller when `child` has ended.
    pub(super) fn report_end_of(&self, mut child: Child) {
        let address = self.address;
        std::thread::spawn(move || {
            child.0.wait().unwrap();
            writeln!(TcpStream::connect(address).unwrap(), "{ENDED}").unwrap();
        });
    }

    pub(super) fn next(&self) -> Message {
        self.messages.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no child sent a message in time"))
    }

    fn expect_message(&self, expected: &str) -> Message {
        let message = self.next();
        assert_eq!(message.line, expected);
        message
    }

    /// Responds to redemptions until this number of children has ended. Returns their outcomes.
    fn run_children(&mut self, child_count: usize) -> Vec<String> {
        let mut outcomes = Vec::new();
        while outcomes.len() < child_count {
            let message = self.next();
            match message.line.split_once(' ') {
                Some(("redeem", refresh_token)) => {
                    let reply = self.provider.redeem(refresh_token);
                    message.reply(&reply);
                }
                Some(("end", end)) => {
                    outcomes.push(end.to_owned());
                    message.reply("bye");
                }
                _ => panic!("unexpected line {:?}", message.line),
            }
        }
        outcomes
    }
}

impl Message {
    pub(super) fn reply(mut self, line: &str) {
        writeln!(self.stream, "{line}").unwrap();
    }
}

impl RotatingProvider {
    pub(super) fn redeem(&mut self, refresh_token: &str) -> String {
        if refresh_token == format!("refresh-{}", self.current_number) {
            self.redemption_count += 1;
            self.current_number += 1;
        } else {
            self.reuse_count += 1;
            if !self.has_grace_period || refresh_token != format!("refresh-{}", self.current_number - 1) {
                return "refused".to_owned();
            }
        }
        format!("granted {}", self.current_number)
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

/// The provider of a child, which sends its requests to the controller.
#[derive(Clone, Debug)]
struct ControllerProvider {
    controller: SocketAddr,
    stop_step: String,
}

impl ControllerProvider {
    /// Sends a line to the controller, and waits for its response.
    fn send(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(self.controller).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).unwrap();
        reply.trim_end().to_owned()
    }

    fn stop_at(&self, step: &str) {
        if self.stop_step == step {
            self.send(step);
        }
    }
}

#[async_trait]
impl AsyncTokenProvider for ControllerProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.send("login");
        Err(TokenError::refused("no user can log in"))
    }

    async fn refresh(&self, _request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.stop_at("before");
        let reply = self.send(&format!("redeem {}", previous.refresh_token().unwrap().expose()));
        let number = reply.strip_prefix("granted ").map(|number| number.parse().unwrap());
        self.stop_at("after");
        let number = number.ok_or_else(|| TokenError::grant_refused("the refresh token was used before"))?;
        Ok(login(number).with_expires_at(SystemClock.now() + HOUR))
    }

    /// Returns true, so that one thread makes all system calls, and `kills` can count them.
    fn needs_caller_runtime(&self) -> bool {
        true
    }
}

/// Runs the program of the child. Returns false if this process is not a child.
fn run_if_child() -> bool {
    let Ok(controller) = std::env::var(CONTROLLER) else { return false };
    let provider =
        ControllerProvider { controller: controller.parse().unwrap(), stop_step: std::env::var(STOP).unwrap() };
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
    if run_if_child() {
        return;
    }
    let mut controller = ChildController::open(false);
    let (_children, ready): (Vec<_>, Vec<_>) = (0..16).map(|_| controller.start("")).unzip();
    for message in ready {
        message.reply("go");
    }
    assert_eq!(controller.run_children(16), vec!["access-2"; 16]);
    assert_eq!((controller.provider.redemption_count, controller.provider.reuse_count), (1, 0));
    assert_eq!(get(&controller.store(), &key()).unwrap().refresh_token().unwrap().expose(), "refresh-2");
}

#[tokio::test]
async fn lock_of_a_killed_process_is_released() {
    let controller = ChildController::open(false);
    let store = controller.store().with_lock_timeout(Duration::ZERO);
    let (child, ready) = controller.start("before");
    ready.reply("go");
    let _message = controller.expect_message("before");
    let error = store.acquire(&key(), None).await.unwrap_err();
    assert!(StoreError::of(&error).unwrap().is_timeout(), "{error:?}");
    child.kill();
    expect_acquired(store.acquire(&key(), None).await).release().await;
}

#[test]
fn next_process_redeems_if_the_leader_is_killed_before() {
    let mut controller = ChildController::open(false);
    let (leader, ready) = controller.start("before");
    ready.reply("go");
    let _message = controller.expect_message("before");
    let (_next, ready) = controller.start("");
    ready.reply("go");
    leader.kill();
    assert_eq!(controller.run_children(1), ["access-2"]);
    assert_eq!((controller.provider.redemption_count, controller.provider.reuse_count), (1, 0));
}

/// Kills a leader that has redeemed but not published.
fn kill_after_redemption(controller: &mut ChildController) {
    let (leader, ready) = controller.start("after");
    ready.reply("go");
    controller.expect_message("redeem refresh-1").reply(&controller.provider.redeem("refresh-1"));
    let _message = controller.expect_message("after");
    leader.kill();
    assert_eq!(controller.provider.redemption_count, 1);
    let stored_login = get(&controller.store(), &key()).unwrap();
    assert_eq!(stored_login.refresh_token().unwrap().expose(), "refresh-1", "nothing was published");
}

#[test]
fn login_survives_a_killed_leader_with_a_grace_period() {
    let mut controller = ChildController::open(true);
    kill_after_redemption(&mut controller);
    let (_next, ready) = controller.start("");
    ready.reply("go");
    assert_eq!(controller.run_children(1), ["access-2"]);
    assert_eq!((controller.provider.redemption_count, controller.provider.reuse_count), (1, 1));
    assert_eq!(get(&controller.store(), &key()).unwrap().refresh_token().unwrap().expose(), "refresh-2");
}

#[test]
fn killed_leader_ends_the_login_without_a_grace_period() {
    let mut controller = ChildController::open(false);
    kill_after_redemption(&mut controller);
    let (_next, ready) = controller.start("");
    ready.reply("go");
    assert_eq!(controller.run_children(1), ["refused"]);
    assert_eq!(
        (controller.provider.redemption_count, controller.provider.reuse_count),
        (1, 1),
        "the refresh token is redeemed once"
    );
    assert_eq!(get(&controller.store(), &key()), None, "the refused refresh token is deleted");

    let (_third, ready) = controller.start("");
    ready.reply("go");
    controller.expect_message("login").reply("no user");
    assert_eq!(controller.run_children(1), ["refused"]);
    assert_eq!(controller.provider.reuse_count, 1, "no process redeems it again");
}

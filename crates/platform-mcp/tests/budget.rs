//! The budget under concurrent processes that are killed. The test binary starts itself as the clients.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use platform_mcp::{Budget, BudgetError, Limits};

const CLIENTS: usize = 8;
const ATTEMPTS: usize = 1000;
const KILLS: usize = 50;
/// The number of attempts of each client between two kills.
const ROUND: usize = 2;
const MAX_SLIDES: u64 = 400;
const MAX_RUNS: u64 = 250;
/// The environment variables that make the test binary a client: the folder and the number of the client.
const FOLDER: &str = "PLATFORM_MCP_TEST_FOLDER";
const CLIENT: &str = "PLATFORM_MCP_TEST_CLIENT";

fn budget(folder: &Path) -> Budget {
    let limits = Limits { max_slides: MAX_SLIDES, max_runs: MAX_RUNS, applications: vec!["he-tme".to_owned()] };
    Budget::new(limits, folder.join("state/budget.json"))
}

/// Appends a line to a file in one write.
fn append(file: &Path, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Makes the remaining attempts of a client. The simulated platform of this test accepts each submission once.
fn run_client(folder: &Path, client: usize) {
    let (budget, attempts) = (budget(folder), folder.join(format!("attempts-{client}")));
    for attempt in lines(&attempts).len()..ATTEMPTS / CLIENTS {
        while lines(&folder.join("rounds")).len() * ROUND <= attempt {
            std::thread::yield_now();
        }
        append(&attempts, "attempt");
        // Every fifth submission is the same for all clients.
        let content = if attempt % 5 == 0 { format!("{attempt}") } else { format!("{attempt} of {client}") };
        let slides = 1 + u64::try_from(attempt % 3).unwrap();
        match budget.reserve(&format!("client-{client}"), "he-tme", slides, &[content.as_bytes()]) {
            Ok(reservation) => {
                let accepted = folder.join("accepted");
                let entry = format!("{slides} {content}");
                let is_new = !lines(&accepted).contains(&entry);
                if is_new {
                    append(&accepted, &entry);
                }
                reservation.settle("run", is_new).unwrap();
            }
            Err(BudgetError::Exhausted { .. }) => append(&folder.join("refused"), &content),
            Err(error) => panic!("{error}"),
        }
    }
}

fn start_client(folder: &Path, client: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["concurrent_clients_never_exceed_the_budget", "--exact"]);
    command.env(FOLDER, folder).env(CLIENT, client.to_string());
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn concurrent_clients_never_exceed_the_budget() {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        return run_client(&folder, std::env::var(CLIENT).unwrap().parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut clients: Vec<_> = (0..CLIENTS).map(|client| start_client(folder, client)).collect();
    let attempt_count = |client: usize| lines(&folder.join(format!("attempts-{client}"))).len();
    for kill in 0..KILLS {
        append(&folder.join("rounds"), "round");
        let client = kill % CLIENTS;
        // The kill interrupts the first or the second attempt of the round, or the wait for the next round.
        while attempt_count(client) < (kill + 1) * ROUND - kill / CLIENTS % 2 {
            assert!(clients[client].try_wait().unwrap().is_none(), "a client ended early");
            std::thread::yield_now();
        }
        clients[client].kill().unwrap();
        clients[client].wait().unwrap();
        clients[client] = start_client(folder, client);
    }
    for _ in KILLS..ATTEMPTS / CLIENTS {
        append(&folder.join("rounds"), "round");
    }
    for mut client in clients {
        assert!(client.wait().unwrap().success());
    }
    assert_eq!((0..CLIENTS).map(attempt_count).sum::<usize>(), ATTEMPTS);
    let accepted = lines(&folder.join("accepted"));
    let unique: BTreeMap<_, _> =
        accepted.iter().map(|line| line.split_once(' ').unwrap()).map(|(slides, content)| (content, slides)).collect();
    assert_eq!(unique.len(), accepted.len(), "nothing was accepted twice");
    let slides: u64 = unique.values().map(|slides| slides.parse::<u64>().unwrap()).sum();
    let runs = u64::try_from(unique.len()).unwrap();
    assert!(slides <= MAX_SLIDES && runs <= MAX_RUNS, "{slides} slides in {runs} runs");
    assert!(!lines(&folder.join("refused")).is_empty(), "the budget was exhausted");
    let used = budget(folder).used().unwrap();
    assert!((slides..=MAX_SLIDES).contains(&used.slides) && (runs..=MAX_RUNS).contains(&used.runs), "{used:?}");
    // The entries of killed processes count, but there are few of them.
    assert!(used.slides - slides <= 3 * u64::try_from(KILLS).unwrap(), "{used:?}");
}

#[test]
fn exhausted_budget_error_names_the_limit_and_the_usage_of_each_client() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_slides: 5, max_runs: 2, applications: vec!["he-tme".to_owned()] };
    let budget = Budget::new(limits, folder.path().join("budget.json"));
    budget.reserve("claude", "he-tme", 3, &[b"a"]).unwrap().settle("run-1", true).unwrap();
    let error = budget.reserve("cursor", "he-tme", 3, &[b"b"]).unwrap_err().to_string();
    assert_eq!(error, "the budget is exhausted: --max-slides is 5, 3 used (claude: 3), 3 more requested");
    budget.reserve("cursor", "he-tme", 1, &[b"b"]).unwrap().settle("run-2", true).unwrap();
    let error = budget.reserve("cursor", "he-tme", 1, &[b"c"]).unwrap_err().to_string();
    assert_eq!(error, "the budget is exhausted: --max-runs is 2, 2 used (claude: 1, cursor: 1), 1 more requested");
    let error = budget.reserve("cursor", "test-app", 1, &[b"c"]).unwrap_err().to_string();
    assert!(error.contains("'test-app'") && error.contains("he-tme"), "{error}");
    // Submitting the same content again uses up no budget.
    budget.reserve("claude", "he-tme", 3, &[b"a"]).unwrap().settle("run-1", false).unwrap();
    assert_eq!((budget.used().unwrap().slides, budget.used().unwrap().runs), (4, 2));
}

#[test]
fn released_reservation_restores_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_slides: 2, max_runs: 1, applications: vec!["he-tme".to_owned()] };
    let budget = Budget::new(limits, folder.path().join("budget.json"));
    budget.reserve("a", "he-tme", 2, &[b"1"]).unwrap().release().unwrap();
    // The entry of an attempt with an unknown outcome remains, even if the attempt is repeated and released.
    drop(budget.reserve("a", "he-tme", 2, &[b"2"]).unwrap());
    budget.reserve("a", "he-tme", 2, &[b"2"]).unwrap().release().unwrap();
    assert!(matches!(budget.reserve("a", "he-tme", 1, &[b"3"]), Err(BudgetError::Exhausted { .. })));
}

#[test]
fn invalid_ledger_allows_no_submission() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_slides: 2, max_runs: 1, applications: vec!["he-tme".to_owned()] };
    let budget = Budget::new(limits, folder.path().join("budget.json"));
    fs::write(folder.path().join("budget.json"), "{").unwrap();
    let error = budget.reserve("a", "he-tme", 1, &[b"1"]).unwrap_err();
    assert!(matches!(error, BudgetError::File { .. }) && error.to_string().contains("budget.json"), "{error}");
    assert_eq!(fs::read_to_string(folder.path().join("budget.json")).unwrap(), "{");
}

//! Unusable files.

use std::fs;

use auth_core::{AsyncTokenCache, RefreshLease, Secret, TokenCache, TokenKey};
use serde_json::{Value, json};

use super::{Fixture, get, key, login, set};
use crate::log::Log;

/// Returns contents of files that are not valid entries. Most of them contain the canary.
fn contents(fixture: &Fixture) -> Vec<(&'static str, Vec<u8>)> {
    set(&fixture.store, &key(), &login(1).with_id_token(Secret::new("canary")));
    let valid_entry = fs::read(fixture.path(&key(), "json")).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut file = serde_json::from_slice(&valid_entry).unwrap();
        change(&mut file);
        serde_json::to_vec(&file).unwrap()
    };
    let mut padded = valid_entry.clone();
    padded.resize(1024 * 1024 + 1, b' ');
    vec![
        ("empty", Vec::new()),
        ("truncated", valid_entry[..valid_entry.len() / 2].to_vec()),
        ("text", b"canary".to_vec()),
        ("other JSON", b"[\"canary\"]".to_vec()),
        ("not UTF-8", [b"{\"version\":1,\"x\":\"canary", &[0xff][..], b"\"}"].concat()),
        ("an older version", changed(&|file| file["version"] = json!(0))),
        ("a version of another kind", changed(&|file| file["version"] = json!("canary"))),
        ("another issuer", changed(&|file| file["binding"]["issuer"] = json!("https://canary.example/"))),
        ("another endpoint", changed(&|file| file["binding"]["token_endpoint"] = json!("https://canary.example"))),
        ("another origin", changed(&|file| file["binding"]["origin"] = json!("https://canary.example"))),
        ("another key", changed(&|file| file["binding"]["key"] = json!(TokenKey::new("canary").digest_hex()))),
        ("no token", changed(&|file| drop(file.as_object_mut().unwrap().remove("token")))),
        ("a token and a refusal", changed(&|file| file["refused"] = json!("canary"))),
        ("a token of another kind", changed(&|file| file["token"]["access_token"] = json!(["canary"]))),
        (
            "a token that is not valid in a header",
            changed(&|file| file["token"]["access_token"] = json!("canary canary")),
        ),
        ("oversize", padded),
    ]
}

#[test]
fn corrupt_file_is_a_miss_and_renamed() {
    let fixture = Fixture::new();
    let contents = contents(&fixture);
    let (token_file, renamed_file) = (fixture.path(&key(), "json"), fixture.path(&key(), "corrupt"));
    for (number, (kind, content)) in (1..).zip(contents) {
        fs::write(&token_file, &content).unwrap();
        assert_eq!(get(&fixture.store, &key()), None, "{kind}");
        assert_eq!(fs::read(&renamed_file).unwrap(), content, "{kind}: the file replaces an older renamed file");
        assert!(!token_file.exists(), "{kind}");
        assert_eq!(get(&fixture.store, &key()), None, "{kind}");
        set(&fixture.store, &key(), &login(2));
        assert_eq!(get(&fixture.store, &key()), Some(login(2)), "{kind}");
        let lines = Log::of_process().lines_about(&token_file);
        assert_eq!(lines.len(), number, "{kind}: one line: {lines:#?}");
        assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:#?}");
    }
    Log::of_process().assert_lacks("canary");
}

#[tokio::test]
async fn corrupt_file_is_a_miss_for_concurrent_callers() {
    let fixture = Fixture::new();
    let (token_file, renamed_file) = (fixture.path(&key(), "json"), fixture.path(&key(), "corrupt"));
    let write_corrupt_file = || {
        let _ = fs::remove_file(&renamed_file);
        set(&fixture.store, &key(), &login(1));
        fs::write(&token_file, "canary").unwrap();
    };
    write_corrupt_file();
    assert_eq!(AsyncTokenCache::get(&fixture.store, &key()).await.unwrap(), None);
    assert!(renamed_file.exists());
    write_corrupt_file();
    assert!(!TokenCache::delete_if(&fixture.store.blocking(), &key(), &login(1)).unwrap());
    assert!(renamed_file.exists());
    write_corrupt_file();
    let guard = super::leases::expect_acquired(fixture.store.acquire(&key(), None).await);
    assert!(guard.current().is_none() && renamed_file.exists());
}

#[tokio::test]
async fn corrupt_file_is_not_renamed_while_another_process_holds_the_lock() {
    let fixture = Fixture::new();
    let mut guard = super::leases::expect_acquired(fixture.store.acquire(&key(), None).await);
    fs::write(fixture.path(&key(), "json"), "canary").unwrap();
    assert_eq!(get(&fixture.store_of_other_process(), &key()), None);
    assert!(fixture.path(&key(), "json").exists(), "another process may be replacing it");
    guard.publish(&login(1)).await.unwrap();
    assert_eq!(get(&fixture.store_of_other_process(), &key()), Some(login(1)));
}

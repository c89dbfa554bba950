//! Redis with an ACL user and TLS, and invalid settings.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use auth_core::{AsyncTokenCache, Secret};
use auth_redis::{BuildError, CacheError, RedisTokenCache, RedisTokenCacheBuilder, SealingKey};
use platform_testkit::{async_token_cache, refresh_lease};
use tempfile::TempDir;
use url::Url;

use crate::authority::Authority;
use crate::fixtures::{builder_with_long_timeouts, connect_cache, key, sealing_key, token};
use crate::fleet::wait_until;
use crate::redis_server::Redis;

pub(crate) const USER: &str = "workers";
const PASSWORD: &str = "pass-word";
/// The permissions that the crate documentation lists.
const PERMISSIONS: &str = "~auth-tokens:* resetchannels -@all +ping +hget +hmget +hset +hdel +hexists +get +set +unlink \
                      +pexpire +pttl +scan +evalsha +script|load";
/// Additional permissions for a cluster.
const CLUSTER_PERMISSIONS: &str = "+cluster|slots";

/// Starts a server that requires TLS and accepts two users, [`USER`] and an administrator. Returns it with its
/// authority.
fn tls_server_with_acl() -> Option<(Redis, Authority)> {
    let authority = Authority::new();
    let redis = Redis::with(|folder, port| tls_settings(folder, port, &authority, "localhost"));
    Some((redis?, authority))
}

/// Returns the settings of a TLS server with a certificate for this name.
pub(crate) fn tls_settings(folder: &TempDir, port: u16, authority: &Authority, name: &str) -> Vec<OsString> {
    let write = |file: &str, text: &str| {
        let file = folder.path().join(file);
        fs::write(&file, text).unwrap();
        file.into_os_string()
    };
    let (certificate, private_key) = authority.sign(name);
    let users = format!(
        "user default off\nuser admin on >admin ~* &* +@all\nuser {USER} on >{PASSWORD} {PERMISSIONS} {CLUSTER_PERMISSIONS}\n"
    );
    let settings = [
        ("--port", "0".into()),
        ("--tls-port", port.to_string().into()),
        ("--tls-auth-clients", "no".into()),
        ("--tls-cert-file", write("certificate.pem", &certificate)),
        ("--tls-key-file", write("key.pem", &private_key)),
        ("--tls-ca-cert-file", authority.file().into_os_string()),
        ("--aclfile", write("users", &users)),
    ];
    settings.into_iter().flat_map(|(setting, value)| [setting.into(), value]).collect()
}

fn address(redis: &Redis) -> Url {
    format!("rediss://localhost:{}", redis.port).parse().unwrap()
}

pub(crate) fn password() -> Secret {
    Secret::new(PASSWORD)
}

/// Returns `redis-cli` as the administrator.
pub(crate) fn administrator(authority: &Authority) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "localhost", "--tls", "--cacert"]).arg(authority.file());
    command.args(["--no-auth-warning", "--user", "admin", "--pass", "admin"]);
    command
}

/// Runs `redis-cli` on this server and returns its output.
fn run_as_administrator(redis: &Redis, authority: &Authority, arguments: &[&str]) -> String {
    let port = redis.port.to_string();
    let output = administrator(authority).args(["-p", &port]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn builder(redis: &Redis, authority: &Authority) -> RedisTokenCacheBuilder {
    builder_with_long_timeouts(&address(redis))
        .with_sealing_key(sealing_key('a'))
        .with_root_certificates(authority.file())
}

#[tokio::test]
async fn user_with_the_documented_permissions_can_use_the_cache_over_tls() {
    let Some((redis, authority)) = tls_server_with_acl() else { return };
    let cache = builder(&redis, &authority).with_user(USER, password()).connect().await.unwrap();
    async_token_cache(&cache).await;
    refresh_lease(&cache, &cache.clone(), &cache).await;
    // A user and a password in the URL have the same effect.
    let mut url = address(&redis);
    url.set_username(USER).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    let cache = builder_with_long_timeouts(&url)
        .with_sealing_key(sealing_key('a'))
        .with_root_certificates(authority.file())
        .connect()
        .await
        .unwrap();
    cache.set(&key(), &token("kept")).await.unwrap();
    assert!(!format!("{cache:?}").contains(PASSWORD));
}

#[tokio::test]
async fn connect_fails_with_a_wrong_password() {
    let Some((redis, authority)) = tls_server_with_acl() else { return };
    let error = builder(&redis, &authority).with_user(USER, Secret::new("wrong-one")).connect().await.unwrap_err();
    assert!(error.is_refused(), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("wrong-one"));
}

#[tokio::test]
async fn server_with_a_certificate_of_another_authority_is_rejected() {
    let Some((redis, authority)) = tls_server_with_acl() else { return };
    let other_authority = Authority::new();
    let cache = builder(&redis, &other_authority).with_user(USER, password()).connect().await.unwrap();
    let error = cache.set(&key(), &token("kept")).await.unwrap_err();
    let reason = CacheError::of(&error).unwrap();
    assert!(reason.is_unavailable() && format!("{reason:?}").contains("invalid peer certificate"), "{reason:?}");
    // A certificate for another host name is rejected, too.
    let url = format!("rediss://127.0.0.1:{}", redis.port).parse().unwrap();
    let misnamed_server =
        builder_with_long_timeouts(&url).with_sealing_key(sealing_key('a')).with_root_certificates(authority.file());
    let cache = misnamed_server.with_user(USER, password()).connect().await.unwrap();
    let error = cache.get(&key()).await.unwrap_err();
    assert!(format!("{error:?}").contains("not valid for name"), "{error:?}");
}

#[tokio::test]
async fn forbidden_command_is_a_refusal_and_not_an_outage() {
    let Some((redis, authority)) = tls_server_with_acl() else { return };
    let cache = builder(&redis, &authority).with_user(USER, password()).connect().await.unwrap();
    run_as_administrator(&redis, &authority, &["acl", "setuser", USER, "-hget"]);
    let error = cache.get(&key()).await.unwrap_err();
    let reason = CacheError::of(&error).unwrap();
    assert!(reason.is_refused() && !reason.is_unavailable(), "{reason:?}");
    run_as_administrator(&redis, &authority, &["acl", "setuser", USER, "+hget"]);
    assert!(cache.get(&key()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_recovers_after_a_temporary_login_refusal() {
    let Some((redis, authority)) = tls_server_with_acl() else { return };
    let cache = builder(&redis, &authority).with_user(USER, password()).connect().await.unwrap();
    run_as_administrator(&redis, &authority, &["acl", "setuser", USER, "resetpass", ">another"]);
    assert_eq!(run_as_administrator(&redis, &authority, &["client", "kill", "user", USER]), "1");
    let error = cache.get(&key()).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
    run_as_administrator(&redis, &authority, &["acl", "setuser", USER, "resetpass", &format!(">{PASSWORD}")]);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        wait_until("the server accepts the password", || runtime.block_on(cache.get(&key())).is_ok());
    });
}

#[tokio::test]
async fn invalid_configuration_fails_before_any_request() {
    let builder_at = |url: &str| RedisTokenCache::builder(&url.parse().unwrap()).with_sealing_key(sealing_key('a'));
    let connect_error = async |builder: RedisTokenCacheBuilder| builder.connect().await.unwrap_err();
    let local = "redis://localhost:1";
    for (builder, expected) in [
        (RedisTokenCache::builder(&local.parse().unwrap()), "no encryption is configured"),
        (builder_at(local).without_sealing(), "remove one of them"),
        (builder_at(local).with_namespace("a*b"), "namespace"),
        (builder_at("https://localhost"), "is not the address of a Redis"),
        (builder_at("rediss://localhost/#insecure"), "is not the address of a Redis"),
        (builder_at("redis:///var/run/redis"), "is not the address of a Redis"),
        (builder_at("redis://u:secret-canary@redis.example"), "is not encrypted"),
        (builder_at("redis://127.0.0.2.example"), "is not encrypted"),
        (builder_at("rediss://localhost").with_root_certificates("/nowhere/roots.pem"), "/nowhere/roots.pem"),
        (builder_at("rediss://localhost").with_root_certificates("Cargo.toml"), "certificates"),
        (RedisTokenCache::cluster_builder([]).with_sealing_key(sealing_key('a')), "at least one"),
    ] {
        let builder_debug = format!("{builder:?}");
        let error = connect_error(builder).await;
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
        assert!(!format!("{builder_debug} {error:?}").contains("canary"), "{builder_debug} {error:?}");
    }
    assert!(connect_error(builder_at("redis://redis.example")).await.is_insecure());
    for invalid_key in ["", "no base64!", "c2hvcnQ=", &"QUFB".repeat(20)] {
        let error: BuildError = SealingKey::from_base64(&Secret::new(invalid_key)).unwrap_err();
        assert!(error.to_string().contains("32 random bytes"), "{error}");
    }
}

#[tokio::test]
async fn loopback_addresses_are_allowed_without_tls() {
    let Some(redis) = Redis::start() else { return };
    connect_cache(&redis.url()).await;
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "[::1]"] {
        let url = format!("redis://{host}:{}", redis.port).parse().unwrap();
        RedisTokenCache::builder(&url).with_sealing_key(sealing_key('a')).connect().await.unwrap();
    }
}

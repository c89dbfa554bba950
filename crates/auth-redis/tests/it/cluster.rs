//! A cluster of three nodes on loopback.

use std::ffi::OsString;
use std::process::Command;

use auth_core::{AsyncTokenCache, RefreshLease, Secret, TokenKey};
use auth_redis::{CacheError, RedisTokenCache, RedisTokenCacheBuilder};
use platform_testkit::{async_token_cache, refresh_lease};

use tempfile::TempDir;
use url::Url;

use crate::access::{self, USER};
use crate::authority::Authority;
use crate::fixtures::{acquired_guard, cluster_builder_with_long_timeouts, key, sealing_key, token};
use crate::fleet::wait_until;
use crate::redis_server::Redis;

/// Three primaries with a third of the slots each.
struct Cluster(Vec<Redis>);

impl Cluster {
    fn start() -> Option<Self> {
        Self::start_with(|_, _| Vec::new(), None)
    }

    /// Starts a cluster with additional settings for each node. `authority` issued the certificates of a cluster with
    /// TLS.
    fn start_with(
        extra_settings: impl Fn(&TempDir, u16) -> Vec<OsString>,
        authority: Option<&Authority>,
    ) -> Option<Self> {
        let settings =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"];
        let node = |_| {
            Redis::with(|folder, port| {
                let mut arguments: Vec<_> = settings.map(Into::into).to_vec();
                arguments.extend(extra_settings(folder, port));
                arguments
            })
        };
        let cluster = Self((0..3).map(node).collect::<Option<_>>()?);
        let cli = |arguments: &[&str]| {
            let mut command = authority.map_or_else(|| Command::new("redis-cli"), access::administrator);
            command.args(arguments);
            command
        };
        let addresses = cluster.0.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let mut create = cli(&["--cluster", "create"]);
        let output = create.args(addresses).arg("--cluster-yes").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for node in &cluster.0 {
            wait_until("the node reports that the cluster works", || {
                let output = cli(&["-p", &node.port.to_string(), "cluster", "info"]).output().unwrap();
                String::from_utf8_lossy(&output.stdout).contains("cluster_state:ok")
            });
        }
        Some(cluster)
    }

    fn builder(&self) -> RedisTokenCacheBuilder {
        let nodes: Vec<_> = self.0.iter().map(Redis::url).collect();
        cluster_builder_with_long_timeouts(&nodes).with_sealing_key(sealing_key('a'))
    }

    async fn cache(&self) -> RedisTokenCache {
        self.builder().connect().await.unwrap()
    }
}

fn keys(count: u32) -> Vec<TokenKey> {
    (0..count).map(|number| TokenKey::new(format!("https://issuer.example/{number}"))).collect()
}

#[tokio::test]
async fn cache_and_lease_in_a_cluster_pass_the_conformance_suites() {
    let Some(cluster) = Cluster::start() else { return };
    let [first, second] = [cluster.cache().await, cluster.cache().await];
    async_token_cache(&first).await;
    refresh_lease(&first, &second, &second).await;
}

#[tokio::test]
async fn user_with_the_documented_permissions_can_use_a_cluster_over_tls() {
    let authority = Authority::new();
    let Some(cluster) = Cluster::start_with(
        |folder, port| {
            let mut arguments = access::tls_settings(folder, port, &authority, "127.0.0.1");
            arguments.extend(["--tls-cluster", "yes", "--tls-replication", "yes"].map(Into::into));
            arguments
        },
        Some(&authority),
    ) else {
        return;
    };
    let nodes: Vec<Url> =
        cluster.0.iter().map(|node| format!("rediss://127.0.0.1:{}", node.port).parse().unwrap()).collect();
    let builder = || {
        cluster_builder_with_long_timeouts(&nodes)
            .with_sealing_key(sealing_key('a'))
            .with_root_certificates(authority.file())
    };
    let cache = builder().with_user(USER, access::password()).connect().await.unwrap();
    async_token_cache(&cache).await;
    refresh_lease(&cache, &cache.clone(), &cache).await;
    // The Redis library reports a refused login to a cluster like an unavailable cluster.
    let cache = builder().with_user(USER, Secret::new("wrong")).connect().await.unwrap();
    let error = cache.get(&key()).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
    assert!(format!("{error:?}").contains("authentication failed"), "{error:?}");
}

#[tokio::test]
async fn cache_with_one_configured_node_uses_and_clears_all_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    let cache = cluster_builder_with_long_timeouts(&[cluster.0[1].url()])
        .with_sealing_key(sealing_key('a'))
        .connect()
        .await
        .unwrap();
    let keys = keys(600);
    for key in &keys {
        cache.set(key, &token("kept")).await.unwrap();
    }
    let count_entries = |node: &Redis| node.run_cli(&["--scan", "--pattern", "*:token"]).lines().count();
    for node in &cluster.0 {
        assert!(count_entries(node) > 100, "each node has some of the entries");
    }
    cluster.0[0].run_cli(&["set", &foreign_key(&cluster.0[0]), "else's"]);
    cache.clear().await.unwrap();
    for node in &cluster.0 {
        assert_eq!(count_entries(node), 0);
    }
    assert_eq!(cluster.0[0].run_cli(&["get", &foreign_key(&cluster.0[0])]), "else's");
    let guard = acquired_guard(cache.acquire(&keys[0], None).await);
    assert!(!format!("{guard:?}").contains("fence: 1 "), "the fence was advanced and not deleted: {guard:?}");
}

/// Returns a key name on this node that does not belong to the cache.
fn foreign_key(node: &Redis) -> String {
    let names = (0..1000).map(|number| format!("other:{number}"));
    let is_on_node = |name: &String| !node.run_cli(&["get", name]).starts_with("MOVED");
    names.into_iter().find(is_on_node).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_fails_only_for_a_missing_node_and_recovers() {
    let Some(mut cluster) = Cluster::start() else { return };
    let cache = cluster.builder().with_total_timeout(std::time::Duration::from_secs(2)).connect().await.unwrap();
    let keys = keys(30);
    for key in &keys {
        cache.set(key, &token("kept")).await.unwrap();
    }
    cluster.0[2].kill();
    let mut failed_reads = 0;
    for key in &keys {
        if let Err(error) = cache.get(key).await {
            assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
            failed_reads += 1;
        }
    }
    assert!(failed_reads > 0);
    cluster.0[2].restart();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        wait_until("all keys are served again", || {
            keys.iter().all(|key| runtime.block_on(cache.set(key, &token("again"))).is_ok())
        });
    });
    assert!(cache.get(&key()).await.unwrap().is_none());
}

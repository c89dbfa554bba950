//! A Redis server or cluster, and connections to it.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisFuture, RedisResult, Value};

use crate::scripts;

/// The timeout of a connection attempt: DNS, TCP, TLS and authentication.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of keys that the server examines in one step of a scan.
const SCAN_COUNT: usize = 500;

/// The server or cluster to connect to.
#[derive(Clone)]
pub(crate) enum Server {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A connection to a server or a cluster. Clones are cheap and share the connection.
#[derive(Clone)]
pub(crate) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A server that stores keys: the single server (`None`), or a primary of the cluster with its host and port.
#[derive(Clone, Debug)]
pub(crate) struct Primary(Option<(String, u16)>);

impl Server {
    /// Opens a connection.
    pub(crate) async fn connect(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::Single(client) => {
                // `Link` applies the response timeout.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(None);
                let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                // Scripts are loaded in advance, so that the first call of a script takes only one round trip. An error
                // is ignored here, because it recurs when the script is used.
                for script in scripts::all() {
                    let _ = script.load_async(&mut connection).await;
                }
                Connection::Single(connection)
            }
            Self::Cluster(client) => {
                let config =
                    ClusterConfig::new().set_connection_timeout(CONNECT_TIMEOUT).set_response_timeout(CONNECT_TIMEOUT);
                Connection::Cluster(client.get_async_connection_with_config(config).await?)
            }
        })
    }
}

impl Connection {
    /// Sends `PING`.
    pub(crate) async fn ping(&mut self) -> RedisResult<()> {
        redis::cmd("PING").query_async(self).await
    }

    /// Returns all servers that store keys.
    pub(crate) async fn primaries(&mut self) -> RedisResult<Vec<Primary>> {
        let Self::Cluster(cluster) = self else { return Ok(vec![Primary(None)]) };
        let all_primaries = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let Value::Map(responses) = cluster.route_command(redis::cmd("PING"), all_primaries).await? else {
            return Err(
                (ErrorKind::UnexpectedReturnType, "the response does not list the primaries of the cluster").into()
            );
        };
        let parse_primary = |(address, response): (Value, Value)| {
            response.extract_error()?;
            let address = String::from_redis_value(address)?;
            let host_and_port =
                address.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
            host_and_port.map(|host_and_port| Primary(Some(host_and_port))).ok_or_else(|| {
                (ErrorKind::UnexpectedReturnType, "the address of a primary of the cluster is invalid").into()
            })
        };
        responses.into_iter().map(parse_primary).collect()
    }

    /// Runs one `SCAN` on a server. Returns the next cursor, which is 0 at the end, and the matching key names.
    pub(crate) async fn scan(
        &mut self,
        primary: &Primary,
        pattern: &str,
        cursor: u64,
    ) -> RedisResult<(u64, Vec<Vec<u8>>)> {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
        match (self, primary) {
            (Self::Cluster(cluster), Primary(Some((host, port)))) => {
                let address = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                let response = cluster.route_command(command, RoutingInfo::SingleNode(address)).await?;
                Ok(redis::from_redis_value(response)?)
            }
            (connection, _) => command.query_async(connection).await,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(single) => single.req_packed_command(command),
            Self::Cluster(cluster) => cluster.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(single) => single.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(single) => single.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}

impl fmt::Debug for Server {
    /// Hides the inner values, which may contain a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}

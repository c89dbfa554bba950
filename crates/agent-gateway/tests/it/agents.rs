//! A2A agents: their cards, and how they are cached.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_gateway::{
    AgentAddress, AgentFilter, Agents, Credentials, DirectoryError, Gateway, GatewayBuilder, Listed, Principal, Server,
    ServerDirectory, Tenant,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use url::Url;

use crate::clock::ManualClock;
use crate::fake_server::{FakeServer, user};
use crate::server::{ReceivedRequest, Reply};

/// Returns a card with an interface at this URL.
fn card(name: &str, url: &Url) -> Value {
    json!({
        "name": name, "description": "d", "version": "1", "capabilities": {},
        "supportedInterfaces": [{ "url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0" }],
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"], "skills": [],
    })
}

fn agent(fake: &FakeServer, id: &str) -> AgentAddress {
    AgentAddress::at(fake.url().join(&format!("/v1/a2a/{id}/1")).unwrap(), id, "1")
}

fn builder(fake: &FakeServer, ids: &[&str]) -> GatewayBuilder {
    let agents: Vec<_> = ids.iter().map(|id| agent(fake, id)).collect();
    fake.builder().with_agents(agents)
}

async fn listed(gateway: &Gateway, principal: &Principal) -> Agents {
    gateway.list_agents(principal, &AgentFilter::new()).await.unwrap()
}

fn names(found: &Agents) -> Vec<&str> {
    found.agents.iter().map(|agent| agent.card().name()).collect()
}

/// Returns a card whose URL is that of the server of the request.
fn own_card(asked: &ReceivedRequest<'_>) -> Value {
    card(asked.case, &format!("http://{}/", asked.headers["host"]).parse().unwrap())
}

fn ok(headers: &'static str, card: &Value) -> Reply {
    Reply::Raw(200, headers, card.to_string().into_bytes())
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn malformed_card_is_named_and_hides_no_other() {
    let fake = FakeServer::start(|asked| {
        let mut card = own_card(asked);
        if asked.case == "second" {
            card["skills"] = json!([{ "id": "a", "name": "b", "description": "c" }]);
        }
        Reply::Json(card)
    });
    let gateway = builder(&fake, &["first", "second", "third"]).build();
    let found = listed(&gateway, &Principal::System).await;
    assert_eq!(names(&found), ["first", "third"]);
    let [error] = &found.errors[..] else { panic!("{:?}", found.errors) };
    assert!(error.is_invalid() && error.agent() == Some(&agent(&fake, "second")), "{error:?}");
    assert_eq!(error.field(), Some("skills[0].tags"));
    assert!(error.to_string().contains("`second` of the tenant `1`") && error.to_string().contains("`skills[0].tags`"));
    let strict = gateway.list_agents(&Principal::System, &AgentFilter::new()).strict().await.unwrap_err();
    assert_eq!(strict.field(), Some("skills[0].tags"));
    let request = &fake.seen("GET")[0];
    assert_eq!(request.header("authorization"), Some("Bearer canary-token"));
    assert!(request.header("x-correlation-id").is_some());
}

#[tokio::test]
async fn card_is_cached_as_long_as_its_server_says_and_then_revalidated() {
    let cards = Arc::new(AtomicUsize::new(0));
    let served = cards.clone();
    let fake = FakeServer::start(move |asked| {
        let mut card = own_card(asked);
        card["version"] = json!(served.load(Ordering::SeqCst).to_string());
        let (headers, tag) = match served.load(Ordering::SeqCst) {
            0 => ("content-type: application/json\r\ncache-control: max-age=30\r\netag: \"v0\"\r\n", "\"v0\""),
            _ => ("content-type: application/json\r\ncache-control: no-cache\r\netag: W/\"v1\"\r\n", "W/\"v1\""),
        };
        if asked.headers.get("if-none-match").map(String::as_str) == Some(tag) {
            return Reply::Raw(304, "", Vec::new());
        }
        ok(headers, &card)
    });
    let clock = Arc::new(ManualClock::start());
    let gateway = builder(&fake, &["a"]).with_clock(clock.clone()).build();
    let version = async || listed(&gateway, &Principal::System).await.agents[0].card().version().to_owned();
    assert_eq!((version().await, version().await, fake.count("GET")), ("0".into(), "0".into(), 1));
    clock.advance(Duration::from_secs(31));
    assert_eq!((version().await, fake.count("GET")), ("0".into(), 2));
    // A 304 without `Cache-Control` has that of the stored response.
    clock.advance(Duration::from_secs(29));
    assert_eq!((version().await, fake.count("GET")), ("0".into(), 2));
    clock.advance(Duration::from_secs(2));
    cards.store(1, Ordering::SeqCst);
    assert_eq!((version().await, fake.count("GET")), ("1".into(), 3));
    // `no-cache`: each list asks.
    assert_eq!((version().await, fake.count("GET")), ("1".into(), 4));
    let tags: Vec<_> = fake.seen("GET").iter().map(|seen| seen.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(tags, [None, Some("\"v0\"".into()), Some("\"v0\"".into()), Some("W/\"v1\"".into())]);
    gateway.evict();
    version().await;
    assert_eq!(fake.seen("GET")[4].header("if-none-match"), None);
}

#[tokio::test]
async fn cards_that_must_not_be_stored_are_not() {
    let fake = FakeServer::start(|asked| {
        let headers = match asked.case {
            "secret" => "content-type: application/json\r\ncache-control: no-store\r\netag: \"x\"\r\n",
            "unchanged" => return Reply::Raw(304, "", Vec::new()),
            _ => JSON,
        };
        ok(headers, &own_card(asked))
    });
    let gateway = builder(&fake, &["secret", "plain"]).build();
    for lists in 1..=3 {
        listed(&gateway, &Principal::System).await;
        assert_eq!(fake.count("GET"), lists + 1, "the plain one is requested once");
    }
    assert!(fake.seen("GET").iter().all(|seen| seen.header("if-none-match").is_none()));
    let uncached = builder(&fake, &["plain"]).with_tool_lifetime(Duration::ZERO).build();
    listed(&uncached, &Principal::System).await;
    listed(&uncached, &Principal::System).await;
    assert_eq!(fake.count("GET"), 6);
    let found = listed(&builder(&fake, &["unchanged"]).build(), &Principal::System).await;
    assert_eq!(found.errors[0].status(), Some(304), "a 304 without a known card is an error");
}

#[tokio::test]
async fn cards_of_one_principal_are_not_used_for_another() {
    let asked = Arc::new(AtomicUsize::new(0));
    let fake = FakeServer::start(move |request| {
        if request.method == "token" {
            return Reply::Nothing;
        }
        let mut card = own_card(request);
        card["version"] = json!(asked.fetch_add(1, Ordering::SeqCst).to_string());
        ok("content-type: application/json\r\ncache-control: public, max-age=600\r\n", &card)
    });
    let gateway = builder(&fake, &["a"]).build();
    let acme = Tenant::new("acme").unwrap();
    let principals = [
        Principal::System,
        Principal::System.with_tenant(acme.clone()),
        user("alice"),
        user("bob"),
        user("alice").with_tenant(acme.clone()),
        user("alice").with_tenant(Tenant::new("globex").unwrap()),
    ];
    for _ in 0..2 {
        for (number, principal) in principals.iter().enumerate() {
            let found = listed(&gateway, principal).await;
            assert_eq!(found.agents[0].card().version(), number.to_string(), "{principal:?}");
        }
    }
    let limited = fake.builder().with_agents([agent(&fake, "b").with_subscriber(acme)]).build();
    let found = listed(&limited, &user("alice")).await;
    assert!(found.errors[0].is_wrong_tenant() && found.agents.is_empty(), "{found:?}");
    assert_eq!(fake.count("GET"), principals.len(), "and nothing was sent");
}

#[tokio::test]
async fn filter_selects_agents_before_and_after_the_request() {
    let fake = FakeServer::start(|asked| Reply::Json(own_card(asked)));
    let gateway = builder(&fake, &["a", "b", "c"]).build();
    let list = async |filter: AgentFilter| gateway.list_agents(&Principal::System, &filter).await;
    assert_eq!(names(&list(AgentFilter::new().with_agent("b")).await.unwrap()), ["b"]);
    assert_eq!(fake.count("GET"), 1, "the others received no request");
    assert_eq!(names(&list(AgentFilter::new().with_name("c").with_name("a")).await.unwrap()), ["a", "c"]);
    let error = list(AgentFilter::new().with_agent("d")).await.unwrap_err();
    assert!(error.to_string().contains("`d`"), "an empty list would hide the mistake: {error}");
}

#[tokio::test]
async fn interfaces_at_other_origins_need_a_permission() {
    let elsewhere: Url = "https://agents.test/".parse().unwrap();
    let claimed = elsewhere.clone();
    let fake = FakeServer::start(move |asked| Reply::Json(card(asked.case, &claimed)));
    let found = listed(&builder(&fake, &["a"]).build(), &Principal::System).await;
    let error = &found.errors[0];
    assert!(error.is_other_origin() && error.field() == Some("supportedInterfaces[0].url"), "{error:?}");
    assert!(error.to_string().contains("https://agents.test:443") && error.to_string().contains("`a`"), "{error}");
    let permitted = builder(&fake, &["a"]).with_agent_origin(&elsewhere).build();
    assert_eq!(names(&listed(&permitted, &Principal::System).await), ["a"]);
    // A card that is stored elsewhere describes an agent at its own URL.
    let stored = AgentAddress::new(elsewhere, "b").with_card_url(fake.url().join("/v1/cards/b").unwrap());
    let gateway = Gateway::builder(Credentials::none(), Vec::new()).with_plain_loopback().with_agents([stored]).build();
    assert_eq!(names(&listed(&gateway, &Principal::System).await), ["b"]);
}

/// A directory with a valid entry and one that is not.
#[derive(Debug)]
struct Catalog(AgentAddress);

#[async_trait]
impl ServerDirectory for Catalog {
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        Ok(Vec::new())
    }

    async fn agents_for(&self, principal: &Principal) -> Result<Listed<AgentAddress>, DirectoryError> {
        if principal.tenant().is_none() {
            return Err(DirectoryError::other("the catalog needs a tenant", "no tenant"));
        }
        let invalid = DirectoryError::other("the entry `x` has no URL", "it is empty");
        Ok(Listed::from(vec![self.0.clone()]).with_errors([invalid]))
    }
}

#[tokio::test]
async fn directory_lists_agents_with_their_locations_and_its_errors() {
    let fake = FakeServer::start(|asked| Reply::Json(own_card(asked)));
    let at = agent(&fake, "a").with_card_url(fake.url().join("/v1/cards/located").unwrap());
    let gateway = Gateway::builder(Credentials::none(), Catalog(at)).with_plain_loopback().build();
    let acme = Principal::System.with_tenant(Tenant::new("acme").unwrap());
    let found = listed(&gateway, &acme).await;
    assert_eq!(names(&found), ["located"]);
    assert!(found.errors.len() == 1 && found.errors[0].agent().is_none(), "{found:?}");
    let error = gateway.list_agents(&Principal::System, &AgentFilter::new()).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("needs a tenant"), "{cause}");
}

#[tokio::test]
async fn rejected_token_is_not_sent_again() {
    let fake = FakeServer::start(|asked| match asked.method {
        "GET" => Reply::Raw(401, "www-authenticate: Bearer\r\n", Vec::new()),
        _ => Reply::Nothing,
    });
    let gateway = builder(&fake, &["a"]).build();
    let found = listed(&gateway, &Principal::System).await;
    assert_eq!((found.errors[0].status(), fake.count("GET")), (Some(401), 1), "the token service has no other token");
    listed(&gateway, &Principal::System).await;
    assert_eq!(fake.count("GET"), 1);
}

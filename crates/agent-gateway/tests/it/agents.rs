//! The cards of A2A agents, and their cache.

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

/// Returns the address of an agent behind the server.
fn agent(fake: &FakeServer, id: &str) -> AgentAddress {
    AgentAddress::at(fake.url().join(&format!("/v1/a2a/{id}/1")).unwrap(), id, "1")
}

/// Returns the builder of a gateway with these agents.
fn builder(fake: &FakeServer, ids: &[&str]) -> GatewayBuilder {
    let agents: Vec<_> = ids.iter().map(|id| agent(fake, id)).collect();
    fake.builder().with_agents(agents)
}

async fn list_agents(gateway: &Gateway, principal: &Principal) -> Agents {
    gateway.list_agents(principal, &AgentFilter::new()).await.unwrap()
}

/// Returns the names in the cards of the agents.
fn card_names(listing: &Agents) -> Vec<&str> {
    listing.agents.iter().map(|agent| agent.card().name()).collect()
}

/// Returns a card with an interface at the server that received the request.
fn own_card(request: &ReceivedRequest<'_>) -> Value {
    card(request.case, &format!("http://{}/", request.headers["host"]).parse().unwrap())
}

/// Returns a successful response with a card.
fn card_response(headers: &'static str, card: &Value) -> Reply {
    Reply::Raw(200, headers, card.to_string().into_bytes())
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn malformed_card_is_reported_and_others_are_listed() {
    let fake = FakeServer::start(|request| {
        let mut card = own_card(request);
        if request.case == "second" {
            card["skills"] = json!([{ "id": "a", "name": "b", "description": "c" }]);
        }
        Reply::Json(card)
    });
    let gateway = builder(&fake, &["first", "second", "third"]).build();
    let listing = list_agents(&gateway, &Principal::System).await;
    assert_eq!(card_names(&listing), ["first", "third"]);
    let [error] = &listing.errors[..] else { panic!("{:?}", listing.errors) };
    assert!(error.is_invalid() && error.agent() == Some(&agent(&fake, "second")), "{error:?}");
    assert_eq!(error.field(), Some("skills[0].tags"));
    assert!(error.to_string().contains("`second` of the tenant `1`") && error.to_string().contains("`skills[0].tags`"));
    let strict = gateway.list_agents(&Principal::System, &AgentFilter::new()).strict().await.unwrap_err();
    assert_eq!(strict.field(), Some("skills[0].tags"));
    let request = &fake.requests("GET")[0];
    assert_eq!(request.header("authorization"), Some("Bearer canary-token"));
    assert!(request.header("x-correlation-id").is_some());
}

#[tokio::test]
async fn card_is_cached_for_its_max_age_and_then_revalidated() {
    let current_version = Arc::new(AtomicUsize::new(0));
    let served_version = current_version.clone();
    let fake = FakeServer::start(move |request| {
        let mut card = own_card(request);
        card["version"] = json!(served_version.load(Ordering::SeqCst).to_string());
        let (headers, entity_tag) = match served_version.load(Ordering::SeqCst) {
            0 => ("content-type: application/json\r\ncache-control: max-age=30\r\netag: \"v0\"\r\n", "\"v0\""),
            _ => ("content-type: application/json\r\ncache-control: no-cache\r\netag: W/\"v1\"\r\n", "W/\"v1\""),
        };
        if request.headers.get("if-none-match").map(String::as_str) == Some(entity_tag) {
            return Reply::Raw(304, "", Vec::new());
        }
        card_response(headers, &card)
    });
    let clock = Arc::new(ManualClock::start());
    let gateway = builder(&fake, &["a"]).with_clock(clock.clone()).build();
    let version = async || list_agents(&gateway, &Principal::System).await.agents[0].card().version().to_owned();
    assert_eq!((version().await, version().await, fake.count("GET")), ("0".into(), "0".into(), 1));
    clock.advance(Duration::from_secs(31));
    assert_eq!((version().await, fake.count("GET")), ("0".into(), 2));
    // After a 304 without `Cache-Control`, the value of the stored response still applies.
    clock.advance(Duration::from_secs(29));
    assert_eq!((version().await, fake.count("GET")), ("0".into(), 2));
    clock.advance(Duration::from_secs(2));
    current_version.store(1, Ordering::SeqCst);
    assert_eq!((version().await, fake.count("GET")), ("1".into(), 3));
    // With `no-cache`, each list revalidates the card.
    assert_eq!((version().await, fake.count("GET")), ("1".into(), 4));
    let entity_tags: Vec<_> =
        fake.requests("GET").iter().map(|request| request.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(entity_tags, [None, Some("\"v0\"".into()), Some("\"v0\"".into()), Some("W/\"v1\"".into())]);
    gateway.evict();
    version().await;
    assert_eq!(fake.requests("GET")[4].header("if-none-match"), None);
}

#[tokio::test]
async fn cards_with_no_store_are_not_cached() {
    let fake = FakeServer::start(|request| {
        let headers = match request.case {
            "secret" => "content-type: application/json\r\ncache-control: no-store\r\netag: \"x\"\r\n",
            "unchanged" => return Reply::Raw(304, "", Vec::new()),
            _ => JSON,
        };
        card_response(headers, &own_card(request))
    });
    let gateway = builder(&fake, &["secret", "plain"]).build();
    for list_count in 1..=3 {
        list_agents(&gateway, &Principal::System).await;
        assert_eq!(fake.count("GET"), list_count + 1, "the cacheable card is requested only once");
    }
    assert!(fake.requests("GET").iter().all(|request| request.header("if-none-match").is_none()));
    let uncached = builder(&fake, &["plain"]).with_tool_lifetime(Duration::ZERO).build();
    list_agents(&uncached, &Principal::System).await;
    list_agents(&uncached, &Principal::System).await;
    assert_eq!(fake.count("GET"), 6);
    let listing = list_agents(&builder(&fake, &["unchanged"]).build(), &Principal::System).await;
    assert_eq!(listing.errors[0].status(), Some(304), "a 304 without a stored card is an error");
}

#[tokio::test]
async fn cards_of_one_principal_are_not_used_for_another() {
    let card_count = Arc::new(AtomicUsize::new(0));
    let fake = FakeServer::start(move |request| {
        if request.method == "token" {
            return Reply::Nothing;
        }
        let mut card = own_card(request);
        card["version"] = json!(card_count.fetch_add(1, Ordering::SeqCst).to_string());
        card_response("content-type: application/json\r\ncache-control: public, max-age=600\r\n", &card)
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
            let listing = list_agents(&gateway, principal).await;
            assert_eq!(listing.agents[0].card().version(), number.to_string(), "{principal:?}");
        }
    }
    let gateway_of_tenant = fake.builder().with_agents([agent(&fake, "b").with_subscriber(acme)]).build();
    let listing = list_agents(&gateway_of_tenant, &user("alice")).await;
    assert!(listing.errors[0].is_wrong_tenant() && listing.agents.is_empty(), "{listing:?}");
    assert_eq!(fake.count("GET"), principals.len(), "no request was sent for the wrong tenant");
}

#[tokio::test]
async fn filter_selects_agents_before_and_after_the_request() {
    let fake = FakeServer::start(|request| Reply::Json(own_card(request)));
    let gateway = builder(&fake, &["a", "b", "c"]).build();
    let list = async |filter: AgentFilter| gateway.list_agents(&Principal::System, &filter).await;
    assert_eq!(card_names(&list(AgentFilter::new().with_agent("b")).await.unwrap()), ["b"]);
    assert_eq!(fake.count("GET"), 1, "the other agents received no request");
    assert_eq!(card_names(&list(AgentFilter::new().with_name("c").with_name("a")).await.unwrap()), ["a", "c"]);
    let error = list(AgentFilter::new().with_agent("d")).await.unwrap_err();
    assert!(error.to_string().contains("`d`"), "an empty list would hide the mistake: {error}");
}

#[tokio::test]
async fn interfaces_at_other_origins_need_a_permission() {
    let other_origin: Url = "https://agents.test/".parse().unwrap();
    let claimed_url = other_origin.clone();
    let fake = FakeServer::start(move |request| Reply::Json(card(request.case, &claimed_url)));
    let listing = list_agents(&builder(&fake, &["a"]).build(), &Principal::System).await;
    let error = &listing.errors[0];
    assert!(error.is_other_origin() && error.field() == Some("supportedInterfaces[0].url"), "{error:?}");
    assert!(error.to_string().contains("https://agents.test:443") && error.to_string().contains("`a`"), "{error}");
    let gateway_with_permission = builder(&fake, &["a"]).with_agent_origin(&other_origin).build();
    assert_eq!(card_names(&list_agents(&gateway_with_permission, &Principal::System).await), ["a"]);
    // The card may be stored at another origin than its agent.
    let agent_with_stored_card =
        AgentAddress::new(other_origin, "b").with_card_url(fake.url().join("/v1/cards/b").unwrap());
    let gateway = Gateway::builder(Credentials::none(), Vec::new())
        .with_plain_loopback()
        .with_agents([agent_with_stored_card])
        .build();
    assert_eq!(card_names(&list_agents(&gateway, &Principal::System).await), ["b"]);
}

/// A directory with a valid and an invalid entry. It requires a tenant.
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
    let fake = FakeServer::start(|request| Reply::Json(own_card(request)));
    let address = agent(&fake, "a").with_card_url(fake.url().join("/v1/cards/located").unwrap());
    let gateway = Gateway::builder(Credentials::none(), Catalog(address)).with_plain_loopback().build();
    let acme = Principal::System.with_tenant(Tenant::new("acme").unwrap());
    let listing = list_agents(&gateway, &acme).await;
    assert_eq!(card_names(&listing), ["located"]);
    assert!(listing.errors.len() == 1 && listing.errors[0].agent().is_none(), "{listing:?}");
    let error = gateway.list_agents(&Principal::System, &AgentFilter::new()).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("needs a tenant"), "{cause}");
}

#[tokio::test]
async fn rejected_token_is_not_sent_again() {
    let fake = FakeServer::start(|request| match request.method {
        "GET" => Reply::Raw(401, "www-authenticate: Bearer\r\n", Vec::new()),
        _ => Reply::Nothing,
    });
    let gateway = builder(&fake, &["a"]).build();
    let listing = list_agents(&gateway, &Principal::System).await;
    assert_eq!((listing.errors[0].status(), fake.count("GET")), (Some(401), 1), "the token service has no other token");
    list_agents(&gateway, &Principal::System).await;
    assert_eq!(fake.count("GET"), 1);
}

//! Destinations of several tenants.

pub(crate) mod double;
mod origins;

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_gateway::{
    AgentFilter, CredentialError, CredentialSource, Destinations, Gateway, Principal, ServerDirectory, Tenant,
    ToolFilter, User,
};
use auth_core::Secret;
use serde_json::{Map, Value, json};

use crate::clock::ManualClock;
use double::{Double, Got, of, system_of, user_of};

/// A JWT whose only claim is `exp`: 4102444800.
const ASSERTION: &str = "e30.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln";
/// A response of the service instead of the usual one.
type Response = fn(&Got) -> Option<(u16, Value)>;

const TENANTS: [&str; 2] = ["acme", "globex"];

async fn tools(gateway: &Gateway, principal: &Principal) -> Vec<String> {
    let found = gateway.list_tools(principal, &ToolFilter::new()).strict().await.unwrap();
    found.tools.iter().map(|tool| tool.name().to_owned()).collect()
}

async fn agents(gateway: &Gateway, principal: &Principal) -> Vec<String> {
    let found = gateway.list_agents(principal, &AgentFilter::new()).strict().await.unwrap();
    found.agents.iter().map(|agent| agent.card().name().to_owned()).collect()
}

/// Returns an error with its causes.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_agents_and_tokens_of_two_tenants_never_cross() {
    let double = Double::start().await;
    let gateway = double.builder().build();
    let principals = TENANTS.into_iter().flat_map(|tenant| {
        let of = |name| (user_of(name, tenant), format!("token-{tenant}-{name}"));
        [(system_of(tenant), format!("token-{tenant}-system")), of("alice"), of("bob")]
    });
    let principals: Vec<_> = principals.collect();
    for _ in 0..3 {
        let rounds = principals.iter().map(async |(principal, token)| {
            assert_eq!(tools(&gateway, principal).await, std::slice::from_ref(token));
            assert_eq!(agents(&gateway, principal).await, std::slice::from_ref(token));
            let raw = gateway.token_for(principal).await.unwrap();
            assert_eq!(raw.token().secret().expose(), token);
        });
        futures_util::future::join_all(rounds).await;
        gateway.evict();
    }
    // Each token was obtained once, for its tenant; and each server has received tokens of its own tenant only.
    let exchanged: Vec<_> = double.got_at("/v2/").into_iter().filter(|got| got.query.is_empty()).collect();
    assert_eq!(exchanged.len(), principals.len());
    assert_eq!(double.got().iter().filter(|got| got.is_token()).count(), TENANTS.len());
    for got in double.got().iter().filter(|got| !got.is_token()) {
        let fragment = got.headers.get("x-fragment-name").map(|name| name.split('-').next().unwrap());
        assert!(fragment.is_none() || fragment == got.tenant(), "{got:?}");
    }
    for seen in ["initialize", "tools/list", "GET"].map(|method| double.gateway.seen(method)).concat() {
        assert!(seen.case.split('-').next_back() == seen.token_tenant(), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_of_one_tenant_is_not_called_for_another() {
    let double = Double::start().await;
    let gateway = double.builder().build();
    let found = gateway.list_tools(&system_of("acme"), &ToolFilter::new()).strict().await.unwrap();
    let tool = &found.tools[0];
    assert_eq!((tool.server().ord_id(), tool.server().tenant()), ("orders-acme", "acme-gtid"));
    assert_eq!(gateway.call_tool(tool, &user_of("alice", "acme"), Map::new()).await.unwrap().text(), "done");
    let (sent, got) = (double.gateway.count("tools/call"), double.got().len());
    for principal in [system_of("globex"), user_of("alice", "globex"), Principal::System] {
        let error = gateway.call_tool(tool, &principal, Map::new()).await.unwrap_err();
        assert!(error.is_wrong_tenant() && error.server() == Some(tool.server()), "{error:?}");
    }
    assert_eq!((double.gateway.count("tools/call"), double.got().len()), (sent, got), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_tokens_have_the_url_of_the_gateway_and_are_not_shown() {
    let double = Double::start().await;
    let gateway = double.builder().build();
    let system = gateway.token_for(&system_of("acme")).await.unwrap();
    assert_eq!(system.token().secret().expose(), "token-acme-system");
    assert_eq!(system.gateway_url(), Some(&double.gateway.url()));
    let shown = format!("{system:?} {gateway:?} {:?} {:?}", double.destinations(), double.binding());
    assert!(!shown.contains("token-acme") && !shown.contains("canary"), "{shown}");

    let long = Arc::new(|got: &Got| {
        let header = json!({ "key": "Authorization", "value": "Bearer of-a-user" });
        let token = json!([{ "type": "Bearer", "http_header": header, "expires_in": "9999999999" }]);
        let found = json!({ "destinationConfiguration": { "URL": "https://gateway.test/" }, "authTokens": token });
        got.path.contains("/v2/").then_some((200, found))
    });
    let double = Double::with(long).await;
    let gateway = double.builder().build();
    let alice = User::new(Secret::new(ASSERTION)).unwrap().with_tenant(Tenant::new("acme").unwrap());
    let token = gateway.user_token(&alice).await.unwrap();
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    assert_eq!((token.token().expires_at(), token.token().secret().expose()), (Some(expiry), "of-a-user"));
    assert_eq!(token.gateway_url().map(url::Url::as_str), Some("https://gateway.test/"));
    assert_eq!(double.got_at("/v2/")[0].headers["x-user-token"], ASSERTION);
}

#[tokio::test(flavor = "multi_thread")]
async fn principal_without_a_tenant_is_refused_before_any_request() {
    let double = Double::start().await;
    let gateway = double.builder().build();
    for principal in [Principal::System, crate::fake_server::user("alice")] {
        let error = gateway.list_tools(&principal, &ToolFilter::new()).await.unwrap_err();
        assert!(causes(&error).contains("no tenant is given"), "{}", causes(&error));
        let error = gateway.list_agents(&principal, &AgentFilter::new()).await.unwrap_err();
        assert!(causes(&error).contains("no tenant is given"), "{}", causes(&error));
    }
    let error = gateway.system_token().await.unwrap_err();
    assert!(error.is_token_error() && causes(&error).contains("no tenant is given"), "{}", causes(&error));
    assert!(double.destinations().servers().await.is_err());
    assert!(double.got().is_empty() && double.gateway.tokens() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn service_gets_the_requests_that_it_documents_and_its_lists_are_cached() {
    let double = Double::start().await;
    let clock = Arc::new(ManualClock::start());
    let gateway = of(double.destinations().with_clock(clock.clone())).with_clock(clock.clone()).build();
    tools(&gateway, &system_of("acme")).await;
    tools(&gateway, &system_of("acme")).await;
    let all = double.got();
    let token = &all[0];
    assert_eq!((token.host.clone(), token.is_token()), (format!("acme.auth.test:{}", double.port), true));
    let form = |name: &str| token.form.get(name).map(String::as_str);
    assert_eq!((form("grant_type"), form("client_id")), (Some("client_credentials"), Some("client-1")));
    assert_eq!((form("client_secret"), form("organization")), (Some("canary-secret"), None));
    let labels: Vec<_> = all.iter().filter_map(Got::label).collect();
    assert_eq!(labels, ["agw.mcp.server", "subscriber.ias"]);
    assert!(all[1].path.ends_with("/destination-configuration/v1/instanceDestinationFragments"), "{:?}", all[1]);
    let [url, exchange] = &double.got_at("/v2/")[..] else { panic!("two requests") };
    assert_eq!(url.query["$skipTokenRetrieval"], "true");
    assert_eq!(exchange.headers["x-fragment-name"], "acme-system@instance");
    assert!(exchange.query.is_empty() && !exchange.headers.contains_key("x-user-token"));
    assert!(!url.headers.contains_key("x-fragment-name"), "the origin is that of the destination alone");
    assert_eq!(all.len(), 5);
    clock.advance(Duration::from_secs(301));
    tools(&gateway, &system_of("acme")).await;
    assert_eq!(double.got().len(), 8, "two lists and the URL, but no token");
    gateway.evict();
    tools(&gateway, &system_of("acme")).await;
    assert_eq!(double.got().len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn fragment_that_is_not_valid_is_named_and_hides_no_other() {
    let double = Double::with(Arc::new(|got: &Got| {
        let list = json!([
            { "FragmentName": "nowhere" },
            { "FragmentName": "elsewhere", "URL": "https://elsewhere.auth.test/v1/mcp/orders/1?key=canary" },
            { "FragmentName": "relative", "URL": "/v1/mcp/x/1" },
            { "FragmentName": "good", "URL": "http://127.0.0.1:9/v1/mcp/orders-acme/1" },
        ]);
        (got.label() == Some("agw.mcp.server")).then_some((200, list))
    }))
    .await;
    let gateway = double.builder().build();
    let found = gateway.list_tools(&system_of("acme"), &ToolFilter::new()).await.unwrap();
    assert_eq!(found.errors.len(), 4, "the good one is at another port than the gateway: {:?}", found.errors);
    for (error, name) in found.errors.iter().zip(["nowhere", "elsewhere", "relative", "good"]) {
        let cause = error.source().unwrap().downcast_ref::<CredentialError>().unwrap();
        assert_eq!(cause.named_field(), Some("URL"));
        assert!(cause.to_string().contains(&format!("`{name}` of the tenant `acme`")), "{cause}");
        assert!(!cause.to_string().contains("canary"), "{cause}");
    }
    assert!(gateway.list_tools(&system_of("acme"), &ToolFilter::new()).strict().await.is_err());
    assert_eq!(double.gateway.count("initialize"), 0, "no token was sent to another origin");

    let permitted = double.destinations().with_origin(&"https://elsewhere.auth.test".parse().unwrap());
    let listed = permitted.servers_for(&system_of("acme")).await.unwrap();
    assert_eq!((listed.entries.len(), listed.errors.len()), (1, 3));
    assert_eq!(listed.entries[0].subscriber().map(Tenant::as_str), Some("acme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_service_are_named() {
    let cases: [(&str, Response, &str); 7] = [
        ("no fragment", |got| (got.label() == Some("subscriber.ias")).then(|| (200, json!([]))), "`subscriber.ias`"),
        (
            "two fragments",
            |got| {
                (got.label() == Some("subscriber.ias"))
                    .then(|| (200, json!([{ "FragmentName": "a" }, { "FragmentName": "b" }])))
            },
            "`a` and `b`",
        ),
        ("no list", |got| got.label().map(|_| (200, json!({}))), "it is not a list"),
        ("error", |got| got.label().map(|_| (503, json!({ "error": "canary" }))), "responded with 503"),
        (
            "no token for the service",
            |got| got.is_token().then(|| (401, json!({ "error": "invalid_client" }))),
            "invalid_client",
        ),
        (
            "no URL",
            |got| got.path.contains("/v2/").then(|| (200, json!({ "destinationConfiguration": {} }))),
            "`URL` in the destination of the tenant `acme`",
        ),
        (
            "no destination",
            |got| got.path.contains("/v2/").then(|| (200, json!({ "canary": 1 }))),
            "form of a destination",
        ),
    ];
    for (what, instead, named) in cases {
        let double = Double::with(Arc::new(instead)).await;
        let gateway = double.builder().build();
        let error = gateway.list_tools(&system_of("acme"), &ToolFilter::new()).await.unwrap_err();
        let text = causes(&error);
        assert!(text.contains(named) && text.contains("acme"), "{what}: {text}");
        assert!(!text.contains("canary"), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_exchange_is_an_error_of_the_token_without_the_assertion() {
    let double = Double::with(Arc::new(|got: &Got| {
        let reason = format!("the token {} has expired", got.headers.get("x-user-token")?);
        let found = json!({
            "destinationConfiguration": {}, "authTokens": [{ "type": "", "value": "", "error": reason }],
        });
        Some((200, found))
    }))
    .await;
    let gateway = double.builder().build();
    let found = gateway.list_tools(&user_of("canary", "acme"), &ToolFilter::new()).await.unwrap();
    let [error] = &found.errors[..] else { panic!("{found:?}") };
    assert!(error.is_token_error() && error.server().is_some(), "{error:?}");
    let text = causes(error);
    assert!(text.contains("the token *** has expired") && text.contains("acme"), "{text}");
    assert!(!format!("{text} {error:?}").contains("canary"), "{error:?}");
    assert_eq!(double.gateway.count("initialize"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_token_of_the_service_is_replaced() {
    let rejected = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let once = rejected.clone();
    let double = Double::with(Arc::new(move |got: &Got| {
        let is_first = got.label().is_some() && !once.swap(true, std::sync::atomic::Ordering::SeqCst);
        is_first.then(|| (401, json!({})))
    }))
    .await;
    let gateway = double.builder().build();
    assert_eq!(tools(&gateway, &system_of("acme")).await, ["token-acme-system"]);
    assert_eq!(double.got().iter().filter(|got| got.is_token()).count(), 2);
}

#[test]
fn replaced_secret_takes_effect() {
    // In a process of its own, because the binding is in variables of the environment.
    const CHILD: &str = "AGENT_GATEWAY_TEST_BINDING";
    if let Ok(folder) = std::env::var(CHILD) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(rotated(std::path::Path::new(&folder)));
    }
    let root = tempfile::tempdir().unwrap();
    let test = "destinations::replaced_secret_takes_effect";
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact"]).env(CHILD, root.path()).env("SERVICE_BINDING_ROOT", root.path());
    let status = command.env("APPFND_CONHOS_LANDSCAPE", "test").status().unwrap();
    assert!(status.success());
}

async fn rotated(root: &std::path::Path) {
    let double = Double::with(Arc::new(|got: &Got| {
        let found = json!({
            "destinationConfiguration": { "URL": "https://gateway.test/" },
            "authTokens": [{ "type": "Bearer", "http_header": { "value": "Bearer a-token" }, "expires_in": 3600 }],
        });
        let is_named = got.path.ends_with("/v2/destinations/sap-managed-runtime-ias-test@provider_subaccount");
        is_named.then_some((200, found))
    }))
    .await;
    let folder = root.join("destination");
    fs::create_dir_all(&folder).unwrap();
    let (auth, service) = (double.auth_url(), double.service_url());
    let fields =
        [("clientid", "client-1"), ("url", auth.as_str()), ("uri", service.as_str()), ("identityzone", "zone")];
    for (name, value) in fields.into_iter().chain([("clientsecret", "first")]) {
        fs::write(folder.join(name), value).unwrap();
    }
    let destinations = Destinations::from_environment().unwrap().with_http(double.http()).with_plain_loopback();
    let gateway = of(destinations.clone()).with_watch_interval(Duration::ZERO).build();
    gateway.token_for(&system_of("acme")).await.unwrap();
    let same = destinations.credentials().await.unwrap();
    assert_eq!(destinations.credentials().await.unwrap(), same, "an unchanged binding keeps its tokens");
    fs::write(folder.join("clientsecret"), "second").unwrap();
    assert_ne!(destinations.credentials().await.unwrap(), same);
    gateway.token_for(&system_of("globex")).await.unwrap();
    fs::remove_file(folder.join("uri")).unwrap();
    gateway.token_for(&system_of("initech")).await.unwrap();
    let secrets: Vec<_> = double.got().iter().filter_map(|got| got.form.get("client_secret").cloned()).collect();
    assert_eq!(secrets, ["first", "second", "second"], "an incomplete binding does not replace the previous one");
}

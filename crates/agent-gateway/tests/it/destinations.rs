//! Destinations with several tenants.

mod origins;
pub(crate) mod service_double;

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
use service_double::{Double, ServiceRequest, builder_for, system_of, user_of};

/// A JWT whose only claim is `exp`: 4102444800.
const ASSERTION: &str = "e30.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln";
/// A function that overrides some responses of the service.
type ResponseOverrideFn = fn(&ServiceRequest) -> Option<(u16, Value)>;

const TENANTS: [&str; 2] = ["acme", "globex"];

/// Returns the names of the tools. Any error fails the test.
async fn tool_names(gateway: &Gateway, principal: &Principal) -> Vec<String> {
    let listing = gateway.list_tools(principal, &ToolFilter::new()).strict().await.unwrap();
    listing.tools.iter().map(|tool| tool.name().to_owned()).collect()
}

/// Returns the names in the cards of the agents. Any error fails the test.
async fn agent_names(gateway: &Gateway, principal: &Principal) -> Vec<String> {
    let listing = gateway.list_agents(principal, &AgentFilter::new()).strict().await.unwrap();
    listing.agents.iter().map(|agent| agent.card().name().to_owned()).collect()
}

/// Returns an error and its causes.
pub(crate) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_agents_and_tokens_of_two_tenants_never_cross() {
    let double = Double::start().await;
    let gateway = double.builder().build();
    let principals = TENANTS.into_iter().flat_map(|tenant| {
        let user_with_token = |name| (user_of(name, tenant), format!("token-{tenant}-{name}"));
        [(system_of(tenant), format!("token-{tenant}-system")), user_with_token("alice"), user_with_token("bob")]
    });
    let principals: Vec<_> = principals.collect();
    for _ in 0..3 {
        let rounds = principals.iter().map(async |(principal, token)| {
            assert_eq!(tool_names(&gateway, principal).await, std::slice::from_ref(token));
            assert_eq!(agent_names(&gateway, principal).await, std::slice::from_ref(token));
            let gateway_token = gateway.token_for(principal).await.unwrap();
            assert_eq!(gateway_token.token().secret().expose(), token);
        });
        futures_util::future::join_all(rounds).await;
        gateway.evict();
    }
    // Each token was obtained once. Each server received only tokens of its own tenant.
    let token_exchanges: Vec<_> =
        double.requests_to("/v2/").into_iter().filter(|request| request.query.is_empty()).collect();
    assert_eq!(token_exchanges.len(), principals.len());
    assert_eq!(double.requests().iter().filter(|request| request.is_token()).count(), TENANTS.len());
    for request in double.requests().iter().filter(|request| !request.is_token()) {
        let fragment = request.headers.get("x-fragment-name").map(|name| name.split('-').next().unwrap());
        assert!(fragment.is_none() || fragment == request.tenant(), "{request:?}");
    }
    for request in ["initialize", "tools/list", "GET"].map(|method| double.gateway.requests(method)).concat() {
        assert!(request.case.split('-').next_back() == request.token_tenant(), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_of_one_tenant_is_not_called_for_another() {
    let double = Double::start().await;
    let gateway = double.builder().build();
    let listing = gateway.list_tools(&system_of("acme"), &ToolFilter::new()).strict().await.unwrap();
    let tool = &listing.tools[0];
    assert_eq!((tool.server().ord_id(), tool.server().tenant()), ("orders-acme", "acme-gtid"));
    assert_eq!(gateway.call_tool(tool, &user_of("alice", "acme"), Map::new()).await.unwrap().text(), "done");
    let request_counts = || (double.gateway.count("tools/call"), double.requests().len());
    let counts_before = request_counts();
    for principal in [system_of("globex"), user_of("alice", "globex"), Principal::System] {
        let error = gateway.call_tool(tool, &principal, Map::new()).await.unwrap_err();
        assert!(error.is_wrong_tenant() && error.server() == Some(tool.server()), "{error:?}");
    }
    assert_eq!(request_counts(), counts_before, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_tokens_have_the_url_of_the_gateway_and_are_not_shown() {
    let double = Double::start().await;
    let gateway = double.builder().build();
    let system = gateway.token_for(&system_of("acme")).await.unwrap();
    assert_eq!(system.token().secret().expose(), "token-acme-system");
    assert_eq!(system.gateway_url(), Some(&double.gateway.url()));
    let visible_text = format!("{system:?} {gateway:?} {:?} {:?}", double.destinations(), double.binding());
    assert!(!visible_text.contains("token-acme") && !visible_text.contains("canary"), "{visible_text}");

    let long_lived_token = Arc::new(|request: &ServiceRequest| {
        let header = json!({ "key": "Authorization", "value": "Bearer of-a-user" });
        let token = json!([{ "type": "Bearer", "http_header": header, "expires_in": "9999999999" }]);
        let destination =
            json!({ "destinationConfiguration": { "URL": "https://gateway.test/" }, "authTokens": token });
        request.path.contains("/v2/").then_some((200, destination))
    });
    let double = Double::with_override(long_lived_token).await;
    let gateway = double.builder().build();
    let alice = User::new(Secret::new(ASSERTION)).unwrap().with_tenant(Tenant::new("acme").unwrap());
    let token = gateway.user_token(&alice).await.unwrap();
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    assert_eq!((token.token().expires_at(), token.token().secret().expose()), (Some(expiry), "of-a-user"));
    assert_eq!(token.gateway_url().map(url::Url::as_str), Some("https://gateway.test/"));
    assert_eq!(double.requests_to("/v2/")[0].headers["x-user-token"], ASSERTION);
}

#[tokio::test(flavor = "multi_thread")]
async fn principal_without_a_tenant_is_refused_before_any_request() {
    let double = Double::start().await;
    let gateway = double.builder().build();
    for principal in [Principal::System, crate::fake_server::user("alice")] {
        let error = gateway.list_tools(&principal, &ToolFilter::new()).await.unwrap_err();
        assert!(error_chain(&error).contains("no tenant is given"), "{}", error_chain(&error));
        let error = gateway.list_agents(&principal, &AgentFilter::new()).await.unwrap_err();
        assert!(error_chain(&error).contains("no tenant is given"), "{}", error_chain(&error));
    }
    let error = gateway.system_token().await.unwrap_err();
    assert!(error.is_token_error() && error_chain(&error).contains("no tenant is given"), "{}", error_chain(&error));
    assert!(double.destinations().servers().await.is_err());
    assert!(double.requests().is_empty() && double.gateway.token_request_count() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_follow_the_service_documentation_and_lists_are_cached() {
    let double = Double::start().await;
    let clock = Arc::new(ManualClock::start());
    let gateway = builder_for(double.destinations().with_clock(clock.clone())).with_clock(clock.clone()).build();
    tool_names(&gateway, &system_of("acme")).await;
    tool_names(&gateway, &system_of("acme")).await;
    let all_requests = double.requests();
    let token_request = &all_requests[0];
    assert_eq!(
        (token_request.host.clone(), token_request.is_token()),
        (format!("acme.auth.test:{}", double.port), true)
    );
    let form = |name: &str| token_request.form.get(name).map(String::as_str);
    assert_eq!((form("grant_type"), form("client_id")), (Some("client_credentials"), Some("client-1")));
    assert_eq!((form("client_secret"), form("organization")), (Some("canary-secret"), None));
    let labels: Vec<_> = all_requests.iter().filter_map(ServiceRequest::label).collect();
    assert_eq!(labels, ["agw.mcp.server", "subscriber.ias"]);
    assert!(
        all_requests[1].path.ends_with("/destination-configuration/v1/instanceDestinationFragments"),
        "{:?}",
        all_requests[1]
    );
    let [url_request, token_exchange] = &double.requests_to("/v2/")[..] else { panic!("two requests") };
    assert_eq!(url_request.query["$skipTokenRetrieval"], "true");
    assert_eq!(token_exchange.headers["x-fragment-name"], "acme-system@instance");
    assert!(token_exchange.query.is_empty() && !token_exchange.headers.contains_key("x-user-token"));
    assert!(
        !url_request.headers.contains_key("x-fragment-name"),
        "the origin is read from the destination without a fragment"
    );
    assert_eq!(all_requests.len(), 5);
    clock.advance(Duration::from_secs(301));
    tool_names(&gateway, &system_of("acme")).await;
    assert_eq!(double.requests().len(), 8, "two lists and the URL are requested again, but no token");
    gateway.evict();
    tool_names(&gateway, &system_of("acme")).await;
    assert_eq!(double.requests().len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_fragment_is_reported_and_others_are_listed() {
    let double = Double::with_override(Arc::new(|request: &ServiceRequest| {
        let list = json!([
            { "FragmentName": "without-url" },
            { "FragmentName": "other-origin", "URL": "https://elsewhere.auth.test/v1/mcp/orders/1?key=canary" },
            { "FragmentName": "relative", "URL": "/v1/mcp/x/1" },
            { "FragmentName": "other-port", "URL": "http://127.0.0.1:9/v1/mcp/orders-acme/1" },
        ]);
        (request.label() == Some("agw.mcp.server")).then_some((200, list))
    }))
    .await;
    let gateway = double.builder().build();
    let listing = gateway.list_tools(&system_of("acme"), &ToolFilter::new()).await.unwrap();
    assert_eq!(listing.errors.len(), 4, "{:?}", listing.errors);
    for (error, name) in listing.errors.iter().zip(["without-url", "other-origin", "relative", "other-port"]) {
        let cause = error.source().unwrap().downcast_ref::<CredentialError>().unwrap();
        assert_eq!(cause.named_field(), Some("URL"));
        assert!(cause.to_string().contains(&format!("`{name}` of the tenant `acme`")), "{cause}");
        assert!(!cause.to_string().contains("canary"), "{cause}");
    }
    assert!(gateway.list_tools(&system_of("acme"), &ToolFilter::new()).strict().await.is_err());
    assert_eq!(double.gateway.count("initialize"), 0, "no token was sent to another origin");

    let destinations = double.destinations().with_origin(&"https://elsewhere.auth.test".parse().unwrap());
    let servers = destinations.servers_for(&system_of("acme")).await.unwrap();
    assert_eq!((servers.entries.len(), servers.errors.len()), (1, 3));
    assert_eq!(servers.entries[0].subscriber().map(Tenant::as_str), Some("acme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn service_failures_are_reported_with_the_tenant() {
    let cases: [(&str, ResponseOverrideFn, &str); 7] = [
        (
            "no fragment",
            |request| (request.label() == Some("subscriber.ias")).then(|| (200, json!([]))),
            "`subscriber.ias`",
        ),
        (
            "two fragments",
            |request| {
                (request.label() == Some("subscriber.ias"))
                    .then(|| (200, json!([{ "FragmentName": "a" }, { "FragmentName": "b" }])))
            },
            "`a` and `b`",
        ),
        ("no list", |request| request.label().map(|_| (200, json!({}))), "it is not a list"),
        ("error", |request| request.label().map(|_| (503, json!({ "error": "canary" }))), "responded with 503"),
        (
            "no token for the service",
            |request| request.is_token().then(|| (401, json!({ "error": "invalid_client" }))),
            "invalid_client",
        ),
        (
            "no URL",
            |request| request.path.contains("/v2/").then(|| (200, json!({ "destinationConfiguration": {} }))),
            "`URL` in the destination of the tenant `acme`",
        ),
        (
            "no destination",
            |request| request.path.contains("/v2/").then(|| (200, json!({ "canary": 1 }))),
            "form of a destination",
        ),
    ];
    for (case, response_override, expected_text) in cases {
        let double = Double::with_override(Arc::new(response_override)).await;
        let gateway = double.builder().build();
        let error = gateway.list_tools(&system_of("acme"), &ToolFilter::new()).await.unwrap_err();
        let text = error_chain(&error);
        assert!(text.contains(expected_text) && text.contains("acme"), "{case}: {text}");
        assert!(!text.contains("canary"), "{case}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_exchange_is_a_token_error_without_the_assertion() {
    let double = Double::with_override(Arc::new(|request: &ServiceRequest| {
        let reason = format!("the token {} has expired", request.headers.get("x-user-token")?);
        let destination = json!({
            "destinationConfiguration": {}, "authTokens": [{ "type": "", "value": "", "error": reason }],
        });
        Some((200, destination))
    }))
    .await;
    let gateway = double.builder().build();
    let listing = gateway.list_tools(&user_of("canary", "acme"), &ToolFilter::new()).await.unwrap();
    let [error] = &listing.errors[..] else { panic!("{listing:?}") };
    assert!(error.is_token_error() && error.server().is_some(), "{error:?}");
    let text = error_chain(error);
    assert!(text.contains("the token *** has expired") && text.contains("acme"), "{text}");
    assert!(!format!("{text} {error:?}").contains("canary"), "{error:?}");
    assert_eq!(double.gateway.count("initialize"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_token_of_the_service_is_replaced() {
    let was_rejected = std::sync::atomic::AtomicBool::new(false);
    let double = Double::with_override(Arc::new(move |request: &ServiceRequest| {
        let is_first = request.label().is_some() && !was_rejected.swap(true, std::sync::atomic::Ordering::SeqCst);
        is_first.then(|| (401, json!({})))
    }))
    .await;
    let gateway = double.builder().build();
    assert_eq!(tool_names(&gateway, &system_of("acme")).await, ["token-acme-system"]);
    assert_eq!(double.requests().iter().filter(|request| request.is_token()).count(), 2);
}

#[test]
fn replaced_secret_takes_effect() {
    // Runs in a child process, because environment variables select the binding.
    const CHILD_VARIABLE: &str = "AGENT_GATEWAY_TEST_BINDING";
    if let Ok(folder) = std::env::var(CHILD_VARIABLE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(check_secret_rotation(std::path::Path::new(&folder)));
    }
    let root = tempfile::tempdir().unwrap();
    let test = "destinations::replaced_secret_takes_effect";
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact"]).env(CHILD_VARIABLE, root.path()).env("SERVICE_BINDING_ROOT", root.path());
    let status = command.env("APPFND_CONHOS_LANDSCAPE", "test").status().unwrap();
    assert!(status.success());
}

async fn check_secret_rotation(root: &std::path::Path) {
    let double = Double::with_override(Arc::new(|request: &ServiceRequest| {
        let destination = json!({
            "destinationConfiguration": { "URL": "https://gateway.test/" },
            "authTokens": [{ "type": "Bearer", "http_header": { "value": "Bearer a-token" }, "expires_in": 3600 }],
        });
        let is_default_destination =
            request.path.ends_with("/v2/destinations/sap-managed-runtime-ias-test@provider_subaccount");
        is_default_destination.then_some((200, destination))
    }))
    .await;
    let folder = root.join("destination");
    fs::create_dir_all(&folder).unwrap();
    let (auth_url, service_url) = (double.auth_url(), double.service_url());
    let fields =
        [("clientid", "client-1"), ("url", auth_url.as_str()), ("uri", service_url.as_str()), ("identityzone", "zone")];
    for (name, value) in fields.into_iter().chain([("clientsecret", "first")]) {
        fs::write(folder.join(name), value).unwrap();
    }
    let destinations = Destinations::from_environment().unwrap().with_http(double.http()).with_plain_loopback();
    let gateway = builder_for(destinations.clone()).with_watch_interval(Duration::ZERO).build();
    gateway.token_for(&system_of("acme")).await.unwrap();
    let first_credentials = destinations.credentials().await.unwrap();
    assert_eq!(
        destinations.credentials().await.unwrap(),
        first_credentials,
        "the tokens of an unchanged binding stay valid"
    );
    fs::write(folder.join("clientsecret"), "second").unwrap();
    assert_ne!(destinations.credentials().await.unwrap(), first_credentials);
    gateway.token_for(&system_of("globex")).await.unwrap();
    fs::remove_file(folder.join("uri")).unwrap();
    gateway.token_for(&system_of("initech")).await.unwrap();
    let secrets: Vec<_> =
        double.requests().iter().filter_map(|request| request.form.get("client_secret").cloned()).collect();
    assert_eq!(secrets, ["first", "second", "second"], "an incomplete binding does not replace the previous one");
}

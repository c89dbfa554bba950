//! Token keys are equal if and only if their parts are equal.

use std::collections::BTreeSet;

use auth_core::{AccessToken, TokenKey, TokenKeyBuilder, TokenRequest};
use proptest::array::uniform8;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

/// A pattern for short texts with few letters, so that texts are often equal or contain each other.
const TEXT: &str = "[ab ]{0,2}";

/// The optional text fields of a key, in the order of the setters in [`key`].
type KeyFields = [Option<String>; 8];

fn key(
    issuer: &str,
    fields: &KeyFields,
    resources: &[String],
    scopes: &[String],
    parameters: &[(String, String)],
) -> TokenKey {
    let setters: [fn(TokenKeyBuilder, String) -> TokenKeyBuilder; 8] = [
        TokenKeyBuilder::with_identity,
        TokenKeyBuilder::with_client_id,
        TokenKeyBuilder::with_subject,
        TokenKeyBuilder::with_audience,
        TokenKeyBuilder::with_tenant,
        TokenKeyBuilder::with_origin,
        TokenKeyBuilder::with_certificate_thumbprint,
        TokenKeyBuilder::with_token_endpoint,
    ];
    let key = TokenKey::builder(issuer).with_resources(resources).with_scopes(scopes);
    let key = key.with_parameters(parameters.iter().cloned());
    let fields = setters.into_iter().zip(fields);
    fields.fold(key, |key, (setter, text)| text.iter().cloned().fold(key, setter)).build()
}

#[derive(Clone, Debug)]
struct RequestParts {
    scopes: BTreeSet<String>,
    resources: BTreeSet<String>,
    audience: Option<String>,
    subject: Option<String>,
    claims: Option<String>,
    tenant: Option<String>,
    assertion: Option<String>,
}

impl RequestParts {
    fn any() -> impl Strategy<Value = Self> {
        let sets = (btree_set(TEXT, 0..3), btree_set(TEXT, 0..3));
        let fields = (option::of(TEXT), option::of(TEXT), option::of(TEXT), option::of(TEXT), option::of("[ab]{1,2}"));
        (sets, fields).prop_map(|((scopes, resources), (audience, subject, claims, tenant, assertion))| Self {
            scopes,
            resources,
            audience,
            subject,
            claims,
            tenant,
            assertion,
        })
    }

    /// Returns a copy in which the part `number` is taken from `other`. Returns `other` if no part has this number.
    fn with_part_of(&self, other: Self, number: usize) -> Self {
        let mut parts = self.clone();
        match number {
            0 => parts.scopes = other.scopes,
            1 => parts.resources = other.resources,
            2 => parts.audience = other.audience,
            3 => parts.subject = other.subject,
            4 => parts.claims = other.claims,
            5 => parts.tenant = other.tenant,
            6 => parts.assertion = other.assertion,
            _ => parts = other,
        }
        parts
    }

    /// Returns a request with these parts. The subject is set last, because an assertion also sets the subject.
    fn request(self) -> TokenRequest {
        let request = self.resources.iter().fold(TokenRequest::new(), TokenRequest::with_resource);
        let request = request.with_scopes(self.scopes);
        let request = self.audience.into_iter().fold(request, TokenRequest::with_audience);
        let request = self.claims.into_iter().fold(request, TokenRequest::with_claims);
        let request = self.tenant.into_iter().fold(request, TokenRequest::with_tenant);
        let assertion = self.assertion.map(|text| AccessToken::try_from(text).unwrap());
        let request = assertion.into_iter().fold(request, TokenRequest::with_assertion);
        self.subject.into_iter().fold(request, TokenRequest::with_subject)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn keys_are_equal_exactly_if_their_parts_are(
        issuers in ("[ab]", "[ab]"),
        fields in (uniform8(option::of(TEXT)), uniform8(option::of(TEXT))),
        changed_index in option::of(0..8_usize),
        sets in (vec(TEXT, 0..3), vec(TEXT, 0..3), vec((TEXT, TEXT), 0..3)),
        others in option::of((vec(TEXT, 0..3), vec(TEXT, 0..3), vec((TEXT, TEXT), 0..3))),
    ) {
        // At most one text field of the keys differs. Their issuers and sets may differ, too.
        let mut second_fields = fields.0.clone();
        if let Some(changed_index) = changed_index {
            second_fields[changed_index].clone_from(&fields.1[changed_index]);
        }
        let (one, other) = (sets.clone(), others.unwrap_or(sets));
        let keys = [
            key(&issuers.0, &fields.0, &one.0, &one.1, &one.2),
            key(&issuers.1, &second_fields, &other.0, &other.1, &other.2),
        ];
        let as_set = |values: &[String]| values.iter().cloned().collect::<BTreeSet<_>>();
        // Parameters with the same name keep their order.
        let sorted_by_name = |parameters: &[(String, String)]| {
            let mut parameters = parameters.to_vec();
            parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
            parameters
        };
        let is_same = issuers.0 == issuers.1
            && fields.0 == second_fields
            && as_set(&one.0) == as_set(&other.0)
            && as_set(&one.1) == as_set(&other.1)
            && sorted_by_name(&one.2) == sorted_by_name(&other.2);
        prop_assert_eq!(keys[0] == keys[1], is_same);
        prop_assert_eq!(keys[0].digest() == keys[1].digest(), is_same);
    }

    #[test]
    fn keys_of_requests_are_equal_exactly_if_the_requests_are(
        one in RequestParts::any(), other in RequestParts::any(), number in 0..8_usize,
    ) {
        let (one, other) = (one.clone().request(), one.with_part_of(other, number).request());
        let key = TokenKey::builder("issuer").with_identity("somebody").build();
        prop_assert_eq!(key.for_request(&one) == key.for_request(&other), one == other);
        prop_assert_eq!(key.for_request(&one), key.for_request(&one.clone()));
        prop_assert!(key.for_request(&one).identity() == Some("somebody"));
    }
}

#[test]
fn requests_with_different_assertions_never_share_a_key() {
    let with_assertion = |text: &str| TokenRequest::new().with_assertion(AccessToken::try_from(text).unwrap());
    let key = TokenKey::new("issuer");
    let [ada, ben] = [with_assertion("of-ada"), with_assertion("of-ben")];
    let with_same_subject = |request: &TokenRequest| key.for_request(&request.clone().with_subject("one-name"));
    assert_ne!(with_same_subject(&ada), with_same_subject(&ben));
    assert_eq!(with_same_subject(&ada), with_same_subject(&ada));
    // A caller who only knows the digest of an assertion does not get the token of that assertion.
    let digest = TokenRequest::new().with_subject(ada.subject().unwrap());
    assert_ne!(key.for_request(&digest), key.for_request(&ada));
}

#[test]
fn requested_audience_or_resource_replaces_both_parts_of_the_key() {
    let client = TokenKey::builder("issuer").with_audience("own").with_resources(["https://own.test/"]);
    let (client, bare) = (client.build(), TokenKey::builder("issuer"));
    let audience = client.for_request(&TokenRequest::new().with_audience("requested"));
    assert_eq!(audience, bare.clone().with_audience("requested").build());
    let resource = client.for_request(&TokenRequest::new().with_resource("https://requested.test/"));
    assert_eq!(resource, bare.with_resources(["https://requested.test/"]).build());
    assert_eq!(client.for_request(&TokenRequest::new().with_scopes(["a"])).origin(), client.origin());
}

#[test]
fn order_matters_only_among_parameters_with_the_same_name() {
    let key = |parameters: &[(&'static str, &'static str)]| {
        TokenKey::builder("issuer").with_parameters(parameters.iter().copied()).build()
    };
    assert_eq!(key(&[("a", "1"), ("b", "2")]), key(&[("b", "2"), ("a", "1")]));
    assert_ne!(key(&[("a", "1"), ("a", "2")]), key(&[("a", "2"), ("a", "1")]));
    assert_ne!(key(&[("a", "1"), ("b", "2")]), key(&[("a", "2"), ("b", "1")]));
}

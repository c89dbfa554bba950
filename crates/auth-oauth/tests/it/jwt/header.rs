//! The checks of the header of a token.

use auth_oauth::JwtProblem::{
    self, Algorithm as WrongAlgorithm, DuplicateMember, Extension, ForeignKey, Header, NoKeyId, Type,
};
use jsonwebtoken::{Algorithm, EncodingKey};

use super::forge::{
    EC, GOOD_HEADER, Table, assert_refused, encoded, good_claims, header_with, public_spellings, signed, signed_with,
};
use super::verify;
use crate::issuer::{Issuer, STRANGER, jwk};

#[tokio::test]
async fn token_with_another_algorithm_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let claims = good_claims(&issuer);
    let header = |algorithm: &str| GOOD_HEADER.replace("RS256", algorithm);
    let mut table: Table<_> = Vec::new();
    for none in ["none", "None", "NONE", "nOnE", "", "rs256", "RS256 ", "RS257", "HS256", "RS384", "PS256", "EdDSA"] {
        table.push((format!("{none:?} with a good signature"), signed(header(none), &claims), WrongAlgorithm));
        let bare = format!("{}.{}.", encoded(header(none)), encoded(&claims));
        table.push((format!("{none:?} without a signature"), bare, WrongAlgorithm));
    }
    for (number, secret) in public_spellings().iter().enumerate() {
        let secret = EncodingKey::from_secret(secret);
        for (name, algorithm) in [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            let token = signed_with(header(name), &claims, &secret, algorithm);
            table.push((format!("{name} with the public key as the secret, spelling {number}"), token, WrongAlgorithm));
        }
    }
    let token = signed_with(header("ES256"), &claims, &EC, Algorithm::ES256);
    table.push(("ES256 under the name of an RSA key".to_owned(), token, WrongAlgorithm));
    let token = signed_with(header("PS256"), &claims, &crate::issuer::KEY, Algorithm::PS256);
    table.push(("PS256 with the right key".to_owned(), token, WrongAlgorithm));
    assert_refused(&issuer, table).await;
    assert_eq!(issuer.fetches().await, 0);
}

#[tokio::test]
async fn unsupported_header_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let own = jwk("key-1", &STRANGER, Algorithm::RS256);
    let headers: Vec<(String, JwtProblem)> = [
        (header_with(r#""crit":["exp"]"#), Extension),
        (header_with(r#""crit":["b64"],"b64":true"#), Extension),
        (header_with(r#""crit":["b64"],"b64":false"#), Extension),
        (header_with(r#""b64":false"#), Extension),
        (header_with(r#""crit":[]"#), Extension),
        (header_with(r#""crit":null"#), Extension),
        (header_with(r#""crit":"exp""#), Extension),
        (header_with(&format!(r#""jwk":{own}"#)), ForeignKey),
        (header_with(r#""jwk":null"#), ForeignKey),
        (header_with(r#""jku":"https://evil.test/jwks.json""#), ForeignKey),
        (header_with(r#""x5u":"https://evil.test/chain.pem""#), ForeignKey),
        (header_with(r#""x5c":["MIIB"]"#), ForeignKey),
        (header_with(r#""typ":"dpop+jwt""#), Type),
        (header_with(r#""typ":"id+jwt""#), Type),
        (header_with(r#""typ":"logout+jwt""#), Type),
        (header_with(r#""typ":"application/dpop+jwt""#), Type),
        (header_with(r#""typ":"JWT ""#), Type),
        (header_with(r#""typ":"""#), Type),
        (header_with(r#""typ":7"#), Type),
        (header_with(r#""typ":null"#), Type),
        (header_with(r#""typ":["JWT"]"#), Type),
        (r#"{"kid":"key-1"}"#.to_owned(), Header),
        (r#"{"kid":"key-1","alg":256}"#.to_owned(), Header),
        (r#"{"kid":"key-1","alg":["RS256"]}"#.to_owned(), Header),
        (r#"{"kid":"key-1","Alg":"RS256"}"#.to_owned(), Header),
        (r#"{"alg":"RS256"}"#.to_owned(), NoKeyId),
        (r#"{"alg":"RS256","kid":1}"#.to_owned(), Header),
        (r#"{"alg":"RS256","kid":null}"#.to_owned(), Header),
        (r#"{"alg":"RS256","kid":["key-1"]}"#.to_owned(), Header),
        (header_with(r#""alg":"none""#), DuplicateMember),
        (header_with(r#""alg":"RS256""#), DuplicateMember),
        (header_with(r#""kid":"key-1""#), DuplicateMember),
        (header_with(r#""\u0061lg":"none""#), DuplicateMember),
        (header_with(r#""extra":{"a":1,"a":2}"#), DuplicateMember),
        (header_with(r#""extra":[[{"a":1,"a":1}]]"#), DuplicateMember),
    ]
    .into();
    let claims = good_claims(&issuer);
    let table = headers.into_iter().map(|(header, problem)| (header.clone(), signed(header, &claims), problem));
    assert_refused(&issuer, table.collect()).await;
    let own_key = signed_with(header_with(&format!(r#""jwk":{own}"#)), &claims, &STRANGER, Algorithm::RS256);
    assert_refused(&issuer, vec![("signed with the key that it brings".to_owned(), own_key, ForeignKey)]).await;
    assert_eq!(issuer.fetches().await, 0);
}

#[tokio::test]
async fn a_header_with_what_means_nothing_here_is_accepted() {
    let issuer = Issuer::start().await;
    for header in [
        GOOD_HEADER.to_owned(),
        header_with(r#""typ":"JWT""#),
        header_with(r#""typ":"jwt""#),
        header_with(r#""typ":"at+jwt""#),
        header_with(r#""typ":"AT+JWT""#),
        header_with(r#""typ":"application/at+jwt""#),
        header_with(r#""typ":"Application/AT+jwt""#),
        header_with(r#""x5t":"c2hhMQ""#),
        header_with(r#""cty":"JWT","zip":"DEF""#),
        header_with(r#""extra":{"a":[1,{"a":2.5}],"b":[true,false,null,-1,"\u0000"]}"#),
        format!(" \t\r\n{GOOD_HEADER} "),
        r#"{"alg":"RS\u0032\u0035\u0036","kid":"key\u002d1"}"#.to_owned(),
    ] {
        let verified = verify(&issuer, &signed(&header, good_claims(&issuer))).await;
        assert_eq!(verified.unwrap_or_else(|error| panic!("{header}: {error}")).sub, "user-1");
    }
}

//! The checks of the header of a token.

use auth_oauth::JwtProblem::{
    self, DuplicateMember, EmbeddedKey, InvalidHeader, MissingKeyId, UnacceptedAlgorithm, UnsupportedExtension,
    WrongType,
};
use jsonwebtoken::{Algorithm, EncodingKey};

use super::handcrafted::{
    Cases, EC_KEY, VALID_HEADER, assert_refused, base64url, header_with, public_key_encodings, signed, signed_with,
    valid_claims,
};
use super::verify;
use crate::issuer::{Issuer, UNPUBLISHED_KEY, jwk};

#[tokio::test]
async fn token_with_another_algorithm_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let claims = valid_claims(&issuer);
    let header = |algorithm: &str| VALID_HEADER.replace("RS256", algorithm);
    let mut cases: Cases<_> = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", "", "rs256", "RS256 ", "RS257", "HS256", "RS384", "PS256", "EdDSA"] {
        cases.push((format!("{name:?} with a good signature"), signed(header(name), &claims), UnacceptedAlgorithm));
        let unsigned_token = format!("{}.{}.", base64url(header(name)), base64url(&claims));
        cases.push((format!("{name:?} without a signature"), unsigned_token, UnacceptedAlgorithm));
    }
    for (number, secret) in public_key_encodings().iter().enumerate() {
        let secret = EncodingKey::from_secret(secret);
        for (name, algorithm) in [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            let token = signed_with(header(name), &claims, &secret, algorithm);
            cases.push((
                format!("{name} with the public key as the secret, encoding {number}"),
                token,
                UnacceptedAlgorithm,
            ));
        }
    }
    let token = signed_with(header("ES256"), &claims, &EC_KEY, Algorithm::ES256);
    cases.push(("ES256 under the name of an RSA key".to_owned(), token, UnacceptedAlgorithm));
    let token = signed_with(header("PS256"), &claims, &crate::issuer::KEY, Algorithm::PS256);
    cases.push(("PS256 with the right key".to_owned(), token, UnacceptedAlgorithm));
    assert_refused(&issuer, cases).await;
    assert_eq!(issuer.key_fetch_count().await, 0);
}

#[tokio::test]
async fn unsupported_header_is_rejected_without_a_fetch() {
    let issuer = Issuer::start().await;
    let embedded_jwk = jwk("key-1", &UNPUBLISHED_KEY, Algorithm::RS256);
    let headers: Vec<(String, JwtProblem)> = [
        (header_with(r#""crit":["exp"]"#), UnsupportedExtension),
        (header_with(r#""crit":["b64"],"b64":true"#), UnsupportedExtension),
        (header_with(r#""crit":["b64"],"b64":false"#), UnsupportedExtension),
        (header_with(r#""b64":false"#), UnsupportedExtension),
        (header_with(r#""crit":[]"#), UnsupportedExtension),
        (header_with(r#""crit":null"#), UnsupportedExtension),
        (header_with(r#""crit":"exp""#), UnsupportedExtension),
        (header_with(&format!(r#""jwk":{embedded_jwk}"#)), EmbeddedKey),
        (header_with(r#""jwk":null"#), EmbeddedKey),
        (header_with(r#""jku":"https://evil.test/jwks.json""#), EmbeddedKey),
        (header_with(r#""x5u":"https://evil.test/chain.pem""#), EmbeddedKey),
        (header_with(r#""x5c":["MIIB"]"#), EmbeddedKey),
        (header_with(r#""typ":"dpop+jwt""#), WrongType),
        (header_with(r#""typ":"id+jwt""#), WrongType),
        (header_with(r#""typ":"logout+jwt""#), WrongType),
        (header_with(r#""typ":"application/dpop+jwt""#), WrongType),
        (header_with(r#""typ":"JWT ""#), WrongType),
        (header_with(r#""typ":"""#), WrongType),
        (header_with(r#""typ":7"#), WrongType),
        (header_with(r#""typ":null"#), WrongType),
        (header_with(r#""typ":["JWT"]"#), WrongType),
        (r#"{"kid":"key-1"}"#.to_owned(), InvalidHeader),
        (r#"{"kid":"key-1","alg":256}"#.to_owned(), InvalidHeader),
        (r#"{"kid":"key-1","alg":["RS256"]}"#.to_owned(), InvalidHeader),
        (r#"{"kid":"key-1","Alg":"RS256"}"#.to_owned(), InvalidHeader),
        (r#"{"alg":"RS256"}"#.to_owned(), MissingKeyId),
        (r#"{"alg":"RS256","kid":1}"#.to_owned(), InvalidHeader),
        (r#"{"alg":"RS256","kid":null}"#.to_owned(), InvalidHeader),
        (r#"{"alg":"RS256","kid":["key-1"]}"#.to_owned(), InvalidHeader),
        (header_with(r#""alg":"none""#), DuplicateMember),
        (header_with(r#""alg":"RS256""#), DuplicateMember),
        (header_with(r#""kid":"key-1""#), DuplicateMember),
        (header_with(r#""\u0061lg":"none""#), DuplicateMember),
        (header_with(r#""extra":{"a":1,"a":2}"#), DuplicateMember),
        (header_with(r#""extra":[[{"a":1,"a":1}]]"#), DuplicateMember),
    ]
    .into();
    let claims = valid_claims(&issuer);
    let cases = headers.into_iter().map(|(header, problem)| (header.clone(), signed(header, &claims), problem));
    assert_refused(&issuer, cases.collect()).await;
    let self_signed_token =
        signed_with(header_with(&format!(r#""jwk":{embedded_jwk}"#)), &claims, &UNPUBLISHED_KEY, Algorithm::RS256);
    assert_refused(&issuer, vec![("signed with the key in its own header".to_owned(), self_signed_token, EmbeddedKey)])
        .await;
    assert_eq!(issuer.key_fetch_count().await, 0);
}

#[tokio::test]
async fn header_with_irrelevant_parameters_is_accepted() {
    let issuer = Issuer::start().await;
    for header in [
        VALID_HEADER.to_owned(),
        header_with(r#""typ":"JWT""#),
        header_with(r#""typ":"jwt""#),
        header_with(r#""typ":"at+jwt""#),
        header_with(r#""typ":"AT+JWT""#),
        header_with(r#""typ":"application/at+jwt""#),
        header_with(r#""typ":"Application/AT+jwt""#),
        header_with(r#""x5t":"c2hhMQ""#),
        header_with(r#""cty":"JWT","zip":"DEF""#),
        header_with(r#""extra":{"a":[1,{"a":2.5}],"b":[true,false,null,-1,"\u0000"]}"#),
        format!(" \t\r\n{VALID_HEADER} "),
        r#"{"alg":"RS\u0032\u0035\u0036","kid":"key\u002d1"}"#.to_owned(),
    ] {
        let verified = verify(&issuer, &signed(&header, valid_claims(&issuer))).await;
        assert_eq!(verified.unwrap_or_else(|error| panic!("{header}: {error}")).sub, "user-1");
    }
}

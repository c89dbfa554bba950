use super::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn parse_token(status: u16, body: &str) -> Result<AccessToken, OAuthError> {
    let secrets = vec![Secret::new("canary-sent")];
    FormResponse { secrets, ..FormResponse::new(status, None, body) }.token(NOW)
}

#[test]
fn error_code_with_status_200_is_treated_as_a_refusal() {
    let error = parse_token(200, r#"{"error":"invalid_grant","error_description":"no canary-sent"}"#).unwrap_err();
    assert!(error.is_credential_refused() && !error.is_uncertain(), "{error:?}");
    assert_eq!(error.to_string(), "the identity provider refused: invalid_grant (no ***)");
    let error_beside_token = parse_token(200, r#"{"access_token":"canary","error":"invalid_scope"}"#).unwrap_err();
    assert!(
        error_beside_token.to_string().contains("invalid_scope") && !error_beside_token.is_credential_refused(),
        "{error_beside_token:?}"
    );
    for no_error in ["null", "\"\""] {
        assert!(parse_token(200, &format!(r#"{{"access_token":"t","error":{no_error}}}"#)).is_ok(), "{no_error}");
    }
    let error_list = parse_token(200, r#"{"access_token":"canary","error":["canary"]}"#).unwrap_err();
    assert!(error_list.is_uncertain() && error_list.to_string().ends_with("at `error`"), "{error_list:?}");
}

#[test]
fn error_names_a_duplicate_member_without_its_value() {
    for (body, name) in [
        (r#"{"access_token":"canary-1","access_token":"canary-2"}"#, "`access_token`"),
        (r#"{"access_token":"canary-1","access_token":"canary-1"}"#, "`access_token`"),
        (r#"{"access_token":"canary-1","refresh_token":"canary-2","refresh_token":null}"#, "`refresh_token`"),
        (r#"{"access_token":"canary-1","x":"canary-2","x":"canary-3"}"#, "`x`"),
        (r#"{"access_token":"canary-1","a canary-sent\n":1,"a canary-sent\n":2}"#, "`a ***`"),
    ] {
        let error = parse_token(200, body).unwrap_err();
        let error_text = format!("{error} {error:?}");
        assert!(error.is_uncertain() && error_text.contains(name) && !error_text.contains("canary"), "{error_text}");
    }
    let long_name = "x".repeat(10_000);
    let error = parse_token(200, &format!(r#"{{"{long_name}":1,"{long_name}":2}}"#)).unwrap_err();
    assert!(error.to_string().len() < 200, "{error}");
}

#[test]
fn error_names_an_unsupported_token_type() {
    let error = parse_token(200, r#"{"access_token":"canary","token_type":"mac"}"#).unwrap_err();
    assert!(error.is_unsupported_token_type() && error.to_string().contains("'mac'"), "{error:?}");
    assert!(error.is_uncertain(), "the provider has issued the token");
    let body = format!(r#"{{"access_token":"canary","token_type":"{}canary-sent"}}"#, "x".repeat(35));
    let error = parse_token(200, &body).unwrap_err();
    assert!(error.is_unsupported_token_type() && !format!("{error:?}").contains("canary"), "{error:?}");
    assert_eq!(parse_token(200, r#"{"access_token":"t","token_type":"bEARER"}"#).unwrap().token_type(), "Bearer");
}

#[test]
fn other_token_type_is_accepted_if_requested() {
    let response = FormResponse::new(200, None, r#"{"access_token":"t","token_type":"n_a"}"#);
    assert!(response.token(NOW).unwrap_err().is_unsupported_token_type());
    let response = FormResponse { accepts_non_access_token: true, ..response };
    assert_eq!(response.token(NOW).unwrap().token_type(), "N_A");
    let response = FormResponse { body: br#"{"access_token":"t","token_type":"mac"}"#.to_vec(), ..response };
    assert!(response.token(NOW).unwrap_err().is_unsupported_token_type());
}

#[test]
fn response_is_uncertain_if_a_token_may_have_been_issued() {
    for (status, body, is_uncertain) in [
        (200, r#"{"access_token":"t""#, true),
        (200, "<html>", true),
        (200, "", true),
        (200, "{}", true),
        (200, r#"{"access_token":"a b"}"#, true),
        (200, r#"{"error":"server_error"}"#, false),
        (302, "", false),
        (400, r#"{"error":"invalid_grant"}"#, false),
        (400, "<html>", false),
        (401, "", false),
        (429, "", false),
        (429, r#"{"error":"slow_down"}"#, false),
        (500, r#"{"error":"invalid_grant"}"#, true),
        (502, "<html>", true),
        (503, "", true),
    ] {
        assert_eq!(parse_token(status, body).unwrap_err().is_uncertain(), is_uncertain, "{status} {body}");
    }
}

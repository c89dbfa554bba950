"""Authlib: the grants of the identity provider, and the tokens that it signs."""

import urllib.parse

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet
from report import READY, operation, same

ENV, CLIENTS = READY["env"], READY["client_ids"]
provider = requests.get(READY["issuer"] + ".well-known/openid-configuration", timeout=60).json()
keys = requests.get(provider["jwks_uri"], timeout=60).json()
REDIRECT = ENV["AIGNOSTICS_REDIRECT_URI"]
login = OAuth2Session(
    CLIENTS["interactive"],
    scope="openid profile email offline_access",
    redirect_uri=REDIRECT,
    code_challenge_method="S256",
    token_endpoint_auth_method="none",
)
state = {}


def sign_in():
    verifier, nonce = generate_token(48), generate_token(16)
    url, sent = login.create_authorization_url(
        provider["authorization_endpoint"], code_verifier=verifier, nonce=nonce, audience=READY["audience"]
    )
    redirected = requests.get(url, allow_redirects=False, timeout=60).headers["Location"]
    same(urllib.parse.parse_qs(urllib.parse.urlparse(redirected).query)["state"], [sent])
    state["nonce"] = nonce
    state["token"] = login.fetch_token(
        provider["token_endpoint"], authorization_response=redirected, code_verifier=verifier
    )


def decoded(token):
    return jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims


def id_token():
    claims = CodeIDToken(
        decoded(state["token"]["id_token"]),
        {},
        options={"iss": {"value": provider["issuer"]}, "aud": {"value": CLIENTS["interactive"]}},
        params={"nonce": state["nonce"], "client_id": CLIENTS["interactive"],
                "access_token": state["token"]["access_token"]},
    )
    claims.validate()
    same(claims["email"], READY["users"][0]["email"])


def userinfo():
    same(login.get(provider["userinfo_endpoint"]).json()["sub"], READY["users"][0]["id"])


def api():
    answer = login.get(READY["api_root"] + "api/v1/me")
    same(answer.json()["user"]["id"], READY["users"][0]["id"])


def refresh():
    renewed = login.refresh_token(provider["token_endpoint"])
    assert renewed["refresh_token"] != state["token"]["refresh_token"], "the refresh token is rotated"
    state["token"] = renewed


def revoke():
    answer = login.revoke_token(
        provider["revocation_endpoint"], token=state["token"]["refresh_token"], token_type_hint="refresh_token"
    )
    same(answer.status_code, 200)
    try:
        login.refresh_token(provider["token_endpoint"], refresh_token=state["token"]["refresh_token"])
    except Exception as error:  # noqa: BLE001
        same(error.error, "invalid_grant")
        return
    raise AssertionError("the refresh token was revoked")


def machine(method):
    session = OAuth2Session(
        CLIENTS["machine"], READY["machine_client_secret"], token_endpoint_auth_method=method
    )
    token = session.fetch_token(
        provider["token_endpoint"], grant_type="client_credentials", audience=READY["audience"]
    )
    same(decoded(token["access_token"])["iss"], provider["issuer"])


def device():
    started = requests.post(
        provider["device_authorization_endpoint"],
        data={"client_id": CLIENTS["device"], "scope": "offline_access", "audience": READY["audience"]},
        timeout=60,
    ).json()
    form = {"user_code": started["user_code"], "decision": "approve"}
    same(requests.post(started["verification_uri"], data=form, timeout=60).status_code, 200)
    session = OAuth2Session(CLIENTS["device"], token_endpoint_auth_method="none")
    token = session.fetch_token(
        provider["token_endpoint"],
        grant_type="urn:ietf:params:oauth:grant-type:device_code",
        device_code=started["device_code"],
    )
    assert token["refresh_token"], "a device login can be refreshed"


def wrong_secret():
    session = OAuth2Session(CLIENTS["machine"], "wrong", token_endpoint_auth_method="client_secret_basic")
    try:
        session.fetch_token(provider["token_endpoint"], grant_type="client_credentials")
    except Exception as error:  # noqa: BLE001
        same(error.error, "invalid_client")
        return
    raise AssertionError("the secret is wrong")


for name, work in [
    ("authorization code with PKCE", sign_in),
    ("ID token: signature, issuer, audience, nonce, at_hash", id_token),
    ("userinfo", userinfo),
    ("request to the API", api),
    ("refresh with rotation", refresh),
    ("revocation", revoke),
    ("client credentials, client_secret_basic", lambda: machine("client_secret_basic")),
    ("client credentials, client_secret_post", lambda: machine("client_secret_post")),
    ("client credentials, wrong secret", wrong_secret),
    ("device code", device),
]:
    operation(name, work)

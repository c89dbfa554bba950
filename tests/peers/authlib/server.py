"""An authorization server for tests: PyPI `Authlib`, with the JWT bearer grant and client authentication of RFC 7523.

It uses the packages of tests/peers/python-clients. It listens on a free port of 127.0.0.1, and prints one line of JSON:

    {"issuer": "http://127.0.0.1:PORT", "machineKey": "PEM"}

Then every line of JSON on stdin is a command. The response is one line.

    {"assert": {"subject": "ada"}}   signs an assertion of the workload issuer; `issuer`, `audience`, `seconds` and `key`
                                     replace the defaults
    {}                               returns the parameters of all token requests so far, without assertions

It ends with stdin, so that it never outlives the test.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request, grants
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from joserfc.jwk import ECKey, RSAKey

WORKLOADS = "https://workloads.test"
USERS = {"ada", "ben"}
SCOPES = {"runs", "results"}

workload_key, machine_key, foreign_key = (
    RSAKey.generate_key(2048),
    ECKey.generate_key("P-256"),
    RSAKey.generate_key(2048),
)
asked, used = [], set()


class Client(ClientMixin):
    def __init__(self, client_id, key, grant):
        self.client_id, self.key, self.grant = client_id, key, grant

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return " ".join(name for name in (scope or "").split() if name in SCOPES)

    def check_grant_type(self, grant_type):
        return grant_type == self.grant

    def check_endpoint_auth_method(self, method, endpoint):
        return method == JWTBearerClientAssertion.CLIENT_AUTH_METHOD


clients = {
    client.client_id: client
    for client in [
        Client(WORKLOADS, workload_key, JWTBearerGrant.GRANT_TYPE),
        Client("machine", machine_key, grants.ClientCredentialsGrant.GRANT_TYPE),
    ]
}


class Request(OAuth2Request):
    def __init__(self, method, uri, headers, body):
        super().__init__(method, uri, headers=headers)
        pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs), "RFC 6749, section 3.2: a parameter occurs twice"
        self._form = dict(pairs)
        self.payload = BasicOAuth2Payload(self._form)

    @property
    def args(self):
        return {}

    @property
    def form(self):
        return self._form


class Server(AuthorizationServer):
    def query_client(self, client_id):
        return clients.get(client_id)

    def save_token(self, token, request):
        pass

    def send_signal(self, name, *args, **kwargs):
        pass

    def create_oauth2_request(self, request):
        return request

    def handle_response(self, status, body, headers):
        return status, body, headers


class WorkloadGrant(JWTBearerGrant):
    def resolve_issuer_client(self, issuer):
        return clients.get(issuer)

    def resolve_client_public_key(self, client):
        return client.key

    def authenticate_user(self, subject):
        return subject if subject in USERS else None

    def get_audiences(self):
        return [issuer]

    def has_granted_permission(self, client, user):
        return True


class MachineGrant(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = [JWTBearerClientAssertion.CLIENT_AUTH_METHOD]


class MachineAssertion(JWTBearerClientAssertion):
    def get_audiences(self):
        return [issuer]

    def validate_jti(self, claims, jti):
        is_new = jti not in used
        used.add(jti)
        return is_new

    def resolve_client_public_key(self, client):
        return client.key


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        request = Request("POST", f"{issuer}{self.path}", self.headers, body)
        asked.append({name: value for name, value in request.form.items() if "assertion" not in name or "type" in name})
        status, response, headers = server.create_token_response(request)
        content = json.dumps(response).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def signed(subject, issuer=WORKLOADS, audience=None, seconds=300, key="workload"):
    key = {"workload": workload_key, "foreign": foreign_key}[key]
    audience = audience or globals()["issuer"]
    return JWTBearerGrant.sign(key, issuer, audience, subject, expires_in=seconds, header={"alg": "RS256"})


server = Server(SCOPES)
server.register_grant(WorkloadGrant)
server.register_grant(MachineGrant)
server.register_client_auth_method(JWTBearerClientAssertion.CLIENT_AUTH_METHOD, MachineAssertion())
server.register_token_generator(
    "default", BearerTokenGenerator(lambda client, grant_type, user, scope: f"{user}-{generate_token(30)}")
)
listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
issuer = f"http://127.0.0.1:{listener.server_port}"
threading.Thread(target=listener.serve_forever, daemon=True).start()
print(json.dumps({"issuer": issuer, "machineKey": machine_key.as_pem(private=True).decode()}), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    assertion = signed(**command["assert"]) if "assert" in command else None
    print(json.dumps({"assertion": assertion, "asked": asked}), flush=True)

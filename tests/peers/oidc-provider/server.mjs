// A certified OpenID provider for tests: `oidc-provider`, with the paths of Auth0. It runs in the folder of its
// packages, as `node --input-type=module --eval "$(cat server.mjs)"`.
//
// It listens on a free port of 127.0.0.1 and prints the address as one line of JSON. Then every line of JSON on stdin is
// a command. The response is one line with the number of requests for each path: {"requests":{"/oauth/token":2}}.
//
//   {}                             changes nothing
//   {"until":["/oauth/token",2]}   responds after this number of requests for the path
//   {"accessTokenSeconds":4}       sets the lifetime of new access tokens
//   {"keys":["b","a"]}             publishes these keys and signs with the first one; deletes all logins
//   {"tls":{"key":…,"cert":…,"ca":…}}  also accepts mutual TLS on another port, and announces it in its metadata
//   {"resources":{"http://…/mcp":"read write"}}  issues tokens for these resources with these scopes (RFC 8707)
//   {"assert":["alice",600]}       returns a signed assertion for a user, valid for this number of seconds
//
// Every response also has the number of tokens issued for each grant ("grants"), and the last token request ("form").
//
// It ends with stdin, so that it never outlives the test.
import { generateKeyPairSync, randomUUID, sign, verify, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createInterface } from 'node:readline';

// The output of the library goes to stderr, because stdout has the responses.
console.info = console.warn = console.error;
const { Provider, errors } = await import('oidc-provider');

const AUDIENCE = 'https://platform.test';
// The resource of the tokens of an agent gateway.
const GATEWAY = 'urn:sap:identity:application:provider:name:agent-gateway';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const machineKey = rsa();
const machine = { grant_types: ['client_credentials'], response_types: [], redirect_uris: [] };
const user = { application_type: 'native', token_endpoint_auth_method: 'none' };
const clients = [
  {
    ...user,
    client_id: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    // RFC 8252, section 7.3: on loopback, any port is accepted.
    redirect_uris: ['http://127.0.0.1/callback'],
  },
  { ...user, client_id: 'device', grant_types: [DEVICE_CODE, 'refresh_token'], response_types: [], redirect_uris: [] },
  {
    ...machine,
    client_id: 'machine: basic/1',
    client_secret: 'odd: +/%&=~"<\\ ?#',
    token_endpoint_auth_method: 'client_secret_basic',
  },
  {
    ...machine,
    client_id: 'machine-post',
    client_secret: 'odd: +%&',
    token_endpoint_auth_method: 'client_secret_post',
  },
  {
    ...machine,
    client_id: 'machine-key',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [{ ...machineKey.publicKey.export({ format: 'jwk' }), kid: 'machine-1', alg: 'RS256', use: 'sig' }] },
  },
  {
    ...machine,
    client_id: 'workload',
    client_secret: 'odd: +%&',
    grant_types: [JWT_BEARER, TOKEN_EXCHANGE],
    token_endpoint_auth_method: 'client_secret_basic',
  },
  {
    ...machine,
    client_id: 'machine-certificate',
    grant_types: ['client_credentials', JWT_BEARER],
    token_endpoint_auth_method: 'tls_client_auth',
    tls_client_auth_san_dns: 'machine.test',
    tls_client_certificate_bound_access_tokens: true,
  },
];

// RFC 8705: the parts that the operator of the provider implements.
const certificateOf = ({ socket }) => socket.getPeerCertificate?.().raw;
const mTLS = {
  enabled: true,
  certificateBoundAccessTokens: true,
  tlsClientAuth: true,
  getCertificate: (context) => certificateOf(context) && new X509Certificate(certificateOf(context)),
  certificateAuthorized: ({ socket }) => socket.authorized === true,
  certificateSubjectMatches: (context, property, expected) =>
    property === 'tls_client_auth_san_dns' &&
    new X509Certificate(certificateOf(context)).subjectAltName === `DNS:${expected}`,
};

const resourceServer = (context, audience) => {
  const scope = audience === AUDIENCE || audience === GATEWAY ? 'runs:read' : resources[audience];
  if (scope === undefined) throw new errors.InvalidTarget();
  const jwt = { sign: { alg: 'RS256' } };
  return { audience, scope, accessTokenFormat: 'jwt', accessTokenTTL: accessTokenSeconds, jwt };
};

// Assertions of users, signed by an issuer that the provider trusts.
const users = rsa();
const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const seconds = () => Math.floor(Date.now() / 1000);
function assertion(sub, lifetime) {
  const signed = `${part({ alg: 'RS256' })}.${part({ iss: 'https://users.test', sub, exp: seconds() + lifetime, jti: randomUUID() })}`;
  return `${signed}.${sign('sha256', signed, users.privateKey).toString('base64url')}`;
}
function subject(jwt) {
  const [header, claims, signature] = jwt.split('.');
  const genuine = verify('sha256', `${header}.${claims}`, users.publicKey, Buffer.from(signature ?? '', 'base64url'));
  const { sub, exp } = genuine ? JSON.parse(Buffer.from(claims, 'base64url')) : { exp: 0 };
  if (exp <= seconds()) throw new errors.InvalidGrant('the assertion is forged, or has ended');
  return sub;
}

// RFC 7523, section 2.1, which the operator of the library implements.
const jwtBearer = (provider) => async (context) => {
  const { client, params } = context.oidc;
  const accountId = subject(params.assertion ?? '');
  const target = params.resource ?? params.audience;
  const server = new provider.ResourceServer(target, resourceServer(context, target));
  const token = new provider.AccessToken({ accountId, client, gty: JWT_BEARER, grantId: randomUUID() });
  token.resourceServer = server;
  const certificate = mTLS.getCertificate(context);
  if (certificate) token.setThumbprint('x5t', certificate);
  context.body = { access_token: await token.save(), token_type: 'Bearer', expires_in: token.expiration };
};

// RFC 8693: the library has no such grant. This handler belongs to the tests of this project.
const tokenExchange = (provider) => async (context) => {
  const { client, params } = context.oidc;
  if (params.subject_token_type !== 'urn:ietf:params:oauth:token-type:jwt') throw new errors.InvalidRequest('the type of the subject token');
  const accountId = subject(params.subject_token ?? '');
  const server = new provider.ResourceServer(params.audience, resourceServer(context, params.audience));
  const token = new provider.AccessToken({ accountId, client, gty: TOKEN_EXCHANGE, grantId: randomUUID(), scope: params.scope });
  token.resourceServer = server;
  context.body = {
    access_token: await token.save(),
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    expires_in: token.expiration,
  };
};

const configuration = () => ({
  clients,
  jwks: { keys: published.map((name) => ({ ...keys.get(name), kid: name, alg: 'RS256', use: 'sig' })) },
  cookies: { keys: [randomUUID()] },
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth'],
  ...(aliases && { discovery: { mtls_endpoint_aliases: aliases } }),
  pkce: { required: () => true },
  extraParams: ['audience'],
  routes: {
    authorization: '/authorize',
    device_authorization: '/oauth/device/code',
    jwks: '/.well-known/jwks.json',
    revocation: '/oauth/revoke',
    token: '/oauth/token',
  },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    mTLS,
    registration: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // Like Auth0: `audience` instead of the `resource` of RFC 8707.
      defaultResource: ({ oidc }) => oidc.params?.audience ?? oidc.body?.audience,
      getResourceServerInfo: resourceServer,
      useGrantedResource: () => true,
    },
  },
});

const keys = new Map();
let published = ['key-1'];
let accessTokenSeconds = 3600;
const resources = {};
let aliases;
let answer;

function publish(names) {
  for (const name of names) if (!keys.has(name)) keys.set(name, rsa().privateKey.export({ format: 'jwk' }));
  published = names;
  const provider = new Provider(issuer, configuration());
  provider.registerGrantType(JWT_BEARER, jwtBearer(provider), ['assertion', 'resource', 'audience', 'token_format']);
  provider.registerGrantType(TOKEN_EXCHANGE, tokenExchange(provider), [
    'subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'scope',
  ]);
  provider.on('grant.success', ({ oidc: { params, body } }) => {
    grants[params.grant_type] = (grants[params.grant_type] ?? 0) + 1;
    form = Object.fromEntries(Object.entries(body).filter(([name]) => !['assertion', 'subject_token'].includes(name)));
  });
  provider.use(async (context, next) => {
    await next();
    // The library sends no interval; the default of five seconds is too long.
    if (context.oidc?.route === 'device_authorization' && context.status === 200) context.body.interval = 1;
  });
  answer = provider.callback();
}

const requests = {};
const grants = {};
let form = {};
const count = (request, response) => {
  const path = request.url.split('?')[0];
  requests[path] = (requests[path] ?? 0) + 1;
  server.emit('counted');
  answer(request, response);
};
const server = createServer(count);
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}/`;
publish(published);

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
say({ issuer, machineKey: machineKey.privateKey.export({ format: 'pem', type: 'pkcs8' }) });
process.stdin.on('end', () => process.exit());
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.keys) publish(command.keys);
  if (command.tls) {
    // A connection without a certificate is accepted, and its client is refused.
    const tls = createTlsServer({ ...command.tls, requestCert: true, rejectUnauthorized: false }, count);
    tls.listen(0, '127.0.0.1');
    await once(tls, 'listening');
    aliases = { token_endpoint: `https://localhost:${tls.address().port}/oauth/token` };
    publish(published);
  }
  accessTokenSeconds = command.accessTokenSeconds ?? accessTokenSeconds;
  Object.assign(resources, command.resources);
  const [path, least] = command.until ?? [];
  while (path && (requests[path] ?? 0) < least) await once(server, 'counted');
  say({ requests, grants, form, ...(command.assert && { assertion: assertion(...command.assert) }) });
}

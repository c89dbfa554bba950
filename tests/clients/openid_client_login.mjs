// openid-client: discovery, the grants of the identity provider, and the tokens that it signs.

import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import assert from 'node:assert/strict'

// The packages are in the folder of the tools, not next to this file.
const packages = createRequire(pathToFileURL(process.argv[2] + '/package.json'))
const client = await import(pathToFileURL(packages.resolve('openid-client')))
const ready = JSON.parse(process.env.AIGNOSTICS_EMULATOR_READY)
const issuer = new URL(ready.issuer)
const insecure = { execute: [client.allowInsecureRequests] }
const redirect = ready.env.AIGNOSTICS_REDIRECT_URI
let config, tokens

async function operation(name, work) {
  let result = 'works'
  try {
    await work()
  } catch (error) {
    result = `FAILS: ${error.code ?? ''} ${error.message} ${error.cause?.message ?? ''}`.replace(/\s+/g, ' ').slice(0, 300)
  }
  console.log(JSON.stringify({ operation: name, result }))
}

await operation('discovery', async () => {
  config = await client.discovery(issuer, ready.client_ids.interactive, undefined, client.None(), insecure)
  assert.equal(config.serverMetadata().issuer, ready.issuer)
})

await operation('authorization code with PKCE, nonce and max_age', async () => {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const [state, nonce] = [client.randomState(), client.randomNonce()]
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirect,
    scope: 'openid profile email offline_access',
    audience: ready.audience,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    max_age: '3600',
  })
  const answer = await fetch(url, { redirect: 'manual' })
  const back = new URL(answer.headers.get('location'))
  const checks = { pkceCodeVerifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true, maxAge: 3600 }
  tokens = await client.authorizationCodeGrant(config, back, checks)
  assert.equal(tokens.claims().email, ready.users[0].email)
})

await operation('userinfo', async () => {
  const found = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
  assert.equal(found.email, ready.users[0].email)
})

await operation('request to the API', async () => {
  const url = new URL('api/v1/me', ready.api_root)
  const answer = await client.fetchProtectedResource(config, tokens.access_token, url, 'GET')
  assert.equal((await answer.json()).user.id, ready.users[0].id)
})

await operation('refresh with rotation', async () => {
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token)
  assert.notEqual(renewed.refresh_token, tokens.refresh_token)
  tokens = renewed
})

await operation('revocation', async () => {
  await client.tokenRevocation(config, tokens.refresh_token)
  await assert.rejects(client.refreshTokenGrant(config, tokens.refresh_token), { error: 'invalid_grant' })
})

await operation('device code', async () => {
  const device = await client.discovery(issuer, ready.client_ids.device, undefined, client.None(), insecure)
  const started = await client.initiateDeviceAuthorization(device, { scope: 'offline_access', audience: ready.audience })
  const approval = new URLSearchParams({ user_code: started.user_code, decision: 'approve' })
  assert.equal((await fetch(started.verification_uri, { method: 'POST', body: approval })).status, 200)
  assert.ok((await client.pollDeviceAuthorizationGrant(device, started)).refresh_token)
})

for (const [name, method] of [['basic', client.ClientSecretBasic], ['post', client.ClientSecretPost]]) {
  await operation(`client credentials, client_secret_${name}`, async () => {
    const { machine } = ready.client_ids
    const known = await client.discovery(issuer, machine, undefined, method(ready.machine_client_secret), insecure)
    assert.ok((await client.clientCredentialsGrant(known, { audience: ready.audience })).access_token)
  })
}

await operation('client credentials, wrong secret', async () => {
  const wrong = await client.discovery(issuer, ready.client_ids.machine, undefined, client.ClientSecretBasic('wrong'), insecure)
  await assert.rejects(client.clientCredentialsGrant(wrong), { status: 401, code: 'OAUTH_WWW_AUTHENTICATE_CHALLENGE' })
})
